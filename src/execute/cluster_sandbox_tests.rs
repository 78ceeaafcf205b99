//! Whole runs against a real Kubernetes, checked by its own audit log.
//!
//! Run inside of the sandbox's environment: `eval "$(sandbox env)"; cargo test --lib cluster_sandbox_tests -- --ignored`.

use super::*;
use crate::desired::{Desired, DesiredObject};
use crate::kubernetes::Access;
use crate::model::{GroupVersionKind, ObjectRef};
use crate::observe::cluster::survey;
use crate::plan::{Observed, known_digests, plan, sample};
use crate::registry;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A variable of the sandbox's environment.
fn variable(name: &str) -> String {
    std::env::var_os(name).and_then(|value| value.into_string().ok()).expect("the sandbox's environment")
}

/// An object of this namespace.
fn object(namespace: &str, mut body: Value) -> DesiredObject {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let gvk = GroupVersionKind::new(&text(&body["apiVersion"]), &text(&body["kind"]));
    let namespace = (gvk.kind != "Namespace").then_some(namespace);
    if let Some(namespace) = namespace {
        body["metadata"]["namespace"] = namespace.into();
    }
    let reference = ObjectRef::new(gvk, namespace, &text(&body["metadata"]["name"]));
    DesiredObject { reference, body, slots: Vec::new(), origin: None, sensitive: false }
}

/// A Deployment whose container does this.
fn workload(namespace: &str, script: &str) -> DesiredObject {
    let container = json!({ "name": "main", "image": "busybox:1.35", "command": ["sh", "-c", script] });
    let labels = json!({ "app": "worker" });
    let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": [container], "terminationGracePeriodSeconds": 0 } });
    let spec = json!({ "replicas": 2, "selector": { "matchLabels": labels }, "template": template });
    object(
        namespace,
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "worker" }, "spec": spec }),
    )
}

/// The set: a namespace, settings, a workload, its autoscaler.
fn set(namespace: &str, script: &str) -> Desired {
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "worker" });
    let scaler = json!({ "scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3 });
    let objects = vec![
        object(namespace, json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } })),
        object(
            namespace,
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" }, "data": { "a": "1" } }),
        ),
        workload(namespace, script),
        object(
            namespace,
            json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "worker" }, "spec": scaler }),
        ),
    ];
    let mut set = sample::desired(objects);
    set.images.clear();
    set.smoke.clear();
    set.expose = None;
    set.rollout.settle = Duration::from_secs(1);
    set.rollout.deadline = Duration::from_mins(2);
    set
}

/// Connects, surveys, plans and runs, as a new process would.
async fn deploy(set: &Desired) -> Outcome {
    crate::http::install_crypto();
    let access = Access::Kubeconfig { path: Some(PathBuf::from(variable("KUBECONFIG"))), context: None };
    let cluster = Cluster::connect(access).await.unwrap();
    let mut observed = Observed::default();
    observed.objects = survey(set, &known_digests(set, &observed), &cluster).await.unwrap();
    let registry = registry::Client::new(registry::Hosts::new(None, Vec::new()), registry::Logins::new(None));
    let images = ImageDoors { registry, builder: crate::docker::Builder::default(), account: None };
    let doors = Doors { images, cluster, http: reqwest::Client::new() };
    let (events, _receiver) = Events::channel();
    run(Arc::new(plan(set, observed)), &doors, &events, CancellationToken::new()).await
}

/// Our requests about a namespace since a moment, as the API server wrote them down: verb, address, with a count.
fn audit(namespace: &str, since: jiff::Timestamp) -> BTreeMap<(String, String), usize> {
    let log = PathBuf::from(variable("SANDBOX_STATE")).join("logs/audit.log");
    let mut found = BTreeMap::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (uri, agent) = (text(&event["requestURI"]), text(&event["userAgent"]));
        let received: jiff::Timestamp = text(&event["requestReceivedTimestamp"]).parse().unwrap();
        let ours = agent.starts_with("seaway") && uri.contains(namespace) && event["stage"] == "ResponseComplete";
        if ours && received >= since {
            let dry = if uri.contains("dryRun=All") { "dry run" } else { "" };
            let verb = if dry.is_empty() { text(&event["verb"]) } else { dry.to_owned() };
            let path = uri.split('?').next().unwrap_or_default().to_owned();
            *found.entry((verb, path)).or_insert(0) += 1;
        }
    }
    found
}

/// Deletes the namespace of a test.
async fn clean(namespace: &str) {
    let access = Access::Kubeconfig { path: Some(PathBuf::from(variable("KUBECONFIG"))), context: None };
    let cluster = Cluster::connect(access).await.unwrap();
    let namespace = ObjectRef::new(GroupVersionKind::new("v1", "Namespace"), None, namespace);
    let listed = cluster.list(&crate::kubernetes::Scope::one(&namespace)).await.unwrap();
    if let Some(live) = listed.find(&namespace.name) {
        let _ = cluster.delete(&namespace, live["metadata"]["uid"].as_str().unwrap()).await.unwrap();
        cluster.until_gone(std::slice::from_ref(&namespace), |_| {}).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn each_object_is_asked_about_once_and_written_at_most_once() {
    let namespace = "seaway-test-audit";
    let set = set(namespace, "sleep 1000");
    clean(namespace).await;
    deploy(&set).await;
    let begin = jiff::Timestamp::now();
    let changed = self::set(namespace, "sleep 1001");
    let outcome = deploy(&changed).await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(outcome.written.iter().map(ToString::to_string).collect::<Vec<_>>(), ["Deployment worker"]);
    let requests = audit(namespace, begin);
    let count =
        |wanted: &str| requests.iter().filter(|((verb, _), _)| verb == wanted).map(|(_, count)| count).sum::<usize>();
    // The namespace was added by Seaway and is there: it is left alone.
    assert_eq!((count("dry run"), count("patch"), count("get")), (3, 1, 0), "{requests:#?}");
    let lists = requests.iter().filter(|((verb, _), _)| verb == "list");
    assert!(lists.clone().all(|(_, count)| *count == 1), "{requests:#?}");

    let begin = jiff::Timestamp::now();
    let outcome = deploy(&changed).await;
    assert!(outcome.failures.is_empty() && outcome.written.is_empty());
    let requests = audit(namespace, begin);
    let writes = ["patch", "create", "update", "delete", "deletecollection"];
    assert!(requests.keys().all(|(verb, _)| !writes.contains(&verb.as_str())), "{requests:#?}");
    clean(namespace).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn a_workload_that_crashes_fails_with_its_last_words() {
    let namespace = "seaway-test-crash";
    clean(namespace).await;
    let outcome = deploy(&set(namespace, "echo cannot reach the database; exit 3")).await;
    let diagnosis = &outcome.failures[0];
    assert_eq!(diagnosis.failure.kind, FailureKind::Application);
    assert!(diagnosis.failure.to_string().contains("exits with 3"), "{}", diagnosis.failure);
    assert_eq!(diagnosis.chain[0], "Deployment worker");
    let said = diagnosis.evidence.iter().flat_map(|(_, lines)| lines).any(|line| line == "cannot reach the database");
    assert!(said, "{:?}", diagnosis.evidence);
    clean(namespace).await;
}
