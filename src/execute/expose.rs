//! Learns the address of the application from a watch.

use super::event::Diagnosis;
use super::progress::{Address, Progress};
use super::scheduler::Ended;
use super::wait::{Looks, Talk, in_words};
use super::{look, progress};
use crate::config::Expose;
use crate::error::{Failure, FailureKind};
use crate::model::{GroupVersionKind, ObjectRef};
use crate::plan::OperationId;
use serde_json::Value;
use std::net::IpAddr;
use tokio::time::{Instant, sleep_until};

/// The annotation by which a Service names its load balancer at DigitalOcean.
/// <https://docs.digitalocean.com/products/kubernetes/how-to/configure-load-balancers/#name>
const BALANCER_NAME: &str = "service.beta.kubernetes.io/do-loadbalancer-name";

/// What the object says about the address by now.
enum Found {
    /// It is there.
    Address(Address),
    /// Not yet, and why.
    NotYet(String),
    /// It will never be.
    Never(Failure),
}

/// Waits until the exposed object has an address.
pub(super) async fn expose(run: &Progress, id: OperationId, expose: &Expose) -> Ended {
    let object = match reference(run, expose) {
        Ok(object) => object,
        Err(failure) => return Ended::Failed(Box::new(failure.into())),
    };
    let limit = run.plan.rollout.deadline;
    let deadline = Instant::now() + limit;
    let (mut looks, mut talk) = (Looks::begin(run), Talk::default());
    loop {
        let state = match find(run, &object, expose.host.as_deref()) {
            Found::Address(address) => {
                let detail = format!("{}  {}", address.url, address.source);
                run.found(address);
                return Ended::Done(detail);
            }
            Found::Never(failure) => return Ended::Failed(Box::new(failure.into())),
            Found::NotYet(state) => state,
        };
        talk.say(run, id, &state, || look::reason(run, &object));
        tokio::select! {
            () = looks.next() => {}
            () = sleep_until(deadline) => return Ended::Failed(Box::new(too_late(run, &object, &state, &in_words(limit)))),
            () = run.stop.cancel.cancelled() => return Ended::Stopped(format!("stopped: {state}")),
            () = run.stop.give_up.cancelled() => return Ended::Stopped(format!("not waited for any longer: {state}")),
        }
    }
}

/// The exposed object in the newest version of its kind that the server has.
fn reference(run: &Progress, expose: &Expose) -> Result<ObjectRef, Failure> {
    let versions: &[&str] = match expose.kind.as_str() {
        "Ingress" => &["networking.k8s.io/v1"],
        "Gateway" => &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
        _ => &["v1"],
    };
    let kinds = versions.iter().map(|version| GroupVersionKind::new(version, &expose.kind));
    let mut last = None;
    for gvk in kinds {
        match run.cluster().kind(&gvk) {
            Ok(_) => return Ok(ObjectRef::new(gvk, Some(&expose.namespace), &expose.name)),
            Err(error) => last = Some(Failure::of(&error)),
        }
    }
    Err(last.unwrap_or_else(|| Failure::new(FailureKind::Configuration, format!("`{}` has no address", expose.kind))))
}

/// What the object says by now.
fn find(run: &Progress, object: &ObjectRef, host: Option<&str>) -> Found {
    let reflector = run.reflector(object);
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let Some(live) = reflector.get(&object.name) else {
        return match reflector.trouble() {
            Some(error) if error.status().is_some_and(|status| status.code == 403) => Found::Never(Failure::of(&error)),
            Some(error) => Found::NotYet(format!("{object} cannot be watched: {error}")),
            None if reflector.is_synced() => Found::Never(
                Failure::new(FailureKind::Configuration, format!("{object} does not exist in namespace `{namespace}`"))
                    .with_hint("`expose` of deploy.yml names it: correct it there, or install what brings it"),
            ),
            None => Found::NotYet(format!("{object} is not seen yet")),
        };
    };
    match object.kind() {
        "Service" => service(object, &live, host),
        "Gateway" => gateway(object, &live, host),
        _ => ingress(object, &live, host),
    }
}

/// The address of a Service of type `LoadBalancer`.
fn service(object: &ObjectRef, live: &Value, host: Option<&str>) -> Found {
    if live["spec"]["type"] != "LoadBalancer" {
        let kind = live["spec"]["type"].as_str().unwrap_or("ClusterIP");
        let failure =
            Failure::new(FailureKind::Configuration, format!("{object} is of type `{kind}`, which has no address"))
                .with_hint("make it `type: LoadBalancer`, or name an Ingress or Gateway in `expose`");
        return Found::Never(failure);
    }
    let balancer = live["metadata"]["annotations"][BALANCER_NAME].as_str().unwrap_or(&object.name);
    match best_address(&live["status"]["loadBalancer"]["ingress"]) {
        Some(at) => {
            let ports: Vec<u64> = list(&live["spec"]["ports"]).filter_map(|port| port["port"].as_u64()).collect();
            let (scheme, port) = door(&ports);
            Found::Address(address(&at, scheme, port, host, format!("load balancer {balancer}, active")))
        }
        None => Found::NotYet(format!("load balancer {balancer} is new")),
    }
}

/// The address of an Ingress, from its controller.
fn ingress(object: &ObjectRef, live: &Value, host: Option<&str>) -> Found {
    match best_address(&live["status"]["loadBalancer"]["ingress"]) {
        Some(at) => Found::Address(address(&at, "http", 80, host, object.to_string())),
        None => Found::NotYet(format!("{object} has no address yet")),
    }
}

