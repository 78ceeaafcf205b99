//! What a push would get of an image: takes all parts at once, as the registry's side does.

use super::error::Error;
use crate::image::descriptor::media_type;
use crate::image::part::{self, Answer, LayerCount, LayerReceiver, Piece, Verdict};
use crate::image::{Descriptor, Manifest, Part};
use crate::model::Digest;
use bytes::Bytes;
use futures::{FutureExt as _, TryStreamExt as _};
use std::collections::{BTreeMap, HashSet};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What has come of an image.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Blobs by digest, each checked against it.
    pub(super) blobs: BTreeMap<Digest, Bytes>,
    /// How many offers were refused because the blob was there.
    pub(super) refused: usize,
    /// The layers that another image of the run was bringing when they were promised.
    pub(super) put_off: HashSet<Digest>,
    /// How many layers were begun and turned out to be known.
    pub(super) given_up: usize,
    /// The manifest.
    pub(super) manifest: Bytes,
    /// Its layers.
    pub(super) layers: LayerCount,
}

impl Gathered {
    /// What the manifest says.
    pub(super) fn read(&self) -> Manifest {
        serde_json::from_slice(&self.manifest).unwrap()
    }

    /// The layers as they were before compression, in the order of the manifest; `None` for one that did not come.
    pub(super) fn plain_layers(&self) -> Vec<Option<Vec<u8>>> {
        let inflate = |bytes: &Bytes| {
            let mut plain = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes.as_ref()), &mut plain).unwrap();
            plain
        };
        self.read().layers.iter().map(|layer| self.blobs.get(&layer.digest).map(inflate)).collect()
    }
}

/// The blob of a layer that another image of the run brings.
pub(super) fn brought(diff_id: &Digest) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(diff_id.as_str().as_bytes()), 1)
}

/// Takes all parts; `there` are the blobs that the registry has, or is just about to have from another image of the run.
pub(super) async fn gather(
    mut parts: mpsc::Receiver<Result<Part, Error>>,
    there: &[Digest],
) -> Result<Gathered, Error> {
    let there: HashSet<Digest> = there.iter().cloned().collect();
    let (mut gathered, mut coming) = (Gathered::default(), JoinSet::new());
    while let Some(part) = parts.recv().await {
        match part? {
            Part::Blob { descriptor, bytes } => keep(&mut gathered, &descriptor, bytes),
            Part::Reopenable { descriptor, content, .. } => {
                for _ in 0..2 {
                    let pieces: Vec<Bytes> = content.open().await.unwrap().try_collect().await.unwrap();
                    keep(&mut gathered, &descriptor, pieces.concat().into());
                }
            }
            Part::Offer { descriptor, answer } if there.contains(&descriptor.digest) => {
                gathered.refused += 1;
                answer.send(Answer::Have).unwrap();
            }
            Part::Offer { answer, .. } => {
                let (sender, pieces) = part::layer();
                answer.send(Answer::Send(sender)).unwrap();
                coming.spawn(receive(pieces));
            }
            Part::Promise { layer, answer, .. } if there.contains(&brought(&layer.diff_id).digest) => {
                let is_first = gathered.put_off.insert(layer.diff_id.clone());
                let later = Verdict::Later(std::future::ready(()).boxed());
                answer.send(if is_first { later } else { Verdict::Have(brought(&layer.diff_id)) }).unwrap();
            }
            Part::Promise { answer, .. } => {
                let (sender, pieces) = part::layer();
                answer.send(Verdict::Make(sender)).unwrap();
                coming.spawn(receive(pieces));
            }
            Part::Layer { pieces, .. } => drop(coming.spawn(receive(pieces))),
            Part::Manifest { bytes, layers, .. } => (gathered.manifest, gathered.layers) = (bytes, layers),
        }
    }
    while let Some(received) = coming.join_next().await {
        match received.unwrap() {
            Some((descriptor, bytes)) => keep(&mut gathered, &descriptor, bytes),
            None => gathered.given_up += 1,
        }
    }
    Ok(gathered)
}

/// Keeps a blob that is what it says.
fn keep(gathered: &mut Gathered, descriptor: &Descriptor, bytes: Bytes) {
    assert_eq!((Digest::of(&bytes), bytes.len() as u64), (descriptor.digest.clone(), descriptor.size));
    gathered.blobs.insert(descriptor.digest.clone(), bytes);
}

/// Receives one layer; `None` where it is not needed after all.
async fn receive(mut pieces: LayerReceiver) -> Option<(Descriptor, Bytes)> {
    let mut bytes = Vec::new();
    loop {
        match pieces.recv().await? {
            Piece::Bytes(piece) => bytes.extend_from_slice(&piece),
            Piece::End(descriptor) => return Some((descriptor, bytes.into())),
        }
    }
}
