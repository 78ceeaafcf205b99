//! A layer as a tar archive that depends on nothing but its entries: no times of this machine, no names of owners, entries in
//! order.
//!
//! The format is ustar with PAX records where a value does not fit
//! (<https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13>).

use super::copy::{Body, Entry, Layer};
use super::source::Content;
use crate::model::Digest;
use std::collections::HashMap;
use std::io::{self, Read, Write};

/// The length of a block.
const BLOCK: usize = 512;

/// The time of folders and links: the first of February 1980, which no time zone moves before the time at which zip begins.
/// Build tools that make archives reproducible have settled on it.
pub(crate) const TIME: u64 = 318_211_200;

/// Files have a time within so many seconds (34 years) from then on, made of their content: one that changes has another time.
/// Web servers tell versions of a file apart by its time and size (the `ETag` of nginx and Apache): with one time for all, a
/// browser would go on showing what it has where a change leaves the size as it was.
const TIMES: u64 = 1 << 30;

/// The same as configurations have it.
pub(crate) const TIME_TEXT: &str = "1980-02-01T00:00:00Z";

/// Opens the content of a file.
pub(crate) trait Open {
    /// The content, from its beginning.
    fn open(&mut self, content: &Content) -> io::Result<Box<dyn Read + '_>>;

    /// A digest of the content, which has this size: another content has another one, and the same has always the same.
    fn digest(&mut self, content: &Content, size: u64) -> io::Result<Digest>;
}

/// Writes a layer. A file that is longer or shorter than it was when it was listed is an error.
pub(crate) fn write(layer: &Layer, open: &mut impl Open, out: &mut impl Write) -> io::Result<()> {
    let mut first_names: HashMap<usize, (String, u64)> = HashMap::new();
    for (path, entry) in layer.entries() {
        let earlier = match &entry.body {
            Body::File { same: Some(same), .. } => first_names.get(same).cloned(),
            _ => None,
        };
        if let Some((earlier, time)) = earlier {
            header(&path, entry, b'1', (0, time), &earlier, out)?; // some readers set the time of the file by each of its names
            continue;
        }
        match &entry.body {
            Body::Folder => header(&format!("{path}/"), entry, b'5', (0, TIME), "", out)?,
            Body::Link(target) => header(&path, entry, b'2', (0, TIME), target, out)?,
            Body::File { content, size, same } => {
                let time = file(&path, entry, content, *size, open, out)?;
                first_names.extend(same.map(|same| (same, (path, time))));
            }
        }
    }
    out.write_all(&[0; 2 * BLOCK])
}

/// Writes a file, and gives its time. That comes before its content: one that is a single piece is read first, others are
/// asked for their digest, which is known where the key of the image was made of it.
fn file(
    path: &str,
    entry: &Entry,
    content: &Content,
    size: u64,
    open: &mut impl Open,
    out: &mut impl Write,
) -> io::Result<u64> {
    if size > PIECE as u64 {
        let time = time_of(&open.digest(content, size)?);
        header(path, entry, b'0', (size, time), "", out)?;
        copy(open.open(content)?, size, path, out)?;
        return Ok(time);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(PIECE) + 1);
    open.open(content)?.take(size + 1).read_to_end(&mut bytes)?; // one byte more than there should be shows that it has grown
    let time = time_of(&Digest::of(&bytes));
    header(path, entry, b'0', (size, time), "", out)?;
    copy(Box::new(bytes.as_slice()), size, path, out)?;
    Ok(time)
}

/// The time of a file with this content, in seconds since 1970.
pub(crate) fn time_of(digest: &Digest) -> u64 {
    let first = digest.hex().get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    TIME + first.unwrap_or_default() % TIMES
}

/// The content of a file is read in pieces of this size.
const PIECE: usize = 256 * 1024;

/// Copies the content of a file and fills its last block.
fn copy(mut from: Box<dyn Read + '_>, size: u64, path: &str, out: &mut impl Write) -> io::Result<()> {
    let changed = || io::Error::other(format!("`{path}` changed while it was read"));
    let mut left = size;
    let mut piece = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE)).max(1)];
    loop {
        let length = from.read(&mut piece)?;
        if length == 0 {
            break;
        }
        left = left.checked_sub(length as u64).ok_or_else(changed)?;
        out.write_all(&piece[..length])?;
    }
    if left > 0 {
        return Err(changed());
    }
    pad(size, out)
}

/// Fills the last block.
fn pad(size: u64, out: &mut impl Write) -> io::Result<()> {
    let used = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    if used == 0 { Ok(()) } else { out.write_all(&[0; BLOCK][used..]) }
}

