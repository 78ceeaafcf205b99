//! The API server: client, discovery, server-side apply, watches, logs.
//!
//! Every object is a `serde_json::Value`: Seaway applies kinds that it has never heard of.
//! Requests that can be repeated are repeated here, by one policy ([`retry`]), and an error keeps its structure
//! ([`Error`]): who answered, with which status, and what to do about it.

mod access;
mod cluster;
mod delete;
mod discovery;
mod error;
mod logs;
mod reflector;
mod retry;
mod server_side_apply;
mod watch;

pub(crate) use access::Access;
pub(crate) use cluster::{Cluster, Listed, Scope};
pub(crate) use error::Error;
pub(crate) use reflector::Reflector;
pub(crate) use server_side_apply::{ApplyError, Mode};

#[cfg(test)]
pub(crate) mod fake;
