//! What clusters run, as far as they say: whatever a workload names, in whichever field, counts as used.

use crate::clean::{Inventory, Running};
use crate::error::{Failure, FailureKind};
use crate::kubernetes::{Cluster, Scope};
use crate::model::{Digest, GroupVersionKind, Reference};
use futures::future::{join_all, try_join_all};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// What can name an image that runs, will run, ran a moment ago, or is rolled back to: scaled to nothing or suspended too,
/// and the `ReplicaSet`s and `ControllerRevision`s of earlier rollouts, of which a cluster keeps as many as it can roll back to.
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

/// A cluster that says nothing within this is silent.
const PATIENCE: Duration = Duration::from_mins(1);

/// Longer texts are no names of images. Digests are found in them all the same.
const LONGEST_REFERENCE: usize = 512;

/// The clusters whose images stay. Cheap to ask again.
#[derive(Clone, Default)]
pub(crate) struct Clusters {
    /// Those that can be asked, with what people call them.
    open: Vec<(String, Cluster)>,
    /// Those that cannot.
    silent: Vec<Silent>,
}

/// A cluster that does not say what it runs.
#[derive(Clone, Debug)]
pub(crate) struct Silent {
    /// What people call it.
    pub(crate) name: String,
    /// Why.
    pub(crate) failure: Failure,
}

impl Clusters {
    /// Adds a cluster, or why it cannot be asked.
    pub(crate) fn add(&mut self, name: String, opened: Result<Cluster, Failure>) {
        match opened {
            Ok(cluster) => self.open.push((name, cluster)),
            Err(failure) => self.silent.push(Silent { name, failure }),
        }
    }

    /// Asks all of them, side by side, what they run now.
    pub(crate) async fn look(&self) -> InUse {
        let mut all = InUse { silent: self.silent.clone(), ..InUse::default() };
        let looks = self.open.iter().map(|(name, cluster)| async move {
            let looked = tokio::time::timeout(PATIENCE, InUse::of(cluster)).await;
            (name, looked.unwrap_or_else(|_| Err(Failure::new(FailureKind::Infrastructure, "it does not answer"))))
        });
        for (name, looked) in join_all(looks).await {
            match looked {
                Ok(in_use) => {
                    all.asked.push(name.clone());
                    all.digests.extend(in_use.digests);
                    all.tags.extend(in_use.tags);
                }
                Err(failure) => all.silent.push(Silent { name: name.clone(), failure }),
            }
        }
        all
    }
}

/// What clusters run: images by digest, and by tag, each with a place that runs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct InUse {
    /// Images by digest.
    digests: BTreeMap<Digest, String>,
    /// Images by tag.
    tags: BTreeMap<Reference, String>,
    /// The clusters that have said so.
    pub(crate) asked: Vec<String>,
    /// The clusters that have not.
    pub(crate) silent: Vec<Silent>,
}

impl InUse {
    /// What a cluster runs, in all its namespaces. A kind that cannot be listed is an error.
    async fn of(cluster: &Cluster) -> Result<Self, Failure> {
        let kinds = WORKLOADS.map(|(api_version, kind)| GroupVersionKind::new(api_version, kind));
        let lists = kinds.iter().map(|gvk| async move { cluster.list(&Scope::all(gvk, None)).await });
        let lists = try_join_all(lists).await.map_err(|error| Failure::of(&error))?;
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

    /// Notes every image that a part of an object names: in `image`, in a volume's `reference`, and in the variables and
    /// arguments by which operators and runners are told what to start.
    fn read(&mut self, value: &Value, place: &str) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.read(item, place)),
            Value::Object(fields) => fields.values().for_each(|field| self.read(field, place)),
            Value::String(text) => self.note(text, place),
            _ => {}
        }
    }

    /// Notes the images in a text: `repository@sha256:…`, `docker-pullable://…@sha256:…`, `repository:tag`. What is none
    /// does no harm: no repository has it.
    fn note(&mut self, text: &str, place: &str) {
        let mut rest = text;
        while let Some((digest, end)) = Digest::find(rest) {
            self.digests.entry(digest).or_insert_with(|| place.to_owned());
            rest = &rest[end..];
        }
        let value = text.rsplit_once('=').map_or(text, |(_, value)| value); // `--image=…`
        if value.len() <= LONGEST_REFERENCE
            && let Ok(reference) = Reference::parse(value)
            && reference.digest.is_none()
        {
            self.tags.entry(reference).or_insert_with(|| place.to_owned());
        }
    }

    /// What of a repository runs, by digest: its tags stand for what they stand for now.
    pub(crate) fn in_repository(&self, inventory: &Inventory) -> Running {
        let mut images = self.digests.clone();
        for (reference, place) in self.tags.iter().filter(|(reference, _)| reference.repository == inventory.repository)
        {
            let tag = reference.tag.as_deref().unwrap_or("latest");
            if let Some(tag) = inventory.tags.get(tag) {
                images.entry(tag.digest.clone()).or_insert_with(|| place.clone());
            }
        }
        Running { images, silent: self.silent.iter().map(|silent| silent.name.clone()).collect() }
    }

    /// Why nothing may be deleted, if a cluster is silent.
    pub(crate) fn is_silent(&self) -> Option<Failure> {
        self.silent.first().map(Silent::refuse)
    }
}

impl Silent {
    /// Why nothing may be deleted.
    pub(crate) fn refuse(&self) -> Failure {
        let mut failure = self.failure.clone();
        let message = format!("nobody can say what `{}` runs: nothing more is deleted", self.name);
        failure.messages.insert(0, message);
        let hint = failure.hint.map(|hint| format!("{hint}\n")).unwrap_or_default();
        let flag = self.flag();
        failure.hint = Some(format!("{hint}`{flag}` says that none of its images is needed: they may go then"));
        failure
    }

