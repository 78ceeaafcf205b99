//! The plain log: one line a change, with the time since the start in front; in GitHub Actions a group a phase and
//! annotations; where nothing happens for a while, a line that says what is waited for.

use super::picture::{Phase, Picture, State, Task};
use super::text::{Paint, append, bytes, duration, elapsed};
use super::{Output, Sink, failure, table};
use crate::error::Failure;
use crate::execute::{Event, EventKind, OperationOutcome, SmokeResult};
use crate::github::workflow_commands::{Annotation, END_GROUP, Level, group, inert};
use crate::plan::OperationId;
use std::collections::BTreeMap;
use std::time::Duration;

/// A log is never silent for longer: a little less than what is promised, for a line may be late.
const HEARTBEAT: Duration = Duration::from_secs(12);

/// The plain log.
pub(super) struct Lines {
    /// Where it is written.
    output: Output,
    /// Whether a GitHub runner reads it.
    actions: bool,
    /// Whether the lines of builds are shown.
    build_logs: bool,
    /// The phase whose group is open.
    open: Option<Phase>,
    /// When the last line was written, since the start of the run.
    last: Duration,
    /// What was said last of each operation.
    said: BTreeMap<OperationId, String>,
}

impl Lines {
    /// A log on this output.
    pub(super) fn new(output: Output, actions: bool, build_logs: bool) -> Self {
        Self { output, actions, build_logs, open: None, last: Duration::ZERO, said: BTreeMap::new() }
    }

    /// Writes a text with the time in front.
    fn say(&mut self, picture: &Picture, text: &str) -> Result<(), Failure> {
        self.last = picture.now;
        let mut lines = String::new();
        for (number, line) in picture.clean(text).lines().enumerate() {
            let time = if number == 0 { elapsed(picture.now) } else { String::new() };
            append!(lines, "{time:>9}  {}\n", if self.actions { inert(line) } else { line.to_owned() });
        }
        self.output.print(&lines)
    }

    /// Opens the group that a line of this phase belongs to, if it is a new one.
    ///
    /// Phases overlap, groups cannot, and they only go forward: what comes early stands in the group of the phase that is
    /// not over yet, so that the log of a build stays in one piece.
    fn enter(&mut self, phase: Phase, picture: &Picture) -> Result<(), Failure> {
        let phase = picture.unfinished().map_or(phase, |unfinished| phase.min(unfinished));
        if !self.actions || self.open.is_some_and(|open| open >= phase) {
            return Ok(());
        }
        let end = if self.open.is_some() { format!("{END_GROUP}\n") } else { String::new() };
        self.open = Some(phase);
        self.output.print(&format!("{end}{}\n", group(phase.name())))
    }

    /// Closes the open group.
    fn leave(&mut self) -> Result<(), Failure> {
        if self.open.take().is_some() { self.output.print(&format!("{END_GROUP}\n")) } else { Ok(()) }
    }

    /// What is said of an event of an operation; `None` where it is not worth a line.
    fn operation_text(&mut self, event: &Event, picture: &Picture) -> Option<(OperationId, String)> {
        let (operation, text) = match &event.kind {
            EventKind::OperationStarted { operation } => (*operation, started(picture.tasks.get(*operation)?)?),
            EventKind::Progress { operation, .. } => (*operation, progress(picture.tasks.get(*operation)?)),
            EventKind::Blob { operation, progress } => {
                let task = picture.tasks.get(*operation)?;
                let arrival = task.moving.arrival(progress.number, event.at)?;
                return Some((*operation, format!("{}: {arrival}", task.subject)));
            }
            EventKind::OperationFinished { operation, outcome, .. } => {
                (*operation, finished(picture.tasks.get(*operation)?, outcome)?)
            }
            EventKind::BuildLog { operation, line } if self.build_logs => {
                return Some((*operation, format!("{} | {line}", picture.tasks.get(*operation)?.subject)));
            }
            _ => return None,
        };
        let repeated = self.said.insert(operation, text.clone()) == Some(text.clone());
        (!repeated).then_some((operation, text))
    }

