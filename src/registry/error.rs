//! What can go wrong between here and a registry, with the structure of the answer kept.

use super::hosts::Endpoint;
use crate::error::{FailureKind, Hint};
use crate::http::{self, Obstacle, Retry};
use crate::model::{DIGITALOCEAN_REGISTRY, Digest, Platform};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use url::Url;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No answer came, or only a part of one.
    #[error("{} registry `{registry}` at {at} to {action}", if *.unreached { "cannot reach" } else { "the connection broke that asked" })]
    Transport {
        /// The registry's name.
        registry: String,
        /// Where it was looked for, without secrets.
        at: String,
        /// What was being attempted.
        action: String,
        /// Whether another try may help.
        retry: Retry,
        /// What stands in the way for good, if something does.
        obstacle: Option<Obstacle>,
        /// Whether not even a connection came about.
        unreached: bool,
        /// What the network said.
        source: TransportCause,
    },
    /// The registry answered with a refusal.
    #[error("registry `{registry}` refused to {action}: {}", .refusal)]
    Refused {
        /// The registry's name.
        registry: String,
        /// What was being attempted.
        action: String,
        /// Its answer.
        refusal: Box<Refusal>,
    },
    /// The token service, or the registry itself, does not accept the login, or wants one.
    #[error("registry `{registry}` {} to {action}: {refusal}", if *.had_login { "does not accept the login" } else { "wants a login" })]
    Login {
        /// The registry's name.
        registry: String,
        /// What was being attempted.
        action: String,
        /// Whether a login was sent.
        had_login: bool,
        /// The answer.
        refusal: Box<Refusal>,
    },
    /// There is no such image.
    #[error("there is no image `{reference}`")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// The image exists, but not for this platform.
    #[error("image `{reference}` has no variant for {wanted}; it has {}", list(.available))]
    NoPlatform {
        /// What was asked for.
        reference: String,
        /// For which platform.
        wanted: Platform,
        /// What there is.
        available: Vec<Platform>,
    },
    /// Content is not what its digest says.
    #[error("registry `{registry}` has another digest for {what}: expected {wanted}, got {got}")]
    DigestMismatch {
        /// The registry's name.
        registry: String,
        /// What was transferred.
        what: String,
        /// The digest of what was sent or asked for.
        wanted: Digest,
        /// The digest of what the registry has, or says that it has.
        got: String,
    },
    /// Content that was to be sent is not what its digest says.
    #[error("{what} changed while it was being sent: expected {wanted}, got {got}")]
    SourceChanged {
        /// What was to be sent.
        what: String,
        /// The digest and size that it had.
        wanted: String,
        /// What came.
        got: String,
    },
    /// An answer that the protocol does not allow.
    #[error("registry `{registry}` gave an answer that makes no sense when asked to {action}: {problem}")]
    Nonsense {
        /// The registry's name.
        registry: String,
        /// What was being attempted.
        action: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// No byte moved for too long.
    #[error("registry `{registry}` gave no sign of life for {seconds} s when asked to {action}")]
    Stalled {
        /// The registry's name.
        registry: String,
        /// What was being attempted.
        action: String,
        /// For how long.
        seconds: u64,
    },
    /// The source of a blob failed.
    #[error("cannot read {what} to send it")]
    Source {
        /// What was to be sent.
        what: String,
        /// What the source said.
        source: std::io::Error,
    },
    /// An upload broke off, and what was sent of it is neither there nor here any more.
    #[error("registry `{registry}` has lost the upload of {what}: {problem}")]
    LostUpload {
        /// The registry's name.
        registry: String,
        /// What was being sent.
        what: String,
        /// What went wrong at the end.
        problem: String,
    },
    /// A hosts.toml cannot be used.
    #[error(transparent)]
    Hosts(#[from] super::hosts::HostsError),
    /// No client can be made.
    #[error(transparent)]
    Client(#[from] crate::http::Error),
    /// Docker's configuration has a login that cannot be read.
    #[error("cannot read the login for `{registry}` from Docker's configuration: {problem}")]
    DockerConfig {
        /// The registry's name.
        registry: String,
        /// The credential helper that is at fault, `docker-credential-desktop`.
        helper: Option<String>,
        /// What is wrong; never what a credential helper printed.
        problem: String,
    },
    /// Somebody asked to stop.
    #[error("stopped")]
    Cancelled,
}

/// The platforms as a list for people.
fn list(platforms: &[Platform]) -> String {
    let texts: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "none that is named".to_owned() } else { texts.join(", ") }
}

/// What the network said, without the URL, which may hold a signature.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TransportCause(pub(crate) String);

/// A registry's refusal.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The protocol's code, `MANIFEST_BLOB_UNKNOWN`.
    pub(crate) code: Option<String>,
    /// The message that came along.
    pub(crate) message: Option<String>,
    /// Whether another try may help.
    pub(crate) retry: Retry,
    /// The blobs that it is about (`detail` of `MANIFEST_BLOB_UNKNOWN`).
    pub(crate) blobs: Vec<Digest>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if let Some(reason) = self.status.canonical_reason() {
            write!(f, " {reason}")?;
        }
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, " ({code}: {message})"),
            (Some(text), None) | (None, Some(text)) => write!(f, " ({text})"),
            (None, None) => Ok(()),
        }
    }
}

