//! In: the text of deploy.yml and of the files that it names. Out: a checked [`Config`], or every mistake at once.
//!
//! This is the only room that reads those files. It contacts nothing.
//! What was written ([`raw`]) and what it means (here) are different types: a raw leaf stays loose, so that one mistake
//! does not hide the next.

mod diagnostic;
mod files;
mod fill;
mod keys;
mod load;
mod manifests;
mod needs;
mod node;
mod overlay;
mod raw;
mod references;
mod scalar;
pub(crate) mod schema;
mod source;
#[cfg(test)]
mod tests;
mod texts;
mod validate;
mod variables;

pub(crate) use diagnostic::{Diagnostic, Diagnostics};
pub(crate) use load::{Request, load};
pub(crate) use needs::Needs;
pub(crate) use validate::max_age;

use crate::model::{Compression, DIGITALOCEAN_REGISTRY, Platform, Reference, Repository, Secret};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A checked deploy.yml: every reference in it resolves, every file it names is there, every variable has a value.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The path of deploy.yml as it was given.
    pub(crate) path: PathBuf,
    /// The application's name.
    pub(crate) name: String,
    /// The namespace of every object that names none; defaults to the name.
    pub(crate) namespace: String,
    /// The DOKS cluster by name or id; `None` where the file names none.
    pub(crate) cluster: Option<String>,
    /// Where images go; `None` only where the file has no images.
    pub(crate) registry: Option<Registry>,
    /// The images by their key, in the order of the file.
    pub(crate) images: Vec<Image>,
    /// Every document of every manifest file, in the order of files and documents.
    pub(crate) manifests: Vec<ManifestDocument>,
    /// Secrets made from the environment: name, then key to value.
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, Secret>>,
    /// Whose address is the application's; `None` lets `desired` find the only candidate.
    pub(crate) expose: Option<Expose>,
    /// How long a rollout may take.
    pub(crate) rollout: Rollout,
    /// Requests against the address, in order.
    pub(crate) smoke: Vec<SmokeStep>,
    /// What is probably not meant, but has one meaning.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// A registry to push to.
#[derive(Clone, Debug)]
pub(crate) enum Registry {
    /// A DOCR registry by name: images are `registry.digitalocean.com/NAME/IMAGE`.
    DigitalOcean {
        /// The registry's name.
        name: String,
    },
    /// Any OCI registry. Pods pull from it without help: its login may push, and no API makes one that only pulls, so no
    /// pull Secret is applied.
    Other {
        /// `ghcr.io`, `127.0.0.1:5000`.
        host: String,
        /// The path under which images are put, `acme/todo`; may be empty.
        repository: String,
        /// User and password; `None` takes them from the Docker configuration.
        login: Option<(String, Secret)>,
    },
}

impl Registry {
    /// The repository of an image with this key.
    pub(crate) fn repository(&self, image: &str) -> Repository {
        match self {
            Self::DigitalOcean { name } => {
                Repository { registry: DIGITALOCEAN_REGISTRY.to_owned(), path: format!("{name}/{image}") }
            }
            Self::Other { host, repository, .. } => {
                let separator = if repository.is_empty() { "" } else { "/" };
                Repository { registry: host.clone(), path: format!("{repository}{separator}{image}") }
            }
        }
    }
}

/// One entry of `images`.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its key.
    pub(crate) key: String,
    /// How it comes to be.
    pub(crate) source: ImageSource,
    /// `false` leaves a tag in the manifests instead of the digest.
    pub(crate) pin: bool,
    /// What is said about it.
    pub(crate) supply: Supply,
}

/// What is said about an image beside what it is, and what is put beside it in the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Supply {
    /// Annotations of the author's own, over those that Seaway knows; an empty value takes one away.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Whether annotations that change with every commit are left out.
    pub(crate) stable_digest: bool,
    /// Whether a list of its packages is put beside it.
    pub(crate) sbom: bool,
    /// Whether it is put beside it how it was made.
    pub(crate) provenance: bool,
    /// How those of its layers are compressed that come without compression.
    pub(crate) compression: Compression,
}

/// How an image comes to be.
#[derive(Clone, Debug)]
pub(crate) enum ImageSource {
    /// Built from a Dockerfile.
    Build(Build),
    /// Copied from another registry.
    Mirror(Reference),
    /// An image that another tool wrote.
    Layout(Layout),
    /// An image that the Docker Engine has.
    Engine(EngineImage),
    /// Made of files, on a base.
    Assembly(Box<Assembly>),
}

/// An image made of files, laid on a base in the registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assembly {
    /// The base; `None` for none.
    pub(crate) from: Option<Reference>,
    /// A WAR that is exploded.
    pub(crate) war: Option<War>,
    /// What is copied, in the order of the file.
    pub(crate) copy: Vec<FileCopy>,
    /// The program; the base's without it.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// Its arguments; the base's without them, and none where there is an entrypoint.
    pub(crate) cmd: Option<Vec<String>>,
    /// Variables beside the base's.
    pub(crate) env: Vec<(String, String)>,
    /// Who runs it.
    pub(crate) user: Option<String>,
    /// The folder that it runs in.
    pub(crate) workdir: Option<String>,
    /// Its ports, each with a protocol or not.
    pub(crate) expose: Vec<String>,
    /// Labels beside the base's.
    pub(crate) labels: Vec<(String, String)>,
    /// The one platform that the base is taken for.
    pub(crate) platform: Platform,
}

