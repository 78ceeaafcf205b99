//! A build context: the files of a folder that `.dockerignore` leaves.

use super::dockerignore::{InvalidPattern, Rules};
use crate::error::{FailureKind, Hint};
use crate::model::Digest;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The files of a context, a folder before what is in it, names in the order of their bytes.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The folder.
    pub(crate) root: PathBuf,
    /// What is in it.
    pub(crate) entries: Vec<Entry>,
}

/// A file, a folder or a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The path in the context, with slashes.
    pub(crate) path: String,
    /// What it is.
    pub(crate) kind: EntryKind,
    /// The permission bits, `0o644`, with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
    /// When it was changed, in nanoseconds since 1970.
    pub(crate) modified: i64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: String,
    },
}

/// Why a context cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    /// The file system refused.
    #[error("cannot read `{}` of the build context", path.display())]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A name that no archive or message can carry.
    #[error("the file name `{}` in the build context is not UTF-8", path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// A `.dockerignore` with a pattern that cannot be understood.
    #[error("`{}` cannot be understood", path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// The line and the pattern.
        source: InvalidPattern,
    },
}

impl Hint for ContextError {
    fn kind(&self) -> FailureKind {
        FailureKind::Configuration
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { path, .. } => {
                Some(format!("make it readable, or leave it out with a line in `.dockerignore`: {}", path.display()))
            }
            Self::Name { .. } => Some("rename it, or leave it out with a line in `.dockerignore`".to_owned()),
            Self::Ignore { .. } => None,
        }
    }
}

/// Reads a context. A `NAME.dockerignore` beside the Dockerfile `NAME` takes the place of the context's own.
pub(crate) fn read(root: &Path, dockerfile: &Path) -> Result<Context, ContextError> {
    let rules = rules(root, dockerfile)?;
    let mut walk = Walk { root, rules: &rules, entries: Vec::new(), pending: Vec::new() };
    walk.folder("")?;
    Ok(Context { root: root.to_owned(), entries: walk.entries })
}

/// One entry of a folder, whatever `.dockerignore` says.
pub(crate) fn entry(root: &Path, path: &str) -> Result<Entry, ContextError> {
    let missing = || {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        ContextError::Read { path: root.join(path), source }
    };
    look(root, path)?.ok_or_else(missing)
}

/// The rules of a context.
fn rules(root: &Path, dockerfile: &Path) -> Result<Rules, ContextError> {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    for path in [PathBuf::from(own), root.join(".dockerignore")] {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Rules::parse(&text).map_err(|source| ContextError::Ignore { path, source }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(ContextError::Read { path, source }),
        }
    }
    Ok(Rules::default())
}

/// A walk through the folder.
struct Walk<'a> {
    /// The folder.
    root: &'a Path,
    /// What is left out.
    rules: &'a Rules,
    /// What was found.
    entries: Vec<Entry>,
    /// Ignored folders above the current one: they are entries only if something in them is included again.
    pending: Vec<Entry>,
}

impl Walk<'_> {
    /// Walks a folder; the root is the empty path.
    fn folder(&mut self, path: &str) -> Result<(), ContextError> {
        let full = self.root.join(path);
        let fail = |source| ContextError::Read { path: full.clone(), source };
        let mut names = Vec::new();
        for item in std::fs::read_dir(&full).map_err(fail)? {
            let name = item.map_err(fail)?.file_name();
            names.push(name.into_string().map_err(|name| ContextError::Name { path: full.join(name) })?);
        }
        names.sort_unstable();
        for name in names {
            let child = if path.is_empty() { name } else { format!("{path}/{name}") };
            self.entry(&child)?;
        }
        Ok(())
    }

    /// Takes an entry, and what is below it.
    fn entry(&mut self, path: &str) -> Result<(), ContextError> {
        let ignored = self.rules.ignores(path);
        if ignored && !self.rules.has_exceptions() {
            return Ok(());
        }
        let Some(entry) = look(self.root, path)? else { return Ok(()) };
        let is_folder = entry.kind == EntryKind::Folder;
        match (ignored, is_folder) {
            (true, false) => return Ok(()),
            (true, true) => {
                self.pending.push(entry);
                let depth = self.pending.len();
                self.folder(path)?;
                self.pending.truncate(depth - 1); // nothing below was included: the folder goes too
            }
            (false, _) => {
                self.entries.append(&mut self.pending);
                self.entries.push(entry);
                if is_folder {
                    self.folder(path)?;
                }
            }
        }
        Ok(())
    }
}

