//! Reads nodes by the keys and types that are wanted there, and notes everything that is not as wanted.

use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::keys::Keys;
use crate::config::node::{Entry, Malformed, Node, NodeKind};
use crate::config::scalar::{Dialect, resolve};
use crate::config::source::{SourceFile, Span, Spanned};
use crate::model::{listed, nearest};
use serde_json::Value;

/// A text and where it was written; variables in it are not filled in yet.
pub(crate) type Text = Spanned<String>;

/// A mistake in a file whose text is known to whoever collects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What is wrong.
    pub(crate) message: String,
    /// Where.
    pub(crate) span: Span,
    /// What to say beside the carets.
    pub(crate) label: Option<String>,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Problem {
    /// A mistake at a place.
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), span, label: None, hint: None }
    }

    /// The same as a warning.
    #[must_use]
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The same with a word beside the carets.
    #[must_use]
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same with something to do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The mistake as it is shown.
    pub(crate) fn in_file(&self, file: &SourceFile) -> Diagnostic {
        Diagnostic {
            severity: self.severity,
            message: self.message.clone(),
            place: Some(file.place(self.span)),
            label: self.label.clone(),
            hint: self.hint.clone(),
        }
    }

    /// What is wrong with the YAML itself.
    pub(crate) fn of_yaml(malformed: &Malformed, file: &SourceFile) -> Self {
        let problem = Self::new(malformed.span, malformed.message.clone());
        match malformed.first {
            Some(first) => problem.label(format!("first written in line {}", file.line_of(first.start))),
            None => match cure(malformed, file) {
                Some(hint) => problem.hint(hint),
                None => problem,
            },
        }
    }
}

/// What usually cures a text that is not YAML.
fn cure(malformed: &Malformed, file: &SourceFile) -> Option<&'static str> {
    let line = file.text.lines().nth(file.line_of(malformed.span.start) - 1).unwrap_or_default();
    if line.trim_start_matches(' ').starts_with('\t') {
        return Some("indent with spaces: YAML knows no tabs");
    }
    if file.text.contains("{{") {
        return Some("this looks like a template: rendering templates (Helm) is not supported yet");
    }
    let causes = [
        ("flow mapping", "a `{` before this is not closed, or a comma is missing"),
        ("flow sequence", "a `[` before this is not closed, or a comma is missing"),
        ("quoted scalar", "a quotation mark before this is not closed"),
        ("mapping values", "a text with `: ` in it needs quotes; otherwise look at the indentation"),
        ("block mapping", "look at the indentation: keys of one mapping start in the same column"),
        ("simple key", "look at the line before: a `:` or a quotation mark may be missing"),
    ];
    causes.iter().find(|(sign, _)| malformed.message.contains(sign)).map(|(_, hint)| *hint)
}

/// Collects the mistakes of one file.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The mistakes so far.
    pub(crate) problems: Vec<Problem>,
    /// The values that must never be shown.
    pub(crate) masks: Vec<Span>,
}

impl Reader {
    /// Notes a mistake.
    pub(crate) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Notes that another type was wanted.
    fn wrong_type(&mut self, node: &Node, path: &str, wanted: &str) {
        let problem = Problem::new(node.span, format!("`{path}` must be {wanted}, not {}", node.described()));
        self.push(problem.label(format!("expected {wanted}")));
    }

