//! Desired and observed to operations.

use super::slots::Digests;
use super::{Change, DryRun, FieldChange, Live, Observed, ObservedObject, Operation, OperationId, OperationKind};
use super::{Plan, Target, diff, graph};
use crate::config::Build;
use crate::desired::{Desired, DesiredImage, DesiredObject, ImageSource, SlotImage};
use crate::model::{Digest, ObjectRef};
use std::collections::{BTreeMap, BTreeSet};

/// What a run has to do so that what is desired comes to be.
pub(crate) fn plan(desired: &Desired, observed: Observed) -> Plan {
    let mut planner = Planner {
        digests: known_digests(desired, &observed),
        desired,
        observed: &observed,
        operations: Vec::new(),
        images: BTreeMap::new(),
        applies: BTreeMap::new(),
        definitions: BTreeMap::new(),
    };
    planner.images();
    planner.objects();
    planner.ending();
    let (operations, digests) = (planner.operations, planner.digests.ours);
    let target = Target { application: desired.application.clone(), namespace: desired.namespace.clone() };
    let rollout = desired.rollout.clone();
    let plan = Plan { target, operations, digests, foreign: observed.foreign, rollout };
    debug_assert_eq!(super::verify(&plan), Ok(()));
    plan
}

/// The digests that are known before anything is built: of images in the registry, and of those that are copied as
/// they are.
pub(crate) fn known_digests(desired: &Desired, observed: &Observed) -> Digests {
    let known = |image: &DesiredImage| -> Option<Digest> {
        let found = observed.images.get(&image.key)?;
        found.digest.clone().or_else(|| found.source.clone())
    };
    let ours = desired.images.iter().filter_map(|image| Some((image.key.clone(), known(image)?))).collect();
    let images: Vec<DesiredImage> = desired.images.iter().map(|image| tagged(image, observed)).collect();
    Digests::new(&images, ours, observed.foreign.clone())
}

/// An image with a tag for people: without a git tree there is none, and the content key takes its place.
fn tagged(image: &DesiredImage, observed: &Observed) -> DesiredImage {
    let mut image = image.clone();
    if let Some(found) = observed.images.get(&image.key).filter(|_| image.tag.is_empty()) {
        image.tag.clone_from(&found.content_key);
    }
    image
}

/// A plan in the making.
struct Planner<'a> {
    /// What should exist.
    desired: &'a Desired,
    /// What does.
    observed: &'a Observed,
    /// The digests that are known.
    digests: Digests,
    /// The operations so far.
    operations: Vec<Operation>,
    /// The operations that bring images into the registry, by key.
    images: BTreeMap<String, OperationId>,
    /// The operation that applies an object, by its position in the set.
    applies: BTreeMap<usize, OperationId>,
    /// The operation that waits for a `CustomResourceDefinition`, by its position.
    definitions: BTreeMap<usize, OperationId>,
}

