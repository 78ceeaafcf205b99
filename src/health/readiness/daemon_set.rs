//! `DaemonSets`: every node that should run a pod runs a new and available one.

use crate::health::Readiness;
use crate::health::fields::{count, text};
use serde_json::Value;

/// kstatus waits for ever on `OnDelete`; nothing is rolled there, so nothing is waited for.
pub(super) fn readiness(object: &Value) -> Readiness {
    let wanted = count(object, "/status/desiredNumberScheduled");
    let ready = count(object, "/status/numberReady");
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Readiness::Ready(format!(
            "{ready}/{wanted} ready, applied but not rolled: its update strategy is OnDelete"
        ));
    }
    let updated = count(object, "/status/updatedNumberScheduled");
    if updated < wanted {
        return Readiness::Pending(format!("{updated}/{wanted} updated"));
    }
    if count(object, "/status/numberAvailable") < wanted {
        return Readiness::Pending(format!("{ready}/{wanted} ready"));
    }
    Readiness::Ready(format!("{ready}/{wanted} ready"))
}
