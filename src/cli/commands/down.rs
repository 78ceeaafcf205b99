//! `down`: removes what `up` made.

use super::{Ending, Stop, not_wired};
use crate::cli::args::DownFlags;
use crate::cli::settings::Settings;

/// Runs the verb.
#[expect(clippy::unused_async, reason = "the rooms behind it are asynchronous")]
pub(crate) async fn run(_settings: &Settings, _flags: &DownFlags) -> Result<Ending, Stop> {
    Err(not_wired("down"))
}
