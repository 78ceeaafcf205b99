//! What exists now, as `observe` found it: the planner's only knowledge of the world.

use crate::model::{Digest, ObjectRef, Reference};
use serde_json::Value;
use std::collections::BTreeMap;

/// What exists now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// One entry for each desired image, by key.
    pub(crate) images: BTreeMap<String, ObservedImage>,
    /// The digests of images that Seaway did not build.
    pub(crate) foreign: BTreeMap<Reference, Digest>,
    /// One entry for each desired object.
    pub(crate) objects: BTreeMap<ObjectRef, ObservedObject>,
}

/// What the registry knows of a desired image.
#[derive(Clone, Debug)]
pub(crate) struct ObservedImage {
    /// The tag that stands for the inputs of the image (`ck-…` for a build, the source's digest for a mirror).
    pub(crate) content_key: String,
    /// The digest of the image, if the registry has it under that tag: then it is neither built nor pushed.
    pub(crate) digest: Option<Digest>,
    /// The digest at the source, for a mirror: it will be the digest in the registry too.
    pub(crate) source: Option<Digest>,
    /// Why it is built although the registry may have it: `older than 7 d`. Then the builder must not remember it either.
    pub(crate) stale: Option<String>,
}

/// What the cluster knows of a desired object.
#[derive(Clone, Debug)]
pub(crate) struct ObservedObject {
    /// The object as it is.
    pub(crate) live: Live,
    /// What a server-side apply would make of it.
    pub(crate) dry_run: DryRun,
    /// Fields that stay as they are, because somebody else sets them.
    pub(crate) kept: Vec<Kept>,
}

/// A field that is applied with its live value, so that its owner stays in charge of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    /// The JSON pointer of the field, `/spec/replicas`.
    pub(crate) pointer: String,
    /// The live value.
    pub(crate) value: Value,
    /// Who sets it: `HorizontalPodAutoscaler backend`.
    pub(crate) owner: String,
}

/// An object as it is.
#[derive(Clone, Debug)]
pub(crate) enum Live {
    /// It does not exist.
    Absent,
    /// It exists and looks like this.
    Present(Value),
}

/// What a server-side apply would make of an object.
#[derive(Clone, Debug)]
pub(crate) enum DryRun {
    /// The server's answer: the object as it would be.
    Answered(Value),
    /// The server could not be asked yet: its namespace or its kind comes into being in this deploy.
    Deferred {
        /// Which of the two.
        because: String,
    },
}
