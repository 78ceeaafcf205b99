//! Which reports a run has: decided by the settings and by where it runs.

use super::args::Output;
use super::settings::{Ci, Settings};
use crate::config::Config;
use crate::model::{Redactor, RunContext};
use crate::report::{self, Format, People, Reports};

/// The reports of a run.
pub(crate) fn reports(settings: &Settings, _config: &Config, _run: &RunContext, redactor: &Redactor) -> Reports {
    let format = match settings.output {
        Output::Text => Format::Text,
        Output::Json => Format::Json,
    };
    let people = match settings.ci {
        Some(Ci::GitHub) => People::Actions,
        _ if settings.terminal.live && settings.verbosity == 0 => People::Table { colour: settings.colour_stderr },
        _ => People::Log { build_logs: settings.verbosity > 0 },
    };
    let wanted = report::Settings { format, people, stdout_is_terminal: settings.terminal.stdout };
    Reports::new(&wanted, redactor)
}
