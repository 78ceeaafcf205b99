//! Members of ZIP archives.

use crate::image::assembly::zip::{self, Member};
use std::io::{Cursor, Read as _};

/// The content of a member, of which no more than `limit` bytes; `None` where it cannot be read.
pub(super) fn content(bytes: &[u8], member: &Member, limit: u64) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    zip::open(Cursor::new(bytes), member).ok()?.take(limit).read_to_end(&mut content).ok()?;
    Some(content)
}
