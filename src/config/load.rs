//! deploy.yml from its path to a checked [`Config`]: the order in which the parts of this room are walked.

use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::fill::{self, Filler};
use super::manifests::{Manifest, Reading};
use super::needs::{Needs, Part};
use super::node::{Node, parse};
use super::raw::{self, Problem, RawConfig, RawManifest, Reader, Text};
use super::references::Known;
use super::source::{SourceFile, Span};
use super::variables::Variables;
use super::{Config, ManifestDocument, files, overlay, validate};
use crate::model::{Environment, RunContext};
use std::collections::BTreeMap;
use std::path::Path;

/// What is loaded, and with what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// deploy.yml.
    pub(crate) path: &'a Path,
    /// The overlay to lay on, `--env`.
    pub(crate) overlay: Option<&'a str>,
    /// The environment, with `--var` laid over it.
    pub(crate) variables: &'a Environment,
    /// The commit, the pull request and the run.
    pub(crate) run: &'a RunContext,
    /// What the verb uses.
    pub(crate) needs: Needs,
}

/// Reads and checks a deploy.yml and the files that it names.
pub(crate) fn load(request: &Request<'_>) -> Result<Config, Diagnostics> {
    let mut file = files::read_deploy(request.path)?;
    let root = parse_root(&mut file)?;
    let mut reader = Reader { problems: root.problems, masks: Vec::new() };
    let chosen = choose(&root.node, request.overlay, &file)?;
    let raw = raw::read(&chosen, &mut reader);
    check_other_overlays(&root.node, request.overlay, &mut reader);
    file.mask(reader.masks);

    let mut diagnostics = Vec::new();
    let folder = request.path.parent().unwrap_or(Path::new("")).to_path_buf();
    let variables = Variables { environment: request.variables, run: request.run };
    let mut filler = Filler { file: &file, variables, needs: request.needs, root: folder, problems: reader.problems };
    filler.problems.extend(validate::sections(&raw));
    let config = meaning(&mut filler, &raw, request, &mut diagnostics);
    diagnostics.extend(filler.problems.iter().map(|problem| problem.in_file(&file)));
    let (errors, warnings): (Vec<Diagnostic>, Vec<Diagnostic>) =
        diagnostics.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
    if errors.is_empty() {
        return Ok(Config { warnings, ..config });
    }
    Err(Diagnostics::new(errors.into_iter().chain(warnings).collect()))
}

/// The mapping that a deploy.yml is, and the keys that were written twice in it.
struct Root {
    /// The mapping.
    node: Node,
    /// The mistakes that did not end the reading.
    problems: Vec<Problem>,
}

/// Parses deploy.yml. A syntax error ends it: what follows would be guesswork.
fn parse_root(file: &mut SourceFile) -> Result<Root, Diagnostics> {
    let (mut documents, malformed) = parse(&file.text);
    if let Some(error) = malformed.iter().find(|malformed| malformed.first.is_none()) {
        if holds_secrets(file, error.span) {
            file.hide();
        }
        return Err(Problem::of_yaml(error, file).in_file(file).into());
    }
    let problems: Vec<Problem> = malformed.iter().map(|malformed| Problem::of_yaml(malformed, file)).collect();
    if let Some(second) = documents.get(1) {
        let problem = Problem::new(raw::start_of(second), "deploy.yml is one document, but a second one starts here");
        return Err(problem.hint("take the `---` out").in_file(file).into());
    }
    let empty = || {
        let diagnostic = Diagnostic::error(format!("`{}` is empty", file.path.display()));
        Diagnostics::from(diagnostic.with_hint("start it with the application's name: `name: todo`"))
    };
    documents.pop().map(|node| Root { node, problems }).ok_or_else(empty)
}

/// Whether a line may hold a secret in clear, in a file that cannot be parsed: it stands under `secrets`, or speaks of
/// a password.
fn holds_secrets(file: &SourceFile, span: Span) -> bool {
    let before = file.text.get(..span.end).unwrap_or(&file.text);
    let section = before.lines().rev().find(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()));
    let line = file.text.lines().nth(file.line_of(span.start) - 1).unwrap_or_default();
    section.is_some_and(|line| line.starts_with("secrets"))
        || ["secret", "password", "token"].iter().any(|word| line.to_lowercase().contains(word))
}

/// The root with the chosen overlay on it.
fn choose(root: &Node, name: Option<&str>, file: &SourceFile) -> Result<Node, Diagnostics> {
    let Some(name) = name else { return Ok(root.clone()) };
    let entry = root.entries().iter().find(|entry| entry.key == overlay::KEY);
    let environments = entry.map(|entry| &entry.value);
    if let Some(node) = environments.and_then(|environments| environments.get(name)) {
        return Ok(overlay::lay(root, node));
    }
    let names = environments.map(Node::entries).unwrap_or_default().iter().map(|entry| entry.key.as_str());
    let (message, hint) = validate::unknown_environment(name, names);
    let diagnostic = Diagnostic::error(message).with_hint(hint);
    let place = entry.map(|entry| file.place(entry.key_span));
    Err(match place {
        Some(place) => diagnostic.at(place).into(),
        None => diagnostic.into(),
    })
}

