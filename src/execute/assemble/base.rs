//! The base of an assembly: its manifest, its configuration and, only where that matters, its file tree.

use crate::image::assembly::tree::{Facts, Headers, Known, Whole, read_headers};
use crate::image::config::Draft;
use crate::image::part::{Content, ContentStream};
use crate::image::{Descriptor, ImageConfig, KnownLayers, Manifest};
use crate::model::{Digest, Platform, Reference};
use crate::registry::{self, Client};
use bytes::{Buf as _, Bytes};
use futures::{FutureExt as _, StreamExt as _};
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// A base in a registry.
#[derive(Clone, Debug)]
pub(super) struct BaseImage {
    /// Its name as it was written.
    pub(super) reference: Reference,
    /// The digest of its manifest.
    pub(super) digest: Digest,
    /// The manifest.
    pub(super) manifest: Manifest,
    /// The configuration.
    pub(super) config: Bytes,
    /// Layers that were read for the file tree and are to be sent.
    held: Held,
}

/// Where the digest of the base stands in a manifest
/// (<https://github.com/opencontainers/image-spec/blob/main/annotations.md>).
pub(super) const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// Where the name of the base stands in a manifest.
pub(super) const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// Where a manifest keeps what was asked of its base's file tree: the next image on it needs not read the base.
pub(super) const BASE_TREE: &str = "dev.seaway.base-tree";

impl BaseImage {
    /// Looks a base up: the manifest for the platform, and its configuration.
    pub(super) async fn find(
        client: &Client,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Self, registry::Error> {
        let raw = client.platform_manifest(reference, platform).await?;
        let manifest = raw.read().map_err(|error| registry::Error::Nonsense {
            registry: reference.repository.registry.clone(),
            action: format!("give the manifest of `{reference}`"),
            problem: error.to_string(),
        })?;
        let config = client.read_blob(&reference.repository, &manifest.config).await?;
        check_platform(reference, &config, platform)?;
        Ok(Self { reference: reference.clone(), digest: raw.digest, manifest, config, held: Held::default() })
    }

    /// The configuration, to be changed.
    pub(super) fn draft(&self) -> Result<Draft, serde_json::Error> {
        Draft::on_top_of(&self.config)
    }

    /// A layer, to be sent somewhere else: the first time from memory where it was held, else from the registry.
    pub(super) fn content(&self, client: &Client, digest: &Digest) -> Content {
        let registry = client.content(&self.reference.repository, digest);
        let Some(held) = self.held.take(digest) else { return registry };
        let held = Arc::new(Mutex::new(Some(held)));
        Content::Open(Arc::new(move || {
            let (first, registry) = (held.lock().unwrap_or_else(PoisonError::into_inner).take(), registry.clone());
            async move {
                match first {
                    Some(held) => Ok(held.stream()),
                    None => registry.open().await,
                }
            }
            .boxed()
        }))
    }

    /// What images of the repository have noted about this base.
    pub(super) fn noted(&self, known: &KnownLayers) -> Known {
        let mut facts = Facts::default();
        for manifest in known.manifests() {
            let Ok(manifest) = serde_json::from_slice::<serde_json::Value>(manifest) else { continue };
            let annotation = |name: &str| manifest["annotations"][name].as_str();
            if annotation(BASE_DIGEST) != Some(self.digest.as_str()) {
                continue;
            }
            if let Some(noted) = annotation(BASE_TREE).and_then(|text| serde_json::from_str::<Facts>(text).ok()) {
                facts.paths.extend(noted.paths);
                facts.accounts.extend(noted.accounts);
            }
        }
        Known::Part(facts)
    }

    /// The whole file tree: every layer is read once in a run, whatever is made on it. Layers that are to be sent somewhere
    /// else are held on the way, as far as there is room, so that they are not fetched again for that.
    pub(super) async fn tree(
        &self,
        client: &Client,
        is_sent: impl Fn(&Descriptor) -> bool,
    ) -> Result<Arc<Known>, Unreadable> {
        let cell = {
            let mut trees = TREES.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(trees.entry(self.digest.clone()).or_default())
        };
        cell.get_or_try_init(|| self.read_tree(client, is_sent)).await.cloned()
    }

    /// Reads all layers, several at once.
    async fn read_tree(
        &self,
        client: &Client,
        is_sent: impl Fn(&Descriptor) -> bool,
    ) -> Result<Arc<Known>, Unreadable> {
        let reading = self.manifest.layers.iter().map(|layer| self.read_layer(client, layer, is_sent(layer)));
        let layers = futures::future::try_join_all(reading).await?;
        Ok(Arc::new(Known::All(layers.into_iter().collect::<Whole>())))
    }

    /// Reads the entries of one layer.
    async fn read_layer(&self, client: &Client, layer: &Descriptor, hold: bool) -> Result<Headers, Unreadable> {
        if layer.is_foreign() {
            return Err(Unreadable::Format(format!("its layer {} lies elsewhere by licence", layer.digest.short())));
        }
        let stream = client.open_blob(&self.reference.repository, &layer.digest).await.map_err(Unreadable::Registry)?;
        let room = if hold { Room::take(layer.size) } else { None };
        let keep = room.map(|room| HeldLayer { pieces: Vec::new(), _room: room });
        let mut pieces = Pieces { stream, current: Bytes::new(), runtime: tokio::runtime::Handle::current(), keep };
        let short = layer.digest.short().to_owned();
        let (store, digest) = (self.held.clone(), layer.digest.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let headers = read_headers(unpacked(&mut pieces)?)?;
            if pieces.keep.is_some() {
                io::copy(&mut pieces, &mut io::sink())?; // an archive may end before its blob does
                store.put(digest, pieces.keep);
            }
            Ok(headers)
        });
        let read = reading.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        read.map_err(|error| match error.downcast::<registry::Error>() {
            Ok(error) => Unreadable::Registry(error),
            Err(error) => Unreadable::Format(format!("its layer {short} cannot be read: {error}")),
        })
    }
}

