//! Makes the parts of an assembly: the base's layers as they are, our own, the configuration, the manifest.

use super::base::{BASE_DIGEST, BASE_NAME, BASE_TREE, BaseImage};
use crate::docker::{self, Built, Progress, Source};
use crate::image::annotations::annotate;
use crate::image::assembly::archive::{self, Open, TIME_TEXT};
use crate::image::assembly::blueprint::Blueprint;
use crate::image::assembly::copy::Layer;
use crate::image::assembly::source::Content as FileContent;
use crate::image::compress::{CompressedLayer, Compressor};
use crate::image::config::Draft;
use crate::image::descriptor::media_type;
use crate::image::part::{self, LayerCount};
use crate::image::{Descriptor, KnownLayers, Manifest, Part};
use crate::model::{Digest, Repository};
use crate::registry::Client;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Gives the content of files, anew for each layer.
pub(super) type Opens = Arc<dyn Fn() -> Box<dyn Opener> + Send + Sync>;

/// Gives the content of one file after the other.
pub(super) trait Opener {
    /// The content, from its beginning.
    fn open(&mut self, content: &FileContent) -> io::Result<Box<dyn io::Read + '_>>;

    /// A digest of the content, which has this size.
    fn digest(&mut self, content: &FileContent, size: u64) -> io::Result<Digest>;
}

/// An opener behind a pointer is one.
struct Boxed(Box<dyn Opener>);

impl Open for Boxed {
    fn open(&mut self, content: &FileContent) -> io::Result<Box<dyn io::Read + '_>> {
        self.0.open(content)
    }

    fn digest(&mut self, content: &FileContent, size: u64) -> io::Result<Digest> {
        self.0.digest(content, size)
    }
}

/// An image that is ready to be made.
pub(in crate::execute) struct Ready {
    /// What it is on.
    pub(super) base: Option<BaseImage>,
    /// Its own layers, and its configuration.
    pub(super) plan: Arc<Plan>,
    /// All registries.
    pub(super) client: Client,
    /// Where it goes.
    pub(super) to: Repository,
    /// Why no builder is needed.
    pub(super) reason: &'static str,
}

/// Layers of our own.
pub(super) struct Plan {
    /// What is in them, and the configuration of the image.
    pub(super) blueprint: Blueprint,
    /// Where files come from.
    pub(super) opens: Opens,
}

/// A layer that is there.
pub(super) struct Made {
    /// The digest of its archive.
    pub(super) diff_id: Digest,
    /// Its blob.
    pub(super) descriptor: Descriptor,
    /// Whether the repository was known to have it.
    pub(super) known: bool,
}

/// Layers that are being made, lowest first.
#[derive(Default)]
pub(super) struct Making {
    /// The same as parts, until they are given away.
    parts: Vec<Part>,
    /// Who makes them.
    work: Vec<JoinHandle<Result<Made, docker::Error>>>,
}

/// Where parts go.
pub(super) type Parts = mpsc::Sender<Result<Part, docker::Error>>;

/// Makes an image, without what is known.
pub(in crate::execute) fn make(
    ready: &Arc<Ready>,
    known: KnownLayers,
    progress: &mpsc::UnboundedSender<Progress>,
) -> Built {
    let _ = progress.send(Progress::Source(Source::Files { reason: ready.reason }));
    let ready = Arc::clone(ready);
    Built::by(|parts| async move { ready.run(&Arc::new(known), &parts).await })
}

/// What cannot be made of what we made ourselves.
pub(super) fn nonsense(error: impl std::fmt::Display) -> docker::Error {
    docker::Error::Image { problem: error.to_string() }
}

/// Sends a part.
pub(super) async fn send(parts: &Parts, part: Part) -> Result<(), docker::Error> {
    parts.send(Ok(part)).await.map_err(|_| docker::Error::Cancelled)
}

impl Ready {
    /// The image that it is made from, by its name: no other is asked for again.
    pub(in crate::execute) fn bases(&self) -> BTreeMap<String, Digest> {
        self.base.iter().map(|base| (base.reference.to_string(), base.digest.clone())).collect()
    }

    /// Gives all parts. Our own layers are made side by side, while the base's are on their way.
    async fn run(&self, known: &Arc<KnownLayers>, parts: &Parts) -> Result<(), docker::Error> {
        let mut making = self.plan.begin(known);
        let mut layers = self.give_base(known, parts).await?;
        making.give(parts).await?;
        layers.extend(making.end().await?);
        let configured = Configured { draft: self.plan.blueprint.draft.clone(), created: TIME_TEXT.to_owned() };
        finish(configured, layers, &self.annotations(), parts).await
    }

    /// Gives the base's layers that the repository is not known to have: the registry takes them from the base's own
    /// repository, or they pass through from registry to registry.
    async fn give_base(&self, known: &KnownLayers, parts: &Parts) -> Result<Vec<Made>, docker::Error> {
        let Some(base) = &self.base else { return Ok(Vec::new()) };
        let from = &base.reference.repository;
        let mount_from = (from.registry == self.to.registry && from.path != self.to.path).then(|| from.path.clone());
        let is_there = from == &self.to;
        let mut layers = Vec::new();
        let diff_ids = self.plan.blueprint.draft.diff_ids();
        for (descriptor, diff_id) in base.manifest.layers.iter().zip(diff_ids) {
            let known = is_there || descriptor.is_foreign() || known.has(&descriptor.digest);
            if !known {
                let (descriptor, mount_from) = (descriptor.clone(), mount_from.clone());
                let content = base.content(&self.client, &descriptor.digest);
                send(parts, Part::Reopenable { descriptor, content, mount_from }).await?;
            }
            layers.push(Made { diff_id, descriptor: descriptor.clone(), known });
        }
        Ok(layers)
    }

