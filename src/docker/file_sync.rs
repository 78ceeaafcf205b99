//! Gives a build its files: the sending side of BuildKit's file synchronization.
//!
//! Source of the protocol: <https://github.com/tonistiigi/fsutil/blob/master/send.go>. The receiver is told of every entry,
//! asks for the content of those files that it does not have from an earlier build, and says when it has all.

use super::context::{Entry, EntryKind};
use super::file_digest::settles_in;
use super::found::{Found, nanoseconds};
use super::sent::Note;
use crate::image::assembly::archive::time_of;
use crate::model::Digest;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use futures::{FutureExt as _, StreamExt as _};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Status, Streaming};

/// A folder that a build may ask for.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// Where it is.
    pub(crate) root: PathBuf,
    /// What of it is shown.
    pub(crate) entries: Arc<Vec<Entry>>,
    /// Files that do not lie there but in memory, by their paths.
    pub(crate) texts: Arc<BTreeMap<String, Vec<u8>>>,
    /// Where it is noted what builders were sent of it.
    pub(crate) note: Option<Note>,
}

/// What of a folder a builder asks for (`keyFollowPaths` and `keyIncludePatterns` in
/// <https://github.com/moby/buildkit/blob/v0.32.0/session/filesync/filesync.go>): the sources of the instructions that copy,
/// or only `.dockerignore`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Folders and files with all that is below them; `None` for everything.
    paths: Option<Vec<String>>,
}

impl Wanted {
    /// Reads what came with a request. What is not understood in full asks for everything: to show more than is wanted costs
    /// time, to show less would break the build.
    pub(crate) fn read(request: &MetadataMap) -> Self {
        let has = |name: &str| request.get_all(name).iter().any(|value| !value.is_empty());
        if has("include-patterns") || has("followpaths-encoded") || !has("followpaths") {
            return Self::default();
        }
        let texts = request.get_all("followpaths").iter().map(|value| value.to_str().ok().and_then(plain));
        Self { paths: texts.collect() }
    }

    /// Whether an entry is wanted, or on the way to one that is.
    fn has(&self, path: &str) -> bool {
        let Some(paths) = &self.paths else { return true };
        paths.iter().any(|wanted| is_below(path, wanted) || is_below(wanted, path))
    }
}

/// The folder or file that a path leads to, up to its first pattern; `None` for the whole folder, and for what is no plain
/// path.
fn plain(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            return None;
        }
        if part.contains(['*', '?', '[', '\\']) {
            break;
        }
        parts.push(part);
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Whether a path is another one, or below it.
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Shared {
    /// Only what is wanted of the folder; all of it where a wanted path leads through a link.
    pub(crate) fn narrowed(&self, wanted: &Wanted) -> Self {
        let Some(paths) = &wanted.paths else { return self.clone() };
        let is_link = |entry: &Entry| matches!(entry.kind, EntryKind::Link { .. });
        if self.entries.iter().any(|entry| is_link(entry) && paths.iter().any(|path| is_below(path, &entry.path))) {
            return self.clone();
        }
        // The first name of a file must be told before the others.
        let shown = self.entries.iter().filter(|entry| wanted.has(&entry.path));
        let firsts: Vec<String> = shown.filter_map(|entry| entry.same_as.clone()).collect();
        let wanted = Wanted { paths: Some(paths.iter().cloned().chain(firsts).collect()) };
        let entries = self.entries.iter().filter(|entry| wanted.has(&entry.path)).cloned().collect();
        Self { entries: Arc::new(entries), ..self.clone() }
    }

    /// A folder of one file, which lies in memory. Its time is made of its content: BuildKit does not ask for a file again that
    /// has the size and the time of one that it was sent under the same key.
    pub(crate) fn of_text(name: String, text: Vec<u8>) -> Self {
        let kind = EntryKind::File { size: text.len() as u64 };
        let digest = Digest::of(&text);
        let fraction = digest.hex().get(16..24).and_then(|digits| i64::from_str_radix(digits, 16).ok());
        let fraction = fraction.unwrap_or_default() % 1_000_000_000;
        let modified = nanoseconds(i64::try_from(time_of(&digest)).unwrap_or_default(), fraction);
        let (path, found) = (name.clone(), Found::default());
        let entry = Entry { path, kind, mode: 0o644, modified, same_as: None, found };
        let texts = Arc::new(BTreeMap::from([(name, text)]));
        Self { root: PathBuf::new(), entries: Arc::new(vec![entry]), texts, note: None }
    }

    /// Reads the content of an entry. Of a file that is kept under a name that lasts, it has to be the content that goes with
    /// the state in which it was noted: one that was changed just now is read when the clock has moved on, so that whatever
    /// is changed afterwards shows, and one that was changed meanwhile ends the name.
    fn read(&self, entry: &Entry, take: impl FnOnce(&mut dyn io::Read) -> io::Result<()>) -> io::Result<()> {
        if let Some(text) = self.texts.get(&entry.path) {
            return take(&mut text.as_slice());
        }
        let mut file = File::open(self.root.join(&entry.path))?;
        let Some(note) = &self.note else { return take(&mut file) };
        if let Some(rest) = settles_in(entry.found.changed, SystemTime::now()) {
            std::thread::sleep(rest);
        }
        take(&mut file)?;
        if Found::of(&file.metadata()?) != entry.found {
            note.forget();
        }
        Ok(())
    }
}

