//! Blobs: where their content comes from, whether a registry has one, and reading one.

use super::auth::Scope;
use super::client::{Client, Question, Way};
use super::error::Error;
use super::hosts::{Capability, Endpoint, is_loopback};
use crate::image::{Content, Descriptor};
use crate::model::{Digest, Repository};
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use reqwest::header::LOCATION;
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

/// More redirects than this are a loop.
const MOST_REDIRECTS: usize = 5;

/// A blob of this size is a configuration that somebody else's mistake made huge.
const LARGEST_IN_MEMORY: u64 = 16 * 1024 * 1024;

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
        if blob.size > LARGEST_IN_MEMORY {
            return Err(Error::Nonsense {
                registry: repository.registry.clone(),
                action: format!("give blob {}", blob.digest.short()),
                problem: format!("{} bytes are too many for a configuration", blob.size),
            });
        }
        let patience = self.patience();
        let bytes =
            patience.run(Error::retry, || async { collect(self.open_blob(repository, &blob.digest).await?).await });
        let bytes = bytes.await?;
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
        let mut url = endpoint.url(path, &format!("blobs/{digest}"));
        let mut answer = self.get_blob(question, &url).await?;
        for _ in 0..MOST_REDIRECTS {
            if !answer.status().is_redirection() {
                break;
            }
            url = redirect_target(question, &url, &answer)?;
            answer = self.get_blob(question, &url).await?;
        }
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(Error::NotFound { reference: format!("{}/{path}@{digest}", endpoint.registry) });
        }
        if !answer.status().is_success() {
            return Err(self.refusal(question, answer).await);
        }
        Ok(self.stream(question, answer))
    }

    /// One GET of a blob; the token goes to the registry only, never to where it redirects.
    async fn get_blob(&self, question: Question<'_>, url: &Url) -> Result<Response, Error> {
        let pool = self.pool(question.endpoint, url)?;
        for last in [false, true] {
            let mut request = pool.get(url.clone());
            let mut token = None;
            if question.endpoint.serves(url) {
                token = self.tokens().authorization(self, question.endpoint, question.scope).await?;
                if let Some(token) = &token {
                    request = request.header(reqwest::header::AUTHORIZATION, token.clone());
                }
            }
            let answer = tokio::time::timeout(self.patience().request, self.send(question, Way::Pool(&pool), request));
            let answer = answer.await.map_err(|_| Self::stalled(question, self.patience().request))??;
            if answer.status() != StatusCode::UNAUTHORIZED || last {
                return Ok(answer);
            }
            self.tokens().refused(question.endpoint, question.scope, token.as_ref(), answer.headers()).await;
        }
        Err(Self::nonsense(question, "the token was refused twice"))
    }

    /// The bytes of an answer; an error where none come for too long.
    fn stream(&self, question: Question<'_>, answer: Response) -> BlobStream {
        let stall = self.patience().stall;
        let (registry, action) = (question.endpoint.registry.clone(), question.action.to_owned());
        let (endpoint, url) = (question.endpoint.clone(), answer.url().clone());
        let pieces = answer.bytes_stream().boxed();
        futures::stream::unfold(Some(pieces), move |pieces| {
            let (registry, action, endpoint, url) = (registry.clone(), action.clone(), endpoint.clone(), url.clone());
            async move {
                let mut pieces = pieces?;
                match tokio::time::timeout(stall, pieces.next()).await {
                    Ok(None) => None,
                    Ok(Some(Ok(piece))) => Some((Ok(piece), Some(pieces))),
                    Ok(Some(Err(error))) => Some((Err(super::auth::transport(&endpoint, &url, &action, &error)), None)),
                    Err(_) => Some((Err(Error::Stalled { registry, action, seconds: stall.as_secs() }), None)),
                }
            }
        })
        .boxed()
    }

    /// The error of a request on which nothing moved.
    pub(crate) fn stalled(question: Question<'_>, waited: std::time::Duration) -> Error {
        Error::Stalled {
            registry: question.endpoint.registry.clone(),
            action: question.action.to_owned(),
            seconds: waited.as_secs(),
        }
    }
}

/// All bytes of a stream.
async fn collect(mut stream: BlobStream) -> Result<Bytes, Error> {
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all.into())
}

/// Where a redirect leads. Encrypted stays encrypted, and a registry on the internet has no business sending us to an
/// address of this machine or network.
fn redirect_target(question: Question<'_>, from: &Url, answer: &Response) -> Result<Url, Error> {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let target = location.and_then(|location| from.join(location).ok());
    let target = target.ok_or_else(|| Client::nonsense(question, "it redirects to nowhere"))?;
    check_target(question, &target)?;
    Ok(target)
}

/// Refuses a URL of another host that the registry has no business naming.
pub(crate) fn check_target(question: Question<'_>, target: &Url) -> Result<(), Error> {
    let base = &question.endpoint.base;
    if question.endpoint.serves(target) {
        return Ok(());
    }
    if base.scheme() == "https" && target.scheme() != "https" {
        return Err(Client::nonsense(question, "it leads from https to http"));
    }
    let is_private = |url: &Url| match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_private() || address.is_loopback() || address.is_link_local(),
        Some(url::Host::Ipv6(address)) => address.is_loopback() || address.is_unique_local(),
        Some(url::Host::Domain(name)) => is_loopback(name),
        None => true,
    };
    if is_private(target) && !is_private(base) {
        return Err(Client::nonsense(question, "it leads to an address of a private network"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Hosts;

    #[test]
    fn nobody_is_sent_into_a_private_network_or_out_of_encryption() {
        let hosts = Hosts::new(None, Vec::new());
        let endpoint = hosts.endpoints("registry.example", Capability::Push).unwrap().remove(0);
        let scope = Scope::push("a");
        let question = Question { endpoint: &endpoint, scope: &scope, action: "take a blob" };
        for (target, allowed) in [
            ("https://registry.example/v2/a/blobs/uploads/1", true),
            ("https://registry.example:443/v2/a/blobs/uploads/1", true),
            ("https://storage.example/a?X-Amz-Signature=b", true),
            ("http://storage.example/a", false),
            ("https://127.0.0.1/a", false),
            ("https://10.0.0.1/a", false),
            ("https://192.168.1.1/a", false),
            ("https://169.254.169.254/latest/meta-data", false),
            ("https://localhost/a", false),
            ("https://[::1]/a", false),
            ("https://[fd00::1]/a", false),
        ] {
            let target = Url::parse(target).unwrap();
            assert_eq!(check_target(question, &target).is_ok(), allowed, "{target}");
        }
    }
}
