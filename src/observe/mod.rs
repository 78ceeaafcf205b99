//! In: `Desired` and the doors. Out: `Observed`, what exists now. Asks, never writes.

pub(crate) mod cluster;
pub(crate) mod images;

use crate::desired::Desired;
use crate::error::Failure;
use crate::execute::{Doors, EventKind, Events};
use crate::plan::{Observed, known_digests};

/// Asks the registries and the cluster, side by side, what exists of what is desired.
pub(crate) async fn survey(desired: &Desired, doors: &Doors, events: &Events) -> Result<Observed, Failure> {
    events.send(EventKind::Preparing { what: "reading the cluster".to_owned() });
    // The lists need no digests: they come in while the registries answer.
    let lists = cluster::list(desired, &doors.cluster);
    let ((images, foreign), ()) = tokio::try_join!(images::survey(desired, &doors.images, events), lists)?;
    let mut observed = Observed { images, foreign, complete: true, ..Observed::default() };
    let digests = known_digests(desired, &observed);
    observed.objects = cluster::survey(desired, &digests, &doors.cluster).await?;
    Ok(observed)
}
