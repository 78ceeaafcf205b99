//! What pods, `ReplicaSets` and events say about whether an object can still become ready.
//!
//! A signal has a weight: how long, or how often, it must be seen before it is a verdict. The table follows what the
//! kubelet retries by itself and what it does not; each rule says so where it stands.

use super::Surroundings;
use super::cause::{Cause, LogTarget};
use super::fields::{condition, count, event_time, flag, list, mentions, one_line, text};
use super::ownership::events_of;
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// How much a signal must be seen before it is a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// Cannot heal without a new apply: a second look is all that it takes.
    Definite,
    /// Already repeated often enough; waits for other workloads that are still on their way.
    Repeated,
    /// Has this long to heal by itself.
    Timed(Duration),
}

/// Something that stands in the way of an object.
#[derive(Clone, Debug)]
pub(super) struct Signal {
    /// The same signal at the next look has the same key.
    pub(super) key: String,
    /// How much it must be seen.
    pub(super) weight: Weight,
    /// What to say when it becomes a verdict.
    pub(super) cause: Cause,
    /// Where the kubelet tries again by itself: when it did so last. One that it has not repeated since it was seen first may
    /// be older than what was applied against it.
    pub(super) tried: Option<Timestamp>,
}

/// A signal with this weight.
fn signal(key: impl Into<String>, weight: Weight, cause: Cause) -> Signal {
    Signal { key: key.into(), weight, cause, tried: None }
}

/// A signal that has this many seconds to heal.
fn timed(key: impl Into<String>, seconds: u64, cause: Cause) -> Signal {
    signal(key, Weight::Timed(Duration::from_secs(seconds)), cause)
}

/// What one pod says: its scheduling, its volumes, each of its containers.
pub(super) fn of_pod(workload: &str, pod: &Value, around: &Surroundings<'_>) -> Option<Signal> {
    let events = events_of(pod, around);
    let mut found =
        containers(pod).find_map(|(container, is_init)| of_container(workload, pod, container, is_init, &events));
    if found.is_none() {
        found = unschedulable(workload, pod, &events)
            .or_else(|| volume(workload, pod, &events))
            .or_else(|| failed(workload, pod));
    }
    found.map(|mut signal| {
        let name = text(pod, "/metadata/name");
        signal.cause.chain.insert(0, format!("Pod {name}"));
        signal.key = format!("{}/{}", text(pod, "/metadata/uid"), signal.key);
        signal
    })
}

/// The statuses of a pod's containers, init containers first, and whether each is one.
fn containers(pod: &Value) -> impl Iterator<Item = (&Value, bool)> {
    let init = list(pod, "/status/initContainerStatuses").iter().map(|status| (status, true));
    init.chain(list(pod, "/status/containerStatuses").iter().map(|status| (status, false)))
}

/// What one container says.
fn of_container(workload: &str, pod: &Value, status: &Value, is_init: bool, events: &[&Value]) -> Option<Signal> {
    let reason = text(status, "/state/waiting/reason");
    let message = text(status, "/state/waiting/message");
    let found = match reason {
        "InvalidImageName" => invalid_image(workload, status, message),
        "ErrImageNeverPull" => never_pull(workload, status),
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" => pull(workload, status, message, events),
        "CreateContainerConfigError" => configuration(workload, message),
        "CreateContainerError" | "RunContainerError" | "StartError" | "ContainerCannotRun" => {
            start(workload, reason, message)
        }
        _ => crash(workload, pod, status, is_init, events)?,
    };
    let container = text(status, "/name");
    let kind = if is_init { "init container" } else { "container" };
    let mut found = found;
    found.cause.chain.push(format!("{kind} {container}"));
    found.key = format!("{container}/{}", found.key);
    Some(found)
}

/// The image's name is no name: the kubelet will never pull it.
fn invalid_image(workload: &str, status: &Value, message: &str) -> Signal {
    let image = text(status, "/image");
    let cause = Cause::application(format!("{workload} cannot start: `{image}` is not an image name"))
        .detail(one_line(message));
    signal("image-name", Weight::Definite, cause.hint("correct `image` in the manifest"))
}

