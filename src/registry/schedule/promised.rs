//! Layers that a source promises before it makes them: each is made by one image of the run, and had by the others.

use super::{Ended, Pusher};
use crate::image::Descriptor;
use crate::image::part::{self, Answer, Promised, Verdict};
use crate::registry::progress::BlobState;
use crate::registry::promises::Claim;
use crate::registry::stream::early::first;
use crate::registry::upload::Uploaded;
use futures::FutureExt as _;
use std::sync::Arc;
use tokio::sync::oneshot;

impl Pusher {
    /// Answers a promise at once: the layer is made here where no other image of the run has made it, or is about to.
    pub(super) fn promised(&mut self, layer: Promised, about: Option<u64>, answer: oneshot::Sender<Verdict>) {
        let flight = match self.target.known.promises.claim(&layer, &self.target.path) {
            Claim::Kept(blob) => return self.kept(blob, answer),
            Claim::Others(other) if self.target.is_worth_waiting_for(&other, false) => {
                let track = self.one(None).track;
                track.enter(BlobState::Waiting);
                let ended = async move {
                    other.ended().await;
                    track.forget(); // it is promised again
                };
                drop(answer.send(Verdict::Later(ended.boxed())));
                return;
            }
            Claim::Others(_) => None,
            Claim::Ours(flight) => Some(flight),
        };
        let (sender, pieces) = part::layer();
        if answer.send(Verdict::Make(sender)).is_err() {
            return;
        }
        let (one, early, seen) = (self.one(None), Arc::clone(&self.early), Arc::clone(&self.seen));
        self.uploads.spawn(async move {
            let _flight = flight; // until the layer has come or will not come
            let ended = one.made(pieces, first(about), &early, &seen).await?;
            if let Some(blob) = &ended.blob {
                one.target.known.promises.keep(layer, blob.clone());
            }
            Ok(ended)
        });
    }

    /// Answers a promise of a layer that the run has made: it need not be made again where the registry gives it from
    /// another repository.
    fn kept(&mut self, blob: Descriptor, answer: oneshot::Sender<Verdict>) {
        let (one, there) = (self.one(Some(&blob)), blob.clone());
        let answer = |taken| {
            let verdict = match taken {
                Answer::Have => Verdict::Have(there),
                Answer::Send(sender) => Verdict::Make(sender),
            };
            answer.send(verdict).is_ok()
        };
        self.uploads.spawn(async move {
            let ended = one.offered(blob, answer).await?;
            Ok(Ended { was_made: ended.how == Uploaded::Sent, ..ended })
        });
    }
}
