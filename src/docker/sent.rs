//! Notes of what builders were sent of a context, so that the next build sends only what has changed.
//!
//! `BuildKit` keeps the files of a context under a name that the client gives, and asks for those only whose size, time, mode
//! or link is another than that of the file it has (`sameFile` in <https://github.com/tonistiigi/fsutil/blob/master/diff.go>).
//! Docker's clients make that name of the context's path and an id of the machine. But then the builder keeps a file whose
//! content changed while its size and time did not (archives and many build tools set times), and the image is not what its
//! content key says.
//!
//! Here the name stands for a note on this machine. It says for all that a builder may have under the name in which state of
//! the file it was read: which file it is, and the time of its last change at all, which programs cannot set. When something
//! looks to the builder like what it has, and is not that file in that state, there is a new name and a new note.

use super::context::{Context, Entry, EntryKind};
use super::fresh_id::fresh_id;
use crate::model::{Digest, Environment};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the notes of this user are.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// The folder; `None` where the user has no place for such things.
    folder: Option<PathBuf>,
}

/// For which build files are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    /// The files.
    pub(super) context: &'a Context,
    /// The Dockerfile's path.
    pub(super) dockerfile: &'a Path,
    /// The stage; the last one without it.
    pub(super) target: Option<&'a str>,
}

/// How a builder keeps the files of a context.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Under which name.
    pub(super) name: String,
    /// What is noted about the name; `None` for one that stands for these very files.
    pub(super) note: Option<Note>,
}

/// The note about a name.
#[derive(Clone, Debug)]
pub(crate) struct Note(Arc<Path>);

impl Note {
    /// Has the next build begin anew: what the builder was sent is not what was noted.
    pub(super) fn forget(&self) {
        tracing::info!("a file of the build context changed while it was sent");
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Notes that nobody has used for so long are removed.
const LASTS: Duration = Duration::from_hours(30 * 24);

impl Notes {
    /// Notes where the environment has such things: `XDG_CACHE_HOME`, else `.cache` at home.
    pub(super) fn new(environment: &Environment) -> Self {
        let get = |name| environment.non_empty(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache = get("XDG_CACHE_HOME").or_else(|| get("HOME").map(|home| home.join(".cache")));
        Self { folder: cache.map(|cache| cache.join("seaway/contexts")) }
    }

    /// The name for the files of a build, which is noted. Where that cannot be, the content key is one for these very files.
    /// Blocking work.
    pub(super) fn keep(&self, of: &Of<'_>, content_key: &str) -> Kept {
        let noted = self.folder.as_deref().map(|folder| {
            let note = folder.join(file_name(of));
            let name = name(folder, &note, of.context)?;
            Ok(Kept { name, note: Some(Note(note.into())) })
        });
        match noted {
            Some(Ok(kept)) => return kept,
            Some(Err(error)) => {
                let error: io::Error = error;
                tracing::info!("all files of the build context are sent: cannot note which: {error}");
            }
            None => {}
        }
        Kept { name: content_key.to_owned(), note: None }
    }
}

/// The file of a note. Other Dockerfiles and stages take other files of a context: with one name for all of them, each would
/// have the builder delete what only the others take.
fn file_name(of: &Of<'_>) -> String {
    let mut hash = Sha256::new();
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for path in [absolute(&of.context.root), absolute(of.dockerfile)] {
        hash.update(path.as_os_str().as_bytes());
        hash.update([0]);
    }
    hash.update(of.target.unwrap_or_default());
    Digest::from_hash(&hash.finalize()).hex().to_owned()
}

/// The name under which a builder may keep the files, now that they are noted. Whoever builds the same at the same time waits.
fn name(folder: &Path, note: &Path, context: &Context) -> io::Result<String> {
    if !note.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        remove_old(folder);
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(note)?;
    file.lock()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let (read, sent) = (Sent::read(&bytes), states(context));
    let mut all = read.unwrap_or_else(Sent::new);
    if !all.takes(&sent) {
        all = Sent::new();
        all.takes(&sent);
    }
    let written = all.write();
    if written == bytes {
        file.set_modified(std::time::SystemTime::now())?; // it is in use
    } else {
        rewrite(&mut file, &written)?;
    }
    Ok(format!("seaway-{}", all.name))
}

/// Gives a file another content. What is written in part is not taken for a note when it is read.
fn rewrite(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(bytes)
}

/// Removes notes that nobody uses any more.
fn remove_old(folder: &Path) {
    let is_old = |entry: &std::fs::DirEntry| {
        let modified = entry.metadata().and_then(|found| found.modified());
        modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > LASTS))
    };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(is_old) {
        let _ = std::fs::remove_file(entry.path());
    }
}

/// What a builder sees of a file: a hash of all that it compares.
type Seen = [u8; 16];

/// Which file it is in which state.
type State = [u8; 16];

/// The files of a context, as a builder sees them and as they are. Links and folders are compared in full, and another name of
/// a file is made a link to the first by every build.
fn states(context: &Context) -> Vec<(Seen, State)> {
    let files = context.entries.iter().filter(|entry| entry.same_as.is_none());
    files.filter_map(|entry| Some((seen(entry)?, state(entry)))).collect()
}

/// What a builder sees of an entry; `None` for what is no file.
fn seen(entry: &Entry) -> Option<Seen> {
    let EntryKind::File { size } = entry.kind else { return None };
    let mut hash = Sha256::new();
    hash.update(size.to_be_bytes());
    hash.update(entry.modified.to_be_bytes());
    hash.update(entry.mode.to_be_bytes());
    hash.update(&entry.path);
    hash.finalize().first_chunk().copied()
}

/// Which file an entry is in which state. The number of a device may be another one after the machine was started again, and
/// says no more than the path of the context.
fn state(entry: &Entry) -> State {
    let (number, changed) = (entry.found.number.to_be_bytes(), entry.found.changed.to_be_bytes());
    let mut state = State::default();
    state[..8].copy_from_slice(&number);
    state[8..].copy_from_slice(&changed);
    state
}

/// All that a builder was ever sent under a name. It may have it in several copies, some of them old: builds that run side by
/// side each have one.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    /// The name.
    name: String,
    /// In which state each file was that it may have.
    files: HashMap<Seen, State>,
}

