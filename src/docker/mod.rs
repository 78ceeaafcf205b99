//! The Docker Engine (through bollard) and BuildKit (a client of our own).
//!
//! In: a build context and what is to be built. Out: progress, and the image as a stream of layers. It knows no registry.

pub(crate) mod content_key;
pub(crate) mod context;
pub(crate) mod dockerignore;
