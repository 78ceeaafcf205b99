//! What is said about images: annotations from git, from the workflow and from deploy.yml, and who makes them from what.

use crate::config::{Config, Image, ImageSource};
use crate::model::{Compression, RunContext};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What is said about an image, and what is put beside it in the registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Supply {
    /// The annotations of its manifest. An image that is copied has none of ours.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Whether a list of its packages is put beside it.
    pub(crate) sbom: bool,
    /// Whether it is put beside it how it was made.
    pub(crate) provenance: bool,
    /// How those of its layers are compressed that come without compression.
    pub(crate) compression: Compression,
    /// In which circumstances it is made.
    pub(crate) circumstances: Arc<Circumstances>,
}

/// In which circumstances images are made: the same for all of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Circumstances {
    /// The path of deploy.yml.
    pub(crate) file: PathBuf,
    /// The run.
    pub(crate) run: RunContext,
}

/// The circumstances of a run.
pub(super) fn circumstances(config: &Config, context: &RunContext) -> Arc<Circumstances> {
    Arc::new(Circumstances { file: config.path.clone(), run: context.clone() })
}

/// What is said about an image.
pub(super) fn of(image: &Image, circumstances: &Arc<Circumstances>) -> Supply {
    let copied = matches!(image.source, ImageSource::Mirror(_) | ImageSource::Layout(_) | ImageSource::Engine(_));
    Supply {
        annotations: if copied { BTreeMap::new() } else { annotations(image, &circumstances.run) },
        sbom: image.supply.sbom,
        provenance: image.supply.provenance && !copied,
        compression: image.supply.compression,
        circumstances: Arc::clone(circumstances),
    }
}

/// The annotations of an image that is made here: what Seaway knows, then what the author says.
///
/// `created` is when the commit was made, not when the image was: every run of one commit then gives the same manifest, and
/// a run that is repeated changes nothing. Source of the names: <https://github.com/opencontainers/image-spec/blob/main/annotations.md>.
fn annotations(image: &Image, context: &RunContext) -> BTreeMap<String, String> {
    let origin = &context.origin;
    let revision = context.git.as_ref().map(|git| format!("{}{}", git.sha, if git.dirty { "-dirty" } else { "" }));
    let created = origin.created.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let changing = [("revision", revision), ("created", created), ("version", origin.version.clone())];
    let changing = changing.into_iter().filter(|_| !image.supply.stable_digest);
    let lasting = [("source", origin.source.clone()), ("title", Some(image.key.clone()))];
    let known = lasting.into_iter().chain(changing);
    let known = known.filter_map(|(name, value)| Some((format!("org.opencontainers.image.{name}"), value?)));
    let mut annotations: BTreeMap<String, String> = known.collect();
    annotations.extend(image.supply.annotations.clone());
    annotations.retain(|_, value| !value.is_empty());
    annotations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Build};
    use crate::model::{GitState, Origin, Reference};

    /// An image that is built.
    fn image(supply: config::Supply) -> Image {
        Image { key: "backend".to_owned(), source: ImageSource::Build(Build::of(".".into())), pin: true, supply }
    }

    /// A run of a tagged commit.
    fn run() -> RunContext {
        let origin = Origin {
            source: Some("https://github.com/acme/todo".to_owned()),
            version: Some("v1.2.0".to_owned()),
            created: "2026-11-21T09:00:00+01:00".parse().ok(),
            ..Origin::default()
        };
        let git = GitState { sha: "1a2b".to_owned(), branch: None, dirty: false };
        RunContext { git: Some(git), origin, ..RunContext::default() }
    }

    /// The annotations, one a line and without their common prefix.
    fn said(supply: config::Supply, run: &RunContext) -> String {
        let circumstances = Arc::new(Circumstances { run: run.clone(), ..Circumstances::default() });
        let supply = of(&image(supply), &circumstances);
        let line =
            |(name, value): (&String, &String)| format!("{}={value}", name.replace("org.opencontainers.image.", ""));
        supply.annotations.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn git_and_the_workflow_are_told() {
        let wanted = "created=2026-11-21T08:00:00Z revision=1a2b source=https://github.com/acme/todo title=backend version=v1.2.0";
        assert_eq!(said(config::Supply::default(), &run()), wanted);
        let dirty = RunContext { git: Some(GitState { dirty: true, ..run().git.unwrap() }), ..RunContext::default() };
        assert_eq!(said(config::Supply::default(), &dirty), "revision=1a2b-dirty title=backend");
        assert_eq!(said(config::Supply::default(), &RunContext::default()), "title=backend");
    }

    #[test]
    fn a_stable_digest_has_nothing_that_changes_with_the_commit() {
        let supply = config::Supply { stable_digest: true, ..config::Supply::default() };
        assert_eq!(said(supply, &run()), "source=https://github.com/acme/todo title=backend");
    }

    #[test]
    fn the_author_has_the_last_word() {
        let name = |name: &str| format!("org.opencontainers.image.{name}");
        let annotations = BTreeMap::from([
            (name("title"), "Todo".to_owned()),
            (name("source"), String::new()),
            (name("licenses"), "MIT".to_owned()),
        ]);
        let supply = config::Supply { annotations, stable_digest: true, ..config::Supply::default() };
        assert_eq!(said(supply, &run()), "licenses=MIT title=Todo");
    }

    #[test]
    fn what_is_copied_is_left_as_it_is() {
        let source = ImageSource::Mirror(Reference::parse("redis:7").unwrap());
        let asked = config::Supply { sbom: true, provenance: true, ..config::Supply::default() };
        let supply = of(&Image { source, ..image(asked) }, &Arc::default());
        assert!(supply.annotations.is_empty() && supply.sbom && !supply.provenance);
    }
}
