//! Builds a Dockerfile without a builder, where nothing in it has to be run.

use super::super::delivery::{Delivery, Trouble};
use super::base::BaseImage;
use super::sources::{here, is_archive, of_context};
use super::{Obstacle, Order, Ready, find_base};
use crate::config::Build;
use crate::docker::context::Context;
use crate::docker::{self, BuildFailure};
use crate::error::FailureKind;
use crate::image::KnownLayers;
use crate::image::assembly::blueprint::Step;
use crate::image::assembly::copy::Action;
use crate::image::assembly::source::{Content, Files, Kind};
use crate::image::assembly::tree::clean;
use crate::image::config::Draft;
use crate::image::dockerfile::{self, Recipe};
use crate::model::Reference;
use std::sync::Arc;

/// What became of the attempt.
pub(in crate::execute) enum Attempt {
    /// It is ready to be made.
    Ready(Arc<Ready>),
    /// A builder is needed, for this reason.
    NeedsBuilder(String),
}

/// A Dockerfile that has been read and needs no builder so far, with its base.
pub(in crate::execute) struct Begun {
    /// What it comes to.
    recipe: Recipe,
    /// Its base; `None` for `scratch`.
    base: Option<BaseImage>,
    /// Its name.
    name: String,
}

/// Reads a Dockerfile and looks its base up, or says what in it needs a builder.
pub(in crate::execute) async fn begin(delivery: &Delivery<'_>, build: &Build) -> Result<Begun, Obstacle> {
    let (recipe, base, name) = read(build).await.map_err(Obstacle::Builder)?;
    let base = find_base(delivery, base.as_ref(), &build.platform).await?;
    Ok(Begun { recipe, base, name })
}

/// Prepares a Dockerfile for being made in the registry, or says what in it needs a builder.
pub(in crate::execute) async fn attempt(
    delivery: &Delivery<'_>,
    build: &Build,
    context: &Context,
    known: &KnownLayers,
    begun: Result<Begun, Obstacle>,
) -> Result<Attempt, Trouble> {
    let ready = match begun {
        Ok(begun) => prepare(delivery, build, context, known, begun).await?,
        Err(obstacle) => Err(obstacle),
    };
    match ready {
        Ok(ready) => Ok(Attempt::Ready(Arc::new(ready))),
        Err(Obstacle::Builder(reason)) => Ok(Attempt::NeedsBuilder(reason)),
        Err(Obstacle::Missing { source, step }) => Err(missing(&source, &step).into()),
        Err(Obstacle::Base(error)) => Err(error.into()),
    }
}

/// Finds out what is to be made.
async fn prepare(
    delivery: &Delivery<'_>,
    build: &Build,
    context: &Context,
    known: &KnownLayers,
    begun: Begun,
) -> Result<Result<Ready, Obstacle>, docker::Error> {
    let Begun { recipe, base, name } = begun;
    let files = files(context).await?;
    let order = Order {
        base,
        platform: &build.platform,
        steps: |draft: Draft| {
            let (steps, draft) = recipe.evaluate(draft).map_err(|refusal| refusal.describe(&name))?;
            steps.iter().try_for_each(|step| check_archives(step, &files, &name))?;
            Ok((steps, draft))
        },
        files: files.clone(),
        opens: here(),
        reason: "nothing in the Dockerfile has to be run",
    };
    Ok(order.prepare(delivery, known).await)
}

/// What a Dockerfile comes to, its base, and its name; or what in it needs a builder.
pub(in crate::execute) async fn read(build: &Build) -> Result<(Recipe, Option<Reference>, String), String> {
    let path = &build.dockerfile;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let bytes = tokio::fs::read(path).await.map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let recipe = dockerfile::read(&text, &build.args, build.target.as_deref(), &build.platform);
    let recipe = recipe.map_err(|refusal| refusal.describe(&name))?;
    let base = recipe.base.as_deref().map(Reference::parse).transpose();
    let base = base.map_err(|error| format!("`FROM` at {name}:{} needs a builder: {error}", recipe.base_line))?;
    Ok((recipe, base, name))
}

/// The files of the context.
pub(super) async fn files(context: &Context) -> Result<Files, docker::Error> {
    let context = context.clone();
    let listing = tokio::task::spawn_blocking(move || of_context(&context));
    listing.await.map_err(|error| docker::Error::Image { problem: error.to_string() })
}

/// `ADD` unpacks archives, which a builder does.
fn check_archives(step: &Step, files: &Files, name: &str) -> Result<(), String> {
    let Some(Action::Copy(copy)) = step.action.as_ref().filter(|_| step.unpacks) else { return Ok(()) };
    match copy.sources.iter().find_map(|source| archive_in(files, source)) {
        None => Ok(()),
        Some(path) => {
            let line = step.line;
            Err(format!("`ADD {path}` at {name}:{line} needs a builder: it is an archive, which `ADD` unpacks"))
        }
    }
}

/// The first archive among the files that a source means.
pub(super) fn archive_in(files: &Files, source: &str) -> Option<String> {
    files.find(&clean(source)).unwrap_or_default().into_iter().find(|path| {
        let item = files.follow(path).and_then(|path| files.get(&path));
        matches!(item.map(|item| item.kind), Some(Kind::File { content: Content::Path(file), .. }) if is_archive(&file))
    })
}

/// The failure of a `COPY` whose source is not there.
pub(super) fn missing(source: &str, step: &Step) -> docker::Error {
    let word = step.text.split(' ').next().unwrap_or_default();
    docker::Error::Build(Box::new(BuildFailure {
        headline: format!("there is no `{source}` in the build context"),
        message: format!("there is no `{source}` in the build context"),
        step: Some(step.text.clone()),
        line: Some(step.line),
        log: Vec::new(),
        kind: FailureKind::Application,
        hint: Some(format!(
            "`{word}` takes files from the context folder, without what `.dockerignore` leaves out: correct the path there"
        )),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::context;
    use crate::model::Platform;
    use std::collections::BTreeMap;

    #[tokio::test]
    async fn an_archive_that_add_unpacks_goes_to_a_builder_and_one_that_is_copied_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_data(&mut tar::Header::new_gnu(), "inside", std::io::empty()).unwrap();
        std::fs::write(folder.path().join("files.bin"), archive.into_inner().unwrap()).unwrap();
        std::fs::write(folder.path().join("plain.tar"), "only its name").unwrap();
        let context = context::read(folder.path(), &folder.path().join("Dockerfile"), true).unwrap();
        let files = files(&context).await.unwrap();
        for (line, wanted) in [
            ("ADD files.bin /x", Some("files.bin")),
            ("ADD plain.tar *.bin /x/", Some("files.bin")),
            ("ADD plain.tar /x", None),
            ("COPY files.bin /x", None),
        ] {
            let text = format!("FROM a\n\n{line}\n");
            let recipe = dockerfile::read(&text, &BTreeMap::new(), None, &Platform::default()).unwrap();
            let (steps, _) = recipe.evaluate(Draft::scratch(&Platform::default())).unwrap();
            let refused = steps.iter().find_map(|step| check_archives(step, &files, "app/Dockerfile").err());
            let wanted = wanted.map(|file| {
                format!("`ADD {file}` at app/Dockerfile:3 needs a builder: it is an archive, which `ADD` unpacks")
            });
            assert_eq!(refused, wanted, "{line}");
        }
    }
}