impl Planner<'_> {
    /// Adds an operation.
    fn add(&mut self, kind: OperationKind, needs: impl IntoIterator<Item = OperationId>, reason: &str) -> OperationId {
        let id = self.operations.len();
        let needs: BTreeSet<OperationId> = needs.into_iter().collect();
        self.operations.push(Operation { id, kind, needs: needs.into_iter().collect(), reason: reason.to_owned() });
        id
    }

    /// Images need nothing: all start at once.
    fn images(&mut self) {
        for image in &self.desired.images {
            let Some(found) = self.observed.images.get(&image.key) else { continue };
            let image = tagged(image, self.observed);
            let content_key = found.content_key.clone();
            let (kind, reason) = match (&found.digest, &image.source) {
                (Some(digest), _) => {
                    (OperationKind::Reuse { image: image.clone(), digest: digest.clone() }, "inputs unchanged")
                }
                (None, ImageSource::Build(build)) => {
                    let mut image = image.clone();
                    let anew = build.anew || found.stale.is_some();
                    image.source = ImageSource::Build(Build { anew, ..build.clone() });
                    let reason = found.stale.as_deref().unwrap_or("no image with these inputs in the registry");
                    (OperationKind::Build { image, content_key }, reason)
                }
                (None, ImageSource::Assembly(_)) => {
                    let reason = "from files, no image with these inputs in the registry";
                    (OperationKind::Push { image: image.clone(), content_key }, reason)
                }
                (None, ImageSource::Layout(_) | ImageSource::Engine(_)) => {
                    (OperationKind::Push { image: image.clone(), content_key }, "not in the registry yet")
                }
                (None, ImageSource::Mirror(_)) => {
                    let digest = self.digests.ours.get(&image.key).cloned().unwrap_or_else(|| Digest::of(b""));
                    (OperationKind::Mirror { image: image.clone(), digest, content_key }, "not in the registry yet")
                }
            };
            let makes = !matches!(kind, OperationKind::Reuse { .. });
            let id = self.add(kind, [], reason);
            if makes {
                self.images.insert(image.key.clone(), id);
            }
        }
    }

    /// Applies in the order of references, then the waits.
    fn objects(&mut self) {
        let objects = &self.desired.objects;
        let (order, needs) = (graph::order(objects), graph::needs(objects));
        let mut waits = Vec::new();
        for position in order {
            let object = &objects[position];
            let Some(found) = self.observed.objects.get(&object.reference) else { continue };
            let id = self.apply(position, object, found, &needs[position]);
            let changed = !self.is_unchanged(id);
            let wait = OperationKind::WaitReady { object: object.reference.clone(), changed };
            if object.reference.kind() == "CustomResourceDefinition" {
                let wait = self.add(wait, [id], "");
                self.definitions.insert(position, wait);
            } else if has_readiness(object) {
                waits.push((wait, id));
            }
        }
        for (wait, apply) in waits {
            self.add(wait, [apply], "");
        }
    }

    /// Applies one object.
    fn apply(
        &mut self,
        position: usize,
        object: &DesiredObject,
        found: &ObservedObject,
        needs: &BTreeSet<usize>,
    ) -> OperationId {
        let mut object = object.clone();
        for kept in &found.kept {
            if let Some(place) = object.body.pointer_mut(&kept.pointer) {
                *place = kept.value.clone();
            }
        }
        let change = self.change(&object, found);
        let reason = reason(&change, found);
        let images = object.slots.iter().filter_map(|slot| match &slot.image {
            SlotImage::Ours(key) => self.images.get(key),
            SlotImage::Foreign(_) => None,
        });
        let ready = needs.iter().filter_map(|need| self.definitions.get(need).or_else(|| self.applies.get(need)));
        let needs: Vec<OperationId> = images.chain(ready).copied().collect();
        let id = self.add(OperationKind::Apply { object: Box::new(object), change }, needs, &reason);
        self.applies.insert(position, id);
        id
    }

    /// What becomes of an object.
    fn change(&self, object: &DesiredObject, found: &ObservedObject) -> Change {
        let fields = match (&found.live, &found.dry_run) {
            (Live::Absent, _) => return Change::Create,
            (Live::Present(live), DryRun::Answered(answer)) => diff::changes(live, answer, object.sensitive),
            (Live::Present(live), DryRun::Deferred { .. }) => {
                diff::written_changes(live, &self.digests.fill(object), object.sensitive)
            }
        };
        if fields.is_empty() {
            return Change::Unchanged;
        }
        let has_pods = matches!(object.reference.kind(), "Deployment" | "StatefulSet" | "DaemonSet");
        let rolls = has_pods && fields.iter().any(|field| field.path.starts_with("spec.template"));
        Change::Configure { fields, rolls }
    }

    /// The applies that lead traffic another way than before: it takes a moment until they show, and until then the old
    /// way answers a smoke test.
    fn reroutes(&self) -> Vec<OperationId> {
        let reroutes = |operation: &&Operation| match &operation.kind {
            OperationKind::Apply { object, change: Change::Configure { .. } } => leads_traffic(&object.reference),
            _ => false,
        };
        self.operations.iter().filter(reroutes).map(|operation| operation.id).collect()
    }

    /// Whether an apply has nothing to do.
    fn is_unchanged(&self, apply: OperationId) -> bool {
        matches!(&self.operations[apply].kind, OperationKind::Apply { change: Change::Unchanged, .. })
    }

    /// What comes after the rollout: settling, the address, the smoke test.
    fn ending(&mut self) {
        let waits: Vec<(OperationId, bool)> = self
            .operations
            .iter()
            .filter_map(|operation| match operation.kind {
                OperationKind::WaitReady { ref object, changed } => Some((operation.id, changed && runs_pods(object))),
                _ => None,
            })
            .collect();
        let mut before: Vec<OperationId> = waits.iter().map(|(id, _)| *id).collect();
        let rolled: Vec<OperationId> = waits.iter().filter(|(_, rolled)| *rolled).map(|(id, _)| *id).collect();
        let rolled: Vec<OperationId> = rolled.into_iter().chain(self.reroutes()).collect();
        if !rolled.is_empty() {
            let settle = OperationKind::Settle { rollout: self.desired.rollout.clone() };
            before.push(self.add(settle, rolled, ""));
        }
        before.extend(self.applies.values());
        let Some(expose) = self.desired.expose.clone() else { return };
        let host = expose.host.clone();
        let exposed = self.desired.objects.iter().position(|object| {
            let reference = &object.reference;
            reference.kind() == expose.kind
                && reference.name == expose.name
                && reference.namespace.as_deref() == Some(expose.namespace.as_str())
        });
        let needs = exposed.and_then(|position| self.applies.get(&position)).copied();
        let expose = self.add(OperationKind::Expose { expose }, needs, "");
        if !self.desired.smoke.is_empty() {
            before.push(expose);
            self.add(OperationKind::Smoke { steps: self.desired.smoke.clone(), host }, before, "");
        }
    }
}

