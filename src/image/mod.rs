//! OCI image values: manifests, indexes, configurations, compressed layers. Pure: nothing is read, nothing is asked.
//!
//! Source of the formats: <https://github.com/opencontainers/image-spec/blob/main/spec.md>.

pub(crate) mod compress;
pub(crate) mod config;
pub(crate) mod descriptor;
pub(crate) mod dockerfile;
pub(crate) mod index;
pub(crate) mod manifest;

pub(crate) use config::ImageConfig;
pub(crate) use descriptor::Descriptor;
pub(crate) use index::Index;
pub(crate) use manifest::Manifest;
