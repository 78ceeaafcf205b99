//! What was written in deploy.yml: the right keys with the right types, each leaf with its place. Variables are not
//! filled in, files are not opened, and names are not looked up yet: one mistake does not hide the next.

mod assembly;
mod images;
mod reader;
mod smoke;
mod supply;

pub(crate) use assembly::{RawAssembly, RawCommand, RawCopy};
pub(crate) use images::{RawBuild, RawImage, RawSource};
pub(crate) use reader::{Fields, Json, Problem, Reader, Text};
pub(crate) use smoke::{RawExpectation, RawStep};
pub(crate) use supply::RawSupply;

use super::keys;
use super::node::{Entry, Node, NodeKind};
use super::source::Span;
use crate::model::nearest;

/// A deploy.yml as it was written.
#[derive(Debug, Default)]
pub(crate) struct RawConfig {
    /// `name`.
    pub(crate) name: Option<Text>,
    /// `namespace`.
    pub(crate) namespace: Option<Text>,
    /// `cluster`, by its name.
    pub(crate) cluster: Option<Text>,
    /// `registry`.
    pub(crate) registry: Option<RawRegistry>,
    /// `images`, in the order of the file.
    pub(crate) images: Vec<RawImage>,
    /// `annotations`, `stable_digest` and `attest` for all images.
    pub(crate) supply: RawSupply,
    /// `manifests`, in the order of the file.
    pub(crate) manifests: Vec<RawManifest>,
    /// `secrets`: names with their keys and values.
    pub(crate) secrets: Vec<(Text, Vec<(Text, Text)>)>,
    /// `expose`.
    pub(crate) expose: Option<RawExpose>,
    /// `rollout`.
    pub(crate) rollout: RawRollout,
    /// `smoke`, in the order of the file.
    pub(crate) smoke: Vec<RawStep>,
}

/// `registry`.
#[derive(Debug)]
pub(crate) enum RawRegistry {
    /// A DOCR registry by name.
    DigitalOcean(Text),
    /// Any registry.
    Other {
        /// The mapping.
        span: Span,
        /// `host`.
        host: Option<Text>,
        /// `repository`.
        repository: Option<Text>,
        /// `username`.
        username: Option<Text>,
        /// `password`.
        password: Option<Text>,
        /// `pull_secret`.
        pull_secret: Option<Text>,
    },
}

/// An entry of `manifests`.
#[derive(Debug)]
pub(crate) struct RawManifest {
    /// The file or folder.
    pub(crate) path: Text,
    /// The variables that are filled in.
    pub(crate) substitute: Vec<Text>,
}

/// `expose`.
#[derive(Debug)]
pub(crate) struct RawExpose {
    /// `Service`, `Ingress` or `Gateway`.
    pub(crate) kind: &'static str,
    /// `NAME` or `NAMESPACE/NAME`.
    pub(crate) target: Text,
    /// `host`.
    pub(crate) host: Option<Text>,
}

/// `rollout`.
#[derive(Debug, Default)]
pub(crate) struct RawRollout {
    /// `deadline`.
    pub(crate) deadline: Option<Text>,
    /// `settle`.
    pub(crate) settle: Option<Text>,
}

/// Reads the root of a deploy.yml, whose overlay has been laid on already.
pub(crate) fn read(root: &Node, reader: &mut Reader) -> RawConfig {
    let Some(fields) = reader.mapping(root, "", &keys::DEPLOY) else { return RawConfig::default() };
    let config = RawConfig {
        name: fields.get("name").and_then(|node| reader.text(node, "name")),
        namespace: fields.get("namespace").and_then(|node| reader.text(node, "namespace")),
        cluster: fields.get("cluster").and_then(|node| read_cluster(node, reader)),
        registry: fields.get("registry").and_then(|node| read_registry(node, reader)),
        images: fields.get("images").map(|node| images::read(node, reader)).unwrap_or_default(),
        supply: supply::read(&fields, "", reader),
        manifests: fields.get("manifests").map(|node| read_manifests(node, reader)).unwrap_or_default(),
        secrets: fields.get("secrets").map(|node| read_secrets(node, reader)).unwrap_or_default(),
        expose: fields.get("expose").and_then(|node| read_expose(node, reader)),
        rollout: fields.get("rollout").map(|node| read_rollout(node, reader)).unwrap_or_default(),
        smoke: fields.get("smoke").map(|node| smoke::read(node, reader)).unwrap_or_default(),
    };
    let near = |key: &str| nearest(key, keys::DEPLOY.known.iter().copied()) == Some("name");
    let mistyped = root.entries().iter().any(|entry| entry.key != "name" && near(&entry.key));
    if fields.get("name").is_none() && !mistyped {
        let problem = Problem::new(start_of(root), "the application has no `name`");
        let hint = "add a line such as `name: todo`: it names the release, the labels and the namespace";
        reader.push(problem.hint(hint));
    }
    config
}

/// The start of a node: what is missing has no place of its own.
pub(crate) fn start_of(node: &Node) -> Span {
    let start = node.entries().first().map_or(node.span.start, |entry| entry.key_span.start);
    let end = node.entries().first().map_or(start, |entry| entry.key_span.end);
    Span { start, end }
}

/// `cluster`: a name, or a mapping of which only the name is understood so far.
fn read_cluster(node: &Node, reader: &mut Reader) -> Option<Text> {
    if !matches!(node.kind, NodeKind::Map(_)) {
        return reader.text(node, "cluster");
    }
    let fields = reader.mapping(node, "cluster", &keys::CLUSTER)?;
    let name = fields.get("name").and_then(|node| reader.text(node, "cluster.name"));
    if fields.get("name").is_none() {
        reader.push(Problem::new(start_of(node), "`cluster` has no `name`").hint("write `cluster: NAME`"));
    }
    name
}

