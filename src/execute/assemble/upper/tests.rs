//! What is laid on a lower part that nobody has built: its tree is told, its manifest made up.

use super::*;
use crate::docker::context;
use crate::image::Descriptor;
use crate::image::assembly::tree::{Look, Node, Unknown};
use crate::image::descriptor::media_type;
use crate::model::Digest;
use serde_json::{Value, json};
use std::path::Path;

/// A tree with one link and one folder in it, and a user.
#[derive(Debug)]
struct Told;

impl Look for Told {
    fn node(&self, path: &str) -> Result<Option<Node>, Unknown> {
        match path {
            "srv" | "srv/real" | "etc" => Ok(Some(Node::Folder(0o750, 3, 4))),
            "srv/app" => Ok(Some(Node::Link("real".to_owned()))),
            "hidden" => Err(Unknown),
            _ => Ok(None),
        }
    }

    fn accounts(&self, file: &'static str) -> Result<String, Unknown> {
        if file == "passwd" { Ok("app:x:7:8:::\n".to_owned()) } else { Err(Unknown) }
    }
}

/// The configuration of a lower part with one layer.
fn config() -> Bytes {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Env": ["PATH=/p"], "WorkingDir": "/srv/app" },
        "created": "2026-11-21T12:00:00Z",
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"plain").as_str()] },
        "history": [{ "created_by": "RUN x # buildkit" }],
    });
    config.to_string().into()
}

/// What a builder has come to.
fn halfway() -> Halfway {
    Halfway {
        base: Some(json!({ "config": { "Env": ["PATH=/p"] } }).to_string().into()),
        config: config(),
        tree: Arc::new(Told),
    }
}

/// A context with one file and a Dockerfile whose upper part this is.
fn context_of(folder: &Path, upper: &str) -> (Build, String) {
    let text = format!("FROM base:1\nRUN x\n{upper}");
    std::fs::write(folder.join("Dockerfile"), &text).unwrap();
    std::fs::write(folder.join("a"), "content").unwrap();
    (Build::of(folder.to_owned()), text)
}

/// The Dockerfile with this upper part, cut.
async fn cut_with(folder: &Path, upper: &str) -> Arc<Split> {
    let (build, text) = context_of(folder, upper);
    let context = context::read(&build.context, &build.dockerfile, false).unwrap();
    split(&build, text.as_bytes(), &context).await.unwrap().expect("an upper part")
}