/// `imagePullPolicy: Never` and no image on the node.
fn never_pull(workload: &str, status: &Value) -> Signal {
    let image = text(status, "/image");
    let summary = format!("{workload} cannot start: `{image}` is not on the node, and `imagePullPolicy` is `Never`");
    signal("never-pull", Weight::Definite, Cause::application(summary).hint("remove `imagePullPolicy: Never`"))
}

/// The image cannot be pulled. `ImagePullBackOff` drops the cause from its message, so the event that had it is looked up.
fn pull(workload: &str, status: &Value, message: &str, events: &[&Value]) -> Signal {
    let image = text(status, "/image");
    let last = events.iter().rev().find(|event| text(event, "/message").starts_with("Failed to pull image"));
    let told = last.map_or(message, |event| text(event, "/message"));
    let about = |why: &str| Cause::application(format!("{workload} cannot start: {why}")).detail(one_line(told));
    if mentions(told, &["401", "403", "unauthorized", "denied", "authorization failed", "forbidden"]) {
        // The integration of a cluster with its registry copies its Secret a moment after the namespace is made.
        let cause = about(&format!("the registry refuses to hand out `{image}`"));
        let cause =
            cause.hint("the pods need a pull Secret: `imagePullSecrets`, or the cluster's registry integration");
        return Signal { tried: last.and_then(|event| event_time(event)), ..timed("pull-denied", 10, cause) };
    }
    if mentions(told, &["no match for platform", "no matching manifest"]) {
        let cause = about(&format!("the image `{image}` is not for the platform of the node"));
        return signal("pull-platform", Weight::Definite, cause.hint("build it for linux/amd64"));
    }
    if mentions(told, &["not found", "manifest unknown", "notfound", "name unknown", "does not exist"]) {
        let cause = about(&format!("there is no image `{image}`"));
        return signal("pull-missing", Weight::Definite, cause.hint("correct the tag or push the image"));
    }
    timed("pull", 120, about(&format!("the image `{image}` cannot be pulled")))
}

/// A Secret or `ConfigMap` that the container names is not there, or has no such key.
fn configuration(workload: &str, message: &str) -> Signal {
    let cause = Cause::application(format!("{workload} cannot start: {}", one_line(message)));
    // The kubelet's cache may lag behind an object that was applied a moment ago.
    let seconds = if message.contains("failed to sync") { 60 } else { 10 };
    timed(
        "configuration",
        seconds,
        cause.hint("apply the Secret or ConfigMap together with the workload, or correct its name or key"),
    )
}

/// The runtime cannot start the container's command.
fn start(workload: &str, reason: &str, message: &str) -> Signal {
    let cause =
        Cause::application(start_summary(workload, message)).detail(format!("{} ({reason})", one_line(message)));
    let cause = cause.hint("correct `command` in the manifest, or the image's entrypoint");
    let broken_command = ["no such file", "not found", "exec format error", "permission denied", "is a directory"];
    if mentions(message, &broken_command) {
        signal("start", Weight::Definite, cause)
    } else {
        timed("start", 60, cause)
    }
}

/// The one line for a command that does not start: the file that it lacks, where the runtime names it.
fn start_summary(workload: &str, message: &str) -> String {
    let file = message.split("exec: \"").nth(1).and_then(|rest| rest.split('"').next());
    match file {
        Some(file) if mentions(message, &["no such file", "not found"]) => {
            format!("{workload} cannot start: the image has no file `{file}`")
        }
        Some(file) if mentions(message, &["permission denied"]) => {
            format!("{workload} cannot start: `{file}` is not executable")
        }
        Some(file) if mentions(message, &["exec format error"]) => {
            format!("{workload} cannot start: `{file}` is for another processor, or a script without `#!`")
        }
        _ => format!("{workload} cannot start: its container cannot be created"),
    }
}

