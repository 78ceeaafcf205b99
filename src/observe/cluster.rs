//! What the cluster has of the desired objects, and what an apply would make of each.
//!
//! One LIST for each kind and namespace, then one server-side dry run for each object. The lists stay with the cluster's
//! connection: the watches of the run go on from them.

use crate::desired::{Desired, DesiredObject};
use crate::error::{Failure, FailureKind};
use crate::kubernetes::{ApplyError, Cluster, Error, Mode, Scope};
use crate::model::{GroupVersionKind, ObjectRef};
use crate::plan::{Digests, DryRun, Kept, Live, ObservedObject};
use futures::StreamExt as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How many dry runs are under way at once.
const AT_ONCE: usize = 24;

/// Lists every kind and namespace of the set, for [`survey`] to find; it can run while the images are looked up.
pub(crate) async fn list(desired: &Desired, cluster: &Cluster) -> Result<(), Failure> {
    let scopes: BTreeSet<Scope> = desired.objects.iter().filter_map(|object| scope(object, cluster)).collect();
    let namespaces = desired.objects.iter().filter_map(|object| object.reference.namespace.as_deref());
    let namespaces: BTreeSet<Scope> = namespaces.map(|name| Scope::one(&namespace(name))).collect();
    let all: BTreeSet<&Scope> = scopes.union(&namespaces).collect();
    let answers = futures::future::join_all(all.into_iter().map(|scope| async move {
        match cluster.list(scope).await {
            // Who may work in a namespace may not always look at it; then it is taken to exist.
            Err(error) if scope.gvk.kind == "Namespace" && is_forbidden(&error) => Ok(()),
            answer => answer.map(drop),
        }
    }))
    .await;
    let errors: Vec<Error> = answers.into_iter().filter_map(Result::err).collect();
    match errors.split_first() {
        None => Ok(()),
        Some((first, others)) => {
            let mut failure = Failure::of(first);
            failure.messages.extend(others.iter().filter(|error| is_forbidden(error)).map(ToString::to_string));
            Err(failure)
        }
    }
}

/// The live state of each desired object and the answer of its dry run.
pub(crate) async fn survey(
    desired: &Desired,
    digests: &Digests,
    cluster: &Cluster,
) -> Result<BTreeMap<ObjectRef, ObservedObject>, Failure> {
    list(desired, cluster).await?;
    let survey = Survey { desired, digests, cluster, scalers: scalers(desired, cluster) };
    let observed = desired.objects.iter().map(|object| survey.observe(object));
    let answers: Vec<_> = futures::stream::iter(observed).buffered(AT_ONCE).collect().await;
    let (mut objects, mut refused) = (BTreeMap::new(), Vec::new());
    for (object, answer) in desired.objects.iter().zip(answers) {
        match answer {
            Ok(observed) => drop(objects.insert(object.reference.clone(), observed)),
            Err(Trouble::Refused { complaint, hint }) => refused.push((object, complaint, hint)),
            Err(Trouble::Broken(failure)) => return Err(failure),
        }
    }
    if refused.is_empty() { Ok(objects) } else { Err(refusal(&refused)) }
}

