//! What `registry clean` shows: what goes, with its size and the reason; what stays, counted by reason; JSON.

use super::text::{Cell, Paint, Section, Tone, append, bytes};
use crate::clean::{Decision, Fate, Inventory, Reason, freed};
use crate::model::{Digest, counted};
use jiff::SignedDuration;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A cleaning as it is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cleaning<'a> {
    /// The clusters that were asked what they run, as people call them; empty where none was to be asked.
    pub(crate) clusters: &'a [String],
    /// Whether these and the silent ones are all of the account, but for those that were to be ignored.
    pub(crate) all_of_account: bool,
    /// The clusters that have not said what they run, each with the reason.
    pub(crate) silent: &'a [(String, String)],
    /// What was decided on.
    pub(crate) repositories: &'a [(Inventory, Decision)],
    /// Whether what stays is listed too.
    pub(crate) verbose: bool,
}

impl Cleaning<'_> {
    /// The table, in lines of this width.
    pub(crate) fn text(&self, width: usize, colour: bool) -> String {
        let paint = Paint { colour };
        let mut text = String::new();
        for (_, decision) in self.repositories {
            append!(text, "{}\n", paint.paint(Tone::Strong, &decision.repository.to_string()));
            for section in sections(decision, self.verbose) {
                section.lines(width, paint).iter().for_each(|line| append!(text, "  {line}\n"));
            }
            if decision.goes.is_empty() && decision.stays.is_empty() {
                text.push_str("  there is nothing in it, or no repository of this name\n");
            }
            text.push('\n');
        }
        append!(text, "{}\n", self.sum());
        for remark in self.remarks() {
            append!(text, "{remark}\n");
        }
        text
    }

    /// How much goes, in a line.
    fn sum(&self) -> String {
        let (goes, all) = self.numbers();
        if goes == 0 {
            return format!("nothing to delete, {} kept", counted(all, "manifest"));
        }
        let freed = bytes(freed(self.repositories));
        let there = counted(all, "manifest");
        format!("{goes} of {there} can go: {freed}, free once garbage is collected")
    }

    /// How many manifests go, and how many there are.
    fn numbers(&self) -> (usize, usize) {
        let goes = self.repositories.iter().map(|(_, decision)| decision.goes.len()).sum();
        let stay: usize = self.repositories.iter().map(|(_, decision)| decision.stays.len()).sum();
        (goes, goes + stay)
    }

    /// What the list does not say by itself.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.clusters.is_empty() && self.silent.is_empty() {
            remarks.push("no cluster was asked: images that one runs may be among them".to_owned());
        } else if !self.clusters.is_empty() {
            let others = if self.all_of_account {
                "clusters of other accounts were not asked"
            } else {
                "name every other cluster that pulls from here with `--cluster`"
            };
            remarks.push(format!("what runs was asked of {}; {others}", self.clusters.join(", ")));
        }
        for (name, why) in self.silent {
            remarks.push(format!("{name} did not say what it runs, so nothing can go: {why}"));
        }
        if self.repositories.iter().any(|(_, decision)| !decision.lists_untagged) {
            remarks.push(
                "this registry lists neither manifests without a tag nor when they were pushed: the ages are those of\n\
                 the images' making"
                    .to_owned(),
            );
        }
        let unknown = self.repositories.iter().flat_map(|(_, decision)| &decision.stays);
        let unknown = unknown.filter(|fate| fate.reason == Reason::AgeUnknown).count();
        if unknown > 0 {
            remarks.push(format!(
                "{} of unknown age kept; `--older-than 0` asks for no age",
                counted(unknown, "manifest")
            ));
        }
        remarks
    }

    /// The same for programs; `deleted` is how many were.
    pub(crate) fn json(&self, deleted: usize, collected: Option<Collected>) -> Value {
        let (goes, all) = self.numbers();
        let repository = |(_, decision): &(Inventory, Decision)| RepositoryJson {
            repository: decision.repository.to_string(),
            goes: decision.goes.iter().map(FateJson::of).collect(),
            stays: decision.stays.iter().map(FateJson::of).collect(),
        };
        let json = Json {
            version: 1,
            ok: true,
            clusters: self.clusters,
            silent_clusters: self.silent.iter().map(|(name, because)| SilentJson { name, because }).collect(),
            repositories: self.repositories.iter().map(repository).collect(),
            manifests: all,
            can_go: goes,
            freed_bytes: freed(self.repositories),
            deleted,
            garbage_collection: collected,
        };
        serde_json::to_value(json).unwrap_or_default()
    }
}

/// What was shown to go and has not gone, in a line.
pub(crate) fn kept_text(fate: &Fate) -> String {
    format!("kept {}: {}", name(fate), because(fate))
}

