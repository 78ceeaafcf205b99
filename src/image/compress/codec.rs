//! What is done to one block, and what stands around the blocks.

use super::super::descriptor::media_type;
use crate::model::Compression;
use bytes::Bytes;
use flate2::Crc;
#[cfg(not(feature = "isal"))]
use flate2::{Compress, FlushCompress, Status};
use std::io;

/// The codec behind gzip layers, for `--version`: its name, version and level. The same name, the same bytes.
pub(crate) fn gzip_codec() -> &'static str {
    #[cfg(feature = "isal")]
    return super::isal::name();
    #[cfg(not(feature = "isal"))]
    "zlib-rs level 2"
}

/// The level of zlib-rs, which gives the same bytes on every processor (checked with QEMU: `qemu64`, Nehalem, Haswell). Of the
/// levels that come close to ISA-L's size it is the fastest: of a tar archive of /usr, 141 MB/s a core and 1.4 % fewer bytes
/// than ISA-L; level 1 makes 260 MB/s and 9 % more bytes, level 4 110 MB/s and 4 % fewer.
#[cfg(not(feature = "isal"))]
const LEVEL: u32 = 2;

/// The level of Zstandard, its own default.
const ZSTD_LEVEL: i32 = 3;

/// A block after compression.
pub(super) struct Block {
    /// The compressed bytes.
    pub(super) bytes: Bytes,
    /// The checksum of the block before compression, which knows its length too.
    pub(super) crc: Crc,
}

/// What a thread keeps from block to block: memory, and nothing that the next block's bytes depend on.
#[derive(Default)]
pub(super) struct Workspace {
    /// Where a block is compressed to. It is copied out: a piece that waits to be sent takes no more memory than it is long.
    output: Vec<u8>,
    /// The memory of ISA-L.
    #[cfg(feature = "isal")]
    isal: super::isal::Workspace,
}

impl Compression {
    /// The media type of a layer.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => media_type::OCI_LAYER_GZIP,
            Self::Zstd => media_type::OCI_LAYER_ZSTD,
        }
    }

    /// The length of a block in bytes. Part of what makes the bytes: another length gives other digests.
    ///
    /// Of the powers of two from 128 KiB to 1 MiB ISA-L is the fastest with the one here, and loses 0.08 % of the size of a
    /// whole stream. Zstandard looks back further, and would lose 6 % by it; with this one it loses 2.7 %.
    pub(super) fn block_length(self) -> usize {
        match self {
            Self::Gzip => 512 * 1024,
            Self::Zstd => 2 * 1024 * 1024,
        }
    }

    /// What comes before the first block. Zstandard has nothing: a blob is as many frames as there are blocks
    /// (<https://www.rfc-editor.org/rfc/rfc8878#section-3>). Else a gzip header (<https://www.rfc-editor.org/rfc/rfc1952#page-5>) without name and
    /// time, from an unknown operating system: libraries differ in what they write there.
    pub(super) fn header(self) -> &'static [u8] {
        match self {
            Self::Gzip => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255],
            Self::Zstd => &[],
        }
    }

    /// One block.
    pub(super) fn block(self, content: &[u8], workspace: &mut Workspace) -> io::Result<Block> {
        let mut crc = Crc::new();
        workspace.output.clear();
        match self {
            Self::Gzip => {
                crc.update(content);
                if !workspace.shrinks(content)? {
                    return Ok(Block { bytes: stored(content), crc });
                }
                workspace.deflate(content)?;
            }
            Self::Zstd => {
                workspace.output.reserve(zstd::zstd_safe::compress_bound(content.len()));
                zstd::bulk::Compressor::new(ZSTD_LEVEL)?.compress_to_buffer(content, &mut workspace.output)?;
            }
        }
        Ok(Block { bytes: Bytes::copy_from_slice(&workspace.output), crc })
    }

    /// What comes after the last block, when so many bytes have been given away: for gzip an empty last block, the checksum
    /// and the length of the whole; for Zstandard nothing, or an empty frame where there was no block.
    pub(super) fn trailer(self, crc: &Crc, given: u64) -> Bytes {
        match self {
            Self::Gzip => {
                let mut bytes = vec![0x03, 0x00];
                bytes.extend(crc.sum().to_le_bytes());
                bytes.extend(crc.amount().to_le_bytes());
                bytes.into()
            }
            Self::Zstd if given == 0 => Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0]),
            Self::Zstd => Bytes::new(),
        }
    }
}

