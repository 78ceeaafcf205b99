//! Cleaning, case by case, and its promises as properties.

use super::*;
use proptest::prelude::*;

/// The present of all tests: 2026-11-21T10:00:00Z.
const NOW: i64 = 1_795_255_200;

/// The digest of a name.
fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// A moment some hours ago.
fn hours_ago(hours: i64) -> Timestamp {
    Timestamp::from_second(NOW - hours * 3600).unwrap()
}

/// A repository in the making.
struct Repo(Inventory);

impl Repo {
    /// An empty one.
    fn new() -> Self {
        let repository = Repository { registry: "registry.digitalocean.com".to_owned(), path: "shop/api".to_owned() };
        Self(Inventory { repository, manifests: BTreeMap::new(), tags: BTreeMap::new(), lists_untagged: true })
    }

    /// An image with a layer of its own and one that all share.
    fn image(&mut self, name: &str, hours: i64) -> &mut Self {
        let blobs = BTreeMap::from([(digest("base"), 1000), (digest(&format!("layer {name}")), 10)]);
        let stored = Stored { blobs, size: 1, since: Some(hours_ago(hours)), ..Stored::default() };
        self.0.manifests.insert(digest(name), stored);
        self
    }

    /// An index of images.
    fn index(&mut self, name: &str, hours: i64, children: &[&str]) -> &mut Self {
        let children = children.iter().map(|child| digest(child)).collect();
        self.0
            .manifests
            .insert(digest(name), Stored { children, size: 1, since: Some(hours_ago(hours)), ..Stored::default() });
        self
    }

    /// Something about an image.
    fn about(&mut self, name: &str, hours: i64, subject: &str) -> &mut Self {
        let subject = Some(digest(subject));
        self.0
            .manifests
            .insert(digest(name), Stored { subject, size: 1, since: Some(hours_ago(hours)), ..Stored::default() });
        self
    }

    /// A tag.
    fn tag(&mut self, tag: &str, name: &str, hours: i64) -> &mut Self {
        self.0.tags.insert(tag.to_owned(), StoredTag { digest: digest(name), since: Some(hours_ago(hours)) });
        self
    }
}

/// Rules: so many newest stay, and whatever is younger than an hour.
fn rules(keep_tags: usize, patterns: &[&str]) -> Rules {
    Rules {
        keep_tags,
        older_than: SignedDuration::from_hours(1),
        patterns: patterns.iter().map(|text| Pattern::new(text)).collect(),
        now: Timestamp::from_second(NOW).unwrap(),
    }
}

/// Clusters that run these images.
fn running(names: &[&str]) -> Running {
    let images = names.iter().map(|name| (digest(name), "Pod shop/api-1".to_owned())).collect();
    Running { images, silent: Vec::new() }
}

/// What goes, as the names that it was made with.
fn goes<'a>(inventory: &Inventory, running: &Running, rules: &Rules, names: &[&'a str]) -> Vec<&'a str> {
    let decision = decide(inventory, running, rules);
    let name = |fate: &Fate| *names.iter().find(|name| digest(name) == fate.digest).unwrap();
    decision.goes.iter().map(name).collect()
}

#[test]
fn the_newest_tags_stay_and_the_others_go() {
    let mut repo = Repo::new();
    for (number, hours) in [(1, 50), (2, 40), (3, 30), (4, 20), (5, 10)] {
        repo.image(&format!("i{number}"), hours).tag(&format!("v{number}"), &format!("i{number}"), hours);
    }
    repo.image("other", 90).tag("latest", "other", 90);
    let names = ["i1", "i2", "i3", "i4", "i5", "other"];
    let mut gone = goes(&repo.0, &Running::default(), &rules(2, &["v*"]), &names);
    gone.sort_unstable();
    assert_eq!(gone, ["i1", "i2", "i3"]);
    let running = running(&["i2"]);
    let mut gone = goes(&repo.0, &running, &rules(2, &["v*"]), &names);
    gone.sort_unstable();
    assert_eq!(gone, ["i1", "i3"]);
    assert_eq!(goes(&repo.0, &running, &rules(0, &[]), &names), [] as [&str; 0], "no tag is of a commit");
}

