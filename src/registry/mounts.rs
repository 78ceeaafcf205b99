//! Which repositories of a registry give their blobs to which others.
//!
//! A mount wants a token that may read the other repository too. A registry that refuses it, or takes no mounts, is asked
//! once for each pair of repositories and not for each blob.

use super::progress::lock;
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
