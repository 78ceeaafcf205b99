//! `images`, as they were written.

use super::{Problem, RawAssembly, RawSupply, Reader, Text, assembly, mask, start_of, supply};
use crate::config::keys;
use crate::config::node::{Entry, Node, NodeKind};

/// An entry of `images`.
#[derive(Debug)]
pub(crate) struct RawImage {
    /// Its key.
    pub(crate) key: Text,
    /// How it comes to be; `None` where that is not clear and has been noted.
    pub(crate) source: Option<RawSource>,
    /// `platforms`.
    pub(crate) platforms: Vec<Text>,
    /// `pin`.
    pub(crate) pin: bool,
    /// `annotations`, `stable_digest` and `attest`.
    pub(crate) supply: RawSupply,
}

/// How an image comes to be.
#[derive(Debug)]
pub(crate) enum RawSource {
    /// `build`.
    Build(RawBuild),
    /// `mirror`.
    Mirror(Text),
    /// `layout`.
    Layout(Text),
    /// `engine`.
    Engine(Text),
    /// `from` or `war`.
    Assembly(Box<RawAssembly>),
}

/// `build` of an image.
#[derive(Debug)]
pub(crate) struct RawBuild {
    /// `context`.
    pub(crate) context: Text,
    /// `dockerfile`, inside the context.
    pub(crate) dockerfile: Option<Text>,
    /// `target`.
    pub(crate) target: Option<Text>,
    /// `args`.
    pub(crate) args: Vec<(Text, Text)>,
    /// `secrets`.
    pub(crate) secrets: Vec<(Text, Text)>,
    /// `max_age`.
    pub(crate) max_age: Option<Text>,
}

/// The keys of which an image has exactly one.
const SOURCES: [&str; 6] = ["build", "mirror", "layout", "engine", "war", "from"];

/// Reads `images`.
pub(super) fn read(node: &Node, reader: &mut Reader) -> Vec<RawImage> {
    let Some(entries) = reader.open_mapping(node, "images") else { return Vec::new() };
    entries.iter().filter_map(|entry| read_image(entry, reader)).collect()
}

/// Reads an entry of `images`: a context folder, or a mapping.
fn read_image(entry: &Entry, reader: &mut Reader) -> Option<RawImage> {
    let place = format!("images.{}", entry.key);
    let key = entry.name();
    if entry.value.is_null() {
        let problem = Problem::new(entry.key_span, format!("`{place}` says nothing"));
        reader.push(problem.hint("name the folder with its Dockerfile: `./backend`, or `mirror: IMAGE`"));
        return Some(RawImage { key, source: None, platforms: Vec::new(), pin: true, supply: RawSupply::default() });
    }
    if !matches!(entry.value.kind, NodeKind::Map(_)) {
        let source = reader.text(&entry.value, &place).map(|context| RawSource::Build(RawBuild::of(context)));
        return Some(RawImage { key, source, platforms: Vec::new(), pin: true, supply: RawSupply::default() });
    }
    let problems = reader.problems.len();
    let fields = reader.mapping(&entry.value, &place, &keys::IMAGE)?;
    let mut sources: Vec<&Entry> = SOURCES.iter().filter_map(|key| fields.entry(key)).collect();
    if fields.entry("war").is_some() {
        sources.retain(|entry| entry.key != "from"); // the server that the WAR goes onto
    }
    let made_of_files = matches!(sources.as_slice(), [one] if matches!(one.key.as_str(), "war" | "from"));
    if !made_of_files {
        assembly::check_others(&fields, &place, reader);
    }
    let source = match sources.as_slice() {
        [_] if made_of_files => Some(RawSource::Assembly(Box::new(assembly::read(&fields, &place, reader)))),
        [one] => read_source(one, &place, reader),
        [first, second, ..] => {
            let message = format!("`{place}` has both `{}` and `{}`", first.key, second.key);
            let problem = Problem::new(second.key_span, message);
            reader.push(problem.hint("an image comes from one place: keep one of the two"));
            None
        }
        [] if reader.problems.len() == problems => {
            let problem = Problem::new(entry.key_span, format!("`{place}` does not say where the image comes from"));
            reader.push(problem.hint(
                "add `build: ./FOLDER`, `from: IMAGE` with `copy`, `mirror: IMAGE`, `layout: PATH` or `engine: IMAGE`",
            ));
            None
        }
        [] => None, // what was written there has been noted
    };
    let platforms = fields.get("platforms").map(|node| reader.list(node, &format!("{place}.platforms")));
    let platforms = platforms.unwrap_or_default().iter();
    let platforms = platforms.filter_map(|node| reader.text(node, &format!("{place}.platforms"))).collect();
    let pin = fields.get("pin").and_then(|node| reader.boolean(node, &format!("{place}.pin"))).unwrap_or(true);
    let supply = supply::read(&fields, &place, reader);
    if matches!(source, Some(RawSource::Mirror(_) | RawSource::Layout(_) | RawSource::Engine(_))) {
        supply::check_copied(&fields, &place, &supply, reader);
    }
    Some(RawImage { key, source, platforms, pin, supply })
}

/// Reads the key that says where an image comes from.
fn read_source(entry: &Entry, place: &str, reader: &mut Reader) -> Option<RawSource> {
    let place = format!("{place}.{}", entry.key);
    match entry.key.as_str() {
        "build" => read_build(&entry.value, &place, reader).map(RawSource::Build),
        "mirror" => reader.text(&entry.value, &place).map(RawSource::Mirror),
        "layout" => reader.text(&entry.value, &place).map(RawSource::Layout),
        _ => reader.text(&entry.value, &place).map(RawSource::Engine),
    }
}

impl RawBuild {
    /// A build of which only the context was written.
    fn of(context: Text) -> Self {
        Self { context, dockerfile: None, target: None, args: Vec::new(), secrets: Vec::new(), max_age: None }
    }
}

/// Reads `build`: a context folder, or a mapping.
fn read_build(node: &Node, place: &str, reader: &mut Reader) -> Option<RawBuild> {
    if !matches!(node.kind, NodeKind::Map(_)) {
        return reader.text(node, place).map(RawBuild::of);
    }
    if let Some(secrets) = node.get("secrets") {
        mask(secrets, reader);
    }
    let fields = reader.mapping(node, place, &keys::BUILD)?;
    let text =
        |key: &str, reader: &mut Reader| fields.get(key).and_then(|node| reader.text(node, &format!("{place}.{key}")));
    let context = text("context", reader);
    if fields.get("context").is_none() {
        let problem = Problem::new(start_of(node), format!("`{place}` has no `context`"));
        reader.push(problem.hint("name the folder that the Dockerfile builds from: `context: ./backend`"));
    }
    let (dockerfile, target) = (text("dockerfile", reader), text("target", reader));
    let max_age = text("max_age", reader);
    let args = reader.texts(fields.get("args"), &format!("{place}.args"));
    let secrets = reader.texts(fields.get("secrets"), &format!("{place}.secrets"));
    Some(RawBuild { context: context?, dockerfile, target, args, secrets, max_age })
}
