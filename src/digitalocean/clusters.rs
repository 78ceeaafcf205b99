//! Kubernetes clusters (DOKS), and credentials for their API servers.

use super::client::{Client, Read, unreadable};
use super::error::Error;
use crate::model::Secret;
use base64::Engine as _;
use serde::Deserialize;

/// A cluster.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Its id, a UUID.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// `nyc1`.
    pub(crate) region: String,
    /// `1.33.1-do.0`.
    #[serde(default, rename = "version")]
    pub(crate) version_slug: String,
    /// Whether it runs.
    pub(crate) status: ClusterStatus,
}

/// The state of a cluster.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct ClusterStatus {
    /// `running`, `provisioning`, `degraded`, …: an open list, the published enumeration lags behind.
    pub(crate) state: String,
    /// Why, where there is something to say.
    pub(crate) message: Option<String>,
}

/// `todo-prod (nyc1)`.
impl std::fmt::Display for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.region)
    }
}

/// How to reach a cluster's API server for a while.
#[derive(Clone, Debug)]
pub(crate) struct ClusterCredentials {
    /// `https://….k8s.ondigitalocean.com`.
    pub(crate) server: String,
    /// The certificate authority of the server, PEM.
    pub(crate) ca_pem: Vec<u8>,
    /// A bearer token.
    pub(crate) token: Secret,
}

/// Credentials as they come.
#[derive(Deserialize)]
struct RawCredentials {
    /// The URL of the API server.
    server: String,
    /// PEM in base64.
    certificate_authority_data: String,
    /// The bearer token.
    token: String,
}

impl Client {
    /// All clusters of the account. Scope `kubernetes:read`.
    pub(crate) async fn clusters(&self) -> Result<Vec<Cluster>, Error> {
        let path = &["kubernetes", "clusters"];
        let read = Read { doing: "listing the Kubernetes clusters", scope: "kubernetes:read", path, query: &[] };
        self.list(read, "kubernetes_clusters").await
    }

    /// The cluster with this name or id; where there is none, the error lists those that there are.
    pub(crate) async fn find_cluster(&self, name_or_id: &str) -> Result<Cluster, Error> {
        let all = self.clusters().await?;
        let mut found: Vec<&Cluster> = all.iter().filter(|cluster| cluster.id == name_or_id).collect();
        if found.is_empty() {
            found = all.iter().filter(|cluster| cluster.name == name_or_id).collect();
        }
        let wanted = name_or_id.to_owned();
        match found.as_slice() {
            [cluster] => Ok((*cluster).clone()),
            [] => {
                let existing = all.into_iter().map(|cluster| (cluster.name, cluster.region)).collect();
                Err(Error::UnknownCluster { wanted, existing })
            }
            several => {
                let ids = several.iter().map(|cluster| cluster.id.clone()).collect();
                Err(Error::AmbiguousCluster { wanted, ids })
            }
        }
    }

    /// Credentials for the API server of a cluster that die after `expiry_seconds`. Scope `kubernetes:access_cluster`.
    ///
    /// Each call leaves a token in the account until it dies (<https://github.com/digitalocean/doctl/issues/1083>): ask
    /// once a run, and for no longer than the run.
    pub(crate) async fn cluster_credentials(&self, id: &str, expiry_seconds: u64) -> Result<ClusterCredentials, Error> {
        let doing = "fetching credentials for the Kubernetes cluster";
        let expiry = expiry_seconds.to_string();
        let (path, query) = (&["kubernetes", "clusters", id, "credentials"], &[("expiry_seconds", expiry.as_str())]);
        let raw: RawCredentials = self.get(Read { doing, scope: "kubernetes:access_cluster", path, query }).await?;
        let token = self.learn(&raw.token);
        let ca_pem = base64::engine::general_purpose::STANDARD.decode(raw.certificate_authority_data.trim());
        let ca_pem = ca_pem.map_err(|error| unreadable(doing, error))?;
        Ok(ClusterCredentials { server: raw.server, ca_pem, token })
    }
}
