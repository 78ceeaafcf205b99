//! Custom resource definitions: their names are served.

use crate::health::Readiness;
use crate::health::fields::condition_is;
use serde_json::Value;

/// `Established`. Discovery may lag behind it; whoever applies a custom resource retries for that.
pub(super) fn readiness(object: &Value) -> Readiness {
    if condition_is(object, "Established", "True") {
        Readiness::Ready("established".to_owned())
    } else {
        Readiness::Pending("not established yet".to_owned())
    }
}
