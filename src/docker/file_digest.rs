//! Digests of files on this machine, remembered for as long as the run lasts.
//!
//! The key of an image is computed before it is made, and once more at its end, to see whether its inputs are still those. A
//! file that nobody has touched meanwhile need not be read again for that. Whether somebody has shows in the time of its
//! last change, which programs cannot set: as with Git's index, it counts only where it lies so far back that a later change
//! could not have the same one.

use crate::model::Digest;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What of a file is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// A stretch that begins here, in bytes.
    Stretch(u64),
    /// A member of an archive, by its number.
    Member(usize),
}

/// A file in a certain state: device, number, length, last change of content and last change at all in nanoseconds.
type Stamp = (u64, u64, u64, i128, i128);

/// What is remembered.
static REMEMBERED: LazyLock<Mutex<HashMap<(Stamp, Part), Digest>>> = LazyLock::new(Mutex::default);

/// Shorter files are not remembered: to read them takes no time, and there may be very many.
const WORTH_IT: u64 = 64 * 1024;

/// Clocks of file systems are this coarse at worst.
const COARSE: Duration = Duration::from_secs(2);

/// The digest of a file, or of a part of it, as `read` computes it where it is not known yet.
pub(crate) fn file_digest(
    path: &Path,
    part: Part,
    read: impl FnOnce(File) -> io::Result<Digest>,
) -> io::Result<Digest> {
    at(SystemTime::now(), path, part, read)
}

/// The same at a certain time.
fn at(now: SystemTime, path: &Path, part: Part, read: impl FnOnce(File) -> io::Result<Digest>) -> io::Result<Digest> {
    let file = File::open(path)?;
    let before = stamp(&file.metadata()?);
    if before.2 < WORTH_IT {
        return read(file);
    }
    let remembered = || REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(digest) = remembered().get(&(before, part)) {
        return Ok(digest.clone());
    }
    let digest = read(file.try_clone()?)?;
    if stamp(&file.metadata()?) == before && is_long_ago(before, now) {
        remembered().insert((before, part), digest.clone());
    }
    Ok(digest)
}

/// The state of a file.
fn stamp(file: &Metadata) -> Stamp {
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let (modified, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
    (file.dev(), file.ino(), file.size(), nanoseconds(modified.0, modified.1), nanoseconds(changed.0, changed.1))
}

/// Whether the last change lies so far back that a change from now on has another time.
fn is_long_ago(stamp: Stamp, now: SystemTime) -> bool {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or_default();
    stamp.4 + nanoseconds(COARSE) <= nanoseconds(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// How often a file is read when it is asked for so many times.
    fn reads(path: &Path, part: Part, now: SystemTime, times: usize) -> usize {
        let mut reads = 0;
        for _ in 0..times {
            let digest = at(now, path, part, |mut file| {
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
        assert_eq!(reads(&path, Part::Whole, later, 3), 1);
        assert_eq!(reads(&path, Part::Stretch(0), later, 2), 1, "a part is something else");
        let before = stamp(&path.metadata().unwrap());
        while stamp(&path.metadata().unwrap()) == before {
            std::fs::write(&path, vec![2; 100_000]).unwrap(); // until the clock has moved
        }
        assert_eq!(reads(&path, Part::Whole, later, 3), 1);
    }

    #[test]
    fn a_file_that_was_changed_just_now_is_read_every_time_and_so_is_a_short_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, now) = (folder.path().join("war"), SystemTime::now());
        std::fs::write(&path, vec![1; 100_000]).unwrap();
        assert_eq!(reads(&path, Part::Whole, now, 3), 3);
        std::fs::write(&path, vec![1; 1000]).unwrap();
        assert_eq!(reads(&path, Part::Whole, now + Duration::from_hours(1), 3), 3);
    }
}
