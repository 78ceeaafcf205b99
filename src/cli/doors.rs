//! Opens the doors that a verb needs: which cluster and why, which registry and with whose login.
//!
//! Everything short-lived is fetched here, once a run, and registered with the redactor before its first use.

use super::args::OnGc;
use super::settings::Settings;
use crate::config::{Config, Registry};
use crate::desired::{Desired, PULL_SECRET, PullCredential};
use crate::digitalocean;
use crate::docker;
use crate::error::{Failure, FailureKind};
use crate::execute::{ImageDoors, OnCollection, RegistryAccount};
use crate::http;
use crate::kubernetes::{Access, Cluster, Scope};
use crate::model::{DIGITALOCEAN_REGISTRY, GroupVersionKind, ObjectRef, Redactor, Repository, Secret};
use crate::registry::{self, Hosts, Logins};
use std::path::PathBuf;

/// How long the cluster's credential lives, in seconds: the longest rollout and then some. Each fetch leaves a token in
/// the account's list until it expires, so it is asked for once and for little.
const CLUSTER_EXPIRY: u64 = 3600;

/// How long the login that pushes lives, in seconds: builds count too, as the login is fetched before them.
const PUSH_EXPIRY: u64 = 3600;

/// A cluster, what to call it, and why it was chosen.
pub(crate) struct OpenCluster {
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// `todo-prod (nyc1)`, `context kind-dev`.
    pub(crate) name: String,
    /// `cluster in deploy.yml`, `--context`.
    pub(crate) because: &'static str,
}

/// How a cluster is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// As one of the account.
    Of(&'a str),
    /// By a kubeconfig.
    Elsewhere,
    /// Not at all.
    None,
}

/// The DigitalOcean API, opened when something needs it: a file that names neither a cluster nor a DOCR registry needs no token.
pub(crate) struct Cloud<'a> {
    /// The settings.
    settings: &'a Settings,
    /// Who learns the secrets.
    redactor: Redactor,
}

impl<'a> Cloud<'a> {
    /// The API of these settings.
    pub(crate) fn new(settings: &'a Settings, redactor: &Redactor) -> Self {
        Self { settings, redactor: redactor.clone() }
    }

    /// A client; an error without a token.
    fn client(&self) -> Result<digitalocean::Client, Failure> {
        let http = http_client(self.settings, false)?;
        let token = self.settings.token.clone();
        digitalocean::Client::new(http, &self.settings.api_url, token, self.redactor.clone()).map_err(Failure::from)
    }

    /// Connects to the cluster: `--kubeconfig` and `--context` come before `cluster:`, which comes before an ambient
    /// `KUBECONFIG`.
    pub(crate) async fn open_cluster(&self, config: &Config) -> Result<OpenCluster, Failure> {
        let settings = self.settings;
        if settings.kubeconfig.is_some() || settings.context.is_some() {
            let because = if settings.context.is_some() { "--context" } else { "--kubeconfig" };
            let path = settings.kubeconfig.clone().or_else(|| settings.ambient_kubeconfig.clone());
            return by_kubeconfig(path, settings.context.clone(), because).await;
        }
        if let Some(wanted) = &config.cluster {
            return self.by_name(wanted).await;
        }
        if settings.ambient_kubeconfig.is_some() {
            return by_kubeconfig(settings.ambient_kubeconfig.clone(), None, "KUBECONFIG").await;
        }
        let failure = Failure::new(FailureKind::Configuration, "no cluster is named");
        Err(failure.with_hint("write `cluster: NAME` into deploy.yml, or give `--kubeconfig` or `--context`"))
    }

