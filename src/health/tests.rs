//! Verdicts on objects in the states that the API server gives them.

use super::*;
use crate::error::FailureKind;
use jiff::ToSpan as _;
use proptest::prelude::*;
use serde_json::json;

/// When every run of these tests began.
fn start() -> Timestamp {
    "2026-01-01T10:00:00Z".parse().unwrap()
}

/// A judgement this many seconds after the start.
fn after(seconds: i64) -> Judging {
    Judging { applied_generation: Some(2), started: start(), now: start() + seconds.seconds(), others_progress: false }
}

/// A Deployment of three replicas whose status has these counters.
fn deployment(updated: i64, ready: i64, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "backend", "namespace": "n", "uid": "d", "generation": 2,
            "annotations": { "deployment.kubernetes.io/revision": "2" },
        },
        "spec": { "replicas": 3, "strategy": { "rollingUpdate": { "maxUnavailable": "25%" } } },
        "status": {
            "observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated,
            "readyReplicas": ready, "availableReplicas": ready,
        },
    })
}

/// The `ReplicaSet` of a revision.
fn replica_set(uid: &str, revision: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("backend-{uid}"), "uid": uid, "labels": { "pod-template-hash": uid },
            "ownerReferences": [{ "uid": "d" }],
            "annotations": { "deployment.kubernetes.io/revision": revision },
        },
    })
}

/// A pod of a `ReplicaSet` with this container status.
fn pod(owner: &str, status: &Value) -> Value {
    let mut container = json!({ "name": "api", "image": "shop/backend:2", "ready": false, "restartCount": 0 });
    container.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("backend-{owner}-x"), "namespace": "n", "uid": format!("pod-{owner}"),
            "ownerReferences": [{ "uid": owner }],
        },
        "spec": {
            "restartPolicy": "Always",
            "containers": [{ "name": "api", "resources": { "limits": { "memory": "32Mi" } } }],
        },
        "status": { "phase": "Pending", "containerStatuses": [container] },
    })
}

/// A container that waits for this reason.
fn waiting(reason: &str, message: &str) -> Value {
    json!({ "state": { "waiting": { "reason": reason, "message": message } } })
}

/// A container that has crashed so often, last with this reason and code.
fn crashed(restarts: i64, reason: &str, code: i64) -> Value {
    json!({
        "restartCount": restarts,
        "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        "lastState": { "terminated": { "reason": reason, "exitCode": code } },
    })
}

/// An event about an object.
fn event(uid: &str, reason: &str, message: &str, times: i64) -> Value {
    json!({
        "reason": reason, "message": message, "count": times, "lastTimestamp": "2026-01-01T10:00:01Z",
        "involvedObject": { "uid": uid },
    })
}

/// The cause, when a half-rolled Deployment with this pod is looked at twice with these seconds between.
fn verdict(status: &Value, events: &[Value], seconds: i64) -> Option<Cause> {
    let sets = [replica_set("new", "2"), replica_set("old", "1")];
    let pods = [pod("new", status)];
    let around = Surroundings { replica_sets: &sets, pods: &pods, events };
    let (object, mut memory) = (deployment(1, 2, 3), Memory::default());
    assess(&object, &around, &after(1), &mut memory);
    match assess(&object, &around, &after(1 + seconds), &mut memory) {
        Readiness::Failed(cause) => Some(*cause),
        _ => None,
    }
}

#[test]
fn a_deployment_is_ready_when_only_new_pods_are_left() {
    let sets = [replica_set("7f9c", "2")];
    let around = Surroundings { replica_sets: &sets, ..Surroundings::default() };
    for (updated, ready, replicas, wanted) in [
        (3, 3, 3, "Ready(\"3/3 ready  revision 7f9c\")"),
        (2, 3, 4, "Pending(\"2/3 updated\")"),
        (3, 3, 4, "Pending(\"3 of 4 pods ready, 1 old to go\")"),
        (3, 2, 3, "Pending(\"2/3 ready\")"),
    ] {
        let readiness = assess(&deployment(updated, ready, replicas), &around, &after(1), &mut Memory::default());
        assert_eq!(format!("{readiness:?}"), wanted);
    }
}

