//! The codes that the process ends with. They are part of the interface: docs/messages.md lists them.

use super::ending::Ending;
use crate::error::FailureKind;
use std::process::ExitCode;

/// The code of a run that did not fail.
pub(crate) fn of_ending(ending: Ending) -> ExitCode {
    match ending {
        Ending::Done => ExitCode::SUCCESS,
        Ending::Changes => ExitCode::from(5),
        Ending::Failed(kind) => ExitCode::from(kind.exit_code()),
    }
}

/// The code after clap has spoken: help and version are no failure.
pub(crate) fn of_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() { ExitCode::from(FailureKind::Configuration.exit_code()) } else { ExitCode::SUCCESS }
}
