//! Asks the registries which images are there: ours by their content key, others by their tag.

use crate::config::Build;
use crate::desired::{Desired, DesiredImage, ImageSource, SlotImage};
use crate::docker::layout::Identity;
use crate::docker::{self, content_key::tag_of};
use crate::error::Failure;
use crate::execute::account::unanswered;
use crate::execute::content_key::content_key;
use crate::execute::{EventKind, Events, ImageDoors, ready_made};
use crate::image::dockerfile::Reach;
use crate::model::{Digest, Platform, Reference, Repository, counted};
use crate::plan::ObservedImage;
use crate::registry::{self, Dated};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many questions are under way at once.
const AT_ONCE: usize = 8;

/// What the registries know: of each desired image, and of each image in the objects that Seaway did not build.
pub(crate) async fn survey(
    desired: &Desired,
    doors: &ImageDoors,
    events: &Events,
) -> Result<(BTreeMap<String, ObservedImage>, BTreeMap<Reference, Digest>), Failure> {
    let builds = desired.images.iter().filter(|image| matches!(image.source, ImageSource::Build(_))).count();
    if builds > 0 {
        events.send(EventKind::Preparing { what: format!("reading the inputs of {}", counted(builds, "image")) });
    }
    let ours = stream::iter(&desired.images).map(|image| async move {
        let observed = observe(image, doors).await?;
        Ok::<_, Failure>((image.key.clone(), observed))
    });
    let ours = ours.buffer_unordered(AT_ONCE).try_collect();
    let others: BTreeSet<&Reference> =
        desired.objects.iter().flat_map(|object| &object.slots).filter_map(foreign).collect();
    let others = stream::iter(others).map(|reference| async move {
        let asked = || format!("image `{reference}` of the manifests");
        let digest = doors.registry.resolve(reference).await;
        let digest = answered(doors, &reference.repository, asked, digest).await?;
        Ok::<_, Failure>((reference.clone(), digest))
    });
    let others = others.buffer_unordered(AT_ONCE).try_collect();
    futures::future::try_join(ours, others).await
}

/// The reference of an image that Seaway did not build.
fn foreign(slot: &crate::desired::ImageSlot) -> Option<&Reference> {
    match &slot.image {
        SlotImage::Foreign(reference) => Some(reference),
        SlotImage::Ours(_) => None,
    }
}

/// What the registry knows of one desired image.
async fn observe(image: &DesiredImage, doors: &ImageDoors) -> Result<ObservedImage, Failure> {
    let ImageDoors { registry, builder, .. } = doors;
    let (content_key, target, source) = match &image.source {
        ImageSource::Build(build) => return observe_build(image, build, doors).await,
        ImageSource::Layout(_) | ImageSource::Engine(_) => {
            let identity = ready_made::identify(&image.source, builder).await;
            let identity = identity.map_err(|error| unidentified(&image.key, &error))?;
            let key = ready_made::key(image, &identity);
            // Where the image keeps its manifest, the digest itself is looked for: any tag may have brought it.
            let target = match &identity {
                Identity::Manifest(digest) => digest.to_string(),
                Identity::Content(_) => key.clone(),
            };
            (key, target, None)
        }
        ImageSource::Assembly(assembly) => {
            let key = crate::execute::assembly_key(assembly, image.supply.compression, doors).await;
            let key = key.map_err(|mut failure| {
                failure.messages.insert(0, format!("image `{}` cannot be made", image.key));
                failure
            })?;
            (key.clone(), key, None)
        }
        ImageSource::Mirror(source) => {
            // A mirror keeps its digest, so the digest itself is looked for.
            let asked = || format!("image `{}` mirrors `{source}`", image.key);
            let platform = Platform::default();
            let found = registry.platform_manifest(source, &platform).await;
            let found = answered(doors, &source.repository, asked, found).await?;
            (tag_of(&found.digest), found.digest.to_string(), Some(found.digest))
        }
    };
    let digest = looked_up(doors, image, registry.head_manifest(&image.repository, &target).await).await?;
    let found = digest.as_ref().map_or_else(|| "not there".to_owned(), ToString::to_string);
    tracing::info!("image `{}` in the registry as {content_key}: {found}", image.key);
    Ok(ObservedImage { content_key, digest, source, stale: None })
}

