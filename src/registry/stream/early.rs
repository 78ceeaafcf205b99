//! Uploads that begin before their layer is complete: on a fast link the registry stores its beginning while the rest is
//! still being made, instead of waiting for a digest that only the last byte decides.
//!
//! It is one request without a length, as Docker sends every layer. All of it stays in memory meanwhile, so whatever goes
//! wrong costs no more than time: the layer then goes the way of every blob that is complete, from where the registry
//! stands if it can tell. Where no more may be held, the request ends there, as the first chunk of many.

use super::{Chunked, FIRST_OF_ALL, Incoming};
use crate::image::Descriptor;
use crate::registry::budget::Grant;
use crate::registry::error::Error;
use crate::registry::held::Held;
use crate::registry::lost::lost_session;
use crate::registry::progress::{BlobState, lock};
use crate::registry::target::{Body, Session};
use crate::registry::upload::{Open, WORTH_RESUMING};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use reqwest::StatusCode;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// So much of a layer is made before its upload begins, in bytes. What is shorter is complete in a moment.
const EARLY: u64 = 6 * 1024 * 1024;

/// A layer that is so long before compression, in bytes, hardly shrinks to what is complete in a moment.
const LONG: u64 = 4 * EARLY;

/// How much of a layer of about this length before compression is made before its upload begins, in bytes.
pub(crate) fn first(about: Option<u64>) -> u64 {
    if about.is_some_and(|length| length >= LONG) { 1 } else { EARLY }
}

/// With so much unsent when the digest is known, in bytes, it is worth a request to learn whether the registry has the blob.
const WORTH_ASKING: u64 = 16 * 1024 * 1024;

/// What has become of a layer whose upload began early.
pub(crate) enum Early {
    /// The registry has it, by this upload.
    Sent(Box<Whole>),
    /// It is complete, and the registry has not got it by this upload, of which this is left.
    Complete(Box<Whole>, Open),
    /// No more may be held; so many bytes of it are in the open session.
    Full(u64),
    /// It is not needed after all.
    Unneeded,
}

/// All of a layer.
pub(crate) struct Whole {
    /// What it is.
    pub(crate) blob: Descriptor,
    /// Its bytes.
    pub(crate) pieces: Vec<Bytes>,
    /// The right to hold them.
    pub(crate) grant: Grant,
}

/// What has become of the request.
enum Sent {
    /// The registry has taken all of it, so many bytes.
    All(u64),
    /// It broke off. Where it goes on, and with how many bytes, where the registry can tell.
    Broken(Option<(Session, u64)>),
}

/// How a layer has ended.
enum Collected {
    /// It is complete.
    Complete(Box<Whole>),
    /// No more may be held.
    Full,
    /// It is not needed after all.
    Unneeded,
}

