//! The doors that images come through, and what pushes have in common.

use super::event::{Diagnosis, EventKind, Events, ImageResult};
use super::{build, push};
use crate::docker;
use crate::error::{Failure, FailureKind};
use crate::plan::{Operation, OperationId, OperationKind};
use crate::registry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The doors that images come through. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ImageDoors {
    /// All registries.
    pub(crate) registry: registry::Client,
    /// The builder; nothing is contacted before something has to be built.
    pub(crate) builder: docker::Builder,
}

/// Brings the image of an operation into the registry, and says so.
pub(super) async fn bring(
    doors: &ImageDoors,
    operation: &Operation,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<ImageResult, Diagnosis> {
    let id = operation.id;
    let result = match &operation.kind {
        OperationKind::Build { image, content_key } => {
            build::build(doors, image, content_key, id, events, cancel).await
        }
        OperationKind::Mirror { image, digest, content_key } => {
            push::mirror(doors, image, digest, content_key, id, events, cancel).await
        }
        OperationKind::Reuse { image, digest } => push::reuse(doors, image, digest, id, events, cancel).await,
        _ => Err(Failure::new(FailureKind::Infrastructure, "this operation brings no image").into()),
    }?;
    events.send(EventKind::ImageReady { operation: id, result: result.clone() });
    Ok(result)
}

/// Bars and rates need no more news than this.
const BETWEEN_TRANSFERS: Duration = Duration::from_millis(100);

/// Tells how far a transfer is: often enough for a bar, and when it is complete.
pub(super) fn on_transfer(events: &Events, operation: OperationId) -> Box<dyn Fn(u64, u64) + Send + Sync> {
    let events = events.clone();
    let last = AtomicU64::new(0);
    Box::new(move |done, total| {
        let now = u64::try_from(events.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wait = u64::try_from(BETWEEN_TRANSFERS.as_millis()).unwrap_or_default();
        let due = now >= last.load(Ordering::Relaxed).saturating_add(wait);
        if due || done == total {
            last.store(now, Ordering::Relaxed);
            events.send(EventKind::Transfer { operation, done, total });
        }
    })
}
