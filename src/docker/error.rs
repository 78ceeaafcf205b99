//! What can go wrong in a build.

use super::context::ContextError;
use crate::error::{FailureKind, Hint};
use crate::model::Platform;
use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing listens.
    #[error("no {what} answers at {address}")]
    Away {
        /// `Docker Engine` or `BuildKit`.
        what: &'static str,
        /// Where it was looked for.
        address: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// An address of a kind that Seaway cannot reach.
    #[error("{} is `{text}`, which is not supported yet", quoted(variable))]
    Address {
        /// Where it was written: `DOCKER_HOST`, `the Docker context NAME`.
        variable: String,
        /// Its value.
        text: String,
    },
    /// Docker's configuration has no context of this name.
    #[error("there is no Docker context `{name}`")]
    NoContext {
        /// The name.
        name: String,
    },
    /// The Engine refused, or its answer broke off.
    #[error("the Docker Engine cannot {action}{}", if is_full(&source.to_string()) { ": its disk is full" } else { "" })]
    Engine {
        /// What was being attempted.
        action: &'static str,
        /// What bollard says.
        source: Box<bollard::errors::Error>,
    },
    /// The connection to BuildKit cannot be made or broke.
    #[error("cannot talk to BuildKit: {problem}")]
    BuildKit {
        /// What went wrong.
        problem: String,
    },
    /// The build itself failed.
    #[error("{0}")]
    Build(Box<BuildFailure>),
    /// The context cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The image that came out is not what was promised.
    #[error("the builder gave an image that cannot be used: {problem}")]
    Image {
        /// What is wrong with it.
        problem: String,
    },
    /// The image is for other platforms than the one that was asked for.
    #[error("the image is for {}, and {wanted} was asked for", listed(got))]
    Platform {
        /// For which it is.
        got: Vec<Platform>,
        /// For which it should be.
        wanted: Platform,
    },
    /// The Engine has no image of this name.
    #[error("the Docker Engine has no image `{image}`")]
    NoImage {
        /// The name that was looked for.
        image: String,
        /// Names that it has.
        there: Vec<String>,
    },
    /// A layout or an archive that cannot be pushed.
    #[error("`{}` cannot be read as an image: {problem}", path.display())]
    Layout {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The files of an image cannot be read, or changed while they were.
    #[error("cannot take in the files of the image")]
    Files(#[source] std::io::Error),
    /// Somebody asked to stop.
    #[error("stopped")]
    Cancelled,
}

/// How a build failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuildFailure {
    /// What happened: `RUN make failed with exit code 2`, `the Dockerfile has an error`.
    pub(crate) headline: String,
    /// BuildKit's own words.
    pub(crate) message: String,
    /// The step as BuildKit names it, `[2/4] RUN make`.
    pub(crate) step: Option<String>,
    /// The line of the Dockerfile, from 1.
    pub(crate) line: Option<usize>,
    /// The last lines of the step's output.
    pub(crate) log: Vec<String>,
    /// Whose fault it is.
    pub(crate) kind: FailureKind,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl std::fmt::Display for BuildFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.headline)
    }
}

/// Whether a text tells of a full disk. Programs write it large, the builder small.
pub(crate) fn is_full(text: &str) -> bool {
    text.to_lowercase().contains("no space left on device")
}

/// What to do about a builder's full disk.
pub(crate) const FULL_DISK: &str =
    "free some space where it builds: `docker system prune`, `docker builder prune`, `buildctl prune`";

/// A variable in quotes, and anything else as it is.
fn quoted(place: &str) -> String {
    if place.contains(' ') { place.to_owned() } else { format!("`{place}`") }
}

/// `linux/arm64 and linux/s390x`.
fn listed(platforms: &[Platform]) -> String {
    let names: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    match names.as_slice() {
        [] => "no platform".to_owned(),
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    }
}

impl Error {
    /// Whether there is nobody who could build.
    pub(crate) fn is_without_builder(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Address { .. } | Self::NoContext { .. })
    }
}

impl Hint for Error {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Away { .. }
            | Self::Address { .. }
            | Self::NoContext { .. }
            | Self::Platform { .. }
            | Self::NoImage { .. }
            | Self::Files(_) => FailureKind::Configuration,
            Self::Layout { problem, .. } if problem.contains("Permission denied") => FailureKind::Configuration,
            Self::Layout { .. } => FailureKind::Application,
            Self::Build(failure) => failure.kind,
            Self::Context(error) => error.kind(),
            Self::Cancelled => FailureKind::Interrupted,
            Self::Engine { .. } | Self::BuildKit { .. } | Self::Image { .. } => FailureKind::Infrastructure,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Away { what: "BuildKit", source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => Some(
                "this user may not use the socket: start buildkitd with `--group` and join that group, or point \
                 `BUILDKIT_HOST` elsewhere"
                    .to_owned(),
            ),
            Self::Away { what: "BuildKit", .. } => {
                Some("start buildkitd, correct `BUILDKIT_HOST`, or unset it to build with the Docker Engine".to_owned())
            }
            Self::Away { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => Some(
                "this user may not use the socket: join the group `docker`, or point `DOCKER_HOST` elsewhere"
                    .to_owned(),
            ),
            Self::Away { .. } => Some(
                "start Docker, or say where it listens: `DOCKER_HOST` (unix:// or tcp://), `DOCKER_CONTEXT`, or `BUILDKIT_HOST` of a buildkitd"
                    .to_owned(),
            ),
            Self::Address { text, .. } if text.starts_with("ssh://") => Some(format!(
                "bring its socket here, `ssh -nNT -L /tmp/docker.sock:/var/run/docker.sock {}`, and set `DOCKER_HOST` to unix:///tmp/docker.sock",
                text.trim_start_matches("ssh://")
            )),
            Self::Address { variable, .. } if variable == "BUILDKIT_HOST" => {
                Some("use unix:///path/to/buildkitd.sock or tcp://host:port".to_owned())
            }
            Self::Address { .. } => Some("use unix:///path/to/docker.sock or tcp://host:port".to_owned()),
            Self::NoContext { .. } => {
                Some("`docker context ls` shows those that there are; unset `DOCKER_CONTEXT`, or set `DOCKER_HOST`".to_owned())
            }
            Self::Build(failure) => failure.hint.clone(),
            Self::Context(error) => error.hint(),
            Self::Engine { source, .. } if is_full(&source.to_string()) => Some(FULL_DISK.to_owned()),
            Self::Engine { .. } | Self::BuildKit { .. } => {
                Some("see the Engine's own log; a full disk is a frequent cause (`docker system df`)".to_owned())
            }
            Self::Platform { got, wanted } => Some(match got.as_slice() {
                [] => "make the image anew".to_owned(),
                [only, ..] => format!(
                    "build it for {wanted} (in a Dockerfile, `FROM --platform={only}` makes it otherwise), or say which \
                     one is meant: `platforms: [{only}]`"
                ),
            }),
            Self::NoImage { there, .. } if there.is_empty() => {
                Some("build it first (`docker build --tag NAME`), or let seaway build it: `build: ./FOLDER`".to_owned())
            }
            Self::NoImage { there, .. } => Some(format!(
                "it has {}; build the image first, or correct its name",
                there.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            )),
            Self::Layout { problem, .. } if problem.contains("Permission denied") => {
                Some("make it readable for this user".to_owned())
            }
            Self::Layout { .. } => Some("make it anew with the tool that wrote it".to_owned()),
            Self::Files(_) => Some("let no other tool write to them, and make them readable".to_owned()),
            Self::Image { .. } | Self::Cancelled => None,
        }
    }
}
