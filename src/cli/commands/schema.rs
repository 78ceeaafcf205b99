//! `schema`: prints the JSON Schema of deploy.yml.

use crate::cli::console;
use crate::cli::ending::{Ending, Stop};
use crate::config::schema;

/// Runs the verb.
#[expect(clippy::unnecessary_wraps, reason = "every verb answers alike")]
pub(crate) fn run() -> Result<Ending, Stop> {
    console::result_json(&schema::document());
    Ok(Ending::Done)
}
