//! Ids for sessions, builds and names.

/// An id that nobody else has.
pub(crate) fn fresh_id() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    // A `RandomState` is seeded by the operating system for each thread, and counted up for each use.
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        assert_ne!(fresh_id(), fresh_id());
    }
}
