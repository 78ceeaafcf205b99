//! `check`: reads deploy.yml and the manifests, and contacts nothing.

use super::{check_builds, read_config};
use crate::cli::args::{CheckFlags, Output};
use crate::cli::console;
use crate::cli::ending::{Ending, Stop};
use crate::cli::settings::Settings;
use crate::config::{Config, Needs};
use crate::model::counted;
use serde_json::json;

/// Runs the verb.
pub(crate) fn run(settings: &Settings, flags: &CheckFlags) -> Result<Ending, Stop> {
    let needs = if flags.no_env { Needs::ALL.without_environment() } else { Needs::ALL };
    let (mut config, _) = read_config(settings, needs)?;
    config.warnings.extend(check_builds(settings, &config, false)?);
    match settings.output {
        Output::Text => console::result(&summary(&config)),
        Output::Json => console::result_json(&json!({
            "version": 1,
            "ok": true,
            "name": config.name,
            "namespace": config.namespace,
            "images": config.images.iter().map(|image| &image.key).collect::<Vec<_>>(),
            "objects": config.manifests.len(),
            "secrets": config.secrets.keys().collect::<Vec<_>>(),
            "smoke_steps": config.smoke.len(),
            "problems": config.warnings.iter().map(console::diagnostic_json).collect::<Vec<_>>(),
        })),
    }
    Ok(Ending::Done)
}

/// What was found, in one line.
fn summary(config: &Config) -> String {
    let parts = [
        count(config.images.len(), "image"),
        count(config.manifests.len(), "object"),
        count(config.secrets.len(), "Secret"),
        count(config.smoke.len(), "smoke step"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let found = if parts.is_empty() { "nothing to deploy".to_owned() } else { parts.join(", ") };
    format!("{} is right: {} in namespace {}, {found}", config.path.display(), config.name, config.namespace)
}

/// `3 images`; nothing for none.
fn count(number: usize, noun: &str) -> Option<String> {
    (number > 0).then(|| counted(number, noun))
}
