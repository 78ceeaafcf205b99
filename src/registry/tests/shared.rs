//! Blobs that several images of a run need at the same time: one sends each, the others take it from there.

use super::*;
use crate::image::Part;
use crate::image::part::{Answer, LayerSender, Promised, Verdict, layer};
use crate::model::Compression;
use futures::future::{join, join_all};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// A registry that mounts what it can.
async fn fake() -> Fake {
    let fake = Fake::start().await;
    fake.faults(|faults| (faults.mounts, faults.mount_gives_session) = (true, true));
    fake
}

/// An image of these layers and one of its own, so that no two are the same.
fn image_with(layers: &[Bytes], own: &str) -> (Vec<Blob>, RawManifest) {
    image_of(layers.iter().cloned().chain([Bytes::from(own.to_owned())]).collect())
}

/// Pushes such an image under `v1`.
async fn push_image(
    client: &Client,
    fake: &Fake,
    path: &str,
    layers: &[Bytes],
    cancel: &CancellationToken,
) -> Result<PushReport, Error> {
    let (blobs, manifest) = image_with(layers, path);
    client.push(&fake.repository(path), blobs, &manifest, &["v1"], Box::new(|_| ()), cancel).await
}

/// Pushes images of the same layers into so many repositories at once.
async fn push_side_by_side(client: &Client, fake: &Fake, paths: &[&str], layers: &[Bytes]) -> Vec<PushReport> {
    let cancel = CancellationToken::new();
    let pushes = paths.iter().map(|path| push_image(client, fake, path, layers, &cancel));
    join_all(pushes).await.into_iter().map(Result::unwrap).collect()
}

/// How often a blob was sent as a whole.
fn puts(fake: &Fake, blob: &[u8]) -> usize {
    let digest = format!("digest={}", Digest::of(blob)).replace(':', "%3A");
    fake.log().iter().filter(|line| line.starts_with("PUT ") && line.ends_with(&digest)).count()
}

/// The image of a repository is complete, and no session is left.
fn assert_complete(fake: &Fake, path: &str, layers: &[Bytes]) {
    let contents = fake.contents();
    assert!(contents.manifests.contains_key(&(path.to_owned(), "v1".to_owned())), "{path} has no tag");
    for layer in layers {
        let there = contents.blobs.get(&(path.to_owned(), Digest::of(layer).to_string()));
        assert!(there == Some(layer), "a layer of {path} is missing");
    }
    assert!(contents.sessions.is_empty(), "a session was left open");
}

const PATHS: [&str; 3] = ["shop/api", "shop/web", "shop/jobs"];

/// Ends a push of an image with one layer and a configuration of its own.
async fn finish(mut pusher: Pusher, path: &'static str, layer: &Descriptor) -> PushReport {
    let config = blob(media_type::OCI_CONFIG, path);
    let manifest = Manifest::new(config.descriptor.clone(), vec![layer.clone()]).to_bytes().unwrap();
    pusher.add(config);
    pusher.finish(&RawManifest::new(None, manifest.into()), &["v1"]).await.unwrap()
}

#[tokio::test]
async fn of_three_images_on_one_base_one_sends_it() {
    let fake = fake().await;
    let base = [noise(2_000_000), noise(500_000)];
    let reports = push_side_by_side(&client(), &fake, &PATHS, &base).await;
    for layer in &base {
        assert_eq!(puts(&fake, layer), 1);
    }
    let sums = |of: fn(&PushReport) -> u64| reports.iter().map(of).sum::<u64>();
    assert_eq!(sums(|report| report.mounted as u64), 4);
    assert_eq!(sums(|report| report.bytes_mounted), 2 * 2_500_000, "what was mounted is not counted as sent");
    let own: u64 = sums(|report| report.bytes_sent) - 2_500_000;
    assert!(own < 2000, "{own} bytes besides the base");
    for path in PATHS {
        assert_complete(&fake, path, &base);
    }
}

