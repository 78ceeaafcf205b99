//! Cleaning a registry: reads what is there and what runs, and deletes what was decided.
//!
//! What cannot be read whole is an error, never a shorter list: a list that lacks something would make the rest look
//! unused. What was shown is looked at once more before it goes, and again every few seconds while it goes: deploys are
//! not stopped meanwhile, and may come back to an old image.

mod in_use;

pub(crate) use in_use::{Clusters, Silent};

use super::account::RegistryAccount;
use crate::clean::{Decision, Fate, Inventory, Rules, Stored, StoredTag, confirm};
use crate::digitalocean::GarbageCollection;
use crate::error::{Failure, FailureKind};
use crate::image::descriptor::media_type;
use crate::image::referrers::Links;
use crate::model::{Digest, Repository};
use crate::registry::{self, RawManifest};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// So many manifests are read at once.
const AT_ONCE: usize = 8;

/// What was seen is not older than this when it is acted upon, and a deletion takes no longer than it takes.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Whoever stops a deletion waits so long for the answer to the request that is under way.
const LAST_ANSWER: Duration = Duration::from_secs(3);

/// Gives a manifest that was read before.
type Seen<'a> = dyn Fn(&Digest) -> Option<Stored> + Send + Sync + 'a;

/// What a deletion has done so far, however it ends.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    /// These are gone.
    pub(crate) sure: BTreeSet<Digest>,
    /// The registry was told to delete this one, and has not said what came of it.
    pub(crate) unsure: Option<Digest>,
}

/// The doors that a cleaning uses.
#[derive(Clone, Debug)]
pub(crate) struct Cleaner {
    /// All registries.
    pub(crate) registry: registry::Client,
    /// The account behind DigitalOcean's registry, if it is that one: it lists and deletes there.
    pub(crate) account: Option<RegistryAccount>,
}

impl Cleaner {
    /// What is in a repository, whole. A manifest that was seen `before` is not read again: it cannot have changed.
    pub(crate) async fn inventory(
        &self,
        repository: &Repository,
        before: Option<&Inventory>,
    ) -> Result<Inventory, Failure> {
        let seen = |digest: &Digest| before?.manifests.get(digest).cloned();
        match &self.account {
            Some(account) => self.listed_by_the_account(account, repository, &seen).await,
            None => self.reachable_from_tags(repository, before).await,
        }
    }

    /// What DigitalOcean's API lists; the manifests themselves say what hangs on what.
    async fn listed_by_the_account(
        &self,
        account: &RegistryAccount,
        repository: &Repository,
        seen: &Seen<'_>,
    ) -> Result<Inventory, Failure> {
        let (Some(owner), Some((_, name))) = (account.registry(), repository.path.split_once('/')) else {
            return Err(partial(repository, "it is in no registry of the account"));
        };
        let client = account.client();
        let (tags, listed) =
            tokio::try_join!(client.repository_tags(owner, name), client.repository_manifests(owner, name))?;
        let mut manifests = BTreeMap::new();
        let digests = listed.iter().map(|listed| {
            let digest = Digest::parse(&listed.digest);
            digest.map_err(|_| partial(repository, &format!("`{}` is a digest of another kind", listed.digest)))
        });
        let digests: Vec<Digest> = digests.collect::<Result<_, _>>()?;
        let read = stream::iter(&digests).map(|digest| self.manifest(repository, digest, seen)).buffered(AT_ONCE);
        let read: Vec<Stored> = read.try_collect().await?;
        for ((listed, digest), stored) in listed.iter().zip(digests).zip(read) {
            manifests.insert(digest, Stored { since: listed.updated_at.parse().ok(), ..stored });
        }
        self.no_child_is_missing(repository, &manifests).await?;
        let tags = tags.into_iter().map(|tag| {
            let digest = Digest::parse(&tag.manifest_digest).ok().filter(|digest| manifests.contains_key(digest));
            let digest =
                digest.ok_or_else(|| partial(repository, &format!("the manifest of `{}` was not listed", tag.tag)))?;
            Ok::<_, Failure>((tag.tag, StoredTag { digest, since: tag.updated_at.parse().ok() }))
        });
        let tags = tags.collect::<Result<_, _>>()?;
        Ok(Inventory { repository: repository.clone(), manifests, tags, lists_untagged: true })
    }

