use super::*;
use crate::docker::gathered::{Gathered, brought, gather};
use crate::image::descriptor::media_type;
use crate::image::part::Verdict;
use crate::image::{Descriptor, KnownLayers, Part};
use flate2::write::GzEncoder;
use futures::FutureExt as _;
use std::io::Write as _;
use tokio::sync::mpsc;

/// The folder of an Engine.
struct Root {
    /// The folder.
    folder: tempfile::TempDir,
    /// The id of its image.
    id: Digest,
    /// The archives of the image's layers.
    layers: Vec<Vec<u8>>,
}

/// A file of a layer: its name and its content.
type Named<'a> = (&'a [u8], &'a [u8]);

/// The archive of these files, and what the Engine notes of it: all that is not content.
fn layer(files: &[Named<'_>]) -> (Vec<u8>, Vec<u8>) {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o640);
        header.set_size(content.len() as u64);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    let (mut lines, mut done) = (Vec::new(), 0);
    let mut line = |value: serde_json::Value| lines.extend(format!("{value}\n").bytes());
    let segment = |bytes: &[u8]| serde_json::json!({ "type": SEGMENT, "payload": STANDARD.encode(bytes) });
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let start = usize::try_from(entry.raw_file_position()).unwrap();
        line(segment(&archive[done..start]));
        let mut file = serde_json::json!({ "type": FILE, "size": entry.size(), "payload": "AAAAAAAAAAA=" });
        match std::str::from_utf8(&entry.path_bytes()) {
            Ok(name) => file["name"] = name.into(),
            Err(_) => file["name_raw"] = STANDARD.encode(entry.path_bytes()).into(),
        }
        line(file);
        done = start + usize::try_from(entry.size()).unwrap();
    }
    line(segment(&archive[done..]));
    (archive, lines)
}

impl Root {
    /// A folder with an image of these layers.
    fn new(layers: &[&[Named<'_>]]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("image/overlay2");
        let (mut archives, mut chain) = (Vec::new(), None::<String>);
        for (number, files) in layers.iter().enumerate() {
            let (archive, lines) = layer(files);
            let diff_id = Digest::of(&archive).to_string();
            let link =
                chain.map_or(diff_id.clone(), |chain| Digest::of(format!("{chain} {diff_id}").as_bytes()).to_string());
            let about = images.join("layerdb/sha256").join(link.trim_start_matches("sha256:"));
            fs::create_dir_all(&about).unwrap();
            fs::write(about.join("cache-id"), format!("layer{number}")).unwrap();
            let size: usize = files.iter().map(|(_, content)| content.len()).sum();
            fs::write(about.join("size"), size.to_string()).unwrap();
            let mut description = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            description.write_all(&lines).unwrap();
            fs::write(about.join("tar-split.json.gz"), description.finish().unwrap()).unwrap();
            for (name, content) in *files {
                let path = folder.path().join(format!("overlay2/layer{number}/diff")).join(OsStr::from_bytes(name));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            archives.push(archive);
            chain = Some(link);
        }
        let diff_ids: Vec<_> = archives.iter().map(|archive| Digest::of(archive)).collect();
        let rootfs = serde_json::json!({ "type": "layers", "diff_ids": diff_ids });
        let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs }).to_string();
        let id = Digest::of(config.as_bytes());
        fs::create_dir_all(images.join("imagedb/content/sha256")).unwrap();
        fs::write(images.join("imagedb/content/sha256").join(id.hex()), config).unwrap();
        Self { folder, id, layers: archives }
    }

    /// A path in it.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a push gets of the image, without what is known.
    async fn read(&self, known: KnownLayers) -> Result<Gathered, Error> {
        self.read_into(known, &[]).await
    }

    /// The same where these blobs are there.
    async fn read_into(&self, known: KnownLayers, there: &[Digest]) -> Result<Gathered, Error> {
        let expected = Expected { known, ..Expected::default() };
        let found = find(self.folder.path(), &self.id, expected).map_err(|error| unusable(error.to_string()))?;
        let (sender, parts) = mpsc::channel(1);
        let reading = tokio::task::spawn_blocking(move || found.read(&sender));
        let gathered = gather(parts, there).await;
        reading.await.unwrap().and(gathered)
    }

    /// Why the image cannot be read.
    async fn refusal(&self) -> String {
        self.read(KnownLayers::default()).await.unwrap_err().to_string()
    }
}

#[tokio::test]
async fn layers_come_as_they_were_bit_for_bit() {
    let large = vec![b'x'; 3 * PIECE + 1];
    let exact = vec![b'y'; PIECE - 512];
    let root = Root::new(&[
        &[(b"usr/lib/large", &large), (b"usr/empty", b""), (b"name of \xff\xfe", b"not UTF-8")],
        &[(b"exact", &exact)],
    ]);
    let got = root.read(KnownLayers::default()).await.unwrap();
    assert_eq!(got.plain_layers(), root.layers.iter().map(|layer| Some(layer.clone())).collect::<Vec<_>>());
    assert_eq!((got.layers.all, got.layers.known), (2, 0));
    assert_eq!(got.read().config.digest, root.id, "the image keeps its id");
}

#[tokio::test]
async fn what_the_registry_has_is_not_even_looked_at_and_what_comes_twice_comes_once() {
    let root = Root::new(&[&[(b"a", b"base")], &[(b"b", b"new")], &[(b"b", b"new")]]);
    fs::remove_dir_all(root.path("overlay2/layer0")).unwrap();
    let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"compressed elsewhere"), 7);
    let known = KnownLayers::new([(Digest::of(&root.layers[0]), blob.clone())]);
    let got = root.read(known).await.unwrap();
    assert_eq!((got.layers.all, got.layers.known, got.blobs.len(), got.given_up), (3, 1, 2, 0));
    assert_eq!(got.read().layers[0], blob);
    assert_eq!(got.plain_layers()[1..], [Some(root.layers[1].clone()), Some(root.layers[1].clone())]);
}

