//! Container registries (DOCR), and logins for them.

use super::client::{Client, Read, unreadable};
use super::error::Error;
use crate::model::Secret;
use base64::Engine as _;
use reqwest::StatusCode;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A registry.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Registry {
    /// Its name, the first path segment of its images.
    pub(crate) name: String,
    /// `nyc3`.
    #[serde(default)]
    pub(crate) region: String,
    /// Bytes that it stores, as counted some time ago.
    #[serde(default)]
    pub(crate) storage_usage_bytes: u64,
    /// Which routes answer for it.
    #[serde(skip)]
    routes: Routes,
}

impl Registry {
    /// The first path segment of the routes for what is in the registry.
    pub(super) fn base(&self) -> &'static str {
        match self.routes {
            Routes::Many => "registries",
            Routes::Single => "registry",
        }
    }
}

/// What an account may store, and for what price.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Plan {
    /// `Starter`.
    pub(crate) name: String,
    /// How many repositories; 0 is any number.
    #[serde(default)]
    pub(crate) included_repositories: usize,
    /// How many bytes.
    #[serde(default)]
    pub(crate) included_storage_bytes: u64,
    /// Whether more bytes cost money, or are refused.
    #[serde(default)]
    pub(crate) allow_storage_overage: bool,
}

/// Which of the API's two sets of routes answers.
///
/// The old set knows exactly one registry and answers 412 once a team has several; accounts and proxies of before 2025
/// know only the old set (<https://docs.digitalocean.com/reference/api/digitalocean/#tag/Container-Registries>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Routes {
    /// `/v2/registries`.
    #[default]
    Many,
    /// `/v2/registry`.
    Single,
}

/// A login for a registry host.
#[derive(Clone, Debug)]
pub(crate) struct RegistryLogin {
    /// `registry.digitalocean.com`.
    pub(crate) host: String,
    /// The user: a token, like the password, and as secret.
    pub(crate) username: Secret,
    /// The password.
    pub(crate) password: Secret,
}

/// One registry as it comes.
#[derive(Deserialize)]
struct Root {
    /// The registry.
    registry: Registry,
}

/// A Docker configuration as it comes.
#[derive(Deserialize)]
struct DockerConfig {
    /// Host to login.
    auths: BTreeMap<String, DockerAuth>,
}

/// One login of a Docker configuration.
#[derive(Deserialize)]
struct DockerAuth {
    /// `user:password` in base64.
    auth: String,
}

/// The plan of an account as it comes.
#[derive(Deserialize)]
struct SubscriptionRoot {
    /// The subscription.
    subscription: Subscription,
}

/// A subscription as it comes.
#[derive(Deserialize)]
struct Subscription {
    /// The plan.
    tier: Plan,
}

/// What is attempted when registries are listed.
const LISTING: &str = "listing the container registries";

impl Client {
    /// All registries of the account. Scope `registry:read`.
    pub(crate) async fn registries(&self) -> Result<Vec<Registry>, Error> {
        let read = Read { doing: LISTING, scope: "registry:read", path: &["registries"], query: &[] };
        match self.list(read, "registries").await {
            Err(error) if is_absent(&error) => {
                self.single_registry().await.map(|registry| registry.into_iter().collect())
            }
            result => result,
        }
    }

    /// The one registry that the old routes know; `None` where the account has none.
    async fn single_registry(&self) -> Result<Option<Registry>, Error> {
        let read = Read { doing: LISTING, scope: "registry:read", path: &["registry"], query: &[] };
        match self.get::<Root>(read).await {
            Ok(root) => Ok(Some(Registry { routes: Routes::Single, ..root.registry })),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The registry with this name; where there is none, the error lists those that there are.
    pub(crate) async fn find_registry(&self, name: &str) -> Result<Registry, Error> {
        let all = self.registries().await?;
        if let Some(registry) = all.iter().find(|registry| registry.name == name) {
            return Ok(registry.clone());
        }
        let existing = all.into_iter().map(|registry| (registry.name, registry.region)).collect();
        Err(Error::UnknownRegistry { wanted: name.to_owned(), existing })
    }

    /// The plan of the account's registries. Scope `registry:read`.
    pub(crate) async fn registry_plan(&self, registry: &Registry) -> Result<Plan, Error> {
        let path = &[registry.base(), "subscription"];
        let read =
            Read { doing: "reading the plan of the container registry", scope: "registry:read", path, query: &[] };
        Ok(self.get::<SubscriptionRoot>(read).await?.subscription.tier)
    }

    /// A login for a registry: to pull, or with `read_write` to push too. It dies after `expiry_seconds`; `None` makes
    /// one that lives until it is revoked, which a pull Secret needs: nodes pull weeks later too.
    ///
    /// Scope `registry:read`; a login that may push needs `registry:update` by the documentation, and `registry:create` by
    /// experience (<https://github.com/digitalocean/action-doctl/issues/83>).
    pub(crate) async fn docker_credentials(
        &self,
        registry: &Registry,
        read_write: bool,
        expiry_seconds: Option<u64>,
    ) -> Result<RegistryLogin, Error> {
        let doing = "fetching a login for the container registry";
        // The answer does not tell which of the two is missing.
        let scope = if read_write { "registry:create` or `registry:update" } else { "registry:read" };
        let expiry = expiry_seconds.unwrap_or(0).to_string();
        let query = &[("read_write", if read_write { "true" } else { "false" }), ("expiry_seconds", expiry.as_str())];
        let path: &[&str] = match registry.routes {
            Routes::Many => &["registries", &registry.name, "docker-credentials"],
            Routes::Single => &["registry", "docker-credentials"],
        };
        let config: DockerConfig = self.get(Read { doing, scope, path, query }).await?;
        let (host, auth) = config.auths.into_iter().next().ok_or_else(|| unreadable(doing, "it holds no login"))?;
        self.login(host, &auth.auth).ok_or_else(|| unreadable(doing, "the login is not `user:password` in base64"))
    }

    /// The login in an `auth` field, registered whole and in parts.
    fn login(&self, host: String, auth: &str) -> Option<RegistryLogin> {
        self.learn(auth);
        let decoded = base64::engine::general_purpose::STANDARD.decode(auth).ok()?;
        let text = Secret::new(String::from_utf8(decoded).ok()?);
        let (username, password) = text.expose().split_once(':')?;
        Some(RegistryLogin { host, username: self.learn(username), password: self.learn(password) })
    }
}

/// Whether the newer routes are not there for this account.
fn is_absent(error: &Error) -> bool {
    let absent = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::PRECONDITION_FAILED];
    error.status().is_some_and(|status| absent.contains(&status))
}
