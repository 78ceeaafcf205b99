//! Reads a ZIP archive that lies in memory: its list of contents, and single members of it.
//!
//! Source: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>. Not understood: the 64-bit forms and encryption.

use flate2::read::DeflateDecoder;
use std::io::Read;

/// The end of the list of contents, a record of its own.
const END: &[u8; 4] = b"PK\x05\x06";
/// An entry of the list of contents.
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
/// A member itself.
const LOCAL: &[u8; 4] = b"PK\x03\x04";
/// The record at the end, without the comment that may follow.
const END_SIZE: usize = 22;
/// The comment at the end is not longer than this.
const LONGEST_COMMENT: usize = 65_535;

/// An archive.
pub(super) struct Archive<'a> {
    /// All of it.
    bytes: &'a [u8],
    /// What lies before the archive: a script that starts it.
    shift: usize,
    /// The members.
    pub(super) members: Vec<Member>,
}

/// A member of an archive.
pub(super) struct Member {
    /// Its path.
    pub(super) name: String,
    /// How it is compressed: 0 not at all, 8 deflate.
    method: u16,
    /// Its compressed size in bytes.
    compressed: usize,
    /// Where it begins.
    offset: usize,
}

/// Two bytes of a number.
fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Four bytes of a number.
fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let number = u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?);
    usize::try_from(number).ok()
}

impl<'a> Archive<'a> {
    /// Reads the list of contents; `None` where there is none that is understood.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let last = bytes.len().checked_sub(END_SIZE)?;
        let end = (last.saturating_sub(LONGEST_COMMENT)..=last).rev().find(|at| bytes[*at..].starts_with(END))?;
        let (count, size, offset) = (short(bytes, end + 10)?, long(bytes, end + 12)?, long(bytes, end + 16)?);
        let start = end.checked_sub(size)?;
        let shift = start.checked_sub(offset)?;
        let (mut members, mut at) = (Vec::new(), start);
        for _ in 0..count {
            let (member, next) = Member::read(bytes, at)?;
            members.push(member);
            at = next;
        }
        Some(Self { bytes, shift, members })
    }

    /// A member's content, of which no more than `limit` bytes; `None` where it cannot be read.
    pub(super) fn read(&self, member: &Member, limit: u64) -> Option<Vec<u8>> {
        let at = self.shift.checked_add(member.offset)?;
        let header = self.bytes.get(at..)?.starts_with(LOCAL).then_some(at)?;
        let names = usize::from(short(self.bytes, header + 26)?) + usize::from(short(self.bytes, header + 28)?);
        let start = header + 30 + names;
        let data = self.bytes.get(start..start.checked_add(member.compressed)?)?;
        let mut content = Vec::new();
        match member.method {
            0 => data.take(limit).read_to_end(&mut content),
            8 => DeflateDecoder::new(data).take(limit).read_to_end(&mut content),
            _ => return None,
        }
        .ok()?;
        Some(content)
    }
}

impl Member {
    /// Reads an entry of the list, and says where the next one begins.
    fn read(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
        bytes.get(at..)?.starts_with(CENTRAL).then_some(())?;
        let length = |offset| short(bytes, at + offset).map(usize::from);
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let start = at + 46;
        let text = String::from_utf8_lossy(bytes.get(start..start + name)?).into_owned();
        let (compressed, offset) = (long(bytes, at + 20)?, long(bytes, at + 42)?);
        let method = short(bytes, at + 10)?;
        Some((Self { name: text, method, compressed, offset }, start + name + extra + comment))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::{Compression, write::DeflateEncoder};
    use proptest::prelude::*;
    use std::io::Write as _;

    /// A length as two bytes.
    fn two(length: usize) -> [u8; 2] {
        u16::try_from(length).unwrap().to_le_bytes()
    }

    /// A length as four bytes.
    fn four(length: usize) -> [u8; 4] {
        u32::try_from(length).unwrap().to_le_bytes()
    }

    /// An archive of files; every second one is compressed.
    pub(in crate::image::sbom) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut out, mut list) = (Vec::new(), Vec::new());
        for (at, (name, bytes)) in files.iter().enumerate() {
            let method = if at % 2 == 0 { 0_u16 } else { 8 };
            let mut data = bytes.to_vec();
            if method == 8 {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes).unwrap();
                data = encoder.finish().unwrap();
            }
            let offset = four(out.len());
            let sizes = [four(data.len()), four(bytes.len())].concat();
            let name_length = two(name.len());
            let common = [&[20, 0, 0, 0][..], &method.to_le_bytes(), &[0; 8], &sizes, &name_length, &[0, 0]].concat();
            out.extend([LOCAL, &common[..], name.as_bytes(), &data].concat());
            let place = [&[0; 10][..], &offset[..]].concat();
            list.extend([CENTRAL, &[20, 0][..], &common, &place, name.as_bytes()].concat());
        }
        let count = two(files.len());
        let place = [four(list.len()), four(out.len())].concat();
        [&out[..], &list, END, &[0; 4], &count, &count, &place, &[0, 0]].concat()
    }

    #[test]
    fn members_are_read_stored_and_deflated() {
        let files: [(&str, &[u8]); 3] = [("a", b"stored"), ("b/c", b"deflated deflated deflated"), ("d", b"")];
        let plain = zip(&files);
        let with_script = [b"#!/bin/sh\nexec java -jar $0\n", &plain[..]].concat();
        for bytes in [plain, with_script] {
            let archive = Archive::open(&bytes).unwrap();
            for (member, (name, content)) in archive.members.iter().zip(files) {
                assert_eq!((member.name.as_str(), archive.read(member, 1000).unwrap().as_slice()), (name, content));
            }
            assert_eq!(archive.read(&archive.members[1], 8).unwrap(), b"deflated", "no more than the limit");
        }
    }

    #[test]
    fn what_is_no_archive_is_none() {
        assert!(Archive::open(b"").is_none() && Archive::open(&[0; 100]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(flips in prop::collection::vec((0_usize..400, any::<u8>()), 0..8)) {
            let mut bytes = zip(&[("META-INF/MANIFEST.MF", b"Implementation-Version: 1"), ("b", b"bbbbbbbb")]);
            for (at, value) in flips {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            if let Some(archive) = Archive::open(&bytes) {
                archive.members.iter().for_each(|member| drop(archive.read(member, 1000)));
            }
        }
    }
}
