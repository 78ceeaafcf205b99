//! The file tree of a base, as far as it matters to what is put on top of it: folders with their modes, links, owners.

use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

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

/// Whoever can look into a base whenever something about it is asked.
pub(crate) trait Look: std::fmt::Debug + Send + Sync {
    /// What stands at a path whose folder is there. Blocking work.
    fn node(&self, path: &str) -> Result<Option<Node>, Unknown>;
    /// `/etc/passwd` or `/etc/group`. Blocking work.
    fn accounts(&self, file: &'static str) -> Result<String, Unknown>;
}

/// What is known of a base.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// Whatever is asked: somebody looks.
    Open(Arc<dyn Look>),
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
            Known::Open(look) => look.node(path)?,
        };
        self.asked.borrow_mut().paths.insert(path.to_owned(), answer.clone());
        Ok(answer)
    }

    /// The line of an account: the first whose name, the first field, is this. `file` is `passwd` or `group`.
    pub(crate) fn account(&self, file: &'static str, name: &str) -> Result<Option<String>, Unknown> {
        let key = format!("{file}:{name}");
        let answer = match self.known {
            Known::Part(facts) => facts.accounts.get(&key).ok_or(Unknown)?.clone(),
            Known::All(whole) => line_of(name, if file == "passwd" { &whole.passwd } else { &whole.group }),
            Known::Open(look) => line_of(name, &look.accounts(file)?),
        };
        self.asked.borrow_mut().accounts.insert(key, answer.clone());
        Ok(answer)
    }
}

/// The first line of an account.
fn line_of(name: &str, accounts: &str) -> Option<String> {
    accounts.lines().find(|line| line.split(':').next() == Some(name)).map(str::to_owned)
}

/// The prefix of a file that hides what a lower layer has
/// (<https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>).
const WHITEOUT: &str = ".wh.";

/// The name of a file that hides all that lower layers have in its folder.
const OPAQUE: &str = ".wh..wh..opq";

impl Whole {
    /// Takes an entry of a layer in; layers come lowest first. What is there makes way for it, unless both are folders.
    /// Folders above it that no layer lists are made as runtimes make them: root's, and open to all.
    pub(super) fn add(&mut self, path: &str, node: Node) {
        if path.is_empty() {
            return;
        }
        for (at, _) in path.match_indices('/') {
            if !matches!(self.paths.get(&path[..at]), Some(Node::Folder(..))) {
                self.paths.insert(path[..at].to_owned(), Node::Folder(0o755, 0, 0));
            }
        }
        if !matches!(node, Node::Folder(..)) {
            self.clear(path);
        }
        self.paths.insert(path.to_owned(), node);
    }

    /// Hides a path of lower layers with what is below it.
    fn hide(&mut self, path: &str) {
        self.clear(path);
        self.paths.remove(path);
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

    /// Lays a layer on top. Markers hide what lower layers have, wherever in the layer they stand, and nothing of its own.
    fn lay(&mut self, layer: Headers) {
        for (path, entry) in &layer.entries {
            match entry {
                LayerEntry::HidesAll => self.clear(path),
                LayerEntry::Hides => self.hide(path),
                LayerEntry::Node(_) | LayerEntry::SameAs(_) => {}
            }
        }
        for (path, entry) in layer.entries {
            match entry {
                LayerEntry::Node(node) => self.add(&path, node),
                // Links may have other names too.
                LayerEntry::SameAs(first) => {
                    let node = self.paths.get(&first).cloned().unwrap_or(Node::File);
                    self.add(&path, node);
                }
                LayerEntry::HidesAll | LayerEntry::Hides => {}
            }
        }
        for (path, text, found) in [(PASSWD, &mut self.passwd, layer.passwd), (GROUP, &mut self.group, layer.group)] {
            // What was hidden, or became something else, has no lines any more.
            match (found, self.paths.get(path)) {
                (Some(found), Some(Node::File)) => *text = found,
                (None, Some(Node::File)) => {}
                _ => text.clear(),
            }
        }
    }
}

/// Where the users of an image are listed.
const PASSWD: &str = "etc/passwd";

/// Where its groups are.
const GROUP: &str = "etc/group";

/// What an entry of a layer says of its path.
#[derive(Clone, Debug)]
enum LayerEntry {
    /// This stands there.
    Node(Node),
    /// It is another name of what stands at this path.
    SameAs(String),
    /// Lower layers have nothing there any more.
    Hides,
    /// Lower layers have nothing in this folder any more.
    HidesAll,
}

/// What one layer has: its entries in order, and the accounts where it has their files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    /// Clean paths, and what the layer says of them.
    entries: Vec<(String, LayerEntry)>,
    /// `/etc/passwd`; empty where it is another name of some file.
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
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue; // of the whole archive, and no file
        }
        let path = clean(&entry.path()?.to_string_lossy());
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let (path, entry_of_layer) = match (name.strip_prefix(WHITEOUT), name) {
            (_, OPAQUE) => (folder.to_owned(), LayerEntry::HidesAll),
            (Some(hidden), _) if !hidden.is_empty() => (join(folder, hidden), LayerEntry::Hides),
            _ => (path.clone(), node(&entry)?),
        };
        let accounts = match path.as_str() {
            PASSWD => Some(&mut found.passwd),
            GROUP => Some(&mut found.group),
            _ => None,
        };
        if let (Some(accounts), LayerEntry::Node(Node::File) | LayerEntry::SameAs(_)) = (accounts, &entry_of_layer) {
            let mut bytes = Vec::new();
            entry.by_ref().take(LARGEST_ACCOUNTS).read_to_end(&mut bytes)?;
            *accounts = Some(String::from_utf8_lossy(&bytes).into_owned());
        }
        found.entries.push((path, entry_of_layer));
    }
    Ok(found)
}

