//! Blobs that come from another repository of the same registry: where one lies, and which repositories give theirs.
//!
//! A mount wants a token that may read the other repository too. A registry that refuses it, or takes no mounts, is asked
//! once for each pair of repositories and not for each blob.

use super::flights::UnderWay;
use super::progress::lock;
use super::target::Target;
use crate::image::Descriptor;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::OwnedMutexGuard;

/// Whether one repository gives its blobs to another; `None` where it was not tried.
type Pair = Arc<tokio::sync::Mutex<Option<bool>>>;

/// Which repositories of a registry give their blobs to which others.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Mutex<HashMap<(String, String), Pair>>);

/// The right to ask for a mount.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It has worked between the two before.
    Works,
    /// It was never tried. Others wait for what comes of it.
    First(OwnedMutexGuard<Option<bool>>),
}

impl Mounts {
    /// What is known of two repositories.
    fn pair(&self, from: &str, to: &str) -> Pair {
        lock(&self.0).entry((from.to_owned(), to.to_owned())).or_default().clone()
    }

    /// Whether it is not known that one repository gives nothing to another.
    pub(crate) fn may_work(&self, from: &str, to: &str) -> bool {
        self.pair(from, to).try_lock().map_or(true, |works| *works != Some(false))
    }

    /// The right to ask for a mount; `None` where it is refused between the two.
    pub(crate) async fn turn(&self, from: &str, to: &str) -> Option<Turn> {
        let pair = self.pair(from, to).lock_owned().await;
        match *pair {
            None => Some(Turn::First(pair)),
            Some(true) => Some(Turn::Works),
            Some(false) => None,
        }
    }
}

impl Turn {
    /// Whether the first mount between the two was done. One that is refused after others were done says nothing of the next.
    pub(crate) fn learn(self, works: bool) {
        if let Self::First(mut pair) = self {
            *pair = Some(works);
        }
    }
}

/// For a blob from this size on it is worth a request to learn whether another repository of the run has it, in bytes.
const WORTH_A_LOOK: u64 = 1024 * 1024;

/// A blob is looked for in no more repositories than this.
const MOST_NEIGHBOURS: usize = 8;

impl Target {
    /// Another repository that a blob is known to lie in and may be mounted from. `told` is one that the blob's source names.
    pub(crate) fn mount_source(&self, blob: &Descriptor, told: Option<&str>) -> Option<String> {
        let known = self.known.elsewhere(&self.path, &blob.digest);
        let mut all = told.map(str::to_owned).into_iter().chain(known);
        all.find(|from| self.may_mount_from(from))
    }

    /// Whether a mount from another repository is worth trying. DigitalOcean's token service refuses requests that name a
    /// repository of somebody else's registry, with everything else that they ask for.
    fn may_mount_from(&self, from: &str) -> bool {
        let owner = |path: &str| path.split('/').next().map(str::to_owned);
        from != self.path
            && (!self.endpoint.is_digitalocean() || owner(from) == owner(&self.path))
            && self.known.mounts.may_work(from, &self.path)
    }

    /// Somebody else who is sending a blob and is worth waiting for.
    pub(crate) fn other_upload(&self, blob: &Descriptor, holds_bytes: bool) -> Option<UnderWay> {
        self.known.flights.under_way(&blob.digest).filter(|other| self.is_worth_waiting_for(other, holds_bytes))
    }

    /// Whether what somebody else sends can be had from there. Whoever holds bytes waits only for those who need no more room:
    /// they might wait for these very bytes to go.
    pub(crate) fn is_worth_waiting_for(&self, other: &UnderWay, holds_bytes: bool) -> bool {
        (other.path == self.path || self.may_mount_from(&other.path)) && (!holds_bytes || other.is_steady())
    }

    /// Looks for a large blob in the other repositories of this run: a run that was stopped, or the one before, may have
    /// brought it there. What cannot be seen is not there.
    pub(crate) async fn ask_neighbours(&self, blob: &Descriptor) {
        if blob.size < WORTH_A_LOOK {
            return;
        }
        let neighbours = self.known.neighbours(&self.path);
        let neighbours = neighbours.iter().filter(|path| self.may_mount_from(path)).take(MOST_NEIGHBOURS);
        let looks = neighbours.map(|path| async move {
            match self.client.has_blob(&self.endpoint, path, &blob.digest).await {
                Ok(true) => self.known.has(path, &blob.digest),
                Ok(false) => {}
                Err(error) => tracing::debug!("cannot look into `{path}`: {error}"),
            }
        });
        futures::future::join_all(looks).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn two_repositories_are_tried_once() {
        let mounts = Mounts::default();
        let first = mounts.turn("shop/api", "shop/web").await.unwrap();
        assert!(matches!(first, Turn::First(_)));
        assert!(mounts.may_work("shop/api", "shop/web"), "nothing is known yet");
        let mut second = Box::pin(mounts.turn("shop/api", "shop/web"));
        assert!((&mut second).now_or_never().is_none(), "it waits for what comes of the first");
        first.learn(false);
        assert!(second.await.is_none());
        assert!(!mounts.may_work("shop/api", "shop/web") && mounts.may_work("shop/web", "shop/api"));
        let first = mounts.turn("shop/web", "shop/api").await.unwrap();
        drop(first); // an outage: it says nothing
        mounts.turn("shop/web", "shop/api").await.unwrap().learn(true);
        let works = mounts.turn("shop/web", "shop/api").await.unwrap();
        assert!(matches!(works, Turn::Works));
        works.learn(false);
        assert!(mounts.may_work("shop/web", "shop/api"), "one blob that was not there says nothing of others");
    }
}