    /// The flag by which somebody takes it upon themselves that this cluster is not asked.
    pub(crate) fn flag(&self) -> String {
        // `todo-prod (nyc1)`; what is no cluster of the account has no name there.
        match self.name.split_once(" (") {
            Some((name, _)) => format!("--ignore-cluster {name}"),
            None => "--ignore-cluster '*'".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::StoredTag;
    use crate::kubernetes::fake::FakeServer;
    use crate::model::Repository;
    use serde_json::json;
    use std::collections::BTreeSet;

    /// A repository whose tag `v1`, or another one, stands for a digest.
    fn repository(name: &str, tag: &str, digest: &Digest) -> Inventory {
        let repository: Repository = Reference::parse(name).unwrap().repository;
        let tags = BTreeMap::from([(tag.to_owned(), StoredTag { digest: digest.clone(), since: None })]);
        Inventory { repository, manifests: BTreeMap::new(), tags, lists_untagged: true }
    }

    #[test]
    fn images_are_found_wherever_an_object_names_them() {
        let [one, two, three, four, five] = [b"1", b"2", b"3", b"4", b"5"].map(|bytes| Digest::of(bytes));
        let mut in_use = InUse::default();
        let pod = json!({
            "spec": {
                "initContainers": [{ "image": format!("r.example/a@{one}") }],
                "containers": [{
                    "image": "r.example/a:v1",
                    "env": [{ "name": "RUNNER_IMAGE", "value": format!("r.example/a:v2@{four}") }],
                    "args": [format!("--sidecar=r.example/a@{five}")],
                }],
            },
            "status": { "containerStatuses": [{ "image": "sha256:short", "imageID": format!("docker-pullable://r.example/a@{two}") }] },
        });
        in_use.read(&pod, "Pod shop/api");
        let cron = json!({ "spec": { "suspend": true, "jobTemplate": { "spec": { "template": { "spec": {
            "containers": [{ "image": format!("r.example/b@{three}"), "env": [{ "name": "image", "value": "no" }] }],
        } } } } } });
        in_use.read(&cron, "CronJob shop/report");
        let tagged = Digest::of(b"tagged");
        let running = in_use.in_repository(&repository("r.example/a", "v1", &tagged));
        let wanted = [&one, &two, &three, &four, &five, &tagged];
        assert_eq!(running.images.keys().collect::<BTreeSet<_>>(), wanted.into_iter().collect());
        assert_eq!(running.images[&three], "CronJob shop/report");
    }

    #[test]
    fn images_are_found_in_whatever_form_they_are_named() {
        let digest = Digest::of(b"x");
        for (tag, object) in [
            ("latest", json!({ "image": "r.example/a" })),
            ("v7", json!({ "volumes": [{ "image": { "reference": "r.example/a:v7" } }] })),
            ("v7", json!({ "args": ["--worker-image=r.example/a:v7"] })),
            ("v7", json!({ "data": { "spec": { "template": { "$patch": "replace", "image": "r.example/a:v7" } } } })),
        ] {
            let mut in_use = InUse::default();
            in_use.read(&object, "place");
            let running = in_use.in_repository(&repository("r.example/a", tag, &digest));
            assert_eq!(running.images.keys().collect::<Vec<_>>(), [&digest], "{object}");
        }
    }

    #[tokio::test]
    async fn what_could_be_started_again_counts_as_used() {
        let server = FakeServer::start();
        let mut wanted = BTreeSet::new();
        let pod = |digest: &Digest| json!({ "template": { "spec": { "containers": [{ "image": format!("r.example/a@{digest}") }] } } });
        for (api_version, kind) in WORKLOADS {
            let digest = Digest::of(kind.as_bytes());
            let mut spec = pod(&digest);
            match kind {
                "CronJob" => spec = json!({ "suspend": true, "jobTemplate": { "spec": spec } }),
                _ => spec["replicas"] = json!(0),
            }
            let field = if kind == "ControllerRevision" { "data" } else { "spec" };
            let mut object = json!({
                "apiVersion": api_version, "kind": kind, "metadata": { "name": "old", "namespace": "shop" },
            });
            object[field] = spec;
            let folder = if api_version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{api_version}") };
            server.put(&format!("{folder}/{}s", kind.to_lowercase()), object);
            wanted.insert(digest);
        }
        let mut clusters = Clusters::default();
        clusters.add("prod (nyc1)".to_owned(), Ok(server.cluster().await));
        let in_use = clusters.look().await;
        assert_eq!(in_use.asked, ["prod (nyc1)"], "{:?}", in_use.silent);
        assert_eq!(in_use.digests.into_keys().collect::<BTreeSet<_>>(), wanted);
    }

    #[tokio::test]
    async fn a_cluster_with_a_kind_that_cannot_be_listed_is_silent() {
        let server = FakeServer::start();
        let mut clusters = Clusters::default();
        clusters.add("prod (nyc1)".to_owned(), Ok(server.cluster().await));
        clusters.add("old (fra1)".to_owned(), Err(Failure::new(FailureKind::Infrastructure, "no route to host")));
        server.fail_next(403, "pods is forbidden", None);
        let in_use = clusters.look().await;
        let silent: Vec<_> = in_use.silent.iter().map(|silent| silent.name.as_str()).collect();
        assert_eq!((in_use.asked.len(), silent), (0, vec!["old (fra1)", "prod (nyc1)"]));
        let failure = in_use.is_silent().unwrap();
        assert_eq!(failure.messages[0], "nobody can say what `old (fra1)` runs: nothing more is deleted");
        assert!(failure.hint.unwrap().contains("--ignore-cluster old`"));
    }
}
