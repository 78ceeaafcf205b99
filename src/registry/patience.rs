//! How long what may take, and how often it is tried again.

use super::error::Error;
use crate::http::{Retry, RetryPolicy};
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
    /// A session that is not needed any more gets this long to be ended; the registry ends it by itself later.
    pub(crate) goodbye: Duration,
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
            goodbye: Duration::from_millis(700),
            retry: RetryPolicy::default(),
            outage: Duration::from_mins(2),
        }
    }
}

/// Tries of what somebody waits for: a few seconds of pauses.
const BRIEF_TRIES: usize = 4;

/// A place that is away is looked for at least so often.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

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
            let Some(pause) = self.retry.pause(tries, verdict) else { return Err(error) };
            let pause = if is_outage { pause.min(LONGEST_LOOK) } else { pause };
            tracing::info!("trying again in {} ms: {error}", pause.as_millis());
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::error::{Refusal, TransportCause};
    use std::cell::Cell;

    /// The error of a registry that cannot be reached, or of one whose connection breaks.
    fn broken(unreached: bool) -> Error {
        let (registry, at, action) = ("r".to_owned(), "at".to_owned(), "take".to_owned());
        let (retry, obstacle, source) = (Retry::Later, None, TransportCause(String::new()));
        Error::Transport { registry, at, action, retry, obstacle, unreached, source }
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

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_asks_for_no_pause_is_not_hammered() {
        let (start, headers) = (Instant::now(), [(reqwest::header::RETRY_AFTER, "0".parse().unwrap())]);
        let headers = reqwest::header::HeaderMap::from_iter(headers);
        let refusal = Refusal::read(reqwest::StatusCode::TOO_MANY_REQUESTS, &headers, b"");
        let refused = || {
            let (registry, action) = ("r".to_owned(), "take".to_owned());
            Error::Refused { registry, action, refusal: Box::new(refusal.clone()) }
        };
        for _ in 0..20 {
            let result: Result<(), Error> = Patience::default().run(Error::retry, || async { Err(refused()) }).await;
            assert!(result.is_err());
        }
        assert!(start.elapsed() > Duration::from_secs(20), "{:?} for twenty times six tries", start.elapsed());
    }
}
