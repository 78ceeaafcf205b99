//! Which requests a push is made of, scenario by scenario.

use super::*;
use crate::image::KnownLayers;
use std::collections::{HashMap, HashSet};

/// An image of one layer, and the names of its parts for sequences.
fn small_image(layer: Bytes) -> (Vec<Blob>, RawManifest) {
    image_of(vec![layer])
}

/// Pushes an image after a look at what is there, as a deploy does; only parts that are not known are given.
async fn push_after_a_look(
    fake: &Fake,
    client: &Client,
    image: &(Vec<Blob>, RawManifest),
    tags: &[&str],
) -> PushReport {
    let repository = fake.repository("shop/api");
    let cancel = CancellationToken::new();
    let looked = [tags, &["latest"]].concat();
    let index = client.diff_index(&repository, &looked, &Platform::default()).await;
    let images = index.images().map(|(id, image)| (id.clone(), image.media_type.clone(), image.bytes.clone()));
    let known = KnownLayers::new(index.layers()).with_images(images);
    let mut pusher = Pusher::new(client, &repository, Box::new(|_| ()), &cancel).unwrap();
    let (blobs, manifest) = image;
    if known.whole(&blobs[0].descriptor.digest).is_none() {
        // The layers of these images are not compressed: a layer's own digest is that of its blob.
        let new = blobs.iter().filter(|blob| known.blob(&blob.descriptor.digest).is_none());
        new.cloned().for_each(|blob| pusher.add(blob));
    }
    pusher.knows(index.tags().clone());
    pusher.finish(manifest, tags).await.unwrap()
}

/// The sequence of a push, with the names of the image's parts.
fn sequence(fake: &Fake, image: &(Vec<Blob>, RawManifest)) -> String {
    let (blobs, manifest) = image;
    let mut names = vec![(&blobs[0].descriptor.digest, "CONFIG"), (&manifest.digest, "MANIFEST")];
    names.extend(blobs[1..].iter().map(|blob| (&blob.descriptor.digest, "LAYER")));
    fake.sequence(&names)
}

#[tokio::test]
async fn an_empty_repository() {
    let fake = Fake::start().await;
    let image = small_image(noise(100_000));
    push_after_a_look(&fake, &client(), &image, &["v1"]).await;
    let mut lines: Vec<String> = sequence(&fake, &image).lines().map(str::to_owned).collect();
    let last = lines.pop().unwrap();
    lines.sort();
    insta::assert_snapshot!(format!("{}\n-- then --\n{last}", lines.join("\n")), @r"
    GET /v2/shop/api/manifests/latest
    GET /v2/shop/api/manifests/v1
    GET /v2/shop/api/tags/list?n=100
    HEAD /v2/shop/api/blobs/LAYER
    POST /v2/shop/api/blobs/uploads/
    POST /v2/shop/api/blobs/uploads/?digest=CONFIG
    PUT /v2/shop/api/blobs/uploads/SESSION?at=0&digest=CONFIG
    PUT /v2/shop/api/blobs/uploads/SESSION?at=0&digest=LAYER
    -- then --
    PUT /v2/shop/api/manifests/v1
    ");
}

#[tokio::test]
async fn the_same_image_under_the_same_tag_sends_nothing() {
    let fake = Fake::start().await;
    let image = small_image(noise(100_000));
    push_after_a_look(&fake, &client(), &image, &["v1"]).await;
    fake.forget();
    let report = push_after_a_look(&fake, &client(), &image, &["v1"]).await;
    assert_eq!((report.sent, report.bytes_reused), (0, 100_000 + image.0[0].descriptor.size));
    let mut lines: Vec<String> = sequence(&fake, &image).lines().map(str::to_owned).collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"), @r"
    GET /v2/shop/api/blobs/CONFIG
    GET /v2/shop/api/manifests/latest
    GET /v2/shop/api/manifests/v1
    GET /v2/shop/api/tags/list?n=100
    ");
}

#[tokio::test]
async fn the_same_image_under_a_new_tag_is_one_request_more() {
    let fake = Fake::start().await;
    let image = small_image(noise(100_000));
    push_after_a_look(&fake, &client(), &image, &["latest"]).await;
    fake.forget();
    push_after_a_look(&fake, &client(), &image, &["latest", "v2"]).await;
    let log = sequence(&fake, &image);
    let changes: Vec<&str> = log.lines().filter(|line| !line.starts_with("GET")).collect();
    insta::assert_snapshot!(changes.join("\n"), @"PUT /v2/shop/api/manifests/v2");
}

#[tokio::test]
async fn a_layer_that_is_known_is_neither_looked_for_nor_sent() {
    let fake = Fake::start().await;
    let (base, added) = (noise(100_000), noise(70_000));
    push_after_a_look(&fake, &client(), &small_image(base.clone()), &["v1"]).await;
    fake.forget();
    // The tag is new, as a commit's is: the list of tags leads to the layers.
    let image = image_of(vec![base.clone(), added]);
    push_after_a_look(&fake, &client(), &image, &["v2"]).await;
    let names = [(&Digest::of(&base), "BASE")];
    assert!(!fake.sequence(&names).contains("BASE"));
    let log = sequence(&fake, &image);
    let changes: Vec<&str> = log.lines().filter(|line| !line.starts_with("GET")).collect();
    assert_eq!(changes.iter().filter(|line| line.starts_with("POST")).count(), 2, "{changes:#?}");
    assert_eq!(changes.iter().filter(|line| line.starts_with("HEAD")).count(), 1, "{changes:#?}");
}

#[tokio::test]
async fn forty_small_layers_take_two_round_trips_each() {
    let fake = Fake::start().await;
    let image = image_of((0..40).map(|n| noise(50 * 1024 + n)).collect());
    let client = client().counting();
    push_after_a_look(&fake, &client, &image, &["v1"]).await;
    // The tags, the list, 41 blobs of two requests, the manifest.
    assert_eq!(client.requests(), 3 + 41 * 2 + 1);
}

#[tokio::test]
async fn a_cut_upload_is_asked_about_and_goes_on() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.cut_puts = 1);
    let (blobs, _) = image();
    let layer = blobs[1].clone();
    let manifest = RawManifest::new(None, Manifest::new(layer.descriptor.clone(), vec![]).to_bytes().unwrap().into());
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    client().push(&repository, vec![layer], &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap();
    let lines: Vec<String> = fake.log().iter().filter(|line| !line.starts_with("HEAD")).cloned().collect();
    let shown: Vec<&str> = lines.iter().map(|line| line.split(['?']).next().unwrap()).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    POST /v2/shop/api/blobs/uploads/
    PUT /v2/shop/api/blobs/uploads/session-1
    GET /v2/shop/api/blobs/uploads/session-1
    GET /v2/shop/api/blobs/uploads/session-1
    PUT /v2/shop/api/blobs/uploads/session-1
    PUT /v2/shop/api/manifests/v1
    ");
}

