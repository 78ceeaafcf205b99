//! `registry clean`: shows which images nothing needs any more, and deletes them when it is told to.

use super::read_config;
use crate::clean::{Decision, Inventory, Pattern, Rules, decide};
use crate::cli::args::{CleanFlags, OnGc, Output};
use crate::cli::console;
use crate::cli::doors::{Cloud, learn_secrets};
use crate::cli::ending::{Ending, Stop};
use crate::cli::settings::Settings;
use crate::cli::signals::Signals;
use crate::cli::walk::redacted;
use crate::config::{Config, Needs};
use crate::error::{Failure, FailureKind};
use crate::execute::clean::{Cleaner, InUse};
use crate::model::Repository;
use crate::registry::DIGITALOCEAN;
use crate::report::{self, Cleaning, Collected};
use jiff::Timestamp;

/// Runs the verb.
pub(crate) async fn clean(settings: &Settings, flags: &CleanFlags) -> Result<Ending, Stop> {
    let (config, _) = read_config(settings, Needs::CLEAN)?;
    learn_secrets(&config, settings, &settings.redactor);
    let redacted = |failure| redacted(&settings.redactor, failure);
    let signals = Signals::listen();
    let repositories = repositories(&config, flags)?;
    let survey = survey(settings, flags, &config, &repositories);
    let (cleaner, found, clusters) = tokio::select! {
        found = survey => found.map_err(redacted)?,
        () = signals.cancel.cancelled() => {
            return Err(Failure::new(signals.kind(), "stopped before anything was deleted").into());
        }
    };
    let cleaning = Cleaning { clusters: &clusters, repositories: &found, verbose: settings.verbosity > 0 };
    if settings.output == Output::Text {
        console::result(
            &cleaning.text(
                report::stdout_width(settings.terminal.stdout),
                settings.colour_stderr && settings.terminal.stdout,
            ),
        );
    }
    let carried_out = carry_out(flags, &cleaner, &found, &signals).await;
    let (deleted, collected) = carried_out.map_err(redacted)?;
    if settings.output == Output::Json {
        console::result_json(&cleaning.json(deleted, collected));
    }
    Ok(Ending::Done)
}

/// The repositories that are meant: those of the images in deploy.yml, or those that were named.
fn repositories(config: &Config, flags: &CleanFlags) -> Result<Vec<Repository>, Failure> {
    let Some(registry) = &config.registry else {
        let failure = Failure::new(FailureKind::Configuration, "deploy.yml names no registry");
        return Err(failure.with_hint("write `registry: NAME` into it"));
    };
    let named = flags.repositories.iter().map(|name| registry.repository(name));
    let images = config.images.iter().map(|image| registry.repository(&image.key));
    let mut meant: Vec<Repository> = if flags.repositories.is_empty() { images.collect() } else { named.collect() };
    meant.sort();
    meant.dedup();
    if meant.is_empty() {
        let failure = Failure::new(FailureKind::Configuration, "deploy.yml has no images, so no repository is meant");
        return Err(failure.with_hint("name one: `--repository NAME`"));
    }
    Ok(meant)
}