/// Makes sure that a base is for a platform. An index says so before; an image that stands alone says it only in its
/// configuration, if at all.
fn check_platform(reference: &Reference, config: &[u8], wanted: &Platform) -> Result<(), registry::Error> {
    let Ok(there) = serde_json::from_slice::<ImageConfig>(config).map(|config| config.platform()) else {
        return Ok(()); // what it is shows when it is changed
    };
    let is_other = |there: &str, wanted: &str| !there.is_empty() && there != wanted;
    if is_other(&there.os, &wanted.os) || is_other(&there.architecture, &wanted.architecture) {
        let (reference, wanted) = (reference.to_string(), wanted.clone());
        return Err(registry::Error::NoPlatform { reference, wanted, available: vec![there] });
    }
    Ok(())
}

/// Layers in memory, by their digests: each is there for whoever asks first.
#[derive(Clone, Debug, Default)]
struct Held(Arc<Mutex<HashMap<Digest, HeldLayer>>>);

impl Held {
    /// Keeps a layer, if there is one.
    fn put(&self, digest: Digest, layer: Option<HeldLayer>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(layer.map(|layer| (digest, layer)));
    }

    /// Takes a layer out.
    fn take(&self, digest: &Digest) -> Option<HeldLayer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(digest)
    }
}

/// A layer in memory.
#[derive(Debug)]
struct HeldLayer {
    /// Its bytes.
    pieces: Vec<Bytes>,
    /// The room that they take.
    _room: Room,
}

impl HeldLayer {
    /// The bytes, which go as they are read. The room is free when the last has gone.
    fn stream(self) -> ContentStream {
        let Self { pieces, _room: room } = self;
        let pieces = futures::stream::iter(pieces);
        pieces
            .map(move |piece| {
                let _held = &room;
                Ok(piece)
            })
            .boxed()
    }
}

/// Layers of all bases together take so many bytes of memory at most.
const MOST_HELD: u64 = 96 * 1024 * 1024;

/// How many bytes are taken.
static HELD: AtomicU64 = AtomicU64::new(0);

/// Room for a layer, free again when this is dropped.
#[derive(Debug)]
struct Room(u64);