    /// What the manifest says of the base.
    fn annotations(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let Some(base) = &self.base else { return all };
        all.insert(BASE_NAME.to_owned(), base.reference.to_string());
        all.insert(BASE_DIGEST.to_owned(), base.digest.to_string());
        if let Ok(facts) = serde_json::to_string(&self.plan.blueprint.facts)
            && facts.len() <= LARGEST_NOTE
        {
            all.insert(BASE_TREE.to_owned(), facts);
        }
        all
    }
}

impl Plan {
    /// Begins to make every layer, side by side.
    pub(super) fn begin(self: &Arc<Self>, known: &Arc<KnownLayers>) -> Making {
        let mut making = Making::default();
        for at in 0..self.blueprint.layers.len() {
            let (plan, known) = (Arc::clone(self), Arc::clone(known));
            let (sender, pieces) = part::layer();
            making.parts.push(Part::Layer { pieces, about: Some(self.blueprint.layers[at].1.length()) });
            making.work.push(tokio::task::spawn_blocking(move || plan.make_layer(at, &known, sender)));
        }
        making
    }

    /// Makes one layer. Of several, each is hashed before it is compressed, since most of them are there: that is what they
    /// are separate for. An only one is almost always new (what it is made of is what has changed since the last image), and
    /// goes up at once.
    fn make_layer(&self, at: usize, known: &KnownLayers, pieces: part::LayerSender) -> Result<Made, docker::Error> {
        let layer = &self.blueprint.layers[at].1;
        if !known.is_empty() && self.blueprint.layers.len() > 1 {
            let mut hash = Hash(Sha256::new());
            self.write(layer, &mut hash)?;
            let diff_id = Digest::from_hash(&hash.0.finalize());
            if let Some(descriptor) = known.blob(&diff_id) {
                return Ok(Made { diff_id, descriptor: descriptor.clone(), known: true });
            }
        }
        let sink = |piece: Bytes| pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into());
        let mut compressor = Compressor::new(known.compression(), sink);
        self.write(layer, &mut compressor)?;
        let CompressedLayer { diff_id, descriptor } = compressor.finish().map_err(broken)?;
        if let Some(descriptor) = known.blob(&diff_id) {
            return Ok(Made { diff_id, descriptor: descriptor.clone(), known: true });
        }
        pieces.blocking_end(descriptor.clone()).map_err(|_| docker::Error::Cancelled)?;
        Ok(Made { diff_id, descriptor, known: false })
    }

    /// Writes the archive of a layer.
    fn write(&self, layer: &Layer, out: &mut impl Write) -> Result<(), docker::Error> {
        archive::write(layer, &mut Boxed((self.opens)()), out).map_err(broken)
    }
}

impl Making {
    /// Gives the layers away.
    pub(super) async fn give(&mut self, parts: &Parts) -> Result<(), docker::Error> {
        for part in std::mem::take(&mut self.parts) {
            send(parts, part).await?;
        }
        Ok(())
    }

    /// Waits until all are made.
    pub(super) async fn end(self) -> Result<Vec<Made>, docker::Error> {
        let mut layers = Vec::new();
        for made in self.work {
            layers.push(made.await.unwrap_or_else(|error| Err(nonsense(error)))?);
        }
        Ok(layers)
    }
}

/// A configuration without its layers.
pub(super) struct Configured {
    /// All else.
    pub(super) draft: Draft,
    /// When the image was made, as it is to say.
    pub(super) created: String,
}

/// Gives the configuration and the manifest of an image with these layers.
pub(super) async fn finish(
    configured: Configured,
    layers: Vec<Made>,
    annotations: &BTreeMap<String, String>,
    parts: &Parts,
) -> Result<(), docker::Error> {
    let count = LayerCount { all: layers.len(), known: layers.iter().filter(|made| made.known).count() };
    let diff_ids: Vec<Digest> = layers.iter().map(|made| made.diff_id.clone()).collect();
    let config = Bytes::from(configured.draft.finish(&diff_ids, &configured.created).map_err(nonsense)?);
    let descriptor = Descriptor::new(media_type::OCI_CONFIG, Digest::of(&config), config.len() as u64);
    send(parts, Part::Blob { descriptor: descriptor.clone(), bytes: config }).await?;
    let layers = layers.into_iter().map(|made| made.descriptor.in_oci()).collect();
    let manifest = Manifest::new(descriptor, layers).to_bytes().map_err(nonsense)?;
    let (media_type, bytes) = annotate(media_type::OCI_MANIFEST, &manifest, annotations).map_err(nonsense)?;
    send(parts, Part::Manifest { media_type, bytes: bytes.into(), layers: count }).await
}

/// Why a layer could not be made.
fn broken(error: io::Error) -> docker::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => docker::Error::Cancelled,
        _ => docker::Error::Files(error),
    }
}

/// A note about the base is not larger than this, in bytes: it is for images that touch few places of it.
const LARGEST_NOTE: usize = 16 * 1024;

/// Hashes what is written to it.
struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
