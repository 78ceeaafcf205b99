//! A push: many blobs at once, then the manifest, then its tags.

mod promised;

use super::blob::Blob;
use super::client::Client;
use super::error::Error;
use super::flights::Flight;
use super::held::{Held, Source};
use super::limiter::SMALL;
use super::manifest::RawManifest;
use super::progress::{BlobState, Meter, OnProgress, Track, lock};
use super::stream::early::{self, Early, Whole};
use super::stream::{Chunked, Incoming};
use super::target::Target;
use super::upload::{Open, Upload, Uploaded};
use crate::image::part::{Answer, LayerReceiver, Piece, layer};
use crate::image::{Content, Descriptor, Part};
use crate::model::{Digest, Repository};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// So many layers of an image go up while they are made. More would only wait for the same processors.
const EARLY_AT_ONCE: usize = 2;

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
    /// Blobs that were there before, as far as they were looked for.
    pub(crate) existed: usize,
    /// Bytes of the blobs that were sent.
    pub(crate) bytes_sent: u64,
    /// Bytes of the blobs that were mounted.
    pub(crate) bytes_mounted: u64,
    /// Bytes of the manifest's blobs that were there before.
    pub(crate) bytes_reused: u64,
    /// Bytes of the layers that were made for it.
    pub(crate) bytes_compressed: u64,
    /// What took how long: `source` until the first blob came, `layers` until all were there, `manifest`.
    pub(crate) phases: Vec<(&'static str, Duration)>,
}

impl Default for PushReport {
    fn default() -> Self {
        Self {
            digest: Digest::of(b""),
            sent: 0,
            new: HashSet::new(),
            mounted: 0,
            existed: 0,
            bytes_sent: 0,
            bytes_mounted: 0,
            bytes_reused: 0,
            bytes_compressed: 0,
            phases: Vec::new(),
        }
    }
}

/// What has become of a blob.
struct Ended {
    /// How it came to lie there.
    how: Uploaded,
    /// What it is; `None` where it was not needed.
    blob: Option<Descriptor>,
    /// Whether it was made for this push.
    was_made: bool,
}

