//! Uploads of blobs whose digest is known: one blob into one repository.
//!
//! HEAD, then POST for a session, then one PUT with the whole body: chunks cost a round trip each, and distribution keeps
//! server state for each of them. A try that fails looks first whether the registry can say how much of it arrived, and
//! goes on from there; where it cannot, the next try is a new session, and the old one is told to go.

use super::error::Error;
use super::held::Source;
use super::limiter::SMALL;
use super::progress::{BlobState, Track, lock};
use super::target::{Begun, Body, Session, Target, lost_session};
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
    /// Another repository of the same registry that may have it.
    pub(crate) mount_from: Option<&'a str>,
    /// Whether to look first if it is there. Not worth it for small blobs: to send one costs one request more.
    pub(crate) look: bool,
    /// Tells how far it is.
    pub(crate) track: &'a Track,
}

/// What is open between tries.
#[derive(Debug, Default)]
struct Open {
    /// The session.
    session: Option<Session>,
    /// How much of the blob the registry holds, where it can go on.
    held: u64,
}

/// A broken upload with less in it than this is not worth the question how much arrived.
const WORTH_RESUMING: u64 = 1024 * 1024;

impl Upload<'_> {
    /// Brings the blob into the repository.
    pub(crate) async fn run(&self, cancel: &CancellationToken) -> Result<Uploaded, Error> {
        let open = Mutex::new(Open::default());
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
        let limiter = &self.target.known.limiter;
        let arrived = AtomicBool::new(false);
        let (judge, refused) = (judge_once(), AtomicBool::new(false));
        // A session that cannot even be begun had its tries.
        let judge = |error: &Error| if refused.load(Ordering::Relaxed) { Retry::Never } else { judge(error) };
        let attempt = || async {
            if arrived.load(Ordering::Relaxed) {
                return Ok(self.finish(Uploaded::Sent));
            }
            let permit = limiter.acquire(self.blob.size).await;
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
        *lock(open) = Open { session: Some(session.clone()), held: from };
        let length = self.blob.size - from;
        let is_worth_it = length >= wire::WORTH_IT && wire::reaches(&session.url);
        let file = self.source.file(from).filter(|_| is_worth_it);
        let source = match &file {
            Some(_) => wire::blank(length),
            None => self.source.open(from).await.map_err(|error| Error::of_source("a blob", error))?,
        };
        let body = Body { from, length: Some(length), source, is_chunk: from > 0, file };
        self.target.put(&self.action(), &session, &self.blob.digest, body, self.track).await?;
        *lock(open) = Open::default();
        Ok(self.finish(Uploaded::Sent))
    }

    /// Begins a session. A refused mount that comes with a session is a session like any other; one that comes with an
    /// error is asked again without the mount.
    async fn begin(&self) -> Result<(Begun, Uploaded), Error> {
        let (digest, target, action) = (self.blob.digest.as_str(), self.target, self.action());
        if let Some(from) = self.mount_from.filter(|from| target.may_mount_from(from)) {
            let scope = target.scope().clone().and_pull(from);
            match target.begin(&action, &scope, &[("mount", digest), ("from", from)], None).await {
                Ok(begun) => return Ok((begun, Uploaded::Mounted)),
                Err(error) if error.retry() == Retry::Never => tracing::debug!("no mount from `{from}`: {error}"),
                Err(error) => return Err(error),
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
                Err(error) if error.retry() == Retry::Never && error.status() != Some(StatusCode::UNAUTHORIZED) => {
                    tracing::debug!("no blob with a POST: {error}");
                }
                Err(error) => return Err(error),
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
                    *lock(open) = Open { session: Some(session), held };
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
        self.close(open).await;
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

    /// Ends the open session.
    async fn close(&self, open: &Mutex<Open>) {
        let open = std::mem::take(&mut *lock(open));
        self.target.end(open.session).await;
    }

    /// What is being attempted.
    fn action(&self) -> String {
        format!("take blob {} for `{}`", self.blob.digest.short(), self.target.path)
    }
}

impl Target {
    /// Whether a token for another repository may be asked for. DigitalOcean's token service refuses requests that name a
    /// repository of somebody else's registry, with everything else that they ask for.
    fn may_mount_from(&self, from: &str) -> bool {
        let owner = |path: &str| path.split('/').next().map(str::to_owned);
        from != self.path && (!self.endpoint.is_digitalocean() || owner(from) == owner(&self.path))
    }
}

/// A judge that lets a dead token be replaced once, at once, and lost sessions be tried again.
pub(crate) fn judge_once() -> impl Fn(&Error) -> Retry {
    let renewed = AtomicBool::new(false);
    move |error: &Error| match error.status() {
        Some(StatusCode::UNAUTHORIZED) if !renewed.swap(true, Ordering::Relaxed) => Retry::Now,
        _ if lost_session(error) => Retry::Later,
        _ => error.retry(),
    }
}
