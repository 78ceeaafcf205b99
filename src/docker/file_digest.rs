//! Digests of files on this machine, remembered for as long as the run lasts.
//!
//! The key of an image is computed before it is made, and once more at its end, to see whether its inputs are still those. A
//! file that nobody has touched meanwhile need not be read again for that. Whether somebody has shows in the time of its
//! last change, which programs cannot set: as with Git's index, it counts only where it lies so far back that a later change
//! could not have the same one.

use super::found::{Found, nanoseconds};
use crate::model::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What of a file is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// A stretch that begins here, in bytes.
    Stretch(u64),
    /// A member of an archive, by its number.
    Member(usize),
}

/// Files are hashed in stretches of this length, in bytes, so that one large file can keep all processors busy.
pub(crate) const STRETCH: u64 = 4 * 1024 * 1024;

/// A file in a certain state: device, number, length, last change of content and last change at all in nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

/// There may be very many files, so that it is not the digest that is remembered.
type Hash = [u8; 32];

/// What is remembered.
static REMEMBERED: LazyLock<Mutex<HashMap<(Stamp, Part), Hash>>> = LazyLock::new(Mutex::default);

/// Clocks of file systems are this coarse at worst.
const COARSE: Duration = Duration::from_secs(2);

/// Where times have fractions of seconds, the clock is that of the kernel, which ticks a hundred times a second at least.
const FINE: Duration = Duration::from_millis(20);

/// Files are read in pieces of so many bytes.
const PIECE: usize = 128 * 1024;

/// The digest of the content of a file of this size: of the content itself where it is one stretch, else of the digests of its
/// stretches, one after the other. Blocking work.
pub(crate) fn content_digest(path: &Path, size: u64) -> io::Result<Digest> {
    if size <= STRETCH {
        return stretch_digest(path, 0, size);
    }
    let mut all = Sha256::new();
    for from in stretches(size) {
        all.update(stretch_digest(path, from, size)?.hex());
    }
    Ok(Digest::from_hash(&all.finalize()))
}

/// The digest of the content of a file of this time (in nanoseconds since 1970) and size, as far as it is remembered: it is not
/// even opened.
pub(crate) fn known_digest(file: &Found, modified: i64, size: u64) -> Option<Digest> {
    let stamp = (file.device, file.number, size, modified, file.changed);
    let remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    remembered.get(&(stamp, Part::Stretch(0))).filter(|_| size <= STRETCH).map(|hash| Digest::from_hash(hash))
}

/// Where the stretches of a file of this size begin; a file without content has one too.
pub(crate) fn stretches(size: u64) -> impl Iterator<Item = u64> {
    (0..=size.saturating_sub(1) / STRETCH).map(|number| number * STRETCH)
}

/// The digest of the stretch of a file of this size that begins here. Blocking work.
pub(crate) fn stretch_digest(path: &Path, from: u64, size: u64) -> io::Result<Digest> {
    let length = STRETCH.min(size - from);
    file_digest(path, Part::Stretch(from), Some(size), |mut file| {
        if from > 0 {
            file.seek(SeekFrom::Start(from))?;
        }
        match digest_of(file.take(length), length)? {
            (digest, read) if read == length => Ok(digest),
            _ => Err(changed()),
        }
    })
}

/// The error of a file that has another size than it had.
fn changed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "it changed while it was read")
}

/// The digest of what a reader gives, which should be so many bytes, and how many that were. Blocking work.
pub(crate) fn digest_of(mut reader: impl Read, length: u64) -> io::Result<(Digest, u64)> {
    let piece = usize::try_from(length).unwrap_or(PIECE).clamp(1, PIECE); // most files are short
    let (mut hash, mut piece, mut all) = (Sha256::new(), vec![0; piece], 0);
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok((Digest::from_hash(&hash.finalize()), all)),
            length => {
                all += length as u64;
                hash.update(&piece[..length]);
            }
        }
    }
}

/// The digest of a part of a file, as `read` computes it where it is not known yet. Another size than this, where one is given,
/// is [`ErrorKind::UnexpectedEof`].
pub(crate) fn file_digest(
    path: &Path,
    part: Part,
    size: Option<u64>,
    read: impl FnOnce(File) -> io::Result<Digest>,
) -> io::Result<Digest> {
    at(SystemTime::now(), path, part, size, read)
}

/// The same at a certain time.
fn at(
    now: SystemTime,
    path: &Path,
    part: Part,
    size: Option<u64>,
    read: impl FnOnce(File) -> io::Result<Digest>,
) -> io::Result<Digest> {
    let file = File::open(path)?;
    let before = stamp(&file.metadata()?);
    if size.is_some_and(|size| size != before.2) {
        return Err(changed());
    }
    let remembered = || REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hash) = remembered().get(&(before, part)) {
        return Ok(Digest::from_hash(hash));
    }
    let digest = read(file.try_clone()?)?;
    if stamp(&file.metadata()?) == before && settles_in(before.4, now).is_none() {
        remembered().insert((before, part), digest.hash());
    }
    Ok(digest)
}

