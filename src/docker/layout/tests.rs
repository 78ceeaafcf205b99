use super::*;
use crate::docker::gathered::{Gathered, gather};
use crate::image::descriptor::media_type;
use std::io::Write as _;
use tokio::sync::mpsc;

/// The files of a layout, by name.
type Contents = Vec<(String, Vec<u8>)>;

/// What is done to the files of a layout.
type Change = fn(&mut Contents);

/// What gzip makes of it.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A configuration of these layers.
fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let rootfs = serde_json::json!({ "type": "layers", "diff_ids": diff_ids });
    serde_json::to_vec(&serde_json::json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs })).unwrap()
}

/// A blob as a file.
fn blob(bytes: &[u8]) -> (String, Vec<u8>) {
    (blob_name(&Digest::of(bytes)), bytes.to_vec())
}

/// An OCI layout of two layers, compressed or not, in an index that has an image for another platform and an attestation.
fn oci(compressed: bool) -> (Contents, Digest) {
    let plain: [&[u8]; 2] = [b"one", b"two"];
    let layers = plain.map(|layer| if compressed { gzip(layer) } else { layer.to_vec() });
    let kind = if compressed { media_type::OCI_LAYER_GZIP } else { "application/vnd.oci.image.layer.v1.tar" };
    let describe = |kind: &str, bytes: &[u8]| Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
    let config = config(&plain);
    let manifest = Manifest::new(
        describe(media_type::OCI_CONFIG, &config),
        layers.iter().map(|layer| describe(kind, layer)).collect(),
    );
    let manifest = manifest.to_bytes().unwrap();
    let entry = |digest: &Digest, os: &str, architecture: &str| serde_json::json!({ "digest": digest, "size": 1, "platform": { "os": os, "architecture": architecture } });
    let digest = Digest::of(&manifest);
    let other = Digest::of(b"other");
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [
        entry(&other, "linux", "arm64"), entry(&digest, "linux", "amd64"), entry(&other, "unknown", "unknown"),
    ]});
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.to_string().into_bytes()),
    ];
    files.extend([blob(&config), blob(&manifest), blob(&layers[0]), blob(&layers[1])]);
    (files, digest)
}

/// What `docker save` writes of an image whose first layer stands in it twice.
fn docker() -> Contents {
    let config = config(&[b"one", b"two", b"one"]);
    let list = br#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["1/layer.tar","2/layer.tar","3/layer.tar"]}]"#;
    let files: [(&str, &[u8]); 5] = [
        ("1/layer.tar", b"one"),
        ("2/layer.tar", b"two"),
        ("3/layer.tar", b"one"),
        ("c.json", &config),
        ("manifest.json", list),
    ];
    files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).into()
}

/// The files in a folder.
fn folder(files: &Contents) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

/// The files in an archive; names begin with `./`, as those of `tar -C FOLDER .` do.
fn archive(files: &Contents) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, format!("./{name}"), content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A file with this content.
fn file(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

/// What a push gets of a layout.
async fn taken(path: &Path, known: KnownLayers) -> Result<Gathered, Error> {
    let (told, _news) = mpsc::unbounded_channel();
    gather(take(path.to_owned(), Platform::default(), known, told).parts, &[]).await
}

/// The error of a layout, which its identity has too.
async fn refused(path: &Path) -> String {
    let error = taken(path, KnownLayers::default()).await.unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    error.to_string().split_once("cannot be read as an image: ").unwrap().1.to_owned()
}

#[tokio::test]
async fn a_compressed_layout_is_pushed_as_it_is_from_a_folder_and_from_an_archive() {
    let (files, digest) = oci(true);
    let (folder, tar, gzipped) = (folder(&files), file(&archive(&files)), file(&gzip(&archive(&files))));
    for path in [folder.path(), tar.path(), gzipped.path()] {
        let got = taken(path, KnownLayers::default()).await.unwrap();
        assert_eq!((Digest::of(&got.manifest), got.blobs.len()), (digest.clone(), 3), "{}", path.display());
        assert_eq!(got.plain_layers(), [Some(b"one".to_vec()), Some(b"two".to_vec())]);
    }
    for path in [folder.path(), tar.path()] {
        assert_eq!(identify(path, &Platform::default()).unwrap(), Identity::Manifest(digest.clone()));
    }
    assert!(matches!(identify(gzipped.path(), &Platform::default()).unwrap(), Identity::Content(_)));
}

#[tokio::test]
async fn plain_layers_are_compressed_and_known_ones_left_out() {
    let (files, digest) = oci(false);
    let (folder, there) = (folder(&files), Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"there"), 5));
    let got = taken(folder.path(), KnownLayers::new([(Digest::of(b"one"), there.clone())])).await.unwrap();
    assert_eq!((got.read().layers[0].digest.clone(), got.blobs.len()), (there.digest, 2));
    assert_eq!(got.plain_layers()[1], Some(b"two".to_vec()));
    assert_ne!(Digest::of(&got.manifest), digest);
    let id = Identity::Content(got.read().config.digest);
    assert_eq!(identify(folder.path(), &Platform::default()).unwrap(), id);
}

