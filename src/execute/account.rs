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
    /// The pause between two looks at it.
    pace: Duration,
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
        Self(Arc::new(Inner { client, registry, on_collection, pace: BETWEEN_LOOKS, seen: Mutex::new(running) }))
    }

    /// The same account, looked at without pauses.
    #[cfg(test)]
    fn without_pauses(self) -> Self {
        let inner = Arc::into_inner(self.0).expect("an account that nobody else has");
        Self(Arc::new(Inner { pace: Duration::ZERO, ..inner }))
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
        let say = |collection: &GarbageCollection| {
            say(format!("{what} the registry's garbage collection: {}", collection.status));
        };
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Failure::new(FailureKind::Interrupted, "stopped")),
            ended = until_ended(&mut seen, self.0.pace, say, || self.running()) => ended,
        };
        ended.map_err(|collection| self.waited_too_long(&collection))
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
        Facts {
            registries,
            plan: plan.ok(),
            repositories: repositories.ok(),
            collection: collection.ok().flatten(),
            has_pushed: false,
        }
    }
}

/// Looks again and again, until no garbage collection runs any more; the one that still runs after the longest wait. `say`
/// is told of each that was seen, which is the last in `seen`.
async fn until_ended<F: Future<Output = Option<GarbageCollection>>>(
    seen: &mut Option<GarbageCollection>,
    pace: Duration,
    say: impl Fn(&GarbageCollection),
    look: impl Fn() -> F,
) -> Result<(), GarbageCollection> {
    let begin = Instant::now();
    while let Some(collection) = seen {
        say(collection);
        if begin.elapsed() >= LONGEST_WAIT {
            return Err(collection.clone());
        }
        tokio::time::sleep(pace).await;
        *seen = look().await;
    }
    Ok(())
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

/// The same where the same login has just pushed to the repository: it may.
pub(crate) async fn explain_after_push(
    account: Option<&RegistryAccount>,
    repository: &Repository,
    error: &registry::Error,
    failure: Failure,
) -> Failure {
    let (Some(refusal), Some(account)) = (refusal::of_digitalocean(error), account) else {
        return explain(account, repository, error, failure).await;
    };
    let facts = Facts { has_pushed: true, ..account.facts().await };
    refusal::explain(refusal, &repository.path, Some(&facts), failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{DesiredImage, ImageSource, Supply};
    use crate::docker::Builder;
    use crate::error::render;
    use crate::execute::errand::bring;
    use crate::execute::{EventKind, Events, ImageDoors};
    use crate::http;
    use crate::model::{Digest, Redactor, Reference, Secret};
    use crate::plan::{Operation, OperationKind};
    use crate::registry::tests::{client, fake::Fake};
    use serde_json::json;
    use std::cell::Cell;
    use wiremock::matchers::{method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    /// A garbage collection in this state.
    fn collection(status: &str) -> serde_json::Value {
        json!({ "uuid": "c-1", "status": status })
    }

    #[tokio::test(start_paused = true)]
    async fn a_collection_that_does_not_end_is_waited_for_for_half_an_hour() {
        let stuck: GarbageCollection = serde_json::from_value(collection("waiting for write JWTs to expire")).unwrap();
        let (begin, looks, told) = (Instant::now(), Cell::new(0_u32), Cell::new(0_u32));
        let look = || {
            looks.set(looks.get() + 1);
            let found = stuck.clone();
            async { Some(found) }
        };
        let tell = |_: &GarbageCollection| told.set(told.get() + 1);
        let ended = until_ended(&mut Some(stuck.clone()), BETWEEN_LOOKS, tell, look).await;
        assert_eq!(ended.as_ref().unwrap_err(), &stuck);
        assert_eq!((begin.elapsed(), looks.get(), told.get()), (Duration::from_mins(30), 600, 601));

        let account = account("http://127.0.0.1:1", OnCollection::Wait);
        let failure = account.waited_too_long(&stuck);
        assert_eq!(failure.kind.exit_code(), 4);
        insta::assert_snapshot!(render(&failure), @r"
        error: registry `shop` still collects garbage after 30 min of waiting (waiting for write JWTs to expire)
          help: try again later, or end the collection: `--on-gc cancel`
        ");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_is_waited_for_until_then() {
        let running: GarbageCollection = serde_json::from_value(collection("scanning manifests")).unwrap();
        let (begin, left) = (Instant::now(), Cell::new(200_u32));
        let look = || {
            left.set(left.get() - 1);
            let found = (left.get() > 0).then(|| running.clone());
            async { found }
        };
        until_ended(&mut Some(running.clone()), BETWEEN_LOOKS, |_| (), look).await.unwrap();
        assert_eq!(begin.elapsed(), Duration::from_mins(10));
    }

    /// The account of a registry `shop` behind this API, in which nothing has been seen.
    fn account(api: &str, on_collection: OnCollection) -> RegistryAccount {
        let http = http::client(&http::Recipe::default()).unwrap();
        let client = Client::new(http, api, Some(Secret::new("dop_v1_x")), Redactor::default()).unwrap();
        let registry = serde_json::from_value(json!({ "name": "shop", "region": "nyc3" })).unwrap();
        RegistryAccount::new(client, Some(registry), on_collection, None).without_pauses()
    }

    /// An API that shows a garbage collection in these states, one a question, and none afterwards.
    async fn api(states: &[&str]) -> MockServer {
        let server = MockServer::start().await;
        for status in states {
            let body = json!({ "garbage_collection": collection(status) });
            Mock::given(method("GET"))
                .and(path("/v2/registries/shop/garbage-collection"))
                .respond_with(ResponseTemplate::new(200).set_body_json(body))
                .up_to_n_times(1)
                .mount(&server)
                .await;
        }
        let none = ResponseTemplate::new(404).set_body_json(json!({ "id": "not_found", "message": "none" }));
        Mock::given(method("GET")).respond_with(none).mount(&server).await;
        let cancelling = json!({ "garbage_collection": collection("cancelling") });
        let cancelled = ResponseTemplate::new(200).set_body_json(cancelling);
        Mock::given(method("PUT")).respond_with(cancelled).mount(&server).await;
        server
    }

    /// Mirrors an image into a registry that refuses its manifest once, as a garbage collection that begins in the middle of
    /// the push would; what came of it, what was said, and what the API was asked for.
    async fn meet(on_collection: OnCollection, states: &[&str]) -> (Option<String>, Vec<String>, Vec<String>) {
        let (source, target, api) = (Fake::start().await, Fake::start().await, api(states).await);
        let digest = source.seed("library/redis", "7", b"redis");
        let image = DesiredImage {
            key: "cache".to_owned(),
            source: ImageSource::Mirror(Reference::parse(&format!("{}/library/redis:7", source.host)).unwrap()),
            repository: target.repository("shop/cache"),
            tag: "1a2b3c4d5e6f".to_owned(),
            pin: true,
            supply: Supply::default(),
        };
        target.faults(|faults| faults.put_statuses = [403].into());
        let account = Some(account(&api.uri(), on_collection));
        let doors = ImageDoors { registry: client(), builder: Builder::default(), account };
        let kind = OperationKind::Mirror { image, digest: digest.clone(), content_key: "ck-1".to_owned() };
        let operation = Operation { id: 0, kind, needs: Vec::new(), reason: String::new() };
        let (events, mut received) = Events::channel();
        let brought = bring(&doors, &operation, &events, &CancellationToken::new()).await;
        drop(events);
        let mut said = Vec::new();
        while let Some(event) = received.recv().await {
            if let EventKind::Progress { message, .. } = event.kind {
                said.push(message);
            }
        }
        let repository = target.repository("shop/cache");
        let tagged: Option<Digest> = client().head_manifest(&repository, "1a2b3c4d5e6f").await.unwrap();
        assert_eq!(tagged, brought.is_ok().then_some(digest));
        let asked = api.received_requests().await.unwrap();
        let asked = asked.iter().map(|request| format!("{} {}", request.method, request.url.path())).collect();
        (brought.err().map(|diagnosis| render(&diagnosis.failure)), said, asked)
    }

    #[tokio::test]
    async fn a_collection_that_begins_in_the_middle_of_a_push_is_waited_for() {
        let states = ["requested", "scanning manifests", "deleting unreferenced blobs"];
        let (failure, said, asked) = meet(OnCollection::Wait, &states).await;
        assert_eq!(failure, None);
        assert_eq!(said, states.map(|status| format!("waiting for the registry's garbage collection: {status}")));
        assert_eq!(asked, ["GET /v2/registries/shop/garbage-collection"; 4]);
    }

    #[tokio::test]
    async fn or_cancelled() {
        let (failure, said, asked) = meet(OnCollection::Cancel, &["scanning manifests", "cancelling"]).await;
        assert_eq!(failure, None);
        let wanted = ["scanning manifests", "cancelling"]
            .map(|status| format!("cancelling the registry's garbage collection: {status}"));
        assert_eq!(said, wanted);
        assert_eq!(asked[1], "PUT /v2/registries/shop/garbage-collection/c-1");
    }

    #[tokio::test]
    async fn or_ends_the_push() {
        let (failure, said, asked) = meet(OnCollection::Fail, &["scanning manifests"]).await;
        assert!(failure.is_some_and(|text| text.contains("403")));
        assert!(said.is_empty() && asked.is_empty(), "{said:?} {asked:?}");
    }

    #[tokio::test]
    async fn without_a_collection_a_refusal_is_told_at_once() {
        let (failure, said, asked) = meet(OnCollection::Wait, &[]).await;
        assert!(failure.is_some_and(|text| text.contains("403")));
        assert_eq!((said.len(), asked.len()), (0, 1));
    }
}