    /// An index may name a platform that was never pushed; one that is there and was not listed makes the list partial.
    async fn no_child_is_missing(
        &self,
        repository: &Repository,
        manifests: &BTreeMap<Digest, Stored>,
    ) -> Result<(), Failure> {
        let children = manifests.values().flat_map(|stored| &stored.children);
        let missing: BTreeSet<&Digest> = children.filter(|child| !manifests.contains_key(*child)).collect();
        let looked = stream::iter(missing).map(|child| async move {
            match self.registry.head_manifest(repository, child.as_str()).await? {
                None => Ok(()),
                Some(_) => Err(partial(repository, &format!("`{child}` is there and was not listed"))),
            }
        });
        looked.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// One manifest that must be there.
    async fn manifest(&self, repository: &Repository, digest: &Digest, seen: &Seen<'_>) -> Result<Stored, Failure> {
        if let Some(stored) = seen(digest) {
            return Ok(stored);
        }
        let manifest = self.registry.get_manifest(repository, digest.as_str()).await?;
        let manifest = manifest.ok_or_else(|| {
            partial(repository, &format!("`{digest}` is listed and cannot be read: it may have been deleted just now"))
        })?;
        stored(&manifest).ok_or_else(|| partial(repository, &format!("`{digest}` is of an unknown kind")))
    }

    /// What tags lead to, by the protocol that all registries have, and what the registry lists about that, where it has such
    /// lists: no request lists all manifests. What was seen before counts as well, though no tag may lead to it any more: it
    /// belongs to what has just been deleted.
    async fn reachable_from_tags(
        &self,
        repository: &Repository,
        before: Option<&Inventory>,
    ) -> Result<Inventory, Failure> {
        let seen = &|digest: &Digest| before?.manifests.get(digest).cloned();
        let mut tags = self.resolved_tags(repository).await?;
        let mut manifests: BTreeMap<Digest, Stored> = BTreeMap::new();
        let tagged: BTreeSet<Digest> = tags.values().map(|tag| tag.digest.clone()).collect();
        let lists_abouts = match tagged.first() {
            Some(first) => self.registry.referrers(repository, first).await?.is_some(),
            None => false,
        };
        let mut open = tagged.clone();
        open.extend(before.into_iter().flat_map(|before| before.manifests.keys().cloned()));
        let mut looked_at = BTreeSet::new();
        while !open.is_empty() {
            let read = stream::iter(&open).map(|digest| async {
                let stored = self.linked_manifest(repository, digest, seen, tagged.contains(digest)).await?;
                let abouts = match &stored {
                    Some(_) if lists_abouts => self.registry.referrers(repository, digest).await?.unwrap_or_default(),
                    _ => Vec::new(),
                };
                Ok::<_, Failure>((digest.clone(), stored, abouts))
            });
            let read: Vec<_> = read.buffer_unordered(AT_ONCE).try_collect().await?;
            looked_at.append(&mut open);
            for (digest, stored, abouts) in read {
                open.extend(abouts.into_iter().map(|about| about.digest));
                if let Some(stored) = stored {
                    open.extend(stored.children.iter().chain(&stored.subject).cloned());
                    manifests.insert(digest, stored);
                }
            }
            open.retain(|digest| !looked_at.contains(digest));
        }
        for tag in tags.values_mut() {
            tag.since = manifests.get(&tag.digest).and_then(|stored| stored.since);
        }
        Ok(Inventory { repository: repository.clone(), manifests, tags, lists_untagged: false })
    }

    /// The tags of a repository and the manifests that they stand for.
    async fn resolved_tags(&self, repository: &Repository) -> Result<BTreeMap<String, StoredTag>, Failure> {
        let names = self.registry.all_tags(repository).await?;
        let resolved = stream::iter(&names).map(|name| async move {
            let digest = self.registry.head_manifest(repository, name).await?;
            Ok::<_, Failure>(digest.map(|digest| (name.clone(), StoredTag { digest, since: None })))
        });
        let resolved: Vec<_> = resolved.buffered(AT_ONCE).try_collect().await?;
        Ok(resolved.into_iter().flatten().collect()) // a tag that is gone since it was listed is simply gone
    }

    /// One manifest that something leads to; `None` for one that is not there, unless it `has_tag`: a platform of an index that
    /// was never pushed, or a subject that is gone.
    async fn linked_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        seen: &Seen<'_>,
        has_tag: bool,
    ) -> Result<Option<Stored>, Failure> {
        if let Some(stored) = seen(digest) {
            return Ok(Some(stored));
        }
        match self.registry.get_manifest(repository, digest.as_str()).await? {
            None if !has_tag => Ok(None),
            None => Err(partial(repository, &format!("`{digest}` has a tag and cannot be read"))),
            Some(manifest) => self.with_age(repository, &manifest).await.map(Some),
        }
    }

