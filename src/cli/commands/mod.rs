//! The verbs: each a straight line of calls through the rooms.

pub(crate) mod action;
pub(crate) mod check;
pub(crate) mod down;
pub(crate) mod plan;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod schema;
pub(crate) mod up;

use super::settings::Settings;
use crate::config::{self, Config, Diagnostic, Diagnostics, Needs};
use crate::error::{Failure, FailureKind};
use crate::model::RunContext;
use crate::observe::sources;
use std::future::Future;
use std::path::PathBuf;

/// How a verb ended that has nothing left to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is done.
    Done,
    /// `plan --exit-code` found changes.
    Changes,
    /// It failed, and the reports have said why.
    Failed(FailureKind),
}

/// Why a verb stopped, still to be told.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// deploy.yml, or a file that it names, has mistakes.
    Diagnostics {
        /// The mistakes.
        diagnostics: Diagnostics,
        /// deploy.yml.
        file: PathBuf,
    },
    /// Dockerfiles take what is not in their contexts.
    Builds {
        /// The mistakes.
        diagnostics: Diagnostics,
        /// deploy.yml.
        file: PathBuf,
    },
    /// Anything else.
    Failure(Failure),
}

impl Stop {
    /// Whose fault it is.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Diagnostics { .. } => FailureKind::Configuration,
            Self::Builds { .. } => FailureKind::Application,
            Self::Failure(failure) => failure.kind,
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

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
