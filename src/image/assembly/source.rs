//! The files that a `COPY` takes from: a build context, or whatever else was listed.

use super::glob;
use super::tree::{follow, join};
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// Where the content of a file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file on this machine.
    Path(PathBuf),
    /// A member of an archive, by its number in the archive's directory.
    Member(usize),
    /// Text that stands where it is asked for: a here-document.
    Text(Bytes),
}

/// What a path of the sources is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File {
        /// Its content.
        content: Content,
        /// Its length in bytes.
        size: u64,
        /// The same for all names of one file, where it has more than one.
        identity: Option<(u64, u64)>,
    },
    /// A folder.
    Folder,
    /// A symbolic link and where it leads.
    Link(String),
}

/// An entry of the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// What it is.
    pub(crate) kind: Kind,
    /// The permission bits with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
}

/// Files by their paths, without slashes at the ends; the root is the empty path. Cheap to clone, however many there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(Arc<Listed>);

/// The same.
#[derive(Clone, Debug, Default)]
struct Listed {
    /// All of them.
    items: HashMap<String, Item>,
    /// The names in each folder.
    names: HashMap<String, BTreeSet<String>>,
}

impl Files {
    /// Takes an entry in, and the folders above it where they were not listed.
    pub(crate) fn add(&mut self, path: &str, item: Item) {
        let Listed { items, names } = Arc::make_mut(&mut self.0);
        if items.insert(path.to_owned(), item).is_some() {
            return;
        }
        let (mut folder, mut name) = path.rsplit_once('/').unwrap_or(("", path));
        loop {
            names.entry(folder.to_owned()).or_default().insert(name.to_owned());
            if folder.is_empty() || items.contains_key(folder) {
                return;
            }
            items.insert(folder.to_owned(), Item { kind: Kind::Folder, mode: 0o755 });
            (folder, name) = folder.rsplit_once('/').unwrap_or(("", folder));
        }
    }

    /// What stands at a path; the root is a folder.
    pub(crate) fn get(&self, path: &str) -> Option<Item> {
        if path.is_empty() {
            return Some(Item { kind: Kind::Folder, mode: 0o755 });
        }
        self.0.items.get(path).cloned()
    }

    /// Everything, sorted by its path.
    pub(crate) fn all(&self) -> Vec<(&String, &Item)> {
        let mut all: Vec<_> = self.0.items.iter().collect();
        all.sort_unstable_by_key(|(path, _)| *path);
        all
    }

    /// The names in a folder, sorted.
    pub(crate) fn names(&self, folder: &str) -> impl Iterator<Item = &String> {
        self.0.names.get(folder).into_iter().flatten()
    }

    /// A path with its links followed; `None` where they lead in a circle.
    pub(crate) fn follow(&self, path: &str) -> Option<String> {
        let link = |path: &str| match self.0.items.get(path) {
            Some(Item { kind: Kind::Link(target), .. }) => Ok::<_, std::convert::Infallible>(Some(target.clone())),
            _ => Ok(None),
        };
        match follow(path, link) {
            Ok(found) => found,
            Err(never) => match never {},
        }
    }

    /// The paths that a source means: itself, or what matches its pattern. A folder that matches is not looked into.
    /// `None` where the folder before the pattern is not there.
    pub(crate) fn find(&self, source: &str) -> Option<Vec<String>> {
        let parts: Vec<&str> = source.split('/').filter(|part| !part.is_empty()).collect();
        let plain = parts.iter().take_while(|part| !glob::is_pattern(part)).count();
        if plain == parts.len() {
            return Some(vec![parts.join("/")]);
        }
        let start = self.follow(&parts[..plain].join("/"))?;
        let folder = matches!(self.get(&start)?.kind, Kind::Folder);
        let mut found = Vec::new();
        if folder {
            self.search(&start, "", &parts[plain..].join("/"), &mut found);
        }
        Some(found)
    }

    /// Looks for what matches below a folder; `below` is the path from there.
    fn search(&self, start: &str, below: &str, pattern: &str, found: &mut Vec<String>) {
        for name in self.names(join(start, below).trim_end_matches('/')) {
            let path = join(below, name);
            let whole = join(start, &path);
            if glob::matches(pattern, &path) {
                found.push(whole);
            } else if matches!(self.0.items.get(&whole), Some(Item { kind: Kind::Folder, .. })) {
                self.search(start, &path, pattern, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file.
    fn file(name: &str) -> Item {
        let content = Content::Path(PathBuf::from(name));
        Item { kind: Kind::File { content, size: 1, identity: None }, mode: 0o644 }
    }

    /// Files for the tests.
    fn files() -> Files {
        let mut files = Files::default();
        for path in ["b.txt", "a.txt", "sub/c.txt", "sub/deep/d.txt"] {
            files.add(path, file(path));
        }
        files.add("link", Item { kind: Kind::Link("/sub".to_owned()), mode: 0o777 });
        files
    }

    #[test]
    fn folders_are_there_and_names_sorted() {
        let files = files();
        let names = |folder| files.names(folder).collect::<Vec<_>>();
        assert_eq!(names(""), ["a.txt", "b.txt", "link", "sub"]);
        assert_eq!(names("sub"), ["c.txt", "deep"]);
        assert_eq!(files.get("sub").unwrap().kind, Kind::Folder);
        assert_eq!(files.get("").unwrap().kind, Kind::Folder);
        assert_eq!((files.get("no"), files.follow("link/deep")), (None, Some("sub/deep".to_owned())));
    }

    #[test]
    fn patterns_find_what_they_match() {
        let files = files();
        let find = |source: &str| files.find(source).unwrap_or_default();
        assert_eq!(find("*.txt"), ["a.txt", "b.txt"]);
        assert_eq!(find("*/*.txt"), ["sub/c.txt"]);
        assert_eq!(find("s*"), ["sub"]);
        assert_eq!(find("link/*.txt"), ["sub/c.txt"]);
        assert_eq!(find("/sub/"), ["sub"]);
        assert_eq!(find("/"), [""]);
        assert!(find("*.no").is_empty());
        assert_eq!(files.find("no/*.txt"), None);
    }
}