/// Why an object is applied, or why not.
fn reason(change: &Change, found: &ObservedObject) -> String {
    let mut reason = match (change, &found.dry_run) {
        (Change::Create, DryRun::Deferred { because }) => format!("does not exist yet: {because}"),
        (Change::Create, DryRun::Answered(_)) => "does not exist yet".to_owned(),
        (Change::Configure { fields, .. }, _) if fields.len() == 1 => "1 field changes".to_owned(),
        (Change::Configure { fields, .. }, _) => format!("{} fields change", fields.len()),
        (Change::Unchanged, _) => "nothing changes".to_owned(),
    };
    for kept in &found.kept {
        let field = kept.pointer.trim_start_matches('/').replace('/', ".");
        reason = format!("{reason}; {field} is left to {}", kept.owner);
    }
    reason
}

/// Whether an object runs pods, which may fall over again after they were ready.
fn runs_pods(object: &ObjectRef) -> bool {
    object.gvk.group == "apps" || object.kind() == "Pod"
}

/// Whether an object decides where requests end.
fn leads_traffic(object: &ObjectRef) -> bool {
    matches!(object.kind(), "Service" | "Ingress" | "Gateway" | "HTTPRoute" | "NetworkPolicy")
}

/// Whether objects like this one become ready some time after they were applied.
fn has_readiness(object: &DesiredObject) -> bool {
    let gvk = &object.reference.gvk;
    match (gvk.group.as_str(), gvk.kind.as_str()) {
        ("apps", _) => true,
        ("batch", kind) => kind == "Job",
        ("", "Service") => object.body["spec"]["type"] == "LoadBalancer",
        ("", kind) => matches!(kind, "Pod" | "PersistentVolumeClaim"),
        ("gateway.networking.k8s.io", kind) => matches!(kind, "Gateway" | "HTTPRoute" | "GRPCRoute"),
        // Groups of Kubernetes' own have no dot or end in `.k8s.io`; what is left are custom resources.
        (group, _) => group.contains('.') && !group.ends_with(".k8s.io"),
    }
}

/// Whether all that was going to change of an object turns out to be as it is: the images that were built have the
/// digests that run already.
pub(crate) fn turns_out_unchanged(object: &DesiredObject, fields: &[FieldChange], digests: &Digests) -> bool {
    let filled = |field: &FieldChange| {
        let slot = object.slots.iter().find(|slot| diff::path_of(&object.body, &slot.pointer) == field.path)?;
        digests.text(&slot.image)
    };
    fields.iter().all(|field| field.before.is_some() && field.before == filled(field))
}

#[cfg(test)]
mod tests {
    use super::super::{sample, verify};
    use super::*;
    use crate::plan::Kept;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The operations as `verb name ← needs`.
    fn lines(plan: &Plan) -> Vec<String> {
        let each = plan.operations.iter();
        each.map(|operation| format!("{} ← {:?}", sample::label(&operation.kind), operation.needs)).collect()
    }

