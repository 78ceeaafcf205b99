//! One watch for a scope: LIST where nothing was listed yet, then WATCH from there on, for as long as the run lasts.

use super::cluster::{Cluster, WeakCluster};
use super::{Error, Listed, Reflector, Scope};
use futures::StreamExt as _;
use kube::core::WatchEvent;
use kube::core::params::WatchParams;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The server ends a watch after this; it must be below 295 s by the client library's own check.
const SERVER_TIMEOUT: u32 = 290;

/// A bookmark comes about once a minute: a watch that is silent for longer hangs on a dead connection.
const SILENCE: Duration = Duration::from_secs(90);

/// The longest pause before a watch is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How a watch ended.
enum End {
    /// The server or the silence ended it: it goes on from the last version.
    Over,
    /// The last version is too old (410): the scope must be listed again.
    Gone,
    /// It could not be made or broke.
    Failed(Error),
}

impl Cluster {
    /// Watches a scope, from what was listed if it was; the same watch serves everybody who asks.
    pub(crate) fn watch(&self, scope: &Scope) -> Reflector {
        let mut reflectors = self.locked_reflectors();
        if let Some(reflector) = reflectors.get(scope) {
            return reflector.clone();
        }
        let reflector = Reflector::new(self.change_sender());
        let listed = self.locked_listed().get(scope).cloned();
        reflector.runs(run(self.weak(), scope.clone(), listed, reflector.clone()));
        reflectors.insert(scope.clone(), reflector.clone());
        reflector
    }
}

/// Keeps a reflector true until the cluster is dropped or the watch is forbidden.
async fn run(cluster: WeakCluster, scope: Scope, listed: Option<Arc<Listed>>, reflector: Reflector) {
    let mut version = String::new();
    if let Some(listed) = listed {
        reflector.replace(&listed);
        version.clone_from(&listed.resource_version);
    }
    let mut failures = 0;
    while let Some(cluster) = cluster.upgrade() {
        let end = step(cluster, &scope, &mut version, &reflector).await;
        match end {
            End::Over => failures = 0,
            End::Gone => version.clear(),
            End::Failed(error) => {
                let forbidden = error.status().is_some_and(|status| status.code == 403);
                tracing::debug!(%scope, %error, "the watch broke");
                reflector.set_trouble(Some(error));
                if forbidden {
                    return;
                }
                failures += 1;
                sleep(pause(failures)).await;
            }
        }
    }
}

/// The pause after this many failures in a row.
fn pause(failures: u32) -> Duration {
    Duration::from_millis(250).saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE)
}

/// Lists if that must be, and follows one watch to its end.
async fn step(cluster: Cluster, scope: &Scope, version: &mut String, reflector: &Reflector) -> End {
    if version.is_empty() {
        match cluster.list_anew(scope).await {
            Ok(listed) => {
                reflector.replace(&listed);
                *version = listed.resource_version;
            }
            Err(error) => return End::Failed(error),
        }
    }
    match follow(cluster, scope, version, reflector).await {
        Ok(end) => end,
        Err(error) => End::Failed(error),
    }
}

/// Follows one watch to its end. The cluster is let go while the stream runs.
async fn follow(cluster: Cluster, scope: &Scope, version: &mut String, reflector: &Reflector) -> Result<End, Error> {
    let kind = cluster.kind(&scope.gvk)?;
    let doing = format!("watch {scope}");
    let server = cluster.server().to_owned();
    let params = WatchParams {
        bookmarks: true,
        timeout: Some(SERVER_TIMEOUT),
        field_selector: scope.selector(),
        ..WatchParams::default()
    };
    let request = kind.requests(scope.namespace.as_deref()).watch(&params, version);
    let request = request.map_err(|error| cluster.malformed(&doing, &error.to_string()))?;
    let client = cluster.client().clone();
    drop(cluster);
    let opened = timeout(SILENCE, client.request_events::<Value>(request)).await;
    let events = match opened {
        Ok(Ok(events)) => events,
        Ok(Err(error)) => return ended(error, &doing, &server),
        Err(_) => return Ok(End::Over),
    };
    reflector.set_trouble(None);
    let mut events = std::pin::pin!(events);
    loop {
        match timeout(SILENCE, events.next()).await {
            Ok(Some(Ok(event))) => {
                if let Some(status) = take(event, scope, version, reflector) {
                    return ended(kube::Error::Api(status), &doing, &server);
                }
            }
            Ok(Some(Err(error))) => return ended(error, &doing, &server),
            Ok(None) | Err(_) => return Ok(End::Over),
        }
    }
}

