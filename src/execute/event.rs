//! Where doing and telling meet: whatever happens is an event, and every report is made of events alone.

use crate::error::{Failure, FailureKind};
use crate::model::{Digest, ObjectRef};
use crate::plan::{OperationId, Plan};
use crate::registry::PushReport;
pub(crate) use crate::registry::{BlobProgress, BlobState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// How long after the start of the run.
    pub(crate) at: Duration,
    /// What.
    pub(crate) kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum EventKind {
    /// Where the run goes: the first line of every report, and why that cluster (`cluster` of deploy.yml, `--context`).
    Started(Box<Header>),
    /// Something is being done before there is a plan: `reading the cluster`, `looking up images`.
    Preparing {
        /// What.
        what: String,
    },
    /// The plan is known.
    Planned(Arc<Plan>),
    /// An operation has begun.
    OperationStarted {
        /// Which.
        operation: OperationId,
    },
    /// An operation goes on: `step 3/7 RUN pip install`, `2/3 ready`, `load balancer is new`.
    Progress {
        /// Which.
        operation: OperationId,
        /// What is going on, for people.
        message: String,
    },
    /// Bytes moved or a share of the work done; for bars and rates.
    Transfer {
        /// Which.
        operation: OperationId,
        /// Bytes done so far.
        done: u64,
        /// Bytes in all, as far as is known.
        total: u64,
    },
    /// A blob of an image is further than before; for a bar a layer. The sums over all blobs come as `Transfer`.
    Blob {
        /// Which operation.
        operation: OperationId,
        /// How far it is.
        progress: BlobProgress,
    },
    /// A line of a build's output.
    BuildLog {
        /// Which.
        operation: OperationId,
        /// The line, without its end.
        line: String,
    },
    /// An image is in the registry.
    ImageReady {
        /// Which operation put it there.
        operation: OperationId,
        /// What was done.
        result: ImageResult,
    },
    /// A smoke request was answered.
    SmokeAnswered {
        /// What was asked and answered.
        result: SmokeResult,
    },
    /// The application has an address.
    Address {
        /// `http://203.0.113.10`.
        url: String,
        /// How it was found: `load balancer todo-lb, active`.
        source: String,
    },
    /// An operation has ended.
    OperationFinished {
        /// Which.
        operation: OperationId,
        /// How.
        outcome: OperationOutcome,
        /// How long it took.
        took: Duration,
    },
    /// Something went wrong that does not change the result.
    Warning {
        /// What, and what to do.
        message: String,
    },
    /// Somebody asked to stop.
    Stopping,
    /// The run has ended.
    Finished(Box<Outcome>),
}

/// Where a run goes.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    /// The application's name.
    pub(crate) application: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// The cluster as people call it: `todo-prod (nyc1)`, `context kind-dev`; empty for a push, which needs none.
    pub(crate) cluster: String,
    /// Why that cluster: `cluster in deploy.yml`, `--context`.
    pub(crate) cluster_because: String,
    /// The commit, `1a2b3c4`, if there is one.
    pub(crate) commit: Option<String>,
    /// The pull request, if the run is for one.
    pub(crate) pull_request: Option<u64>,
}

/// How an image came to lie in the registry.
#[derive(Clone, Debug)]
pub(crate) struct ImageResult {
    /// Its key.
    pub(crate) key: String,
    /// Its digest there.
    pub(crate) digest: Digest,
    /// `3 of 7 layers new`, `inputs unchanged`.
    pub(crate) detail: String,
    /// Bytes that were sent to the registry.
    pub(crate) bytes_sent: u64,
    /// What lies beside it in the registry.
    pub(crate) attestations: Vec<Attestation>,
    /// What the transfer took.
    pub(crate) transfer: Transfer,
    /// Where it was taken from; `None` where nothing was taken from anywhere.
    pub(crate) origin: Option<Origin>,
}

/// Where an image was taken from, and why from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// `buildkit-session`, `buildkit-and-registry`, `docker-storage`, `docker-save`, `registry`, `layout`.
    pub(crate) kind: &'static str,
    /// `taken out of the Docker Engine 20.10 (overlay2): it has no oci exporter`.
    pub(crate) reason: String,
}

/// What the transfer of an image took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Bytes of layers that were made and compressed for it, as they came out of the compressor.
    pub(crate) compressed: u64,
    /// Bytes of blobs that the registry had already.
    pub(crate) reused: u64,
    /// Bytes of blobs that the registry took from another of its repositories.
    pub(crate) mounted: u64,
    /// Bytes of blobs that were sent; what was sent again after a cut counts once.
    pub(crate) uploaded: u64,
    /// Requests to the registry and its token service, those that failed included.
    pub(crate) requests: u64,
    /// What took how long, one after another: `prepare` (inputs, what the registry has), `source` (until the first layer
    /// came), `layers` (until all were there), `manifest` (with its tags).
    pub(crate) phases: Vec<(&'static str, Duration)>,
}

