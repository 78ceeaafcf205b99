//! Reads an image where an Engine on this machine keeps it, instead of having the Engine export it.
//!
//! An Engine with overlay2 cannot give one layer: its `save` writes all of them to a temporary folder before the first byte
//! comes. Whoever may read the Engine's own folder (root on the same machine) finds there what it would export, and
//! reads no more than the layers that the registry lacks:
//!
//! - `image/overlay2/imagedb/content/sha256/ID`: the configuration.
//! - `image/overlay2/layerdb/sha256/CHAIN/cache-id`: the name of a layer's folder.
//! - `image/overlay2/layerdb/sha256/CHAIN/size`: how long its files are together.
//! - `image/overlay2/layerdb/sha256/CHAIN/tar-split.json.gz`: its archive without the content of files, as the Engine keeps it
//!   to give every layer back bit for bit (<https://github.com/vbatts/tar-split>).
//! - `overlay2/CACHE-ID/diff`: its files.
//!
//! None of it is a documented interface, so nothing is taken on trust: the configuration must have the image's id for its
//! digest, and no layer is given to its end that has not the digest of its archive that the configuration says. Where
//! anything is missing, forbidden or different, the image is exported after all.

use super::assembly::{Assembly, unusable};
use super::error::Error;
use super::files::printable;
use super::save::Expected;
use super::squeeze::{Asked, Parts, Shared, Squeeze, Squeezed, UNWANTED, lock, wait};
use crate::model::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::read::GzDecoder;
use serde::Deserialize;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The only driver whose folders are known here.
pub(crate) const DRIVER: &str = "overlay2";

/// Layers are read in pieces of this size, which is that of a compressor's blocks.
const PIECE: usize = 512 * 1024;

/// A line of a layer's description stands for one header of its archive, with names and attributes as long as they come.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// An image that lies open.
pub(crate) struct Found {
    /// The configuration.
    config: Bytes,
    /// Its layers, lowest first.
    layers: Vec<Layer>,
    /// What is known of it.
    expected: Expected,
}

/// A layer that lies open.
struct Layer {
    /// The digest of its archive.
    diff_id: Digest,
    /// Where it lies; `None` for a layer that the registry has.
    lies: Option<Lies>,
}

/// Where a layer lies.
struct Lies {
    /// Its archive without files.
    description: File,
    /// The folder of its files.
    files: PathBuf,
    /// How long these are together, in bytes, where the Engine says so.
    about: Option<u64>,
}

/// Looks an image up in the folder of an Engine. Everything is opened that will be needed, so that what is forbidden shows
/// before anything is pushed. Blocking work.
pub(crate) fn find(root: &Path, id: &Digest, expected: Expected) -> io::Result<Found> {
    let images = root.join("image").join(DRIVER);
    let config = read_untouched(&images.join("imagedb/content/sha256").join(id.hex()))?;
    if Digest::of(&config) != *id {
        return Err(io::Error::other("the configuration is not what its name says"));
    }
    let inside: crate::image::ImageConfig = serde_json::from_slice(&config)?;
    let (mut layers, mut chain, mut seen) = (Vec::new(), None::<Digest>, HashSet::new());
    for diff_id in inside.rootfs.diff_ids {
        let link = chain.map_or_else(|| diff_id.clone(), |chain| Digest::of(format!("{chain} {diff_id}").as_bytes()));
        let is_needed = expected.known.blob(&diff_id).is_none() && seen.insert(diff_id.clone());
        let lies = if is_needed { Some(open(root, &images, &link)?) } else { None };
        layers.push(Layer { diff_id, lies });
        chain = Some(link);
    }
    Ok(Found { config: config.into(), layers, expected })
}

