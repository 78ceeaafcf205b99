//! What can go wrong between us and GitHub. None of it fails a deploy: it ends as a warning.

use crate::error::{FailureKind, Hint};
use crate::http::Retry;
use reqwest::StatusCode;

/// What a job must say to be allowed to comment. A job's own `permissions` replace those of the workflow.
const PERMISSIONS: &str = "give the job these permissions; a job's own `permissions` replace the workflow's:\n\
                           permissions:\n  contents: read\n  pull-requests: write";

/// A failure of GitHub's API, or of the action's inputs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The client cannot be set up.
    #[error("cannot set up a client for `{address}`")]
    Setup {
        /// The address of the API.
        address: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The token may not do this: 403, and not for a rate limit.
    #[error("the GitHub token may not be used for {doing} (403: {message})")]
    Forbidden {
        /// What was attempted, `commenting on #42`.
        doing: String,
        /// What GitHub said.
        message: String,
    },
    /// Any other refusal.
    #[error("GitHub refused {doing} ({}: {message})", status.as_u16())]
    Refused {
        /// What was attempted.
        doing: String,
        /// The status.
        status: StatusCode,
        /// What GitHub said.
        message: String,
        /// Whether another try may help.
        retry: Retry,
    },
    /// No answer came.
    #[error("cannot reach GitHub for {doing}: {cause}")]
    Unreachable {
        /// What was attempted.
        doing: String,
        /// `Connection refused (os error 111)`.
        cause: String,
    },
    /// An answer came that we cannot read.
    #[error("cannot read GitHub's answer to {doing}")]
    Unreadable {
        /// What was attempted.
        doing: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An input of the action has a value that it cannot have.
    #[error("input `{name}` of the action is {problem}")]
    Input {
        /// Its name.
        name: &'static str,
        /// What is wrong with its value, which is not shown: it may be a secret in the wrong place.
        problem: String,
        /// What it may be.
        help: String,
    },
    /// The payload of the event cannot be read.
    #[error("cannot read the event that started the workflow (`GITHUB_EVENT_PATH`)")]
    Event {
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Error {
    /// Whether another try may help.
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::Refused { retry, .. } => *retry,
            Self::Unreachable { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }

    /// Whether what was asked for is not there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if matches!(*status, StatusCode::NOT_FOUND | StatusCode::GONE))
    }
}

impl Hint for Error {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Refused { .. } | Self::Unreachable { .. } | Self::Unreadable { .. } => FailureKind::Infrastructure,
            _ => FailureKind::Configuration,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Forbidden { .. } => Some(PERMISSIONS.to_owned()),
            Self::Refused { status: StatusCode::UNAUTHORIZED, .. } => {
                Some("give the action `github_token: ${{ github.token }}`, which is also its default".to_owned())
            }
            Self::Input { help, .. } => Some(help.clone()),
            Self::Setup { .. } => Some("is `GITHUB_API_URL` right, and are there certificates to trust?".to_owned()),
            _ => None,
        }
    }
}
