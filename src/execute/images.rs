//! The doors that images come through, and what pushes have in common.

use super::event::{Diagnosis, EventKind, Events, ImageResult};
use super::{build, push, ready_made};
use crate::docker;
use crate::error::{Failure, FailureKind};
use crate::plan::{Operation, OperationId, OperationKind};
use crate::registry::{self, BlobState, News, OnProgress};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
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
        OperationKind::Push { image, content_key } => {
            ready_made::push(doors, image, content_key, id, events, cancel).await
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

/// When something was told last, and what state it was in.
#[derive(Default)]
struct Told {
    /// The sums.
    sum: Duration,
    /// Each blob.
    blobs: HashMap<usize, (Duration, BlobState)>,
}

/// Tells how far a transfer is: often enough for a bar, at each change of a blob's state, and when all is complete.
pub(super) fn on_transfer(events: &Events, operation: OperationId) -> OnProgress {
    let events = events.clone();
    let told = Mutex::new(Told::default());
    Box::new(move |news| {
        let now = events.elapsed();
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
            News::Sum { done, total } => {
                if done == total || now >= told.sum + BETWEEN_TRANSFERS {
                    told.sum = now;
                    events.send(EventKind::Transfer { operation, done, total });
                }
            }
            News::Blob(progress) => {
                let last = told.blobs.get(&progress.number);
                let due = |(at, state): &(Duration, BlobState)| {
                    *state != progress.state || progress.state == BlobState::Storing || now >= *at + BETWEEN_TRANSFERS
                };
                if last.is_none_or(due) {
                    told.blobs.insert(progress.number, (now, progress.state));
                    events.send(EventKind::Blob { operation, progress });
                }
            }
        }
    })
}
