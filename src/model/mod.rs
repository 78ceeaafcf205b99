//! The shared vocabulary. Every room may name it; it names no room and does no input or output.

pub(crate) mod compression;
pub(crate) mod digest;
pub(crate) mod environment;
pub(crate) mod object_ref;
pub(crate) mod platform;
pub(crate) mod reference;
pub(crate) mod run_context;
pub(crate) mod secret;
pub(crate) mod wording;

pub(crate) use compression::Compression;
pub(crate) use digest::Digest;
pub(crate) use environment::Environment;
pub(crate) use object_ref::{GroupVersionKind, ObjectRef};
pub(crate) use platform::Platform;
pub(crate) use reference::{DIGITALOCEAN_REGISTRY, Reference, Repository};
pub(crate) use run_context::{GitState, Origin, RunContext};
pub(crate) use secret::{Redactor, Secret};
pub(crate) use wording::{counted, listed, nearest};

/// The name under which Seaway owns fields in server-side apply. It never changes: another name would be another owner.
pub(crate) const FIELD_MANAGER: &str = "seaway";