/// All that is left in a channel, without the bytes of layers: the configuration and the manifest.
async fn documents(mut parts: mpsc::Receiver<Result<Part, docker::Error>>) -> (Value, Manifest, usize) {
    let mut config = Value::Null;
    while let Some(part) = parts.recv().await {
        match part.unwrap() {
            // Somebody must take a layer until it is complete.
            Part::Layer { mut pieces, .. } => {
                tokio::spawn(async move { while pieces.recv().await.is_some() {} });
            }
            Part::Blob { bytes, .. } => config = serde_json::from_slice(&bytes).unwrap(),
            Part::Manifest { bytes, layers: count, .. } => {
                return (config, serde_json::from_slice(&bytes).unwrap(), count.known);
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("no manifest");
}

#[tokio::test]
async fn layers_are_laid_on_those_of_the_builder() {
    let folder = tempfile::tempdir().unwrap();
    let split = cut_with(folder.path(), "COPY --chown=app a .\nENV A=1\n").await;
    let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"lower"), 5);
    let known = Arc::new(KnownLayers::new([(Digest::of(b"plain"), blob.clone())]));
    let (sender, parts) = mpsc::channel(8);
    let mut upper = split.lay(halfway(), &known).await.unwrap().expect("a plan");
    let laid: Vec<_> =
        upper.plan.blueprint.layers[0].1.entries().map(|(path, entry)| (path, entry.owner.user)).collect();
    assert_eq!(laid, [("srv".to_owned(), 3), ("srv/real".to_owned(), 3), ("srv/real/a".to_owned(), 7)]);
    upper.making.give(&sender).await.unwrap();
    let lower = Descriptor::new(media_type::OCI_CONFIG, Digest::of(&config()), 1);
    let manifest = Manifest::new(lower, vec![blob.clone()]).to_bytes().unwrap();
    let (manifest, config) = (Bytes::from(manifest), config());
    let completing = split.complete(upper, &manifest, &config, &known, &sender);
    let (completed, (config, manifest, known)) = tokio::join!(completing, documents(parts));
    completed.unwrap();
    assert_eq!((manifest.layers.len(), &manifest.layers[0], known), (2, &blob, 1));
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!((diff_ids.len(), &diff_ids[0]), (2, &json!(Digest::of(b"plain").as_str())));
    let history: Vec<_> = config["history"].as_array().unwrap().iter().map(|entry| &entry["created_by"]).collect();
    assert_eq!(history, ["RUN x # buildkit", "COPY --chown=app a .", "ENV A=1"]);
    assert_eq!(config["config"]["Env"], json!(["PATH=/p", "A=1"]));
    assert_eq!(config["created"], "2026-11-21T12:00:00Z", "what it got from the network is as old as the lower part");
}

#[tokio::test]
async fn what_cannot_be_looked_up_is_left_to_the_builder() {
    let folder = tempfile::tempdir().unwrap();
    for upper in [
        "COPY a /hidden/x\n",
        "COPY --chown=app:team a /x\n",
        "COPY --chown=nobody a /x\n",
        "COPY a /x\nSTOPSIGNAL no\n",
    ] {
        let split = cut_with(folder.path(), upper).await;
        assert!(split.lay(halfway(), &Arc::default()).await.unwrap().is_none(), "{upper}");
    }
    let triggers = Bytes::from(json!({ "config": { "Env": ["PATH=/p"], "OnBuild": ["RUN y"] } }).to_string());
    let split = cut_with(folder.path(), "COPY a /x\n").await;
    let halfway = Halfway { base: Some(triggers), ..halfway() };
    assert!(split.lay(halfway, &Arc::default()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_source_that_nobody_has_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let split = cut_with(folder.path(), "ENV A=1\nCOPY missing /x\n").await;
    let Err(docker::Error::Build(failure)) = split.lay(halfway(), &Arc::default()).await else { panic!() };
    assert_eq!((failure.line, failure.headline.as_str()), (Some(4), "there is no `missing` in the build context"));
}

#[tokio::test]
async fn a_manifest_of_another_configuration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let split = cut_with(folder.path(), "COPY a /x\n").await;
    let upper = split.lay(halfway(), &Arc::default()).await.unwrap().expect("a plan");
    let (sender, _parts) = mpsc::channel(8);
    let lower = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"c"), 1);
    let manifest = Bytes::from(Manifest::new(lower, Vec::new()).to_bytes().unwrap());
    let completed = split.complete(upper, &manifest, &config(), &KnownLayers::default(), &sender).await;
    assert!(matches!(completed, Err(docker::Error::Image { .. })));
}

#[tokio::test]
async fn archives_that_are_added_belong_to_the_lower_part() {
    let folder = tempfile::tempdir().unwrap();
    let (build, text) = context_of(folder.path(), "ADD a /x\nCOPY a /y\n");
    std::fs::write(folder.path().join("a"), b"\x1f\x8b\x08 gzip").unwrap();
    let context = context::read(&build.context, &build.dockerfile, false).unwrap();
    let split = split(&build, text.as_bytes(), &context).await.unwrap().unwrap();
    assert_eq!((split.cut.upper.len(), split.cut.lower.lines().last()), (1, Some("ADD a /x")));
    assert_eq!(split.base.as_ref().map(ToString::to_string).as_deref(), Some("docker.io/library/base:1"));
}
