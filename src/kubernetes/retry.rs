//! When a request is sent again, and after how long.

use super::Error;
use std::time::Duration;

/// How long a request is repeated before its failure is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// The pauses between tries add up to no more than this.
    total: Duration,
}

/// The first pause; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause that is not the server's own wish.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Patience {
    /// For the first contact: an address that is wrong should be known soon.
    pub(super) const CONNECT: Self = Self { total: Duration::from_secs(3) };

    /// For reads and for writes that can be repeated.
    pub(super) const REQUEST: Self = Self { total: Duration::from_secs(30) };

    /// For an admission webhook whose pods come up in the same deploy.
    /// cert-manager's is ready some seconds before it serves: <https://github.com/cert-manager/cert-manager/issues/2908>.
    pub(super) const WEBHOOK: Self = Self { total: Duration::from_mins(2) };

    /// The pause before the next try, or `None` where the error is to be believed.
    ///
    /// `tries` have been made and have paused for `paused` so far.
    pub(super) fn pause(self, error: &Error, tries: u32, paused: Duration) -> Option<Duration> {
        let asked = error.status().and_then(|status| status.details.as_ref()).map_or(0, |d| d.retry_after_seconds);
        let own = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
        let pause = own.max(Duration::from_secs(asked.into()));
        let patience = if calls_webhook(error) { Self::WEBHOOK } else { self };
        (error.is_transient() && paused + pause <= patience.total).then_some(pause)
    }
}

/// Whether the API server could not reach a webhook, which is not the same as the webhook's refusal.
fn calls_webhook(error: &Error) -> bool {
    let is_call = |text: &str| text.contains("failed calling webhook") || text.contains("conversion webhook for");
    error.status().is_some_and(|status| status.code == 500 && is_call(&status.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::{Status, response::StatusDetails};

    fn refused(code: u16, message: &str, retry_after_seconds: u32) -> Error {
        let details = serde_json::json!({ "retryAfterSeconds": retry_after_seconds });
        let details: StatusDetails = serde_json::from_value(details).unwrap();
        let status = Status::failure(message, "").with_code(code).with_details(details).boxed();
        Error::Refused { doing: "ask".to_owned(), status }
    }

    /// All pauses of a request that never succeeds, in milliseconds.
    fn pauses(error: &Error, patience: Patience) -> Vec<u128> {
        let (mut all, mut paused) = (Vec::new(), Duration::ZERO);
        while let Some(pause) = patience.pause(error, u32::try_from(all.len()).unwrap() + 1, paused) {
            paused += pause;
            all.push(pause.as_millis());
        }
        all
    }

    #[test]
    fn pauses_double_and_end() {
        assert_eq!(pauses(&refused(503, "", 0), Patience::CONNECT), [250, 500, 1000]);
        assert_eq!(pauses(&refused(422, "", 0), Patience::REQUEST), [0; 0]);
    }

    #[test]
    fn the_servers_wish_counts() {
        assert_eq!(pauses(&refused(429, "", 12), Patience::REQUEST), [12_000, 12_000]);
    }

    #[test]
    fn a_webhook_that_comes_up_gets_more_time() {
        let error = refused(500, "Internal error occurred: failed calling webhook \"x\": connection refused", 0);
        assert!(pauses(&error, Patience::REQUEST).iter().sum::<u128>() > 100_000);
    }
}