#[tokio::test]
async fn a_layer_that_another_image_brings_is_not_even_read() {
    let root = Root::new(&[&[(b"a", b"base")], &[(b"b", b"new")]]);
    fs::remove_file(root.path("overlay2/layer0/diff/a")).unwrap();
    let base = Digest::of(&root.layers[0]);
    let got = root.read_into(KnownLayers::default(), &[brought(&base).digest]).await.unwrap();
    assert_eq!((got.read().layers[0].clone(), got.put_off.len(), got.given_up), (brought(&base), 1, 0));
    assert_eq!(got.plain_layers(), [None, Some(root.layers[1].clone())]);
}

#[tokio::test]
async fn what_another_image_brings_keeps_no_other_layer_waiting_and_nobody_who_is_not_wanted_any_more() {
    let root = Root::new(&[&[(b"a", b"base")], &[(b"b", b"new")]]);
    let found = find(root.folder.path(), &root.id, Expected::default()).unwrap();
    let (sender, mut parts) = mpsc::channel(1);
    let reading = tokio::task::spawn_blocking(move || found.read(&sender));
    let mut promised = Vec::new();
    while promised.len() < 2 {
        let Some(Ok(Part::Promise { layer, about, answer })) = parts.recv().await else { panic!("no promise") };
        promised.push((layer.diff_id, about));
        answer.send(Verdict::Later(std::future::pending().boxed())).unwrap();
    }
    let diff_ids = root.layers.iter().map(|layer| Digest::of(layer));
    assert_eq!(promised, std::iter::zip(diff_ids, [Some(4), Some(3)]).collect::<Vec<_>>());
    drop(parts);
    assert!(matches!(reading.await.unwrap(), Err(Error::Cancelled)));
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_configuration_says_is_no_part_of_an_image() {
    let root = Root::new(&[&[(b"etc/passwd", b"root")]]);
    fs::write(root.path("overlay2/layer0/diff/etc/passwd"), b"toor").unwrap();
    assert!(root.refusal().await.contains("a layer that should be"), "{}", root.refusal().await);
    fs::write(root.path("overlay2/layer0/diff/etc/passwd"), b"ro").unwrap();
    assert!(root.refusal().await.contains("cannot be read"), "{}", root.refusal().await);
}

#[tokio::test]
async fn what_is_read_keeps_the_time_when_it_was_read_last() {
    let root = Root::new(&[&[(b"usr/bin/app", b"program")]]);
    let layer = root.path("image/overlay2/layerdb/sha256").join(Digest::of(&root.layers[0]).hex());
    let files = [
        root.path("image/overlay2/imagedb/content/sha256").join(root.id.hex()),
        layer.join("cache-id"),
        layer.join("tar-split.json.gz"),
        root.path("overlay2/layer0/diff/usr/bin/app"),
    ];
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    for file in &files {
        File::options().write(true).open(file).unwrap().set_times(fs::FileTimes::new().set_accessed(long_ago)).unwrap();
    }
    assert_eq!(root.read(KnownLayers::default()).await.unwrap().plain_layers().len(), 1);
    for file in &files {
        assert_eq!(file.metadata().unwrap().accessed().unwrap(), long_ago, "{}", file.display());
    }
}

#[tokio::test]
async fn nothing_is_read_through_links() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("passwd"), b"root").unwrap();
    let root = Root::new(&[&[(b"etc/passwd", b"root")]]);
    let files = root.path("overlay2/layer0/diff");
    fs::remove_dir_all(files.join("etc")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), files.join("etc")).unwrap();
    assert!(root.refusal().await.contains("below something that is no folder"), "{}", root.refusal().await);
    fs::remove_file(files.join("etc")).unwrap();
    fs::create_dir(files.join("etc")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("passwd"), files.join("etc/passwd")).unwrap();
    assert!(root.refusal().await.contains("a file is something else"), "{}", root.refusal().await);
    let mut upwards = Archive::new(&files, |_| Ok(()));
    assert!(upwards.open(Path::new("etc/../../secret")).is_err());
}

#[tokio::test]
async fn a_folder_that_lacks_something_shows_it_before_anything_is_pushed() {
    let root = Root::new(&[&[(b"a", b"a")]]);
    let config = root.path("image/overlay2/imagedb/content/sha256").join(root.id.hex());
    let find = || find(root.folder.path(), &root.id, Expected::default());
    assert!(find().is_ok());
    let about = root.path("image/overlay2/layerdb/sha256").join(Digest::of(&root.layers[0]).hex());
    for (path, content) in [(about.join("cache-id"), "../elsewhere"), (config.clone(), "{}")] {
        let before = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        assert!(find().is_err(), "{content}");
        fs::write(&path, before).unwrap();
    }
    for path in [about.join("tar-split.json.gz"), about.join("cache-id"), config] {
        let hidden = path.with_extension("hidden");
        fs::rename(&path, &hidden).unwrap();
        assert!(find().is_err(), "{}", path.display());
        fs::rename(&hidden, &path).unwrap();
    }
    fs::remove_dir_all(root.path("overlay2/layer0")).unwrap();
    assert!(find().is_err());
}
