//! Results go to standard output, everything else to standard error. A closed pipe ends the writing, not the run.

use super::args::Output;
use super::ending::Stop;
use super::settings::Settings;
use crate::config::{Diagnostic, Diagnostics};
use crate::error::{self, FailureKind};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;

/// Writes a result, a line feed added where there is none.
pub(crate) fn result(text: &str) {
    let mut out = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(out, "{text}{end}").and_then(|()| out.flush());
}

/// Writes a result for programs.
pub(crate) fn result_json(value: &Value) {
    result(&format!("{value:#}"));
}

/// Writes to people, a line feed added where there is none.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stderr().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(out, "{text}{end}").and_then(|()| out.flush());
}

/// Writes why a verb stopped before it did anything, and gives the exit code. Without settings: plain text.
pub(crate) fn fail(stop: &Stop, settings: Option<&Settings>) -> ExitCode {
    let colour = settings.is_some_and(|settings| settings.colour_stderr);
    let kind = stop.kind();
    let code = kind.exit_code();
    match stop {
        Stop::Diagnostics { diagnostics, file } | Stop::Builds { diagnostics, file } => {
            let summary = diagnostics.summary(file);
            say(&format!("{}\nseaway: {summary}, nothing was contacted (exit {code})", diagnostics.render(colour)));
        }
        Stop::Failure(failure) => {
            say(&format!("{}\nseaway: {} (exit {code})", error::render(failure), ending_of(kind)));
        }
    }
    if settings.is_some_and(|settings| settings.output == Output::Json) {
        result_json(&json_of(stop));
    }
    ExitCode::from(code)
}

/// How a failure ended the run, in a few words.
fn ending_of(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Application => "it failed",
        FailureKind::Configuration => "nothing was changed",
        FailureKind::Infrastructure => "it failed; running it again may help",
        FailureKind::TimedOut => "it timed out",
        FailureKind::Interrupted | FailureKind::Terminated => "it was stopped",
    }
}

/// The failure for programs.
fn json_of(stop: &Stop) -> Value {
    let problems: Vec<Value> = match stop {
        Stop::Diagnostics { diagnostics, .. } | Stop::Builds { diagnostics, .. } => problems_json(diagnostics),
        Stop::Failure(failure) => {
            vec![json!({ "severity": "error", "message": failure.to_string(), "hint": failure.hint })]
        }
    };
    json!({ "version": 1, "ok": false, "exit_code": stop.kind().exit_code(), "problems": problems })
}

/// Mistakes for programs.
fn problems_json(diagnostics: &Diagnostics) -> Vec<Value> {
    diagnostics.list().iter().map(diagnostic_json).collect()
}

/// One mistake for programs.
pub(crate) fn diagnostic_json(diagnostic: &Diagnostic) -> Value {
    let place = diagnostic.place.as_ref();
    json!({
        "severity": diagnostic.severity.word(),
        "message": diagnostic.message,
        "file": place.map(|place| place.file.display().to_string()),
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "label": diagnostic.label,
        "hint": diagnostic.hint,
    })
}
