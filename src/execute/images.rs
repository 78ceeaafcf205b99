//! The doors that images come through, and what pushes have in common.

use super::account::{self, RegistryAccount};
use super::event::{Diagnosis, EventKind, Events};
use crate::desired::DesiredImage;
use crate::docker;
use crate::error::Failure;
use crate::plan::OperationId;
use crate::registry::{self, BlobState, Error, News, OnProgress};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The doors that images come through. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ImageDoors {
    /// All registries.
    pub(crate) registry: registry::Client,
    /// The builder; nothing is contacted before something has to be built.
    pub(crate) builder: docker::Builder,
    /// The DigitalOcean account behind the registry that takes the images, where there is one and a token for it.
    pub(crate) account: Option<RegistryAccount>,
}

/// The diagnosis of a push that failed: which image, the cause as far as the account knows it, then what the registry said.
pub(super) async fn about(doors: &ImageDoors, image: &DesiredImage, done: &str, error: &Error) -> Diagnosis {
    let mut failure = Failure::of(error);
    if !matches!(error, Error::Cancelled) {
        failure.messages.insert(0, format!("image `{}` could not be {done}", image.key));
        failure = account::explain(doors.account.as_ref(), &image.repository, error, failure).await;
    }
    let chain = vec![format!("image {}", image.key), image.repository.to_string()];
    Diagnosis { failure, chain, evidence: Vec::new() }
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