/// What an entry of an archive that hides nothing says of its path.
fn node(entry: &tar::Entry<'_, impl Read>) -> io::Result<LayerEntry> {
    let target = || -> io::Result<String> {
        Ok(entry.link_name()?.map(|target| target.to_string_lossy().into_owned()).unwrap_or_default())
    };
    Ok(match entry.header().entry_type() {
        tar::EntryType::Directory => {
            let header = entry.header();
            let old = header.as_old();
            let mode = number(&old.mode, header.mode().map(u64::from))?;
            let mode = u32::try_from(mode & 0o7777).unwrap_or_default();
            LayerEntry::Node(Node::Folder(mode, number(&old.uid, header.uid())?, number(&old.gid, header.gid())?))
        }
        tar::EntryType::Symlink => LayerEntry::Node(Node::Link(target()?)),
        tar::EntryType::Link => LayerEntry::SameAs(clean(&target()?)),
        _ => LayerEntry::Node(Node::File),
    })
}

/// A number of a header. A field that is blank stands for nought, as GNU tar and Go read it.
fn number(field: &[u8], read: io::Result<u64>) -> io::Result<u64> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(0) } else { read }
}

/// Files of accounts are not larger than this, in bytes.
const LARGEST_ACCOUNTS: u64 = 4 * 1024 * 1024;

impl FromIterator<Headers> for Whole {
    /// Lays the layers of an image over each other, the lowest first.
    fn from_iter<T: IntoIterator<Item = Headers>>(layers: T) -> Self {
        let mut whole = Self::default();
        layers.into_iter().for_each(|layer| whole.lay(layer));
        whole
    }
}

