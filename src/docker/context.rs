//! A build context: the files of a folder that `.dockerignore` leaves.
//!
//! It is walked as Docker's clients walk it (<https://github.com/tonistiigi/fsutil>), with three differences that are meant:
//! a file that cannot be read is an error and not an empty file, sockets, pipes and devices are left out, and a `.git` that no
//! instruction can take is too, so that a commit alone changes neither the key nor what a build is sent.

use super::dockerignore::{InvalidPattern, Rules, Verdict};
use super::file_digest::{content_digest, known_digest};
use super::found::{Found, nanoseconds};
use crate::error::{FailureKind, Hint};
use crate::model::Digest;
use std::collections::HashMap;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The files of a context, a folder before what is in it, names in the order of their bytes.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The folder.
    pub(crate) root: PathBuf,
    /// What is in it. There may be very many, and whoever builds needs them all.
    pub(crate) entries: Arc<Vec<Entry>>,
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
    /// The earlier entry that is the same file under another name (a hard link).
    pub(crate) same_as: Option<String>,
    /// What lies on the disk there.
    pub(crate) found: Found,
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
    /// The Dockerfile or the `.dockerignore`, which a build cannot do without.
    #[error("cannot read `{}`", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A file went away, or became another one, while it was read.
    #[error("`{}` of the build context changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
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
        match self {
            Self::Changed { .. } => FailureKind::Infrastructure,
            Self::Ignore { .. } => FailureKind::Application,
            Self::Read { .. } | Self::Text { .. } | Self::Name { .. } => FailureKind::Configuration,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Some("make it readable for this user, or leave it out with a line in `.dockerignore`".to_owned())
            }
            Self::Text { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Some("make it readable for this user".to_owned())
            }
            Self::Text { source, .. } if source.kind() == ErrorKind::IsADirectory => {
                Some("a file is expected there, and it is a folder: move it, or name another Dockerfile".to_owned())
            }
            Self::Text { .. } => None,
            Self::Read { .. } => Some("leave it out with a line in `.dockerignore`, if no build needs it".to_owned()),
            Self::Changed { .. } => {
                Some("something writes into the context: run it again when it is done, or leave the file out with a line in `.dockerignore`".to_owned())
            }
            Self::Name { .. } => Some("rename it, or leave it out with a line in `.dockerignore`".to_owned()),
            Self::Ignore { .. } => Some("patterns are those of Go's `filepath.Match`: close every `[`, write a name after `!`, and no backslash at the end".to_owned()),
        }
    }
}

/// Reads a context. A `NAME.dockerignore` beside the Dockerfile `NAME` takes the place of the context's own. `.git` at the
/// top is a part of it only where asked for.
pub(crate) fn read(root: &Path, dockerfile: &Path, with_git: bool) -> Result<Context, ContextError> {
    let ignore = Ignore::read(root, dockerfile)?;
    let mut walk =
        Walk { root, ignore: &ignore, with_git, entries: Vec::new(), pending: Vec::new(), files: HashMap::new() };
    walk.run()?;
    Ok(Context { root: root.to_owned(), entries: Arc::new(walk.entries) })
}

/// The rules of a context, and where they were written.
#[derive(Clone, Debug)]
pub(crate) struct Ignore {
    /// The file; where there is none, the one that would be read.
    pub(crate) file: PathBuf,
    /// The rules.
    pub(crate) rules: Rules,
}

impl Ignore {
    /// Reads the file beside the Dockerfile, else the one in the context.
    pub(crate) fn read(root: &Path, dockerfile: &Path) -> Result<Self, ContextError> {
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(".dockerignore");
        for file in [PathBuf::from(own), root.join(".dockerignore")] {
            match std::fs::read(&file) {
                Ok(text) => {
                    let rules = Rules::parse(&String::from_utf8_lossy(&text));
                    let rules = rules.map_err(|source| ContextError::Ignore { path: file.clone(), source })?;
                    return Ok(Self { file, rules });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(ContextError::Text { path: file, source }),
            }
        }
        Ok(Self { file: root.join(".dockerignore"), rules: Rules::default() })
    }
}

impl Ignore {
    /// What the rules say of a path whose folder has this verdict.
    fn judge(&self, path: &str, folder: Option<&Verdict>) -> Result<Verdict, ContextError> {
        let verdict = self.rules.judge(path, folder);
        verdict.map_err(|source| ContextError::Ignore { path: self.file.clone(), source })
    }
}

/// A walk through the folder.
struct Walk<'a> {
    /// The folder.
    root: &'a Path,
    /// What is left out.
    ignore: &'a Ignore,
    /// Whether `.git` at the top is taken.
    with_git: bool,
    /// What was found.
    entries: Vec<Entry>,
    /// Ignored folders above the current one: they are entries only if something in them is included again.
    pending: Vec<Entry>,
    /// Files that have more than one name: the first one of each, by device and number.
    files: HashMap<(u64, u64), String>,
}

