//! The content key of a build: its bases are looked up, its files are read.
//!
//! The survey asks for it before a build, and the build once more at its end.

use crate::config::Build;
use crate::docker::{content_key::Inputs, context};
use crate::error::{Failure, FailureKind};
use crate::image::dockerfile::{self, Base};
use crate::model::{Digest, Reference};
use crate::registry;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use std::collections::BTreeMap;

/// So many bases are looked up at once.
const BASES_AT_ONCE: usize = 8;

/// The content key of a build: its bases are looked up, its files are read.
pub(crate) async fn content_key(image: &str, build: &Build, registry: &registry::Client) -> Result<String, Failure> {
    let path = build.dockerfile.clone();
    let unreadable = |error: std::io::Error| {
        let message = format!("cannot read `{}`, the Dockerfile of image `{image}`", path.display());
        let mut failure = Failure::new(FailureKind::Configuration, message);
        failure.messages.push(error.to_string());
        failure
    };
    let text = tokio::fs::read(&build.dockerfile).await.map_err(unreadable)?;
    let bases = resolve_bases(image, build, &String::from_utf8_lossy(&text), registry).await?;
    let build = build.clone();
    let hashing = tokio::task::spawn_blocking(move || {
        let context = context::read(&build.context, &build.dockerfile)?;
        let inputs = Inputs {
            dockerfile: &text,
            context: &context,
            args: &build.args,
            target: build.target.as_deref(),
            platform: &build.platform,
            bases: &bases,
            secrets: build.secrets.keys().map(String::as_str).collect(),
        };
        inputs.content_key()
    });
    let key = hashing.await.map_err(|error| Failure::new(FailureKind::Infrastructure, error.to_string()))?;
    Ok(key?)
}

/// The digests of the images that a Dockerfile builds on. A name that is none is left to the builder, which says what is
/// wrong with it.
async fn resolve_bases(
    image: &str,
    build: &Build,
    text: &str,
    registry: &registry::Client,
) -> Result<BTreeMap<String, Digest>, Failure> {
    let bases = dockerfile::bases(text, &build.args, build.target.as_deref(), &build.platform);
    let known = bases.into_iter().filter_map(|base| Some((Reference::parse(&base.name).ok()?, base)));
    let resolving = stream::iter(known.collect::<Vec<_>>()).map(|(reference, base): (Reference, Base)| async move {
        let digest = registry.resolve(&reference).await.map_err(|error| {
            let place = format!("{}:{}", build.dockerfile.display(), base.line);
            prefixed(format!("image `{image}` is built on `{}` ({place})", base.name), &error)
        })?;
        Ok((base.name, digest))
    });
    resolving.buffer_unordered(BASES_AT_ONCE).try_collect().await
}

/// What was being looked up, then what the registry said.
pub(crate) fn prefixed(message: String, error: &registry::Error) -> Failure {
    let mut failure = Failure::of(error);
    failure.messages.insert(0, message);
    failure
}
