//! How many bytes of layers a run holds in memory: one budget for all layers of all images.
//!
//! Nobody waits for bytes that may never come free: whoever asks waits only while some bytes belong to blobs that are
//! complete and on their way, which free theirs without needing more. Otherwise the answer is no, and the layer is sent
//! as it comes instead of being held.

use super::progress::lock;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// All layers in flight of a run may take so many bytes.
pub(crate) const BUDGET: u64 = 128 * 1024 * 1024;

/// The budget of a run.
#[derive(Debug)]
pub(crate) struct Budget {
    /// The numbers.
    state: Mutex<State>,
    /// Wakes whoever waits.
    freed: Notify,
}

/// The numbers of a budget, in bytes.
#[derive(Debug)]
struct State {
    /// All that may be held.
    all: u64,
    /// What is held; more than `all` where something had to be.
    held: u64,
    /// What of it comes free by itself.
    settled: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BUDGET)
    }
}

impl Budget {
    /// A budget of so many bytes.
    pub(crate) fn new(all: u64) -> Self {
        Self { state: Mutex::new(State { all, held: 0, settled: 0 }), freed: Notify::new() }
    }

    /// A grant of nothing, to be extended.
    pub(crate) fn grant(self: &Arc<Self>) -> Grant {
        Grant { budget: Arc::clone(self), bytes: 0, settled: 0 }
    }
}

/// Bytes that somebody may hold. They come back when it is dropped.
#[derive(Debug)]
pub(crate) struct Grant {
    /// Whose they are.
    budget: Arc<Budget>,
    /// How many.
    bytes: u64,
    /// How many of them come free by themselves.
    settled: u64,
}

impl Grant {
    /// Asks for more, and waits as long as some will come free; whether they were granted.
    pub(crate) async fn extend(&mut self, bytes: u64) -> bool {
        let budget = Arc::clone(&self.budget);
        loop {
            let freed = budget.freed.notified(); // registered before the look, so that no waking is missed
            {
                let mut state = lock(&budget.state);
                if state.held + bytes <= state.all {
                    state.held += bytes;
                    self.bytes += bytes;
                    return true;
                }
                if state.settled == 0 {
                    return false;
                }
            }
            freed.await;
        }
    }

    /// Takes more than there is: for the little without which nothing would move.
    pub(crate) fn force(&mut self, bytes: u64) {
        lock(&self.budget.state).held += bytes;
        self.bytes += bytes;
    }

    /// Takes so many bytes out into a grant of their own, which comes free by itself.
    pub(crate) fn settle(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        lock(&self.budget.state).settled += bytes;
        Self { budget: Arc::clone(&self.budget), bytes, settled: bytes }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.budget.state);
            state.held -= self.bytes;
            state.settled -= self.settled;
        }
        self.budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn nobody_waits_for_what_never_comes_free() {
        let budget = Arc::new(Budget::new(10));
        let (mut one, mut other) = (budget.grant(), budget.grant());
        assert!(one.extend(6).await);
        assert!(!other.extend(5).await, "all that is held belongs to a layer that may need more itself");
        assert!(other.extend(4).await);
        let sending = one.settle(6);
        assert!(other.extend(5).now_or_never().is_none(), "it waits for what is on its way");
        let waiting = tokio::spawn(async move { other.extend(5).await });
        tokio::task::yield_now().await;
        drop(sending);
        assert!(waiting.await.unwrap());
    }

    #[test]
    fn what_is_forced_comes_back_as_well() {
        let budget = Arc::new(Budget::new(10));
        let mut grant = budget.grant();
        grant.force(25);
        let sending = grant.settle(20);
        drop((grant, sending));
        let state = lock(&budget.state);
        assert_eq!((state.held, state.settled), (0, 0));
    }
}