/// What a deletion that broke off has done to a repository, in lines: what is gone, what is still there, and what nobody
/// knows of since the answer to its deletion is missing.
pub(crate) fn broken_off_text(decision: &Decision, gone: &BTreeSet<Digest>, unsure: Option<&Digest>) -> Vec<String> {
    let of = |wanted: &dyn Fn(&Digest) -> bool| {
        let fates = decision.goes.iter().filter(|fate| wanted(&fate.digest));
        fates.map(name).collect::<Vec<_>>()
    };
    let (is_gone, is_unsure) = (|digest: &Digest| gone.contains(digest), |digest: &Digest| unsure == Some(digest));
    let parts = [
        ("deleted of", of(&is_gone)),
        ("may be deleted of", of(&is_unsure)),
        ("still in", of(&|digest| !is_gone(digest) && !is_unsure(digest))),
    ];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    parts.map(|(what, names)| format!("{what} {}: {}", decision.repository, listed(&names))).collect()
}

/// Names in a line, not too many of them.
fn listed(names: &[String]) -> String {
    /// So many are named.
    const MOST: usize = 8;
    let shown = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(MOST);
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// What a manifest is called: its first tag, or its digest.
fn name(fate: &Fate) -> String {
    fate.tags.first().map_or_else(|| format!("sha256:{}", fate.digest.short()), |first| tag(first))
}

/// What a garbage collection has freed, in a line.
pub(crate) fn freed_text(freed: u64) -> String {
    format!("freed {}", bytes(freed))
}

/// The whole for programs, version 1: a field may be added; none is renamed, removed or given another meaning.
#[derive(Serialize)]
struct Json<'a> {
    /// 1.
    version: u32,
    /// True: a failure is told otherwise.
    ok: bool,
    /// The clusters that were asked what they run.
    clusters: &'a [String],
    /// The clusters that have not said so; while there is one, nothing goes.
    silent_clusters: Vec<SilentJson<'a>>,
    /// The repositories.
    repositories: Vec<RepositoryJson>,
    /// How many manifests there were.
    manifests: usize,
    /// How many of them can go.
    can_go: usize,
    /// How many bytes garbage collection then frees.
    freed_bytes: u64,
    /// How many manifests were deleted.
    deleted: usize,
    /// The garbage collection that was asked for.
    garbage_collection: Option<Collected>,
}

/// A cluster that has not said what it runs, for programs.
#[derive(Serialize)]
struct SilentJson<'a> {
    /// What people call it.
    name: &'a str,
    /// Why.
    because: &'a str,
}

/// A garbage collection at its end, for programs.
#[derive(Serialize)]
pub(crate) struct Collected {
    /// `succeeded`, `failed`, `cancelled`.
    pub(crate) status: String,
    /// How many blobs are gone.
    pub(crate) blobs_deleted: u64,
    /// How many bytes that freed.
    pub(crate) freed_bytes: u64,
}

/// A repository for programs.
#[derive(Serialize)]
struct RepositoryJson {
    /// `registry.digitalocean.com/shop/api`.
    repository: String,
    /// What goes, in the order of its deletion.
    goes: Vec<FateJson>,
    /// What stays, the youngest first.
    stays: Vec<FateJson>,
}

/// A manifest for programs.
#[derive(Serialize)]
struct FateJson {
    /// Its digest.
    digest: String,
    /// Its tags.
    tags: Vec<String>,
    /// Bytes of its blobs and of itself.
    size_bytes: u64,
    /// Its age; `null` where nobody knows it.
    age_seconds: Option<i64>,
    /// A word: `runs`, `may_run`, `named`, `newest`, `young`, `age_unknown`, `belongs_to`, `old`, `untagged`, `goes_with`,
    /// `about_nothing`.
    reason: &'static str,
    /// The same for people.
    because: String,
}

impl FateJson {
    /// What becomes of a manifest.
    fn of(fate: &Fate) -> Self {
        Self {
            digest: fate.digest.to_string(),
            tags: fate.tags.clone(),
            size_bytes: fate.size,
            age_seconds: fate.age.map(|age| age.as_secs()),
            reason: word(&fate.reason),
            because: because(fate),
        }
    }
}

/// The rows of a repository: what goes, and what stays one by one or counted.
fn sections(decision: &Decision, verbose: bool) -> Vec<Section> {
    let goes = Section { heading: "can go", rows: decision.goes.iter().map(row).collect() };
    let rows = if verbose { decision.stays.iter().map(row).collect() } else { by_reason(&decision.stays) };
    vec![goes, Section { heading: "stays", rows }]
}

/// A manifest: its tags or digest, size, age, reason.
fn row(fate: &Fate) -> Vec<Cell> {
    let name = match fate.tags.as_slice() {
        [] => format!("sha256:{}", fate.digest.short()),
        [one] => tag(one),
        [first, others @ ..] => format!("{} and {} more", tag(first), others.len()),
    };
    let age = fate.age.map_or_else(|| "age unknown".to_owned(), age);
    vec![Cell::new(Tone::Strong, name), bytes(fate.size).into(), age.into(), because(fate).into()]
}

