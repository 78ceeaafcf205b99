//! In: a `Plan` and the doors. Out: [`Outcome`], and an [`Event`] for whatever happens on the way.
//!
//! The only room that changes what is deployed. It starts an operation when its needs are done; a failure skips only
//! dependents. It decides nothing that the plan could have decided.

pub(crate) mod event;
pub(crate) mod remove;

pub(crate) use event::{Diagnosis, Event, EventKind, Events, ImageResult, OperationOutcome, Outcome, SmokeResult};