    /// A manifest with the time at which it says that it was made, in its annotations or its configuration.
    async fn with_age(&self, repository: &Repository, manifest: &RawManifest) -> Result<Stored, Failure> {
        let unknown = || partial(repository, &format!("`{}` is of an unknown kind", manifest.digest));
        let stored = stored(manifest).ok_or_else(unknown)?;
        let body: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
        let written = body.pointer("/annotations/org.opencontainers.image.created").and_then(Value::as_str);
        let mut since = written.and_then(made_at);
        if let (None, Ok(image)) = (since, manifest.read())
            && image.config.media_type.contains("image")
        {
            let config = self.registry.read_blob(repository, &image.config).await?;
            let config: Value = serde_json::from_slice(&config).unwrap_or_default();
            since = config["created"].as_str().and_then(made_at);
        }
        Ok(Stored { since, ..stored })
    }

    /// Deletes what was shown of a repository to go, as far as nothing has come to use it since: what is there and what runs
    /// is looked at before the first deletion, and every few seconds from then on. What was shown to go and stays, since it
    /// has come to be used. What fails ends it; `gone` tells what it has done by then.
    pub(crate) async fn delete(
        &self,
        shown: (&Inventory, &Decision),
        rules: &Rules,
        clusters: &Clusters,
        cancel: &CancellationToken,
        gone: &mut Gone,
    ) -> Result<Vec<Fate>, Failure> {
        loop {
            let looking = futures::future::join(clusters.look(), self.inventory(&shown.0.repository, Some(shown.0)));
            let (in_use, inventory) = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(stopped()),
                looked = looking => looked,
            };
            let inventory = inventory?;
            if let Some(failure) = in_use.is_silent() {
                return Err(failure);
            }
            let now = confirm(shown, &inventory, &in_use.in_repository(&inventory), rules);
            let goes: Vec<&Digest> =
                now.goes.iter().map(|fate| &fate.digest).filter(|digest| !gone.sure.contains(*digest)).collect();
            if goes.is_empty() {
                let was_shown = |fate: &Fate| shown.1.goes.iter().any(|shown| shown.digest == fate.digest);
                let kept = now.stays.into_iter().filter(|fate| was_shown(fate) && !gone.sure.contains(&fate.digest));
                return Ok(kept.collect());
            }
            let looked = Instant::now();
            for digest in goes {
                if looked.elapsed() >= LOOK_AGAIN {
                    break;
                }
                if cancel.is_cancelled() {
                    return Err(stopped());
                }
                gone.unsure = Some(digest.clone());
                tokio::select! {
                    deleted = self.delete_one(&now.repository, digest) => {
                        // A refusal that will not change says that it is still there; any other failure does not.
                        let is_known = deleted.as_ref().is_ok_and(|()| gone.sure.insert(digest.clone()))
                            || deleted.as_ref().is_err_and(|failure| failure.kind == FailureKind::Configuration);
                        gone.unsure = gone.unsure.take().filter(|_| !is_known);
                        deleted?;
                    }
                    () = async { cancel.cancelled().await; tokio::time::sleep(LAST_ANSWER).await } => return Err(stopped()),
                }
            }
        }
    }

    /// Deletes one manifest with its tags. One that is gone already is what was wanted.
    async fn delete_one(&self, repository: &Repository, digest: &Digest) -> Result<(), Failure> {
        let owner = self.account.as_ref().and_then(|account| Some((account, account.registry()?)));
        if let (Some((account, owner)), Some((_, name))) = (owner, repository.path.split_once('/')) {
            account.client().delete_manifest(owner, name, digest.as_str()).await?;
            return Ok(());
        }
        match self.registry.delete_manifest(repository, digest).await {
            Ok(_) => Ok(()),
            Err(error) => Err(cannot_delete(repository, &error)),
        }
    }

    /// Fails while garbage is collected: nobody knows what a deletion does to a collection that is counting.
    pub(crate) async fn nothing_is_collected(&self) -> Result<(), Failure> {
        match &self.account {
            Some(account) if account.look().await => {
                let failure =
                    Failure::new(FailureKind::Infrastructure, "the registry collects garbage now: nothing was deleted");
                Err(failure.with_hint("run it again when that has ended"))
            }
            _ => Ok(()),
        }
    }

    /// Starts a garbage collection and tells its states until it has ended.
    pub(crate) async fn collect_garbage(
        &self,
        cancel: &CancellationToken,
        mut say: impl FnMut(&GarbageCollection),
    ) -> Result<GarbageCollection, Failure> {
        let Some((account, owner)) = self.account.as_ref().and_then(|account| Some((account, account.registry()?)))
        else {
            return Err(Failure::new(FailureKind::Configuration, "this registry cannot be told to collect garbage"));
        };
        let client = account.client();
        let mut seen = client.start_garbage_collection(owner).await?;
        let uuid = seen.uuid.clone();
        loop {
            say(&seen);
            if matches!(seen.status.as_str(), "succeeded" | "failed" | "cancelled") {
                return Ok(seen);
            }
            tokio::select! {
                () = cancel.cancelled() => {
                    let failure = Failure::new(FailureKind::Interrupted, "stopped watching: the garbage collection goes on");
                    return Err(failure.with_hint("nothing can be pushed until it has ended; `seaway push --on-gc cancel` ends it"));
                }
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            }
            let all = client.garbage_collections(owner).await?;
            if let Some(now) = all.into_iter().find(|collection| collection.uuid == uuid) {
                seen = now;
            }
        }
    }
}

