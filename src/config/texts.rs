//! Values of manifests that must be text and that YAML reads as something else: `version: 1.0` in labels, `value: 5432`
//! in the environment of a container. The API server would refuse them in the middle of a deploy. Pure.

use super::node::{Entry, Node, NodeKind};
use super::raw::Problem;
use super::scalar::{Dialect, resolve};

/// The API groups whose objects are known to have texts in these places.
const GROUPS: [&str; 7] = [
    "v1",
    "apps/v1",
    "batch/v1",
    "networking.k8s.io/v1",
    "autoscaling/v2",
    "policy/v1",
    "rbac.authorization.k8s.io/v1",
];

/// The mistakes of an object.
pub(super) fn check(object: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_metadata(object, &mut problems);
    let api_version = object.get("apiVersion").and_then(scalar).map(|(text, _)| text);
    if !api_version.is_some_and(|version| GROUPS.contains(&version)) {
        return problems;
    }
    let kind = object.get("kind").and_then(scalar).map_or("", |(text, _)| text);
    if matches!(kind, "ConfigMap" | "Secret") {
        for key in ["data", "stringData"] {
            check_values(object.get(key), key, &mut problems);
        }
    } else if let Some(spec) = object.get("spec") {
        walk(spec, &mut problems);
    }
    problems
}

/// The text of a scalar, and whether it is a plain one.
fn scalar(node: &Node) -> Option<(&str, bool)> {
    if let NodeKind::Scalar { text, plain } = &node.kind { Some((text, *plain)) } else { None }
}

/// Looks at `metadata` and at the environment of containers, at every depth.
fn walk(node: &Node, problems: &mut Vec<Problem>) {
    for Entry { key, value, .. } in node.entries() {
        if key == "env" {
            for variable in value.items() {
                check_value(variable.get("value"), "value", problems);
            }
        }
        if matches!(key.as_str(), "matchLabels" | "nodeSelector") {
            check_values(Some(value), key, problems);
        }
        walk(value, problems);
    }
    node.items().iter().for_each(|item| walk(item, problems));
    check_metadata(node, problems);
}

/// The name, the labels and the annotations of an object or of a template in it.
fn check_metadata(node: &Node, problems: &mut Vec<Problem>) {
    let Some(metadata) = node.get("metadata") else { return };
    for key in ["name", "namespace"] {
        check_value(metadata.get(key), &format!("metadata.{key}"), problems);
    }
    for key in ["labels", "annotations"] {
        check_values(metadata.get(key), key, problems);
    }
}

/// Every value of a mapping.
fn check_values(node: Option<&Node>, path: &str, problems: &mut Vec<Problem>) {
    for entry in node.map(Node::entries).unwrap_or_default() {
        check_value(Some(&entry.value), &format!("{path}.{}", entry.key), problems);
    }
}

/// One value. Nothing at all is let be: the server reads it as an empty text.
fn check_value(node: Option<&Node>, path: &str, problems: &mut Vec<Problem>) {
    let Some((node, (text, true))) = node.and_then(|node| Some((node, scalar(node)?))) else { return };
    let what = match resolve(text, Dialect::Kubernetes) {
        serde_json::Value::Bool(value) => format!("`{value}`"),
        serde_json::Value::Number(_) => "a number".to_owned(),
        _ => return,
    };
    let problem = Problem::new(node.span, format!("`{path}` must be text, but YAML reads this as {what}"));
    problems.push(problem.hint("put it in quotes"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::node::parse;

    /// The paths that are complained of.
    fn complaints(text: &str) -> Vec<String> {
        let problems = check(&parse(text).0[0]);
        problems.iter().map(|problem| problem.message.split('`').nth(1).unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn numbers_and_booleans_are_no_texts() {
        let deployment = "\
apiVersion: apps/v1
kind: Deployment
metadata: { name: 1, labels: { version: 1.0, on: yes, fine: \"1\", none: } }
spec:
  replicas: 3
  selector: { matchLabels: { app: 5 } }
  template:
    metadata: { annotations: { scrape: true } }
    spec: { containers: [{ env: [{ name: PORT, value: 5432 }, { name: X, value: x }] }] }
";
        let wanted = ["metadata.name", "labels.version", "labels.on", "matchLabels.app", "value", "annotations.scrape"];
        assert_eq!(complaints(deployment), wanted);
    }

    #[test]
    fn data_of_a_config_map_is_text() {
        assert_eq!(complaints("{ apiVersion: v1, kind: ConfigMap, data: { a: 1, b: x } }"), ["data.a"]);
    }

    #[test]
    fn custom_resources_may_have_their_own_types() {
        let custom = "{ apiVersion: x.dev/v1, kind: X, metadata: { labels: { a: 1 } }, spec: { env: [{ value: 1 }] } }";
        assert_eq!(complaints(custom), ["labels.a"]);
    }
}
