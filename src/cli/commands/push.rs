//! `push`: builds the images and pushes them, and touches no cluster.

use super::{check_builds, read_config};
use crate::cli::args::PushFlags;
use crate::cli::ending::{Ending, Stop};
use crate::cli::settings::Settings;
use crate::cli::walk::{self, Walk};
use crate::config::Needs;
use crate::execute::{self, ImageDoors};
use crate::plan::Plan;
use std::sync::Arc;

/// Runs the verb.
pub(crate) async fn run(settings: &Settings, flags: &PushFlags) -> Result<Ending, Stop> {
    let (mut config, run) = read_config(settings, Needs::PUSH)?;
    check_builds(settings, &config, true)?;
    flags.builds.apply(&mut config);
    let walk = Walk::new(settings, &config, &run).on_gc(flags.on_gc);
    let prepare = async {
        let (plan, doors) = walk.to_images().await?;
        walk::check_builder(&plan, &doors).await?;
        Ok((plan, doors))
    };
    let carry_out = async |(plan, doors): (Plan, ImageDoors)| {
        execute::push(Arc::new(plan), &doors, &walk.events, walk.signals.cancel.clone()).await
    };
    Ok(walk.report(prepare, carry_out).await)
}
