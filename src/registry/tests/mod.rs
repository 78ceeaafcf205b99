//! The client against a registry with faults.

mod artifacts;
mod encrypted;
pub(crate) mod fake;
mod files;
pub(crate) mod made;
mod quirks;
mod raw;
mod registries;
mod sequences;
mod shared;
pub(crate) mod small;
mod streams;

use super::blob::Blob;
use super::patience::Patience;
use super::*;
use crate::error::{FailureKind, Hint as _};
use crate::http::RetryPolicy;
use crate::image::descriptor::media_type;
use crate::image::{Content, Descriptor, Manifest};
use crate::model::{Digest, Platform, Reference, Secret};
use bytes::Bytes;
use fake::Fake;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A client that tries again at once.
pub(crate) fn client() -> Client {
    Client::with_patience(Hosts::new(None, Vec::new()), Logins::default(), patience())
}

/// A client with a login.
fn client_as(fake: &Fake, password: &str) -> Client {
    let logins = Logins::default();
    logins.set(&fake.host, "me", Secret::new(password));
    Client::with_patience(Hosts::new(None, Vec::new()), logins, patience())
}

/// Tries again at once, and not for long. Sessions are ended however busy the machine is.
fn patience() -> Patience {
    let retry = RetryPolicy { tries: 4, first: Duration::ZERO, longest: Duration::ZERO };
    let (outage, settle, goodbye) = (Duration::ZERO, Duration::ZERO, Duration::from_mins(1));
    Patience { settle, goodbye, retry, outage, ..Patience::default() }
}

/// A blob in memory.
pub(crate) fn blob(kind: &str, bytes: impl Into<Bytes>) -> Blob {
    let bytes = bytes.into();
    let descriptor = Descriptor::new(kind, Digest::of(&bytes), bytes.len() as u64);
    Blob { descriptor, content: Content::Bytes(bytes), mount_from: None }
}

/// Bytes that are not the same everywhere.
pub(crate) fn noise(length: usize) -> Bytes {
    (0..length).map(|n| u8::try_from(n % 251).unwrap() ^ u8::try_from((n >> 12) % 256).unwrap()).collect()
}

/// An image of a small configuration and these layers.
pub(crate) fn image_of(layers: Vec<Bytes>) -> (Vec<Blob>, RawManifest) {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "rootfs": { "diff_ids": diff_ids } });
    let mut blobs = vec![blob(media_type::OCI_CONFIG, config.to_string())];
    blobs.extend(layers.into_iter().map(|layer| blob(media_type::OCI_LAYER_GZIP, layer)));
    let layers = blobs[1..].iter().map(|blob| blob.descriptor.clone()).collect();
    let manifest = Manifest::new(blobs[0].descriptor.clone(), layers);
    (blobs, RawManifest::new(None, manifest.to_bytes().unwrap().into()))
}

/// An image of a small configuration and a layer of eight megabytes.
fn image() -> (Vec<Blob>, RawManifest) {
    image_of(vec![noise(8_000_000)])
}

/// Pushes the image to `shop/api:v1`.
async fn push(client: &Client, fake: &Fake) -> Result<PushReport, Error> {
    let (blobs, manifest) = image();
    let repository = fake.repository("shop/api");
    client.push(&repository, blobs, &manifest, &["v1"], Box::new(|_| ()), &CancellationToken::new()).await
}

/// The image lies in the registry, whole, and no session is left.
async fn assert_pushed(client: &Client, fake: &Fake) {
    let (blobs, manifest) = image();
    let repository = fake.repository("shop/api");
    assert_eq!(client.get_manifest(&repository, "v1").await.unwrap(), Some(manifest));
    for blob in blobs {
        let Content::Bytes(bytes) = blob.content else { unreachable!() };
        assert_eq!(client.read_blob(&repository, &blob.descriptor).await.unwrap(), bytes);
    }
    assert!(fake.contents().sessions.is_empty(), "a session was left open");
}