#[tokio::test]
async fn two_images_in_one_repository_send_a_layer_once_and_mount_nothing() {
    let fake = fake().await;
    let (client, base, cancel) = (client(), [noise(2_000_000)], CancellationToken::new());
    let repository = fake.repository("shop/all");
    let pushes = ["api", "web"].map(|tag| {
        let (blobs, manifest) = image_with(&base, tag);
        let (client, repository, cancel) = (client.clone(), repository.clone(), cancel.clone());
        async move { client.push(&repository, blobs, &manifest, &[tag], Box::new(|_| ()), &cancel).await.unwrap() }
    });
    let reports = join_all(pushes).await;
    assert_eq!((puts(&fake, &base[0]), reports.iter().map(|report| report.existed).sum::<usize>()), (1, 1));
    assert!(!fake.log().iter().any(|line| line.contains("mount=")));
}

#[tokio::test]
async fn a_registry_that_mounts_nothing_gets_each_layer_once_for_each_image() {
    for gives_session in [true, false] {
        let fake = Fake::start().await;
        fake.faults(|faults| faults.mount_gives_session = gives_session);
        let base: Vec<Bytes> = (0..6).map(|n| noise(200_000 + n)).collect();
        let reports = push_side_by_side(&client(), &fake, &PATHS, &base).await;
        assert_eq!(reports.iter().map(|report| report.mounted).sum::<usize>(), 0);
        for layer in &base {
            assert_eq!(puts(&fake, layer), 3);
        }
        for path in PATHS {
            assert_complete(&fake, path, &base);
        }
        let refused = fake.log().iter().filter(|line| line.contains("mount=")).count();
        assert!(refused <= 6, "{refused} mounts were tried for 6 pairs of repositories");
    }
}

#[tokio::test]
async fn a_token_that_may_not_read_the_neighbour_is_asked_for_once() {
    let fake = fake().await;
    fake.faults(|faults| {
        faults.login = Some(("me".to_owned(), "pw".to_owned()));
        faults.one_repository_a_token = true;
    });
    let base: Vec<Bytes> = (0..8).map(|n| noise(200_000 + n)).collect();
    let client = client_as(&fake, "pw");
    push_side_by_side(&client, &fake, &PATHS[..2], &base).await;
    let wide = fake.contents().log.iter().filter(|line| line.matches("scope=").count() > 1).count();
    assert!(wide <= 2, "{wide} tokens were asked for, and each was refused");
    for path in &PATHS[..2] {
        assert_complete(&fake, path, &base);
    }
}

#[tokio::test]
async fn one_token_serves_all_mounts_from_a_neighbour() {
    let fake = fake().await;
    fake.faults(|faults| faults.login = Some(("me".to_owned(), "pw".to_owned())));
    let base: Vec<Bytes> = (0..8).map(|n| noise(200_000 + n)).collect();
    let client = client_as(&fake, "pw");
    let cancel = CancellationToken::new();
    push_image(&client, &fake, "shop/api", &base, &cancel).await.unwrap();
    let report = push_image(&client, &fake, "shop/web", &base, &cancel).await.unwrap();
    assert_eq!((report.mounted, fake.count("GET /token")), (8, 3), "one for each repository, one for both");
}

#[tokio::test]
async fn where_the_first_fails_or_is_stopped_the_next_one_sends() {
    for stopped in [false, true] {
        let fake = fake().await;
        fake.faults(|faults| faults.hang_puts = true);
        let (client, base) = (client(), [noise(2_000_000)]);
        let (stop, other) = (CancellationToken::new(), CancellationToken::new());
        let first = push_image(&client, &fake, "shop/api", &base, &stop);
        let second = async {
            while puts(&fake, &base[0]) == 0 {
                tokio::task::yield_now().await;
            }
            push_image(&client, &fake, "shop/web", &base, &other).await
        };
        let end = async {
            while fake.count("HEAD /v2/shop/web") == 0 {
                tokio::task::yield_now().await;
            }
            fake.faults(|faults| faults.hang_puts = false);
            if stopped { stop.cancel() } else { fake.contents().faults.refused_path = Some("shop/api".to_owned()) }
        };
        let ((first, second), ()) = join(Box::pin(join(first, second)), end).await;
        assert!(first.is_err(), "{first:?}");
        assert_eq!(second.unwrap().mounted, 0);
        assert_complete(&fake, "shop/web", &base);
    }
}

