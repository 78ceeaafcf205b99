//! YAML as a tree in which every node knows where it was written, so that one mistake does not hide the next.
//!
//! The tree keeps scalars as they were written; what a plain scalar means depends on the [`Dialect`] and is decided by
//! whoever reads it. Anchors, aliases and merge keys (`<<`) are resolved here.

use super::scalar::{Dialect, resolve};
use super::source::Span;
use granit_parser::{Event, Parser, ScalarStyle, ScanError};
use serde_json::Value;
use std::collections::HashMap;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// What it is.
    pub(super) kind: NodeKind,
    /// Where it was written; an alias has the place of the alias.
    pub(super) span: Span,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NodeKind {
    /// A scalar.
    Scalar {
        /// Its text, unescaped.
        text: String,
        /// Whether it is a plain scalar, whose text may stand for a number, a boolean or null.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file, without the keys that were written twice.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The key's text.
    pub(super) key: String,
    /// Where the key was written.
    pub(super) key_span: Span,
    /// The value.
    pub(super) value: Node,
}

/// What is wrong with the YAML itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// What.
    pub(super) message: String,
    /// Where.
    pub(super) span: Span,
    /// Where the other one is, for a key that was written twice.
    pub(super) first: Option<Span>,
}

/// No file that people write comes near this; a file that is made to eat memory does.
const MOST_NODES: usize = 200_000;

/// Nor does a mapping of theirs come near this; each new key is compared with those before it.
const MOST_KEYS: usize = 10_000;

/// The deepest nesting, far below what would exhaust the stack.
const DEEPEST: usize = 100;

impl Node {
    /// Whether nothing was written: `key:`, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, plain: true } if resolve(text, Dialect::Strict).is_null())
    }

    /// The entries of a mapping; none for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        if let NodeKind::Map(entries) = &self.kind { entries } else { &[] }
    }

    /// The items of a list; none for anything else.
    pub(super) fn items(&self) -> &[Self] {
        if let NodeKind::List(items) = &self.kind { items } else { &[] }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// What it is in words: `a mapping`, `a list`, `text`, `a number`, `true or false`, `nothing`.
    pub(super) fn described(&self) -> &'static str {
        match &self.kind {
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a mapping",
            NodeKind::Scalar { plain: false, .. } => "text",
            NodeKind::Scalar { text, .. } => match resolve(text, Dialect::Strict) {
                Value::Null => "nothing",
                Value::Bool(_) => "true or false",
                Value::Number(_) => "a number",
                _ => "text",
            },
        }
    }

    /// The value as JSON.
    pub(super) fn to_json(&self, dialect: Dialect) -> Value {
        match &self.kind {
            NodeKind::Scalar { text, plain: false } => Value::String(text.clone()),
            NodeKind::Scalar { text, plain: true } => resolve(text, dialect),
            NodeKind::List(items) => items.iter().map(|item| item.to_json(dialect)).collect(),
            NodeKind::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json(dialect))).collect()
            }
        }
    }

    /// How many nodes there are in it.
    fn size(&self) -> usize {
        let inner: usize = match &self.kind {
            NodeKind::Scalar { .. } => 0,
            NodeKind::List(items) => items.iter().map(Self::size).sum(),
            NodeKind::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        };
        inner + 1
    }
}

/// The documents of a YAML text, empty ones left out, and everything that is wrong with them: a key that was written
/// twice does not end the reading, a syntax error does.
pub(super) fn parse(text: &str) -> (Vec<Node>, Vec<Malformed>) {
    let mut builder = Builder::default();
    for item in Parser::new_from_str(text) {
        let step = match item {
            Ok((event, span)) => builder.accept(event, range(&span)),
            Err(error) => Err(syntax_error(text, &error)),
        };
        if let Err(malformed) = step {
            builder.malformed.push(malformed);
            break;
        }
    }
    (builder.documents, builder.malformed)
}

