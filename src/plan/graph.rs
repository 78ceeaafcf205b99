//! Which objects must be there before which: an order by references, for sets in any order.
//!
//! A reference counts only where it leads to a stage below, so that no set can have a cycle: what looks like one
//! (a `ServiceAccount` that names a Secret which names the account) is an annotation, not a need.

use crate::desired::DesiredObject;
use crate::model::GroupVersionKind;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What an object is, whatever version of its kind it is written in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    /// The kind without its group: nobody has two groups with the same kind in one set, and references seldom say one.
    kind: String,
    /// The namespace.
    namespace: Option<String>,
    /// The name.
    name: String,
}

/// The kinds of each stage, from the ground up; kinds that are not named are custom resources.
const STAGES: [&[&str]; 13] = [
    &["Namespace"],
    &["CustomResourceDefinition"],
    &["PriorityClass", "StorageClass", "IngressClass", "GatewayClass", "RuntimeClass"],
    &["ResourceQuota", "LimitRange", "NetworkPolicy"],
    &["ServiceAccount", "Role", "ClusterRole"],
    &["Secret", "ConfigMap", "PersistentVolume", "RoleBinding", "ClusterRoleBinding"],
    &["PersistentVolumeClaim"],
    &[],
    &["Service"],
    &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Pod", "Job", "CronJob"],
    &["HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress", "Gateway"],
    &["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"],
    &["APIService", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"],
];

/// The stage of custom resources.
const CUSTOM: usize = 7;

/// The stage of workloads.
const WORKLOADS: usize = 9;

/// The stage of a kind.
fn stage(kind: &str) -> usize {
    STAGES.iter().position(|kinds| kinds.contains(&kind)).unwrap_or(CUSTOM)
}

/// The positions of the objects in an order in which they can be applied; inside a stage they stay as they were.
pub(super) fn order(objects: &[DesiredObject]) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..objects.len()).collect();
    positions.sort_by_key(|position| stage(objects[*position].reference.kind()));
    positions
}

/// For each object the positions of those that must be there before it.
pub(super) fn needs(objects: &[DesiredObject]) -> Vec<BTreeSet<usize>> {
    let index = Index::new(objects);
    objects.iter().map(|object| index.needs(objects, object)).collect()
}

/// The objects of a set by what they are.
struct Index {
    /// Positions by identity.
    positions: BTreeMap<Identity, usize>,
    /// Positions of definitions by the group and kind that they define.
    definitions: BTreeMap<(String, String), usize>,
    /// For each account (namespace and name) the bindings that give it rights.
    bindings: BTreeMap<(String, String), Vec<usize>>,
    /// For each namespace the objects that rule over its pods: quotas, limits, network policies.
    rules: BTreeMap<String, Vec<usize>>,
}

impl Index {
    /// Indexes a set.
    fn new(objects: &[DesiredObject]) -> Self {
        let mut index = Self {
            positions: BTreeMap::new(),
            definitions: BTreeMap::new(),
            bindings: BTreeMap::new(),
            rules: BTreeMap::new(),
        };
        for (position, object) in objects.iter().enumerate() {
            index.add(position, object);
        }
        index
    }

    /// Indexes one object.
    fn add(&mut self, position: usize, object: &DesiredObject) {
        let namespace = object.reference.namespace.clone().unwrap_or_default();
        match object.reference.kind() {
            "CustomResourceDefinition" => {
                let spec = &object.body["spec"];
                self.definitions.insert((text(&spec["group"]), text(&spec["names"]["kind"])), position);
            }
            "RoleBinding" | "ClusterRoleBinding" => {
                for subject in list(&object.body["subjects"]).filter(|subject| subject["kind"] == "ServiceAccount") {
                    let account = (first_text(&subject["namespace"], &namespace), text(&subject["name"]));
                    self.bindings.entry(account).or_default().push(position);
                }
            }
            "ResourceQuota" | "LimitRange" | "NetworkPolicy" => self.rules.entry(namespace).or_default().push(position),
            _ => {}
        }
        self.positions.insert(identity_of(object), position);
    }

