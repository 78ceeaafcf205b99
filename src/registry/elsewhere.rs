//! Blobs that need not be sent, since another repository of the registry has them or is about to.

use super::flights::UnderWay;
use super::target::Target;
use crate::image::Descriptor;

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