/// A container that ends again and again. Three ends are a verdict; the kubelet gets there in 30 to 70 seconds.
fn crash(workload: &str, pod: &Value, status: &Value, is_init: bool, events: &[&Value]) -> Option<Signal> {
    let running_well = flag(status, "/ready");
    let ended = [status.pointer("/state/terminated"), status.pointer("/lastState/terminated")];
    let ended = ended.into_iter().flatten().next()?;
    let (reason, code) = (text(ended, "/reason"), count(ended, "/exitCode"));
    let finished_well = code == 0 && (is_init || text(pod, "/spec/restartPolicy") != "Always");
    if running_well || finished_well {
        return None;
    }
    let message = text(ended, "/message");
    if matches!(reason, "StartError" | "ContainerCannotRun") {
        return Some(start(workload, reason, message));
    }
    let ends = count(status, "/restartCount") + i64::from(status.pointer("/state/running").is_none());
    let out_of_memory = reason == "OOMKilled";
    let enough = if out_of_memory { 2 } else { 3 };
    if ends < enough {
        return None;
    }
    let log = LogTarget {
        namespace: text(pod, "/metadata/namespace").to_owned(),
        pod: text(pod, "/metadata/name").to_owned(),
        container: text(status, "/name").to_owned(),
        // The log of an instance that has ended is `previous` only once another one has been started.
        previous: status.pointer("/state/terminated").is_none() && status.pointer("/state/waiting").is_none(),
    };
    let cause = crash_cause(workload, pod, status, reason, code, events);
    let cause = Cause { log: Some(log), ..cause.detail(format!("ended {ends} times")).detail(one_line(message)) };
    Some(signal(if out_of_memory { "memory" } else { "crash" }, Weight::Repeated, cause))
}

/// Why a container ended.
fn crash_cause(workload: &str, pod: &Value, status: &Value, reason: &str, code: i64, events: &[&Value]) -> Cause {
    let container = text(status, "/name");
    // The kubelet's "will be restarted" is a Normal event and may be gone; the failed probe itself is a Warning.
    let probe = matches!(code, 137 | 143)
        .then(|| events.iter().rev().find_map(|event| failed_probe(text(event, "/message"))))
        .flatten();
    if reason == "OOMKilled" {
        let spec = list(pod, "/spec/containers").iter().find(|spec| spec["name"] == container);
        let limit = spec.map_or("", |spec| text(spec, "/resources/limits/memory"));
        let limit = if limit.is_empty() { String::new() } else { format!(" of {limit}") };
        let summary = format!("{workload} keeps running out of memory: it needs more than its limit{limit}");
        return Cause::application(summary).hint("raise `resources.limits.memory`, or find what uses it");
    }
    if let Some((probe, message)) = probe {
        let summary = format!("{workload} keeps being restarted: its {probe} probe fails");
        return Cause::application(summary)
            .detail(one_line(message))
            .hint(format!("correct the {probe} probe, or give the container more time"));
    }
    match code {
        0 => Cause::application(format!("{workload} keeps ending: its process exits with 0"))
            .hint("a Deployment's process must not end; use a Job for work that does"),
        137 | 143 => Cause::application(format!("{workload} keeps being killed (exit code {code})")),
        _ => Cause::application(format!("{workload} keeps crashing: its process exits with {code}")),
    }
}

/// Which probe restarts the container, and what it said.
fn failed_probe(message: &str) -> Option<(&'static str, &str)> {
    let start = |probe: &'static str, words: &str| message.starts_with(words).then_some((probe, message));
    start("liveness", "Liveness probe failed").or_else(|| start("startup", "Startup probe failed"))
}

