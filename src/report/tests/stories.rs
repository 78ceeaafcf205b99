//! Runs as sequences of events.

use crate::config::{Build, Expose, Rollout};
use crate::desired::{DesiredImage, DesiredObject, ImageSlot, ImageSource, Origin, SlotImage};
use crate::error::{Failure, FailureKind};
use crate::execute::event::{BlobProgress, BlobState, Header};
use crate::execute::{Diagnosis, Event, EventKind, ImageResult, OperationOutcome, Outcome, SmokeResult, Transfer};
use crate::model::{Digest, GroupVersionKind, ObjectRef, Repository};
use crate::plan::{Change, FieldChange, Operation, OperationKind, Plan, Target};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A secret that the stories leak.
pub(in crate::report) const SECRET: &str = "hunter2|<secret>@x";

/// A run.
pub(in crate::report) struct Story(pub(in crate::report) Vec<Event>);

/// How many events of [`done`] happen before the backend is built.
pub(in crate::report) const IN_THE_BUILD: usize = 13;

/// How many events of [`done`] happen before all layers of the backend are sent.
pub(in crate::report) const IN_THE_PUSH: usize = 19;

/// How many events of [`done`] happen before the rollout is over.
pub(in crate::report) const IN_THE_ROLLOUT: usize = 31;

impl Story {
    /// Something happens at this millisecond.
    fn at(mut self, millis: u64, kind: EventKind) -> Self {
        self.0.push(Event { at: Duration::from_millis(millis), kind });
        self
    }

    /// An operation begins.
    fn starts(self, millis: u64, operation: usize) -> Self {
        self.at(millis, EventKind::OperationStarted { operation })
    }

    /// An operation goes on.
    fn goes_on(self, millis: u64, operation: usize, message: &str) -> Self {
        self.at(millis, EventKind::Progress { operation, message: message.to_owned() })
    }

    /// An operation ends well.
    fn ends(self, millis: u64, operation: usize, took: u64, detail: &str) -> Self {
        let outcome = OperationOutcome::Done { detail: detail.to_owned() };
        self.at(millis, EventKind::OperationFinished { operation, outcome, took: Duration::from_millis(took) })
    }

    /// An operation is skipped.
    fn skips(self, millis: u64, operation: usize, because: &str) -> Self {
        let outcome = OperationOutcome::Skipped { because: because.to_owned() };
        self.at(millis, EventKind::OperationFinished { operation, outcome, took: Duration::ZERO })
    }

    /// A layer of the first image is further.
    fn blob(self, millis: u64, number: usize, state: BlobState, done: u64, total: u64) -> Self {
        let digest = (state != BlobState::Making).then(|| Digest::of(&number.to_be_bytes()));
        let total = (state != BlobState::Making).then_some(total);
        let progress = BlobProgress { number, digest, done, total, state };
        self.at(millis, EventKind::Blob { operation: 0, progress })
    }

    /// An image lies in the registry.
    fn image(self, millis: u64, operation: usize, key: &str, detail: &str, sent: u64) -> Self {
        let (key, detail) = (key.to_owned(), detail.to_owned());
        let result = ImageResult {
            digest: Digest::of(key.as_bytes()),
            key,
            detail,
            bytes_sent: sent,
            attestations: Vec::new(),
            transfer: if sent > 0 { transfer(sent) } else { Transfer::default() },
            origin: None,
        };
        self.at(millis, EventKind::ImageReady { operation, result })
    }

    /// A request is answered.
    fn smoke(self, millis: u64, request: &str, status: u16, took: u64, detail: &str, failure: Option<&str>) -> Self {
        let (method, path) = request.split_once(' ').unwrap();
        let result = SmokeResult {
            method: method.to_owned(),
            path: path.to_owned(),
            status: Some(status),
            took: Duration::from_millis(took),
            detail: detail.to_owned(),
            failure: failure.map(str::to_owned),
        };
        self.at(millis, EventKind::SmokeAnswered { result })
    }
}

/// Where the stories play.
fn header() -> Header {
    Header {
        application: "todo".to_owned(),
        namespace: "todo-app-prod".to_owned(),
        cluster: "todo-prod (nyc1)".to_owned(),
        cluster_because: "deploy.yml".to_owned(),
        commit: Some("1a2b3c4".to_owned()),
        pull_request: Some(42),
    }
}

/// An object of the application.
fn object(api_version: &str, kind: &str, name: &str) -> ObjectRef {
    ObjectRef::new(GroupVersionKind::new(api_version, kind), Some("todo-app-prod"), name)
}

