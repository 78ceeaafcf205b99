//! Pushes an image part by part as its source gives it, whatever the source is.
//!
//! Where the registry has lost what it listed a moment ago (a garbage collection), or a stream that cannot be repeated, the
//! source gives the image once more; what is there by then is left out.

use super::attest::{Attest, Made, annotated};
use super::event::{Diagnosis, EventKind, Events, ImageResult, Origin, Transfer};
use super::images::{ImageDoors, about, on_transfer};
use crate::desired::{DesiredImage, ImageSource};
use crate::docker::{self, Built, Progress};
use crate::error::{Failure, FailureKind};
use crate::image::{Descriptor, KnownLayers, Manifest, Part};
use crate::model::{Digest, Platform};
use crate::plan::OperationId;
use crate::registry::{self, PushReport, Pusher, RawManifest};
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// When its image is complete, a source ends within this; otherwise it is stopped.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A source gives its image again so many times.
const MOST_REPLAYS: usize = 4;

/// What went wrong: at the source, or in the push.
pub(super) enum Trouble {
    /// At the source.
    Source(docker::Error),
    /// In the push.
    Push(registry::Error),
}

impl From<docker::Error> for Trouble {
    fn from(error: docker::Error) -> Self {
        Self::Source(error)
    }
}

impl From<registry::Error> for Trouble {
    fn from(error: registry::Error) -> Self {
        Self::Push(error)
    }
}

/// One image on its way into its repository.
#[derive(Clone, Copy)]
pub(super) struct Delivery<'a> {
    /// The doors.
    pub(super) doors: &'a ImageDoors,
    /// The image.
    pub(super) image: &'a DesiredImage,
    /// The tag of its inputs.
    pub(super) content_key: &'a str,
    /// Which operation it is.
    pub(super) operation: OperationId,
    /// Whom to tell.
    pub(super) events: &'a Events,
    /// Stops it.
    pub(super) cancel: &'a CancellationToken,
}

/// A source: what it gives, as often as it is asked, and whether its inputs are still those of the content key.
pub(super) struct Source<'a> {
    /// Gives the image without what is known, and tells how far it is.
    pub(super) give: &'a (dyn Fn(KnownLayers, mpsc::UnboundedSender<Progress>) -> Built + Send + Sync),
    /// Looks at the inputs once more.
    pub(super) unchanged: &'a (dyn Fn() -> BoxFuture<'a, bool> + Send + Sync),
    /// The images that it is made from, where the source has found them itself.
    pub(super) bases: Option<BTreeMap<String, Digest>>,
    /// Whether the image keeps the manifest that it has, and so its digest: nothing is written into it.
    pub(super) keeps_manifest: bool,
}

impl<'a> Delivery<'a> {
    /// Brings the image in.
    pub(super) async fn run(&self, known: KnownLayers, source: Source<'_>) -> Result<ImageResult, Trouble> {
        let mut known = known;
        let bases = source.bases.clone();
        let made = Made::begin(self.image, self.content_key, bases, &self.doors.registry).await;
        for _ in 0..MOST_REPLAYS {
            match self.once(known.clone(), &source, &made).await {
                Err(Trouble::Push(error)) if error.has_lost_blobs() => {
                    self.say("the registry has lost layers that it listed: sending them again");
                    let lost = error.lost_blobs().iter().cloned().collect();
                    known = if error.lost_blobs().is_empty() { KnownLayers::default() } else { known.without(&lost) };
                }
                Err(Trouble::Push(error)) if error.wants_replay() => {
                    self.say(&format!("{error}: sending it again"));
                }
                result => return result,
            }
        }
        self.once(known, &source, &made).await
    }

    /// The layers that the repository has already.
    pub(super) async fn known_layers(&self) -> KnownLayers {
        let tags = [self.image.tag.as_str(), self.content_key, "latest"];
        let index = self.doors.registry.diff_index(&self.image.repository, &tags, &self.platform()).await;
        let images =
            index.images().map(|(id, manifest)| (id.clone(), manifest.media_type.clone(), manifest.bytes.clone()));
        KnownLayers::new(index.layers()).with_images(images).with_tags(index.tags().clone())
    }

    /// The platform that the image is for.
    fn platform(&self) -> Platform {
        match &self.image.source {
            ImageSource::Build(build) => build.platform.clone(),
            ImageSource::Layout(layout) => layout.platform.clone(),
            ImageSource::Engine(engine) => engine.platform.clone(),
            ImageSource::Assembly(assembly) => assembly.platform.clone(),
            ImageSource::Mirror(_) => Platform::default(),
        }
    }

