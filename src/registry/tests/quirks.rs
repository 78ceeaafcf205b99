//! The quirks of real registries, one test each.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

/// Two images of the same layer and different configurations, pushed into two repositories one after another.
async fn two_neighbours(fake: &Fake, client: &Client) -> [PushReport; 2] {
    let layer = noise(100_000);
    let mut reports = Vec::new();
    for (path, more) in [("shop/api", "a"), ("shop/web", "b")] {
        let (blobs, manifest) = image_of(vec![layer.clone(), Bytes::from(more)]);
        let (repository, cancel) = (fake.repository(path), CancellationToken::new());
        let pushed = client.push(&repository, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel);
        reports.push(pushed.await.unwrap());
    }
    reports.try_into().unwrap()
}

#[tokio::test]
async fn distribution_2_cancels_an_upload_at_the_question_how_much_it_holds() {
    let fake = Fake::start().await;
    fake.faults(|faults| (faults.cut_puts, faults.stale_state_cancels) = (3, true));
    push(&client(), &fake).await.unwrap();
    assert_pushed(&client(), &fake).await;
    assert_eq!(fake.count("GET /v2/shop/api/blobs/uploads/"), 1, "asked once, and not again");
}

#[tokio::test]
async fn distribution_3_goes_on_where_it_stands() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.cut_puts = 1);
    let (mut blobs, _) = image();
    let layer = blobs.pop().unwrap();
    let (repository, size) = (fake.repository("shop/api"), layer.descriptor.size);
    let manifest = RawManifest::new(None, Manifest::new(layer.descriptor.clone(), vec![]).to_bytes().unwrap().into());
    let cancel = CancellationToken::new();
    client().push(&repository, vec![layer], &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap();
    let received = fake.contents().received;
    assert!(received <= size * 105 / 100, "{received} of {size} bytes");
    assert_eq!((fake.count("POST "), fake.count("PUT /v2/shop/api/blobs/")), (1, 2));
}

#[tokio::test]
async fn an_upload_whose_rest_does_not_fit_begins_anew() {
    let fake = Fake::start().await;
    fake.faults(|faults| (faults.cut_puts, faults.forget_half) = (1, true));
    push(&client(), &fake).await.unwrap();
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn a_blob_whose_answer_was_lost_is_not_sent_again() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.swallow_put_answers = 2);
    push(&client(), &fake).await.unwrap();
    assert_eq!(fake.count("PUT /v2/shop/api/blobs/"), 2);
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn a_registry_that_takes_blobs_with_the_post_gets_them_so() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.single_post = true);
    let (blobs, manifest) = image_of((0..6).map(|n| noise(1000 + n)).collect());
    let (repository, cancel, client) = (fake.repository("shop/api"), CancellationToken::new(), client());
    // The first shows that it works; those that ran beside it did not wait for that.
    for round in 0..2 {
        fake.contents().blobs.clear();
        fake.contents().manifests.clear();
        fake.forget();
        let blobs = blobs.clone();
        client.push(&repository, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap();
        if round == 1 {
            assert_eq!((fake.count("POST "), fake.count("PUT /v2/shop/api/blobs/")), (7, 0));
        }
    }
}

#[tokio::test]
async fn a_registry_that_ignores_the_body_of_a_post_costs_no_request_more() {
    let fake = Fake::start().await;
    push(&client(), &fake).await.unwrap();
    assert_eq!((fake.count("POST "), fake.count("PUT /v2/shop/api/blobs/")), (2, 2));
}

#[tokio::test]
async fn a_registry_that_refuses_the_body_of_a_post_is_asked_without() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.no_single_post = true);
    push(&client(), &fake).await.unwrap();
    assert_pushed(&client(), &fake).await;
    assert_eq!(fake.count("POST "), 3);
}

