//! The files of a layout: in a folder, or inside of a tar archive, where they are read in place.

use super::error::Error;
use crate::image::assembly::tree::clean;
use crate::image::part::{Content, ContentStream, FileRange};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// A JSON document is not larger than this.
const LARGEST_DOCUMENT: u64 = 4 * 1024 * 1024;

/// Files are read in pieces of this size.
const PIECE: u64 = 256 * 1024;

/// So many pieces are read ahead.
const AHEAD: usize = 8;

/// Links that lead on further than this are a loop.
const MOST_LINKS: usize = 8;

/// Where the files of a layout are.
#[derive(Clone, Debug)]
pub(crate) enum Files {
    /// In a folder.
    Folder(PathBuf),
    /// In a tar archive that is not compressed.
    Tar {
        /// Its files by name.
        entries: HashMap<String, Place>,
        /// Its links by name, with the name that they lead to.
        links: HashMap<String, String>,
    },
    /// In a gzipped tar archive, which can only be read from its beginning.
    Stream,
}

/// A range of bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    file: PathBuf,
    /// Where it begins, in bytes.
    start: u64,
    /// How long it is, in bytes.
    pub(crate) size: u64,
}

/// What archives may be compressed with that is not read.
const OTHER_CODECS: [(&[u8], &str); 3] = [(&[0x28, 0xb5, 0x2f, 0xfd], "zstd"), (b"\xfd7zXZ", "xz"), (b"BZh", "bzip2")];

impl Files {
    /// Looks at what is there: a folder, or an archive, whose headers are read. Blocking work.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let cannot = |error: io::Error| problem(path, format!("it cannot be read: {error}"));
        let found = path.metadata().map_err(cannot)?;
        if found.is_dir() {
            return Ok(Self::Folder(path.to_owned()));
        }
        if !found.is_file() {
            return Err(problem(path, "it is neither a file nor a folder".to_owned()));
        }
        let mut file = File::open(path).map_err(cannot)?;
        let mut start = Vec::new();
        file.by_ref().take(512).read_to_end(&mut start).map_err(cannot)?;
        if start.starts_with(&[0x1f, 0x8b]) {
            return Ok(Self::Stream);
        }
        if let Some((_, name)) = OTHER_CODECS.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Err(problem(path, format!("it is compressed with {name}; gzip or no compression can be read")));
        }
        file.rewind().map_err(cannot)?;
        let broken = |error: io::Error| problem(path, format!("it is no whole tar archive: {}", printable(&error)));
        Self::scan(path, file).map_err(broken)
    }

    /// Reads the headers of an archive.
    fn scan(path: &Path, file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let (mut entries, mut links) = (HashMap::new(), HashMap::new());
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = clean(&entry.path()?.to_string_lossy());
            let kind = entry.header().entry_type();
            if let (true, Some(target)) = (kind.is_symlink() || kind.is_hard_link(), entry.link_name()?) {
                let folder = name.rsplit_once('/').map(|(folder, _)| folder).filter(|_| kind.is_symlink());
                links.insert(name.clone(), join(folder.unwrap_or_default(), &target.to_string_lossy()));
            } else if kind.is_file() {
                let place = Place { file: path.to_owned(), start: entry.raw_file_position(), size: entry.size() };
                if place.start.checked_add(place.size).is_none_or(|end| end > length) {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ends inside of `{name}`")));
                }
                links.remove(&name); // of two entries of one name the later counts
                entries.insert(name, place);
            }
        }
        if entries.is_empty() {
            return Err(io::Error::other("it holds no files"));
        }
        Ok(Self::Tar { entries, links })
    }

    /// Where a file is; `None` where there is none of this name.
    pub(crate) fn find(&self, name: &str) -> Option<Place> {
        match self {
            Self::Folder(root) => {
                let file = root.join(clean(name)); // a document may call a layer anything
                let found = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
                Some(Place { file, start: 0, size: found.len() })
            }
            Self::Tar { entries, links } => {
                let mut name = clean(name);
                for _ in 0..MOST_LINKS {
                    match links.get(&name) {
                        Some(target) => name.clone_from(target),
                        None => break,
                    }
                }
                entries.get(&name).cloned()
            }
            Self::Stream => None,
        }
    }
}

