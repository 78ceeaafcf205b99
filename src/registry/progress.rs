//! How far a push is: each blob by itself, and the sums over all of them.

use crate::model::Digest;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is being done with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlobState {
    /// Its bytes are being made; none has been sent.
    Making,
    /// It waits for its turn, or for another try.
    Waiting,
    /// It is being sent.
    Sending,
    /// All bytes have been sent; the registry has not confirmed them yet. Told again every ten seconds, as a sign of life.
    Storing,
    /// The registry had it.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was sent.
    Sent,
}

impl BlobState {
    /// Whether nothing more is to be done.
    pub(crate) fn is_done(self) -> bool {
        matches!(self, Self::Existed | Self::Mounted | Self::Sent)
    }
}

/// How far a blob is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobProgress {
    /// Which blob of the push: they are numbered from 0 as they come.
    pub(crate) number: usize,
    /// Its digest, as soon as it is known.
    pub(crate) digest: Option<Digest>,
    /// Bytes that have been sent; while it is `Making`, bytes that have been made. Less than before when something has to
    /// be sent again.
    pub(crate) done: u64,
    /// Its size in bytes, as soon as it is known.
    pub(crate) total: Option<u64>,
    /// What is being done with it.
    pub(crate) state: BlobState,
}

/// What there is to tell.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// Bytes done and bytes in all, over all blobs that are known so far.
    Sum {
        /// Bytes done.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// One blob.
    Blob(BlobProgress),
}

/// Told about progress. It is called for each piece: it should be quick.
pub(crate) type OnProgress = Box<dyn Fn(News) + Send + Sync>;

/// Counts the bytes of a push, and tells whoever wants to know.
pub(crate) struct Meter {
    /// Bytes done.
    done: AtomicU64,
    /// Bytes in all, as far as is known.
    total: AtomicU64,
    /// Blobs so far.
    blobs: AtomicUsize,
    /// Whom to tell.
    on_progress: OnProgress,
}

impl Meter {
    /// A meter at zero.
    pub(crate) fn new(on_progress: OnProgress) -> Arc<Self> {
        let (done, total, blobs) = (AtomicU64::new(0), AtomicU64::new(0), AtomicUsize::new(0));
        Arc::new(Self { done, total, blobs, on_progress })
    }

    /// Follows another blob; its digest and size may not be known yet.
    pub(crate) fn follow(self: &Arc<Self>, known: Option<(&Digest, u64)>) -> Track {
        let state = if known.is_some() { BlobState::Waiting } else { BlobState::Making };
        let number = self.blobs.fetch_add(1, Ordering::Relaxed);
        let progress = BlobProgress { number, digest: None, done: 0, total: None, state };
        let track = Track(Arc::new((Arc::clone(self), Mutex::new(progress))));
        if let Some((digest, size)) = known {
            track.identify(digest, size);
        }
        track
    }

    /// Tells the sums.
    fn tell(&self) {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        (self.on_progress)(News::Sum { done, total });
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meter({:?} of {:?})", self.done, self.total)
    }
}

/// Follows one blob. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Track(Arc<(Arc<Meter>, Mutex<BlobProgress>)>);

impl Track {
    /// The digest and the size are known now.
    pub(crate) fn identify(&self, digest: &Digest, size: u64) {
        self.change(|meter, progress| {
            if progress.total.is_none() {
                meter.total.fetch_add(size, Ordering::Relaxed);
            }
            (progress.digest, progress.total) = (Some(digest.clone()), Some(size));
        });
    }

    /// More bytes were made; it says nothing once the blob is being sent.
    pub(crate) fn made(&self, bytes: u64) {
        if lock(&self.0.1).state == BlobState::Making {
            self.change(|_, progress| progress.done += bytes);
        }
    }

    /// How many bytes have been sent.
    pub(crate) fn done(&self) -> u64 {
        lock(&self.0.1).done
    }

    /// Something else is being done with it now. What had been made counts from zero again when it is sent.
    pub(crate) fn enter(&self, state: BlobState) {
        self.change(|_, progress| {
            if progress.state == BlobState::Making {
                progress.done = 0;
            }
            progress.state = state;
        });
    }

    /// The registry holds so many bytes of it: more than before, or fewer when something is to be sent again.
    pub(crate) fn reach(&self, done: u64) {
        self.change(|meter, progress| {
            meter.done.fetch_add(done, Ordering::Relaxed);
            meter.done.fetch_sub(progress.done, Ordering::Relaxed);
            progress.done = done;
        });
    }

    /// Nothing more is to be done, for this reason.
    pub(crate) fn finish(&self, state: BlobState, size: u64) {
        self.enter(state);
        self.reach(size);
    }

    /// It is not needed after all, or will come again as another one.
    pub(crate) fn forget(&self) {
        self.enter(BlobState::Existed);
        self.reach(0);
        self.change(|meter, progress| {
            meter.total.fetch_sub(progress.total.unwrap_or_default(), Ordering::Relaxed);
            progress.total = Some(0);
        });
    }

    /// Tells again where it stands.
    pub(crate) fn repeat(&self) {
        self.change(|_, _| {});
    }

    /// Changes the numbers and tells them.
    fn change(&self, change: impl FnOnce(&Meter, &mut BlobProgress)) {
        let (meter, progress) = &*self.0;
        let now = {
            let mut progress = lock(progress);
            change(meter, &mut progress);
            progress.clone()
        };
        (meter.on_progress)(News::Blob(now));
        meter.tell();
    }
}

/// A lock that outlives a panic elsewhere.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_the_blobs_up_and_down() {
        let last = Arc::new(Mutex::new((0, 0)));
        let told = Arc::clone(&last);
        let meter = Meter::new(Box::new(move |news| {
            if let News::Sum { done, total } = news {
                *lock(&told) = (done, total);
            }
        }));
        let (known, made) = (meter.follow(Some((&Digest::of(b"a"), 10))), meter.follow(None));
        made.made(4);
        assert_eq!(*lock(&last), (0, 10), "what is made has not been sent");
        made.identify(&Digest::of(b"b"), 6);
        made.enter(BlobState::Sending);
        made.made(1);
        made.reach(5);
        known.reach(7);
        known.reach(2);
        assert_eq!(*lock(&last), (7, 16));
        known.finish(BlobState::Sent, 10);
        made.finish(BlobState::Existed, 6);
        assert_eq!(*lock(&last), (16, 16));
        known.forget();
        assert_eq!(*lock(&last), (6, 6));
    }
}
