//! Artifacts about a manifest: putting one beside its subject, and listing them.
//!
//! A registry that knows `subject` says so in its answer and keeps the list itself. For every other the client keeps it,
//! as an index under a tag that follows from the subject's digest: read, extended, written, and read again to see that
//! nobody has written in between. Registries that offer conditional requests are asked for them.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests-with-subject>.

use super::auth::Scope;
use super::blob::Blob;
use super::client::Client;
use super::error::Error;
use super::hosts::Capability;
use super::manifest::RawManifest;
use super::question::Question;
use super::schedule::Pusher;
use super::tags::{MOST_PAGES, next_page};
use crate::image::descriptor::media_type;
use crate::image::referrers::{self, Artifact};
use crate::image::{Content, Descriptor};
use crate::model::{Digest, Repository};
use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Response, StatusCode};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The header in which a registry says that it has understood a subject.
const OCI_SUBJECT: &str = "oci-subject";

/// A list that others write as well is written anew so often.
const TRIES: usize = 5;

/// Whoever has read a list before our entry was in it writes it without that entry, and does so within about the time that
/// we have taken from reading to writing. So long, times this, a list is left alone before it is believed.
const SETTLE_FACTOR: u32 = 2;

/// It is left alone for no less: others may be slower than we are.
const SETTLE_LEAST: Duration = Duration::from_millis(100);

/// And for no longer.
const SETTLE_MOST: Duration = Duration::from_secs(2);

/// An artifact that was put.
#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    /// How a list names it.
    pub(crate) entry: Descriptor,
    /// Whether the registry has listed it.
    is_listed: bool,
}

/// The list of a subject as it is now.
struct List {
    /// Its bytes; `None` where there is none yet.
    bytes: Option<bytes::Bytes>,
    /// What the registry calls this version of it, if it says so.
    version: Option<HeaderValue>,
}

impl Client {
    /// Puts an artifact into the repository of its subject. Whoever has put all of them calls [`Client::list_artifacts`].
    pub(crate) async fn push_artifact(
        &self,
        repository: &Repository,
        artifact: &Artifact,
        cancel: &CancellationToken,
    ) -> Result<Pushed, Error> {
        let blob = |(descriptor, bytes)| Blob { descriptor, content: Content::Bytes(bytes), mount_from: None };
        let blobs: Vec<Blob> = artifact.blobs().into_iter().map(blob).collect();
        let bytes = artifact.manifest().map_err(|error| Error::Nonsense {
            registry: repository.registry.clone(),
            action: "take an artifact".to_owned(),
            problem: error.to_string(),
        })?;
        let entry = artifact.descriptor(&bytes);
        let manifest = RawManifest::new(Some(media_type::OCI_MANIFEST), bytes.into());
        let mut pusher = Pusher::new(self, repository, Box::new(|_| ()), cancel)?;
        for blob in blobs {
            pusher.add(blob);
        }
        pusher.wait().await?;
        let action = format!("take an artifact about `{repository}@{}`", artifact.subject.digest.short());
        let digest = manifest.digest.as_str();
        let answer = self.put_manifest_when(repository, &manifest, digest, &action, None).await?;
        Ok(Pushed { entry, is_listed: answer.headers().contains_key(OCI_SUBJECT) })
    }

    /// Lists artifacts about one manifest that were put, those that the registry has not listed itself: all at once, since what
    /// a list has said before stays in the repository without a tag.
    pub(crate) async fn list_artifacts(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifacts: &[Pushed],
    ) -> Result<(), Error> {
        let unlisted = artifacts.iter().filter(|artifact| !artifact.is_listed).map(|artifact| artifact.entry.clone());
        let unlisted: Vec<Descriptor> = unlisted.collect();
        if unlisted.is_empty() { Ok(()) } else { self.extend_list(repository, subject, &unlisted).await }
    }

    /// The artifacts about a manifest: by the registry's own list, or by the tag. None where nobody has written any.
    pub(crate) async fn artifacts(&self, repository: &Repository, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        if let Some(listed) = self.referrers(repository, subject).await? {
            return Ok(listed);
        }
        let Some(bytes) = self.list_of(repository, subject).await?.bytes else { return Ok(Vec::new()) };
        referrers::listed(&bytes).map_err(|_| Error::Nonsense {
            registry: repository.registry.clone(),
            action: format!("give the list of artifacts `{repository}:{}`", subject.referrers_tag()),
            problem: "that is no index".to_owned(),
        })
    }