    #[test]
    fn an_empty_cluster_gets_everything_in_the_order_of_references() {
        let desired = sample::desired(vec![
            sample::deployment("api", &["api"]),
            sample::object("v1", "Service", "web", json!({ "spec": { "type": "LoadBalancer" } })),
            sample::object("v1", "Namespace", "todo", json!({})),
        ]);
        let plan = plan(&desired, sample::absent(&desired));
        assert_eq!(
            lines(&plan),
            [
                "build api ← []",
                "create Namespace todo ← []",
                "create Service web ← [1]",
                "create Deployment api ← [0, 1]",
                "wait Service web ← [2]",
                "wait Deployment api ← [3]",
                "settle ← [5]",
                "expose web ← [2]",
                "smoke 1 ← [1, 2, 3, 4, 5, 6, 7]",
            ]
        );
    }

    #[test]
    fn when_nothing_changes_nothing_settles() {
        let desired = sample::desired(vec![sample::deployment("api", &["api"])]);
        let plan = plan(&desired, sample::unchanged(&desired));
        assert_eq!(lines(&plan)[..3], ["reuse api ← []", "unchanged Deployment api ← []", "wait Deployment api ← [1]"]);
        assert!(!lines(&plan).iter().any(|line| line.starts_with("settle")));
    }

    #[test]
    fn a_service_that_changes_settles_before_it_is_tried() {
        let service = sample::object("v1", "Service", "web", json!({ "spec": { "selector": { "app": "api" } } }));
        let desired = sample::desired(vec![sample::deployment("api", &["api"]), service]);
        let mut observed = sample::unchanged(&desired);
        let object = observed.objects.iter_mut().find(|(reference, _)| reference.kind() == "Service").unwrap().1;
        object.live = Live::Present(json!({ "spec": { "selector": { "app": "web" } } }));
        let plan = plan(&desired, observed);
        assert!(lines(&plan).iter().any(|line| line.starts_with("settle")), "{:?}", lines(&plan));
    }

    #[test]
    fn an_image_that_is_to_be_built_changes_the_object_that_holds_it() {
        let desired = sample::desired(vec![sample::deployment("api", &["api"])]);
        let mut observed = sample::unchanged(&desired);
        observed.images.get_mut("api").unwrap().digest = None;
        let object = observed.objects.values_mut().next().unwrap();
        let body = known_digests(&desired, &sample::absent(&desired)).fill(&desired.objects[0]);
        object.dry_run = DryRun::Answered(body);
        let plan = plan(&desired, observed);
        let OperationKind::Apply { change: Change::Configure { fields, rolls }, .. } = &plan.operations[1].kind else {
            panic!("{:?}", lines(&plan));
        };
        assert_eq!(fields[0].path, "spec.template.spec.containers[api].image");
        assert_eq!((fields[0].after.as_deref(), *rolls), (Some("built in this deploy"), true));
        assert_eq!(plan.operations[1].needs, [0]);
    }

    #[test]
    fn a_build_that_comes_to_the_same_digest_changes_nothing() {
        let object = sample::deployment("api", &["api"]);
        let image = format!("registry.test/shop/api@{}", sample::digest());
        let path = "spec.template.spec.containers[api].image".to_owned();
        let field = FieldChange { path, before: Some(image), after: Some("built in this deploy".to_owned()) };
        let digests = |digest| {
            Digests::new(&[sample::image("api")], BTreeMap::from([("api".to_owned(), digest)]), BTreeMap::new())
        };
        assert!(turns_out_unchanged(&object, std::slice::from_ref(&field), &digests(sample::digest())));
        assert!(!turns_out_unchanged(&object, std::slice::from_ref(&field), &digests(Digest::of(b"other"))));
        let other = FieldChange { path: "spec.replicas".to_owned(), before: Some("3".to_owned()), after: None };
        assert!(!turns_out_unchanged(&object, &[field, other], &digests(sample::digest())));
    }

    #[test]
    fn without_a_git_tree_the_content_key_is_the_tag() {
        let mut desired = sample::desired(Vec::new());
        desired.images[0].tag.clear();
        let plan = plan(&desired, sample::absent(&desired));
        let OperationKind::Build { image, content_key } = &plan.operations[0].kind else { panic!() };
        assert_eq!(&image.tag, content_key);
    }

