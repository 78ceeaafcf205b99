//! The content key of a build: its bases are looked up, its files are read.
//!
//! The survey asks for it before a build, and the build once more at its end.

use super::account::{RegistryAccount, unanswered};
use super::images::ImageDoors;
use crate::config::Build;
use crate::docker::content_key::{Inputs, compressed};
use crate::docker::context::{self, Context, ContextError};
use crate::error::{Failure, FailureKind};
use crate::image::dockerfile::{self, Base, Reach};
use crate::model::{Compression, Digest, Reference, nearest};
use crate::registry;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use std::collections::BTreeMap;

/// So many bases are looked up at once.
const BASES_AT_ONCE: usize = 8;

/// The files of a build: its Dockerfile and its context.
pub(crate) struct Files {
    /// The Dockerfile's text.
    pub(crate) dockerfile: Vec<u8>,
    /// The context.
    pub(crate) context: Context,
}

/// What stands for the inputs of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContentKey {
    /// The tag: the same inputs, the same tag.
    pub(crate) tag: String,
    /// Where the build reaches the network, whose answers are no input: they age.
    pub(crate) network: Option<Reach>,
}

impl Files {
    /// Reads the Dockerfile and walks through the context; `.git` is a part of it only where an instruction may take it. The
    /// key and the builder get the same files, so that what is left out of one is left out of the other. Blocking work.
    pub(crate) fn read(build: &Build) -> Result<Self, ContextError> {
        let dockerfile = std::fs::read(&build.dockerfile);
        let dockerfile = dockerfile.map_err(|source| ContextError::Text { path: build.dockerfile.clone(), source })?;
        let with_git = taken_by(build, &dockerfile).sources.iter().any(|source| source.may_take(".git"));
        let context = context::read(&build.context, &build.dockerfile, with_git)?;
        Ok(Self { dockerfile, context })
    }
}

/// What the Dockerfile of a build takes from outside of it.
fn taken_by(build: &Build, dockerfile: &[u8]) -> dockerfile::Inputs {
    let text = String::from_utf8_lossy(dockerfile);
    dockerfile::inputs(&text, &build.args, build.target.as_deref(), &build.platform)
}

/// The content key of a build: its bases are looked up, its files are read. Why a base is refused is asked of the account,
/// where there is one.
pub(crate) async fn content_key(
    image: &str,
    build: &Build,
    compression: Compression,
    doors: &ImageDoors,
) -> Result<ContentKey, Failure> {
    let unreadable = |error: ContextError| {
        let mut failure = Failure::of(&error);
        failure.messages.insert(0, format!("image `{image}` cannot be built"));
        failure
    };
    let walked = build.clone();
    let files = blocking(move || Files::read(&walked)).await?.map_err(unreadable)?;
    let inputs = taken_by(build, &files.dockerfile);
    let bases = resolve_bases(inputs.bases, &doors.registry).await;
    let bases = match bases {
        Ok(bases) => bases,
        Err(refused) => return Err(refused.tell(image, build, &files.dockerfile, doors.account.as_ref()).await),
    };
    let build = build.clone();
    let hashing = blocking(move || {
        let inputs = Inputs {
            dockerfile: &files.dockerfile,
            context: &files.context,
            args: &build.args,
            target: build.target.as_deref(),
            platform: &build.platform,
            bases: &bases,
            secrets: build.secrets.keys().map(String::as_str).collect(),
        };
        inputs.content_key()
    });
    let tag = compressed(hashing.await?.map_err(unreadable)?, compression);
    Ok(ContentKey { tag, network: inputs.network })
}

/// Does blocking work on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(FailureKind::Infrastructure, error.to_string()))
}

/// The digests of the images that a Dockerfile builds on. A name that is none is left to the builder, which says what is
/// wrong with it.
async fn resolve_bases(
    bases: Vec<Base>,
    registry: &registry::Client,
) -> Result<BTreeMap<String, Digest>, Box<RefusedBase>> {
    let known = bases.into_iter().filter_map(|base| Some((Reference::parse(&base.name).ok()?, base)));
    let resolving = stream::iter(known.collect::<Vec<_>>()).map(|(reference, base): (Reference, Base)| async move {
        match registry.resolve(&reference).await {
            Ok(digest) => Ok((base.name, digest)),
            Err(error) => Err(Box::new(RefusedBase { base, reference, error })),
        }
    });
    resolving.buffer_unordered(BASES_AT_ONCE).try_collect().await
}

/// A base that cannot be looked up.
struct RefusedBase {
    /// How the Dockerfile names it, and where.
    base: Base,
    /// What the name means.
    reference: Reference,
    /// What its registry says.
    error: registry::Error,
}

impl RefusedBase {
    /// What is said of it. A name that looks like that of a stage was probably meant to be it.
    async fn tell(self, image: &str, build: &Build, dockerfile: &[u8], account: Option<&RegistryAccount>) -> Failure {
        let Self { base: Base { name, line }, reference, error } = self;
        let place = format!("{}:{line}", build.dockerfile.display());
        let asked = format!("image `{image}` is built on `{name}` ({place})");
        let failure = unanswered(asked, account, &reference.repository, &error).await;
        let stages = dockerfile::stage_names(&String::from_utf8_lossy(dockerfile));
        match nearest(&name, stages.iter().map(String::as_str)) {
            Some(stage) if matches!(error, registry::Error::NotFound { .. }) => {
                failure.with_hint(format!("did you mean the stage `{stage}` of the Dockerfile?"))
            }
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_base_that_is_not_there_may_be_a_stage_whose_name_is_mistyped() {
        let dockerfile = b"FROM golang:1 AS build\nFROM debian:12\nCOPY --from=biuld /a /a\n";
        let hint = async |name: &str| {
            let reference = Reference::parse(name).unwrap();
            let error = registry::Error::NotFound { reference: reference.to_string() };
            let refused = RefusedBase { base: Base { line: 3, name: name.to_owned() }, reference, error };
            let failure = refused.tell("web", &Build::of("web".into()), dockerfile, None).await;
            assert_eq!(failure.messages[0], format!("image `web` is built on `{name}` (web/Dockerfile:3)"));
            failure.hint.unwrap()
        };
        assert_eq!(hint("biuld").await, "did you mean the stage `build` of the Dockerfile?");
        assert_eq!(hint("debian:99").await, "check the name and the tag; a private image needs a login");
    }
}