/// Why an object could not be observed.
enum Trouble {
    /// The object is wrong, others may be too.
    Refused {
        /// What is wrong with it.
        complaint: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The cluster could not be asked.
    Broken(Failure),
}

/// One failure for all objects that the server refuses, each with its place and its cause.
fn refusal(refused: &[(&DesiredObject, String, Option<String>)]) -> Failure {
    let count = if refused.len() == 1 { "an object".to_owned() } else { format!("{} objects", refused.len()) };
    let head = format!("the API server refuses {count}, nothing was written");
    let mut failure = Failure::new(FailureKind::Configuration, head);
    for (object, complaint, _) in refused {
        let place = object.origin.as_ref().map(|origin| format!(" ({origin})")).unwrap_or_default();
        failure.messages.push(format!("{}{place}: {complaint}", object.reference));
    }
    let mut hints: Vec<&str> = refused.iter().filter_map(|(_, _, hint)| hint.as_deref()).collect();
    hints.dedup();
    if hints.is_empty() {
        hints.push("correct the manifest; `kubectl explain KIND.spec` lists the fields that there are");
    }
    failure.with_hint(hints.join("\n"))
}

/// The scope that a desired object is listed in: its whole namespace, or it alone where its kind has none. `None` where
/// the server does not know the kind.
fn scope(object: &DesiredObject, cluster: &Cluster) -> Option<Scope> {
    let reference = &object.reference;
    let kind = cluster.kind(&reference.gvk).ok()?;
    let all = || Scope::all(&reference.gvk, reference.namespace.as_deref());
    Some(if kind.namespaced { all() } else { Scope::one(reference) })
}

/// A namespace as an object.
fn namespace(name: &str) -> ObjectRef {
    ObjectRef::new(GroupVersionKind::new("v1", "Namespace"), None, name)
}

/// Whether the request was not allowed.
fn is_forbidden(error: &Error) -> bool {
    error.status().is_some_and(|status| status.code == 403)
}

/// Which autoscaler sets the replicas of a workload: by namespace, kind and name of the workload.
type Scalers = BTreeMap<(String, String, String), String>;

/// The autoscalers of the set, and those that live in its namespaces where they were listed.
fn scalers(desired: &Desired, cluster: &Cluster) -> Scalers {
    let is_scaler = |gvk: &GroupVersionKind| gvk.kind == "HorizontalPodAutoscaler";
    let mut scalers = Scalers::new();
    for object in desired.objects.iter().filter(|object| is_scaler(&object.reference.gvk)) {
        let namespace = object.reference.namespace.clone().unwrap_or_default();
        note_scaler(&mut scalers, &namespace, &object.body);
        let live = cluster.listed(&Scope::all(&object.reference.gvk, Some(&namespace)));
        for scaler in live.iter().flat_map(|listed| &listed.objects) {
            note_scaler(&mut scalers, &namespace, scaler);
        }
    }
    scalers
}

/// Notes what one autoscaler scales.
fn note_scaler(scalers: &mut Scalers, namespace: &str, scaler: &Value) {
    let text = |pointer: &str| scaler.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let target = (namespace.to_owned(), text("/spec/scaleTargetRef/kind"), text("/spec/scaleTargetRef/name"));
    scalers.insert(target, format!("HorizontalPodAutoscaler {}", text("/metadata/name")));
}

/// What observing an object needs.
struct Survey<'a> {
    /// The whole set.
    desired: &'a Desired,
    /// The digests that are known.
    digests: &'a Digests,
    /// Whom to ask.
    cluster: &'a Cluster,
    /// Who sets replicas.
    scalers: Scalers,
}

