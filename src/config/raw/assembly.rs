//! Images made of files: `from`, `copy`, `war` and what runs in them, as they were written.

use super::{Problem, Reader, Text};
use crate::config::keys;
use crate::config::node::{Entry, Node, NodeKind};
use crate::config::raw::reader::Fields;

/// An image made of files.
#[derive(Debug, Default)]
pub(crate) struct RawAssembly {
    /// `from`.
    pub(crate) from: Option<Text>,
    /// `war`.
    pub(crate) war: Option<Text>,
    /// `root`.
    pub(crate) root: Option<Text>,
    /// `copy`, in the order of the file.
    pub(crate) copy: Vec<RawCopy>,
    /// `entrypoint`.
    pub(crate) entrypoint: Option<RawCommand>,
    /// `cmd`.
    pub(crate) cmd: Option<RawCommand>,
    /// `env`.
    pub(crate) env: Vec<(Text, Text)>,
    /// `user`.
    pub(crate) user: Option<Text>,
    /// `workdir`.
    pub(crate) workdir: Option<Text>,
    /// `expose`.
    pub(crate) expose: Vec<Text>,
    /// `labels`.
    pub(crate) labels: Vec<(Text, Text)>,
}

/// An entry of `copy`.
#[derive(Debug)]
pub(crate) struct RawCopy {
    /// The file or folder.
    pub(crate) source: Text,
    /// Where it goes.
    pub(crate) to: Text,
    /// `chown`.
    pub(crate) chown: Option<Text>,
    /// `chmod`.
    pub(crate) chmod: Option<Text>,
}

/// `entrypoint` or `cmd`.
#[derive(Debug)]
pub(crate) enum RawCommand {
    /// A program and its arguments.
    List(Vec<Text>),
    /// A line for the shell.
    Line(Text),
}

/// The keys that mean something only beside `from` or `war`.
const OWN: [&str; 9] = ["copy", "root", "entrypoint", "cmd", "env", "user", "workdir", "expose", "labels"];

/// Notes keys of an image made of files at an image that comes from elsewhere.
pub(super) fn check_others(fields: &Fields<'_>, place: &str, reader: &mut Reader) {
    for entry in OWN.iter().filter_map(|key| fields.entry(key)) {
        let message = format!("`{place}.{}` means nothing without `from`", entry.key);
        let hint = "it is for images made of files: `from: IMAGE` with `copy: { ./FILE: /PATH }`";
        reader.push(Problem::new(entry.key_span, message).hint(hint));
    }
}

/// Reads an image made of files.
pub(super) fn read(fields: &Fields<'_>, place: &str, reader: &mut Reader) -> RawAssembly {
    let mut text = |key: &str| fields.get(key).and_then(|node| reader.loose_text(node, &format!("{place}.{key}")));
    let (from, war, root) = (text("from"), text("war"), text("root"));
    let (user, workdir) = (text("user"), text("workdir"));
    if let Some(entry) = fields.entry("war").filter(|_| fields.entry("from").is_none()) {
        let problem = Problem::new(entry.key_span, format!("`{place}` has a `war` and no `from`"));
        reader.push(problem.hint("name the image with the server that runs it: `from: tomcat:10.1-jre17`"));
    }
    if let Some(entry) = fields.entry("root").filter(|_| war.is_none()) {
        let problem = Problem::new(entry.key_span, format!("`{place}.root` means nothing without `war`"));
        reader.push(problem.hint("it is where a WAR is unpacked; files go where `copy` says"));
    }
    let copy = fields.get("copy").and_then(|node| reader.open_mapping(node, &format!("{place}.copy")));
    let copy = copy.unwrap_or_default().iter();
    let copy = copy.filter_map(|entry| read_copy(entry, &format!("{place}.copy"), reader)).collect();
    let mut command =
        |key: &str| fields.get(key).and_then(|node| read_command(node, &format!("{place}.{key}"), reader));
    let (entrypoint, cmd) = (command("entrypoint"), command("cmd"));
    let ports = fields.get("expose").map(|node| reader.list(node, &format!("{place}.expose"))).unwrap_or_default();
    let expose = ports.iter().filter_map(|node| reader.loose_text(node, &format!("{place}.expose"))).collect();
    let env = reader.texts(fields.get("env"), &format!("{place}.env"));
    let labels = reader.texts(fields.get("labels"), &format!("{place}.labels"));
    RawAssembly { from, war, root, copy, entrypoint, cmd, env, user, workdir, expose, labels }
}

/// Reads an entry of `copy`: where a source goes, or a mapping.
fn read_copy(entry: &Entry, place: &str, reader: &mut Reader) -> Option<RawCopy> {
    let (source, place) = (entry.name(), format!("{place}.{}", entry.key));
    if !matches!(entry.value.kind, NodeKind::Map(_)) {
        return Some(RawCopy { source, to: reader.text(&entry.value, &place)?, chown: None, chmod: None });
    }
    let fields = reader.mapping(&entry.value, &place, &keys::COPY)?;
    if fields.get("to").is_none() {
        let problem = Problem::new(entry.key_span, format!("`{place}` does not say where it goes"));
        reader.push(problem.hint("add `to: /PATH`"));
    }
    let mut text = |key: &str| fields.get(key).and_then(|node| reader.loose_text(node, &format!("{place}.{key}")));
    let (to, chown, chmod) = (text("to"), text("chown"), text("chmod"));
    Some(RawCopy { source, to: to?, chown, chmod })
}

/// Reads a command: a list, or a line.
fn read_command(node: &Node, place: &str, reader: &mut Reader) -> Option<RawCommand> {
    if matches!(node.kind, NodeKind::List(_)) {
        let items = node.items().iter();
        return Some(RawCommand::List(items.filter_map(|item| reader.loose_text(item, place)).collect()));
    }
    reader.text(node, place).map(RawCommand::Line)
}
