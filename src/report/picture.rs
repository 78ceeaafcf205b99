//! What is known of a run at a moment: the events so far, put in order. Every report draws from it.
//!
//! Secrets are taken out of every text on its way in, before a report could escape and so disguise them.

use super::progress::Moving;
use super::text::plain;
use crate::desired::SlotImage;
use crate::execute::event::Header;
use crate::execute::{Diagnosis, Event, EventKind, ImageResult, OperationOutcome, Outcome, SmokeResult};
use crate::model::{ObjectRef, Redactor};
use crate::plan::{Change, Operation, OperationId, OperationKind, Plan};
use std::sync::Arc;
use std::time::Duration;

/// The phases of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Before the plan is known.
    Preparation,
    /// Images are built, copied, found.
    Images,
    /// Objects are applied.
    Objects,
    /// Workloads become ready.
    Rollout,
    /// The address is learnt.
    Address,
    /// Requests are sent.
    Smoke,
}

impl Phase {
    /// Its name in every report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Preparation => "preparation",
            Self::Images => "images",
            Self::Objects => "objects",
            Self::Rollout => "rollout",
            Self::Address => "address",
            Self::Smoke => "smoke",
        }
    }
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not begun.
    Waiting,
    /// Going on.
    Running,
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// Not begun and will not be, or stopped half-way.
    Skipped,
}

/// An operation of the plan as people see it.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// The phase that it belongs to.
    pub(super) phase: Phase,
    /// What is done: `build`, `apply`, `wait for`.
    pub(super) verb: &'static str,
    /// To what: `backend`, `Deployment backend`.
    pub(super) subject: String,
    /// How far it is.
    pub(super) state: State,
    /// What was said of it last: a progress message, in the end the result.
    pub(super) message: String,
    /// How far its layers are, while it is brought into the registry.
    pub(super) moving: Moving,
    /// When it began.
    pub(super) started: Option<Duration>,
    /// How long it took.
    pub(super) took: Option<Duration>,
    /// The image that came of it.
    pub(super) image: Option<ImageResult>,
    /// The object that it is about.
    pub(super) object: Option<ObjectRef>,
    /// Whether it changes anything.
    pub(super) changed: bool,
}

impl Task {
    /// How long it has been going on, or how long it took.
    pub(super) fn age(&self, now: Duration) -> Option<Duration> {
        self.took.or_else(|| self.started.map(|started| now.saturating_sub(started)))
    }

    /// `build backend`.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.verb, self.subject).trim_end().to_owned()
    }
}

/// Where an object was written, for annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file.
    pub(super) file: String,
    /// The line, from 1.
    pub(super) line: usize,
}

/// What becomes of an object.
#[derive(Clone, Debug)]
pub(super) struct ObjectChange {
    /// Which object.
    pub(super) object: ObjectRef,
    /// What becomes of it.
    pub(super) change: Change,
    /// How many pods it has, if it says so.
    pub(super) pods: Option<u64>,
}

/// What is known of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    /// What takes the secrets out.
    redactor: Redactor,
    /// Where the run goes.
    pub(super) header: Option<Header>,
    /// What is being done before there is a plan.
    pub(super) preparing: Option<String>,
    /// The plan.
    pub(super) plan: Option<Arc<Plan>>,
    /// Its operations.
    pub(super) tasks: Vec<Task>,
    /// What becomes of its objects, in its order.
    pub(super) objects: Vec<ObjectChange>,
    /// The requests that were answered.
    pub(super) smoke: Vec<SmokeResult>,
    /// The address and how it was found.
    pub(super) address: Option<(String, String)>,
    /// What went wrong without changing the result.
    pub(super) warnings: Vec<String>,
    /// Failures with the operation that had them.
    failures: Vec<(OperationId, Diagnosis)>,
    /// Whether somebody asked to stop.
    pub(super) stopping: bool,
    /// How it ended.
    pub(super) outcome: Option<Outcome>,
    /// The time since the start.
    pub(super) now: Duration,
}

impl Picture {
    /// Nothing is known yet.
    pub(super) fn new(redactor: Redactor) -> Self {
        Self { redactor, ..Self::default() }
    }

    /// A text without secrets and without characters that steer terminals.
    pub(super) fn clean(&self, text: &str) -> String {
        plain(&self.redactor.redact(text))
    }

    /// Takes in what happened.
    pub(super) fn absorb(&mut self, event: &Event) {
        self.now = self.now.max(event.at);
        match &event.kind {
            EventKind::Started(header) => self.header = Some(self.clean_header(header)),
            EventKind::Preparing { what } => self.preparing = Some(self.clean(what)),
            EventKind::Planned(plan) => self.planned(plan),
            EventKind::Address { url, source } => self.address = Some((self.clean(url), self.clean(source))),
            EventKind::SmokeAnswered { result } => self.smoke.push(self.clean_smoke(result)),
            EventKind::Warning { message } => self.warnings.push(self.clean(message)),
            EventKind::Stopping => self.stopping = true,
            EventKind::Finished(outcome) => self.outcome = Some(self.clean_outcome(outcome)),
            _ => self.absorb_task(event),
        }
    }

