//! Archives and rules that others wrote, for the fuzz targets: each of these may refuse, and must do nothing worse.

use super::dockerignore::Rules;
use super::error::Error;
use super::save::{self, Expected};
use crate::image::Part;
use crate::image::part::{self, Answer, LayerReceiver, Verdict};
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

/// An archive of an image, with somebody who takes all of its parts.
pub(crate) fn archive(bytes: &[u8]) {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));
    let (sender, parts) = mpsc::channel(16);
    let bytes = bytes.to_vec();
    RUNTIME.block_on(async {
        let reader = spawn_blocking(move || save::read(bytes.as_slice(), &Expected::default(), &sender));
        take(parts).await;
        let _ = reader.await.expect("a reader that ends");
    });
}

/// Takes everything.
async fn take(mut parts: mpsc::Receiver<Result<Part, Error>>) {
    let mut layers = JoinSet::new();
    while let Some(Ok(part)) = parts.recv().await {
        match part {
            Part::Layer { pieces, .. } => drop(layers.spawn(drain(pieces))),
            Part::Offer { answer, .. } => {
                let (sender, pieces) = part::layer();
                layers.spawn(drain(pieces));
                let _ = answer.send(Answer::Send(sender));
            }
            Part::Promise { answer, .. } => {
                let (sender, pieces) = part::layer();
                layers.spawn(drain(pieces));
                let _ = answer.send(Verdict::Make(sender));
            }
            Part::Blob { .. } | Part::Reopenable { .. } | Part::Manifest { .. } => {}
        }
    }
    layers.join_all().await;
}

/// Takes all pieces of a layer.
async fn drain(mut pieces: LayerReceiver) {
    while pieces.recv().await.is_some() {}
}

/// A `.dockerignore`, and a path to ask it about.
pub(crate) fn dockerignore(rules: &str, path: &str) {
    if let Ok(rules) = Rules::parse(rules) {
        rules.may_include_below(path);
        if let Ok(verdict) = rules.judge_alone(path) {
            rules.reason(&verdict);
        }
    }
}
