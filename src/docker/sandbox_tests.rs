//! What crosses the wire to real builders, counted on the way.
//!
//! Run inside of the sandbox's environment: `eval "$(sandbox env)"; cargo test --lib sandbox_tests -- --ignored`.

use super::address::{Address, connect};
use super::builder::Builder;
use super::buildkit::BuildRequest;
use super::context;
use super::fresh_id::fresh_id;
use super::gathered::gather;
use crate::image::KnownLayers;
use crate::model::{Environment, Platform};
use futures::FutureExt as _;
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Files of a context.
const FILES: usize = 300;

/// The length of each in bytes.
const LENGTH: usize = 10_000;

/// Copies all files.
const ALL_OF_IT: &str = "FROM scratch\nCOPY . /app/\n";

/// What the sandbox's environment says.
fn of_sandbox(variable: &str) -> String {
    let found = std::env::vars_os().find(|(name, _)| name == variable);
    found.expect("the sandbox's environment").1.into_string().unwrap()
}

/// Passes connections on to a builder, and counts the bytes that go to it.
async fn pass_on(listener: UnixListener, to: String, sent: Arc<AtomicU64>) {
    let mut tasks = JoinSet::new();
    while let Ok((ours, _)) = listener.accept().await {
        let theirs = connect(&Address::parse(&to, "the sandbox").unwrap(), "the builder").await.unwrap();
        let ((our_reader, mut our_writer), sent) = (ours.into_split(), Arc::clone(&sent));
        let (mut their_reader, their_writer) = tokio::io::split(theirs);
        tasks.spawn(count(our_reader, their_writer, sent));
        tasks.spawn(async move { drop(tokio::io::copy(&mut their_reader, &mut our_writer).await) });
    }
}

/// Passes bytes on and counts them.
async fn count(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, sent: Arc<AtomicU64>) {
    let mut piece = vec![0; 100_000];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        sent.fetch_add(length as u64, Ordering::Relaxed);
        to.write_all(&piece[..length]).await.unwrap();
        to.flush().await.unwrap();
    }
    let _ = to.shutdown().await;
}

/// A user who builds.
struct Case {
    /// Has the context, a home, and the place where we listen.
    folder: tempfile::TempDir,
    /// Builds by way of us.
    builder: Builder,
    /// The same without a home: sends everything.
    forgetful: Builder,
    /// How many bytes went to the builder.
    sent: Arc<AtomicU64>,
    /// Passes on.
    _tasks: JoinSet<()>,
}

/// A file in an image: its kind, its mode, its content or where it leads.
type InImage = (u8, u32, Vec<u8>);