#[test]
fn what_cannot_heal_is_a_verdict_at_the_second_look() {
    let not_found = "Failed to pull image \"shop/backend:2\": rpc error: code = NotFound desc = not found";
    let no_file = "exec: \"/app/server\": stat /app/server: no such file or directory: unknown";
    for (status, events, wanted) in [
        (
            waiting("ImagePullBackOff", "Back-off pulling image"),
            vec![event("pod-new", "Failed", not_found, 1)],
            "backend cannot start: there is no image `shop/backend:2`",
        ),
        (waiting("RunContainerError", no_file), vec![], "backend cannot start: the image has no file `/app/server`"),
        (
            waiting("InvalidImageName", "couldn't parse image name"),
            vec![],
            "backend cannot start: `shop/backend:2` is not an image name",
        ),
        (crashed(3, "Error", 1), vec![], "backend keeps crashing: its process exits with 1"),
        (
            crashed(2, "OOMKilled", 137),
            vec![],
            "backend keeps running out of memory: it needs more than its limit of 32Mi",
        ),
    ] {
        assert_eq!(verdict(&status, &events, 1), None, "one look is not enough: {wanted}");
        let cause = verdict(&status, &events, 3).expect(wanted);
        assert_eq!((cause.summary.as_str(), cause.kind), (wanted, FailureKind::Application));
        assert_eq!(cause.chain[..3], ["Deployment backend", "ReplicaSet backend-new", "Pod backend-new-x"]);
        assert!(cause.hint.is_some() || wanted.contains("crashing"));
    }
}

#[test]
fn what_may_heal_gets_its_time() {
    let denied = "failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized";
    let missing = "couldn't find key url in Secret n/database";
    for (status, seconds) in [
        (waiting("ErrImagePull", denied), 10),
        (waiting("CreateContainerConfigError", missing), 10),
        (waiting("CreateContainerConfigError", "failed to sync secret cache: timed out"), 60),
        (waiting("ErrImagePull", "429 Too Many Requests"), 120),
    ] {
        assert_eq!(verdict(&status, &[], seconds - 1), None);
        assert!(verdict(&status, &[], seconds).is_some(), "{status}");
    }
}

#[test]
fn a_refusal_to_hand_out_an_image_counts_when_the_kubelet_has_tried_again() {
    let denied = "Failed to pull image \"shop/backend:2\": unexpected status: 401 Unauthorized";
    let sets = [replica_set("new", "2")];
    let pods = [pod("new", &waiting("ImagePullBackOff", "Back-off pulling image"))];
    let (object, mut memory) = (deployment(1, 2, 3), Memory::default());
    let mut fails = |tried: i64, seconds: i64| {
        let mut events = [event("pod-new", "Failed", denied, 1)];
        events[0]["lastTimestamp"] = json!((start() + tried.seconds()).to_string());
        let around = Surroundings { replica_sets: &sets, pods: &pods, events: &events };
        matches!(assess(&object, &around, &after(seconds), &mut memory), Readiness::Failed(_))
    };
    assert!(!fails(-20, 1), "it may be of before the pull Secret was applied");
    assert!(!fails(-20, 60), "the kubelet pauses");
    assert!(fails(61, 62), "it has tried again");
}

#[test]
fn two_crashes_are_no_verdict() {
    assert_eq!(verdict(&crashed(1, "Error", 1), &[], 300), None);
}

#[test]
fn crashes_wait_for_others_that_are_on_their_way() {
    let sets = [replica_set("new", "2")];
    let pods = [pod("new", &crashed(3, "Error", 1))];
    let around = Surroundings { replica_sets: &sets, pods: &pods, ..Surroundings::default() };
    let (object, mut memory) = (deployment(1, 2, 3), Memory::default());
    let look = |seconds: i64, memory: &mut Memory| {
        let judging = Judging { others_progress: true, ..after(seconds) };
        matches!(assess(&object, &around, &judging, memory), Readiness::Failed(_))
    };
    assert!(!look(0, &mut memory) && !look(60, &mut memory));
    assert!(look(120, &mut memory));
}

#[test]
fn a_pod_of_the_old_revision_fails_nothing() {
    let sets = [replica_set("new", "2"), replica_set("old", "1")];
    let pods = [pod("old", &crashed(9, "Error", 1))];
    let around = Surroundings { replica_sets: &sets, pods: &pods, ..Surroundings::default() };
    let (object, mut memory) = (deployment(1, 2, 3), Memory::default());
    for seconds in [0, 300] {
        let readiness = assess(&object, &around, &after(seconds), &mut memory);
        assert!(matches!(readiness, Readiness::Pending(_)), "{readiness:?}");
    }
}

#[test]
fn a_load_balancer_that_is_being_made_is_no_failure() {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "front", "uid": "s" },
        "spec": { "type": "LoadBalancer" }, "status": { "loadBalancer": { "ingress": [] } },
    });
    let look = |message: &str, times: i64| {
        let events = [event("s", "SyncLoadBalancerFailed", message, times)];
        let around = Surroundings { events: &events, ..Surroundings::default() };
        assess(&service, &around, &after(60), &mut Memory::default())
    };
    let new = look("Error syncing load balancer: load-balancer is currently being created", 9);
    assert!(matches!(new, Readiness::Pending(_)), "{new:?}");
    let broken = look("Error syncing load balancer: invalid LB size unit", 3);
    assert!(matches!(broken, Readiness::Failed(_)), "{broken:?}");
    let around = Surroundings::default();
    assert_eq!(overdue(&service, &around, &after(600), "10m").kind, FailureKind::TimedOut);
}

