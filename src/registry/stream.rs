//! Uploads of layers that are larger than what may be held in memory: they go up in chunks while they are made.
//!
//! A chunk is held until the registry has confirmed it. After a cut the registry is asked how much it holds; distribution
//! from version 3 on can say, and the chunk goes on from there. Version 2 drops the upload at this very question, so a
//! stream that is lost after its first chunk has to come from its source once more, in a new session.

pub(crate) mod early;

use super::budget::Grant;
use super::error::Error;
use super::flights::Flight;
use super::held::Held;
use super::lost::{judge_once, lost_session};
use super::progress::{BlobState, Track, lock};
use super::target::{Begun, Body, Session, Target};
use crate::http::Retry;
use crate::image::Descriptor;
use crate::image::part::{LayerReceiver, Piece};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use reqwest::StatusCode;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Chunks begin with this size: from here on a round trip costs about nothing on a near registry.
const FIRST_CHUNK: u64 = 16 * 1024 * 1024;

/// A chunk that is confirmed sooner than this is followed by one of twice its size, so that a far registry's round trips
/// do not add up.
const SHORT: Duration = Duration::from_secs(2);

/// No chunk is larger: another one is collected while it is sent.
const LARGEST_CHUNK: u64 = 64 * 1024 * 1024;

/// Registries that limit chunks take these (GHCR: <https://github.com/oras-project/rust-oci-client/issues/37>).
const SMALLEST_LIMIT: u64 = 4 * 1024 * 1024;

/// A blob that goes up while it is made goes before those that are there as a whole: its source waits for it.
const FIRST_OF_ALL: u64 = u64::MAX;

/// What has come of a layer and is not sent yet.
pub(crate) struct Incoming {
    /// Where more comes from.
    pieces: LayerReceiver,
    /// What has come.
    waiting: VecDeque<Bytes>,
    /// How many bytes that is.
    bytes: u64,
    /// The right to hold them.
    grant: Grant,
    /// What the layer is, when its end has come.
    end: Option<Descriptor>,
    /// Whether it is not needed after all.
    unneeded: bool,
    /// Tells how far it is.
    track: Track,
}

impl Incoming {
    /// A layer that begins to come.
    pub(crate) fn new(pieces: LayerReceiver, grant: Grant, track: Track) -> Self {
        Self { pieces, waiting: VecDeque::new(), bytes: 0, grant, end: None, unneeded: false, track }
    }

    /// Takes pieces in until there are so many bytes, or the end, or no more may be held; up to `least` is held in any
    /// case. Whether it stopped because no more may be held.
    pub(crate) async fn fill(&mut self, wanted: u64, least: u64) -> bool {
        while self.bytes < wanted && !self.is_over() {
            match self.pieces.recv().await {
                Some(Piece::Bytes(piece)) => {
                    let length = piece.len() as u64;
                    self.track.made(length);
                    let granted = self.grant.extend(length).await;
                    if !granted {
                        self.grant.force(length); // it has come: where else could it be?
                    }
                    self.bytes += length;
                    self.waiting.push_back(piece);
                    if !granted && self.bytes >= least {
                        return true;
                    }
                }
                Some(Piece::End(descriptor)) => self.end = Some(descriptor),
                None => self.unneeded = true,
            }
        }
        false
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some() || self.unneeded
    }

    /// What the layer is, when all of it is held.
    pub(crate) fn end(&self) -> Option<&Descriptor> {
        self.end.as_ref()
    }

    /// Whether it is not needed after all.
    pub(crate) fn is_unneeded(&self) -> bool {
        self.unneeded
    }

    /// How many bytes are held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes out up to so many bytes, and the right to hold them.
    pub(crate) fn take(&mut self, most: u64) -> (Vec<Bytes>, Grant) {
        let (mut pieces, mut taken) = (Vec::new(), 0);
        while let Some(mut piece) = self.waiting.pop_front() {
            let room = usize::try_from(most - taken).unwrap_or(usize::MAX);
            if piece.len() > room {
                self.waiting.push_front(piece.split_off(room));
            }
            taken += piece.len() as u64;
            pieces.push(piece);
            if taken == most {
                break;
            }
        }
        self.bytes -= taken;
        (pieces, self.grant.settle(taken))
    }
}