/// The pause between two looks at a garbage collection.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// A time of making that is one: builds that are to be the same each time say 1970 or 1980.
fn made_at(text: &str) -> Option<Timestamp> {
    /// 1981-01-01, in seconds.
    const AFTER_ALL_EPOCHS: i64 = 347_155_200;
    text.parse().ok().filter(|at: &Timestamp| at.as_second() > AFTER_ALL_EPOCHS)
}

/// What a manifest says of others; `None` for one of an unknown kind, whose links nobody knows.
fn stored(manifest: &RawManifest) -> Option<Stored> {
    let known = media_type::is_index(&manifest.media_type) || media_type::is_manifest(&manifest.media_type);
    let links = Links::of(&manifest.bytes).ok().filter(|_| known)?;
    let blobs = links.blobs().map(|blob| (blob.digest.clone(), blob.size)).collect();
    let children = links.manifests.into_iter().map(|child| child.digest).collect();
    let subject = links.subject.map(|subject| subject.digest);
    Some(Stored { children, subject, blobs, size: manifest.bytes.len() as u64, since: None })
}

/// The failure of a repository that could not be read whole.
fn partial(repository: &Repository, problem: &str) -> Failure {
    let message = format!("`{repository}` could not be read whole: {problem}");
    Failure::new(FailureKind::Infrastructure, message)
        .with_hint("nothing was deleted, since what could not be seen may be needed: run it again")
}

/// The failure of a registry that does not delete.
fn cannot_delete(repository: &Repository, error: &registry::Error) -> Failure {
    let unsupported =
        error.code() == Some("UNSUPPORTED") || error.status().is_some_and(|status| status.as_u16() == 405);
    let mut failure = Failure::of(error);
    if unsupported {
        failure.kind = FailureKind::Configuration;
        failure.messages.insert(0, format!("registry `{}` does not let clients delete images", repository.registry));
        failure.hint = Some("deletion is turned off in its settings, or is done by another API of its own".to_owned());
    }
    failure
}

