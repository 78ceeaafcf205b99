//! Pushes images that something else has made: layouts and archives, and what the Docker Engine has.

use super::delivery::{Delivery, Source};
use super::event::{Diagnosis, ImageResult};
use crate::desired::{DesiredImage, ImageSource};
use crate::docker::content_key::{compressed, tag_of};
use crate::docker::layout::{self, Identity};
use crate::docker::{self, Builder};
use crate::image::{KnownLayers, Manifest};
use crate::registry::SMALL;
use futures::FutureExt as _;

/// What an image is known by before it is pushed; its content key is made of it.
pub(crate) async fn identify(source: &ImageSource, builder: &Builder) -> Result<Identity, docker::Error> {
    match source {
        ImageSource::Layout(layout) => {
            let layout = layout.clone();
            let looking = tokio::task::spawn_blocking(move || layout::identify(&layout.path, &layout.platform));
            looking.await.unwrap_or_else(|error| Err(docker::Error::Image { problem: error.to_string() }))
        }
        ImageSource::Engine(engine) => {
            Ok(Identity::Content(builder.inspect(&engine.image, &engine.platform).await?.id))
        }
        ImageSource::Build(_) | ImageSource::Mirror(_) | ImageSource::Assembly(_) => {
            Err(docker::Error::Image { problem: "it is not ready-made".to_owned() })
        }
    }
}

/// The content key of an image that is known by this.
pub(crate) fn key(image: &DesiredImage, identity: &Identity) -> String {
    compressed(tag_of(identity.digest()), image.supply.compression)
}

/// So many layers are looked for with fewer requests than it takes to read what a repository has.
const FEW: usize = 4;

/// Whether each layer of an image, whose digests are all known, may just as well be looked for by itself. Small ones are
/// sent without a look.
fn is_soon_looked_for(manifest: &Manifest) -> bool {
    manifest.layers.len() <= FEW && manifest.layers.iter().all(|layer| layer.size > SMALL)
}

