//! Reads an image archive as a stream: what `docker save` and BuildKit's `oci` exporter give, in any of their three forms.
//!
//! - Up to Docker 24: a folder for each layer with a `layer.tar`, names that say nothing about content, links for layers
//!   that are the same; the configuration is `<id>.json`.
//! - From Docker 25 on: an OCI layout whose layers are not compressed; a blob's name is the layer's own digest.
//! - Docker's containerd store and buildkitd: an OCI layout as pushed; blobs are compressed and keep their digests.
//!
//! Nothing is written to a disk. The manifest comes last in all of them, so layers are told apart by what they are, and put
//! in order by the configuration at the end.

use super::error::Error;
use crate::image::compress::{CompressedLayer, Compression, compress};
use crate::image::descriptor::media_type;
use crate::image::part::LayerCount;
use crate::image::{Descriptor, ImageConfig, Index, KnownLayers, Manifest, Part};
use crate::model::{Digest, Platform};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, Read};
use tokio::sync::mpsc;

/// A layer up to this size is hashed before it is compressed, so that a known one costs no compression. Larger ones are
/// compressed at once, in the hope that they are new.
const LOOK_AHEAD: usize = 64 * 1024 * 1024;

/// A JSON document in an archive is not larger than this.
const LARGEST_DOCUMENT: u64 = 4 * 1024 * 1024;

/// Reads an archive. Blocking work; parts go to `parts`, which may be slow.
pub(crate) fn read(
    archive: impl Read,
    platform: &Platform,
    known: KnownLayers,
    parts: &mpsc::Sender<Result<Part, Error>>,
) -> Result<(), Error> {
    let mut reader = Reader { known, parts, documents: HashMap::new(), layers: HashMap::new(), passed: HashMap::new() };
    let broken = |error: io::Error| Error::Image { problem: format!("its archive breaks off: {error}") };
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        if !entry.header().entry_type().is_file() {
            continue; // folders, and links to layers that come by themselves
        }
        let name = entry.path().map_err(broken)?.to_string_lossy().trim_start_matches("./").to_owned();
        let size = entry.size();
        reader.entry(&name, size, &mut entry).map_err(|error| match error {
            EntryError::Read(error) => broken(error),
            EntryError::Unwanted => Error::Cancelled,
        })?;
    }
    reader.finish(platform)
}

/// What stands in the way of an entry.
enum EntryError {
    /// The archive breaks off.
    Read(io::Error),
    /// Nobody wants the parts any more.
    Unwanted,
}

impl From<io::Error> for EntryError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// What has been read so far.
struct Reader<'a> {
    /// What need not be compressed.
    known: KnownLayers,
    /// Where parts go.
    parts: &'a mpsc::Sender<Result<Part, Error>>,
    /// JSON documents by name.
    documents: HashMap<String, Bytes>,
    /// Layers that were not compressed in the archive, by their own digest.
    layers: HashMap<Digest, Descriptor>,
    /// Blobs that were passed on as they are, by digest, with their size.
    passed: HashMap<Digest, u64>,
}

/// An entry of `manifest.json`.
#[derive(serde::Deserialize)]
struct DockerImage {
    /// The name of the configuration.
    #[serde(rename = "Config")]
    config: String,
}

