//! The bench's table in `bench/README.md` says what its JSON says: times, ratios and verdicts, each worked out here anew.

use serde_json::Value;
use std::path::Path;

/// A file of the bench; `None` where it is not there.
fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("bench").join(name)).ok()
}

/// The cells of the one line that begins with this row's id.
fn cells(readme: &str, id: &str) -> Vec<String> {
    let start = format!("| {id} | ");
    let lines: Vec<_> = readme.lines().filter(|line| line.starts_with(&start)).collect();
    assert_eq!(lines.len(), 1, "bench/README.md has {} lines that begin with `{start}`", lines.len());
    lines[0].trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
}

/// The middle of a figure over the runs of a tool, in the figure's unit.
fn median(entry: &Value, key: &str) -> f64 {
    let runs = entry["runs"].as_array().expect("runs");
    middle(runs.iter().map(|run| run[key].as_f64().expect("a number")).collect()).expect("at least one run")
}

/// The middle of some values; between two of them where their count is even.
fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = values.get(half).copied()?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[half - 1], upper) })
}

/// The tools of a row that have a figure.
fn measured(row: &Value) -> Vec<&Value> {
    let all = row["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_good =
        |entry: &&Value| entry["failed"] == "" && entry["runs"].as_array().is_some_and(|runs| !runs.is_empty());
    all.iter().filter(is_good).collect()
}

/// A tool of a row.
fn tool<'a>(row: &'a Value, name: &str) -> Option<&'a Value> {
    measured(row).into_iter().find(|entry| entry["tool"] == name)
}

/// The fastest of the peers.
fn best_peer(row: &Value) -> Option<&Value> {
    let peers = measured(row)
        .into_iter()
        .filter(|entry| !entry["tool"].as_str().is_some_and(|name| name.starts_with("seaway")));
    peers.min_by(|a, b| median(a, "seconds").total_cmp(&median(b, "seconds")))
}

/// Whether a cell begins with this number, rounded to as many digits as it shows.
fn says(cell: &str, value: f64) -> bool {
    let number = cell.split([' ', ';']).next().unwrap_or_default();
    let Ok(shown) = number.parse::<f64>() else { return false };
    let digits = number.split_once('.').map_or(0, |(_, digits)| digits.len());
    let half = 0.5 * 10_f64.powi(-i32::try_from(digits).expect("few digits"));
    (shown - value).abs() <= half + 1e-9
}

/// The verdict on a row in which times are compared: `met`, `missed`, `lost`, `failed` or `no peer`.
fn verdict(row: &Value, rows: &Value) -> &'static str {
    let Some(own) = tool(row, "seaway") else { return "failed" };
    let Some(best) = best_peer(row) else { return "no peer" };
    let (time, target) = (median(own, "seconds"), &row["target"]);
    let ratio = time / median(best, "seconds");
    let limit = target["ratio"].as_f64().unwrap_or_default();
    let met = match target["kind"].as_str().expect("a kind") {
        "best" => ratio <= limit,
        "row" => {
            let other = &rows[target["row"].as_str().expect("a row")];
            let Some(other) = tool(other, target["tool"].as_str().expect("a tool")) else { return "no peer" };
            time / median(other, "seconds") <= limit && ratio <= 1.0
        }
        "requests" => {
            let fewest = |entry: &&Value| median(own, "requests") <= median(entry, "requests");
            let each = median(own, "blob_requests") / target["blobs"].as_f64().expect("blobs");
            each <= target["per_blob"].as_f64().expect("per_blob") && measured(row).iter().all(fewest) && ratio <= 1.0
        }
        "line" => time * target["bits"].as_f64().expect("bits") / (median(own, "compressed") * 8.0) <= limit,
        other => panic!("a target of the kind `{other}`"),
    };
    if met {
        "met"
    } else if ratio < 1.0 {
        "missed"
    } else {
        "lost"
    }
}

/// Compares the line of a row in which times are compared.
fn check_times(row: &Value, rows: &Value, line: &[String]) {
    let id = row["id"].as_str().expect("an id");
    assert_eq!(line[6], verdict(row, rows), "the verdict on {id}");
    let Some(own) = tool(row, "seaway") else {
        return assert!(line[2].starts_with("failed: "), "{id} failed, and the table says `{}`", line[2]);
    };
    assert!(says(&line[2], median(own, "seconds")), "{id}: the time is {}, not {}", median(own, "seconds"), line[2]);
    let Some(best) = best_peer(row) else { return };
    let ratio = median(own, "seconds") / median(best, "seconds");
    assert!(says(&line[4], ratio), "{id}: the ratio is {ratio}, not {}", line[4]);
    for entry in measured(row) {
        let name = entry["tool"].as_str().expect("a name");
        if name.starts_with("seaway") {
            continue;
        }
        let mut shown = line[3].split(", ").filter_map(|cell| cell.split_once(' '));
        let shown = shown.find(|(tool, _)| *tool == name).map(|(_, time)| time).unwrap_or_default();
        assert!(says(shown, median(entry, "seconds")), "{id} {name}: `{shown}`");
    }
    let mebibytes = |entry: &Value| median(entry, "compressed") / (1024.0 * 1024.0);
    let (mine, theirs) = line[7].split_once(" / ").expect("two figures");
    assert!(says(mine, mebibytes(own)) && says(theirs, mebibytes(best)), "{id}: compressed bytes `{}`", line[7]);
}

