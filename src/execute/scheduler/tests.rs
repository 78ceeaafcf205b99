//! The scheduler with operations of our own making, under a clock that jumps.

use super::super::event::Event;
use super::*;
use crate::config::Rollout;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::UnboundedReceiver;

/// An operation that settles, or one that applies where `patient` is false.
fn operation(id: usize, needs: &[usize], patient: bool) -> Operation {
    let object = Box::new(crate::plan::sample::deployment(&format!("o{id}"), &[]));
    let kind = if patient {
        OperationKind::Settle { rollout: Rollout::default() }
    } else {
        OperationKind::Apply { object, change: crate::plan::Change::Create }
    };
    Operation { id, kind, needs: needs.to_vec(), reason: String::new() }
}

fn failed() -> Ended {
    Ended::Failed(Box::new(Failure::new(FailureKind::Application, "broken").into()))
}

/// The outcomes by operation, as one word each.
fn outcomes(receiver: &mut UnboundedReceiver<Event>) -> BTreeMap<usize, &'static str> {
    let mut found = BTreeMap::new();
    while let Ok(event) = receiver.try_recv() {
        if let EventKind::OperationFinished { operation, outcome, .. } = event.kind {
            let word = match outcome {
                OperationOutcome::Done { .. } => "done",
                OperationOutcome::Failed(_) => "failed",
                OperationOutcome::Skipped { .. } => "skipped",
            };
            assert!(found.insert(operation, word).is_none(), "operation {operation} ended twice");
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn operations_run_side_by_side_as_soon_as_they_can() {
    let operations =
        [operation(0, &[], false), operation(1, &[], false), operation(2, &[0], false), operation(3, &[1, 2], false)];
    let (events, _receiver) = Events::channel();
    let starts = Arc::new(Mutex::new(Vec::new()));
    let begin = Instant::now();
    let perform = |operation: &Operation| {
        let (id, starts) = (operation.id, starts.clone());
        async move {
            starts.lock().unwrap().push((id, begin.elapsed().as_secs()));
            sleep(Duration::from_secs(if id == 1 { 5 } else { 1 })).await;
            Ended::Done(String::new())
        }
    };
    let tally = run(&operations, perform, &events, &Stop::default()).await;
    assert!(tally.failures.is_empty() && !tally.cancelled);
    assert_eq!(*starts.lock().unwrap(), [(0, 0), (1, 0), (2, 1), (3, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_skips_dependents_and_nothing_else() {
    let operations = [
        operation(0, &[], false),
        operation(1, &[0], false),
        operation(2, &[1], false),
        operation(3, &[], false),
        operation(4, &[3], false),
    ];
    let (events, mut receiver) = Events::channel();
    let perform = |operation: &Operation| {
        let id = operation.id;
        async move { if id == 0 { failed() } else { Ended::Done(String::new()) } }
    };
    let tally = run(&operations, perform, &events, &Stop::default()).await;
    assert_eq!(tally.failures.len(), 1);
    let wanted = [(0, "failed"), (1, "skipped"), (2, "skipped"), (3, "done"), (4, "done")];
    assert_eq!(outcomes(&mut receiver), BTreeMap::from(wanted));
}

#[tokio::test(start_paused = true)]
async fn waiting_is_cut_short_once_the_deploy_has_failed() {
    let operations = [operation(0, &[], false), operation(1, &[], true)];
    let (events, mut receiver) = Events::channel();
    let stop = Stop::default();
    let perform = |operation: &Operation| {
        let (id, give_up) = (operation.id, stop.give_up.clone());
        async move {
            if id == 0 {
                return failed();
            }
            give_up.cancelled().await;
            Ended::Stopped("2/3 ready".to_owned())
        }
    };
    let begin = Instant::now();
    run(&operations, perform, &events, &stop).await;
    assert_eq!(begin.elapsed(), AFTERMATH);
    assert_eq!(outcomes(&mut receiver)[&1], "skipped");
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_ends_within_its_grace_and_tells_the_truth() {
    let operations = [operation(0, &[], false), operation(1, &[], false), operation(2, &[0], false)];
    let (events, mut receiver) = Events::channel();
    let stop = Stop::default();
    let perform = |operation: &Operation| {
        let (id, cancel) = (operation.id, stop.cancel.clone());
        async move {
            cancel.cancelled().await;
            // The first is nearly done when it is stopped, the second would take for ever.
            sleep(if id == 0 { Duration::from_millis(300) } else { Duration::from_hours(1) }).await;
            Ended::Done(String::new())
        }
    };
    let begin = Instant::now();
    let cancel = stop.cancel.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(5)).await;
        cancel.cancel();
    });
    let tally = run(&operations, perform, &events, &stop).await;
    assert!(tally.cancelled && tally.failures.is_empty());
    assert_eq!(begin.elapsed(), Duration::from_secs(5) + GRACE);
    let wanted = [(0, "done"), (1, "skipped"), (2, "skipped")];
    assert_eq!(outcomes(&mut receiver), BTreeMap::from(wanted));
}

#[tokio::test]
async fn a_stop_is_told_before_what_it_ends() {
    // Whether the stop or the end of an operation is seen first would otherwise be chance: give chance many chances.
    for _ in 0..32 {
        let operations = [operation(0, &[], false), operation(1, &[0], false)];
        let (events, mut receiver) = Events::channel();
        let stop = Stop::default();
        let perform = |_: &Operation| {
            let cancel = stop.cancel.clone();
            async move {
                cancel.cancelled().await;
                Ended::Stopped("stopped half-way".to_owned())
            }
        };
        let cancel = async {
            while !matches!(receiver.recv().await.unwrap().kind, EventKind::OperationStarted { .. }) {}
            stop.cancel.cancel();
        };
        let (tally, ()) = tokio::join!(run(&operations, perform, &events, &stop), cancel);
        assert!(tally.cancelled);
        assert!(matches!(receiver.try_recv().unwrap().kind, EventKind::Stopping));
        assert_eq!(outcomes(&mut receiver), BTreeMap::from([(0, "skipped"), (1, "skipped")]));
    }
}

#[tokio::test]
async fn a_crash_of_the_program_is_a_failure_like_any_other() {
    let operations = [operation(0, &[], false), operation(1, &[0], false)];
    let (events, mut receiver) = Events::channel();
    let perform = |_: &Operation| async { panic!("a mistake") };
    let tally = run(&operations, perform, &events, &Stop::default()).await;
    assert_eq!(tally.failures[0].failure.kind, FailureKind::Infrastructure);
    assert_eq!(outcomes(&mut receiver), BTreeMap::from([(0, "failed"), (1, "skipped")]));
}