#[test]
fn a_content_key_holds_nothing_and_goes_with_its_image() {
    let key = |digit: &str| format!("ck-{}", digit.repeat(32));
    let mut repo = Repo::new();
    repo.image("old", 50).tag("0123456789ab", "old", 50).tag(&key("1"), "old", 50);
    repo.image("new", 5).tag("123456789abc", "new", 5).tag(&key("2"), "new", 5);
    let decision = decide(&repo.0, &Running::default(), &rules(1, &[]));
    assert_eq!(decision.goes.len(), 1);
    assert_eq!(decision.goes[0].tags, ["0123456789ab".to_owned(), key("1")]);
    assert_eq!(decision.stays[0].tags.len(), 2);
}

#[test]
fn an_index_holds_its_parts_and_what_is_about_them() {
    let mut repo = Repo::new();
    repo.image("amd64", 50).image("arm64", 50).index("index", 50, &["amd64", "arm64"]).tag("v1", "index", 50);
    repo.about("sbom", 50, "amd64");
    // The tag schema: an index of what is about a manifest, under a tag with its digest.
    repo.image("provenance", 50).index("referrers", 50, &["provenance"]);
    repo.tag(&digest("index").referrers_tag(), "referrers", 50);
    repo.image("lonely", 50);
    let names = ["amd64", "arm64", "index", "sbom", "provenance", "referrers", "lonely"];
    assert_eq!(goes(&repo.0, &Running::default(), &rules(1, &["v*"]), &names), ["lonely"]);
    let order = goes(&repo.0, &Running::default(), &rules(0, &["v*"]), &names);
    let at = |name: &str| order.iter().position(|other| *other == name).unwrap();
    assert_eq!(order.len(), 7);
    assert!(at("index") < at("amd64") && at("index") < at("arm64") && at("index") < at("referrers"));
    assert!(at("amd64") < at("sbom") && at("referrers") < at("provenance"));
}

#[test]
fn what_is_about_an_image_and_tells_no_age_is_as_old_as_the_image() {
    let names = ["old", "new", "sbom", "list", "other"];
    let repo = |hours| {
        let mut repo = Repo::new();
        repo.image("old", hours).tag("v1", "old", hours).image("new", 5).tag("v2", "new", 5);
        repo.about("sbom", 0, "old").index("list", 0, &["sbom"]).tag(&digest("old").referrers_tag(), "list", 0);
        repo.about("other", 0, "gone");
        for name in ["sbom", "list", "other"] {
            repo.0.manifests.get_mut(&digest(name)).unwrap().since = None;
        }
        repo.0.tags.get_mut(&digest("old").referrers_tag()).unwrap().since = None;
        repo
    };
    let gone = goes(&repo(50).0, &Running::default(), &rules(1, &["*"]), &names);
    assert_eq!(gone, ["old", "list", "sbom"], "of what is about something that is gone nobody knows the age");
    let gone = goes(&repo(0).0, &Running::default(), &rules(1, &["*"]), &names);
    assert_eq!(gone, ["new"], "and the old one is the newest");
}

#[test]
fn a_list_that_a_longer_one_has_replaced_goes_and_what_it_names_stays() {
    let mut repo = Repo::new();
    repo.image("image", 50).tag("v1", "image", 50).about("provenance", 50, "image").about("sbom", 40, "image");
    repo.index("former", 50, &["provenance"]).index("list", 40, &["provenance", "sbom"]);
    repo.tag(&digest("image").referrers_tag(), "list", 40);
    let decision = decide(&repo.0, &Running::default(), &rules(1, &["*"]));
    let gone: Vec<_> = decision.goes.iter().map(|fate| (&fate.digest, &fate.reason)).collect();
    assert_eq!(gone, [(&digest("former"), &Reason::Untagged)]);
}

