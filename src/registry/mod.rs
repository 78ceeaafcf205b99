//! The OCI distribution client: tokens, blobs, manifests, uploads, mirrors.
//!
//! In: references, digests, blobs with their sources. Out: digests, and what was sent. It knows no Docker Engine, no
//! cluster, and no deploy.yml.
//!
//! Source of the protocol: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.

mod age;
mod auth;
mod blob;
mod budget;
mod challenge;
mod client;
mod connections;
mod diff_index;
mod elsewhere;
mod error;
mod features;
mod flights;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod held;
mod hosts;
mod limiter;
mod logins;
mod lost;
mod manifest;
mod mirror;
mod mounts;
mod patience;
mod progress;
mod promises;
mod question;
mod redirects;
mod referrers;
mod removal;
#[cfg(test)]
mod sandbox_tests;
mod schedule;
mod scope;
mod stream;
mod tags;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod upload;
mod wire;

pub(crate) use age::Dated;
pub(crate) use blob::BlobStream;
pub(crate) use client::Client;
pub(crate) use error::{Error, Refusal};
pub(crate) use hosts::Hosts;
pub(crate) use limiter::SMALL;
pub(crate) use logins::Logins;
pub(crate) use manifest::RawManifest;
pub(crate) use mirror::Mirror;
pub(crate) use progress::{BlobProgress, BlobState, News, OnProgress};
pub(crate) use referrers::Pushed;
pub(crate) use schedule::{PushReport, Pusher};
