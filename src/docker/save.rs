//! Reads an image archive as a stream: what `docker save` gives in any of its three forms, and what other tools write.
//!
//! - Up to Docker 24: a folder for each layer with a `layer.tar`, names that say nothing about content, links for layers
//!   that are the same; the configuration is `<id>.json`.
//! - From Docker 25 on: an OCI layout whose layers are not compressed; a blob's name is the layer's own digest.
//! - Docker's containerd store: an OCI layout as pushed; blobs are compressed and keep their digests.
//!
//! Nothing is written to a disk. The manifest comes last in all of them, so layers are told apart by what they are, and put
//! in order by the configuration at the end.

use super::assembly::{Assembly, blob_digest, unusable};
use super::error::Error;
use super::files::printable;
use super::legacy::Names;
use super::squeeze::{Parts, Shared, Squeeze, Squeezed, UNWANTED, lock};
use crate::image::descriptor::media_type;
use crate::image::part::{self, Answer, LayerSender};
use crate::image::{Descriptor, KnownLayers, Part};
use crate::model::{Digest, Platform};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

/// What is known of an image before its archive is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// The platform that it must be for.
    pub(crate) platform: Platform,
    /// What the registry has.
    pub(crate) known: KnownLayers,
    /// The digests of the layers before compression, as the Engine says; empty where nobody says.
    pub(crate) layers: Vec<Digest>,
}

/// A JSON document in an archive is not larger than this.
const LARGEST_DOCUMENT: u64 = 4 * 1024 * 1024;

/// Layers are read in pieces of this size.
const PIECE: usize = 512 * 1024;

/// Reads an archive. Blocking work inside of a runtime; parts go to `parts`, which may be slow.
pub(crate) fn read(archive: impl Read, expected: &Expected, parts: &Parts) -> Result<(), Error> {
    let assembly: Shared = Arc::new(Mutex::new(Assembly::new(expected.known.clone())));
    let names = Names::of(&expected.layers);
    let mut reader = Reader { assembly, names, parts, squeezed: Vec::new() };
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(|error| broken(&error))? {
        let mut entry = entry.map_err(|error| broken(&error))?;
        if !entry.header().entry_type().is_file() {
            continue; // folders, and links to layers that come by themselves
        }
        let name = entry.path().map_err(|error| broken(&error))?.to_string_lossy().trim_start_matches("./").to_owned();
        let size = entry.size();
        reader.entry(&name, size, &mut entry)?;
    }
    reader.finish(&expected.platform)
}

/// An archive that cannot be read to its end.
fn broken(error: &io::Error) -> Error {
    unusable(format!("its archive breaks off: {}", printable(error)))
}

/// What has been read so far.
struct Reader<'a> {
    /// What has come.
    assembly: Shared,
    /// Which folder of an old archive holds which layer.
    names: Names,
    /// Where parts go.
    parts: &'a Parts,
    /// Layers that are still being compressed.
    squeezed: Vec<Squeezed>,
}

/// What a file begins with, which tells what it is: names differ from tool to tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A JSON document.
    Document,
    /// A layer as it is pushed, with its media type.
    Compressed(&'static str),
    /// A layer that is not compressed, or something else.
    Plain,
}

impl Kind {
    /// Tells by the first bytes: the magic numbers of gzip and zstd, or an opening brace or bracket.
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            // A name of a file may begin with anything; a tar archive is told by what stands behind it.
            _ if start.get(257..262) == Some(b"ustar") => Self::Plain,
            [b'{' | b'[', ..] => Self::Document,
            [0x1f, 0x8b, ..] => Self::Compressed(media_type::OCI_LAYER_GZIP),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Compressed(media_type::OCI_LAYER_ZSTD),
            _ => Self::Plain,
        }
    }
}

