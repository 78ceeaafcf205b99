//! Blobs that lie in files, which are sent without being read.

use super::*;
use crate::image::part::FileRange;
use futures::FutureExt as _;
use std::io::Write as _;
use std::sync::Arc;

/// The image of [`image`] with its layer in a file, behind some other bytes; the file may hold something else in its place.
fn image_in_file(folder: &std::path::Path, content: Option<&[u8]>) -> (Vec<Blob>, RawManifest) {
    let (mut blobs, manifest) = image();
    let file = folder.join("layers.tar");
    let Content::Bytes(layer) = blobs[1].content.clone() else { unreachable!() };
    let content = Bytes::copy_from_slice(content.unwrap_or(&layer));
    let mut written = std::fs::File::create(&file).unwrap();
    written.write_all(b"something else").unwrap();
    written.write_all(&content).unwrap();
    let bytes = Content::Bytes(content);
    let open = Arc::new(move || {
        let bytes = bytes.clone();
        async move { bytes.open().await }.boxed()
    });
    blobs[1].content = Content::File { range: FileRange { file, start: 14 }, open };
    (blobs, manifest)
}

/// Pushes the image with this in place of its layer.
async fn push_file(fake: &Fake, content: Option<&[u8]>) -> Result<PushReport, Error> {
    let folder = tempfile::tempdir().unwrap();
    let (blobs, manifest) = image_in_file(folder.path(), content);
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    client().push(&repository, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await
}

#[tokio::test]
async fn a_file_arrives_as_it_lies_there() {
    let fake = Fake::start().await;
    let report = push_file(&fake, None).await.unwrap();
    assert_eq!((report.sent, fake.count("PUT /v2/shop/api/blobs/")), (2, 2));
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn a_cut_file_goes_on_where_the_registry_stands() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.cut_puts = 2);
    push_file(&fake, None).await.unwrap();
    let received = fake.contents().received;
    assert!(received <= 8_000_000 * 105 / 100, "{received} bytes");
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn refusals_and_lost_answers_are_ridden_out_with_files_too() {
    let fake = Fake::start().await;
    fake.faults(|faults| (faults.put_statuses, faults.swallow_put_answers) = ([503, 416].into(), 1));
    push_file(&fake, None).await.unwrap();
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn a_file_that_is_not_its_digest_is_told_by_the_registry_and_blamed_on_the_file() {
    let fake = Fake::start().await;
    let error = push_file(&fake, Some(&vec![7; 8_000_000])).await.unwrap_err();
    let Error::SourceChanged { got, .. } = &error else { panic!("{error}") };
    assert_eq!(got, Digest::of(&vec![7; 8_000_000]).as_str());
    assert_eq!(fake.count("PUT /v2/shop/api/manifests"), 0, "nothing is tagged");
}

#[tokio::test]
async fn a_file_that_has_become_shorter_is_blamed_at_once() {
    let fake = Fake::start().await;
    let error = push_file(&fake, Some(&noise(7_000_000))).await.unwrap_err();
    let Error::SourceChanged { wanted, got, .. } = &error else { panic!("{error}") };
    assert_eq!((wanted.as_str(), got.as_str()), ("8000000 bytes", "7000000 bytes"));
    assert_eq!(fake.count("PUT /v2/shop/api/manifests"), 0);
}
