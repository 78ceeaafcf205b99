//! Lays the upper part of a Dockerfile on what a builder makes of its lower part.
//!
//! The builder halts when the lower part is built, which is a matter of its cache in most builds. What the upper part touches
//! is then looked up in the file tree that was built; its layers are made and pushed here while the builder gives the layers
//! of the lower part, of which the registry has most. Whatever is not understood has the whole Dockerfile built.

use super::dockerfile::{archive_in, files, missing};
use super::make::{Configured, Made, Making, Parts, Plan, finish, nonsense, send};
use super::sources::here;
use crate::config::Build;
use crate::docker::context::Context;
use crate::docker::{self, BuildRequest, Builder, Built, Halfway, Halt, Progress};
use crate::image::assembly::archive::TIME_TEXT;
use crate::image::assembly::blueprint::{Blueprint, Step, Stuck, draw};
use crate::image::assembly::copy::Trouble;
use crate::image::assembly::source::Files;
use crate::image::assembly::tree::Known;
use crate::image::config::Draft;
use crate::image::dockerfile::{Cut, cut};
use crate::image::{KnownLayers, Manifest, Part};
use crate::model::{Platform, Reference};
use bytes::Bytes;
use futures::FutureExt as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// A Dockerfile in two parts.
pub(in crate::execute) struct Split {
    /// Where it is cut.
    cut: Cut,
    /// The image that the lower part builds on; `None` for `scratch`.
    base: Option<Reference>,
    /// For which platform.
    platform: Platform,
    /// The files that the upper part may copy.
    files: Files,
}

/// What is laid on a lower part.
struct Upper {
    /// Its layers.
    plan: Arc<Plan>,
    /// The same on their way.
    making: Making,
    /// The configuration that the lower part began with.
    base: Draft,
}

/// What is laid on a lower part, once that has been decided.
type Slot = Arc<Mutex<Option<Upper>>>;

/// Cuts a Dockerfile, if it has an end that can do without a builder.
pub(in crate::execute) async fn split(
    build: &Build,
    text: &[u8],
    context: &Context,
) -> Result<Option<Arc<Split>>, docker::Error> {
    let Ok(text) = std::str::from_utf8(text) else { return Ok(None) };
    let target = build.target.as_deref();
    if cut(text, &build.args, target, &build.platform, |_| false).is_none() {
        return Ok(None); // whatever the files are: they need not be listed
    }
    let files = files(context).await?;
    let unpacks = |source: &str| archive_in(&files, source).is_some();
    let Some(cut) = cut(text, &build.args, target, &build.platform, unpacks) else { return Ok(None) };
    let Ok(base) = cut.upper.base().map(Reference::parse).transpose() else { return Ok(None) };
    Ok(Some(Arc::new(Split { cut, base, platform: build.platform.clone(), files })))
}

/// Builds the lower part and lays the upper one on it, or builds all of it: as the builder can and the lower part allows.
pub(in crate::execute) fn build(
    split: &Arc<Split>,
    builder: &Builder,
    request: BuildRequest,
    known: KnownLayers,
    progress: mpsc::UnboundedSender<Progress>,
) -> Built {
    let (split, builder) = (Arc::clone(split), builder.clone());
    Built::by(|parts| async move {
        let slot = Slot::default();
        let halt = split.halt(&known, &parts, &slot);
        let mut built = builder.build_with_halt(request, halt, known.clone(), progress);
        let mut config = None;
        while let Some(part) = built.parts.recv().await {
            let is_laid = slot.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            match part? {
                Part::Blob { bytes, .. } if is_laid => config = Some(bytes),
                Part::Manifest { bytes, .. } if is_laid => {
                    let upper = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let (Some(upper), Some(config)) = (upper, config.take()) {
                        split.complete(upper, &bytes, &config, &known, &parts).await?;
                    }
                }
                part => send(&parts, part).await?,
            }
        }
        Ok(())
    })
}

