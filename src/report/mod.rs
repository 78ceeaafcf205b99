//! In: the event channel. Out: what people and machines read: a terminal, a log, a job summary, a comment, JSON.
//!
//! Results (the address, JSON) go to standard output, everything else to standard error or to files. Everything passes
//! through the redactor. A failing report is a warning and never changes the result of the deploy.

mod clean;
mod failure;
mod files;
mod json;
mod lines;
mod markdown;
mod page;
mod picture;
mod pr_comment;
mod progress;
mod results;
mod table;
mod terminal;
mod text;
mod timeline;

pub(crate) use clean::{Cleaning, Collected, broken_off_text, freed_text, kept_text};
pub(crate) use files::skipped;
pub(crate) use page::Links;

pub(crate) use json::plan_json;

use crate::error::{Failure, FailureKind};
use crate::execute::{Event, EventKind, Outcome};
use crate::github::Comments;
use crate::model::Redactor;
use futures::future::BoxFuture;
use picture::Picture;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use text::Paint;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

/// How the result is written to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people: the address.
    #[default]
    Text,
    /// For programs: the whole run.
    Json,
}

/// Which reports there are.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// How the result is written.
    pub(crate) format: Format,
    /// What is written to standard error.
    pub(crate) people: People,
    /// Whether standard output is a terminal.
    pub(crate) stdout_is_terminal: bool,
    /// The comments on the pull request, if one is to be written.
    pub(crate) comments: Option<Comments>,
    /// The file that becomes the job summary.
    pub(crate) summary: Option<PathBuf>,
    /// The file that takes the outputs of the step.
    pub(crate) outputs: Option<PathBuf>,
    /// Where the comment and the summary lead to.
    pub(crate) links: Links,
}

/// What people read on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum People {
    /// A table that lives while the run goes on: at a terminal.
    Table {
        /// Whether with colour.
        colour: bool,
    },
    /// A plain log: one line a change.
    Log {
        /// Whether the lines of builds are in it (`-v`).
        build_logs: bool,
    },
    /// The log that a GitHub runner reads: with groups, annotations and the lines of builds.
    Actions,
}

impl Default for People {
    fn default() -> Self {
        Self::Log { build_logs: false }
    }
}

/// All reports of a run.
pub(crate) struct Reports {
    /// The reports, in the order in which they close.
    sinks: Vec<Box<dyn Sink>>,
    /// What is known of the run.
    picture: Picture,
}

/// How often the reports are told that time has passed.
const TICK: Duration = Duration::from_millis(100);

/// The width of a log that no terminal shows, and of a terminal that does not tell.
const WIDTH: usize = 100;

impl Reports {
    /// The reports that the settings ask for, on the process's own streams.
    ///
    /// Needs the runtime: the comment is written beside the run.
    pub(crate) fn new(settings: Settings, redactor: &Redactor) -> Self {
        let output = |writer| Output { writer, redactor: redactor.clone() };
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        let Settings { links, .. } = settings;
        if let Some(comments) = settings.comments {
            sinks.push(Box::new(pr_comment::PrComment::new(comments, links.clone())));
        }
        if let Some(path) = settings.summary {
            sinks.push(Box::new(files::JobSummary::new(path, links, redactor.clone())));
        }
        if let Some(path) = settings.outputs {
            sinks.push(Box::new(files::Outputs::new(path, redactor.clone())));
        }
        let people = output(Box::new(std::io::stderr()));
        sinks.push(match settings.people {
            People::Table { colour } => {
                Box::new(terminal::Terminal::new(people, Paint { colour }, Box::new(stderr_size)))
            }
            People::Log { build_logs } => Box::new(lines::Lines::new(people, false, build_logs)),
            People::Actions => Box::new(lines::Lines::new(people, true, true)),
        });
        let width = settings.stdout_is_terminal.then(|| stdout_width(true));
        sinks.push(Box::new(results::Results::new(output(Box::new(std::io::stdout())), settings.format, width)));
        Self { sinks, picture: Picture::new(redactor.clone()) }
    }