    /// How deploy.yml and the flags name the cluster.
    pub(crate) fn named_cluster<'c>(&self, config: &'c Config) -> Named<'c> {
        let settings = self.settings;
        if settings.kubeconfig.is_some() || settings.context.is_some() {
            return Named::Elsewhere;
        }
        match &config.cluster {
            Some(name) => Named::Of(name),
            None if settings.ambient_kubeconfig.is_some() => Named::Elsewhere,
            None => Named::None,
        }
    }

    /// A DOKS cluster by name or id.
    pub(crate) async fn by_name(&self, wanted: &str) -> Result<OpenCluster, Failure> {
        let found = self.client()?.find_cluster(wanted).await?;
        let cluster = self.connect(&found).await?;
        Ok(OpenCluster { cluster, name: found.to_string(), because: "deploy.yml" })
    }

    /// A DOKS cluster that was found by name or id, and connecting to it: whoever goes on without it knows which it is.
    pub(crate) async fn try_by_name(
        &self,
        wanted: &str,
    ) -> Result<(digitalocean::Cluster, Result<Cluster, Failure>), Failure> {
        let found = self.client()?.find_cluster(wanted).await?;
        let opened = self.connect(&found).await;
        Ok((found, opened))
    }

    /// All DOKS clusters of the account.
    pub(crate) async fn clusters(&self) -> Result<Vec<digitalocean::Cluster>, Failure> {
        Ok(self.client()?.clusters().await?)
    }

    /// Connects to a DOKS cluster.
    pub(crate) async fn connect(&self, found: &digitalocean::Cluster) -> Result<Cluster, Failure> {
        let credentials = self.client()?.cluster_credentials(&found.id, CLUSTER_EXPIRY).await?;
        let ca_pem = String::from_utf8_lossy(&credentials.ca_pem).into_owned();
        let access = Access::Token { server: credentials.server, ca_pem, token: credentials.token };
        Ok(Cluster::connect(access).await?)
    }

    /// The images' side: a registry client with the login that pushes, and a builder that connects when it is needed.
    pub(crate) async fn open_images(&self, config: &Config, on_gc: OnGc) -> Result<ImageDoors, Failure> {
        let logins = Logins::new(Logins::docker_config_path(&self.settings.environment));
        let mut account = None;
        match &config.registry {
            Some(Registry::DigitalOcean { name }) => {
                let client = self.client()?;
                let found = client.find_registry(name).await?;
                let (login, collection) = tokio::join!(
                    client.docker_credentials(&found, true, Some(PUSH_EXPIRY)),
                    client.active_garbage_collection(&found)
                );
                let login = login?;
                logins.set(&login.host, login.username.expose(), login.password.clone());
                account = Some(account_of(client, Some(found), on_gc, collection));
            }
            Some(other @ Registry::Other { .. }) if is_digitalocean(other) && self.settings.token.is_some() => {
                let client = self.client()?;
                set_login(other, &logins, &self.redactor);
                let path = other.repository("").path;
                let name = path.split('/').next().unwrap_or_default();
                // A wrong name, or a token that may not look, shows when the registry refuses.
                let found = client.find_registry(name).await.ok();
                let collection = match &found {
                    Some(found) => client.active_garbage_collection(found).await,
                    None => Ok(None),
                };
                account = Some(account_of(client, found, on_gc, collection));
            }
            Some(other) => set_login(other, &logins, &self.redactor),
            None => {}
        }
        let registry = registry::Client::new(self.hosts(), logins);
        Ok(ImageDoors { registry, builder: docker::Builder::new(&self.settings.environment), account })
    }

    /// Where registry names lead.
    fn hosts(&self) -> Hosts {
        Hosts::new(self.settings.registry_config.clone(), ca_files(self.settings))
    }

    /// The login that pods pull with: the one in the cluster as long as it works, so that a run that changes nothing
    /// writes nothing; a new one otherwise. `None` where nothing of ours is pulled, and for registries other than DOCR: only
    /// DigitalOcean's API makes a login that pulls and cannot push, and the one that pushes stays out of the cluster.
    pub(crate) async fn pull_credential(
        &self,
        config: &Config,
        desired: &Desired,
        cluster: &Cluster,
    ) -> Result<Option<PullCredential>, Failure> {
        let Some(Registry::DigitalOcean { name }) = &config.registry else { return Ok(None) };
        let Some(namespace) = desired.pulling_namespaces().into_iter().next() else { return Ok(None) };
        let repository = config.images.first().and_then(|image| Some(config.registry.as_ref()?.repository(&image.key)));
        let Some(repository) = repository else { return Ok(None) };
        let secret = ObjectRef::new(GroupVersionKind::new("v1", "Secret"), Some(&namespace), PULL_SECRET);
        let listed = cluster.list(&Scope::all(&secret.gvk, Some(&namespace))).await?;
        let live = listed.objects.iter().find(|object| object["metadata"]["name"] == PULL_SECRET);
        if let Some(live) = live.and_then(|live| PullCredential::from_live(live, &repository.registry)) {
            self.redactor.register(live.password.expose());
            if self.still_pulls(&live, &repository).await {
                return Ok(Some(live));
            }
        }
        let client = self.client()?;
        let found = client.find_registry(name).await?;
        let login = client.docker_credentials(&found, false, None).await?;
        let (host, username) = (login.host, login.username.expose().to_owned());
        Ok(Some(PullCredential { host, username, password: login.password }))
    }

    /// Whether the registry still takes a login: it answers about a tag, there or not.
    async fn still_pulls(&self, login: &PullCredential, repository: &Repository) -> bool {
        let logins = Logins::new(None);
        logins.set(&login.host, &login.username, login.password.clone());
        let client = registry::Client::new(self.hosts(), logins);
        client.head_manifest(repository, "latest").await.is_ok()
    }
}

