//! The labels by which an object is known as part of an application.
//!
//! Only `metadata.labels` of the object itself is written. Selectors never are (they cannot change on a live workload),
//! nor the labels of pod templates (each change there would replace the pods).

use serde_json::{Value, json};

/// Which application the object belongs to.
pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
/// Who manages it.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What it is; kept where the manifest says it.
pub(crate) const NAME: &str = "app.kubernetes.io/name";

/// Writes our labels into the object. A namespace is left alone: it may be shared with others.
pub(super) fn stamp(body: &mut Value, application: &str) {
    if body["kind"] == "Namespace" && body["metadata"].get("labels").is_none() {
        return;
    }
    let name = body["metadata"]["name"].clone();
    let Some(metadata) = body["metadata"].as_object_mut() else { return };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if labels.is_null() {
        *labels = json!({}); // `labels:` with nothing after it
    }
    let Some(labels) = labels.as_object_mut() else { return };
    if name.as_str().is_some_and(is_label_value) {
        labels.entry(NAME).or_insert(name);
    }
    labels.insert(INSTANCE.to_owned(), json!(application));
    labels.insert(MANAGED_BY.to_owned(), json!("seaway"));
}

/// Names of objects may be longer (253) than the values of labels (63).
fn is_label_value(text: &str) -> bool {
    text.len() <= 63 && text.ends_with(|c: char| c.is_ascii_alphanumeric()) && !text.contains(':')
}