/// Takes in one event; gives the status back where it is an error.
fn take(
    event: WatchEvent<Value>,
    scope: &Scope,
    version: &mut String,
    reflector: &Reflector,
) -> Option<Box<kube::core::Status>> {
    let mut note = |object: &Value| {
        if let Some(text) = object["metadata"]["resourceVersion"].as_str() {
            text.clone_into(version);
        }
    };
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => {
            note(&object);
            reflector.put(scope.typed(object));
        }
        WatchEvent::Deleted(object) => {
            note(&object);
            reflector.remove(&object);
        }
        WatchEvent::Bookmark(bookmark) => version.clone_from(&bookmark.metadata.resource_version),
        WatchEvent::Error(status) => return Some(status),
    }
    None
}

/// What an error in a watch means for it.
fn ended(error: kube::Error, doing: &str, server: &str) -> Result<End, Error> {
    match error {
        kube::Error::Api(status) if status.code == 410 => Ok(End::Gone),
        // A connection that breaks in the middle is the ordinary end of a long watch behind a proxy.
        kube::Error::ReadEvents(_) => Ok(End::Over),
        other => Err(Error::of(other, doing, server)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::fake::FakeServer;
    use crate::model::GroupVersionKind;
    use serde_json::json;

    const PODS: &str = "/api/v1/namespaces/todo/pods";

    fn scope() -> Scope {
        Scope::all(&GroupVersionKind::new("v1", "Pod"), Some("todo"))
    }

    async fn until(cluster: &Cluster, done: impl Fn() -> bool) {
        let mut changes = cluster.changes();
        while !done() {
            timeout(Duration::from_secs(10), changes.changed()).await.expect("no change within 10 s").unwrap();
        }
    }

    #[tokio::test]
    async fn a_watch_goes_on_from_what_was_listed() {
        let server = FakeServer::start();
        server.put(PODS, json!({ "metadata": { "name": "a" } }));
        let cluster = server.cluster().await;
        cluster.list(&scope()).await.unwrap();
        let reflector = cluster.watch(&scope());
        until(&cluster, || reflector.get("a").is_some()).await;
        server.put(PODS, json!({ "metadata": { "name": "b" } }));
        until(&cluster, || reflector.get("b").is_some()).await;
        server.delete(PODS, "a");
        until(&cluster, || reflector.get("a").is_none()).await;
        let lists = server.log().iter().filter(|line| line.starts_with("GET") && line.contains("limit=")).count();
        assert_eq!(lists, 1, "{:?}", server.log());
    }

    #[tokio::test]
    async fn a_watch_that_ends_goes_on_without_a_list() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        let reflector = cluster.watch(&scope());
        until(&cluster, || reflector.is_synced()).await;
        server.watching(PODS).await;
        server.end_watches();
        server.put(PODS, json!({ "metadata": { "name": "late" } }));
        until(&cluster, || reflector.get("late").is_some()).await;
        let lists = server.log().iter().filter(|line| line.contains("limit=")).count();
        assert_eq!(lists, 1, "{:?}", server.log());
    }

    #[tokio::test]
    async fn a_version_that_is_too_old_is_listed_again() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        let reflector = cluster.watch(&scope());
        server.watching(PODS).await;
        server.put(PODS, json!({ "metadata": { "name": "lost" } }));
        server.fail_watches_with_gone();
        until(&cluster, || {
            reflector.get("lost").is_some() && server.log().iter().filter(|l| l.contains("limit=")).count() == 2
        })
        .await;
    }

    #[tokio::test]
    async fn a_forbidden_watch_ends_and_says_why() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        server.fail_next(403, "pods is forbidden", None);
        let reflector = cluster.watch(&scope());
        until(&cluster, || reflector.trouble().is_some()).await;
        assert!(reflector.trouble().unwrap().to_string().contains("pods is forbidden"));
    }
}