impl Room {
    /// Takes so many bytes, if there is room for them.
    fn take(size: u64) -> Option<Self> {
        let fits = |held: u64| held.checked_add(size).filter(|held| *held <= MOST_HELD);
        HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok().map(|_| Self(size))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Why the file tree of a base is not known.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The registry did not give it.
    Registry(registry::Error),
    /// It is in a form that is not understood here.
    Format(String),
}

/// A cell for each base that was read.
type Trees = Mutex<HashMap<Digest, Arc<OnceCell<Arc<Known>>>>>;

/// The trees of this run.
static TREES: LazyLock<Trees> = LazyLock::new(Trees::default);

/// A blob on its way, read on a thread that may block.
struct Pieces {
    /// What comes.
    stream: registry::BlobStream,
    /// What has come and was not read.
    current: Bytes,
    /// Where the stream lives.
    runtime: tokio::runtime::Handle,
    /// What has come, where it is kept.
    keep: Option<HeldLayer>,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(piece) => {
                    self.current = piece.map_err(io::Error::other)?;
                    self.keep.iter_mut().for_each(|keep| keep.pieces.push(self.current.clone()));
                }
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.current.len());
        self.current.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

/// The archive in a blob, whatever its media type says of it.
fn unpacked<'a>(mut blob: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::new();
    blob.by_ref().take(4).read_to_end(&mut magic)?;
    let whole = |magic: Vec<u8>, blob| Read::chain(io::Cursor::new(magic), blob);
    match magic.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::read::MultiGzDecoder::new(whole(magic, blob)))),
        [0x28, 0xb5, 0x2f, 0xfd] => Ok(Box::new(zstd::Decoder::new(whole(magic, blob))?)),
        _ => Ok(Box::new(whole(magic, blob))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::assembly::tree::Node;
    use crate::image::descriptor::media_type;
    use crate::registry::tests::{client, fake::Fake};
    use futures::TryStreamExt as _;

    #[test]
    fn layers_are_unpacked_whatever_packs_them() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, b"an archive").unwrap();
        let zstd = [zstd::encode_all(&b"an "[..], 1).unwrap(), zstd::encode_all(&b"archive"[..], 1).unwrap()].concat();
        for blob in [b"an archive".to_vec(), gzip.finish().unwrap(), zstd] {
            let mut text = String::new();
            unpacked(&blob[..]).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "an archive");
        }
    }

    /// A registry with an image of one layer, with bytes after the archive's end, and the image as a base.
    async fn base() -> (Fake, BaseImage) {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o1777);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, "tmp", io::empty()).unwrap();
        let layer = Bytes::from([archive.into_inner().unwrap(), vec![0; 100_000]].concat());
        let (fake, platform) = (Fake::start().await, Platform::default());
        let diff_ids = serde_json::json!([Digest::of(&layer)]);
        let config = serde_json::json!({
            "architecture": platform.architecture, "os": platform.os, "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = Bytes::from(config.to_string());
        let describe = |kind: &str, bytes: &Bytes| Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
        let layers = vec![describe(media_type::OCI_LAYER_GZIP, &layer)];
        let manifest = Manifest::new(describe(media_type::OCI_CONFIG, &config), layers).to_bytes().unwrap();
        let key = |name: &str| ("library/base".to_owned(), name.to_owned());
        {
            let mut contents = fake.contents();
            contents.blobs.insert(key(Digest::of(&config).as_str()), config);
            contents.blobs.insert(key(Digest::of(&layer).as_str()), layer);
            for name in ["1", Digest::of(&manifest).as_str()] {
                let value = (media_type::OCI_MANIFEST.to_owned(), manifest.clone().into());
                contents.manifests.insert(key(name), value);
            }
        }
        let reference = Reference::parse(&format!("{}/library/base:1", fake.host)).unwrap();
        let base = BaseImage::find(&client(), &reference, &platform).await.unwrap();
        (fake, base)
    }

    /// How often layers were fetched: the configuration is the first blob.
    fn fetched(fake: &Fake) -> usize {
        fake.count("GET /v2/library/base/blobs/") - 1
    }

    #[tokio::test]
    async fn a_layer_that_is_read_and_sent_is_fetched_once() {
        let (fake, base) = base().await;
        let tree = base.tree(&client(), |_| true).await.unwrap();
        assert!(matches!(&*tree, Known::All(whole) if whole.paths["tmp"] == Node::Folder(0o1777, 0, 0)));
        let layer = &base.manifest.layers[0];
        let content = base.content(&client(), &layer.digest);
        for times in [1, 2] {
            let pieces: Vec<Bytes> = content.open().await.unwrap().try_collect().await.unwrap();
            assert_eq!(Digest::of(&pieces.concat()), layer.digest);
            assert_eq!(fetched(&fake), times, "a second try reads it from the registry: {:?}", fake.log());
        }
    }

    #[tokio::test]
    async fn a_base_for_another_platform_is_refused_though_it_stands_alone() {
        let (_fake, base) = base().await;
        let wanted = Platform { architecture: "arm64".to_owned(), ..Platform::default() };
        let error = BaseImage::find(&client(), &base.reference, &wanted).await.unwrap_err();
        let registry::Error::NoPlatform { available, .. } = error else { panic!("{error}") };
        assert_eq!(available, [Platform::default()]);
    }

    #[test]
    fn there_is_room_for_so_much() {
        assert!(Room::take(MOST_HELD + 1).is_none());
    }
}
