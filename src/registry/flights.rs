//! Which blobs are on their way into a registry: of several images of a run that need the same blob at the same time, one
//! sends it, and the others wait for it and take it from there.
//!
//! Whoever really begins to send a blob owns it; nobody owns what only stands in a queue. A flight ends when it is dropped,
//! whatever has come of it: those who wait look for themselves, and the next of them owns the blob where it has not come.
//! Nobody waits who could be what the other one waits for: an owner waits for no flight, whoever waits has no permit to
//! upload, and whoever holds bytes of the run's budget waits only for owners that need no more of it.

use super::progress::lock;
use crate::model::Digest;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The blobs that are on their way into one registry, by what they are told apart by.
#[derive(Debug)]
pub(crate) struct Flights<K = Digest>(Mutex<HashMap<K, UnderWay>>);

impl<K> Default for Flights<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// A blob that somebody else is sending.
#[derive(Clone, Debug)]
pub(crate) struct UnderWay {
    /// The path of the repository that it goes to.
    pub(crate) path: String,
    /// Whether it needs no more room in memory; closed at its end.
    steady: watch::Receiver<bool>,
}

/// A blob that is being sent: others wait until this is dropped.
#[derive(Debug)]
pub(crate) struct Flight<K: Eq + Hash = Digest> {
    /// Where it is listed.
    flights: Arc<Flights<K>>,
    /// The blob.
    blob: K,
    /// Whether it needs no more room in memory.
    steady: watch::Sender<bool>,
}

impl<K: Clone + Eq + Hash> Flights<K> {
    /// Begins to send a blob into a repository, unless somebody else is sending it. A steady one needs no more room in memory
    /// than it has.
    pub(crate) fn take_off(self: &Arc<Self>, blob: &K, path: &str, steady: bool) -> Result<Flight<K>, UnderWay> {
        let mut flights = lock(&self.0);
        if let Some(other) = flights.get(blob) {
            return Err(other.clone());
        }
        let (sender, steady) = watch::channel(steady);
        flights.insert(blob.clone(), UnderWay { path: path.to_owned(), steady });
        Ok(Flight { flights: Arc::clone(self), blob: blob.clone(), steady: sender })
    }

    /// Who is sending a blob, if somebody is.
    pub(crate) fn under_way(&self, blob: &K) -> Option<UnderWay> {
        lock(&self.0).get(blob).cloned()
    }
}

impl UnderWay {
    /// Whether it needs no more room in memory than it has.
    pub(crate) fn is_steady(&self) -> bool {
        *self.steady.borrow()
    }

    /// Waits until it has ended, well or not.
    pub(crate) async fn ended(mut self) {
        while self.steady.changed().await.is_ok() {}
    }
}

impl<K: Eq + Hash> Flight<K> {
    /// All the room that it needs in memory is its own.
    pub(crate) fn is_steady_now(&self) {
        self.steady.send_replace(true);
    }
}

impl<K: Eq + Hash> Drop for Flight<K> {
    fn drop(&mut self) {
        lock(&self.flights.0).remove(&self.blob);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn one_sends_and_the_others_wait_for_its_end() {
        let (flights, blob) = (Arc::new(Flights::default()), Digest::of(b"blob"));
        let flight = flights.take_off(&blob, "shop/api", false).unwrap();
        assert!(flights.take_off(&blob, "shop/web", true).is_err());
        assert!(flights.take_off(&Digest::of(b"another"), "shop/web", true).is_ok());
        let under_way = flights.under_way(&blob).unwrap();
        assert_eq!((under_way.path.as_str(), under_way.is_steady()), ("shop/api", false));
        let mut waiting = Box::pin(under_way.clone().ended());
        flight.is_steady_now();
        assert!(under_way.is_steady() && (&mut waiting).now_or_never().is_none(), "it is not over");
        drop(flight);
        waiting.await;
        assert!(flights.under_way(&blob).is_none() && flights.take_off(&blob, "shop/web", true).is_ok());
    }
}