/// An operation that applies an object.
fn apply(reference: ObjectRef, change: Change, image: Option<&str>) -> OperationKind {
    let slot = |key: &str| ImageSlot {
        pointer: "/spec/template/spec/containers/0/image".to_owned(),
        image: SlotImage::Ours(key.to_owned()),
    };
    let origin = Some(Origin { file: format!("k8s/{}.yaml", reference.name).into(), line: 1 });
    let object = DesiredObject {
        body: json!({"spec": {"replicas": 3}}),
        slots: image.map(slot).into_iter().collect(),
        reference,
        origin,
        sensitive: false,
    };
    OperationKind::Apply { object: Box::new(object), change }
}

/// An image of the application.
fn image(key: &str) -> DesiredImage {
    let repository = Repository { registry: "registry.digitalocean.com".to_owned(), path: format!("shop/{key}") };
    DesiredImage {
        key: key.to_owned(),
        source: ImageSource::Build(Build::of("backend".into())),
        repository,
        tag: "1a2b3c4d5e6f".to_owned(),
        pin: true,
        supply: crate::desired::Supply::default(),
    }
}

/// A field that changes.
fn field(path: &str, before: Option<&str>, after: &str) -> FieldChange {
    FieldChange { path: path.to_owned(), before: before.map(str::to_owned), after: Some(after.to_owned()) }
}

/// The plan of all stories; what changes in the objects differs.
fn plan(backend: Change, config: Change, images: [OperationKind; 3]) -> Arc<Plan> {
    let deployment = |name| object("apps/v1", "Deployment", name);
    let wait = |object: ObjectRef, changed| OperationKind::WaitReady { object, changed };
    let changed = backend != Change::Unchanged;
    let expose = Expose {
        kind: "Service".to_owned(),
        namespace: "todo-app-prod".to_owned(),
        name: "public".to_owned(),
        host: None,
    };
    let [first, second, third] = images;
    let kinds = vec![
        first,
        second,
        third,
        apply(object("v1", "ConfigMap", "features-4b7d"), config, None),
        apply(deployment("backend"), backend, Some("backend")),
        apply(deployment("frontend"), Change::Unchanged, Some("frontend")),
        apply(deployment("event-service"), Change::Unchanged, Some("event-service")),
        apply(object("v1", "Service", "public"), Change::Unchanged, None),
        wait(deployment("backend"), changed),
        wait(deployment("frontend"), false),
        wait(deployment("event-service"), false),
        OperationKind::Settle { rollout: Rollout::default() },
        OperationKind::Expose { expose },
        OperationKind::Smoke { steps: Vec::new(), host: None },
    ];
    let operation = |(id, kind)| Operation { id, kind, needs: Vec::new(), reason: "inputs changed".to_owned() };
    let operations = kinds.into_iter().enumerate().map(operation).collect();
    let target = Target { application: "todo".to_owned(), namespace: "todo-app-prod".to_owned() };
    let digests = ["frontend", "event-service"].map(|key| (key.to_owned(), Digest::of(key.as_bytes()))).into();
    Arc::new(Plan { target, operations, digests, foreign: BTreeMap::new(), rollout: Rollout::default() })
}

/// The operation that reuses an image.
fn reuse(key: &str) -> OperationKind {
    OperationKind::Reuse { image: image(key), digest: Digest::of(key.as_bytes()) }
}

/// The plan of a run in which the backend changes.
fn changing() -> Arc<Plan> {
    let fields = vec![
        field("spec.template.spec.containers[api].image", Some("shop/backend@sha256:5d6e"), "built in this deploy"),
        field("spec.template.spec.containers[api].env[LOG_LEVEL].value", Some("info"), "debug"),
        field("metadata.annotations.note", None, SECRET),
    ];
    let build = OperationKind::Build { image: image("backend"), content_key: "ck-1".to_owned() };
    let images = [build, reuse("frontend"), reuse("event-service")];
    plan(Change::Configure { fields, rolls: true }, Change::Create, images)
}

/// What the way of an image took.
fn transfer(sent: u64) -> Transfer {
    let phase = |name, millis| (name, Duration::from_millis(millis));
    let phases = vec![phase("prepare", 41), phase("layers", 1_300), phase("manifest", 38)];
    Transfer { compressed: sent, reused: 31_000_000, mounted: 0, uploaded: sent, requests: 14, phases }
}