    /// What an object needs.
    fn needs(&self, objects: &[DesiredObject], object: &DesiredObject) -> BTreeSet<usize> {
        let namespace = object.reference.namespace.as_deref();
        let mut found = Vec::new();
        references(&object.body, namespace, &mut found);
        if let Some(namespace) = namespace {
            found.push(identity("Namespace", None, namespace));
        }
        let mut needs: BTreeSet<usize> = found.iter().filter_map(|one| self.positions.get(one).copied()).collect();
        let GroupVersionKind { group, kind, .. } = &object.reference.gvk;
        needs.extend(self.definitions.get(&(group.clone(), kind.clone())));
        let own = stage(kind);
        if own == WORKLOADS {
            needs.extend(self.ground_of_pods(namespace.unwrap_or_default(), object));
        }
        needs.retain(|position| stage(objects[*position].reference.kind()) < own);
        needs
    }

    /// What must be in force before pods start: their account's rights, the quotas and policies of their namespace.
    fn ground_of_pods(&self, namespace: &str, object: &DesiredObject) -> Vec<usize> {
        let account = find(&object.body, "serviceAccountName").map_or_else(|| "default".to_owned(), text);
        let bindings = self.bindings.get(&(namespace.to_owned(), account));
        bindings.into_iter().chain(self.rules.get(namespace)).flatten().copied().collect()
    }
}

/// Collects what a value refers to, at any depth, by the names that Kubernetes gives references everywhere; so custom
/// resources that embed a pod template are understood as well.
fn references(value: &Value, namespace: Option<&str>, found: &mut Vec<Identity>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, namespace, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                found.extend(reference(key, value, namespace));
                references(value, namespace, found);
            }
        }
        _ => {}
    }
}

/// The references that one field makes.
fn reference(key: &str, value: &Value, namespace: Option<&str>) -> Vec<Identity> {
    let here = |kind: &str, name: &Value| -> Vec<Identity> {
        name.as_str().map(|name| identity(kind, namespace, name)).into_iter().collect()
    };
    let nowhere = |kind: &str, name: &Value| -> Vec<Identity> {
        name.as_str().map(|name| identity(kind, None, name)).into_iter().collect()
    };
    match key {
        "configMapRef" | "configMapKeyRef" | "configMap" => here("ConfigMap", &value["name"]),
        "secretRef" | "secretKeyRef" => here("Secret", &value["name"]),
        "secret" => [here("Secret", &value["secretName"]), here("Secret", &value["name"])].concat(),
        "secretName" => here("Secret", value),
        "imagePullSecrets" => list(value).flat_map(|one| here("Secret", &one["name"])).collect(),
        "serviceAccountName" => here("ServiceAccount", value),
        "persistentVolumeClaim" => here("PersistentVolumeClaim", &value["claimName"]),
        "storageClassName" => nowhere("StorageClass", value),
        "ingressClassName" => nowhere("IngressClass", value),
        "gatewayClassName" => nowhere("GatewayClass", value),
        "priorityClassName" => nowhere("PriorityClass", value),
        "runtimeClassName" => nowhere("RuntimeClass", value),
        "serviceName" => here("Service", value),
        "service" => vec![located("Service", value, namespace)],
        "backendRefs" => list(value).map(|one| located(&kind_of(one, "Service"), one, namespace)).collect(),
        "parentRefs" => list(value).map(|one| located(&kind_of(one, "Gateway"), one, namespace)).collect(),
        "scaleTargetRef" => here(&text(&value["kind"]), &value["name"]),
        "roleRef" => [here("Role", &value["name"]), nowhere("ClusterRole", &value["name"])].concat(),
        "subjects" => list(value).map(|one| located(&text(&one["kind"]), one, namespace)).collect(),
        _ => Vec::new(),
    }
}

/// What a reference with a namespace of its own leads to.
fn located(kind: &str, value: &Value, namespace: Option<&str>) -> Identity {
    let namespace = first_text(&value["namespace"], namespace.unwrap_or_default());
    identity(kind, Some(namespace.as_str()).filter(|namespace| !namespace.is_empty()), &text(&value["name"]))
}

/// The kind that a reference names, or the one that it means without.
fn kind_of(value: &Value, default: &str) -> String {
    first_text(&value["kind"], default)
}

/// An identity.
fn identity(kind: &str, namespace: Option<&str>, name: &str) -> Identity {
    Identity { kind: kind.to_owned(), namespace: namespace.map(str::to_owned), name: name.to_owned() }
}

