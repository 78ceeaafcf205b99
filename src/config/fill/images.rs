//! `images`, filled in.

use super::{Filler, supply};
use crate::config::needs::Part;
use crate::config::raw::{Problem, RawBuild, RawConfig, RawImage, RawSource, Text};
use crate::config::validate;
use crate::config::{Build, EngineImage, Image, ImageSource, Layout};
use crate::model::{Platform, Reference, Secret};
use std::collections::BTreeMap;

/// The images, in the order of the file, without those whose entry has mistakes.
pub(in crate::config) fn images(filler: &mut Filler<'_>, raw: &RawConfig) -> Vec<Image> {
    supply::check_names(filler, &raw.supply.annotations);
    raw.images.iter().filter_map(|image| self::image(filler, image, raw)).collect()
}

/// One image.
fn image(filler: &mut Filler<'_>, raw: &RawImage, all: &RawConfig) -> Option<Image> {
    let key = raw.key.value.clone();
    let path = format!("images.{key}");
    filler.key(&raw.key, "an image", validate::image_key);
    let platform = platform(filler, raw, &path);
    supply::check_names(filler, &raw.supply.annotations);
    let supply = supply::supply(filler, &all.supply, &raw.supply, &path);
    let source = match raw.source.as_ref()? {
        RawSource::Build(raw) => ImageSource::Build(build(filler, raw, &path, platform)),
        RawSource::Mirror(text) => {
            let parse = |value: &str| Reference::parse(value).map_err(|error| reference_rule(text, &error));
            ImageSource::Mirror(filler.value(text, &format!("{path}.mirror"), Some(Part::Images), parse)?)
        }
        RawSource::Layout(text) => {
            let path = filler.text(text, &format!("`{path}.layout`"), Some(Part::Images)).text;
            ImageSource::Layout(Layout { path: filler.root.join(path), platform })
        }
        RawSource::Engine(text) => {
            let image = filler.value(text, &format!("{path}.engine"), Some(Part::Images), validate::engine_image)?;
            ImageSource::Engine(EngineImage { image, platform })
        }
        RawSource::Assembly(raw) => {
            ImageSource::Assembly(Box::new(super::assembly::assembly(filler, raw, &path, platform)?))
        }
    };
    Some(Image { key, source, pin: raw.pin, supply })
}

/// Why a text is no image reference. The error repeats the value, which is not shown where a variable gave it.
fn reference_rule(text: &Text, error: &impl std::error::Error) -> String {
    if text.value.contains("${") {
        return "an image is written `HOST/PATH:TAG`, such as `docker.io/library/redis:7`".to_owned();
    }
    error.to_string()
}

/// The one platform that is built.
fn platform(filler: &mut Filler<'_>, raw: &RawImage, path: &str) -> Platform {
    if let Some(second) = raw.platforms.get(1) {
        let problem = Problem::new(second.span, "more than one platform an image is not supported yet");
        filler.problems.push(problem.hint("keep the platform of the nodes; `linux/amd64` on DigitalOcean"));
    }
    let first = raw.platforms.first();
    let path = format!("{path}.platforms");
    first.and_then(|text| filler.value(text, &path, Some(Part::Images), validate::platform)).unwrap_or_default()
}

/// A build. Its folder and its Dockerfile are looked at later.
fn build(filler: &mut Filler<'_>, raw: &RawBuild, path: &str, platform: Platform) -> Build {
    let part = Some(Part::Images);
    let mut text = |text: &Text, key: &str| filler.text(text, &format!("`{path}.{key}`"), part).text;
    let context = text(&raw.context, "build.context");
    let dockerfile = raw.dockerfile.as_ref().map(|file| text(file, "build.dockerfile"));
    let target = raw.target.as_ref().map(|target| text(target, "build.target"));
    let max_age = raw.max_age.as_ref();
    let max_age = max_age.and_then(|age| filler.value(age, &format!("{path}.build.max_age"), part, validate::max_age));
    let mut text = |text: &Text, key: &str| filler.text(text, &format!("`{path}.{key}`"), part).text;
    let mut pairs = |pairs: &[(Text, Text)], key: &str| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| (name.value.clone(), text(value, &format!("build.{key}.{}", name.value))))
            .collect()
    };
    let args = pairs(&raw.args, "args");
    let secrets = pairs(&raw.secrets, "secrets").into_iter().map(|(id, value)| (id, Secret::new(value))).collect();
    let context = filler.root.join(context);
    let max_age = max_age.unwrap_or_default();
    let build = Build { target, args, secrets, platform, max_age, ..Build::of(context) };
    match dockerfile {
        Some(dockerfile) => Build { dockerfile: build.context.join(dockerfile), ..build },
        None => build,
    }
}
