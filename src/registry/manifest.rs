//! Manifests: reading one as the bytes it came in, choosing a platform's, writing one under its tags.

use super::auth::Scope;
use super::client::Client;
use super::error::{Error, SCHEMA_1};
use super::hosts::{Capability, Endpoint};
use super::question::Question;
use crate::image::descriptor::media_type;
use crate::image::{Index, Manifest};
use crate::model::{Digest, Platform, Reference, Repository};
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response, StatusCode};
use std::collections::BTreeSet;
use url::Url;

/// A manifest or an index as the bytes it came in: its digest depends on each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawManifest {
    /// What it is.
    pub(crate) media_type: String,
    /// The digest of the bytes.
    pub(crate) digest: Digest,
    /// The bytes.
    pub(crate) bytes: Bytes,
}

/// The header in which a registry says which digest it sees.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// The header in which a registry says which tags it has put with a manifest.
const PUT_TAGS: &str = "oci-tag";

/// The protocol allows a registry to refuse larger manifests, so none of ours are.
const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

/// Everything that can stand behind a tag.
const ACCEPTED: [&str; 4] =
    [media_type::OCI_INDEX, media_type::DOCKER_LIST, media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST];

impl RawManifest {
    /// A manifest of these bytes. Without a media type, the one that the text itself has, or OCI's.
    pub(crate) fn new(media_type: Option<&str>, bytes: Bytes) -> Self {
        let inside = || {
            let value: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
            let written = value.get("mediaType").and_then(|text| text.as_str()).map(str::to_owned);
            written.or_else(|| value.get("manifests").map(|_| media_type::OCI_INDEX.to_owned()))
        };
        let known = media_type.filter(|text| media_type::is_index(text) || media_type::is_manifest(text));
        let media_type =
            known.map(str::to_owned).or_else(inside).unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
        Self { media_type, digest: Digest::of(&bytes), bytes }
    }

    /// What an image manifest says.
    pub(crate) fn read(&self) -> Result<Manifest, serde_json::Error> {
        serde_json::from_slice(&self.bytes)
    }

    /// Whether it is in Docker's first format, which has no configuration and no digests of layers before compression
    /// (<https://distribution.github.io/distribution/spec/deprecated-schema-v1/>).
    fn is_schema_1(&self) -> bool {
        let value: serde_json::Value = serde_json::from_slice(&self.bytes).unwrap_or_default();
        value["schemaVersion"] == 1
    }

    /// What an index says; `None` for an image manifest.
    pub(crate) fn read_index(&self) -> Option<Index> {
        media_type::is_index(&self.media_type).then(|| serde_json::from_slice(&self.bytes).ok()).flatten()
    }
}

impl Client {
    /// The digest that a reference has now. A reference that carries a digest is its own answer.
    pub(crate) async fn resolve(&self, reference: &Reference) -> Result<Digest, Error> {
        if let Some(digest) = &reference.digest {
            return Ok(digest.clone());
        }
        let tag = reference.tag.as_deref().unwrap_or("latest");
        let digest = self.head_manifest(&reference.repository, tag).await?;
        digest.ok_or_else(|| Error::NotFound { reference: reference.to_string() })
    }

    /// The digest of a tag or digest in a repository, by one HEAD; `None` where it has none.
    pub(crate) async fn head_manifest(&self, repository: &Repository, target: &str) -> Result<Option<Digest>, Error> {
        let Some((_, answer)) = self.find_manifest(repository, target, Method::HEAD).await? else { return Ok(None) };
        let digest = answer.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        if let Some(digest) = digest.and_then(|text| Digest::parse(text).ok()) {
            return Ok(Some(digest));
        }
        // The header is optional in the protocol; the bytes know their digest themselves.
        Ok(self.get_manifest(repository, target).await?.map(|manifest| manifest.digest))
    }