/// Pushes under three tags.
async fn push_three_tags(fake: &Fake) -> Vec<String> {
    let (blobs, manifest) = image();
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    let tags = ["ck-1", "v1", "v2"];
    client().push(&repository, blobs, &manifest, &tags, Box::new(|_| ()), &cancel).await.unwrap();
    for tag in tags {
        assert_eq!(client().head_manifest(&repository, tag).await.unwrap(), Some(manifest.digest.clone()), "{tag}");
    }
    let all = fake.log().into_iter().filter(|line| line.starts_with("PUT") && line.contains("/manifests/"));
    all.map(|line| line.rsplit_once('/').unwrap().1.chars().take(14).collect()).collect()
}

#[tokio::test]
async fn tags_beside_the_manifest_are_believed_only_when_echoed() {
    let fake = Fake::start().await;
    assert_eq!(push_three_tags(&fake).await.len(), 4, "ignored: the manifest and each tag");
    let fake = Fake::start().await;
    fake.faults(|faults| faults.tag_parameter = 1);
    assert_eq!(push_three_tags(&fake).await.len(), 3, "one is echoed");
    let fake = Fake::start().await;
    fake.faults(|faults| faults.tag_parameter = 3);
    assert_eq!(push_three_tags(&fake).await.len(), 1, "all at once");
}

#[tokio::test]
async fn two_tags_are_put_side_by_side_and_one_that_is_named_twice_once() {
    for (tags, wanted) in [(["ck-1", "v1"], 2), (["ck-1", "ck-1"], 1)] {
        let fake = Fake::start().await;
        let (blobs, manifest) = image();
        let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
        client().push(&repository, blobs, &manifest, &tags, Box::new(|_| ()), &cancel).await.unwrap();
        assert_eq!(fake.count("PUT /v2/shop/api/manifests/"), wanted);
        for tag in tags {
            assert_eq!(client().head_manifest(&repository, tag).await.unwrap().as_ref(), Some(&manifest.digest));
        }
    }
}

/// Asks for three tags at once; whether that went well, and how many requests there were to `/v2/`, and for tags.
async fn ask_for_three(fake: &Fake, client: &Client) -> (bool, usize, usize) {
    let repository = fake.repository("shop/api");
    let asked = ["v1", "v2", "v3"].map(|tag| client.head_manifest(&repository, tag));
    let answers = futures::future::join_all(asked).await;
    let pings = fake.contents().log.iter().filter(|line| line.ends_with("/v2/")).count();
    (answers.iter().all(Result::is_ok), pings, fake.count("HEAD "))
}

#[tokio::test]
async fn without_a_login_the_first_request_shows_what_the_registry_wants() {
    let fake = Fake::start().await;
    assert_eq!(ask_for_three(&fake, &client()).await, (true, 0, 3));
    let fake = Fake::start().await;
    fake.faults(|faults| faults.login = Some(("me".to_owned(), "pw".to_owned())));
    assert_eq!(ask_for_three(&fake, &client()).await, (false, 0, 1), "one goes ahead, the others wait for it");
    let fake = Fake::start().await;
    fake.faults(|faults| faults.login = Some(("me".to_owned(), "pw".to_owned())));
    assert_eq!(ask_for_three(&fake, &client_as(&fake, "pw")).await, (true, 1, 3), "with a login it is asked first");
    let fake = Fake::start().await;
    fake.faults(|faults| faults.statuses = [503, 500].into());
    assert_eq!(ask_for_three(&fake, &client()).await, (true, 0, 5), "an outage says nothing of logins");
}

#[tokio::test]
async fn a_registry_without_digest_headers_is_looked_at() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.no_digest_header = true);
    push(&client(), &fake).await.unwrap();
    let last: Vec<_> = fake.log().into_iter().rev().take(2).collect();
    assert_eq!(last, ["GET /v2/shop/api/manifests/v1", "HEAD /v2/shop/api/manifests/v1"]);
}

#[tokio::test]
async fn a_bare_403_is_asked_again_for_its_reason() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.forbidden = Some("registry contains 1 repositories, limit is 1".to_owned()));
    let error = push(&client(), &fake).await.unwrap_err();
    assert!(error.to_string().contains("limit is 1"), "{error}");
}

