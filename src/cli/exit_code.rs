//! The codes that the process ends with. They are part of the interface: docs/messages.md lists them.

use super::commands::Ending;
use crate::error::FailureKind;
use std::process::ExitCode;

/// The code of a failure.
pub(crate) fn number_of(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Application => 1,
        FailureKind::Configuration => 2,
        FailureKind::Infrastructure => 3,
        FailureKind::TimedOut => 4,
        FailureKind::Interrupted => 130,
        FailureKind::Terminated => 143,
    }
}

/// The code of a run that did not fail.
pub(crate) fn of_ending(ending: Ending) -> ExitCode {
    match ending {
        Ending::Done => ExitCode::SUCCESS,
        Ending::Changes => ExitCode::from(5),
        Ending::Failed(kind) => ExitCode::from(number_of(kind)),
    }
}

/// The code after clap has spoken: help and version are no failure.
pub(crate) fn of_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() { ExitCode::from(number_of(FailureKind::Configuration)) } else { ExitCode::SUCCESS }
}