#[tokio::test]
async fn an_offered_layer_that_another_image_sends_never_leaves_its_source() {
    let fake = fake().await;
    let (client, base, cancel) = (client(), noise(3_000_000), CancellationToken::new());
    push_image(&client, &fake, "shop/api", std::slice::from_ref(&base), &cancel).await.unwrap();
    let repository = fake.repository("shop/web");
    let mut pusher = Pusher::new(&client, &repository, Box::new(|_| ()), &cancel).unwrap();
    let (answer, answered) = oneshot::channel();
    let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(&base), base.len() as u64);
    pusher.take(Part::Offer { descriptor: descriptor.clone(), answer });
    assert!(matches!(answered.await.unwrap(), Answer::Have));
    let config = blob(media_type::OCI_CONFIG, "{}");
    let manifest = Manifest::new(config.descriptor.clone(), vec![descriptor]).to_bytes().unwrap();
    pusher.add(config);
    let report = pusher.finish(&RawManifest::new(None, manifest.into()), &["v1"]).await.unwrap();
    assert_eq!((report.mounted, report.bytes_mounted, puts(&fake, &base)), (1, 3_000_000, 1));
    assert_complete(&fake, "shop/web", &[base]);
}

/// Pushes three images side by side that offer the same layer; how often it was taken.
async fn offered_side_by_side(fake: &Fake, base: &Bytes) -> usize {
    let (client, cancel) = (client(), CancellationToken::new());
    let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(base), base.len() as u64);
    let taken = std::sync::atomic::AtomicUsize::new(0);
    let pushes = PATHS.map(|path| {
        let (client, descriptor, taken) = (&client, &descriptor, &taken);
        let cancel = &cancel;
        async move {
            let repository = fake.repository(path);
            let mut pusher = Pusher::new(client, &repository, Box::new(|_| ()), cancel).unwrap();
            let (answer, answered) = oneshot::channel();
            pusher.take(Part::Offer { descriptor: descriptor.clone(), answer });
            if let Answer::Send(sender) = answered.await.unwrap() {
                taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                sender.send(base.clone()).await.unwrap();
                sender.end(descriptor.clone()).await.unwrap();
            }
            finish(pusher, path, descriptor).await
        }
    });
    let reports = join_all(pushes).await;
    assert_eq!(reports.iter().map(|report| report.mounted).sum::<usize>(), 2);
    for path in PATHS {
        assert_complete(fake, path, std::slice::from_ref(base));
    }
    taken.into_inner()
}

#[tokio::test]
async fn of_three_offers_of_a_layer_one_is_taken() {
    let (fake, base) = (fake().await, noise(3_000_000));
    assert_eq!((offered_side_by_side(&fake, &base).await, puts(&fake, &base)), (1, 1));
}

#[tokio::test]
async fn nobody_else_begins_to_send_what_is_sent_once_more() {
    let (fake, base) = (fake().await, noise(3_000_000));
    fake.faults(|faults| faults.cut_puts = 2);
    assert_eq!(offered_side_by_side(&fake, &base).await, 1);
    assert_eq!(fake.contents().finished.get(Digest::of(&base).as_str()), Some(&1));
}

