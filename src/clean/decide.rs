//! The decision itself: what is a reason to stay, and what hangs on what stays.

use super::pattern::{Purpose, purpose};
use super::{Decision, Fate, Inventory, Reason, Rules, Running};
use crate::model::{Digest, GitState};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Decides what becomes of each manifest of a repository. The same question has the same answer, and what is left after
/// its deletion is all to stay.
pub(crate) fn decide(inventory: &Inventory, running: &Running, rules: &Rules) -> Decision {
    settle(inventory, running, rules, Vec::new(), |_| true)
}

/// Decides once more, before anything is deleted, on what is there and runs by now. Nothing goes that was not shown to go,
/// and nothing that has been given a tag since: somebody uses it.
pub(crate) fn confirm(
    shown: (&Inventory, &Decision),
    inventory: &Inventory,
    running: &Running,
    rules: &Rules,
) -> Decision {
    let (before, decision) = shown;
    let moved = inventory.tags.iter().filter(|(name, tag)| before.tags.get(*name) != Some(*tag));
    let moved = moved.map(|(name, tag)| (tag.digest.clone(), Reason::TaggedSince(name.clone()))).collect();
    let listed: BTreeSet<&Digest> = decision.goes.iter().map(|fate| &fate.digest).collect();
    settle(inventory, running, rules, moved, |digest| listed.contains(digest))
}

/// Decides, where these manifests stay too, and no other may go than those that `may_go` says.
fn settle(
    inventory: &Inventory,
    running: &Running,
    rules: &Rules,
    more: Vec<(Digest, Reason)>,
    may_go: impl Fn(&Digest) -> bool,
) -> Decision {
    let links = Links::of(inventory);
    let mut stays = BTreeMap::new();
    for (digest, reason) in roots(inventory, running, rules, &links).into_iter().chain(more) {
        stays.entry(digest).or_insert(reason);
    }
    links.spread(&mut stays);
    for digest in inventory.manifests.keys() {
        if !running.silent.is_empty() {
            stays.entry(digest.clone()).or_insert_with(|| Reason::MayRun(running.silent.join(", ")));
        } else if !may_go(digest) {
            stays.entry(digest.clone()).or_insert(Reason::NotShown);
        }
    }
    links.spread(&mut stays);
    let gone = |digest: &&Digest| !stays.contains_key(*digest);
    let goes: Vec<Digest> = inventory.manifests.keys().filter(gone).cloned().collect();
    let order = links.order(&goes.into_iter().collect());
    let fate = |digest: &Digest, reason: Reason| fate(inventory, digest, reason, rules.now);
    let goes = order.iter().map(|digest| fate(digest, links.why_it_goes(inventory, digest))).collect();
    let mut stays: Vec<Fate> = stays.iter().map(|(digest, reason)| fate(digest, reason.clone())).collect();
    stays.sort_by_key(|fate| (fate.age.is_some(), fate.age));
    Decision { repository: inventory.repository.clone(), goes, stays, lists_untagged: inventory.lists_untagged }
}

/// What people read of a manifest.
fn fate(inventory: &Inventory, digest: &Digest, reason: Reason, now: Timestamp) -> Fate {
    let tags = inventory.tags.iter().filter(|(_, tag)| tag.digest == *digest);
    let tags: Vec<String> = tags.map(|(name, _)| name.clone()).collect();
    let stored = inventory.manifests.get(digest);
    let size = stored.map_or(0, |stored| stored.size + stored.blobs.values().sum::<u64>());
    let age = since(inventory, digest).map(|since| now.duration_since(since));
    Fate { digest: digest.clone(), tags, age, size, reason }
}

/// Since when a manifest counts: that of its youngest tag, or its own. A reused image is tagged anew.
fn since(inventory: &Inventory, digest: &Digest) -> Option<Timestamp> {
    let own = inventory.manifests.get(digest)?.since;
    let tags = inventory.tags.values().filter(|tag| tag.digest == *digest).filter_map(|tag| tag.since);
    own.into_iter().chain(tags).max()
}

/// The manifests that stay for a reason of their own, the best reason first.
fn roots(inventory: &Inventory, running: &Running, rules: &Rules, links: &Links) -> Vec<(Digest, Reason)> {
    let mut roots = Vec::new();
    for (digest, place) in running.images.iter().filter(|(digest, _)| inventory.manifests.contains_key(*digest)) {
        roots.push((digest.clone(), Reason::Runs(place.clone())));
        // A node may know the part by its own digest while the workload names the index: both stay.
        let indexes = links.parents.get(digest).into_iter().flatten();
        roots.extend(indexes.map(|index| (index.clone(), Reason::Runs(place.clone()))));
    }
    let mut candidates = Vec::new();
    for (name, tag) in inventory.tags.iter().filter(|(name, _)| purpose(name) == Purpose::People) {
        let meant = if rules.patterns.is_empty() {
            GitState::is_tag(name)
        } else {
            rules.patterns.iter().any(|pattern| pattern.matches(name))
        };
        if meant { candidates.push((name, tag)) } else { roots.push((tag.digest.clone(), Reason::Named(name.clone()))) }
    }
    // A tag of unknown age may be the newest.
    let age = |tag: &super::StoredTag| tag.since.or(since(inventory, &tag.digest));
    candidates.sort_by(|(a_name, a), (b_name, b)| {
        (age(b).is_none(), age(b), b_name).cmp(&(age(a).is_none(), age(a), a_name))
    });
    let newest = candidates.iter().take(rules.keep_tags);
    roots.extend(newest.map(|(name, tag)| (tag.digest.clone(), Reason::Newest((*name).clone()))));
    for digest in inventory.manifests.keys() {
        roots.extend(too_young(inventory, digest, rules, links).map(|reason| (digest.clone(), reason)));
    }
    roots
}

