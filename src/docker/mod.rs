//! The Docker Engine (through bollard), BuildKit (a client of our own), and images that other tools wrote.
//!
//! In: a build context and what is to be built, the name of an image, a layout. Out: progress, and the image as a stream of
//! parts. It knows no registry: logins for base images come from whoever calls.

mod address;
mod assembly;
mod builder;
mod buildkit;
pub(crate) mod content_key;
mod content_store;
pub(crate) mod context;
pub(crate) mod dockerignore;
mod engine;
mod error;
#[cfg(test)]
mod fake_engine;
pub(crate) mod file_digest;
mod file_sync;
mod files;
pub(crate) mod found;
mod fresh_id;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod gateway;
#[cfg(test)]
mod gathered;
mod go_pattern;
mod layer_store;
pub(crate) mod layout;
mod legacy;
mod place;
mod progress;
#[cfg(test)]
mod sandbox_tests;
mod save;
mod sent;
mod session;
mod source;
mod squeeze;

pub(crate) use builder::{Builder, Built};
pub(crate) use buildkit::BuildRequest;
pub(crate) use error::{BuildFailure, Error};
pub(crate) use gateway::{Halfway, Halt};
pub(crate) use progress::Progress;
pub(crate) use session::LoginSource;
pub(crate) use source::Source;
