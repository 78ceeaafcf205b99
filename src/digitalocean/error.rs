//! What can go wrong between us and DigitalOcean, and what helps.

use crate::error::{FailureKind, Hint};
use crate::http::Retry;
use crate::model::nearest;
use reqwest::StatusCode;

/// Where a person makes a token.
const TOKENS_PAGE: &str = "https://cloud.digitalocean.com/account/api/tokens";

/// The scopes that a token for deploys has
/// (<https://docs.digitalocean.com/reference/api/scopes/>).
const DEPLOY_SCOPES: &str = "`kubernetes:read`, `kubernetes:access_cluster`, `registry:read`,\n\
                             `registry:create`, `registry:update`";

/// A failure of the DigitalOcean API, or of what we know of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A token is needed and none was given.
    #[error("no DigitalOcean token: `DIGITALOCEAN_ACCESS_TOKEN` is not set")]
    NoToken,
    /// The address of the API is not a URL.
    #[error("`{address}` is no address of a DigitalOcean API")]
    InvalidAddress {
        /// What was given.
        address: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// The token is not valid: 401.
    #[error("DigitalOcean does not accept the token while {doing} ({answer})")]
    TokenRefused {
        /// What was attempted, `listing the clusters`.
        doing: String,
        /// What the API said.
        answer: Answer,
    },
    /// The token is valid and lacks a scope: 403.
    #[error("the DigitalOcean token lacks the scope `{scope}`, needed for {doing} ({answer})")]
    ScopeMissing {
        /// What was attempted.
        doing: String,
        /// The scope that this request needs.
        scope: &'static str,
        /// What the API said.
        answer: Answer,
    },
    /// No cluster of the account has this name or id.
    #[error("no cluster named `{wanted}` in this DigitalOcean account")]
    UnknownCluster {
        /// What was looked for.
        wanted: String,
        /// The clusters that there are, `todo-prod (nyc1)`, by name.
        existing: Vec<(String, String)>,
    },
    /// Several clusters have this name.
    #[error("{} clusters are named `{wanted}`", ids.len())]
    AmbiguousCluster {
        /// What was looked for.
        wanted: String,
        /// Their ids.
        ids: Vec<String>,
    },
    /// No registry of the account has this name.
    #[error("no container registry named `{wanted}` in this DigitalOcean account")]
    UnknownRegistry {
        /// What was looked for.
        wanted: String,
        /// The registries that there are, name and region.
        existing: Vec<(String, String)>,
    },
    /// Any other refusal.
    #[error("DigitalOcean refused {doing} ({answer})")]
    Refused {
        /// What was attempted.
        doing: String,
        /// What the API said.
        answer: Answer,
    },
    /// No answer came.
    #[error("cannot reach the DigitalOcean API at `{address}` while {doing}: {cause}")]
    Unreachable {
        /// The address without path and secrets.
        address: String,
        /// What was attempted.
        doing: String,
        /// `Connection refused (os error 111)`.
        cause: String,
        /// Whether another try may help.
        retry: Retry,
    },
    /// An answer came that we cannot read.
    #[error("cannot read DigitalOcean's answer while {doing}")]
    Unreadable {
        /// What was attempted.
        doing: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An answer of the API that is not a success, with its structure kept.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// What the API says of it.
    pub(crate) message: String,
    /// What DigitalOcean's support asks for.
    pub(crate) request_id: Option<String>,
    /// Whether another try may help.
    pub(crate) retry: Retry,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message.trim_end_matches('.'))?;
        }
        self.request_id.as_ref().map_or(Ok(()), |id| write!(f, ", request {id}"))
    }
}

impl Error {
    /// Whether another try of a read may help.
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::Refused { answer, .. } => answer.retry,
            Self::Unreachable { retry, .. } => *retry,
            _ => Retry::Never,
        }
    }

    /// The status of the answer that this error stands for.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::TokenRefused { answer, .. } | Self::ScopeMissing { answer, .. } | Self::Refused { answer, .. } => {
                Some(answer.status)
            }
            _ => None,
        }
    }
}

impl Hint for Error {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Refused { answer, .. } if answer.status.is_client_error() && answer.retry == Retry::Never => {
                FailureKind::Configuration
            }
            Self::Refused { .. } | Self::Unreachable { .. } | Self::Unreadable { .. } => FailureKind::Infrastructure,
            _ => FailureKind::Configuration,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoToken => Some(format!(
                "make a token at {TOKENS_PAGE} with the scopes\n{DEPLOY_SCOPES},\n\
                 then `export DIGITALOCEAN_ACCESS_TOKEN=…`, or give `token` to the action;\n\
                 another cluster needs none (`--kubeconfig FILE --context NAME`), nor does another\n\
                 registry (`registry: {{ host: HOST, repository: NAME }}` in deploy.yml)"
            )),
            Self::InvalidAddress { .. } => Some("give a URL like `https://api.digitalocean.com` to `--api-url`".into()),
            Self::TokenRefused { .. } => Some(format!(
                "the token is mistyped, expired or revoked: make a new one at {TOKENS_PAGE}\n\
                 and set `DIGITALOCEAN_ACCESS_TOKEN`"
            )),
            Self::ScopeMissing { scope, .. } => {
                Some(format!("add `{scope}` to the token at {TOKENS_PAGE}; a deploy needs\n{DEPLOY_SCOPES}"))
            }
            Self::UnknownCluster { wanted, existing } => Some(existing_hint("cluster", wanted, existing)),
            Self::AmbiguousCluster { ids, .. } => Some(format!("name one by its id: {}", quoted(ids))),
            Self::UnknownRegistry { wanted, existing } => Some(existing_hint("registry", wanted, existing)),
            Self::Refused { answer, .. } => refused_hint(answer),
            Self::Unreachable { .. } => {
                Some("check the network, `--api-url` and https://status.digitalocean.com, then run it again".into())
            }
            Self::Unreadable { .. } => Some("is `--api-url` the address of a DigitalOcean API?".into()),
        }
    }
}

/// What helps against a refusal that has no case of its own.
fn refused_hint(answer: &Answer) -> Option<String> {
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        return Some("the account's limit is 5,000 requests an hour and 250 a minute: run it again later".into());
    }
    answer.status.is_server_error().then(|| "see https://status.digitalocean.com, then run it again".into())
}

/// Which names there are, the nearest first: `did you mean …?`.
fn existing_hint(noun: &str, wanted: &str, existing: &[(String, String)]) -> String {
    if existing.is_empty() {
        return format!(
            "the account has none; is this the token of the right team, and is `{noun}` in deploy.yml right?"
        );
    }
    let names: Vec<String> = existing.iter().map(|(name, region)| format!("`{name}` ({region})")).collect();
    let list = format!("there is {}: correct `{noun}` in deploy.yml", names.join(", "));
    match nearest(wanted, existing.iter().map(|(name, _)| name.as_str())) {
        Some(name) => format!("did you mean `{name}`?\n{list}"),
        None => list,
    }
}

/// Names in backticks with commas between them.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
