//! The places in objects that hold an image reference.

use super::{DesiredError, DesiredObject, ImageSlot, Origin, SlotImage};
use crate::config::Config;
use crate::model::{Reference, Repository};
use serde_json::Value;

/// Where the pod specification of a kind stands; `None` for kinds without one.
pub(super) fn pod_spec_pointer(group: &str, kind: &str) -> Option<&'static str> {
    match (group, kind) {
        ("", "Pod") => Some("/spec"),
        ("", "PodTemplate") => Some("/template/spec"),
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("", "ReplicationController")
        | ("batch", "Job")
        | ("argoproj.io", "Rollout") => Some("/spec/template/spec"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template/spec"),
        _ => None,
    }
}

/// Finds the image slots of an object. An image that already carries a digest is left as it is.
pub(super) fn find_slots(object: &mut DesiredObject, config: &Config) -> Result<(), DesiredError> {
    let gvk = &object.reference.gvk;
    let Some(pod_spec) = pod_spec_pointer(&gvk.group, &gvk.kind) else { return Ok(()) };
    let mut slots = Vec::new();
    for pointer in image_pointers(&object.body, pod_spec) {
        let Some(text) = object.body.pointer(&pointer).and_then(Value::as_str) else { continue };
        let image = classify(text, config).map_err(|reason| DesiredError::Image {
            place: object.origin.as_ref().map(Origin::to_string).unwrap_or_default(),
            object: object.reference.clone(),
            reason,
        })?;
        slots.extend(image.map(|image| ImageSlot { pointer, image }));
    }
    object.slots = slots;
    Ok(())
}

/// The JSON pointers of every `image` in a pod specification, whether or not there is a text at it.
fn image_pointers(body: &Value, pod_spec: &str) -> Vec<String> {
    let count = |list: &str| body.pointer(&format!("{pod_spec}/{list}")).and_then(Value::as_array).map_or(0, Vec::len);
    let containers = ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| (0..count(list)).map(move |index| format!("{pod_spec}/{list}/{index}/image")));
    // An OCI image as a volume: https://kubernetes.io/docs/concepts/storage/volumes/#image
    let volumes = (0..count("volumes")).map(|index| format!("{pod_spec}/volumes/{index}/image/reference"));
    containers.chain(volumes).collect()
}

/// What an image text means; `None` where it is pinned already.
fn classify(text: &str, config: &Config) -> Result<Option<SlotImage>, String> {
    if config.images.iter().any(|image| image.key == text) {
        return Ok(Some(SlotImage::Ours(text.to_owned())));
    }
    let reference = Reference::parse(text).map_err(|error| error.to_string())?;
    if let Some(key) = key_of_repository(&reference.repository, config) {
        return Ok(Some(SlotImage::Ours(key)));
    }
    Ok(reference.digest.is_none().then_some(SlotImage::Foreign(reference)))
}

/// The key of the image that lies in this repository.
fn key_of_repository(repository: &Repository, config: &Config) -> Option<String> {
    let registry = config.registry.as_ref()?;
    config.images.iter().find(|image| &registry.repository(&image.key) == repository).map(|image| image.key.clone())
}
