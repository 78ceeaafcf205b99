//! Uploads: one blob into one repository.
//!
//! HEAD, then POST for a session, then one PUT with the whole body: distribution's registries keep server state for each
//! PATCH and forget the session after a cut, so chunks buy nothing and cost a round trip each. A try that fails begins a
//! new session; the old one is told to go.

use super::auth::Scope;
use super::blob::{Blob, check_target};
use super::client::{Client, Question};
use super::error::Error;
use super::hosts::Endpoint;
use super::limiter::Limiter;
use super::manifest::check_digest;
use super::progress::{BlobState, Track};
use crate::http::Retry;
use crate::image::Descriptor;
use crate::model::Digest;
use bytes::Bytes;
use futures::stream::{Stream, StreamExt as _};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use sha2::{Digest as _, Sha256};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

/// How a blob came to lie in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Uploaded {
    /// It lay there before.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was sent.
    Sent,
}

/// One blob on its way into one repository.
pub(crate) struct Upload<'a> {
    /// The client.
    pub(crate) client: &'a Client,
    /// The place.
    pub(crate) endpoint: &'a Endpoint,
    /// The repository's path.
    pub(crate) path: &'a str,
    /// The blob.
    pub(crate) blob: &'a Blob,
    /// How many uploads may run at once.
    pub(crate) limiter: &'a Arc<Limiter>,
    /// Tells how far it is.
    pub(crate) track: &'a Track,
}

/// What two halves of an upload tell each other: the session to end, the error behind a broken body, the last progress.
#[derive(Debug)]
struct Shared {
    /// The open session.
    session: Mutex<Option<Url>>,
    /// What the source or the check of the digest complained of.
    problem: Mutex<Option<Error>>,
    /// When the last piece was taken, and whether it was the last of all.
    progress: Mutex<(Instant, bool)>,
}

/// A session that is not needed any more gets this long to be ended; the registry ends it by itself later.
const GOODBYE: Duration = Duration::from_millis(700);

