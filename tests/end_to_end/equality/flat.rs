//! An image as a container would see it: its layers laid over each other, and what its configuration says.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

/// Parts of a configuration beside the settings that must be equal too.
const BESIDE: [&str; 4] = ["architecture", "os", "variant", "author"];

/// An image, laid flat.
pub(crate) struct Image {
    /// Every path with what is at it.
    files: BTreeMap<String, Node>,
    /// The settings; those that say nothing are left out.
    settings: BTreeMap<String, Value>,
    /// What was done, in order.
    pub(crate) history: Vec<String>,
}

/// A layer as it was written: paths, what is there, and the path of the first name where it is another one.
type Layer = Vec<(String, Node, Option<String>)>;

/// Layers that were read, by their digests: images share their base.
static LAYERS: LazyLock<Mutex<BTreeMap<String, Arc<Layer>>>> = LazyLock::new(Mutex::default);

/// What is at a path.
#[derive(Clone, PartialEq, Eq)]
struct Node {
    /// Kind, mode and owner, as people read them.
    what: String,
    /// The content of a file.
    content: Arc<Vec<u8>>,
    /// Files with the same number are one file.
    inode: usize,
}

impl Image {
    /// Reads the folder of skopeo's `dir:` layout.
    pub(crate) fn read(folder: &Path) -> Self {
        let blob = |digest: &str| fs::read(folder.join(digest.trim_start_matches("sha256:"))).expect(digest);
        Self::of(&fs::read(folder.join("manifest.json")).expect("a manifest"), blob)
    }

    /// Reads an OCI layout of one image in a tar archive.
    pub(crate) fn read_archive(path: &Path) -> Self {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(File::open(path).expect("an archive")).entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a name").to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("a file");
            files.insert(name, bytes);
        }
        let blob = |digest: &str| files[&format!("blobs/{}", digest.replace(':', "/"))].clone();
        let index: Value = serde_json::from_slice(&files["index.json"]).expect("JSON");
        Self::of(&blob(index["manifests"][0]["digest"].as_str().expect("a digest")), blob)
    }

    /// Lays the image of a manifest flat.
    fn of(manifest: &[u8], blob: impl Fn(&str) -> Vec<u8>) -> Self {
        let json = |text: &[u8]| -> Value { serde_json::from_slice(text).expect("JSON") };
        let digest = |descriptor: &Value| descriptor["digest"].as_str().expect("a digest").to_owned();
        let manifest = json(manifest);
        let config = json(&blob(&digest(&manifest["config"])));
        let done = config["history"].as_array().into_iter().flatten();
        let history = done.map(|entry| entry["created_by"].as_str().unwrap_or_default().to_owned()).collect();
        let mut image = Self { files: BTreeMap::new(), settings: BTreeMap::new(), history };
        for layer in manifest["layers"].as_array().expect("layers") {
            let digest = digest(layer);
            let known = LAYERS.lock().expect("no panic").get(&digest).cloned();
            let layer = known.unwrap_or_else(|| Arc::new(entries(blob(&digest))));
            image.add(&layer);
            LAYERS.lock().expect("no panic").insert(digest, layer);
        }
        let settings = config["config"].as_object().into_iter().flatten();
        let beside = BESIDE.iter().filter_map(|name| Some((*name, config.get(*name)?)));
        for (name, value) in settings.map(|(name, value)| (name.as_str(), value)).chain(beside) {
            let empty =
                value.is_null() || *value == "" || *value == false || value.as_array().is_some_and(Vec::is_empty);
            if !empty && !value.as_object().is_some_and(serde_json::Map::is_empty) {
                image.settings.insert(name.to_owned(), value.clone());
            }
        }
        image
    }

    /// Lays a layer over what is there.
    fn add(&mut self, layer: &Layer) {
        let mut inode = self.files.values().map(|node| node.inode).max().unwrap_or_default();
        for (path, node, first) in layer {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            if let Some(hidden) = name.strip_prefix(".wh.") {
                self.hide(folder, hidden);
                continue;
            }
            inode += 1;
            let node = match first {
                Some(first) => self.files.get(first).unwrap_or_else(|| panic!("no `{first}`, a first name")).clone(),
                None => Node { inode, ..node.clone() },
            };
            if !node.what.starts_with("folder") {
                self.clear(path);
            }
            self.files.insert(path.clone(), node);
        }
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
        let names: BTreeSet<&String> = self.settings.keys().chain(other.settings.keys()).collect();
        for name in names {
            let (ours, theirs) = (self.settings.get(name), other.settings.get(name));
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            if ours != theirs {
                lines.push(format!("{name}: {} <> {}", text(ours), text(theirs)));
            }
        }
        lines
    }
}

/// The entries of a layer.
fn entries(blob: Vec<u8>) -> Layer {
    let raw: Box<dyn Read> = match blob.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(Cursor::new(blob))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(Cursor::new(blob)).expect("a decoder")),
        _ => Box::new(Cursor::new(blob)),
    };
    let clean = |path: &[u8]| {
        let path = String::from_utf8(path.to_vec()).expect("UTF-8");
        path.trim_start_matches("./").trim_matches('/').to_owned()
    };
    let mut all = Layer::new();
    for entry in tar::Archive::new(raw).entries().expect("a layer") {
        let mut entry = entry.expect("an entry");
        let path = clean(&entry.path_bytes());
        if path.is_empty() {
            continue;
        }
        let is_second = entry.header().entry_type() == tar::EntryType::Link;
        let first = entry.link_name_bytes().filter(|_| is_second).map(|first| clean(&first));
        all.push((path, node_of(&mut entry), first));
    }
    all
}

/// What an entry is.
fn node_of(entry: &mut tar::Entry<'_, Box<dyn Read>>) -> Node {
    let target = entry.link_name_bytes().map(|target| String::from_utf8(target.into_owned()).expect("UTF-8"));
    let (mut user, mut group) = (entry.header().uid().expect("a user"), entry.header().gid().expect("a group"));
    let mut attributes = String::new();
    for record in entry.pax_extensions().expect("records").into_iter().flatten().flatten() {
        match record.key() {
            Ok("uid") => user = record.value().expect("text").parse().expect("a number"),
            Ok("gid") => group = record.value().expect("text").parse().expect("a number"),
            Ok(key) if key.starts_with("SCHILY.xattr.") => attributes = format!(" {key}={:x?}", record.value_bytes()),
            _ => {}
        }
    }
    let bits = entry.header().mode().expect("a mode") & 0o7777;
    let mut content = Vec::new();
    let what = match entry.header().entry_type() {
        tar::EntryType::Directory => format!("folder {bits:o} {user}:{group}"),
        tar::EntryType::Symlink => format!("link {user}:{group} -> {}", target.expect("a target")),
        tar::EntryType::Regular => {
            entry.read_to_end(&mut content).expect("a file");
            format!("file {bits:o} {user}:{group} {} bytes", content.len())
        }
        other => format!("{other:?} {bits:o} {user}:{group}"),
    };
    Node { what: what + &attributes, content: Arc::new(content), inode: 0 }
}
