//! Deployments: every replica is of the newest revision, available, and no old one is left.

use crate::health::fields::{condition_is, count, flag, number, text};
use crate::health::ownership::newest_replica_set;
use crate::health::{Readiness, Surroundings};
use serde_json::Value;

/// The counters decide, not the conditions: those are known to be stale
/// (<https://github.com/kubernetes/kubernetes/issues/124264>).
pub(super) fn readiness(object: &Value, around: &Surroundings<'_>) -> Readiness {
    if flag(object, "/spec/paused") {
        return Readiness::Suspended("paused: its changes are not rolled out".to_owned());
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let status = |field: &str| count(object, &format!("/status/{field}"));
    let (replicas, updated) = (status("replicas"), status("updatedReplicas"));
    let (available, ready) = (status("availableReplicas"), status("readyReplicas"));
    if updated < wanted {
        return Readiness::Pending(format!("{updated}/{wanted} updated"));
    }
    if replicas > updated {
        return Readiness::Pending(format!("{ready} of {replicas} pods ready, {} old to go", replicas - updated));
    }
    if ready < wanted {
        return Readiness::Pending(format!("{ready}/{wanted} ready"));
    }
    if available < updated.min(wanted) || condition_is(object, "Available", "False") {
        return Readiness::Pending(format!("{available}/{wanted} available"));
    }
    let revision = newest_replica_set(object, around).map(|set| text(set, "/metadata/labels/pod-template-hash"));
    let revision =
        revision.filter(|hash| !hash.is_empty()).map(|hash| format!("  revision {hash}")).unwrap_or_default();
    Readiness::Ready(format!("{ready}/{wanted} ready{revision}"))
}
