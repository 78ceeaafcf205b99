//! Load balancers, which the cluster's cloud controller makes for Services.

use super::client::{Client, Read};
use super::error::Error;
use serde::Deserialize;

/// A load balancer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct LoadBalancer {
    /// Its id, a UUID.
    pub(crate) id: String,
    /// Its name; the cloud controller finds it by it, in the whole account.
    pub(crate) name: String,
    /// `new`, `active`, `errored`; an open list.
    pub(crate) status: String,
    /// Its address; empty while it is `new`.
    #[serde(default)]
    pub(crate) ip: String,
    /// `REGIONAL`, `REGIONAL_NETWORK`, `GLOBAL`.
    #[serde(default, rename = "type")]
    pub(crate) type_slug: String,
}

impl Client {
    /// All load balancers of the account. Scope `load_balancer:read`.
    pub(crate) async fn load_balancers(&self) -> Result<Vec<LoadBalancer>, Error> {
        let path = &["load_balancers"];
        let read = Read { doing: "listing the load balancers", scope: "load_balancer:read", path, query: &[] };
        self.list(read, "load_balancers").await
    }

    /// The load balancer that has this address, if the account has it.
    pub(crate) async fn load_balancer_at(&self, ip: &str) -> Result<Option<LoadBalancer>, Error> {
        Ok(self.load_balancers().await?.into_iter().find(|balancer| balancer.ip == ip))
    }
}
