//! When an image was built: what the network gave it is as old.
//!
//! Its configuration says so. The annotation `org.opencontainers.image.created` does not: there it is the commit's time, so
//! that every run of one commit gives the same manifest.

use super::client::Client;
use super::error::Error;
use crate::model::{Digest, Platform, Repository};
use jiff::Timestamp;
use serde::Deserialize;

/// An image, and when it was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dated {
    /// The digest of what stands behind the tag.
    pub(crate) digest: Digest,
    /// When it was built; `None` where it does not say.
    pub(crate) created: Option<Timestamp>,
}

/// What is read of a configuration
/// (<https://github.com/opencontainers/image-spec/blob/main/config.md#properties>).
#[derive(Deserialize)]
struct Created {
    /// When the last layer was made.
    created: Option<String>,
}

impl Client {
    /// What stands behind a tag, and when it was built: two requests, one more than a look at the tag alone. `None` where
    /// there is no such tag.
    pub(crate) async fn dated_manifest(
        &self,
        repository: &Repository,
        tag: &str,
        platform: &Platform,
    ) -> Result<Option<Dated>, Error> {
        let Some(found) = self.get_manifest(repository, tag).await? else { return Ok(None) };
        let digest = found.digest.clone();
        let inner = match found.read_index() {
            None => Some(found),
            Some(index) => match index.find(platform) {
                Some(entry) => self.get_manifest(repository, entry.digest.as_str()).await?,
                None => None,
            },
        };
        let Some(Ok(manifest)) = inner.map(|inner| inner.read()) else {
            return Ok(Some(Dated { digest, created: None }));
        };
        let created = match self.read_blob(repository, &manifest.config).await {
            Ok(config) => serde_json::from_slice::<Created>(&config).ok().and_then(|c| c.created?.parse().ok()),
            Err(error) => {
                tracing::debug!("the age of `{repository}:{tag}` is not known: {error}");
                None
            }
        };
        Ok(Some(Dated { digest, created }))
    }
}