/// What distribution says where it knows only the detail.
const UNKNOWN: &str = "unknown error";

/// A stranger's words as they may stand on a terminal: without control characters, and not too many.
fn readable(text: &str) -> String {
    let shown = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    shown.take(LONGEST_MESSAGE).collect()
}

/// Longer messages are pages of a proxy, not sentences of a registry.
const LONGEST_MESSAGE: usize = 300;

impl Refusal {
    /// Reads a refusal: `errors[0]` of the protocol, `message` or `details` of other servers, or the text itself
    /// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>).
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let parsed: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let first = parsed.pointer("/errors/0").unwrap_or(&parsed);
        let text = |name: &str| first.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        let plain = || {
            let text = String::from_utf8_lossy(body).trim().to_owned();
            (!text.is_empty() && !text.starts_with(['{', '<'])).then_some(text)
        };
        let mut message = text("message").or_else(|| text("details")).or_else(plain);
        if let (Some(UNKNOWN), Some(detail)) = (message.as_deref(), text("detail")) {
            message = Some(format!("{UNKNOWN}: {detail}"));
        }
        let message = message.map(|text| readable(&text));
        let code = text("code").or_else(|| text("id"));
        let blobs = named_blobs(&parsed);
        if is_full(status, body) {
            return Self { status, code, message: Some(FULL.to_owned()), retry: Retry::Never, blobs };
        }
        Self { status, code, message, retry: Retry::of_answer(status, headers), blobs }
    }

    /// Whether the registry has no room left: trying again only fills it further.
    fn is_full(&self) -> bool {
        self.message.as_deref() == Some(FULL)
    }
}

/// What a registry without room is said to answer.
const FULL: &str = "no space left on its disk";

/// Whether a registry says that its disk is full: by the status for it, in the words of the operating system, or as
/// distribution wraps their number (`"Err":28` is ENOSPC).
fn is_full(status: StatusCode, body: &[u8]) -> bool {
    let text = || String::from_utf8_lossy(body);
    let says = || text().contains("no space left on device") || text().contains("\"Err\":28}");
    status == StatusCode::INSUFFICIENT_STORAGE || status.is_server_error() && says()
}

/// The digests in the details of all errors: a text, or somewhere in an object, as registries please.
fn named_blobs(body: &serde_json::Value) -> Vec<Digest> {
    /// Collects the digests of a value.
    fn collect(value: &serde_json::Value, into: &mut Vec<Digest>) {
        match value {
            serde_json::Value::String(text) => into.extend(Digest::parse(text)),
            serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            serde_json::Value::Object(values) => values.values().for_each(|value| collect(value, into)),
            _ => {}
        }
    }
    let mut blobs = Vec::new();
    let errors = body.get("errors").and_then(|errors| errors.as_array()).into_iter().flatten();
    errors.filter_map(|error| error.get("detail")).for_each(|detail| collect(detail, &mut blobs));
    blobs
}

impl Error {
    /// The error of a request that got no answer, or only part of one.
    pub(crate) fn transport(endpoint: &Endpoint, url: &Url, action: &str, error: &reqwest::Error) -> Self {
        Self::Transport {
            registry: endpoint.registry.clone(),
            at: http::redact_url(&url.join("/").unwrap_or_else(|_| url.clone())),
            action: action.to_owned(),
            retry: Retry::of_transport(error),
            obstacle: http::obstacle(error),
            unreached: error.is_connect(),
            source: TransportCause(http::transport_cause(error)),
        }
    }

