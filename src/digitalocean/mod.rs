//! In: a token, names. Out: clusters, registries, short-lived credentials for both, what is in a registry and its garbage
//! collections.
//!
//! A door: it names only `model`, `http` and `error`. It never prints, and it registers each secret that it learns in the
//! redactor before it hands the secret out.
//!
//! The API is described at <https://docs.digitalocean.com/reference/api/digitalocean/>.

mod client;
mod clusters;
mod error;
mod garbage_collection;
mod registries;
mod registry_contents;

pub(crate) use client::{Client, DEFAULT_ADDRESS};
pub(crate) use clusters::Cluster;
pub(crate) use error::Error;
pub(crate) use garbage_collection::GarbageCollection;
pub(crate) use registries::{Plan, Registry};

#[cfg(test)]
mod tests;
