//! `plan`: what `up` would do, and what it would leave alone.

use super::{Ending, Stop, not_wired};
use crate::cli::args::PlanFlags;
use crate::cli::settings::Settings;

/// Runs the verb.
#[expect(clippy::unused_async, reason = "the rooms behind it are asynchronous")]
pub(crate) async fn run(_settings: &Settings, _flags: &PlanFlags) -> Result<Ending, Stop> {
    Err(not_wired("plan"))
}
