//! Builds an image and pushes it while it comes out of the builder.

use super::content_key::content_key;
use super::event::{Diagnosis, EventKind, Events, ImageResult, Transfer};
use super::images::{ImageDoors, on_transfer};
use super::push::about;
use crate::config::Build;
use crate::desired::{DesiredImage, DesiredSource};
use crate::docker::{self, BuildRequest, LoginSource, Progress, context};
use crate::error::{Failure, FailureKind};
use crate::image::{Content, KnownLayers, Manifest, Part};
use crate::plan::OperationId;
use crate::registry::{self, Blob, PushReport, Pusher, RawManifest};
use futures::FutureExt as _;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Compressed layers that wait to be sent may take so much memory.
const WAITING_BYTES: u64 = 256 * 1024 * 1024;

/// What went wrong: in the build, or in the push.
enum Trouble {
    /// In the build.
    Build(docker::Error),
    /// In the push.
    Push(registry::Error),
}

impl From<docker::Error> for Trouble {
    fn from(error: docker::Error) -> Self {
        Self::Build(error)
    }
}

impl From<registry::Error> for Trouble {
    fn from(error: registry::Error) -> Self {
        Self::Push(error)
    }
}

/// Builds an image and pushes it under its content key and its tag for people.
pub(crate) async fn build(
    doors: &ImageDoors,
    image: &DesiredImage,
    content_key: &str,
    operation: OperationId,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<ImageResult, Diagnosis> {
    let DesiredSource::Build(build) = &image.source else {
        let message = format!("image `{}` is mirrored, not built", image.key);
        return Err(Failure::new(FailureKind::Infrastructure, message).into());
    };
    let work = Work { doors, image, build, content_key, operation, events, cancel };
    work.run().await.map_err(|trouble| match trouble {
        Trouble::Build(error) => diagnose(image, build, &error),
        Trouble::Push(error) => about(image, "pushed", &error),
    })
}

/// One build and push.
struct Work<'a> {
    /// The doors.
    doors: &'a ImageDoors,
    /// The image.
    image: &'a DesiredImage,
    /// How it is built.
    build: &'a Build,
    /// The tag of its inputs.
    content_key: &'a str,
    /// Which operation it is.
    operation: OperationId,
    /// Whom to tell.
    events: &'a Events,
    /// Stops it.
    cancel: &'a CancellationToken,
}