/// What a note begins with: it has another form from the next version on.
const FORM: &[u8] = b"seaway sent 1\n";

/// The length of a name, in bytes.
const NAME: usize = 32;

/// The length of the hash of a note, in bytes.
const HASH: usize = 32;

impl Sent {
    /// Nothing yet, under a name that nobody else has.
    fn new() -> Self {
        Self { name: fresh_id(), files: HashMap::new() }
    }

    /// Takes in what is sent now. `false` where the builder would take a file for one that it has and that is another, and
    /// where most of what is noted is of the past.
    fn takes(&mut self, sent: &[(Seen, State)]) -> bool {
        for (seen, state) in sent {
            match self.files.entry(*seen) {
                Place::Occupied(noted) if noted.get() != state => return false,
                Place::Occupied(_) => {}
                Place::Vacant(place) => drop(place.insert(*state)),
            }
        }
        self.files.len() <= 4 * sent.len() + 1000
    }

    /// Reads a note; `None` where it is none.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.strip_prefix(FORM)?.split_at_checked(HASH)?;
        let (name, files) = rest.split_at_checked(NAME)?;
        if hash != &Sha256::digest(rest)[..] {
            return None;
        }
        let (files, _) = files.as_chunks::<32>();
        let file = |file: &[u8; 32]| Some((file.first_chunk().copied()?, file.last_chunk().copied()?));
        Some(Self { name: str::from_utf8(name).ok()?.to_owned(), files: files.iter().filter_map(file).collect() })
    }

    /// The note.
    fn write(&self) -> Vec<u8> {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_unstable();
        let mut rest = self.name.clone().into_bytes();
        for (seen, state) in files {
            rest.extend(seen.iter().chain(state));
        }
        [FORM, &Sha256::digest(&rest)[..], &rest].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::SystemTime;

    /// A context, and notes about it.
    struct Case(tempfile::TempDir);

    impl Case {
        fn new() -> Self {
            let case = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir(case.path("context")).unwrap();
            case.write("a", "1");
            case.write("b", "1");
            case
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// Writes a file; another content takes another moment.
        fn write(&self, name: &str, text: &str) {
            let path = self.path("context").join(name);
            let changed = |path: &Path| path.metadata().map(|found| super::super::found::Found::of(&found)).ok();
            let before = changed(&path);
            while changed(&path) == before {
                std::fs::write(&path, text).unwrap();
            }
        }

        /// Sets the time of a file.
        fn set_time(&self, name: &str, time: SystemTime) {
            let path = self.path("context").join(name);
            File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }

        fn time(&self, name: &str) -> SystemTime {
            self.path("context").join(name).metadata().unwrap().modified().unwrap()
        }

        fn kept(&self, dockerfile: &str) -> Kept {
            self.kept_in(Some(self.path("notes")), dockerfile)
        }

        fn kept_in(&self, folder: Option<PathBuf>, dockerfile: &str) -> Kept {
            let root = self.path("context");
            let dockerfile = root.join(dockerfile);
            let context = super::super::context::read(&root, &dockerfile, true).unwrap();
            Notes { folder }.keep(&Of { context: &context, dockerfile: &dockerfile, target: None }, "ck-1")
        }

        fn name(&self) -> String {
            self.kept("Dockerfile").name
        }
    }

    #[test]
    fn a_name_stays_while_the_builder_sees_what_has_changed() {
        let case = Case::new();
        let name = case.name();
        assert!(name.starts_with("seaway-") && name.len() == 39);
        let context = case.path("context");
        let changes: [&dyn Fn(); 6] = [
            &|| {},
            &|| case.write("a", "2"),
            &|| case.write("new", "2"),
            &|| std::fs::set_permissions(context.join("a"), std::fs::Permissions::from_mode(0o755)).unwrap(),
            &|| std::fs::remove_file(context.join("b")).unwrap(),
            &|| std::os::unix::fs::symlink("a", context.join("link")).unwrap(),
        ];
        for change in changes {
            change();
            assert_eq!(case.name(), name);
        }
    }

    #[test]
    fn what_looks_the_same_and_may_be_another_has_another_name() {
        let case = Case::new();
        let (name, time) = (case.name(), case.time("a"));
        case.write("a", "2");
        case.set_time("a", time);
        let changed = case.name();
        assert_ne!(changed, name, "another content, but neither another size nor another time");
        assert_eq!(case.name(), changed);
        std::fs::rename(case.path("context/a"), case.path("a")).unwrap();
        case.write("a", "3");
        assert_eq!(case.name(), changed);
        case.set_time("a", time);
        assert_ne!(case.name(), changed, "a builder may have older copies");
    }

    #[test]
    fn other_dockerfiles_and_contexts_have_other_names() {
        let (case, other) = (Case::new(), Case::new());
        let names = [case.name(), case.kept("other").name, other.name()];
        assert_ne!(names[0], names[1]);
        assert_ne!(names[0], names[2]);
        assert_eq!([case.name(), case.kept("other").name, other.name()], names);
    }

    #[test]
    fn what_is_no_note_is_not_taken_for_one() {
        let case = Case::new();
        let (name, note) = (case.name(), case.kept("Dockerfile").note.unwrap());
        let bytes = std::fs::read(&note.0).unwrap();
        for length in 0..bytes.len() {
            assert_eq!(Sent::read(&bytes[..length]), None);
        }
        assert_eq!(Sent::read(&bytes).unwrap().write(), bytes);
        std::fs::write(&note.0, &bytes[..bytes.len() - 1]).unwrap();
        let fresh = case.name();
        assert_ne!(fresh, name);
        assert_eq!(case.name(), fresh);
        note.forget();
        assert_ne!(case.name(), fresh);
    }

    #[test]
    fn a_note_does_not_grow_for_ever() {
        let case = Case::new();
        let (first, mut names) = (case.name(), 0);
        let note = case.kept("Dockerfile").note.unwrap();
        for number in 0..1200 {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
            case.set_time("a", time);
            names += usize::from(case.name() != first);
        }
        assert!((1..1200).contains(&names), "{names}");
        assert!(note.0.metadata().unwrap().len() < 40_000);
    }

    #[test]
    fn old_notes_go_when_a_new_one_comes() {
        let case = Case::new();
        let old = case.kept("other").note.unwrap();
        let (recent, long_ago) = (SystemTime::now() - LASTS / 2, SystemTime::now() - LASTS * 2);
        let set = |time| File::options().write(true).open(&old.0).unwrap().set_modified(time).unwrap();
        set(recent);
        case.name();
        assert!(old.0.exists());
        set(long_ago);
        case.kept("third");
        assert!(!old.0.exists());
    }

    #[test]
    fn where_nothing_can_be_noted_the_name_stands_for_the_content() {
        let case = Case::new();
        std::fs::write(case.path("file"), "").unwrap();
        for folder in [None, Some(case.path("file/notes"))] {
            let kept = case.kept_in(folder, "Dockerfile");
            assert!(kept.name == "ck-1" && kept.note.is_none());
        }
        let folder = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Notes::new(&Environment::new(pairs)).folder
        };
        assert_eq!(folder(&[("HOME", "/h")]), Some("/h/.cache/seaway/contexts".into()));
        assert_eq!(folder(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]), Some("/c/seaway/contexts".into()));
        assert_eq!(folder(&[("HOME", ""), ("XDG_CACHE_HOME", "relative")]), None);
    }
}