/// Writes the header of an entry of a size and a time, with PAX records before it where it needs any.
fn header(
    path: &str,
    entry: &Entry,
    kind: u8,
    (size, time): (u64, u64),
    link: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut block = Block::new();
    let mut records = Vec::new();
    if !block.name(path) {
        record("path", path, &mut records);
    }
    if !block.text(157, 100, link) {
        record("linkpath", link, &mut records);
    }
    let owner = entry.owner;
    for (name, at, length, value) in
        [("uid", 108, 8, owner.user), ("gid", 116, 8, owner.group), ("size", 124, 12, size)]
    {
        if !block.number(at, length, value) {
            record(name, &value.to_string(), &mut records);
        }
    }
    if !records.is_empty() {
        extended(&records, out)?;
    }
    block.number(100, 8, u64::from(entry.mode & 0o7777));
    block.number(136, 12, time);
    out.write_all(&block.finish(kind))
}

/// Writes the PAX records that the next header needs.
fn extended(records: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut block = Block::new();
    block.text(0, 100, "PaxHeaders/entry");
    block.number(100, 8, 0o644);
    block.number(108, 8, 0);
    block.number(116, 8, 0);
    block.number(124, 12, records.len() as u64);
    block.number(136, 12, TIME);
    out.write_all(&block.finish(b'x'))?;
    out.write_all(records)?;
    pad(records.len() as u64, out)
}

/// A PAX record: its own length, the name, the value.
fn record(name: &str, value: &str, records: &mut Vec<u8>) {
    let rest = name.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {name}={value}\n").as_bytes());
}

/// A header that is being filled in.
struct Block([u8; BLOCK]);

impl Block {
    /// An empty ustar header.
    fn new() -> Self {
        let mut block = [0; BLOCK];
        block[257..265].copy_from_slice(b"ustar\x0000");
        Self(block)
    }

