//! One cluster: its connection, its kinds, what was listed and what is watched.
//!
//! A LIST is made once for a [`Scope`] and remembered with its resource version; the watch of the same scope goes on
//! from there. So no object is read again once its watch runs.

use super::Access;
use super::discovery::{Kind, Kinds, discover};
use super::error::Error;
use super::reflector::Reflector;
use super::retry::Patience;
use crate::model::{GroupVersionKind, ObjectRef};
use http_body_util::BodyExt as _;
use kube::core::Status;
use kube::core::params::ListParams;
use kube::core::response::StatusDetails;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Semaphore, watch as changes};
use tokio::time::{sleep, timeout};

/// A request that has no answer within this has none: the server's own limit is 60 s, for the slowest webhooks 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

/// More requests at once would be throttled by a small API server, not served sooner.
const IN_FLIGHT: usize = 24;

/// The size of a page of a LIST.
const PAGE: u32 = 500;

/// A connection to a cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Inner>);

/// What the clones of a connection share.
struct Inner {
    /// The client library's connection.
    client: kube::Client,
    /// The server's address, for people.
    server: String,
    /// The kinds of the server.
    kinds: RwLock<Arc<Kinds>>,
    /// What was listed so far.
    listed: Mutex<HashMap<Scope, Arc<Listed>>>,
    /// What is watched.
    reflectors: Mutex<HashMap<Scope, Reflector>>,
    /// Bounds the requests that are under way.
    permits: Semaphore,
    /// Moves on with every change of a watched object.
    changes: changes::Sender<u64>,
}

/// What is listed and watched together: the objects of a kind in a namespace, or a single one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Scope {
    /// The kind.
    pub(crate) gvk: GroupVersionKind,
    /// The namespace; `None` for kinds that live in none.
    pub(crate) namespace: Option<String>,
    /// The one object that is meant, where only one is.
    pub(crate) only: Option<String>,
}

/// What a LIST answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    /// The objects, whole.
    pub(crate) objects: Vec<Arc<Value>>,
    /// The version of the list, from which a watch goes on.
    pub(crate) resource_version: String,
}

impl Cluster {
    /// Connects and learns the kinds of the server.
    pub(crate) async fn connect(access: Access) -> Result<Self, Error> {
        let config = access.config().await?;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = kube::Client::try_from(config).map_err(|error| Error::of(error, "connect", &server))?;
        Self::over(client, server).await
    }

    /// A cluster behind a client that is already there.
    pub(super) async fn over(client: kube::Client, server: String) -> Result<Self, Error> {
        let cluster = Self(Arc::new(Inner {
            client,
            server,
            kinds: RwLock::default(),
            listed: Mutex::default(),
            reflectors: Mutex::default(),
            permits: Semaphore::new(IN_FLIGHT),
            changes: changes::channel(0).0,
        }));
        cluster.rediscover().await?;
        Ok(cluster)
    }

    /// Learns the kinds of the server anew, after a `CustomResourceDefinition` came in.
    pub(crate) async fn rediscover(&self) -> Result<(), Error> {
        let kinds = Arc::new(patiently(Patience::CONNECT, || self.discover_once()).await?);
        *self.0.kinds.write().unwrap_or_else(PoisonError::into_inner) = kinds;
        Ok(())
    }

    /// Asks once which kinds there are.
    async fn discover_once(&self) -> Result<Kinds, Error> {
        match timeout(REQUEST_TIMEOUT, discover(&self.0.client)).await {
            Ok(answer) => answer.map_err(|error| Error::of(error, "ask which kinds there are", &self.0.server)),
            Err(_) => Err(self.unanswered()),
        }
    }

    /// The server's address.
    pub(crate) fn server(&self) -> &str {
        &self.0.server
    }

