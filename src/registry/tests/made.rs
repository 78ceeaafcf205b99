//! Pushes of a layer that is made while it goes up.

use super::{Client, Error, Fake, Manifest, PushReport, Pusher, RawManifest, blob};
use crate::image::descriptor::media_type;
use crate::image::part::layer;
use crate::image::{Descriptor, Part};
use crate::model::{Digest, Repository};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

/// A mebibyte.
pub(crate) const MIB: usize = 1024 * 1024;

/// Pushes an image of a layer that is made piece by piece, as `v1`.
pub(crate) async fn push_made(client: &Client, to: &Repository, bytes: &Bytes) -> Result<PushReport, Error> {
    let config = blob(media_type::OCI_CONFIG, "{}");
    let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(bytes), bytes.len() as u64);
    let manifest = Manifest::new(config.descriptor.clone(), vec![descriptor.clone()]).to_bytes().unwrap();
    let mut pusher = Pusher::new(client, to, Box::new(|_| ()), &CancellationToken::new())?;
    let (sender, pieces) = layer();
    pusher.take(Part::Layer { pieces, about: None });
    pusher.add(config);
    let making = async {
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            if sender.send(rest.split_to(rest.len().min(MIB / 2))).await.is_err() {
                return;
            }
        }
        let _ = sender.end(descriptor).await;
    };
    tokio::select! {
        error = pusher.failed() => return Err(error),
        () = making => {}
    }
    pusher.finish(&RawManifest::new(None, manifest.into()), &["v1"]).await
}

/// The layer lies in `shop/api`, and no session is left.
pub(super) fn assert_there(fake: &Fake, bytes: &Bytes) {
    let contents = fake.contents();
    let there = contents.blobs.get(&("shop/api".to_owned(), Digest::of(bytes).to_string()));
    assert!(there == Some(bytes), "the layer is not there");
    assert!(contents.sessions.is_empty(), "a session was left open");
}