/// A push in progress: blobs go up as they are added; the manifest follows when all are there.
pub(crate) struct Pusher {
    /// The repository.
    target: Target,
    /// The same for people and references.
    repository: Repository,
    /// The uploads.
    uploads: JoinSet<Result<Ended, Error>>,
    /// How many layers more may go up while they are made.
    early: Arc<Semaphore>,
    /// Blobs that were added, or have come.
    seen: Arc<Mutex<HashSet<Digest>>>,
    /// Blobs that can be read again, for a registry that has lost them meanwhile.
    again: HashMap<Digest, Blob>,
    /// Tags of the repository that are known, and what they stand for.
    tags: HashMap<String, Digest>,
    /// Counts the bytes.
    meter: Arc<Meter>,
    /// Stops the uploads of this push.
    cancel: CancellationToken,
    /// What has been done.
    report: PushReport,
    /// When the phase began that is not over yet.
    phase: Instant,
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
            target: Target::new(client, repository)?,
            repository: repository.clone(),
            uploads: JoinSet::new(),
            early: Arc::new(Semaphore::new(EARLY_AT_ONCE)),
            seen: Arc::default(),
            again: HashMap::new(),
            tags: HashMap::new(),
            meter: Meter::new(on_progress),
            cancel: cancel.child_token(),
            report: PushReport::default(),
            phase: Instant::now(),
        })
    }

    /// Takes a part of an image in, whatever it is; the manifest belongs to `finish`.
    pub(crate) fn take(&mut self, part: Part) {
        match part {
            Part::Blob { descriptor, bytes } => {
                self.add(Blob { descriptor, content: Content::Bytes(bytes), mount_from: None });
            }
            Part::Reopenable { descriptor, content, mount_from } => self.add(Blob { descriptor, content, mount_from }),
            Part::Offer { descriptor, answer } => self.offered(descriptor, answer),
            Part::Promise { layer, about, answer } => self.promised(layer, about, answer),
            Part::Layer { pieces, about } => self.made(pieces, about),
            Part::Manifest { .. } => {}
        }
    }

    /// Sends a blob up, beside the others. One that was added before is not sent again.
    pub(crate) fn add(&mut self, blob: Blob) {
        if !lock(&self.seen).insert(blob.descriptor.digest.clone()) {
            return;
        }
        // What is held in memory anyway is not kept longer than it takes, unless it is next to nothing.
        if blob.descriptor.size <= SMALL || !matches!(blob.content, Content::Bytes(_)) {
            self.again.insert(blob.descriptor.digest.clone(), blob.clone());
        }
        self.send(blob, true);
    }

    /// Sends a blob up, perhaps without looking first whether it is there.
    fn send(&mut self, blob: Blob, look: bool) {
        let one = self.one(Some(&blob.descriptor));
        self.uploads.spawn(async move {
            let mount_from = blob.mount_from.filter(|_| look);
            let source = Source::Content(blob.content);
            one.known(blob.descriptor, source, mount_from, look).await
        });
    }

    /// Answers an offer: takes the blob where the registry lacks it.
    fn offered(&mut self, blob: Descriptor, answer: oneshot::Sender<Answer>) {
        if !lock(&self.seen).insert(blob.digest.clone()) {
            drop(answer.send(Answer::Have));
            return;
        }
        let one = self.one(Some(&blob));
        self.uploads.spawn(async move { one.offered(blob, |verdict| answer.send(verdict).is_ok()).await });
    }

    /// Takes a layer that is being made.
    fn made(&mut self, pieces: LayerReceiver, about: Option<u64>) {
        let (one, early, seen) = (self.one(None), Arc::clone(&self.early), Arc::clone(&self.seen));
        let first = early::first(about);
        self.uploads.spawn(async move { one.made(pieces, first, &early, &seen).await });
    }

    /// A phase is over.
    fn end_phase(&mut self, name: &'static str) {
        let now = Instant::now();
        self.report.phases.push((name, now - std::mem::replace(&mut self.phase, now)));
    }

    /// One more blob on its way.
    fn one(&mut self, blob: Option<&Descriptor>) -> One {
        if self.report.phases.is_empty() {
            self.end_phase("source");
        }
        let track = self.meter.follow(blob.map(|blob| (&blob.digest, blob.size)));
        One { target: self.target.clone(), track, cancel: self.cancel.clone() }
    }

    /// Tags of the repository, and what they stand for: one that stands for the image already is not put again.
    pub(crate) fn knows(&mut self, tags: HashMap<String, Digest>) {
        self.tags = tags;
    }

    /// Waits for all blobs, then puts the manifest under these tags, or under its digest where there are none.
    pub(crate) async fn finish(mut self, manifest: &RawManifest, tags: &[&str]) -> Result<PushReport, Error> {
        self.wait().await?;
        self.end_phase("layers");
        let missing: Vec<&str> =
            tags.iter().filter(|tag| self.tags.get(**tag) != Some(&manifest.digest)).copied().collect();
        let is_there = self.tags.values().any(|digest| *digest == manifest.digest);
        if !missing.is_empty() || !is_there {
            self.put_manifest(manifest, &missing).await?;
        }
        self.end_phase("manifest");
        self.report.digest = manifest.digest.clone();
        if let Ok(parts) = manifest.read() {
            let all: u64 = parts.blobs().iter().map(|blob| blob.size).sum();
            self.report.bytes_reused = all.saturating_sub(self.report.bytes_sent + self.report.bytes_mounted);
        }
        Ok(self.report)
    }

    /// Puts the manifest. Blobs that the registry turns out to have lost are sent again, where they can be read again, and
    /// the manifest is put once more; otherwise the image has to come from its source again.
    async fn put_manifest(&mut self, manifest: &RawManifest, tags: &[&str]) -> Result<(), Error> {
        let Err(error) = self.put(manifest, tags).await else { return Ok(()) };
        if !error.has_lost_blobs() {
            return Err(error);
        }
        let mut lost = error.lost_blobs().to_vec();
        if lost.is_empty() {
            self.target.known.lost(&self.target.path, None);
            let parts = manifest.read().map(|parts| parts.blobs().into_iter().cloned().collect::<Vec<_>>());
            lost = parts.unwrap_or_default().into_iter().map(|blob| blob.digest).collect();
        }
        for digest in &lost {
            self.target.known.lost(&self.target.path, Some(digest));
        }
        let again: Option<Vec<Blob>> = lost.iter().map(|digest| self.again.get(digest).cloned()).collect();
        let Some(again) = again else { return Err(error) };
        tracing::info!("the registry has lost {} blobs: sending them again", again.len());
        for blob in again {
            self.send(blob, false);
        }
        self.wait().await?;
        self.put(manifest, tags).await
    }

    /// Puts the manifest, unless somebody stops it.
    async fn put(&self, manifest: &RawManifest, tags: &[&str]) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::Cancelled),
            result = self.target.client.put_tags(&self.repository, manifest, tags) => result,
        }
    }

    /// Waits for all uploads. The first that fails stops the others, and lets them end their sessions.
    pub(crate) async fn wait(&mut self) -> Result<(), Error> {
        while let Some(ended) = self.uploads.join_next().await {
            match ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
                Ok(ended) => self.count(ended),
                Err(error) => {
                    self.stop().await;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Waits until an upload fails, and gives its error: whoever reads a source learns so that it may stop. It never comes
    /// back while all goes well.
    pub(crate) async fn failed(&mut self) -> Error {
        loop {
            match self.uploads.join_next().await {
                Some(Ok(Ok(ended))) => self.count(ended),
                Some(Ok(Err(error))) => {
                    self.stop().await;
                    return error;
                }
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => std::future::pending().await,
            }
        }
    }

    /// Stops all uploads and waits until they have ended their sessions.
    pub(crate) async fn stop(&mut self) {
        self.cancel.cancel();
        while self.uploads.join_next().await.is_some() {}
    }

    /// Counts a blob that is there.
    fn count(&mut self, ended: Ended) {
        let Some(blob) = ended.blob else { return };
        if ended.was_made {
            self.report.bytes_compressed += blob.size;
        }
        match ended.how {
            Uploaded::Existed => self.report.existed += 1,
            Uploaded::Unneeded => {}
            Uploaded::Mounted => {
                self.report.mounted += 1;
                self.report.bytes_mounted += blob.size;
            }
            Uploaded::Sent => {
                // A blob that the registry lost meanwhile is sent twice, and counts once.
                if self.report.new.insert(blob.digest) {
                    self.report.sent += 1;
                    self.report.bytes_sent += blob.size;
                }
            }
        }
    }
}

/// One blob on its way.
struct One {
    /// The repository.
    target: Target,
    /// Tells how far it is.
    track: Track,
    /// Stops it.
    cancel: CancellationToken,
}

impl One {
    /// Brings a blob up whose digest is known.
    async fn known(
        &self,
        blob: Descriptor,
        source: Source,
        mount_from: Option<String>,
        look: bool,
    ) -> Result<Ended, Error> {
        let upload = Upload { mount_from: mount_from.as_deref(), ..self.upload(&blob, &source, look) };
        let how = upload.run(Open::default(), &self.cancel).await?;
        Ok(Ended { how, blob: Some(blob), was_made: false })
    }

    /// The upload of a blob, perhaps after a look whether it is there, or can be had from another repository. A repository
    /// without a tag (404) is looked into as well: a push that was killed has left its blobs there, and no tag.
    fn upload<'a>(&'a self, blob: &'a Descriptor, source: &'a Source, look: bool) -> Upload<'a> {
        let worth_a_look = look && blob.size > SMALL;
        Upload {
            target: &self.target,
            blob,
            source,
            mount_from: None,
            share: look,
            look: worth_a_look,
            track: &self.track,
        }
    }

    /// Answers an offer, and sends what comes of it while it comes. Where it cannot be held in memory, it goes up in chunks.
    /// `answer` says whether somebody has heard it.
    async fn offered(&self, blob: Descriptor, answer: impl FnOnce(Answer) -> bool) -> Result<Ended, Error> {
        let found = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Error::Cancelled),
            found = self.target.has(&blob.digest), if blob.size > SMALL => found?,
            () = std::future::ready(()), if blob.size <= SMALL => false,
        };
        if found {
            self.track.finish(BlobState::Existed, blob.size);
            answer(Answer::Have);
            return Ok(Ended { how: Uploaded::Existed, blob: Some(blob), was_made: false });
        }
        let held = Held::growing();
        let source = Source::Held(Arc::clone(&held));
        let (upload, open) = (Upload { look: false, ..self.upload(&blob, &source, true) }, Mutex::default());
        if blob.size > SMALL
            && let Some(how) = self.uncancelled(upload.without_bytes(&open)).await?
        {
            answer(Answer::Have);
            return Ok(Ended { how, blob: Some(blob), was_made: false });
        }
        let open = open.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (sender, pieces) = layer();
        if !answer(Answer::Send(sender)) {
            self.target.end(open.session).await;
            return Ok(self.unneeded());
        }
        let mut grant = self.target.client.budget().grant();
        if blob.size <= SMALL {
            grant.force(blob.size); // a session in chunks would cost more
        } else {
            let extended = self.uncancelled(grant.extend(blob.size)).await;
            if !matches!(extended, Ok(true)) {
                self.target.end(open.session).await;
                extended?;
                return self.chunked(Incoming::new(pieces, grant, self.track.clone()), false).await;
            }
        }
        let _sending = grant.settle(blob.size);
        open.flight.iter().for_each(Flight::is_steady_now);
        let (withdrawn, stop) = (CancellationToken::new(), self.cancel.child_token());
        let receiving = receive(pieces, &held, &blob, &withdrawn, &stop);
        let sending = async {
            let sent =
                upload.run(open, &stop).await.map(|how| Ended { how, blob: Some(blob.clone()), was_made: false });
            if sent.is_err() {
                stop.cancel(); // whatever still comes is of no use
            }
            sent // the registry may have all bytes before their sender says that these were all: it must still find us
        };
        let (received, sent) = tokio::join!(receiving, sending);
        match received {
            _ if withdrawn.is_cancelled() => Ok(self.unneeded()),
            Err(error @ Error::SourceChanged { .. }) => Err(error),
            _ => sent,
        }
    }

    /// Takes a layer that is being made: as a blob where it is complete by its `first` bytes, or can be held in memory until
    /// it is; `early` says how many may go up while they are made. What cannot be held goes up in chunks.
    async fn made(
        &self,
        pieces: LayerReceiver,
        first: u64,
        early: &Semaphore,
        seen: &Mutex<HashSet<Digest>>,
    ) -> Result<Ended, Error> {
        let mut incoming = Incoming::new(pieces, self.target.client.budget().grant(), self.track.clone());
        let mut is_full = self.uncancelled(incoming.fill(first, 0)).await?;
        if !is_full
            && !incoming.is_over()
            && self.target.known.features.open_end.may_work()
            && let Ok(_turn) = early.try_acquire()
        {
            return self.early(incoming, seen).await;
        }
        is_full = is_full || self.uncancelled(incoming.fill(u64::MAX, 0)).await?;
        let Some(blob) = incoming.end().cloned() else {
            return if is_full { self.chunked(incoming, true).await } else { Ok(self.unneeded()) };
        };
        if !lock(seen).insert(blob.digest.clone()) {
            return Ok(self.unneeded()); // the same layer twice in an image
        }
        let (pieces, _sending) = incoming.take(u64::MAX);
        self.complete(blob, pieces, Open::default()).await
    }

    /// Sends a layer that has become complete; `open` is what has been begun of it.
    async fn complete(&self, blob: Descriptor, pieces: Vec<Bytes>, open: Open) -> Result<Ended, Error> {
        self.track.identify(&blob.digest, blob.size);
        self.track.enter(BlobState::Waiting);
        let source = Source::Held(Held::complete(pieces));
        let is_new = open.session.is_none(); // what has been begun was looked for, or is not to be found elsewhere
        let upload = Upload { look: is_new && blob.size > SMALL, ..self.upload(&blob, &source, true) };
        let how = upload.run(open, &self.cancel).await?;
        Ok(Ended { how, blob: Some(blob), was_made: true })
    }

    /// Sends a layer from now on, while the rest of it is made.
    async fn early(&self, mut incoming: Incoming, seen: &Mutex<HashSet<Digest>>) -> Result<Ended, Error> {
        let upload = Chunked::new(&self.target, &self.track);
        let is_first = |blob: &Descriptor| lock(seen).insert(blob.digest.clone());
        let early = self.uncancelled(Box::pin(upload.early(&mut incoming, is_first))).await;
        if early.is_err() {
            upload.stop().await;
        }
        match early? {
            Early::Sent(whole) => Ok(Ended { how: Uploaded::Sent, blob: Some(whole.blob), was_made: true }),
            Early::Complete(whole, open) => {
                let Whole { blob, pieces, grant: _sending } = *whole;
                self.complete(blob, pieces, open).await
            }
            Early::Full(sent) => {
                let blob = upload.run(incoming, sent, &self.cancel).await?;
                let how = if blob.is_some() { Uploaded::Sent } else { Uploaded::Unneeded };
                Ok(Ended { how, blob, was_made: true })
            }
            Early::Unneeded => Ok(self.unneeded()),
        }
    }

    /// Waits for something, unless somebody stops it.
    async fn uncancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::Cancelled),
            done = work => Ok(done),
        }
    }

    /// Sends a layer in chunks.
    async fn chunked(&self, incoming: Incoming, was_made: bool) -> Result<Ended, Error> {
        let blob = Chunked::new(&self.target, &self.track).run(incoming, 0, &self.cancel).await?;
        let how = if blob.is_some() { Uploaded::Sent } else { Uploaded::Unneeded };
        Ok(Ended { how, blob, was_made })
    }

    /// The blob is not needed after all.
    fn unneeded(&self) -> Ended {
        self.track.forget();
        Ended { how: Uploaded::Unneeded, blob: None, was_made: false }
    }
}

/// Takes the pieces of an offered blob in. One that is withdrawn, or is not what was offered, stops its upload.
async fn receive(
    mut pieces: LayerReceiver,
    held: &Held,
    offered: &Descriptor,
    withdrawn: &CancellationToken,
    stop: &CancellationToken,
) -> Result<(), Error> {
    loop {
        let piece = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Error::Cancelled),
            piece = pieces.recv() => piece,
        };
        match piece {
            Some(Piece::Bytes(piece)) => held.push(piece),
            Some(Piece::End(got)) if got.digest == offered.digest => {
                held.end(true);
                return Ok(());
            }
            Some(Piece::End(got)) => {
                stop.cancel();
                let (what, wanted) = ("a blob".to_owned(), offered.digest.to_string());
                return Err(Error::SourceChanged { what, wanted, got: got.digest.to_string() });
            }
            None => {
                withdrawn.cancel();
                held.end(false);
                stop.cancel();
                return Err(Error::Cancelled);
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
        for blob in blobs {
            pusher.add(blob);
        }
        pusher.finish(manifest, tags).await
    }
}
