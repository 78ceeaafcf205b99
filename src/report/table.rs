//! A [`Picture`] as the table that lives while a run goes on, and that stays when it has ended.

use super::picture::{ObjectChange, Phase, Picture, State, Task};
use super::progress::in_all;
use super::text::{Cell, Paint, Section, Tone, append, bytes, duration, shorten};
use crate::execute::SmokeResult;
use crate::execute::event::Header;
use crate::model::counted;
use crate::plan::{Change, FieldChange};
use std::time::Duration;

/// `todo → todo-app-prod on todo-prod (nyc1) · commit 1a2b3c4 · for #42 · cluster chosen by deploy.yml`. What matters least
/// stands last, where a narrow terminal cuts.
pub(super) fn headline(header: &Header) -> String {
    let mut line = match header.cluster.as_str() {
        "" => header.application.clone(), // a push goes to no cluster
        cluster => format!("{} → {} on {cluster}", header.application, header.namespace),
    };
    if let Some(commit) = &header.commit {
        append!(line, " · commit {commit}");
    }
    if let Some(number) = header.pull_request {
        append!(line, " · for #{number}");
    }
    if !header.cluster_because.is_empty() {
        append!(line, " · cluster chosen by {}", header.cluster_because);
    }
    line
}

/// The table, line by line, none longer than `width`.
pub(super) fn lines(picture: &Picture, width: usize, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(header) = &picture.header {
        lines.push(paint.paint(Tone::Strong, &shorten(&headline(header), width)));
    }
    let sections = [images(picture), objects(picture), rollout(picture), address(picture), smoke(picture)];
    let body: Vec<String> = sections.iter().flat_map(|section| section.lines(width, paint)).collect();
    if !lines.is_empty() && !body.is_empty() {
        lines.push(String::new());
    }
    lines.extend(body);
    if let Some(what) = picture.preparing.as_ref().filter(|_| picture.outcome.is_none()) {
        lines.push(paint.paint(Tone::Busy, &shorten(&format!("{what} …"), width)));
    }
    lines
}

/// One row an image: its key, its state in a word, its time, what was done, its digest.
fn images(picture: &Picture) -> Section {
    let row = |task: &Task| {
        let time = task.age(picture.now).filter(|_| task.changed).map(duration).unwrap_or_default();
        let digest = task.image.as_ref().map(|image| format!("sha256:{}", image.digest.short())).unwrap_or_default();
        let state = Cell::new(tone(task.state), image_state(task));
        vec![
            Cell::new(Tone::Strong, &task.subject),
            state,
            time.into(),
            image_detail(task, picture.now).into(),
            Cell::new(Tone::Faint, digest),
        ]
    };
    let mut rows = Vec::new();
    for task in picture.tasks_of(Phase::Images) {
        rows.push(row(task));
        let layers = task.moving.lines();
        rows.extend(layers.into_iter().map(|line| vec![Cell::new(Tone::Faint, format!("  {line}"))]));
    }
    let all = in_all(picture.tasks_of(Phase::Images).map(|task| &task.moving), picture.now);
    rows.extend(all.map(|text| vec![Cell::new(Tone::Busy, text)]));
    Section { heading: "images", rows }
}

/// The state of an image in a word.
pub(super) fn image_state(task: &Task) -> &'static str {
    match (task.state, task.verb) {
        (State::Waiting, _) => "waiting",
        (State::Running, "build") => "building",
        (State::Running, "push") => "pushing",
        (State::Running, "mirror") => "mirroring",
        (State::Running, _) => "checking",
        (State::Done, "build") => "built",
        (State::Done, "push") => "pushed",
        (State::Done, "mirror") => "mirrored",
        (State::Done, _) => "reused",
        (State::Failed, _) => "failed",
        (State::Skipped, _) => "skipped",
    }
}

/// What was done for an image, or what is going on.
fn image_detail(task: &Task, now: Duration) -> String {
    let summary = task.moving.summary(now);
    if task.state == State::Running && !summary.is_empty() {
        // The numbers first: a narrow terminal cuts the end.
        let separator = if task.message.is_empty() { "" } else { "  " };
        return format!("{summary}{separator}{}", task.message);
    }
    match &task.image {
        Some(image) if task.state == State::Done && image.bytes_sent > 0 => {
            format!("{}, {} sent", image.detail, bytes(image.bytes_sent))
        }
        Some(image) if task.state == State::Done => image.detail.clone(),
        _ => task.message.clone(),
    }
}