/// `registry`: a name, or a mapping with a host.
fn read_registry(node: &Node, reader: &mut Reader) -> Option<RawRegistry> {
    if !matches!(node.kind, NodeKind::Map(_)) {
        return reader.text(node, "registry").map(RawRegistry::DigitalOcean);
    }
    if let Some(password) = node.get("password") {
        mask(password, reader);
    }
    let fields = reader.mapping(node, "registry", &keys::REGISTRY)?;
    if fields.get("host").is_none() {
        let problem = Problem::new(start_of(node), "`registry` has no `host`");
        reader
            .push(problem.hint("write `host: ghcr.io`, or only the name of a DigitalOcean registry: `registry: NAME`"));
    }
    let mut text = |key: &str| fields.get(key).and_then(|node| reader.loose_text(node, &format!("registry.{key}")));
    Some(RawRegistry::Other {
        span: start_of(node),
        host: text("host"),
        repository: text("repository"),
        username: text("username"),
        password: text("password"),
        pull_secret: text("pull_secret"),
    })
}

/// `manifests`: paths, or mappings with a path.
fn read_manifests(node: &Node, reader: &mut Reader) -> Vec<RawManifest> {
    reader.list(node, "manifests").iter().enumerate().filter_map(|(i, item)| read_manifest(item, i, reader)).collect()
}

/// An entry of `manifests`.
fn read_manifest(node: &Node, index: usize, reader: &mut Reader) -> Option<RawManifest> {
    let place = format!("manifests[{index}]");
    if !matches!(node.kind, NodeKind::Map(_)) {
        return Some(RawManifest { path: reader.text(node, &place)?, substitute: Vec::new() });
    }
    let problems = reader.problems.len();
    let fields = reader.mapping(node, &place, &keys::MANIFEST)?;
    let path = fields.get("path").and_then(|node| reader.text(node, &format!("{place}.path")));
    if fields.get("path").is_none() && reader.problems.len() == problems {
        let problem = Problem::new(start_of(node), format!("`{place}` has no `path`"));
        reader.push(problem.hint("write `path: k8s/`"));
    }
    let names = fields.get("substitute").map(|node| reader.list(node, &format!("{place}.substitute")));
    let names = names.unwrap_or_default().iter();
    let substitute = names.filter_map(|node| reader.text(node, &format!("{place}.substitute"))).collect();
    Some(RawManifest { path: path?, substitute })
}

/// `secrets`: names, each with keys and values.
fn read_secrets(node: &Node, reader: &mut Reader) -> Vec<(Text, Vec<(Text, Text)>)> {
    mask(node, reader);
    let Some(entries) = reader.open_mapping(node, "secrets") else { return Vec::new() };
    let read = |entry: &Entry| (entry.name(), reader.texts(Some(&entry.value), &format!("secrets.{}", entry.key)));
    entries.iter().map(read).collect()
}

/// Masks every value in a node that does not come from a variable.
fn mask(node: &Node, reader: &mut Reader) {
    match &node.kind {
        NodeKind::Scalar { text, .. } if text.contains("${") || text.is_empty() => {}
        NodeKind::Scalar { .. } => reader.masks.push(node.span),
        NodeKind::List(items) => items.iter().for_each(|item| mask(item, reader)),
        NodeKind::Map(entries) => entries.iter().for_each(|entry| mask(&entry.value, reader)),
    }
}

/// `expose`: one of `service`, `ingress` and `gateway`.
fn read_expose(node: &Node, reader: &mut Reader) -> Option<RawExpose> {
    let fields = reader.mapping(node, "expose", &keys::EXPOSE)?;
    let host = fields.get("host").and_then(|node| reader.text(node, "expose.host"));
    let kinds = [("service", "Service"), ("ingress", "Ingress"), ("gateway", "Gateway")];
    let mut targets = kinds.iter().filter_map(|(key, kind)| Some((*kind, fields.entry(key)?)));
    let Some((kind, entry)) = targets.next() else {
        let problem = Problem::new(start_of(node), "`expose` names nothing");
        reader.push(problem.hint("name one of them: `service: NAME`, `ingress: NAME` or `gateway: NAME`"));
        return None;
    };
    if let Some((_, other)) = targets.next() {
        let problem = Problem::new(other.key_span, format!("`expose` names both `{}` and `{}`", entry.key, other.key));
        reader.push(problem.hint("one address is the application's: keep the one that clients use"));
    }
    let target = reader.text(&entry.value, &format!("expose.{}", entry.key))?;
    Some(RawExpose { kind, target, host })
}

/// `rollout`.
fn read_rollout(node: &Node, reader: &mut Reader) -> RawRollout {
    let Some(fields) = reader.mapping(node, "rollout", &keys::ROLLOUT) else { return RawRollout::default() };
    let mut text = |key: &str| fields.get(key).and_then(|node| reader.loose_text(node, &format!("rollout.{key}")));
    let (deadline, settle, on_failure) = (text("deadline"), text("settle"), text("on_failure"));
    if let Some(choice) = on_failure.filter(|choice| choice.value != "stay") {
        let problem = if choice.value == "rollback" {
            Problem::new(choice.span, "`on_failure: rollback` is not supported yet")
                .hint("write `on_failure: stay` or leave it out: what is running stays, and what failed is told")
        } else {
            Problem::new(choice.span, format!("`{}` is no way to go on after a failure", choice.value))
                .hint("write `on_failure: stay`")
        };
        reader.push(problem);
    }
    RawRollout { deadline, settle }
}
