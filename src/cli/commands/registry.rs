//! `registry clean`: shows which images nothing needs any more, and deletes them when it is told to.

use super::read_config;
use crate::clean::{Decision, Inventory, Pattern, Reason, Rules, decide};
use crate::cli::args::{CleanFlags, OnGc, Output};
use crate::cli::console;
use crate::cli::doors::{Cloud, Named, learn_secrets};
use crate::cli::ending::{Ending, Stop};
use crate::cli::settings::Settings;
use crate::cli::signals::Signals;
use crate::cli::walk::redacted;
use crate::config::{Config, Needs};
use crate::digitalocean;
use crate::error::{Failure, FailureKind};
use crate::execute::clean::{Cleaner, Clusters, Gone, Silent};
use crate::model::{DIGITALOCEAN_REGISTRY, Redactor, Repository, counted};
use crate::report::{self, Cleaning, Collected};
use futures::future::join_all;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Runs the verb.
pub(crate) async fn clean(settings: &Settings, flags: &CleanFlags) -> Result<Ending, Stop> {
    let (config, _) = read_config(settings, Needs::CLEAN)?;
    learn_secrets(&config, settings, &settings.redactor);
    let redacted = |failure| redacted(&settings.redactor, failure);
    let signals = Signals::listen();
    let repositories = repositories(&config, flags)?;
    let survey = survey(settings, flags, &config, &repositories);
    let survey = tokio::select! {
        survey = survey => survey.map_err(redacted)?,
        () = signals.cancel.cancelled() => {
            return Err(Failure::new(signals.kind(), "stopped before anything was deleted").into());
        }
    };
    let silent: Vec<(String, String)> = survey.silent.iter().map(|silent| said(silent, &settings.redactor)).collect();
    let cleaning = Cleaning {
        clusters: &survey.asked,
        all_of_account: survey.all_of_account,
        silent: &silent,
        repositories: &survey.found,
        verbose: settings.verbosity > 0,
    };
    if settings.output == Output::Text {
        console::result(
            &cleaning.text(
                report::stdout_width(settings.terminal.stdout),
                settings.colour_stderr && settings.terminal.stdout,
            ),
        );
    }
    let carried_out = carry_out(flags, &survey, &signals).await;
    let stopped = |mut failure: Failure| {
        if failure.kind.is_stop() {
            failure.kind = signals.kind();
        }
        failure
    };
    let (deleted, collected) = carried_out.map_err(stopped).map_err(redacted)?;
    if settings.output == Output::Json {
        console::result_json(&cleaning.json(deleted, collected));
    }
    Ok(Ending::Done)
}

