//! What the API server, or the way to it, can answer instead of success.

use crate::error::{FailureKind, Hint};
use kube::core::Status;
use std::error::Error as StdError;

/// A request to the API server that came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kubeconfig cannot be read or names nothing usable.
    #[error("cannot use the kubeconfig: {cause}")]
    Kubeconfig {
        /// What is wrong with it.
        cause: String,
    },
    /// Credentials that a program has to hand out (`doctl`, `aws`) did not come.
    #[error("cannot get credentials for the Kubernetes API: {cause}")]
    Credentials {
        /// What went wrong.
        cause: String,
    },
    /// No connection.
    #[error("cannot reach the Kubernetes API at {server}: {cause}")]
    Unreachable {
        /// The address.
        server: String,
        /// The innermost cause: `connection refused`.
        cause: String,
    },
    /// The credentials are not accepted.
    #[error("the Kubernetes API at {server} does not accept the credentials (401)")]
    Unauthorized {
        /// The address.
        server: String,
    },
    /// The server answered, but not with success.
    #[error("cannot {doing}: {}", sentence(status))]
    Refused {
        /// What was attempted: `list Deployments in todo`.
        doing: String,
        /// The answer.
        status: Box<Status>,
    },
    /// No such kind on this server.
    #[error("the cluster knows no kind `{kind}` in `{api_version}`")]
    UnknownKind {
        /// `apps/v1`.
        api_version: String,
        /// `Deployment`.
        kind: String,
        /// The versions in which the server does know the kind.
        known: Vec<String>,
    },
    /// The answer is not what the protocol says.
    #[error("cannot {doing}: the answer of {server} is not that of a Kubernetes API: {cause}")]
    Malformed {
        /// What was attempted.
        doing: String,
        /// The address.
        server: String,
        /// What is wrong with the answer.
        cause: String,
    },
}

impl Error {
    /// The error that the client library reports, in our words; `doing` is what was attempted.
    pub(crate) fn of(error: kube::Error, doing: &str, server: &str) -> Self {
        let (doing, server) = (doing.to_owned(), server.to_owned());
        match error {
            kube::Error::Api(status) if status.code == 401 => Self::Unauthorized { server },
            kube::Error::Api(status) => Self::Refused { doing, status },
            kube::Error::Auth(cause) => Self::Credentials { cause: innermost(&cause) },
            kube::Error::SerdeError(cause) => Self::Malformed { doing, server, cause: cause.to_string() },
            kube::Error::FromUtf8(cause) => Self::Malformed { doing, server, cause: cause.to_string() },
            kube::Error::Discovery(cause) => Self::Malformed { doing, server, cause: cause.to_string() },
            other => Self::Unreachable { server, cause: innermost(&other) },
        }
    }

    /// The server's own status, where it answered with one.
    pub(crate) fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Whether the same request may be answered differently in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => is_transient(status),
            _ => false,
        }
    }
}

impl Hint for Error {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Kubeconfig { .. }
            | Self::Credentials { .. }
            | Self::Unauthorized { .. }
            | Self::UnknownKind { .. } => FailureKind::Configuration,
            Self::Refused { status, .. } if matches!(status.code, 400 | 403 | 404 | 405 | 422) => {
                FailureKind::Configuration
            }
            Self::Unreachable { .. } | Self::Refused { .. } | Self::Malformed { .. } => FailureKind::Infrastructure,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Kubeconfig { .. } => {
                "give one with `--kubeconfig` and choose its context with `--context`, or name a `cluster` in deploy.yml".to_owned()
            }
            Self::Credentials { .. } => "run the program that the kubeconfig names by hand, and see what it says".to_owned(),
            Self::Unreachable { server, cause } => unreachable_hint(server, cause),
            Self::Unauthorized { .. } => {
                "the token or certificate has expired or belongs to another cluster: fetch the kubeconfig anew".to_owned()
            }
            Self::UnknownKind { known, .. } if !known.is_empty() => format!("this cluster has it in {}", known.join(", ")),
            Self::UnknownKind { .. } => {
                "install what brings the kind first, or add its CustomResourceDefinition to `manifests`".to_owned()
            }
            Self::Refused { status, .. } => return refusal_hint(status),
            Self::Malformed { server, .. } => format!("does {server} lead to a proxy or a login page instead?"),
        })
    }
}