/// The colour that repeats a state.
fn tone(state: State) -> Tone {
    match state {
        State::Waiting | State::Skipped => Tone::Faint,
        State::Running => Tone::Busy,
        State::Done => Tone::Good,
        State::Failed => Tone::Bad,
    }
}

/// A sentence of counts, then one row an object that changes.
fn objects(picture: &Picture) -> Section {
    let over = picture.tasks_of(Phase::Objects).all(|task| !task.changed || task.state == State::Done);
    let summary = object_counts(picture, if over { ["changed", "created"] } else { ["to change", "to create"] });
    if summary.is_empty() {
        return Section::default();
    }
    let mut rows = vec![vec![summary.into()]];
    rows.extend(picture.objects.iter().filter_map(|change| object_row(picture, change)));
    Section { heading: "objects", rows }
}

/// An object that changes: its sign, kind and name, what changes in it, what that does to its pods.
fn object_row(picture: &Picture, row: &ObjectChange) -> Option<Vec<Cell>> {
    let (sign, what, rolls) = match &row.change {
        Change::Create => ("+", String::new(), String::new()),
        Change::Configure { fields, rolls } => ("~", fields_text(fields), rolls_text(*rolls, row.pods)),
        Change::Unchanged => return None,
    };
    let mut applied = picture.tasks_of(Phase::Objects).filter(|task| task.object.as_ref() == Some(&row.object));
    let failed = applied.find(|task| task.state == State::Failed);
    let what = match failed {
        Some(task) => Cell::new(Tone::Bad, failed_text(task, picture)),
        None => what.into(),
    };
    let kind = format!("  {sign} {}", row.object.kind());
    Some(vec![kind.into(), Cell::new(Tone::Strong, &row.object.name), what, rolls.into()])
}

/// `failed`, and why as long as the failure itself is not shown below.
fn failed_text(task: &Task, picture: &Picture) -> String {
    let shown = picture.outcome.as_ref().is_some_and(|outcome| !outcome.failures.is_empty());
    if shown || task.message.is_empty() { "failed".to_owned() } else { format!("failed: {}", task.message) }
}

/// `2 changed, 1 created, 19 unchanged`, the first two in the words given; empty where the plan has no objects.
pub(super) fn object_counts(picture: &Picture, [change, create]: [&str; 2]) -> String {
    let (mut created, mut changed, mut unchanged) = (0, 0, 0);
    for row in &picture.objects {
        match row.change {
            Change::Create => created += 1,
            Change::Configure { .. } => changed += 1,
            Change::Unchanged => unchanged += 1,
        }
    }
    let counts = [(changed, change), (created, create), (unchanged, "unchanged")];
    let words: Vec<String> =
        counts.iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")).collect();
    words.join(", ")
}

/// What changes in an object, in few words: `image, env LOG_LEVEL: info → debug`.
pub(super) fn fields_text(fields: &[FieldChange]) -> String {
    /// More than these are counted only.
    const SHOWN: usize = 3;
    let mut words: Vec<String> = fields.iter().take(SHOWN).map(field_text).collect();
    words.dedup();
    if fields.len() > SHOWN {
        words.push(format!("{} more", fields.len() - SHOWN));
    }
    words.join(", ")
}

/// A field by its last name, with its values where they are short: `replicas: 2 → 3`.
fn field_text(field: &FieldChange) -> String {
    /// Longer values tell nothing at a glance.
    const SHORT: usize = 24;
    let name = field_name(&field.path);
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let (before, after) = (value(&field.before), value(&field.after));
    if name == "image" || before.chars().count().max(after.chars().count()) > SHORT {
        return name;
    }
    format!("{name}: {before} → {after}")
}

/// The part of a path that people know a field by: `replicas`, `env LOG_LEVEL` for the value of a list's named entry.
fn field_name(path: &str) -> String {
    let mut parts = path.rsplit('.');
    let leaf = parts.next().unwrap_or(path);
    let entry = parts.next().and_then(|part| part.strip_suffix(']')).and_then(|part| part.split_once('['));
    match (leaf, entry) {
        ("value", Some((list, key))) => format!("{list} {key}"),
        _ => leaf.to_owned(),
    }
}