/// Content travels in pieces of this size: BuildKit takes messages of up to 16 MiB.
const PIECE: usize = 256 * 1024;

/// Go's bit for a folder in a file's mode (<https://pkg.go.dev/io/fs#FileMode>).
pub(super) const GO_FOLDER: u32 = 1 << 31;
/// Go's bit for a symbolic link.
pub(super) const GO_LINK: u32 = 1 << 27;
/// Go's bit for set-user-id.
const GO_SETUID: u32 = 1 << 23;
/// Go's bit for set-group-id.
const GO_SETGID: u32 = 1 << 22;
/// Go's bit for sticky.
const GO_STICKY: u32 = 1 << 20;

/// Where packets go.
type Outgoing = mpsc::Sender<Result<Packet, Status>>;

/// Special bits of a mode, and Go's bits for them.
pub(super) const SPECIAL: [(u32, u32); 3] = [(0o4000, GO_SETUID), (0o2000, GO_SETGID), (0o1000, GO_STICKY)];

/// Sends a folder until the receiver has what it wants.
pub(crate) async fn send(shared: Shared, mut incoming: Streaming<Packet>, outgoing: Outgoing) {
    let announcing = tokio::spawn(announce(Arc::clone(&shared.entries), outgoing.clone()));
    let (asked, wanted) = mpsc::unbounded_channel();
    let reading = tokio::spawn(read(shared, wanted, outgoing.clone()));
    loop {
        // Otherwise the build is over, or it does not want the rest.
        let Ok(Some(packet)) = incoming.message().await else { break };
        match packet.r#type() {
            PacketType::PacketReq => drop(asked.send(packet.id)),
            PacketType::PacketFin => {
                let _ = outgoing.send(Ok(of_type(PacketType::PacketFin))).await;
                break;
            }
            _ => {}
        }
    }
    announcing.abort();
    reading.abort();
}

/// So many files are read at once, as Docker's own clients do it: a receiver may ask for all of them together.
const READERS: usize = 4;

/// Sends the content of the files that are asked for.
async fn read(shared: Shared, wanted: mpsc::UnboundedReceiver<u32>, outgoing: Outgoing) {
    let send_one = |id| {
        let (shared, outgoing) = (shared.clone(), outgoing.clone());
        tokio::task::spawn_blocking(move || content(&shared, id, &outgoing))
    };
    let wanted = UnboundedReceiverStream::new(wanted);
    wanted.for_each_concurrent(READERS, |id| send_one(id).map(drop)).await;
}

