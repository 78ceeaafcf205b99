//! Applies one object, at most once.

use super::event::Diagnosis;
use super::progress::Progress;
use crate::desired::DesiredObject;
use crate::error::{Failure, FailureKind};
use crate::kubernetes::{ApplyError, Error, Mode};
use crate::plan::{Change, turns_out_unchanged};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A kind is served a moment after its definition is established.
const DISCOVERY_LAG: Duration = Duration::from_secs(30);

/// The pause between two looks at the kinds of the server.
const DISCOVERY_PAUSE: Duration = Duration::from_millis(500);

/// Applies an object if it changes; the detail says what became of it.
pub(super) async fn apply(run: &Progress, object: &DesiredObject, change: &Change) -> Result<String, Diagnosis> {
    let digests = run.digests();
    let done = match change {
        Change::Unchanged => return Ok("unchanged".to_owned()),
        // What was built anew has the digest that runs already: nothing would change.
        Change::Configure { fields, .. } if turns_out_unchanged(object, fields, &digests) => {
            return Ok("unchanged".to_owned());
        }
        Change::Create => "created",
        Change::Configure { .. } => "configured",
    };
    await_kind(run, object).await.map_err(|error| Diagnosis::from(Failure::of(&error)))?;
    let body = digests.fill(object);
    let reference = &object.reference;
    match run.cluster().apply(reference, &body, Mode::Write).await {
        Ok(applied) => {
            run.wrote(reference, &applied.object);
            run.cluster().offer(reference, applied.object);
            Ok(done.to_owned())
        }
        Err(error) => Err(refusal(object, &error).into()),
    }
}

/// Waits until the server knows the kind of an object whose definition has just come in.
async fn await_kind(run: &Progress, object: &DesiredObject) -> Result<(), Error> {
    let give_up = Instant::now() + DISCOVERY_LAG;
    loop {
        match run.cluster().kind(&object.reference.gvk) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= give_up => return Err(error),
            Err(_) => run.cluster().rediscover().await?,
        }
        if run.cluster().kind(&object.reference.gvk).is_err() {
            sleep(DISCOVERY_PAUSE).await;
        }
    }
}

/// The failure that a refused apply is. The dry run has passed, or could not be made.
fn refusal(object: &DesiredObject, error: &ApplyError) -> Failure {
    let place = object.origin.as_ref().map(|origin| format!(" ({origin})")).unwrap_or_default();
    let kind = match error {
        ApplyError::Invalid(_) | ApplyError::Conflict(_) => FailureKind::Configuration,
        ApplyError::Terminating(_) => FailureKind::Infrastructure,
        ApplyError::Request(error) => {
            let mut failure = Failure::of(error);
            failure.messages.insert(0, format!("cannot apply {}{place}", object.reference));
            return failure;
        }
    };
    let mut failure = Failure::new(kind, format!("the API server refuses {}{place}", object.reference));
    failure.messages.push(error.to_string());
    if let ApplyError::Terminating(namespace) = error {
        failure.hint = Some(format!("wait until namespace `{namespace}` is gone, then run the same again"));
    }
    failure
}
