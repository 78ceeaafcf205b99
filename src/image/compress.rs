//! A layer's tar archive to a compressed blob, with both digests on the way.
//!
//! In comes the archive in pieces of any size; out go compressed pieces, in order, to a sink. The archive is cut into
//! blocks of a fixed length. A shared pool of threads compresses each block by itself, and the blocks are joined into
//! one gzip member: each ends at a byte boundary (a full flush), and their checksums are combined. What comes out depends on
//! the bytes that came in and on nothing else, not on the number of threads, the sizes of the pieces or the time: a
//! registry knows the blob again by its digest, and a layer that was pushed once is never sent again.
//!
//! Memory is bounded: a layer has at most a few blocks under way, and a sink that is slow holds the writer up.

mod background;
mod buffers;
mod codec;
mod hasher;
#[cfg(feature = "isal")]
mod isal;
mod pool;
#[cfg(test)]
mod tests;

use super::descriptor::Descriptor;
use crate::model::{Compression, Digest};
use buffers::Buffers;
use bytes::Bytes;
use codec::Block;
pub(crate) use codec::gzip_codec;
use flate2::Crc;
use hasher::Hasher;
use pool::Pool;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, mpsc};

/// A layer of which every piece has been given to the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompressedLayer {
    /// The digest of the tar archive.
    pub(crate) diff_id: Digest,
    /// The blob: its media type, digest and size.
    pub(crate) descriptor: Descriptor,
}

/// For tests: compresses all of `content` into memory: the layer and the blob's bytes.
#[cfg(test)]
pub(crate) fn compress(compression: Compression, content: &mut impl io::Read) -> io::Result<(CompressedLayer, Bytes)> {
    let mut bytes = Vec::new();
    let mut compressor = Compressor::new(compression, |piece: Bytes| {
        bytes.extend_from_slice(&piece);
        Ok(())
    });
    io::copy(content, &mut compressor)?;
    let layer = compressor.finish()?;
    Ok((layer, bytes.into()))
}

/// Takes a tar archive in pieces and gives it compressed to a sink. Blocking work: use it on a thread that may block.
///
/// The sink is called on the thread that writes, with pieces of at most about one block; its error is the writer's.
pub(crate) struct Compressor<S> {
    /// How.
    compression: Compression,
    /// Who compresses.
    pool: Arc<Pool>,
    /// Where compressed pieces go.
    sink: S,
    /// The length of a block in bytes.
    length: usize,
    /// The block that is being filled.
    block: Vec<u8>,
    /// Memory of blocks that nobody needs any more.
    buffers: Buffers,
    /// Blocks that are being compressed, in order.
    under_way: VecDeque<mpsc::Receiver<io::Result<Block>>>,
    /// The checksum and length of what was given away, before compression.
    crc: Crc,
    /// The length of what was given away in bytes.
    size: u64,
    /// Hashes the archive.
    raw: Hasher,
    /// Hashes what is given away.
    compressed: Hasher,
}

impl<S: FnMut(Bytes) -> io::Result<()>> Compressor<S> {
    /// An empty layer.
    pub(crate) fn new(compression: Compression, sink: S) -> Self {
        Self::with_pool(Pool::shared(), compression, sink)
    }

    /// An empty layer that is compressed by these threads.
    fn with_pool(pool: Arc<Pool>, compression: Compression, sink: S) -> Self {
        Self {
            compression,
            pool,
            sink,
            length: compression.block_length(),
            block: Vec::new(),
            buffers: Buffers::default(),
            under_way: VecDeque::new(),
            crc: Crc::new(),
            size: 0,
            raw: Hasher::default(),
            compressed: Hasher::default(),
        }
    }

    /// The layer, complete: the last pieces have been given to the sink.
    pub(crate) fn finish(mut self) -> io::Result<CompressedLayer> {
        if !self.block.is_empty() {
            self.dispatch();
        }
        self.give_ready(0)?;
        if self.size == 0 {
            self.give(Bytes::from_static(self.compression.header()))?;
        }
        let trailer = self.compression.trailer(&self.crc, self.size);
        self.give(trailer)?;
        let descriptor = Descriptor::new(self.compression.media_type(), self.compressed.finish(), self.size);
        Ok(CompressedLayer { diff_id: self.raw.finish(), descriptor })
    }

    /// Has the full block compressed, and gives away what is ready.
    fn submit(&mut self) -> io::Result<()> {
        // Only a layer of several blocks is worth threads of its own.
        self.raw.start();
        self.compressed.start();
        self.dispatch();
        self.block = self.buffers.take(self.length);
        self.give_ready(self.pool.backlog())
    }

    /// Has the block compressed by the pool, and hashed meanwhile.
    fn dispatch(&mut self) {
        let block = self.buffers.lend(std::mem::take(&mut self.block));
        let (sender, receiver) = mpsc::sync_channel(1);
        let (compression, content) = (self.compression, block.clone());
        self.pool.run(Box::new(move |workspace| {
            let _ = sender.send(compression.block(&content, workspace)); // nobody waits for a layer that was given up
        }));
        self.under_way.push_back(receiver);
        self.raw.update(block);
    }

    /// Gives away the blocks that are compressed, in order; waits for them while more than `most` are under way.
    fn give_ready(&mut self, most: usize) -> io::Result<()> {
        while let Some(first) = self.under_way.front() {
            let block = if self.under_way.len() > most {
                first.recv().map_err(|_| io::Error::other("a thread that compresses has died"))??
            } else {
                let Ok(block) = first.try_recv() else { break };
                block?
            };
            self.under_way.pop_front();
            if self.size == 0 {
                self.give(Bytes::from_static(self.compression.header()))?;
            }
            self.crc.combine(&block.crc);
            self.give(block.bytes)?;
        }
        Ok(())
    }

    /// Gives one piece to the sink.
    fn give(&mut self, piece: Bytes) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        self.size += piece.len() as u64;
        self.compressed.update(piece.clone());
        (self.sink)(piece)
    }
}

impl<S: FnMut(Bytes) -> io::Result<()>> Write for Compressor<S> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let taken = piece.len().min(self.length - self.block.len());
        self.block.extend_from_slice(&piece[..taken]);
        if self.block.len() == self.length {
            self.submit()?;
        }
        Ok(taken)
    }

    /// Does nothing: where blocks end must not depend on the writer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