/// Tells of every entry, in order; the position of an entry is its id. An empty announcement ends the list.
async fn announce(entries: Arc<Vec<Entry>>, outgoing: Outgoing) {
    for entry in entries.iter() {
        let packet = Packet { stat: Some(stat(entry)), ..of_type(PacketType::PacketStat) };
        if outgoing.send(Ok(packet)).await.is_err() {
            return;
        }
    }
    let _ = outgoing.send(Ok(of_type(PacketType::PacketStat))).await;
}

/// Sends the content of a file; an empty piece ends it. Blocking work.
fn content(shared: &Shared, id: u32, outgoing: &Outgoing) {
    let Some(entry) = shared.entries.get(id as usize) else { return };
    let path = shared.root.join(&entry.path);
    let piece = |data: Vec<u8>| Ok(Packet { id, data, ..of_type(PacketType::PacketData) });
    let result = shared.read(entry, |file| {
        loop {
            let mut data = Vec::with_capacity(PIECE);
            file.take(PIECE as u64).read_to_end(&mut data)?;
            let complete = data.is_empty();
            if outgoing.blocking_send(piece(data)).is_err() || complete {
                return Ok(());
            }
        }
    });
    if let Err(error) = result {
        let message = format!("cannot read `{}`: {error}", path.display());
        let _ = outgoing.blocking_send(Err(Status::internal(message)));
    }
}

/// An entry as the receiver wants it: owned by root, as Docker's own clients say.
fn stat(entry: &Entry) -> Stat {
    let (kind, size, linkname) = match &entry.kind {
        EntryKind::Folder => (GO_FOLDER, 0, String::new()),
        EntryKind::Link { target } => (GO_LINK, target.len() as u64, target.clone()),
        EntryKind::File { size } => match &entry.same_as {
            Some(first) => (0, 0, first.clone()), // its content is never asked for
            None => (0, *size, String::new()),
        },
    };
    let special = SPECIAL.into_iter().filter(|(bit, _)| entry.mode & bit != 0).fold(0, |mode, (_, go)| mode | go);
    Stat {
        path: entry.path.clone(),
        mode: kind | special | (entry.mode & 0o777),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        mod_time: entry.modified,
        linkname,
        ..Stat::default()
    }
}