/// A folder that is being walked.
struct Level {
    /// What is in it and comes next, with what the rules say.
    entries: std::vec::IntoIter<(Entry, Verdict)>,
    /// How many ignored folders are above it.
    pending: usize,
}

impl Walk<'_> {
    /// Walks the folder. Folders may be as deep as paths are long, so that those above the current one are in a list.
    fn run(&mut self) -> Result<(), ContextError> {
        let mut above = Vec::from_iter(self.level("", None)?);
        while let Some(level) = above.last_mut() {
            let Some((entry, verdict)) = level.entries.next() else {
                self.pending.truncate(level.pending); // nothing below was included: ignored folders go too
                above.pop();
                continue;
            };
            let folder = (entry.kind == EntryKind::Folder).then(|| entry.path.clone());
            self.take(entry, &verdict);
            if let Some(folder) = folder {
                above.extend(self.level(&folder, Some(&verdict))?);
            }
        }
        Ok(())
    }

    /// Opens a folder with its verdict; `None` where there is nothing to be walked. An ignored one is the last that is pending.
    fn level(&mut self, path: &str, verdict: Option<&Verdict>) -> Result<Option<Level>, ContextError> {
        let full = self.root.join(path);
        let fail = |source| ContextError::Read { path: full.clone(), source };
        let is_ignored = verdict.is_some_and(|verdict| verdict.ignored);
        let pending = self.pending.len() - usize::from(is_ignored);
        let items = match std::fs::read_dir(&full) {
            Ok(items) => items,
            // What is ignored need not be readable, and what is gone by now was never there.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && is_ignored => {
                self.pending.truncate(pending);
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_empty() => {
                self.pending.truncate(pending);
                return Ok(None);
            }
            Err(error) => return Err(fail(error)),
        };
        let mut entries = Vec::new();
        for item in items {
            entries.extend(self.entry(path, &item.map_err(fail)?, verdict)?);
        }
        entries.sort_unstable_by(|one, other| one.0.path.cmp(&other.0.path)); // all in one folder: the order of the names
        Ok(Some(Level { entries: entries.into_iter(), pending }))
    }

    /// What stands in a folder with this verdict, and what the rules say of it; `None` for what is left out with all that is
    /// below it.
    fn entry(
        &self,
        folder: &str,
        item: &DirEntry,
        verdict: Option<&Verdict>,
    ) -> Result<Option<(Entry, Verdict)>, ContextError> {
        let slash = if folder.is_empty() { "" } else { "/" };
        let name = match item.file_name().into_string() {
            Ok(name) => name,
            Err(name) => {
                // Ignoring it must help, and patterns can only be compared with text.
                let shown = format!("{folder}{slash}{}", name.to_string_lossy());
                let is_ignored = self.ignore.judge(&shown, verdict)?.ignored;
                return if is_ignored { Ok(None) } else { Err(ContextError::Name { path: item.path() }) };
            }
        };
        let path = format!("{folder}{slash}{name}");
        let verdict = self.ignore.judge(&path, verdict)?;
        let skipped = path == ".git" && !self.with_git;
        if skipped || verdict.ignored && !self.ignore.rules.may_include_below(&path) {
            return Ok(None);
        }
        let entry = look(item, path)?.filter(|entry| !verdict.ignored || entry.kind == EntryKind::Folder);
        Ok(entry.map(|entry| (entry, verdict)))
    }

    /// Takes an entry.
    fn take(&mut self, mut entry: Entry, verdict: &Verdict) {
        if verdict.ignored {
            self.pending.push(entry);
            return;
        }
        if let Some(file) = entry.found.identity() {
            entry.same_as = self.files.get(&file).cloned();
            self.files.entry(file).or_insert_with(|| entry.path.clone());
        }
        self.entries.append(&mut self.pending);
        self.entries.push(entry);
    }
}