    /// The manifest of a tag or digest in a repository; `None` where it has none.
    pub(crate) async fn get_manifest(
        &self,
        repository: &Repository,
        target: &str,
    ) -> Result<Option<RawManifest>, Error> {
        let Some((endpoint, answer)) = self.find_manifest(repository, target, Method::GET).await? else {
            return Ok(None);
        };
        let action = format!("give the manifest of `{repository}:{target}`");
        let scope = Scope::pull(&repository.path);
        let question = Question { endpoint: &endpoint, scope: &scope, action: &action };
        let media_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.map(|text| text.split(';').next().unwrap_or(text).trim().to_owned());
        let bytes = answer.bytes().await.map_err(|error| question.transport(&error))?;
        if bytes.len() > LARGEST_MANIFEST {
            return Err(question.nonsense("the manifest is larger than 4 MiB"));
        }
        let manifest = RawManifest::new(media_type.as_deref(), bytes);
        match Digest::parse(target) {
            Ok(wanted) if wanted != manifest.digest => {
                Err(mismatch(&endpoint, "a manifest", &wanted, manifest.digest.as_str()))
            }
            _ => Ok(Some(manifest)),
        }
    }

    /// The image manifest of a reference for a platform: through the index where there is one.
    pub(crate) async fn platform_manifest(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<RawManifest, Error> {
        let not_found = || Error::NotFound { reference: reference.to_string() };
        let digest = reference.digest.as_ref().map(Digest::as_str);
        let target = digest.or(reference.tag.as_deref()).unwrap_or("latest");
        let found = self.get_manifest(&reference.repository, target).await?.ok_or_else(not_found)?;
        if found.is_schema_1() {
            return Err(Error::Nonsense {
                registry: reference.repository.registry.clone(),
                action: format!("give the manifest of `{reference}`"),
                problem: SCHEMA_1.to_owned(),
            });
        }
        let Some(index) = found.read_index() else { return Ok(found) };
        let Some(entry) = index.find(platform) else {
            return Err(Error::NoPlatform {
                reference: reference.to_string(),
                wanted: platform.clone(),
                available: index.platforms(),
            });
        };
        self.get_manifest(&reference.repository, entry.digest.as_str()).await?.ok_or_else(not_found)
    }

    /// Puts a manifest under these tags, or under its digest without one. The registry must see the digest that we see:
    /// otherwise what is deployed would not be what was built.
    ///
    /// Several tags: newer registries take them all with the manifest
    /// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests>); others ignore them, so
    /// only those count that are echoed. Two tags are put side by side where it is not known: to find out would cost as many
    /// requests as it saves, and two round trips instead of one.
    pub(crate) async fn put_tags(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tags: &[&str],
    ) -> Result<(), Error> {
        let known = self.known(&repository.registry);
        let feature = &known.features.tag_parameter;
        let tags: Vec<&str> = tags.iter().copied().collect::<BTreeSet<_>>().into_iter().collect(); // two may be the same
        let tags = tags.as_slice();
        let together = feature.works() || tags.len() > 2 && feature.try_it();
        let (mut confirmed, rest) = if together && tags.len() > 1 {
            let (confirmed, echoed) = self.put_manifest(repository, manifest, None, tags).await?;
            let (echoed, rest): (Vec<&str>, Vec<&str>) =
                tags.iter().partition(|tag| echoed.contains(&(**tag).to_owned()));
            feature.learn(echoed.len() == tags.len());
            (confirmed, rest)
        } else if tags.is_empty() {
            (self.put_manifest(repository, manifest, None, &[]).await?.0, Vec::new())
        } else {
            (true, tags.to_vec())
        };
        let put = rest.iter().map(|tag| self.put_manifest(repository, manifest, Some(tag), &[]));
        for put in futures::future::join_all(put).await {
            confirmed &= put?.0;
        }
        if confirmed { Ok(()) } else { self.confirm(repository, manifest, tags.last().copied()).await }
    }

    /// Looks what a registry has that did not say which digest it saw.
    async fn confirm(&self, repository: &Repository, manifest: &RawManifest, tag: Option<&str>) -> Result<(), Error> {
        let endpoint = self.push_endpoint(&repository.registry)?;
        let there = self.head_manifest(repository, tag.unwrap_or(manifest.digest.as_str())).await?;
        match there {
            Some(there) if there == manifest.digest => Ok(()),
            Some(there) => Err(mismatch(&endpoint, "the manifest", &manifest.digest, there.as_str())),
            None => Err(mismatch(&endpoint, "the manifest", &manifest.digest, "nothing")),
        }
    }

    /// Puts a manifest under a tag, or under its digest, perhaps with tags beside it; whether the registry said which digest
    /// it saw, and which of those tags it has put.
    async fn put_manifest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
        tag: Option<&str>,
        beside: &[&str],
    ) -> Result<(bool, Vec<String>), Error> {
        let endpoint = self.push_endpoint(&repository.registry)?;
        let target = tag.unwrap_or(manifest.digest.as_str());
        let action = format!("take the manifest of `{repository}:{target}`");
        let scope = Scope::push(&repository.path);
        let question = Question { endpoint: &endpoint, scope: &scope, action: &action };
        let url = endpoint.url(&repository.path, &format!("manifests/{target}"));
        let query: Vec<_> = beside.iter().map(|tag| ("tag", *tag)).collect();
        let answer = self
            .ask(question, |pool| {
                let request = pool.put(url.clone()).header(CONTENT_TYPE, &manifest.media_type);
                let request = if query.is_empty() { request } else { request.query(&query) };
                request.body(manifest.bytes.clone())
            })
            .await?;
        if !answer.status().is_success() {
            return Err(self.refusal(question, answer).await);
        }
        check_digest(&endpoint, &answer, "the manifest", &manifest.digest)?;
        let echoed = answer.headers().get_all(PUT_TAGS).iter().filter_map(|value| value.to_str().ok());
        let echoed = echoed.flat_map(|text| text.split(',')).map(|tag| tag.trim().to_owned()).collect();
        Ok((answer.headers().contains_key(CONTENT_DIGEST), echoed))
    }

