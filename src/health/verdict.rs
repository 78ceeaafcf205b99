//! From signals to a verdict: an object has failed when something has stood in its way for long enough.

use super::cause::{Cause, LogTarget};
use super::fields::{condition, count, event_time, flag, list, number, one_line, text, time};
use super::ownership::{current_pods, events_of, newest_replica_set};
use super::signal::{Signal, Weight, of_pod, of_pod_maker};
use super::{Judging, Readiness, Surroundings, readiness};
use crate::error::FailureKind;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// When each signal was seen first. One memory serves a run; it is what makes "for ten seconds" mean something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(BTreeMap<String, Timestamp>);

impl Memory {
    /// How long this signal has been seen, this look included.
    fn seen_for(&mut self, key: &str, now: Timestamp) -> Duration {
        let first = *self.0.entry(key.to_owned()).or_insert(now);
        Duration::try_from(now.duration_since(first)).unwrap_or_default()
    }

    /// Whether something was tried again since this signal was seen first.
    fn tried_again(&mut self, key: &str, tried: Timestamp) -> bool {
        *self.0.entry(format!("{key}/tried")).or_insert(tried) != tried
    }
}

/// A second look at what cannot heal: long enough for a status that was being written while we read it.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// The kubelet's pauses between two pulls of an image double up to five minutes:
/// <https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff>.
const LONGEST_PAUSE: Duration = Duration::from_secs(330);

/// The longest that repeated crashes wait for other workloads.
const LONGEST_HOLD: Duration = Duration::from_mins(2);

/// How far an object has come, and whether it still can.
pub(crate) fn assess(object: &Value, around: &Surroundings<'_>, judging: &Judging, memory: &mut Memory) -> Readiness {
    if let Some(stale) = stale(object, judging) {
        return Readiness::Pending(stale);
    }
    let readiness = readiness::of(object, around);
    if let Readiness::Pending(_) = &readiness
        && let Some(cause) = failure(object, around, judging, memory)
    {
        return Readiness::Failed(Box::new(cause));
    }
    readiness
}

/// A status from before our apply proves nothing, whatever it says.
fn stale(object: &Value, judging: &Judging) -> Option<String> {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Some("being deleted".to_owned());
    }
    let generation = number(object, "/metadata/generation")?;
    if judging.applied_generation.is_some_and(|applied| generation < applied) {
        return Some("the change is not seen yet".to_owned());
    }
    // Argo Rollouts write it as a text; a kind without it is judged by its conditions.
    let observed = object.pointer("/status/observedGeneration");
    let observed = observed.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
    let wanted = readiness::observes_generation(object);
    match observed {
        Some(observed) if observed < generation => Some("the change is not seen yet".to_owned()),
        None if wanted => Some("the change is not seen yet".to_owned()),
        _ => None,
    }
}

/// The cause, if something has stood in the way for long enough.
fn failure(object: &Value, around: &Surroundings<'_>, judging: &Judging, memory: &mut Memory) -> Option<Cause> {
    own_failure(object, around, judging).or_else(|| {
        let signals = signals(object, around, judging);
        let doomed: Vec<Signal> = signals.into_iter().filter(|signal| is_verdict(signal, judging, memory)).collect();
        (doomed.len() > tolerated(object)).then(|| summarize(object, around, &doomed))?
    })
}

/// Everything that stands in the way of an object.
fn signals(object: &Value, around: &Surroundings<'_>, judging: &Judging) -> Vec<Signal> {
    let name = text(object, "/metadata/name");
    let pods = current_pods(object, around);
    let mut signals: Vec<Signal> = pods.iter().filter_map(|pod| of_pod(name, pod, around)).collect();
    let maker = match text(object, "/kind") {
        "Deployment" => newest_replica_set(object, around),
        "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => Some(object),
        _ => None,
    };
    signals.extend(maker.and_then(|maker| of_pod_maker(name, maker, around, judging.started)));
    signals
}

/// Whether a signal has been seen enough.
fn is_verdict(signal: &Signal, judging: &Judging, memory: &mut Memory) -> bool {
    let seen = memory.seen_for(&signal.key, judging.now);
    let untried = signal.tried.is_some_and(|tried| !memory.tried_again(&signal.key, tried));
    if untried && seen < LONGEST_PAUSE {
        return false;
    }
    match signal.weight {
        Weight::Definite => seen >= CONFIRMATION,
        Weight::Repeated => seen >= CONFIRMATION && (!judging.others_progress || seen >= LONGEST_HOLD),
        Weight::Timed(limit) => seen >= limit,
    }
}