impl Survey<'_> {
    /// Observes one object.
    async fn observe(&self, object: &DesiredObject) -> Result<ObservedObject, Trouble> {
        let remembered = self.cluster.remembered(&object.reference);
        if self.is_left_alone(object, remembered.is_some()) {
            let (live, dry_run) = (Live::Present(object.body.clone()), DryRun::Answered(object.body.clone()));
            return Ok(ObservedObject { live, dry_run, kept: Vec::new() });
        }
        let live = remembered.as_deref().map_or(Live::Absent, |live| Live::Present(live.clone()));
        let kept: Vec<Kept> = self.kept(object, remembered.as_deref()).into_iter().collect();
        if let Some(because) = self.deferred(object)? {
            return Ok(ObservedObject { live, dry_run: DryRun::Deferred { because }, kept });
        }
        let mut body = self.digests.fill(object);
        for kept in &kept {
            if let Some(place) = body.pointer_mut(&kept.pointer) {
                *place = kept.value.clone();
            }
        }
        let answer = self.cluster.apply(&object.reference, &body, Mode::DryRun).await;
        let (dry_run, left) = match answer {
            Ok(applied) => (DryRun::Answered(applied.object), applied.left),
            Err(error) => (DryRun::Deferred { because: Self::excuse(error)? }, Vec::new()),
        };
        let left = left.into_iter().filter_map(|conflict| {
            let pointer = conflict.field.replace('.', "/");
            let value = remembered.as_deref()?.pointer(&pointer)?.clone();
            Some(Kept { pointer, value, owner: format!("`{}`", conflict.manager) })
        });
        let kept = kept.into_iter().chain(left).collect();
        Ok(ObservedObject { live, dry_run, kept })
    }

    /// Whether this is a namespace that nobody wrote, and that is there already or may not be looked at: it is left as
    /// it is, since others may have made it.
    fn is_left_alone(&self, object: &DesiredObject, exists: bool) -> bool {
        let reference = &object.reference;
        let written = reference.kind() != "Namespace" || object.origin.is_some();
        !written && (exists || self.cluster.listed(&Scope::one(reference)).is_none())
    }

    /// The replicas of a live workload that an autoscaler sets. They are applied as they are: left out, they would fall
    /// back to 1 where nobody but us has ever set them.
    /// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership>
    fn kept(&self, object: &DesiredObject, live: Option<&Value>) -> Option<Kept> {
        let reference = &object.reference;
        let namespace = reference.namespace.clone().unwrap_or_default();
        let owner = self.scalers.get(&(namespace, reference.gvk.kind.clone(), reference.name.clone()))?.clone();
        let pointer = "/spec/replicas".to_owned();
        object.body.pointer(&pointer)?;
        let value = live?.pointer(&pointer)?.clone();
        Some(Kept { pointer, value, owner })
    }

    /// Why the server cannot be asked about an object yet, if it cannot.
    fn deferred(&self, object: &DesiredObject) -> Result<Option<String>, Trouble> {
        let reference = &object.reference;
        let kind = match self.cluster.kind(&reference.gvk) {
            Ok(kind) => kind,
            Err(_) if self.defines(&reference.gvk) => {
                return Ok(Some("its kind comes into being in this deploy".to_owned()));
            }
            Err(error) => {
                let hint = crate::error::Hint::hint(&error);
                return Err(Trouble::Refused { complaint: error.to_string(), hint });
            }
        };
        let Some(name) = reference.namespace.as_deref().filter(|_| kind.namespaced) else { return Ok(None) };
        let namespace = namespace(name);
        let listed = self.cluster.listed(&Scope::one(&namespace));
        if listed.is_none_or(|listed| listed.find(name).is_some()) {
            return Ok(None);
        }
        if self.desired.objects.iter().any(|object| object.reference == namespace) {
            return Ok(Some("its namespace comes into being in this deploy".to_owned()));
        }
        let hint = format!("add the Namespace to `manifests`, or make it: `kubectl create namespace {name}`");
        Err(Trouble::Refused { complaint: format!("namespace `{name}` does not exist"), hint: Some(hint) })
    }

    /// Whether the set defines this kind.
    fn defines(&self, gvk: &GroupVersionKind) -> bool {
        self.desired.objects.iter().any(|object| {
            object.reference.kind() == "CustomResourceDefinition"
                && object.body["spec"]["group"] == *gvk.group
                && object.body["spec"]["names"]["kind"] == *gvk.kind
        })
    }

    /// Why a dry run that failed proves nothing against the object; else the trouble that it is.
    fn excuse(error: ApplyError) -> Result<String, Trouble> {
        let complaint = error.to_string();
        match error {
            ApplyError::Invalid(_) if complaint.contains("does not support dry run") => {
                Ok("an admission webhook takes no dry runs".to_owned())
            }
            ApplyError::Invalid(_) if complaint.contains("error looking up service account") => {
                Ok("its service account comes into being in this deploy".to_owned())
            }
            ApplyError::Invalid(_) => {
                let hint = complaint.contains("immutable").then(|| {
                    "this field cannot change: give the object another name, or delete the live one first".to_owned()
                });
                Err(Trouble::Refused { complaint, hint })
            }
            ApplyError::Conflict(_) => Err(Trouble::Refused { complaint, hint: Some(conflict_hint()) }),
            ApplyError::Terminating(_) => {
                let hint = "wait until it is gone, then run the same again".to_owned();
                Err(Trouble::Broken(Failure::new(FailureKind::Infrastructure, complaint).with_hint(hint)))
            }
            ApplyError::Request(error) => Err(Trouble::Broken(Failure::of(&error))),
        }
    }
}

