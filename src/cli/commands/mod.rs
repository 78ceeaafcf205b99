//! The verbs: each a straight line of calls through the rooms.

pub(crate) mod action;
pub(crate) mod check;
pub(crate) mod down;
pub(crate) mod plan;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod schema;
pub(crate) mod up;

use super::ending::Stop;
use super::settings::Settings;
use crate::config::{self, Config, Diagnostic, Needs};
use crate::error::{Failure, FailureKind};
use crate::model::RunContext;
use crate::observe::sources;
use std::future::Future;

/// Reads deploy.yml for a verb; warnings are shown at once.
pub(crate) fn read_config(settings: &Settings, needs: Needs) -> Result<(Config, RunContext), Stop> {
    let run = settings.run_context();
    let request = config::Request {
        path: &settings.file,
        overlay: settings.overlay.as_deref(),
        variables: &settings.variables,
        run: &run,
        needs,
    };
    let stop = |diagnostics| Stop::Diagnostics { diagnostics, file: settings.file.clone() };
    let config = config::load(&request).map_err(stop)?;
    for warning in &config.warnings {
        super::console::say(&warning.render(settings.colour_stderr));
    }
    Ok((config, run))
}

/// Looks at what the Dockerfiles take from their contexts, offline. Warnings are shown at once, and given back. `now` says
/// that the builds come next, so that what they need must be there.
pub(crate) fn check_builds(settings: &Settings, config: &Config, now: bool) -> Result<Vec<Diagnostic>, Stop> {
    let stop = |diagnostics| Stop::Builds { diagnostics, file: settings.file.clone() };
    let warnings = sources::check(config, now).map_err(stop)?;
    for warning in &warnings {
        super::console::say(&warning.render(settings.colour_stderr));
    }
    Ok(warnings)
}

/// Runs a verb that contacts something.
pub(crate) fn wait_for<T>(verb: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(FailureKind::Infrastructure, format!("cannot start the threads of the program: {error}"))
    })?;
    let result = runtime.block_on(verb);
    // What still runs (a name lookup, a password helper) must not hold up the end of the program.
    runtime.shutdown_background();
    result
}