    #[test]
    fn replicas_of_an_autoscaler_are_applied_as_they_are() {
        let desired = sample::desired(vec![sample::deployment("api", &[])]);
        let mut observed = sample::unchanged(&desired);
        let kept = Kept {
            pointer: "/spec/replicas".to_owned(),
            value: json!(7),
            owner: "HorizontalPodAutoscaler api".to_owned(),
        };
        observed.objects.values_mut().next().unwrap().kept.push(kept);
        let plan = plan(&desired, observed);
        let OperationKind::Apply { object, .. } = &plan.operations[1].kind else { panic!() };
        assert_eq!(object.body["spec"]["replicas"], 7);
        assert!(plan.operations[1].reason.ends_with("spec.replicas is left to HorizontalPodAutoscaler api"));
    }

    #[test]
    fn custom_resources_wait_for_their_definition() {
        let definition = json!({ "spec": { "group": "example.com", "names": { "kind": "Widget" } } });
        let desired = sample::desired(vec![
            sample::object("example.com/v1", "Widget", "one", json!({})),
            sample::object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets.example.com", definition),
        ]);
        let plan = plan(&desired, sample::absent(&desired));
        let wanted = [
            "create CustomResourceDefinition widgets.example.com ← []",
            "wait CustomResourceDefinition widgets.example.com ← [1]",
            "create Widget one ← [2]",
        ];
        assert_eq!(lines(&plan)[1..4], wanted);
    }

    /// Any object, with references to any other.
    fn any_object() -> impl Strategy<Value = DesiredObject> {
        let kinds = prop::sample::select(vec![
            ("v1", "Namespace"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("v1", "ConfigMap"),
            ("v1", "Secret"),
            ("v1", "ServiceAccount"),
            ("v1", "PersistentVolumeClaim"),
            ("apps/v1", "Deployment"),
            ("v1", "Service"),
            ("example.com/v1", "Widget"),
            ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ]);
        let names = || prop::sample::select(vec!["a", "b", "todo"]);
        (kinds, names(), names(), names()).prop_map(|((version, kind), name, other, third)| {
            let body = json!({ "spec": { "group": "example.com", "names": { "kind": "Widget" },
                "serviceAccountName": other, "secretName": third, "configMapRef": { "name": other },
                "scaleTargetRef": { "kind": "Deployment", "name": third }, "serviceName": other } });
            sample::object(version, kind, name, body)
        })
    }

    proptest! {
        #[test]
        fn every_set_of_objects_has_a_plan_that_holds(objects in prop::collection::vec(any_object(), 0..14)) {
            let mut seen = BTreeSet::new();
            let objects: Vec<_> = objects.into_iter().filter(|object| seen.insert(object.reference.clone())).collect();
            let desired = sample::desired(objects);
            for observed in [sample::absent(&desired), sample::unchanged(&desired)] {
                let plan = plan(&desired, observed);
                prop_assert_eq!(verify(&plan), Ok(()));
                let applied = plan.operations.iter().filter(|o| matches!(o.kind, OperationKind::Apply { .. })).count();
                prop_assert_eq!(applied, desired.objects.len());
            }
        }

        #[test]
        fn the_order_of_files_does_not_change_what_is_done(mut objects in prop::collection::vec(any_object(), 0..10)) {
            let mut seen = BTreeSet::new();
            objects.retain(|object| seen.insert(object.reference.clone()));
            let there = sample::desired(objects.clone());
            objects.reverse();
            let back = sample::desired(objects);
            let names = |desired: &Desired| -> BTreeSet<String> {
                plan(desired, sample::absent(desired)).operations.iter().map(|o| sample::label(&o.kind)).collect()
            };
            prop_assert_eq!(names(&there), names(&back));
        }
    }

    #[test]
    fn a_value_from_a_server_without_dry_run_is_compared_by_what_is_written() {
        let desired = sample::desired(vec![sample::deployment("api", &[])]);
        let mut observed = sample::unchanged(&desired);
        let object = observed.objects.values_mut().next().unwrap();
        object.dry_run = DryRun::Deferred { because: "a webhook takes no dry runs".to_owned() };
        let Live::Present(live) = &mut object.live else { panic!() };
        live["spec"]["strategy"] = Value::String("defaulted".to_owned());
        let plan = plan(&desired, observed);
        assert_eq!(sample::label(&plan.operations[1].kind), "unchanged Deployment api");
    }
}
