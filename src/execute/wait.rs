//! Waits until objects are ready, by watches: no object is asked for.

use super::diagnose;
use super::event::Diagnosis;
use super::look;
use super::progress::{Around, Progress};
use super::scheduler::Ended;
use crate::config::Rollout;
use crate::error::{Failure, FailureKind};
use crate::health::Readiness;
use crate::model::ObjectRef;
use crate::plan::{OperationId, OperationKind};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Verdicts mature with time, not only with events.
const TICK: Duration = Duration::from_secs(1);

/// Changes come in bursts: one look serves a burst.
const BURST: Duration = Duration::from_millis(40);

/// How often a wait says that it goes on: reports promise a line every 15 s.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// An API server that does not answer for longer than this is not restarting.
const OUTAGE: Duration = Duration::from_mins(2);

/// Waits until an object is ready, has failed, or its time is over.
pub(super) async fn ready(run: &Progress, id: OperationId, object: &ObjectRef) -> Ended {
    let limit = run.plan.rollout.deadline;
    let deadline = Instant::now() + limit;
    let (mut looks, mut talk) = (Looks::begin(run), Talk::default());
    let mut outage = Outage::default();
    let ended = loop {
        let state = match look::readiness(run, object) {
            Readiness::Ready(detail) => break Ended::Done(detail),
            Readiness::Suspended(detail) => {
                run.warn(format!("{object} is not waited for: {detail}"));
                break Ended::Done(detail);
            }
            Readiness::Failed(cause) => {
                break Ended::Failed(Box::new(diagnose::diagnose(run, object, *cause).await));
            }
            Readiness::Pending(state) => state,
        };
        talk.say(run, id, &state, || look::reason(run, object));
        if let Some(diagnosis) = outage.look(run, object) {
            break Ended::Failed(Box::new(diagnosis));
        }
        tokio::select! {
            () = looks.next() => {}
            () = sleep_until(deadline) => {
                let limit = format!("the deadline of {}", in_words(limit));
                break Ended::Failed(Box::new(look::too_late(run, object, &limit).await));
            }
            () = run.stop.cancel.cancelled() => break Ended::Stopped(format!("stopped, it goes on in the cluster: {state}")),
            () = run.stop.give_up.cancelled() => break Ended::Stopped(format!("not waited for any longer: {state}")),
        }
    };
    run.note_waiting(object, None);
    ended
}

/// Waits until everything that changed has stayed ready for a while.
pub(super) async fn settle(run: &Progress, id: OperationId, needs: &[OperationId], rollout: &Rollout) -> Ended {
    let objects: Vec<ObjectRef> = needs.iter().filter_map(|need| changed(run, *need)).collect();
    let deadline = Instant::now() + rollout.deadline;
    let (mut looks, mut talk) = (Looks::begin(run), Talk::default());
    let mut since = Instant::now();
    loop {
        for object in &objects {
            match look::readiness(run, object) {
                Readiness::Ready(_) | Readiness::Suspended(_) => {}
                Readiness::Failed(cause) => {
                    return Ended::Failed(Box::new(diagnose::diagnose(run, object, *cause).await));
                }
                Readiness::Pending(state) => {
                    since = Instant::now();
                    talk.say(run, id, &format!("{object} was ready and is not any more: {state}"), || None);
                    if since >= deadline {
                        let limit = format!("the deadline of {}", in_words(rollout.deadline));
                        return Ended::Failed(Box::new(look::too_late(run, object, &limit).await));
                    }
                }
            }
        }
        if since.elapsed() >= rollout.settle {
            return Ended::Done(format!("stayed ready for {}", in_words(rollout.settle)));
        }
        tokio::select! {
            () = looks.next() => {}
            () = sleep_until(since + rollout.settle) => {}
            () = run.stop.cancel.cancelled() => return Ended::Stopped("stopped while it settled".to_owned()),
            () = run.stop.give_up.cancelled() => return Ended::Stopped("not waited for any longer".to_owned()),
        }
    }
}

/// The object that an operation waits for, if it changed in this run.
fn changed(run: &Progress, id: OperationId) -> Option<ObjectRef> {
    match &run.plan.operations.get(id)?.kind {
        OperationKind::WaitReady { object, changed: true } => Some(object.clone()),
        _ => None,
    }
}

/// Tells when to look again.
pub(super) struct Looks(tokio::sync::watch::Receiver<u64>);

impl Looks {
    /// Begins now: whatever changes from here on is a reason to look.
    pub(super) fn begin(run: &Progress) -> Self {
        Self(run.cluster().changes())
    }

    /// Comes back when there is something new to see, or when time alone may have changed the verdict.
    pub(super) async fn next(&mut self) {
        if timeout(TICK, self.0.changed()).await.is_ok() {
            sleep(BURST).await;
            self.0.mark_unchanged();
        }
    }
}

/// A duration as deploy.yml writes it: `10m`, `90s`.
pub(super) fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds >= 60 && seconds.is_multiple_of(60) { format!("{}m", seconds / 60) } else { format!("{seconds}s") }
}

/// What a wait has said so far: a change at once, the same again only as a heartbeat, which says why it takes so long.
#[derive(Default)]
pub(super) struct Talk {
    /// What it said last, and when.
    last: Option<(String, Instant)>,
}

impl Talk {
    /// Says where the wait stands; `why` is asked where it has stood there for a while.
    pub(super) fn say(&mut self, run: &Progress, id: OperationId, state: &str, why: impl FnOnce() -> Option<String>) {
        match &self.last {
            Some((said, when)) if said == state => {
                if when.elapsed() < HEARTBEAT {
                    return;
                }
                match why() {
                    Some(reason) => run.say(id, format!("{state} ({reason})")),
                    None => run.say(id, state),
                }
            }
            _ => run.say(id, state),
        }
        self.last = Some((state.to_owned(), Instant::now()));
    }
}

/// How long the watches of an object have not worked.
#[derive(Default)]
struct Outage {
    /// Since when.
    since: Option<Instant>,
    /// Whether the missing surroundings were told.
    told: bool,
}

impl Outage {
    /// Looks at the watches; gives the failure where an object cannot be watched for good.
    fn look(&mut self, run: &Progress, object: &ObjectRef) -> Option<Diagnosis> {
        self.tell_blindness(run, object);
        let Some(error) = run.reflector(object).trouble() else {
            self.since = None;
            return None;
        };
        let forbidden = error.status().is_some_and(|status| status.code == 403);
        let since = *self.since.get_or_insert_with(Instant::now);
        if !forbidden && since.elapsed() < OUTAGE {
            return None;
        }
        let mut failure = Failure::of(&error);
        if !forbidden {
            failure.kind = FailureKind::Infrastructure;
        }
        failure.messages.insert(0, format!("cannot see whether {object} is ready"));
        Some(failure.into())
    }

    /// Says once what cannot be seen around an object: diagnoses are poorer, verdicts are the same.
    fn tell_blindness(&mut self, run: &Progress, object: &ObjectRef) {
        let Some(namespace) = object.namespace.as_deref().filter(|_| !self.told) else { return };
        let around = Around::of(run.cluster(), namespace);
        let forbidden = around.troubles().into_iter().filter(|text| text.contains("forbidden"));
        for trouble in forbidden {
            self.told = true;
            run.warn(format!("a failure of {object} could not be explained in full: {trouble}"));
        }
    }
}