impl Case {
    /// A user of the builder that a variable names, with a context of many files that no builder has seen.
    fn new(variable: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (to, socket) = (of_sandbox(variable), folder.path().join("socket"));
        let listener = UnixListener::bind(&socket).unwrap();
        let (sent, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        tasks.spawn(pass_on(listener, to, Arc::clone(&sent)));
        let host = (variable.to_owned(), format!("unix://{}", socket.display()));
        let home = ("HOME".to_owned(), folder.path().display().to_string());
        let builder = Builder::new(&Environment::new([host.clone(), home]));
        let case = Self { folder, builder, forgetful: Builder::new(&Environment::new([host])), sent, _tasks: tasks };
        for number in 0..FILES {
            case.write(&format!("{}/{number:03}", number % 10), number);
        }
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("context").join(name)
    }

    /// Writes a file of random bytes that say in the beginning which content it is.
    fn write(&self, name: &str, content: usize) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = format!("{content:08}").into_bytes();
        std::fs::File::open("/dev/urandom").unwrap().take(LENGTH as u64).read_to_end(&mut bytes).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn request(&self, dockerfile: &str) -> BuildRequest {
        let root = self.folder.path().join("context");
        let dockerfile_path = root.join("Dockerfile");
        BuildRequest {
            context: context::read(&root, &dockerfile_path, true).unwrap(),
            dockerfile: dockerfile_path,
            dockerfile_text: dockerfile.as_bytes().to_vec(),
            target: None,
            args: BTreeMap::new(),
            secrets: BTreeMap::new(),
            platform: Platform::default(),
            anew: false,
            logins: Arc::new(|_| async { None }.boxed()),
            content_key: fresh_id(),
        }
    }

    /// Builds, compares with what lies here, and gives the layers and how many bytes went to the builder.
    async fn build(&self, builder: &Builder, dockerfile: &str) -> (Vec<Vec<u8>>, u64) {
        let before = self.sent.load(Ordering::Relaxed);
        let (progress, _said) = mpsc::unbounded_channel();
        let built = builder.build(self.request(dockerfile), KnownLayers::default(), progress);
        let image = gather(built.parts, &[]).await.unwrap();
        let layers: Vec<Vec<u8>> = image.plain_layers().into_iter().map(Option::unwrap).collect();
        assert_eq!(in_layers(&layers), self.here(), "{dockerfile}");
        (layers, self.sent.load(Ordering::Relaxed) - before)
    }

    /// The files of the context as an image should have them.
    fn here(&self) -> BTreeMap<String, InImage> {
        let found = context::read(&self.path(""), Path::new("Dockerfile"), true).unwrap();
        let file = |entry: &context::Entry| {
            let path = found.root.join(&entry.path);
            let (kind, content) = match &entry.kind {
                context::EntryKind::Folder => return None,
                context::EntryKind::Link { target } => (b'2', target.clone().into_bytes()),
                context::EntryKind::File { .. } => (b'0', std::fs::read(path).unwrap()),
            };
            Some((entry.path.clone(), (kind, entry.mode, content)))
        };
        found.entries.iter().filter_map(file).collect()
    }
}

/// The files in `/app` of an image. Names of one file are all files.
fn in_layers(layers: &[Vec<u8>]) -> BTreeMap<String, InImage> {
    let mut files: BTreeMap<String, InImage> = BTreeMap::new();
    for layer in layers {
        for entry in tar::Archive::new(layer.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = |path: &Path| path.strip_prefix("app").ok().map(|path| path.to_string_lossy().into_owned());
            let Some(path) = name(&entry.path().unwrap()) else { continue };
            let link = entry.link_name().unwrap().map(std::borrow::Cow::into_owned);
            let mode = entry.header().mode().unwrap() & 0o7777;
            let file = match (entry.header().entry_type(), link) {
                (tar::EntryType::Regular, _) => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content).unwrap();
                    (b'0', mode, content)
                }
                (tar::EntryType::Symlink, Some(to)) => (b'2', mode, to.to_string_lossy().into_owned().into_bytes()),
                (tar::EntryType::Link, Some(to)) => files[&name(&to).unwrap()].clone(),
                _ => continue,
            };
            files.insert(path, file);
        }
    }
    files
}

/// So many bytes are few: less than the tenth part of the files, and room for what is told of each.
const FEW: u64 = (FILES * LENGTH / 10) as u64;

/// All files are more.
const ALL: u64 = (FILES * LENGTH) as u64;

