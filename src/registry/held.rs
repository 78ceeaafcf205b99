//! The content of a blob that is being sent: held in memory, perhaps while it still comes, or opened when it is needed.

use super::progress::lock;
use crate::image::Content;
use crate::image::part::{ContentStream, FileRange};
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use std::io;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Where the bytes of a blob come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Somewhere that can be read again and again.
    Content(Content),
    /// Memory that may still be growing.
    Held(Arc<Held>),
}

impl Source {
    /// The bytes from here on.
    pub(crate) async fn open(&self, from: u64) -> io::Result<ContentStream> {
        match self {
            Self::Held(held) => Ok(held.stream(from)),
            Self::Content(Content::Bytes(bytes)) => {
                let start = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
                Content::Bytes(bytes.slice(start..)).open().await
            }
            Self::Content(content) => Ok(skip(content.open().await?, from)),
        }
    }

    /// The file that the bytes from here on lie in, if they lie in one.
    pub(crate) fn file(&self, from: u64) -> Option<FileRange> {
        let Self::Content(Content::File { range, .. }) = self else { return None };
        Some(FileRange { file: range.file.clone(), start: range.start + from })
    }
}

/// A stream without its first bytes.
fn skip(stream: ContentStream, bytes: u64) -> ContentStream {
    let pieces = stream.scan(bytes, |left, piece| {
        let piece = piece.map(|mut piece| {
            let gone = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
            *left -= gone as u64;
            piece.split_off(gone)
        });
        std::future::ready(Some(piece))
    });
    pieces.filter(|piece| std::future::ready(!matches!(piece, Ok(piece) if piece.is_empty()))).boxed()
}

/// Whether more bytes will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// They will.
    Open,
    /// All are there.
    Complete,
    /// They will not, and some are missing.
    Broken,
}

/// Bytes in memory that can be read while more of them come.
#[derive(Debug)]
pub(crate) struct Held {
    /// The bytes so far.
    state: Mutex<(Vec<Bytes>, End)>,
    /// Wakes whoever waits for more.
    grown: Notify,
}

impl Held {
    /// No bytes yet.
    pub(crate) fn growing() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new((Vec::new(), End::Open)), grown: Notify::new() })
    }

    /// All bytes.
    pub(crate) fn complete(pieces: Vec<Bytes>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new((pieces, End::Complete)), grown: Notify::new() })
    }

    /// Adds bytes.
    pub(crate) fn push(&self, piece: Bytes) {
        lock(&self.state).0.push(piece);
        self.grown.notify_waiters();
    }

    /// Says that all bytes are there, or that the rest will never come.
    pub(crate) fn end(&self, complete: bool) {
        lock(&self.state).1 = if complete { End::Complete } else { End::Broken };
        self.grown.notify_waiters();
    }

    /// How many bytes there are so far.
    pub(crate) fn length(&self) -> u64 {
        lock(&self.state).0.iter().map(|piece| piece.len() as u64).sum()
    }

    /// The bytes from here on, those that are still to come included.
    pub(crate) fn stream(self: &Arc<Self>, from: u64) -> ContentStream {
        let pieces = stream::unfold((Arc::clone(self), 0), |(held, at)| async move {
            let piece = held.piece(at).await?;
            Some((piece, (held, at + 1)))
        });
        skip(pieces.boxed(), from)
    }

    /// A piece by its number, as soon as it is there; `None` after the last.
    async fn piece(&self, at: usize) -> Option<io::Result<Bytes>> {
        loop {
            let grown = self.grown.notified(); // registered before the look, so that no waking is missed
            {
                let state = lock(&self.state);
                match (state.0.get(at), state.1) {
                    (Some(piece), _) => return Some(Ok(piece.clone())),
                    (None, End::Complete) => return None,
                    (None, End::Broken) => return Some(Err(io::Error::other("its source broke off"))),
                    (None, End::Open) => {}
                }
            }
            grown.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt as _, TryStreamExt as _};

    /// All bytes of a source from here on.
    async fn read(source: &Source, from: u64) -> Vec<u8> {
        source.open(from).await.unwrap().try_collect::<Vec<Bytes>>().await.unwrap().concat()
    }

    #[tokio::test]
    async fn every_source_can_be_read_from_anywhere() {
        let pieces: Vec<Bytes> = ["ab", "", "cde", "f"].map(Bytes::from).into();
        let open = {
            let held = Held::complete(pieces.clone());
            Arc::new(move || futures::future::ready(Ok(held.stream(0))).boxed())
        };
        let sources = [
            Source::Held(Held::complete(pieces)),
            Source::Content(Content::Bytes(Bytes::from_static(b"abcdef"))),
            Source::Content(Content::Open(open)),
        ];
        for source in &sources {
            for from in 0..=6 {
                assert_eq!(read(source, from as u64).await, b"abcdef"[from..], "{source:?} from {from}");
            }
        }
    }

    #[tokio::test]
    async fn what_grows_can_be_read_meanwhile() {
        let held = Held::growing();
        let mut reader = held.stream(1);
        assert!(reader.next().now_or_never().is_none());
        held.push(Bytes::from_static(b"xyz"));
        assert_eq!(reader.next().await.unwrap().unwrap(), "yz");
        let waiting = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        held.end(false);
        assert!(waiting.await.unwrap().unwrap().is_err(), "an end in the middle is no end of the blob");
    }
}