impl Chunked<'_> {
    /// Sends what has come of a layer and what still comes. `is_first` says whether a blob is the first of its kind in this
    /// push.
    pub(crate) async fn early(&self, incoming: &mut Incoming, is_first: impl Fn(&Descriptor) -> bool) -> Early {
        let (held, given_up) = (Held::growing(), CancellationToken::new());
        let sending = async {
            tokio::select! {
                biased;
                () = given_up.cancelled() => Err(Error::Cancelled),
                sent = self.open_ended(&held) => sent,
            }
        };
        let collecting = self.collect(incoming, &held, &given_up, is_first);
        let (sent, collected) = futures::future::join(sending, collecting).await;
        let sent = match sent.inspect_err(|error| self.learn(error)) {
            Err(error) => Sent::Broken(self.stands(&error, held.length()).await),
            Ok(sent) => Sent::All(sent),
        };
        match (collected, sent) {
            (Collected::Complete(whole), Sent::Broken(Some((session, held)))) => {
                lock(&self.session).take();
                let flight = lock(&self.flight).take();
                Early::Complete(whole, Open::at(session, held, flight))
            }
            (Collected::Complete(whole), sent) => {
                if matches!(sent, Sent::All(sent) if sent == whole.blob.size) && self.commit_once(&whole.blob).await {
                    return Early::Sent(whole);
                }
                self.give_up().await;
                Early::Complete(whole, Open::default())
            }
            (Collected::Full, Sent::Broken(Some((session, sent)))) if sent >= self.shortest() => {
                self.set(session);
                drop(incoming.take(sent));
                Early::Full(sent)
            }
            // The rest comes in chunks of the length that the registry wants: this must have been one of them.
            (Collected::Full, Sent::All(sent)) if sent >= self.shortest() => {
                drop(incoming.take(sent)); // confirmed: they need not be held any more
                self.track.reach(sent);
                Early::Full(sent)
            }
            (Collected::Full, _) => {
                self.give_up().await;
                Early::Full(0)
            }
            (Collected::Unneeded, _) => {
                self.give_up().await;
                Early::Unneeded
            }
        }
    }

    /// Where a broken upload stands, if the registry can tell: up to `most` bytes of it may have arrived.
    async fn stands(&self, error: &Error, most: u64) -> Option<(Session, u64)> {
        let features = &self.target.known.features;
        let is_cut = !matches!(error, Error::Cancelled)
            && error.status().is_none_or(|status| status.is_server_error())
            && !lost_session(error);
        let session = lock(&self.session).clone()?;
        if !is_cut || self.track.done() < WORTH_RESUMING || !features.resume.may_work() {
            return None;
        }
        self.track.enter(BlobState::Waiting);
        match self.target.settled(&session, most).await {
            Ok(Some((session, held))) if (1..=most).contains(&held) => {
                features.resume.learn(true);
                self.track.reach(held);
                Some((session, held))
            }
            Ok(Some((_, 0))) => None, // nothing arrived: that says nothing of what it could do
            Ok(_) => {
                features.resume.learn(false);
                None
            }
            Err(error) => {
                tracing::debug!("no word of how much arrived: {error}");
                None
            }
        }
    }

    /// Remembers a registry that takes no such uploads. One that is in trouble is no such registry.
    fn learn(&self, error: &Error) {
        tracing::debug!("an early upload ended: {error}");
        let refused =
            error.status().is_some_and(|status| status.is_client_error() && status != StatusCode::UNAUTHORIZED);
        if refused && !error.is_throttling() {
            self.target.known.features.open_end.learn(false);
        }
    }

    /// Takes the rest of the layer in and passes it on to the request that is under way. What turns out to be there, or to
    /// come twice, is not sent to its end.
    async fn collect(
        &self,
        incoming: &mut Incoming,
        held: &Arc<Held>,
        given_up: &CancellationToken,
        is_first: impl Fn(&Descriptor) -> bool,
    ) -> Collected {
        incoming.waiting.iter().cloned().for_each(|piece| held.push(piece));
        let mut shown = incoming.waiting.len();
        loop {
            let is_full = incoming.fill(incoming.bytes() + 1, 0).await;
            incoming.waiting.iter().skip(shown).cloned().for_each(|piece| held.push(piece));
            shown = incoming.waiting.len();
            if incoming.is_unneeded() {
                given_up.cancel();
                return Collected::Unneeded;
            }
            if let Some(blob) = incoming.end().cloned() {
                held.end(true);
                if !is_first(&blob) {
                    given_up.cancel();
                    return Collected::Unneeded;
                }
                let (pieces, grant) = incoming.take(u64::MAX);
                self.track.identify(&blob.digest, blob.size);
                if self.is_there(&blob).await {
                    given_up.cancel();
                } else {
                    self.own(&blob);
                }
                return Collected::Complete(Box::new(Whole { blob, pieces, grant }));
            }
            if is_full {
                held.end(true);
                return Collected::Full;
            }
        }
    }

    /// Whether a blob whose digest is known now can be had more cheaply than by sending the rest of it: another image of this
    /// run has put it into the registry or is about to, or it has been there all the time. Where little is unsent, the last
    /// two are not asked for.
    async fn is_there(&self, blob: &Descriptor) -> bool {
        let target = self.target;
        let unsent = blob.size.saturating_sub(self.track.done());
        target.mount_source(blob, None).is_some()
            || unsent >= WORTH_ASKING
                && (target.other_upload(blob, true).is_some() || target.has(&blob.digest).await.unwrap_or(false))
    }

    /// Lets others wait for this upload, now that it is known what it is.
    fn own(&self, blob: &Descriptor) {
        *lock(&self.flight) = self.target.known.flights.take_off(&blob.digest, &self.target.path, true).ok();
    }

    /// Sends all that comes as one body; how long it was. It takes no permit: while its source is slow, it would keep others
    /// from sending what is complete.
    async fn open_ended(&self, held: &Arc<Held>) -> Result<u64, Error> {
        self.begin().await?;
        let session = lock(&self.session).clone().ok_or_else(|| self.target.lost("a layer", "no session is open"))?;
        let body = Body { from: 0, length: None, source: held.stream(0), is_chunk: false, file: None };
        let (session, _) = self.target.patch(&self.action(), &session, body, self.track).await?;
        self.set(session);
        Ok(held.length())
    }

    /// Ends the upload, with one try; whether the registry has the blob now.
    async fn commit_once(&self, blob: &Descriptor) -> bool {
        let Some(session) = lock(&self.session).clone() else { return false };
        self.track.enter(BlobState::Storing);
        let body =
            Body { from: blob.size, length: Some(0), source: stream::empty().boxed(), is_chunk: false, file: None };
        let _permit = self.target.known.limiter.acquire(FIRST_OF_ALL).await;
        let put = self.target.put(&self.action(), &session, &blob.digest, body, self.track).await;
        match put {
            Ok(()) => {
                lock(&self.session).take();
                self.target.known.has(&self.target.path, &blob.digest);
                self.track.finish(BlobState::Sent, blob.size);
                true
            }
            Err(error) => {
                tracing::debug!("an early upload could not be ended: {error}");
                false
            }
        }
    }

    /// Ends the session of an upload that is not wanted any more. Its bytes are still here, and may be sent again.
    async fn give_up(&self) {
        drop(lock(&self.flight).take());
        let session = lock(&self.session).take();
        self.target.end(session).await;
        self.track.reach(0);
    }

    /// Where the upload goes on.
    fn set(&self, session: Session) {
        *lock(&self.session) = Some(session);
    }
}
