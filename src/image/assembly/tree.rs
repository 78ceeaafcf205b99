//! The file tree of a base, as far as it matters to what is put on top of it: folders with their modes, links, owners.

use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// What a path of an image is. Paths have no slash at their ends; the root is the empty path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Node {
    /// A folder: mode, user, group.
    #[serde(rename = "d")]
    Folder(u32, u64, u64),
    /// A symbolic link and where it leads.
    #[serde(rename = "l")]
    Link(String),
    /// Anything else.
    #[serde(rename = "f")]
    File,
}

/// A user and a group, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) user: u64,
    /// The group.
    pub(crate) group: u64,
}

/// A part of a base's tree: answers to the questions that one image needed, so that the next needs not read the base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// What a path is, `None` where there is nothing.
    pub(crate) paths: BTreeMap<String, Option<Node>>,
    /// The lines of `/etc/passwd` and `/etc/group` that names were looked up in: `passwd:app` to the line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) accounts: BTreeMap<String, Option<String>>,
}

/// The whole tree of a base.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole {
    /// Every path.
    pub(crate) paths: BTreeMap<String, Node>,
    /// `/etc/passwd`.
    pub(crate) passwd: String,
    /// `/etc/group`.
    pub(crate) group: String,
}

/// What is known of a base.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// Some of it.
    Part(Facts),
    /// All of it.
    All(Whole),
}

/// The base has to be read: what was asked is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

/// A base that is asked questions, which it remembers.
#[derive(Debug)]
pub(crate) struct Base<'a> {
    /// What is known.
    known: &'a Known,
    /// What was asked, with the answers.
    asked: RefCell<Facts>,
}

impl<'a> Base<'a> {
    /// A base of which this is known.
    pub(crate) fn new(known: &'a Known) -> Self {
        Self { known, asked: RefCell::default() }
    }

    /// What was asked so far.
    pub(crate) fn into_facts(self) -> Facts {
        self.asked.into_inner()
    }

    /// What stands at a path. Whatever is below nothing, or below a file, is nothing.
    pub(crate) fn look(&self, path: &str) -> Result<Option<Node>, Unknown> {
        for (at, _) in path.match_indices('/') {
            if !matches!(self.look_here(&path[..at])?, Some(Node::Folder(..))) {
                return Ok(None);
            }
        }
        self.look_here(path)
    }

    /// What stands at a path whose folder is there.
    fn look_here(&self, path: &str) -> Result<Option<Node>, Unknown> {
        let answer = match self.known {
            Known::Part(facts) => facts.paths.get(path).ok_or(Unknown)?.clone(),
            Known::All(whole) => whole.paths.get(path).cloned(),
        };
        self.asked.borrow_mut().paths.insert(path.to_owned(), answer.clone());
        Ok(answer)
    }

    /// The line of an account: the first whose name, the first field, is this. `file` is `passwd` or `group`.
    pub(crate) fn account(&self, file: &'static str, name: &str) -> Result<Option<String>, Unknown> {
        let key = format!("{file}:{name}");
        let answer = match self.known {
            Known::Part(facts) => facts.accounts.get(&key).ok_or(Unknown)?.clone(),
            Known::All(whole) => {
                let text = if file == "passwd" { &whole.passwd } else { &whole.group };
                text.lines().find(|line| line.split(':').next() == Some(name)).map(str::to_owned)
            }
        };
        self.asked.borrow_mut().accounts.insert(key, answer.clone());
        Ok(answer)
    }
}

/// The prefix of a file that hides what a lower layer has
/// (<https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>).
const WHITEOUT: &str = ".wh.";

/// The name of a file that hides all that lower layers have in its folder.
const OPAQUE: &str = ".wh..wh..opq";

impl Whole {
    /// Takes an entry of a layer in; layers come lowest first. Hidden paths vanish with what is below them.
    pub(crate) fn add(&mut self, path: &str, node: Node) {
        let path = path.trim_start_matches("./").trim_matches('/');
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name == OPAQUE {
            return self.clear(folder);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            let hidden = join(folder, hidden);
            self.clear(&hidden);
            self.paths.remove(&hidden);
            return;
        }
        if path.is_empty() || path == "." {
            return;
        }
        if !matches!(node, Node::Folder(..)) {
            self.clear(path);
        }
        self.paths.insert(path.to_owned(), node);
    }