    /// Puts a tag on a manifest that the repository has. Nothing is sent where the tag is there already.
    pub(crate) async fn tag(&self, repository: &Repository, digest: &Digest, tag: &str) -> Result<bool, Error> {
        if self.head_manifest(repository, tag).await?.as_ref() == Some(digest) {
            return Ok(false);
        }
        let manifest = self.get_manifest(repository, digest.as_str()).await?;
        let manifest = manifest.ok_or_else(|| Error::NotFound { reference: repository.at(digest).to_string() })?;
        self.put_tags(repository, &manifest, &[tag]).await?;
        Ok(true)
    }

    /// The answer of the first place that has a manifest; `None` where all say that they have none.
    async fn find_manifest(
        &self,
        repository: &Repository,
        target: &str,
        method: Method,
    ) -> Result<Option<(Endpoint, Response)>, Error> {
        let wanted = if target.contains(':') { Capability::Pull } else { Capability::Resolve };
        let action = format!("say what `{repository}:{target}` is");
        let scope = Scope::pull(&repository.path);
        let mut last = None;
        for endpoint in self.endpoints(&repository.registry, wanted)? {
            let question = Question { endpoint: &endpoint, scope: &scope, action: &action };
            let url = endpoint.url(&repository.path, &format!("manifests/{target}"));
            let make = |pool: &reqwest::Client, url: &Url| {
                pool.request(method.clone(), url.clone()).header(ACCEPT, ACCEPTED.join(", "))
            };
            match self.read_briefly(question, &url, make).await {
                Ok(answer) if answer.status().is_success() => return Ok(Some((endpoint, answer))),
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => {}
                Ok(answer) if method == Method::HEAD => {
                    last = Some(self.refusal_of_head(question, &url, answer).await);
                }
                Ok(answer) => last = Some(self.refusal(question, answer).await),
                Err(error) => last = Some(error),
            }
        }
        last.map_or(Ok(None), Err)
    }
}

/// Compares the digest that a registry says it sees with ours. Registries that say nothing are believed.
pub(crate) fn check_digest(endpoint: &Endpoint, answer: &Response, what: &str, wanted: &Digest) -> Result<(), Error> {
    let got = answer.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
    match got {
        Some(got) if got != wanted.as_str() => Err(mismatch(endpoint, what, wanted, got)),
        _ => Ok(()),
    }
}

/// Content is not what its digest says.
fn mismatch(endpoint: &Endpoint, what: &str, wanted: &Digest, got: &str) -> Error {
    Error::DigestMismatch {
        registry: endpoint.registry.clone(),
        what: what.to_owned(),
        wanted: wanted.clone(),
        got: got.to_owned(),
    }
}