    /// Pushes each part as soon as it is there.
    async fn once(&self, known: KnownLayers, source: &Source<'_>, made: &Made) -> Result<ImageResult, Trouble> {
        let (progress, mut news) = mpsc::unbounded_channel();
        let known = known.with_compression(self.image.supply.compression);
        let mut given = (source.give)(known.clone(), progress);
        let on_progress = on_transfer(self.events, self.operation);
        let mut pusher = Pusher::new(&self.doors.registry, &self.image.repository, on_progress, self.cancel)?;
        pusher.knows(known.tags().clone());
        let mut origin = None;
        loop {
            let part = tokio::select! {
                biased;
                () = self.cancel.cancelled() => {
                    pusher.stop().await;
                    return Err(docker::Error::Cancelled.into());
                }
                Some(news) = news.recv() => {
                    self.tell(news, &mut origin);
                    continue;
                }
                part = given.parts.recv() => part,
                error = pusher.failed() => return Err(error.into()),
            };
            match part {
                Some(Ok(Part::Manifest { media_type, bytes, layers })) => {
                    let manifest = RawManifest::new(Some(&media_type), bytes);
                    let manifest =
                        if source.keeps_manifest { manifest } else { annotated(self.image, manifest, &known) };
                    let tags = self.tags(source).await?;
                    let as_planned = tags.contains(&self.content_key);
                    let made = if as_planned { made.clone() } else { made.clone().of_other_inputs() };
                    let attest = self.attest();
                    let finishing = attest.finish(pusher, &manifest, &tags, Some(&made));
                    let (finished, ()) = tokio::join!(finishing, self.last_words(&mut given));
                    let (report, attestations) = finished?;
                    let result = self.result(&manifest, &report, layers.all, origin);
                    return Ok(result.with_attestations(attestations));
                }
                Some(Ok(part)) => pusher.take(part),
                // The source stops when nobody takes its layers any more: the reason is with the push.
                Some(Err(docker::Error::Cancelled)) => {
                    pusher.wait().await?;
                    pusher.stop().await;
                    return Err(docker::Error::Cancelled.into());
                }
                Some(Err(error)) => {
                    pusher.stop().await;
                    return Err(error.into());
                }
                None => {
                    pusher.stop().await;
                    let problem = "its source stopped without a word".to_owned();
                    return Err(docker::Error::Image { problem }.into());
                }
            }
        }
    }

    /// Waits until the source has ended too: a builder writes its records while the image is being tagged. What it complains
    /// of then is not about the image.
    async fn last_words(&self, given: &mut Built) {
        let ended = async {
            while let Some(part) = given.parts.recv().await {
                part.map_or_else(|error| tracing::info!("after the image was complete: {error}"), drop);
            }
        };
        tokio::select! {
            () = self.cancel.cancelled() => {}
            _ = tokio::time::timeout(LAST_WORDS, ended) => {}
        }
    }

    /// What is said about the image.
    pub(super) fn attest(&self) -> Attest<'a> {
        let Self { doors, image, operation, events, cancel, .. } = *self;
        let (registry, account) = (&doors.registry, doors.account.as_ref());
        Attest { registry, account, image, is_pushed: true, operation, events, cancel }
    }

    /// The tags of the image. Whoever edits a file while it is built gets an image, but not one that stands for the inputs
    /// that were planned: a later deploy would take it for those.
    async fn tags(&self, source: &Source<'_>) -> Result<Vec<&str>, Trouble> {
        let same = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(docker::Error::Cancelled.into()),
            same = (source.unchanged)() => same,
        };
        if same {
            return Ok(vec![self.content_key, &self.image.tag]);
        }
        let message = format!("inputs of image `{}` changed while it was made: it will be made again", self.image.key);
        self.events.send(EventKind::Warning { message });
        Ok(vec![self.image.tag.as_str()].into_iter().filter(|tag| *tag != self.content_key).collect())
    }

    /// What people read of an image that is pushed.
    fn result(
        &self,
        manifest: &RawManifest,
        report: &PushReport,
        layers: usize,
        origin: Option<Origin>,
    ) -> ImageResult {
        let parts: Option<Manifest> = manifest.read().ok();
        let is_new = |layer: &&Descriptor| report.new.contains(&layer.digest);
        let new = parts.map(|parts| parts.layers.iter().filter(is_new).count()).unwrap_or_default();
        ImageResult {
            key: self.image.key.clone(),
            digest: report.digest.clone(),
            detail: format!("{new} of {layers} layers new"),
            bytes_sent: report.bytes_sent,
            attestations: Vec::new(),
            transfer: Transfer::of(report),
            origin,
        }
    }

    /// Passes on what the source says.
    fn tell(&self, news: Progress, origin: &mut Option<Origin>) {
        match news {
            Progress::Step(message) => self.say(&message),
            Progress::Line(line) => self.events.send(EventKind::BuildLog { operation: self.operation, line }),
            Progress::Source(source) => {
                self.say(&source.to_string());
                *origin = Some(Origin { kind: source.kind(), reason: source.to_string() });
            }
        }
    }

    /// Says what is going on.
    pub(super) fn say(&self, message: &str) {
        let message = message.to_owned();
        self.events.send(EventKind::Progress { operation: self.operation, message });
    }

    /// What a way of bringing images says of one that has to come another way: the plan is wrong.
    pub(super) fn is_not(&self, what: &str) -> Diagnosis {
        let message = format!("image `{}` is not {what}", self.image.key);
        Failure::new(FailureKind::Infrastructure, message).into()
    }

    /// The diagnosis of an image that could not be taken out of where it is, or could not be pushed.
    pub(super) async fn diagnose(&self, trouble: &Trouble, place: String) -> Diagnosis {
        let mut failure = match trouble {
            // The push looks at each byte that it sends: what is not its digest lay there like that.
            Trouble::Push(registry::Error::SourceChanged { wanted, got, .. }) => {
                let message = format!("a layer is not what its digest says: {wanted} was expected, and {got} came");
                Failure::new(FailureKind::Application, message).with_hint("make it anew with the tool that wrote it")
            }
            Trouble::Push(error) => return about(self.doors, self.image, "pushed", error).await,
            Trouble::Source(error) => Failure::of(error),
        };
        if failure.kind != FailureKind::Interrupted {
            failure.messages.insert(0, format!("image `{}` cannot be pushed", self.image.key));
        }
        Diagnosis { failure, chain: vec![format!("image {}", self.image.key), place], evidence: Vec::new() }
    }
}
