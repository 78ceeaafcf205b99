//! Starts operations when their needs are done, and sees to it that every one of them ends.
//!
//! A failure skips what depends on it, and nothing else. Once something has failed and only waiting is left, the waiting
//! is cut short: the deploy has failed anyway, and its reader wants to know.

use super::event::{Diagnosis, EventKind, Events, OperationOutcome};
use crate::error::{Failure, FailureKind};
use crate::plan::{Operation, OperationId, OperationKind};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How an operation ended, by its own account.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was done; what people read.
    Done(String),
    /// It failed.
    Failed(Box<Diagnosis>),
    /// It was told to stop, and did; where it stood.
    Stopped(String),
}

impl From<Result<String, Diagnosis>> for Ended {
    fn from(result: Result<String, Diagnosis>) -> Self {
        match result {
            Ok(detail) => Self::Done(detail),
            Err(diagnosis) => Self::Failed(Box::new(diagnosis)),
        }
    }
}

/// What tells operations to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    /// Somebody wants the run to end: every operation stops.
    pub(super) cancel: CancellationToken,
    /// The deploy has failed: what only waits stops.
    pub(super) give_up: CancellationToken,
}

/// How a run of operations ended.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The failures, in the order in which they happened.
    pub(super) failures: Vec<Diagnosis>,
    /// Whether somebody stopped it.
    pub(super) cancelled: bool,
}

/// How long a request that is under way may take to end after a cancellation: an apply that was sent should be known to
/// have been written.
const GRACE: Duration = Duration::from_millis(800);

/// How long the waits go on after a failure: others may fail of the same cause or be ready in a moment.
const AFTERMATH: Duration = Duration::from_secs(3);

/// Performs operations; comes back when each has ended. `perform` starts one.
pub(super) async fn run<P, F>(operations: &[Operation], perform: P, events: &Events, stop: &Stop) -> Tally
where
    P: Fn(&Operation) -> F,
    F: Future<Output = Ended> + Send + 'static,
{
    let mut schedule = Schedule::new(operations, events);
    let mut running = JoinSet::new();
    let mut tasks = BTreeMap::new();
    let mut over: Option<Instant> = None;
    loop {
        if !stop.cancel.is_cancelled() {
            for id in schedule.startable() {
                schedule.started(id);
                let work = perform(&operations[id]);
                let handle = running.spawn(async move { (id, work.await) });
                tasks.insert(handle.id(), id);
            }
        } else if over.is_none() {
            events.send(EventKind::Stopping);
            schedule.skip_waiting("stopped before it began");
            over = Some(Instant::now() + GRACE);
        }
        if running.is_empty() {
            return schedule.tally(stop.cancel.is_cancelled());
        }
        let only_waits = schedule.has_failed() && schedule.only_waits();
        tokio::select! {
            // In this order, so that the stop is told before what it ends: both are ready when an operation heeds it.
            biased;
            () = stop.cancel.cancelled(), if over.is_none() => {}
            Some(joined) = running.join_next_with_id() => match joined {
                Ok((_, (id, ended))) => schedule.ended(id, ended),
                Err(error) => schedule.crashed(tasks.get(&error.id()).copied(), &error),
            },
            () = at(over), if over.is_some() => {
                running.abort_all();
                schedule.skip_running("stopped half-way");
                return schedule.tally(true);
            }
            () = sleep(AFTERMATH), if only_waits && !stop.give_up.is_cancelled() => stop.give_up.cancel(),
        }
    }
}

/// Comes back at a time.
async fn at(time: Option<Instant>) {
    if let Some(time) = time {
        tokio::time::sleep_until(time).await;
    }
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its needs are not done.
    Waiting,
    /// It is under way since then.
    Running(Instant),
    /// It was done.
    Done,
    /// It failed, was skipped or stopped: nothing that needs it can start.
    Lost,
}

/// Where all operations stand.
struct Schedule<'a> {
    /// The operations.
    operations: &'a [Operation],
    /// Where each stands.
    states: Vec<State>,
    /// Where to say so.
    events: &'a Events,
    /// The failures so far.
    failures: Vec<Diagnosis>,
}

impl<'a> Schedule<'a> {
    /// Nothing has started.
    fn new(operations: &'a [Operation], events: &'a Events) -> Self {
        Self { operations, states: vec![State::Waiting; operations.len()], events, failures: Vec::new() }
    }

