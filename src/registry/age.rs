//! When an image was made: then the inputs that are no part of its key, what the network gave, were as old.

use super::client::Client;
use super::error::Error;
use super::manifest::RawManifest;
use crate::image::Manifest;
use crate::model::{Digest, Platform, Repository};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// An image, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dated {
    /// The digest of what stands behind the tag.
    pub(crate) digest: Digest,
    /// When it was made; `None` where it does not say.
    pub(crate) created: Option<Timestamp>,
}

/// The annotation that says when an image was made
/// (<https://github.com/opencontainers/image-spec/blob/main/annotations.md>).
const CREATED: &str = "org.opencontainers.image.created";

/// What is read of a manifest or an index.
#[derive(Deserialize)]
struct Annotated {
    /// Its annotations.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What is read of a configuration.
#[derive(Deserialize)]
struct Created {
    /// When the last layer was made.
    created: Option<String>,
}

impl Client {
    /// What stands behind a tag, and when it was made: one request where the manifest says it, two where only the
    /// configuration does. `None` where there is no such tag.
    pub(crate) async fn dated_manifest(
        &self,
        repository: &Repository,
        tag: &str,
        platform: &Platform,
    ) -> Result<Option<Dated>, Error> {
        let Some(found) = self.get_manifest(repository, tag).await? else { return Ok(None) };
        let created = match annotated(&found.bytes) {
            Some(created) => Some(created),
            None => self.configured(repository, &found, platform).await?,
        };
        Ok(Some(Dated { digest: found.digest, created }))
    }

    /// When an image's configuration says that it was made. What is not there says nothing.
    async fn configured(
        &self,
        repository: &Repository,
        found: &RawManifest,
        platform: &Platform,
    ) -> Result<Option<Timestamp>, Error> {
        let manifest = match found.read_index() {
            None => found.read().ok(),
            Some(index) => {
                let Some(entry) = index.find(platform) else { return Ok(None) };
                let Some(inner) = self.get_manifest(repository, entry.digest.as_str()).await? else { return Ok(None) };
                if let Some(created) = annotated(&inner.bytes) {
                    return Ok(Some(created));
                }
                inner.read().ok()
            }
        };
        let Some(Manifest { config, .. }) = manifest else { return Ok(None) };
        match self.read_blob(repository, &config).await {
            Ok(bytes) => Ok(config_created(&bytes)),
            Err(error) => {
                tracing::debug!("the age of an image in `{repository}` is not known: {error}");
                Ok(None)
            }
        }
    }
}

/// The time in a manifest's annotation.
fn annotated(manifest: &Bytes) -> Option<Timestamp> {
    let manifest: Annotated = serde_json::from_slice(manifest).ok()?;
    manifest.annotations.get(CREATED)?.parse().ok()
}

/// The time in a configuration.
fn config_created(config: &[u8]) -> Option<Timestamp> {
    let config: Created = serde_json::from_slice(config).ok()?;
    config.created?.parse().ok()
}