/// The beginning of every story: the run is told of, and planned.
fn begins(plan: &Arc<Plan>) -> Story {
    Story(Vec::new())
        .at(1, EventKind::Started(Box::new(header())))
        .at(2, EventKind::Preparing { what: "reading the cluster".to_owned() })
        .at(340, EventKind::Planned(Arc::clone(plan)))
}

/// The images of a run in which the backend is built.
fn builds(plan: &Arc<Plan>) -> Story {
    begins(plan)
        .starts(350, 0)
        .starts(350, 1)
        .starts(350, 2)
        .goes_on(1_200, 0, "step 3/7 RUN pip install")
        .at(1_300, EventKind::BuildLog { operation: 0, line: format!("Collecting flask \u{1b}[1m{SECRET}\r") })
        .at(1_300, EventKind::BuildLog { operation: 0, line: "::set-output name=x::y ##[error]no".to_owned() })
        .image(1_400, 1, "frontend", "inputs unchanged", 0)
        .ends(1_400, 1, 1_050, "reused")
        .image(1_410, 2, "event-service", "inputs unchanged", 0)
        .ends(1_410, 2, 1_060, "reused")
        .goes_on(11_000, 0, "pushing")
        .blob(11_000, 0, BlobState::Existed, 31_000_000, 31_000_000)
        .blob(11_000, 1, BlobState::Sending, 0, 20_000_000)
        .blob(11_000, 2, BlobState::Making, 900_000, 0)
        .blob(11_300, 1, BlobState::Sending, 3_000_000, 20_000_000)
        .blob(12_000, 1, BlobState::Sending, 10_000_000, 20_000_000)
        .blob(12_300, 1, BlobState::Storing, 20_000_000, 20_000_000)
        .blob(12_500, 1, BlobState::Sent, 20_000_000, 20_000_000)
        .image(12_750, 0, "backend", "3 of 7 layers new", 4_123_000)
        .ends(12_750, 0, 12_400, "built")
}

/// The objects of a run in which the backend changes.
fn applies(plan: &Arc<Plan>) -> Story {
    builds(plan).starts(12_760, 3).ends(12_800, 3, 40, "created").starts(12_800, 4).ends(12_900, 4, 100, "configured")
}

/// A deploy that is done.
pub(in crate::report) fn done() -> Story {
    applies(&changing())
        .starts(12_900, 8)
        .goes_on(13_000, 8, "0/3 ready")
        .goes_on(20_000, 8, "1/3 ready")
        .starts(20_100, 9)
        .ends(20_200, 9, 100, "3/3 ready")
        .starts(20_200, 10)
        .ends(20_300, 10, 100, "2/2 ready")
        .ends(31_300, 8, 18_400, "3/3 ready  revision 7f9c  2 endpoints")
        .starts(31_300, 11)
        .ends(34_300, 11, 3_000, "stayed ready for 3 s")
        .starts(34_300, 12)
        .goes_on(34_400, 12, "load balancer todo-lb is new")
        .at(
            35_000,
            EventKind::Address {
                url: "http://203.0.113.10".to_owned(),
                source: "load balancer todo-lb, active".to_owned(),
            },
        )
        .ends(35_000, 12, 700, "http://203.0.113.10")
        .starts(35_000, 13)
        .smoke(35_100, "GET /", 200, 41, "", None)
        .smoke(35_200, "POST /api/tasks", 201, 18, "", None)
        .smoke(35_300, "GET /api/tasks/9f2", 200, 9, "$.title = \"smoke 42-1\"", None)
        .ends(35_300, 13, 300, "3 of 3")
        .at(35_400, EventKind::Warning { message: format!("the quota is nearly used up ({SECRET})") })
        .at(35_900, EventKind::Finished(Box::new(outcome(Vec::new(), true))))
}

/// A deploy in which nothing changes.
pub(in crate::report) fn unchanged() -> Story {
    let plan =
        plan(Change::Unchanged, Change::Unchanged, [reuse("backend"), reuse("frontend"), reuse("event-service")]);
    let mut story = begins(&plan);
    for (operation, key) in ["backend", "frontend", "event-service"].into_iter().enumerate() {
        story = story.starts(350, operation).image(360, operation, key, "inputs unchanged", 0);
        story = story.ends(360, operation, 10, "reused");
    }
    for operation in 8..11 {
        story = story.starts(400, operation).ends(420, operation, 20, "3/3 ready");
    }
    let address = EventKind::Address { url: "http://203.0.113.10".to_owned(), source: "load balancer".to_owned() };
    let outcome = Outcome { took: Duration::from_millis(1_900), written: Vec::new(), ..outcome(Vec::new(), true) };
    story.at(500, address).smoke(600, "GET /", 200, 41, "", None).at(1_900, EventKind::Finished(Box::new(outcome)))
}

