//! Builds an image and pushes it while it comes out of the builder.

use super::assemble::{self, dockerfile, dockerfile::Attempt, upper};
use super::content_key::{Files, content_key};
use super::delivery::{Delivery, Source, Trouble};
use super::event::{Diagnosis, ImageResult};
use super::images::about;
use crate::config::Build;
use crate::desired::{DesiredImage, ImageSource};
use crate::docker::{self, BuildRequest, Built, LoginSource, Progress};
use crate::error::Failure;
use crate::image::KnownLayers;
use crate::model::Digest;
use futures::FutureExt as _;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// What gives an image, as often as it is asked.
type Give<'a> = dyn Fn(KnownLayers, mpsc::UnboundedSender<Progress>) -> Built + Send + Sync + 'a;

/// Builds an image and pushes it under its content key and its tag for people.
pub(super) async fn build(delivery: Delivery<'_>) -> Result<ImageResult, Diagnosis> {
    let Delivery { doors, image, .. } = delivery;
    let ImageSource::Build(build) = &image.source else {
        return Err(delivery.is_not("built"));
    };
    let work = Work { delivery, build, needs_builder: OnceLock::new() };
    match work.run().await {
        Ok(result) => Ok(result),
        Err(Trouble::Source(error)) => Err(work.diagnose(&error)),
        Err(Trouble::Push(error)) => Err(about(doors, image, "pushed", &error).await),
    }
}

/// Why an image cannot be assembled in the registry, as far as its Dockerfile alone tells; `None` for one that can.
pub(crate) async fn needs_builder(image: &DesiredImage) -> Option<String> {
    let ImageSource::Build(build) = &image.source else { return None };
    dockerfile::read(build).await.err()
}

/// One build and push.
struct Work<'a> {
    /// Where the image goes.
    delivery: Delivery<'a>,
    /// How it is built.
    build: &'a Build,
    /// Why it cannot be assembled in the registry, when that has been found out.
    needs_builder: OnceLock<String>,
}

impl Work<'_> {
    /// Reads, builds and pushes. A build that has to be pushed once more comes from the builder's cache.
    async fn run(&self) -> Result<ImageResult, Trouble> {
        let Delivery { doors, cancel, .. } = self.delivery;
        let (known, begun) = (self.delivery.known_layers(), dockerfile::begin(&self.delivery, self.build));
        let prepared = futures::future::try_join3(self.request(), known.map(Ok), begun.map(Ok));
        let (request, known, begun) = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(docker::Error::Cancelled.into()),
            prepared = prepared => prepared?,
        };
        match dockerfile::attempt(&self.delivery, self.build, &request.context, &known, begun).await? {
            Attempt::Ready(ready) => {
                let give = |known, progress| assemble::make(&ready, known, &progress);
                return self.deliver(known, &give, Some(ready.bases())).await;
            }
            Attempt::NeedsBuilder(reason) => self.delivery.say(self.needs_builder.get_or_init(|| reason)),
        }
        if let Some(split) = upper::split(self.build, &request.dockerfile_text, &request.context).await? {
            let give = |known, progress| upper::build(&split, &doors.builder, request.clone(), known, progress);
            return self.deliver(known, &give, None).await;
        }
        let give = |known, progress| doors.builder.build(request.clone(), known, progress);
        self.deliver(known, &give, None).await
    }

    /// Pushes what a source gives; what was edited meanwhile is not taken for what was planned.
    async fn deliver(
        &self,
        known: KnownLayers,
        give: &Give<'_>,
        bases: Option<BTreeMap<String, Digest>>,
    ) -> Result<ImageResult, Trouble> {
        let Delivery { doors, image, .. } = self.delivery;
        let same = || async {
            let now = content_key(&image.key, self.build, image.supply.compression, doors).await;
            now.is_ok_and(|now| now.tag == self.delivery.content_key)
        };
        let source = Source { give, unchanged: &|| same().boxed(), bases, keeps_manifest: false };
        self.delivery.run(known, source).await
    }

    /// Reads the context and the Dockerfile.
    async fn request(&self) -> Result<BuildRequest, Trouble> {
        let build = self.build.clone();
        let reading = tokio::task::spawn_blocking(move || Files::read(&build));
        let read = reading.await.map_err(|error| docker::Error::Image { problem: error.to_string() })?;
        let Files { context, dockerfile: dockerfile_text } = read.map_err(docker::Error::from)?;
        let registry = self.delivery.doors.registry.clone();
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
            anew: self.build.anew,
            logins,
            content_key: self.delivery.content_key.to_owned(),
        })
    }

    /// The diagnosis of a build that failed: the instruction, its line, and the last lines of its output.
    fn diagnose(&self, error: &docker::Error) -> Diagnosis {
        let Self { delivery: Delivery { image, .. }, build, .. } = self;
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
            error if error.is_without_builder() => without_builder(&mut failure, &image.key, self.needs_builder.get()),
            _ => failure.messages.insert(0, format!("image `{}` cannot be built", image.key)),
        }
        Diagnosis { failure, chain, evidence }
    }
}

/// Says of a builder that cannot be had what it is needed for: after that it is not there, and before why not.
pub(crate) fn without_builder(failure: &mut Failure, image: &str, reason: Option<&String>) {
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let after = failure.messages.len().min(1);
    failure.messages.insert(after, format!("image `{image}` has to be built there{reason}"));
}
