//! Reads ZIP archives, of which WAR files are a kind: the directory at the end, then each member by itself.
//!
//! Source: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>. Members are stored or deflated; both forms of the
//! directory are read, the old one and the one with 64 bits. Nothing is encrypted in a WAR.

use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::io::{self, Read, Seek, SeekFrom};

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its path; a slash at its end makes it a folder.
    pub(crate) name: String,
    /// The length of its content in bytes.
    pub(crate) size: u64,
    /// How it is packed.
    pub(crate) method: u16,
    /// Its length in the archive in bytes.
    pub(crate) packed: u64,
    /// The checksum of its content.
    pub(crate) crc: u32,
    /// Where its header stands.
    offset: u64,
}

/// A member that is not packed.
const STORED: u16 = 0;
/// A member that is packed with deflate.
const DEFLATED: u16 = 8;

/// The end of an archive without its comment: signature and 18 bytes.
const END: usize = 22;
/// A comment is not longer than this.
const LONGEST_COMMENT: usize = 65_535;
/// What says where the 64-bit record of the end stands; it lies before the end.
const LOCATOR: u64 = 20;
/// The 64-bit record of the end.
const END_64: u64 = 56;
/// What an entry of the directory begins with.
const ENTRY_START: &[u8] = b"PK\x01\x02";
/// An entry of the directory without its texts.
const ENTRY: usize = 46;
/// The header of a member without its texts.
const HEADER: usize = 30;
/// A directory is not larger than this, in bytes: a million members.
const LARGEST_DIRECTORY: u64 = 256 * 1024 * 1024;

/// What is wrong with an archive.
fn broken(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

/// A little-endian number of up to eight bytes; nought where there are not enough.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let part = bytes.get(at..at + length).unwrap_or_default();
    part.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Reads so many bytes from a place.
fn read_at(archive: &mut (impl Read + Seek), at: u64, length: usize) -> io::Result<Vec<u8>> {
    archive.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; length];
    archive.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The members of an archive, in the order of its directory.
pub(crate) fn members(archive: &mut (impl Read + Seek)) -> io::Result<Vec<Member>> {
    let Directory { count, size, offset, before } = find_directory(archive)?;
    if size > LARGEST_DIRECTORY {
        return Err(broken("its directory is too large"));
    }
    let directory = read_at(archive, offset.saturating_add(before), usize::try_from(size).unwrap_or_default())?;
    let (mut members, mut rest) = (Vec::new(), directory.as_slice());
    // What counts in 16 bits and has more members begins again at nought: there are at least as many as it says.
    while (members.len() as u64) < count || rest.starts_with(ENTRY_START) {
        let (mut member, length) = entry(rest)?;
        member.offset = member.offset.checked_add(before).ok_or_else(|| broken("its directory is nonsense"))?;
        rest = rest.get(length..).ok_or_else(|| broken("its directory breaks off"))?;
        members.push(member);
    }
    Ok(members)
}

/// The directory of an archive.
struct Directory {
    /// How many members there are.
    count: u64,
    /// Its length in bytes.
    size: u64,
    /// Where it begins, as seen from the archive.
    offset: u64,
    /// How many bytes lie before the archive: a script that starts it.
    before: u64,
}

/// Finds the directory.
fn find_directory(archive: &mut (impl Read + Seek)) -> io::Result<Directory> {
    let length = archive.seek(SeekFrom::End(0))?;
    let tail = length.min((END + LONGEST_COMMENT) as u64);
    let start = length - tail;
    let bytes = read_at(archive, start, usize::try_from(tail).unwrap_or_default())?;
    let last = bytes.len().checked_sub(END).ok_or_else(|| broken("it is too short for a ZIP archive"))?;
    let at = (0..=last).rev().find(|at| bytes[*at..].starts_with(b"PK\x05\x06"));
    let at = at.ok_or_else(|| broken("it is no ZIP archive"))?;
    let end = &bytes[at..];
    let (count, size, offset) = (number(end, 10, 2), number(end, 12, 4), number(end, 16, 4));
    let end = start + at as u64;
    // The directory ends where the record of its end begins, whatever lies before the archive.
    let before = end.saturating_sub(size).saturating_sub(offset);
    let plain = Directory { count, size, offset, before };
    let locator = end.checked_sub(LOCATOR);
    let large = count == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff;
    let Some(at) = locator.filter(|_| large) else { return Ok(plain) };
    let locator = read_at(archive, at, 20)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(plain);
    }
    // The locator says where the record is, as seen from the archive. It lies right before the locator.
    let (said, likely) = (number(&locator, 8, 8), at.saturating_sub(END_64));
    for place in [said, likely] {
        let end = read_at(archive, place, 56).unwrap_or_default();
        if end.starts_with(b"PK\x06\x06") {
            let (count, size, offset) = (number(&end, 32, 8), number(&end, 40, 8), number(&end, 48, 8));
            return Ok(Directory { count, size, offset, before: place.saturating_sub(said) });
        }
    }
    Err(broken("its 64-bit directory is not where it should be"))
}