/// The bytes that a parser's span stands for.
fn range(span: &granit_parser::Span) -> Span {
    let bytes = span.byte_range().unwrap_or_default();
    Span { start: bytes.start, end: bytes.end }
}

/// What a scanner's error says, at its place.
fn syntax_error(text: &str, error: &ScanError) -> Malformed {
    let start = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let end = text[start..].chars().next().map_or(start, |c| start + c.len_utf8());
    Malformed { message: format!("this is not YAML: {}", error.info()), span: Span { start, end }, first: None }
}

/// A collection that is still open.
enum Open {
    /// A sequence and its items so far.
    List(Vec<Node>),
    /// A mapping, its entries so far, and the key whose value is awaited.
    Map(Vec<Entry>, Option<(String, Span)>),
}

/// Puts nodes together from events.
#[derive(Default)]
struct Builder {
    /// The documents that are complete.
    documents: Vec<Node>,
    /// What is wrong so far.
    malformed: Vec<Malformed>,
    /// The collections that are still open, outermost first, with where they start and their anchor.
    open: Vec<(Open, usize, usize)>,
    /// The nodes that have an anchor, by its number.
    anchors: HashMap<usize, Node>,
    /// How many nodes there are, those of aliases included.
    nodes: usize,
}

impl Builder {
    /// Takes the next event in.
    fn accept(&mut self, event: Event<'_>, span: Span) -> Result<(), Malformed> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_string = tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
                let plain = style == ScalarStyle::Plain && !is_string;
                let span = trimmed(span, &text, style);
                self.add(Node { kind: NodeKind::Scalar { text: text.into_owned(), plain }, span }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(Open::List(Vec::new()), span, anchor),
            Event::MappingStart(_, anchor, _) => self.begin(Open::Map(Vec::new(), None), span, anchor),
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => self.repeat(anchor, span),
            Event::UnresolvedAlias(name) => Err(malformed(format!("there is no anchor `&{name}` before this"), span)),
            _ => Ok(()),
        }
    }

    /// Opens a collection.
    fn begin(&mut self, open: Open, span: Span, anchor: usize) -> Result<(), Malformed> {
        if self.open.len() >= DEEPEST {
            return Err(malformed(format!("this is nested more than {DEEPEST} levels deep"), span));
        }
        self.open.push((open, span.start, anchor));
        Ok(())
    }

    /// Closes the innermost collection.
    fn end(&mut self, span: Span) -> Result<(), Malformed> {
        let Some((open, start, anchor)) = self.open.pop() else { return Ok(()) };
        let span = Span { start, end: span.end.max(start) };
        let kind = match open {
            Open::List(items) => NodeKind::List(items),
            Open::Map(entries, _) => NodeKind::Map(merged(entries)),
        };
        self.add(Node { kind, span }, anchor)
    }

    /// Adds a copy of a node that has an anchor.
    fn repeat(&mut self, anchor: usize, span: Span) -> Result<(), Malformed> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(malformed("an anchor cannot stand inside itself".to_owned(), span));
        };
        self.nodes += node.size();
        let node = Node { kind: node.kind.clone(), span };
        self.add(node, 0)
    }

    /// Puts a complete node where it belongs.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Malformed> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(malformed(format!("there are more than {MOST_NODES} values in this file"), node.span));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None if node.is_null() => {}
            None => self.documents.push(node),
            Some((Open::List(items), ..)) => items.push(node),
            Some((Open::Map(entries, awaited), ..)) => match awaited.take() {
                None => *awaited = Some(key_of(node)?),
                Some((_, key_span)) if entries.len() >= MOST_KEYS => {
                    return Err(malformed(format!("there are more than {MOST_KEYS} keys in this mapping"), key_span));
                }
                Some((key, key_span)) => {
                    let first = entries.iter().find(|entry| entry.key == key && key != "<<");
                    if let Some(first) = first.map(|entry| entry.key_span) {
                        let message = format!("the key `{key}` is written twice");
                        self.malformed.push(Malformed { message, span: key_span, first: Some(first) });
                    } else {
                        entries.push(Entry { key, key_span, value: node });
                    }
                }
            },
        }
        Ok(())
    }
}