#[test]
fn a_job_is_ready_when_it_is_complete() {
    let job = |conditions: Value| {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "migrate", "uid": "j" },
            "status": { "active": 1, "conditions": conditions },
        })
    };
    let look = |object: &Value| assess(object, &Surroundings::default(), &after(1), &mut Memory::default());
    assert!(matches!(look(&job(json!([]))), Readiness::Pending(_)));
    let complete = job(json!([{ "type": "Complete", "status": "True" }]));
    assert!(matches!(look(&complete), Readiness::Ready(_)));
    let failed =
        job(json!([{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "limit" }]));
    assert!(matches!(look(&failed), Readiness::Failed(_)));
}

#[test]
fn an_overdue_deployment_names_its_probe() {
    let sets = [replica_set("new", "2")];
    let running = json!({ "state": { "running": {} } });
    let pods = [pod("new", &running)];
    let events = [event("pod-new", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 9)];
    let around = Surroundings { replica_sets: &sets, pods: &pods, events: &events };
    let cause = overdue(&deployment(1, 2, 3), &around, &after(600), "the deadline of 10m");
    let wanted = "backend never gets ready: readiness probe failed: HTTP probe failed with statuscode: 503";
    assert_eq!(cause.summary, wanted);
    assert_eq!(cause.log.map(|log| (log.container, log.previous)), Some(("api".to_owned(), false)));
}

proptest! {
    /// Whatever its counters say, a status from before the change proves nothing.
    #[test]
    fn a_stale_status_is_never_ready(updated in 0i64..9, ready in 0i64..9, replicas in 0i64..9, observed in 0i64..2) {
        let mut object = deployment(updated, ready, replicas);
        object["status"]["observedGeneration"] = json!(observed);
        let readiness = assess(&object, &Surroundings::default(), &after(1), &mut Memory::default());
        prop_assert!(matches!(readiness, Readiness::Pending(_)));
    }

    /// A Deployment is ready exactly when all wanted replicas are new, ready and alone.
    #[test]
    fn ready_means_all_new_and_none_old(updated in 0i64..6, ready in 0i64..6, replicas in 0i64..6) {
        let readiness = assess(&deployment(updated, ready, replicas), &Surroundings::default(), &after(1), &mut Memory::default());
        let wanted = updated >= 3 && ready >= 3 && replicas <= updated && ready >= updated.min(3);
        prop_assert_eq!(matches!(readiness, Readiness::Ready(_)), wanted);
    }
}

/// The objects of a namespace of a real cluster (Kubernetes 1.34, containerd 1.6), 75 seconds after they were made.
fn recorded() -> Vec<Value> {
    serde_json::from_str(include_str!("testdata/cluster.json")).unwrap()
}

/// What is said of a recorded object, after the longest time that a signal has to heal.
fn judge(objects: &[Value], kind: &str, name: &str) -> Readiness {
    let of = |kind: &str| -> Vec<Value> { objects.iter().filter(|object| object["kind"] == kind).cloned().collect() };
    let (replica_sets, pods, events) = (of("ReplicaSet"), of("Pod"), of("Event"));
    let around = Surroundings { replica_sets: &replica_sets, pods: &pods, events: &events };
    let object = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap();
    let started = fields::time(object, "/metadata/creationTimestamp").unwrap();
    let judging = |seconds: i64| Judging {
        applied_generation: Some(1),
        started,
        now: started + seconds.seconds(),
        others_progress: false,
    };
    let mut memory = Memory::default();
    assess(object, &around, &judging(75), &mut memory);
    assess(object, &around, &judging(75 + 330), &mut memory)
}

#[test]
fn recorded_failures_are_named() {
    let objects = recorded();
    let told: Vec<String> = [
        ("Deployment", "ok"),
        ("Deployment", "bad-command"),
        ("Deployment", "pull-denied"),
        ("Deployment", "bad-name"),
        ("Deployment", "missing-key"),
        ("Deployment", "liveness"),
        ("Deployment", "unschedulable"),
        ("Deployment", "no-account"),
        ("Deployment", "no-volume"),
        ("Deployment", "never-ready"),
        ("Job", "failing"),
        ("PersistentVolumeClaim", "no-class"),
        ("PersistentVolumeClaim", "bound"),
    ]
    .into_iter()
    .map(|(kind, name)| match judge(&objects, kind, name) {
        Readiness::Failed(cause) => {
            let chain = cause.chain.join(" › ");
            format!(
                "{}\n  {chain}\n  {}\n  help: {}",
                cause.summary,
                cause.details.join("\n  "),
                cause.hint.unwrap_or_default()
            )
        }
        other => format!("{name}: {other:?}"),
    })
    .collect();
    insta::assert_snapshot!(told.join("\n\n"));
}
