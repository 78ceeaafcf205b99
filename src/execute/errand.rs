//! Brings the image of an operation into the registry, whichever way the plan chose for it.

use super::delivery::Delivery;
use super::event::{Diagnosis, EventKind, Events, ImageResult};
use super::images::ImageDoors;
use super::{RegistryAccount, build, push, ready_made};
use crate::error::{Failure, FailureKind};
use crate::plan::{Operation, OperationKind};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Brings the image of an operation into the registry, and says so.
pub(super) async fn bring(
    doors: &ImageDoors,
    operation: &Operation,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<ImageResult, Diagnosis> {
    let start = Instant::now();
    if let OperationKind::Build { image, .. }
    | OperationKind::Push { image, .. }
    | OperationKind::Mirror { image, .. }
    | OperationKind::Reuse { image, .. } = &operation.kind
    {
        doors.registry.works_on(&image.repository); // before it waits for anything: the others may need what lies there
    }
    // A client that counts the requests of this image alone.
    let doors = &ImageDoors { registry: doors.registry.counting(), ..doors.clone() };
    let brought = Errand { doors, operation, events, cancel }.patiently().await;
    for message in doors.registry.warnings() {
        events.send(EventKind::Warning { message });
    }
    let mut result = brought?;
    let transfer = &mut result.transfer;
    transfer.requests = doors.registry.requests();
    let later: Duration = transfer.phases.iter().map(|(_, took)| *took).sum();
    transfer.phases.insert(0, ("prepare", start.elapsed().saturating_sub(later)));
    events.send(EventKind::ImageReady { operation: operation.id, result: result.clone() });
    Ok(result)
}

/// One image that has to be brought.
struct Errand<'a> {
    /// The doors.
    doors: &'a ImageDoors,
    /// What the plan says of it.
    operation: &'a Operation,
    /// Whom to tell.
    events: &'a Events,
    /// Stops it.
    cancel: &'a CancellationToken,
}

impl Errand<'_> {
    /// Brings the image in, and waits for a garbage collection that stands in the way.
    async fn patiently(&self) -> Result<ImageResult, Diagnosis> {
        if !matches!(self.operation.kind, OperationKind::Reuse { .. }) {
            self.until_it_takes_pushes().await?;
        }
        loop {
            let ended = self.doors.account.as_ref().map(RegistryAccount::ended);
            match self.once().await {
                // A garbage collection that began in the middle of the push is met like one that was there before.
                Err(diagnosis) if self.is_worth_waiting(&diagnosis, ended).await => {
                    self.until_it_takes_pushes().await?;
                }
                result => return result,
            }
        }
    }

    /// Whether garbage is collected now, or was since so many collections had ended, so that another try may help against a
    /// failure; not if that was excluded. There are no more tries than collections, and the waits for them are bounded.
    async fn is_worth_waiting(&self, diagnosis: &Diagnosis, ended: Option<u64>) -> bool {
        let Some(account) = self.doors.account.as_ref().filter(|account| account.waits()) else { return false };
        let may_help = diagnosis.failure.kind != FailureKind::Application && !self.cancel.is_cancelled();
        // Whoever looks may wait until another image has waited for the end.
        may_help && (account.look().await || Some(account.ended()) > ended)
    }

    /// Waits until nothing that was seen stands in the way of a push.
    async fn until_it_takes_pushes(&self) -> Result<(), Diagnosis> {
        let Some(account) = &self.doors.account else { return Ok(()) };
        let operation = self.operation.id;
        let say = |message| self.events.send(EventKind::Progress { operation, message });
        Ok(account.until_it_takes_pushes(say, self.cancel).await?)
    }

    /// Brings the image in.
    async fn once(&self) -> Result<ImageResult, Diagnosis> {
        let Self { doors, operation, events, cancel } = *self;
        let id = operation.id;
        let delivery = |image, content_key| Delivery { doors, image, content_key, operation: id, events, cancel };
        match &operation.kind {
            OperationKind::Build { image, content_key } => build::build(delivery(image, content_key)).await,
            OperationKind::Push { image, content_key } => ready_made::push(delivery(image, content_key)).await,
            OperationKind::Mirror { image, digest, content_key } => {
                push::mirror(delivery(image, content_key), digest).await
            }
            OperationKind::Reuse { image, digest } => push::reuse(doors, image, digest, id, events, cancel).await,
            _ => Err(Failure::new(FailureKind::Infrastructure, "this operation brings no image").into()),
        }
    }
}