/// Opens a layer by the digest of its chain.
fn open(root: &Path, images: &Path, chain: &Digest) -> io::Result<Lies> {
    let layer = images.join("layerdb/sha256").join(chain.hex());
    let name = String::from_utf8(read_untouched(&layer.join("cache-id"))?).map_err(io::Error::other)?;
    let name = Path::new(name.trim());
    if !matches!(name.components().collect::<Vec<_>>().as_slice(), [Component::Normal(_)]) {
        return Err(io::Error::other("a layer's folder has no plain name"));
    }
    let files = root.join(DRIVER).join(name).join("diff");
    fs::read_dir(&files)?; // whether it may be read
    let size =
        read_untouched(&layer.join("size")).ok().and_then(|text| str::from_utf8(&text).ok()?.trim().parse().ok());
    Ok(Lies { description: open_untouched(&layer.join("tar-split.json.gz"))?, files, about: size })
}

/// Reads a small file of somebody else's.
fn read_untouched(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_untouched(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file of somebody else's: not through a link, and without a trace of when it was read last, which would be a write
/// to the disk for each file.
#[cfg(target_os = "linux")]
fn open_untouched(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = open(path, flags | OFlags::NOATIME, Mode::empty());
    // Only the owner and root may leave no trace.
    let opened = opened.or_else(|error| match error {
        rustix::io::Errno::PERM => open(path, flags, Mode::empty()),
        error => Err(error),
    });
    Ok(File::from(opened?))
}

/// Opens a file.
#[cfg(not(target_os = "linux"))]
fn open_untouched(path: &Path) -> io::Result<File> {
    File::open(path)
}

impl Found {
    /// Reads the image. Blocking work inside of a runtime; parts go to `parts`, which may be slow. Layers that another image
    /// of the run is bringing come last.
    pub(crate) fn read(self, parts: &Parts) -> Result<(), Error> {
        let Self { config, layers, expected } = self;
        let assembly: Shared = Arc::new(Mutex::new(Assembly::new(expected.known)));
        let runtime = tokio::runtime::Handle::current();
        let (mut squeezed, mut later) = (Vec::new(), Vec::new());
        for Layer { diff_id, lies } in layers {
            let Some(lies) = lies else {
                lock(&assembly).take_known(&diff_id);
                continue;
            };
            match runtime.block_on(Squeeze::promise(&assembly, parts, &diff_id, lies.about))? {
                Asked::Had => {}
                Asked::Make(squeeze) => squeezed.push(read(lies, squeeze)?),
                Asked::Later(ended) => later.push((diff_id, lies, ended)),
            }
        }
        for (diff_id, lies, ended) in later {
            runtime.block_on(wait(ended, parts))?;
            let squeeze = runtime.block_on(Squeeze::claim(&assembly, parts, &diff_id, lies.about))?;
            squeezed.extend(squeeze.map(|squeeze| read(lies, squeeze)).transpose()?);
        }
        for layer in squeezed {
            runtime.block_on(layer.digest())?;
        }
        let last = lock(&assembly).bare(&config, &[], &expected.platform)?;
        last.into_iter().try_for_each(|part| parts.blocking_send(Ok(part)).map_err(|_| UNWANTED))
    }
}

/// Reads a layer.
fn read(Lies { description, files, .. }: Lies, squeeze: Squeeze) -> Result<Squeezed, Error> {
    let mut archive = Archive::new(&files, |piece| squeeze.blocking_write(piece));
    archive.write(BufReader::new(GzDecoder::new(BufReader::new(description))))?;
    Ok(squeeze.blocking_end())
}

/// One line of a layer's description
/// (<https://github.com/vbatts/tar-split/blob/v0.12.1/tar/storage/entry.go>).
#[derive(Deserialize)]
struct Entry {
    /// [`FILE`] or [`SEGMENT`].
    #[serde(rename = "type")]
    kind: u8,
    /// The name of a file.
    #[serde(default)]
    name: String,
    /// The same in base64, where it is not UTF-8.
    #[serde(default)]
    name_raw: Option<String>,
    /// The length of the file in bytes.
    #[serde(default)]
    size: u64,
    /// The bytes of a segment in base64.
    #[serde(default)]
    payload: Option<String>,
}

/// The content of a file comes here.
const FILE: u8 = 1;

/// Bytes of the archive that are not content: headers, and what fills blocks.
const SEGMENT: u8 = 2;

/// Puts an archive together.
struct Archive<'a, S> {
    /// Where the files are.
    files: &'a Path,
    /// Folders in there that are folders all the way, and no links.
    folders: HashSet<PathBuf>,
    /// What is not given away yet.
    piece: Vec<u8>,
    /// Where pieces go.
    sink: S,
}

impl<'a, S: FnMut(Bytes) -> Result<(), Error>> Archive<'a, S> {
    /// An archive of which nothing is written.
    fn new(files: &'a Path, sink: S) -> Self {
        Self { files, folders: HashSet::new(), piece: Vec::with_capacity(PIECE), sink }
    }

    /// Writes all that a description says.
    fn write(&mut self, mut description: impl BufRead) -> Result<(), Error> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = description.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(|e| broken(&e))?;
            if read == 0 {
                break;
            }
            let entry: Entry = serde_json::from_slice(&line).map_err(|error| broken(&error.into()))?;
            self.entry(&entry)?;
        }
        self.give()
    }

    /// Writes one line.
    fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        let bytes = |text: &str| STANDARD.decode(text).map_err(|error| broken(&io::Error::other(error)));
        match entry.kind {
            SEGMENT => self.copy(&mut bytes(entry.payload.as_deref().unwrap_or_default())?.as_slice()).map(drop),
            FILE if entry.size == 0 => Ok(()),
            FILE => {
                let raw = entry.name_raw.as_deref().map(bytes).transpose()?;
                let name = raw.as_deref().unwrap_or(entry.name.as_bytes());
                let file = self.open(Path::new(OsStr::from_bytes(name))).map_err(|error| broken(&error))?;
                let length = self.copy(&mut file.take(entry.size))?;
                if length == entry.size { Ok(()) } else { Err(broken(&io::ErrorKind::UnexpectedEof.into())) }
            }
            _ => Err(broken(&io::Error::other("an entry of an unknown kind"))),
        }
    }

    /// Copies bytes into the archive; how many there were.
    fn copy(&mut self, from: &mut impl Read) -> Result<u64, Error> {
        let mut all = 0;
        loop {
            let room = (PIECE - self.piece.len()) as u64;
            let length = from.by_ref().take(room).read_to_end(&mut self.piece).map_err(|error| broken(&error))?;
            all += length as u64;
            if self.piece.len() < PIECE {
                return Ok(all);
            }
            self.give()?;
        }
    }

    /// Opens a file. What a layer's archive calls a folder may be a link in its files, and lead out of them: nothing is read
    /// through links.
    fn open(&mut self, name: &Path) -> io::Result<File> {
        let mut path = PathBuf::new();
        for part in name.components() {
            match part {
                Component::Normal(part) => path.push(part),
                Component::CurDir | Component::RootDir => {}
                Component::ParentDir | Component::Prefix(_) => return Err(io::Error::other("a name leads upwards")),
            }
        }
        for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            if self.folders.contains(folder) {
                break; // and so is all above it
            }
            if !self.files.join(folder).symlink_metadata()?.is_dir() {
                return Err(io::Error::other("a file is below something that is no folder"));
            }
            self.folders.insert(folder.to_owned());
        }
        let path = self.files.join(path);
        if !path.symlink_metadata()?.is_file() {
            return Err(io::Error::other("a file is something else"));
        }
        open_untouched(&path)
    }

    /// Gives the piece away.
    fn give(&mut self) -> Result<(), Error> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        if piece.is_empty() { Ok(()) } else { (self.sink)(piece.into()) }
    }
}

/// A layer that is not as it should be.
fn broken(error: &io::Error) -> Error {
    unusable(format!("a layer cannot be read: {}", printable(error)))
}

#[cfg(test)]
mod tests;
