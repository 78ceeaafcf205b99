//! `StatefulSets`: every pod above the partition is of the newest revision and ready.

use crate::health::Readiness;
use crate::health::fields::{count, number, text};
use serde_json::Value;

/// `currentRevision` is not asked: it can stay behind for ever (<https://github.com/kubernetes/kubernetes/issues/106055>).
pub(super) fn readiness(object: &Value) -> Readiness {
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let ready = count(object, "/status/readyReplicas");
    let updated = count(object, "/status/updatedReplicas");
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Readiness::Ready(format!(
            "{ready}/{wanted} ready, applied but not rolled: its update strategy is OnDelete"
        ));
    }
    let partition = count(object, "/spec/updateStrategy/rollingUpdate/partition");
    let to_update = (wanted - partition).max(0);
    if updated < to_update {
        return Readiness::Pending(format!("{updated}/{to_update} updated"));
    }
    if ready < wanted {
        return Readiness::Pending(format!("{ready}/{wanted} ready"));
    }
    if count(object, "/status/replicas") > wanted {
        return Readiness::Pending(format!("{} pods to go", count(object, "/status/replicas") - wanted));
    }
    Readiness::Ready(format!("{ready}/{wanted} ready"))
}