/// How many pods may be lost without losing the rollout: a Deployment's `maxUnavailable`, none elsewhere.
fn tolerated(object: &Value) -> usize {
    if text(object, "/kind") != "Deployment" {
        return 0;
    }
    let replicas = number(object, "/spec/replicas").unwrap_or(1);
    let lost = match object.pointer("/spec/strategy/rollingUpdate/maxUnavailable") {
        Some(Value::Number(pods)) => pods.as_i64().unwrap_or(0),
        // The controller rounds a percentage of maxUnavailable down.
        Some(Value::String(share)) => share.trim_end_matches('%').parse::<i64>().unwrap_or(0) * replicas / 100,
        _ => 0,
    };
    // With every pod lost the rollout is lost, whatever the strategy tolerates.
    usize::try_from(lost.min(replicas - 1)).unwrap_or(0)
}

/// One cause for all pods that are lost in the same way: the first is the example, the others are counted.
fn summarize(object: &Value, around: &Surroundings<'_>, doomed: &[Signal]) -> Option<Cause> {
    let mut cause = doomed.first()?.cause.clone();
    let alike = doomed.iter().filter(|signal| signal.cause.summary == cause.summary).count();
    if alike > 1
        && let Some(last) = cause.chain.last_mut()
    {
        *last = format!("{last}  (×{alike} pods)");
    }
    cause.chain.splice(0..0, parents(object, around));
    cause.chain.dedup();
    Some(cause)
}

/// The chain from the object to its pods, without them.
fn parents(object: &Value, around: &Surroundings<'_>) -> Vec<String> {
    let name = |object: &Value, kind: &str| format!("{kind} {}", text(object, "/metadata/name"));
    let mut chain = vec![name(object, text(object, "/kind"))];
    if text(object, "/kind") == "Deployment" {
        chain.extend(newest_replica_set(object, around).map(|set| name(set, "ReplicaSet")));
    }
    chain.dedup();
    chain
}

/// Failures that the object's own status or events state.
fn own_failure(object: &Value, around: &Surroundings<'_>, judging: &Judging) -> Option<Cause> {
    let mut cause = match text(object, "/kind") {
        "Deployment" => deadline_exceeded(object, around, judging),
        "Job" => job_failed(object, around),
        "Service" => balancer_failed(object, around, judging),
        "PersistentVolumeClaim" => volume_failed(object, around, judging),
        "CustomResourceDefinition" => names_refused(object),
        _ => None,
    }?;
    if cause.chain.is_empty() {
        cause.chain = parents(object, around);
    }
    Some(cause)
}

/// `ProgressDeadlineExceeded`, unless it is left over from a deploy before this one
/// (<https://github.com/kubernetes/kubernetes/issues/49637>).
fn deadline_exceeded(object: &Value, around: &Surroundings<'_>, judging: &Judging) -> Option<Cause> {
    let progressing = condition(object, "Progressing")?;
    let exceeded = progressing["reason"] == "ProgressDeadlineExceeded";
    let ours = time(progressing, "/lastUpdateTime").is_some_and(|at| at >= judging.started);
    (exceeded && ours).then(|| overdue(object, around, judging, "its own `progressDeadlineSeconds`"))
}

/// A Job whose controller has given up, or is about to.
fn job_failed(object: &Value, around: &Surroundings<'_>) -> Option<Cause> {
    let given_up = ["Failed", "FailureTarget"].into_iter().filter_map(|kind| condition(object, kind));
    let given_up = given_up.into_iter().find(|condition| condition["status"] == "True")?;
    let name = text(object, "/metadata/name");
    let message = one_line(text(given_up, "/message"));
    let pods = around.pods.iter().filter(|pod| super::ownership::owned_by(pod, text(object, "/metadata/uid")));
    let mut pods: Vec<&Value> = pods.collect();
    pods.sort_by_key(|pod| text(pod, "/metadata/creationTimestamp"));
    let shown = pods.iter().rev().find_map(|pod| of_pod(name, pod, around));
    let mut cause =
        shown.map_or_else(|| Cause::application(format!("{name} failed: {message}")), |signal| signal.cause);
    cause.chain.insert(0, format!("Job {name}"));
    Some(cause.detail(format!("{} ({})", message, text(given_up, "/reason"))))
}

