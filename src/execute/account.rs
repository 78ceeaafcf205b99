//! DigitalOcean's side of its registry: who can say why the registry refuses, and whether it takes pushes now.

use super::refusal::{self, Facts};
use crate::digitalocean::{Client, Error as ApiError, GarbageCollection, Registry};
use crate::error::{Failure, FailureKind};
use crate::model::Repository;
use crate::registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// What was seen of garbage collections. Whoever waits for the end of one holds the lock.
    seen: Mutex<Seen>,
    /// How many were seen to have ended.
    ended: AtomicU64,
}

/// What was seen of garbage collections.
#[derive(Debug)]
struct Seen {
    /// The one that ran when somebody looked last.
    running: Option<GarbageCollection>,
    /// For how long this run waits still, over all of them.
    left: Duration,
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
        let (seen, ended) = (Mutex::new(Seen { running, left: LONGEST_WAIT }), AtomicU64::new(0));
        Self(Arc::new(Inner { client, registry, on_collection, pace: BETWEEN_LOOKS, seen, ended }))
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
        let Ok(now) = self.running().await else { return false };
        self.note(&mut seen, now);
        seen.running.is_some()
    }

    /// How many garbage collections this run has seen end.
    pub(crate) fn ended(&self) -> u64 {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// The garbage collection that runs now; an error where that cannot be found out.
    async fn running(&self) -> Result<Option<GarbageCollection>, ApiError> {
        let Some(registry) = self.registry() else { return Ok(None) };
        let running = self.0.client.active_garbage_collection(registry).await;
        running.inspect_err(|error| tracing::debug!("cannot see whether garbage is collected: {error}"))
    }

    /// Notes which garbage collection runs now.
    fn note(&self, seen: &mut Seen, now: Option<GarbageCollection>) {
        let before = std::mem::replace(&mut seen.running, now);
        if before.is_some_and(|before| !is_same(seen.running.as_ref(), &before)) {
            self.0.ended.fetch_add(1, Ordering::Relaxed);
        }
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
        let waiting = async {
            let mut seen = self.0.seen.lock().await;
            while let Some(met) = seen.running.clone() {
                self.begin_waiting(&met).await?;
                self.until_ended(&mut seen, &met, &say).await?;
            }
            Ok(())
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Failure::new(FailureKind::Interrupted, "stopped")),
            waited = waiting => waited,
        }
    }

    /// Looks again and again, until this garbage collection does not run any more. `say` is told of its states.
    async fn until_ended(&self, seen: &mut Seen, met: &GarbageCollection, say: impl Fn(String)) -> Result<(), Failure> {
        let what = match self.0.on_collection {
            OnCollection::Cancel => "cancelling",
            OnCollection::Wait | OnCollection::Fail => "waiting for",
        };
        while let Some(collection) = seen.running.clone().filter(|now| is_same(Some(now), met)) {
            say(format!("{what} the registry's garbage collection: {}", collection.status));
            if seen.left.is_zero() {
                return Err(self.waited_too_long(&collection));
            }
            let begin = Instant::now();
            tokio::time::sleep(self.0.pace).await;
            let now = self.running().await.unwrap_or(Some(collection)); // who cannot be asked has not said that it ended
            seen.left = seen.left.saturating_sub(begin.elapsed());
            self.note(seen, now);
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
        Facts {
            registries,
            plan: plan.ok(),
            repositories: repositories.ok(),
            collection: collection.ok().flatten(),
            has_pushed: false,
        }
    }
}

