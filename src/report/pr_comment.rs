//! The comment on the pull request: there from the plan on, edited as the run goes on, and at the end.
//!
//! It is written beside the run: nobody waits for GitHub but the end, and that not for long.

use super::Sink;
use super::page::{Links, page};
use super::picture::{Phase, Picture};
use crate::error::{Failure, FailureKind};
use crate::execute::{Event, EventKind};
use crate::github::{self, Comments};
use futures::future::BoxFuture;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Edits follow each other no faster, but for the last one.
const PAUSE: Duration = Duration::from_secs(10);

/// How long the end of a run waits for the last edit.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it waits after somebody asked to stop.
const LITTLE_PATIENCE: Duration = Duration::from_millis(1500);

/// What the comment should say.
#[derive(Clone, Debug, Default)]
struct Draft {
    /// The text; empty before there is anything to say.
    text: String,
    /// Whether it is the last one.
    last: bool,
}

/// The comment.
pub(super) struct PrComment {
    /// Where it leads to.
    links: Links,
    /// What it should say; only the newest draft counts.
    drafts: watch::Sender<Draft>,
    /// Who writes it.
    writer: Option<JoinHandle<Result<(), github::Error>>>,
    /// The phase that it tells of.
    phase: Option<Phase>,
}

impl PrComment {
    /// A comment among these. Needs the runtime.
    pub(super) fn new(comments: Comments, links: Links) -> Self {
        let (drafts, receiver) = watch::channel(Draft::default());
        let writer = Some(tokio::spawn(write(comments, receiver)));
        Self { links, drafts, writer, phase: None }
    }
}

/// Publishes the newest draft until the last one is out. The result is that of the last try.
async fn write(mut comments: Comments, mut drafts: watch::Receiver<Draft>) -> Result<(), github::Error> {
    let (mut result, mut told) = (Ok(()), String::new());
    while let Some(draft) = next_draft(&mut drafts, &told).await {
        result = comments.publish(&draft.text).await.map(|published| {
            tracing::debug!("the comment on the pull request: {published:?}");
        });
        if draft.last || matches!(result, Err(github::Error::Forbidden { .. })) {
            break;
        }
        told = draft.text;
        // Comes back early with the last draft, or when there will be none.
        let _ = tokio::time::timeout(PAUSE, drafts.wait_for(|draft| draft.last)).await;
    }
    result
}

/// The newest draft, once it says something new or is the last one; `None` when there will be none.
async fn next_draft(drafts: &mut watch::Receiver<Draft>, told: &str) -> Option<Draft> {
    drafts.wait_for(|draft| draft.last || draft.text != told).await.ok().map(|draft| draft.clone())
}

impl Sink for PrComment {
    fn name(&self) -> &'static str {
        "the comment on the pull request"
    }

    fn event(&mut self, event: &Event, picture: &Picture) -> Result<(), Failure> {
        let phase = Some(picture.phase());
        if matches!(event.kind, EventKind::Planned(_)) || self.phase.is_some() && phase > self.phase {
            self.phase = phase;
            self.drafts.send_replace(Draft { text: page(picture, &self.links), last: false });
        }
        Ok(())
    }

    fn finish<'a>(&'a mut self, picture: &'a Picture) -> BoxFuture<'a, Result<(), Failure>> {
        let Some(mut writer) = self.writer.take().filter(|_| picture.outcome.is_some()) else {
            return Box::pin(async { Ok(()) });
        };
        self.drafts.send_replace(Draft { text: page(picture, &self.links), last: true });
        let hurried = picture.outcome.as_ref().is_some_and(crate::execute::Outcome::is_cancelled);
        Box::pin(async move {
            match tokio::time::timeout(if hurried { LITTLE_PATIENCE } else { PATIENCE }, &mut writer).await {
                Ok(Ok(result)) => result.map_err(Failure::from),
                Ok(Err(crash)) => Err(Failure::new(FailureKind::Infrastructure, crash.to_string())),
                Err(_) => {
                    writer.abort();
                    Err(Failure::new(FailureKind::Infrastructure, "GitHub does not answer in time"))
                }
            }
        })
    }
}
