//! Dockerfiles: what goes into their images from outside, and the images of those in which nothing has to be run.
//!
//! One parser reads them for both, as BuildKit does. Source: <https://docs.docker.com/reference/dockerfile/>.

mod cut;
mod evaluate;
mod expand;
mod inputs;
mod network;
mod parse;
mod pattern;
mod recipe;
mod sources;

pub(crate) use cut::{Cut, cut};
pub(crate) use inputs::{Base, Inputs, inputs, stage_names};
pub(crate) use network::Reach;
pub(crate) use recipe::{Recipe, mistyped, read};
pub(crate) use sources::Source;

use crate::model::Platform;
use expand::Variables;
use parse::Instruction;

/// The instructions of a Dockerfile, as far as it can be read.
pub(crate) fn instructions(text: &str) -> Vec<Instruction> {
    parse::parse_as_far_as_possible(text).0.instructions
}

/// The arguments that the builder gives by itself.
fn platform_arguments(platform: &Platform) -> Variables {
    let mut known = Variables::new();
    for prefix in ["TARGET", "BUILD"] {
        known.insert(format!("{prefix}PLATFORM"), platform.to_string());
        known.insert(format!("{prefix}OS"), platform.os.clone());
        known.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        known.insert(format!("{prefix}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    known
}
