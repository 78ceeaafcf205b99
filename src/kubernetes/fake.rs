//! An API server in process for tests: collections, watches, server-side apply in its simplest form, and faults on order.

use super::Cluster;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, watch};

/// The server; clones share it.
#[derive(Clone)]
pub(crate) struct FakeServer(Arc<Shared>);

/// What the clones share.
struct Shared {
    /// Everything that requests read and change.
    world: Mutex<World>,
    /// Watch events: collection, event.
    events: broadcast::Sender<(String, Value)>,
    /// The collections that are watched now, in the order in which the watches began.
    watched: watch::Sender<Vec<String>>,
}

/// What exists.
#[derive(Default)]
struct World {
    /// Objects by collection and name.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    /// The version of the last change.
    version: u64,
    /// Every request, `VERB path?query`.
    log: Vec<String>,
    /// The bodies of all PATCH requests.
    bodies: Vec<Value>,
    /// Answers that come before any other.
    answers: VecDeque<(u16, String, Option<u32>)>,
    /// Objects whose apply is answered with this, by name.
    refusals: BTreeMap<String, (u16, Value)>,
}

impl FakeServer {
    /// A server without objects.
    pub(crate) fn start() -> Self {
        let shared = Shared {
            world: Mutex::default(),
            events: broadcast::channel(1024).0,
            watched: watch::channel(Vec::new()).0,
        };
        Self(Arc::new(shared))
    }

    /// A client of it.
    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(Router::new().fallback(answer).with_state(self.clone()), "default")
    }

    /// A cluster on it.
    pub(crate) async fn cluster(&self) -> Cluster {
        Cluster::over(self.client(), "https://203.0.113.1:443".to_owned()).await.unwrap()
    }

    /// Every request so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.world().log.clone()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget(&self) {
        self.world().log.clear();
    }

    /// The bodies of all PATCH requests so far.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.world().bodies.clone()
    }

    /// Creates or changes an object as a controller would.
    pub(crate) fn put(&self, collection: &str, object: Value) {
        self.store(collection, object);
    }

    /// An object of a collection.
    pub(crate) fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.world().objects.get(collection)?.get(name).cloned()
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, collection: &str, name: &str) {
        let mut world = self.world();
        world.version += 1;
        let version = world.version.to_string();
        let Some(mut object) = world.objects.get_mut(collection).and_then(|objects| objects.remove(name)) else {
            return;
        };
        object["metadata"]["resourceVersion"] = version.into();
        let _ = self.0.events.send((collection.to_owned(), json!({ "type": "DELETED", "object": object })));
    }

    /// Answers the next request with a status.
    pub(crate) fn fail_next(&self, code: u16, message: &str, retry_after: Option<u32>) {
        let status = json!({ "kind": "Status", "code": code, "message": message, "reason": "" });
        self.world().answers.push_back((code, status.to_string(), retry_after));
    }

    /// Answers the next request with this body.
    pub(crate) fn answer_next(&self, code: u16, body: &Value) {
        self.world().answers.push_back((code, body.to_string(), None));
    }

    /// Answers every apply of objects of this name with this status.
    pub(crate) fn refuse(&self, name: &str, code: u16, body: Value) {
        self.world().refusals.insert(name.to_owned(), (code, body));
    }

    /// Ends all watches, as a server does after some minutes.
    pub(crate) fn end_watches(&self) {
        self.0.watched.send_modify(Vec::clear);
        let _ = self.0.events.send((String::new(), Value::Null));
    }

    /// Tells all watches that their version is too old.
    pub(crate) fn fail_watches_with_gone(&self) {
        let status = json!({ "kind": "Status", "code": 410, "message": "too old", "reason": "Expired" });
        let _ = self.0.events.send(("*".to_owned(), json!({ "type": "ERROR", "object": status })));
    }

    /// Comes back when a collection is watched.
    pub(crate) async fn watching(&self, collection: &str) {
        let mut watched = self.0.watched.subscribe();
        watched.wait_for(|all| all.iter().any(|one| one == collection)).await.unwrap();
    }

    /// Stores an object with the metadata that a server gives it.
    fn store(&self, collection: &str, mut object: Value) -> Value {
        let mut world = self.world();
        world.version += 1;
        let version = world.version;
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let objects = world.objects.entry(collection.to_owned()).or_default();
        let old = objects.get(&name);
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        stamp(&mut object, old, version);
        objects.insert(name, object.clone());
        let _ = self.0.events.send((collection.to_owned(), json!({ "type": kind, "object": object })));
        object
    }

    /// What exists.
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives an object what the server gives it: version, uid, generation.
fn stamp(object: &mut Value, old: Option<&Value>, version: u64) {
    let uid = old.map_or_else(|| json!(format!("uid-{version}")), |old| old["metadata"]["uid"].clone());
    let generation = old.map_or(0, |old| old["metadata"]["generation"].as_i64().unwrap_or(0));
    let moved = old.is_none_or(|old| old["spec"] != object["spec"]);
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object["metadata"]["uid"] = uid;
    if object.get("spec").is_some() {
        object["metadata"]["generation"] = json!(generation + i64::from(moved));
    }
}