    /// Removes what is below a folder.
    fn clear(&mut self, folder: &str) {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let from = prefix.clone()..;
        let below: Vec<String> =
            self.paths.range(from).map(|(path, _)| path.clone()).take_while(|path| path.starts_with(&prefix)).collect();
        for path in below {
            self.paths.remove(&path);
        }
    }
}

/// What one layer has: its entries in order, and the accounts where it has their files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    /// Paths and what stands at them.
    entries: Vec<(String, Node)>,
    /// `/etc/passwd`.
    passwd: Option<String>,
    /// `/etc/group`.
    group: Option<String>,
}

/// Reads the entries of a layer's tar archive; the content of files is passed over.
pub(crate) fn read_headers(archive: impl Read) -> io::Result<Headers> {
    let mut found = Headers::default();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let header = entry.header();
        let node = match header.entry_type() {
            tar::EntryType::Directory => Node::Folder(header.mode()? & 0o7777, header.uid()?, header.gid()?),
            tar::EntryType::Symlink => {
                let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned());
                Node::Link(target.unwrap_or_default())
            }
            _ => Node::File,
        };
        let accounts = match path.trim_start_matches("./").trim_start_matches('/') {
            "etc/passwd" => Some(&mut found.passwd),
            "etc/group" => Some(&mut found.group),
            _ => None,
        };
        if let (Some(accounts), Node::File) = (accounts, &node) {
            let mut bytes = Vec::new();
            entry.by_ref().take(LARGEST_ACCOUNTS).read_to_end(&mut bytes)?;
            *accounts = Some(String::from_utf8_lossy(&bytes).into_owned());
        }
        found.entries.push((path, node));
    }
    Ok(found)
}

/// Files of accounts are not larger than this, in bytes.
const LARGEST_ACCOUNTS: u64 = 4 * 1024 * 1024;

impl FromIterator<Headers> for Whole {
    /// Lays the layers of an image over each other, the lowest first.
    fn from_iter<T: IntoIterator<Item = Headers>>(layers: T) -> Self {
        let mut whole = Self::default();
        for layer in layers {
            for (path, node) in layer.entries {
                whole.add(&path, node);
            }
            whole.passwd = layer.passwd.unwrap_or(whole.passwd);
            whole.group = layer.group.unwrap_or(whole.group);
        }
        whole
    }
}

/// A name in a folder; the root is the empty path.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// More links than this in one path lead in a circle.
const MOST_LINKS: usize = 255;

/// Follows every link of a path, the last one too, as `chroot` would: nothing leads out of the root. What is not there is
/// taken as it is written. `None` where links lead in a circle.
pub(crate) fn follow<E>(path: &str, link_at: impl Fn(&str) -> Result<Option<String>, E>) -> Result<Option<String>, E> {
    let mut open: Vec<String> = parts(path).rev().collect();
    let (mut done, mut links) = (Vec::<String>::new(), 0);
    while let Some(part) = open.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        done.push(part);
        let Some(target) = link_at(&done.join("/"))? else { continue };
        links += 1;
        if links > MOST_LINKS {
            return Ok(None);
        }
        done.pop();
        if target.starts_with('/') {
            done.clear();
        }
        open.extend(parts(&target).rev());
    }
    Ok(Some(done.join("/")))
}

