//! What every error of Seaway can say of itself, and how it is shown.
//!
//! Each room has error enums of its own, beside what fails. They meet here in one trait, [`Hint`], and leave as a
//! [`Failure`]: a rendered chain with the hint on its own line, and a kind that decides the exit code.

use std::error::Error;
use std::fmt;

/// Whose fault a failure is, which is what the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The application's: a Dockerfile, a pod with a known cause, a workload not ready in time, a smoke test. Exit 1.
    Application,
    /// Wrong configuration or usage: the file, the token, an unknown cluster or registry, no Docker Engine. Exit 2.
    Configuration,
    /// Infrastructure or an API, worth a retry. Exit 3.
    Infrastructure,
    /// Time ran out while everything was still progressing. Exit 4.
    TimedOut,
    /// Somebody stopped it (SIGINT). Exit 130.
    Interrupted,
    /// Somebody stopped it (SIGTERM). Exit 143.
    Terminated,
}

impl FailureKind {
    /// The exit code that says it.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Application => 1,
            Self::Configuration => 2,
            Self::Infrastructure => 3,
            Self::TimedOut => 4,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// Whether somebody stopped it.
    pub(crate) fn is_stop(self) -> bool {
        matches!(self, Self::Interrupted | Self::Terminated)
    }
}

/// An error that knows whose fault it is and what to do next.
pub(crate) trait Hint: Error {
    /// Whose fault it is.
    fn kind(&self) -> FailureKind;

    /// What to do next, as one or more lines without a final period; `None` where the message itself says it.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// An error on its way out of the program: its messages, its hint and its kind, no longer tied to a room.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Whose fault it is.
    pub(crate) kind: FailureKind,
    /// The message, then its causes, outermost first; none repeats the one before.
    pub(crate) messages: Vec<String>,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure without a chain.
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, messages: vec![message.into()], hint: None }
    }

    /// The same failure with this hint.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Failure {
    /// The failure that an error stands for: its chain without repetitions, its hint, its kind.
    pub(crate) fn of(error: &dyn Hint) -> Self {
        let mut messages = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Libraries like to repeat their cause inside their own message; saying it twice helps nobody.
            if !messages.iter().any(|known| known.contains(&text)) {
                messages.push(text);
            }
            source = cause.source();
        }
        Self { kind: error.kind(), messages, hint: error.hint() }
    }
}

impl<E: Hint> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages.join(": "))
    }
}

/// The failure as a person reads it, without colour: `error: …`, its causes indented, then `help: …`.
pub(crate) fn render(failure: &Failure) -> String {
    let mut text = String::new();
    for (depth, message) in failure.messages.iter().enumerate() {
        let start = if depth == 0 { "error: " } else { "  cause: " };
        text.push_str(start);
        text.push_str(&message.replace('\n', "\n    "));
        text.push('\n');
    }
    for (number, line) in failure.hint.iter().flat_map(|hint| hint.lines()).enumerate() {
        text.push_str(if number == 0 { "  help: " } else { "        " });
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the inner thing broke")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot do the outer thing")]
    struct Outer(#[source] Inner);

    impl Hint for Outer {
        fn kind(&self) -> FailureKind {
            FailureKind::Infrastructure
        }
        fn hint(&self) -> Option<String> {
            Some("try again\nor give up".to_owned())
        }
    }

    #[test]
    fn the_chain_comes_before_the_hint() {
        let text = render(&Failure::from(Outer(Inner)));
        let wanted =
            "error: cannot do the outer thing\n  cause: the inner thing broke\n  help: try again\n        or give up\n";
        assert_eq!(text, wanted);
    }
}
