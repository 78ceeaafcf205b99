//! Gateway API: gateways that are programmed, routes that every parent has accepted.

use crate::health::Readiness;
use crate::health::fields::{count, list, text};
use serde_json::Value;

/// A gateway is ready when its data plane has its configuration.
pub(super) fn gateway(object: &Value) -> Readiness {
    let conditions = list(object, "/status/conditions");
    for kind in ["Accepted", "Programmed"] {
        if let Some(why) = missing(conditions, kind, count(object, "/metadata/generation")) {
            return Readiness::Pending(why);
        }
    }
    let address = list(object, "/status/addresses").first().map_or("", |address| text(address, "/value"));
    Readiness::Ready(format!("programmed {address}").trim_end().to_owned())
}

/// A route is ready when each parent that it names has accepted it and found what it refers to.
pub(super) fn route(object: &Value) -> Readiness {
    let (parents, wanted) = (list(object, "/status/parents"), list(object, "/spec/parentRefs").len());
    if parents.len() < wanted {
        return Readiness::Pending(format!("{}/{wanted} parents have looked at it", parents.len()));
    }
    let generation = count(object, "/metadata/generation");
    for parent in parents {
        for kind in ["Accepted", "ResolvedRefs"] {
            if let Some(why) = missing(list(parent, "/conditions"), kind, generation) {
                return Readiness::Pending(why);
            }
        }
    }
    Readiness::Ready("accepted".to_owned())
}

/// Why a condition does not hold for this generation; `None` where it does.
fn missing(conditions: &[Value], kind: &str, generation: i64) -> Option<String> {
    let Some(condition) = conditions.iter().find(|condition| condition["type"] == kind) else {
        return Some(format!("not {} yet", kind.to_lowercase()));
    };
    if condition["status"] == "True" && count(condition, "/observedGeneration") >= generation {
        return None;
    }
    Some(format!("not {} yet: {}", kind.to_lowercase(), text(condition, "/reason")))
}