    /// The error of a source that failed: another registry's own where it was one, so that its kind and its cure stay.
    pub(crate) fn of_source(what: &str, error: std::io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Source { what: what.to_owned(), source },
        }
    }

    /// Whether another try may help.
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Transport { retry, .. } => *retry,
            Self::Refused { refusal, .. } | Self::Login { refusal, .. } => refusal.retry,
            Self::Stalled { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }

    /// Whether the registry is overloaded, so that fewer requests should run at once.
    pub(crate) fn is_throttling(&self) -> bool {
        matches!(self, Self::Refused { refusal, .. } if matches!(refusal.status.as_u16(), 429 | 503))
    }

    /// Whether the registry could not even be reached.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Transport { unreached: true, .. })
    }

    /// Whether the image has to come from its source once more: bytes were lost that nobody holds any more.
    pub(crate) fn wants_replay(&self) -> bool {
        matches!(self, Self::LostUpload { .. })
    }

    /// The blobs that the registry misses, as far as it names them.
    pub(crate) fn lost_blobs(&self) -> &[Digest] {
        match self {
            Self::Refused { refusal, .. } => &refusal.blobs,
            _ => &[],
        }
    }

    /// Whether the registry misses blobs of a manifest: it listed them a moment ago and has collected them since.
    pub(crate) fn has_lost_blobs(&self) -> bool {
        self.code().is_some_and(|code| matches!(code, "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
    }

    /// The protocol's code, if the registry gave one.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { refusal, .. } | Self::Login { refusal, .. } => refusal.code.as_deref(),
            _ => None,
        }
    }

    /// The HTTP status, if there was an answer.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { refusal, .. } | Self::Login { refusal, .. } => Some(refusal.status),
            _ => None,
        }
    }
}

impl Hint for Error {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Login { .. }
            | Self::NotFound { .. }
            | Self::NoPlatform { .. }
            | Self::Hosts(_)
            | Self::Client(_)
            | Self::DockerConfig { .. }
            | Self::Transport { obstacle: Some(_), .. } => FailureKind::Configuration,
            Self::Refused { refusal, .. } if refusal.retry == Retry::Never && refusal.status.is_client_error() => {
                FailureKind::Configuration
            }
            Self::SourceChanged { .. } => FailureKind::Application,
            Self::Cancelled => FailureKind::Interrupted,
            _ => FailureKind::Infrastructure,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Transport { registry, obstacle, .. } => of_transport(registry, *obstacle),
            Self::Login { registry, had_login, refusal, .. } if registry == DIGITALOCEAN_REGISTRY => {
                return digitalocean_hint(refusal, *had_login).or_else(|| of_refusal(refusal));
            }
            Self::Refused { registry, refusal, .. } if registry == DIGITALOCEAN_REGISTRY => {
                return digitalocean_hint(refusal, true).or_else(|| of_refusal(refusal));
            }
            Self::Refused { refusal, .. } => return of_refusal(refusal),
            Self::Login { registry, had_login: true, .. } => format!(
                "check the user and password for `{registry}`: they may be wrong, expired, or not allowed to do this"
            ),
            Self::Login { registry, had_login: false, .. } => format!(
                "give a login in `registry` of deploy.yml or run `docker login {registry}`; a registry also answers like this where the repository does not exist"
            ),
            Self::NotFound { .. } => "check the name and the tag; a private image needs a login".to_owned(),
            Self::NoPlatform { .. } => {
                "choose an image that is built for this platform, or another one of `platforms` in deploy.yml"
                    .to_owned()
            }
            Self::Stalled { .. } | Self::LostUpload { .. } => LATER.to_owned(),
            Self::DigestMismatch { .. } => {
                "something between here and the registry changes content: nothing was deployed from it".to_owned()
            }
            Self::SourceChanged { .. } => "leave the files alone while the deploy runs, and start it again".to_owned(),
            Self::Nonsense { problem, .. } if problem == UNENCRYPTED => UNENCRYPTED_CURE.to_owned(),
            Self::Nonsense { problem, .. } if problem == SCHEMA_1 => {
                "choose a newer tag, or pull the image and push it again with a Docker of today".to_owned()
            }
            Self::Nonsense { registry, .. } => {
                format!("`{registry}` may be no registry, or a proxy before it answers in its place")
            }
            Self::DockerConfig { helper: Some(helper), .. } => format!(
                "install `{helper}`, or take `credsStore` or `credHelpers` out of Docker's configuration and log in again"
            ),
            Self::DockerConfig { registry, .. } => format!("run `docker login {registry}`, which writes it anew"),
            Self::Hosts(error) => return error.hint(),
            Self::Client(error) => return error.hint(),
            Self::Source { .. } | Self::Cancelled => return None,
        };
        Some(hint)
    }
}