#[tokio::test]
async fn layers_of_the_same_content_that_are_made_side_by_side_go_up_once() {
    // Short ones are complete before they are sent; what they are is known then.
    let fake = fake().await;
    let (client, base, cancel) = (client(), noise(3_000_000), CancellationToken::new());
    let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(&base), base.len() as u64);
    let pushes = PATHS.map(|path| {
        let (client, fake, base, descriptor, cancel) = (&client, &fake, &base, &descriptor, &cancel);
        async move {
            let repository = fake.repository(path);
            let mut pusher = Pusher::new(client, &repository, Box::new(|_| ()), cancel).unwrap();
            let (sender, pieces) = layer();
            pusher.take(Part::Layer { pieces, about: None });
            sender.send(base.clone()).await.unwrap();
            sender.end(descriptor.clone()).await.unwrap();
            finish(pusher, path, descriptor).await
        }
    });
    join_all(pushes).await;
    assert_eq!(puts(&fake, &base), 1);
    for path in PATHS {
        assert_complete(&fake, path, std::slice::from_ref(&base));
    }
}

/// Promises a layer, again and again while somebody else brings it; where it is to be sent, if it is, and how often it was put
/// off.
async fn promise(pusher: &mut Pusher, diff_id: &Digest, compression: Compression) -> (Option<LayerSender>, usize) {
    for put_off in 0.. {
        let (answer, answered) = oneshot::channel();
        pusher.take(Part::Promise { layer: Promised { diff_id: diff_id.clone(), compression }, about: None, answer });
        match answered.await.unwrap() {
            Verdict::Have(_) => return (None, put_off),
            Verdict::Make(sender) => return (Some(sender), put_off),
            Verdict::Later(ended) => ended.await,
        }
    }
    unreachable!("it is promised until it is there")
}

/// Gives all of a layer; whether somebody took it.
async fn give(sender: LayerSender, layer: &Bytes) -> bool {
    let (mut rest, descriptor) = (layer.clone(), blob(media_type::OCI_LAYER_GZIP, layer.clone()).descriptor);
    while !rest.is_empty() {
        if sender.send(rest.split_to(rest.len().min(500_000))).await.is_err() {
            return false;
        }
    }
    sender.end(descriptor).await.is_ok()
}

/// What becomes of images of one promised layer that are pushed side by side: how often it was made and how often finished in
/// the registry, and how many images have taken it from another.
async fn promised_side_by_side(fake: &Fake, client: &Client, base: &Bytes, kinds: [Compression; 3]) -> [usize; 3] {
    let (cancel, diff_id) = (CancellationToken::new(), Digest::of(b"the archive"));
    let pushes = std::iter::zip(PATHS, kinds).map(|(path, kind)| {
        let (cancel, diff_id) = (&cancel, &diff_id);
        async move {
            let mut pusher = Pusher::new(client, &fake.repository(path), Box::new(|_| ()), cancel).unwrap();
            let (sender, _) = promise(&mut pusher, diff_id, kind).await;
            let made = sender.is_some();
            if let Some(sender) = sender {
                assert!(give(sender, base).await);
            }
            let descriptor = blob(media_type::OCI_LAYER_GZIP, base.clone()).descriptor;
            (made, finish(pusher, path, &descriptor).await)
        }
    });
    let ended = join_all(pushes).await;
    for path in PATHS {
        assert_complete(fake, path, std::slice::from_ref(base));
    }
    let finished = fake.contents().finished.get(Digest::of(base).as_str()).copied().unwrap_or(0);
    [
        ended.iter().filter(|(made, _)| *made).count(),
        finished,
        ended.iter().map(|(_, report)| report.mounted).sum::<usize>(),
    ]
}

#[tokio::test]
async fn a_promised_layer_is_made_once_and_sent_once_however_long_it_is() {
    let same = [Compression::Gzip; 3];
    // Complete in a moment; sent while it is made; sent in chunks because it cannot be held.
    for (length, budget) in [(3_000_000, 100_000_000), (14_000_000, 100_000_000), (14_000_000, 2_000_000)] {
        let fake = fake().await;
        let client = client().with_budget(budget);
        let got = promised_side_by_side(&fake, &client, &noise(length), same).await;
        assert_eq!(got, [1, 1, 2], "{length} bytes with {budget} in memory: {:#?}", fake.log());
    }
}