#[tokio::test]
async fn the_index_picks_the_platform_and_skips_what_does_not_fit() {
    let fake = Fake::start().await;
    let inner = fake.seed("shop/api", "inner", b"layer");
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [
        { "mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(b"arm"), "size": 3,
          "platform": { "os": "linux", "architecture": "arm64" } },
        { "mediaType": media_type::OCI_MANIFEST, "digest": inner, "size": 3,
          "platform": { "os": "linux", "architecture": "amd64" } },
    ]});
    let index = Bytes::from(index.to_string());
    let outer = Digest::of(&index);
    let key = ("shop/api".to_owned(), "v1".to_owned());
    fake.contents().manifests.remove(&("shop/api".to_owned(), "inner".to_owned()));
    fake.contents().manifests.insert(key, (media_type::OCI_INDEX.to_owned(), index));
    let found = client().diff_index(&fake.repository("shop/api"), &["v1"], &Platform::default()).await;
    assert_eq!(found.layers().map(|(diff_id, _)| diff_id).collect::<Vec<_>>(), [Digest::of(b"layer")]);
    assert_eq!(found.tags(), &HashMap::from([("v1".to_owned(), outer)]), "the tag stands for the index");
    let windows = Platform::parse("windows/amd64").unwrap();
    let found = client().diff_index(&fake.repository("shop/api"), &["v1"], &windows).await;
    assert_eq!(found.layers().count(), 0);
}

#[tokio::test]
async fn of_former_versions_only_those_are_read_that_have_more_to_tell() {
    let (fake, cancel) = (Fake::start().await, CancellationToken::new());
    let repository = fake.repository("shop/api");
    let layers = |lower: u8, top: u8| [lower, lower + 1, top].map(|byte| Bytes::from(vec![byte; 9])).to_vec();
    for (tag, lower, top) in [("a", 1, 10), ("b", 1, 11), ("c", 1, 12), ("d", 3, 13), ("e", 3, 14)] {
        let (blobs, manifest) = image_of(layers(lower, top));
        client().push(&repository, blobs, &manifest, &[tag], Box::new(|_| ()), &cancel).await.unwrap();
    }
    let configurations = || fake.count("GET /v2/shop/api/blobs/");
    let index = client().diff_index(&repository, &["new"], &Platform::default()).await;
    assert_eq!(configurations(), 2, "one for each base");
    let known: HashSet<Digest> = index.layers().map(|(diff_id, _)| diff_id).collect();
    assert_eq!(known, [1, 2, 10, 3, 4, 13].map(|byte| Digest::of(&[byte; 9])).into());
    // What is asked for by name is read whatever it has to tell.
    client().diff_index(&repository, &["a", "b"], &Platform::default()).await;
    assert_eq!(configurations(), 4);
}