impl Transfer {
    /// What a push took; the requests, and what came before it, are known to whoever asked for it.
    pub(crate) fn of(report: &PushReport) -> Self {
        Self {
            compressed: report.bytes_compressed,
            reused: report.bytes_reused,
            mounted: report.bytes_mounted,
            uploaded: report.bytes_sent,
            requests: 0,
            phases: report.phases.clone(),
        }
    }
}

/// Something that is said about an image, and lies beside it in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attestation {
    /// What it is.
    pub(crate) kind: AttestationKind,
    /// The digest of its manifest.
    pub(crate) digest: Digest,
    /// Whether it was put there now.
    pub(crate) new: bool,
}

/// What is said about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttestationKind {
    /// What is in it.
    Sbom,
    /// How it was made.
    Provenance,
}

impl ImageResult {
    /// The same with what lies beside the image, for people too.
    #[must_use]
    pub(crate) fn with_attestations(self, attestations: Vec<Attestation>) -> Self {
        let words: Vec<&str> = attestations.iter().map(|attestation| attestation.kind.word()).collect();
        let detail =
            if words.is_empty() { self.detail } else { format!("{}, with {}", self.detail, words.join(" and ")) };
        Self { detail, attestations, ..self }
    }
}

impl AttestationKind {
    /// What people call it, and what JSON has.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sbom => "sbom",
            Self::Provenance => "provenance",
        }
    }
}

/// One smoke request and its answer.
#[derive(Clone, Debug)]
pub(crate) struct SmokeResult {
    /// `GET`.
    pub(crate) method: String,
    /// `/api/tasks/9f2`, filled in.
    pub(crate) path: String,
    /// The status of the last answer; `None` where none came.
    pub(crate) status: Option<u16>,
    /// How long the last answer took.
    pub(crate) took: Duration,
    /// What was checked beyond the status, `$.title = "smoke 42-1"`.
    pub(crate) detail: String,
    /// Why it failed: expected and got.
    pub(crate) failure: Option<String>,
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub(crate) enum OperationOutcome {
    /// It was done; `detail` is what people read (`3/3 ready  revision 7f9c`).
    Done {
        /// What came of it.
        detail: String,
    },
    /// It failed.
    Failed(Box<Diagnosis>),
    /// It was not started, or stopped half-way.
    Skipped {
        /// Why.
        because: String,
    },
}

/// Why an operation failed.
#[derive(Clone, Debug)]
pub(crate) struct Diagnosis {
    /// The failure: one line first, its kind decides the exit code.
    pub(crate) failure: Failure,
    /// The chain of objects: `Deployment backend › ReplicaSet backend-7f9c › Pod … › container api`.
    pub(crate) chain: Vec<String>,
    /// What shows it: the last lines of a log, events, the answer of a server. Title and lines.
    pub(crate) evidence: Vec<(String, Vec<String>)>,
}

impl From<Failure> for Diagnosis {
    fn from(failure: Failure) -> Self {
        Self { failure, chain: Vec::new(), evidence: Vec::new() }
    }
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The failures, in the order in which they happened; none means that the deploy is done.
    pub(crate) failures: Vec<Diagnosis>,
    /// Whether it was stopped before the end.
    pub(crate) cancelled: bool,
    /// By what it was stopped, if that is known: `Interrupted` or `Terminated`.
    pub(crate) stopped_by: Option<FailureKind>,
    /// The objects that were written, in order.
    pub(crate) written: Vec<ObjectRef>,
    /// The address of the application, if it was learnt.
    pub(crate) url: Option<String>,
    /// The digests of all images by key.
    pub(crate) digests: std::collections::BTreeMap<String, Digest>,
    /// How long the run took.
    pub(crate) took: Duration,
}

impl Outcome {
    /// Whether somebody stopped the run.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled || self.failures.iter().any(|diagnosis| diagnosis.failure.kind.is_stop())
    }

    /// The exit code: 0 for a deploy that is done, that of a stop before that of the first failure.
    pub(crate) fn exit_code(&self) -> u8 {
        let kinds = || self.failures.iter().map(|diagnosis| diagnosis.failure.kind);
        let stopped_by = self.stopped_by.unwrap_or(FailureKind::Interrupted);
        let stop = kinds().find(|kind| kind.is_stop()).or(self.cancelled.then_some(stopped_by));
        stop.or_else(|| kinds().next()).map_or(0, FailureKind::exit_code)
    }
}

/// The sending end of the event channel. Cheap to clone; sending never waits and never fails the sender.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    /// Where events go.
    sender: mpsc::UnboundedSender<Event>,
    /// When the run began.
    start: tokio::time::Instant,
}

impl Events {
    /// A channel whose clock starts now.
    pub(crate) fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, start: tokio::time::Instant::now() }, receiver)
    }

    /// Says that something happened now. A report that has gone away changes nothing for the deploy.
    pub(crate) fn send(&self, kind: EventKind) {
        let _ = self.sender.send(Event { at: self.start.elapsed(), kind });
    }

    /// How long the run has taken so far.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
