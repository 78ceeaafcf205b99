//! In: a `Plan` and the doors. Out: [`Outcome`], and an [`Event`] for whatever happens on the way.
//!
//! The only room that changes what is deployed. It starts an operation when its needs are done; a failure skips only
//! dependents. It decides nothing that the plan could have decided.

pub(crate) mod account;
mod apply;
mod assemble;
mod attest;
pub(crate) mod build;
pub(crate) mod clean;
pub(crate) mod content_key;
mod delivery;
mod diagnose;
mod errand;
pub(crate) mod event;
mod expose;
pub(crate) mod images;
mod look;
mod progress;
pub(crate) mod push;
pub(crate) mod ready_made;
mod refusal;
pub(crate) mod remove;
mod scheduler;
mod smoke;
mod wait;

pub(crate) use account::{OnCollection, RegistryAccount};
pub(crate) use assemble::entry::content_key as assembly_key;
pub(crate) use event::{
    Attestation, Diagnosis, Event, EventKind, Events, ImageResult, OperationOutcome, Outcome, SmokeResult, Transfer,
};
pub(crate) use images::ImageDoors;

use crate::error::{Failure, FailureKind};
use crate::kubernetes::Cluster;
use crate::model::Digest;
use crate::plan::{Operation, OperationKind, Plan, verify};
use progress::Progress;
use scheduler::{Ended, Stop};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// The doors to the outside that operations use. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Doors {
    /// What images come through.
    pub(crate) images: ImageDoors,
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// For smoke requests: it must not follow redirects, because a step may expect one.
    pub(crate) http: reqwest::Client,
}

/// Does what a plan says, and comes back when every operation has ended: done, failed, or skipped with the reason.
///
/// Sends `Planned` first and the events of every operation; `Finished` is left to the caller, who also has to end the
/// runs that never get to a plan. After `cancel` it comes back within a second, and the outcome names what was written.
pub(crate) async fn run(plan: Arc<Plan>, doors: &Doors, events: &Events, cancel: CancellationToken) -> Outcome {
    events.send(EventKind::Planned(plan.clone()));
    let begin = tokio::time::Instant::now();
    if let Err(contradiction) = verify(&plan) {
        let failure = Failure::new(FailureKind::Infrastructure, contradiction.to_string())
            .with_hint("this is a mistake in seaway, nothing was written: please report it");
        return Outcome { failures: vec![failure.into()], ..Outcome::default() };
    }
    let stop = Stop { cancel, ..Stop::default() };
    let progress = Arc::new(Progress::new(plan.clone(), doors.clone(), events.clone(), stop.clone()));
    progress.watch();
    let perform = |operation: &Operation| perform(progress.clone(), operation.clone());
    let tally = scheduler::run(&plan.operations, perform, events, &stop).await;
    doors.cluster.stop_watching();
    Outcome {
        failures: tally.failures,
        cancelled: tally.cancelled,
        stopped_by: None,
        written: progress.written(),
        url: progress.address().map(|address| address.url),
        digests: progress.digests().ours,
        took: begin.elapsed(),
    }
}

/// Brings the images of a plan into the registry, and touches no cluster: the other operations are not looked at.
pub(crate) async fn push(plan: Arc<Plan>, doors: &ImageDoors, events: &Events, cancel: CancellationToken) -> Outcome {
    events.send(EventKind::Planned(plan.clone()));
    let begin = tokio::time::Instant::now();
    let digests: Arc<Mutex<BTreeMap<String, Digest>>> = Arc::default();
    let stop = Stop { cancel, ..Stop::default() };
    let perform = |operation: &Operation| {
        let (doors, events, stop) = (doors.clone(), events.clone(), stop.clone());
        let (operation, digests) = (operation.clone(), digests.clone());
        async move {
            let brought = errand::bring(&doors, &operation, &events, &stop.cancel).await;
            let learnt = brought.map(|result| {
                let mut digests = digests.lock().unwrap_or_else(PoisonError::into_inner);
                digests.insert(result.key.clone(), result.digest.clone());
                result.detail
            });
            image_ended(learnt, &stop)
        }
    };
    let tally = scheduler::run(&plan.operations, perform, events, &stop).await;
    let digests = digests.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (failures, cancelled) = (tally.failures, tally.cancelled);
    Outcome { failures, cancelled, digests, took: begin.elapsed(), ..Outcome::default() }
}

/// Performs one operation.
async fn perform(run: Arc<Progress>, operation: Operation) -> Ended {
    let id = operation.id;
    match operation.kind {
        OperationKind::Build { .. }
        | OperationKind::Push { .. }
        | OperationKind::Mirror { .. }
        | OperationKind::Reuse { .. } => {
            let brought = errand::bring(&run.doors.images, &operation, &run.events, &run.stop.cancel).await;
            image_ended(brought.map(|result| run.learn_image(&result)), &run.stop)
        }
        OperationKind::Apply { object, change } => apply::apply(&run, &object, &change).await.into(),
        OperationKind::WaitReady { object, .. } => wait::ready(&run, id, &object).await,
        OperationKind::Settle { rollout } => wait::settle(&run, id, &operation.needs, &rollout).await,
        OperationKind::Expose { expose } => expose::expose(&run, id, &expose).await,
        OperationKind::Smoke { steps, host } => smoke::smoke(&run, id, &steps, host.as_deref()).await.into(),
    }
}

/// How an image's operation ended: one that was told to stop has not failed.
fn image_ended(brought: Result<String, Diagnosis>, stop: &Stop) -> Ended {
    match brought {
        Err(_) if stop.cancel.is_cancelled() => Ended::Stopped("stopped half-way".to_owned()),
        brought => brought.into(),
    }
}

#[cfg(test)]
mod cluster_sandbox_tests;
#[cfg(test)]
mod sandbox_tests;
#[cfg(test)]
mod tests;
