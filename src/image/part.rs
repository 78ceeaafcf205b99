//! The parts of an image on their way from where it is made to where it is kept.
//!
//! Whoever makes an image (an Engine, a builder, files) gives its parts in the order in which they may be pushed, and knows
//! nothing of the place that they go to. Whoever takes them decides what is sent, and what it holds in memory.

use super::descriptor::Descriptor;
use crate::model::{Compression, Digest};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A part of an image, in the order in which it may be pushed.
#[derive(Debug)]
pub(crate) enum Part {
    /// A small blob that is held in memory: a configuration, a layer that is known by digest.
    Blob {
        /// Its digest and size.
        descriptor: Descriptor,
        /// Its bytes.
        bytes: Bytes,
    },
    /// A blob whose digest is known and whose content can be opened any number of times: a file of a layout, a blob of
    /// another registry.
    Reopenable {
        /// Its digest and size.
        descriptor: Descriptor,
        /// Its bytes.
        content: Content,
        /// Another repository of the target's registry that has the blob, to take it from there.
        mount_from: Option<String>,
    },
    /// A blob whose digest is known, offered once: it is taken only where the registry lacks it. Whoever offers waits for
    /// the answer; an end without one means that the image is not wanted any more.
    Offer {
        /// Its digest and size.
        descriptor: Descriptor,
        /// Where the answer goes.
        answer: oneshot::Sender<Answer>,
    },
    /// A layer that could be made, and whose content is known before: it is made only where the registry cannot have it more
    /// cheaply. Whoever promises waits for the answer, and then makes it at once, or asks again later.
    Promise {
        /// What it would be.
        layer: Promised,
        /// About how long it is before compression, in bytes, where that is known.
        about: Option<u64>,
        /// Where the answer goes.
        answer: oneshot::Sender<Verdict>,
    },
    /// A layer that is being made: its digest is known at its end.
    Layer {
        /// Where its bytes come from.
        pieces: LayerReceiver,
        /// About how long it is before compression, in bytes, where that is known.
        about: Option<u64>,
    },
    /// The manifest; nothing comes after it.
    Manifest {
        /// Its media type.
        media_type: String,
        /// Its bytes.
        bytes: Bytes,
        /// How many layers it has.
        layers: LayerCount,
    },
}

/// How many layers an image has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerCount {
    /// All.
    pub(crate) all: usize,
    /// Those that the registry was known to have before they were made.
    pub(crate) known: usize,
}

/// What becomes of an offered blob.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The registry has it: nothing is to be sent.
    Have,
    /// It is to be sent here.
    Send(LayerSender),
}

/// A layer that is not made yet: what is in it, and how it would be compressed, decide what it will be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Promised {
    /// The digest of its archive.
    pub(crate) diff_id: Digest,
    /// How it would be compressed.
    pub(crate) compression: Compression,
}

/// What becomes of a promised layer.
pub(crate) enum Verdict {
    /// The registry has it, as this blob.
    Have(Descriptor),
    /// It is to be made now, and to be sent here.
    Make(LayerSender),
    /// Another image of this run is bringing it: it is to be promised again when this has ended.
    Later(BoxFuture<'static, ()>),
}

impl std::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Have(blob) => write!(f, "Have({blob:?})"),
            Self::Make(_) => f.write_str("Make"),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// What goes through a layer's channel. A sender that is dropped before `End` says: not needed after all (a layer that
/// turned out to be known).
#[derive(Debug)]
pub(crate) enum Piece {
    /// The next bytes of the blob, as they are to be stored.
    Bytes(Bytes),
    /// All bytes have been sent; this is what they are.
    End(Descriptor),
}

/// So many pieces may wait in a layer's channel; what they hold is counted when they are taken out.
const WAITING_PIECES: usize = 2;

/// Where a layer's bytes come from.
pub(crate) type LayerReceiver = mpsc::Receiver<Piece>;

/// Where a layer's bytes go. Sending waits while whoever takes them has no room.
#[derive(Debug)]
pub(crate) struct LayerSender(mpsc::Sender<Piece>);

/// Nobody takes the layer any more: the push has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the layer any more")]
pub(crate) struct Unwanted;

/// A channel for one layer.
pub(crate) fn layer() -> (LayerSender, LayerReceiver) {
    let (sender, receiver) = mpsc::channel(WAITING_PIECES);
    (LayerSender(sender), receiver)
}

impl LayerSender {
    /// Sends the next bytes.
    pub(crate) async fn send(&self, bytes: Bytes) -> Result<(), Unwanted> {
        self.0.send(Piece::Bytes(bytes)).await.map_err(|_| Unwanted)
    }

