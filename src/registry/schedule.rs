//! A push: many blobs at once, then the manifest, then its tags.

use super::blob::Blob;
use super::client::Client;
use super::error::Error;
use super::hosts::Endpoint;
use super::manifest::RawManifest;
use super::progress::{Meter, OnProgress};
use super::upload::{Upload, Uploaded};
use crate::image::part::{Answer, Piece};
use crate::image::{Content, Descriptor, Part};
use crate::model::{Digest, Repository};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a push has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PushReport {
    /// The manifest's digest.
    pub(crate) digest: Digest,
    /// Blobs that were sent.
    pub(crate) sent: usize,
    /// The digests of those.
    pub(crate) new: HashSet<Digest>,
    /// Blobs that the registry took from another of its repositories.
    pub(crate) mounted: usize,
    /// Blobs that were there before.
    pub(crate) existed: usize,
    /// Bytes of the blobs that were sent.
    pub(crate) bytes_sent: u64,
}

/// A push in progress: blobs go up as they are added; the manifest follows when all are there.
pub(crate) struct Pusher {
    /// The client.
    client: Client,
    /// The place.
    endpoint: Endpoint,
    /// The repository.
    repository: Repository,
    /// The uploads, each with its blob.
    uploads: JoinSet<Result<(Uploaded, Descriptor), Error>>,
    /// Bytes of blobs that are not up yet.
    waiting: u64,
    /// Blobs that were added.
    seen: HashSet<Digest>,
    /// Counts the bytes.
    meter: Arc<Meter>,
    /// Stops the uploads of this push.
    cancel: CancellationToken,
    /// What has been done.
    report: PushReport,
}

impl Pusher {
    /// A push into this repository. Whoever cancels `cancel` stops it.
    pub(crate) fn new(
        client: &Client,
        repository: &Repository,
        on_progress: OnProgress,
        cancel: &CancellationToken,
    ) -> Result<Self, Error> {
        Ok(Self {
            client: client.clone(),
            endpoint: client.push_endpoint(&repository.registry)?,
            repository: repository.clone(),
            uploads: JoinSet::new(),
            waiting: 0,
            seen: HashSet::new(),
            meter: Meter::new(on_progress),
            cancel: cancel.child_token(),
            report: PushReport {
                digest: Digest::of(b""),
                sent: 0,
                new: HashSet::new(),
                mounted: 0,
                existed: 0,
                bytes_sent: 0,
            },
        })
    }

    /// Sends a blob up, beside the others. One that was added before is not sent again.
    pub(crate) fn add(&mut self, blob: Blob) {
        if !self.seen.insert(blob.descriptor.digest.clone()) {
            return;
        }
        let size = blob.descriptor.size;
        self.waiting += size;
        let track = self.meter.follow(Some((&blob.descriptor.digest, size)));
        let (client, endpoint, cancel) = (self.client.clone(), self.endpoint.clone(), self.cancel.clone());
        let path = self.repository.path.clone();
        self.uploads.spawn(async move {
            let limiter = client.limiter(&endpoint.registry);
            let upload = Upload {
                client: &client,
                endpoint: &endpoint,
                path: &path,
                blob: &blob,
                limiter: &limiter,
                track: &track,
            };
            upload.run(&cancel).await.map(|how| (how, blob.descriptor.clone()))
        });
    }

    /// Takes a part of an image in, whatever it is; the manifest belongs to `finish`.
    pub(crate) fn take(&mut self, part: Part) {
        match part {
            Part::Blob { descriptor, bytes } => {
                self.add(Blob { descriptor, content: Content::Bytes(bytes), mount_from: None });
            }
            Part::Reopenable { descriptor, content, mount_from } => self.add(Blob { descriptor, content, mount_from }),
            Part::Offer { .. } | Part::Layer { .. } => self.receive(part),
            Part::Manifest { .. } => {}
        }
    }