/// Samples of a block: how many, and how long each is in bytes.
const SAMPLES: (usize, usize) = (4, 8 * 1024);

/// What shrinks by less than this part is stored: to deflate it would take longer than to send what that saves.
const WORTH_IT: usize = 64;

/// The longest stored block of deflate in bytes (<https://www.rfc-editor.org/rfc/rfc1951#section-3.2.4>).
const LONGEST_STORED: usize = 65_535;

/// A block as it is: parts that are not the last, each behind its length and the length's complement.
fn stored(content: &[u8]) -> Bytes {
    let parts = content.chunks(LONGEST_STORED);
    let mut bytes = Vec::with_capacity(content.len() + 5 * parts.len());
    for part in parts {
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        bytes.push(0);
        bytes.extend(length.to_le_bytes());
        bytes.extend((!length).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes.into()
}

/// Whether all bytes are about equally frequent, as in what is packed: the sum of their squared frequencies is at most
/// half more than the least that it can be. Of text it is more than ten times as much.
fn is_even(content: &[u8]) -> bool {
    let mut counts = [0_u64; 256];
    for byte in content {
        counts[usize::from(*byte)] += 1;
    }
    let (squares, length) = (counts.iter().map(|count| count * count).sum::<u64>(), content.len() as u64);
    squares * 256 * 2 <= length * length * 3
}

impl Workspace {
    /// Whether a block is worth being deflated, as far as samples of it tell: most of what fills large layers, archives and
    /// pictures and machine learning's weights, is packed already. What samples hide costs nothing but bytes. Leaves the output empty.
    fn shrinks(&mut self, content: &[u8]) -> io::Result<bool> {
        let (count, length) = SAMPLES;
        if content.len() < 4 * count * length {
            return Ok(true); // as long to look as to do it
        }
        let samples = (0..count).map(|number| &content[content.len() / count * number..][..length]);
        let samples = samples.collect::<Vec<_>>().concat();
        if !is_even(&samples) {
            return Ok(true); // the answer for most that does shrink, and cheaper than to try
        }
        self.deflate(&samples)?;
        let deflated = self.output.len();
        self.output.clear();
        Ok(deflated < samples.len() - samples.len() / WORTH_IT)
    }

    /// Deflates one block to the output: it ends at a byte boundary, is not the last one and looks back at nothing.
    #[cfg(feature = "isal")]
    fn deflate(&mut self, content: &[u8]) -> io::Result<()> {
        self.isal.deflate(content, &mut self.output)
    }

    /// Deflates one block to the output: it ends at a byte boundary, is not the last one and looks back at nothing.
    #[cfg(not(feature = "isal"))]
    fn deflate(&mut self, content: &[u8]) -> io::Result<()> {
        let mut state = Compress::new(flate2::Compression::new(LEVEL), false);
        self.output.reserve(content.len() + content.len() / 64 + 256);
        loop {
            let taken = usize::try_from(state.total_in()).map_err(io::Error::other)?;
            let status = state.compress_vec(&content[taken..], &mut self.output, FlushCompress::Full)?;
            // The flush is complete when there is room left.
            if self.output.len() < self.output.capacity() {
                return Ok(());
            }
            if status == Status::StreamEnd {
                return Err(io::Error::other("the compressor ended in the middle of a layer"));
            }
            self.output.reserve(64 * 1024);
        }
    }
}
