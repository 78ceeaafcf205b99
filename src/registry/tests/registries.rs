//! What single registries do in their own way, one test each. Where the sandbox has the registry itself, its own tests show
//! it as well.

use super::made::MIB;
use super::*;
use crate::image::Part;
use crate::image::part::{LayerSender, layer};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Barrier;

#[tokio::test]
async fn several_registries_on_one_s3_get_fewer_uploads_at_once_until_no_session_is_lost() {
    let fake = Fake::start().await;
    fake.faults(|faults| (faults.puts_at_once, faults.commit_delay) = (Some(1), Duration::from_millis(20)));
    let (blobs, manifest) = image_of((0..6).map(|n| noise(100_000 + n)).collect());
    let client = client();
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    client.push(&repository, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap();
    assert!(client.known(&fake.host).limiter.mark() > 0, "nothing was halved");
    assert!(fake.contents().sessions.is_empty(), "a session was left open");
}

#[tokio::test]
async fn ecr_is_asked_for_no_more_than_a_thousand_tags_at_once() {
    let fake = Fake::start().await;
    fake.seed("shop/api", "v1", b"layer");
    fake.faults(|faults| faults.largest_page = Some(1000));
    assert_eq!(client().all_tags(&fake.repository("shop/api")).await.unwrap(), ["v1"]);
    assert_eq!(client().tags(&fake.repository("shop/api")).await.unwrap(), ["v1"]);
}

#[tokio::test]
async fn docker_hub_mounts_for_a_token_that_may_read_the_other_repository() {
    let fake = Fake::start().await;
    fake.faults(|faults| {
        faults.login = Some(("me".to_owned(), "pw".to_owned()));
        (faults.mounts, faults.mount_gives_session, faults.mount_wants_scope) = (true, true, true);
    });
    let (client, layer, cancel) = (client_as(&fake, "pw"), noise(100_000), CancellationToken::new());
    let mut mounted = Vec::new();
    for path in ["shop/api", "shop/web"] {
        let (blobs, manifest) = image_of(vec![layer.clone(), Bytes::from(path)]);
        let repository = fake.repository(path);
        let report = client.push(&repository, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap();
        mounted.push(report.mounted);
    }
    assert_eq!(mounted, [0, 1]);
    let asked = fake.contents().log.iter().filter(|line| line.contains("mount=")).cloned().collect::<Vec<_>>();
    assert!(asked.iter().all(|line| !line.contains("origin=")), "a blob of another registry breaks it: {asked:?}");
}

#[tokio::test]
async fn quay_is_told_from_where_to_mount() {
    let fake = Fake::start().await;
    fake.seed("base/image", "v1", b"layer");
    fake.faults(|faults| (faults.mounts, faults.mount_wants_from) = (true, true));
    let (from, to, platform) =
        (fake.repository("base/image").tagged("v1"), fake.repository("a/b"), Platform::default());
    let mirror = Mirror { from: &from, platform: &platform, to: &to, tags: &["v1"] };
    let report = client().mirror(mirror, Box::new(|_| ()), &CancellationToken::new()).await.unwrap();
    assert_eq!((report.mounted, report.sent), (2, 0));
}

#[tokio::test]
async fn artifactory_gets_its_blobs_by_patch_where_it_finds_none_in_a_put() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.wants_patch = true);
    push(&client(), &fake).await.unwrap();
    assert_pushed(&client(), &fake).await;
    assert!(fake.count("PATCH ") >= 2, "each blob is a body of its own");
}

#[tokio::test]
async fn a_session_that_was_lost_with_its_blob_does_not_make_a_registry_one_that_wants_patches() {
    // GHCR answers so when it has lost an upload, and takes no more than four mebibytes with a PATCH.
    let fake = Fake::start().await;
    fake.faults(|faults| (faults.longest_chunk, faults.lose_blobs) = (Some(4 * MIB), 1));
    push(&client(), &fake).await.unwrap();
    assert_pushed(&client(), &fake).await;
}

#[tokio::test]
async fn a_token_service_may_refuse_the_other_method_in_any_way() {
    for by_post in [true, false] {
        for status in [401, 404, 405, 501] {
            let fake = Fake::start().await;
            fake.faults(|faults| {
                faults.login = Some(("me".to_owned(), "pw".to_owned()));
                (faults.token_by_post, faults.other_method) = (by_post, Some(status));
            });
            push(&client_as(&fake, "pw"), &fake).await.unwrap();
            assert_pushed(&client_as(&fake, "pw"), &fake).await;
            let error = push(&client_as(&fake, "wrong"), &fake).await.unwrap_err();
            assert!(error.to_string().contains("does not accept the login"), "{by_post} {status}: {error}");
        }
    }
}

/// A client for which DigitalOcean's name leads to this registry.
fn client_of_digitalocean(fake: &Fake) -> (tempfile::TempDir, Client) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("registry.digitalocean.com/hosts.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, format!("[host.\"http://{}\"]\n", fake.host)).unwrap();
    let logins = Logins::default();
    logins.set("registry.digitalocean.com", "me", Secret::new("pw"));
    let hosts = Hosts::new(Some(folder.path().to_owned()), Vec::new());
    (folder, Client::with_patience(hosts, logins, patience()))
}