    /// A kind, if the server knows it.
    pub(crate) fn kind(&self, gvk: &GroupVersionKind) -> Result<Kind, Error> {
        let kinds = self.0.kinds.read().unwrap_or_else(PoisonError::into_inner).clone();
        kinds.get(gvk).cloned().ok_or_else(|| Error::UnknownKind {
            api_version: gvk.api_version(),
            kind: gvk.kind.clone(),
            known: kinds.versions_of(&gvk.kind),
        })
    }

    /// Lists a scope, once: the second time the first answer is given again.
    pub(crate) async fn list(&self, scope: &Scope) -> Result<Arc<Listed>, Error> {
        if let Some(listed) = self.locked_listed().get(scope) {
            return Ok(listed.clone());
        }
        let listed = Arc::new(self.list_anew(scope).await?);
        self.locked_listed().insert(scope.clone(), listed.clone());
        Ok(listed)
    }

    /// What was listed for a scope, if it was.
    pub(crate) fn listed(&self, scope: &Scope) -> Option<Arc<Listed>> {
        self.locked_listed().get(scope).cloned()
    }

    /// Lists a scope, page by page.
    pub(super) async fn list_anew(&self, scope: &Scope) -> Result<Listed, Error> {
        let kind = self.kind(&scope.gvk)?;
        let doing = format!("list {scope}");
        let mut listed = Listed::default();
        let mut params = ListParams { limit: Some(PAGE), field_selector: scope.selector(), ..ListParams::default() };
        loop {
            let request = || kind.requests(scope.namespace.as_deref()).list(&params);
            let mut page = self.send(&doing, request).await?;
            let items = page["items"].take();
            let Value::Array(items) = items else { return Err(self.malformed(&doing, "it has no `items`")) };
            listed.objects.extend(items.into_iter().map(|object| Arc::new(scope.typed(object))));
            if listed.resource_version.is_empty() {
                text(&page["metadata"]["resourceVersion"]).clone_into(&mut listed.resource_version);
            }
            let more = text(&page["metadata"]["continue"]);
            if more.is_empty() {
                return Ok(listed);
            }
            params.continue_token = Some(more.to_owned());
        }
    }

    /// The object as it was when it was listed, if it was.
    pub(crate) fn remembered(&self, object: &ObjectRef) -> Option<Arc<Value>> {
        let listed = self.locked_listed();
        let scopes = [Scope::all(&object.gvk, object.namespace.as_deref()), Scope::one(object)];
        scopes.iter().find_map(|scope| listed.get(scope)?.find(&object.name))
    }

    /// The scope in which this object is listed already, or a scope for it alone.
    pub(crate) fn scope_of(&self, object: &ObjectRef) -> Scope {
        let all = Scope::all(&object.gvk, object.namespace.as_deref());
        let known = self.locked_listed().contains_key(&all) || self.locked_reflectors().contains_key(&all);
        if known { all } else { Scope::one(object) }
    }

    /// Shows the answer of a write to whoever watches the object.
    pub(crate) fn offer(&self, object: &ObjectRef, answer: Value) {
        let scope = self.scope_of(object);
        let reflector = self.locked_reflectors().get(&scope).cloned();
        if let Some(reflector) = reflector {
            reflector.offer(answer);
        }
    }

    /// Ends all watches.
    pub(crate) fn stop_watching(&self) {
        for (_, reflector) in self.locked_reflectors().drain() {
            reflector.stop();
        }
    }

    /// Moves on with every change of any watched object.
    pub(crate) fn changes(&self) -> changes::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Where a watch tells of its changes.
    pub(super) fn change_sender(&self) -> changes::Sender<u64> {
        self.0.changes.clone()
    }