/// The address of a Gateway.
fn gateway(object: &ObjectRef, live: &Value, host: Option<&str>) -> Found {
    let ports: Vec<u64> = list(&live["spec"]["listeners"]).filter_map(|listener| listener["port"].as_u64()).collect();
    let (scheme, port) = door(&ports);
    match best_address(&live["status"]["addresses"]) {
        Some(at) => Found::Address(address(&at, scheme, port, host, object.to_string())),
        None => Found::NotYet(format!("{object} has no address yet")),
    }
}

/// Which of several ports a browser would be led to.
fn door(ports: &[u64]) -> (&'static str, u64) {
    match ports {
        _ if ports.contains(&80) => ("http", 80),
        _ if ports.contains(&443) => ("https", 443),
        [first, ..] => ("http", *first),
        [] => ("http", 80),
    }
}

/// The best of several addresses: IPv4, then IPv6, then a host name.
fn best_address(entries: &Value) -> Option<String> {
    let texts: Vec<&str> = list(entries)
        .flat_map(|entry| [&entry["ip"], &entry["value"], &entry["hostname"]])
        .filter_map(Value::as_str)
        .filter(|text| !text.is_empty())
        .collect();
    let rank = |text: &&&str| match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 0,
        Ok(IpAddr::V6(_)) => 1,
        Err(_) => 2,
    };
    texts.iter().min_by_key(rank).map(|text| (*text).to_owned())
}

/// An address as a URL; the port is left out where the scheme means it.
fn address(at: &str, scheme: &str, port: u64, host: Option<&str>, source: String) -> Address {
    let suffix = match (scheme, port) {
        ("http", 80) | ("https", 443) => String::new(),
        _ => format!(":{port}"),
    };
    let bracketed = if at.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{at}]") } else { at.to_owned() };
    let base = format!("{scheme}://{bracketed}{suffix}");
    let url = host.map_or_else(|| base.clone(), |host| format!("{scheme}://{host}{suffix}"));
    let source = if host.is_some() { format!("{source}, at {at}") } else { source };
    progress::Address { url, base, source }
}

/// The items of a list; none where it is no list.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The failure of an address that does not come: everything may still be progressing, so it is worth another run.
fn too_late(run: &Progress, object: &ObjectRef, state: &str, limit: &str) -> Diagnosis {
    let failure = Failure::new(FailureKind::TimedOut, format!("no address within {limit}: {state}"))
        .with_hint("it goes on in the cluster: run the same again, or give it longer with `rollout.deadline`");
    let events = run.events_in(object.namespace.as_deref().unwrap_or_default());
    let lines: Vec<String> = events
        .iter()
        .filter(|event| {
            event["involvedObject"]["kind"] == object.kind() && event["involvedObject"]["name"] == *object.name
        })
        .filter_map(|event| Some(format!("{}: {}", event["reason"].as_str()?, event["message"].as_str()?)))
        .collect();
    let evidence = if lines.is_empty() { Vec::new() } else { vec![("events".to_owned(), lines)] };
    Diagnosis { failure, chain: vec![object.to_string()], evidence }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn web() -> ObjectRef {
        ObjectRef::new(GroupVersionKind::new("v1", "Service"), Some("todo"), "web")
    }

    /// The URL and the source that a Service comes to.
    fn found(live: &Value, host: Option<&str>) -> Result<(String, String, String), String> {
        match service(&web(), live, host) {
            Found::Address(Address { url, base, source }) => Ok((url, base, source)),
            Found::NotYet(state) => Err(state),
            Found::Never(failure) => Err(failure.to_string()),
        }
    }

    fn balancer(ingress: &Value, ports: &Value) -> Value {
        json!({ "metadata": { "annotations": { BALANCER_NAME: "todo-lb" } },
                "spec": { "type": "LoadBalancer", "ports": ports }, "status": { "loadBalancer": { "ingress": ingress } } })
    }

    #[test]
    fn an_ipv4_address_is_preferred_and_port_80_unsaid() {
        let live = balancer(
            &json!([{ "ip": "2001:db8::1" }, { "ip": "203.0.113.10" }]),
            &json!([{ "port": 443 }, { "port": 80 }]),
        );
        let url = "http://203.0.113.10".to_owned();
        assert_eq!(found(&live, None), Ok((url.clone(), url, "load balancer todo-lb, active".to_owned())));
    }

    #[test]
    fn another_port_is_part_of_the_url() {
        let live = balancer(&json!([{ "hostname": "lb.example.com" }]), &json!([{ "port": 8080 }]));
        assert_eq!(found(&live, None).unwrap().0, "http://lb.example.com:8080");
        let secure = balancer(&json!([{ "ip": "2001:db8::1" }]), &json!([{ "port": 443 }]));
        assert_eq!(found(&secure, None).unwrap().0, "https://[2001:db8::1]");
    }

    #[test]
    fn a_host_name_is_shown_and_the_address_is_used() {
        let live = balancer(&json!([{ "ip": "203.0.113.10" }]), &json!([{ "port": 80 }]));
        let (url, base, source) = found(&live, Some("todo.example.com")).unwrap();
        assert_eq!((url.as_str(), base.as_str()), ("http://todo.example.com", "http://203.0.113.10"));
        assert_eq!(source, "load balancer todo-lb, active, at 203.0.113.10");
    }

    #[test]
    fn an_empty_list_is_no_address_and_a_cluster_ip_never_has_one() {
        assert_eq!(found(&balancer(&json!([]), &json!([])), None), Err("load balancer todo-lb is new".to_owned()));
        let error = found(&json!({ "spec": { "type": "ClusterIP" } }), None).unwrap_err();
        assert!(error.contains("Service web is of type `ClusterIP`"), "{error}");
    }
}