impl Place {
    /// All of a file.
    pub(crate) fn whole(path: &Path) -> io::Result<Self> {
        Ok(Self { file: path.to_owned(), start: 0, size: path.metadata()?.len() })
    }

    /// All of it, which must be a document. Blocking work.
    pub(crate) fn document(&self) -> io::Result<Bytes> {
        if self.size > LARGEST_DOCUMENT {
            return Err(io::Error::other(format!("{} bytes are too many for a document", self.size)));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default() + 1); // the end shows at once
        self.open()?.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// The first bytes: enough to tell what it is. Blocking work.
    pub(crate) fn beginning(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(512);
        self.open()?.take(512).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads it in pieces until `take` has enough. Blocking work.
    pub(crate) fn read<E: From<io::Error>>(&self, mut take: impl FnMut(Bytes) -> Result<(), E>) -> Result<(), E> {
        let mut file = self.open()?;
        let mut left = self.size;
        while left > 0 {
            let mut piece = Vec::with_capacity(usize::try_from(left.min(PIECE)).unwrap_or_default());
            file.by_ref().take(PIECE).read_to_end(&mut piece)?;
            if piece.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            left -= piece.len() as u64;
            take(piece.into())?;
        }
        Ok(())
    }

    /// Its content, opened anew for each try.
    pub(crate) fn content(self) -> Content {
        let range = FileRange { file: self.file.clone(), start: self.start };
        let open = Arc::new(move || {
            let place = self.clone();
            async move { Ok(place.stream()) }.boxed()
        });
        Content::File { range, open }
    }

    /// A stream of its bytes, read ahead on a thread that may block.
    fn stream(self) -> ContentStream {
        let (sender, pieces) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            let read = self.read(|piece| sender.blocking_send(Ok(piece)).map_err(gone));
            if let Err(error) = read {
                let _ = sender.blocking_send(Err(error)); // nobody listens where nobody wants it
            }
        });
        ReceiverStream::new(pieces).boxed()
    }

    /// The file, at the beginning of the range and ending with it.
    fn open(&self) -> io::Result<io::Take<File>> {
        let mut file = File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.start))?;
        Ok(file.take(self.size))
    }
}

/// A layout that cannot be pushed.
pub(crate) fn problem(path: &Path, problem: String) -> Error {
    Error::Layout { path: path.to_owned(), problem }
}

/// What an error says, as far as it is text: libraries like to quote the bytes that they did not understand.
pub(crate) fn printable(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        Some(garbage) => text[..garbage].rsplit_once(": ").map_or("unknown bytes", |(words, _)| words).to_owned(),
        None => text,
    }
}

/// A name relative to a folder, without `.` and `..`.
fn join(folder: &str, name: &str) -> String {
    clean(&format!("{folder}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of these entries: names with content, or with an arrow and where they lead.
    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            if let Some(target) = content.strip_prefix("-> ") {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, name, target).unwrap();
            } else {
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, name, content.as_bytes()).unwrap();
            }
        }
        archive.into_inner().unwrap()
    }

    /// What a name of an archive of these bytes leads to.
    fn document(bytes: &[u8], name: &str) -> Option<Bytes> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Files::open(file.path()).unwrap().find(name).map(|place| place.document().unwrap())
    }

    #[test]
    fn of_two_entries_of_one_name_the_later_counts() {
        let (file, link) = (("./a", "file"), ("a", "-> b"));
        assert_eq!(document(&archive(&[("b", "other"), link, file]), "a").unwrap(), "file");
        assert_eq!(document(&archive(&[("b", "other"), file, link]), "./a").unwrap(), "other");
    }

    #[test]
    fn an_entry_that_is_longer_than_can_be_is_a_mistake() {
        let mut bytes = archive(&[("a", "content")]);
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&bytes[..512]);
        header.set_size(u64::MAX - 511 - 512);
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let error = Files::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("no whole tar archive"), "{error}");
    }

    #[test]
    fn a_document_cannot_name_what_lies_outside_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("layout")).unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        let files = Files::open(&folder.path().join("layout")).unwrap();
        for name in ["../secret".to_owned(), folder.path().join("secret").display().to_string()] {
            assert_eq!(files.find(&name), None, "{name}");
        }
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = Files::open(&pipe).unwrap_err().to_string();
        assert!(error.ends_with("it is neither a file nor a folder"), "{error}");
    }
}