#[tokio::test]
async fn warnings_are_kept_once_each() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.warning = Some("299 - \"this registry closes in May\"".to_owned()));
    let client = client();
    push(&client, &fake).await.unwrap();
    let wanted = format!("registry `{}` says: this registry closes in May", fake.host);
    assert_eq!(client.warnings(), [wanted]);
    assert!(client.warnings().is_empty());
}

#[tokio::test]
async fn a_token_service_that_knows_only_post_is_asked_by_post() {
    let fake = Fake::start().await;
    fake.faults(|faults| {
        faults.login = Some(("me".to_owned(), "pw".to_owned()));
        faults.token_by_post = true;
    });
    push(&client_as(&fake, "pw"), &fake).await.unwrap();
    assert_pushed(&client_as(&fake, "pw"), &fake).await;
}

#[tokio::test]
async fn a_token_for_a_foreign_repository_is_not_insisted_on() {
    let fake = Fake::start().await;
    fake.seed("base/image", "v1", b"layer");
    fake.faults(|faults| {
        faults.login = Some(("me".to_owned(), "pw".to_owned()));
        (faults.own_scopes_only, faults.mounts) = (Some("shop".to_owned()), true);
    });
    let mut layer = blob(media_type::OCI_LAYER_GZIP, "layer");
    layer.mount_from = Some("base/image".to_owned());
    let manifest = Manifest::new(layer.descriptor.clone(), vec![]).to_bytes().unwrap();
    let (client, cancel) = (client_as(&fake, "pw"), CancellationToken::new());
    let manifest = RawManifest::new(None, manifest.into());
    let repository = fake.repository("shop/api");
    let pushed = client.push(&repository, vec![layer], &manifest, &["v1"], Box::new(|_| ()), &cancel);
    assert_eq!(pushed.await.unwrap().sent, 1);
}

#[tokio::test]
async fn what_a_neighbour_has_is_mounted() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.mounts = true);
    let [first, second] = two_neighbours(&fake, &client()).await;
    assert_eq!((first.sent, first.mounted, second.sent, second.mounted), (3, 0, 2, 1));
    assert_eq!(second.bytes_mounted, 100_000);
    fake.contents().blobs.clear();
    let [_, second] = two_neighbours(&fake, &client()).await;
    assert_eq!((second.sent, second.mounted), (2, 1));
}

/// Content that is opened when it is needed.
fn reopened(bytes: Bytes) -> Content {
    let open = move || {
        let content = Content::Bytes(bytes.clone());
        Box::pin(async move { content.open().await }) as futures::future::BoxFuture<'static, _>
    };
    Content::Open(std::sync::Arc::new(open))
}

