//! What goes to standard output when a run has ended: the address, or the whole run as JSON.

use super::json::v1;
use super::picture::Picture;
use super::{Format, Output, Sink, terminal};
use crate::error::{Failure, FailureKind};

/// The result.
pub(super) struct Results {
    /// Standard output.
    output: Output,
    /// For people or for programs.
    format: Format,
    /// How wide standard output is, if it is a terminal.
    width: Option<usize>,
}

impl Results {
    /// A result on this output.
    pub(super) fn new(output: Output, format: Format, width: Option<usize>) -> Self {
        Self { output, format, width }
    }

    /// The result's text; empty where a run for people did not get there.
    fn text(&self, picture: &Picture) -> Result<String, Failure> {
        if self.format == Format::Text {
            return Ok(terminal::result_line(picture, self.width).map(|line| format!("{line}\n")).unwrap_or_default());
        }
        let Some(run) = v1::Run::of(picture) else { return Ok(String::new()) };
        let broken = |error| Failure::new(FailureKind::Infrastructure, format!("cannot write JSON: {error}"));
        serde_json::to_string_pretty(&run).map(|text| format!("{text}\n")).map_err(broken)
    }
}

impl Sink for Results {
    fn name(&self) -> &'static str {
        "standard output"
    }

    fn close(&mut self, picture: &Picture) -> Result<(), Failure> {
        let text = self.text(picture)?;
        self.output.print(&text)
    }
}