    /// What is said of an event that belongs to no operation.
    fn run_text(&self, event: &Event, picture: &Picture) -> Option<String> {
        match &event.kind {
            EventKind::Started(_) => picture.header.as_ref().map(table::headline),
            EventKind::Preparing { what } => Some(what.clone()),
            EventKind::Planned(_) => Some(planned(picture)),
            EventKind::Address { url, source } => Some(format!("address {url}  {source}")),
            EventKind::SmokeAnswered { result } => Some(smoke(result)),
            EventKind::Warning { message } if !self.actions => Some(format!("warning: {message}")),
            EventKind::Stopping => Some(failure::stopping(picture).to_owned()),
            _ => None,
        }
    }

    /// A warning as an annotation.
    fn annotate_warning(&mut self, picture: &Picture, message: &str) -> Result<(), Failure> {
        let message = picture.clean(message);
        let annotation = Annotation { level: Level::Warning, title: "seaway", message: &message, place: None };
        self.output.print(&format!("{}\n", annotation.command()))
    }

    /// Failures as annotations, the decisive one first: the runner shows only ten.
    fn annotate_failures(&mut self, picture: &Picture) -> Result<(), Failure> {
        for diagnosis in picture.outcome.iter().flat_map(|outcome| &outcome.failures).take(10) {
            let message = annotation_text(diagnosis);
            let place = picture.place(diagnosis);
            let place = place.as_ref().map(|place| (place.file.as_str(), place.line));
            let annotation = Annotation { level: Level::Error, title: "seaway", message: &message, place };
            self.output.print(&format!("{}\n", annotation.command()))?;
        }
        Ok(())
    }
}

impl Sink for Lines {
    fn name(&self) -> &'static str {
        "the log"
    }

    fn event(&mut self, event: &Event, picture: &Picture) -> Result<(), Failure> {
        if let (true, EventKind::Warning { message }) = (self.actions, &event.kind) {
            return self.annotate_warning(picture, message);
        }
        if let Some((operation, text)) = self.operation_text(event, picture) {
            self.enter(picture.tasks.get(operation).map_or(Phase::Preparation, |task| task.phase), picture)?;
            return self.say(picture, &text);
        }
        match &event.kind {
            EventKind::Address { .. } => self.enter(Phase::Address, picture)?,
            EventKind::SmokeAnswered { .. } => self.enter(Phase::Smoke, picture)?,
            _ => {}
        }
        match self.run_text(event, picture) {
            Some(text) => self.say(picture, &text),
            None => Ok(()),
        }
    }

    fn tick(&mut self, picture: &Picture) -> Result<(), Failure> {
        if picture.outcome.is_some() || picture.now.saturating_sub(self.last) < HEARTBEAT {
            return Ok(());
        }
        self.say(picture, &heartbeat(picture))
    }

    fn close(&mut self, picture: &Picture) -> Result<(), Failure> {
        self.leave()?;
        if self.actions {
            self.annotate_failures(picture)?;
        }
        let ending = failure::ending(picture, Paint { colour: false });
        if ending.is_empty() {
            let changed = if picture.wrote() { "" } else { ", no object had to change" };
            return if picture.outcome.is_some() { self.say(picture, &format!("done{changed}")) } else { Ok(()) };
        }
        let lines: Vec<String> =
            ending.lines().map(|line| if self.actions { inert(line) } else { line.to_owned() }).collect();
        self.output.print(&format!("\n{}\n", lines.join("\n")))
    }
}

/// A failure as an annotation has it: the messages, the chain, the help.
fn annotation_text(diagnosis: &crate::execute::Diagnosis) -> String {
    let mut lines = diagnosis.failure.messages.clone();
    if !diagnosis.chain.is_empty() {
        lines.push(diagnosis.chain.join(" › "));
    }
    lines.extend(diagnosis.failure.hint.iter().map(|hint| format!("help: {hint}")));
    lines.join("\n")
}

