use super::*;
use crate::docker::gathered::{Gathered, brought, gather};
use crate::image::compress::compress;
use crate::image::{ImageConfig, Manifest};
use crate::model::Compression;

/// An archive of these files; a name with an arrow is a link.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        if let Some((name, target)) = name.split_once(" -> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
        } else {
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, *content).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// What a push gets of an archive.
async fn taken(archive: Vec<u8>, expected: Expected, there: &[Digest]) -> Result<Gathered, Error> {
    let (sender, parts) = mpsc::channel(1);
    let reading = tokio::task::spawn_blocking(move || read(archive.as_slice(), &expected, &sender));
    let gathered = gather(parts, there).await;
    reading.await.unwrap().and(gathered)
}

/// With layers that the registry has.
fn known(layers: &[(&[u8], &Descriptor)]) -> Expected {
    let layers = layers.iter().map(|(layer, blob)| (Digest::of(layer), (*blob).clone()));
    Expected { known: KnownLayers::new(layers), ..Expected::default() }
}

/// A blob that somebody else compressed.
fn blob_elsewhere() -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"compressed elsewhere"), 7)
}

/// A configuration of these layers.
fn config(layers: &[&[u8]], architecture: &str) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    serde_json::to_vec(&config).unwrap()
}

/// An archive as Docker 20 to 24 saves it; the first layer stands twice in the image, the second time as a link.
fn legacy(architecture: &str) -> Vec<u8> {
    let config = config(&[b"one", b"two", b"one"], architecture);
    let manifest = br#"[{"Config":"cfg.json","RepoTags":null,"Layers":["b/layer.tar","a/layer.tar","c/layer.tar"]}]"#;
    archive(&[
        ("a/VERSION", b"1.0"),
        ("a/json", b"{}"),
        ("a/layer.tar", b"two"),
        ("b/layer.tar", b"one"),
        ("c/layer.tar -> ../b/layer.tar", b""),
        ("cfg.json", &config),
        ("manifest.json", manifest),
    ])
}

#[tokio::test]
async fn the_form_of_docker_24_is_read_in_the_order_of_the_configuration() {
    let got = taken(legacy("amd64"), Expected::default(), &[]).await.unwrap();
    assert_eq!((got.layers.all, got.layers.known, got.blobs.len()), (3, 0, 3));
    assert_eq!(got.plain_layers(), [b"one", b"two", b"one"].map(|layer| Some(layer.to_vec())));
    assert_eq!(got.read().config.digest, Digest::of(&config(&[b"one", b"two", b"one"], "amd64")));
}

#[tokio::test]
async fn a_known_layer_that_shows_itself_at_its_end_is_given_up() {
    let blob = blob_elsewhere();
    let got = taken(legacy("amd64"), known(&[(b"one", &blob)]), &[]).await.unwrap();
    assert_eq!((got.layers.known, got.given_up, got.blobs.len()), (2, 1, 2));
    assert_eq!(got.read().layers[0], blob);
}

