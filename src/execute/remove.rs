//! Takes an application away: whatever carries its labels, then the namespace if it was made for it.

use crate::desired::{Desired, NAMESPACE_MADE_FOR, labels};
use crate::error::{Failure, FailureKind};
use crate::kubernetes::{Cluster, Scope};
use crate::model::ObjectRef;
use serde_json::Value;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest that objects may take to go: a load balancer's finalizer and a volume's detaching are the slow ones.
const PATIENCE: Duration = Duration::from_mins(10);

/// What is to be taken away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removal {
    /// The objects and their uids, in the order in which they go: who refers to others comes before them.
    pub(crate) objects: Vec<(ObjectRef, String)>,
    /// Objects of the file that exist but do not carry our labels: they stay.
    pub(crate) foreign: Vec<ObjectRef>,
    /// The namespace, where it was made for the application.
    pub(crate) namespace: Option<(ObjectRef, String)>,
}

impl Removal {
    /// Whether there is nothing to take away.
    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.namespace.is_none()
    }
}

/// What of the set exists and is ours to take away.
pub(crate) async fn survey(desired: &Desired, cluster: &Cluster) -> Result<Removal, Failure> {
    let mut removal = Removal::default();
    for object in desired.objects.iter().rev() {
        let reference = &object.reference;
        // A kind that the server does not know has no objects.
        if cluster.kind(&reference.gvk).is_err() {
            continue;
        }
        let listed = cluster.list(&Scope::one(reference)).await?;
        let Some(live) = listed.find(&reference.name) else { continue };
        let uid = live["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if reference.kind() == "Namespace" {
            if live["metadata"]["annotations"][NAMESPACE_MADE_FOR] == *desired.application {
                removal.namespace = Some((reference.clone(), uid));
            }
        } else if is_ours(&live, &desired.application) {
            removal.objects.push((reference.clone(), uid));
        } else {
            removal.foreign.push(reference.clone());
        }
    }
    Ok(removal)
}

/// Whether an object carries the labels of this application.
fn is_ours(live: &Value, application: &str) -> bool {
    let labels = &live["metadata"]["labels"];
    labels[labels::INSTANCE] == *application && labels[labels::MANAGED_BY] == "seaway"
}

/// Takes it away and waits until it is gone. `say` is told what goes on.
pub(crate) async fn remove(
    removal: &Removal,
    cluster: &Cluster,
    cancel: &CancellationToken,
    say: impl Fn(String),
) -> Result<(), Failure> {
    let work = async {
        for (object, uid) in &removal.objects {
            if cluster.delete(object, uid).await? {
                say(format!("deleting {object}"));
            }
        }
        let objects: Vec<ObjectRef> = removal.objects.iter().map(|(object, _)| object.clone()).collect();
        until_gone(cluster, &objects, &say).await?;
        if let Some((namespace, uid)) = &removal.namespace {
            cluster.delete(namespace, uid).await?;
            say(format!("deleting {namespace} with everything in it"));
            until_gone(cluster, std::slice::from_ref(namespace), &say).await?;
        }
        Ok(())
    };
    tokio::select! {
        result = work => result,
        () = cancel.cancelled() => {
            let failure = Failure::new(FailureKind::Interrupted, "stopped before everything was gone");
            Err(failure.with_hint("`seaway down` goes on with it"))
        }
    }
}

/// Waits until objects are gone, and says which still are there whenever that changes.
async fn until_gone(cluster: &Cluster, objects: &[ObjectRef], say: &impl Fn(String)) -> Result<(), Failure> {
    let mut last = Vec::new();
    let waiting = cluster.until_gone(objects, |left| {
        let names: Vec<String> = left.iter().map(ToString::to_string).collect();
        if names != last {
            if !names.is_empty() {
                say(format!("waiting for {} to be gone", names.join(", ")));
            }
            last = names;
        }
    });
    if tokio::time::timeout(PATIENCE, waiting).await.is_ok() {
        return Ok(());
    }
    let message = format!("{} still exist after {} minutes", last.join(", "), PATIENCE.as_secs() / 60);
    Err(Failure::new(FailureKind::TimedOut, message)
        .with_hint("their finalizers say who holds them; `seaway down` goes on with it"))
}