    /// The operations whose needs are done and that have not started.
    fn startable(&self) -> Vec<OperationId> {
        let ready = |operation: &&Operation| {
            self.states[operation.id] == State::Waiting
                && operation.needs.iter().all(|need| self.states[*need] == State::Done)
        };
        self.operations.iter().filter(ready).map(|operation| operation.id).collect()
    }

    /// Notes a start.
    fn started(&mut self, id: OperationId) {
        self.states[id] = State::Running(Instant::now());
        self.events.send(EventKind::OperationStarted { operation: id });
    }

    /// Notes an end.
    fn ended(&mut self, id: OperationId, ended: Ended) {
        match ended {
            Ended::Done(detail) => self.finish(id, State::Done, OperationOutcome::Done { detail }),
            Ended::Stopped(because) => {
                self.finish(id, State::Lost, OperationOutcome::Skipped { because });
                self.skip_dependents(id);
            }
            Ended::Failed(diagnosis) => {
                self.failures.push((*diagnosis).clone());
                self.finish(id, State::Lost, OperationOutcome::Failed(diagnosis));
                self.skip_dependents(id);
            }
        }
    }

    /// Notes that the program itself failed in an operation.
    fn crashed(&mut self, id: Option<OperationId>, error: &tokio::task::JoinError) {
        let message = format!("seaway itself failed in this step: {error}");
        let failure = Failure::new(FailureKind::Infrastructure, message).with_hint("run it again, and report it");
        if let Some(id) = id {
            self.ended(id, Ended::Failed(Box::new(failure.into())));
        }
    }

    /// Says how an operation ended.
    fn finish(&mut self, id: OperationId, state: State, outcome: OperationOutcome) {
        let took = match self.states[id] {
            State::Running(since) => since.elapsed(),
            _ => Duration::ZERO,
        };
        self.states[id] = state;
        self.events.send(EventKind::OperationFinished { operation: id, outcome, took });
    }

    /// Skips everything that needs an operation, however far away.
    fn skip_dependents(&mut self, lost: OperationId) {
        let because = format!("{} did not come to its end", subject(&self.operations[lost].kind));
        for operation in self.operations {
            let needs_lost = operation.needs.iter().any(|need| self.states[*need] == State::Lost);
            if self.states[operation.id] == State::Waiting && needs_lost {
                self.finish(operation.id, State::Lost, OperationOutcome::Skipped { because: because.clone() });
            }
        }
    }

    /// Skips everything that has not started.
    fn skip_waiting(&mut self, because: &str) {
        self.skip(|state| state == State::Waiting, because);
    }

    /// Skips everything that is under way.
    fn skip_running(&mut self, because: &str) {
        self.skip(|state| matches!(state, State::Running(_)), because);
    }

    /// Skips all operations in some state.
    fn skip(&mut self, which: impl Fn(State) -> bool, because: &str) {
        for id in 0..self.operations.len() {
            if which(self.states[id]) {
                self.finish(id, State::Lost, OperationOutcome::Skipped { because: because.to_owned() });
            }
        }
    }

    /// Whether anything has failed.
    fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Whether nothing is under way but waiting.
    fn only_waits(&self) -> bool {
        let waits = |kind: &OperationKind| {
            matches!(
                kind,
                OperationKind::WaitReady { .. } | OperationKind::Settle { .. } | OperationKind::Expose { .. }
            )
        };
        let running = self.operations.iter().filter(|one| matches!(self.states[one.id], State::Running(_)));
        running.clone().count() > 0 && running.clone().all(|operation| waits(&operation.kind))
    }

    /// How it all ended.
    fn tally(self, cancelled: bool) -> Tally {
        Tally { failures: self.failures, cancelled }
    }
}

/// What an operation is about, at the start of a sentence.
fn subject(kind: &OperationKind) -> String {
    match kind {
        OperationKind::Build { image, .. }
        | OperationKind::Push { image, .. }
        | OperationKind::Mirror { image, .. }
        | OperationKind::Reuse { image, .. } => {
            format!("image {}", image.key)
        }
        OperationKind::Apply { object, .. } => object.reference.to_string(),
        OperationKind::WaitReady { object, .. } => object.to_string(),
        OperationKind::Settle { .. } => "the rollout".to_owned(),
        OperationKind::Expose { expose } => format!("{} {}", expose.kind, expose.name),
        OperationKind::Smoke { .. } => "the smoke test".to_owned(),
    }
}

#[cfg(test)]
mod tests;