#[tokio::test]
async fn a_promised_layer_of_another_compression_is_made_for_itself() {
    let fake = fake().await;
    let kinds = [Compression::Gzip, Compression::Zstd, Compression::Gzip];
    let [made, ..] = promised_side_by_side(&fake, &client(), &noise(3_000_000), kinds).await;
    assert_eq!(made, 2);
}

#[tokio::test]
async fn a_promised_layer_is_made_by_everyone_where_the_registry_mounts_nothing() {
    for gives_session in [true, false] {
        let fake = Fake::start().await;
        fake.faults(|faults| faults.mount_gives_session = gives_session);
        let got = promised_side_by_side(&fake, &client(), &noise(14_000_000), [Compression::Gzip; 3]).await;
        assert_eq!(got, [3, 3, 0]);
    }
}

#[tokio::test]
async fn where_the_first_maker_of_a_promised_layer_fails_or_is_stopped_the_next_one_makes_it() {
    #[derive(Clone, Copy, Debug)]
    enum How {
        Refused,
        Stopped,
        SourceGone,
    }
    for how in [How::Refused, How::Stopped, How::SourceGone] {
        let fake = fake().await;
        let (client, base, diff_id) = (client(), noise(14_000_000), Digest::of(b"the archive"));
        let (stop, cancel) = (CancellationToken::new(), CancellationToken::new());
        let pusher = |path, cancel| Pusher::new(&client, &fake.repository(path), Box::new(|_| ()), cancel).unwrap();
        let (mut first, mut second) = (pusher("shop/api", &stop), pusher("shop/web", &cancel));
        let (sender, _) = promise(&mut first, &diff_id, Compression::Gzip).await;
        let sender = sender.unwrap();
        let waiting = promise(&mut second, &diff_id, Compression::Gzip);
        let failing = async {
            match how {
                How::Refused => {
                    fake.contents().faults.refused_path = Some("shop/api".to_owned());
                    give(sender, &base).await;
                }
                How::Stopped => {
                    sender.send(base.slice(..8_000_000)).await.unwrap();
                    stop.cancel();
                }
                How::SourceGone => {
                    sender.send(base.slice(..8_000_000)).await.unwrap();
                    drop(sender);
                }
            }
            first.wait().await
        };
        let ((again, put_off), failed) = join(waiting, failing).await;
        assert_eq!((put_off, failed.is_err()), (1, !matches!(how, How::SourceGone)), "{how:?}: {failed:?}");
        assert!(give(again.expect("it is ours now"), &base).await);
        finish(second, "shop/web", &blob(media_type::OCI_LAYER_GZIP, base.clone()).descriptor).await;
        assert_complete(&fake, "shop/web", &[base]);
    }
}

#[tokio::test]
async fn after_a_push_that_was_killed_no_finished_blob_is_sent_again() {
    let fake = fake().await;
    let base = [noise(2_000_000), noise(1_500_000)];
    // The first run: the base has come into one repository, and nothing else was finished.
    for layer in &base {
        let key = ("shop/jobs".to_owned(), Digest::of(layer).to_string());
        fake.contents().blobs.insert(key, layer.clone());
    }
    let client = client();
    for path in PATHS {
        client.works_on(&fake.repository(path));
    }
    let reports = push_side_by_side(&client, &fake, &PATHS, &base).await;
    for layer in &base {
        assert_eq!(puts(&fake, layer), 0, "{:#?}", fake.log());
    }
    assert_eq!(reports.iter().map(|report| report.mounted).sum::<usize>(), 4);
    for path in PATHS {
        assert_complete(&fake, path, &base);
    }
}

