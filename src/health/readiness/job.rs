//! Jobs: they are ready when they are complete. kstatus takes a running Job for a ready one.

use crate::health::Readiness;
use crate::health::fields::{condition_is, count, flag, number};
use serde_json::Value;

/// `SuccessCriteriaMet` comes before the last pods have ended
/// (<https://github.com/kubernetes/enhancements/tree/master/keps/sig-apps/3998-job-success-completion-policy>).
pub(super) fn readiness(object: &Value) -> Readiness {
    let done = count(object, "/status/succeeded");
    if condition_is(object, "Complete", "True") || condition_is(object, "SuccessCriteriaMet", "True") {
        return Readiness::Ready("complete".to_owned());
    }
    if flag(object, "/spec/suspend") {
        return Readiness::Suspended("suspended".to_owned());
    }
    let wanted = number(object, "/spec/completions").unwrap_or(1);
    Readiness::Pending(format!("{done}/{wanted} complete, {} running", count(object, "/status/active")))
}
