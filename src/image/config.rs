//! An image configuration: for which platform, and the digests of its layers before compression.

use crate::model::{Digest, Platform};
use serde::Deserialize;

/// What Seaway reads of an image configuration. It is pushed as the bytes it came in: their digest is the image's id.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ImageConfig {
    /// `amd64`.
    #[serde(default)]
    pub(crate) architecture: String,
    /// `linux`.
    #[serde(default)]
    pub(crate) os: String,
    /// `v8`.
    #[serde(default)]
    pub(crate) variant: Option<String>,
    /// The layers before compression.
    pub(crate) rootfs: RootFs,
}

/// The layers before compression.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RootFs {
    /// The digests of the layers' tar archives, lowest first.
    #[serde(default)]
    pub(crate) diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// The platform that the image is for.
    pub(crate) fn platform(&self) -> Platform {
        let (os, architecture) = (self.os.clone(), self.architecture.clone());
        Platform { os, architecture, variant: self.variant.clone() }
    }
}
