//! The table at a terminal: it is redrawn while the run goes on, and stays as it is at the end.

use super::picture::Picture;
use super::text::{Paint, Tone, append, duration, shorten};
use super::{Output, Sink, failure, table};
use crate::error::Failure;
use crate::execute::{Event, EventKind};

/// The size of a terminal: columns and rows.
pub(crate) type Size = (usize, usize);

/// The live table.
pub(super) struct Terminal {
    /// Where it is drawn.
    output: Output,
    /// Whether with colour.
    paint: Paint,
    /// Asks how large the terminal is now.
    size: Box<dyn Fn() -> Size + Send + Sync>,
    /// The last drawing, which stands above the cursor.
    drawn: Vec<String>,
}

impl Terminal {
    /// A table on this output.
    pub(super) fn new(output: Output, paint: Paint, size: Box<dyn Fn() -> Size + Send + Sync>) -> Self {
        Self { output, paint, size, drawn: Vec::new() }
    }

    /// Draws the picture in the place of the last drawing.
    fn draw(&mut self, picture: &Picture) -> Result<(), Failure> {
        let (width, height) = (self.size)();
        let mut lines = table::lines(picture, width, self.paint);
        lines.extend(self.warnings(picture, width));
        let room = height.saturating_sub(1).max(1);
        let hidden = lines.len().saturating_sub(room);
        if hidden > 0 {
            // What is going on stands at the end: the upper lines are the ones that can be missed.
            lines.drain(..=hidden);
            lines.insert(0, shorten(&format!("… {} lines above", hidden + 1), width));
        }
        if lines == self.drawn {
            return Ok(());
        }
        let mut text = self.erasure();
        for line in &lines {
            append!(text, "{line}\n");
        }
        self.drawn = lines;
        self.output.print(&text)
    }

    /// The warnings so far.
    fn warnings(&self, picture: &Picture, width: usize) -> Vec<String> {
        let sign = self.paint.paint(Tone::Busy, "warning:");
        let line = |text: &String| format!("{sign} {}", shorten(&text.replace('\n', " "), width.saturating_sub(9)));
        picture.warnings.iter().map(line).collect()
    }

    /// What takes the last drawing away: to its first line, then clear to the end.
    fn erasure(&mut self) -> String {
        match std::mem::take(&mut self.drawn).len() {
            0 => String::new(),
            lines => format!("\u{1b}[{lines}F\u{1b}[J"),
        }
    }
}

impl Sink for Terminal {
    fn name(&self) -> &'static str {
        "the terminal"
    }

    fn event(&mut self, event: &Event, picture: &Picture) -> Result<(), Failure> {
        if matches!(event.kind, EventKind::Stopping) {
            // It is above the table from now on, so that a second table does not take it away.
            let text = format!("{}{}\n", self.erasure(), failure::stopping(picture));
            self.output.print(&text)?;
            return self.draw(picture);
        }
        Ok(())
    }

    fn tick(&mut self, picture: &Picture) -> Result<(), Failure> {
        if picture.outcome.is_some() { Ok(()) } else { self.draw(picture) }
    }

    fn close(&mut self, picture: &Picture) -> Result<(), Failure> {
        let (width, _) = (self.size)();
        let mut text = self.erasure();
        for line in &table::lines(picture, width, self.paint) {
            append!(text, "{line}\n");
        }
        let sign = self.paint.paint(Tone::Busy, "warning:");
        for warning in &picture.warnings {
            append!(text, "{sign} {warning}\n");
        }
        let ending = failure::ending(picture, self.paint);
        append!(text, "\n{ending}");
        self.output.print(&text)
    }
}

/// The last line of a deploy that is done, for standard output: the address, and at the right edge the time. Programs
/// that read it get the address alone.
pub(super) fn result_line(picture: &Picture, width: Option<usize>) -> Option<String> {
    let outcome = picture.outcome.as_ref().filter(|outcome| outcome.exit_code() == 0)?;
    let url = outcome.url.clone().or_else(|| picture.address.as_ref().map(|(url, _)| url.clone()));
    let Some(width) = width else { return url };
    let took = duration(outcome.took);
    let start = url.unwrap_or_else(|| "done".to_owned());
    let gap = width.min(84).saturating_sub(start.chars().count() + took.chars().count()).max(2);
    Some(format!("{start}{:gap$}{took}", ""))
}