/// The parts of a path that mean something.
fn parts(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as most are.
    fn folder() -> Node {
        Node::Folder(0o755, 0, 0)
    }

    /// Debian in small.
    fn whole() -> Whole {
        let mut whole = Whole { passwd: "root:x:0:0::/:\napp:x:7:8::/:\n".to_owned(), ..Whole::default() };
        whole.add("./", folder());
        whole.add("./usr/", folder());
        whole.add("usr/bin/", folder());
        whole.add("bin", Node::Link("usr/bin".to_owned()));
        whole.add("usr/bin/sh", Node::File);
        whole.add("var", folder());
        whole.add("var/run", Node::Link("/run".to_owned()));
        whole
    }

    #[test]
    fn layers_hide_what_is_below_them() {
        let mut tree = whole();
        tree.add("usr/bin/.wh.sh", Node::File);
        assert!(!tree.paths.contains_key("usr/bin/sh"));
        tree.add("usr/bin/a", Node::File);
        tree.add("usr/.wh..wh..opq", Node::File);
        assert!(tree.paths.contains_key("usr") && !tree.paths.contains_key("usr/bin/a"));
        tree.add("usr", Node::File);
        tree.add(".wh.var", Node::File);
        assert_eq!(tree.paths.keys().collect::<Vec<_>>(), ["bin", "usr"]);
        tree.add(".wh..wh..opq", Node::File);
        assert!(tree.paths.is_empty());
    }

    #[test]
    fn the_headers_of_layers_make_a_tree() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut put = |path: &str, kind, link: &str, content: &str| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(0o1777);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(content.len() as u64);
            if link.is_empty() {
                archive.append_data(&mut header, path, content.as_bytes()).unwrap();
            } else {
                archive.append_link(&mut header, path, link).unwrap();
            }
        };
        put("./tmp/", tar::EntryType::Directory, "", "");
        put("etc/passwd", tar::EntryType::Regular, "", "a:x:1:2:::\n");
        put("bin", tar::EntryType::Symlink, "usr/bin", "");
        let layer = read_headers(&archive.into_inner().unwrap()[..]).unwrap();
        let tree: Whole = [layer].into_iter().collect();
        assert_eq!(tree.paths["tmp"], Node::Folder(0o1777, 0, 0));
        assert_eq!(tree.paths["bin"], Node::Link("usr/bin".to_owned()));
        assert_eq!((tree.passwd.as_str(), tree.paths["etc/passwd"].clone()), ("a:x:1:2:::\n", Node::File));
        assert!(read_headers(&b"no archive at all, but longer than nothing"[..]).is_err());
    }

    #[test]
    fn links_are_followed_inside_of_the_root() {
        let tree = whole();
        let link = |path: &str| match tree.paths.get(path) {
            Some(Node::Link(target)) => Ok::<_, ()>(Some(target.clone())),
            _ => Ok(None),
        };
        for (path, wanted) in [
            ("/bin/tool", "usr/bin/tool"),
            ("/var/run/../x", "x"),
            ("var/run", "run"),
            ("//usr/./bin//", "usr/bin"),
            ("/../..", ""),
            ("/new/a/b", "new/a/b"),
        ] {
            assert_eq!(follow(path, link), Ok(Some(wanted.to_owned())), "{path}");
        }
        let circle = |path: &str| Ok::<_, ()>((path == "a").then(|| "a/a".to_owned()));
        assert_eq!(follow("/a", circle), Ok(None));
    }

    #[test]
    fn what_one_image_asked_is_enough_for_the_next() {
        let known = Known::All(whole());
        let base = Base::new(&known);
        assert_eq!(base.look("usr/bin/sh"), Ok(Some(Node::File)));
        assert_eq!(base.look("bin/sh"), Ok(None), "a link is not followed here");
        assert_eq!(base.look("opt/a/b"), Ok(None));
        assert_eq!(base.account("passwd", "app"), Ok(Some("app:x:7:8::/:".to_owned())));
        assert_eq!(base.account("group", "app"), Ok(None));
        let facts = base.into_facts();
        let text = serde_json::to_string(&facts).unwrap();
        assert!(text.starts_with(r#"{"paths":{"bin":{"l":"usr/bin"},"opt":null,"usr":{"d":[493,0,0]}"#), "{text}");
        let known = Known::Part(serde_json::from_str(&text).unwrap());
        let again = Base::new(&known);
        assert_eq!(again.look("usr/bin/sh"), Ok(Some(Node::File)));
        assert_eq!(again.look("opt/other"), Ok(None), "below nothing is nothing");
        assert_eq!(again.look("var"), Err(Unknown));
        assert_eq!(again.account("passwd", "app"), Ok(Some("app:x:7:8::/:".to_owned())));
        assert_eq!(again.account("passwd", "root"), Err(Unknown));
    }
}
