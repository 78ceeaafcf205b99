//! How many uploads run at once against one registry: more while it keeps up, half as many when it complains.
//!
//! Blobs wait in two lanes, so that a configuration never stands behind layers, and in each lane the largest goes first:
//! whatever is left at the end is short. A pause that the registry asks for holds everything back that is sent to it.

use super::progress::lock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Uploads at once to begin with: large ones share the line from the first byte on, small ones only wait for answers.
const START: [f64; 2] = [4.0, 16.0];

/// More connections than this only share the same line, or the registry's processors.
const MOST: [f64; 2] = [16.0, 32.0];

/// A blob up to this size is small: its round trips take longer than its bytes.
pub(crate) const SMALL: u64 = 64 * 1024;

/// Additive increase, multiplicative decrease, as TCP does it, with TCP's slow start before the first complaint: forty
/// small blobs would else be half done before the registry is used well.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// The numbers.
    state: Mutex<State>,
}

/// The numbers of a limiter.
#[derive(Debug)]
struct State {
    /// How many may run in each lane; grows by fractions.
    limit: [f64; 2],
    /// How many run: large ones, small ones.
    running: [u32; 2],
    /// Who waits.
    waiting: Vec<Waiting>,
    /// How often the limits were halved: what began before the last time says nothing new.
    halved: u64,
    /// Until when the registry asked for a pause.
    pause: Option<Instant>,
}

/// Somebody who waits.
#[derive(Debug)]
struct Waiting {
    /// The size of the blob.
    size: u64,
    /// Where the permit goes.
    sender: oneshot::Sender<Permit>,
}

impl Default for Limiter {
    fn default() -> Self {
        let state = State { limit: START, running: [0; 2], waiting: Vec::new(), halved: 0, pause: None };
        Self { state: Mutex::new(state) }
    }
}

/// The right to run one upload. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    /// Who gave it.
    limiter: Arc<Limiter>,
    /// In which lane.
    lane: usize,
    /// How often the limits had been halved when it was given.
    halved: u64,
}

/// The lane of a blob.
fn lane(size: u64) -> usize {
    usize::from(size <= SMALL)
}

impl State {
    /// The largest blob that waits in a lane with room.
    fn next(&self) -> Option<usize> {
        let has_room = |lane: usize| f64::from(self.running[lane]) + 1.0 <= self.limit[lane];
        let waiting = self.waiting.iter().enumerate().filter(|(_, waiting)| has_room(lane(waiting.size)));
        // The first of those that are equally large.
        waiting.max_by_key(|(at, waiting)| (waiting.size, std::cmp::Reverse(*at))).map(|(at, _)| at)
    }
}

impl Limiter {
    /// Waits for room for a blob of this size, and until a pause is over.
    pub(crate) async fn acquire(self: &Arc<Self>, size: u64) -> Permit {
        loop {
            let (sender, receiver) = oneshot::channel();
            lock(&self.state).waiting.push(Waiting { size, sender });
            self.admit();
            if let Ok(permit) = receiver.await {
                self.open().await;
                return permit;
            }
        }
    }

    /// Waits until a pause that the registry asked for is over.
    pub(crate) async fn open(&self) {
        loop {
            let pause = lock(&self.state).pause;
            match pause.filter(|until| *until > Instant::now()) {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return,
            }
        }
    }

    /// A mark in time for requests that need no permit: a complaint about them halves only when nothing was halved since.
    pub(crate) fn mark(&self) -> u64 {
        lock(&self.state).halved
    }

    /// The registry complained about a request that began at this mark: half as many from now on.
    pub(crate) fn complained(&self, mark: u64) {
        let mut state = lock(&self.state);
        if state.halved == mark {
            state.limit = state.limit.map(|limit| (limit / 2.0).max(1.0));
            state.halved += 1;
        }
    }

    /// The registry asked for a pause, which is meant for all that is sent to it.
    pub(crate) fn pause(&self, length: Duration) {
        let until = Instant::now() + length;
        let mut state = lock(&self.state);
        state.pause = Some(state.pause.map_or(until, |there| there.max(until)));
    }