    /// Reports until the run has ended or nobody can say anything any more.
    pub(crate) async fn run(mut self, mut events: UnboundedReceiver<Event>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heard = (Instant::now(), Duration::ZERO);
        while self.picture.outcome.is_none() {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { break };
                    heard = (Instant::now(), event.at);
                    self.take(&event);
                }
                _ = ticks.tick() => {
                    self.picture.now = self.picture.now.max(heard.1 + heard.0.elapsed());
                    self.each(|sink, picture| sink.tick(picture));
                }
            }
        }
        self.end().await;
    }

    /// Takes in an event and tells every report.
    fn take(&mut self, event: &Event) {
        self.picture.absorb(event);
        self.each(|sink, picture| sink.event(event, picture));
    }

    /// Lets the reports finish, those that wait for a server all at once, and then close one after another.
    async fn end(mut self) {
        let picture = &self.picture;
        let finishing = self.sinks.iter_mut().map(|sink| async {
            let result = sink.finish(picture).await;
            result.err().map(|failure| warning(sink.name(), &failure))
        });
        let warnings: Vec<String> = futures::future::join_all(finishing).await.into_iter().flatten().collect();
        for message in warnings {
            self.warn(message);
        }
        self.each(|sink, picture| sink.close(picture));
    }

    /// Runs a step of every report; one that fails is told of by the others, and is not asked again.
    fn each(&mut self, mut step: impl FnMut(&mut dyn Sink, &Picture) -> Result<(), Failure>) {
        let mut warnings = Vec::new();
        let picture = &self.picture;
        self.sinks.retain_mut(|sink| match step(sink.as_mut(), picture) {
            Ok(()) => true,
            Err(failure) => {
                warnings.push(warning(sink.name(), &failure));
                false
            }
        });
        for message in warnings {
            self.warn(message);
        }
    }

    /// Tells the reports of a warning of our own.
    fn warn(&mut self, message: String) {
        let event = Event { at: self.picture.now, kind: EventKind::Warning { message } };
        self.take(&event);
    }
}

/// The width of standard output: that of its terminal, or of a log.
pub(crate) fn stdout_width(is_terminal: bool) -> usize {
    let size = is_terminal.then(|| terminal_size::terminal_size_of(std::io::stdout())).flatten();
    size.map_or(WIDTH, |size| columns_and_rows(size).0)
}

/// The size of the terminal that shows standard error.
fn stderr_size() -> terminal::Size {
    /// As low as old terminals are: a table that is drawn too high could not be taken away.
    const HEIGHT: usize = 24;
    terminal_size::terminal_size_of(std::io::stderr()).map_or((WIDTH, HEIGHT), columns_and_rows)
}

/// What is said of a report that failed.
fn warning(name: &str, failure: &Failure) -> String {
    let hint = failure.hint.as_ref().map(|hint| format!("\nhelp: {hint}")).unwrap_or_default();
    format!("{name} was not written: {failure}{hint}")
}

/// The size of a terminal in numbers.
fn columns_and_rows((width, height): (terminal_size::Width, terminal_size::Height)) -> terminal::Size {
    (usize::from(width.0), usize::from(height.0))
}

/// How a run ended, in a word for programs.
fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome.exit_code() {
        0 => "done",
        _ if outcome.is_cancelled() => "cancelled",
        _ => "failed",
    }
}

/// A report: told of every event, in order.
trait Sink: Send {
    /// What it is, for warnings: `the job summary`.
    fn name(&self) -> &'static str;

    /// Something happened; the picture has it already.
    fn event(&mut self, _event: &Event, _picture: &Picture) -> Result<(), Failure> {
        Ok(())
    }

    /// A little time has passed.
    fn tick(&mut self, _picture: &Picture) -> Result<(), Failure> {
        Ok(())
    }

    /// The run has ended, and what has to wait for others (a server) may do so here. Warnings that come of it are still
    /// shown by the reports that close after it.
    fn finish<'a>(&'a mut self, _picture: &'a Picture) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }

    /// The last words.
    fn close(&mut self, _picture: &Picture) -> Result<(), Failure> {
        Ok(())
    }
}

/// A stream or file that people read: secrets are taken out on the way.
struct Output {
    /// Where the text goes.
    writer: Box<dyn Write + Send>,
    /// What takes the secrets out.
    redactor: Redactor,
}

impl Output {
    /// Writes a text. Whoever reads may be gone (`| head`): that is no failure.
    fn print(&mut self, text: &str) -> Result<(), Failure> {
        let text = self.redactor.redact(text);
        let written = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush());
        match written {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::new(FailureKind::Infrastructure, format!("cannot write: {error}")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