/// Reads an entry of the directory: the member, and the length of the entry.
fn entry(bytes: &[u8]) -> io::Result<(Member, usize)> {
    if bytes.len() < ENTRY || !bytes.starts_with(ENTRY_START) {
        return Err(broken("its directory breaks off"));
    }
    let length = |at| usize::try_from(number(bytes, at, 2)).unwrap_or_default();
    let (name_length, extra_length, comment_length) = (length(28), length(30), length(32));
    let texts = bytes.get(ENTRY..ENTRY + name_length + extra_length);
    let (name, extra) = texts.ok_or_else(|| broken("its directory breaks off"))?.split_at(name_length);
    let name = std::str::from_utf8(name).map_err(|_| broken("the name of a member is not UTF-8"))?.to_owned();
    if number(bytes, 8, 2) & 1 == 1 {
        return Err(broken(format!("`{name}` is encrypted")));
    }
    let mut member = Member {
        size: number(bytes, 24, 4),
        method: u16::try_from(number(bytes, 10, 2)).unwrap_or_default(),
        packed: number(bytes, 20, 4),
        crc: u32::try_from(number(bytes, 16, 4)).unwrap_or_default(),
        offset: number(bytes, 42, 4),
        name,
    };
    // Numbers that do not fit stand in an extra field, in this order and only those.
    let mut large = extra_field(extra, 1);
    for value in [&mut member.size, &mut member.packed, &mut member.offset] {
        if *value == 0xffff_ffff && large.len() >= 8 {
            *value = number(large, 0, 8);
            large = &large[8..];
        }
    }
    Ok((member, ENTRY + name_length + extra_length + comment_length))
}

/// The content of an extra field; empty where there is none.
fn extra_field(mut extra: &[u8], wanted: u64) -> &[u8] {
    while extra.len() >= 4 {
        let length = usize::try_from(number(extra, 2, 2)).unwrap_or_default();
        let end = (4 + length).min(extra.len());
        if number(extra, 0, 2) == wanted {
            return &extra[4..end];
        }
        extra = &extra[end..];
    }
    &[]
}

/// The bytes of a member as they lie in the archive.
pub(crate) fn packed<R: Read + Seek>(mut archive: R, member: &Member) -> io::Result<io::Take<R>> {
    let header = read_at(&mut archive, member.offset, HEADER)?;
    if !header.starts_with(b"PK\x03\x04") {
        return Err(broken(format!("`{}` is not where the directory says", member.name)));
    }
    let texts = number(&header, 26, 2) + number(&header, 28, 2);
    archive.seek(SeekFrom::Start(member.offset.saturating_add(HEADER as u64 + texts)))?;
    Ok(archive.take(member.packed))
}

/// The content of a member. Its end is an error where length or checksum are not those of the directory.
pub(crate) fn open<'a, R: Read + Seek + 'a>(archive: R, member: &Member) -> io::Result<Box<dyn Read + 'a>> {
    let packed = packed(archive, member)?;
    let content: Box<dyn Read + 'a> = match member.method {
        STORED => Box::new(packed),
        DEFLATED => Box::new(DeflateDecoder::new(io::BufReader::with_capacity(128 * 1024, packed))),
        method => return Err(broken(format!("`{}` is packed in a way ({method}) that is not read here", member.name))),
    };
    Ok(Box::new(Checked { content, crc: Crc::new(), left: member.size, member: member.clone() }))
}