/// Whether it is this garbage collection that runs.
fn is_same(running: Option<&GarbageCollection>, other: &GarbageCollection) -> bool {
    running.is_some_and(|running| running.uuid == other.uuid)
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

/// The failure of a question that is `asked` of a repository, and what its registry said: with the cause, as far as the
/// account knows it.
pub(crate) async fn unanswered(
    asked: String,
    account: Option<&RegistryAccount>,
    repository: &Repository,
    error: &registry::Error,
) -> Failure {
    let mut failure = Failure::of(error);
    failure.messages.insert(0, asked);
    explain(account, repository, error, failure).await
}

/// As [`explain`], where the same login has just pushed to the repository: it may.
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
    fn collection(uuid: &str, status: &str) -> serde_json::Value {
        json!({ "uuid": uuid, "status": status })
    }

    #[tokio::test]
    async fn a_collection_that_does_not_end_is_waited_for_for_half_an_hour_and_only_once() {
        let stuck = "waiting for write JWTs to expire";
        let server = api(&[("c-1", stuck); 9]).await;
        let account = account(&server.uri(), OnCollection::Wait);
        assert!(account.look().await);
        let told = Cell::new(0);
        account.0.seen.lock().await.left = Duration::from_nanos(1);
        for _ in 0..2 {
            let waited = account.until_it_takes_pushes(|_| told.set(told.get() + 1), &CancellationToken::new()).await;
            let failure = waited.unwrap_err();
            assert_eq!(failure.kind.exit_code(), 4);
            insta::allow_duplicates! {
                insta::assert_snapshot!(render(&failure), @r"
                error: registry `shop` still collects garbage after 30 min of waiting (waiting for write JWTs to expire)
                  help: try again later, or end the collection: `--on-gc cancel`
                ");
            }
        }
        assert_eq!(told.get(), 3, "the second image learns it at once");
        let asked = server.received_requests().await.unwrap().len();
        assert_eq!(asked, 2);
    }

    #[tokio::test]
    async fn an_api_that_does_not_answer_does_not_say_that_a_collection_has_ended() {
        let server = api(&[("c-1", "scanning manifests"), ("c-1", "403"), ("c-1", "scanning manifests")]).await;
        let account = account(&server.uri(), OnCollection::Wait);
        assert!(account.look().await);
        account.until_it_takes_pushes(|_| (), &CancellationToken::new()).await.unwrap();
        assert_eq!((account.ended(), server.received_requests().await.unwrap().len()), (1, 4));
    }

    /// The account of a registry `shop` behind this API, in which nothing has been seen.
    fn account(api: &str, on_collection: OnCollection) -> RegistryAccount {
        let http = http::client(&http::Recipe::default()).unwrap();
        let client = Client::new(http, api, Some(Secret::new("dop_v1_x")), Redactor::default()).unwrap();
        let registry = serde_json::from_value(json!({ "name": "shop", "region": "nyc3" })).unwrap();
        RegistryAccount::new(client, Some(registry), on_collection, None).without_pauses()
    }

    /// An API that shows garbage collections in these states, one a question, and none afterwards; a state without a text is
    /// none as well, and a number a refusal.
    async fn api(states: &[(&str, &str)]) -> MockServer {
        let server = MockServer::start().await;
        let none = || ResponseTemplate::new(404).set_body_json(json!({ "id": "not_found", "message": "none" }));
        for (uuid, status) in states {
            let shown = json!({ "garbage_collection": collection(uuid, status) });
            let shown = match (*status, status.parse::<u16>()) {
                ("", _) => none(),
                (_, Ok(code)) => ResponseTemplate::new(code),
                _ => ResponseTemplate::new(200).set_body_json(shown),
            };
            let asked = Mock::given(method("GET")).and(path("/v2/registries/shop/garbage-collection"));
            asked.respond_with(shown).up_to_n_times(1).mount(&server).await;
        }
        Mock::given(method("GET")).respond_with(none()).mount(&server).await;
        let cancelling = json!({ "garbage_collection": collection("c-1", "cancelling") });
        let cancelled = ResponseTemplate::new(200).set_body_json(cancelling);
        Mock::given(method("PUT")).respond_with(cancelled).mount(&server).await;
        server
    }

    /// An errand that mirrors an image from one registry into a repository of another, and the digest of that image.
    fn mirror(source: &Fake, target: &Fake, path: &str) -> (Operation, Digest) {
        let digest = source.seed("library/redis", "7", b"redis");
        let image = DesiredImage {
            key: "cache".to_owned(),
            source: ImageSource::Mirror(Reference::parse(&format!("{}/library/redis:7", source.host)).unwrap()),
            repository: target.repository(path),
            tag: "1a2b3c4d5e6f".to_owned(),
            pin: true,
            supply: Supply::default(),
        };
        let kind = OperationKind::Mirror { image, digest: digest.clone(), content_key: "ck-1".to_owned() };
        (Operation { id: 0, kind, needs: Vec::new(), reason: String::new() }, digest)
    }

    /// Mirrors an image into a registry that refuses its manifest so often, as a garbage collection that begins in the middle of
    /// the push would; what came of it, what was said, and what the API was asked for.
    async fn meet(
        on_collection: OnCollection,
        refusals: usize,
        states: &[(&str, &str)],
    ) -> (Option<String>, Vec<String>, Vec<String>) {
        let (source, target, api) = (Fake::start().await, Fake::start().await, api(states).await);
        let (operation, digest) = mirror(&source, &target, "shop/cache");
        target.faults(|faults| faults.manifest_statuses = vec![403; 2 * refusals].into()); // two tags a try
        let account = Some(account(&api.uri(), on_collection));
        let doors = ImageDoors { registry: client(), builder: Builder::default(), account };
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
        let (failure, said, asked) = meet(OnCollection::Wait, 1, &states.map(|status| ("c-1", status))).await;
        assert_eq!(failure, None);
        assert_eq!(said, states.map(|status| format!("waiting for the registry's garbage collection: {status}")));
        assert_eq!(asked, ["GET /v2/registries/shop/garbage-collection"; 4]);
    }

    #[tokio::test]
    async fn and_so_is_the_one_that_begins_in_the_second_try() {
        let states = [("c-1", "requested"), ("", ""), ("c-2", "requested"), ("c-2", "scanning manifests")];
        let (failure, said, asked) = meet(OnCollection::Wait, 2, &states).await;
        assert_eq!(failure, None);
        let wanted = ["requested", "requested", "scanning manifests"];
        assert_eq!(said, wanted.map(|status| format!("waiting for the registry's garbage collection: {status}")));
        assert_eq!(asked.len(), 5);
    }

    #[tokio::test]
    async fn of_two_images_that_meet_it_neither_gives_up() {
        let states = [("c-1", "requested"), ("c-1", "scanning manifests")];
        let (source, target, api) = (Fake::start().await, Fake::start().await, api(&states).await);
        target.faults(|faults| faults.manifest_statuses = [403; 4].into());
        let account = Some(account(&api.uri(), OnCollection::Wait));
        let (events, _received) = Events::channel();
        let cancel = CancellationToken::new();
        let bring = async |path: &str| {
            let doors = ImageDoors { registry: client(), builder: Builder::default(), account: account.clone() };
            let (operation, _) = mirror(&source, &target, path);
            bring(&doors, &operation, &events, &cancel).await.map_err(|diagnosis| render(&diagnosis.failure))
        };
        let (one, other) = tokio::join!(bring("shop/one"), bring("shop/other"));
        assert_eq!((one.err(), other.err()), (None, None), "the second looks when the first has waited already");
    }

    #[tokio::test]
    async fn or_cancelled() {
        let states = [("c-1", "scanning manifests"), ("c-1", "cancelling"), ("c-2", "requested")];
        let (failure, said, asked) = meet(OnCollection::Cancel, 1, &states).await;
        assert_eq!(failure, None);
        let wanted = states.map(|(_, status)| format!("cancelling the registry's garbage collection: {status}"));
        assert_eq!(said, wanted);
        let cancelled: Vec<_> = asked.iter().filter(|asked| asked.starts_with("PUT")).collect();
        let wanted = ["c-1", "c-2"].map(|uuid| format!("PUT /v2/registries/shop/garbage-collection/{uuid}"));
        assert_eq!(cancelled, wanted.each_ref(), "each one once");
    }

    #[tokio::test]
    async fn or_ends_the_push() {
        let (failure, said, asked) = meet(OnCollection::Fail, 1, &[("c-1", "scanning manifests")]).await;
        assert!(failure.is_some_and(|text| text.contains("403")));
        assert!(said.is_empty() && asked.is_empty(), "{said:?} {asked:?}");
    }

    #[tokio::test]
    async fn without_a_collection_a_refusal_is_told_at_once() {
        let (failure, said, asked) = meet(OnCollection::Wait, 1, &[]).await;
        assert!(failure.is_some_and(|text| text.contains("403")));
        assert_eq!((said.len(), asked.len()), (0, 1));
    }
}