impl Reader<'_> {
    /// Takes one file in.
    fn entry(&mut self, name: &str, size: u64, content: &mut impl Read) -> Result<(), Error> {
        let mut start = Vec::new();
        content.by_ref().take(512).read_to_end(&mut start).map_err(|error| broken(&error))?;
        let mut content = io::Cursor::new(start.clone()).chain(content);
        match (Kind::of(&start), blob_digest(name)) {
            (Kind::Document, _) if size <= LARGEST_DOCUMENT => self.document(name, &mut content),
            (Kind::Compressed(kind), Some(digest)) => self.pass(Descriptor::new(kind, digest, size), &mut content),
            (Kind::Compressed(kind), None) if is_layer(name) => self.carry(name, kind, &mut content),
            (Kind::Plain, digest) if digest.is_some() || is_layer(name) => self.layer(name, digest, size, &mut content),
            _ => Ok(()),
        }
    }

    /// Keeps a document. Those of old archives tell which layer is which.
    fn document(&mut self, name: &str, content: &mut impl Read) -> Result<(), Error> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        match name.strip_suffix("/json") {
            Some(folder) => self.names.learn(folder, &bytes),
            None => lock(&self.assembly).document(name.to_owned(), bytes.into()),
        }
        Ok(())
    }

    /// Passes a blob on as it is, unless the registry has it.
    fn pass(&self, blob: Descriptor, content: &mut impl Read) -> Result<(), Error> {
        let is_known = lock(&self.assembly).known.has(&blob.digest);
        lock(&self.assembly).passed(blob.digest.clone());
        if is_known {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        self.give(Part::Offer { descriptor: blob.clone(), answer })?;
        match answered.blocking_recv() {
            Ok(Answer::Have) => Ok(()),
            Ok(Answer::Send(sender)) => {
                copy(content, |piece| sender.blocking_send(piece).map_err(|_| UNWANTED))?;
                sender.blocking_end(blob).map_err(|_| UNWANTED)
            }
            Err(_) => Err(UNWANTED),
        }
    }

    /// Passes a compressed layer on whose digest nobody says.
    fn carry(&self, name: &str, kind: &str, content: &mut impl Read) -> Result<(), Error> {
        let (sender, pieces) = part::layer();
        self.give(Part::Layer { pieces, about: None })?;
        let blob = carry(kind, content, sender)?;
        lock(&self.assembly).named(name.to_owned(), blob);
        Ok(())
    }

    /// Takes a layer in that is not compressed; its digest may be known from its name.
    fn layer(&mut self, name: &str, digest: Option<Digest>, size: u64, content: &mut impl Read) -> Result<(), Error> {
        let digest = digest.or_else(|| self.names.layer(name.trim_end_matches("/layer.tar")).cloned());
        if digest.as_ref().is_some_and(|digest| lock(&self.assembly).take_known(digest)) {
            return Ok(());
        }
        let squeeze = if let Some(digest) = digest {
            // The archive waits while another image brings the layer: what comes after it is not here yet.
            let claim = Squeeze::claim(&self.assembly, self.parts, &digest, Some(size));
            let Some(squeeze) = tokio::runtime::Handle::current().block_on(claim)? else { return Ok(()) };
            squeeze
        } else {
            let (squeeze, part) = Squeeze::start(&self.assembly, Some(size));
            self.give(part)?;
            squeeze
        };
        copy(content, |piece| squeeze.blocking_write(piece))?;
        self.squeezed.push(squeeze.blocking_end());
        Ok(())
    }

    /// Gives a part away.
    fn give(&self, part: Part) -> Result<(), Error> {
        self.parts.blocking_send(Ok(part)).map_err(|_| UNWANTED)
    }

    /// Puts the image together when everything has been read and compressed.
    fn finish(self, platform: &Platform) -> Result<(), Error> {
        let runtime = tokio::runtime::Handle::current();
        for layer in self.squeezed {
            runtime.block_on(layer.digest())?;
        }
        let last = lock(&self.assembly).archive(platform)?;
        last.into_iter().try_for_each(|part| self.parts.blocking_send(Ok(part)).map_err(|_| UNWANTED))
    }
}

/// Whether a name is that of a layer in an archive without blobs: `<id>/layer.tar` of Docker, `<digest>.tar` of skopeo,
/// `<digest>.tar.gz` of crane and jib.
fn is_layer(name: &str) -> bool {
    [".tar", ".tar.gz", ".tgz"].iter().any(|end| name.ends_with(end))
}

/// Passes a compressed layer on, and learns its digest on the way.
fn carry(kind: &str, content: &mut impl Read, sender: LayerSender) -> Result<Descriptor, Error> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    copy(content, |piece| {
        hash.update(&piece);
        size += piece.len() as u64;
        sender.blocking_send(piece).map_err(|_| UNWANTED)
    })?;
    let blob = Descriptor::new(kind, Digest::from_hash(&hash.finalize()), size);
    sender.blocking_end(blob.clone()).map_err(|_| UNWANTED)?;
    Ok(blob)
}

/// Reads to the end, in pieces.
fn copy(content: &mut impl Read, mut take: impl FnMut(Bytes) -> Result<(), Error>) -> Result<(), Error> {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        content.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(|error| broken(&error))?;
        if piece.is_empty() {
            return Ok(());
        }
        take(piece.into())?;
    }
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
mod tests;
