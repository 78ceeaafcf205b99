//! A [`Picture`] as a page in Markdown: the comment on a pull request and the job summary share it.

use super::markdown::{address, block, code, details, escape, link, prose, table};
use super::picture::{ObjectChange, Phase, Picture, State, Task};
use super::text::{append, bytes, duration};
use super::{table as words, timeline};
use crate::execute::{Diagnosis, Outcome, SmokeResult, Transfer};
use crate::model::counted;
use crate::plan::{Change, FieldChange};

/// What a page knows beside the run, and where it leads to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    /// The application's name, for runs that fail before they have begun.
    pub(crate) application: String,
    /// The log of the run.
    pub(crate) log: Option<String>,
    /// The commit that is deployed.
    pub(crate) commit: Option<String>,
}

/// The page as the run stands.
pub(super) fn page(picture: &Picture, links: &Links) -> String {
    match &picture.outcome {
        None => underway(picture, links),
        Some(outcome) if outcome.is_cancelled() => cancelled(picture, outcome, links),
        Some(outcome) if outcome.failures.is_empty() => live(picture, outcome, links),
        Some(outcome) => failed(picture, outcome, links),
    }
}

/// The application as code.
fn application(picture: &Picture, links: &Links) -> String {
    code(picture.header.as_ref().map_or(&links.application, |header| &header.application))
}

/// While the run goes on: what is being done, in one line.
fn underway(picture: &Picture, links: &Links) -> String {
    let log = links.log.as_ref().map(|log| format!(" · {}", link("log", log))).unwrap_or_default();
    let mut text = format!("### {} is being deployed{log}\n", application(picture, links));
    let images = picture.tasks_of(Phase::Images).map(|task| image_words(task, picture));
    let rollout = picture.tasks_of(Phase::Rollout).filter(|task| task.state == State::Running && task.object.is_some());
    let rollout = rollout.map(|task| {
        let state = if task.message.is_empty() { "in progress".to_owned() } else { escape(&task.message) };
        format!("{} {state}", escape(&task.subject))
    });
    let words: Vec<String> = images.chain(rollout).collect();
    append!(text, "{}\n", words.join(" · "));
    text
}

/// `backend building (12.0 s)`.
fn image_words(task: &Task, picture: &Picture) -> String {
    let age = task.age(picture.now).filter(|_| task.state == State::Running && task.changed);
    let age = age.map(|age| format!(" ({})", duration(age))).unwrap_or_default();
    format!("{} {}{age}", escape(&task.subject), words::image_state(task))
}

/// A run that is done.
fn live(picture: &Picture, outcome: &Outcome, links: &Links) -> String {
    let url = outcome.url.as_ref().or(picture.address.as_ref().map(|(url, _)| url));
    let place = url.map_or_else(String::new, |url| format!(": {}", address(url)));
    let mut text = format!("### {} is live{place}\n", application(picture, links));
    text.push_str(&tables(picture));
    append!(text, "\n{}\n", footer(picture, outcome, links));
    text.push_str(&folded(picture));
    text
}

/// A run that failed: the cause and the chain of objects first, the evidence folded away, then what to do.
fn failed(picture: &Picture, outcome: &Outcome, links: &Links) -> String {
    let mut text = format!("### {} could not be deployed\n", application(picture, links));
    for diagnosis in &outcome.failures {
        text.push_str(&failure(diagnosis));
    }
    if outcome.written.is_empty() {
        text.push_str("\nNo object was written to the cluster.\n");
    }
    append!(text, "\n{}\n", footer(picture, outcome, links));
    let states = tables(picture);
    if !states.is_empty() {
        text.push_str(&details("How far it came", &states));
    }
    text.push_str(&folded(picture));
    text
}

/// One failure.
fn failure(diagnosis: &Diagnosis) -> String {
    let mut messages = diagnosis.failure.messages.iter();
    let mut text = format!("\n**{}**\n", prose(messages.next().map_or("something failed", String::as_str)));
    for cause in messages {
        append!(text, "<br>cause: {}\n", prose(cause));
    }
    if !diagnosis.chain.is_empty() {
        let chain: Vec<String> = diagnosis.chain.iter().map(|object| code(object)).collect();
        append!(text, "<br>{}\n", chain.join(" › "));
    }
    for (number, (title, lines)) in diagnosis.evidence.iter().enumerate() {
        text.push_str(if number == 0 { "\n" } else { "" });
        let lines = lines.iter().map(String::as_str);
        text.push_str(&details(&prose(title), &block(lines)));
    }
    if let Some(hint) = &diagnosis.failure.hint {
        let lines: Vec<String> = hint.lines().map(prose).collect();
        append!(text, "\nhelp: {}\n", lines.join("<br>"));
    }
    text
}

/// A run that was stopped.
fn cancelled(picture: &Picture, outcome: &Outcome, links: &Links) -> String {
    let mut text = format!("### The deploy of {} was cancelled\n", application(picture, links));
    if outcome.written.is_empty() {
        text.push_str("No object was written to the cluster.\n");
    } else {
        let names: Vec<String> = outcome.written.iter().map(|object| code(&object.to_string())).collect();
        let written = counted(names.len(), "object");
        append!(
            text,
            "{written} written: {}. The rollout goes on in the cluster; the next run finishes it.\n",
            names.join(", ")
        );
    }
    append!(text, "\n{}\n", footer(picture, outcome, links));
    text
}