/// What a path is; `None` for sockets, pipes and devices, which no image takes from a context.
fn look(root: &Path, path: &str) -> Result<Option<Entry>, ContextError> {
    let full = root.join(path);
    let fail = |source| ContextError::Read { path: full.clone(), source };
    let found = std::fs::symlink_metadata(&full).map_err(fail)?;
    let kind = if found.is_dir() {
        EntryKind::Folder
    } else if found.is_symlink() {
        let target = std::fs::read_link(&full).map_err(fail)?.into_os_string();
        let target = target.into_string().map_err(|_| ContextError::Name { path: full.clone() })?;
        EntryKind::Link { target }
    } else if found.is_file() {
        EntryKind::File { size: found.len() }
    } else {
        return Ok(None);
    };
    let modified = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
    Ok(Some(Entry { path: path.to_owned(), kind, mode: found.mode() & 0o7777, modified }))
}

impl Context {
    /// The digest of a file's content.
    pub(crate) fn digest(&self, entry: &Entry) -> Result<Digest, ContextError> {
        use sha2::Digest as _;
        let path = self.root.join(&entry.path);
        let fail = |source| ContextError::Read { path: path.clone(), source };
        let mut file = std::fs::File::open(&path).map_err(fail)?;
        let mut hash = sha2::Sha256::new();
        let mut piece = vec![0; 128 * 1024];
        loop {
            match file.read(&mut piece).map_err(fail)? {
                0 => return Ok(Digest::from_hash(&hash.finalize())),
                length => hash.update(&piece[..length]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// A folder with these files; a name that ends in a slash is a folder.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let full = folder.path().join(path);
            std::fs::create_dir_all(full.parent().unwrap()).unwrap();
            if path.ends_with('/') {
                std::fs::create_dir_all(full).unwrap();
            } else {
                std::fs::write(full, text).unwrap();
            }
        }
        folder
    }

    /// The paths of a context.
    fn paths(folder: &tempfile::TempDir) -> Vec<String> {
        let context = read(folder.path(), &folder.path().join("Dockerfile")).unwrap();
        context.entries.into_iter().map(|entry| entry.path).collect()
    }

    #[test]
    fn a_folder_comes_before_its_files_and_names_are_sorted() {
        let folder = folder(&[("a/b", ""), ("a-b", ""), ("a.b", ""), ("Z", ""), ("empty/", "")]);
        assert_eq!(paths(&folder), ["Z", "a", "a/b", "a-b", "a.b", "empty"]);
    }

    #[test]
    fn an_ignored_folder_is_there_for_what_is_included_again() {
        let files =
            [("docs/a/keep", ""), ("docs/b/gone", ""), ("src/x", ""), (".dockerignore", "docs\n!docs/a/keep\n")];
        assert_eq!(paths(&folder(&files)), [".dockerignore", "docs", "docs/a", "docs/a/keep", "src", "src/x"]);
    }

    #[test]
    fn a_dockerfile_may_have_rules_of_its_own() {
        let files = [("x", ""), ("y", ""), (".dockerignore", "x\n"), ("Dockerfile.dockerignore", "*\n!y\n")];
        assert_eq!(paths(&folder(&files)), ["y"]);
    }

    #[test]
    fn links_and_modes_are_kept() {
        let folder = folder(&[("run.sh", "#!/bin/sh\n")]);
        std::fs::set_permissions(folder.path().join("run.sh"), std::fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("../outside", folder.path().join("link")).unwrap();
        let context = read(folder.path(), &folder.path().join("Dockerfile")).unwrap();
        assert_eq!(context.entries[0].kind, EntryKind::Link { target: "../outside".to_owned() });
        assert_eq!((context.entries[1].mode, &context.entries[1].kind), (0o4755, &EntryKind::File { size: 10 }));
        assert_eq!(context.digest(&context.entries[1]).unwrap(), Digest::of(b"#!/bin/sh\n"));
    }

    #[test]
    fn a_bad_pattern_names_the_file() {
        let folder = folder(&[(".dockerignore", "ok\n!\n")]);
        let error = read(folder.path(), &folder.path().join("Dockerfile")).unwrap_err();
        assert!(error.to_string().contains(".dockerignore"), "{error}");
    }
}
