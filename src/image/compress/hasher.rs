//! SHA-256 of a stream, beside the work on it.

use super::background::give_way;
use crate::model::Digest;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

/// So many pieces may wait to be hashed; then whoever brings them waits.
const WAITING: usize = 4;

/// Hashes pieces in order: at once, or on a thread of its own from [`Hasher::start`] on.
#[derive(Default)]
pub(super) struct Hasher {
    /// What has been hashed before there was a thread.
    here: Sha256,
    /// The thread and the way to it.
    elsewhere: Option<(mpsc::SyncSender<Bytes>, JoinHandle<Sha256>)>,
}

impl Hasher {
    /// Goes on on a thread of its own, where one is to be had.
    pub(super) fn start(&mut self) {
        if self.elsewhere.is_some() {
            return;
        }
        let (sender, pieces) = mpsc::sync_channel::<Bytes>(WAITING);
        let mut hash = self.here.clone();
        let work = move || {
            give_way();
            for piece in pieces {
                hash.update(&piece);
            }
            hash
        };
        let thread = thread::Builder::new().name("hash".to_owned()).spawn(work);
        self.elsewhere = thread.ok().map(|thread| (sender, thread));
    }

    /// Takes the next piece.
    pub(super) fn update(&mut self, piece: Bytes) {
        match &self.elsewhere {
            // The thread ends only after this end of the channel: the piece arrives.
            Some((sender, _)) => drop(sender.send(piece)),
            None => self.here.update(&piece),
        }
    }

    /// The digest of all pieces.
    pub(super) fn finish(self) -> Digest {
        let hash = match self.elsewhere {
            Some((sender, thread)) => {
                drop(sender);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            None => self.here,
        };
        Digest::from_hash(&hash.finalize())
    }
}
