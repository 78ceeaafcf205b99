//! A pointer to content: media type, digest, size.

use crate::model::{Digest, Platform};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Media types that Seaway writes or has to tell apart.
pub(crate) mod media_type {
    /// An OCI image manifest.
    pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image index.
    pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker's image manifest, schema 2.
    pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// An OCI image configuration.
    pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A gzipped OCI layer.
    pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    /// A gzipped layer of Docker's kind.
    pub(crate) const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// An OCI layer compressed with zstd.
    pub(crate) const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

    /// Whether this is one of the two kinds of index.
    pub(crate) fn is_index(text: &str) -> bool {
        text == OCI_INDEX || text == DOCKER_LIST
    }

    /// Whether this is one of the two kinds of image manifest.
    pub(crate) fn is_manifest(text: &str) -> bool {
        text == OCI_MANIFEST || text == DOCKER_MANIFEST
    }
}

/// A pointer to content (<https://github.com/opencontainers/image-spec/blob/main/descriptor.md>).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    /// What the content is.
    #[serde(default)]
    pub(crate) media_type: String,
    /// The digest of the content.
    pub(crate) digest: Digest,
    /// The length of the content in bytes.
    pub(crate) size: u64,
    /// For whom the content is, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    /// Everything else that was written: `annotations`, `urls`, `artifactType`.
    #[serde(flatten)]
    pub(crate) others: Map<String, Value>,
}

impl Descriptor {
    /// A descriptor of content that was hashed before.
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, platform: None, others: Map::new() }
    }

    /// The same with the media type that OCI has for a gzipped layer of Docker's: the blob is the same.
    #[must_use]
    pub(crate) fn in_oci(mut self) -> Self {
        if self.media_type == "application/vnd.docker.image.rootfs.diff.tar.gzip" {
            media_type::OCI_LAYER_GZIP.clone_into(&mut self.media_type);
        }
        self
    }

    /// Whether the content lies elsewhere by licence (Windows base layers): such a layer is never pushed
    /// (<https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers>).
    pub(crate) fn is_foreign(&self) -> bool {
        self.media_type.contains("nondistributable") || self.media_type.contains(".foreign.")
    }
}
