//! A failed run: the cause first, then the evidence, then what to do; the last line says how it ended.

use super::picture::Picture;
use super::text::{Paint, Tone, append, duration};
use crate::execute::{Diagnosis, Outcome};
use crate::model::counted;

/// A diagnosis as a person reads it.
pub(super) fn diagnosis(diagnosis: &Diagnosis, paint: Paint) -> String {
    let mut text = String::new();
    let mut messages = diagnosis.failure.messages.iter();
    let first = messages.next().map_or("something failed", String::as_str);
    append!(text, "{} {}\n", paint.paint(Tone::Bad, "error:"), first.replace('\n', "\n  "));
    for cause in messages {
        append!(text, "  cause: {}\n", cause.replace('\n', "\n    "));
    }
    if !diagnosis.chain.is_empty() {
        append!(text, "\n  {}\n", diagnosis.chain.join(" › "));
    }
    for (title, lines) in &diagnosis.evidence {
        append!(text, "\n  {}\n", paint.paint(Tone::Strong, title));
        for line in lines {
            append!(text, "    {line}\n");
        }
    }
    if let Some(hint) = &diagnosis.failure.hint {
        let gap = if diagnosis.chain.is_empty() && diagnosis.evidence.is_empty() { "" } else { "\n" };
        append!(text, "{gap}  {} {}\n", paint.paint(Tone::Busy, "help:"), hint.replace('\n', "\n        "));
    }
    text
}

/// What somebody who asks to stop is told at once.
pub(super) fn stopping(picture: &Picture) -> &'static str {
    if is_push(picture) {
        "stopping: layers that are in the registry by now are not sent again"
    } else if picture.wrote() {
        "stopping: the rollout goes on in the cluster; `seaway up` resumes it"
    } else {
        "stopping: nothing was changed in the cluster"
    }
}

/// Whether it is a push, which has no cluster and writes no objects.
fn is_push(picture: &Picture) -> bool {
    picture.header.as_ref().is_some_and(|header| header.cluster.is_empty())
}

/// `seaway: the deploy failed after 9.8 s (exit 1)`; `None` for a run that is done.
pub(super) fn last_line(picture: &Picture) -> Option<String> {
    let outcome = picture.outcome.as_ref()?;
    let (code, took) = (outcome.exit_code(), duration(outcome.took));
    let is_push = is_push(picture);
    if outcome.is_cancelled() {
        let written = if is_push { String::new() } else { written(outcome) };
        return Some(format!("seaway: stopped after {took}{written} (exit {code})"));
    }
    if outcome.failures.is_empty() {
        return None;
    }
    let untouched = if outcome.written.is_empty() && !is_push { ", no object was written" } else { "" };
    let what = if is_push { "push" } else { "deploy" };
    Some(format!("seaway: the {what} failed after {took}{untouched} (exit {code})"))
}

/// Which objects a stopped run has written.
fn written(outcome: &Outcome) -> String {
    if outcome.written.is_empty() {
        return ", no object was written".to_owned();
    }
    let names: Vec<String> = outcome.written.iter().map(ToString::to_string).collect();
    format!(", {} written: {}", counted(names.len(), "object"), names.join(", "))
}

/// Everything that is said after the table of a run that is not done; empty for one that is.
pub(super) fn ending(picture: &Picture, paint: Paint) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(outcome) = &picture.outcome {
        parts.extend(outcome.failures.iter().map(|failure| diagnosis(failure, paint)));
    }
    parts.extend(last_line(picture).map(|line| format!("{line}\n")));
    parts.join("\n")
}