/// A load balancer that cannot be made. That it is still being made is said by a Warning event too, every 15 seconds:
/// <https://github.com/digitalocean/digitalocean-cloud-controller-manager/blob/master/cloud-controller-manager/do/loadbalancers.go>.
fn balancer_failed(object: &Value, around: &Surroundings<'_>, judging: &Judging) -> Option<Cause> {
    let events = events_of(object, around);
    let failing = events.iter().rev().find(|event| {
        let message = text(event, "/message");
        let recent = event_time(event).is_some_and(|at| at >= judging.started);
        recent && event["reason"] == "SyncLoadBalancerFailed" && !message.contains("currently being created")
    })?;
    if count(failing, "/count").max(count(failing, "/series/count")) < 3 {
        return None;
    }
    let name = text(object, "/metadata/name");
    let summary = format!("the load balancer of {name} cannot be made: {}", one_line(text(failing, "/message")));
    Some(Cause::application(summary).hint("correct the Service's annotations, or the account's limits"))
}

/// A claim whose storage class does not exist: nothing will ever provision it.
fn volume_failed(object: &Value, around: &Surroundings<'_>, judging: &Judging) -> Option<Cause> {
    let events = events_of(object, around);
    let failing = events.iter().rev().find(|event| {
        event["reason"] == "ProvisioningFailed" && event_time(event).is_some_and(|at| at >= judging.started)
    })?;
    let message = one_line(text(failing, "/message"));
    let missing_class = message.contains("storageclass") && message.contains("not found");
    let name = text(object, "/metadata/name");
    let often = count(failing, "/count") >= 4;
    (missing_class || often).then(|| {
        Cause::application(format!("the volume {name} cannot be made: {message}"))
            .hint("correct `storageClassName`, `accessModes` or the size")
    })
}

/// A custom resource definition whose names are taken.
fn names_refused(object: &Value) -> Option<Cause> {
    let accepted = condition(object, "NamesAccepted").filter(|condition| condition["status"] == "False")?;
    let name = text(object, "/metadata/name");
    Some(Cause::application(format!("{name} cannot be served: {}", one_line(text(accepted, "/message")))))
}

/// Why an object is still not ready when its time is over. `limit` is the time in words: `the deadline of 10m`.
pub(crate) fn overdue(object: &Value, around: &Surroundings<'_>, judging: &Judging, limit: &str) -> Cause {
    let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
    // What had not been seen long enough for a verdict is still the best that there is to say.
    if let Some(cause) = summarize(object, around, &signals(object, around, judging)) {
        return cause.detail(format!("not ready within {limit}"));
    }
    let state = match readiness::of(object, around) {
        Readiness::Pending(state) | Readiness::Ready(state) | Readiness::Suspended(state) => state,
        Readiness::Failed(cause) => cause.summary,
    };
    let mut cause = Cause::application(format!("{name} is not ready within {limit}: {state}"));
    cause.chain = parents(object, around);
    if kind == "Service" {
        cause.kind = FailureKind::TimedOut;
        return cause.hint("the load balancer is still being made: run `seaway up` again");
    }
    match current_pods(object, around).into_iter().find(|pod| !super::fields::condition_is(pod, "Ready", "True")) {
        Some(pod) => unready_pod(cause, name, pod, around),
        None => cause,
    }
}

/// What a pod that runs but is not ready has to say: its readiness probe, and its log.
fn unready_pod(mut cause: Cause, workload: &str, pod: &Value, around: &Surroundings<'_>) -> Cause {
    cause.chain.push(format!("Pod {}", text(pod, "/metadata/name")));
    let probe = events_of(pod, around).into_iter().rev().find(|event| event["reason"] == "Unhealthy");
    if let Some(probe) = probe {
        let message = one_line(text(probe, "/message"));
        cause.summary = format!("{workload} never gets ready: {}", lower_first(&message));
        cause = cause.hint("the process runs: look at its log, and at the probe's path and port");
    }
    let container = list(pod, "/status/containerStatuses").iter().find(|status| !flag(status, "/ready"));
    if let Some(status) = container {
        cause.chain.push(format!("container {}", text(status, "/name")));
        cause.log = Some(LogTarget {
            namespace: text(pod, "/metadata/namespace").to_owned(),
            pod: text(pod, "/metadata/name").to_owned(),
            container: text(status, "/name").to_owned(),
            previous: false,
        });
    }
    cause
}

/// A sentence as the continuation of another.
fn lower_first(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
