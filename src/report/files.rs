//! What a workflow run leaves in the files that its runner names: the job summary, and the outputs of the step.

use super::page::{Links, page};
use super::picture::Picture;
use super::{Sink, outcome_word};
use crate::error::{Failure, FailureKind};
use crate::github::{fit, workflow_commands};
use crate::model::Redactor;
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// GitHub shows no longer summary of a step: <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits>.
const LONGEST_SUMMARY: usize = 1 << 20;

/// The job summary.
pub(super) struct JobSummary {
    /// The file of `GITHUB_STEP_SUMMARY`.
    path: PathBuf,
    /// Where it leads to.
    links: Links,
    /// What takes the secrets out.
    redactor: Redactor,
}

impl JobSummary {
    /// A summary at the end of this file.
    pub(super) fn new(path: PathBuf, links: Links, redactor: Redactor) -> Self {
        Self { path, links, redactor }
    }
}

impl Sink for JobSummary {
    fn name(&self) -> &'static str {
        "the job summary"
    }

    fn close(&mut self, picture: &Picture) -> Result<(), Failure> {
        if picture.outcome.is_none() {
            return Ok(());
        }
        let text = self.redactor.redact(&fit(&page(picture, &self.links), LONGEST_SUMMARY));
        append_to(&self.path, &format!("{text}\n"))
    }
}

/// The outputs of the step: `result`, `exit_code`, `url`, `digests`, `namespace`, `seconds`. They are written on failure too.
pub(super) struct Outputs {
    /// The file of `GITHUB_OUTPUT`.
    path: PathBuf,
    /// What takes the secrets out.
    redactor: Redactor,
}

impl Outputs {
    /// Outputs at the end of this file.
    pub(super) fn new(path: PathBuf, redactor: Redactor) -> Self {
        Self { path, redactor }
    }
}

impl Sink for Outputs {
    fn name(&self) -> &'static str {
        "the outputs of the step"
    }

    fn close(&mut self, picture: &Picture) -> Result<(), Failure> {
        let Some(outcome) = &picture.outcome else { return Ok(()) };
        let digests = outcome.digests.iter().map(|(key, digest)| (key.clone(), Value::from(digest.as_str())));
        let digests = Value::Object(digests.collect()).to_string();
        let url = outcome.url.clone().or_else(|| picture.address.as_ref().map(|(url, _)| url.clone()));
        let namespace = picture.header.as_ref().map(|header| header.namespace.clone());
        let outputs = [
            ("result", outcome_word(outcome).to_owned()),
            ("exit_code", outcome.exit_code().to_string()),
            ("url", url.unwrap_or_default()),
            ("digests", digests),
            ("namespace", namespace.unwrap_or_default()),
            ("seconds", format!("{:.1}", outcome.took.as_secs_f64())),
        ];
        let line = |(name, value): &(&str, String)| workflow_commands::output(name, &self.redactor.redact(value));
        append_to(&self.path, &outputs.iter().map(line).collect::<String>())
    }
}

/// Leaves word of a run that does nothing, on purpose: in the job summary and in the outputs, as far as there are any.
pub(crate) fn skipped(summary: Option<&Path>, output: Option<&Path>, reason: &str) -> Result<(), Failure> {
    if let Some(path) = summary {
        append_to(path, &format!("### Nothing was deployed\n{}\n", super::markdown::escape(reason)))?;
    }
    let outputs = [("result", "skipped"), ("exit_code", "0"), ("url", ""), ("digests", "{}")];
    let outputs: String = outputs.iter().map(|(name, value)| workflow_commands::output(name, value)).collect();
    output.map_or(Ok(()), |path| append_to(path, &outputs))
}

/// Writes a text to the end of a file.
fn append_to(path: &Path, text: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        Failure::new(FailureKind::Infrastructure, format!("cannot write to `{}`: {error}", path.display()))
    })
}
