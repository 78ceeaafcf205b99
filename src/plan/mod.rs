//! In: `Desired` and [`Observed`]. Out: [`Plan`]. Synchronous and pure: no input or output, no clock.
//!
//! The plan is complete: `execute` follows it and decides nothing that could have been decided here.

mod diff;
mod display;
mod graph;
mod observed;
mod operation;
mod planner;
mod slots;
mod verify;

pub(crate) use display::text;
pub(crate) use observed::{DryRun, Kept, Live, Observed, ObservedImage, ObservedObject};
pub(crate) use operation::{Change, FieldChange, Operation, OperationId, OperationKind, Plan, Target};
pub(crate) use planner::{known_digests, plan, turns_out_unchanged};
pub(crate) use slots::Digests;
pub(crate) use verify::verify;

#[cfg(test)]
pub(crate) mod sample;
