//! Layers that are not compressed yet: an archive's bytes go in, a part of the image comes out.
//!
//! Each layer has a thread that feeds the shared pool of compressors, so that whoever reads an image can go on with the next
//! layer while this one is still being compressed. Only when its pieces are not taken any more (the push has no room for
//! them) does a reader wait.

use super::assembly::{Assembly, unusable};
use super::error::Error;
use crate::image::Descriptor;
use crate::image::compress::{CompressedLayer, Compressor};
use crate::image::part::{self, LayerSender, Part, Promised, Verdict};
use crate::model::Digest;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Where the parts of an image go.
pub(crate) type Parts = mpsc::Sender<Result<Part, Error>>;

/// So many pieces of a layer wait for its compressor. Readers bring pieces of half a megabyte.
const WAITING: usize = 16;

/// Nobody wants the image any more.
pub(crate) const UNWANTED: Error = Error::Cancelled;

/// What a source has shown, from wherever it is looked at.
pub(crate) type Shared = Arc<Mutex<Assembly>>;

/// A lock that outlives a panic elsewhere.
pub(crate) fn lock(assembly: &Shared) -> MutexGuard<'_, Assembly> {
    assembly.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What goes to the thread of a layer.
enum Raw {
    /// The next bytes of the archive.
    Bytes(Bytes),
    /// There are no more. A layer whose sender goes away without it is given up.
    End,
}

/// A layer that is being compressed.
pub(crate) struct Squeeze {
    /// Where its archive goes.
    raw: mpsc::Sender<Raw>,
    /// Its thread.
    work: Squeezed,
}

/// A layer whose archive is complete, but not all of it compressed.
pub(crate) struct Squeezed(JoinHandle<Result<Digest, Error>>);

/// What has become of a promised layer.
pub(crate) enum Asked {
    /// The registry has it, and so the image.
    Had,
    /// It is to be made at once.
    Make(Squeeze),
    /// Another image of this run is bringing it: it is to be promised again when this has ended.
    Later(BoxFuture<'static, ()>),
}

impl Squeeze {
    /// Begins a layer whose digest nobody knows, and gives the compressed end of it as a part of the image. `about` is how
    /// long its archive is, in bytes, where that is known. Needs a runtime.
    pub(crate) fn start(assembly: &Shared, about: Option<u64>) -> (Self, Part) {
        let (pieces, receiver) = part::layer();
        (Self::begin(assembly, pieces, None), Part::Layer { pieces: receiver, about })
    }

    /// Promises a layer whose archive must have this digest: one that has another is an error, and no part of the image.
    /// `about` is how long that is, in bytes, where it is known. Whoever is told to make it does so before anything else:
    /// others wait for it from now on.
    pub(crate) async fn promise(
        assembly: &Shared,
        parts: &Parts,
        diff_id: &Digest,
        about: Option<u64>,
    ) -> Result<Asked, Error> {
        let compression = lock(assembly).known.compression();
        let (answer, answered) = oneshot::channel();
        let layer = Promised { diff_id: diff_id.clone(), compression };
        parts.send(Ok(Part::Promise { layer, about, answer })).await.map_err(|_| UNWANTED)?;
        Ok(match answered.await.map_err(|_| UNWANTED)? {
            Verdict::Have(blob) => {
                lock(assembly).made(diff_id.clone(), blob);
                Asked::Had
            }
            Verdict::Make(pieces) => Asked::Make(Self::begin(assembly, pieces, Some(diff_id.clone()))),
            Verdict::Later(ended) => Asked::Later(ended),
        })
    }

    /// The same, and waits while another image of this run brings the layer; `None` where the image has it now.
    pub(crate) async fn claim(
        assembly: &Shared,
        parts: &Parts,
        diff_id: &Digest,
        about: Option<u64>,
    ) -> Result<Option<Self>, Error> {
        loop {
            match Self::promise(assembly, parts, diff_id, about).await? {
                Asked::Had => return Ok(None),
                Asked::Make(squeeze) => return Ok(Some(squeeze)),
                Asked::Later(ended) => wait(ended, parts).await?,
            }
        }
    }

    /// Begins a layer, which must have a digest or may have any.
    fn begin(assembly: &Shared, pieces: LayerSender, wanted: Option<Digest>) -> Self {
        let (raw, archive) = mpsc::channel(WAITING);
        let assembly = Arc::clone(assembly);
        let work = tokio::task::spawn_blocking(move || work(archive, pieces, wanted.as_ref(), &assembly));
        Self { raw, work: Squeezed(work) }
    }

    /// Takes the next bytes of the archive; waits for room.
    pub(crate) async fn write(&self, bytes: Bytes) -> Result<(), Error> {
        self.raw.send(Raw::Bytes(bytes)).await.map_err(|_| UNWANTED)
    }

    /// The same on a thread that may block.
    pub(crate) fn blocking_write(&self, bytes: Bytes) -> Result<(), Error> {
        self.raw.blocking_send(Raw::Bytes(bytes)).map_err(|_| UNWANTED)
    }

    /// The archive is complete.
    pub(crate) async fn end(self) -> Squeezed {
        let _ = self.raw.send(Raw::End).await; // a thread that is gone says why when it is waited for
        self.work
    }

    /// The same on a thread that may block.
    pub(crate) fn blocking_end(self) -> Squeezed {
        let _ = self.raw.blocking_send(Raw::End);
        self.work
    }
}

impl Squeezed {
    /// Waits until all of it is compressed: the digest of the archive.
    pub(crate) async fn digest(self) -> Result<Digest, Error> {
        self.0.await.unwrap_or_else(|error| Err(Error::Image { problem: error.to_string() }))
    }
}

/// Waits until another image of this run has brought a layer, or has failed to, unless this image is not wanted any more.
pub(crate) async fn wait(ended: BoxFuture<'static, ()>, parts: &Parts) -> Result<(), Error> {
    tokio::select! {
        () = ended => Ok(()),
        () = parts.closed() => Err(UNWANTED),
    }
}

/// Compresses one layer. One that turns out to be known, or to have come before, is not ended: nobody needs it.
fn work(
    mut archive: mpsc::Receiver<Raw>,
    pieces: LayerSender,
    wanted: Option<&Digest>,
    assembly: &Shared,
) -> Result<Digest, Error> {
    let sink = |piece: Bytes| pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into());
    let compression = lock(assembly).known.compression();
    let mut compressor = Compressor::new(compression, sink);
    loop {
        match archive.blocking_recv() {
            Some(Raw::Bytes(bytes)) => compressor.write_all(&bytes).map_err(|error| broken(&error))?,
            Some(Raw::End) => break,
            None => return Err(UNWANTED),
        }
    }
    let CompressedLayer { diff_id, descriptor } = compressor.finish().map_err(|error| broken(&error))?;
    if let Some(wanted) = wanted.filter(|wanted| **wanted != diff_id) {
        return Err(unusable(format!("a layer that should be {} is {}", wanted.short(), diff_id.short())));
    }
    if is_needed(assembly, &diff_id, &descriptor) {
        pieces.blocking_end(descriptor).map_err(|_| UNWANTED)?;
    }
    Ok(diff_id)
}

/// Notes a layer; says whether the registry needs its blob.
fn is_needed(assembly: &Shared, diff_id: &Digest, blob: &Descriptor) -> bool {
    let mut assembly = lock(assembly);
    !assembly.take_known(diff_id) && assembly.made(diff_id.clone(), blob.clone())
}

/// Why a layer cannot be compressed.
fn broken(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => UNWANTED,
        _ => Error::Image { problem: format!("a layer cannot be compressed: {error}") },
    }
}