/// `rolls 3 pods`.
pub(super) fn rolls_text(rolls: bool, pods: Option<u64>) -> String {
    match (rolls, pods) {
        (false, _) => String::new(),
        (true, Some(pods)) => format!("rolls {}", counted(usize::try_from(pods).unwrap_or(usize::MAX), "pod")),
        (true, None) => "rolls its pods".to_owned(),
    }
}

/// One row a workload that changes or is not ready; the others are a sentence.
fn rollout(picture: &Picture) -> Section {
    let settled = |task: &&Task| !task.changed && picture.state_of(task) == State::Done && task.object.is_some();
    let mut rows: Vec<Vec<Cell>> = picture
        .tasks_of(Phase::Rollout)
        .filter(|task| !settled(task) && is_worth_a_row(task, picture))
        .map(|task| rollout_row(task, picture))
        .collect();
    let unchanged = picture.tasks_of(Phase::Rollout).filter(settled).count();
    if unchanged > 0 {
        rows.push(vec![Cell::new(Tone::Faint, format!("{} ready, unchanged", counted(unchanged, "object")))]);
    }
    Section { heading: "rollout", rows }
}

/// Settling is told only while it goes on, and when it fails.
fn is_worth_a_row(task: &Task, picture: &Picture) -> bool {
    let over = picture.outcome.is_some();
    let passing = task.object.is_none() && matches!(task.state, State::Waiting | State::Done | State::Skipped);
    !(passing || over && task.state == State::Waiting && !task.changed)
}

/// A workload: its name, its state in words, its time.
fn rollout_row(task: &Task, picture: &Picture) -> Vec<Cell> {
    let state = picture.state_of(task);
    let name = if task.object.is_none() { task.verb } else { task.subject.as_str() };
    let word = match state {
        State::Waiting => "waiting",
        State::Running => "in progress",
        State::Done => "ready",
        State::Failed => "failed",
        State::Skipped => "skipped",
    };
    // `3/3 ready` needs no second `ready` before it.
    let told = state == State::Done && task.message.contains(word);
    let text = match (state, told, task.message.is_empty()) {
        (State::Failed, _, _) => failed_text(task, picture),
        (_, true, _) => task.message.clone(),
        (State::Running, _, true) if task.object.is_none() => "watching that all stay ready".to_owned(),
        (_, false, true) => word.to_owned(),
        (_, false, false) => format!("{word}: {}", task.message),
    };
    let timed = !matches!(state, State::Waiting | State::Skipped);
    let time = task.age(picture.now).filter(|_| timed).map(duration).unwrap_or_default();
    vec![Cell::new(Tone::Strong, name), Cell::new(tone(state), text), time.into()]
}

/// The address and where it comes from.
fn address(picture: &Picture) -> Section {
    let row = match (&picture.address, picture.tasks_of(Phase::Address).next()) {
        (Some((url, source)), _) => vec![Cell::new(Tone::Good, url), source.into()],
        (None, Some(task)) if matches!(task.state, State::Running | State::Failed) => {
            let failed = task.state == State::Failed;
            let text = if failed { failed_text(task, picture) } else { format!("in progress: {}", task.message) };
            let age = task.age(picture.now).map(duration).unwrap_or_default();
            vec![Cell::new(tone(task.state), text), age.into()]
        }
        _ => return Section::default(),
    };
    Section { heading: "address", rows: vec![row] }
}

/// One row a request.
fn smoke(picture: &Picture) -> Section {
    let mut rows: Vec<Vec<Cell>> = picture.smoke.iter().map(smoke_row).collect();
    let running = picture.tasks_of(Phase::Smoke).filter(|task| task.state == State::Running);
    rows.extend(running.filter(|task| !task.message.is_empty()).map(|task| vec![Cell::new(Tone::Busy, &task.message)]));
    Section { heading: "smoke", rows }
}

/// A request: method and path, status, time, what was checked or what is wrong.
fn smoke_row(result: &SmokeResult) -> Vec<Cell> {
    let status = result.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let (tone, detail) = match &result.failure {
        Some(failure) => (Tone::Bad, format!("failed: {failure}")),
        None => (Tone::Good, result.detail.clone()),
    };
    let request = format!("{} {}", result.method, result.path);
    let plain = if result.failure.is_some() { Tone::Bad } else { Tone::Plain };
    vec![request.into(), Cell::new(tone, status), duration(result.took).into(), Cell::new(plain, detail)]
}
