//! The Docker Engine (through bollard) and BuildKit (a client of our own).
//!
//! In: a build context and what is to be built. Out: progress, and the image as a stream of parts. It knows no registry:
//! logins for base images come from whoever calls.

mod address;
mod buildkit;
pub(crate) mod content_key;
pub(crate) mod context;
pub(crate) mod dockerignore;
mod engine;
mod error;
mod file_sync;
mod progress;
mod save;
mod session;

pub(crate) use buildkit::{BuildRequest, LoginSource};
pub(crate) use engine::Builder;
pub(crate) use error::Error;
pub(crate) use progress::Progress;
