//! In: [`Config`] and [`RunContext`]. Out: [`Desired`], what should exist. Pure: nothing is read, nothing is asked.
//!
//! Image references in the objects are still slots: which digest fills one is known when the image is found in the
//! registry (`observe`) or has been built (`execute`).

mod expose;
mod images;
pub(crate) mod labels;
mod objects;
mod order;
mod pull_secret;
mod secrets;
mod supply;

pub(crate) use objects::NAMESPACE_MADE_FOR;
pub(crate) use pull_secret::{PULL_SECRET, PullCredential, with_pull_secret};
pub(crate) use supply::{Circumstances, Supply};

pub(crate) use crate::config::ImageSource;
use crate::config::{Config, Expose, Rollout, SmokeStep};
use crate::error::{FailureKind, Hint};
use crate::model::{Digest, ObjectRef, Reference, Repository, RunContext};
use std::path::{Path, PathBuf};

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
    pub(crate) source: ImageSource,
    /// Where it should lie.
    pub(crate) repository: Repository,
    /// The tag for people.
    pub(crate) tag: String,
    /// `false` leaves the tag in the objects instead of the digest.
    pub(crate) pin: bool,
    /// What is said about it, and what is put beside it.
    pub(crate) supply: Supply,
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

/// What is wrong with the set as a whole; mistakes inside one file are found by `config`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DesiredError {
    /// Two documents describe the same object.
    #[error("{object} is described twice: in {first} and in {second}")]
    Twice {
        /// The object.
        object: ObjectRef,
        /// The place of the first.
        first: String,
        /// The place of the second.
        second: String,
    },
    /// An image that is no reference.
    #[error("{place}: {object} has an image that cannot be read: {reason}")]
    Image {
        /// The file and line of the document.
        place: String,
        /// The object.
        object: ObjectRef,
        /// What is wrong with it.
        reason: String,
    },
    /// Several objects could be the address of the application.
    #[error("cannot tell whose address is the application's: {} could be", .candidates.join(", "))]
    Ambiguous {
        /// All of them.
        candidates: Vec<String>,
    },
    /// There are smoke steps, but nothing has an address.
    #[error("there are smoke steps, but nothing in the set has an address")]
    Nowhere,
}

impl Hint for DesiredError {
    fn kind(&self) -> FailureKind {
        FailureKind::Configuration
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Twice { .. } => Some("remove one of them, or give one another name or namespace".to_owned()),
            Self::Image { .. } => {
                Some("write the key of an entry of `images`, or a reference like `redis:7`".to_owned())
            }
            Self::Ambiguous { .. } => Some("name one in deploy.yml: `expose: { service: NAME }`".to_owned()),
            Self::Nowhere => Some(
                "add a Service of type LoadBalancer, or name one with `expose: { service: NAMESPACE/NAME }`".to_owned(),
            ),
        }
    }
}

/// What should exist, according to a checked deploy.yml.
pub(crate) fn render(config: &Config, context: &RunContext) -> Result<Desired, DesiredError> {
    let mut objects = objects::from_manifests(config);
    objects.extend(secrets::from_environment(config));
    objects::ensure_namespace(&mut objects, &config.namespace, &config.name);
    objects::refuse_duplicates(&objects)?;
    for object in &mut objects {
        labels::stamp(&mut object.body, &config.name);
        images::find_slots(object, config)?;
    }
    order::sort(&mut objects);
    let expose = expose::choose(config, &objects)?;
    Ok(Desired {
        application: config.name.clone(),
        namespace: config.namespace.clone(),
        images: images(config, context),
        objects,
        expose,
        rollout: config.rollout.clone(),
        smoke: config.smoke.clone(),
    })
}

/// The images with their place in the registry and their tag for people.
fn images(config: &Config, context: &RunContext) -> Vec<DesiredImage> {
    let Some(registry) = &config.registry else { return Vec::new() };
    let circumstances = supply::circumstances(config, context);
    let image = |image: &crate::config::Image| DesiredImage {
        key: image.key.clone(),
        source: image.source.clone(),
        repository: registry.repository(&image.key),
        tag: tag(&image.source, context),
        pin: image.pin,
        supply: supply::of(image, &circumstances),
    };
    config.images.iter().map(image).collect()
}

/// The tag for people: the source's own tag for a mirror, the commit for a build, the content key without git.
///
/// An empty tag stands for "the content key": it is known only once the registry has been asked for the bases.
fn tag(source: &ImageSource, context: &RunContext) -> String {
    match source {
        ImageSource::Mirror(reference) => reference.tag.clone().unwrap_or_else(|| {
            reference
                .digest
                .as_ref()
                .map_or_else(|| "latest".to_owned(), |digest: &Digest| digest.hex()[..12].to_owned())
        }),
        ImageSource::Build(_) | ImageSource::Layout(_) | ImageSource::Engine(_) | ImageSource::Assembly(_) => {
            context.git.as_ref().map(crate::model::GitState::tag).unwrap_or_default()
        }
    }
}

impl Origin {
    /// `k8s/backend.yaml:23`.
    pub(crate) fn place(file: &Path, line: usize) -> String {
        format!("{}:{line}", file.display())
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&Self::place(&self.file, self.line))
    }
}

#[cfg(test)]
mod tests;