/// Answers one request.
async fn answer(State(server): State<FakeServer>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let (path, query) =
        (head.uri.path().to_owned(), head.uri.query().map(|query| format!("?{query}")).unwrap_or_default());
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    {
        let mut world = server.world();
        world.log.push(format!("{} {path}{query}", head.method));
        if let Some((code, body, retry_after)) = world.answers.pop_front() {
            let mut response = reply(code, body);
            if let Some(seconds) = retry_after {
                response.headers_mut().insert("retry-after", seconds.into());
            }
            return response;
        }
    }
    match (head.method.as_str(), path.as_str()) {
        ("GET", "/api") => reply(200, core_kinds().to_string()),
        ("GET", "/apis") => reply(200, group_kinds().to_string()),
        ("GET", path) if path.ends_with("/log") => reply(200, "first line\nsecond line\n".to_owned()),
        ("GET", path) if query.contains("watch=true") => watch_stream(&server, path),
        ("GET", path) => reply(200, list(&server, path, &query).to_string()),
        ("PATCH", path) => patch(&server, path, &query, &bytes),
        _ => reply(405, String::new()),
    }
}

/// A JSON answer.
fn reply(code: u16, body: String) -> Response {
    (axum::http::StatusCode::from_u16(code).unwrap(), [("content-type", "application/json")], body).into_response()
}

/// The list of a collection.
fn list(server: &FakeServer, path: &str, query: &str) -> Value {
    let world = server.world();
    let only = query.split("metadata.name%3D").nth(1).and_then(|rest| rest.split('&').next());
    let items: Vec<&Value> = world
        .objects
        .get(path)
        .into_iter()
        .flatten()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .map(|(_, object)| object)
        .collect();
    json!({ "metadata": { "resourceVersion": world.version.to_string() }, "items": items })
}

/// The stream of a watch. (Events between LIST and WATCH are replayed as `ADDED` of everything.)
fn watch_stream(server: &FakeServer, path: &str) -> Response {
    let receiver = server.0.events.subscribe();
    let now = server.world().objects.get(path).cloned().unwrap_or_default();
    server.0.watched.send_modify(|watched| watched.push(path.to_owned()));
    let first: VecDeque<Value> =
        now.into_values().map(|object| json!({ "type": "MODIFIED", "object": object })).collect();
    let state = (first, receiver, path.to_owned());
    let stream = futures::stream::unfold(state, |(mut first, mut receiver, path)| async move {
        if let Some(event) = first.pop_front() {
            return Some((line(&event), (first, receiver, path)));
        }
        loop {
            let (collection, event) = receiver.recv().await.ok()?;
            if collection.is_empty() {
                return None;
            }
            if collection == path || collection == "*" {
                return Some((line(&event), (first, receiver, path)));
            }
        }
    });
    Body::from_stream(stream.map(Ok::<_, std::convert::Infallible>)).into_response()
}