    /// Takes in what happened to a task.
    fn absorb_task(&mut self, event: &Event) {
        let (EventKind::OperationStarted { operation }
        | EventKind::Progress { operation, .. }
        | EventKind::Transfer { operation, .. }
        | EventKind::Blob { operation, .. }
        | EventKind::ImageReady { operation, .. }
        | EventKind::OperationFinished { operation, .. }) = &event.kind
        else {
            return;
        };
        let redactor = self.redactor.clone();
        let clean = |text: &str| plain(&redactor.redact(text));
        let Some(task) = self.tasks.get_mut(*operation) else { return };
        match &event.kind {
            EventKind::OperationStarted { .. } => {
                (task.state, task.started) = (State::Running, Some(event.at));
            }
            EventKind::Progress { message, .. } => task.message = clean(message),
            EventKind::Transfer { done, total, .. } => task.moving.take_sum(*done, *total),
            EventKind::Blob { progress, .. } => task.moving.take(event.at, progress),
            EventKind::ImageReady { result, .. } => task.image = Some(result.clone()),
            EventKind::OperationFinished { outcome, took, .. } => {
                task.took = Some(*took);
                task.moving = Moving::default();
                (task.state, task.message) = match outcome {
                    OperationOutcome::Done { detail } => (State::Done, clean(detail)),
                    OperationOutcome::Skipped { because } => (State::Skipped, clean(because)),
                    OperationOutcome::Failed(diagnosis) => (State::Failed, clean(&first_message(diagnosis))),
                };
                if let OperationOutcome::Failed(diagnosis) = outcome {
                    self.failures.push((*operation, (**diagnosis).clone()));
                }
            }
            _ => {}
        }
    }

    /// Takes in the plan.
    fn planned(&mut self, plan: &Arc<Plan>) {
        self.preparing = None;
        self.tasks = plan.operations.iter().map(task).collect();
        self.objects = plan.operations.iter().filter_map(|operation| self.object_change(operation)).collect();
        self.plan = Some(Arc::clone(plan));
    }

    /// What an operation makes of an object, without secrets.
    fn object_change(&self, operation: &Operation) -> Option<ObjectChange> {
        let OperationKind::Apply { object, change } = &operation.kind else { return None };
        let mut change = change.clone();
        if let Change::Configure { fields, .. } = &mut change {
            for value in fields.iter_mut().flat_map(|field| [&mut field.before, &mut field.after]) {
                *value = value.as_deref().map(|text| self.clean(text));
            }
        }
        let pods = object.body.pointer("/spec/replicas").and_then(serde_json::Value::as_u64);
        Some(ObjectChange { object: object.reference.clone(), change, pods })
    }

    /// A header without secrets.
    fn clean_header(&self, header: &Header) -> Header {
        Header {
            application: self.clean(&header.application),
            namespace: self.clean(&header.namespace),
            cluster: self.clean(&header.cluster),
            cluster_because: self.clean(&header.cluster_because),
            commit: header.commit.as_deref().map(|commit| self.clean(commit)),
            pull_request: header.pull_request,
        }
    }

    /// A request and its answer without secrets.
    fn clean_smoke(&self, result: &SmokeResult) -> SmokeResult {
        SmokeResult {
            method: result.method.clone(),
            path: self.clean(&result.path),
            status: result.status,
            took: result.took,
            detail: self.clean(&result.detail),
            failure: result.failure.as_deref().map(|failure| self.clean(failure)),
        }
    }

    /// An outcome without secrets.
    fn clean_outcome(&self, outcome: &Outcome) -> Outcome {
        let failures = outcome.failures.iter().map(|diagnosis| self.clean_diagnosis(diagnosis)).collect();
        Outcome { failures, url: outcome.url.as_deref().map(|url| self.clean(url)), ..outcome.clone() }
    }

    /// A diagnosis without secrets.
    fn clean_diagnosis(&self, diagnosis: &Diagnosis) -> Diagnosis {
        let all = |texts: &[String]| texts.iter().map(|text| self.clean(text)).collect::<Vec<_>>();
        let mut clean = diagnosis.clone();
        clean.failure.messages = all(&diagnosis.failure.messages);
        clean.failure.hint = diagnosis.failure.hint.as_deref().map(|hint| self.clean(hint));
        clean.chain = all(&diagnosis.chain);
        clean.evidence = diagnosis.evidence.iter().map(|(title, lines)| (self.clean(title), all(lines))).collect();
        clean
    }
}