/// One layer on its way into one repository, in chunks.
pub(crate) struct Chunked<'a> {
    /// The repository.
    pub(crate) target: &'a Target,
    /// Tells how far it is.
    pub(crate) track: &'a Track,
    /// The open session.
    session: Mutex<Option<Session>>,
    /// No chunk may be larger.
    limit: AtomicU64,
    /// Lets others wait for this upload, as soon as its digest is known.
    flight: Mutex<Option<Flight>>,
}

impl<'a> Chunked<'a> {
    /// A layer that nothing has been sent of.
    pub(crate) fn new(target: &'a Target, track: &'a Track) -> Self {
        let (session, limit) = (Mutex::default(), AtomicU64::new(LARGEST_CHUNK));
        Self { target, track, session, limit, flight: Mutex::default() }
    }

    /// Sends the layer; what it is, or `None` where it turned out not to be needed.
    /// `sent` bytes of it are in the open session already.
    pub(crate) async fn run(
        &self,
        incoming: Incoming,
        sent: u64,
        cancel: &CancellationToken,
    ) -> Result<Option<Descriptor>, Error> {
        let sending = async {
            if sent > 0 || self.target.known.features.chunks.may_work() {
                self.in_chunks(incoming, sent).await
            } else {
                self.in_one_body(incoming).await
            }
        };
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::Cancelled),
            result = sending => result,
        };
        if let Ok(Some(blob)) = &result {
            self.target.known.has(&self.target.path, &blob.digest);
            self.track.finish(BlobState::Sent, blob.size);
        } else {
            self.track.forget();
            let session = lock(&self.session).take();
            self.target.end(session).await;
        }
        result
    }

    /// Sends chunk after chunk; while one is sent, the next is collected.
    async fn in_chunks(&self, mut incoming: Incoming, sent: u64) -> Result<Option<Descriptor>, Error> {
        if sent == 0 {
            self.begin().await?;
        }
        let (mut sent, mut size) = (sent, FIRST_CHUNK);
        loop {
            let least = self.shortest().max(FIRST_CHUNK);
            size = size.max(least).min(self.limit.load(Ordering::Relaxed).max(self.shortest()));
            incoming.fill(size, least).await;
            if incoming.is_unneeded() {
                return Ok(None);
            }
            if incoming.bytes() == 0 {
                break;
            }
            let start = Instant::now();
            let (chunk, grant) = incoming.take(size);
            let length: u64 = chunk.iter().map(|piece| piece.len() as u64).sum();
            let sending = async {
                self.chunk(sent, chunk).await?;
                drop(grant); // before the next chunk is complete: it may wait for this very room
                Ok::<_, Error>(())
            };
            let filling = async {
                incoming.fill(size, least).await;
                Ok(())
            };
            tokio::try_join!(sending, filling)?;
            sent += length;
            if start.elapsed() < SHORT {
                size = (size * 2).min(LARGEST_CHUNK);
            }
        }
        let Some(blob) = incoming.end().cloned() else { return Ok(None) };
        Self::check_size(&blob, sent)?;
        self.track.identify(&blob.digest, blob.size);
        self.commit(&blob).await?;
        Ok(Some(blob))
    }

    /// Begins a session.
    async fn begin(&self) -> Result<(), Error> {
        let target = self.target;
        match target.begin(&self.action(), target.scope(), &[], None).await? {
            Begun::Session(session) => *lock(&self.session) = Some(session),
            Begun::Done => return Err(target.lost("a layer", "it ended the upload before it began")),
        }
        Ok(())
    }

    /// The shortest chunk that the registry takes.
    fn shortest(&self) -> u64 {
        lock(&self.session).as_ref().map_or(0, |session| session.shortest_chunk).min(LARGEST_CHUNK)
    }

    /// Sends one chunk that begins here, with tries that go on where the registry stands.
    async fn chunk(&self, start: u64, pieces: Vec<Bytes>) -> Result<(), Error> {
        let end = start + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        let (held, at) = (Held::complete(pieces), AtomicU64::new(start));
        let limiter = &self.target.known.limiter;
        let attempt = || async {
            while at.load(Ordering::Relaxed) < end {
                let permit = limiter.acquire(FIRST_OF_ALL).await;
                let from = at.load(Ordering::Relaxed);
                let sent = self.piece(&held, start, from, end).await;
                if sent.is_ok() {
                    permit.succeeded();
                } else if sent.as_ref().is_err_and(lost_session) {
                    permit.throttled();
                }
                drop(permit);
                let (failed, next) = match sent {
                    Ok(next) => (Ok(()), next),
                    Err(error) => self.find_place(error, start, from, end).await.map(|(why, next)| (Err(why), next))?,
                };
                at.store(next, Ordering::Relaxed);
                failed?;
            }
            Ok(())
        };
        self.target.client.patience().run(judge_chunk(), attempt).await
    }

    /// Sends a part of a chunk; up to where the registry holds the layer now.
    async fn piece(&self, held: &Arc<Held>, start: u64, from: u64, end: u64) -> Result<u64, Error> {
        let session = lock(&self.session).clone().ok_or_else(|| self.target.lost("a layer", "no session is open"))?;
        let length = (end - from).min(self.limit.load(Ordering::Relaxed));
        let body = Body { from, length: Some(length), source: held.stream(from - start), is_chunk: true, file: None };
        let (session, holds) = self.target.patch(&self.action(), &session, body, self.track).await?;
        *lock(&self.session) = Some(session);
        let next = holds.unwrap_or(from + length);
        if next <= from || next > from + length {
            return Err(self.target.lost("a layer", &format!("it holds {next} bytes after {}", from + length)));
        }
        self.track.reach(next);
        Ok(next)
    }

    /// Finds out after a failure where the upload stands; the failure, and where to go on. Where nothing was confirmed yet,
    /// all bytes are still here, and a new session begins; otherwise the layer is lost.
    async fn find_place(&self, error: Error, start: u64, from: u64, end: u64) -> Result<(Error, u64), Error> {
        let features = &self.target.known.features;
        if start == 0 && takes_no_chunks(&error) {
            features.chunks.learn(false);
            return Err(self.target.lost("a layer", &error.to_string()));
        }
        if judge_chunk()(&error) == Retry::Never {
            return Err(error);
        }
        let session = lock(&self.session).clone();
        let untouched = is_untouched(&error);
        let found = match session {
            Some(session) if untouched => self.target.status(&session).await,
            Some(session) if features.resume.may_work() => self.target.settled(&session, end).await,
            _ => Ok(None),
        };
        match found {
            Ok(Some((session, next))) if next > 0 && (start..=end).contains(&next) => {
                if !untouched {
                    features.resume.learn(true);
                }
                if next == from && is_too_large(&error) {
                    self.limit.store(SMALLEST_LIMIT, Ordering::Relaxed);
                }
                *lock(&self.session) = Some(session);
                self.track.reach(next);
                Ok((error, next))
            }
            _ if start == 0 => {
                if is_too_large(&error) {
                    self.limit.store(SMALLEST_LIMIT, Ordering::Relaxed);
                } else if matches!(found, Ok(None)) && !untouched {
                    features.resume.learn(false);
                }
                let session = lock(&self.session).take();
                self.target.end(session).await;
                self.begin().await?;
                self.track.reach(0);
                Ok((error, 0))
            }
            _ => {
                if matches!(found, Ok(None)) && !untouched {
                    features.resume.learn(false);
                }
                Err(self.target.lost("a layer", &error.to_string()))
            }
        }
    }

    /// Ends the upload. A registry may have done so although its answer was lost.
    async fn commit(&self, blob: &Descriptor) -> Result<(), Error> {
        let target = self.target;
        let attempt = || async {
            let session = lock(&self.session).clone().ok_or_else(|| target.lost("a layer", "no session is open"))?;
            let _permit = target.known.limiter.acquire(FIRST_OF_ALL).await;
            let body =
                Body { from: blob.size, length: Some(0), source: stream::empty().boxed(), is_chunk: false, file: None };
            let result = target.put(&self.action(), &session, &blob.digest, body, self.track).await;
            let Err(error) = result else { return Ok(()) };
            if judge_once()(&error) == Retry::Never || error.status() == Some(StatusCode::UNAUTHORIZED) {
                return Err(error);
            }
            if target.has(&blob.digest).await.unwrap_or(false) {
                return Ok(());
            }
            match target.status(&session).await {
                Ok(Some((session, held))) if held == blob.size => *lock(&self.session) = Some(session),
                _ => return Err(target.lost("a layer", &error.to_string())),
            }
            Err(error)
        };
        target.client.patience().run(judge_once(), attempt).await?;
        lock(&self.session).take();
        Ok(())
    }

    /// Sends the layer as one body of unknown length, as Docker does, where a registry takes no chunks.
    async fn in_one_body(&self, incoming: Incoming) -> Result<Option<Descriptor>, Error> {
        self.begin().await?;
        let session = lock(&self.session).clone().ok_or_else(|| self.target.lost("a layer", "no session is open"))?;
        let end = Arc::new(Mutex::new((0, None)));
        let told = Arc::clone(&end);
        let pieces = stream::unfold(incoming, move |mut incoming| {
            let told = Arc::clone(&told);
            async move {
                incoming.fill(1, 1).await;
                let (pieces, _grant) = incoming.take(u64::MAX);
                let piece = Bytes::from(pieces.concat());
                let mut told = lock(&told);
                told.0 += piece.len() as u64;
                told.1 = incoming.end().cloned();
                let broken = incoming.is_unneeded().then(|| Err(std::io::Error::other("the layer is not needed")));
                let next = broken.or((!piece.is_empty()).then_some(Ok(piece)));
                drop(told);
                next.map(|next| (next, incoming))
            }
        });
        let body = Body { from: 0, length: None, source: pieces.boxed(), is_chunk: false, file: None };
        let permit = self.target.known.limiter.acquire(FIRST_OF_ALL).await;
        let sent = self.target.patch(&self.action(), &session, body, self.track).await;
        drop(permit);
        let (session, _) = sent.map_err(|error| self.target.lost("a layer", &error.to_string()))?;
        *lock(&self.session) = Some(session);
        let (sent, blob) = lock(&end).clone();
        let Some(blob) = blob else { return Ok(None) };
        Self::check_size(&blob, sent)?;
        self.commit(&blob).await?;
        Ok(Some(blob))
    }

    /// What was sent must be as long as what the source says that it was.
    fn check_size(blob: &Descriptor, sent: u64) -> Result<(), Error> {
        if blob.size == sent {
            return Ok(());
        }
        let (what, got) = ("a layer".to_owned(), format!("{sent} bytes"));
        Err(Error::SourceChanged { what, wanted: format!("{} bytes", blob.size), got })
    }

    /// Ends the open session of a layer that goes another way.
    pub(crate) async fn stop(&self) {
        let session = lock(&self.session).take();
        self.target.end(session).await;
    }

    /// What is being attempted.
    fn action(&self) -> String {
        format!("take a layer for `{}`", self.target.path)
    }
}

/// A judge for chunks: a chunk that is too large may be smaller the next time.
fn judge_chunk() -> impl Fn(&Error) -> Retry {
    let judge = judge_once();
    move |error: &Error| if is_too_large(error) { Retry::Now } else { judge(error) }
}

/// Whether a chunk may have been refused for its size.
fn is_too_large(error: &Error) -> bool {
    matches!(error.status(), Some(StatusCode::PAYLOAD_TOO_LARGE | StatusCode::RANGE_NOT_SATISFIABLE))
}

/// Whether a registry refuses chunks as such, as Google's Artifact Registry does
/// (<https://cloud.google.com/artifact-registry/docs/reference/docker-api>).
fn takes_no_chunks(error: &Error) -> bool {
    error.code() == Some("UNSUPPORTED")
        || matches!(error.status().map(|status| status.as_u16()), Some(405 | 411 | 415 | 501))
}

/// Whether a refusal says that the registry did not even begin: it tells nothing of what the registry could resume.
fn is_untouched(error: &Error) -> bool {
    error.is_throttling() || error.status() == Some(StatusCode::UNAUTHORIZED) || error.is_outage()
}