    /// Ends the layer: this is what all bytes together are.
    pub(crate) async fn end(self, descriptor: Descriptor) -> Result<(), Unwanted> {
        self.0.send(Piece::End(descriptor)).await.map_err(|_| Unwanted)
    }

    /// Sends the next bytes, on a thread that may block.
    pub(crate) fn blocking_send(&self, bytes: Bytes) -> Result<(), Unwanted> {
        self.0.blocking_send(Piece::Bytes(bytes)).map_err(|_| Unwanted)
    }

    /// Ends the layer, on a thread that may block.
    pub(crate) fn blocking_end(self, descriptor: Descriptor) -> Result<(), Unwanted> {
        self.0.blocking_send(Piece::End(descriptor)).map_err(|_| Unwanted)
    }
}

/// The bytes of a blob on their way.
pub(crate) type ContentStream = BoxStream<'static, io::Result<Bytes>>;

/// Opens a blob's content anew for each try. A source with errors of its own wraps them (`io::Error::other`); whoever
/// knows them can take them out again.
pub(crate) type Opener = Arc<dyn Fn() -> BoxFuture<'static, io::Result<ContentStream>> + Send + Sync>;

/// A file from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRange {
    /// The file.
    pub(crate) file: PathBuf,
    /// Where it begins, in bytes.
    pub(crate) start: u64,
}

/// The content of a blob that can be read any number of times.
#[derive(Clone)]
pub(crate) enum Content {
    /// It lies in memory.
    Bytes(Bytes),
    /// It is opened anew for each try.
    Open(Opener),
    /// The same, and it lies in a file as it is: whoever sends files may read it in a way of its own.
    File {
        /// Where it lies.
        range: FileRange,
        /// Reads it.
        open: Opener,
    },
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Content({} bytes)", bytes.len()),
            Self::Open(_) => write!(f, "Content(opened when needed)"),
            Self::File { range, .. } => write!(f, "Content({range:?})"),
        }
    }
}

/// Memory is read in pieces of this size: large enough to be cheap, small enough to see progress.
const SLICE: usize = 256 * 1024;

impl Content {
    /// The bytes, from the beginning.
    pub(crate) async fn open(&self) -> io::Result<ContentStream> {
        match self {
            Self::Bytes(bytes) => Ok(slices(bytes.clone()).boxed()),
            Self::Open(open) | Self::File { open, .. } => open().await,
        }
    }
}

/// Bytes in memory as a stream of slices.
fn slices(bytes: Bytes) -> impl futures::Stream<Item = io::Result<Bytes>> {
    let starts = (0..bytes.len()).step_by(SLICE);
    futures::stream::iter(starts.map(move |start| Ok(bytes.slice(start..bytes.len().min(start + SLICE)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;
    use futures::TryStreamExt as _;

    #[tokio::test]
    async fn memory_is_read_again_and_again() {
        let bytes = Bytes::from(vec![7; 3 * SLICE + 1]);
        let content = Content::Bytes(bytes.clone());
        for _ in 0..2 {
            let pieces: Vec<Bytes> = content.open().await.unwrap().try_collect().await.unwrap();
            assert_eq!(pieces.len(), 4);
            assert_eq!(pieces.concat(), bytes);
        }
    }

    #[tokio::test]
    async fn a_layer_ends_with_what_it_is_or_is_not_needed() {
        let (sender, mut receiver) = layer();
        sender.send(Bytes::from_static(b"x")).await.unwrap();
        sender.end(Descriptor::new("", Digest::of(b"x"), 1)).await.unwrap();
        assert!(matches!(receiver.recv().await, Some(Piece::Bytes(_))));
        assert!(matches!(receiver.recv().await, Some(Piece::End(descriptor)) if descriptor.size == 1));
        let (sender, mut receiver) = layer();
        drop(sender);
        assert!(receiver.recv().await.is_none());
        let (sender, receiver) = layer();
        drop(receiver);
        assert_eq!(sender.send(Bytes::new()).await, Err(Unwanted));
    }
}
