//! From a cause to a diagnosis: the container's last words, and what Kubernetes said meanwhile.

use super::event::Diagnosis;
use super::progress::Progress;
use crate::error::Failure;
use crate::health::{Cause, LogTarget, event_time};
use crate::model::ObjectRef;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// How many lines of a log are shown.
const LOG_LINES: u32 = 20;

/// How many different events are shown.
const SHOWN_EVENTS: usize = 12;

/// A log that does not come within this is left out: the cause is known already.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// Reasons of events that say that all goes well.
const GOOD_NEWS: [&str; 10] = [
    "Created",
    "Scheduled",
    "Pulling",
    "Pulled",
    "Started",
    "SuccessfulCreate",
    "SuccessfulDelete",
    "ScalingReplicaSet",
    "SuccessfulAttachVolume",
    "Killing",
];

/// The diagnosis of an object: its cause, the chain to the place, and what shows it.
pub(super) async fn diagnose(run: &Progress, object: &ObjectRef, cause: Cause) -> Diagnosis {
    let mut evidence = Vec::new();
    if !cause.details.is_empty() {
        evidence.push(("Kubernetes says".to_owned(), cause.details.clone()));
    }
    if let Some(log) = &cause.log {
        evidence.extend(last_words(run, log).await);
    }
    let events = events(run, object, &cause.chain);
    if !events.is_empty() {
        evidence.push(("events".to_owned(), events));
    }
    let failure = Failure { kind: cause.kind, messages: vec![cause.summary], hint: cause.hint };
    Diagnosis { failure, chain: cause.chain, evidence }
}

/// The last lines of a container's log; none where it wrote nothing.
async fn last_words(run: &Progress, log: &LogTarget) -> Option<(String, Vec<String>)> {
    let LogTarget { namespace, pod, container, previous } = log;
    let tail = run.cluster().log_tail(namespace, pod, container, *previous, LOG_LINES);
    let lines = timeout(LOG_TIMEOUT, tail).await.ok()?.ok()?;
    let which = if *previous { " before its restart" } else { "" };
    (!lines.is_empty()).then(|| (format!("last lines of container {container}{which}"), lines))
}

/// The events of the objects of a chain since the run began, each once with its count, oldest first.
fn events(run: &Progress, object: &ObjectRef, chain: &[String]) -> Vec<String> {
    let Some(namespace) = &object.namespace else { return Vec::new() };
    let all = run.events_in(namespace);
    let about = |event: &&Value| {
        let involved = &event["involvedObject"];
        let name = format!("{} {}", text(&involved["kind"]), text(&involved["name"]));
        name == object.to_string() || chain.iter().any(|link| link.split(" (").next() == Some(name.as_str()))
    };
    let news = |event: &&Value| {
        !GOOD_NEWS.contains(&text(&event["reason"])) && event_time(event).is_some_and(|at| at >= run.started)
    };
    let mut found: Vec<&Value> = all.iter().filter(about).filter(news).collect();
    found.sort_by_key(|event| event_time(event));
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    let mut lines = Vec::new();
    for event in found {
        let line = format!("{}: {}", text(&event["reason"]), text(&event["message"]).trim().replace('\n', " "));
        let count = counts.entry(line.clone()).or_insert(0);
        if *count == 0 {
            lines.push(line);
        }
        *count += event["count"].as_i64().unwrap_or(1);
    }
    lines.truncate(SHOWN_EVENTS);
    let counted = |line: String| match counts.get(&line) {
        Some(count) if *count > 1 => format!("{line} (×{count})"),
        _ => line,
    };
    lines.into_iter().map(counted).collect()
}

/// The text of a value, empty where it is none.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
