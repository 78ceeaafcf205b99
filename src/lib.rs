//! Seaway takes a repository from one `deploy.yml` to a live URL on `DigitalOcean` Kubernetes.
//!
//! This page is the floor plan: the rooms in the order in which the data visits them.
//!
//! ```text
//! args, env ─> cli ─> Settings, RunContext
//! deploy.yml ─> config ─> Config ─> desired ─> Desired ─> observe ─> Observed ─> plan ─> Plan ─> execute ─> Outcome ─> exit code
//!                                  (pure)               (asks doors)          (pure)           (uses doors)
//!                                                                                             └─> Event ─> report
//! ```
//!
//! - `cli`: arguments and environment to settings; one file a verb, straight lines of calls.
//! - `config`: the text of deploy.yml to a checked `Config`, every mistake at once.
//! - `desired`: what should exist. Pure.
//! - `observe`: asks the doors what exists now.
//! - `plan`: desired and observed to the operations of a run. Pure.
//! - `clean`: what is in a registry, and what runs, to what may go. Pure.
//! - `health`: objects, pods and events to a verdict. Pure.
//! - `execute`: the only room that changes what is deployed.
//! - `report`: events to a terminal, a log, a job summary, a comment, JSON.
//!
//! The doors to the outside, each of which names only the cellar, `http` and `image`:
//!
//! - `registry`: OCI distribution client.
//! - `image`: OCI image values, the compression of layers, and the parts in which images travel.
//! - `docker`: the Docker Engine and `BuildKit`.
//! - `kubernetes`: the API server.
//! - `github`: comments, workflow commands, the event's payload.
//! - `digitalocean`: clusters and registries, and credentials for them.
//! - `http`: one client recipe.
//!
//! The cellar: `model` (the shared vocabulary) and `error` (hints, kinds, the chain renderer).

mod clean;
mod cli;
mod config;
mod desired;
mod digitalocean;
mod docker;
mod error;
mod execute;
mod github;
mod health;
mod http;
mod image;
mod kubernetes;
mod model;
mod observe;
mod plan;
mod registry;
mod report;

pub use cli::run;

/// What the fuzz targets in `fuzz/` feed: parsers of what strangers write.
#[cfg(fuzzing)]
pub mod fuzzing {
    use crate::image::dockerfile;
    use crate::model::Platform;
    use std::collections::BTreeMap;

    /// A `WWW-Authenticate` header.
    pub fn challenge(header: &str) {
        crate::registry::fuzzing::challenge(header);
    }

    /// The `Location` header of an upload.
    pub fn location(header: &str) {
        crate::registry::fuzzing::location(header);
    }

    /// The `Range` header of an upload.
    pub fn range(header: &str) {
        crate::registry::fuzzing::range(header);
    }

    /// An archive of an image.
    pub fn archive(bytes: &[u8]) {
        crate::docker::fuzzing::archive(bytes);
    }

    /// A Dockerfile: the images and files that it names, where it is cut, and what a builder without a daemon makes of it.
    pub fn dockerfile(text: &str) {
        let (platform, given) = (Platform::default(), BTreeMap::new());
        dockerfile::inputs(text, &given, None, &platform);
        dockerfile::cut(text, &given, None, &platform, |_| false);
        if let Ok(recipe) = dockerfile::read(text, &given, None, &platform) {
            let _ = recipe.evaluate(crate::image::config::Draft::scratch(&platform));
        }
    }

    /// A `.dockerignore`, and a path to ask it about.
    pub fn dockerignore(rules: &str, path: &str) {
        crate::docker::fuzzing::dockerignore(rules, path);
    }
}