/// What is waited for, and for how long already.
fn heartbeat(picture: &Picture) -> String {
    let task = |task: &Task| {
        let state = if task.message.is_empty() { String::new() } else { format!(": {}", task.message) };
        let age = task.age(picture.now).map(|age| format!(" ({})", duration(age))).unwrap_or_default();
        format!("{}{state}{}{age}", task.name(), transferred(task, picture.now))
    };
    let running: Vec<String> = picture.running().map(task).collect();
    match (running.is_empty(), &picture.preparing) {
        (false, _) => format!("still going on: {}", running.join("; ")),
        (true, Some(what)) => format!("still {what}"),
        (true, None) => "still going on".to_owned(),
    }
}

/// `, 3.1 MB of 4.1 MB, 1.2 MB/s, 1 s left`.
fn transferred(task: &Task, now: Duration) -> String {
    let summary = task.moving.summary(now);
    if summary.is_empty() { summary } else { format!(", {summary}") }
}

/// What is said when an operation begins: only of those that take long.
fn started(task: &Task) -> Option<String> {
    matches!(task.verb, "build" | "push" | "mirror").then(|| task.name())
}

/// What is said when an operation goes on.
fn progress(task: &Task) -> String {
    let subject = if task.subject.is_empty() { task.verb } else { &task.subject };
    format!("{subject}: {}", task.message)
}

/// What is said when an operation has ended; nothing of an object that did not change.
fn finished(task: &Task, outcome: &OperationOutcome) -> Option<String> {
    let took = task.took.map(|took| format!("  {}", duration(took))).unwrap_or_default();
    let subject = if task.subject.is_empty() { task.verb } else { &task.subject };
    let detail = if task.message.is_empty() { String::new() } else { format!(": {}", task.message) };
    match outcome {
        // The answer has a line of its own, and the cause is the last thing that is said.
        OperationOutcome::Failed(_) if task.phase == Phase::Smoke => None,
        OperationOutcome::Failed(_) => Some(format!("{} failed{detail}{took}", task.name())),
        OperationOutcome::Skipped { .. } => Some(format!("{} skipped{detail}", task.name())),
        OperationOutcome::Done { .. } => match task.phase {
            Phase::Images => Some(image(task, &took)),
            Phase::Objects => task.changed.then(|| format!("applied {}{detail}", task.subject)),
            Phase::Rollout if !task.changed => None,
            Phase::Rollout => {
                let ready = if detail.is_empty() { ": ready" } else { &detail };
                Some(format!("{subject}{ready}{took}"))
            }
            // The address and the answers have lines of their own.
            Phase::Preparation | Phase::Address | Phase::Smoke => None,
        },
    }
}

/// An image that lies in the registry.
fn image(task: &Task, took: &str) -> String {
    let mut text = format!("{} {}", task.subject, table::image_state(task));
    let Some(image) = &task.image else { return format!("{text}{took}") };
    if !image.detail.is_empty() {
        append!(text, ": {}", image.detail);
    }
    if image.bytes_sent > 0 {
        append!(text, ", {} sent", bytes(image.bytes_sent));
    }
    format!("{text}  sha256:{}{took}", image.digest.short())
}

/// What the plan will do, in a sentence.
fn planned(picture: &Picture) -> String {
    let named = |verb: &str| -> Vec<&str> {
        let tasks = picture.tasks_of(Phase::Images).filter(|task| task.verb == verb && task.state == State::Waiting);
        tasks.map(|task| task.subject.as_str()).collect()
    };
    let images = ["build", "push", "mirror", "reuse"].into_iter().filter_map(|verb| {
        let keys = named(verb);
        (!keys.is_empty()).then(|| format!("{verb} {}", keys.join(", ")))
    });
    let counts = Some(table::object_counts(picture, ["to change", "to create"])).filter(|counts| !counts.is_empty());
    let parts: Vec<String> = images.chain(counts.map(|counts| format!("objects: {counts}"))).collect();
    if parts.is_empty() { "plan: nothing to do".to_owned() } else { format!("plan: {}", parts.join("; ")) }
}

/// A request and its answer.
fn smoke(result: &SmokeResult) -> String {
    let status = result.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let mut text = format!("smoke {} {}  {status}  {}", result.method, result.path, duration(result.took));
    match &result.failure {
        Some(failure) => append!(text, "  failed: {failure}"),
        None if result.detail.is_empty() => {}
        None => append!(text, "  {}", result.detail),
    }
    text
}