#[tokio::test]
async fn blobs_that_are_named_as_lost_are_sent_again_and_no_others() {
    for unnamed in [false, true] {
        let fake = Fake::start().await;
        let client = client();
        let (mut blobs, manifest) = image_of(vec![noise(100_000), noise(200_000)]);
        for blob in &mut blobs {
            let Content::Bytes(bytes) = blob.content.clone() else { unreachable!() };
            blob.content = reopened(bytes);
        }
        let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
        let mut pusher = Pusher::new(&client, &repository, Box::new(|_| ()), &cancel).unwrap();
        blobs.iter().cloned().for_each(|blob| pusher.add(blob));
        while fake.contents().blobs.len() < 3 {
            tokio::select! {
                error = pusher.failed() => panic!("{error}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        let gone = ("shop/api".to_owned(), blobs[1].descriptor.digest.to_string());
        fake.contents().blobs.remove(&gone);
        fake.faults(|faults| faults.unnamed_blobs = unnamed);
        pusher.finish(&manifest, &["v1"]).await.unwrap();
        let puts = fake.log().iter().filter(|line| line.starts_with("PUT") && line.contains("/blobs/")).count();
        assert_eq!(puts, if unnamed { 6 } else { 4 });
        assert_eq!(client.head_manifest(&repository, "v1").await.unwrap(), Some(manifest.digest));
    }
}

#[tokio::test]
async fn blobs_that_cannot_be_read_again_are_named_to_whoever_can_make_them() {
    let fake = Fake::start().await;
    let (blobs, manifest) = image_of(vec![noise(100_000)]);
    let lost = blobs[1].descriptor.digest.clone();
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    let only = vec![blobs[0].clone()];
    let error = client().push(&repository, only, &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap_err();
    assert!(error.has_lost_blobs() && error.lost_blobs() == [lost], "{error}");
    assert_eq!(client().head_manifest(&repository, "v1").await.unwrap(), None, "nothing is half-tagged");
}

#[tokio::test]
async fn a_pause_that_is_asked_for_holds_for_everything() {
    let fake = Fake::start().await;
    for as_date in [false, true] {
        let client = client();
        let after = if as_date { http_date(3) } else { "1".to_owned() };
        fake.faults(|faults| {
            faults.put_statuses = [429].into();
            faults.retry_after = Some(after.clone());
        });
        let start = Instant::now();
        push(&client, &fake).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(950), "{after}: {:?}", start.elapsed());
        fake.contents().blobs.clear();
        fake.contents().manifests.clear();
    }
}

/// A date so many seconds from now, as in HTTP.
fn http_date(seconds: i64) -> String {
    let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap()
}

#[tokio::test]
async fn a_registry_that_is_busy_storing_gives_signs_of_life() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.commit_delay = Duration::from_millis(300));
    let beat = Patience { heartbeat: Duration::from_millis(20), ..patience() };
    let client = Client::with_patience(Hosts::new(None, Vec::new()), Logins::default(), beat);
    let signs = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&signs);
    let on_progress = Box::new(move |news| {
        if matches!(news, News::Blob(BlobProgress { state: BlobState::Storing, .. })) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (blobs, manifest) = image();
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    client.push(&repository, blobs, &manifest, &["v1"], on_progress, &cancel).await.unwrap();
    assert!(signs.load(Ordering::Relaxed) > 5);
}

#[tokio::test]
async fn requests_are_counted() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.login = Some(("me".to_owned(), "pw".to_owned())));
    let client = client_as(&fake, "pw");
    let counting = client.counting();
    push(&counting, &fake).await.unwrap();
    assert_eq!(counting.requests(), fake.contents().log.len() as u64);
    assert_eq!(client.requests(), 0, "another count");
}

#[tokio::test]
async fn what_a_registry_cannot_do_with_a_post_does_not_end_a_push() {
    for status in [500, 503] {
        let fake = Fake::start().await;
        fake.seed("base/image", "v1", b"layer");
        fake.faults(|faults| faults.gamble_status = Some(status));
        push(&client(), &fake).await.unwrap();
        let (from, to) = (fake.repository("base/image").tagged("v1"), fake.repository("shop/cache"));
        let platform = Platform::default();
        let mirror = Mirror { from: &from, platform: &platform, to: &to, tags: &["v1"] };
        let report = client().mirror(mirror, Box::new(|_| ()), &CancellationToken::new()).await.unwrap();
        assert_eq!((report.sent, report.mounted), (2, 0), "{status}");
    }
}

#[tokio::test]
async fn an_image_in_dockers_first_format_is_named_as_such() {
    let fake = Fake::start().await;
    let old = r#"{ "schemaVersion": 1, "name": "library/old", "tag": "1", "fsLayers": [], "history": [] }"#;
    let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws".to_owned();
    let key = ("library/old".to_owned(), "1".to_owned());
    fake.contents().manifests.insert(key, (kind, Bytes::from(old)));
    let reference = fake.repository("library/old").tagged("1");
    let error = client().platform_manifest(&reference, &Platform::default()).await.unwrap_err();
    assert!(error.to_string().contains("schema 1"), "{error}");
}