/// The state of a file.
fn stamp(file: &Metadata) -> Stamp {
    let Found { device, number, changed, .. } = Found::of(file);
    (device, number, file.size(), nanoseconds(file.mtime(), file.mtime_nsec()), changed)
}

/// After what time a change of a file, whose last one was then (in nanoseconds since 1970), has another time than that one:
/// `None` where it has by now.
pub(crate) fn settles_in(changed: i64, now: SystemTime) -> Option<Duration> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let tick = if changed % 1_000_000_000 == 0 { COARSE } else { FINE };
    let settled = Duration::from_nanos(u64::try_from(changed).unwrap_or_default()) + tick;
    // A clock that runs ahead of ours is not waited for.
    settled.checked_sub(now).filter(|rest| !rest.is_zero()).map(|rest| rest.min(tick))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often a file is read when it is asked for so many times.
    fn reads(path: &Path, part: Part, now: SystemTime, times: usize) -> usize {
        let mut reads = 0;
        for _ in 0..times {
            let digest = at(now, path, part, None, |mut file| {
                reads += 1;
                let mut content = Vec::new();
                file.read_to_end(&mut content)?;
                Ok(Digest::of(&content))
            });
            assert_eq!(digest.unwrap(), Digest::of(&std::fs::read(path).unwrap()));
        }
        reads
    }

    #[test]
    fn a_file_is_read_once_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (path, later) = (folder.path().join("war"), SystemTime::now() + Duration::from_hours(1));
        std::fs::write(&path, vec![1; 100_000]).unwrap();
        assert_eq!(reads(&path, Part::Stretch(0), later, 3), 1);
        assert_eq!(reads(&path, Part::Member(0), later, 2), 1, "a part is something else");
        let before = stamp(&path.metadata().unwrap());
        while stamp(&path.metadata().unwrap()) == before {
            std::fs::write(&path, vec![2; 100_000]).unwrap(); // until the clock has moved
        }
        assert_eq!(reads(&path, Part::Stretch(0), later, 3), 1);
    }

    #[test]
    fn an_entry_in_a_known_state_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (path, later) = (folder.path().join("a"), SystemTime::now() + Duration::from_hours(1));
        std::fs::write(&path, "1").unwrap();
        let entry = || {
            let context = super::super::context::read(folder.path(), &folder.path().join("Dockerfile"), true);
            context.unwrap().entries[0].clone()
        };
        let known = |entry: &super::super::context::Entry| known_digest(&entry.found, entry.modified, 1);
        let before = entry();
        assert_eq!(known(&before), None);
        assert_eq!(reads(&path, Part::Stretch(0), later, 1), 1);
        assert_eq!(known(&before), Some(Digest::of(b"1")));
        while entry().found == before.found {
            std::fs::write(&path, "2").unwrap(); // until the clock has moved
        }
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(known(&entry()), None);
        assert_eq!(known(&before), Some(Digest::of(b"1")), "as it was");
    }

    #[test]
    fn a_file_that_was_changed_just_now_is_read_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let (path, now) = (folder.path().join("war"), SystemTime::now());
        std::fs::write(&path, vec![1; 100_000]).unwrap();
        assert_eq!(reads(&path, Part::Stretch(0), now, 3), 3);
    }

    #[test]
    fn where_times_are_fine_a_moment_is_enough() {
        let at = |nanoseconds: i64| 1_000_000_000_000_000_000 + nanoseconds;
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000_100);
        let settles_in = |nanoseconds: i64| settles_in(at(nanoseconds), now);
        assert_eq!((settles_in(70_000_001), settles_in(90_000_000)), (None, Some(Duration::from_millis(10))));
        assert_eq!(settles_in(3_000_000_001), Some(FINE), "a clock that runs ahead");
        let whole = (settles_in(0), settles_in(-2_000_000_000));
        assert_eq!(whole, (Some(Duration::from_millis(1900)), None), "whole seconds may be all there is");
    }

    #[test]
    fn a_digest_is_of_all_of_a_file_of_the_size_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("war");
        let mut digests = std::collections::HashSet::new();
        let stretch = usize::try_from(STRETCH).unwrap();
        for (length, changed) in
            [(0, 0), (1, 0), (stretch, 0), (stretch + 1, 0), (3 * stretch, 0), (3 * stretch, 3 * stretch - 1)]
        {
            let mut content = vec![7; length];
            content.iter_mut().skip(changed).take(1).for_each(|byte| *byte = 8);
            std::fs::write(&path, &content).unwrap();
            assert!(digests.insert(content_digest(&path, length as u64).unwrap()), "{length} bytes");
            assert_eq!(stretches(length as u64).count(), length.div_ceil(stretch).max(1));
            for other in [length + 1, length.wrapping_sub(1)] {
                let error = content_digest(&path, other as u64).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            }
        }
        std::fs::write(&path, "short").unwrap();
        assert_eq!(content_digest(&path, 5).unwrap(), Digest::of(b"short"));
    }
}
