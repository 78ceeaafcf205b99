//! `smoke`, as it was written.

use super::reader::{Fields, Json};
use super::{Problem, Reader, Text, start_of};
use crate::config::keys;
use crate::config::node::Node;
use crate::config::source::Span;

/// An entry of `smoke`.
#[derive(Debug)]
pub(crate) struct RawStep {
    /// The whole entry.
    pub(crate) span: Span,
    /// The method, `GET`, and the path; `None` where they are not clear and have been noted.
    pub(crate) request: Option<(String, Text)>,
    /// `headers`.
    pub(crate) headers: Vec<(Text, Text)>,
    /// `json`.
    pub(crate) json: Option<Json>,
    /// `expect`.
    pub(crate) expect: RawExpectation,
    /// `save`.
    pub(crate) save: Vec<(Text, Text)>,
}

/// `expect` of a smoke step.
#[derive(Debug, Default)]
pub(crate) struct RawExpectation {
    /// `status`.
    pub(crate) status: Option<Text>,
    /// `body`.
    pub(crate) body: Option<Text>,
    /// `json`: paths and values.
    pub(crate) json: Vec<(Text, Json)>,
    /// `within`.
    pub(crate) within: Option<Text>,
}

/// Reads `smoke`.
pub(super) fn read(node: &Node, reader: &mut Reader) -> Vec<RawStep> {
    let items = reader.list(node, "smoke").iter().enumerate();
    items.filter_map(|(index, item)| read_step(item, &format!("smoke[{index}]"), reader)).collect()
}

/// Reads one request.
fn read_step(node: &Node, place: &str, reader: &mut Reader) -> Option<RawStep> {
    let problems = reader.problems.len();
    let fields = reader.mapping(node, place, &keys::STEP)?;
    let headers = reader.texts(fields.get("headers"), &format!("{place}.headers"));
    let save = reader.texts(fields.get("save"), &format!("{place}.save"));
    let expect = fields.get("expect").and_then(|node| read_expectation(node, &format!("{place}.expect"), reader));
    let request = read_request(node, &fields, place, reader.problems.len() == problems, reader);
    let json = fields.entry("json").map(|entry| Json::of(&entry.value));
    Some(RawStep { span: start_of(node), request, headers, json, expect: expect.unwrap_or_default(), save })
}

/// The method and the path: exactly one of the method keys. That there is none is noted only where nothing else is
/// wrong with the step, since a mistyped method has been noted as an unknown key.
fn read_request(
    node: &Node,
    fields: &Fields<'_>,
    place: &str,
    clean: bool,
    reader: &mut Reader,
) -> Option<(String, Text)> {
    let mut methods = fields.iter().filter(|entry| keys::METHODS.contains(&entry.key.as_str()));
    let Some(entry) = methods.next() else {
        if clean {
            let problem = Problem::new(start_of(node), format!("`{place}` requests nothing"));
            reader.push(problem.hint("name a method and a path, such as `get: /`"));
        }
        return None;
    };
    if let Some(other) = methods.next() {
        let problem = Problem::new(other.key_span, format!("`{place}` has both `{}` and `{}`", entry.key, other.key));
        reader.push(problem.hint("one request a step: begin the second one with a `-` of its own"));
    }
    let path = reader.text(&entry.value, &format!("{place}.{}", entry.key))?;
    Some((entry.key.to_uppercase(), path))
}

/// Reads `expect`.
fn read_expectation(node: &Node, place: &str, reader: &mut Reader) -> Option<RawExpectation> {
    let fields = reader.mapping(node, place, &keys::EXPECT)?;
    let json_place = format!("{place}.json");
    let json = fields.get("json").and_then(|node| reader.open_mapping(node, &json_place)).unwrap_or_default();
    let json = json.iter().map(|entry| (entry.name(), Json::of(&entry.value))).collect();
    let mut text = |key: &str| fields.get(key).and_then(|node| reader.loose_text(node, &format!("{place}.{key}")));
    Some(RawExpectation { status: text("status"), body: text("body"), json, within: text("within") })
}
