//! Uploads of blobs whose digest is known: one blob into one repository.
//!
//! HEAD, then POST for a session, then one PUT with the whole body: chunks cost a round trip each, and distribution keeps
//! server state for each of them. A try that fails looks first whether the registry can say how much of it arrived, and
//! goes on from there; where it cannot, the next try is a new session, and the old one is told to go.

use super::error::Error;
use super::flights::{Flight, UnderWay};
use super::held::Source;
use super::limiter::{Permit, SMALL};
use super::lost::{NO_BLOB, judge_once, lost_session};
use super::progress::{BlobState, Track, lock};
use super::target::{Begun, Body, Session, Target};
use super::wire;
use crate::http::Retry;
use crate::image::{Content, Descriptor};
use crate::model::Digest;
use futures::StreamExt as _;
use reqwest::StatusCode;
use sha2::{Digest as _, Sha256};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// How a blob came to lie in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uploaded {
    /// It lay there before.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was sent.
    Sent,
    /// It was not needed after all.
    Unneeded,
}

/// One blob on its way into one repository.
pub(crate) struct Upload<'a> {
    /// The repository.
    pub(crate) target: &'a Target,
    /// The blob.
    pub(crate) blob: &'a Descriptor,
    /// Its bytes.
    pub(crate) source: &'a Source,
    /// Another repository of the same registry that may have it, as its source says.
    pub(crate) mount_from: Option<&'a str>,
    /// Whether it may come from another repository at all.
    pub(crate) share: bool,
    /// Whether to look first if it is there. Not worth it for small blobs: to send one costs one request more.
    pub(crate) look: bool,
    /// Tells how far it is.
    pub(crate) track: &'a Track,
}

/// What is open between tries.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// The session.
    pub(crate) session: Option<Session>,
    /// How much of the blob the registry holds, where it can go on.
    held: u64,
    /// Lets others wait for this upload.
    pub(crate) flight: Option<Flight>,
}

/// What is to be done with a blob that is about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// Nothing: it has come.
    There,
    /// Somebody else sends it: they are to be waited for.
    Others,
    /// It is to be sent from here, and it begins now.
    Begins,
    /// It is to be mounted, or goes on, or is nobody else's business.
    Free,
}

impl Open {
    /// An upload that goes on where the registry stands, which others may wait for.
    pub(crate) fn at(session: Session, held: u64, flight: Option<Flight>) -> Self {
        Self { session: Some(session), held, flight }
    }

    /// The upload goes on in this session, of which the registry holds so many bytes.
    fn stands_at(&mut self, session: Option<Session>, held: u64) {
        (self.session, self.held) = (session, held);
    }
}

/// A broken upload with less in it than this is not worth the question how much arrived.
pub(crate) const WORTH_RESUMING: u64 = 1024 * 1024;

