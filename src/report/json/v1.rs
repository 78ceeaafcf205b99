//! Version 1. A field may be added; none is renamed, removed or given another meaning.

use crate::error::FailureKind;
use crate::execute::{Diagnosis, Outcome, SmokeResult};
use crate::plan::Change;
use crate::report::outcome_word;
use crate::report::picture::{Phase, Picture, State, Task};
use serde::Serialize;
use std::time::Duration;

/// How a run ended.
#[derive(Serialize)]
pub(in crate::report) struct Run {
    /// 1.
    version: u32,
    /// `done`, `failed`, `cancelled`.
    result: &'static str,
    /// What the process exits with.
    exit_code: u8,
    /// The application's name.
    application: Option<String>,
    /// Its namespace.
    namespace: Option<String>,
    /// The cluster as people call it.
    cluster: Option<String>,
    /// The commit.
    commit: Option<String>,
    /// The pull request.
    pull_request: Option<u64>,
    /// The address of the application.
    url: Option<String>,
    /// The images, in the order of the plan.
    images: Vec<Image>,
    /// The objects, in the order of the plan.
    objects: Vec<Object>,
    /// The workloads that were waited for.
    rollout: Vec<Workload>,
    /// The requests that were answered.
    smoke: Vec<Smoke>,
    /// The failures, the decisive one first.
    failures: Vec<Problem>,
    /// What went wrong without changing the result.
    warnings: Vec<String>,
    /// The objects that were written, in order.
    written: Vec<Name>,
    /// How long the run took.
    seconds: f64,
}

/// An image.
#[derive(Serialize)]
struct Image {
    /// Its key in deploy.yml.
    name: String,
    /// `built`, `pushed`, `reused`, `mirrored`, `failed`, `skipped`, …
    state: &'static str,
    /// Its digest in the registry.
    digest: Option<String>,
    /// Bytes that were sent to the registry.
    bytes_sent: u64,
    /// Where it was taken from, and why from there; left out where nothing was taken from anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    /// What lies beside it in the registry; left out where nothing was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attestations: Vec<Attestation>,
    /// What its way into the registry took; `null` where it did not get there.
    transfer: Option<Transfer>,
    /// How long it took.
    seconds: Option<f64>,
}

/// Where an image was taken from.
#[derive(Serialize)]
struct Source {
    /// `buildkit-session`, `buildkit-and-registry`, `docker-storage`, `docker-save`, `registry`, `layout`.
    kind: &'static str,
    /// `taken out of the Docker Engine 20.10 (overlay2): it has no oci exporter`.
    reason: String,
}

/// Something that is said about an image.
#[derive(Serialize)]
struct Attestation {
    /// `sbom`, `provenance`.
    kind: &'static str,
    /// The digest of its manifest.
    digest: String,
    /// Whether it was put there by this run.
    new: bool,
}

impl Attestation {
    /// What lies beside an image.
    fn of(attestation: &crate::execute::Attestation) -> Self {
        Self { kind: attestation.kind.word(), digest: attestation.digest.to_string(), new: attestation.new }
    }
}

/// What the way of an image into the registry took.
#[derive(Serialize)]
struct Transfer {
    /// Bytes of layers that were made and compressed for it.
    compressed_bytes: u64,
    /// Bytes that the registry had already.
    reused_bytes: u64,
    /// Bytes that the registry took from another of its repositories.
    mounted_bytes: u64,
    /// Bytes that were sent; what was sent again after a cut counts once.
    uploaded_bytes: u64,
    /// Requests to the registry and its token service.
    requests: u64,
    /// What took how long, in order.
    phases: Vec<PhaseTime>,
}

/// A part of a transfer.
#[derive(Serialize)]
struct PhaseTime {
    /// `prepare`, `layers`, `manifest`.
    name: &'static str,
    /// How long it took.
    seconds: f64,
}