/// A name in a folder; the root is the empty path.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A path from the root: no slash at its ends, no `.`, and `..` does not lead out.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
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
        whole.add("usr", folder());
        whole.add("usr/bin", folder());
        whole.add("bin", Node::Link("usr/bin".to_owned()));
        whole.add("usr/bin/sh", Node::File);
        whole.add("var", folder());
        whole.add("var/run", Node::Link("/run".to_owned()));
        whole
    }

    /// The header of an entry of an archive; nothing says whose it is.
    fn header(name: &str, kind: tar::EntryType, link: &str) -> tar::Header {
        let mut header = tar::Header::new_old();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes()); // as it is written here
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o1777);
        header
    }

    /// A layer of these entries, read from its archive: names that end in a slash are folders, `a -> b` is a link, `a = b`
    /// another name of a file, `a: text` a file with this content.
    fn layer(entries: &[&str]) -> Headers {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in entries {
            let (name, kind, link, content) = match (entry.split_once(" -> "), entry.split_once(" = ")) {
                (Some((name, target)), _) => (name, tar::EntryType::Symlink, target, ""),
                (_, Some((name, target))) => (name, tar::EntryType::Link, target, ""),
                _ if entry.ends_with('/') => (*entry, tar::EntryType::Directory, "", ""),
                _ => {
                    let (name, content) = entry.split_once(": ").unwrap_or((entry, ""));
                    (name, tar::EntryType::Regular, "", content)
                }
            };
            let mut header = header(name, kind, link);
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append(&header, content.as_bytes()).unwrap();
        }
        read_headers(&archive.into_inner().unwrap()[..]).unwrap()
    }

    /// The paths of an image of these layers, the lowest first.
    fn paths(layers: &[&[&str]]) -> Vec<String> {
        layers.iter().map(|entries| layer(entries)).collect::<Whole>().paths.into_keys().collect()
    }

    #[test]
    fn layers_hide_what_is_below_them() {
        let below = ["usr/", "usr/bin/", "usr/bin/sh", "usr/bin/a", "var/"];
        for (above, left) in [
            (&["usr/bin/.wh.sh"][..], &["usr", "usr/bin", "usr/bin/a", "var"][..]),
            (&["usr/.wh..wh..opq"], &["usr", "var"]),
            (&["usr"], &["usr", "var"]),
            (&[".wh.usr"], &["var"]),
            (&[".wh..wh..opq"], &[]),
            (&[".wh."], &[".wh.", "usr", "usr/bin", "usr/bin/a", "usr/bin/sh", "var"]),
        ] {
            assert_eq!(paths(&[&below, above]), left, "{above:?}");
        }
    }

    #[test]
    fn a_layer_hides_nothing_of_its_own() {
        let below = ["opt/", "opt/old"];
        assert_eq!(paths(&[&below, &["opt/", "opt/new", "opt/.wh..wh..opq"]]), ["opt", "opt/new"]);
        assert_eq!(paths(&[&below, &["opt/old", ".wh.opt"]]), ["opt", "opt/old"]);
    }

    #[test]
    fn names_are_read_as_they_are_meant() {
        let names = ["./a/", "/b", "./c//d", "e/./f", "../g", "h/../i"];
        assert_eq!(paths(&[&names]), ["a", "b", "c", "c/d", "e", "e/f", "g", "i"], "and folders above them are there");
        let links = layer(&["./usr/lib64/x -> ../y"]);
        let whole: Whole = [links].into_iter().collect();
        let base = Known::All(whole);
        assert_eq!(Base::new(&base).look("usr/lib64/x"), Ok(Some(Node::Link("../y".to_owned()))));
    }

    #[test]
    fn another_name_of_a_link_is_a_link() {
        let whole: Whole = [layer(&["a -> b", "c = a", "d = ./nothing"])].into_iter().collect();
        assert_eq!(whole.paths["c"], Node::Link("b".to_owned()));
        assert_eq!(whole.paths["d"], Node::File);
    }

    #[test]
    fn accounts_are_those_of_the_file_that_is_there() {
        let users = |layers: &[&[&str]]| layers.iter().map(|entries| layer(entries)).collect::<Whole>().passwd;
        let below = ["etc/passwd: a:x:1:2::"];
        assert_eq!(users(&[&below]), "a:x:1:2::");
        assert_eq!(users(&[&below, &["etc/"], &["x"]]), "a:x:1:2::");
        assert_eq!(users(&[&below, &["./etc/passwd: b:x:3:4::"]]), "b:x:3:4::");
        for above in ["etc/.wh.passwd", ".wh.etc", "etc/.wh..wh..opq", "etc", "etc/passwd -> ../x", "etc/passwd = x"] {
            assert_eq!(users(&[&below, &[above]]), "", "{above}");
        }
    }

    #[test]
    fn blank_numbers_of_a_header_are_nought() {
        let whole: Whole = [layer(&["tmp/"])].into_iter().collect();
        assert_eq!(whole.paths["tmp"], Node::Folder(0o1777, 0, 0));
        let mut wrong = header("tmp/", tar::EntryType::Directory, "");
        wrong.as_old_mut().uid = *b"   who  ";
        wrong.set_size(0);
        wrong.set_cksum();
        assert!(read_headers(&wrong.as_bytes()[..]).is_err());
        assert!(read_headers(&b"no archive at all, but longer than nothing"[..]).is_err());
    }

    #[test]
    fn what_an_archive_says_of_itself_is_no_file() {
        let mut archive = header("pax_global_header", tar::EntryType::XGlobalHeader, "");
        archive.set_size(0);
        archive.set_cksum();
        let whole: Whole = [read_headers(&archive.as_bytes()[..]).unwrap()].into_iter().collect();
        assert!(whole.paths.is_empty());
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

    /// Whoever looks, of whom it is told what they were asked.
    #[derive(Debug, Default)]
    struct Looker(std::sync::Mutex<Vec<String>>);

    impl Look for Looker {
        fn node(&self, path: &str) -> Result<Option<Node>, Unknown> {
            self.0.lock().unwrap().push(path.to_owned());
            Ok((path == "usr").then(folder))
        }

        fn accounts(&self, file: &'static str) -> Result<String, Unknown> {
            if file == "passwd" { Ok("app:x:7:8::/:\n".to_owned()) } else { Err(Unknown) }
        }
    }

    #[test]
    fn somebody_may_look_when_something_is_asked() {
        let looker = Arc::new(Looker::default());
        let known = Known::Open(Arc::<Looker>::clone(&looker));
        let base = Base::new(&known);
        assert_eq!(base.look("opt/a/b"), Ok(None));
        assert_eq!(base.look("usr/bin"), Ok(None));
        assert_eq!(*looker.0.lock().unwrap(), ["opt", "usr", "usr/bin"], "below nothing nobody looks");
        assert_eq!(base.account("passwd", "app"), Ok(Some("app:x:7:8::/:".to_owned())));
        assert_eq!(base.account("passwd", "other"), Ok(None));
        assert_eq!(base.account("group", "app"), Err(Unknown));
        assert_eq!(base.into_facts().paths.len(), 3);
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