/// Compares the line of the pushes through faults.
fn check_faults(row: &Value, line: &[String]) {
    let attempts = row["attempts"].as_array().expect("attempts");
    let count = |name: &str| {
        let of_tool = attempts.iter().filter(|attempt| attempt["tool"] == name);
        of_tool.fold((0, 0), |(done, all), attempt| (done + u32::from(attempt["finished"] == true), all + 1))
    };
    let (done, all) = count("seaway");
    assert_eq!(line[2], format!("{done} of {all} finish"));
    let again = attempts.iter().filter(|a| a["tool"] == "seaway" && a["fault"] == "cut" && a["finished"] == true);
    let again = again.map(|a| a["uploaded"].as_i64().expect("bytes") - a["compressed"].as_i64().expect("bytes")).max();
    let met = done == all && again.unwrap_or_default() <= row["target"]["again"].as_i64().expect("again");
    let most = attempts
        .iter()
        .filter_map(|a| a["tool"].as_str())
        .filter(|name| *name != "seaway")
        .map(|name| count(name).0)
        .max();
    let lost = most.is_some_and(|most| done < most);
    assert_eq!(
        line[6],
        if met {
            "met"
        } else if lost {
            "lost"
        } else {
            "missed"
        },
        "the verdict on S9"
    );
}

/// Compares the line of memory and of bytes on disk.
fn check_memory(row: &Value, rows: &Value, line: &[String]) {
    let Some(own) = tool(&rows["S1"], "seaway") else { return assert_eq!(line[6], "failed") };
    let most = |key: &str| {
        own["runs"].as_array().expect("runs").iter().filter_map(|run| run[key].as_f64()).fold(0.0, f64::max)
    };
    let (memory, written) = (most("client_memory"), most("client_written"));
    let (shown, disk) = line[2].split_once(" and ").expect("two figures");
    assert!(says(shown, memory / (1024.0 * 1024.0)) && says(disk, written / (1024.0 * 1024.0)), "S10: `{}`", line[2]);
    let limit = |key: &str| row["target"][key].as_f64().expect("a limit");
    let met = memory <= limit("memory") && written <= limit("written");
    assert_eq!(line[6], if met { "met" } else { "missed" }, "the verdict on S10");
}

#[test]
fn the_table_of_the_push_rows_says_what_was_measured() {
    let readme = read("README.md").expect("bench/README.md");
    let Some(text) = read("results/push.json") else {
        let shown = readme.lines().find(|line| line.starts_with("| S1 | "));
        return assert_eq!(shown, None, "a table without the JSON that it was made from");
    };
    let run: Value = serde_json::from_str(&text).expect("bench/results/push.json");
    assert_eq!(run["small"], false, "figures of small fixtures are no figures");
    let rows = &run["rows"];
    for id in ["S1", "S2", "S3", "S3s", "S3w", "S4", "S5", "S5x", "S6", "S7", "S8", "S9", "S10"] {
        let (row, line) = (&rows[id], cells(&readme, id));
        match row["target"]["kind"].as_str() {
            Some("faults") => check_faults(row, &line),
            Some("memory") => check_memory(row, rows, &line),
            _ => check_times(row, rows, &line),
        }
    }
    let machine =
        format!("{} cores, {}", run["machine"]["cores"], run["machine"]["processor"].as_str().unwrap_or_default());
    assert!(readme.contains(&machine), "the machine, `{machine}`, is not named");
}

#[test]
fn the_table_of_the_other_rows_says_what_was_measured() {
    let readme = read("README.md").expect("bench/README.md");
    let Some(text) = read("results/deploy.json") else {
        let shown = readme.lines().find(|line| line.starts_with("| E11 | "));
        return assert_eq!(shown, None, "a table without the JSON that it was made from");
    };
    let run: Value = serde_json::from_str(&text).expect("bench/results/deploy.json");
    for (id, row) in run["rows"].as_object().expect("rows") {
        let line = cells(&readme, id);
        for (key, cell) in [("seaway", &line[2]), ("by_hand", &line[3])] {
            match middle(row[key].as_array().expect("times").iter().filter_map(Value::as_f64).collect()) {
                Some(time) => assert!(says(cell, time * 1000.0), "{id} {key}: {time} s, and the table says {cell}"),
                None => assert_eq!(cell, "", "{id} {key} was not measured"),
            }
        }
    }
}