#[tokio::test]
async fn a_known_layer_in_a_folder_of_a_known_name_is_passed_over_unread() {
    let layers = [b"one".as_slice(), b"two", b"three"].map(Digest::of);
    let names = Names::of(&layers);
    let folder = |layer: &Digest| names.folders().into_iter().find(|(_, found)| found == layer).unwrap().0;
    let (first, second) = (folder(&layers[0]), folder(&layers[1]));
    let config = config(&[b"one", b"two", b"three"], "amd64");
    let parent = format!(r#"{{"parent":"{second}"}}"#);
    let (first, second) = (format!("{first}/layer.tar"), format!("{second}/layer.tar"));
    let manifest =
        serde_json::json!([{ "Config": "cfg.json", "Layers": [first, second, "top/layer.tar"] }]).to_string();
    // What stands in their places would be other layers if anybody read it.
    let archive = archive(&[
        (&first, b"unread"),
        (&second, b"two"),
        ("top/json", parent.as_bytes()),
        ("top/layer.tar", b"unread"),
        ("cfg.json", &config),
        ("manifest.json", manifest.as_bytes()),
    ]);
    let blob = blob_elsewhere();
    let expected = Expected { layers: layers.to_vec(), ..known(&[(b"one", &blob), (b"three", &blob)]) };
    let got = taken(archive, expected, &[]).await.unwrap();
    assert_eq!((got.given_up, got.blobs.len(), got.layers.known), (0, 2, 2));
    assert_eq!(got.plain_layers(), [None, Some(b"two".to_vec()), None]);
}

#[tokio::test]
async fn an_image_for_another_platform_is_refused() {
    let error = taken(legacy("arm64"), Expected::default(), &[]).await.unwrap_err().to_string();
    assert_eq!(error, "the image is for linux/arm64, and linux/amd64 was asked for");
}

/// The name of a blob in a layout.
fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

#[tokio::test]
async fn the_form_of_docker_25_is_read_by_the_names_of_its_blobs() {
    let config = config(&[b"one", b"two"], "amd64");
    let plain =
        |bytes: &[u8]| Descriptor::new("application/vnd.oci.image.layer.v1.tar", Digest::of(bytes), bytes.len() as u64);
    let describe = Descriptor::new(media_type::OCI_CONFIG, Digest::of(&config), config.len() as u64);
    let inner = Manifest::new(describe, vec![plain(b"one"), plain(b"two")]).to_bytes().unwrap();
    let index = serde_json::json!({ "manifests": [{ "digest": Digest::of(&inner), "size": inner.len() }] }).to_string();
    let list = format!(r#"[{{"Config":"{}","Layers":["{}"]}}]"#, blob(&config), blob(b"one"));
    let files: [(&str, &[u8]); 6] = [
        (&blob(b"one"), b"one"),
        (&blob(b"two"), b"two"),
        (&blob(&config), &config),
        (&blob(&inner), &inner),
        ("index.json", index.as_bytes()),
        ("manifest.json", list.as_bytes()),
    ];
    let there = blob_elsewhere();
    let got = taken(archive(&files), known(&[(b"one", &there)]), &[]).await.unwrap();
    assert_eq!((got.layers.all, got.layers.known, got.blobs.len()), (2, 1, 2));
    assert_eq!((got.read().layers[0].clone(), got.given_up), (there, 0));
    assert_eq!(got.plain_layers()[1], Some(b"two".to_vec()));
    // Another image of the run brings the first one.
    let there = brought(&Digest::of(b"one"));
    let got = taken(archive(&files), Expected::default(), std::slice::from_ref(&there.digest)).await.unwrap();
    assert_eq!((got.read().layers[0].clone(), got.put_off.len(), got.blobs.len()), (there, 1, 2));
    assert_eq!(got.plain_layers()[1], Some(b"two".to_vec()));
    // A layer that is not what its name says is nobody's.
    let files = files.map(|(name, bytes)| (name, if bytes == b"one" { b"000" } else { bytes }));
    let error = taken(archive(&files), Expected::default(), &[]).await.unwrap_err().to_string();
    assert!(error.contains("a layer that should be"), "{error}");
}

/// An archive as Docker's containerd store saves it, with the bytes of its manifest and its layer.
fn containerd() -> (Vec<u8>, Vec<u8>, Bytes) {
    let (layer, bytes) = compress(Compression::default(), &mut b"one".as_slice()).unwrap();
    let config = config(&[b"one"], "amd64");
    let describe = Descriptor::new(media_type::OCI_CONFIG, Digest::of(&config), config.len() as u64);
    let inner = Manifest::new(describe, vec![layer.descriptor.clone()]).to_bytes().unwrap();
    let platform = serde_json::json!({ "os": "linux", "architecture": "amd64" });
    let entry = |bytes: &[u8], platform: serde_json::Value| serde_json::json!({ "manifests": [{ "digest": Digest::of(bytes), "size": bytes.len(), "platform": platform }] });
    let nested = entry(&inner, platform).to_string();
    let index = entry(nested.as_bytes(), serde_json::Value::Null).to_string();
    let list = format!(r#"[{{"Config":"{}","Layers":[]}}]"#, blob(&config));
    let files: [(&str, &[u8]); 6] = [
        (&blob(&bytes), &bytes),
        (&blob(&config), &config),
        (&blob(&inner), &inner),
        (&blob(nested.as_bytes()), nested.as_bytes()),
        ("index.json", index.as_bytes()),
        ("manifest.json", list.as_bytes()),
    ];
    (archive(&files), inner, bytes)
}

#[tokio::test]
async fn a_compressed_layout_keeps_its_manifest() {
    let (archive, manifest, layer) = containerd();
    let got = taken(archive.clone(), Expected::default(), &[]).await.unwrap();
    assert_eq!((&got.manifest[..], got.blobs.len(), got.refused), (&manifest[..], 2, 0));
    let got = taken(archive, Expected::default(), &[Digest::of(&layer)]).await.unwrap();
    assert_eq!((&got.manifest[..], got.blobs.len(), got.refused), (&manifest[..], 1, 1));
}

#[tokio::test]
async fn an_archive_of_compressed_layers_without_digests_is_put_together_by_their_names() {
    let (_, _, layer) = containerd();
    let config = config(&[b"one"], "amd64");
    let list = br#"[{"Config":"cfg.json","Layers":["first.tar.gz"]}]"#;
    let files: [(&str, &[u8]); 3] = [("first.tar.gz", &layer), ("cfg.json", &config), ("manifest.json", list)];
    let got = taken(archive(&files), Expected::default(), &[]).await.unwrap();
    assert_eq!(got.plain_layers(), [Some(b"one".to_vec())]);
    assert_eq!(serde_json::from_slice::<ImageConfig>(&config).unwrap().rootfs.diff_ids, [Digest::of(b"one")]);
}

#[tokio::test]
async fn an_archive_that_breaks_off_is_an_error() {
    let whole = legacy("amd64");
    assert!(taken(whole[..3000].to_vec(), Expected::default(), &[]).await.is_err());
    assert!(taken(archive(&[]), Expected::default(), &[]).await.is_err());
}

/// An image for amd64 and arm64 with attestations, as Docker 29 saves it out of its own store, where it has the one for amd64.
const LAYERS_29: &[u8] = include_bytes!("../../../fuzz/seeds/archive/docker-29-layers.tar");

/// The same image out of containerd's store, where it has the one for amd64: index and attestations are there.
const CONTAINERD_29: &[u8] = include_bytes!("../../../fuzz/seeds/archive/docker-29-containerd.tar");

/// The same out of a containerd's store that has both, when the one for arm64 was asked for.
const PLATFORM_29: &[u8] = include_bytes!("../../../fuzz/seeds/archive/docker-29-platform.tar");

/// An image for a platform.
fn wanted(architecture: &str) -> Expected {
    let platform = Platform { architecture: architecture.to_owned(), ..Platform::default() };
    Expected { platform, ..Expected::default() }
}

#[tokio::test]
async fn what_docker_29_saves_is_the_image_that_it_pulled() {
    // What the registry had, from which all three were pulled.
    let amd64 = "sha256:90e6b5b0ebd5e6a5aa4a6b03e9ca25197b76e9401f839aaaf4075a4afac713fa";
    let arm64 = "sha256:4ec91b7608d28ecc1ec761c3e1bde0029e6bf2bbf730f2fcd119855a4119be93";
    for (archive, architecture, manifest) in [(CONTAINERD_29, "amd64", amd64), (PLATFORM_29, "arm64", arm64)] {
        let got = taken(archive.to_vec(), wanted(architecture), &[]).await.unwrap();
        assert_eq!(Digest::of(&got.manifest).as_str(), manifest, "blobs and manifest stay as they are");
        assert_eq!((got.layers.all, got.blobs.len()), (1, 2), "{architecture}: nothing of an attestation is sent");
    }
    let kept = taken(CONTAINERD_29.to_vec(), wanted("amd64"), &[]).await.unwrap().read().config.digest;
    let got = taken(LAYERS_29.to_vec(), wanted("amd64"), &[]).await.unwrap();
    assert_eq!((got.read().config.digest, got.layers.all, got.blobs.len()), (kept, 1, 2));
    assert_eq!(got.plain_layers()[0].as_ref().map(Vec::len), Some(10_240));
}

#[tokio::test]
async fn a_platform_whose_content_docker_29_has_not_pulled_is_told_with_those_that_it_has() {
    for archive in [CONTAINERD_29, LAYERS_29] {
        let error = taken(archive.to_vec(), wanted("arm64"), &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "the image is for linux/amd64, and linux/arm64 was asked for");
    }
}
