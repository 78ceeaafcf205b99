//! What a repository already has, by the digests of its layers *before* compression.
//!
//! A manifest lists compressed layers, its configuration the same layers uncompressed, in the same order: two small
//! requests tell which local layers need neither be compressed nor sent, on a machine that has never seen the repository.

use super::client::Client;
use super::error::Error;
use super::manifest::RawManifest;
use crate::image::{Descriptor, ImageConfig};
use crate::model::{Digest, Repository};
use std::collections::HashMap;

/// Layers of a repository: the digest before compression to the blob.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiffIndex {
    /// The blobs.
    layers: HashMap<Digest, Descriptor>,
    /// The manifests that were read, by the digest of their configuration, which is the image's id.
    images: HashMap<Digest, RawManifest>,
}

/// More images than this tell little that is new.
const MOST_IMAGES: usize = 4;

impl DiffIndex {
    /// All layers: the digest before compression, and the blob.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (Digest, Descriptor)> {
        self.layers.iter().map(|(diff_id, blob)| (diff_id.clone(), blob.clone()))
    }

    /// All images: the digest of the configuration, and the manifest.
    pub(crate) fn images(&self) -> impl Iterator<Item = (&Digest, &RawManifest)> {
        self.images.iter()
    }

    /// Takes an image in. Images whose lists differ in length are left out: nothing could be said about their layers.
    pub(crate) fn add(&mut self, manifest: RawManifest, config: &[u8]) {
        let (Ok(parts), Ok(config)) = (manifest.read(), serde_json::from_slice::<ImageConfig>(config)) else { return };
        if parts.layers.len() == config.rootfs.diff_ids.len() {
            self.layers.extend(config.rootfs.diff_ids.into_iter().zip(parts.layers));
            self.images.insert(parts.config.digest, manifest);
        }
    }
}

impl Client {
    /// Reads what a repository has behind these tags, and behind a few others where there is room. It only saves work: what
    /// cannot be read is left out.
    pub(crate) async fn diff_index(&self, repository: &Repository, tags: &[&str]) -> DiffIndex {
        let mut names: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        match self.tags(repository).await {
            Ok(there) if there.is_empty() => return DiffIndex::default(),
            Ok(there) => {
                names.retain(|name| there.contains(name));
                names.extend(there.into_iter().filter(|name| !name.starts_with("sha256-")));
            }
            Err(error) => tracing::debug!("no list of tags: {error}"),
        }
        names.dedup();
        let read = names.iter().take(MOST_IMAGES).map(|name| self.read_image(repository, name));
        let mut index = DiffIndex::default();
        for image in futures::future::join_all(read).await {
            match image {
                Ok(Some((manifest, config))) => index.add(manifest, &config),
                Ok(None) => {}
                Err(error) => tracing::debug!("cannot learn the layers of `{repository}`: {error}"),
            }
        }
        index
    }

    /// A manifest and its configuration; `None` where there is no such tag, or where it is an index.
    async fn read_image(
        &self,
        repository: &Repository,
        tag: &str,
    ) -> Result<Option<(RawManifest, bytes::Bytes)>, Error> {
        let Some(manifest) = self.get_manifest(repository, tag).await? else { return Ok(None) };
        let Ok(parts) = manifest.read() else { return Ok(None) };
        let config = self.read_blob(repository, &parts.config).await?;
        Ok(Some((manifest, config)))
    }
}
