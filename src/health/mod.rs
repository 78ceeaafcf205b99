//! In: objects, their pods and events, as the API server gave them. Out: a [`Readiness`], with a sentence or a [`Cause`].
//! Pure: the time is handed in, nothing is asked.
//!
//! Two questions are kept apart. *Is it ready?* is answered by the object's own status, one file a kind in
//! [`readiness`]. *Can it still become ready?* is answered by its pods and events ([`signal`]): a Deployment's status
//! says nothing of an image that does not exist until ten minutes have passed.

mod cause;
mod fields;
mod ownership;
mod readiness;
mod signal;
mod verdict;

pub(crate) use cause::{Cause, LogTarget};
pub(crate) use fields::event_time;
pub(crate) use verdict::{Memory, assess, overdue};

use jiff::Timestamp;
use serde_json::Value;

/// How far an object has come.
#[derive(Clone, Debug)]
pub(crate) enum Readiness {
    /// Not yet, and why: `2/3 ready`.
    Pending(String),
    /// It is, in a sentence: `3/3 ready  revision 7f9c`.
    Ready(String),
    /// It will not go on by itself, on purpose: a paused Deployment, a suspended Job.
    Suspended(String),
    /// It cannot become ready without a change.
    Failed(Box<Cause>),
}

/// What exists around an object: everything of these kinds in its namespace.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Surroundings<'a> {
    /// `apps/v1` `ReplicaSet` objects.
    pub(crate) replica_sets: &'a [Value],
    /// `v1` `Pod` objects.
    pub(crate) pods: &'a [Value],
    /// `v1` `Event` objects.
    pub(crate) events: &'a [Value],
}

/// The circumstances of a judgement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judging {
    /// The generation that our apply gave the object: an older status proves nothing. `None` where nothing was applied.
    pub(crate) applied_generation: Option<i64>,
    /// When this run began: older events and conditions are another deploy's.
    pub(crate) started: Timestamp,
    /// Now.
    pub(crate) now: Timestamp,
    /// Whether another workload of the same set is still on its way without an error: a container that crashes until its
    /// database is there is not broken, so verdicts from repeated crashes wait for the others.
    pub(crate) others_progress: bool,
}

#[cfg(test)]
mod tests;
