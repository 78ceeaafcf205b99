//! Pods that are applied by themselves. kstatus takes a failed pod for a ready one.

use crate::health::Readiness;
use crate::health::fields::{condition_is, text};
use serde_json::Value;

/// A pod that has succeeded, or that is ready.
pub(super) fn readiness(object: &Value) -> Readiness {
    match text(object, "/status/phase") {
        "Succeeded" => Readiness::Ready("succeeded".to_owned()),
        "Running" if condition_is(object, "Ready", "True") => Readiness::Ready("ready".to_owned()),
        "" => Readiness::Pending("not scheduled".to_owned()),
        phase => Readiness::Pending(phase.to_lowercase()),
    }
}
