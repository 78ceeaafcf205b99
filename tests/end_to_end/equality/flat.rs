//! An image as a container would see it: its layers laid over each other, and what its configuration says.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

/// The parts of a configuration that a person can set.
const SETTINGS: [&str; 11] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "Labels",
    "ExposedPorts",
    "User",
    "WorkingDir",
    "Volumes",
    "StopSignal",
    "Shell",
    "Healthcheck",
];

/// An image, laid flat.
pub(crate) struct Image {
    /// Every path with what is at it.
    files: BTreeMap<String, Node>,
    /// The settings.
    settings: BTreeMap<&'static str, Value>,
}

/// What is at a path.
#[derive(Clone, PartialEq, Eq)]
struct Node {
    /// Kind, mode and owner, as people read them.
    what: String,
    /// The content of a file.
    content: Vec<u8>,
    /// Files with the same number are one file.
    inode: usize,
}

impl Image {
    /// Reads the folder of skopeo's `dir:` layout.
    pub(crate) fn read(folder: &Path) -> Self {
        let json = |text: Vec<u8>| -> Value { serde_json::from_slice(&text).expect("JSON") };
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().expect("a digest");
            fs::read(folder.join(digest.trim_start_matches("sha256:"))).expect(digest)
        };
        let manifest = json(fs::read(folder.join("manifest.json")).expect("a manifest"));
        let config = json(blob(&manifest["config"]));
        let mut image = Self { files: BTreeMap::new(), settings: BTreeMap::new() };
        for layer in manifest["layers"].as_array().expect("layers") {
            image.add(blob(layer));
        }
        for name in SETTINGS {
            let value = &config["config"][name];
            let empty = value.is_null() || *value == "" || value.as_array().is_some_and(Vec::is_empty);
            let empty = empty || value.as_object().is_some_and(serde_json::Map::is_empty);
            image.settings.insert(name, if empty { Value::Null } else { value.clone() });
        }
        image
    }

    /// Lays a layer over what is there.
    fn add(&mut self, blob: Vec<u8>) {
        let raw: Box<dyn Read> = if blob.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::read::MultiGzDecoder::new(Cursor::new(blob)))
        } else {
            Box::new(Cursor::new(blob))
        };
        let mut archive = tar::Archive::new(raw);
        let mut inode = self.files.values().map(|node| node.inode).max().unwrap_or_default();
        for entry in archive.entries().expect("a layer") {
            let mut entry = entry.expect("an entry");
            let path = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
            let path = path.trim_start_matches("./").trim_matches('/').to_owned();
            if path.is_empty() {
                continue;
            }
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if let Some(hidden) = name.strip_prefix(".wh.") {
                self.hide(folder, hidden);
                continue;
            }
            inode += 1;
            let node = self.node(&mut entry, inode);
            if !node.what.starts_with("folder") {
                self.clear(&path);
            }
            self.files.insert(path, node);
        }
    }

    /// What an entry is.
    fn node(&self, entry: &mut tar::Entry<'_, Box<dyn Read>>, inode: usize) -> Node {
        let target = entry.link_name_bytes().map(|target| String::from_utf8(target.into_owned()).expect("UTF-8"));
        let kind = entry.header().entry_type();
        if kind == tar::EntryType::Link {
            let target = target.expect("a target");
            let target = target.trim_start_matches("./").trim_matches('/');
            return self
                .files
                .get(target)
                .unwrap_or_else(|| panic!("a link to `{target}`, which is not there"))
                .clone();
        }
        let (mut user, mut group) = (entry.header().uid().expect("a user"), entry.header().gid().expect("a group"));
        for record in entry.pax_extensions().expect("records").into_iter().flatten().flatten() {
            match record.key() {
                Ok("uid") => user = record.value().expect("text").parse().expect("a number"),
                Ok("gid") => group = record.value().expect("text").parse().expect("a number"),
                _ => {}
            }
        }
        let mode = entry.header().mode().expect("a mode") & 0o7777;
        let mut content = Vec::new();
        let what = match kind {
            tar::EntryType::Directory => format!("folder {mode:o} {user}:{group}"),
            tar::EntryType::Symlink => format!("link {user}:{group} -> {}", target.expect("a target")),
            tar::EntryType::Regular => {
                entry.read_to_end(&mut content).expect("a file");
                format!("file {mode:o} {user}:{group} {} bytes", content.len())
            }
            other => format!("{other:?} {mode:o} {user}:{group}"),
        };
        Node { what, content, inode }
    }

    /// Takes away what a whiteout hides: everything in its folder, or the path that it names.
    fn hide(&mut self, folder: &str, hidden: &str) {
        if hidden == ".wh..opq" {
            return self.clear(folder);
        }
        let hidden = if folder.is_empty() { hidden.to_owned() } else { format!("{folder}/{hidden}") };
        self.clear(&hidden);
        self.files.remove(&hidden);
    }

    /// Removes what is below a folder.
    fn clear(&mut self, folder: &str) {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.files.retain(|path, _| !path.starts_with(&prefix));
    }

    /// The names of each file that has several.
    fn names(&self) -> BTreeSet<Vec<&str>> {
        let mut names: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (path, node) in &self.files {
            names.entry(node.inode).or_default().push(path);
        }
        names.into_values().filter(|names| names.len() > 1).collect()
    }

    /// What differs from another image, a line each; nothing where they are equal.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let paths: BTreeSet<&String> = self.files.keys().chain(other.files.keys()).collect();
        for path in paths {
            let (ours, theirs) = (self.files.get(path), other.files.get(path));
            let what = |node: Option<&Node>| node.map_or_else(|| "nothing".to_owned(), |node| node.what.clone());
            if what(ours) != what(theirs) {
                lines.push(format!("/{path}: {} <> {}", what(ours), what(theirs)));
            } else if ours.map(|node| &node.content) != theirs.map(|node| &node.content) {
                lines.push(format!("/{path}: the contents differ"));
            }
        }
        if self.names() != other.names() {
            lines.push(format!("second names: {:?} <> {:?}", self.names(), other.names()));
        }
        for (name, value) in &self.settings {
            if other.settings[name] != *value {
                lines.push(format!("{name}: {value} <> {}", other.settings[name]));
            }
        }
        lines
    }
}
