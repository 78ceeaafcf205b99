//! The connections to registries and to where they lead: a pool for each way of talking to a place.

use super::error::Error;
use super::hosts::{Endpoint, is_loopback};
use super::progress::lock;
use super::wire;
use crate::http::{self, Recipe};
use reqwest::{Request, Response};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use url::Url;

/// The connections of a run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    /// A pool for each way of talking to a place.
    pools: Arc<Mutex<HashMap<Recipe, reqwest::Client>>>,
    /// How many requests were sent, those to token services included.
    requests: Arc<AtomicU64>,
}

impl Connections {
    /// The same connections with a count of their own.
    pub(crate) fn counting(&self) -> Self {
        Self { pools: Arc::clone(&self.pools), requests: Arc::default() }
    }

    /// How many requests were sent.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Counts a request that goes another way.
    pub(crate) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The connections on which a URL is asked for that a place has named, or for its own.
    pub(crate) fn pool(&self, endpoint: &Endpoint, url: &Url) -> Result<reqwest::Client, Error> {
        let is_here = url.host_str().is_some_and(is_loopback);
        let recipe = Recipe { plain: wire::reaches(url), direct: is_here, ..endpoint.recipe.clone() };
        let mut pools = lock(&self.pools);
        if let Some(pool) = pools.get(&recipe) {
            return Ok(pool.clone());
        }
        let pool = http::client(&recipe)?;
        pools.insert(recipe, pool.clone());
        Ok(pool)
    }

    /// Sends a request and counts it.
    pub(crate) async fn execute(&self, pool: &reqwest::Client, request: Request) -> reqwest::Result<Response> {
        self.count();
        http::send(pool, request).await
    }
}