#[tokio::test]
async fn digitalocean_is_never_asked_for_a_repository_of_another_registry() {
    for (from, wanted) in [("base/image", false), ("shop/base", true)] {
        let fake = Fake::start().await;
        fake.seed(from, "v1", b"layer");
        fake.faults(|faults| {
            faults.login = Some(("me".to_owned(), "pw".to_owned()));
            (faults.mounts, faults.own_scopes_only) = (true, Some("shop".to_owned()));
        });
        let mut layer = blob(media_type::OCI_LAYER_GZIP, "layer");
        layer.mount_from = Some(from.to_owned());
        let manifest =
            RawManifest::new(None, Manifest::new(layer.descriptor.clone(), vec![]).to_bytes().unwrap().into());
        let (_folder, client) = client_of_digitalocean(&fake);
        let repository =
            crate::model::Repository { registry: "registry.digitalocean.com".to_owned(), path: "shop/api".to_owned() };
        let cancel = CancellationToken::new();
        let report =
            client.push(&repository, vec![layer], &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap();
        assert_eq!(report.mounted, usize::from(wanted), "{from}");
        let named = fake.contents().log.iter().filter(|line| line.contains(&from.replace('/', "%2F"))).count();
        assert_eq!(named > 0, wanted, "{from}: {:#?}", fake.contents().log);
        assert_eq!(fake.count("POST /token"), 0);
    }
}

#[tokio::test]
async fn a_blob_that_is_redirected_is_there_and_not_fetched() {
    let (fake, store) = (Fake::start().await, Fake::start().await);
    push(&client(), &fake).await.unwrap();
    fake.faults(|faults| faults.redirect_blobs = Some(store.host.clone()));
    fake.forget();
    let report = push(&client(), &fake).await.unwrap();
    assert_eq!((report.sent, report.existed, fake.count("HEAD ")), (1, 1, 1), "only the small configuration");
    assert_eq!(store.contents().log, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_there_is_asked_for_side_by_side() {
    let fake = Fake::start().await;
    for tag in ["v1", "ck-1", "latest"] {
        fake.seed("shop/api", tag, tag.as_bytes());
    }
    fake.faults(|faults| faults.login = Some(("me".to_owned(), "pw".to_owned())));
    // The three manifests are given when all three are asked for, and so are their configurations.
    fake.faults(|faults| faults.gather = Some(Arc::new(Barrier::new(3))));
    let (client, repository, platform) = (client_as(&fake, "pw"), fake.repository("shop/api"), Platform::default());
    let asked = client.diff_index(&repository, &["v1", "ck-1", "latest"], &platform);
    let found = tokio::time::timeout(Duration::from_secs(20), asked).await.expect("one is waited for before the next");
    assert_eq!(found.layers().count(), 3);
}

#[tokio::test]
async fn each_complaint_halves_how_many_run_at_once_and_nothing_else_does() {
    for (statuses, halves) in
        [(vec![429], true), (vec![503], true), (vec![416], true), (vec![500], false), (vec![], false)]
    {
        let fake = Fake::start().await;
        fake.faults(|faults| faults.put_statuses = statuses.clone().into());
        let client = client();
        push(&client, &fake).await.unwrap();
        assert_eq!(client.known(&fake.host).limiter.mark() > 0, halves, "{statuses:?}");
    }
}

#[tokio::test]
async fn a_mirror_from_another_registry_mounts_nothing() {
    let (source, target) = (Fake::start().await, Fake::start().await);
    for fake in [&source, &target] {
        fake.seed("base/image", "v1", b"layer");
    }
    target.faults(|faults| (faults.mounts, faults.mount_gives_session) = (true, true));
    let (from, to, platform) =
        (source.repository("base/image").tagged("v1"), target.repository("shop/api"), Platform::default());
    let mirror = Mirror { from: &from, platform: &platform, to: &to, tags: &["v1"] };
    let report = client().mirror(mirror, Box::new(|_| ()), &CancellationToken::new()).await.unwrap();
    assert_eq!((report.sent, report.mounted), (2, 0));
    assert!(!target.log().iter().any(|line| line.contains("mount=")), "{:#?}", target.log());
}

/// Gives a layer of three mebibytes, piece by piece, and counts what is taken.
async fn give_three(sender: LayerSender, number: usize, taken: Arc<AtomicUsize>) {
    let bytes = noise(3 * MIB + number);
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(MIB / 4));
        let length = piece.len();
        sender.send(piece).await.unwrap();
        taken.fetch_add(length, Ordering::Relaxed);
    }
    let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(&bytes), bytes.len() as u64);
    sender.end(descriptor).await.unwrap();
}

#[tokio::test]
async fn all_layers_together_take_no_more_memory_than_is_allowed() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.hang_puts = true); // nothing comes free
    let client = client().with_budget(8 << 20);
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    let mut pusher = Pusher::new(&client, &repository, Box::new(|_| ()), &cancel).unwrap();
    let (taken, mut giving) = (Arc::new(AtomicUsize::new(0)), tokio::task::JoinSet::new());
    // Two are complete and stand before the registry; then the others come.
    for number in 0..8 {
        while number == 2 && fake.count("PUT ") < 2 {
            tokio::task::yield_now().await;
        }
        let (sender, pieces) = layer();
        pusher.take(Part::Layer { pieces, about: None });
        giving.spawn(give_three(sender, number, Arc::clone(&taken)));
    }
    let mut before = 0;
    while before < 8 * MIB || before != taken.load(Ordering::Relaxed) {
        before = taken.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(before < 16 * MIB, "{before} bytes of 24 MiB were taken in where 8 MiB may be held");
    fake.faults(|faults| faults.hang_puts = false);
    while let Some(given) = giving.join_next().await {
        given.unwrap();
    }
    pusher.wait().await.unwrap();
    assert_eq!(fake.contents().blobs.len(), 8);
}
