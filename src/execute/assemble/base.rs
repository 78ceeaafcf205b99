//! The base of an assembly: its manifest, its configuration and, only where that matters, its file tree.

use crate::image::assembly::tree::{Facts, Headers, Known, Whole, read_headers};
use crate::image::config::Draft;
use crate::image::{Descriptor, KnownLayers, Manifest};
use crate::model::{Digest, Platform, Reference};
use crate::registry::{self, Client};
use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use std::collections::HashMap;
use std::io::{self, Read};
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
        Ok(Self { reference: reference.clone(), digest: raw.digest, manifest, config })
    }

    /// The configuration, to be changed.
    pub(super) fn draft(&self) -> Result<Draft, serde_json::Error> {
        Draft::on_top_of(&self.config)
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

    /// The whole file tree: every layer is read once in a run, whatever is made on it.
    pub(super) async fn tree(&self, client: &Client) -> Result<Arc<Known>, Unreadable> {
        let cell = {
            let mut trees = TREES.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(trees.entry(self.digest.clone()).or_default())
        };
        cell.get_or_try_init(|| self.read_tree(client)).await.cloned()
    }

    /// Reads all layers, several at once.
    async fn read_tree(&self, client: &Client) -> Result<Arc<Known>, Unreadable> {
        let reading = self.manifest.layers.iter().map(|layer| self.read_layer(client, layer));
        let layers = futures::future::try_join_all(reading).await?;
        Ok(Arc::new(Known::All(layers.into_iter().collect::<Whole>())))
    }

    /// Reads the entries of one layer.
    async fn read_layer(&self, client: &Client, layer: &Descriptor) -> Result<Headers, Unreadable> {
        if layer.is_foreign() {
            return Err(Unreadable::Format(format!("its layer {} lies elsewhere by licence", layer.digest.short())));
        }
        let stream = client.open_blob(&self.reference.repository, &layer.digest).await.map_err(Unreadable::Registry)?;
        let pieces = Pieces { stream, current: Bytes::new(), runtime: tokio::runtime::Handle::current() };
        let short = layer.digest.short().to_owned();
        let reading = tokio::task::spawn_blocking(move || read_headers(unpacked(pieces)?));
        let read = reading.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        read.map_err(|error| match error.downcast::<registry::Error>() {
            Ok(error) => Unreadable::Registry(error),
            Err(error) => Unreadable::Format(format!("its layer {short} cannot be read: {error}")),
        })
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
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(piece) => self.current = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.current.len());
        self.current.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

/// The archive in a blob, whatever its media type says of it.
fn unpacked(mut blob: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut magic = Vec::new();
    blob.by_ref().take(4).read_to_end(&mut magic)?;
    let whole = |magic: Vec<u8>, blob| Read::chain(io::Cursor::new(magic), blob);
    match magic.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::read::MultiGzDecoder::new(whole(magic, blob)))),
        [0x28, 0xb5, 0x2f, 0xfd] => Err(io::Error::other("it is compressed with zstd")),
        _ => Ok(Box::new(whole(magic, blob))),
    }
}