/// What to do about a field that somebody else owns.
fn conflict_hint() -> String {
    "leave the field out of the manifest where its owner should keep it, or take it over once:\n\
     `kubectl apply --server-side --field-manager=seaway --force-conflicts -f FILE`"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Origin;
    use crate::kubernetes::fake::FakeServer;
    use crate::plan::sample;
    use serde_json::json;

    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/todo/deployments";
    const NAMESPACES: &str = "/api/v1/namespaces";

    /// A server with the namespace.
    fn server() -> FakeServer {
        let server = FakeServer::start();
        server.put(NAMESPACES, json!({ "metadata": { "name": "todo" } }));
        server
    }

    async fn survey_of(server: &FakeServer, desired: &Desired) -> Result<BTreeMap<ObjectRef, ObservedObject>, Failure> {
        let digests = Digests::new(&desired.images, BTreeMap::new(), BTreeMap::new());
        let cluster = server.cluster().await;
        server.forget();
        survey(desired, &digests, &cluster).await
    }

    #[tokio::test]
    async fn one_list_for_a_kind_and_one_dry_run_for_an_object() {
        let server = server();
        let objects = vec![
            sample::object("v1", "ConfigMap", "settings", json!({})),
            sample::deployment("api", &["api"]),
            sample::deployment("worker", &["api"]),
        ];
        let observed = survey_of(&server, &sample::desired(objects)).await.unwrap();
        assert_eq!(observed.len(), 3);
        let log = server.log();
        let count = |start: &str| log.iter().filter(|line| line.starts_with(start)).count();
        assert_eq!((count("GET"), count("PATCH"), log.len()), (3, 3, 6), "{log:?}");
        assert!(log.iter().filter(|line| line.starts_with("PATCH")).all(|line| line.contains("dryRun=All")));
    }

    #[tokio::test]
    async fn in_a_namespace_to_come_nothing_is_asked() {
        let server = FakeServer::start();
        let objects = vec![sample::object("v1", "Namespace", "todo", json!({})), sample::deployment("api", &[])];
        let observed = survey_of(&server, &sample::desired(objects)).await.unwrap();
        let deferred = |object: &ObservedObject| matches!(object.dry_run, DryRun::Deferred { .. });
        assert_eq!(observed.values().filter(|object| deferred(object)).count(), 1);
        assert_eq!(server.log().iter().filter(|line| line.starts_with("PATCH")).count(), 1);
    }

    #[tokio::test]
    async fn a_namespace_that_nobody_makes_is_an_error() {
        let failure = survey_of(&FakeServer::start(), &sample::desired(vec![sample::deployment("api", &[])])).await;
        let failure = failure.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Configuration);
        assert!(failure.to_string().contains("namespace `todo` does not exist"), "{failure}");
    }

    #[tokio::test]
    async fn a_namespace_out_of_sight_is_taken_to_exist() {
        let server = server();
        let desired = sample::desired(vec![sample::object("v1", "Namespace", "todo", json!({}))]);
        let cluster = server.cluster().await;
        server.fail_next(403, r#"namespaces "todo" is forbidden: User "ci" cannot list resource"#, None);
        let observed = survey(&desired, &Digests::default(), &cluster).await.unwrap();
        assert!(matches!(observed.values().next().unwrap().live, Live::Present(_)));
        assert!(server.bodies().is_empty());
    }

    #[tokio::test]
    async fn kinds_that_the_set_defines_are_deferred_and_others_are_errors() {
        let definition = json!({ "spec": { "group": "example.com", "names": { "kind": "Widget" } } });
        let definition = sample::object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets", definition);
        let widget = sample::object("example.com/v1", "Widget", "one", json!({}));
        let observed = survey_of(&server(), &sample::desired(vec![definition, widget.clone()])).await.unwrap();
        assert!(matches!(observed[&widget.reference].dry_run, DryRun::Deferred { .. }));
        let failure = survey_of(&server(), &sample::desired(vec![widget])).await.unwrap_err();
        assert!(failure.to_string().contains("no kind `Widget` in `example.com/v1`"), "{failure}");
    }

    #[tokio::test]
    async fn every_wrong_object_is_named_with_its_place() {
        let server = server();
        let status = json!({ "kind": "Status", "code": 422, "message": "is invalid", "details": {
            "causes": [{ "reason": "FieldValueInvalid", "message": "must not be negative", "field": "spec.replicas" }] } });
        server.refuse("api", 422, status.clone());
        server.refuse("worker", 422, status);
        let mut api = sample::deployment("api", &[]);
        api.origin = Some(Origin { file: "k8s/api.yaml".into(), line: 7 });
        let desired = sample::desired(vec![api, sample::deployment("worker", &[]), sample::deployment("fine", &[])]);
        let failure = survey_of(&server, &desired).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Configuration);
        assert_eq!(
            failure.messages,
            [
                "the API server refuses 2 objects, nothing was written",
                "Deployment api (k8s/api.yaml:7): `spec.replicas`: must not be negative",
                "Deployment worker: `spec.replicas`: must not be negative",
            ]
        );
    }

    #[tokio::test]
    async fn replicas_of_a_live_workload_stay_with_its_autoscaler() {
        let server = server();
        server.put(DEPLOYMENTS, json!({ "metadata": { "name": "api" }, "spec": { "replicas": 8 } }));
        let target = json!({ "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "api" } } });
        let scaler = sample::object("autoscaling/v2", "HorizontalPodAutoscaler", "api", target);
        let api = sample::deployment("api", &[]);
        let observed = survey_of(&server, &sample::desired(vec![api.clone(), scaler])).await.unwrap();
        let kept = &observed[&api.reference].kept;
        assert_eq!((kept.len(), &kept[0].value), (1, &json!(8)));
        let sent = server.bodies().into_iter().find(|body| body["kind"] == "Deployment").unwrap();
        assert_eq!(sent["spec"]["replicas"], 8);
    }
}