/// One line of a watch.
fn line(event: &Value) -> Bytes {
    Bytes::from(format!("{event}\n"))
}

/// Server-side apply: the body is laid over what exists.
fn patch(server: &FakeServer, path: &str, query: &str, bytes: &[u8]) -> Response {
    let body: Value = serde_json::from_slice(bytes).unwrap();
    server.world().bodies.push(body.clone());
    let (collection, name) = path.rsplit_once('/').unwrap();
    if let Some((code, body)) = server.world().refusals.get(name).cloned() {
        return reply(code, body.to_string());
    }
    let old = server.get(collection, name);
    let mut object = old.clone().unwrap_or_else(|| json!({}));
    overlay(&mut object, &body);
    if query.contains("dryRun=All") {
        let version = server.world().version;
        stamp(&mut object, old.as_ref(), version);
        return reply(200, object.to_string());
    }
    reply(200, server.store(collection, object).to_string())
}

/// Lays one value over another: mappings merge, everything else is replaced.
fn overlay(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                overlay(under.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// The kinds of the core group, as aggregated discovery tells them.
fn core_kinds() -> Value {
    let kinds = [
        ("pods", "Pod"),
        ("services", "Service"),
        ("configmaps", "ConfigMap"),
        ("secrets", "Secret"),
        ("events", "Event"),
        ("serviceaccounts", "ServiceAccount"),
        ("persistentvolumeclaims", "PersistentVolumeClaim"),
        ("replicationcontrollers", "ReplicationController"),
    ];
    let mut resources: Vec<Value> = kinds.iter().map(|(plural, kind)| resource("", plural, kind, true)).collect();
    resources.push(resource("", "namespaces", "Namespace", false));
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
            "items": [{ "metadata": { "name": "" }, "versions": [{ "version": "v1", "resources": resources }] }] })
}

/// The kinds of the other groups.
fn group_kinds() -> Value {
    let groups = [
        (
            "apps",
            "v1",
            vec![
                ("deployments", "Deployment"),
                ("replicasets", "ReplicaSet"),
                ("statefulsets", "StatefulSet"),
                ("daemonsets", "DaemonSet"),
                ("controllerrevisions", "ControllerRevision"),
            ],
        ),
        ("batch", "v1", vec![("jobs", "Job"), ("cronjobs", "CronJob")]),
        ("autoscaling", "v2", vec![("horizontalpodautoscalers", "HorizontalPodAutoscaler")]),
        ("discovery.k8s.io", "v1", vec![("endpointslices", "EndpointSlice")]),
        ("networking.k8s.io", "v1", vec![("ingresses", "Ingress")]),
    ];
    let mut items: Vec<Value> = groups
        .iter()
        .map(|(group, version, kinds)| {
            let resources: Vec<Value> =
                kinds.iter().map(|(plural, kind)| resource(group, plural, kind, true)).collect();
            json!({ "metadata": { "name": group }, "versions": [{ "version": version, "resources": resources }] })
        })
        .collect();
    let definitions = resource("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition", false);
    items.push(json!({ "metadata": { "name": "apiextensions.k8s.io" },
                       "versions": [{ "version": "v1", "resources": [definitions] }] }));
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items })
}

/// One kind of a group.
fn resource(group: &str, plural: &str, kind: &str, namespaced: bool) -> Value {
    json!({ "resource": plural, "responseKind": { "group": group, "version": "", "kind": kind },
            "scope": if namespaced { "Namespaced" } else { "Cluster" }, "singularResource": kind.to_lowercase(),
            "verbs": ["get", "list", "watch", "patch", "create", "delete"] })
}
