//! What manifests refer to: images of deploy.yml and values of its Secrets. Pure.

use super::node::{Entry, Node, NodeKind};
use super::raw::Problem;
use crate::model::{listed, nearest};
use std::collections::BTreeMap;

/// What manifests may refer to.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The images: key and repository.
    pub(super) images: Vec<(String, String)>,
    /// The Secrets of deploy.yml and the keys of their values.
    pub(super) secrets: BTreeMap<String, Vec<String>>,
    /// The Secrets that stand in the manifests themselves.
    pub(super) manifest_secrets: Vec<String>,
}

/// The keys of a pod's lists of containers.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The mistakes in what an object refers to.
pub(super) fn check(object: &Node, known: &Known) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(object, &mut |entry| {
        if CONTAINERS.contains(&entry.key.as_str()) {
            let images = entry.value.items().iter().filter_map(|container| container.get("image"));
            problems.extend(images.filter_map(|image| check_image(image, known)));
        }
        if entry.key == "secretKeyRef" {
            problems.extend(check_secret_key(&entry.value, known));
        }
        problems.extend(secret_names(entry).into_iter().filter_map(|name| check_secret_name(name, known)));
    });
    problems
}

/// Shows every entry of every mapping in a node.
fn walk<'n>(node: &'n Node, visit: &mut impl FnMut(&'n Entry)) {
    for entry in node.entries() {
        visit(entry);
        walk(&entry.value, visit);
    }
    for item in node.items() {
        walk(item, visit);
    }
}

/// An image without a registry, a path and a tag that is nearly, but not quite, the key of one.
fn check_image(image: &Node, known: &Known) -> Option<Problem> {
    let NodeKind::Scalar { text, .. } = &image.kind else { return None };
    let keys = || known.images.iter().map(|(key, _)| key.as_str());
    if text.contains(['/', ':', '@', '$']) || keys().any(|key| key == text) {
        return None;
    }
    let near = nearest(text, keys())?;
    let problem = Problem::new(image.span, format!("there is no image `{text}` in deploy.yml"));
    let problem = problem.label(format!("did you mean `{near}`?"));
    Some(problem.hint(format!("the image `{text}` of Docker Hub is written `docker.io/library/{text}`")))
}

/// Where an entry of a pod names Secrets.
fn secret_names(entry: &Entry) -> Vec<&Node> {
    match entry.key.as_str() {
        "secretKeyRef" | "secretRef" => entry.value.get("name").into_iter().collect(),
        "secret" => entry.value.get("secretName").into_iter().collect(),
        "imagePullSecrets" => entry.value.items().iter().filter_map(|item| item.get("name")).collect(),
        _ => Vec::new(),
    }
}

/// A Secret that is nearly, but not quite, one that this deploy makes. It may exist in the cluster, so it is a warning.
fn check_secret_name(name: &Node, known: &Known) -> Option<Problem> {
    let NodeKind::Scalar { text, .. } = &name.kind else { return None };
    let names = || known.secrets.keys().chain(&known.manifest_secrets).map(String::as_str);
    if text.contains('$') || names().any(|known| known == text) {
        return None;
    }
    let near = nearest(text, names())?;
    let problem = Problem::new(name.span, format!("no Secret `{text}` comes with this deploy")).warning();
    Some(problem.label(format!("did you mean `{near}`?")).hint("where it exists in the cluster, all is well"))
}

/// A value that a Secret of deploy.yml does not have: the pod could not start.
fn check_secret_key(reference: &Node, known: &Known) -> Option<Problem> {
    let (NodeKind::Scalar { text: name, .. }, key) = (&reference.get("name")?.kind, reference.get("key")?) else {
        return None;
    };
    let NodeKind::Scalar { text, .. } = &key.kind else { return None };
    let keys = known.secrets.get(name)?;
    let optional = reference.get("optional").is_some_and(|node| node.to_json(super::scalar::Dialect::Strict) == true);
    if optional || text.contains('$') || keys.contains(text) {
        return None;
    }
    let problem = Problem::new(key.span, format!("Secret `{name}` of deploy.yml has no value `{text}`"));
    Some(match nearest(text, keys.iter().map(String::as_str)) {
        Some(near) => problem.label(format!("did you mean `{near}`?")),
        None => problem.hint(format!("its values are {}", listed(keys.iter().map(String::as_str)))),
    })
}
