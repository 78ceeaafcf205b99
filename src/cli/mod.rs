//! In: the arguments and the environment. Out: settings, a run context, and the verb that was asked for.
//!
//! [`environment`] is the only reader of the process environment. `commands` are straight lines of calls through the
//! rooms, one file a verb: they decide nothing.

mod age;
mod args;
mod commands;
pub(crate) mod console;
mod doors;
mod ending;
mod environment;
mod exit_code;
mod log;
mod origin;
mod reporting;
mod run_context;
pub(crate) mod settings;
mod signals;
mod walk;

use crate::error::{Failure, FailureKind};
use args::{Arguments, RegistryVerb, Verb};
use clap::Parser as _;
use clap::error::{ContextKind, ContextValue};
use ending::{Ending, Stop};
use settings::Settings;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs one verb. In: the arguments, the program's name first. Out: the code that the process ends with:
/// 0 done; 1 the application's fault; 2 configuration or usage; 3 infrastructure; 4 timed out while progressing;
/// 5 `plan --exit-code` found changes; 130 and 143 stopped.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let (verb, settings) = match Settings::resolve(arguments, &environment::read()) {
        Ok(resolved) => resolved,
        Err(failure) => return console::fail(&Stop::from(failure), None),
    };
    // Every TLS client needs a provider; ring is the only one that is linked in. A second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match perform(&verb, &settings) {
        Ok(ending) => exit_code::of_ending(ending),
        Err(stop) => console::fail(&stop, Some(&settings)),
    }
}

/// Verbs that the interface promises and that nothing implements yet.
const LATER: [&str; 13] = [
    "init",
    "status",
    "history",
    "logs",
    "rollback",
    "preview",
    "build",
    "explain",
    "cluster",
    "cost",
    "doctor",
    "export",
    "completions",
];

/// Shows a usage error, or the help that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    if let Some(ContextValue::String(verb)) = error.get(ContextKind::InvalidSubcommand)
        && LATER.contains(&verb.as_str())
    {
        let failure = Failure::new(FailureKind::Configuration, format!("`{verb}` is not supported yet"));
        return console::fail(&failure.with_hint("`seaway --help` lists what is").into(), None);
    }
    let _ = error.print(); // a closed pipe is no reason to fail
    exit_code::of_usage(error)
}

/// Does what the verb says. Only verbs that contact something get a runtime.
fn perform(verb: &Verb, settings: &Settings) -> Result<Ending, Stop> {
    if !matches!(verb, Verb::Action) {
        log::start(settings); // the settings of an action are only those with which it finds its verb
    }
    match verb {
        Verb::Check(options) => commands::check::run(settings, options),
        Verb::Schema => commands::schema::run(),
        Verb::Plan(options) => commands::wait_for(commands::plan::run(settings, options)),
        Verb::Up(flags) => commands::wait_for(commands::up::run(settings, flags)),
        Verb::Down(options) => commands::wait_for(commands::down::run(settings, options)),
        Verb::Push(flags) => commands::wait_for(commands::push::run(settings, flags)),
        Verb::Registry(RegistryVerb::Clean(flags)) => commands::wait_for(commands::registry::clean(settings, flags)),
        Verb::Action => match commands::action::prepare(settings)? {
            Some((verb, settings)) => perform(&verb, &settings),
            None => Ok(Ending::Done),
        },
    }
}
