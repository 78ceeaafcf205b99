//! Where an image is taken from, and why from there: people read it, and so do programs.

use super::engine::Store;
use std::path::PathBuf;

/// Where an image is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From a build, blob by blob over its session.
    Session {
        /// `buildkitd at unix:///run/buildkit/buildkitd.sock`, `the Docker Engine 29.1 (containerd store)`.
        builder: String,
    },
    /// From a build of the lower part of a Dockerfile; the upper part is laid on it from files of this machine.
    Laid {
        /// Who builds, as above.
        builder: String,
        /// How many instructions the upper part has.
        instructions: usize,
    },
    /// From an Engine's `save`.
    Save {
        /// `Docker Engine 20.10 (overlay2)`.
        engine: String,
        /// Whether it was built right before, in which case the session would have been the better way.
        built: bool,
        /// How the Engine stores images.
        store: Store,
    },
    /// From where an Engine of this machine keeps its layers.
    Storage {
        /// `Docker Engine 20.10 (overlay2)`.
        engine: String,
    },
    /// From files of this machine, laid on a base in the registry.
    Files {
        /// Why no builder is needed: `nothing in the Dockerfile has to be run`.
        reason: &'static str,
    },
    /// From files that another tool wrote.
    Layout {
        /// Where they are.
        path: PathBuf,
        /// `OCI layout`, `docker-archive`.
        form: &'static str,
    },
}

impl Source {
    /// The source in a word, for programs.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Session { .. } => "buildkit-session",
            Self::Laid { .. } => "buildkit-and-registry",
            Self::Save { .. } => "docker-save",
            Self::Storage { .. } => "docker-storage",
            Self::Files { .. } => "registry",
            Self::Layout { .. } => "layout",
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session { builder } => write!(f, "built by {builder}, layers straight into the registry"),
            Self::Laid { builder, instructions: 1 } => {
                write!(
                    f,
                    "built by {builder} up to the last instruction, which runs nothing and is laid on in the registry"
                )
            }
            Self::Laid { builder, instructions } => {
                let last = format!("the last {instructions} instructions");
                write!(f, "built by {builder} up to {last}, which run nothing and are laid on in the registry")
            }
            Self::Save { engine, built, store } => {
                let why = if *built && *store == Store::Layers { ": it has no oci exporter" } else { "" };
                write!(f, "taken out of the {engine}{why}")
            }
            Self::Storage { engine } => write!(f, "read from the storage of the {engine}"),
            Self::Files { reason } => write!(f, "assembled in the registry: {reason}"),
            Self::Layout { path, form } => write!(f, "read from the {form} `{}`", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_a_sentence() {
        let builder = "buildkitd at tcp://127.0.0.1:1234".to_owned();
        let session = Source::Session { builder };
        assert_eq!(
            session.to_string(),
            "built by buildkitd at tcp://127.0.0.1:1234, layers straight into the registry"
        );
        let laid =
            |instructions| Source::Laid { builder: "the Docker Engine 29.0".to_owned(), instructions }.to_string();
        assert_eq!(
            laid(3),
            "built by the Docker Engine 29.0 up to the last 3 instructions, which run nothing and are laid on in the registry"
        );
        assert!(laid(1).contains("up to the last instruction, which runs nothing and is laid on"));
        let engine = || "Docker Engine 20.10 (overlay2)".to_owned();
        let save = |built| Source::Save { engine: engine(), built, store: Store::Layers }.to_string();
        assert_eq!(save(true), "taken out of the Docker Engine 20.10 (overlay2): it has no oci exporter");
        let storage = Source::Storage { engine: engine() };
        assert_eq!(storage.to_string(), "read from the storage of the Docker Engine 20.10 (overlay2)");
        assert_eq!(save(false), "taken out of the Docker Engine 20.10 (overlay2)");
    }
}