impl Reader<'_> {
    /// Takes one file in.
    fn entry(&mut self, name: &str, size: u64, content: &mut impl Read) -> Result<(), EntryError> {
        let digest = name.strip_prefix("blobs/sha256/").and_then(|hex| Digest::parse(&format!("sha256:{hex}")).ok());
        if name.ends_with("/layer.tar") {
            return self.layer(None, Vec::new(), content);
        }
        let Some(digest) = digest else {
            let is_document = !name.contains('/')
                && std::path::Path::new(name).extension().is_some_and(|end| end == "json")
                && size <= LARGEST_DOCUMENT;
            if is_document {
                self.documents.insert(name.to_owned(), read_all(content)?.into());
            }
            return Ok(());
        };
        let mut start = vec![0; 4.min(usize::try_from(size).unwrap_or(4))];
        content.read_exact(&mut start)?;
        match start.as_slice() {
            [b'{', ..] if size <= LARGEST_DOCUMENT => {
                start.extend(read_all(content)?);
                self.documents.insert(name.to_owned(), start.into());
                Ok(())
            }
            // The magic numbers of gzip and zstd: a layer as it is pushed.
            [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] => self.pass(digest, size, start, content),
            _ => self.layer(Some(&digest), start, content),
        }
    }

    /// Passes a blob on as it is, unless the registry has it.
    fn pass(&mut self, digest: Digest, size: u64, start: Vec<u8>, content: &mut impl Read) -> Result<(), EntryError> {
        self.passed.insert(digest.clone(), size);
        if self.known.has(&digest) {
            return Ok(());
        }
        let mut bytes = start;
        content.read_to_end(&mut bytes)?;
        self.give(Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size), bytes.into())
    }

    /// Takes a layer in that is not compressed; its digest may be known from its name.
    fn layer(&mut self, name: Option<&Digest>, start: Vec<u8>, content: &mut impl Read) -> Result<(), EntryError> {
        if let Some((name, blob)) = name.and_then(|name| Some((name, self.known.blob(name)?))) {
            self.layers.insert(name.clone(), blob.clone());
            return Ok(());
        }
        let mut ahead = start;
        let room = (LOOK_AHEAD - ahead.len()) as u64;
        content.by_ref().take(room).read_to_end(&mut ahead)?;
        if ahead.len() < LOOK_AHEAD {
            let diff_id = Digest::from_hash(&Sha256::digest(&ahead));
            if let Some(blob) = self.known.blob(&diff_id).or_else(|| self.layers.get(&diff_id)) {
                self.layers.insert(diff_id, blob.clone());
                return Ok(());
            }
        }
        let mut all = io::Cursor::new(ahead).chain(content);
        let (CompressedLayer { diff_id, descriptor }, bytes) = compress(Compression::Gzip, &mut all)?;
        if let Some(blob) = self.known.blob(&diff_id).cloned() {
            self.layers.insert(diff_id, blob);
            return Ok(());
        }
        let is_new = self.layers.insert(diff_id, descriptor.clone()).is_none();
        if is_new { self.give(descriptor, bytes) } else { Ok(()) }
    }

    /// Gives a blob away.
    fn give(&self, descriptor: Descriptor, bytes: Bytes) -> Result<(), EntryError> {
        self.parts.blocking_send(Ok(Part::Blob { descriptor, bytes })).map_err(|_| EntryError::Unwanted)
    }

    /// Puts the image together when everything has been read.
    fn finish(&self, platform: &Platform) -> Result<(), Error> {
        let (config, manifest) = match self.pushed_manifest(platform) {
            Some(found) => found,
            None => self.own_manifest()?,
        };
        let image: ImageConfig = serde_json::from_slice(&config).map_err(|error| unusable(error.to_string()))?;
        let got = image.platform();
        if (&got.os, &got.architecture) != (&platform.os, &platform.architecture) {
            return Err(unusable(format!("it is for {got}, and {platform} was asked for")));
        }
        let parts: Manifest = serde_json::from_slice(&manifest).map_err(|error| unusable(error.to_string()))?;
        let known = parts.layers.iter().filter(|layer| self.known.has(&layer.digest)).count();
        let layers = LayerCount { all: parts.layers.len(), known };
        let kind = if parts.media_type.is_empty() { media_type::OCI_MANIFEST } else { &parts.media_type };
        let last = Part::Manifest { media_type: kind.to_owned(), bytes: manifest, layers };
        self.give(parts.config, config).map_err(|_| Error::Cancelled)?;
        self.parts.blocking_send(Ok(last)).map_err(|_| Error::Cancelled)
    }

    /// The configuration and manifest of an archive whose blobs were passed on as they are: byte by byte, so that the digest
    /// is the builder's.
    fn pushed_manifest(&self, platform: &Platform) -> Option<(Bytes, Bytes)> {
        let mut bytes = self.documents.get("index.json")?;
        // Indexes may be nested: that of the layout names that of the image.
        for _ in 0..4 {
            let index: Index = serde_json::from_slice(bytes).ok()?;
            if index.manifests.is_empty() {
                break;
            }
            let entry = index.find(platform).or_else(|| index.manifests.first())?;
            bytes = self.document(&entry.digest)?;
        }
        let manifest: Manifest = serde_json::from_slice(bytes).ok()?;
        let complete = manifest.layers.iter().all(|layer| self.passed.contains_key(&layer.digest));
        let config = self.document(&manifest.config.digest)?;
        complete.then(|| (config.clone(), bytes.clone()))
    }

    /// The configuration of an archive whose layers we compressed, and a manifest of our own for it.
    fn own_manifest(&self) -> Result<(Bytes, Bytes), Error> {
        let list = self.documents.get("manifest.json").ok_or_else(|| unusable("it has no manifest.json".to_owned()))?;
        let images: Vec<DockerImage> = serde_json::from_slice(list).map_err(|error| unusable(error.to_string()))?;
        let name = images.first().map(|image| image.config.as_str()).unwrap_or_default();
        let config = self.documents.get(name).ok_or_else(|| unusable("it has no configuration".to_owned()))?;
        let image: ImageConfig = serde_json::from_slice(config).map_err(|error| unusable(error.to_string()))?;
        let layers = image.rootfs.diff_ids.iter().map(|diff_id| {
            self.layers.get(diff_id).cloned().ok_or_else(|| unusable(format!("layer {diff_id} is not in its archive")))
        });
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let descriptor = Descriptor::new(media_type::OCI_CONFIG, Digest::of(config), config.len() as u64);
        let manifest = Manifest::new(descriptor, layers).to_bytes().map_err(|error| unusable(error.to_string()))?;
        Ok((config.clone(), manifest.into()))
    }

    /// A document by its digest.
    fn document(&self, digest: &Digest) -> Option<&Bytes> {
        self.documents.get(&format!("blobs/sha256/{}", digest.hex()))
    }
}