/// What stands at a path; `None` for sockets, pipes and devices, which no image takes from a context, and for what has gone. The
/// file system is asked by way of the folder that is being read, which takes half the time of asking by the path.
fn look(item: &DirEntry, path: String) -> Result<Option<Entry>, ContextError> {
    let fail = |source| ContextError::Read { path: item.path(), source };
    let found = match item.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found.map_err(fail)?,
    };
    let kind = if found.is_dir() {
        EntryKind::Folder
    } else if found.is_symlink() {
        let target = std::fs::read_link(item.path()).map_err(fail)?.into_os_string();
        let target = target.into_string().map_err(|_| ContextError::Name { path: item.path() })?;
        EntryKind::Link { target }
    } else if found.is_file() {
        EntryKind::File { size: found.len() }
    } else {
        tracing::info!("`{}` is no file, folder or link: it is left out of the build context", item.path().display());
        return Ok(None);
    };
    let (mode, modified) = (found.mode() & 0o7777, nanoseconds(found.mtime(), found.mtime_nsec()));
    Ok(Some(Entry { path, kind, mode, modified, same_as: None, found: Found::of(&found) }))
}

impl Context {
    /// The digests of the files, in the order of the entries; `None` for what is none, and for another name of a file. Reads
    /// every file, several at once: blocking work.
    pub(crate) fn digests(&self) -> Result<Vec<Option<Digest>>, ContextError> {
        let hashed = side_by_side(&self.entries, |entry| {
            let is_hashed = matches!(entry.kind, EntryKind::File { .. }) && entry.same_as.is_none();
            is_hashed.then(|| self.digest(entry))
        });
        hashed.into_iter().map(Option::transpose).collect() // of several mistakes the first is told
    }

    /// The digest of a file's content.
    pub(crate) fn digest(&self, entry: &Entry) -> Result<Digest, ContextError> {
        let size = if let EntryKind::File { size } = entry.kind { size } else { 0 };
        if let Some(digest) = known_digest(&entry.found, entry.modified, size) {
            return Ok(digest);
        }
        let path = self.root.join(&entry.path);
        content_digest(&path, size).map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::UnexpectedEof => ContextError::Changed { path },
            _ => ContextError::Read { path, source },
        })
    }
}

/// More threads wait for the disk.
const MOST_THREADS: usize = 8;

