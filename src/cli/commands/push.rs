//! `push`: builds the images and pushes them.

use super::{Ending, Stop, not_wired};
use crate::cli::settings::Settings;

/// Runs the verb.
#[expect(clippy::unused_async, reason = "the rooms behind it are asynchronous")]
pub(crate) async fn run(_settings: &Settings) -> Result<Ending, Stop> {
    Err(not_wired("push"))
}
