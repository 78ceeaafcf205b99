//! Somebody stops the program: the first signal asks it to end well, the second ends it.

use crate::error::FailureKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Listens to SIGINT and SIGTERM for the rest of the run.
#[derive(Clone, Default)]
pub(crate) struct Signals {
    /// Cancelled by the first signal.
    pub(crate) cancel: CancellationToken,
    /// Whether that was SIGTERM.
    terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Starts to listen. Where the system gives no signals, none will come.
    pub(crate) fn listen() -> Self {
        let signals = Self::default();
        if let (Ok(interrupt), Ok(terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            tokio::spawn(signals.clone().run(interrupt, terminate));
        }
        signals
    }

    /// What kind of stop it was.
    pub(crate) fn kind(&self) -> FailureKind {
        if self.terminated.load(Ordering::Relaxed) { FailureKind::Terminated } else { FailureKind::Interrupted }
    }

    /// Waits for signals.
    async fn run(self, mut interrupt: Signal, mut terminate: Signal) {
        loop {
            let terminated = tokio::select! {
                _ = interrupt.recv() => false,
                _ = terminate.recv() => true,
            };
            if self.cancel.is_cancelled() {
                end_now(terminated);
            }
            self.terminated.store(terminated, Ordering::Relaxed);
            self.cancel.cancel();
        }
    }
}

/// The second signal: whoever sends it does not want to wait for anything.
#[expect(clippy::exit, clippy::disallowed_methods, reason = "asked to end now, with nothing left to write")]
fn end_now(terminated: bool) -> ! {
    std::process::exit(if terminated { 143 } else { 130 })
}
