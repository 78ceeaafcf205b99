//! Which reports a run has: decided by the settings and by where it runs.

use super::args::Output;
use super::settings::{Ci, Settings};
use crate::config::Config;
use crate::github::{Comments, Sticky, Workflow};
use crate::model::{Redactor, RunContext};
use crate::report::{self, Format, Links, People, Reports};

/// The reports of a run. A comment that cannot be set up is left out with a warning: no report fails a deploy.
pub(crate) fn reports(settings: &Settings, config: &Config, run: &RunContext, redactor: &Redactor) -> Reports {
    let format = match settings.output {
        Output::Text => Format::Text,
        Output::Json => Format::Json,
    };
    let people = match settings.ci {
        Some(Ci::GitHub) => People::Actions,
        _ if settings.terminal.live && settings.verbosity == 0 => People::Table { colour: settings.colour_stderr },
        _ => People::Log { build_logs: settings.verbosity > 0 },
    };
    let workflow = Workflow::from_environment(&settings.environment);
    let wanted = report::Settings {
        format,
        people,
        stdout_is_terminal: settings.terminal.stdout,
        comments: workflow.as_ref().and_then(|workflow| comments(workflow, config, run, redactor)),
        summary: settings.environment.non_empty("GITHUB_STEP_SUMMARY").map(Into::into),
        outputs: settings.environment.non_empty("GITHUB_OUTPUT").map(Into::into),
        links: links(workflow.as_ref(), config, run),
    };
    Reports::new(wanted, redactor)
}

/// The comment on the pull request, where the run is for one and has a token.
fn comments(workflow: &Workflow, config: &Config, run: &RunContext, redactor: &Redactor) -> Option<Comments> {
    let (token, number) = (workflow.token.as_ref()?, run.pull_request?);
    redactor.register(token.expose());
    let sticky = Sticky::deploy(&config.name, &config.namespace, workflow.run);
    let comments = Comments::new(&workflow.api_url, token, &workflow.repository, number, sticky);
    comments.map_err(|error| super::console::say(&format!("warning: no comment on #{number}: {error}"))).ok()
}

/// What the comment and the summary know beside the run.
fn links(workflow: Option<&Workflow>, config: &Config, run: &RunContext) -> Links {
    let commit = |workflow: &Workflow| run.git.as_ref().map(|git| workflow.commit_url(&git.sha));
    Links {
        application: config.name.clone(),
        log: workflow.and_then(Workflow::run_url),
        commit: workflow.and_then(commit),
    }
}