/// The content of a member, checked on the way.
struct Checked<'a> {
    /// The content.
    content: Box<dyn Read + 'a>,
    /// The checksum so far.
    crc: Crc,
    /// How much is to come.
    left: u64,
    /// What it should be.
    member: Member,
}

impl Read for Checked<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.content.read(into)?;
        self.crc.update(&into[..length]);
        let damaged = || broken(format!("`{}` is damaged", self.member.name));
        self.left = self.left.checked_sub(length as u64).ok_or_else(damaged)?;
        if length == 0 && !into.is_empty() && (self.left > 0 || self.crc.sum() != self.member.crc) {
            return Err(damaged());
        }
        Ok(length)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::{Compression, write::DeflateEncoder};
    use proptest::prelude::*;
    use std::io::{Cursor, Write as _};

    /// An archive of these files; those with an odd position are deflated.
    pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (at, (name, content)) in files.iter().enumerate() {
            let mut crc = Crc::new();
            crc.update(content);
            let (method, data) = if at % 2 == 0 {
                (STORED, content.to_vec())
            } else {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(content).unwrap();
                (DEFLATED, encoder.finish().unwrap())
            };
            let offset = u32::try_from(out.len()).unwrap();
            let mut shared = Vec::new();
            shared.extend_from_slice(&[20, 0, 0, 0]);
            shared.extend_from_slice(&method.to_le_bytes());
            shared.extend_from_slice(&u32::try_from(at).unwrap().to_le_bytes()); // a time
            shared.extend_from_slice(&crc.sum().to_le_bytes());
            shared.extend_from_slice(&u32::try_from(data.len()).unwrap().to_le_bytes());
            shared.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
            shared.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
            out.extend_from_slice(b"PK\x03\x04");
            out.extend_from_slice(&shared);
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&data);
            directory.extend_from_slice(b"PK\x01\x02\x14\x00");
            directory.extend_from_slice(&shared);
            directory.extend_from_slice(&[0; 12]);
            directory.extend_from_slice(&offset.to_le_bytes());
            directory.extend_from_slice(name.as_bytes());
        }
        let (offset, count) =
            (u32::try_from(out.len()).unwrap(), [files.len().to_le_bytes()[0], files.len().to_le_bytes()[1]]);
        out.extend_from_slice(&directory);
        out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        out.extend_from_slice(&[count, count].concat());
        out.extend_from_slice(&u32::try_from(directory.len()).unwrap().to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(b"\x07\0comment");
        out
    }

    /// All names and contents.
    fn read(archive: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let members = members(&mut Cursor::new(archive))?;
        let read = members.into_iter().map(|member| {
            let mut content = Vec::new();
            open(Cursor::new(archive), &member)?.read_to_end(&mut content)?;
            Ok((member.name, content))
        });
        read.collect()
    }

    #[test]
    fn more_members_than_an_old_directory_can_count_are_read() {
        let names: Vec<String> = (0..70_000).map(|number| number.to_string()).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
        assert_eq!(members(&mut Cursor::new(zip(&files))).unwrap().len(), 70_000);
    }

    #[test]
    fn what_is_no_archive_says_why() {
        assert_eq!(read(b"no").unwrap_err().to_string(), "it is too short for a ZIP archive");
        assert_eq!(read(&[b'x'; 100]).unwrap_err().to_string(), "it is no ZIP archive");
        let mut damaged = zip(&[("a", b"content")]);
        damaged[31] ^= 1; // the first byte of the content
        assert_eq!(read(&damaged).unwrap_err().to_string(), "`a` is damaged");
        let whole = zip(&[("a", b"content")]);
        assert!(read(&whole[20..]).is_err());
    }

    proptest! {
        #[test]
        fn archives_come_back(files in prop::collection::vec(("[a-z/\u{e4}]{1,20}", prop::collection::vec(any::<u8>(), 0..300)), 0..8)) {
            let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
            let read = read(&zip(&files)).unwrap();
            let got: Vec<(&str, &[u8])> = read.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
            prop_assert_eq!(got, files);
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..150, byte: u8) {
            let _ = read(&bytes);
            bytes = zip(&[("a", b"one"), ("b/c", b"two, two, two")]);
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }
}
