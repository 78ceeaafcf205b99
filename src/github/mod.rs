//! In: what a workflow run says of itself, its inputs, the payload of its event. Out: whether there is something to do,
//! the comment on the pull request, commands for the runner.
//!
//! A door: it names only `model`, `http` and `error`. It reads no environment and no file: both are handed in.

mod comments;
mod context;
mod error;
mod inputs;
pub(crate) mod workflow_commands;

pub(crate) use comments::{Comments, Sticky, fit};
pub(crate) use context::{Decision, Deploy, Workflow, decide};
pub(crate) use error::Error;
pub(crate) use inputs::{Command, Inputs};