    /// Sends a request that may be repeated, until it is answered with success or an error that is to be believed.
    pub(super) async fn send(
        &self,
        doing: &str,
        request: impl Fn() -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, Error> {
        let text = self.send_for_text(doing, request).await?;
        serde_json::from_str(&text).map_err(|error| self.malformed(doing, &error.to_string()))
    }

    /// The same for an answer that is plain text.
    pub(super) async fn send_for_text(
        &self,
        doing: &str,
        request: impl Fn() -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<String, Error> {
        let attempt = || {
            let request = request().map_err(|error| self.malformed(doing, &error.to_string()));
            async move {
                let _permit = self.0.permits.acquire().await;
                match timeout(REQUEST_TIMEOUT, self.send_once(doing, request?)).await {
                    Ok(answer) => answer,
                    Err(_) => Err(self.unanswered()),
                }
            }
        };
        patiently(Patience::REQUEST, attempt).await
    }

    /// One request and its answer, where the answer is success.
    async fn send_once(&self, doing: &str, request: http::Request<Vec<u8>>) -> Result<String, Error> {
        tracing::debug!(method = %request.method(), uri = %request.uri(), "request to the API server");
        let of = |error| Error::of(error, doing, &self.0.server);
        let answer = self.0.client.send(request.map(kube::client::Body::from)).await.map_err(of)?;
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.map_err(of)?.to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if head.status.is_success() { Ok(text) } else { Err(of(kube::Error::Api(Box::new(status(&head, &text))))) }
    }

    /// A stream of watch events.
    pub(super) fn client(&self) -> &kube::Client {
        &self.0.client
    }

    /// The same cluster without keeping it alive: a watch must not outlive the run.
    pub(super) fn weak(&self) -> WeakCluster {
        WeakCluster(Arc::downgrade(&self.0))
    }

    /// The error for an answer that makes no sense.
    pub(super) fn malformed(&self, doing: &str, cause: &str) -> Error {
        Error::Malformed { doing: doing.to_owned(), server: self.0.server.clone(), cause: cause.to_owned() }
    }

    /// The error for a request without an answer.
    fn unanswered(&self) -> Error {
        let cause = format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
        Error::Unreachable { server: self.0.server.clone(), cause }
    }

    /// The lists so far.
    pub(super) fn locked_listed(&self) -> MutexGuard<'_, HashMap<Scope, Arc<Listed>>> {
        self.0.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watches so far.
    pub(super) fn locked_reflectors(&self) -> MutexGuard<'_, HashMap<Scope, Reflector>> {
        self.0.reflectors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cluster that a watch holds on to only while somebody else does.
#[derive(Clone)]
pub(super) struct WeakCluster(std::sync::Weak<Inner>);

/// A watch holds its own connection: it ends with the cluster.
impl Drop for Inner {
    fn drop(&mut self) {
        let reflectors = self.reflectors.get_mut().unwrap_or_else(PoisonError::into_inner);
        reflectors.values().for_each(Reflector::stop);
    }
}

impl WeakCluster {
    /// The cluster, unless the run is over.
    pub(super) fn upgrade(&self) -> Option<Cluster> {
        self.0.upgrade().map(Cluster)
    }
}

impl Scope {
    /// All objects of a kind in a namespace.
    pub(crate) fn all(gvk: &GroupVersionKind, namespace: Option<&str>) -> Self {
        Self { gvk: gvk.clone(), namespace: namespace.map(str::to_owned), only: None }
    }

    /// One object.
    pub(crate) fn one(object: &ObjectRef) -> Self {
        let (gvk, namespace) = (object.gvk.clone(), object.namespace.clone());
        Self { gvk, namespace, only: Some(object.name.clone()) }
    }

    /// The field selector of LIST and WATCH. Every kind supports this field, and RBAC takes it for a resource name:
    /// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources>.
    pub(super) fn selector(&self) -> Option<String> {
        self.only.as_ref().map(|name| format!("metadata.name={name}"))
    }

    /// The object with its `apiVersion` and `kind`, which the items of a LIST lack.
    pub(super) fn typed(&self, mut object: Value) -> Value {
        if let Value::Object(fields) = &mut object {
            fields.entry("apiVersion").or_insert_with(|| self.gvk.api_version().into());
            fields.entry("kind").or_insert_with(|| self.gvk.kind.clone().into());
        }
        object
    }
}

/// `Deployments in todo`, `Namespace todo`.
impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.only {
            Some(name) => write!(f, "{} {name}", self.gvk.kind)?,
            None => write!(f, "every {}", self.gvk.kind)?,
        }
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

impl Listed {
    /// An object by its name.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Value>> {
        self.objects.iter().find(|object| object["metadata"]["name"] == name).cloned()
    }
}

/// Repeats what failed for a passing reason.
async fn patiently<T, F>(patience: Patience, attempt: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let (mut tries, mut paused) = (0, Duration::ZERO);
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tries += 1;
        let Some(pause) = patience.pause(&error, tries, paused) else { return Err(error) };
        tracing::debug!(%error, ?pause, "the request is repeated");
        sleep(pause).await;
        paused += pause;
    }
}

/// The text of a value, empty where it is none.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What an answer without success says: its `Status`, or one made of what a proxy in between wrote.
fn status(head: &http::response::Parts, body: &str) -> Status {
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut status = serde_json::from_str::<Status>(body)
        .ok()
        .filter(|status| !status.message.is_empty() || !status.reason.is_empty())
        .unwrap_or_else(|| Status::failure(body.lines().next().unwrap_or_default(), reason));
    status.code = head.status.as_u16();
    let header = head.headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(seconds) = header {
        status.details.get_or_insert_with(no_details).retry_after_seconds = seconds;
    }
    status
}

/// Details that say nothing.
fn no_details() -> StatusDetails {
    let (name, group, kind, uid) = Default::default();
    StatusDetails { name, group, kind, uid, causes: Vec::new(), retry_after_seconds: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::fake::FakeServer;
    use serde_json::json;

    fn deployments() -> Scope {
        Scope::all(&GroupVersionKind::new("apps/v1", "Deployment"), Some("todo"))
    }

    #[tokio::test]
    async fn a_scope_is_listed_once() {
        let server = FakeServer::start();
        server.put("/apis/apps/v1/namespaces/todo/deployments", json!({ "metadata": { "name": "api" } }));
        let cluster = server.cluster().await;
        server.forget();
        for _ in 0..2 {
            let listed = cluster.list(&deployments()).await.unwrap();
            assert_eq!(listed.objects[0]["kind"], "Deployment");
        }
        assert_eq!(server.log(), ["GET /apis/apps/v1/namespaces/todo/deployments?&limit=500"]);
    }

    #[tokio::test(start_paused = true)]
    async fn not_now_is_repeated_after_the_wait_the_server_asks_for() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        server.fail_next(503, "", Some(7));
        let start = tokio::time::Instant::now();
        cluster.list(&deployments()).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 7);
    }

    #[tokio::test]
    async fn a_refusal_is_final_and_keeps_its_words() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        server.forget();
        server.fail_next(403, "deployments.apps is forbidden", None);
        let error = cluster.list(&deployments()).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot list every Deployment in todo: deployments.apps is forbidden");
        assert_eq!(server.log().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_where_nobody_listens_is_named_with_its_cause() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let access =
            Access::Token { server: server.clone(), ca_pem: String::new(), token: crate::model::Secret::new("t") };
        let error = Cluster::connect(access).await.err().unwrap();
        let text = error.to_string();
        assert!(text.contains(&server) && text.to_lowercase().contains("connection refused"), "{text}");
    }

    #[tokio::test]
    async fn an_unknown_kind_says_where_it_is_known() {
        let cluster = FakeServer::start().cluster().await;
        let error = cluster.kind(&GroupVersionKind::new("extensions/v1beta1", "Deployment")).unwrap_err();
        assert_eq!(error.to_string(), "the cluster knows no kind `Deployment` in `extensions/v1beta1`");
        assert_eq!(crate::error::Hint::hint(&error).unwrap(), "this cluster has it in `apps/v1`");
    }
}