/// Reads the root with each overlay that was not chosen, and keeps the mistakes that lie in the overlay.
fn check_other_overlays(root: &Node, chosen: Option<&str>, reader: &mut Reader) {
    let Some(environments) = root.get(overlay::KEY) else { return };
    let Some(entries) = reader.open_mapping(environments, overlay::KEY) else { return };
    for entry in entries {
        if reader.open_mapping(&entry.value, &format!("environments.{}", entry.key)).is_none() {
            continue;
        }
        let mut trial = Reader::default();
        raw::read(&overlay::lay(root, &entry.value), &mut trial);
        reader.masks.extend(trial.masks);
        let inside = trial.problems.into_iter().filter(|problem| entry.value.span.contains(problem.span));
        if chosen != Some(entry.key.as_str()) {
            reader.problems.extend(inside);
        }
    }
}

/// What the whole file means, as far as it has a meaning: it is worth something only where nothing is noted.
fn meaning(
    filler: &mut Filler<'_>,
    raw: &RawConfig,
    request: &Request<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Config {
    let (name, namespace) = fill::identity(filler, raw);
    let registry = fill::registry(filler, raw);
    let images = fill::images(filler, raw);
    if filler.needs.include(Part::Images) {
        files::check_contexts(raw, &images, &mut filler.problems);
    }
    let keys = validate::image_keys(raw).into_iter();
    let repository = |key: &str| registry.as_ref().map_or_else(|| key.to_owned(), |r| r.repository(key).to_string());
    let known = Known {
        images: keys.map(|key| (key.to_owned(), repository(key))).collect(),
        secrets: raw.secrets.iter().map(|(name, values)| (name.value.clone(), key_names(values))).collect(),
        manifest_secrets: Vec::new(),
    };
    let manifests = read_manifests(filler, raw, known, diagnostics);
    let expose = fill::expose(filler, raw, &namespace);
    let objects: Vec<(String, String)> = manifests.iter().map(identity_of).collect();
    filler.problems.extend(fill::check_exposed(raw, expose.as_ref(), &objects));
    diagnostics.extend(repeated(&manifests, &namespace));
    Config {
        path: request.path.to_owned(),
        cluster: fill::cluster(filler, raw),
        secrets: fill::secrets(filler, raw),
        rollout: fill::rollout(filler, raw),
        smoke: fill::smoke(filler, raw),
        warnings: Vec::new(),
        name,
        namespace,
        registry,
        images,
        manifests,
        expose,
    }
}

/// The keys of a Secret's values.
fn key_names(values: &[(Text, Text)]) -> Vec<String> {
    values.iter().map(|(key, _)| key.value.clone()).collect()
}

/// The kind and the name of an object.
fn identity_of(document: &ManifestDocument) -> (String, String) {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&document.object["kind"]), text(&document.object["metadata"]["name"]))
}

/// The objects of all manifest files, in the order of entries, files and documents.
fn read_manifests(
    filler: &mut Filler<'_>,
    raw: &RawConfig,
    known: Known,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<ManifestDocument> {
    if !filler.needs.include(Part::Manifests) {
        return Vec::new();
    }
    let entries: Vec<(Vec<String>, Vec<Manifest>)> =
        raw.manifests.iter().map(|entry| read_entry(filler, entry)).collect();
    let secrets = entries.iter().flat_map(|(_, manifests)| manifests).flat_map(Manifest::secrets).collect();
    let known = Known { manifest_secrets: secrets, ..known };
    let missing = filler.needs.missing_in(Some(Part::Manifests));
    let mut documents = Vec::new();
    for (substitute, manifests) in entries {
        let reading = Reading { variables: filler.variables, missing, substitute: &substitute, known: &known };
        for manifest in manifests {
            let file = manifest.file.clone();
            let (objects, problems) = manifest.read(&reading);
            documents.extend(objects);
            diagnostics.extend(problems.iter().map(|problem| problem.in_file(&file)));
        }
    }
    documents
}

/// The files of one entry of `manifests`, and the variables that are filled into them.
fn read_entry(filler: &mut Filler<'_>, entry: &RawManifest) -> (Vec<String>, Vec<Manifest>) {
    for name in &entry.substitute {
        filler.key(name, "a variable", validate::variable_name);
    }
    let substitute: Vec<String> = entry.substitute.iter().map(|name| name.value.clone()).collect();
    let Some(path) = filler.path(&entry.path, "manifests", Part::Manifests) else { return (substitute, Vec::new()) };
    let files = files::manifest_files(&entry.path, &path).unwrap_or_else(|problem| {
        filler.problems.push(problem);
        Vec::new()
    });
    let mut manifests = Vec::new();
    for path in files {
        match files::read_manifest(&path, entry.path.span) {
            Ok(file) => manifests.push(Manifest::parse(file)),
            Err(problem) => filler.problems.push(problem),
        }
    }
    (substitute, manifests)
}

/// Objects that stand in the manifests twice: the second would undo the first.
fn repeated(manifests: &[ManifestDocument], namespace: &str) -> Vec<Diagnostic> {
    let mut first: BTreeMap<(String, String, String, String), &ManifestDocument> = BTreeMap::new();
    let mut diagnostics = Vec::new();
    for document in manifests {
        let (kind, name) = identity_of(document);
        let object = &document.object;
        let group = object["apiVersion"].as_str().and_then(|v| v.split_once('/')).map_or("", |(group, _)| group);
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(namespace);
        let key = (group.to_owned(), kind.clone(), namespace.to_owned(), name.clone());
        match first.get(&key) {
            None => {
                first.insert(key, document);
            }
            Some(other) => {
                let message = format!("{kind} `{name}` stands in the manifests twice");
                let diagnostic = Diagnostic::error(message).at_line(&document.file, document.line);
                let place = format!("first in {}:{}", other.file.display(), other.line);
                diagnostics.push(diagnostic.with_label(place).with_hint("keep one of the two"));
            }
        }
    }
    diagnostics
}