/// Why the age of a manifest keeps it, if it does. Where everything may go, whatever its age, none is asked for; and what is
/// about an image and does not tell its own age counts as old as that.
fn too_young(inventory: &Inventory, digest: &Digest, rules: &Rules, links: &Links) -> Option<Reason> {
    if rules.older_than <= SignedDuration::ZERO {
        return None;
    }
    match since(inventory, digest) {
        Some(since) => (rules.now.duration_since(since) < rules.older_than).then_some(Reason::Young),
        None if links.subjects.get(digest).is_some_and(|all| all.iter().any(|one| links.is_there(one))) => None,
        None => Some(Reason::AgeUnknown),
    }
}

/// What hangs on what.
struct Links {
    /// A manifest to its parts.
    children: BTreeMap<Digest, BTreeSet<Digest>>,
    /// A part to the indexes that name it.
    parents: BTreeMap<Digest, BTreeSet<Digest>>,
    /// A manifest to what is about it.
    abouts: BTreeMap<Digest, BTreeSet<Digest>>,
    /// A manifest to what it is about, there or not.
    subjects: BTreeMap<Digest, BTreeSet<Digest>>,
    /// All manifests.
    there: BTreeSet<Digest>,
}

impl Links {
    /// The links of a repository.
    fn of(inventory: &Inventory) -> Self {
        let mut links = Self {
            children: BTreeMap::new(),
            parents: BTreeMap::new(),
            abouts: BTreeMap::new(),
            subjects: BTreeMap::new(),
            there: inventory.manifests.keys().cloned().collect(),
        };
        for (digest, stored) in &inventory.manifests {
            for child in stored.children.iter().filter(|child| inventory.manifests.contains_key(*child)) {
                links.children.entry(digest.clone()).or_default().insert(child.clone());
                links.parents.entry(child.clone()).or_default().insert(digest.clone());
            }
            links.about(digest, stored.subject.as_ref());
        }
        for (name, tag) in &inventory.tags {
            if let Purpose::About(subject) = purpose(name) {
                links.about(&tag.digest, Some(&subject));
            }
        }
        links
    }

    /// Notes that a manifest is about another one.
    fn about(&mut self, digest: &Digest, subject: Option<&Digest>) {
        let Some(subject) = subject.filter(|subject| *subject != digest) else { return };
        self.abouts.entry(subject.clone()).or_default().insert(digest.clone());
        self.subjects.entry(digest.clone()).or_default().insert(subject.clone());
    }

    /// Lets everything stay that hangs on something that stays: parts, what is about it, what it is about.
    fn spread(&self, stays: &mut BTreeMap<Digest, Reason>) {
        let mut open: Vec<Digest> = stays.keys().cloned().collect();
        while let Some(digest) = open.pop() {
            let linked = [&self.children, &self.abouts].into_iter().filter_map(|links| links.get(&digest)).flatten();
            let subjects = self.subjects.get(&digest).into_iter().flatten();
            for other in linked.chain(subjects) {
                if !stays.contains_key(other) && self.is_there(other) {
                    stays.insert(other.clone(), Reason::BelongsTo(digest.clone()));
                    open.push(other.clone());
                }
            }
        }
    }

    /// Whether a subject is in the repository. Parts and what is about something always are.
    fn is_there(&self, digest: &Digest) -> bool {
        self.there.contains(digest)
    }

    /// Why a manifest goes that nothing holds.
    fn why_it_goes(&self, inventory: &Inventory, digest: &Digest) -> Reason {
        let there =
            |links: Option<&BTreeSet<Digest>>| links.into_iter().flatten().find(|other| self.is_there(other)).cloned();
        let has_people =
            inventory.tags.iter().any(|(name, tag)| tag.digest == *digest && purpose(name) == Purpose::People);
        if has_people {
            return Reason::Old;
        }
        if let Some(subject) = there(self.subjects.get(digest)) {
            return Reason::GoesWith(subject);
        }
        if self.subjects.contains_key(digest) {
            return Reason::AboutNothing;
        }
        there(self.parents.get(digest)).map_or(Reason::Untagged, Reason::GoesWith)
    }

    /// An order in which these can be deleted: an index before its parts, always; and an image before what is about it,
    /// where the two do not contradict each other (somebody's tag may say that an index is about a part of its own).
    fn order(&self, goes: &BTreeSet<Digest>) -> Vec<Digest> {
        let mut left = goes.clone();
        let held = |links: &BTreeMap<Digest, BTreeSet<Digest>>, digest: &Digest, left: &BTreeSet<Digest>| {
            links.get(digest).is_some_and(|others| others.iter().any(|other| left.contains(other)))
        };
        let mut ready: BTreeSet<Digest> =
            goes.iter().filter(|digest| !held(&self.parents, digest, goes)).cloned().collect();
        let mut order = Vec::new();
        while let Some(first) = ready.first() {
            let free = ready.iter().find(|digest| !held(&self.subjects, digest, &left));
            let next = free.unwrap_or(first).clone();
            ready.remove(&next);
            left.remove(&next);
            let children = self.children.get(&next).into_iter().flatten();
            ready.extend(children.filter(|child| left.contains(*child) && !held(&self.parents, child, &left)).cloned());
            order.push(next);
        }
        order
    }
}
