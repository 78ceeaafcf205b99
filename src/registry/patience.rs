//! How long what may take, and how often it is tried again.

use super::error::Error;
use crate::http::{Retry, RetryPolicy};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;
use tokio::time::Instant;

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// A request without a large body is answered within this.
    pub(crate) request: Duration,
    /// Something moves within this while a blob is being sent or received.
    pub(crate) stall: Duration,
    /// How long a registry that was cut off takes at most from one piece of what was on its way to the next: Linux lets a
    /// writer to a busy disk pause for up to 200 ms.
    pub(crate) settle: Duration,
    /// A registry may take this long to answer when it has the whole blob: those that store in S3 copy it first.
    pub(crate) commit: Duration,
    /// While it does, a sign of life is given so often.
    pub(crate) heartbeat: Duration,
    /// How often is tried again.
    pub(crate) retry: RetryPolicy,
    /// A registry that cannot be reached at all in the middle of a push may stay away for so long: that is no try.
    pub(crate) outage: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: Duration::from_mins(1),
            stall: Duration::from_mins(1),
            settle: Duration::from_millis(250),
            commit: Duration::from_mins(15),
            heartbeat: Duration::from_secs(10),
            retry: RetryPolicy::default(),
            outage: Duration::from_mins(2),
        }
    }
}

/// Tries of what somebody waits for: a few seconds of pauses.
const BRIEF_TRIES: usize = 4;

/// A place that is away is looked for at least so often.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// A server that asks for a longer pause than this is treated as having refused.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_mins(2);

impl Patience {
    /// The same for what is asked before anything has been done: somebody waits for it, and a wrong address should not
    /// take minutes to show.
    pub(crate) fn brief(mut self) -> Self {
        self.retry.tries = self.retry.tries.min(BRIEF_TRIES);
        self.outage = Duration::ZERO;
        self
    }

    /// Runs an operation until it succeeds, until `judge` calls its error final, or until the tries are used up.
    pub(crate) async fn run<T, F>(
        &self,
        judge: impl Fn(&Error) -> Retry,
        mut operation: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut tries = 0;
        let mut away: Option<Instant> = None;
        loop {
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let verdict = judge(&error);
            let is_outage = error.is_outage() && verdict != Retry::Never;
            away = is_outage.then(|| away.unwrap_or_else(Instant::now));
            if away.is_none_or(|since| since.elapsed() >= self.outage) {
                tries += 1;
            }
            let own = self.pause(tries);
            let pause = match verdict {
                Retry::Never => return Err(error),
                _ if tries >= self.retry.tries => return Err(error),
                Retry::After(asked) if asked > LONGEST_PAUSE => return Err(error),
                Retry::After(asked) => asked,
                Retry::Later if is_outage => own.min(LONGEST_LOOK),
                Retry::Later => own,
            };
            tracing::info!("trying again in {} ms: {error}", pause.as_millis());
            tokio::time::sleep(pause).await;
        }
    }

    /// The pause after so many tries: any length up to a limit that doubles, so that clients that failed together do not
    /// come back together.
    fn pause(&self, tries: usize) -> Duration {
        let doubled = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        let limit = self.retry.first.saturating_mul(1 << doubled).min(self.retry.longest);
        limit.mul_f64(random())
    }
}

/// A number from 0 to 1. Its quality does not matter, only that two runs differ.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::error::TransportCause;
    use std::cell::Cell;

    /// The error of a registry that cannot be reached, or of one whose connection breaks.
    fn broken(unreached: bool) -> Error {
        let (registry, at, action) = ("r".to_owned(), "at".to_owned(), "take".to_owned());
        Error::Transport { registry, at, action, retry: Retry::Later, unreached, source: TransportCause(String::new()) }
    }

    /// How many tries there are, and how long they take together, when an operation fails always, or until it is so late.
    async fn tries(patience: Patience, unreached: bool, until: Duration) -> (usize, Duration, bool) {
        let (start, count) = (Instant::now(), Cell::new(0));
        let result = patience
            .run(Error::retry, || {
                count.set(count.get() + 1);
                async { if start.elapsed() >= until { Ok(()) } else { Err(broken(unreached)) } }
            })
            .await;
        (count.get(), start.elapsed(), result.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_is_away_for_half_a_minute_is_waited_for() {
        for _ in 0..20 {
            let (_, took, found) = tries(Patience::default(), true, Duration::from_secs(30)).await;
            assert!(found && took < Duration::from_secs(40), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tries_and_outages_are_bounded() {
        let forever = Duration::MAX;
        let (count, took, found) = tries(Patience::default(), false, forever).await;
        assert!(count == 6 && took < Duration::from_secs(16) && !found, "{count} in {took:?}");
        let (_, took, found) = tries(Patience::default(), true, forever).await;
        assert!(took >= Duration::from_mins(2) && took < Duration::from_mins(3) && !found, "{took:?}");
        let (count, took, _) = tries(Patience::default().brief(), true, forever).await;
        assert!(count == 4 && took < Duration::from_secs(4), "{count} in {took:?}");
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_differ() {
        let patience = Patience::default();
        let longest = |tries| (0..200).map(|_| patience.pause(tries)).max().unwrap();
        for (tries, limit) in [(1, 500), (2, 1000), (4, 4000), (7, 30_000), (60, 30_000)] {
            let limit = Duration::from_millis(limit);
            assert!(longest(tries) <= limit && longest(tries) > limit / 2, "{tries}");
        }
    }
}