/// The name of an object.
#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the fields are called as in Kubernetes")]
struct Name {
    /// `apps/v1`.
    api_version: String,
    /// `Deployment`.
    kind: String,
    /// Its namespace; `null` for cluster-scoped kinds.
    namespace: Option<String>,
    /// Its name.
    name: String,
}

/// An object and what became of it.
#[derive(Serialize)]
struct Object {
    /// Which.
    #[serde(flatten)]
    name: Name,
    /// `create`, `configure`, `unchanged`.
    change: &'static str,
    /// The fields that change.
    fields: Vec<Field>,
}

/// A field that changes.
#[derive(Serialize)]
struct Field {
    /// `spec.replicas`.
    path: String,
    /// As it was, for people.
    before: Option<String>,
    /// As it will be, for people.
    after: Option<String>,
}

/// A workload that was waited for.
#[derive(Serialize)]
struct Workload {
    /// Which.
    #[serde(flatten)]
    name: Name,
    /// `waiting`, `running`, `ready`, `failed`, `skipped`.
    state: &'static str,
    /// `3/3 ready`.
    detail: String,
    /// Whether it changed in this run.
    changed: bool,
    /// How long it took.
    seconds: Option<f64>,
}

/// A request and its answer.
#[derive(Serialize)]
struct Smoke {
    /// `GET`.
    method: String,
    /// `/api/tasks`.
    path: String,
    /// The status; `null` where no answer came.
    status: Option<u16>,
    /// How long the answer took.
    milliseconds: u64,
    /// Why it failed.
    failure: Option<String>,
}

/// A failure.
#[derive(Serialize)]
struct Problem {
    /// `application`, `configuration`, `infrastructure`, `timed_out`, `interrupted`, `terminated`.
    kind: &'static str,
    /// What happened.
    message: String,
    /// Why, the nearest cause first.
    causes: Vec<String>,
    /// The objects from the workload to the container.
    chain: Vec<String>,
    /// What shows it.
    evidence: Vec<Evidence>,
    /// What to do.
    help: Option<String>,
    /// Where the object is written.
    file: Option<String>,
    /// The line there, from 1.
    line: Option<usize>,
}

/// What shows a failure.
#[derive(Serialize)]
struct Evidence {
    /// What it is.
    title: String,
    /// Its lines.
    lines: Vec<String>,
}

impl Run {
    /// The run of a picture; `None` before its end.
    pub(in crate::report) fn of(picture: &Picture) -> Option<Self> {
        let outcome = picture.outcome.as_ref()?;
        let header = picture.header.as_ref();
        Some(Self {
            version: 1,
            result: outcome_word(outcome),
            exit_code: outcome.exit_code(),
            application: header.map(|header| header.application.clone()),
            namespace: header.map(|header| header.namespace.clone()),
            cluster: header.map(|header| header.cluster.clone()).filter(|cluster| !cluster.is_empty()),
            commit: header.and_then(|header| header.commit.clone()),
            pull_request: header.and_then(|header| header.pull_request),
            url: url(picture, outcome),
            images: picture.tasks_of(Phase::Images).map(image).collect(),
            objects: picture.objects.iter().map(|row| Object::of(&row.object, &row.change)).collect(),
            rollout: picture.tasks_of(Phase::Rollout).filter_map(workload).collect(),
            smoke: picture.smoke.iter().map(smoke).collect(),
            failures: outcome.failures.iter().map(|diagnosis| problem(picture, diagnosis)).collect(),
            warnings: picture.warnings.clone(),
            written: outcome.written.iter().map(Name::of).collect(),
            seconds: seconds(outcome.took),
        })
    }
}

/// The address, where it was learnt.
fn url(picture: &Picture, outcome: &Outcome) -> Option<String> {
    outcome.url.clone().or_else(|| picture.address.as_ref().map(|(url, _)| url.clone()))
}

