//! Makes images of files and settings straight in the registry: no builder, no daemon, no temporary file.
//!
//! In: a Dockerfile that runs nothing, the end of one that does (`upper`), or an entry of deploy.yml that says what to copy.
//! Out: the parts of the image, which go the way of every image from then on.

mod base;
pub(super) mod dockerfile;
pub(super) mod entry;
mod make;
mod sources;
pub(super) mod upper;

pub(super) use make::{Ready, make};

use super::delivery::Delivery;
use crate::image::assembly::blueprint::{Blueprint, Step, Stuck, draw};
use crate::image::assembly::copy;
use crate::image::assembly::source::Files;
use crate::image::assembly::tree::{Known, Whole};
use crate::image::config::Draft;
use crate::image::{Descriptor, KnownLayers};
use crate::model::{Platform, Reference};
use crate::registry;
use base::{BaseImage, Unreadable};
use std::sync::Arc;

/// What is to be assembled.
struct Order<'a, S> {
    /// The base; `None` for none.
    base: Option<BaseImage>,
    /// For which platform.
    platform: &'a Platform,
    /// The steps on a base with this configuration, and the configuration after them.
    steps: S,
    /// The files.
    files: Files,
    /// Where their content comes from.
    opens: make::Opens,
    /// Why no builder is needed.
    reason: &'static str,
}

/// Why an assembly does not come to be.
pub(super) enum Obstacle {
    /// Something that only a builder can do.
    Builder(String),
    /// A source is not there.
    Missing {
        /// The source as it is written.
        source: String,
        /// The step that names it.
        step: Box<Step>,
    },
    /// The base cannot be had.
    Base(registry::Error),
}

impl<S: FnOnce(Draft) -> Result<(Vec<Step>, Draft), String>> Order<'_, S> {
    /// Finds out what is to be made. The base's file tree is read only where earlier images did not note what matters.
    async fn prepare(self, delivery: &Delivery<'_>, known: &KnownLayers) -> Result<make::Ready, Obstacle> {
        let (client, base) = (&delivery.doors.registry, self.base);
        let draft = match &base {
            None => Draft::scratch(self.platform),
            Some(base) => {
                base.draft().map_err(|error| unusable(&format!("its configuration cannot be read: {error}")))?
            }
        };
        if let Some(base) = &base
            && draft.diff_ids().len() != base.manifest.layers.len()
        {
            return Err(unusable("its configuration does not name all of its layers"));
        }
        let (steps, draft) = (self.steps)(draft).map_err(Obstacle::Builder)?;
        let blueprint = match &base {
            None => drawn(draw(&steps, draft, &Known::All(Whole::default()), &self.files), &steps)?,
            Some(base) => match draw(&steps, draft.clone(), &base.noted(known), &self.files) {
                Err(Stuck { trouble: copy::Trouble::Unknown, .. }) => {
                    delivery.say(&format!("reading the file tree of `{}`", base.reference));
                    let is_elsewhere = base.reference.repository.registry != delivery.image.repository.registry;
                    let is_sent = |layer: &Descriptor| is_elsewhere && !known.has(&layer.digest);
                    let tree = base.tree(client, is_sent).await.map_err(|error| match error {
                        Unreadable::Registry(error) => Obstacle::Base(error),
                        Unreadable::Format(problem) => unusable(&problem),
                    })?;
                    drawn(draw(&steps, draft, &tree, &self.files), &steps)?
                }
                result => drawn(result, &steps)?,
            },
        };
        let (client, to) = (client.clone(), delivery.image.repository.clone());
        let plan = Arc::new(make::Plan { blueprint, opens: self.opens });
        Ok(make::Ready { base, plan, client, to, reason: self.reason })
    }
}

/// Looks a base up; `None` for none.
async fn find_base(
    delivery: &Delivery<'_>,
    reference: Option<&Reference>,
    platform: &Platform,
) -> Result<Option<BaseImage>, Obstacle> {
    let Some(reference) = reference else { return Ok(None) };
    let found = BaseImage::find(&delivery.doors.registry, reference, platform).await;
    found.map(Some).map_err(Obstacle::Base)
}

/// A base that a builder may be able to use.
fn unusable(problem: &str) -> Obstacle {
    Obstacle::Builder(format!("the base needs a builder: {problem}"))
}

/// The blueprint, or what stands in the way of which step.
fn drawn(result: Result<Blueprint, Stuck>, steps: &[Step]) -> Result<Blueprint, Obstacle> {
    result.map_err(|Stuck { step, trouble }| match (trouble, steps.get(step)) {
        (copy::Trouble::Missing { source }, Some(step)) => Obstacle::Missing { source, step: Box::new(step.clone()) },
        (copy::Trouble::Blocked { problem }, Some(step)) => {
            Obstacle::Builder(format!("`{}` in line {} needs a builder: {problem}", step.text, step.line))
        }
        _ => Obstacle::Builder("its base needs a builder".to_owned()),
    })
}
