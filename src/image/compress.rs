//! A layer's tar archive to a gzip blob, with both digests on the way.
//!
//! The same input gives the same bytes: no name, no time in the header, one codec at one level. A registry then knows
//! the blob again by its digest, and a layer that was pushed once is never sent again.

use super::descriptor::{Descriptor, media_type};
use crate::model::Digest;
use bytes::Bytes;
use flate2::{Compression, GzBuilder, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};

/// zlib-rs at level 4 is about 1.4 times as fast as at level 6 and loses two percent of the ratio; level 1 is twice as
/// fast again, but its third more bytes would be paid for by every node that pulls.
const LEVEL: u32 = 4;

/// A compressed layer.
#[derive(Clone, Debug)]
pub(crate) struct CompressedLayer {
    /// The digest of the tar archive.
    pub(crate) diff_id: Digest,
    /// The blob: its media type, digest and size.
    pub(crate) descriptor: Descriptor,
    /// The blob's bytes.
    pub(crate) bytes: Bytes,
}

/// Takes a tar archive in pieces and keeps it compressed. Blocking work: run it on a thread that may block.
pub(crate) struct Compressor {
    /// Hashes the archive.
    raw: Sha256,
    /// Holds the compressed bytes.
    encoder: GzEncoder<Vec<u8>>,
}

impl Compressor {
    /// An empty layer.
    pub(crate) fn new() -> Self {
        // The operating system byte is pinned to "unknown": libraries differ in what they write there.
        let encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(LEVEL));
        Self { raw: Sha256::new(), encoder }
    }

    /// The layer, complete.
    pub(crate) fn finish(self) -> io::Result<CompressedLayer> {
        let bytes = Bytes::from(self.encoder.finish()?);
        let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(&bytes), bytes.len() as u64);
        Ok(CompressedLayer { diff_id: Digest::from_hash(&self.raw.finalize()), descriptor, bytes })
    }
}

impl Write for Compressor {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.encoder.write_all(piece)?;
        self.raw.update(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read as _;

    /// Compresses `data`, written in pieces of `piece` bytes.
    fn compress(data: &[u8], piece: usize) -> CompressedLayer {
        let mut compressor = Compressor::new();
        data.chunks(piece).for_each(|piece| compressor.write_all(piece).unwrap());
        compressor.finish().unwrap()
    }

    #[test]
    fn the_bytes_of_a_known_layer_never_change() {
        let data: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(n / 7).to_le_bytes()).collect();
        let layer = compress(&data, 4096);
        assert_eq!(layer.diff_id, Digest::of(&data));
        assert_eq!(layer.descriptor.digest, Digest::of(&layer.bytes));
        insta::assert_snapshot!(layer.descriptor.digest.as_str(), @"sha256:ae8a09936f21b4da05a5e773f0e9e9b5fae92128c833f8c5b9eb9476e6784904");
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_bytes_and_inflate_back(data: Vec<u8>, piece in 1_usize..5000) {
            let (one, other) = (compress(&data, piece), compress(&data, 64 * 1024));
            prop_assert_eq!(&one.bytes, &other.bytes);
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&one.bytes[..]).read_to_end(&mut back).unwrap();
            prop_assert_eq!(back, data);
        }
    }
}
