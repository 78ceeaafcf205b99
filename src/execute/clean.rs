//! Cleaning a registry: reads what is there and what runs, and deletes what was decided.
//!
//! What cannot be read whole is an error, never a shorter list: a list that lacks something would make the rest look
//! unused.

use super::account::RegistryAccount;
use crate::clean::{Decision, Inventory, Running, Stored, StoredTag};
use crate::digitalocean::GarbageCollection;
use crate::error::{Failure, FailureKind};
use crate::image::descriptor::media_type;
use crate::image::referrers::Links;
use crate::kubernetes::{self, Cluster, Scope};
use crate::model::{Digest, GroupVersionKind, Reference, Repository};
use crate::registry::{self, RawManifest};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// So many manifests are read at once.
const AT_ONCE: usize = 8;

/// What can name an image that runs, ran a moment ago, or is rolled back to.
const WORKLOADS: [(&str, &str); 9] = [
    ("v1", "Pod"),
    ("v1", "ReplicationController"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ControllerRevision"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
];

/// The doors that a cleaning uses.
#[derive(Clone, Debug)]
pub(crate) struct Cleaner {
    /// All registries.
    pub(crate) registry: registry::Client,
    /// The account behind DigitalOcean's registry, if it is that one: it lists and deletes there.
    pub(crate) account: Option<RegistryAccount>,
}

/// What a cluster runs: images by digest, and by tag, each with a place that runs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct InUse {
    /// Images by digest.
    digests: Running,
    /// Images by tag.
    tags: BTreeMap<Reference, String>,
}

impl InUse {
    /// What a cluster runs, in all its namespaces. A kind that cannot be listed is an error.
    pub(crate) async fn of(cluster: &Cluster) -> Result<Self, Failure> {
        let kinds = WORKLOADS.map(|(api_version, kind)| GroupVersionKind::new(api_version, kind));
        let lists = kinds.iter().map(|gvk| async move { cluster.list(&Scope::all(gvk, None)).await });
        let lists = futures::future::try_join_all(lists).await.map_err(|error| cannot_see(&error))?;
        let mut in_use = Self::default();
        for (gvk, list) in kinds.iter().zip(lists) {
            for object in &list.objects {
                let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                let place = format!("{} {}/{}", gvk.kind, text("/metadata/namespace"), text("/metadata/name"));
                in_use.read(object, &place);
            }
        }
        Ok(in_use)
    }

    /// Notes every image that a part of an object names.
    fn read(&mut self, value: &Value, place: &str) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.read(item, place)),
            Value::Object(fields) => {
                for (name, field) in fields {
                    match field.as_str() {
                        Some(image) if matches!(name.as_str(), "image" | "imageID") => self.note(image, place),
                        _ => self.read(field, place),
                    }
                }
            }
            _ => {}
        }
    }

    /// Notes an image: `repository@sha256:…`, `docker-pullable://…@sha256:…`, `repository:tag`.
    fn note(&mut self, image: &str, place: &str) {
        if let Some(digest) = image.find("sha256:").and_then(|at| Digest::parse(&image[at..]).ok()) {
            self.digests.entry(digest).or_insert_with(|| place.to_owned());
        } else if let Ok(reference) = Reference::parse(image) {
            self.tags.entry(reference).or_insert_with(|| place.to_owned());
        }
    }

    /// Takes in what another cluster runs.
    pub(crate) fn extend(&mut self, other: Self) {
        self.digests.extend(other.digests);
        self.tags.extend(other.tags);
    }

    /// What of a repository runs, by digest: its tags stand for what they stand for now.
    pub(crate) fn in_repository(&self, inventory: &Inventory) -> Running {
        let mut running = self.digests.clone();
        for (reference, place) in self.tags.iter().filter(|(reference, _)| reference.repository == inventory.repository)
        {
            let tag = reference.tag.as_ref().and_then(|tag| inventory.tags.get(tag));
            if let Some(tag) = tag {
                running.entry(tag.digest.clone()).or_insert_with(|| place.clone());
            }
        }
        running
    }
}

/// The failure of a cluster that does not say what it runs.
fn cannot_see(error: &kubernetes::Error) -> Failure {
    let mut failure = Failure::of(error);
    failure.messages.insert(0, "what the cluster runs could not be found out: nothing was deleted".to_owned());
    failure.hint = Some(format!(
        "{}the images of a cluster that is not asked may go: `--no-cluster` says that none runs them",
        failure.hint.map(|hint| format!("{hint}\n")).unwrap_or_default()
    ));
    failure
}

impl Cleaner {
    /// What is in a repository, whole.
    pub(crate) async fn inventory(&self, repository: &Repository) -> Result<Inventory, Failure> {
        match &self.account {
            Some(account) => self.listed_by_the_account(account, repository).await,
            None => self.reachable_from_tags(repository).await,
        }
    }