#[test]
fn a_part_that_runs_holds_its_index() {
    let mut repo = Repo::new();
    repo.image("amd64", 50).image("arm64", 50).index("index", 50, &["amd64", "arm64"]).tag("v1", "index", 50);
    assert!(decide(&repo.0, &running(&["amd64"]), &rules(0, &["*"])).goes.is_empty());
}

#[test]
fn what_is_young_or_of_unknown_age_stays() {
    let mut repo = Repo::new();
    repo.image("young", 0).image("unknown", 9).image("reused", 90).tag("v1", "reused", 0);
    repo.0.manifests.get_mut(&digest("unknown")).unwrap().since = None;
    assert!(decide(&repo.0, &Running::default(), &rules(0, &["*"])).goes.is_empty());
    let whatever_age = Rules { older_than: SignedDuration::ZERO, ..rules(0, &["*"]) };
    assert_eq!(decide(&repo.0, &Running::default(), &whatever_age).goes.len(), 3);
}

#[test]
fn a_cluster_that_is_silent_may_run_anything() {
    let mut repo = Repo::new();
    repo.image("old", 50).tag("v1", "old", 50).image("lonely", 50).image("new", 5).tag("v2", "new", 5);
    let running = Running { silent: vec!["todo-staging (fra1)".to_owned()], ..running(&["new"]) };
    let decision = decide(&repo.0, &running, &rules(1, &["*"]));
    let reasons: BTreeSet<String> = decision.stays.iter().map(|fate| format!("{:?}", fate.reason)).collect();
    let wanted = ["MayRun(\"todo-staging (fra1)\")", "Runs(\"Pod shop/api-1\")"].map(str::to_owned);
    assert_eq!((decision.goes, reasons), (Vec::new(), BTreeSet::from(wanted)));
}

#[test]
fn what_has_become_used_since_it_was_shown_stays() {
    let mut repo = Repo::new();
    repo.image("a", 50).tag("v1", "a", 50).image("b", 40).tag("v2", "b", 40).image("c", 30).tag("v3", "c", 30);
    repo.image("amd64", 50).image("d", 20).tag("v4", "d", 20);
    let everything = Rules { older_than: SignedDuration::ZERO, ..rules(0, &["*"]) };
    let shown = (repo.0.clone(), decide(&repo.0, &Running::default(), &everything));
    assert_eq!(shown.1.goes.len(), 5);
    // Meanwhile one is tagged anew under its old name, one gets another name, one runs, and an index of one is pushed.
    repo.tag("v1", "a", 0).tag("0123456789ab", "b", 0).index("index", 0, &["amd64"]);
    let now = confirm((&shown.0, &shown.1), &repo.0, &running(&["c"]), &everything);
    let left: Vec<&Digest> = now.goes.iter().map(|fate| &fate.digest).collect();
    assert_eq!(left, [&digest("d")]);
    let reason = |name: &str| now.stays.iter().find(|fate| fate.digest == digest(name)).unwrap().reason.clone();
    assert_eq!(reason("a"), Reason::TaggedSince("v1".to_owned()));
    assert_eq!(reason("b"), Reason::TaggedSince("0123456789ab".to_owned()));
    assert_eq!(reason("index"), Reason::NotShown);
    assert_eq!(reason("amd64"), Reason::BelongsTo(digest("index")));
}

#[test]
fn what_is_about_an_image_that_is_gone_goes() {
    let mut repo = Repo::new();
    repo.image("signature", 50).tag(&format!("{}.sig", digest("gone").referrers_tag()), "signature", 50);
    let decision = decide(&repo.0, &Running::default(), &rules(5, &[]));
    assert_eq!(decision.goes[0].reason, Reason::AboutNothing);
}

