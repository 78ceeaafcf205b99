//! What is in a registry: repositories, tags, manifests, and their removal.

use super::client::{Client, Read, Write};
use super::error::Error;
use super::registries::Registry;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

/// A tag as the API lists it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct ListedTag {
    /// Its name.
    pub(crate) tag: String,
    /// The manifest that it stands for, `sha256:…`.
    pub(crate) manifest_digest: String,
    /// When it was put there, by RFC 3339.
    #[serde(default)]
    pub(crate) updated_at: String,
}

/// A manifest as the API lists it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct ListedManifest {
    /// Its digest, `sha256:…`.
    pub(crate) digest: String,
    /// When it was put there, by RFC 3339.
    #[serde(default)]
    pub(crate) updated_at: String,
    /// Its tags.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
}

/// A repository as the API lists it.
#[derive(Deserialize)]
struct ListedRepository {
    /// Its name inside the registry.
    name: String,
}

impl Client {
    /// The names of a registry's repositories, without the registry's own. Scope `registry:read`.
    pub(crate) async fn repositories(&self, registry: &Registry) -> Result<Vec<String>, Error> {
        let doing = format!("listing the repositories of {}", registry.name);
        let path = &[registry.base(), &registry.name, "repositoriesV2"];
        let read = Read { doing: &doing, scope: "registry:read", path, query: &[] };
        let listed: Vec<ListedRepository> = self.list(read, "repositories").await?;
        Ok(listed.into_iter().map(|repository| repository.name).collect())
    }

    /// All tags of a repository; none where there is no such repository. Scope `registry:read`.
    pub(crate) async fn repository_tags(&self, registry: &Registry, repository: &str) -> Result<Vec<ListedTag>, Error> {
        self.list_of(registry, repository, "tags", "tags").await
    }

    /// All manifests of a repository, those without a tag too; none where there is no such repository. Scope
    /// `registry:read`.
    pub(crate) async fn repository_manifests(
        &self,
        registry: &Registry,
        repository: &str,
    ) -> Result<Vec<ListedManifest>, Error> {
        self.list_of(registry, repository, "digests", "manifests").await
    }

    /// A list below a repository.
    async fn list_of<T: serde::de::DeserializeOwned>(
        &self,
        registry: &Registry,
        repository: &str,
        what: &str,
        key: &str,
    ) -> Result<Vec<T>, Error> {
        let doing = format!("listing the {key} of {}/{repository}", registry.name);
        let path = &[registry.base(), &registry.name, "repositories", repository, what];
        let read = Read { doing: &doing, scope: "registry:read", path, query: &[] };
        match self.list(read, key).await {
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(Vec::new()),
            listed => listed,
        }
    }

    /// Removes a manifest with its tags; false where it was gone. Its blobs stay until garbage is collected. Scope
    /// `registry:delete`.
    pub(crate) async fn delete_manifest(
        &self,
        registry: &Registry,
        repository: &str,
        digest: &str,
    ) -> Result<bool, Error> {
        let doing = format!("deleting {}/{repository}@{digest}", registry.name);
        self.delete(&doing, &[registry.base(), &registry.name, "repositories", repository, "digests", digest]).await
    }

    /// Removes what a path names; false where it was gone.
    async fn delete(&self, doing: &str, path: &[&str]) -> Result<bool, Error> {
        let write = Write { doing, scope: "registry:delete", method: Method::DELETE, path, body: None };
        match self.write(write).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
