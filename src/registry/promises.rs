//! Layers that several images of a run are made of, by what is in them: one image makes such a layer and sends it, the others
//! wait until it has come and take it from there, without making it at all.
//!
//! What a layer will be when it is compressed is known only at its end, and the upload of a long one begins before that.
//! What is in it its source often knows beforehand.
//!
//! Nobody waits here who has anything: whoever promises a layer that another image is bringing has made nothing of it, and
//! owns it only when it is told to make it at once. So an owner waits for no source but its own, which is busy with this
//! very layer, and a source that waits keeps nobody from what they wait for. When an owner fails, whoever asks next
//! is the next owner.

use super::flights::{Flight, Flights, UnderWay};
use super::progress::lock;
use crate::image::Descriptor;
use crate::image::part::Promised;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The promised layers of a run for one registry.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// Those that are being made and sent.
    flights: Arc<Flights<Promised>>,
    /// Those that have come: the blobs that they are.
    kept: Mutex<HashMap<Promised, Descriptor>>,
}

/// What is to be done about a promised layer.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It has been made in this run, and is this blob.
    Kept(Descriptor),
    /// Somebody else is making it.
    Others(UnderWay),
    /// It is to be made here. Others wait until this is dropped.
    Ours(Flight<Promised>),
}

impl Promises {
    /// Begins to make a layer for a repository, unless it has been made or somebody else is making it.
    pub(crate) fn claim(&self, layer: &Promised, path: &str) -> Claim {
        let flight = self.flights.take_off(layer, path, true);
        // Whoever has made it has said so before others could begin: this look comes after.
        if let Some(blob) = lock(&self.kept).get(layer) {
            return Claim::Kept(blob.clone());
        }
        flight.map_or_else(Claim::Others, Claim::Ours)
    }

    /// A layer has come, and is this blob. Told before its flight ends, so that nobody makes it again meanwhile.
    pub(crate) fn keep(&self, layer: Promised, blob: Descriptor) {
        lock(&self.kept).insert(layer, blob);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Compression, Digest};
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_layer_is_made_once_and_by_the_next_one_where_the_first_fails() {
        let promises = Promises::default();
        let layer = Promised { diff_id: Digest::of(b"archive"), compression: Compression::Gzip };
        let Claim::Ours(first) = promises.claim(&layer, "shop/api") else { panic!("nobody makes it") };
        let Claim::Others(other) = promises.claim(&layer, "shop/web") else { panic!("it is being made") };
        let zstd = Promised { compression: Compression::Zstd, ..layer.clone() };
        assert!(matches!(promises.claim(&zstd, "shop/web"), Claim::Ours(_)), "another compression is another blob");
        let mut waiting = Box::pin(other.ended());
        assert!((&mut waiting).now_or_never().is_none());
        drop(first); // it has failed
        waiting.await;
        let Claim::Ours(second) = promises.claim(&layer, "shop/web") else { panic!("nobody makes it") };
        let blob = Descriptor::new("", Digest::of(b"blob"), 4);
        promises.keep(layer.clone(), blob.clone());
        assert!(matches!(promises.claim(&layer, "shop/jobs"), Claim::Kept(kept) if kept == blob));
        drop(second);
        assert!(matches!(promises.claim(&layer, "shop/jobs"), Claim::Kept(kept) if kept == blob));
    }
}