/// The identity of an object.
fn identity_of(object: &DesiredObject) -> Identity {
    identity(object.reference.kind(), object.reference.namespace.as_deref(), &object.reference.name)
}

/// The value of the first field of this name, at any depth.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Array(items) => items.iter().find_map(|item| find(item, key)),
        Value::Object(fields) => fields.get(key).or_else(|| fields.values().find_map(|field| find(field, key))),
        _ => None,
    }
}

/// The items of a list; none where it is no list.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The text of a value, empty where it is none.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The text of a value, or another where it is none.
fn first_text(value: &Value, other: &str) -> String {
    value.as_str().unwrap_or(other).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use serde_json::json;

    /// What the last object of a set needs, by name.
    fn needed_by_last(objects: &[DesiredObject]) -> Vec<String> {
        let needs = needs(objects);
        needs.last().unwrap().iter().map(|position| objects[*position].reference.to_string()).collect()
    }

    #[test]
    fn a_workload_needs_what_its_pods_name() {
        let mut deployment = sample::deployment("api", &["api"]);
        deployment.body["spec"]["template"]["spec"] = json!({
            "serviceAccountName": "runner",
            "imagePullSecrets": [{ "name": "pull" }],
            "containers": [{ "name": "api", "envFrom": [{ "configMapRef": { "name": "settings" } }],
                             "env": [{ "name": "URL", "valueFrom": { "secretKeyRef": { "name": "database", "key": "url" } } }] }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "disk" } }],
        });
        let binding = json!({ "subjects": [{ "kind": "ServiceAccount", "name": "runner" }], "roleRef": { "kind": "Role", "name": "r" } });
        let objects = [
            sample::object("v1", "Namespace", "todo", json!({})),
            sample::object("v1", "ServiceAccount", "runner", json!({})),
            sample::object("rbac.authorization.k8s.io/v1", "RoleBinding", "runs", binding),
            sample::object("v1", "Secret", "pull", json!({})),
            sample::object("v1", "ConfigMap", "settings", json!({})),
            sample::object("v1", "Secret", "database", json!({})),
            sample::object("v1", "PersistentVolumeClaim", "disk", json!({})),
            sample::object("v1", "ConfigMap", "unrelated", json!({})),
            deployment,
        ];
        let wanted = [
            "Namespace todo",
            "ServiceAccount runner",
            "RoleBinding runs",
            "Secret pull",
            "ConfigMap settings",
            "Secret database",
            "PersistentVolumeClaim disk",
        ];
        assert_eq!(needed_by_last(&objects), wanted);
    }

    #[test]
    fn routes_and_autoscalers_come_after_what_they_lead_to() {
        let service = sample::object("v1", "Service", "api", json!({}));
        let rule = json!({ "http": { "paths": [{ "backend": { "service": { "name": "api" } } }] } });
        let ingress = sample::object("networking.k8s.io/v1", "Ingress", "web", json!({ "spec": { "rules": [rule] } }));
        assert_eq!(needed_by_last(&[service, ingress]), ["Service api"]);
        let target = json!({ "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "api" } } });
        let scaler = sample::object("autoscaling/v2", "HorizontalPodAutoscaler", "api", target);
        assert_eq!(needed_by_last(&[sample::deployment("api", &[]), scaler]), ["Deployment api"]);
    }

    #[test]
    fn a_custom_resource_needs_its_definition() {
        let definition = json!({ "spec": { "group": "example.com", "names": { "kind": "Widget" } } });
        let objects = [
            sample::object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com", definition),
            sample::object("example.com/v1", "Widget", "one", json!({})),
        ];
        assert_eq!(needed_by_last(&objects), ["CustomResourceDefinition widgets.example.com"]);
    }

    #[test]
    fn a_circle_of_references_is_cut() {
        let account =
            sample::object("v1", "ServiceAccount", "a", json!({ "secrets": [{ "name": "s" }], "secretName": "s" }));
        let secret = sample::object("v1", "Secret", "s", json!({ "serviceAccountName": "a" }));
        let needs = needs(&[account, secret]);
        assert_eq!((needs[0].len(), needs[1].len()), (0, 1));
    }
}
