//! Blobs: where their content comes from, whether a registry has one, and reading one.

use super::auth::Scope;
use super::client::{Client, LARGEST_ANSWER, TOO_LARGE, Way};
use super::error::Error;
use super::hosts::{Capability, Endpoint};
use super::question::Question;
use super::redirects::Trail;
use crate::image::{Content, Descriptor};
use crate::model::{Digest, Repository};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use reqwest::{Response, StatusCode};
use url::Url;

/// The bytes of a blob on their way.
pub(crate) type BlobStream = BoxStream<'static, Result<Bytes, Error>>;

/// A blob that is to lie in a registry.
#[derive(Clone)]
pub(crate) struct Blob {
    /// Its digest and size.
    pub(crate) descriptor: Descriptor,
    /// Where its content comes from.
    pub(crate) content: Content,
    /// Another repository of the same registry that may have it, to mount it from.
    pub(crate) mount_from: Option<String>,
}

impl Client {
    /// Whether a repository has a blob. A redirect proves it as well: the registry looks before it sends one away.
    pub(crate) async fn has_blob(&self, endpoint: &Endpoint, path: &str, digest: &Digest) -> Result<bool, Error> {
        let action = format!("look for blob {} in `{path}`", digest.short());
        let scope = Scope::push(path);
        let question = Question { endpoint, scope: &scope, action: &action };
        let url = endpoint.url(path, &format!("blobs/{digest}"));
        let answer = self.ask(question, |pool| pool.head(url.clone())).await?;
        match answer.status() {
            status if status.is_success() || status.is_redirection() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refusal_of_head(question, &url, answer).await),
        }
    }

    /// Reads a small blob, checked against its digest.
    pub(crate) async fn read_blob(&self, repository: &Repository, blob: &Descriptor) -> Result<Bytes, Error> {
        let too_large = || Error::Nonsense {
            registry: repository.registry.clone(),
            action: format!("give blob {}", blob.digest.short()),
            problem: TOO_LARGE.to_owned(),
        };
        if blob.size > LARGEST_ANSWER as u64 {
            return Err(too_large());
        }
        let read = || async { collect(self.open_blob(repository, &blob.digest).await?).await };
        let bytes = self.patience().run(Error::retry, read).await?.ok_or_else(too_large)?;
        let got = Digest::of(&bytes);
        if got == blob.digest {
            return Ok(bytes);
        }
        Err(Error::DigestMismatch {
            registry: repository.registry.clone(),
            what: "a blob".to_owned(),
            wanted: blob.digest.clone(),
            got: got.to_string(),
        })
    }

    /// Opens a blob for reading: at the first place that has it.
    pub(crate) async fn open_blob(&self, repository: &Repository, digest: &Digest) -> Result<BlobStream, Error> {
        let mut last = None;
        for endpoint in self.endpoints(&repository.registry, Capability::Pull)? {
            match self.open_blob_at(&endpoint, &repository.path, digest).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::NotFound { reference: format!("{repository}@{digest}") }))
    }

    /// Opens a blob at a place, through redirects.
    async fn open_blob_at(&self, endpoint: &Endpoint, path: &str, digest: &Digest) -> Result<BlobStream, Error> {
        let action = format!("give blob {} of `{path}`", digest.short());
        let scope = Scope::pull(path);
        let question = Question { endpoint, scope: &scope, action: &action };
        let mut trail = Trail::new(&endpoint.url(path, &format!("blobs/{digest}")));
        let mut answer = self.get_blob(question, &trail.url).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            answer = self.get_blob(question, &trail.url).await?;
        }
        while trail.goes_on(question, &answer)? {
            answer = self.get_blob(question, &trail.url).await?;
        }
        if !answer.status().is_success() {
            return Err(self.refusal(question, answer).await);
        }
        Ok(self.stream(question, trail.url, answer))
    }

    /// One GET of a blob; only of a refusal the answer is read.
    async fn get_blob(&self, question: Question<'_>, url: &Url) -> Result<Response, Error> {
        let (pool, limit) = (self.pool(question.endpoint, url)?, self.patience().request);
        self.known(&question.endpoint.registry).limiter.open().await; // a pause does not count
        let asking = async {
            let answer = self.with_token(question, url, Way::Stream(&pool), pool.get(url.clone())).await?;
            if answer.status().is_success() { Ok(answer) } else { self.whole(question, answer).await }
        };
        tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| Err(question.stalled(limit)))
    }

    /// The bytes of an answer; an error where none come for too long.
    fn stream(&self, question: Question<'_>, url: Url, answer: Response) -> BlobStream {
        let stall = self.patience().stall;
        let (registry, action) = (question.endpoint.registry.clone(), question.action.to_owned());
        let endpoint = question.endpoint.clone();
        let pieces = answer.bytes_stream().boxed();
        futures::stream::unfold(Some(pieces), move |pieces| {
            let (registry, action, endpoint, url) = (registry.clone(), action.clone(), endpoint.clone(), url.clone());
            async move {
                let mut pieces = pieces?;
                match tokio::time::timeout(stall, pieces.next()).await {
                    Ok(None) => None,
                    Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
                    Ok(Some(Err(error))) => Some((Err(Error::transport(&endpoint, &url, &action, &error)), None)),
                    Err(_) => Some((Err(Error::Stalled { registry, action, seconds: stall.as_secs() }), None)),
                }
            }
        })
        .boxed()
    }
}

/// All bytes of a stream; `None` where it is longer than what is read as a whole.
async fn collect(mut stream: BlobStream) -> Result<Option<Bytes>, Error> {
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece?);
        if all.len() > LARGEST_ANSWER {
            return Ok(None);
        }
    }
    Ok(Some(all.into()))
}
