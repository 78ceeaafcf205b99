//! Small sets for the tests of planning and executing.

use super::slots::Digests;
use super::{DryRun, Live, Observed, ObservedImage, ObservedObject, OperationKind};
use crate::config::{Build, Expectation, Expose, Rollout, SmokeStep, Template};
use crate::desired::{Desired, DesiredImage, DesiredObject, ImageSlot, ImageSource, SlotImage};
use crate::model::{Digest, GroupVersionKind, ObjectRef, Repository};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An image that is built.
pub(crate) fn image(key: &str) -> DesiredImage {
    DesiredImage {
        key: key.to_owned(),
        source: ImageSource::Build(Build::of(".".into())),
        repository: Repository { registry: "registry.test".to_owned(), path: format!("shop/{key}") },
        tag: "1a2b3c4".to_owned(),
        pin: true,
        supply: crate::desired::Supply::default(),
    }
}

/// An object with this body, in the namespace `todo` where its kind has one.
pub(crate) fn object(api_version: &str, kind: &str, name: &str, mut body: Value) -> DesiredObject {
    let namespace = (!matches!(kind, "Namespace" | "CustomResourceDefinition")).then_some("todo");
    body["apiVersion"] = api_version.into();
    body["kind"] = kind.into();
    body["metadata"] = json!({ "name": name });
    if let Some(namespace) = namespace {
        body["metadata"]["namespace"] = namespace.into();
    }
    DesiredObject {
        reference: ObjectRef::new(GroupVersionKind::new(api_version, kind), namespace, name),
        body,
        slots: Vec::new(),
        origin: None,
        sensitive: kind == "Secret",
    }
}

/// A Deployment with a container for each of these images.
pub(crate) fn deployment(name: &str, images: &[&str]) -> DesiredObject {
    let containers: Vec<Value> = images.iter().map(|image| json!({ "name": image, "image": image })).collect();
    let body = json!({ "spec": { "replicas": 3, "template": { "spec": { "containers": containers } } } });
    let mut object = object("apps/v1", "Deployment", name, body);
    let slot = |(index, image): (usize, &&str)| ImageSlot {
        pointer: format!("/spec/template/spec/containers/{index}/image"),
        image: SlotImage::Ours((*image).to_owned()),
    };
    object.slots = images.iter().enumerate().map(slot).collect();
    object
}

/// An application of these objects with one image, `api`, one smoke step, and the Service `web` as its door.
pub(crate) fn desired(objects: Vec<DesiredObject>) -> Desired {
    let expose =
        Expose { kind: "Service".to_owned(), namespace: "todo".to_owned(), name: "web".to_owned(), host: None };
    Desired {
        application: "todo".to_owned(),
        namespace: "todo".to_owned(),
        images: vec![image("api")],
        objects,
        expose: Some(expose),
        rollout: Rollout::default(),
        smoke: vec![step("GET", "/")],
    }
}

/// A smoke step that expects success.
pub(crate) fn step(method: &str, path: &str) -> SmokeStep {
    SmokeStep {
        method: method.to_owned(),
        path: Template(path.to_owned()),
        json: None,
        headers: BTreeMap::new(),
        expect: Expectation { status: None, body: None, json: BTreeMap::new(), within: None },
        save: BTreeMap::new(),
        line: 1,
    }
}

/// The digest of the image `api`.
pub(crate) fn digest() -> Digest {
    Digest::of(b"api")
}

/// A cluster and a registry where nothing exists.
pub(crate) fn absent(desired: &Desired) -> Observed {
    let digests = Digests::new(&desired.images, BTreeMap::new(), BTreeMap::new());
    observed(desired, None, |object| (Live::Absent, digests.fill(object)))
}

/// A cluster and a registry where everything is as desired.
pub(crate) fn unchanged(desired: &Desired) -> Observed {
    let digests = Digests::new(&desired.images, BTreeMap::from([("api".to_owned(), digest())]), BTreeMap::new());
    observed(desired, Some(digest()), |object| (Live::Present(digests.fill(object)), digests.fill(object)))
}

/// What a world says in which each object looks like this.
fn observed(desired: &Desired, digest: Option<Digest>, look: impl Fn(&DesiredObject) -> (Live, Value)) -> Observed {
    let image = ObservedImage { content_key: "ck-1".to_owned(), digest, source: None, stale: None };
    let objects = desired.objects.iter().map(|object| {
        let (live, answer) = look(object);
        (object.reference.clone(), ObservedObject { live, dry_run: DryRun::Answered(answer), kept: Vec::new() })
    });
    Observed {
        images: desired.images.iter().map(|one| (one.key.clone(), image.clone())).collect(),
        foreign: BTreeMap::new(),
        objects: objects.collect(),
    }
}

/// An operation in two or three words.
pub(crate) fn label(kind: &OperationKind) -> String {
    match kind {
        OperationKind::Build { image, .. } => format!("build {}", image.key),
        OperationKind::Push { image, .. } => format!("push {}", image.key),
        OperationKind::Mirror { image, .. } => format!("mirror {}", image.key),
        OperationKind::Reuse { image, .. } => format!("reuse {}", image.key),
        OperationKind::Apply { object, change } => {
            let verb = match change {
                super::Change::Create => "create",
                super::Change::Configure { .. } => "configure",
                super::Change::Unchanged => "unchanged",
            };
            format!("{verb} {}", object.reference)
        }
        OperationKind::WaitReady { object, .. } => format!("wait {object}"),
        OperationKind::Settle { .. } => "settle".to_owned(),
        OperationKind::Expose { expose } => format!("expose {}", expose.name),
        OperationKind::Smoke { steps, .. } => format!("smoke {}", steps.len()),
    }
}
