//! The only reader of the process environment and of the streams' nature.

use crate::model::Environment;
use std::io::IsTerminal as _;

/// What the process was started with.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// The variables; names or values that are not Unicode are left out.
    pub(crate) environment: Environment,
    /// Whether standard output is a terminal.
    pub(crate) stdout_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub(crate) stderr_is_terminal: bool,
    /// Whether somebody can answer questions.
    pub(crate) stdin_is_terminal: bool,
}

/// Takes the snapshot.
pub(crate) fn read() -> Surroundings {
    let unicode =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Surroundings {
        environment: Environment::new(unicode),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        stdin_is_terminal: std::io::stdin().is_terminal(),
    }
}
