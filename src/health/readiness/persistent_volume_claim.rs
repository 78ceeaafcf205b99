//! Claims on volumes.

use crate::health::fields::text;
use crate::health::ownership::events_of;
use crate::health::{Readiness, Surroundings};
use serde_json::Value;

/// Bound; or pending where the storage class waits for the first pod, which comes after the claim.
pub(super) fn readiness(object: &Value, around: &Surroundings<'_>) -> Readiness {
    match text(object, "/status/phase") {
        "Bound" => Readiness::Ready("bound".to_owned()),
        "Lost" => Readiness::Pending("its volume is lost".to_owned()),
        _ if events_of(object, around).iter().any(|event| event["reason"] == "WaitForFirstConsumer") => {
            Readiness::Ready("waits for its first pod".to_owned())
        }
        _ => Readiness::Pending("not bound to a volume yet".to_owned()),
    }
}