/// A WAR that is exploded.
#[derive(Clone, Debug)]
pub(crate) struct War {
    /// The file.
    pub(crate) path: PathBuf,
    /// Where its content goes; empty for Tomcat's own place.
    pub(crate) root: String,
}

/// A file or folder that is copied into an image, as a Dockerfile's `COPY` does it.
#[derive(Clone, Debug)]
pub(crate) struct FileCopy {
    /// Where it is.
    pub(crate) source: PathBuf,
    /// Where it goes, absolute; a slash at its end makes it a folder.
    pub(crate) to: String,
    /// Whose it becomes: `USER` or `USER:GROUP`; root's without it.
    pub(crate) chown: Option<String>,
    /// The mode of everything that is copied; its own without it.
    pub(crate) chmod: Option<u32>,
}

/// An OCI layout, or an archive that `docker save` made: a folder or a file.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Where it is, absolute or relative to the working directory.
    pub(crate) path: PathBuf,
    /// The one platform that is taken out of it.
    pub(crate) platform: Platform,
}

/// An image that something else built into the Docker Engine.
#[derive(Clone, Debug)]
pub(crate) struct EngineImage {
    /// Its name there, `backend:dev`, or its id.
    pub(crate) image: String,
    /// The platform that it must be for.
    pub(crate) platform: Platform,
}

/// A build context with a Dockerfile.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    /// The context folder, absolute or relative to the working directory.
    pub(crate) context: PathBuf,
    /// The Dockerfile, already joined to the context.
    pub(crate) dockerfile: PathBuf,
    /// The stage to build; the last one without it.
    pub(crate) target: Option<String>,
    /// Build arguments.
    pub(crate) args: BTreeMap<String, String>,
    /// Build secrets by id (`RUN --mount=type=secret,id=…`).
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// The one platform that is built.
    pub(crate) platform: Platform,
    /// How old an image of the same inputs may be.
    pub(crate) max_age: MaxAge,
    /// It is built anew, whatever the registry and the builder remember.
    pub(crate) anew: bool,
}

impl Build {
    /// A build of this folder with the Dockerfile in it, and without any settings.
    pub(crate) fn of(context: PathBuf) -> Self {
        Self {
            dockerfile: context.join("Dockerfile"),
            context,
            target: None,
            args: BTreeMap::new(),
            secrets: BTreeMap::new(),
            platform: Platform::default(),
            max_age: MaxAge::default(),
            anew: false,
        }
    }
}

/// How old an image may be that is reused because its inputs have not changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MaxAge {
    /// [`MaxAge::OF_NETWORK`] where the build reaches the network, any age where it does not.
    #[default]
    ByNetwork,
    /// At most so old.
    Limit(Duration),
    /// Of any age.
    Any,
}

impl MaxAge {
    /// What a build got from the network is trusted for so long.
    pub(crate) const OF_NETWORK: Duration = Duration::from_hours(7 * 24);

    /// The limit for a build that reaches the network or does not.
    pub(crate) fn limit(self, reaches_network: bool) -> Option<Duration> {
        match self {
            Self::ByNetwork => reaches_network.then_some(Self::OF_NETWORK),
            Self::Limit(age) => Some(age),
            Self::Any => None,
        }
    }
}

/// One document of a manifest file.
#[derive(Clone, Debug)]
pub(crate) struct ManifestDocument {
    /// The file, as deploy.yml leads to it.
    pub(crate) file: PathBuf,
    /// The line of the file where the document starts, from 1.
    pub(crate) line: usize,
    /// The object: it has `apiVersion`, `kind` and `metadata.name`. A `List` is already taken apart.
    pub(crate) object: serde_json::Value,
}

/// The Service, Ingress or Gateway whose address is the application's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expose {
    /// `Service`, `Ingress` or `Gateway`.
    pub(crate) kind: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// The host name that requests carry, if one is given.
    pub(crate) host: Option<String>,
}

/// How the rollout is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// All workloads are ready within this, or the deploy has failed.
    pub(crate) deadline: Duration,
    /// How long everything must stay ready where something changed.
    pub(crate) settle: Duration,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { deadline: Duration::from_mins(10), settle: Duration::from_secs(5) }
    }
}

/// A text with `${smoke.NAME}` places in it, which only the run can fill; everything else is already substituted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(pub(crate) String);

/// One request of the smoke test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SmokeStep {
    /// `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`.
    pub(crate) method: String,
    /// The path, from `/`.
    pub(crate) path: Template,
    /// The JSON body; texts in it are templates.
    pub(crate) json: Option<serde_json::Value>,
    /// Request headers.
    pub(crate) headers: BTreeMap<String, Template>,
    /// What the answer must be.
    pub(crate) expect: Expectation,
    /// Values kept from the answer for later steps: name to JSON path.
    pub(crate) save: BTreeMap<String, String>,
    /// The line of deploy.yml where the step starts, from 1.
    pub(crate) line: usize,
}

/// What the answer to a smoke request must be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expectation {
    /// The status; any 2xx or 3xx where none is given.
    pub(crate) status: Option<u16>,
    /// A text that the body contains.
    pub(crate) body: Option<Template>,
    /// JSON path to value; a text value is a template.
    pub(crate) json: BTreeMap<String, serde_json::Value>,
    /// The answer must come within this.
    pub(crate) within: Option<Duration>,
}
