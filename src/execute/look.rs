//! One look at an object and at what stands around it, by what the watches have seen.

use super::diagnose;
use super::event::Diagnosis;
use super::progress::{Around, Progress};
use crate::health::{Judging, Readiness, Surroundings, assess, event_time, overdue};
use crate::model::ObjectRef;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// A reason is cut after this many characters: it stands on the line of a table.
const LONGEST_REASON: usize = 100;

/// What the watches know around an object.
struct Seen {
    /// `ReplicaSet` objects of its namespace.
    replica_sets: Arc<Vec<Value>>,
    /// Pods.
    pods: Arc<Vec<Value>>,
    /// Events.
    events: Arc<Vec<Value>>,
}

impl Seen {
    /// Everything around an object.
    fn around(run: &Progress, object: &ObjectRef) -> Self {
        let Some(namespace) = &object.namespace else {
            let none = Arc::new(Vec::new());
            return Self { replica_sets: none.clone(), pods: none.clone(), events: none };
        };
        let around = Around::of(run.cluster(), namespace);
        Self {
            replica_sets: around.replica_sets.objects(),
            pods: around.pods.objects(),
            events: around.events.objects(),
        }
    }

    /// The same as `health` takes it.
    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings { replica_sets: &self.replica_sets, pods: &self.pods, events: &self.events }
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
    match alone {
        Readiness::Failed(cause) if run.others_progress(object) => match judge(true) {
            Readiness::Pending(state) => Readiness::Pending(format!("{state}: {}", cause.summary)),
            settled => settled,
        },
        settled => settled,
    }
}

/// Why an object takes its time: the newest warning about it or about what it owns.
pub(super) fn reason(run: &Progress, object: &ObjectRef) -> Option<String> {
    newest_warning(object, &Seen::around(run, object).events, run.started)
}

/// The newest warning about an object or what it owns, in one line.
fn newest_warning(object: &ObjectRef, events: &[Value], since: Timestamp) -> Option<String> {
    let runs_pods = matches!(object.gvk.group.as_str(), "apps" | "batch");
    let theirs = |event: &&Value| {
        let involved = &event["involvedObject"];
        let rest = involved["name"].as_str().unwrap_or_default().strip_prefix(object.name.as_str());
        let own = match involved["kind"].as_str() {
            Some("Pod" | "ReplicaSet") if runs_pods => rest.is_some_and(|rest| rest.starts_with('-')),
            kind => kind == Some(object.kind()) && rest == Some(""),
        };
        // DigitalOcean's controller calls it an error that a load balancer is not there at once.
        let in_making = event["message"].as_str().is_some_and(|message| message.contains("currently being created"));
        event["type"] == "Warning" && own && !in_making
    };
    let recent = |event: &&Value| event_time(event).is_some_and(|at| at >= since);
    let newest = events.iter().filter(theirs).filter(recent).max_by_key(|event| event_time(event));
    let message = newest?["message"].as_str()?.lines().next()?;
    let reason: String = message.chars().take(LONGEST_REASON).collect();
    let cut = if reason.len() < message.len() { "…" } else { "" };
    Some(format!("{}{cut}", reason.trim_end_matches([' ', ':'])))
}

/// Why an object is not ready when its time is over.
pub(super) async fn too_late(run: &Progress, object: &ObjectRef, limit: &str) -> Diagnosis {
    let seen = Seen::around(run, object);
    let live = run.reflector(object).get(&object.name).unwrap_or_else(|| stand_in(object));
    let cause = overdue(&live, &seen.surroundings(), &judging(run, object, false), limit);
    diagnose::diagnose(run, object, cause).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GroupVersionKind;
    use serde_json::json;

    #[test]
    fn the_newest_warning_says_why_it_takes_so_long() {
        let event = |kind: &str, name: &str, when: &str, message: &str| {
            let involved = json!({ "kind": if name.contains('-') { "Pod" } else { "Job" }, "name": name });
            json!({ "type": kind, "involvedObject": involved, "lastTimestamp": when, "message": message })
        };
        let events = [
            event("Warning", "api-1-x", "2026-01-02T03:04:05Z", "old"),
            event("Warning", "api-1-x", "2026-01-02T03:04:09Z", "Readiness probe failed"),
            event("Normal", "api-1-x", "2026-01-02T03:04:10Z", "Pulled"),
            event("Warning", "api", "2026-01-02T03:04:12Z", "of a namesake of another kind"),
            event("Warning", "apidocs-1", "2026-01-02T03:04:11Z", "of another"),
        ];
        let api = ObjectRef::new(GroupVersionKind::new("apps/v1", "Deployment"), Some("todo"), "api");
        let warning = |since: &str| newest_warning(&api, &events, since.parse().unwrap());
        assert_eq!(warning("2026-01-02T03:04:06Z").as_deref(), Some("Readiness probe failed"));
        assert_eq!(warning("2026-01-02T03:05:00Z"), None);
    }
}
