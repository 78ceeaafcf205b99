//! Mirrors: an image from one registry into another, blob by blob, through memory only.

use super::blob::Blob;
use super::client::Client;
use super::error::Error;
use super::manifest::RawManifest;
use super::progress::OnProgress;
use super::schedule::PushReport;
use crate::image::Content;
use crate::model::{Digest, Platform, Reference, Repository};
use futures::{FutureExt as _, StreamExt as _};
use std::io;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// An image that is to be copied.
#[derive(Clone, Debug)]
pub(crate) struct Mirror<'a> {
    /// From where; by digest where the plan knows it.
    pub(crate) from: &'a Reference,
    /// For which platform: only that one of an index is copied.
    pub(crate) platform: &'a Platform,
    /// To where.
    pub(crate) to: &'a Repository,
    /// Under which tags.
    pub(crate) tags: &'a [&'a str],
}

impl Client {
    /// Copies an image. The manifest is copied byte by byte, so its digest is the same on both sides.
    pub(crate) async fn mirror(
        &self,
        mirror: Mirror<'_>,
        on_progress: OnProgress,
        cancel: &CancellationToken,
    ) -> Result<PushReport, Error> {
        let manifest = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::Cancelled),
            manifest = self.platform_manifest(mirror.from, mirror.platform) => manifest?,
        };
        let blobs = self.blobs_of(mirror.from, mirror.to, &manifest)?;
        self.push(mirror.to, blobs, &manifest, mirror.tags, on_progress, cancel).await
    }

    /// A blob of a repository, read when it is needed.
    pub(crate) fn content(&self, source: &Repository, digest: &Digest) -> Content {
        let (client, source, digest) = (self.clone(), source.clone(), digest.clone());
        Content::Open(Arc::new(move || {
            let (client, source, digest) = (client.clone(), source.clone(), digest.clone());
            async move {
                let blob = client.open_blob(&source, &digest).await.map_err(io::Error::other)?;
                Ok(blob.map(|piece| piece.map_err(io::Error::other)).boxed())
            }
            .boxed()
        }))
    }

    /// The blobs of a manifest, each read from its registry when it is needed; mounted where both are in one registry.
    fn blobs_of(&self, from: &Reference, to: &Repository, manifest: &RawManifest) -> Result<Vec<Blob>, Error> {
        let source = &from.repository;
        let parts = manifest.read().map_err(|error| Error::Nonsense {
            registry: source.registry.clone(),
            action: format!("give the manifest of `{from}`"),
            problem: error.to_string(),
        })?;
        let mount_from = (source.registry == to.registry && source.path != to.path).then(|| source.path.clone());
        let blob = |descriptor: &crate::image::Descriptor| {
            let content = self.content(source, &descriptor.digest);
            Blob { descriptor: descriptor.clone(), content, mount_from: mount_from.clone() }
        };
        Ok(parts.blobs().into_iter().map(blob).collect())
    }
}