/// A deploy whose backend cannot start.
pub(in crate::report) fn failed() -> Story {
    let failure = Failure {
        kind: FailureKind::Application,
        messages: vec!["backend cannot start: the image has no file `/app/server`".to_owned()],
        hint: Some("the image's own command is `/app/serve`;\nremove `command` or correct it".to_owned()),
    };
    let chain = ["Deployment backend", "ReplicaSet backend-7f9c", "Pod backend-7f9c-x2v4q (×3)", "container api"];
    let log = vec!["::error::injected".to_owned(), format!("a | <b> @all {SECRET} ##[error]x ```")];
    let evidence = vec![
        (
            "RunContainerError, 4 s after it was scheduled".to_owned(),
            vec!["exec: \"/app/server\": stat /app/server: no such file or directory".to_owned()],
        ),
        ("last lines of container api".to_owned(), log),
    ];
    let diagnosis = Diagnosis { failure, chain: chain.map(str::to_owned).to_vec(), evidence };
    let failed = OperationOutcome::Failed(Box::new(diagnosis.clone()));
    let took = Duration::from_millis(9_100);
    applies(&changing())
        .starts(12_900, 8)
        .goes_on(13_000, 8, "0/3 ready")
        .at(22_000, EventKind::OperationFinished { operation: 8, outcome: failed, took })
        .skips(22_000, 11, "Deployment backend is not ready")
        .skips(22_000, 12, "Deployment backend is not ready")
        .skips(22_000, 13, "there is no address")
        .at(22_100, EventKind::Finished(Box::new(outcome(vec![diagnosis], false))))
}

/// A deploy that somebody stops in the rollout.
pub(in crate::report) fn cancelled() -> Story {
    let outcome = Outcome { cancelled: true, took: Duration::from_millis(15_800), ..outcome(Vec::new(), false) };
    applies(&changing())
        .starts(12_900, 8)
        .goes_on(13_000, 8, "0/3 ready")
        .at(15_000, EventKind::Stopping)
        .skips(15_600, 8, "stopped")
        .at(15_800, EventKind::Finished(Box::new(outcome)))
}

/// A deploy that does not reach the cluster.
pub(in crate::report) fn unreachable() -> Story {
    let mut failure = Failure::new(FailureKind::Infrastructure, "cannot reach the cluster `todo-prod`");
    failure.messages.push("Connection refused (os error 111)".to_owned());
    let failure = failure.with_hint("is the cluster running? `doctl kubernetes cluster get todo-prod` shows its state");
    let outcome = Outcome { failures: vec![failure.into()], took: Duration::from_millis(900), ..Outcome::default() };
    Story(Vec::new())
        .at(1, EventKind::Started(Box::new(header())))
        .at(2, EventKind::Preparing { what: "reading the cluster".to_owned() })
        .at(900, EventKind::Finished(Box::new(outcome)))
}

/// A push that somebody asks to stop, and whose registry has gone.
pub(in crate::report) fn pushed_nowhere() -> Story {
    let failure = Failure::new(FailureKind::Infrastructure, "cannot reach registry `ghcr.io`");
    let outcome = Outcome { failures: vec![failure.into()], took: Duration::from_millis(900), ..Outcome::default() };
    let header = Header { cluster: String::new(), cluster_because: String::new(), ..header() };
    Story(Vec::new())
        .at(1, EventKind::Started(Box::new(header)))
        .at(2, EventKind::Preparing { what: "opening the registry".to_owned() })
        .at(800, EventKind::Stopping)
        .at(900, EventKind::Finished(Box::new(outcome)))
}

/// How a story ends.
fn outcome(failures: Vec<Diagnosis>, url: bool) -> Outcome {
    let digests = ["backend", "frontend", "event-service"];
    Outcome {
        took: Duration::from_millis(if failures.is_empty() { 35_900 } else { 22_100 }),
        failures,
        cancelled: false,
        stopped_by: None,
        written: vec![object("v1", "ConfigMap", "features-4b7d"), object("apps/v1", "Deployment", "backend")],
        url: url.then(|| "http://203.0.113.10".to_owned()),
        digests: digests.map(|key| (key.to_owned(), Digest::of(key.as_bytes()))).into(),
    }
}