    /// Receives a blob over a channel, and sends it up when it is complete.
    fn receive(&mut self, part: Part) {
        let (client, endpoint, cancel) = (self.client.clone(), self.endpoint.clone(), self.cancel.clone());
        let (path, meter) = (self.repository.path.clone(), Arc::clone(&self.meter));
        self.uploads.spawn(async move {
            let mut pieces = match part {
                Part::Offer { descriptor, answer } => {
                    if client.has_blob(&endpoint, &path, &descriptor.digest).await? {
                        let _ = answer.send(Answer::Have);
                        return Ok((Uploaded::Existed, descriptor));
                    }
                    let (sender, pieces) = crate::image::part::layer();
                    let _ = answer.send(Answer::Send(sender));
                    pieces
                }
                Part::Layer { pieces } => pieces,
                _ => return Err(Error::Cancelled),
            };
            let mut bytes = Vec::new();
            let descriptor = loop {
                match pieces.recv().await {
                    Some(Piece::Bytes(piece)) => bytes.extend_from_slice(&piece),
                    Some(Piece::End(descriptor)) => break descriptor,
                    None => return Ok((Uploaded::Existed, Descriptor::new("", Digest::of(b""), 0))),
                }
            };
            let blob = Blob { descriptor, content: Content::Bytes(bytes.into()), mount_from: None };
            let track = meter.follow(Some((&blob.descriptor.digest, blob.descriptor.size)));
            let limiter = client.limiter(&endpoint.registry);
            let upload = Upload {
                client: &client,
                endpoint: &endpoint,
                path: &path,
                blob: &blob,
                limiter: &limiter,
                track: &track,
            };
            upload.run(&cancel).await.map(|how| (how, blob.descriptor.clone()))
        });
    }

    /// Waits until no more than this many bytes wait to be sent: whoever reads blobs into memory calls it before the next.
    pub(crate) async fn room(&mut self, bytes: u64) -> Result<(), Error> {
        while self.waiting > bytes {
            self.next().await?;
        }
        Ok(())
    }

    /// Waits for all blobs, then puts the manifest under these tags, or under its digest where there are none.
    pub(crate) async fn finish(mut self, manifest: &RawManifest, tags: &[&str]) -> Result<PushReport, Error> {
        while !self.uploads.is_empty() {
            self.next().await?;
        }
        let targets: Vec<_> = if tags.is_empty() { vec![None] } else { tags.iter().map(|tag| Some(*tag)).collect() };
        let mut done = HashSet::new();
        for target in targets.into_iter().filter(|target| done.insert(*target)) {
            let put = self.client.put_manifest(&self.repository, manifest, target);
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Error::Cancelled),
                result = put => result?,
            }
        }
        self.report.digest = manifest.digest.clone();
        Ok(self.report)
    }

    /// Waits for one upload. The first that fails stops the others, and lets them end their sessions.
    async fn next(&mut self) -> Result<(), Error> {
        let Some(ended) = self.uploads.join_next().await else { return Ok(()) };
        match ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
            Ok((how, blob)) => {
                self.waiting = self.waiting.saturating_sub(blob.size);
                self.count(how, blob);
                Ok(())
            }
            Err(error) => {
                self.stop().await;
                Err(error)
            }
        }
    }

    /// Stops all uploads and waits until they have ended their sessions.
    pub(crate) async fn stop(&mut self) {
        self.cancel.cancel();
        while self.uploads.join_next().await.is_some() {}
    }

    /// Counts a blob that is there.
    fn count(&mut self, how: Uploaded, blob: Descriptor) {
        match how {
            Uploaded::Existed => self.report.existed += 1,
            Uploaded::Mounted => self.report.mounted += 1,
            Uploaded::Sent => {
                self.report.sent += 1;
                self.report.bytes_sent += blob.size;
                self.report.new.insert(blob.digest);
            }
        }
    }
}

impl Client {
    /// Pushes an image whose blobs are known: the blobs, then the manifest under these tags.
    pub(crate) async fn push(
        &self,
        repository: &Repository,
        blobs: Vec<Blob>,
        manifest: &RawManifest,
        tags: &[&str],
        on_progress: OnProgress,
        cancel: &CancellationToken,
    ) -> Result<PushReport, Error> {
        let mut pusher = Pusher::new(self, repository, on_progress, cancel)?;
        let mut blobs = blobs;
        // The largest first: whatever is left at the end is short.
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.descriptor.size));
        for blob in blobs {
            pusher.add(blob);
        }
        pusher.finish(manifest, tags).await
    }
}