/// What to do where there is no connection.
fn unreachable_hint(server: &str, cause: &str) -> String {
    if cause.contains("certificate") {
        return format!(
            "{server} shows a certificate that the kubeconfig's authority has not signed: is it the kubeconfig of another cluster?"
        );
    }
    format!("is the cluster running, and may this machine reach {server}? `kubectl get --raw /readyz` tries the same")
}

/// What to do about a refusal.
fn refusal_hint(status: &Status) -> Option<String> {
    match status.code {
        403 if status.message.contains("cannot") => Some(
            "give the user that the message names this permission, by a Role or ClusterRole and its binding".to_owned(),
        ),
        429 | 500..=599 => Some("the API server is overloaded or restarting: try again".to_owned()),
        _ => None,
    }
}

/// The server's message, or what its status code means where the body was no message.
pub(crate) fn sentence(status: &Status) -> String {
    let message = status.message.trim();
    if message.is_empty() {
        format!("the server answered {} {}", status.code, status.reason)
    } else {
        message.to_owned()
    }
}

/// Whether a 500 is about the object after all: server-side apply says so of a field that the schema does not have, and
/// of the same key twice in a list.
pub(super) fn is_typed_patch(status: &Status) -> bool {
    let text = &status.message;
    text.contains("failed to create typed") || text.contains("not declared in schema")
}

/// Whether a status says "not now" rather than "no".
///
/// A quota or a leader election that lost a race, and a webhook whose server is not up yet, come as 409 and 500:
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/> has no rule for them, the texts are the servers' own.
fn is_transient(status: &Status) -> bool {
    match status.code {
        429 | 502..=504 => true,
        500 => !is_typed_patch(status),
        409 => status.message.contains("Operation cannot be fulfilled"),
        _ => false,
    }
}

/// The last cause of a chain, which is the one that says something: `connection refused`.
pub(crate) fn innermost(error: &dyn StdError) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Failure, render};

    fn refused(code: u16, message: &str) -> Error {
        let status = Status::failure(message, "").with_code(code).boxed();
        Error::of(kube::Error::Api(status), "list Deployments in todo", "https://203.0.113.1:443")
    }

    #[test]
    fn a_status_decides_whose_fault_it_is() {
        for (code, kind) in [
            (401, FailureKind::Configuration),
            (403, FailureKind::Configuration),
            (422, FailureKind::Configuration),
            (429, FailureKind::Infrastructure),
            (503, FailureKind::Infrastructure),
        ] {
            assert_eq!(refused(code, "x").kind(), kind, "{code}");
        }
    }

    #[test]
    fn a_missing_permission_is_named_with_its_cure() {
        let text = r#"deployments.apps is forbidden: User "ci" cannot list resource "deployments" in API group "apps""#;
        let shown = render(&Failure::from(refused(403, text)));
        assert!(
            shown.contains(r#"User "ci" cannot list resource "deployments""#) && shown.contains("help: give"),
            "{shown}"
        );
    }

    #[test]
    fn an_empty_body_still_says_something() {
        assert!(refused(503, "").to_string().contains("the server answered 503"));
    }

    #[test]
    fn only_not_now_is_tried_again() {
        assert!(refused(429, "").is_transient() && refused(503, "").is_transient());
        assert!(refused(409, "Operation cannot be fulfilled on resourcequotas \"q\"").is_transient());
        assert!(
            !refused(500, "failed to create typed patch object (todo/x; v1): .dta: field not declared").is_transient()
        );
        assert!(!refused(409, "Apply failed with 1 conflict").is_transient() && !refused(422, "").is_transient());
    }
}
