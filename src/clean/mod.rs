//! What may go from a registry. In: what is in a repository, what runs, the rules of whoever cleans. Out: what goes, what
//! stays, each with its reason, and the order in which it goes.
//!
//! Only whole images are decided upon: a tag goes when its manifest goes. Whatever is reachable from something that stays
//! stays too: the manifests of an index, attestations, signatures, and what those are about.

mod decide;
mod pattern;
#[cfg(test)]
mod tests;

pub(crate) use decide::{confirm, decide};
pub(crate) use pattern::Pattern;

use crate::model::{Digest, Repository};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What is in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inventory {
    /// Which repository.
    pub(crate) repository: Repository,
    /// Its manifests.
    pub(crate) manifests: BTreeMap<Digest, Stored>,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, StoredTag>,
    /// Whether manifests that no tag leads to are among the manifests: the registries' common protocol cannot list them.
    pub(crate) lists_untagged: bool,
}

/// A manifest in a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The manifests that it names: those of an index.
    pub(crate) children: Vec<Digest>,
    /// The manifest that it is about: that of an attestation or a signature.
    pub(crate) subject: Option<Digest>,
    /// Its configuration and layers with their sizes in bytes.
    pub(crate) blobs: BTreeMap<Digest, u64>,
    /// Bytes of the manifest itself.
    pub(crate) size: u64,
    /// When it was put there, or made, as far as is known.
    pub(crate) since: Option<Timestamp>,
}

/// A tag in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredTag {
    /// The manifest that it stands for.
    pub(crate) digest: Digest,
    /// When it was put there, as far as is known.
    pub(crate) since: Option<Timestamp>,
}

/// What runs, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Running {
    /// Images by digest, each with a place that runs it, for people (`Pod todo/backend-7f9c`).
    pub(crate) images: BTreeMap<Digest, String>,
    /// Clusters of which nobody knows what they run: it may be anything.
    pub(crate) silent: Vec<String>,
}

/// The rules of whoever cleans.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// So many tags of each repository stay, the newest.
    pub(crate) keep_tags: usize,
    /// What is younger stays.
    pub(crate) older_than: SignedDuration,
    /// A tag that no pattern matches stays; none at all stands for the tags that Seaway makes of commits.
    pub(crate) patterns: Vec<Pattern>,
    /// The present time.
    pub(crate) now: Timestamp,
}

/// Why a manifest stays or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Stays: it runs, here for instance.
    Runs(String),
    /// Stays: these clusters do not say what they run.
    MayRun(String),
    /// Stays: this tag was put on it after it was shown to go.
    TaggedSince(String),
    /// Stays: it was not shown to go.
    NotShown,
    /// Stays: a tag that no pattern matches.
    Named(String),
    /// Stays: one of the newest tags.
    Newest(String),
    /// Stays: it is too young.
    Young,
    /// Stays: nobody knows its age.
    AgeUnknown,
    /// Stays: a part of this manifest, or about it, or what it is about.
    BelongsTo(Digest),
    /// Goes: old tags.
    Old,
    /// Goes: no tag leads to it.
    Untagged,
    /// Goes: a part of this manifest that goes, or about it.
    GoesWith(Digest),
    /// Goes: it is about a manifest that is not there any more.
    AboutNothing,
}

impl Reason {
    /// Whether what has this reason goes.
    #[cfg(test)]
    pub(crate) fn goes(&self) -> bool {
        matches!(self, Self::Old | Self::Untagged | Self::GoesWith(_) | Self::AboutNothing)
    }
}

/// A manifest and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Which.
    pub(crate) digest: Digest,
    /// Its tags, sorted.
    pub(crate) tags: Vec<String>,
    /// Its age, as far as is known.
    pub(crate) age: Option<SignedDuration>,
    /// Bytes of its blobs and of itself; what it shares with others is counted too.
    pub(crate) size: u64,
    /// Why.
    pub(crate) reason: Reason,
}

/// What becomes of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Which repository.
    pub(crate) repository: Repository,
    /// What goes, in the order in which it is deleted: an index before its parts, an image before what is about it, so that
    /// nothing is ever broken half-way.
    pub(crate) goes: Vec<Fate>,
    /// What stays, the youngest first.
    pub(crate) stays: Vec<Fate>,
    /// Whether manifests without a tag were seen.
    pub(crate) lists_untagged: bool,
}

/// How many bytes nothing needs any more once this is gone and garbage has been collected: each blob is counted once, and
/// not at all if something that stays needs it.
pub(crate) fn freed(repositories: &[(Inventory, Decision)]) -> u64 {
    let blobs = |inventory: &Inventory, fates: &[Fate]| -> BTreeMap<Digest, u64> {
        let stored = |fate: &Fate| inventory.manifests.get(&fate.digest).map(|stored| (fate.digest.clone(), stored));
        let parts = fates.iter().filter_map(stored).flat_map(|(digest, stored)| {
            let own = (digest, stored.size);
            stored.blobs.iter().map(|(digest, size)| (digest.clone(), *size)).chain([own]).collect::<Vec<_>>()
        });
        parts.collect()
    };
    let needed: BTreeSet<Digest> =
        repositories.iter().flat_map(|(inventory, decision)| blobs(inventory, &decision.stays).into_keys()).collect();
    let mut free: BTreeMap<Digest, u64> =
        repositories.iter().flat_map(|(inventory, decision)| blobs(inventory, &decision.goes)).collect();
    free.retain(|digest, _| !needed.contains(digest));
    free.values().sum()
}
