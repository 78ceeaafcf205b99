//! Pushes images that something else has made: layouts and archives, and what the Docker Engine has.

use super::delivery::{Delivery, Source};
use super::event::{Diagnosis, ImageResult};
use crate::desired::{DesiredImage, DesiredSource};
use crate::docker::content_key::{compressed, tag_of};
use crate::docker::layout::{self, Identity};
use crate::docker::{self, Builder};
use crate::image::{KnownLayers, Manifest};
use crate::registry::SMALL;
use futures::FutureExt as _;

/// What an image is known by before it is pushed; its content key is made of it.
pub(crate) async fn identify(source: &DesiredSource, builder: &Builder) -> Result<Identity, docker::Error> {
    match source {
        DesiredSource::Layout(layout) => {
            let layout = layout.clone();
            let looking = tokio::task::spawn_blocking(move || layout::identify(&layout.path, &layout.platform));
            looking.await.unwrap_or_else(|error| Err(docker::Error::Image { problem: error.to_string() }))
        }
        DesiredSource::Engine(engine) => Ok(Identity::Content(builder.inspect(&engine.image).await?.id)),
        DesiredSource::Build(_) | DesiredSource::Mirror(_) | DesiredSource::Assembly(_) => {
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
    if matches!(image.source, DesiredSource::Assembly(_)) {
        return super::assemble::entry::push(delivery).await;
    }
    let same = || async {
        let now = identify(&image.source, &doors.builder).await;
        now.is_ok_and(|now| key(image, &now) == content_key)
    };
    let unchanged = || same().boxed();
    let (pushed, place) = match &image.source {
        DesiredSource::Layout(layout) => {
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
        DesiredSource::Engine(engine) => {
            let (name, platform) = (&engine.image, &engine.platform);
            let give = |known, progress| doors.builder.take(name.clone(), platform.clone(), known, progress);
            let known = delivery.known_layers().await;
            let source = Source { give: &give, unchanged: &unchanged, bases: None, keeps_manifest: false };
            (delivery.run(known, source).await, name.clone())
        }
        DesiredSource::Build(_) | DesiredSource::Mirror(_) | DesiredSource::Assembly(_) => {
            return Err(delivery.is_not("ready-made"));
        }
    };
    match pushed {
        Ok(result) => Ok(result),
        Err(trouble) => Err(delivery.diagnose(&trouble, place).await),
    }
}
