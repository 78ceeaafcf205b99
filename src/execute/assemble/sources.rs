//! The files of an assembly, listed.

use super::make::{Opener, Opens};
use crate::docker::context::{Context, EntryKind};
use crate::docker::file_digest::content_digest;
use crate::docker::found::Found;
use crate::image::assembly::source::{Content, Files, Item, Kind};
use crate::model::Digest;
use std::fs::{DirEntry, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens files of this machine.
struct Here;

impl Opener for Here {
    fn open(&mut self, content: &Content) -> io::Result<Box<dyn Read + '_>> {
        match content {
            Content::Path(path) => Ok(Box::new(File::open(path).map_err(|error| named(path, &error))?)),
            Content::Text(text) => Ok(Box::new(io::Cursor::new(text.clone()))),
            Content::Member(_) => Err(io::Error::other("there is no archive")),
        }
    }

    fn digest(&mut self, content: &Content, size: u64) -> io::Result<Digest> {
        match content {
            Content::Path(path) => content_digest(path, size).map_err(|error| named(path, &error)),
            Content::Text(text) => Ok(Digest::of(text)),
            Content::Member(_) => Err(io::Error::other("there is no archive")),
        }
    }
}

/// An error with the name of the file that it is about.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

/// Content that lies in files of this machine.
pub(super) fn here() -> Opens {
    Arc::new(|| Box::new(Here))
}

/// The files of a build context.
pub(super) fn of_context(context: &Context) -> Files {
    let mut files = Files::default();
    for entry in context.entries.iter() {
        let kind = match &entry.kind {
            EntryKind::Folder => Kind::Folder,
            EntryKind::Link { target } => Kind::Link(target.clone()),
            EntryKind::File { size } => {
                let (path, identity) = (context.root.join(&entry.path), entry.found.identity());
                Kind::File { content: Content::Path(path), size: *size, identity }
            }
        };
        files.add(&entry.path, Item { kind, mode: entry.mode });
    }
    files
}

/// Lists a file, or a folder with all that is in it, below a name; the source that a copy takes. Blocking work.
pub(super) fn add(source: &Path, below: &str, files: &mut Files) -> Result<String, (PathBuf, io::Error)> {
    let fail = |error| (source.to_owned(), error);
    let found = source.metadata().map_err(fail)?;
    let mode = found.mode() & 0o7777;
    if found.is_dir() {
        files.add(below, Item { kind: Kind::Folder, mode });
        add_folder(source, below, files)?;
        return Ok(below.to_owned());
    }
    if !found.is_file() {
        return Err(fail(io::Error::other("it is neither a file nor a folder")));
    }
    let name = source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let path = format!("{below}/{name}");
    let kind = Kind::File { content: Content::Path(source.to_owned()), size: found.len(), identity: None };
    files.add(&path, Item { kind, mode });
    Ok(path)
}

/// Lists what is in a folder, and in those below it: they may be as deep as paths are long. Sockets, pipes and devices are left
/// out.
fn add_folder(folder: &Path, below: &str, files: &mut Files) -> Result<(), (PathBuf, io::Error)> {
    let mut folders = vec![(folder.to_owned(), below.to_owned())];
    while let Some((folder, below)) = folders.pop() {
        let fail = |error| (folder.clone(), error);
        for entry in folder.read_dir().map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let Some((name, item)) = listed(&entry).map_err(|error| (entry.path(), error))? else { continue };
            let path = format!("{below}/{name}");
            let is_folder = item.kind == Kind::Folder;
            files.add(&path, item);
            folders.extend(is_folder.then(|| (entry.path(), path)));
        }
    }
    Ok(())
}

/// The name of something in a folder, and what it is.
fn listed(entry: &DirEntry) -> io::Result<Option<(String, Item)>> {
    let found = entry.metadata()?;
    let name = entry.file_name().into_string().map_err(|_| io::Error::other("its name is not UTF-8"))?;
    let kind = if found.is_dir() {
        Kind::Folder
    } else if found.is_symlink() {
        let target = entry.path().read_link()?.into_os_string().into_string();
        Kind::Link(target.map_err(|_| io::Error::other("its target is not UTF-8"))?)
    } else if found.is_file() {
        let identity = Found::of(&found).identity();
        Kind::File { content: Content::Path(entry.path()), size: found.len(), identity }
    } else {
        return Ok(None);
    };
    Ok(Some((name, Item { kind, mode: found.mode() & 0o7777 })))
}

/// The beginnings of files that `ADD` would unpack: gzip, bzip2, xz, zstd; a tar archive says so further on.
const MAGIC: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];

/// The beginning of a frame that decoders of zstd pass over, but for its first byte
/// (<https://www.rfc-editor.org/rfc/rfc8878#section-3.1.2>): a zstd file may begin with one too.
const SKIPPED: &[u8] = b"\x2a\x4d\x18";

/// Whether `ADD` may unpack a file instead of copying it.
pub(super) fn is_archive(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut start));
    let is_skipped = || start.first().is_some_and(|byte| byte & 0xf0 == 0x50) && start[1..].starts_with(SKIPPED);
    read.is_ok() && (MAGIC.iter().any(|magic| start.starts_with(magic)) || is_skipped() || is_tar(&start))
}

/// Whether a block is the header of a tar archive: its sum is right.
fn is_tar(block: &[u8]) -> bool {
    if block.len() < 512 || block.iter().all(|byte| *byte == 0) {
        return false;
    }
    let text = String::from_utf8_lossy(&block[148..156]);
    let written = u64::from_str_radix(text.trim_matches(['\0', ' ']), 8);
    let sum: u64 =
        block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
    written.is_ok_and(|written| written == sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_data(&mut tar::Header::new_gnu(), "a", io::empty()).unwrap();
        let jar = b"PK\x03\x04 and more".to_vec();
        for (content, wanted) in [
            (archive.into_inner().unwrap(), true),
            (b"\x1f\x8b\x08".to_vec(), true),
            (b"\x5e\x2a\x4d\x18\x04\0\0\0".to_vec(), true),
            (b"\x6e\x2a\x4d\x18".to_vec(), false),
            (jar, false),
            (vec![0; 1024], false),
            (vec![b'a'; 1024], false),
            (Vec::new(), false),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(is_archive(&path), wanted);
        }
    }

    #[test]
    fn a_deep_folder_does_not_exhaust_the_stack() {
        // As deep as a path can be; on a thread with a quarter of the room that those of the runtime have.
        let folder = tempfile::tempdir().unwrap();
        let deep = "d/".repeat((4000 - folder.path().as_os_str().len()) / 2);
        std::fs::create_dir_all(folder.path().join(&deep)).unwrap();
        std::fs::write(folder.path().join(&deep).join("file"), "x").unwrap();
        let root = folder.path().to_owned();
        let listing = std::thread::Builder::new().stack_size(512 * 1024).spawn(move || {
            let mut files = Files::default();
            add(&root, "copy", &mut files).unwrap();
            files
        });
        let files = listing.unwrap().join().unwrap();
        assert!(files.get(&format!("copy/{deep}file")).is_some());
    }

    #[test]
    fn names_of_one_file_are_known_as_such() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "x").unwrap();
        std::fs::write(folder.path().join("c"), "x").unwrap();
        std::fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
        let context = crate::docker::context::read(folder.path(), &folder.path().join("Dockerfile"), true).unwrap();
        let files = of_context(&context);
        let identity = |name: &str| match files.get(name).unwrap().kind {
            Kind::File { identity, .. } => identity,
            _ => panic!(),
        };
        assert!(identity("a").is_some() && identity("a") == identity("b") && identity("c").is_none());
    }
}
