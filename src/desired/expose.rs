//! Whose address is the application's: the object that deploy.yml names, or the only one that can have an address.

use super::{DesiredError, DesiredObject};
use crate::config::{Config, Expose};

/// Chooses among the objects of the set, the likeliest kind first. A set without candidates is fine without smoke steps.
pub(super) fn choose(config: &Config, objects: &[DesiredObject]) -> Result<Option<Expose>, DesiredError> {
    if let Some(expose) = &config.expose {
        return Ok(Some(expose.clone()));
    }
    for kind in ["Service", "Gateway", "Ingress"] {
        let candidates: Vec<&DesiredObject> = objects.iter().filter(|object| has_address(object, kind)).collect();
        match candidates.as_slice() {
            [] => {}
            [only] => return Ok(Some(of(only))),
            several => {
                let candidates = several.iter().map(|object| object.reference.to_string()).collect();
                return Err(DesiredError::Ambiguous { candidates });
            }
        }
    }
    if config.smoke.is_empty() { Ok(None) } else { Err(DesiredError::Nowhere) }
}

/// Whether an object of this kind gets an address from outside of the cluster.
fn has_address(object: &DesiredObject, kind: &str) -> bool {
    object.reference.kind() == kind && (kind != "Service" || object.body["spec"]["type"] == "LoadBalancer")
}

/// An object as the exposed one.
fn of(object: &DesiredObject) -> Expose {
    let reference = &object.reference;
    let namespace = reference.namespace.clone().unwrap_or_default();
    Expose { kind: reference.gvk.kind.clone(), namespace, name: reference.name.clone(), host: None }
}
