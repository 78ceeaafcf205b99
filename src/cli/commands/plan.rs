//! `plan`: what `up` would do, and what it would leave alone. Nothing is written.

use super::{check_builds, read_config};
use crate::cli::args::{Output, PlanFlags};
use crate::cli::console;
use crate::cli::ending::{Ending, Stop};
use crate::cli::settings::Settings;
use crate::cli::walk::Walk;
use crate::config::Needs;
use crate::plan;
use crate::report;

/// Runs the verb.
pub(crate) async fn run(settings: &Settings, flags: &PlanFlags) -> Result<Ending, Stop> {
    let (mut config, run) = read_config(settings, Needs::ALL)?;
    check_builds(settings, &config, true)?;
    flags.builds.apply(&mut config);
    let walk = Walk::new(settings, &config, &run);
    let (plan, _) = tokio::select! {
        planned = walk.to_plan() => planned.map_err(|failure| walk.redacted(failure))?,
        () = walk.signals.cancel.cancelled() => return Err(walk.stopped().into()),
    };
    match settings.output {
        Output::Text => console::result(walk.redactor.redact(&plan::text(&plan)).trim_end()),
        Output::Json => console::result_json(&report::plan_json(&plan)),
    }
    Ok(if flags.exit_code && plan.has_changes() { Ending::Changes } else { Ending::Done })
}
