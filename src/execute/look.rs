//! One look at an object and at what stands around it, by what the watches have seen.

use super::diagnose;
use super::event::Diagnosis;
use super::progress::{Around, Progress};
use crate::health::{Judging, Readiness, Surroundings, assess, overdue};
use crate::model::ObjectRef;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// What the watches know around an object.
struct Seen {
    /// `ReplicaSet` objects of its namespace.
    replica_sets: Arc<Vec<Value>>,
    /// Pods.
    pods: Arc<Vec<Value>>,
    /// Events.
    events: Arc<Vec<Value>>,
    /// Endpoint slices.
    endpoint_slices: Arc<Vec<Value>>,
}

impl Seen {
    /// Everything around an object.
    fn around(run: &Progress, object: &ObjectRef) -> Self {
        let Some(namespace) = &object.namespace else {
            let none = Arc::new(Vec::new());
            return Self {
                replica_sets: none.clone(),
                pods: none.clone(),
                events: none.clone(),
                endpoint_slices: none,
            };
        };
        let around = Around::of(run.cluster(), namespace);
        Self {
            replica_sets: around.replica_sets.objects(),
            pods: around.pods.objects(),
            events: around.events.objects(),
            endpoint_slices: around.endpoint_slices.objects(),
        }
    }

    /// The same as `health` takes it.
    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            replica_sets: &self.replica_sets,
            pods: &self.pods,
            events: &self.events,
            endpoint_slices: &self.endpoint_slices,
        }
    }
}

/// How far an object has come, by what the watches have seen.
pub(super) fn readiness(run: &Progress, object: &ObjectRef) -> Readiness {
    let reflector = run.reflector(object);
    let Some(live) = reflector.get(&object.name) else {
        return Readiness::Pending(match reflector.trouble() {
            Some(error) => format!("cannot be watched: {error}"),
            None if reflector.is_synced() => "does not exist".to_owned(),
            None => "not seen yet".to_owned(),
        });
    };
    let seen = Seen::around(run, object);
    let judge = |others_progress| {
        let judging = judging(run, object, others_progress);
        run.with_memory(|memory| assess(&live, &seen.surroundings(), &judging, memory))
    };
    // Judged alone first: who only waits for others who only wait for it would wait for ever.
    let alone = judge(false);
    let well = match &alone {
        Readiness::Pending(_) => Some(true),
        Readiness::Failed(_) => Some(false),
        Readiness::Ready(_) | Readiness::Suspended(_) => None,
    };
    run.note_waiting(object, well);
    if matches!(alone, Readiness::Failed(_)) && run.others_progress(object) { judge(true) } else { alone }
}

/// Why an object is not ready when its time is over.
pub(super) async fn too_late(run: &Progress, object: &ObjectRef, limit: &str) -> Diagnosis {
    let seen = Seen::around(run, object);
    let live = run.reflector(object).get(&object.name).unwrap_or_else(|| Arc::new(stand_in(object)));
    let cause = overdue(&live, &seen.surroundings(), &judging(run, object, false), limit);
    diagnose::diagnose(run, object, cause).await
}

/// The events of an object's namespace, as far as they were seen.
pub(super) fn events(run: &Progress, namespace: &str) -> Arc<Vec<Value>> {
    Around::of(run.cluster(), namespace).events.objects()
}

/// The circumstances of a judgement now.
fn judging(run: &Progress, object: &ObjectRef, others_progress: bool) -> Judging {
    let applied_generation = run.generation(object);
    Judging { applied_generation, started: run.started, now: Timestamp::now(), others_progress }
}

/// An object of which nothing is known but its name.
fn stand_in(object: &ObjectRef) -> Value {
    let metadata = serde_json::json!({ "name": object.name, "namespace": object.namespace });
    serde_json::json!({ "apiVersion": object.gvk.api_version(), "kind": object.gvk.kind, "metadata": metadata })
}