/// The error of an image that cannot be put together.
fn unusable(problem: String) -> Error {
    Error::Image { problem }
}

/// All bytes.
fn read_all(content: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The receiving end of a channel of bytes, as something to read from on a thread that may block.
pub(crate) struct ChannelReader {
    /// Where pieces come from.
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// What is left of the last one.
    rest: Bytes,
}

impl ChannelReader {
    /// Reads from a channel.
    pub(crate) fn new(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { pieces, rest: Bytes::new() }
    }
}

impl Read for ChannelReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let length = self.rest.len().min(into.len());
        into[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of these files; a name with an arrow is a link.
    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            if let Some((name, target)) = name.split_once(" -> ") {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, name, target).unwrap();
            } else {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, name, *content).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    /// The parts of an archive.
    fn parts(archive: &[u8], known: KnownLayers) -> Result<Vec<Part>, Error> {
        let (sender, mut receiver) = mpsc::channel(100);
        read(archive, &Platform::default(), known, &sender)?;
        drop(sender);
        let mut all = Vec::new();
        while let Some(part) = receiver.blocking_recv() {
            all.push(part?);
        }
        Ok(all)
    }

    /// The manifest, which is the last part, how many layers were known, and the blobs before it.
    fn split(parts: Vec<Part>) -> (Manifest, usize, Vec<Digest>) {
        let mut parts = parts;
        let Some(Part::Manifest { bytes, layers, .. }) = parts.pop() else { panic!("the manifest comes last") };
        let blobs = parts.into_iter().map(|part| match part {
            Part::Blob { descriptor, bytes } => {
                assert_eq!(descriptor.digest, Digest::of(&bytes));
                descriptor.digest
            }
            other => panic!("{other:?} before the manifest"),
        });
        (serde_json::from_slice(&bytes).unwrap(), layers.known, blobs.collect())
    }

    /// A configuration of these layers.
    fn config(layers: &[&[u8]], architecture: &str) -> Vec<u8> {
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = serde_json::json!({
            "architecture": architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        serde_json::to_vec(&config).unwrap()
    }

    /// An archive as Docker 20 to 24 saves it; the first layer stands twice in the image, the second time as a link.
    fn legacy(architecture: &str) -> Vec<u8> {
        let config = config(&[b"one", b"two", b"one"], architecture);
        let manifest =
            br#"[{"Config":"cfg.json","RepoTags":null,"Layers":["b/layer.tar","a/layer.tar","c/layer.tar"]}]"#;
        archive(&[
            ("a/VERSION", b"1.0"),
            ("a/json", b"{}"),
            ("a/layer.tar", b"two"),
            ("b/layer.tar", b"one"),
            ("c/layer.tar -> ../b/layer.tar", b""),
            ("cfg.json", &config),
            ("manifest.json", manifest),
        ])
    }

    #[test]
    fn the_form_of_docker_24_is_read_in_the_order_of_the_configuration() {
        let (manifest, known, blobs) = split(parts(&legacy("amd64"), KnownLayers::default()).unwrap());
        assert_eq!((manifest.layers.len(), known, blobs.len()), (3, 0, 3));
        assert_eq!(manifest.layers[0], manifest.layers[2]);
        assert_eq!(blobs, [&manifest.layers[1], &manifest.layers[0], &manifest.config].map(|blob| blob.digest.clone()));
        assert_eq!(manifest.config.digest, Digest::of(&config(&[b"one", b"two", b"one"], "amd64")));
    }

    #[test]
    fn a_known_layer_is_not_compressed_again() {
        let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"compressed elsewhere"), 7);
        let known = KnownLayers::new([(Digest::of(b"one"), blob.clone())]);
        let (manifest, known, blobs) = split(parts(&legacy("amd64"), known).unwrap());
        assert_eq!((known, blobs.len()), (2, 2));
        assert_eq!(manifest.layers[0], blob);
    }

    #[test]
    fn an_image_for_another_platform_is_refused() {
        let error = parts(&legacy("arm64"), KnownLayers::default()).unwrap_err().to_string();
        assert!(error.ends_with("it is for linux/arm64, and linux/amd64 was asked for"), "{error}");
    }

    /// The name of a blob in a layout.
    fn blob(bytes: &[u8]) -> String {
        format!("blobs/sha256/{}", Digest::of(bytes).hex())
    }

    #[test]
    fn the_form_of_docker_25_is_read_by_the_names_of_its_blobs() {
        let config = config(&[b"one", b"two"], "amd64");
        let list = format!(r#"[{{"Config":"{}","Layers":["{}"]}}]"#, blob(&config), blob(b"one"));
        let files: [(&str, &[u8]); 4] = [
            (&blob(b"one"), b"one"),
            (&blob(b"two"), b"two"),
            (&blob(&config), &config),
            ("manifest.json", list.as_bytes()),
        ];
        let known = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"there"), 5);
        let (manifest, reused, blobs) =
            split(parts(&archive(&files), KnownLayers::new([(Digest::of(b"one"), known.clone())])).unwrap());
        assert_eq!((manifest.layers.len(), reused, blobs.len()), (2, 1, 2));
        assert_eq!(manifest.layers[0], known);
    }

    #[test]
    fn a_compressed_layout_keeps_its_manifest() {
        let (layer, bytes) = compress(Compression::Gzip, &mut b"one".as_slice()).unwrap();
        let config = config(&[b"one"], "amd64");
        let describe = Descriptor::new(media_type::OCI_CONFIG, Digest::of(&config), config.len() as u64);
        let inner = Manifest::new(describe, vec![layer.descriptor.clone()]).to_bytes().unwrap();
        let platform = serde_json::json!({ "os": "linux", "architecture": "amd64" });
        let entry = |bytes: &[u8], platform: serde_json::Value| serde_json::json!({ "manifests": [{ "digest": Digest::of(bytes), "size": bytes.len(), "platform": platform }] });
        let nested = entry(&inner, platform).to_string();
        let index = entry(nested.as_bytes(), serde_json::Value::Null).to_string();
        let list = format!(r#"[{{"Config":"{}","Layers":[]}}]"#, blob(&config));
        let files: [(&str, &[u8]); 6] = [
            (&blob(&bytes), &bytes),
            (&blob(&config), &config),
            (&blob(&inner), &inner),
            (&blob(nested.as_bytes()), nested.as_bytes()),
            ("index.json", index.as_bytes()),
            ("manifest.json", list.as_bytes()),
        ];
        let mut all = parts(&archive(&files), KnownLayers::default()).unwrap();
        let Some(Part::Manifest { bytes, .. }) = all.pop() else { panic!() };
        assert_eq!(bytes, inner);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn an_archive_that_breaks_off_is_an_error() {
        let whole = legacy("amd64");
        assert!(parts(&whole[..3000], KnownLayers::default()).is_err());
        assert!(parts(&archive(&[]), KnownLayers::default()).is_err());
    }
}