/// A tag in few characters: hashes need not be read to their end.
fn tag(text: &str) -> String {
    /// Longer ones are hashes.
    const SHORT: usize = 24;
    if text.len() <= SHORT { text.to_owned() } else { format!("{}…", &text[..16]) }
}

/// What stays, counted by reason.
fn by_reason(stays: &[Fate]) -> Vec<Vec<Cell>> {
    let mut groups: BTreeMap<&'static str, (usize, u64, String)> = BTreeMap::new();
    for fate in stays {
        let (number, size, example) = groups.entry(sentence(&fate.reason)).or_default();
        *number += 1;
        *size += fate.size;
        if example.is_empty() {
            example.clone_from(&because(fate));
        }
    }
    let row = |(sentence, (number, _, example)): (&'static str, (usize, u64, String))| {
        let text = if number == 1 { example } else { sentence.to_owned() };
        vec![Cell::from(counted(number, "manifest")), text.into()]
    };
    groups.into_iter().map(row).collect()
}

/// An age for people: `34 days`.
fn age(age: SignedDuration) -> String {
    let hours = usize::try_from(age.as_hours()).unwrap_or_default();
    match hours {
        0 if age.as_mins() < 1 => "just now".to_owned(),
        0 => counted(usize::try_from(age.as_mins()).unwrap_or_default(), "minute"),
        1..=47 => counted(hours, "hour"),
        _ => counted(hours / 24, "day"),
    }
}

/// Why several manifests stay or go.
fn sentence(reason: &Reason) -> &'static str {
    match reason {
        Reason::Runs(_) => "run in a cluster, or are what it rolls back to",
        Reason::MayRun(_) => "may run in a cluster that does not say so",
        Reason::TaggedSince(_) | Reason::NotShown => "have come to be used meanwhile",
        Reason::Named(_) => "have a tag that no pattern matches",
        Reason::Newest(_) => "are behind the newest tags",
        Reason::Young => "are too young",
        Reason::AgeUnknown => "have no known age",
        Reason::BelongsTo(_) => "belong to what stays",
        Reason::Old => "have old tags only",
        Reason::Untagged => "have no tag that holds them",
        Reason::GoesWith(_) => "belong to what goes",
        Reason::AboutNothing => "are about images that are gone",
    }
}

/// Why one manifest stays or goes.
fn because(fate: &Fate) -> String {
    match &fate.reason {
        Reason::Runs(place) => format!("in use by {place}"),
        Reason::MayRun(clusters) => format!("may run in {clusters}"),
        Reason::TaggedSince(tag) => format!("its tag {tag} was put there meanwhile"),
        Reason::NotShown => "was not shown to go".to_owned(),
        Reason::Named(tag) => format!("no pattern matches its tag {tag}"),
        Reason::Newest(tag) => format!("its tag {tag} is among the newest"),
        Reason::Young => "too young".to_owned(),
        Reason::AgeUnknown => "its age is unknown".to_owned(),
        Reason::BelongsTo(other) => format!("belongs to sha256:{}, which stays", other.short()),
        Reason::Old => "only old tags".to_owned(),
        Reason::Untagged if fate.tags.is_empty() => "no tag leads to it".to_owned(),
        Reason::Untagged => "no tag but that of its inputs".to_owned(),
        Reason::GoesWith(other) => format!("belongs to sha256:{}, which goes", other.short()),
        Reason::AboutNothing => "is about an image that is gone".to_owned(),
    }
}

/// A reason for programs.
fn word(reason: &Reason) -> &'static str {
    match reason {
        Reason::Runs(_) => "runs",
        Reason::MayRun(_) => "may_run",
        Reason::TaggedSince(_) => "tagged_since",
        Reason::NotShown => "not_shown",
        Reason::Named(_) => "named",
        Reason::Newest(_) => "newest",
        Reason::Young => "young",
        Reason::AgeUnknown => "age_unknown",
        Reason::BelongsTo(_) => "belongs_to",
        Reason::Old => "old",
        Reason::Untagged => "untagged",
        Reason::GoesWith(_) => "goes_with",
        Reason::AboutNothing => "about_nothing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reference;

    #[test]
    fn a_repository_without_anything_may_be_none() {
        let repository = Reference::parse("r.example/shop/wbe").unwrap().repository;
        let (manifests, tags) = (BTreeMap::new(), BTreeMap::new());
        let decision =
            Decision { repository: repository.clone(), goes: Vec::new(), stays: Vec::new(), lists_untagged: true };
        let all = [(Inventory { repository, manifests, tags, lists_untagged: true }, decision)];
        let clusters = ["todo-prod (nyc1)".to_owned()];
        let cleaning =
            Cleaning { clusters: &clusters, all_of_account: true, silent: &[], repositories: &all, verbose: false };
        insta::assert_snapshot!(cleaning.text(100, false), @"
        r.example/shop/wbe
          there is nothing in it, or no repository of this name

        nothing to delete, 0 manifests kept
        what runs was asked of todo-prod (nyc1); clusters of other accounts were not asked
        ");
    }
}
