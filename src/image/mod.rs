//! OCI image values: manifests, indexes, configurations, layers and their compression, the parts in which an image travels
//! from where it is made to where it is kept, and what is said about images: annotations, provenance, packages, artifacts.
//! Nothing is read here, nothing is asked.
//!
//! Source of the formats: <https://github.com/opencontainers/image-spec/blob/main/spec.md>.

pub(crate) mod annotations;
pub(crate) mod assembly;
pub(crate) mod compress;
pub(crate) mod config;
pub(crate) mod descriptor;
pub(crate) mod dockerfile;
pub(crate) mod index;
pub(crate) mod known;
pub(crate) mod manifest;
pub(crate) mod part;
pub(crate) mod provenance;
pub(crate) mod purl;
pub(crate) mod referrers;
pub(crate) mod sbom;

pub(crate) use config::ImageConfig;
pub(crate) use descriptor::Descriptor;
pub(crate) use index::Index;
pub(crate) use known::KnownLayers;
pub(crate) use manifest::Manifest;
pub(crate) use part::{Content, Part};
