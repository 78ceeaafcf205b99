//! In: `Desired` and [`Observed`]. Out: [`Plan`]. Synchronous and pure: no input or output, no clock.
//!
//! The plan is complete: `execute` follows it and decides nothing that could have been decided here.

mod observed;
mod operation;

pub(crate) use observed::{DryRun, Live, Observed, ObservedImage, ObservedObject};
pub(crate) use operation::{Change, FieldChange, Operation, OperationId, OperationKind, Plan, Target};