#[tokio::test]
async fn a_push_is_head_post_put_and_a_manifest() {
    let fake = Fake::start().await;
    let report = push(&client(), &fake).await.unwrap();
    assert_eq!((report.sent, report.existed), (2, 0));
    // A small blob is sent at once: to look for it would cost as much as to send it.
    for (start, wanted) in [("HEAD ", 1), ("POST ", 2), ("PUT /v2/shop/api/blobs", 2), ("PATCH", 0), ("DELETE", 0)] {
        assert_eq!(fake.count(start), wanted, "{start}");
    }
    assert!(fake.log().last().unwrap().starts_with("PUT /v2/shop/api/manifests/v1"));
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn what_is_there_is_not_sent_again() {
    let fake = Fake::start().await;
    push(&client(), &fake).await.unwrap();
    let again = push(&client(), &fake).await.unwrap();
    assert_eq!((again.sent, again.existed), (1, 1), "only the small configuration");
    assert_eq!(fake.count("POST "), 3);
}

#[tokio::test]
async fn a_cut_connection_begins_a_new_session() {
    let fake = Fake::start().await;
    fake.faults(|faults| {
        faults.cut_puts = 2;
        faults.stale_state_cancels = true;
    });
    push(&client(), &fake).await.unwrap();
    assert!(fake.count("POST ") >= 4);
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn a_burst_of_503_and_429_is_ridden_out() {
    let fake = Fake::start().await;
    fake.faults(|faults| {
        faults.put_statuses = [503, 429, 503].into();
        faults.statuses = [503, 500, 429].into();
    });
    push(&client(), &fake).await.unwrap();
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn a_lost_session_begins_another() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.put_statuses = [416].into());
    push(&client(), &fake).await.unwrap();
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn a_registry_that_stays_down_is_an_infrastructure_failure() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.statuses = [503; 100].into());
    let error = push(&client(), &fake).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Infrastructure);
    assert!(error.to_string().contains("503 Service Unavailable"), "{error}");
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_requests_and_anew_when_it_dies() {
    let fake = Fake::start().await;
    fake.faults(|faults| {
        faults.login = Some(("me".to_owned(), "pw".to_owned()));
        faults.put_statuses = [401].into();
    });
    let client = client_as(&fake, "pw");
    push(&client, &fake).await.unwrap();
    assert_eq!(fake.count("GET /token"), 2, "one at first, one after the token died in the middle of a PUT");
    assert!(fake.contents().log.iter().any(|line| line.contains("scope=repository%3Ashop%2Fapi%3Apull%2Cpush")));
    assert_pushed(&client, &fake).await;
}

#[tokio::test]
async fn a_token_is_refreshed_before_its_end() {
    let fake = Fake::start().await;
    fake.faults(|faults| {
        faults.login = Some(("me".to_owned(), "pw".to_owned()));
        faults.token_life = 0;
    });
    push(&client_as(&fake, "pw"), &fake).await.unwrap();
    assert!(fake.count("GET /token") >= 5, "a token without life is good for one request");
}

#[tokio::test]
async fn a_registry_that_lets_nobody_end_a_session_costs_no_token() {
    let fake = Fake::start().await;
    fake.faults(|faults| {
        faults.login = Some(("me".to_owned(), "pw".to_owned()));
        faults.no_delete = true;
        faults.stale_state_cancels = true;
        faults.put_statuses = [416, 416].into();
    });
    let client = client_as(&fake, "pw");
    push(&client, &fake).await.unwrap();
    assert!(fake.count("DELETE ") > 0);
    assert_eq!(fake.count("GET /token"), 1, "what is refused there is the wish, and not the token");
}

#[tokio::test]
async fn a_token_that_dies_before_the_question_how_much_arrived_is_replaced() {
    let fake = Fake::start().await;
    fake.faults(|faults| {
        faults.login = Some(("me".to_owned(), "pw".to_owned()));
        faults.single_post = true; // so that only the layer is cut
        faults.cut_puts = 1;
        faults.tokens_die_with_cuts = true;
    });
    let client = client_as(&fake, "pw");
    push(&client, &fake).await.unwrap();
    let received = fake.contents().received;
    assert!(received <= 8_000_000 * 105 / 100, "{received} bytes: it could have been gone on with");
    assert_pushed(&client, &fake).await;
}