/// Opens the doors, reads what is there and what runs, and decides. Gives the names of the clusters that were asked too.
async fn survey(
    settings: &Settings,
    flags: &CleanFlags,
    config: &Config,
    repositories: &[Repository],
) -> Result<(Cleaner, Vec<(Inventory, Decision)>, Vec<String>), Failure> {
    let cloud = Cloud::new(settings, &settings.redactor);
    let (images, (in_use, clusters)) =
        tokio::try_join!(cloud.open_images(config, OnGc::Wait), in_use(&cloud, config, flags))?;
    let cleaner = Cleaner { registry: images.registry, account: images.account };
    let is_digitalocean = repositories.iter().any(|repository| repository.registry == DIGITALOCEAN);
    if is_digitalocean && cleaner.account.as_ref().is_none_or(|account| account.registry().is_none()) {
        let message = "images of DigitalOcean's registry are deleted through its API, which needs a token that may";
        let failure = Failure::new(FailureKind::Configuration, message);
        return Err(failure.with_hint("set `DIGITALOCEAN_ACCESS_TOKEN`, with `registry:read` and `registry:delete`"));
    }
    if flags.garbage_collect && !is_digitalocean {
        let failure = Failure::new(FailureKind::Configuration, "this registry cannot be told to collect garbage");
        return Err(failure.with_hint("only DigitalOcean's has an API for it: leave `--garbage-collect` out"));
    }
    let rules = Rules {
        keep_tags: flags.keep_tags,
        older_than: flags.older_than,
        patterns: flags.patterns.iter().map(|text| Pattern::new(text)).collect(),
        now: Timestamp::now(),
    };
    let mut found = Vec::new();
    for repository in repositories {
        let inventory = cleaner.inventory(repository).await?;
        let decision = decide(&inventory, &in_use.in_repository(&inventory), &rules);
        found.push((inventory, decision));
    }
    Ok((cleaner, found, clusters))
}

/// What the clusters run, and their names: that of deploy.yml and those that were named beside it.
async fn in_use(cloud: &Cloud<'_>, config: &Config, flags: &CleanFlags) -> Result<(InUse, Vec<String>), Failure> {
    let (mut in_use, mut names) = (InUse::default(), Vec::new());
    if flags.no_cluster && flags.clusters.is_empty() {
        return Ok((in_use, names));
    }
    let mut open = Vec::new();
    if !flags.no_cluster {
        open.push(cloud.open_cluster(config).await.map_err(unreachable)?);
    }
    for name in &flags.clusters {
        open.push(cloud.by_name(name).await.map_err(unreachable)?);
    }
    for cluster in open {
        in_use.extend(InUse::of(&cluster.cluster).await?);
        names.push(cluster.name);
    }
    Ok((in_use, names))
}

/// The failure of a cluster that cannot be asked.
fn unreachable(mut failure: Failure) -> Failure {
    failure.messages.insert(0, "nobody can say which images run: nothing was deleted".to_owned());
    let hint = failure.hint.map(|hint| format!("{hint}\n")).unwrap_or_default();
    failure.hint = Some(format!("{hint}`--no-cluster` asks none: images that one runs may go then"));
    failure
}

/// Deletes what was shown, if that was said, and collects garbage, if that was said too.
async fn carry_out(
    flags: &CleanFlags,
    cleaner: &Cleaner,
    found: &[(Inventory, Decision)],
    signals: &Signals,
) -> Result<(usize, Option<Collected>), Failure> {
    let goes: usize = found.iter().map(|(_, decision)| decision.goes.len()).sum();
    if !flags.yes {
        if goes > 0 {
            console::say("nothing was deleted: give `--yes` to delete what can go");
        }
        return Ok((0, None));
    }
    cleaner.nothing_is_collected().await?;
    let mut deleted = 0;
    for (_, decision) in found.iter().filter(|(_, decision)| !decision.goes.is_empty()) {
        let all = decision.goes.len();
        deleted += cleaner.delete(decision, &signals.cancel).await?;
        console::say(&format!("deleted {all} manifest{} of {}", if all == 1 { "" } else { "s" }, decision.repository));
    }
    if !flags.garbage_collect {
        return Ok((deleted, None));
    }
    let mut said = String::new();
    let ended = cleaner.collect_garbage(&signals.cancel, |collection| {
        if collection.status != said {
            console::say(&format!("garbage collection: {}", collection.status));
            said.clone_from(&collection.status);
        }
    });
    let ended = ended.await?;
    if ended.status != "succeeded" {
        let failure =
            Failure::new(FailureKind::Infrastructure, format!("the garbage collection ended as `{}`", ended.status));
        return Err(failure.with_hint("what was deleted is gone, its space is not free yet: run it again"));
    }
    console::say(&report::freed_text(ended.freed_bytes));
    Ok((
        deleted,
        Some(Collected { status: ended.status, blobs_deleted: ended.blobs_deleted, freed_bytes: ended.freed_bytes }),
    ))
}
