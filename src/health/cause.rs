//! Why something cannot become ready, in the words of a person who has looked.

use crate::error::FailureKind;

/// The cause of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Whose fault it is.
    pub(crate) kind: FailureKind,
    /// One line, with backticks round literals: ``backend cannot start: the image has no file `/app/server` ``.
    pub(crate) summary: String,
    /// From the object to the place: `Deployment backend`, `ReplicaSet backend-7f9c`, `Pod …`, `container api`.
    pub(crate) chain: Vec<String>,
    /// What Kubernetes said, word for word, and how often.
    pub(crate) details: Vec<String>,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Whose log shows more.
    pub(crate) log: Option<LogTarget>,
}

/// A container whose log is worth reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogTarget {
    /// The namespace.
    pub(crate) namespace: String,
    /// The pod.
    pub(crate) pod: String,
    /// The container.
    pub(crate) container: String,
    /// Whether the log of the instance before is meant: the one that died.
    pub(crate) previous: bool,
}

impl Cause {
    /// A fault of the application, in one line.
    pub(super) fn application(summary: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Application,
            summary: summary.into(),
            chain: Vec::new(),
            details: Vec::new(),
            hint: None,
            log: None,
        }
    }

    /// The same with a line of Kubernetes' own; an empty one is left out.
    pub(super) fn detail(mut self, line: impl Into<String>) -> Self {
        let line = line.into();
        if !line.is_empty() && !self.details.contains(&line) {
            self.details.push(line);
        }
        self
    }

    /// The same with what to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
