//! Services: a load balancer has an address. kstatus does not wait for it.

use crate::health::fields::{list, text};
use crate::health::{Readiness, Surroundings};
use serde_json::Value;

/// Of type `LoadBalancer`: an address or a host name in its status. `ingress: []` is none, though helpers of other
/// libraries take it for one.
pub(super) fn readiness(object: &Value, _around: &Surroundings<'_>) -> Readiness {
    if text(object, "/spec/type") != "LoadBalancer" {
        return Readiness::Ready("exists".to_owned());
    }
    let ingress = list(object, "/status/loadBalancer/ingress");
    let address = ingress.iter().find_map(|entry| {
        [text(entry, "/ip"), text(entry, "/hostname")].into_iter().find(|address| !address.is_empty())
    });
    match address {
        Some(address) => Readiness::Ready(format!("load balancer active at {address}")),
        None => Readiness::Pending("load balancer is being created".to_owned()),
    }
}