#[tokio::test]
async fn an_empty_layer_is_a_layer() {
    let fake = Fake::start().await;
    let (blobs, manifest) = image_of(vec![Bytes::new(), Bytes::new()]);
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    let report = client().push(&repository, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap();
    assert_eq!(report.sent, 2, "the configuration, and one layer that stands there twice");
    let empty = Descriptor::new("", Digest::of(b""), 0);
    assert_eq!(client().read_blob(&repository, &empty).await.unwrap(), "");
}

#[tokio::test]
async fn a_wrong_login_is_configuration() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.login = Some(("me".to_owned(), "pw".to_owned())));
    let error = push(&client_as(&fake, "wrong"), &fake).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Configuration);
    assert!(error.to_string().contains("does not accept the login"), "{error}");
    let error = push(&client(), &fake).await.unwrap_err();
    assert!(error.to_string().contains("wants a login"), "{error}");
}

#[tokio::test]
async fn another_digest_is_an_infrastructure_failure() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.wrong_digest = true);
    let error = push(&client(), &fake).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    assert_eq!(error.kind(), FailureKind::Infrastructure);
}

#[tokio::test]
async fn a_relative_location_is_understood() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.relative_location = true);
    push(&client(), &fake).await.unwrap();
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn another_host_never_sees_the_token() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    fake.faults(|faults| {
        faults.login = Some(("me".to_owned(), "pw".to_owned()));
        faults.foreign_location = Some(other.host.clone());
    });
    let _ = push(&client_as(&fake, "pw"), &fake).await;
    assert!(other.count("PUT ") > 0);
    assert!(other.contents().authorizations.iter().all(Option::is_none));
}

#[tokio::test]
async fn a_redirected_blob_is_read_without_the_token() {
    let (fake, store) = (Fake::start().await, Fake::start().await);
    let login = Some(("me".to_owned(), "pw".to_owned()));
    for registry in [&fake, &store] {
        registry.seed("shop/api", "v1", b"layer");
    }
    fake.faults(|faults| {
        faults.login = login;
        faults.redirect_blobs = Some(store.host.clone());
    });
    let client = client_as(&fake, "pw");
    let descriptor = Descriptor::new("", Digest::of(b"layer"), 5);
    let bytes = client.read_blob(&fake.repository("shop/api"), &descriptor).await.unwrap();
    assert_eq!(bytes, "layer");
    assert_eq!(store.contents().authorizations, [None]);
}

#[tokio::test]
async fn a_refused_mount_that_comes_with_a_session_uses_it() {
    let fake = Fake::start().await;
    fake.seed("base/image", "v1", b"layer");
    let mirror = |fake: Fake| async move {
        let (from, to) = (fake.repository("base/image").tagged("v1"), fake.repository("shop/api"));
        let platform = Platform::default();
        let mirror = Mirror { from: &from, platform: &platform, to: &to, tags: &["v1"] };
        client().mirror(mirror, Box::new(|_| ()), &CancellationToken::new()).await.unwrap()
    };
    fake.faults(|faults| faults.mount_gives_session = true);
    let report = mirror(fake.clone()).await;
    assert_eq!((report.sent, report.mounted, fake.count("POST ")), (2, 0, 2), "no second POST");
    fake.contents().blobs.retain(|(path, _), _| path == "base/image");
    fake.faults(|faults| faults.mounts = true);
    let report = mirror(fake.clone()).await;
    assert_eq!((report.sent, report.mounted), (0, 2));
    fake.contents().blobs.retain(|(path, _), _| path == "base/image");
    fake.faults(|faults| (faults.mounts, faults.mount_gives_session) = (false, false));
    assert_eq!(mirror(fake.clone()).await.sent, 2, "a mount that is an error is a plain upload");
}

