//! Whole runs against an API server in process.

use super::*;
use crate::desired::Desired;
use crate::kubernetes::fake::FakeServer;
use crate::observe::cluster::survey;
use crate::plan::{Observed, known_digests, plan, sample};
use crate::registry;
use serde_json::{Value, json};
use std::sync::Once;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/todo/deployments";
const SERVICES: &str = "/api/v1/namespaces/todo/services";
const CONFIG_MAPS: &str = "/api/v1/namespaces/todo/configmaps";

/// A set without images and smoke steps.
fn desired(objects: Vec<crate::desired::DesiredObject>) -> Desired {
    let mut desired = sample::desired(objects);
    desired.images.clear();
    desired.smoke.clear();
    desired.expose = None;
    desired.rollout.settle = Duration::from_millis(50);
    desired
}

/// A server with the namespace.
fn server() -> FakeServer {
    static CRYPTO: Once = Once::new();
    CRYPTO.call_once(crate::http::install_crypto);
    let server = FakeServer::start();
    server.put("/api/v1/namespaces", json!({ "metadata": { "name": "todo" } }));
    server
}

/// Doors of which only the cluster's is used.
fn doors(cluster: Cluster) -> Doors {
    let registry = registry::Client::new(registry::Hosts::new(None, Vec::new()), registry::Logins::new(None));
    let images = ImageDoors { registry, builder: crate::docker::Builder::default(), account: None };
    Doors { images, cluster, http: reqwest::Client::new() }
}

/// Surveys, plans and runs.
async fn deploy(
    server: &FakeServer,
    desired: &Desired,
    cancel: CancellationToken,
) -> (Outcome, UnboundedReceiver<Event>) {
    let cluster = server.cluster().await;
    server.forget();
    let mut observed = Observed::default();
    let digests = known_digests(desired, &observed);
    observed.objects = survey(desired, &digests, &cluster).await.unwrap();
    let plan = Arc::new(plan(desired, observed));
    let (events, receiver) = Events::channel();
    let doors = doors(cluster);
    (run(plan, &doors, &events, cancel).await, receiver)
}

/// Plays the Deployment controller: whatever is applied becomes ready.
async fn play_controller(server: FakeServer, name: &str) {
    let ready = |object: &Value| object["status"]["readyReplicas"].is_number();
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let Some(mut object) = server.get(DEPLOYMENTS, name).filter(|object| !ready(object)) else { continue };
        let replicas = object["spec"]["replicas"].clone();
        let condition = |kind: &str, reason: &str| json!({ "type": kind, "status": "True", "reason": reason });
        object["status"] = json!({
            "observedGeneration": object["metadata"]["generation"], "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": replicas, "availableReplicas": replicas,
            "conditions": [condition("Progressing", "NewReplicaSetAvailable"), condition("Available", "MinimumReplicasAvailable")],
        });
        server.put(DEPLOYMENTS, object);
    }
}

/// How often a line of the log begins like this.
fn count(server: &FakeServer, start: &str) -> usize {
    server.log().iter().filter(|line| line.starts_with(start)).count()
}

#[tokio::test]
async fn a_deploy_writes_each_object_once_and_the_next_one_nothing() {
    let server = server();
    let controller = tokio::spawn(play_controller(server.clone(), "api"));
    let set = desired(vec![
        sample::object("v1", "ConfigMap", "settings", json!({ "data": { "a": "1" } })),
        sample::deployment("api", &[]),
    ]);
    let (outcome, _) = deploy(&server, &set, CancellationToken::new()).await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(
        outcome.written.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["ConfigMap settings", "Deployment api"]
    );
    let patches =
        |dry: bool| server.log().iter().filter(|l| l.starts_with("PATCH") && l.contains("dryRun") == dry).count();
    assert_eq!((patches(true), patches(false)), (2, 2));
    // Nothing that is watched is listed or read again.
    let lists = |path: &str| count(&server, &format!("GET {path}?&limit"));
    assert_eq!(
        (lists(DEPLOYMENTS), lists(CONFIG_MAPS), lists("/api/v1/namespaces/todo/pods")),
        (1, 1, 1),
        "{:#?}",
        server.log()
    );
    controller.abort();

    let (outcome, _) = deploy(&server, &set, CancellationToken::new()).await;
    assert!(outcome.failures.is_empty() && outcome.written.is_empty());
    assert_eq!((patches(true), patches(false)), (2, 0));
}

#[tokio::test]
async fn a_workload_that_is_not_ready_in_time_fails_with_its_state() {
    let server = server();
    let mut set = desired(vec![sample::deployment("api", &[])]);
    set.rollout.deadline = Duration::from_millis(200);
    let (outcome, _) = deploy(&server, &set, CancellationToken::new()).await;
    let failure = &outcome.failures[0].failure;
    assert_eq!(failure.kind, FailureKind::Application);
    assert!(failure.to_string().contains("not ready within the deadline of 0s"), "{failure}");
    assert_eq!(outcome.written.len(), 1);
}

#[tokio::test]
async fn a_cancelled_run_names_what_was_written() {
    let server = server();
    let set = desired(vec![sample::deployment("api", &[])]);
    let cancel = CancellationToken::new();
    let stopper = (server.clone(), cancel.clone());
    tokio::spawn(async move {
        while stopper.0.get(DEPLOYMENTS, "api").is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stopper.1.cancel();
    });
    let (outcome, _) = deploy(&server, &set, cancel).await;
    assert!(outcome.cancelled && outcome.failures.is_empty());
    assert_eq!(outcome.written.len(), 1);
}

#[tokio::test]
async fn the_address_comes_from_the_watch() {
    let server = server();
    let mut set = desired(vec![sample::object("v1", "Service", "web", json!({ "spec": { "type": "LoadBalancer" } }))]);
    set.expose = sample::desired(Vec::new()).expose;
    let balancer = server.clone();
    tokio::spawn(async move {
        balancer.watching(SERVICES).await;
        loop {
            if let Some(mut service) = balancer.get(SERVICES, "web") {
                service["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "203.0.113.10" }] } });
                return balancer.put(SERVICES, service);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (outcome, mut events) = deploy(&server, &set, CancellationToken::new()).await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(outcome.url.as_deref(), Some("http://203.0.113.10"));
    let mut told = false;
    while let Ok(event) = events.try_recv() {
        told |= matches!(event.kind, EventKind::Address { .. });
    }
    assert!(told);
}

#[tokio::test]
async fn what_is_refused_on_the_way_is_wrong_configuration() {
    let server = server();
    let set = desired(vec![sample::object("v1", "ConfigMap", "settings", json!({}))]);
    let cluster = server.cluster().await;
    let observed = sample::absent(&set);
    server.refuse("settings", 422, json!({ "kind": "Status", "code": 422, "message": "data: too long" }));
    let doors = doors(cluster);
    let (events, _receiver) = Events::channel();
    let outcome = run(Arc::new(plan(&set, observed)), &doors, &events, CancellationToken::new()).await;
    assert_eq!(outcome.failures[0].failure.messages, ["the API server refuses ConfigMap settings", "data: too long"]);
    assert_eq!(outcome.failures[0].failure.kind, FailureKind::Configuration);
}