    /// Lets in whoever has room.
    fn admit(self: &Arc<Self>) {
        loop {
            let (waiting, permit) = {
                let mut state = lock(&self.state);
                let Some(at) = state.next() else { return };
                let waiting = state.waiting.remove(at);
                let lane = lane(waiting.size);
                state.running[lane] += 1;
                (waiting, Permit { limiter: Arc::clone(self), lane, halved: state.halved })
            };
            // A permit that nobody waits for any more is dropped here, or by the channel, and so comes back.
            drop(waiting.sender.send(permit));
        }
    }
}

impl Permit {
    /// The registry kept up: one more for each success at first, then one more after each round of successes.
    pub(crate) fn succeeded(&self) {
        let mut state = lock(&self.limiter.state);
        let more = if state.halved == 0 { 1.0 } else { 1.0 / state.limit[self.lane] };
        state.limit[self.lane] = (state.limit[self.lane] + more).min(MOST[self.lane]);
    }

    /// The registry complained: half as many.
    pub(crate) fn throttled(&self) {
        self.limiter.complained(self.halved);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        lock(&self.limiter.state).running[self.lane] -= 1;
        self.limiter.admit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    /// A blob that is not small.
    const LARGE: u64 = SMALL + 1;

    /// All permits that a limiter gives for large blobs now.
    fn all(limiter: &Arc<Limiter>) -> Vec<Permit> {
        all_of(limiter, LARGE)
    }

    /// All permits that it gives for blobs of a size.
    fn all_of(limiter: &Arc<Limiter>, size: u64) -> Vec<Permit> {
        std::iter::from_fn(|| limiter.acquire(size).now_or_never()).collect()
    }

    #[test]
    fn complaints_halve_and_successes_grow() {
        let limiter = Arc::new(Limiter::default());
        let permits = all(&limiter);
        assert_eq!(permits.len(), 4);
        permits.iter().for_each(Permit::succeeded);
        drop(permits);
        let permits = all(&limiter);
        assert_eq!(permits.len(), 8, "doubled after a round without a complaint");
        permits.iter().for_each(Permit::throttled);
        drop(permits);
        let permits = all(&limiter);
        assert_eq!(permits.len(), 4, "a round that fails as a whole halves once");
        permits.iter().for_each(Permit::succeeded);
        drop(permits);
        assert_eq!(all(&limiter).len(), 4, "one more after a round, within rounding");
        for _ in 0..9 {
            limiter.complained(limiter.mark());
        }
        assert_eq!(all(&limiter).len(), 1, "never fewer than one");
    }

    #[test]
    fn forty_small_blobs_are_two_rounds_and_a_complaint_about_any_halves_all() {
        let limiter = Arc::new(Limiter::default());
        let permits = all_of(&limiter, SMALL);
        assert_eq!(permits.len(), 16);
        permits.iter().for_each(Permit::succeeded);
        drop(permits);
        let permits = all_of(&limiter, SMALL);
        assert_eq!(permits.len(), 32);
        permits[0].throttled();
        drop(permits);
        assert_eq!((all_of(&limiter, SMALL).len(), all(&limiter).len()), (16, 2));
    }

    #[test]
    fn small_blobs_have_a_lane_of_their_own_and_the_largest_goes_first() {
        let limiter = Arc::new(Limiter::default());
        let mut permits = all(&limiter);
        let mut waiting: Vec<_> = [LARGE, LARGE + 9, LARGE + 1].map(|size| Box::pin(limiter.acquire(size))).into();
        for waits in &mut waiting {
            assert!(waits.now_or_never().is_none());
        }
        assert!(limiter.acquire(SMALL).now_or_never().is_some(), "a configuration does not wait for layers");
        permits.pop();
        let admitted: Vec<_> = waiting.iter_mut().map(futures::FutureExt::now_or_never).collect();
        assert_eq!(admitted.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn whoever_gives_up_leaves_no_hole() {
        let limiter = Arc::new(Limiter::default());
        let permits = all(&limiter);
        let mut gone = Box::pin(limiter.acquire(LARGE));
        assert!((&mut gone).now_or_never().is_none());
        drop(permits);
        drop(gone); // it had been admitted without knowing
        assert_eq!(all(&limiter).len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everything_back() {
        let limiter = Arc::new(Limiter::default());
        let start = Instant::now();
        limiter.pause(Duration::from_secs(7));
        limiter.pause(Duration::from_secs(3));
        let _permit = limiter.acquire(1).await;
        assert!(start.elapsed() >= Duration::from_secs(7), "the longest pause counts");
    }
}
