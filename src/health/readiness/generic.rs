//! Kinds that we have no rule for: what most controllers agree on.

use crate::health::Readiness;
use crate::health::fields::{condition, condition_is, one_line, text};
use serde_json::Value;

/// A `Ready` condition decides, or a `Stalled` or `Reconciling` one. Nothing is ever *failed* from a guess.
pub(super) fn readiness(object: &Value) -> Readiness {
    if condition_is(object, "Reconciling", "True") {
        return Readiness::Pending("reconciling".to_owned());
    }
    for kind in ["Ready", "Available", "Healthy"] {
        if let Some(found) = condition(object, kind) {
            return match found["status"].as_str() {
                Some("True") => Readiness::Ready(kind.to_lowercase()),
                _ => Readiness::Pending(format!("not {}: {}", kind.to_lowercase(), one_line(text(found, "/message")))),
            };
        }
    }
    Readiness::Ready("exists".to_owned())
}