impl Picture {
    /// The tasks of a phase.
    pub(super) fn tasks_of(&self, phase: Phase) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(move |task| task.phase == phase)
    }

    /// The tasks that are going on.
    pub(super) fn running(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| task.state == State::Running)
    }

    /// The latest phase in which something has begun.
    pub(super) fn phase(&self) -> Phase {
        let begun = self.tasks.iter().filter(|task| task.started.is_some());
        begun.map(|task| task.phase).max().unwrap_or(Phase::Preparation)
    }

    /// The first phase in which a change is left to be made or waited for.
    pub(super) fn unfinished(&self) -> Option<Phase> {
        let left =
            self.tasks.iter().filter(|task| task.changed && matches!(task.state, State::Waiting | State::Running));
        left.map(|task| task.phase).min()
    }

    /// How far a task is, in the end: a workload that was ready and is blamed for the failure all the same (it did not
    /// stay ready) has failed.
    pub(super) fn state_of(&self, task: &Task) -> State {
        let failures = self.outcome.iter().flat_map(|outcome| &outcome.failures);
        let blamed = |diagnosis: &Diagnosis| task.object.is_some() && diagnosis.chain.first() == Some(&task.subject);
        if failures.into_iter().any(blamed) { State::Failed } else { task.state }
    }

    /// Whether an object has been written to the cluster.
    pub(super) fn wrote(&self) -> bool {
        let applied = |task: &Task| task.phase == Phase::Objects && task.changed && task.state == State::Done;
        self.tasks.iter().any(applied) || self.outcome.as_ref().is_some_and(|outcome| !outcome.written.is_empty())
    }

    /// The image of a workload as people name it: the first eight digits of its digest.
    pub(super) fn image_of(&self, object: &ObjectRef) -> Option<String> {
        let plan = self.plan.as_ref()?;
        let slots = plan.operations.iter().find_map(|operation| match &operation.kind {
            OperationKind::Apply { object: applied, .. } if applied.reference == *object => Some(&applied.slots),
            _ => None,
        })?;
        let digest = slots.iter().find_map(|slot| match &slot.image {
            SlotImage::Ours(key) => self.digest(key),
            SlotImage::Foreign(_) => None,
        });
        let foreign = || {
            slots.iter().find_map(|slot| match &slot.image {
                SlotImage::Foreign(reference) => plan.foreign.get(reference).cloned(),
                SlotImage::Ours(_) => None,
            })
        };
        digest.or_else(foreign).map(|digest| digest.short().to_owned())
    }

    /// The digest of one of our images, as far as it is known.
    fn digest(&self, key: &str) -> Option<crate::model::Digest> {
        let built = self.tasks.iter().filter_map(|task| task.image.as_ref()).find(|image| image.key == key);
        built.map(|image| image.digest.clone()).or_else(|| self.plan.as_ref()?.digests.get(key).cloned())
    }

    /// Where the object of a failure was written, if the failure is one of an object from a file.
    pub(super) fn place(&self, diagnosis: &Diagnosis) -> Option<Place> {
        let same = |known: &Diagnosis| self.clean(&first_message(known)) == first_message(diagnosis);
        let failed = self.failures.iter().find(|(_, known)| same(known)).and_then(|(id, _)| self.tasks.get(*id));
        let wanted = failed.and_then(|task| task.object.as_ref());
        let is_wanted = |object: &ObjectRef| match wanted {
            Some(wanted) => object == wanted,
            None => diagnosis.chain.first() == Some(&object.to_string()),
        };
        self.plan.as_ref()?.operations.iter().find_map(|operation| match &operation.kind {
            OperationKind::Apply { object, .. } if is_wanted(&object.reference) => {
                let origin = object.origin.as_ref()?;
                Some(Place { file: origin.file.display().to_string(), line: origin.line })
            }
            _ => None,
        })
    }
}

/// The first line of a diagnosis.
fn first_message(diagnosis: &Diagnosis) -> String {
    diagnosis.failure.messages.first().cloned().unwrap_or_default()
}

/// An operation before it has begun.
fn task(operation: &Operation) -> Task {
    let (phase, verb, subject, object, changed) = match &operation.kind {
        OperationKind::Build { image, .. } => (Phase::Images, "build", image.key.clone(), None, true),
        OperationKind::Push { image, .. } => (Phase::Images, "push", image.key.clone(), None, true),
        OperationKind::Mirror { image, .. } => (Phase::Images, "mirror", image.key.clone(), None, true),
        OperationKind::Reuse { image, .. } => (Phase::Images, "reuse", image.key.clone(), None, false),
        OperationKind::Apply { object, change } => {
            let reference = object.reference.clone();
            (Phase::Objects, "apply", reference.to_string(), Some(reference), *change != Change::Unchanged)
        }
        OperationKind::WaitReady { object, changed } => {
            (Phase::Rollout, "wait for", object.to_string(), Some(object.clone()), *changed)
        }
        OperationKind::Settle { .. } => (Phase::Rollout, "settle", String::new(), None, false),
        OperationKind::Expose { expose } => {
            (Phase::Address, "find the address of", format!("{} {}", expose.kind, expose.name), None, false)
        }
        OperationKind::Smoke { .. } => (Phase::Smoke, "send the smoke requests", String::new(), None, false),
    };
    let (message, state) = (String::new(), State::Waiting);
    let (started, took, image) = (None, None, None);
    let moving = Moving::default();
    Task { phase, verb, subject, state, message, moving, started, took, image, object, changed }
}
