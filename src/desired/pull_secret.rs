//! The Secret by which pods pull our images: read-only, applied by Seaway in each namespace it deploys to.
//!
//! The registry integration of DOKS copies a Secret of its own with a delay, and only to default service accounts; a new
//! namespace would lose that race. The credential that pushes is never used for it: it dies in minutes, and a node that
//! is replaced weeks later must still pull.
//!
//! A credential that still works is kept, byte for byte: a new one on every run would be a write on every run.

use super::{Desired, DesiredObject, SlotImage, images, labels, order, secrets};
use crate::model::Secret;
use base64::Engine as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The name of the Secret in every namespace.
pub(crate) const PULL_SECRET: &str = "seaway-registry";

/// A login that may pull from one registry.
#[derive(Clone, Debug)]
pub(crate) struct PullCredential {
    /// `registry.digitalocean.com`.
    pub(crate) host: String,
    /// The user.
    pub(crate) username: String,
    /// The password.
    pub(crate) password: Secret,
}

impl PullCredential {
    /// The text of a `.dockerconfigjson`, the same bytes for the same login.
    fn docker_config(&self) -> String {
        let login = format!("{}:{}", self.username, self.password.expose());
        let auth = base64::engine::general_purpose::STANDARD.encode(login);
        json!({ "auths": { (self.host.as_str()): { "auth": auth } } }).to_string()
    }

    /// The login for a host in the live Secret, to find out whether it still works.
    pub(crate) fn from_live(secret: &Value, host: &str) -> Option<Self> {
        let engine = base64::engine::general_purpose::STANDARD;
        let encoded = secret.pointer("/data/.dockerconfigjson")?.as_str()?;
        let config: Value = serde_json::from_slice(&engine.decode(encoded).ok()?).ok()?;
        let auth = config.get("auths")?.get(host)?.get("auth")?.as_str()?;
        let login = String::from_utf8(engine.decode(auth).ok()?).ok()?;
        let (username, password) = login.split_once(':')?;
        Some(Self { host: host.to_owned(), username: username.to_owned(), password: Secret::new(password) })
    }
}

impl Desired {
    /// The namespaces in which pods pull images of ours.
    pub(crate) fn pulling_namespaces(&self) -> BTreeSet<String> {
        let pulls = |object: &&DesiredObject| object.slots.iter().any(|slot| matches!(slot.image, SlotImage::Ours(_)));
        self.objects.iter().filter(pulls).filter_map(|object| object.reference.namespace.clone()).collect()
    }
}

/// The set with the pull Secret in each namespace where pods pull our images, and with its name in their pod specs.
///
/// A pod spec with `imagePullSecrets` of its own keeps them; ours is put beside them.
#[must_use]
pub(crate) fn with_pull_secret(mut desired: Desired, credential: &PullCredential) -> Desired {
    let namespaces = desired.pulling_namespaces();
    for object in &mut desired.objects {
        if object.slots.iter().any(|slot| matches!(slot.image, SlotImage::Ours(_))) {
            name_in_pod_spec(object);
        }
    }
    for namespace in namespaces {
        let encoded = base64::engine::general_purpose::STANDARD.encode(credential.docker_config());
        let data: Map<String, Value> = [(".dockerconfigjson".to_owned(), json!(encoded))].into_iter().collect();
        let mut secret = secrets::object(&namespace, PULL_SECRET, "kubernetes.io/dockerconfigjson", &data);
        labels::stamp(&mut secret.body, &desired.application);
        desired.objects.push(secret);
    }
    order::sort(&mut desired.objects);
    desired
}

/// Puts the Secret's name into the pod specification of an object.
fn name_in_pod_spec(object: &mut DesiredObject) {
    let gvk = &object.reference.gvk;
    let Some(pointer) = images::pod_spec_pointer(&gvk.group, &gvk.kind) else { return };
    let Some(pod_spec) = object.body.pointer_mut(pointer).and_then(Value::as_object_mut) else { return };
    let names = pod_spec.entry("imagePullSecrets").or_insert_with(|| json!([]));
    let Some(names) = names.as_array_mut() else { return };
    if !names.iter().any(|entry| entry["name"] == PULL_SECRET) {
        names.push(json!({ "name": PULL_SECRET }));
    }
}
