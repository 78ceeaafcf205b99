//! Asks the registries which images are there: ours by their content key, others by their tag.

use crate::desired::{Desired, DesiredImage, DesiredSource, SlotImage};
use crate::docker::layout::Identity;
use crate::docker::{self, content_key::tag_of};
use crate::error::Failure;
use crate::execute::content_key::{content_key, prefixed};
use crate::execute::{EventKind, Events, ImageDoors, ready_made};
use crate::model::{Digest, Platform, Reference};
use crate::plan::ObservedImage;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use std::collections::{BTreeMap, BTreeSet};

/// So many questions are under way at once.
const AT_ONCE: usize = 8;

/// What the registries know: of each desired image, and of each image in the objects that Seaway did not build.
pub(crate) async fn survey(
    desired: &Desired,
    doors: &ImageDoors,
    events: &Events,
) -> Result<(BTreeMap<String, ObservedImage>, BTreeMap<Reference, Digest>), Failure> {
    let builds = desired.images.iter().filter(|image| matches!(image.source, DesiredSource::Build(_))).count();
    if builds > 0 {
        events.send(EventKind::Preparing {
            what: format!("reading the inputs of {builds} image{}", if builds == 1 { "" } else { "s" }),
        });
    }
    let ours = stream::iter(&desired.images).map(|image| async move {
        let observed = observe(image, doors).await?;
        Ok::<_, Failure>((image.key.clone(), observed))
    });
    let ours = ours.buffer_unordered(AT_ONCE).try_collect();
    let others: BTreeSet<&Reference> =
        desired.objects.iter().flat_map(|object| &object.slots).filter_map(foreign).collect();
    let others = stream::iter(others).map(|reference| async move {
        let digest = doors.registry.resolve(reference).await;
        let digest = digest.map_err(|error| prefixed(format!("image `{reference}` of the manifests"), &error))?;
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
    let ImageDoors { registry, builder } = doors;
    let (content_key, target, source) = match &image.source {
        DesiredSource::Build(build) => {
            let key = content_key(&image.key, build, registry).await?;
            (key.clone(), key, None)
        }
        DesiredSource::Layout(_) | DesiredSource::Engine(_) => {
            let identity = ready_made::identify(&image.source, builder).await;
            let identity = identity.map_err(|error| unidentified(&image.key, &error))?;
            let key = tag_of(identity.digest());
            // Where the image keeps its manifest, the digest itself is looked for: any tag may have brought it.
            let target = match &identity {
                Identity::Manifest(digest) => digest.to_string(),
                Identity::Content(_) => key.clone(),
            };
            (key, target, None)
        }
        DesiredSource::Mirror(source) => {
            // A mirror keeps its digest, so the digest itself is looked for.
            let found = registry.platform_manifest(source, &Platform::default()).await;
            let found = found.map_err(|error| prefixed(format!("image `{}` mirrors `{source}`", image.key), &error))?;
            (tag_of(&found.digest), found.digest.to_string(), Some(found.digest))
        }
    };
    let digest = registry.head_manifest(&image.repository, &target).await;
    let digest = digest.map_err(|error| prefixed(format!("image `{}` cannot be looked up", image.key), &error))?;
    let found = digest.as_ref().map_or_else(|| "not there".to_owned(), ToString::to_string);
    tracing::info!("image `{}` in the registry as {content_key}: {found}", image.key);
    Ok(ObservedImage { content_key, digest, source })
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
    use crate::config::{Build, Rollout};
    use crate::desired::{DesiredObject, ImageSlot};
    use crate::docker::Builder;
    use crate::error::FailureKind;
    use crate::model::{GroupVersionKind, ObjectRef};
    use crate::registry::tests::{client, fake::Fake};

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
        let build = Build {
            context: folder.to_owned(),
            dockerfile: folder.join("Dockerfile"),
            target: None,
            args: BTreeMap::new(),
            secrets: BTreeMap::new(),
            platform: Platform::default(),
        };
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
            images: vec![image("api", DesiredSource::Build(build)), image("cache", DesiredSource::Mirror(redis))],
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
        let doors = ImageDoors { registry: client(), builder: Builder::default() };
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
        let doors = ImageDoors { registry: client(), builder: Builder::default() };
        let failure = survey(&desired(&fake, folder.path()), &doors, &Events::channel().0).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Configuration);
        assert!(failure.messages[0].contains("Dockerfile:2)"), "{failure}");
        assert_eq!(failure.messages[1], format!("there is no image `{}/gone:1`", fake.host));
    }
}
