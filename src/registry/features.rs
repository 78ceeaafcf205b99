//! What a registry turned out to be able to do. The protocol leaves much open; it is tried once, and never assumed.

use std::sync::atomic::{AtomicU8, Ordering};

/// What a registry can do, as far as it has been seen in this run.
#[derive(Debug, Default)]
pub(crate) struct Features {
    /// It takes a blob with the POST that begins its upload.
    pub(crate) single_post: Feature,
    /// It puts tags on a manifest that is put under its digest.
    pub(crate) tag_parameter: Feature,
    /// It says how much of a broken upload it holds, and goes on from there.
    pub(crate) resume: Feature,
    /// It takes a blob in chunks.
    pub(crate) chunks: Feature,
    /// It takes a blob as the body of the PUT that ends its upload.
    pub(crate) whole_put: Feature,
    /// It takes a body that does not say how long it is.
    pub(crate) open_end: Feature,
}

/// Something that a registry may be able to do.
#[derive(Debug, Default)]
pub(crate) struct Feature(AtomicU8);

/// Nothing is known.
const UNKNOWN: u8 = 0;
/// Somebody tries it now.
const TRYING: u8 = 1;
/// It can.
const YES: u8 = 2;
/// It cannot.
const NO: u8 = 3;

impl Feature {
    /// Whether to use it: where it is known to work, and once to find out.
    pub(crate) fn try_it(&self) -> bool {
        let first = self.0.compare_exchange(UNKNOWN, TRYING, Ordering::Relaxed, Ordering::Relaxed);
        first.map_or_else(|now| now == YES, |_| true)
    }

    /// Whether it is known to work.
    pub(crate) fn works(&self) -> bool {
        self.0.load(Ordering::Relaxed) == YES
    }

    /// Whether it may work: only where it is known not to, it is not worth asking.
    pub(crate) fn may_work(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NO
    }

    /// Remembers what came of it.
    pub(crate) fn learn(&self, works: bool) {
        self.0.store(if works { YES } else { NO }, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_unknown_is_tried_once() {
        let feature = Feature::default();
        assert!(feature.may_work());
        assert_eq!([feature.try_it(), feature.try_it()], [true, false], "others do not wait for what comes of it");
        feature.learn(true);
        assert!(feature.try_it() && feature.try_it());
        feature.learn(false);
        assert!(!feature.try_it() && !feature.may_work());
    }
}