    /// What DigitalOcean's API lists; the manifests themselves say what hangs on what.
    async fn listed_by_the_account(
        &self,
        account: &RegistryAccount,
        repository: &Repository,
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
        let read = stream::iter(&digests).map(|digest| self.manifest(repository, digest)).buffered(AT_ONCE);
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
    async fn manifest(&self, repository: &Repository, digest: &Digest) -> Result<Stored, Failure> {
        let manifest = self.registry.get_manifest(repository, digest.as_str()).await?;
        let manifest = manifest.ok_or_else(|| {
            partial(repository, &format!("`{digest}` is listed and cannot be read: it may have been deleted just now"))
        })?;
        stored(&manifest).ok_or_else(|| partial(repository, &format!("`{digest}` is of an unknown kind")))
    }

    /// What tags lead to, by the protocol that all registries have: it lists no manifests.
    async fn reachable_from_tags(&self, repository: &Repository) -> Result<Inventory, Failure> {
        let names = self.registry.all_tags(repository).await?;
        let resolved = stream::iter(&names).map(|name| async move {
            let digest = self.registry.head_manifest(repository, name).await?;
            Ok::<_, Failure>(digest.map(|digest| (name.clone(), digest)))
        });
        let resolved: Vec<Option<(String, Digest)>> = resolved.buffered(AT_ONCE).try_collect().await?;
        let mut tags: BTreeMap<String, StoredTag> = resolved
            .into_iter()
            .flatten() // a tag that is gone since it was listed is simply gone
            .map(|(name, digest)| (name, StoredTag { digest, since: None }))
            .collect();
        let mut manifests: BTreeMap<Digest, Stored> = BTreeMap::new();
        let mut open: BTreeSet<Digest> = tags.values().map(|tag| tag.digest.clone()).collect();
        let tagged = &open.clone();
        let mut looked_at = BTreeSet::new();
        while !open.is_empty() {
            let read = stream::iter(&open).map(|digest| async move {
                match self.registry.get_manifest(repository, digest.as_str()).await? {
                    // A platform of an index that was never pushed, or a subject that is gone.
                    None if !tagged.contains(digest) => Ok(None),
                    None => Err(partial(repository, &format!("`{digest}` has a tag and cannot be read"))),
                    Some(manifest) => {
                        let read = self.with_age(repository, &manifest).await?;
                        Ok::<_, Failure>(Some((digest.clone(), read)))
                    }
                }
            });
            let read: Vec<Option<(Digest, Stored)>> = read.buffer_unordered(AT_ONCE).try_collect().await?;
            manifests.extend(read.into_iter().flatten());
            looked_at.append(&mut open);
            let linked = manifests.values().flat_map(|stored| stored.children.iter().chain(&stored.subject).cloned());
            open = linked.filter(|other| !looked_at.contains(other)).collect();
        }
        for tag in tags.values_mut() {
            tag.since = manifests.get(&tag.digest).and_then(|stored| stored.since);
        }
        Ok(Inventory { repository: repository.clone(), manifests, tags, lists_untagged: false })
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

    /// Deletes what a decision lets go, in its order. Comes back with how many manifests that were; what fails ends it, and
    /// what was deleted before stays deleted.
    pub(crate) async fn delete(&self, decision: &Decision, cancel: &CancellationToken) -> Result<usize, Failure> {
        for (done, fate) in decision.goes.iter().enumerate() {
            let deleting = self.delete_one(&decision.repository, &fate.digest);
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(stopped(done)),
                deleted = deleting => deleted.map_err(|failure| after(done, failure))?,
            }
        }
        Ok(decision.goes.len())
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

/// A failure after some manifests were deleted.
fn after(done: usize, mut failure: Failure) -> Failure {
    if done > 0 {
        failure.messages.insert(0, format!("stopped after {done} manifests were deleted"));
    }
    failure
}

/// Somebody asked to stop.
fn stopped(done: usize) -> Failure {
    Failure::new(FailureKind::Interrupted, format!("stopped after {done} manifests were deleted"))
        .with_hint("what is left is whole: run it again to go on")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::fake::FakeServer;
    use crate::registry::tests::{client, fake::Fake};
    use bytes::Bytes;
    use serde_json::json;

    #[test]
    fn images_are_found_wherever_an_object_names_them() {
        let [one, two, three] = [b"1", b"2", b"3"].map(|bytes| Digest::of(bytes));
        let mut in_use = InUse::default();
        let pod = json!({
            "spec": { "initContainers": [{ "image": format!("r.example/a@{one}") }], "containers": [{ "image": "r.example/a:v1" }] },
            "status": { "containerStatuses": [{ "image": "sha256:short", "imageID": format!("docker-pullable://r.example/a@{two}") }] },
        });
        in_use.read(&pod, "Pod shop/api");
        let cron = json!({ "spec": { "jobTemplate": { "spec": { "template": { "spec": {
            "containers": [{ "image": format!("r.example/b@{three}"), "env": [{ "name": "image", "value": "no" }] }],
        } } } } } });
        in_use.read(&cron, "CronJob shop/report");
        let repository = Reference::parse("r.example/a:v1").unwrap().repository;
        let tagged = Digest::of(b"tagged");
        let tags = BTreeMap::from([("v1".to_owned(), StoredTag { digest: tagged.clone(), since: None })]);
        let inventory = Inventory { repository, manifests: BTreeMap::new(), tags, lists_untagged: true };
        let running = in_use.in_repository(&inventory);
        assert_eq!(running.keys().collect::<BTreeSet<_>>(), [&one, &two, &three, &tagged].into_iter().collect());
        assert_eq!(running[&three], "CronJob shop/report");
    }

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
    async fn a_kind_that_cannot_be_listed_ends_it() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        server.fail_next(403, "pods is forbidden", None);
        let failure = InUse::of(&cluster).await.unwrap_err();
        assert_eq!(failure.messages[0], "what the cluster runs could not be found out: nothing was deleted");
        assert!(failure.hint.unwrap().contains("--no-cluster"));
    }

    #[tokio::test]
    async fn another_registry_is_read_from_its_tags() {
        let fake = Fake::start().await;
        let (v1, v2) = (fake.seed("shop/api", "v1", b"one"), fake.seed("shop/api", "v2", b"two"));
        let cleaner = Cleaner { registry: client(), account: None };
        let inventory = cleaner.inventory(&fake.repository("shop/api")).await.unwrap();
        assert_eq!(inventory.tags.keys().collect::<Vec<_>>(), ["v1", "v2"]);
        assert_eq!(inventory.manifests.keys().collect::<BTreeSet<_>>(), [&v1, &v2].into_iter().collect());
        assert!(!inventory.lists_untagged);
    }
}