/// A packet of a kind, otherwise empty.
fn of_type(kind: PacketType) -> Packet {
    Packet { r#type: kind.into(), ..Packet::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of a folder is shown to a builder that asks for these paths; a path with an arrow is a link, one with an equals sign
    /// another name of a file.
    fn shown(entries: &[&str], paths: &[&str]) -> Vec<String> {
        let entry = |text: &&str| {
            let (kind, same_as) = match (text.split_once(" -> "), text.split_once(" = ")) {
                (Some((_, target)), _) => (EntryKind::Link { target: target.to_owned() }, None),
                (_, Some((_, first))) => (EntryKind::File { size: 1 }, Some(first.to_owned())),
                _ if text.ends_with('/') => (EntryKind::Folder, None),
                _ => (EntryKind::File { size: 1 }, None),
            };
            let path = text.split(' ').next().unwrap().trim_end_matches('/').to_owned();
            Entry { path, kind, mode: 0o644, modified: 7, same_as, found: Found::default() }
        };
        let entries = Arc::new(entries.iter().map(entry).collect());
        let shared = Shared { root: PathBuf::new(), entries, texts: Arc::default(), note: None };
        let mut request = MetadataMap::new();
        for path in paths {
            request.append("followpaths", path.parse().unwrap());
        }
        let shown = shared.narrowed(&Wanted::read(&request));
        shown.entries.iter().map(|entry| entry.path.clone()).collect()
    }

    #[test]
    fn a_builder_is_shown_what_it_asks_for() {
        let all = [".dockerignore", "a/", "a/b", "a/c/", "a/c/d", "ab", "z"];
        for (paths, wanted) in [
            (&[".dockerignore"][..], &[".dockerignore"][..]),
            (&["a/c", "z"], &["a", "a/c", "a/c/d", "z"]),
            (&["/a/c/"], &["a", "a/c", "a/c/d"]),
            (&["a/*.jar"], &["a", "a/b", "a/c", "a/c/d"]),
            (&["missing"], &[]),
        ] {
            assert_eq!(shown(&all, paths), wanted, "{paths:?}");
        }
        for paths in [&[][..], &["."], &["*"], &["a", "/"], &["../a"], &["[ab]/c", "z"]] {
            assert_eq!(shown(&all, paths).len(), all.len(), "{paths:?} is everything");
        }
    }

    #[test]
    fn what_is_not_understood_shows_everything() {
        for name in ["include-patterns", "followpaths-encoded"] {
            let mut request = MetadataMap::new();
            request.append("followpaths", "a".parse().unwrap());
            request.append(name, "1".parse().unwrap());
            assert_eq!(Wanted::read(&request), Wanted::default());
        }
    }

    #[test]
    fn links_and_second_names_are_shown_with_what_they_lead_to() {
        assert_eq!(shown(&["a -> b", "b/", "b/c", "z"], &["a/c"]).len(), 4, "the path leads through a link");
        assert_eq!(shown(&["a/", "a/l -> ../z", "y", "z"], &["a"]), ["a", "a/l"], "a link below it is copied as one");
        assert_eq!(
            shown(&["a/", "a/first", "b/", "b/second = a/first", "c"], &["b"]),
            ["a", "a/first", "b", "b/second"]
        );
    }

    #[tokio::test]
    async fn a_few_files_are_read_at_once_however_many_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let count = 100;
        for number in 0..count {
            std::fs::write(folder.path().join(format!("{number:03}")), vec![7; 3 * PIECE]).unwrap();
        }
        let context = super::super::context::read(folder.path(), &folder.path().join("Dockerfile"), true).unwrap();
        let shared = Shared { root: context.root, entries: context.entries, texts: Arc::default(), note: None };
        let (asked, wanted) = mpsc::unbounded_channel();
        (0..count).for_each(|id| asked.send(id).unwrap());
        drop(asked);
        let (outgoing, mut packets) = mpsc::channel(1);
        let reading = tokio::spawn(read(shared, wanted, outgoing));
        let (mut open, mut most, mut complete) = (std::collections::HashSet::new(), 0, 0);
        while let Some(packet) = packets.recv().await {
            let packet = packet.unwrap();
            if packet.data.is_empty() {
                assert!(open.remove(&packet.id));
                complete += 1;
            } else {
                open.insert(packet.id);
            }
            most = most.max(open.len());
        }
        reading.await.unwrap();
        assert_eq!(complete, count);
        assert!(most <= READERS, "{most} at once");
    }

    #[test]
    fn another_text_of_the_same_length_has_another_time() {
        let modified = |text: &str| Shared::of_text("Dockerfile".to_owned(), text.into()).entries[0].modified;
        assert_eq!(modified("RUN a"), modified("RUN a"));
        assert_ne!(modified("RUN a"), modified("RUN b"));
    }

    #[test]
    fn modes_are_gos() {
        let found = Found::default();
        let entry = |kind, mode| Entry { path: "x".to_owned(), kind, mode, modified: 7, same_as: None, found };
        assert_eq!(stat(&entry(EntryKind::File { size: 3 }, 0o4755)).mode, GO_SETUID | 0o755);
        assert_eq!(stat(&entry(EntryKind::Folder, 0o1777)).mode, GO_FOLDER | GO_STICKY | 0o777);
        let hard = Entry { same_as: Some("y".to_owned()), ..entry(EntryKind::File { size: 3 }, 0o644) };
        assert_eq!((stat(&hard).mode, stat(&hard).linkname.as_str(), stat(&hard).size), (0o644, "y", 0));
        let link = stat(&entry(EntryKind::Link { target: "to".to_owned() }, 0o777));
        assert_eq!((link.mode, link.linkname.as_str(), link.size), (GO_LINK | 0o777, "to", 2));
    }
}