/// What the registry knows of an image that is built: by one HEAD. Only where its age matters is more asked.
async fn observe_build(image: &DesiredImage, build: &Build, doors: &ImageDoors) -> Result<ObservedImage, Failure> {
    let key = content_key(&image.key, build, image.supply.compression, doors).await?;
    let (repository, tag) = (&image.repository, key.tag.as_str());
    let (digest, stale) = match build.max_age.limit(key.network.is_some()) {
        _ if build.anew => (None, Some("--no-cache".to_owned())),
        None => (looked_up(doors, image, doors.registry.head_manifest(repository, tag).await).await?, None),
        Some(limit) => {
            let found = doors.registry.dated_manifest(repository, tag, &build.platform).await;
            match looked_up(doors, image, found).await? {
                None => (None, None),
                Some(Dated { digest, created }) => match too_old(created, limit, key.network.as_ref()) {
                    Some(reason) => (None, Some(reason)),
                    None => (Some(digest), None),
                },
            }
        }
    };
    let found = digest.as_ref().map_or_else(|| "not there".to_owned(), ToString::to_string);
    tracing::info!("image `{}` in the registry as {tag}: {}", image.key, stale.as_ref().unwrap_or(&found));
    Ok(ObservedImage { content_key: key.tag, digest, source: None, stale })
}

/// What a registry answers about an image of ours.
async fn looked_up<T>(
    doors: &ImageDoors,
    image: &DesiredImage,
    answer: Result<T, registry::Error>,
) -> Result<T, Failure> {
    let asked = || format!("image `{}` cannot be looked up", image.key);
    answered(doors, &image.repository, asked, answer).await
}

/// What a registry answers to what is `asked` of a repository; the failure has the cause as far as the account knows it.
async fn answered<T>(
    doors: &ImageDoors,
    repository: &Repository,
    asked: impl FnOnce() -> String,
    answer: Result<T, registry::Error>,
) -> Result<T, Failure> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(error) => Err(unanswered(asked(), doors.account.as_ref(), repository, &error).await),
    }
}

/// Why an image that was made then is not reused; `None` where it is young enough. One that does not say is not trusted.
fn too_old(created: Option<Timestamp>, limit: Duration, network: Option<&Reach>) -> Option<String> {
    let reach = network.map(|reach| format!("; line {} uses `{}`", reach.line, reach.what)).unwrap_or_default();
    let Some(created) = created else { return Some(format!("its age is not known{reach}")) };
    let age = Timestamp::now().duration_since(created);
    let is_old = age > SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    is_old.then(|| format!("older than {}{reach}", age_text(limit)))
}

/// `7 d`, `12 h`, `90 min`, `30 s`: the largest unit that says it exactly.
fn age_text(age: Duration) -> String {
    let seconds = age.as_secs();
    let units = [(24 * 3600, "d"), (3600, "h"), (60, "min")];
    let unit = units.into_iter().find(|(length, _)| seconds > 0 && seconds.is_multiple_of(*length));
    let (length, name) = unit.unwrap_or((1, "s"));
    format!("{} {name}", seconds / length)
}