/// The name of a cluster that does not answer, and why, in a line and without secrets.
fn said(silent: &Silent, redactor: &Redactor) -> (String, String) {
    (silent.name.clone(), redactor.redact(&silent.failure.messages.join(": ")).replace('\n', " "))
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

/// What was found, and what is needed to act upon it.
struct Survey {
    /// Who reads and deletes.
    cleaner: Cleaner,
    /// Whom to ask what runs.
    clusters: Clusters,
    /// The clusters that have said what they run.
    asked: Vec<String>,
    /// Those that have not.
    silent: Vec<Silent>,
    /// Whether all clusters of the account are among these.
    all_of_account: bool,
    /// The rules.
    rules: Rules,
    /// The repositories, and what was decided on them.
    found: Vec<(Inventory, Decision)>,
}

/// Opens the doors, reads what is there and what runs, and decides.
async fn survey(
    settings: &Settings,
    flags: &CleanFlags,
    config: &Config,
    repositories: &[Repository],
) -> Result<Survey, Failure> {
    let cloud = Cloud::new(settings, &settings.redactor);
    let is_digitalocean = repositories.iter().any(|repository| repository.registry == DIGITALOCEAN_REGISTRY);
    let (images, (clusters, all_of_account)) =
        tokio::try_join!(cloud.open_images(config, OnGc::Wait), open_clusters(&cloud, config, flags, is_digitalocean))?;
    let cleaner = Cleaner { registry: images.registry, account: images.account };
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
    let in_use = clusters.look().await;
    let mut found = Vec::new();
    for repository in repositories {
        let inventory = cleaner.inventory(repository, None).await?;
        let decision = decide(&inventory, &in_use.in_repository(&inventory), &rules);
        found.push((inventory, decision));
    }
    Ok(Survey { cleaner, clusters, asked: in_use.asked, silent: in_use.silent, all_of_account, rules, found })
}

/// What people call the clusters of an account of which nothing is known.
const UNKNOWN: &str = "the account's clusters";

/// The clusters that may use what is looked at: that of deploy.yml, those that were named beside it, and on DigitalOcean all
/// others of the account, since nothing says which of them pull from where. And whether those are all of the account.
///
/// One that is named and does not exist is a mistake; one that cannot be reached is silent.
async fn open_clusters(
    cloud: &Cloud<'_>,
    config: &Config,
    flags: &CleanFlags,
    is_digitalocean: bool,
) -> Result<(Clusters, bool), Failure> {
    let mut clusters = Clusters::default();
    let ignored = |name: &str| flags.ignored_clusters.iter().any(|ignored| ignored == name);
    let whole_account = is_digitalocean && !flags.no_cluster && !ignored("*");
    let mut named: Vec<&str> = flags.clusters.iter().map(String::as_str).collect();
    if !flags.no_cluster {
        match cloud.named_cluster(config) {
            Named::Of(name) if !ignored(name) => named.insert(0, name),
            Named::Elsewhere => {
                let opened = cloud.open_cluster(config).await;
                let name =
                    opened.as_ref().map_or("the cluster of the kubeconfig", |open| open.name.as_str()).to_owned();
                clusters.add(name, opened.map(|open| open.cluster));
            }
            Named::None if !whole_account => cloud.open_cluster(config).await.map(drop).map_err(unreachable)?,
            Named::Of(_) | Named::None => {}
        }
    }
    let mut ids = BTreeSet::new();
    for name in named {
        let (found, opened) = cloud.try_by_name(name).await.map_err(unreachable)?;
        ids.insert(found.id.clone());
        clusters.add(found.to_string(), opened);
    }
    if !whole_account {
        return Ok((clusters, false));
    }
    match cloud.clusters().await {
        Ok(all) => {
            let is_left = |found: &&digitalocean::Cluster| {
                !ids.contains(&found.id)
                    && !ignored(&found.name)
                    && !ignored(&found.id)
                    && found.status.state != "deleted"
            };
            let left: Vec<&digitalocean::Cluster> = all.iter().filter(is_left).collect();
            let opened = join_all(left.iter().map(|found| cloud.connect(found))).await;
            left.iter().zip(opened).for_each(|(found, opened)| clusters.add(found.to_string(), opened));
        }
        Err(failure) => clusters.add(UNKNOWN.to_owned(), Err(failure)),
    }
    Ok((clusters, true))
}

/// The failure of a cluster that cannot be found.
fn unreachable(mut failure: Failure) -> Failure {
    failure.messages.insert(0, "nobody can say which images run: nothing was deleted".to_owned());
    let hint = failure.hint.map(|hint| format!("{hint}\n")).unwrap_or_default();
    failure.hint = Some(format!("{hint}`--no-cluster` asks none: images that one runs may go then"));
    failure
}

/// Deletes what was shown, if that was said, and collects garbage, if that was said too.
async fn carry_out(
    flags: &CleanFlags,
    survey: &Survey,
    signals: &Signals,
) -> Result<(usize, Option<Collected>), Failure> {
    let Survey { cleaner, found, .. } = survey;
    let goes: usize = found.iter().map(|(_, decision)| decision.goes.len()).sum();
    if !flags.yes {
        if goes > 0 {
            console::say("nothing was deleted: give `--yes` to delete what can go");
        }
        return Ok((0, None));
    }
    if let Some(failure) = silent(&survey.silent, found) {
        return Err(failure);
    }
    cleaner.nothing_is_collected().await?;
    let deleted = delete(survey, signals).await?;
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
    let ended = ended.await.map_err(|failure| not_collected(deleted, failure))?;
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

/// The failure of a garbage collection behind a deletion.
fn not_collected(deleted: usize, mut failure: Failure) -> Failure {
    if deleted > 0 && failure.kind == FailureKind::Configuration {
        failure.kind = FailureKind::Infrastructure; // something was changed
    }
    failure.messages.insert(0, format!("deleted {}, and collected no garbage", counted(deleted, "manifest")));
    failure
}

/// Deletes what was shown, and says so; how many manifests that were.
async fn delete(survey: &Survey, signals: &Signals) -> Result<usize, Failure> {
    let Survey { cleaner, clusters, rules, found, .. } = survey;
    let mut all: Vec<Gone> = Vec::new();
    for (inventory, decision) in found {
        let mut gone = Gone::default();
        if !decision.goes.is_empty() {
            let deleted = cleaner.delete((inventory, decision), rules, clusters, &signals.cancel, &mut gone).await;
            let kept = match deleted {
                Ok(kept) => kept,
                Err(failure) => {
                    all.push(gone);
                    return Err(broken_off(failure, found, &all));
                }
            };
            console::say(&format!("deleted {} of {}", counted(gone.sure.len(), "manifest"), decision.repository));
            for kept in &kept {
                console::say(&report::kept_text(kept));
            }
        }
        all.push(gone);
    }
    Ok(all.iter().map(|gone| gone.sure.len()).sum())
}

/// A failure in the middle of a deletion, with what is gone by then and what is not. What has changed something is nobody's
/// configuration alone.
fn broken_off(mut failure: Failure, found: &[(Inventory, Decision)], all: &[Gone]) -> Failure {
    let nothing = Gone::default();
    if all.iter().all(|gone| gone.sure.is_empty() && gone.unsure.is_none()) {
        return failure;
    }
    let done: usize = all.iter().map(|gone| gone.sure.len()).sum();
    let planned: usize = found.iter().map(|(_, decision)| decision.goes.len()).sum();
    failure.messages.insert(0, format!("broke off after {done} of {}", counted(planned, "manifest")));
    if failure.kind == FailureKind::Configuration {
        failure.kind = FailureKind::Infrastructure;
    }
    let gone = all.iter().chain(std::iter::repeat(&nothing));
    let lines = found.iter().zip(gone);
    let lines =
        lines.flat_map(|((_, decision), gone)| report::broken_off_text(decision, &gone.sure, gone.unsure.as_ref()));
    let end = "what is left is whole: run it again to go on".to_owned();
    let hint: Vec<String> = failure.hint.take().into_iter().chain(lines).chain([end]).collect();
    failure.with_hint(hint.join("\n"))
}

/// Why nothing of what was shown is deleted, where clusters are silent and something would have gone otherwise.
fn silent(silent: &[Silent], found: &[(Inventory, Decision)]) -> Option<Failure> {
    let held = |(_, decision): &(Inventory, Decision)| {
        decision.stays.iter().any(|fate| matches!(fate.reason, Reason::MayRun(_)))
    };
    silent.first().filter(|_| found.iter().any(held)).map(Silent::refuse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::Fate;
    use crate::error::render;
    use crate::model::Digest;
    use std::collections::BTreeMap;

    /// A repository of which these tags go.
    fn found(path: &str, tags: &[&str]) -> (Inventory, Decision) {
        let repository = Repository { registry: "r.example".to_owned(), path: path.to_owned() };
        let fate = |tag: &&str| Fate {
            digest: Digest::of(tag.as_bytes()),
            tags: vec![(*tag).to_owned()],
            age: None,
            size: 1,
            reason: Reason::Old,
        };
        let goes = tags.iter().map(fate).collect();
        let decision = Decision { repository: repository.clone(), goes, stays: Vec::new(), lists_untagged: true };
        let (manifests, tags) = (BTreeMap::new(), BTreeMap::new());
        (Inventory { repository, manifests, tags, lists_untagged: true }, decision)
    }

    #[test]
    fn a_failure_in_the_middle_says_what_went_and_what_stays() {
        let ten: Vec<String> = (1..=10).map(|number| format!("w{number}")).collect();
        let ten: Vec<&str> = ten.iter().map(String::as_str).collect();
        let found = [found("shop/api", &["v1", "v2"]), found("shop/db", &["a", "b", "c"]), found("shop/web", &ten)];
        let digests = |tags: &[&str]| tags.iter().map(|tag| Digest::of(tag.as_bytes())).collect();
        let all = [
            Gone { sure: digests(&["v1", "v2"]), unsure: None },
            Gone { sure: digests(&["a"]), unsure: Some(Digest::of(b"b")) },
        ];
        let refused = Failure::new(FailureKind::Configuration, "registry `r.example` refused").with_hint("log in anew");
        let failure = broken_off(refused.clone(), &found, &all);
        assert_eq!(failure.kind.exit_code(), 3, "`nothing was changed` would not be true");
        insta::assert_snapshot!(render(&failure), @r"
        error: broke off after 3 of 15 manifests
          cause: registry `r.example` refused
          help: log in anew
                deleted of r.example/shop/api: v1, v2
                deleted of r.example/shop/db: a
                may be deleted of r.example/shop/db: b
                still in r.example/shop/db: c
                still in r.example/shop/web: w1, w2, w3, w4, w5, w6, w7, w8 and 2 more
                what is left is whole: run it again to go on
        ");
        assert_eq!(render(&broken_off(refused.clone(), &found, &[Gone::default()])), render(&refused));
    }
}