impl Upload<'_> {
    /// Brings the blob into the repository.
    pub(crate) async fn run(&self, cancel: &CancellationToken) -> Result<Uploaded, Error> {
        let shared = Arc::new(Shared {
            session: Mutex::default(),
            problem: Mutex::default(),
            progress: Mutex::new((Instant::now(), false)),
        });
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::Cancelled),
            result = self.with_tries(&shared) => result,
        };
        if result.is_err() {
            let _ = tokio::time::timeout(GOODBYE, self.end_session(&shared)).await;
        }
        result
    }

    /// Tries until the blob is there. Each try is a permit of its own, so that a registry in trouble sees fewer at once.
    async fn with_tries(&self, shared: &Arc<Shared>) -> Result<Uploaded, Error> {
        let size = self.blob.descriptor.size;
        if self.client.has_blob(self.endpoint, self.path, &self.blob.descriptor.digest).await? {
            self.track.finish(BlobState::Existed, size);
            return Ok(Uploaded::Existed);
        }
        let renewed = AtomicBool::new(false);
        let judge = |error: &Error| match error.status() {
            // The token died in the middle: once with another one, at once.
            Some(StatusCode::UNAUTHORIZED) if !renewed.swap(true, Ordering::Relaxed) => Retry::After(Duration::ZERO),
            _ if lost_session(error) => Retry::Later,
            _ => error.retry(),
        };
        let policy = self.client.patience().retry;
        policy
            .run(judge, || async {
                let permit = self.limiter.acquire().await;
                let result = self.attempt(shared).await;
                match &result {
                    Ok(_) => permit.succeeded(),
                    Err(error) if error.is_throttling() || lost_session(error) => permit.throttled(),
                    Err(_) => {}
                }
                if result.is_err() {
                    self.track.reach(0);
                    let _ = tokio::time::timeout(GOODBYE, self.end_session(shared)).await;
                }
                result
            })
            .await
    }

    /// One try: a session, or a mount where one is possible, then the body.
    async fn attempt(&self, shared: &Arc<Shared>) -> Result<Uploaded, Error> {
        let Some(location) = self.begin().await? else {
            self.track.finish(BlobState::Mounted, self.blob.descriptor.size);
            return Ok(Uploaded::Mounted);
        };
        *lock(&shared.session) = Some(location.clone());
        self.send(shared, location).await?;
        *lock(&shared.session) = None;
        self.track.finish(BlobState::Sent, self.blob.descriptor.size);
        Ok(Uploaded::Sent)
    }

    /// Begins a session; `None` where the registry mounted the blob instead. A refused mount that comes with a session is
    /// a session like any other; one that comes with an error is asked again without the mount.
    async fn begin(&self) -> Result<Option<Url>, Error> {
        if let Some(from) = &self.blob.mount_from {
            let mount = [("mount", self.blob.descriptor.digest.as_str()), ("from", from)];
            let scope = Scope::push(self.path).and_pull(from);
            match self.post(&scope, &mount).await {
                Ok(begun) => return Ok(begun),
                Err(error) if error.retry() == Retry::Never => tracing::debug!("no mount from `{from}`: {error}"),
                Err(error) => return Err(error),
            }
        }
        self.post(&Scope::push(self.path), &[]).await
    }

    /// `POST /blobs/uploads/`.
    async fn post(&self, scope: &Scope, query: &[(&str, &str)]) -> Result<Option<Url>, Error> {
        let action = self.action();
        let question = Question { endpoint: self.endpoint, scope, action: &action };
        let url = self.endpoint.url(self.path, "blobs/uploads/");
        let answer =
            self.client.ask(question, |pool| pool.post(url.clone()).query(query).header(CONTENT_LENGTH, 0)).await?;
        match answer.status() {
            StatusCode::CREATED => {
                check_digest(self.endpoint, &answer, "a mounted blob", &self.blob.descriptor.digest)?;
                Ok(None)
            }
            StatusCode::ACCEPTED => session_of(question, &url, &answer).map(Some),
            _ => Err(self.client.refusal(question, answer).await),
        }
    }

    /// Sends the body. The token is looked at right before: the registry checks its end when the request begins.
    async fn send(&self, shared: &Arc<Shared>, mut location: Url) -> Result<(), Error> {
        let (action, scope) = (self.action(), Scope::push(self.path));
        let question = Question { endpoint: self.endpoint, scope: &scope, action: &action };
        let blob = &self.blob.descriptor;
        location.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let pool = self.client.pool(self.endpoint)?;
        let body = Checked {
            source: self.blob.content.open().await.map_err(|error| Error::of_source("a blob", error))?,
            blob: blob.clone(),
            hash: Sha256::new(),
            sent: 0,
            shared: Arc::clone(shared),
            track: self.track.clone(),
        };
        let mut request = pool.put(location.clone()).header(CONTENT_TYPE, "application/octet-stream");
        let mut token = None;
        if self.endpoint.serves(&location) {
            token = self.client.tokens().authorization(&pool, self.endpoint, &scope).await?;
            if let Some(token) = &token {
                request = request.header(AUTHORIZATION, token.clone());
            }
        }
        let request = request.header(CONTENT_LENGTH, blob.size).body(reqwest::Body::wrap_stream(body));
        *lock(&shared.progress) = (Instant::now(), blob.size == 0);
        let answer = tokio::select! {
            answer = self.client.send(question, &pool, request) => answer,
            waited = self.stalled(shared) => Err(Client::stalled(question, waited)),
        };
        // What the source complained of is the cause; the broken connection is only its consequence.
        let answer = lock(&shared.problem).take().map_or(answer, Err)?;
        match answer.status() {
            StatusCode::UNAUTHORIZED => {
                self.client.tokens().refused(self.endpoint, &scope, token.as_ref(), answer.headers()).await;
                Err(self.client.refusal(question, answer).await)
            }
            status if status.is_success() => check_digest(self.endpoint, &answer, "a blob", &blob.digest),
            _ => Err(self.client.refusal(question, answer).await),
        }
    }

    /// Comes back when nothing has moved for too long: a minute in the middle, a quarter of an hour after the last byte.
    async fn stalled(&self, shared: &Shared) -> Duration {
        let patience = self.client.patience();
        loop {
            let (last, complete) = *lock(&shared.progress);
            let limit = if complete { patience.commit } else { patience.stall };
            if last.elapsed() >= limit {
                return limit;
            }
            tokio::time::sleep_until(last + limit).await;
        }
    }

    /// Tells the registry that the session is not needed any more, without waiting for what it thinks of that.
    async fn end_session(&self, shared: &Shared) {
        let Some(session) = lock(&shared.session).take() else { return };
        let Ok(pool) = self.client.pool(self.endpoint) else { return };
        let mut request = pool.delete(session.clone());
        if self.endpoint.serves(&session) {
            let scope = Scope::push(self.path);
            if let Ok(Some(token)) = self.client.tokens().authorization(&pool, self.endpoint, &scope).await {
                request = request.header(AUTHORIZATION, token);
            }
        }
        if let Ok(request) = request.build() {
            let _ = crate::http::send(&pool, request).await;
        }
    }

    /// What is being attempted.
    fn action(&self) -> String {
        format!("take blob {} for `{}`", self.blob.descriptor.digest.short(), self.path)
    }
}