/// A duration in seconds, to the millisecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// An image.
fn image(task: &Task) -> Image {
    let origin = task.image.as_ref().and_then(|image| image.origin.as_ref());
    Image {
        name: task.subject.clone(),
        state: crate::report::table::image_state(task),
        digest: task.image.as_ref().map(|image| image.digest.to_string()),
        bytes_sent: task.image.as_ref().map_or(0, |image| image.bytes_sent),
        source: origin.map(|origin| Source { kind: origin.kind, reason: origin.reason.clone() }),
        attestations: task.image.iter().flat_map(|image| &image.attestations).map(Attestation::of).collect(),
        transfer: task.image.as_ref().map(|image| Transfer::of(&image.transfer)),
        seconds: task.took.map(seconds),
    }
}

impl Transfer {
    /// What a transfer took.
    fn of(transfer: &crate::execute::Transfer) -> Self {
        let phase = |(name, took): &(&'static str, Duration)| PhaseTime { name, seconds: seconds(*took) };
        Self {
            compressed_bytes: transfer.compressed,
            reused_bytes: transfer.reused,
            mounted_bytes: transfer.mounted,
            uploaded_bytes: transfer.uploaded,
            requests: transfer.requests,
            phases: transfer.phases.iter().map(phase).collect(),
        }
    }
}

impl Name {
    /// The name of an object.
    fn of(object: &crate::model::ObjectRef) -> Self {
        Self {
            api_version: object.gvk.api_version(),
            kind: object.kind().to_owned(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        }
    }
}

impl Object {
    /// What becomes of an object.
    fn of(object: &crate::model::ObjectRef, change: &Change) -> Self {
        let (word, fields) = match change {
            Change::Create => ("create", [].as_slice()),
            Change::Configure { fields, .. } => ("configure", fields.as_slice()),
            Change::Unchanged => ("unchanged", [].as_slice()),
        };
        let field = |field: &crate::plan::FieldChange| Field {
            path: field.path.clone(),
            before: field.before.clone(),
            after: field.after.clone(),
        };
        Self { name: Name::of(object), change: word, fields: fields.iter().map(field).collect() }
    }
}

/// A workload; `None` for what waits for no object.
fn workload(task: &Task) -> Option<Workload> {
    let state = match task.state {
        State::Waiting => "waiting",
        State::Running => "running",
        State::Done => "ready",
        State::Failed => "failed",
        State::Skipped => "skipped",
    };
    Some(Workload {
        name: Name::of(task.object.as_ref()?),
        state,
        detail: task.message.clone(),
        changed: task.changed,
        seconds: task.took.map(seconds),
    })
}

/// A request and its answer.
fn smoke(result: &SmokeResult) -> Smoke {
    Smoke {
        method: result.method.clone(),
        path: result.path.clone(),
        status: result.status,
        milliseconds: u64::try_from(result.took.as_millis()).unwrap_or(u64::MAX),
        failure: result.failure.clone(),
    }
}

/// A failure.
fn problem(picture: &Picture, diagnosis: &Diagnosis) -> Problem {
    let place = picture.place(diagnosis);
    let mut messages = diagnosis.failure.messages.iter().cloned();
    let evidence = |(title, lines): &(String, Vec<String>)| Evidence { title: title.clone(), lines: lines.clone() };
    Problem {
        kind: kind(diagnosis.failure.kind),
        message: messages.next().unwrap_or_default(),
        causes: messages.collect(),
        chain: diagnosis.chain.clone(),
        evidence: diagnosis.evidence.iter().map(evidence).collect(),
        help: diagnosis.failure.hint.clone(),
        file: place.as_ref().map(|place| place.file.clone()),
        line: place.map(|place| place.line),
    }
}

/// Whose fault, in a word.
fn kind(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Application => "application",
        FailureKind::Configuration => "configuration",
        FailureKind::Infrastructure => "infrastructure",
        FailureKind::TimedOut => "timed_out",
        FailureKind::Interrupted => "interrupted",
        FailureKind::Terminated => "terminated",
    }
}
