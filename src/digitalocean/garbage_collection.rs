//! Garbage collections of a registry: while one runs, nothing can be pushed
//! (<https://docs.digitalocean.com/products/container-registry/how-to/clean-up-container-registry/>).

use super::client::{Client, Read, Write, parse};
use super::error::Error;
use super::registries::Registry;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

/// A garbage collection.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct GarbageCollection {
    /// Its id.
    pub(crate) uuid: String,
    /// `requested`, `waiting for write JWTs to expire`, `scanning manifests`, `deleting unreferenced blobs`, `cancelling`;
    /// and at its end `failed`, `succeeded`, `cancelled`.
    pub(crate) status: String,
    /// When it was asked for, by RFC 3339.
    #[serde(default)]
    pub(crate) created_at: String,
    /// How many blobs are gone, at its end.
    #[serde(default)]
    pub(crate) blobs_deleted: u64,
    /// How many bytes that freed, at its end.
    #[serde(default)]
    pub(crate) freed_bytes: u64,
}

/// One as it comes.
#[derive(Deserialize)]
struct Root {
    /// It.
    garbage_collection: GarbageCollection,
}

impl Client {
    /// The garbage collection that runs, if one does. Scope `registry:read`.
    pub(crate) async fn active_garbage_collection(
        &self,
        registry: &Registry,
    ) -> Result<Option<GarbageCollection>, Error> {
        let doing = format!("looking for a garbage collection in {}", registry.name);
        let path = &[registry.base(), &registry.name, "garbage-collection"];
        let read = Read { doing: &doing, scope: "registry:read", path, query: &[] };
        match self.get::<Root>(read).await {
            Ok(root) => Ok(Some(root.garbage_collection)),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All garbage collections, those that have ended too. Scope `registry:read`.
    pub(crate) async fn garbage_collections(&self, registry: &Registry) -> Result<Vec<GarbageCollection>, Error> {
        let doing = format!("listing the garbage collections of {}", registry.name);
        let path = &[registry.base(), &registry.name, "garbage-collections"];
        self.list(Read { doing: &doing, scope: "registry:read", path, query: &[] }, "garbage_collections").await
    }

    /// Starts a garbage collection of everything that nothing leads to; where one runs, that one is given. Scope
    /// `registry:update`.
    pub(crate) async fn start_garbage_collection(&self, registry: &Registry) -> Result<GarbageCollection, Error> {
        let doing = format!("starting a garbage collection in {}", registry.name);
        let path: &[&str] = &[registry.base(), &registry.name, "garbage-collection"];
        // Without a type some clients ask for blobs alone.
        let body = Some(json!({ "type": "untagged manifests and unreferenced blobs" }));
        let write = Write { doing: &doing, scope: "registry:update", method: Method::POST, path, body };
        match self.write(write).await {
            Ok(body) => Ok(parse::<Root>(&doing, &body)?.garbage_collection),
            Err(error) if error.status() == Some(StatusCode::CONFLICT) => {
                self.active_garbage_collection(registry).await?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks a garbage collection to end early; it is `cancelling` for a while. `false` where it has ended already. Scope
    /// `registry:update`.
    pub(crate) async fn cancel_garbage_collection(&self, registry: &Registry, uuid: &str) -> Result<bool, Error> {
        let doing = format!("cancelling the garbage collection of {}", registry.name);
        let path: &[&str] = &[registry.base(), &registry.name, "garbage-collection", uuid];
        let body = Some(json!({ "cancel": true }));
        let write = Write { doing: &doing, scope: "registry:update", method: Method::PUT, path, body };
        match self.write(write).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