/// A mistake without a second place.
fn malformed(message: String, span: Span) -> Malformed {
    Malformed { message, span, first: None }
}

/// A node as a key.
fn key_of(node: Node) -> Result<(String, Span), Malformed> {
    match node.kind {
        NodeKind::Scalar { text, .. } => Ok((text, node.span)),
        _ => Err(malformed("a key must be text, not a list or a mapping".to_owned(), node.span)),
    }
}

/// The span of a scalar without the white space that block scalars and empty values drag along.
fn trimmed(span: Span, text: &str, style: ScalarStyle) -> Span {
    match style {
        ScalarStyle::Plain if text.is_empty() => Span { start: span.start, end: span.start },
        _ => span,
    }
}

/// The entries with `<<` resolved: keys of the mapping itself come before merged ones, earlier merged ones before later.
fn merged(entries: Vec<Entry>) -> Vec<Entry> {
    if !entries.iter().any(|entry| entry.key == "<<") {
        return entries;
    }
    let (merges, mut own): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.key == "<<");
    for merge in merges {
        let sources = if let NodeKind::List(items) = merge.value.kind { items } else { vec![merge.value] };
        for entry in sources.iter().flat_map(Node::entries) {
            if !own.iter().any(|known| known.key == entry.key) {
                own.push(entry.clone());
            }
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn json_of(text: &str, dialect: Dialect) -> Value {
        let (documents, malformed) = parse(text);
        assert_eq!(malformed, []);
        documents[0].to_json(dialect)
    }

    #[test]
    fn spans_are_bytes_of_the_text() {
        let text = "ä: 1\nlist:\n  - \"two\"\n";
        let (documents, _) = parse(text);
        let item = &documents[0].get("list").unwrap().items()[0];
        assert_eq!(&text[item.span.start..item.span.end], "\"two\"");
    }

    #[test]
    fn a_key_that_is_written_twice_does_not_end_the_reading() {
        let (documents, malformed) = parse("a: 1\na: 2\nb: 3\n");
        assert_eq!(malformed.len(), 1);
        assert_eq!(
            (malformed[0].span, malformed[0].first),
            (Span { start: 5, end: 6 }, Some(Span { start: 0, end: 1 }))
        );
        assert_eq!(documents[0].to_json(Dialect::Strict), json!({ "a": 1, "b": 3 }));
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved() {
        let text = "base: &base { a: 1, b: 2 }\nmore:\n  <<: *base\n  b: 3\n";
        assert_eq!(json_of(text, Dialect::Strict)["more"], json!({ "b": 3, "a": 1 }));
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..8 {
            let inner = format!("*a{}, ", level - 1).repeat(10);
            text = format!("{text}a{level}: &a{level} [{inner}]\n");
        }
        assert!(parse(&text).1[0].message.contains("more than"));
    }

    #[test]
    fn a_mapping_of_very_many_keys_is_refused() {
        let text = (0..=MOST_KEYS).fold(String::new(), |text, number| text + &format!("k{number}: 1\n"));
        assert!(parse(&text).1[0].message.contains("keys in this mapping"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("{}1{}", "[".repeat(500), "]".repeat(500));
        assert_eq!(parse(&text).1.len(), 1);
    }

    #[test]
    fn empty_documents_are_left_out() {
        assert_eq!(parse("---\n---\na: 1\n---\n# only a comment\n").0.len(), 1);
        assert_eq!(parse("").0.len(), 0);
    }

    #[test]
    fn a_syntax_error_has_a_place() {
        let malformed = parse("a: 1\nb: [1, 2\nc: 3\n").1;
        assert_eq!(malformed.len(), 1);
        assert!(malformed[0].span.start > 5, "{malformed:?}");
    }
}
