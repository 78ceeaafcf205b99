//! How many requests run at once against one registry: more while it keeps up, half as many when it complains.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Requests at once to begin with.
const START: f64 = 4.0;

/// More connections than this only share the same line.
const MOST: f64 = 16.0;

/// Additive increase, multiplicative decrease, as TCP does it.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// The numbers.
    state: Mutex<State>,
    /// Wakes whoever waits for room.
    freed: Notify,
}

/// The numbers of a limiter.
#[derive(Debug)]
struct State {
    /// How many may run; grows by fractions.
    limit: f64,
    /// How many run.
    running: u32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { state: Mutex::new(State { limit: START, running: 0 }), freed: Notify::new() }
    }
}

/// The right to run one request. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Limiter>);

impl Limiter {
    /// Waits for room.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Permit {
        loop {
            let freed = self.freed.notified(); // registered before the look, so that no waking is missed
            {
                let mut state = self.lock();
                if f64::from(state.running) + 1.0 <= state.limit.max(1.0) {
                    state.running += 1;
                    return Permit(Arc::clone(self));
                }
            }
            freed.await;
        }
    }

    /// The numbers.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The registry kept up: one more after each round of successes.
    pub(crate) fn succeeded(&self) {
        let mut state = self.0.lock();
        state.limit = (state.limit + 1.0 / state.limit).min(MOST);
    }

    /// The registry complained: half as many.
    pub(crate) fn throttled(&self) {
        let mut state = self.0.lock();
        state.limit = (state.limit / 2.0).max(1.0);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn complaints_halve_and_successes_grow() {
        let limiter = Arc::new(Limiter::default());
        let take = || limiter.acquire().now_or_never();
        let mut permits: Vec<_> = (0..4).map(|_| take().unwrap()).collect();
        assert!(take().is_none(), "a fifth must wait");
        for _ in 0..5 {
            permits[0].succeeded();
        }
        permits.push(take().unwrap());
        for _ in 0..9 {
            permits[0].throttled();
        }
        permits.clear();
        let _only = take().unwrap();
        assert!(take().is_none(), "never fewer than one, but no more");
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let limiter = Arc::new(Limiter::default());
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(limiter.acquire().await);
        }
        let waiting = tokio::spawn({
            let limiter = Arc::clone(&limiter);
            async move { limiter.acquire().await }
        });
        tokio::task::yield_now().await;
        permits.pop();
        waiting.await.unwrap();
    }
}