/// What a builder is sent after each of the changes that people make.
async fn only_what_changes_is_sent(variable: &str) {
    let case = Case::new(variable);
    let (_, sent) = case.build(&case.builder, ALL_OF_IT).await;
    assert!(sent > ALL, "{sent} bytes for the first time");
    let steps: [(&str, &dyn Fn()); 7] = [
        ("a file has another content", &|| case.write("3/003", 1)),
        ("one is new", &|| case.write("3/new/new", 2)),
        ("one is gone", &|| std::fs::remove_file(case.path("4/004")).unwrap()),
        ("another mode", &|| std::fs::set_permissions(case.path("5/005"), Permissions::from_mode(0o750)).unwrap()),
        ("a link", &|| symlink("../5/005", case.path("6/link")).unwrap()),
        ("it leads elsewhere", &|| {
            std::fs::remove_file(case.path("6/link")).unwrap();
            symlink("../5/015", case.path("6/link")).unwrap();
        }),
        ("a folder is gone, and a file is a folder", &|| {
            std::fs::remove_dir_all(case.path("0")).unwrap();
            std::fs::remove_file(case.path("1/001")).unwrap();
            case.write("1/001/inside", 3);
        }),
    ];
    for (what, change) in steps {
        change();
        let (_, sent) = case.build(&case.builder, ALL_OF_IT).await;
        assert!(sent < FEW, "{what}: {sent} bytes");
    }
    let time = case.path("3/003").metadata().unwrap().modified().unwrap();
    case.write("3/003", 4);
    std::fs::File::options().write(true).open(case.path("3/003")).unwrap().set_modified(time).unwrap();
    let (_, sent) = case.build(&case.builder, ALL_OF_IT).await;
    assert!(sent > ALL * 8 / 10, "{sent} bytes where a builder could not see the change");
    std::fs::hard_link(case.path("7/007"), case.path("8/same")).unwrap();
    case.build(&case.builder, ALL_OF_IT).await;
    case.write("7/007", 5);
    let (_, sent) = case.build(&case.builder, ALL_OF_IT).await;
    assert!(sent < FEW, "{sent} bytes for a file of two names");
}

/// Builds do not disturb each other, whether they run at the same time or one after the other.
async fn builds_have_their_own_files(variable: &str) {
    let (case, other) = (Case::new(variable), Case::new(variable));
    for round in 0..2 {
        case.write("3/003", round);
        other.write("3/003", 100 + round);
        tokio::join!(
            case.build(&case.builder, ALL_OF_IT),
            case.build(&case.builder, "FROM scratch\nCOPY . /app\n"),
            other.build(&other.builder, ALL_OF_IT),
        );
    }
}

/// The files of an image are the same, with their times, whether they were sent now or before. A folder in which something has
/// changed has the time at which the builder was sent that, as it has with Docker's clients, and the context itself always.
async fn the_image_is_the_same(variable: &str) {
    let case = Case::new(variable);
    case.build(&case.builder, ALL_OF_IT).await;
    case.write("3/003", 1);
    let (one, sent) = case.build(&case.builder, ALL_OF_IT).await;
    assert!(sent < FEW, "{sent} bytes");
    // Another text, so that it does not come from the cache.
    let (other, sent) = case.build(&case.forgetful, "FROM scratch\nCOPY --chown=0:0 . /app/\n").await;
    assert!(sent > ALL, "{sent} bytes");
    let times = |layers: &[Vec<u8>]| {
        let mut archive = tar::Archive::new(layers[0].as_slice());
        let files = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            (path, entry.header().mtime().unwrap())
        });
        files.collect::<BTreeMap<_, _>>()
    };
    let (one, other) = (times(&one), times(&other));
    assert!(one.len() > FILES && one.keys().eq(other.keys()));
    let differs = |(path, time): &(&String, &u64)| other[*path] != **time;
    let differ: Vec<_> = one.iter().filter(differs).map(|(path, _)| path.as_str()).collect();
    // Both may have been made within a second.
    assert!(differ.iter().all(|path| ["app/", "app/3/"].contains(path)), "{differ:?}");
}

#[tokio::test]
#[ignore = "needs the sandbox"]
async fn buildkitd_is_sent_what_has_changed() {
    only_what_changes_is_sent("BUILDKIT_HOST").await;
}

#[tokio::test]
#[ignore = "needs the sandbox"]
async fn builds_in_buildkitd_have_their_own_files() {
    builds_have_their_own_files("BUILDKIT_HOST").await;
}

#[tokio::test]
#[ignore = "needs the sandbox"]
async fn an_image_from_buildkitd_is_the_same() {
    the_image_is_the_same("BUILDKIT_HOST").await;
}

#[tokio::test]
#[ignore = "needs the sandbox"]
async fn an_engine_is_sent_what_has_changed() {
    only_what_changes_is_sent("DOCKER_HOST").await;
}
