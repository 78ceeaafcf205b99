//! The text of a manifest file to its objects, with the mistakes that can be seen without asking a cluster. Pure.

use super::ManifestDocument;
use super::node::{Entry, Node, NodeKind, parse};
use super::raw::{Problem, Text};
use super::references::{self, Known};
use super::scalar::Dialect;
use super::source::{SourceFile, Span};
use super::texts;
use super::variables::{Missing, Scope, Variables};

/// What the manifests of one entry are read with.
pub(super) struct Reading<'a> {
    /// Where variables get their values from.
    pub(super) variables: Variables<'a>,
    /// What becomes of variables without a value.
    pub(super) missing: Missing,
    /// The variables that are filled in.
    pub(super) substitute: &'a [String],
    /// What manifests may refer to.
    pub(super) known: &'a Known,
}

/// A manifest file, taken apart into documents.
pub(super) struct Manifest {
    /// The file.
    pub(super) file: SourceFile,
    /// Its documents, as they were written.
    documents: Vec<Node>,
    /// The mistakes so far.
    problems: Vec<Problem>,
}

impl Manifest {
    /// Parses a file.
    pub(super) fn parse(mut file: SourceFile) -> Self {
        if file.text.lines().any(|line| line.contains("kind") && line.contains("Secret")) {
            file.hide(); // its lines may hold values in clear
        }
        let (documents, malformed) = parse(&file.text);
        let problems = malformed.iter().map(|malformed| Problem::of_yaml(malformed, &file)).collect();
        Self { file, documents, problems }
    }

    /// The names of the Secrets in it.
    pub(super) fn secrets(&self) -> impl Iterator<Item = String> {
        let objects = self.documents.iter().flat_map(taken_apart);
        let secrets = objects.filter(|object| text_of(object.get("kind")).is_some_and(|kind| kind.contains("Secret")));
        secrets.filter_map(|object| text_of(object.get("metadata")?.get("name")).map(str::to_owned))
    }

    /// The objects and the mistakes.
    pub(super) fn read(self, reading: &Reading<'_>) -> (Vec<ManifestDocument>, Vec<Problem>) {
        let Self { file, documents, mut problems } = self;
        let mut objects = Vec::new();
        for document in documents {
            // As it was written: a value that a variable gives is not for messages.
            problems.extend(taken_apart(&document).into_iter().flat_map(|o| references::check(o, reading.known)));
            let document = substituted(document, &file, reading, &mut problems);
            for object in taken_apart(&document) {
                let mistakes = check(object);
                if mistakes.is_empty() {
                    objects.push(ManifestDocument {
                        file: file.path.clone(),
                        line: file.line_of(start(object).start),
                        object: object.to_json(Dialect::Kubernetes),
                    });
                }
                problems.extend(mistakes);
            }
        }
        (objects, problems)
    }
}

/// The document with the listed variables filled into its scalars. A plain scalar is read again afterwards, so that
/// `replicas: ${REPLICAS}` is a number.
fn substituted(node: Node, file: &SourceFile, reading: &Reading<'_>, problems: &mut Vec<Problem>) -> Node {
    if reading.substitute.is_empty() {
        return node;
    }
    let span = node.span;
    let mut inner = |node: Node| substituted(node, file, reading, problems);
    let kind = match node.kind {
        NodeKind::List(items) => NodeKind::List(items.into_iter().map(inner).collect()),
        NodeKind::Map(entries) => {
            NodeKind::Map(entries.into_iter().map(|entry| Entry { value: inner(entry.value), ..entry }).collect())
        }
        NodeKind::Scalar { text, plain } if text.contains("${") => {
            let scope =
                Scope { only: Some(reading.substitute), images: Some(&reading.known.images), ..Scope::default() };
            let text = Text { value: text, span };
            let who = format!("`{}`", file.path.display());
            let filled = reading.variables.fill(&text, (&who, scope, reading.missing), file, problems);
            NodeKind::Scalar { text: filled.text, plain }
        }
        scalar @ NodeKind::Scalar { .. } => scalar,
    };
    Node { kind, span }
}

/// The items of a `List`, or the object itself.
fn taken_apart(document: &Node) -> Vec<&Node> {
    let is_list = text_of(document.get("kind")).is_some_and(|kind| kind.ends_with("List"));
    match document.get("items") {
        Some(items) if is_list && !matches!(items.kind, NodeKind::Scalar { .. }) => items.items().iter().collect(),
        _ => vec![document],
    }
}

/// The text of a scalar that is text.
fn text_of(node: Option<&Node>) -> Option<&str> {
    match &node?.kind {
        NodeKind::Scalar { text, .. } if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Where an object starts: its first key.
fn start(object: &Node) -> Span {
    object.entries().first().map_or(object.span, |entry| entry.key_span)
}

/// What is wrong with an object as such.
fn check(object: &Node) -> Vec<Problem> {
    match check_identity(object) {
        Err(problem) => vec![problem],
        Ok(()) => texts::check(object),
    }
}

/// Whether this is an object of Kubernetes at all.
fn check_identity(object: &Node) -> Result<(), Problem> {
    if !matches!(object.kind, NodeKind::Map(_)) {
        let problem = Problem::new(object.span, format!("a manifest must be a mapping, not {}", object.described()));
        return Err(problem.hint("an object starts with `apiVersion:` and `kind:`"));
    }
    let (version, kind) = (text_of(object.get("apiVersion")), text_of(object.get("kind")));
    let missing: Vec<&str> = [("apiVersion", version), ("kind", kind)]
        .into_iter()
        .filter(|(_, value)| value.is_none())
        .map(|(key, _)| key)
        .collect();
    if let [first, ..] = missing.as_slice() {
        let keys = missing.join("` and no `");
        let problem = Problem::new(start(object), format!("this object has no `{keys}`"));
        return Err(match crate::model::nearest(first, object.entries().iter().map(|entry| entry.key.as_str())) {
            Some(near) => problem.hint(format!("`{near}` is written `{first}`")),
            None => {
                problem.hint("every object of Kubernetes has both; take files that are no manifests out of `manifests`")
            }
        });
    }
    let kind = kind.unwrap_or_default();
    if version.is_some_and(|version| version.starts_with("kustomize.config.k8s.io/")) {
        let problem = Problem::new(start(object), "kustomize is not supported yet");
        return Err(problem.hint("render it first, `kubectl kustomize FOLDER > FILE`, and name that file"));
    }
    check_name(object, kind)
}

/// Whether an object has a name.
fn check_name(object: &Node, kind: &str) -> Result<(), Problem> {
    let metadata = object.get("metadata");
    if text_of(metadata.and_then(|metadata| metadata.get("name"))).is_some() {
        return Ok(());
    }
    let problem = Problem::new(start(object), format!("this {kind} has no `metadata.name`"));
    let generated = metadata.is_some_and(|metadata| metadata.get("generateName").is_some());
    Err(if generated {
        problem.hint("`generateName` cannot be applied again and again: give it a `name`")
    } else {
        problem.hint("give it one: `metadata: { name: … }`")
    })
}
