//! Documents of manifests to objects: which object each one is, and in which namespace.

use super::{DesiredError, DesiredObject, Origin};
use crate::config::{Config, ManifestDocument};
use crate::model::{GroupVersionKind, ObjectRef};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The kinds of Kubernetes and of its usual companions that have no namespace. A kind that is not known here is taken
/// for a namespaced one; the API server's own discovery has the last word when the cluster is surveyed.
const CLUSTER_SCOPED: &[&str] = &[
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterIssuer",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "FlowSchema",
    "GatewayClass",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "RuntimeClass",
    "StorageClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
    "VolumeSnapshotClass",
];

/// Whether objects of a kind live outside of namespaces, as far as the name tells.
pub(super) fn is_cluster_scoped(kind: &str) -> bool {
    CLUSTER_SCOPED.contains(&kind)
}

/// One object for each document, with its namespace filled in.
pub(super) fn from_manifests(config: &Config) -> Vec<DesiredObject> {
    config.manifests.iter().map(|document| from_document(document, &config.namespace)).collect()
}

/// The object of one document. `config` has checked that it has an API version, a kind and a name.
fn from_document(document: &ManifestDocument, default_namespace: &str) -> DesiredObject {
    let mut body = document.object.clone();
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let gvk = GroupVersionKind::new(&text("/apiVersion"), &text("/kind"));
    let name = text("/metadata/name");
    let written = Some(text("/metadata/namespace")).filter(|namespace| !namespace.is_empty());
    let namespace = (!is_cluster_scoped(&gvk.kind)).then(|| written.unwrap_or_else(|| default_namespace.to_owned()));
    if let Some(metadata) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        match &namespace {
            Some(namespace) => drop(metadata.insert("namespace".to_owned(), json!(namespace))),
            None => drop(metadata.shift_remove("namespace")),
        }
    }
    remove_server_fields(&mut body);
    let sensitive = gvk.kind == "Secret" && gvk.group.is_empty();
    DesiredObject {
        reference: ObjectRef { gvk, namespace, name },
        body,
        slots: Vec::new(),
        origin: Some(Origin { file: document.file.clone(), line: document.line }),
        sensitive,
    }
}

/// Fields that only the server writes: an exported object still carries them, and an apply with them is refused or
/// would claim what is not ours (`metadata.managedFields must be nil`).
fn remove_server_fields(body: &mut Value) {
    if let Some(object) = body.as_object_mut() {
        object.shift_remove("status");
    }
    if let Some(metadata) = body.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"] {
            metadata.shift_remove(field);
        }
    }
}

/// The annotation of a namespace that was made for an application, and goes with it.
pub(crate) const NAMESPACE_MADE_FOR: &str = "seaway.dev/made-for";

/// Adds the namespace of the application where the set does not bring it itself. One that exists already is left as it
/// is: the planner sees that nobody wrote it (it has no origin).
pub(super) fn ensure_namespace(objects: &mut Vec<DesiredObject>, namespace: &str, application: &str) {
    let reference = ObjectRef::new(GroupVersionKind::new("v1", "Namespace"), None, namespace);
    if objects.iter().any(|object| object.reference == reference) {
        return;
    }
    let metadata = json!({ "name": namespace, "annotations": { (NAMESPACE_MADE_FOR): application } });
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
    objects.push(DesiredObject { reference, body, slots: Vec::new(), origin: None, sensitive: false });
}

/// The same object twice would be applied twice, and the last one would win by chance.
pub(super) fn refuse_duplicates(objects: &[DesiredObject]) -> Result<(), DesiredError> {
    let place = |object: &DesiredObject| {
        object.origin.as_ref().map_or_else(|| "`secrets` of deploy.yml".to_owned(), ToString::to_string)
    };
    let mut seen: BTreeMap<(&str, &str, Option<&str>, &str), &DesiredObject> = BTreeMap::new();
    for object in objects {
        let reference = &object.reference;
        // The version is not part of an object's identity: apps/v1 and apps/v1beta1 name the same Deployment.
        let gvk = &reference.gvk;
        let identity = (gvk.group.as_str(), gvk.kind.as_str(), reference.namespace.as_deref(), reference.name.as_str());
        if let Some(first) = seen.insert(identity, object) {
            let (first, second) = (place(first), place(object));
            return Err(DesiredError::Twice { object: reference.clone(), first, second });
        }
    }
    Ok(())
}