    /// Writes a name, its beginning in the prefix where it is long; `false` where it does not fit.
    fn name(&mut self, path: &str) -> bool {
        if self.text(0, 100, path) {
            return true;
        }
        let split = path.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at);
        let fits = |at: &usize| *at <= 155 && path.len() - at - 1 <= 100 && path.len() > at + 1;
        let at = if path.is_ascii() { split.filter(|at| *at > 0).find(fits) } else { None };
        if let Some(at) = at {
            return self.text(345, 155, &path[..at]) && self.text(0, 100, &path[at + 1..]);
        }
        // Readers take the record; what does not know records shows a beginning of the name.
        let ascii: String = path.chars().filter(char::is_ascii).take(100).collect();
        self.text(0, 100, ascii.trim_end_matches('/'));
        false
    }

    /// Writes a text; `false` where it does not fit or is not ASCII.
    fn text(&mut self, at: usize, length: usize, text: &str) -> bool {
        let fits = text.len() <= length && text.is_ascii();
        if fits {
            self.0[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        fits
    }

    /// Writes a number in octal; `false`, and nought, where it does not fit.
    fn number(&mut self, at: usize, length: usize, value: u64) -> bool {
        let digits = length - 1;
        let text = format!("{value:0digits$o}");
        let fits = text.len() <= digits;
        let text = if fits { text } else { "0".repeat(digits) };
        self.0[at..at + digits].copy_from_slice(text.as_bytes());
        fits
    }

    /// The header, with its kind and its sum.
    fn finish(mut self, kind: u8) -> [u8; BLOCK] {
        self.0[156] = kind;
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        self.0[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        self.0[154] = 0;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::copy::{Action, Copy, Site};
    use super::super::source::{Files, Item, Kind};
    use super::super::tree::{Base, Known, Whole};
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    /// Content by the name of the file.
    struct Named;

    impl Open for Named {
        fn open(&mut self, content: &Content) -> io::Result<Box<dyn Read + '_>> {
            let Content::Path(path) = content else { return Err(io::ErrorKind::NotFound.into()) };
            Ok(Box::new(io::Cursor::new(path.to_string_lossy().into_owned().into_bytes())))
        }

        fn digest(&mut self, content: &Content, _: u64) -> io::Result<Digest> {
            let mut all = Vec::new();
            self.open(content)?.read_to_end(&mut all)?;
            Ok(Digest::of(&all))
        }
    }

    /// A file whose content is its name.
    fn file(name: &str, identity: Option<(u64, u64)>) -> Item {
        let content = Content::Path(PathBuf::from(name));
        Item { kind: Kind::File { content, size: name.len() as u64, identity }, mode: 0o640 }
    }

    /// The layer of a copy of everything to `/`.
    fn layer(items: &[(&str, Item)], owner: Option<&str>) -> Layer {
        let known = Known::All(Whole::default());
        let (base, mut files) = (Base::new(&known), Files::default());
        for (path, item) in items {
            files.add(path, item.clone());
        }
        let owner = owner.map(|user| super::super::copy::Account { user: user.to_owned(), group: None });
        let mut site = Site::new(&base, &files);
        let copy = Copy {
            sources: vec!["/".to_owned()],
            dest: "/".to_owned(),
            texts: Vec::new(),
            owner,
            mode: None,
            link: false,
        };
        site.act(&Action::Copy(copy)).unwrap();
        site.take_layer().unwrap()
    }

    /// The archive of a layer.
    fn archive(layer: &Layer) -> Vec<u8> {
        let mut out = Vec::new();
        write(layer, &mut Named, &mut out).unwrap();
        out
    }

    /// Name, kind, user, link and content of each entry, as another reader sees them.
    fn read(archive: &[u8]) -> Vec<(String, u8, u64, String, String)> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let link = entry.link_name().unwrap().map(|link| link.to_string_lossy().into_owned());
            let (name, header) = (entry.path().unwrap().to_string_lossy().into_owned(), entry.header());
            let time = header.mtime().unwrap();
            match header.entry_type() {
                tar::EntryType::Regular => assert_eq!(time, time_of(&Digest::of(content.as_bytes()))),
                tar::EntryType::Link => assert!(time > TIME, "the time of its file"),
                _ => assert_eq!(time, TIME),
            }
            (name, header.entry_type().as_byte(), header.uid().unwrap(), link.unwrap_or_default(), content)
        });
        entries.collect()
    }

    #[test]
    fn entries_come_in_order_and_second_names_are_links() {
        let items = [
            ("b-c", file("b-c", Some((1, 1)))),
            ("b/d", file("b-c", Some((1, 1)))),
            ("a", Item { kind: Kind::Link("b/d".to_owned()), mode: 0o777 }),
        ];
        let read = read(&archive(&layer(&items, Some("2097152"))));
        let text = |name: &str, kind, link: &str, content: &str| {
            (name.to_owned(), kind, 2_097_152, link.to_owned(), content.to_owned())
        };
        let wanted = [
            text("a", b'2', "b/d", ""),
            text("b/", b'5', "", ""),
            text("b/d", b'0', "", "b-c"),
            text("b-c", b'1', "b/d", ""),
        ];
        assert_eq!(read, wanted);
    }

    #[test]
    fn the_bytes_of_a_known_layer_never_change() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(90));
        let items = [
            ("plain", file("plain", None)),
            (long.as_str(), file("long", None)),
            ("caf\u{e9}", file("unicode", None)),
            ("link", Item { kind: Kind::Link("x".repeat(150)), mode: 0o777 }),
        ];
        let digest = crate::model::Digest::of(&archive(&layer(&items, None)));
        insta::assert_snapshot!(digest.as_str(), @"sha256:bdd1b47ddf44f08bcfa4cbef7a4f483769a37494e51d69c22593d3dfbcd3c131");
    }

    /// The time of a file whose content is its name.
    fn time(name: &str) -> u64 {
        let archive = archive(&layer(&[("a", file(name, None))], None));
        let mut archive = tar::Archive::new(&archive[..]);
        archive.entries().unwrap().next().unwrap().unwrap().header().mtime().unwrap()
    }

    #[test]
    fn a_file_that_changes_has_another_time_and_the_same_one_has_not() {
        let large = |end: &str| "x".repeat(PIECE) + end;
        for (one, other) in [("v1.0.1".to_owned(), "v1.0.2".to_owned()), (large("1"), large("2"))] {
            assert_eq!(time(&one), time(&one));
            assert_ne!(time(&one), time(&other), "as long as before: nothing else would tell");
            assert!((TIME..TIME + TIMES).contains(&time(&one)));
        }
    }

    #[test]
    fn a_file_that_changes_is_an_error() {
        let mut item = file("name", None);
        let Kind::File { size, .. } = &mut item.kind else { panic!() };
        *size = 3;
        let layer = layer(&[("name", item)], None);
        assert!(write(&layer, &mut Named, &mut Vec::new()).unwrap_err().to_string().contains("changed while"));
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in "[a-z\u{e4}\u{4e2d} '\"\\\\]{1,90}(/[a-z\u{e4} .-]{1,90}){0,4}") {
            prop_assume!(name.split('/').all(|part| !matches!(part, "." | "..")));
            let read = read(&archive(&layer(&[(name.as_str(), file("content", None))], None)));
            let last = read.last().unwrap();
            prop_assert_eq!((last.0.as_str(), last.4.as_str()), (name.as_str(), "content"));
        }

        #[test]
        fn a_record_says_its_length(value in "[a-z]{0,1100}") {
            let mut records = Vec::new();
            record("path", &value, &mut records);
            let text = String::from_utf8(records).unwrap();
            let length: usize = text.split(' ').next().unwrap().parse().unwrap();
            prop_assert_eq!(length, text.len());
        }
    }
}
