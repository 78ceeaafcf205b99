//! `secrets:` of deploy.yml to Kubernetes Secrets.

use super::DesiredObject;
use crate::config::Config;
use crate::model::{GroupVersionKind, ObjectRef};
use base64::Engine as _;
use serde_json::{Map, Value, json};

/// One Secret for each entry. The values go into `data`, not into `stringData`: the server turns the latter into the
/// former, and a comparison with the live object would never find them equal.
pub(super) fn from_environment(config: &Config) -> Vec<DesiredObject> {
    let secret = |(name, values): (&String, &std::collections::BTreeMap<String, crate::model::Secret>)| {
        let encode = |value: &crate::model::Secret| base64::engine::general_purpose::STANDARD.encode(value.expose());
        let data: Map<String, Value> = values.iter().map(|(key, value)| (key.clone(), json!(encode(value)))).collect();
        object(&config.namespace, name, "Opaque", &data)
    };
    config.secrets.iter().map(secret).collect()
}

/// A Secret of a namespace.
pub(super) fn object(namespace: &str, name: &str, kind: &str, data: &Map<String, Value>) -> DesiredObject {
    let reference = ObjectRef::new(GroupVersionKind::new("v1", "Secret"), Some(namespace), name);
    let body = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "type": kind,
        "data": data,
    });
    DesiredObject { reference, body, slots: Vec::new(), origin: None, sensitive: true }
}