#[tokio::test]
async fn what_docker_saves_is_read_from_a_folder_an_archive_and_a_gzipped_one() {
    let files = docker();
    let (folder, tar, gzipped) = (folder(&files), file(&archive(&files)), file(&gzip(&archive(&files))));
    for path in [folder.path(), tar.path(), gzipped.path()] {
        let got = taken(path, KnownLayers::default()).await.unwrap();
        assert_eq!(got.plain_layers(), [b"one", b"two", b"one"].map(|layer| Some(layer.to_vec())));
        assert_eq!(got.blobs.len(), 3);
    }
}

#[tokio::test]
async fn links_in_an_archive_are_followed() {
    let mut files = docker();
    let third = files.remove(2).0;
    let mut start = archive(&files);
    start.truncate(start.len() - 1024); // the end of the archive
    let mut builder = tar::Builder::new(start);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, &third, "../1/layer.tar").unwrap();
    let archive = file(&builder.into_inner().unwrap());
    let files = Files::open(archive.path()).unwrap();
    assert_eq!(files.find(&third), files.find("1/layer.tar"));
    assert_eq!(taken(archive.path(), KnownLayers::default()).await.unwrap().layers.all, 3);
}

#[tokio::test]
async fn another_platform_is_an_error_that_names_those_that_are_there() {
    let (files, _) = oci(true);
    let folder = folder(&files);
    let wanted = Platform::parse("linux/s390x").unwrap();
    let error = identify(folder.path(), &wanted).unwrap_err();
    assert_eq!(error.to_string(), "the image is for linux/arm64 and linux/amd64, and linux/s390x was asked for");
}

#[tokio::test]
async fn what_is_broken_is_said_in_one_sentence() {
    let (files, digest) = oci(true);
    let cases: [(&str, Change, &str); 6] = [
        ("no layer", |files| drop(files.pop()), "its layer {2} is missing"),
        ("short layer", |files| files[5].1.truncate(22), "its layer {2} has 22 bytes, and its manifest says 23"),
        ("other manifest", |files| files[3].1.push(b' '), "the content of `{m}` does not have that digest"),
        (
            "no index",
            |files| drop(files.remove(1)),
            "it has neither index.json nor manifest.json: it is no OCI layout and no docker-archive",
        ),
        (
            "no JSON",
            |files| files[1].1 = b"{".to_vec(),
            "its index cannot be read: EOF while parsing an object at line 1 column 1",
        ),
        (
            "no image",
            |files| files[1].1 = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec(),
            "its index names no image",
        ),
    ];
    for (name, change, message) in cases {
        let mut changed = files.clone();
        change(&mut changed);
        let layer = Digest::of(&files[5].1);
        let message = message.replace("{2}", layer.short()).replace("{m}", &blob_name(&digest));
        let (folder, tar) = (folder(&changed), file(&archive(&changed)));
        assert_eq!(refused(folder.path()).await, message, "{name}");
        assert_eq!(refused(tar.path()).await, message, "{name} in an archive");
    }
}

#[tokio::test]
async fn a_plain_layer_that_is_not_what_its_name_says_is_refused() {
    let (mut files, _) = oci(false);
    files[5].1 = b"owt".to_vec();
    let message = refused(folder(&files).path()).await;
    assert!(message.starts_with("a layer that should be"), "{message}");
}

#[tokio::test]
async fn archives_that_break_off_or_are_none_are_refused() {
    let whole = archive(&oci(true).0);
    let cut = refused(file(&whole[..whole.len() / 2]).path()).await;
    assert!(cut.starts_with("it is no whole tar archive"), "{cut}");
    let gzipped = gzip(&whole);
    let cut = refused(file(&gzipped[..gzipped.len() / 2]).path()).await;
    assert!(cut.starts_with("its archive breaks off"), "{cut}");
    assert!(refused(file(b"hello").path()).await.contains("no whole tar archive"));
    let noise: Vec<u8> = (0..2048_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let noise = refused(file(&noise).path()).await;
    assert!(
        noise.contains("no whole tar archive") && noise.chars().all(|c| !c.is_control()) && noise.is_ascii(),
        "{noise}"
    );
    assert!(refused(file(b"").path()).await.contains("it holds no files"));
    let zstd = refused(file(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0]).path()).await;
    assert_eq!(zstd, "it is compressed with zstd; gzip or no compression can be read");
}