#[tokio::test]
async fn a_mirror_keeps_the_digest_and_takes_one_platform() {
    let (source, target) = (Fake::start().await, Fake::start().await);
    let wanted = source.seed("library/redis", "inner", b"redis");
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [
        { "mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(b"arm"), "size": 3,
          "platform": { "os": "linux", "architecture": "arm64" } },
        { "mediaType": media_type::OCI_MANIFEST, "digest": wanted, "size": 3,
          "platform": { "os": "linux", "architecture": "amd64" } },
    ]});
    let key = ("library/redis".to_owned(), "7".to_owned());
    let index = Bytes::from(index.to_string());
    source.contents().manifests.insert(key, (media_type::OCI_INDEX.to_owned(), index));
    source.faults(|faults| faults.no_digest_header = true);
    let from = Reference::parse(&format!("{}/library/redis:7", source.host)).unwrap();
    let (to, platform) = (target.repository("shop/cache"), Platform::default());
    let mirror = Mirror { from: &from, platform: &platform, to: &to, tags: &["ck-1", "v1"] };
    let report = client().mirror(mirror, Box::new(|_| ()), &CancellationToken::new()).await.unwrap();
    assert_eq!(report.digest, wanted);
    for tag in ["ck-1", "v1"] {
        assert_eq!(client().head_manifest(&to, tag).await.unwrap().as_ref(), Some(&wanted));
    }
    let windows = Platform::parse("windows/amd64").unwrap();
    let error = client().platform_manifest(&from, &windows).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Configuration);
    assert!(
        error.to_string().ends_with("has no variant for windows/amd64; it has linux/arm64, linux/amd64"),
        "{error}"
    );
}

#[tokio::test]
async fn what_changes_while_it_is_sent_is_refused() {
    let fake = Fake::start().await;
    let (mut blobs, manifest) = image();
    blobs[1].content = Content::Bytes(vec![0; 8_000_000].into());
    let repository = fake.repository("shop/api");
    let cancel = CancellationToken::new();
    let error = client().push(&repository, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap_err();
    assert!(matches!(error, Error::SourceChanged { .. }), "{error}");
    assert_eq!(fake.count("PUT /v2/shop/api/manifests"), 0);
}

#[tokio::test]
async fn a_stop_ends_the_sessions() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.hang_puts = true);
    let cancel = CancellationToken::new();
    let (blobs, manifest) = image();
    let (stop, repository) = (cancel.clone(), fake.repository("shop/api"));
    let watched = fake.clone();
    tokio::spawn(async move {
        while watched.count("PUT ") < 2 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    });
    let result = client().push(&repository, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await;
    assert!(matches!(result, Err(Error::Cancelled)));
    assert!(fake.contents().sessions.is_empty(), "sessions are told to go");
}

#[tokio::test]
async fn a_registry_that_takes_nothing_is_given_up() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.hang_puts = true);
    let short = Duration::from_millis(50);
    let mut patience = Patience { stall: short, commit: short, ..patience() };
    patience.retry.tries = 2;
    let client = Client::with_patience(Hosts::new(None, Vec::new()), Logins::default(), patience);
    let error = push(&client, &fake).await.unwrap_err();
    assert!(matches!(error, Error::Stalled { .. }), "{error}");
}

#[tokio::test]
async fn the_remote_index_knows_layers_by_their_uncompressed_digest() {
    let fake = Fake::start().await;
    let manifest = fake.seed("shop/api", "v1", b"layer");
    let index = client().diff_index(&fake.repository("shop/api"), &["gone", "v1"], &Platform::default()).await;
    let layers: Vec<_> = index.layers().map(|(diff_id, blob)| (diff_id, blob.size)).collect();
    assert_eq!(layers, [(Digest::of(b"layer"), 5)]);
    let config = client().platform_manifest(&fake.repository("shop/api").tagged("v1"), &Platform::default()).await;
    let config = config.unwrap().read().unwrap().config.digest;
    let images: Vec<_> = index.images().map(|(id, image)| (id, &image.digest)).collect();
    assert_eq!(images, [(&config, &manifest)]);
}

#[tokio::test]
async fn blobs_that_the_registry_has_lost_are_told_from_other_refusals() {
    let fake = Fake::start().await;
    let (_, manifest) = image();
    let repository = fake.repository("shop/api");
    let error = client().put_tags(&repository, &manifest, &["v1"]).await.unwrap_err();
    assert!(error.has_lost_blobs(), "{error}");
}

#[tokio::test]
async fn a_tag_is_put_once() {
    let fake = Fake::start().await;
    let digest = fake.seed("shop/api", "ck-1", b"layer");
    let repository = fake.repository("shop/api");
    assert!(client().tag(&repository, &digest, "v1").await.unwrap());
    assert!(!client().tag(&repository, &digest, "v1").await.unwrap());
    assert_eq!(client().resolve(&repository.tagged("v1")).await.unwrap(), digest);
    let error = client().resolve(&repository.tagged("v2")).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Configuration);
}
