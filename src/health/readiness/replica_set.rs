//! `ReplicaSets` that are applied by themselves.

use crate::health::Readiness;
use crate::health::fields::{count, number};
use serde_json::Value;

/// As many available pods as wanted, and none too many.
pub(super) fn readiness(object: &Value) -> Readiness {
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let available = count(object, "/status/availableReplicas");
    let state = format!("{available}/{wanted} available");
    if available < wanted || count(object, "/status/replicas") > wanted {
        Readiness::Pending(state)
    } else {
        Readiness::Ready(state)
    }
}