/// No node takes the pod. An autoscaler that has answered gets its time.
fn unschedulable(workload: &str, pod: &Value, events: &[&Value]) -> Option<Signal> {
    let scheduled = condition(pod, "PodScheduled")?;
    if scheduled["status"] != "False" || scheduled["reason"] != "Unschedulable" {
        return None;
    }
    // The rest of the message is about preemption and device claims: it explains what was not tried.
    let message = text(scheduled, "/message").split(". ").next().unwrap_or_default();
    let message = one_line(message);
    let scaling = events.iter().any(|event| event["reason"] == "TriggeredScaleUp");
    let mut cause = Cause::application(format!("{workload} cannot be scheduled: {message}"))
        .hint("lower `resources.requests`, correct the node selector or volume, or add nodes");
    if scaling {
        cause.kind = crate::error::FailureKind::TimedOut; // nodes on their way are no fault of the application
    }
    Some(timed("unschedulable", if scaling { 600 } else { 60 }, cause))
}

/// A volume cannot be mounted.
fn volume(workload: &str, pod: &Value, events: &[&Value]) -> Option<Signal> {
    if text(pod, "/status/phase") != "Pending" {
        return None;
    }
    let event = events.iter().rev().find(|e| matches!(text(e, "/reason"), "FailedMount" | "FailedAttachVolume"))?;
    let message = one_line(text(event, "/message"));
    let cause = Cause::application(format!("{workload} cannot start: {message}"));
    if message.contains("Multi-Attach") {
        let hint =
            "a volume of one node at a time and a rolling update can lock each other out: use `strategy: Recreate`";
        return Some(timed("multi-attach", 180, cause.hint(hint)));
    }
    let missing = mentions(&message, &["not found", "references non-existent"]) && !message.contains("failed to sync");
    Some(if missing {
        timed("mount", 10, cause.hint("apply the Secret or ConfigMap that the volume names"))
    } else {
        timed("mount", 120, cause)
    })
}

/// A pod that has ended for good.
fn failed(workload: &str, pod: &Value) -> Option<Signal> {
    if text(pod, "/status/phase") != "Failed" || text(pod, "/spec/restartPolicy") == "Always" {
        return None;
    }
    let ended = list(pod, "/status/containerStatuses").iter().find(|s| count(s, "/state/terminated/exitCode") != 0)?;
    let code = count(ended, "/state/terminated/exitCode");
    let log = LogTarget {
        namespace: text(pod, "/metadata/namespace").to_owned(),
        pod: text(pod, "/metadata/name").to_owned(),
        container: text(ended, "/name").to_owned(),
        previous: false,
    };
    let cause = Cause::application(format!("{workload} failed: its process exited with {code}"));
    Some(signal(
        "failed",
        Weight::Definite,
        Cause { log: Some(log), ..cause.detail(one_line(text(pod, "/status/message"))) },
    ))
}

/// Pods that are refused before they exist: quota, admission, a service account that is not there.
pub(super) fn of_pod_maker(
    workload: &str,
    maker: &Value,
    around: &Surroundings<'_>,
    since: Timestamp,
) -> Option<Signal> {
    let recent = |event: &&&Value| event_time(event).is_none_or(|at| at >= since);
    let events = events_of(maker, around);
    let event = events.iter().rev().filter(recent).find(|event| event["reason"] == "FailedCreate")?;
    let message = one_line(text(event, "/message"));
    let key = format!("{}/create", text(maker, "/metadata/uid"));
    let about = |why: &str| {
        let mut cause = Cause::application(format!("{workload} gets no pods: {why}")).detail(message.clone());
        cause.chain.push(format!("{} {}", text(maker, "/kind"), text(maker, "/metadata/name")));
        cause
    };
    Some(if message.contains("exceeded quota") {
        // Old pods may give their share back while the update rolls.
        timed(
            key,
            60,
            about("the namespace's quota is used up").hint("raise the ResourceQuota, or lower requests or replicas"),
        )
    } else if message.contains("serviceaccount") && message.contains("not found") {
        timed(
            key,
            15,
            about("its service account does not exist").hint("apply the ServiceAccount together with the workload"),
        )
    } else {
        timed(key, 10, about("the API server refuses them"))
    })
}
