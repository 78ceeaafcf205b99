//! How a verb ends: it has said all, or it stopped and says why.

use crate::config::Diagnostics;
use crate::error::{Failure, FailureKind};
use std::path::PathBuf;

/// How a verb ended that has nothing left to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is done.
    Done,
    /// `plan --exit-code` found changes.
    Changes,
    /// It failed, and the reports have said why.
    Failed(FailureKind),
}

/// Why a verb stopped, still to be told.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// deploy.yml, or a file that it names, has mistakes.
    Diagnostics {
        /// The mistakes.
        diagnostics: Diagnostics,
        /// deploy.yml.
        file: PathBuf,
    },
    /// Dockerfiles take what is not in their contexts.
    Builds {
        /// The mistakes.
        diagnostics: Diagnostics,
        /// deploy.yml.
        file: PathBuf,
    },
    /// Anything else.
    Failure(Failure),
}

impl Stop {
    /// Whose fault it is.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Diagnostics { .. } => FailureKind::Configuration,
            Self::Builds { .. } => FailureKind::Application,
            Self::Failure(failure) => failure.kind,
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}