#[test]
fn shared_blobs_are_not_freed() {
    let mut repo = Repo::new();
    repo.image("old", 50).tag("v1", "old", 50).image("older", 60).tag("v0", "older", 60);
    repo.image("new", 5).tag("v2", "new", 5);
    let decision = decide(&repo.0, &Running::default(), &rules(1, &["*"]));
    assert_eq!(freed(&[(repo.0.clone(), decision)]), 2 * (10 + 1));
    let decision =
        decide(&repo.0, &Running::default(), &Rules { older_than: SignedDuration::ZERO, ..rules(0, &["*"]) });
    assert_eq!(freed(&[(repo.0, decision)]), 1000 + 3 * (10 + 1));
}

/// A repository of up to twelve manifests: images, indexes and attestations of what came before them, and tags.
fn any_inventory() -> impl Strategy<Value = Inventory> {
    let manifest =
        (0..3u8, proptest::collection::vec(any::<proptest::sample::Index>(), 0..4), proptest::option::of(0..100i64));
    let tag = (0..5u8, any::<proptest::sample::Index>(), proptest::option::of(0..100i64));
    let parts = (proptest::collection::vec(manifest, 1..12), proptest::collection::vec(tag, 0..12));
    parts.prop_map(|(manifests, tags)| {
        let mut repo = Repo::new();
        let names: Vec<String> = (0..manifests.len()).map(|number| format!("m{number}")).collect();
        for (number, (kind, others, hours)) in manifests.iter().enumerate() {
            let before = |index: &proptest::sample::Index| names[index.index(number.max(1))].as_str();
            let others: Vec<&str> = others.iter().map(before).filter(|other| *other != names[number]).collect();
            match (kind, others.first()) {
                (1, _) => repo.index(&names[number], 0, &others),
                (2, Some(subject)) => repo.about(&names[number], 0, subject),
                _ => repo.image(&names[number], 0),
            };
            repo.0.manifests.get_mut(&digest(&names[number])).unwrap().since = hours.map(hours_ago);
        }
        for (number, (kind, target, hours)) in tags.iter().enumerate() {
            let target = &names[target.index(names.len())];
            let name = match kind {
                0 => format!("{number:012x}"),
                1 => format!("ck-{number:032x}"),
                2 => digest(&names[number % names.len()]).referrers_tag(),
                3 => format!("{}.sig", digest("gone").referrers_tag()),
                _ => format!("v{number}"),
            };
            repo.tag(&name, target, 0);
            repo.0.tags.get_mut(&name).unwrap().since = hours.map(hours_ago);
        }
        repo.0
    })
}

/// Any rules, and what runs.
fn any_rules() -> impl Strategy<Value = (Rules, Running)> {
    let patterns = proptest::sample::subsequence(vec!["v*", "0*", "*"], 0..3);
    let running = proptest::collection::btree_set(0..12usize, 0..3);
    (0..4usize, 0..60i64, patterns, running).prop_map(|(keep, hours, patterns, running)| {
        let rules = Rules { older_than: SignedDuration::from_hours(hours), ..rules(keep, &patterns) };
        let images = running.into_iter().map(|number| (digest(&format!("m{number}")), "Pod".to_owned())).collect();
        (rules, Running { images, silent: Vec::new() })
    })
}

