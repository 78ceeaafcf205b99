//! What lies on the disk at a path: which file it is, and in which state.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// A file on the disk, in a certain state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The number of the device that it lies on.
    pub(crate) device: u64,
    /// Its number there.
    pub(crate) number: u64,
    /// When something of it was changed at last, in nanoseconds since 1970. Programs cannot set this.
    pub(crate) changed: i64,
    /// Whether it has more than one name.
    pub(crate) has_names: bool,
}

impl Found {
    /// What a file is now.
    pub(crate) fn of(file: &Metadata) -> Self {
        let changed = nanoseconds(file.ctime(), file.ctime_nsec());
        let has_names = file.is_file() && file.nlink() > 1;
        Self { device: file.dev(), number: file.ino(), changed, has_names }
    }

    /// What all names of a file have in common, where it has more than one: device and number.
    pub(crate) fn identity(&self) -> Option<(u64, u64)> {
        self.has_names.then_some((self.device, self.number))
    }
}

/// A time since 1970, in nanoseconds.
pub(crate) fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