/// Somebody asked to stop.
fn stopped() -> Failure {
    Failure::new(FailureKind::Interrupted, "stopped")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::referrers::Artifact;
    use crate::kubernetes::fake::FakeServer;
    use crate::registry::tests::{client, fake::Fake, small::Small};
    use bytes::Bytes;
    use serde_json::json;

    #[test]
    fn the_links_of_a_manifest_are_read_whole_or_not_at_all() {
        let (part, subject) = (Digest::of(b"part"), Digest::of(b"subject"));
        let index = |manifests: Value| {
            let body = json!({ "mediaType": media_type::OCI_INDEX, "manifests": manifests, "subject": { "digest": subject, "size": 3 } });
            stored(&RawManifest::new(None, Bytes::from(body.to_string())))
        };
        let read = index(json!([{ "digest": part, "size": 3 }])).unwrap();
        assert_eq!((read.children, read.subject), (vec![part], Some(subject.clone())));
        assert_eq!(index(json!([{ "digest": "sha512:00", "size": 3 }])), None, "a part that nobody can follow");
        let old = RawManifest {
            media_type: "application/vnd.docker.distribution.manifest.v1+json".to_owned(),
            ..RawManifest::new(None, Bytes::from("{}"))
        };
        assert_eq!(stored(&old), None);
    }

    #[tokio::test]
    async fn another_registry_is_read_from_its_tags() {
        let fake = Fake::start().await;
        let (v1, v2) = (fake.seed("shop/api", "v1", b"one"), fake.seed("shop/api", "v2", b"two"));
        let cleaner = Cleaner { registry: client(), account: None };
        let inventory = cleaner.inventory(&fake.repository("shop/api"), None).await.unwrap();
        assert_eq!(inventory.tags.keys().collect::<Vec<_>>(), ["v1", "v2"]);
        assert_eq!(inventory.manifests.keys().collect::<BTreeSet<_>>(), [&v1, &v2].into_iter().collect());
        assert!(!inventory.lists_untagged);
    }

    #[tokio::test]
    async fn what_a_registry_lists_about_an_image_goes_with_it() {
        let small = Small::start().await;
        small.contents().keeps_lists = true;
        let subject = small.seed("v1", &[b"layer"]);
        let artifact = Artifact {
            kind: "application/spdx+json".to_owned(),
            subject: subject.clone(),
            content_type: "application/spdx+json".to_owned(),
            content: Bytes::from("{}"),
            file: "sbom.json".to_owned(),
            annotations: BTreeMap::new(),
        };
        let cancel = CancellationToken::new();
        let about = client().push_artifact(&small.repository, &artifact, &cancel).await.unwrap().entry.digest;
        let cleaner = Cleaner { registry: client(), account: None };
        let inventory = cleaner.inventory(&small.repository, None).await.unwrap();
        let everything = rules();
        let decision = crate::clean::decide(&inventory, &crate::clean::Running::default(), &everything);
        let goes: Vec<&Digest> = decision.goes.iter().map(|fate| &fate.digest).collect();
        assert_eq!(goes, [&subject.digest, &about]);
        // Whoever looks again in the middle still knows of what nothing leads to any more.
        client().delete_manifest(&small.repository, &subject.digest).await.unwrap();
        let again = cleaner.inventory(&small.repository, Some(&inventory)).await.unwrap();
        assert!(again.tags.is_empty() && again.manifests.contains_key(&about));
        let shown = (&inventory, &decision);
        let mut gone = Gone::default();
        let kept = cleaner.delete(shown, &everything, &Clusters::default(), &cancel, &mut gone).await.unwrap();
        assert_eq!((gone.sure.len(), gone.unsure, kept), (2, None, Vec::new()));
        assert!(small.contents().manifests.is_empty());
    }

    /// Rules by which everything may go.
    fn rules() -> Rules {
        Rules {
            keep_tags: 0,
            older_than: jiff::SignedDuration::ZERO,
            patterns: vec![crate::clean::Pattern::new("*")],
            now: Timestamp::now(),
        }
    }

    /// A repository with three old images, everything of which may go.
    async fn old_images() -> (Fake, [Digest; 3], Cleaner, Rules) {
        let fake = Fake::start().await;
        let digests = [("v1", b"a"), ("v2", b"b"), ("v3", b"c")].map(|(tag, layer)| fake.seed("shop/api", tag, layer));
        (fake, digests, Cleaner { registry: client(), account: None }, rules())
    }

    /// What is shown of it while nothing runs.
    async fn shown(fake: &Fake, cleaner: &Cleaner, rules: &Rules) -> (Inventory, Decision) {
        let inventory = cleaner.inventory(&fake.repository("shop/api"), None).await.unwrap();
        let decision = crate::clean::decide(&inventory, &crate::clean::Running::default(), rules);
        assert_eq!(decision.goes.len(), 3);
        (inventory, decision)
    }

    /// The kept ones and their reasons.
    fn kept(kept: &[Fate]) -> BTreeMap<Digest, String> {
        kept.iter().map(|fate| (fate.digest.clone(), format!("{:?}", fate.reason))).collect()
    }

    #[tokio::test]
    async fn what_has_become_used_after_it_was_shown_is_kept() {
        let (fake, [a, b, c], cleaner, rules) = old_images().await;
        let (inventory, decision) = shown(&fake, &cleaner, &rules).await;
        // A deploy tags one of them anew, another one rolls out the second.
        client().tag(&fake.repository("shop/api"), &a, "0123456789ab").await.unwrap();
        let server = FakeServer::start();
        let image = fake.repository("shop/api").at(&b).to_string();
        let pod = json!({ "metadata": { "name": "api", "namespace": "shop" }, "spec": { "containers": [{ "image": image }] } });
        server.put("/api/v1/pods", pod);
        let mut clusters = Clusters::default();
        clusters.add("prod (nyc1)".to_owned(), Ok(server.cluster().await));
        let cancel = CancellationToken::new();
        fake.forget();
        let mut gone = Gone::default();
        let stays = cleaner.delete((&inventory, &decision), &rules, &clusters, &cancel, &mut gone).await.unwrap();
        assert_eq!(fake.count("GET /v2/shop/api/manifests/"), 0, "what was read once is not read again");
        let wanted = [(a.clone(), "TaggedSince(\"0123456789ab\")"), (b.clone(), "Runs(\"Pod shop/api\")")];
        assert_eq!(kept(&stays), wanted.map(|(digest, reason)| (digest, reason.to_owned())).into());
        let repository = fake.repository("shop/api");
        for (digest, there) in [(&a, true), (&b, true), (&c, false)] {
            assert_eq!(client().head_manifest(&repository, digest.as_str()).await.unwrap().is_some(), there);
        }
        assert_eq!((gone.sure, gone.unsure), (BTreeSet::from([c]), None));
    }

    #[tokio::test]
    async fn nothing_goes_once_a_cluster_is_silent() {
        let (fake, _, cleaner, rules) = old_images().await;
        let (inventory, decision) = shown(&fake, &cleaner, &rules).await;
        let server = FakeServer::start();
        let mut clusters = Clusters::default();
        clusters.add("prod (nyc1)".to_owned(), Ok(server.cluster().await));
        server.fail_next(403, "pods is forbidden", None);
        let cancel = CancellationToken::new();
        let shown = (&inventory, &decision);
        let failure = cleaner.delete(shown, &rules, &clusters, &cancel, &mut Gone::default()).await.unwrap_err();
        assert_eq!(failure.messages[0], "nobody can say what `prod (nyc1)` runs: nothing more is deleted");
        assert_eq!(fake.count("DELETE "), 0);
    }

    #[tokio::test]
    async fn what_breaks_off_in_the_middle_tells_what_is_gone_and_what_is_not_known() {
        for (statuses, is_known) in [(vec![202, 403], true), ([vec![202], vec![500; 9]].concat(), false)] {
            let (fake, digests, cleaner, rules) = old_images().await;
            let (inventory, decision) = shown(&fake, &cleaner, &rules).await;
            fake.faults(|faults| faults.delete_statuses = statuses.into());
            let (cancel, mut gone) = (CancellationToken::new(), Gone::default());
            let shown = (&inventory, &decision);
            let failure = cleaner.delete(shown, &rules, &Clusters::default(), &cancel, &mut gone).await.unwrap_err();
            assert_eq!(failure.kind == FailureKind::Configuration, is_known, "{failure}");
            let order: Vec<&Digest> = decision.goes.iter().map(|fate| &fate.digest).collect();
            assert_eq!(gone.sure.iter().collect::<Vec<_>>(), order[..1]);
            assert_eq!(gone.unsure.as_ref(), (!is_known).then_some(order[1]));
            let repository = fake.repository("shop/api");
            let mut left = 0;
            for digest in &digests {
                left += usize::from(client().head_manifest(&repository, digest.as_str()).await.unwrap().is_some());
            }
            assert_eq!(left, 2);
        }
    }
}