    /// The entries of a mapping whose keys are these; unknown keys are noted and left out. Null is an empty mapping.
    pub(crate) fn mapping<'n>(&mut self, node: &'n Node, path: &str, keys: &Keys) -> Option<Fields<'n>> {
        let entries = self.open_mapping(node, path)?;
        let known = entries.iter().filter(|entry| {
            let known = keys.known.contains(&entry.key.as_str());
            if !known {
                self.unknown_key(entry, path, keys);
            }
            known
        });
        Some(Fields { entries: known.collect() })
    }

    /// Notes a key that is not understood.
    fn unknown_key(&mut self, entry: &Entry, path: &str, keys: &Keys) {
        let key = entry.key.as_str();
        let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
        if keys.later.contains(&key) {
            let problem = Problem::new(entry.key_span, format!("`{key}`{place} is not supported yet"));
            return self.push(problem.hint("take it out; it comes with a later version of Seaway"));
        }
        if path.is_empty() && key.starts_with("x-") {
            return; // as in Compose: a place for anchors that other parts repeat
        }
        let problem = Problem::new(entry.key_span, format!("unknown key `{key}`{place}"));
        self.push(match nearest(key, keys.known.iter().copied()) {
            Some(name) => problem.label(format!("did you mean `{name}`?")),
            None => problem.hint(format!("the keys here are {}", listed(keys.known.iter().copied()))),
        });
    }

    /// The entries of a mapping with names that the author chooses. Null is an empty mapping.
    pub(crate) fn open_mapping<'n>(&mut self, node: &'n Node, path: &str) -> Option<&'n [Entry]> {
        if !node.is_null() && !matches!(node.kind, NodeKind::Map(_)) {
            let path = if path.is_empty() { "deploy.yml" } else { path };
            self.wrong_type(node, path, "a mapping");
            return None;
        }
        Some(node.entries())
    }

    /// The items of a list. Null is an empty list.
    pub(crate) fn list<'n>(&mut self, node: &'n Node, path: &str) -> &'n [Node] {
        if !node.is_null() && !matches!(node.kind, NodeKind::List(_)) {
            self.wrong_type(node, path, "a list");
            if let NodeKind::Scalar { text, .. } = &node.kind {
                let hint = format!("write it as a list of one: `[{text}]`");
                if let Some(problem) = self.problems.last_mut() {
                    problem.hint = Some(hint);
                }
            }
        }
        node.items()
    }

    /// A text; numbers and booleans are none unless they are quoted.
    pub(crate) fn text(&mut self, node: &Node, path: &str) -> Option<Text> {
        match &node.kind {
            NodeKind::Scalar { text, plain } if !plain || resolve(text, Dialect::Strict).is_string() => {
                Some(Text { value: text.clone(), span: node.span })
            }
            NodeKind::Scalar { text, .. } => {
                self.wrong_type(node, path, "text");
                let hint = (!text.is_empty()).then(|| format!("put it in quotes: `\"{text}\"`"));
                if let Some(problem) = self.problems.last_mut() {
                    problem.hint = hint;
                }
                None
            }
            _ => {
                self.wrong_type(node, path, "text");
                None
            }
        }
    }

    /// A text that may also be written as a number or a boolean, as values of variables often are.
    pub(crate) fn loose_text(&mut self, node: &Node, path: &str) -> Option<Text> {
        match &node.kind {
            NodeKind::Scalar { text, .. } if !node.is_null() => Some(Text { value: text.clone(), span: node.span }),
            _ => {
                self.wrong_type(node, path, "text");
                None
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, node: &Node, path: &str) -> Option<bool> {
        let value = node.to_json(Dialect::Strict).as_bool();
        if value.is_none() {
            self.wrong_type(node, path, "true or false");
        }
        value
    }

    /// Names of the author's own, each with a text.
    pub(crate) fn texts(&mut self, node: Option<&Node>, path: &str) -> Vec<(Text, Text)> {
        let Some(entries) = node.and_then(|node| self.open_mapping(node, path)) else { return Vec::new() };
        let pair = |entry: &Entry| {
            let value = self.loose_text(&entry.value, &format!("{path}.{}", entry.key))?;
            Some((entry.name(), value))
        };
        entries.iter().filter_map(pair).collect()
    }
}

impl Entry {
    /// The key with its place.
    pub(crate) fn name(&self) -> Text {
        Text { value: self.key.clone(), span: self.key_span }
    }
}

/// The known entries of a mapping.
pub(crate) struct Fields<'n> {
    /// In the order of the file.
    entries: Vec<&'n Entry>,
}

impl<'n> Fields<'n> {
    /// The value of a key; null counts as not written.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of a key; null counts as not written.
    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key && !entry.value.is_null()).copied()
    }

    /// The entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'n Entry> {
        self.entries.iter().copied()
    }
}

/// A JSON value and where it was written; variables in its texts are not filled in yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Json {
    /// The value.
    pub(crate) value: Value,
    /// Where it was written.
    pub(crate) span: Span,
}

impl Json {
    /// A node as JSON.
    pub(crate) fn of(node: &Node) -> Self {
        Self { value: node.to_json(Dialect::Strict), span: node.span }
    }
}
