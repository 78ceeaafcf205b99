//! DigitalOcean's side of its registry: who can say why the registry refuses, and whether it takes pushes now.

use super::refusal::{self, Facts};
use crate::digitalocean::{Client, GarbageCollection, Registry};
use crate::error::{Failure, FailureKind};
use crate::model::Repository;
use crate::registry;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What becomes of a push that meets a garbage collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnCollection {
    /// It waits until the collection has ended.
    #[default]
    Wait,
    /// It cancels the collection, and waits until that has happened.
    Cancel,
    /// It fails at once.
    Fail,
}

/// A registry of a DigitalOcean account. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RegistryAccount(Arc<Inner>);

/// What the clones share.
#[derive(Debug)]
struct Inner {
    /// The API.
    client: Client,
    /// The registry, where it was found.
    registry: Option<Registry>,
    /// What becomes of a push that meets a garbage collection.
    on_collection: OnCollection,
    /// The garbage collection that was seen last. Whoever waits for its end holds the lock.
    seen: Mutex<Option<GarbageCollection>>,
}

/// A garbage collection first waits for up to 15 minutes until every token that can push has died; those of most
/// registries need a few minutes more. Some have been stuck for hours.
const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// The pause between two looks at a garbage collection.
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);

impl RegistryAccount {
    /// The account behind a registry, with the garbage collection that runs in it.
    pub(crate) fn new(
        client: Client,
        registry: Option<Registry>,
        on_collection: OnCollection,
        running: Option<GarbageCollection>,
    ) -> Self {
        Self(Arc::new(Inner { client, registry, on_collection, seen: Mutex::new(running) }))
    }

    /// The API.
    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    /// The registry, where it was found.
    pub(crate) fn registry(&self) -> Option<&Registry> {
        self.0.registry.as_ref()
    }

    /// Whether a push waits where garbage is collected.
    pub(crate) fn waits(&self) -> bool {
        self.0.on_collection != OnCollection::Fail
    }

    /// Looks whether a garbage collection runs now. What cannot be found out is no reason to stop.
    pub(crate) async fn look(&self) -> bool {
        let mut seen = self.0.seen.lock().await;
        *seen = self.running().await;
        seen.is_some()
    }

    /// The garbage collection that runs now, as far as can be found out.
    async fn running(&self) -> Option<GarbageCollection> {
        let running = self.0.client.active_garbage_collection(self.registry()?).await;
        running.inspect_err(|error| tracing::debug!("cannot see whether garbage is collected: {error}")).ok().flatten()
    }

    /// Comes back when nothing that was seen stands in the way of a push. Asks nothing where nothing was seen.
    ///
    /// `say` is told what is waited for.
    pub(crate) async fn until_it_takes_pushes(
        &self,
        say: impl Fn(String),
        cancel: &CancellationToken,
    ) -> Result<(), Failure> {
        let begin = Instant::now();
        if self.0.seen.try_lock().is_err() {
            say("waiting for the registry's garbage collection".to_owned());
        }
        let mut seen = self.0.seen.lock().await;
        let Some(first) = seen.clone() else { return Ok(()) };
        self.begin_waiting(&first).await?;
        let what = match self.0.on_collection {
            OnCollection::Cancel => "cancelling",
            OnCollection::Wait | OnCollection::Fail => "waiting for",
        };
        while let Some(collection) = &*seen {
            say(format!("{what} the registry's garbage collection: {}", collection.status));
            if begin.elapsed() >= LONGEST_WAIT {
                return Err(self.waited_too_long(collection));
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(Failure::new(FailureKind::Interrupted, "stopped")),
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            }
            *seen = self.running().await;
        }
        Ok(())
    }

    /// Does what the option says about a garbage collection that was met.
    async fn begin_waiting(&self, collection: &GarbageCollection) -> Result<(), Failure> {
        let Some(registry) = self.registry() else { return Ok(()) };
        match self.0.on_collection {
            OnCollection::Wait => Ok(()),
            OnCollection::Fail => {
                let message = format!(
                    "registry `{}` takes no pushes while it collects garbage ({})",
                    registry.name, collection.status
                );
                let failure = Failure::new(FailureKind::Infrastructure, message);
                Err(failure.with_hint("try again later; `--on-gc wait` waits for its end, `--on-gc cancel` ends it"))
            }
            OnCollection::Cancel => {
                self.0.client.cancel_garbage_collection(registry, &collection.uuid).await?;
                Ok(())
            }
        }
    }

    /// The failure of a wait without an end.
    fn waited_too_long(&self, collection: &GarbageCollection) -> Failure {
        let name = self.registry().map_or_else(String::new, |registry| format!(" `{}`", registry.name));
        let minutes = LONGEST_WAIT.as_secs() / 60;
        let message =
            format!("registry{name} still collects garbage after {minutes} min of waiting ({})", collection.status);
        Failure::new(FailureKind::TimedOut, message)
            .with_hint("try again later, or end the collection: `--on-gc cancel`")
    }

    /// What the account knows that can explain a refusal, asked for all at once.
    async fn facts(&self) -> Facts {
        let client = &self.0.client;
        let registries = client.registries().await;
        let Some(registry) = self.registry() else { return Facts { registries, ..Facts::default() } };
        let (plan, repositories, collection) = tokio::join!(
            client.registry_plan(registry),
            client.repositories(registry),
            client.active_garbage_collection(registry)
        );
        Facts { registries, plan: plan.ok(), repositories: repositories.ok(), collection: collection.ok().flatten() }
    }
}

/// A failure with the cause behind a refusal of DigitalOcean's registry in front, and what helps against it; any other
/// failure stays as it is. `failure` is what `error` is to be told as; `account` is asked where there is one.
pub(crate) async fn explain(
    account: Option<&RegistryAccount>,
    repository: &Repository,
    error: &registry::Error,
    failure: Failure,
) -> Failure {
    let Some(refusal) = refusal::of_digitalocean(error) else { return failure };
    let facts = match account {
        Some(account) => Some(account.facts().await),
        None => None,
    };
    refusal::explain(refusal, &repository.path, facts.as_ref(), failure)
}