/// Whether a registry that is named by its host is DigitalOcean's.
fn is_digitalocean(registry: &Registry) -> bool {
    matches!(registry, Registry::Other { host, .. } if host == DIGITALOCEAN_REGISTRY)
}

/// Sets the login of a registry that has one in deploy.yml.
fn set_login(registry: &Registry, logins: &Logins, redactor: &Redactor) {
    if let Registry::Other { host, login: Some((user, password)), .. } = registry {
        redactor.register(password.expose());
        logins.set(host, user, password.clone());
    }
}

/// The account behind a registry. What could not be seen of garbage collections is no reason to stop: the push shows it.
fn account_of(
    client: digitalocean::Client,
    registry: Option<digitalocean::Registry>,
    on_gc: OnGc,
    collection: Result<Option<digitalocean::GarbageCollection>, digitalocean::Error>,
) -> RegistryAccount {
    let on_collection = match on_gc {
        OnGc::Wait => OnCollection::Wait,
        OnGc::Cancel => OnCollection::Cancel,
        OnGc::Fail => OnCollection::Fail,
    };
    RegistryAccount::new(client, registry, on_collection, collection.ok().flatten())
}

/// Connects by a kubeconfig.
async fn by_kubeconfig(
    path: Option<PathBuf>,
    context: Option<String>,
    because: &'static str,
) -> Result<OpenCluster, Failure> {
    let name =
        context.as_ref().map_or_else(|| "the current context".to_owned(), |context| format!("context {context}"));
    let cluster = Cluster::connect(Access::Kubeconfig { path, context }).await?;
    Ok(OpenCluster { cluster, name, because })
}

/// The client for everything that is neither a registry nor a cluster.
pub(crate) fn http_client(settings: &Settings, no_redirects: bool) -> Result<reqwest::Client, Failure> {
    let recipe = http::Recipe { ca_files: ca_files(settings), no_redirects, ..http::Recipe::default() };
    http::client(&recipe).map_err(Failure::from)
}

/// Certificates that the environment adds.
fn ca_files(settings: &Settings) -> Vec<PathBuf> {
    settings.environment.non_empty("SSL_CERT_FILE").map(PathBuf::from).into_iter().collect()
}

/// Every secret of the file, before anything can print it.
pub(crate) fn learn_secrets(config: &Config, settings: &Settings, redactor: &Redactor) {
    let values = config.secrets.values().flat_map(|keys| keys.values());
    values.for_each(|value| redactor.register(value.expose()));
    for image in &config.images {
        if let crate::config::ImageSource::Build(build) = &image.source {
            build.secrets.values().for_each(|value| redactor.register(value.expose()));
        }
    }
    settings.token.iter().for_each(|token: &Secret| redactor.register(token.expose()));
}