/// What an image cannot be told from others by.
fn unidentified(image: &str, error: &docker::Error) -> Failure {
    let mut failure = Failure::of(error);
    failure.messages.insert(0, format!("image `{image}` cannot be pushed"));
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MaxAge, Rollout};
    use crate::desired::{DesiredObject, ImageSlot};
    use crate::docker::Builder;
    use crate::error::FailureKind;
    use crate::image::{Descriptor, Manifest, descriptor::media_type};
    use crate::model::{Compression, GroupVersionKind, ObjectRef};
    use crate::registry::tests::{client, fake::Fake};

    /// The image `api` after this change to its build.
    async fn observed(fake: &Fake, folder: &std::path::Path, change: impl Fn(&mut Build)) -> ObservedImage {
        let mut desired = desired(fake, folder);
        desired.images.truncate(1);
        desired.objects.clear();
        if let ImageSource::Build(build) = &mut desired.images[0].source {
            change(build);
        }
        let doors = ImageDoors { registry: client(), builder: Builder::default(), account: None };
        survey(&desired, &doors, &Events::channel().0).await.unwrap().0["api"].clone()
    }

    /// A registry with a base, a folder that builds on it with this instruction, and the image of a build that was made at a
    /// time, which stands in its configuration.
    async fn built(instruction: &str, created: &str) -> (Fake, tempfile::TempDir, Digest) {
        let fake = Fake::start().await;
        fake.seed("library/base", "1", b"base");
        let folder = tempfile::tempdir().unwrap();
        let text = format!("FROM {}/library/base:1\n{instruction}\n", fake.host);
        std::fs::write(folder.path().join("Dockerfile"), text).unwrap();
        let key = observed(&fake, folder.path(), |_| {}).await.content_key;
        let digest = seed_created(&fake, &key, created);
        (fake, folder, digest)
    }

    /// Puts an image without layers under a tag, whose configuration says when it was made.
    fn seed_created(fake: &Fake, tag: &str, created: &str) -> Digest {
        let config =
            serde_json::json!({ "created": created, "rootfs": { "type": "layers", "diff_ids": [] } }).to_string();
        let describe = Descriptor::new(media_type::OCI_CONFIG, Digest::of(config.as_bytes()), config.len() as u64);
        let manifest = Manifest::new(describe, Vec::new()).to_bytes().unwrap();
        let digest = Digest::of(&manifest);
        let mut contents = fake.contents();
        contents.blobs.insert(("shop/api".to_owned(), Digest::of(config.as_bytes()).to_string()), config.into());
        for target in [digest.as_str(), tag] {
            let value = (media_type::OCI_MANIFEST.to_owned(), manifest.clone().into());
            contents.manifests.insert(("shop/api".to_owned(), target.to_owned()), value);
        }
        digest
    }

    #[tokio::test]
    async fn an_image_that_the_network_went_into_gets_too_old() {
        let ago = |days: i64| (Timestamp::now() - SignedDuration::from_hours(24 * days)).to_string();
        let (fake, folder, digest) = built("RUN apt-get update", &ago(6)).await;
        let young = observed(&fake, folder.path(), |_| {}).await;
        assert_eq!((young.digest.as_ref(), young.stale), (Some(&digest), None));
        let day = MaxAge::Limit(Duration::from_hours(24));
        let old = observed(&fake, folder.path(), |build| build.max_age = day).await;
        assert_eq!((old.digest, old.stale.as_deref()), (None, Some("older than 1 d; line 2 uses `apt-get`")));
        let (fake, folder, digest) = built("RUN apt-get update", &ago(8)).await;
        let old = observed(&fake, folder.path(), |_| {}).await;
        assert_eq!((old.digest, old.stale.as_deref()), (None, Some("older than 7 d; line 2 uses `apt-get`")));
        let any = observed(&fake, folder.path(), |build| build.max_age = MaxAge::Any).await;
        assert_eq!(any.digest, Some(digest));
    }

    #[tokio::test]
    async fn an_image_without_network_is_found_by_one_head_whatever_its_age() {
        let (fake, folder, digest) = built("RUN make", "1970-01-01T00:00:00Z").await;
        let before = fake.log().len();
        assert_eq!(observed(&fake, folder.path(), |_| {}).await.digest, Some(digest));
        let asked = fake.log()[before..].iter().filter(|line| line.contains("/shop/api/")).count();
        assert_eq!(asked, 1, "{:?}", fake.log());
        let before = fake.log().len();
        let anew = observed(&fake, folder.path(), |build| build.anew = true).await;
        assert_eq!((anew.digest, anew.stale.as_deref()), (None, Some("--no-cache")));
        assert!(!fake.log()[before..].iter().any(|line| line.contains("/shop/api/")), "the key is not asked for");
    }

    #[tokio::test]
    async fn an_image_in_another_compression_is_not_reused() {
        let (fake, folder, digest) = built("COPY Dockerfile /", "2026-11-21T00:00:00Z").await;
        let mut desired = desired(&fake, folder.path());
        desired.images.truncate(1);
        desired.objects.clear();
        for (compression, wanted) in [(Compression::Gzip, Some(&digest)), (Compression::Zstd, None)] {
            desired.images[0].supply.compression = compression;
            let doors = ImageDoors { registry: client(), builder: Builder::default(), account: None };
            let images = survey(&desired, &doors, &Events::channel().0).await.unwrap().0;
            assert_eq!(images["api"].digest.as_ref(), wanted);
        }
    }

    #[tokio::test]
    async fn an_image_that_does_not_tell_its_age_is_not_trusted() {
        let (fake, folder, _) = built("RUN curl example.com", "").await;
        let unknown = observed(&fake, folder.path(), |_| {}).await;
        assert_eq!(
            (unknown.digest, unknown.stale.as_deref()),
            (None, Some("its age is not known; line 2 uses `curl`"))
        );
    }

    #[test]
    fn ages_are_told_in_the_largest_unit_that_is_exact() {
        for (seconds, text) in
            [(604_800, "7 d"), (43_200, "12 h"), (90_000, "25 h"), (90, "90 s"), (120, "2 min"), (0, "0 s")]
        {
            assert_eq!(age_text(Duration::from_secs(seconds)), text);
        }
    }

    /// A deploy of one build, one mirror and one foreign image.
    fn desired(fake: &Fake, folder: &std::path::Path) -> Desired {
        let image = |key: &str, source| DesiredImage {
            key: key.to_owned(),
            source,
            repository: fake.repository(&format!("shop/{key}")),
            tag: "v1".to_owned(),
            pin: true,
            supply: crate::desired::Supply::default(),
        };
        let redis = Reference::parse(&format!("{}/library/redis:7", fake.host)).unwrap();
        let build = Build::of(folder.to_owned());
        let gvk = GroupVersionKind { group: String::new(), version: "v1".to_owned(), kind: "Pod".to_owned() };
        let slot =
            ImageSlot { pointer: "/spec/containers/0/image".to_owned(), image: SlotImage::Foreign(redis.clone()) };
        let object = DesiredObject {
            reference: ObjectRef { gvk, namespace: Some("shop".to_owned()), name: "pod".to_owned() },
            body: serde_json::Value::Null,
            slots: vec![slot],
            origin: None,
            sensitive: false,
        };
        Desired {
            application: "shop".to_owned(),
            namespace: "shop".to_owned(),
            images: vec![image("api", ImageSource::Build(build)), image("cache", ImageSource::Mirror(redis))],
            objects: vec![object],
            expose: None,
            rollout: Rollout::default(),
            smoke: Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_hit_is_known_before_anything_is_built() {
        let fake = Fake::start().await;
        let redis = fake.seed("library/redis", "7", b"redis");
        fake.seed("library/base", "1", b"base");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Dockerfile"), format!("FROM {}/library/base:1\n", fake.host)).unwrap();
        let desired = desired(&fake, folder.path());
        let doors = ImageDoors { registry: client(), builder: Builder::default(), account: None };
        let (events, _received) = Events::channel();
        let (images, foreign) = survey(&desired, &doors, &events).await.unwrap();
        assert_eq!(foreign.into_values().collect::<Vec<_>>(), std::slice::from_ref(&redis));
        assert_eq!((images["api"].digest.clone(), images["cache"].digest.clone()), (None, None));
        assert_eq!(images["cache"].content_key, tag_of(&redis));
        let built = fake.seed("shop/api", &images["api"].content_key, b"built");
        fake.seed("shop/cache", "any", b"redis");
        let before = fake.count("HEAD /v2/shop/api");
        let (images, _) = survey(&desired, &doors, &events).await.unwrap();
        assert_eq!((images["api"].digest.clone(), images["cache"].digest.clone()), (Some(built), Some(redis)));
        assert_eq!(fake.count("HEAD /v2/shop/api") - before, 1, "a hit is one HEAD");
        fake.seed("library/base", "1", b"newer base");
        let (images, _) = survey(&desired, &doors, &events).await.unwrap();
        assert_eq!(images["api"].digest, None, "a new base is a new image");
    }

    #[tokio::test]
    async fn a_base_that_is_not_there_is_named_with_its_line() {
        let fake = Fake::start().await;
        fake.seed("library/redis", "7", b"redis");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Dockerfile"), format!("# x\nFROM {}/gone:1\n", fake.host)).unwrap();
        let doors = ImageDoors { registry: client(), builder: Builder::default(), account: None };
        let failure = survey(&desired(&fake, folder.path()), &doors, &Events::channel().0).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Configuration);
        assert!(failure.messages[0].contains("Dockerfile:2)"), "{failure}");
        assert_eq!(failure.messages[1], format!("there is no image `{}/gone:1`", fake.host));
    }
}