/// Does the same work on many things, several at once, and gives what came of them in their order. Blocking work.
pub(crate) fn side_by_side<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(things.len());
    let next = AtomicUsize::new(0);
    let do_some = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(thing) = things.get(at) else { return done };
            done.push((at, work(thing)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(do_some)).collect();
        let mut done = do_some();
        for worker in workers {
            done.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
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
        let context = read(folder.path(), &folder.path().join("Dockerfile"), true).unwrap();
        context.entries.iter().map(|entry| entry.path.clone()).collect()
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
        let context = read(folder.path(), &folder.path().join("Dockerfile"), true).unwrap();
        assert_eq!(context.entries[0].kind, EntryKind::Link { target: "../outside".to_owned() });
        assert_eq!((context.entries[1].mode, &context.entries[1].kind), (0o4755, &EntryKind::File { size: 10 }));
        assert_eq!(context.digest(&context.entries[1]).unwrap(), Digest::of(b"#!/bin/sh\n"));
    }

    #[test]
    fn git_is_taken_only_where_asked_for() {
        let folder = folder(&[(".git/HEAD", ""), (".gitignore", ""), ("web/.git/HEAD", "")]);
        let without = read(folder.path(), &folder.path().join("Dockerfile"), false).unwrap();
        let without: Vec<String> = without.entries.iter().map(|entry| entry.path.clone()).collect();
        assert_eq!(without, [".gitignore", "web", "web/.git", "web/.git/HEAD"]);
        assert_eq!(paths(&folder)[..2], [".git", ".git/HEAD"]);
    }

    #[test]
    fn two_names_of_one_file_are_known() {
        let folder = folder(&[("a/first", "x"), ("b/alone", "x"), (".dockerignore", "0*\n")]);
        for name in ["0-ignored", "b/second", "c"] {
            std::fs::hard_link(folder.path().join("a/first"), folder.path().join(name)).unwrap();
        }
        let context = read(folder.path(), &folder.path().join("Dockerfile"), true).unwrap();
        let same = |path: &str| context.entries.iter().find(|entry| entry.path == path).unwrap().same_as.clone();
        assert_eq!((same("a/first"), same("b/alone")), (None, None), "an ignored name is none");
        assert_eq!((same("b/second"), same("c")), (Some("a/first".to_owned()), Some("a/first".to_owned())));
        let digests = context.digests().unwrap();
        let hashed = context.entries.iter().zip(digests).filter(|(_, digest)| digest.is_some());
        assert_eq!(
            hashed.map(|(entry, _)| entry.path.as_str()).collect::<Vec<_>>(),
            [".dockerignore", "a/first", "b/alone"]
        );
    }

    #[test]
    fn digests_are_in_order_whoever_reads_the_files() {
        let texts: Vec<(String, String)> = (0..300).map(|n| (format!("{n:03}"), "x".repeat(n * 700))).collect();
        let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let folder = folder(&files);
        let context = read(folder.path(), &folder.path().join("Dockerfile"), true).unwrap();
        let wanted: Vec<_> = files.iter().map(|(_, text)| Some(Digest::of(text.as_bytes()))).collect();
        assert_eq!(context.digests().unwrap(), wanted);
    }

    #[test]
    fn a_file_that_changes_or_goes_while_it_is_read_is_an_error() {
        let folder = folder(&[("a", "1"), ("b", "2")]);
        let path = |name: &str| folder.path().join(name);
        let error = |change: &dyn Fn()| {
            let context = read(folder.path(), &path("Dockerfile"), true).unwrap();
            change();
            context.digests().unwrap_err()
        };
        let gone = error(&|| std::fs::remove_file(path("b")).unwrap());
        let changed = error(&|| std::fs::write(path("a"), "longer").unwrap());
        for (error, name) in [(gone, "/b`"), (changed, "/a`")] {
            assert!(
                error.to_string().contains(name) && error.to_string().ends_with("changed while it was read"),
                "{error}"
            );
            assert_eq!(error.kind(), FailureKind::Infrastructure, "worth a retry");
        }
    }

    #[test]
    fn what_no_image_takes_is_left_out() {
        let folder = folder(&[("a", "1")]);
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
        assert!(made.success());
        assert_eq!(paths(&folder), ["a"]);
    }

    #[test]
    fn a_name_that_is_not_text_is_an_error_unless_it_is_ignored() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = folder(&[("a", "1"), ("bad/x", "1")]);
        std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"bad/\xff.bin")), "").unwrap();
        let read = || read(folder.path(), &folder.path().join("Dockerfile"), true);
        assert!(matches!(read().unwrap_err(), ContextError::Name { .. }));
        for rules in ["bad", "**/*.bin", "*\n!a"] {
            std::fs::write(folder.path().join(".dockerignore"), rules).unwrap();
            assert!(read().is_ok(), "{rules}");
        }
    }

    #[test]
    fn a_bad_pattern_names_the_file() {
        let folder = folder(&[(".dockerignore", "ok\n!\n")]);
        let error = read(folder.path(), &folder.path().join("Dockerfile"), true).unwrap_err();
        assert!(error.to_string().contains(".dockerignore"), "{error}");
    }

    #[test]
    fn a_folder_in_the_place_of_the_rules_is_named_as_such() {
        let folder = folder(&[(".dockerignore/x", "")]);
        let error = read(folder.path(), &folder.path().join("Dockerfile"), true).unwrap_err();
        assert!(error.to_string().ends_with(".dockerignore`"), "{error}");
        assert!(error.hint().unwrap().contains("it is a folder"), "{error:?}");
    }

    #[test]
    fn a_deep_folder_does_not_exhaust_the_stack() {
        // As deep as a path can be; on a thread with as little room as those of the runtime have.
        let folder = tempfile::tempdir().unwrap();
        let deep = "d/".repeat((4000 - folder.path().as_os_str().len()) / 2);
        std::fs::create_dir_all(folder.path().join(deep)).unwrap();
        let root = folder.path().to_owned();
        let reading = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        let reading = reading.spawn(move || read(&root, &root.join("Dockerfile"), true).unwrap().entries.len());
        assert!(reading.unwrap().join().unwrap() > 1900);
    }
}
