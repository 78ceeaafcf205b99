//! Which pods and events belong to an object, and which of the pods are of its newest revision.
//!
//! Pods are found through the chain of owner references, never by selector: a selector also matches the pods of the
//! revision before, and a crash of theirs must not fail the deploy that mends it.

use super::Surroundings;
use super::fields::{count, event_time, list, text};
use serde_json::Value;

/// The revision that a Deployment's controller numbers its `ReplicaSets` with.
/// Source: <https://github.com/kubernetes/kubernetes/blob/v1.34.4/pkg/controller/deployment/util/deployment_util.go>, `RevisionAnnotation`.
const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";

/// Whether an object is owned by the one with this uid.
pub(super) fn owned_by(object: &Value, uid: &str) -> bool {
    !uid.is_empty() && list(object, "/metadata/ownerReferences").iter().any(|owner| owner["uid"] == uid)
}

/// The `ReplicaSet` that a Deployment is rolling out: the one with the Deployment's own revision.
pub(super) fn newest_replica_set<'a>(deployment: &Value, around: &Surroundings<'a>) -> Option<&'a Value> {
    let uid = text(deployment, "/metadata/uid");
    let revision = text(deployment, REVISION);
    let owned = around.replica_sets.iter().filter(|set| owned_by(set, uid));
    owned.into_iter().find(|set| !revision.is_empty() && text(set, REVISION) == revision)
}

/// The pods of an object's newest revision that are there to stay: neither leaving nor put out by the cluster itself.
pub(super) fn current_pods<'a>(object: &Value, around: &Surroundings<'a>) -> Vec<&'a Value> {
    let pods = around.pods.iter();
    let belongs: Box<dyn Fn(&Value) -> bool> = match text(object, "/kind") {
        "Deployment" => match newest_replica_set(object, around) {
            Some(set) => {
                let uid = text(set, "/metadata/uid").to_owned();
                Box::new(move |pod| owned_by(pod, &uid))
            }
            None => return Vec::new(),
        },
        "StatefulSet" => {
            let uid = text(object, "/metadata/uid").to_owned();
            let revision = text(object, "/status/updateRevision").to_owned();
            Box::new(move |pod| {
                owned_by(pod, &uid) && text(pod, "/metadata/labels/controller-revision-hash") == revision
            })
        }
        "DaemonSet" => {
            let uid = text(object, "/metadata/uid").to_owned();
            let generation = count(object, "/metadata/generation").to_string();
            Box::new(move |pod| {
                // A DaemonSet stamps its pods with the generation of the template that they were made from.
                owned_by(pod, &uid) && text(pod, "/metadata/labels/pod-template-generation") == generation
            })
        }
        "Pod" => {
            let uid = text(object, "/metadata/uid").to_owned();
            Box::new(move |pod| text(pod, "/metadata/uid") == uid)
        }
        _ => {
            let uid = text(object, "/metadata/uid").to_owned();
            Box::new(move |pod| owned_by(pod, &uid))
        }
    };
    pods.filter(|pod| belongs(pod) && !is_leaving(pod)).collect()
}

/// Whether a pod is on its way out, or was put out for reasons that are not its own.
fn is_leaving(pod: &Value) -> bool {
    let disrupted = super::fields::condition_is(pod, "DisruptionTarget", "True");
    let evicted = matches!(text(pod, "/status/reason"), "Evicted" | "Preempting" | "NodeLost" | "NodeShutdown");
    disrupted || evicted || pod.pointer("/metadata/deletionTimestamp").is_some()
}

/// The events about an object, oldest first.
pub(super) fn events_of<'a>(object: &Value, around: &Surroundings<'a>) -> Vec<&'a Value> {
    let uid = text(object, "/metadata/uid");
    let mut events: Vec<&Value> =
        around.events.iter().filter(|event| !uid.is_empty() && text(event, "/involvedObject/uid") == uid).collect();
    events.sort_by_key(|event| event_time(event));
    events
}
