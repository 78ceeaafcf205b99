//! `action`: what the GitHub Action runs. The inputs and the event say which verb that is.

use crate::cli::args::{Arguments, Verb};
use crate::cli::console;
use crate::cli::ending::Stop;
use crate::cli::environment::Surroundings;
use crate::cli::settings::Settings;
use crate::error::{Failure, FailureKind};
use crate::github::{self, Command, Decision, Inputs, Workflow, workflow_commands};
use crate::model::Environment;
use crate::report;
use clap::Parser as _;
use std::path::Path;

/// The verb that inputs and event stand for, with its settings; `None` where there is nothing to do, which was said.
pub(crate) fn prepare(settings: &Settings) -> Result<Option<(Verb, Settings)>, Stop> {
    let mut inputs = Inputs::from_environment(&settings.environment).map_err(Failure::from)?;
    for remark in &inputs.warnings {
        console::say(&format!("warning: {remark}"));
    }
    let mut environment = settings.environment.clone();
    inputs.apply(&mut environment);
    mask(&environment);
    let workflow = Workflow::from_environment(&environment).ok_or_else(outside)?;
    if inputs.command == Command::Auto {
        let token = environment.non_empty("DIGITALOCEAN_ACCESS_TOKEN").or(environment.non_empty("DIGITALOCEAN_TOKEN"));
        let reachable = token.is_some() || inputs.kubeconfig.is_some();
        match github::decide(&workflow, &payload(&workflow)?, reachable).map_err(Failure::from)? {
            Decision::Run(deploy) => note(&mut environment, &deploy),
            Decision::Skip { reason } => {
                console::say(&format!("seaway: skipped: {reason}"));
                let (summary, output) = (workflow.summary.as_deref(), workflow.output.as_deref());
                if let Err(failure) = report::skipped(summary, output, &reason) {
                    console::say(&format!("warning: {failure}"));
                }
                return Ok(None);
            }
        }
    }
    if !inputs.comment {
        environment.set("GITHUB_TOKEN", "");
    }
    inputs.file = Some(file(&inputs));
    resolve(&inputs, environment).map(Some)
}

/// Everything secret that the inputs brought, hidden by the runner in every later line of the log.
fn mask(environment: &Environment) {
    for name in ["DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_TOKEN", "GITHUB_TOKEN"] {
        if let Some(secret) = environment.non_empty(name) {
            for line in workflow_commands::masks(secret) {
                console::say(&line);
            }
        }
    }
}

/// The failure of an action that no runner started.
fn outside() -> Failure {
    Failure::new(FailureKind::Configuration, "`action` runs in a workflow of GitHub Actions, and this is none")
        .with_hint("`seaway up` does the same on the command line")
}

/// The text of the event's payload; empty where the runner gives none.
fn payload(workflow: &Workflow) -> Result<String, Failure> {
    let Some(path) = &workflow.event_path else { return Ok(String::new()) };
    std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read the event in `{}`: {error}", path.display());
        Failure::new(FailureKind::Configuration, message).with_hint("GITHUB_EVENT_PATH names it; the runner sets it")
    })
}

/// What the event says of the pull request, where the rest of the program looks for it.
fn note(environment: &mut Environment, deploy: &github::Deploy) {
    if let Some(number) = deploy.pull_request {
        environment.set("GITHUB_REF", &format!("refs/pull/{number}/merge"));
    }
    if let Some(sha) = &deploy.head_sha {
        environment.set("GITHUB_SHA", sha);
    }
}

/// deploy.yml, from the folder that the inputs name.
fn file(inputs: &Inputs) -> String {
    let folder = inputs.working_directory.as_deref().unwrap_or_default();
    let file = inputs.file.as_deref().unwrap_or("deploy.yml");
    Path::new(folder).join(file).display().to_string()
}

/// The inputs as a command line, resolved like any other.
fn resolve(inputs: &Inputs, environment: Environment) -> Result<(Verb, Settings), Stop> {
    let arguments = std::iter::once("seaway".to_owned()).chain(inputs.arguments());
    let arguments = Arguments::try_parse_from(arguments).map_err(|error| {
        let message = format!("the inputs make no command: {}", error.render().to_string().trim_end());
        Failure::new(FailureKind::Configuration, message)
    })?;
    let surroundings =
        Surroundings { environment, stdout_is_terminal: false, stderr_is_terminal: false, stdin_is_terminal: false };
    Settings::resolve(arguments, &surroundings).map_err(Stop::from)
}