/// Images as lists of layers, by number.
fn images() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let layers = proptest::collection::btree_set(0..6_usize, 1..5).prop_map(|set| set.into_iter().collect());
    proptest::collection::vec(layers, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_digest_is_sent_once_and_all_images_are_complete(
        images in images(),
        mounts in any::<bool>(),
        cuts in 0..3_u32,
        budget in prop_oneof![Just(500_000_u64), Just(100_000_000)],
        kinds in proptest::collection::vec(0..4_u8, 6),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let fake = Fake::start().await;
            fake.faults(|faults| {
                (faults.mounts, faults.mount_gives_session, faults.cut_puts) = (mounts, cuts % 2 == 0, cuts);
            });
            // Small ones, and some around the size from which blobs are looked for.
            let all: Vec<Bytes> = [900, 40_000, 70_000, 300_000, 1_100_000, 2_000_000].map(noise).into();
            let client = client().with_budget(budget);
            let cancel = CancellationToken::new();
            let paths: Vec<String> = (0..images.len()).map(|at| format!("shop/image-{at}")).collect();
            for path in &paths {
                client.works_on(&fake.repository(path));
            }
            let pushes = images.iter().zip(&paths).map(|(layers, path)| {
                let layers: Vec<(Bytes, u8)> = layers.iter().map(|at| (all[*at].clone(), kinds[*at])).collect();
                push_of_all_kinds(&client, &fake, path, layers, &cancel)
            });
            join_all(pushes).await;
            let mut sent = BTreeMap::new();
            for (at, layer) in all.iter().enumerate() {
                let finished = fake.contents().finished.get(&Digest::of(layer).to_string()).copied().unwrap_or(0);
                sent.insert(at, (finished, images.iter().filter(|image| image.contains(&at)).count()));
            }
            for (at, (finished, wanted)) in &sent {
                // What is made and cannot be held goes up before anybody knows what it is.
                let is_known = kinds[*at] != 2 || budget > 1_000_000;
                let most = if mounts && is_known { 1 } else { *wanted };
                assert!(*finished <= most, "layer {at} was sent {finished} times for {wanted} images: {sent:?}");
            }
            for (layers, path) in images.iter().zip(&paths) {
                let layers: Vec<Bytes> = layers.iter().map(|at| all[*at].clone()).collect();
                assert_complete(&fake, path, &layers);
            }
        });
    }
}

/// Pushes an image whose layers come in different ways: 0 as blobs that can be read again, 1 offered, 2 made, 3 promised.
async fn push_of_all_kinds(
    client: &Client,
    fake: &Fake,
    path: &str,
    layers: Vec<(Bytes, u8)>,
    cancel: &CancellationToken,
) {
    let repository = fake.repository(path);
    let mut pusher = Pusher::new(client, &repository, Box::new(|_| ()), cancel).unwrap();
    let config = blob(media_type::OCI_CONFIG, path.to_owned());
    let mut descriptors = Vec::new();
    pusher.add(config.clone());
    for (bytes, kind) in layers {
        let one = blob(media_type::OCI_LAYER_GZIP, bytes.clone());
        let descriptor = one.descriptor.clone();
        descriptors.push(descriptor.clone());
        let (sender, pieces) = layer();
        let sender = match kind {
            0 => {
                pusher.add(one);
                None
            }
            1 => {
                let (answer, answered) = oneshot::channel();
                pusher.take(Part::Offer { descriptor: descriptor.clone(), answer });
                match answered.await.unwrap() {
                    Answer::Have => None,
                    Answer::Send(sender) => Some(sender),
                }
            }
            2 => {
                pusher.take(Part::Layer { pieces, about: None });
                Some(sender)
            }
            _ => promise(&mut pusher, &descriptor.digest, Compression::Gzip).await.0,
        };
        if let Some(sender) = sender {
            let mut rest = bytes;
            while !rest.is_empty() {
                sender.send(rest.split_to(rest.len().min(100_000))).await.unwrap();
            }
            sender.end(descriptor).await.unwrap();
        }
    }
    let manifest = Manifest::new(config.descriptor, descriptors).to_bytes().unwrap();
    pusher.finish(&RawManifest::new(None, manifest.into()), &["v1"]).await.unwrap();
}
