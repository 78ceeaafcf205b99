//! In: [`Config`] and [`RunContext`]. Out: [`Desired`], what should exist. Pure: nothing is read, nothing is asked.
//!
//! Image references in the objects are still slots: which digest fills one is known when the image is found in the
//! registry (`observe`) or has been built (`execute`).

use crate::config::{Build, Expose, Rollout, SmokeStep};
use crate::model::{ObjectRef, Reference, Repository};
use std::path::PathBuf;

/// What should exist.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    /// The application's name.
    pub(crate) application: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// The images, in the order of the file.
    pub(crate) images: Vec<DesiredImage>,
    /// The objects, in the order in which they may be applied: whoever is referred to comes first.
    pub(crate) objects: Vec<DesiredObject>,
    /// Whose address is the application's; `None` where nothing is exposed.
    pub(crate) expose: Option<Expose>,
    /// How the rollout is waited for.
    pub(crate) rollout: Rollout,
    /// Requests against the address.
    pub(crate) smoke: Vec<SmokeStep>,
}

/// An image that should lie in the registry.
#[derive(Clone, Debug)]
pub(crate) struct DesiredImage {
    /// Its key in deploy.yml.
    pub(crate) key: String,
    /// How it comes to be.
    pub(crate) source: DesiredSource,
    /// Where it should lie.
    pub(crate) repository: Repository,
    /// The tag for people.
    pub(crate) tag: String,
    /// `false` leaves the tag in the objects instead of the digest.
    pub(crate) pin: bool,
}

/// How an image comes to be.
#[derive(Clone, Debug)]
pub(crate) enum DesiredSource {
    /// Built from a Dockerfile.
    Build(Build),
    /// Copied from another registry.
    Mirror(Reference),
}

/// An object that should exist.
#[derive(Clone, Debug)]
pub(crate) struct DesiredObject {
    /// Which one.
    pub(crate) reference: ObjectRef,
    /// Its body as it is applied, labels and namespace included, with the written texts still in the image slots.
    pub(crate) body: serde_json::Value,
    /// The places of images in the body.
    pub(crate) slots: Vec<ImageSlot>,
    /// Where it was written; `None` for objects that Seaway makes itself.
    pub(crate) origin: Option<Origin>,
    /// Whether values in it are secret (Secrets): they are never shown, not even as hashes.
    pub(crate) sensitive: bool,
}

/// The place where an object was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The manifest file.
    pub(crate) file: PathBuf,
    /// The line where its document starts, from 1.
    pub(crate) line: usize,
}

/// A place in an object that holds an image reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageSlot {
    /// A JSON pointer into the body, `/spec/template/spec/containers/0/image`.
    pub(crate) pointer: String,
    /// What fills it.
    pub(crate) image: SlotImage,
}

/// What fills an image slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SlotImage {
    /// An entry of `images`, by key.
    Ours(String),
    /// An image that Seaway did not build: it is resolved to its digest all the same.
    Foreign(Reference),
}