impl Work<'_> {
    /// Reads, builds and pushes. Where the registry has lost a layer that it listed a moment ago (a garbage collection), it
    /// is all sent once more; the build itself comes from the builder's cache then.
    async fn run(&self) -> Result<ImageResult, Trouble> {
        let prepared = futures::future::try_join(self.request(), self.known_layers().map(Ok));
        let (request, known) = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(docker::Error::Cancelled.into()),
            prepared = prepared => prepared?,
        };
        let result = self.build_and_push(request.clone(), known).await;
        match result {
            Err(Trouble::Push(error)) if error.has_lost_blobs() => {
                self.say("the registry has lost layers that it listed: sending them again");
                self.build_and_push(request, KnownLayers::default()).await
            }
            result => result,
        }
    }

    /// Reads the context and the Dockerfile.
    async fn request(&self) -> Result<BuildRequest, Trouble> {
        let (root, dockerfile) = (self.build.context.clone(), self.build.dockerfile.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let files = context::read(&root, &dockerfile)?;
            let text = std::fs::read(&dockerfile);
            let text = text.map_err(|source| context::ContextError::Read { path: dockerfile.clone(), source })?;
            Ok::<_, context::ContextError>((files, text))
        });
        let read = reading.await.map_err(|error| docker::Error::Image { problem: error.to_string() })?;
        let (context, dockerfile_text) = read.map_err(docker::Error::from)?;
        let registry = self.doors.registry.clone();
        let logins: LoginSource = Arc::new(move |host| {
            let registry = registry.clone();
            async move { registry.login(&host).await }.boxed()
        });
        Ok(BuildRequest {
            context,
            dockerfile: self.build.dockerfile.clone(),
            dockerfile_text,
            target: self.build.target.clone(),
            args: self.build.args.clone(),
            secrets: self.build.secrets.clone(),
            platform: self.build.platform.clone(),
            logins,
            content_key: self.content_key.to_owned(),
        })
    }

    /// The layers that the repository has already.
    async fn known_layers(&self) -> KnownLayers {
        let tags = [self.image.tag.as_str(), "latest"];
        let index = self.doors.registry.diff_index(&self.image.repository, &tags).await;
        let images =
            index.images().map(|(id, manifest)| (id.clone(), manifest.media_type.clone(), manifest.bytes.clone()));
        KnownLayers::new(index.layers()).with_images(images)
    }

    /// Builds, and pushes each layer as soon as it is there.
    async fn build_and_push(&self, request: BuildRequest, known: KnownLayers) -> Result<ImageResult, Trouble> {
        let (progress, mut news) = mpsc::unbounded_channel();
        let mut built = self.doors.builder.build(request, known, progress);
        let on_progress = on_transfer(self.events, self.operation);
        let mut pusher = Pusher::new(&self.doors.registry, &self.image.repository, on_progress, self.cancel)?;
        loop {
            let part = tokio::select! {
                biased;
                () = self.cancel.cancelled() => {
                    pusher.stop().await;
                    return Err(docker::Error::Cancelled.into());
                }
                Some(news) = news.recv() => {
                    self.tell(news);
                    continue;
                }
                part = built.parts.recv() => part,
            };
            match part {
                Some(Ok(Part::Blob { descriptor, bytes })) => {
                    pusher.room(WAITING_BYTES).await?;
                    pusher.add(Blob { descriptor, content: Content::Bytes(bytes), mount_from: None });
                }
                Some(Ok(part @ (Part::Reopenable { .. } | Part::Offer { .. } | Part::Layer { .. }))) => {
                    pusher.room(WAITING_BYTES).await?;
                    pusher.take(part);
                }
                Some(Ok(Part::Manifest { media_type, bytes, layers })) => {
                    let manifest = RawManifest::new(Some(&media_type), bytes);
                    let tags = self.tags().await?;
                    let report = pusher.finish(&manifest, &tags).await?;
                    return Ok(self.result(&manifest, &report, layers.all));
                }
                Some(Err(error)) => {
                    pusher.stop().await;
                    return Err(error.into());
                }
                None => {
                    pusher.stop().await;
                    let problem = "the builder stopped without a word".to_owned();
                    return Err(docker::Error::BuildKit { problem }.into());
                }
            }
        }
    }

    /// The tags of the image. Whoever edits a file while it is built gets an image, but not one that stands for the inputs
    /// that were planned: a later deploy would take it for those.
    async fn tags(&self) -> Result<Vec<&str>, Trouble> {
        let now = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(docker::Error::Cancelled.into()),
            now = content_key(&self.image.key, self.build, &self.doors.registry) => now,
        };
        if now.is_ok_and(|now| now == self.content_key) {
            return Ok(vec![self.content_key, &self.image.tag]);
        }
        let message =
            format!("inputs of image `{}` changed while it was built: it will be built again", self.image.key);
        self.events.send(EventKind::Warning { message });
        Ok(vec![self.image.tag.as_str()].into_iter().filter(|tag| *tag != self.content_key).collect())
    }

    /// What people read of a build that is pushed.
    fn result(&self, manifest: &RawManifest, report: &PushReport, layers: usize) -> ImageResult {
        let parts: Option<Manifest> = manifest.read().ok();
        let is_new = |layer: &&crate::image::Descriptor| report.new.contains(&layer.digest);
        let new = parts.map(|parts| parts.layers.iter().filter(is_new).count()).unwrap_or_default();
        ImageResult {
            key: self.image.key.clone(),
            digest: report.digest.clone(),
            detail: format!("{new} of {layers} layers new"),
            bytes_sent: report.bytes_sent,
            transfer: Transfer::default(),
        }
    }

    /// Passes on what the builder says.
    fn tell(&self, news: Progress) {
        match news {
            Progress::Step(message) => self.say(&message),
            Progress::Line(line) => self.events.send(EventKind::BuildLog { operation: self.operation, line }),
        }
    }

    /// Says what is going on.
    fn say(&self, message: &str) {
        let message = message.to_owned();
        self.events.send(EventKind::Progress { operation: self.operation, message });
    }
}

/// The diagnosis of a build that failed: the instruction, its line, and the last lines of its output.
fn diagnose(image: &DesiredImage, build: &Build, error: &docker::Error) -> Diagnosis {
    let mut failure = Failure::of(error);
    let mut chain = vec![format!("image {}", image.key)];
    let mut evidence = Vec::new();
    match error {
        docker::Error::Cancelled => {}
        docker::Error::Build(about) => {
            failure.messages[0] = format!("image `{}` cannot be built: {}", image.key, about.headline);
            let line = about.line.map(|line| format!(":{line}")).unwrap_or_default();
            chain.push(format!("{}{line}", build.dockerfile.display()));
            chain.extend(about.step.clone());
            if !about.log.is_empty() {
                evidence.push(("last lines of the step".to_owned(), about.log.clone()));
            }
            if !about.headline.contains(&about.message) {
                evidence.push(("BuildKit".to_owned(), about.message.lines().map(str::to_owned).collect()));
            }
        }
        _ => failure.messages.insert(0, format!("image `{}` cannot be built", image.key)),
    }
    Diagnosis { failure, chain, evidence }
}