/// Pushes an image under its content key and its tag for people.
pub(super) async fn push(delivery: Delivery<'_>) -> Result<ImageResult, Diagnosis> {
    let Delivery { doors, image, content_key, .. } = delivery;
    if matches!(image.source, ImageSource::Assembly(_)) {
        return super::assemble::entry::push(delivery).await;
    }
    let same = || async {
        let now = identify(&image.source, &doors.builder).await;
        now.is_ok_and(|now| key(image, &now) == content_key)
    };
    let unchanged = || same().boxed();
    let (pushed, place) = match &image.source {
        ImageSource::Layout(layout) => {
            let (path, platform) = (&layout.path, &layout.platform);
            let give = |known, progress| layout::take(path.clone(), platform.clone(), known, progress);
            let kept = {
                let (path, platform) = (path.clone(), platform.clone());
                tokio::task::spawn_blocking(move || layout::kept_manifest(&path, &platform)).await.unwrap_or_default()
            };
            // An image that keeps its digest is not exchanged for an equal one.
            let known = if kept.as_ref().is_some_and(is_soon_looked_for) {
                KnownLayers::default()
            } else {
                delivery.known_layers().await.without_images()
            };
            let keeps_manifest = kept.is_some();
            let source = Source { give: &give, unchanged: &unchanged, bases: None, keeps_manifest };
            (delivery.run(known, source).await, path.display().to_string())
        }
        ImageSource::Engine(engine) => {
            let (name, platform) = (&engine.image, &engine.platform);
            let give = |known, progress| doors.builder.take(name.clone(), platform.clone(), known, progress);
            let known = delivery.known_layers().await;
            let source = Source { give: &give, unchanged: &unchanged, bases: None, keeps_manifest: false };
            (delivery.run(known, source).await, name.clone())
        }
        ImageSource::Build(_) | ImageSource::Mirror(_) | ImageSource::Assembly(_) => {
            return Err(delivery.is_not("ready-made"));
        }
    };
    match pushed {
        Ok(result) => Ok(result),
        Err(trouble) => Err(delivery.diagnose(&trouble, place).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layout;
    use crate::execute::{EventKind, Events, ImageDoors};
    use crate::image::Content;
    use crate::model::{Digest, Platform};
    use crate::registry::tests::{client, fake::Fake, image_of, noise};
    use std::path::Path;
    use tokio_util::sync::CancellationToken;

    /// Writes an OCI layout with so many layers of a size; the manifest's digest.
    fn write_layout(folder: &Path, layers: u8, size: usize) -> Digest {
        let layer = |number| [&[0x1f, 0x8b, number], &noise(size)[..]].concat().into();
        let (blobs, manifest) = image_of((0..layers).map(layer).collect());
        let blobs = blobs.into_iter().map(|blob| match blob.content {
            Content::Bytes(bytes) => (blob.descriptor.digest, bytes),
            _ => unreachable!(),
        });
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        for (digest, bytes) in blobs.chain([(manifest.digest.clone(), manifest.bytes.clone())]) {
            std::fs::write(folder.join("blobs").join(digest.as_str().replace(':', "/")), bytes).unwrap();
        }
        let (kind, digest, size) = (&manifest.media_type, &manifest.digest, manifest.bytes.len());
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [
            { "mediaType": kind, "digest": digest, "size": size }
        ]});
        std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
        manifest.digest
    }

    /// Pushes such a layout; what the registry was asked.
    async fn push_layout(layers: u8, size: usize) -> Fake {
        let fake = Fake::start().await;
        push_layout_to(&fake, layers, size).await;
        fake
    }

    /// Pushes such a layout to a registry; what was said meanwhile.
    async fn push_layout_to(fake: &Fake, layers: u8, size: usize) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let digest = write_layout(folder.path(), layers, size);
        let layout = Layout { path: folder.path().to_owned(), platform: Platform::default() };
        let image = DesiredImage {
            key: "app".to_owned(),
            source: ImageSource::Layout(layout),
            repository: fake.repository("shop/app"),
            tag: "v1".to_owned(),
            pin: true,
            supply: crate::desired::Supply::default(),
        };
        let doors = ImageDoors { registry: client(), builder: Builder::default(), account: None };
        let (content_key, (events, mut received)) = (tag_of(&digest), Events::channel());
        let (content_key, cancel) = (content_key.as_str(), CancellationToken::new());
        let delivery =
            Delivery { doors: &doors, image: &image, content_key, operation: 0, events: &events, cancel: &cancel };
        let result = push(delivery).await.unwrap_or_else(|diagnosis| panic!("{:?}", diagnosis.failure));
        assert_eq!(result.digest, digest, "it keeps its manifest");
        drop(events);
        let said = std::iter::from_fn(|| received.try_recv().ok());
        said.filter_map(|event| match event.kind {
            EventKind::Progress { message, .. } => Some(message),
            _ => None,
        })
        .collect()
    }

    /// The digests of the blobs that a registry has been sent.
    fn sent(fake: &Fake) -> Vec<String> {
        let puts = fake.log().into_iter().filter(|line| line.starts_with("PUT ") && line.contains("/blobs/"));
        puts.map(|line| line.rsplit_once("digest=").unwrap().1.replace("%3A", ":")).collect()
    }

    #[tokio::test]
    async fn layers_that_the_registry_lists_and_has_lost_come_from_their_source_once_more() {
        for unnamed in [false, true] {
            let fake = push_layout(5, 100_000).await;
            // A garbage collection: the image of before is still listed.
            let lost = sent(&fake).into_iter().find(|digest| {
                let is_large = |bytes: &bytes::Bytes| bytes.len() > 1000;
                fake.contents().blobs.get(&("shop/app".to_owned(), digest.clone())).is_some_and(is_large)
            });
            let lost = lost.unwrap();
            fake.contents().blobs.remove(&("shop/app".to_owned(), lost.clone()));
            fake.faults(|faults| faults.unnamed_blobs = unnamed);
            fake.forget();
            let said = push_layout_to(&fake, 6, 100_000).await;
            assert!(said.iter().any(|line| line.starts_with("the registry has lost layers")), "{said:?}");
            assert!(sent(&fake).contains(&lost));
            let again = sent(&fake).iter().filter(|digest| **digest != lost).count();
            assert!(unnamed || again <= 3, "the new layer, and the small configuration with each go: {again}");
            let puts = fake.count("PUT /v2/shop/app/manifests/");
            assert!(puts <= 4, "two tags, refused once and put once: {puts}");
        }
    }

    #[tokio::test]
    async fn a_few_large_layers_are_looked_for_by_themselves_and_others_by_what_is_there() {
        let fake = push_layout(2, 100_000).await;
        assert_eq!((fake.count("GET "), fake.count("HEAD ")), (0, 2), "{:?}", fake.log());
        for (layers, size) in [(5, 100_000), (2, 1_000)] {
            let fake = push_layout(layers, size).await;
            assert_eq!(fake.count("GET "), 4, "three tags and the list: {:?}", fake.log());
        }
    }
}