/// The workloads, and the smoke requests.
fn tables(picture: &Picture) -> String {
    let waited = picture.tasks_of(Phase::Rollout).filter(|task| task.object.is_some());
    let workloads: Vec<Vec<String>> = waited.map(|task| workload_row(task, picture)).collect();
    let requests: Vec<Vec<String>> = picture.smoke.iter().map(smoke_row).collect();
    let workloads = table(&["workload", "state", "rollout", "image"], &workloads);
    let requests = table(&["smoke", "status", "time", ""], &requests);
    let gap = if workloads.is_empty() || requests.is_empty() { "" } else { "\n" };
    format!("{workloads}{gap}{requests}")
}

/// A workload: its name, its state, how it was rolled out, its image.
fn workload_row(task: &Task, picture: &Picture) -> Vec<String> {
    let state = match (picture.state_of(task), task.changed) {
        (State::Done, true) => "ready",
        (State::Done, false) => "ready, unchanged",
        (State::Failed, _) => "**failed**",
        (State::Running, _) => "in progress",
        (State::Waiting, _) => "not waited for",
        (State::Skipped, _) => "skipped",
    };
    let took = task.took.filter(|_| task.changed && picture.state_of(task) == State::Done);
    let took = took.map(|took| format!(" in {}", duration(took))).unwrap_or_default();
    let shown = matches!(picture.state_of(task), State::Done | State::Running);
    let message = if shown { escape(&task.message.replace("  ", " · ")) } else { String::new() };
    let image = task.object.as_ref().and_then(|object| picture.image_of(object));
    vec![
        escape(&task.subject),
        state.to_owned(),
        format!("{message}{took}"),
        image.map(|digest| code(&digest)).unwrap_or_default(),
    ]
}

/// A request and its answer.
fn smoke_row(result: &SmokeResult) -> Vec<String> {
    let status = result.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let detail = match &result.failure {
        Some(failure) => format!("**failed**: {}", prose(failure)),
        None if result.detail.is_empty() => String::new(),
        None => code(&result.detail),
    };
    vec![code(&format!("{} {}", result.method, result.path)), status, duration(result.took), detail]
}

/// `commit 1a2b3c4 · 35.9 s · log`.
fn footer(picture: &Picture, outcome: &Outcome, links: &Links) -> String {
    let header = picture.header.as_ref();
    let commit = header.and_then(|header| header.commit.as_ref()).map(|commit| match &links.commit {
        Some(url) => format!("commit {}", link(&code(commit), url)),
        None => format!("commit {}", code(commit)),
    });
    let placed = header.filter(|header| !header.cluster.is_empty());
    let place = placed.map(|header| format!("{} on {}", code(&header.namespace), escape(&header.cluster)));
    let log = links.log.as_ref().map(|log| link("log", log));
    let parts = [commit, place, Some(duration(outcome.took)), log];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// What only some want to see.
fn folded(picture: &Picture) -> String {
    let mut text = String::new();
    let changes: String = picture.objects.iter().filter_map(change_line).collect();
    let images: String = picture.tasks_of(Phase::Images).filter_map(image_line).collect();
    if !changes.is_empty() || !images.is_empty() {
        text.push_str(&details("What changed", &format!("{images}{changes}")));
    }
    if let Some(chart) = timeline::chart(picture) {
        text.push_str(&details("Timeline", &chart));
    }
    if !picture.warnings.is_empty() {
        let lines: String = picture.warnings.iter().map(|warning| bullet(&prose(warning))).collect();
        text.push_str(&details(&counted(picture.warnings.len(), "warning"), &lines));
    }
    text
}

/// A line of a list.
fn bullet(text: &str) -> String {
    format!("- {text}\n")
}

/// An image that is new; `None` for one that was reused.
fn image_line(task: &Task) -> Option<String> {
    let image = task.image.as_ref().filter(|_| task.changed)?;
    let sent = if image.bytes_sent > 0 { format!(", {} sent", bytes(image.bytes_sent)) } else { String::new() };
    let detail = escape(&image.detail);
    Some(bullet(&format!(
        "image {} {}: {detail}{sent}{}, {}",
        escape(&image.key),
        words::image_state(task),
        transfer_words(&image.transfer),
        code(image.digest.as_str())
    )))
}

/// What the way of an image into the registry took: `, 31.0 MB reused (prepare 41 ms, layers 1.2 s, 14 requests)`.
fn transfer_words(transfer: &Transfer) -> String {
    let spared = [(transfer.reused, "reused"), (transfer.mounted, "mounted")];
    let spared =
        spared.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!(", {} {word}", bytes(*count)));
    let phases = transfer.phases.iter().map(|(name, took)| format!("{name} {}", duration(*took)));
    let requests = (transfer.requests > 0).then(|| format!("{} requests", transfer.requests));
    let costs: Vec<String> = phases.chain(requests).collect();
    let costs = if costs.is_empty() { String::new() } else { format!(" ({})", costs.join(", ")) };
    spared.chain([costs]).collect()
}

/// An object that changed; `None` for one that did not.
fn change_line(row: &ObjectChange) -> Option<String> {
    let object = escape(&row.object.to_string());
    match &row.change {
        Change::Create => Some(bullet(&format!("{object}: created"))),
        Change::Configure { fields, rolls } => {
            let rolls = words::rolls_text(*rolls, row.pods);
            let gap = if rolls.is_empty() { "" } else { ", " };
            let fields: String = fields.iter().map(field).collect();
            Some(format!("{}{fields}", bullet(&format!("{object}: changed{gap}{rolls}"))))
        }
        Change::Unchanged => None,
    }
}

/// A field that changes, with its values.
fn field(field: &FieldChange) -> String {
    let value = |value: &Option<String>| value.as_ref().map_or_else(|| "none".to_owned(), |value| code(value));
    format!("  - {}: {} → {}\n", code(&field.path), value(&field.before), value(&field.after))
}