/// What is reachable from a manifest: its parts, and what is about it.
fn reachable(inventory: &Inventory, from: &Digest) -> BTreeSet<Digest> {
    let mut seen = BTreeSet::from([from.clone()]);
    loop {
        let before = seen.len();
        for (digest, stored) in &inventory.manifests {
            if seen.contains(digest) {
                seen.extend(stored.children.iter().filter(|child| inventory.manifests.contains_key(*child)).cloned());
            } else if stored.subject.as_ref().is_some_and(|subject| seen.contains(subject)) {
                seen.insert(digest.clone());
            }
        }
        for (name, tag) in &inventory.tags {
            if Digest::of_referrers_tag(name).is_some_and(|subject| seen.contains(&subject)) {
                seen.insert(tag.digest.clone());
            }
        }
        if seen.len() == before {
            return seen;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_reachable_from_what_stays_goes(inventory in any_inventory(), (rules, running) in any_rules()) {
        let decision = decide(&inventory, &running, &rules);
        let goes: BTreeSet<&Digest> = decision.goes.iter().map(|fate| &fate.digest).collect();
        let stays: BTreeSet<&Digest> = decision.stays.iter().map(|fate| &fate.digest).collect();
        prop_assert!(goes.is_disjoint(&stays));
        prop_assert_eq!(goes.len() + stays.len(), inventory.manifests.len());
        prop_assert!(decision.goes.iter().all(|fate| fate.reason.goes()) && !decision.stays.iter().any(|fate| fate.reason.goes()));
        for kept in stays.iter().copied().chain(running.images.keys().filter(|digest| inventory.manifests.contains_key(*digest))) {
            for digest in reachable(&inventory, kept) {
                prop_assert!(!goes.contains(&digest), "{digest} hangs on {kept}");
            }
        }
        let commit = |name: &str| rules.patterns.is_empty() && name.len() == 12;
        let named = |name: &str| rules.patterns.iter().any(|pattern| pattern.matches(name));
        for (name, tag) in inventory.tags.iter().filter(|(name, _)| !name.starts_with("ck-") && !name.starts_with("sha256-")) {
            prop_assert!(commit(name) || named(name) || stays.contains(&tag.digest), "{name} is not meant");
        }
    }

    #[test]
    fn what_is_left_all_stays(inventory in any_inventory(), (rules, running) in any_rules()) {
        let first = decide(&inventory, &running, &rules);
        let mut left = inventory.clone();
        for (done, fate) in first.goes.iter().enumerate() {
            left.manifests.remove(&fate.digest);
            left.tags.retain(|_, tag| tag.digest != fate.digest);
            // Stopped at any point, no index has lost a part that the deletion took before it.
            for (digest, stored) in &left.manifests {
                let lost = stored.children.iter().find(|child| first.goes[..=done].iter().any(|fate| fate.digest == **child));
                prop_assert!(lost.is_none(), "{digest} has lost {lost:?}");
            }
        }
        prop_assert_eq!(decide(&left, &running, &rules).goes, Vec::new());
    }

    #[test]
    fn only_what_was_shown_goes_and_nothing_that_is_used_by_then(
        (first, then) in (any_inventory(), any_inventory()), (rules, running) in any_rules(), silent in any::<bool>(),
    ) {
        let shown = decide(&first, &Running::default(), &rules);
        let silent = if silent { vec!["c".to_owned()] } else { Vec::new() };
        let running = Running { silent, ..running };
        let now = confirm((&first, &shown), &then, &running, &rules);
        let goes: BTreeSet<&Digest> = now.goes.iter().map(|fate| &fate.digest).collect();
        prop_assert!(goes.is_empty() || running.silent.is_empty());
        prop_assert_eq!(goes.len() + now.stays.len(), then.manifests.len());
        for digest in &goes {
            prop_assert!(shown.goes.iter().any(|fate| fate.digest == **digest), "{digest} was not shown");
            prop_assert!(!running.images.contains_key(*digest));
        }
        for (name, tag) in then.tags.iter().filter(|(_, tag)| goes.contains(&tag.digest)) {
            prop_assert_eq!(first.tags.get(name), Some(tag));
        }
        for kept in &now.stays {
            for digest in reachable(&then, &kept.digest) {
                prop_assert!(!goes.contains(&digest), "{digest} hangs on {}", kept.digest);
            }
        }
        prop_assert_eq!(confirm((&first, &shown), &first, &Running::default(), &rules), shown);
    }

    #[test]
    fn the_newest_tags_are_as_many_as_asked_for(inventory in any_inventory(), keep in 0..6usize) {
        let decision = decide(&inventory, &Running::default(), &Rules { older_than: SignedDuration::ZERO, ..rules(keep, &["*"]) });
        let newest = decision.stays.iter().filter(|fate| matches!(fate.reason, Reason::Newest(_))).count();
        let people = inventory.tags.keys().filter(|name| !name.starts_with("ck-") && !name.starts_with("sha256-")).count();
        prop_assert!(newest <= keep && (keep == 0 || people == 0 || newest > 0));
    }
}
