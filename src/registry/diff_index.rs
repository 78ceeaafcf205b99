//! What a repository already has, by the digests of its layers *before* compression.
//!
//! A manifest lists compressed layers, its configuration the same layers uncompressed, in the same order: two small
//! requests tell which local layers need neither be compressed nor sent, on a machine that has never seen the repository.

use super::client::Client;
use super::error::Error;
use super::manifest::RawManifest;
use crate::image::{Descriptor, ImageConfig};
use crate::model::{Digest, Platform, Repository};
use futures::future::{join, join_all};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Layers of a repository: the digest before compression to the blob.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiffIndex {
    /// The blobs. A layer may be there in more than one compression.
    layers: Vec<(Digest, Descriptor)>,
    /// The manifests that were read, with the digest of their configuration, which is the image's id. An image may be there in
    /// more than one compression as well.
    images: Vec<(Digest, RawManifest)>,
    /// What the tags that were looked at stand for: a manifest, or an index of several.
    tags: HashMap<String, Digest>,
}

/// Whether an image has more to tell than those whose blobs are in `seen`, to which it adds its own. One that differs by its
/// last layer alone is another version of the same application: who comes back to that finds it by its content key.
fn tells_more(manifest: &RawManifest, seen: &mut HashSet<Digest>) -> bool {
    let Ok(parts) = manifest.read() else { return false };
    let blobs: Vec<Digest> = parts.layers.into_iter().map(|layer| layer.digest).collect();
    let known = blobs.iter().take_while(|blob| seen.contains(*blob)).count();
    let is_first = seen.is_empty();
    seen.extend(blobs.iter().cloned());
    is_first || known + 1 < blobs.len()
}

/// More images than this tell little that is new.
const MOST_IMAGES: usize = 8;

impl DiffIndex {
    /// All layers: the digest before compression, and the blob.
    pub(crate) fn layers(&self) -> impl Iterator<Item = (Digest, Descriptor)> {
        self.layers.iter().cloned()
    }

    /// All images: the digest of the configuration, and the manifest.
    pub(crate) fn images(&self) -> impl Iterator<Item = (&Digest, &RawManifest)> {
        self.images.iter().map(|(id, manifest)| (id, manifest))
    }

    /// What the tags that were looked at stand for.
    pub(crate) fn tags(&self) -> &HashMap<String, Digest> {
        &self.tags
    }

    /// Takes an image in. Images whose lists differ in length are left out: nothing could be said about their layers.
    pub(crate) fn add(&mut self, manifest: RawManifest, config: &[u8]) {
        let (Ok(parts), Ok(config)) = (manifest.read(), serde_json::from_slice::<ImageConfig>(config)) else { return };
        if parts.layers.len() == config.rootfs.diff_ids.len() {
            let known = config.rootfs.diff_ids.into_iter().zip(parts.layers);
            self.layers.extend(known.filter(|(_, blob)| !blob.is_foreign()));
            self.images.push((parts.config.digest, manifest));
        }
    }
}

impl Client {
    /// Reads what a repository has behind these tags, for a platform. It only saves work: what cannot be read is left out.
    ///
    /// Where none of the tags is there, a few others are read, as far as each has more to tell: a commit's tag and a content
    /// key are new with every commit, and without the list a fresh machine would know nothing of the layers that the commit
    /// before has pushed. The list is asked for beside the tags, so it costs no time.
    pub(crate) async fn diff_index(&self, repository: &Repository, tags: &[&str], platform: &Platform) -> DiffIndex {
        let tags = &tags.iter().copied().collect::<BTreeSet<_>>(); // two may be the same
        let named = join_all(tags.iter().map(|tag| self.tagged(repository, tag, platform)));
        let (mut found, listed) = join(named, self.tags(repository)).await;
        let is_guess = found.iter().all(Option::is_none);
        if is_guess {
            let others = listed.unwrap_or_else(|error| {
                tracing::debug!("no list of tags: {error}");
                Vec::new()
            });
            // Tags like `sha256-…` are signatures and the like.
            let others = others.iter().filter(|name| !tags.contains(name.as_str()) && !name.starts_with("sha256-"));
            found = join_all(others.take(MOST_IMAGES).map(|tag| self.tagged(repository, tag, platform))).await;
        }
        let mut index = DiffIndex::default();
        let mut read = HashSet::new();
        let mut seen = HashSet::new();
        let mut images = Vec::new();
        for (tag, digest, manifest) in found.into_iter().flatten() {
            index.tags.insert(tag, digest);
            if read.insert(manifest.digest.clone()) && (!is_guess || tells_more(&manifest, &mut seen)) {
                images.push(self.with_config(repository, manifest));
            }
        }
        for image in join_all(images).await {
            match image {
                Ok((manifest, config)) => index.add(manifest, &config),
                Err(error) => tracing::debug!("cannot learn the layers of `{repository}`: {error}"),
            }
        }
        index
    }

    /// A tag, what it stands for, and the manifest for a platform behind it; `None` where there is none that can be read.
    async fn tagged(
        &self,
        repository: &Repository,
        tag: &str,
        platform: &Platform,
    ) -> Option<(String, Digest, RawManifest)> {
        let found = match self.get_manifest(repository, tag).await {
            Ok(found) => found?,
            Err(error) => {
                tracing::debug!("cannot read `{repository}:{tag}`: {error}");
                return None;
            }
        };
        let digest = found.digest.clone();
        let manifest = match found.read_index() {
            None => found,
            Some(index) => {
                let entry = index.find(platform)?;
                self.get_manifest(repository, entry.digest.as_str()).await.ok()??
            }
        };
        Some((tag.to_owned(), digest, manifest))
    }

    /// A manifest and its configuration.
    async fn with_config(
        &self,
        repository: &Repository,
        manifest: RawManifest,
    ) -> Result<(RawManifest, bytes::Bytes), Error> {
        let parts = manifest.read().map_err(|error| Error::Nonsense {
            registry: repository.registry.clone(),
            action: format!("give a manifest of `{repository}`"),
            problem: error.to_string(),
        })?;
        let config = self.read_blob(repository, &parts.config).await?;
        Ok((manifest, config))
    }
}