impl Upload<'_> {
    /// Brings the blob into the repository; `open` is what has been begun of it.
    pub(crate) async fn run(&self, open: Open, cancel: &CancellationToken) -> Result<Uploaded, Error> {
        let open = Mutex::new(open);
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::Cancelled),
            result = self.with_tries(&open) => result,
        };
        match &result {
            Ok(_) => self.target.known.has(&self.target.path, &self.blob.digest),
            Err(_) => self.close(&open).await,
        }
        result
    }

    /// Tries until the blob is there. Each try is a permit of its own, so that a registry in trouble sees fewer at once.
    async fn with_tries(&self, open: &Mutex<Open>) -> Result<Uploaded, Error> {
        if self.look && self.target.has(&self.blob.digest).await? {
            return Ok(self.finish(Uploaded::Existed));
        }
        let arrived = AtomicBool::new(false);
        let (judge, refused) = (judge_once(), AtomicBool::new(false));
        // A session that cannot even be begun had its tries.
        let judge = |error: &Error| if refused.load(Ordering::Relaxed) { Retry::Never } else { judge(error) };
        let attempt = || async {
            if arrived.load(Ordering::Relaxed) {
                return Ok(self.finish(Uploaded::Sent));
            }
            let Some(permit) = self.turn(open).await else { return Ok(self.finish(Uploaded::Existed)) };
            let result = self.attempt(open, &refused).await;
            match &result {
                Ok(_) => permit.succeeded(),
                Err(error) if lost_session(error) => permit.throttled(),
                Err(_) => {}
            }
            drop(permit);
            if let Err(error) = result {
                arrived.store(self.salvage(&error, open).await, Ordering::Relaxed);
                return Err(self.blame(error).await);
            }
            result
        };
        self.target.client.patience().run(judge, attempt).await
    }

    /// Waits for whoever is sending the same blob, and for a permit: whoever gets one where nobody sends the blob is the one
    /// that others wait for. `None` where the blob has come meanwhile.
    async fn turn(&self, open: &Mutex<Open>) -> Option<Permit> {
        let holds_bytes = matches!(self.source, Source::Held(_));
        loop {
            if let Some(under_way) = self.other(open, holds_bytes) {
                under_way.ended().await;
                continue;
            }
            let permit = self.target.known.limiter.acquire(self.blob.size).await;
            match self.claim(open, holds_bytes, true) {
                Claim::There => return None,
                Claim::Others => continue,
                Claim::Begins => self.target.ask_neighbours(self.blob).await,
                Claim::Free => {}
            }
            return Some(permit);
        }
    }

    /// Somebody else who is sending the blob and is worth waiting for, where nothing else is to be done with it.
    fn other(&self, open: &Mutex<Open>, holds_bytes: bool) -> Option<UnderWay> {
        let others = self.target.other_upload(self.blob, holds_bytes)?;
        (self.is_shared(open) && self.mount_source().is_none()).then_some(others)
    }

    /// Whether nothing of the blob has been begun here, and it may come from elsewhere.
    fn is_shared(&self, open: &Mutex<Open>) -> bool {
        let open = lock(open);
        self.share && open.flight.is_none() && open.session.is_none()
    }

    /// Lets others wait for this upload from now on, if it is to bring the bytes. Looks after that whether somebody else has
    /// brought them: who did has told so before others could begin.
    fn claim(&self, open: &Mutex<Open>, holds_bytes: bool, steady: bool) -> Claim {
        if !self.is_shared(open) {
            return Claim::Free;
        }
        let flight = self.target.known.flights.take_off(&self.blob.digest, &self.target.path, steady);
        if self.target.known.is_in(&self.target.path, &self.blob.digest) {
            return Claim::There;
        }
        if self.mount_source().is_some() {
            return Claim::Free;
        }
        match flight {
            Err(other) if self.target.is_worth_waiting_for(&other, holds_bytes) => Claim::Others,
            flight => {
                lock(open).flight = flight.ok();
                Claim::Begins
            }
        }
    }

    /// Another repository that the blob may be taken from.
    fn mount_source(&self) -> Option<String> {
        self.target.mount_source(self.blob, self.mount_from).filter(|_| self.share)
    }

    /// Brings the blob without its bytes, if that can be done: from another repository, when it has come to lie there. Where
    /// it cannot, others wait from now on for the upload that follows; `open` is what has been begun of it.
    pub(crate) async fn without_bytes(&self, open: &Mutex<Open>) -> Option<Uploaded> {
        loop {
            if let Some(under_way) = self.other(open, false) {
                under_way.ended().await;
                continue;
            }
            match self.claim(open, false, false) {
                Claim::There => return Some(self.finish(Uploaded::Existed)),
                Claim::Others => {}
                Claim::Begins => break self.target.ask_neighbours(self.blob).await,
                Claim::Free => break,
            }
        }
        self.mount_source()?;
        match self.begin().await {
            Ok((Begun::Done, how)) => {
                self.target.known.has(&self.target.path, &self.blob.digest);
                Some(self.finish(how))
            }
            Ok((Begun::Session(session), _)) => {
                lock(open).session = Some(session);
                None
            }
            Err(error) => {
                tracing::debug!("the upload will see whether this lasts: {error}");
                None
            }
        }
    }

    /// One try: a session, or a mount where one is possible, then the body.
    async fn attempt(&self, open: &Mutex<Open>, refused: &AtomicBool) -> Result<Uploaded, Error> {
        let there = {
            let open = lock(open);
            open.session.clone().map(|session| (session, open.held))
        };
        let (session, from) = match there {
            Some(there) => there,
            None => match self.begin().await.inspect_err(|_| refused.store(true, Ordering::Relaxed))? {
                (Begun::Done, how) => return Ok(self.finish(how)),
                (Begun::Session(session), _) => (session, 0),
            },
        };
        lock(open).stands_at(Some(session.clone()), from);
        let whole_put = &self.target.known.features.whole_put;
        let (session, from) =
            if from == 0 && !whole_put.may_work() { self.by_patch(session, open).await? } else { (session, from) };
        let body = self.body(&session, from).await?;
        let put = self.target.put(&self.action(), &session, &self.blob.digest, body, self.track).await;
        if from == 0 && put.as_ref().is_err_and(|error| error.code() == Some(NO_BLOB)) {
            whole_put.learn(false);
        }
        put?;
        lock(open).stands_at(None, 0);
        Ok(self.finish(Uploaded::Sent))
    }

    /// The blob from here on, as a body for this session.
    async fn body(&self, session: &Session, from: u64) -> Result<Body, Error> {
        let length = self.blob.size - from;
        let is_worth_it = length >= wire::WORTH_IT && wire::reaches(&session.url);
        let file = self.source.file(from).filter(|_| is_worth_it);
        let source = match &file {
            _ if length == 0 => futures::stream::empty().boxed(),
            Some(_) => wire::blank(length),
            None => self.source.open(from).await.map_err(|error| Error::of_source("a blob", error))?,
        };
        Ok(Body { from, length: Some(length), source, is_chunk: from > 0 && length > 0, file })
    }

    /// Sends the blob with a PATCH, so that the PUT behind it has no body: Artifactory was known to look for it nowhere else
    /// (<https://github.com/docker/buildx/issues/196>). A registry that refuses that has only lost an upload when it seemed to
    /// want it, and gets the next try in the usual way.
    async fn by_patch(&self, session: Session, open: &Mutex<Open>) -> Result<(Session, u64), Error> {
        let body = self.body(&session, 0).await?;
        let sent = self.target.patch(&self.action(), &session, body, self.track).await;
        if sent.as_ref().is_err_and(|error| error.status().is_some_and(|status| status.is_client_error())) {
            self.target.known.features.whole_put.learn(true);
        }
        let (session, _) = sent?;
        lock(open).stands_at(Some(session.clone()), self.blob.size);
        Ok((session, self.blob.size))
    }

    /// Begins a session. A refused mount that comes with a session is a session like any other; one that comes with an
    /// error is asked again without the mount.
    async fn begin(&self) -> Result<(Begun, Uploaded), Error> {
        let (digest, target, action) = (self.blob.digest.as_str(), self.target, self.action());
        if let Some(from) = self.mount_source()
            && let Some(turn) = target.known.mounts.turn(&from, &target.path).await
        {
            let scope = target.scope().clone().and_pull(&from);
            match target.begin(&action, &scope, &[("mount", digest), ("from", &from)], None).await {
                Ok(begun) => {
                    turn.learn(matches!(begun, Begun::Done));
                    return Ok((begun, Uploaded::Mounted));
                }
                // Whatever stands in the way of a mount, even a server error of its own, need not stand in that of an upload.
                Err(error) => {
                    tracing::debug!("no mount from `{from}`: {error}");
                    turn.learn(false);
                }
            }
        }
        if let Source::Content(Content::Bytes(bytes)) = self.source
            && self.blob.size <= SMALL
            && target.known.features.single_post.try_it()
        {
            // A body with the POST is free to try: a registry that does not take it answers with a session all the same.
            let whole = target.begin(&action, target.scope(), &[("digest", digest)], Some(bytes)).await;
            target.known.features.single_post.learn(matches!(whole, Ok(Begun::Done)));
            match whole {
                Ok(begun) => return Ok((begun, Uploaded::Sent)),
                Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => return Err(error),
                Err(error) => tracing::debug!("no blob with a POST: {error}"),
            }
        }
        target.begin(&action, target.scope(), &[], None).await.map(|begun| (begun, Uploaded::Sent))
    }

    /// Sees after a failed try what can be saved of it; whether the blob arrived as a whole.
    async fn salvage(&self, error: &Error, open: &Mutex<Open>) -> bool {
        self.track.enter(BlobState::Waiting);
        let (session, sent) = (lock(open).session.clone(), self.track.done());
        let Some(session) = session else { return false };
        let features = &self.target.known.features;
        let is_cut = error.status().is_none_or(|status| status.is_server_error()) && !lost_session(error);
        // The answer may have been lost on its way, and not the blob.
        if is_cut && sent == self.blob.size && self.target.has(&self.blob.digest).await.unwrap_or(false) {
            return true;
        }
        if is_cut && sent >= WORTH_RESUMING && features.resume.may_work() {
            match self.target.settled(&session, self.blob.size).await {
                Ok(Some((session, held))) if (1..=self.blob.size).contains(&held) => {
                    tracing::debug!("the registry holds {held} of {} bytes", self.blob.size);
                    features.resume.learn(true);
                    lock(open).stands_at(Some(session), held);
                    self.track.reach(held);
                    return false;
                }
                Ok(Some((_, 0))) => {} // nothing arrived: that says nothing of what it could do
                Ok(_) => features.resume.learn(false),
                Err(error) => tracing::debug!("no word of how much arrived: {error}"),
            }
        }
        if lock(open).held > 0 && lost_session(error) {
            features.resume.learn(false); // it said so, but what it held was not what was sent
        }
        self.track.reach(0);
        self.begin_anew(open).await;
        false
    }

    /// Tells whose fault it is that the registry sees another digest: content that changes while it is sent fits no try.
    async fn blame(&self, error: Error) -> Error {
        let is_about_content = matches!(error.code(), Some("DIGEST_INVALID" | "SIZE_INVALID"))
            || matches!(error, Error::DigestMismatch { .. });
        if is_about_content
            && let Ok(got) = self.content_digest().await
            && got != self.blob.digest
        {
            let (what, wanted) = ("a blob".to_owned(), self.blob.digest.to_string());
            return Error::SourceChanged { what, wanted, got: got.to_string() };
        }
        error
    }

    /// The digest of the content as it is now.
    async fn content_digest(&self) -> std::io::Result<Digest> {
        let mut content = self.source.open(0).await?;
        let mut hash = Sha256::new();
        while let Some(piece) = content.next().await {
            hash.update(&piece?);
        }
        Ok(Digest::from_hash(&hash.finalize()))
    }

    /// The blob is there.
    fn finish(&self, how: Uploaded) -> Uploaded {
        let state = match how {
            Uploaded::Mounted => BlobState::Mounted,
            Uploaded::Sent => BlobState::Sent,
            Uploaded::Existed | Uploaded::Unneeded => BlobState::Existed,
        };
        self.track.finish(state, self.blob.size);
        how
    }

    /// Ends the open session, for the next try to begin another. Whoever waits for this blob goes on waiting: if another
    /// began to send it now, it would be sent twice.
    async fn begin_anew(&self, open: &Mutex<Open>) {
        let session = {
            let mut open = lock(open);
            open.held = 0;
            open.session.take()
        };
        self.target.end(session).await;
    }

    /// Ends what is open.
    async fn close(&self, open: &Mutex<Open>) {
        drop(lock(open).flight.take()); // whoever waits for this blob waits for nothing else
        self.begin_anew(open).await;
    }

    /// What is being attempted.
    fn action(&self) -> String {
        format!("take blob {} for `{}`", self.blob.digest.short(), self.target.path)
    }
}