/// A lock that outlives a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the registry has lost the session, or what arrived is not what was sent: a new session may do better.
fn lost_session(error: &Error) -> bool {
    let lost = ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID", "RANGE_INVALID"];
    error.code().is_some_and(|code| lost.contains(&code))
        || matches!(error, Error::Refused { refusal, .. } if refusal.status == StatusCode::RANGE_NOT_SATISFIABLE)
}

/// The address of a session: relative or absolute, with a query that is the registry's own business.
fn session_of(question: Question<'_>, asked: &Url, answer: &Response) -> Result<Url, Error> {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let session = location.and_then(|location| asked.join(location).ok());
    let session = session.ok_or_else(|| Client::nonsense(question, "it began an upload without saying where"))?;
    check_target(question, &session)?;
    Ok(session)
}

/// A body that is hashed while it is sent. The last piece leaves only when all of them together are what was promised:
/// a registry that does not look itself never gets a complete wrong blob.
struct Checked<S> {
    /// The bytes.
    source: S,
    /// What they must be.
    blob: Descriptor,
    /// What they are so far.
    hash: Sha256,
    /// How many so far.
    sent: u64,
    /// Where errors and progress are told.
    shared: Arc<Shared>,
    /// Tells how far it is.
    track: Track,
}

impl<S> Checked<S> {
    /// Ends the body with an error that is told to the other half.
    fn fail(&self, error: Error) -> Poll<Option<std::io::Result<Bytes>>> {
        *lock(&self.shared.problem) = Some(error);
        Poll::Ready(Some(Err(std::io::Error::other("the source of the blob failed"))))
    }

    /// The error of content that is not what was promised.
    fn changed(&self, got: String) -> Poll<Option<std::io::Result<Bytes>>> {
        let wanted = format!("{} of {} bytes", self.blob.digest, self.blob.size);
        self.fail(Error::SourceChanged { what: "a blob".to_owned(), wanted, got })
    }
}

impl<S: Stream<Item = std::io::Result<Bytes>> + Unpin> Stream for Checked<S> {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.source.poll_next_unpin(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(piece))) => {
                self.hash.update(&piece);
                self.sent += piece.len() as u64;
                if self.sent > self.blob.size {
                    return self.changed(format!("more than {} bytes", self.blob.size));
                }
                let complete = self.sent == self.blob.size;
                let digest = complete.then(|| Digest::from_hash(&self.hash.clone().finalize()));
                if let Some(digest) = digest.filter(|digest| *digest != self.blob.digest) {
                    return self.changed(digest.to_string());
                }
                *lock(&self.shared.progress) = (Instant::now(), complete);
                self.track.reach(self.sent);
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(error))) => self.fail(Error::of_source("a blob", error)),
            Poll::Ready(None) if self.sent < self.blob.size => self.changed(format!("{} bytes", self.sent)),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }
}