impl Split {
    /// Where the builder halts, and what happens then.
    fn halt(self: &Arc<Self>, known: &KnownLayers, parts: &Parts, slot: &Slot) -> Halt {
        let (split, known, parts, slot) = (Arc::clone(self), Arc::new(known.clone()), parts.clone(), Arc::clone(slot));
        let decide = move |halfway| {
            let (split, known, parts, slot) =
                (Arc::clone(&split), Arc::clone(&known), parts.clone(), Arc::clone(&slot));
            async move {
                let Some(mut upper) = split.lay(halfway, &known).await? else { return Ok(None) };
                upper.making.give(&parts).await?;
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(upper);
                Ok(Some(split.cut.upper.len()))
            }
            .boxed()
        };
        let (lower, target) = (self.cut.lower.clone(), self.cut.target.clone());
        Halt { lower, target, base: self.base.clone(), decide: Arc::new(decide) }
    }

    /// Begins to make the layers of the upper part; `None` where only a builder can.
    async fn lay(self: &Arc<Self>, halfway: Halfway, known: &Arc<KnownLayers>) -> Result<Option<Upper>, docker::Error> {
        let base = match &halfway.base {
            Some(config) => Draft::on_top_of(config).map_err(nonsense)?,
            None => Draft::scratch(&self.platform),
        };
        let Some((steps, draft)) = self.evaluate(base.clone(), &halfway.config) else { return Ok(None) };
        let (split, tree) = (Arc::clone(self), Known::Open(halfway.tree));
        let drawing = tokio::task::spawn_blocking(move || match draw(&steps, draft, &tree, &split.files) {
            Ok(blueprint) => Ok(Some(blueprint)),
            Err(stuck) => refused(stuck, &steps),
        });
        let Some(blueprint) = drawing.await.map_err(nonsense)?? else { return Ok(None) };
        let plan = Arc::new(Plan { blueprint, opens: here() });
        let making = plan.begin(known);
        Ok(Some(Upper { plan, making, base }))
    }

    /// The steps of the upper part, and the configuration after them, on one of the lower part.
    fn evaluate(&self, base: Draft, config: &[u8]) -> Option<(Vec<Step>, Draft)> {
        let built = Draft::on_top_of(config).ok()?;
        match self.cut.upper.evaluate(base, built) {
            Ok(evaluated) => Some(evaluated),
            Err(refusal) => {
                tracing::info!("the builder builds all of it: {}", refusal.describe("the Dockerfile"));
                None
            }
        }
    }

    /// Gives the image: the layers of the lower part as the builder's manifest has them, and those of the upper part.
    async fn complete(
        &self,
        upper: Upper,
        manifest: &Bytes,
        config: &Bytes,
        known: &KnownLayers,
        parts: &Parts,
    ) -> Result<(), docker::Error> {
        let manifest: Manifest = serde_json::from_slice(manifest).map_err(nonsense)?;
        let exported = Draft::on_top_of(config).map_err(nonsense)?;
        let diff_ids = exported.diff_ids();
        // What the network gave to the lower part is as old as that, and is built anew when it is too old.
        let created = exported.created().unwrap_or(TIME_TEXT).to_owned();
        if diff_ids.len() != manifest.layers.len() {
            return Err(nonsense("its configuration does not name all of its layers"));
        }
        let Some((steps, draft)) = self.evaluate(upper.base, config) else {
            return Err(nonsense("its configuration is not the one that was built"));
        };
        let mut blueprint: Blueprint = upper.plan.blueprint.clone();
        blueprint.note(&steps, draft);
        let lower = manifest.layers.into_iter().zip(diff_ids).map(|(descriptor, diff_id)| {
            let known = known.has(&descriptor.digest);
            Made { diff_id, descriptor, known }
        });
        let mut layers: Vec<Made> = lower.collect();
        layers.extend(upper.making.end().await?);
        finish(Configured { draft: blueprint.draft, created }, layers, &BTreeMap::new(), parts).await
    }
}

/// What stands in the way of the upper part: a source that nobody has fails here, everything else goes to the builder.
fn refused(stuck: Stuck, steps: &[Step]) -> Result<Option<Blueprint>, docker::Error> {
    match (stuck.trouble, steps.get(stuck.step)) {
        (Trouble::Missing { source }, Some(step)) => Err(missing(&source, step)),
        (trouble, _) => {
            tracing::info!("the builder builds all of it: {trouble:?}");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