    /// What the registry itself lists about a manifest, from all pages; `None` where it keeps no such lists
    /// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>).
    pub(crate) async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        let endpoint = self.push_endpoint(&repository.registry)?;
        let action = format!("list what refers to `{repository}@{}`", subject.short());
        let scope = Scope::pull(&repository.path);
        let question = Question { endpoint: &endpoint, scope: &scope, action: &action };
        let mut url = endpoint.url(&repository.path, &format!("referrers/{subject}"));
        let mut all = Vec::new();
        for page in 0..MOST_PAGES {
            let answer = self.ask_briefly(question, |pool| pool.get(url.clone())).await?;
            match answer.status() {
                status if status.is_success() => {}
                // Registries without the list answer 404, and some that know no such path anything else.
                _ if page == 0 => return Ok(None),
                _ => return Err(self.refusal(question, answer).await),
            }
            let next = next_page(&url, answer.headers());
            let bytes = answer.bytes().await.map_err(|error| question.transport(&error))?;
            all.extend(referrers::listed(&bytes).map_err(|_| question.nonsense("that is no index"))?);
            match next {
                // The token must not follow a link to another host.
                Some(next) if next.origin() == url.origin() => url = next,
                Some(_) => return Err(question.nonsense("the next page is on another host")),
                None => return Ok(Some(all)),
            }
        }
        Err(question.nonsense("the list has no end"))
    }

    /// Writes entries into the list under the tag. What somebody else writes at the same time is kept: a registry with
    /// conditional requests refuses to overwrite it. For others the list is read again, and once more when everybody has
    /// written who had read it before; where an entry is missing, it is written again.
    async fn extend_list(
        &self,
        repository: &Repository,
        subject: &Digest,
        entries: &[Descriptor],
    ) -> Result<(), Error> {
        let _alone = self.writing_lists().lock().await; // one writer in this process
        let tag = subject.referrers_tag();
        let endpoint = self.push_endpoint(&repository.registry)?;
        let action = format!("keep the list of artifacts `{repository}:{tag}`");
        let scope = Scope::push(&repository.path);
        let question = Question { endpoint: &endpoint, scope: &scope, action: &action };
        for _ in 0..TRIES {
            let begin = Instant::now();
            let list = self.list_of(repository, subject).await?;
            let longer = referrers::with_artifacts(list.bytes.as_deref(), entries);
            let Some(longer) = longer.map_err(|_| question.nonsense("that tag is no index"))? else {
                return Ok(());
            };
            let longer = RawManifest::new(Some(media_type::OCI_INDEX), longer.into());
            let condition = match (&list.bytes, list.version) {
                (None, _) => Some((IF_NONE_MATCH, HeaderValue::from_static("*"))),
                (Some(_), Some(version)) => Some((IF_MATCH, version)),
                (Some(_), None) => None,
            };
            match self.put_manifest_when(repository, &longer, &tag, &action, condition).await {
                Ok(_) => {}
                Err(error) if error.status() == Some(StatusCode::PRECONDITION_FAILED) => continue,
                Err(error) => return Err(error),
            }
            let settling = (begin.elapsed() * SETTLE_FACTOR).clamp(SETTLE_LEAST, SETTLE_MOST);
            if self.are_listed(repository, subject, entries).await? {
                tokio::time::sleep(settling).await;
                if self.are_listed(repository, subject, entries).await? {
                    return Ok(());
                }
            }
        }
        Err(question.nonsense(format!("others have overwritten it {TRIES} times")))
    }

    /// Whether all entries stand in the list under the tag.
    async fn are_listed(
        &self,
        repository: &Repository,
        subject: &Digest,
        entries: &[Descriptor],
    ) -> Result<bool, Error> {
        let written = self.list_of(repository, subject).await?.bytes;
        let there = written.and_then(|bytes| referrers::listed(&bytes).ok()).unwrap_or_default();
        Ok(entries.iter().all(|entry| there.iter().any(|there| there.digest == entry.digest)))
    }

    /// The list of a subject's artifacts under its tag.
    async fn list_of(&self, repository: &Repository, subject: &Digest) -> Result<List, Error> {
        let tag = subject.referrers_tag();
        let endpoint = self.endpoints(&repository.registry, Capability::Push)?.remove(0);
        let action = format!("give the list of artifacts `{repository}:{tag}`");
        let scope = Scope::pull(&repository.path);
        let question = Question { endpoint: &endpoint, scope: &scope, action: &action };
        let url = endpoint.url(&repository.path, &format!("manifests/{tag}"));
        let accepted = format!("{}, {}", media_type::OCI_INDEX, media_type::OCI_MANIFEST);
        let answer = self.ask_briefly(question, |pool| pool.get(url.clone()).header(ACCEPT, &accepted)).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(List { bytes: None, version: None }),
            status if status.is_success() => {
                let version = answer.headers().get(ETAG).cloned();
                let bytes = answer.bytes().await.map_err(|error| question.transport(&error))?;
                Ok(List { bytes: Some(bytes), version })
            }
            _ => Err(self.refusal(question, answer).await),
        }
    }

    /// Puts a manifest under a tag or a digest, on a condition where there is one. The action says what that is, for people.
    async fn put_manifest_when(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        target: &str,
        action: &str,
        condition: Option<(reqwest::header::HeaderName, HeaderValue)>,
    ) -> Result<Response, Error> {
        let endpoint = self.push_endpoint(&repository.registry)?;
        let scope = Scope::push(&repository.path);
        let question = Question { endpoint: &endpoint, scope: &scope, action };
        let url = endpoint.url(&repository.path, &format!("manifests/{target}"));
        let make = |pool: &reqwest::Client| {
            let request = pool.put(url.clone()).header(CONTENT_TYPE, &manifest.media_type).body(manifest.bytes.clone());
            match &condition {
                Some((name, value)) => request.header(name, value),
                None => request,
            }
        };
        let answer = self.ask(question, make).await?;
        if !answer.status().is_success() {
            return Err(self.refusal(question, answer).await);
        }
        super::manifest::check_digest(&endpoint, &answer, "the manifest", &manifest.digest)?;
        Ok(answer)
    }
}