/// What helps where nobody has done anything wrong.
const LATER: &str = "the registry may be down or overloaded: try again later";

/// What is wrong with the answer of a registry that does not know that it is reached by https.
pub(crate) const UNENCRYPTED: &str = "it leads from https to http";

/// What is wrong with an image that is older than the formats that anybody still writes.
pub(crate) const SCHEMA_1: &str = "it is in Docker's first format (schema 1)";

/// What helps against an encryption that ends on the way.
const UNENCRYPTED_CURE: &str = "the proxy before it must pass on `X-Forwarded-Proto: https`; distribution also has\n\
                                `http.relativeurls: true` for this";

/// What helps where no answer came.
fn of_transport(registry: &str, obstacle: Option<Obstacle>) -> String {
    match obstacle {
        Some(Obstacle::Certificate) => format!(
            "name the certificates of whoever signs for `{registry}` in `SSL_CERT_FILE`, or as `ca` in a hosts.toml\n\
             (`--registry-config`); check the clock as well"
        ),
        Some(Obstacle::Plain) => format!(
            "it does not encrypt: if that is meant, write `server = \"http://{registry}\"` into the hosts.toml of\n\
             that registry (`--registry-config`)"
        ),
        None => format!("check the name `{registry}` and the network; {LATER}"),
    }
}

/// What helps against a refusal, as far as its status tells.
fn of_refusal(refusal: &Refusal) -> Option<String> {
    let hint = match (refusal.status, refusal.retry) {
        _ if refusal.is_full() => {
            "free some space where it stores its blobs, by its garbage collection, then run it again"
        }
        (_, Retry::After(pause)) if pause > http::LONGEST_PAUSE => {
            return Some(format!("it asks to be left alone for {} min: try again then", pause.as_secs().div_ceil(60)));
        }
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            "it limits how much may be asked of it: try again later; a login often raises the limit"
        }
        (StatusCode::FORBIDDEN, _) => {
            "the login is known, but not allowed to do this: give it write access to the repository"
        }
        (StatusCode::NOT_FOUND, _) => {
            "check the name; some registries want a repository or project to be created before the first push"
        }
        (StatusCode::METHOD_NOT_ALLOWED, _) => {
            "it does not do this: it may be read-only, or a mirror of another registry"
        }
        (StatusCode::PAYLOAD_TOO_LARGE, _) => {
            "a proxy before it limits the size of uploads (`client_max_body_size` of nginx): raise that limit"
        }
        (_, Retry::Never) => return None,
        _ => LATER,
    };
    Some(hint.to_owned())
}

/// What DigitalOcean's registry means by a refusal: it says little, so the status is read together with its rules
/// (<https://docs.digitalocean.com/products/container-registry/details/limits/>). Who can ask the account knows more, and
/// says that instead.
fn digitalocean_hint(refusal: &Refusal, had_login: bool) -> Option<String> {
    let about = refusal.message.as_deref().unwrap_or_default();
    let hint = match refusal.status.as_u16() {
        403 if about.contains("limit is") => {
            "the plan's number of repositories is used up: delete one, or choose a larger plan".to_owned()
        }
        403 => {
            likely(&["the plan's number of repositories or its storage is used up", "the login may pull and not push"])
        }
        401 if !had_login => "set `DIGITALOCEAN_ACCESS_TOKEN`, or run `doctl registry login`".to_owned(),
        401 => likely(&[
            "the login is wrong, expired or revoked",
            "the registry's name is wrong",
            "a garbage collection runs, and pushes must wait until it has ended",
        ]),
        400 => likely(&["the registry's name is wrong, or is missing in `registry.digitalocean.com/REGISTRY/IMAGE`"]),
        _ => return None,
    };
    Some(hint)
}

/// Causes that could not be told apart, the likeliest first.
fn likely(causes: &[&str]) -> String {
    let causes: Vec<String> = causes.iter().map(|cause| format!("- {cause}")).collect();
    format!(
        "likely causes:\n{}\nwith `DIGITALOCEAN_ACCESS_TOKEN` set, seaway asks the account which it is",
        causes.join("\n")
    )
}

#[cfg(test)]
mod tests;
