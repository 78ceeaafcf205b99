//! Layers that come while they are made: held in memory, offered, or sent in chunks.

use super::fake::Faults;
use super::made::{MIB, assert_there, push_made};
use super::*;
use crate::image::Part;
use crate::image::part::{Answer, LayerSender, Promised, Verdict, layer};
use crate::model::Compression;
use tokio::sync::oneshot;

/// A client that holds so many bytes of layers at most.
fn client_with(budget: usize) -> Client {
    client().with_budget(budget as u64)
}

/// Gives all of a layer.
async fn give(sender: LayerSender, mut rest: Bytes, descriptor: &Descriptor) {
    while !rest.is_empty() {
        sender.send(rest.split_to(rest.len().min(MIB))).await.unwrap();
    }
    sender.end(descriptor.clone()).await.unwrap();
}

#[tokio::test]
async fn a_layer_that_can_be_held_is_one_put() {
    let fake = Fake::start().await;
    let bytes = noise(3 * MIB);
    let report = push_made(&client_with(4 * MIB), &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_eq!((fake.count("PATCH "), report.bytes_compressed), (0, bytes.len() as u64));
    assert_there(&fake, &bytes);
    fake.forget();
    let report = push_made(&client_with(4 * MIB), &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_eq!((report.existed, fake.count("HEAD "), fake.count("PUT /v2/shop/api/blobs/")), (1, 1, 1));
}

#[tokio::test]
async fn a_layer_that_cannot_be_held_goes_up_in_chunks() {
    let fake = Fake::start().await;
    let bytes = noise(70 * MIB);
    push_made(&client_with(20 * MIB), &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_there(&fake, &bytes);
    let chunks = fake.count("PATCH ");
    assert!((2..=5).contains(&chunks), "{chunks} chunks");
    assert_eq!(fake.contents().received, bytes.len() as u64 + 4, "each byte once, and the configuration twice");
}

#[tokio::test]
async fn a_cut_chunk_goes_on_where_the_registry_stands() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.cut_patches = 3);
    let bytes = noise(40 * MIB);
    push_made(&client_with(4 * MIB), &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_there(&fake, &bytes);
    let received = fake.contents().received;
    assert!(received <= bytes.len() as u64 * 105 / 100, "{received} of {}", bytes.len());
    assert_eq!(fake.count("POST "), 2);
}

#[tokio::test]
async fn what_was_on_its_way_when_a_chunk_was_cut_is_waited_for() {
    let fake = Fake::start().await;
    fake.faults(|faults| (faults.cut_patches, faults.late_steps) = (2, 4));
    let bytes = noise(40 * MIB);
    push_made(&client_with(4 * MIB), &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_there(&fake, &bytes);
    assert_eq!(fake.contents().received, bytes.len() as u64 + 4, "each byte once, and the configuration twice");
    assert_eq!(fake.count("POST "), 2);
}

#[tokio::test]
async fn a_cut_upload_that_goes_on_growing_forever_is_left_alone() {
    let fake = Fake::start().await;
    fake.faults(|faults| (faults.cut_patches, faults.late_steps) = (1, 100_000));
    let patience = Patience { stall: Duration::from_millis(100), ..patience() };
    let client = Client::with_patience(Hosts::new(None, Vec::new()), Logins::default(), patience);
    let bytes = noise(20 * MIB);
    push_made(&client.with_budget(8 * MIB as u64), &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_there(&fake, &bytes);
    assert_eq!(fake.count("POST "), 3, "a session for each of the two goes, and one for the configuration");
}

#[tokio::test]
async fn a_stream_that_is_lost_in_its_first_chunk_begins_anew() {
    let fake = Fake::start().await;
    fake.faults(|faults| (faults.cut_patches, faults.stale_state_cancels) = (1, true));
    let bytes = noise(40 * MIB);
    push_made(&client_with(4 * MIB), &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_there(&fake, &bytes);
}

#[tokio::test]
async fn a_stream_that_is_lost_later_wants_its_source_again() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.stale_state_cancels = true);
    let (bytes, client) = (noise(60 * MIB), client_with(4 * MIB));
    let watched = fake.clone();
    let cutting = tokio::spawn(async move {
        while watched.count("PATCH ") < 1 {
            tokio::task::yield_now().await;
        }
        watched.faults(|faults| faults.cut_patches = 1);
    });
    let error = push_made(&client, &fake.repository("shop/api"), &bytes).await.unwrap_err();
    assert!(error.wants_replay(), "{error}");
    assert!(fake.contents().sessions.is_empty(), "the session is told to go");
    cutting.await.unwrap();
    push_made(&client, &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_there(&fake, &bytes);
}

#[tokio::test]
async fn a_refused_chunk_is_tried_again() {
    for stale_state_cancels in [false, true] {
        let fake = Fake::start().await;
        fake.faults(|faults| {
            faults.stale_state_cancels = stale_state_cancels;
            faults.patch_statuses = [503, 429, 500].into();
        });
        let bytes = noise(40 * MIB);
        push_made(&client_with(4 * MIB), &fake.repository("shop/api"), &bytes).await.unwrap();
        assert_there(&fake, &bytes);
    }
}

#[tokio::test]
async fn ghcr_takes_chunks_of_four_mebibytes() {
    let fake = Fake::start().await;
    fake.faults(|faults| faults.longest_chunk = Some(4 * MIB));
    let bytes = noise(30 * MIB);
    push_made(&client_with(4 * MIB), &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_there(&fake, &bytes);
}

/// A registry with this fault, which takes no layer in chunks, gets it as one body when its source gives it again.
async fn gets_one_body_in_the_end(fault: fn(&mut Faults)) {
    let fake = Fake::start().await;
    fake.faults(fault);
    let (bytes, client) = (noise(30 * MIB), client_with(4 * MIB));
    let error = push_made(&client, &fake.repository("shop/api"), &bytes).await.unwrap_err();
    assert!(error.wants_replay(), "{error}");
    fake.forget();
    push_made(&client, &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_there(&fake, &bytes);
    assert_eq!(fake.count("PATCH "), 1);
}

#[tokio::test]
async fn ecr_gets_one_body_when_its_source_gives_the_layer_again() {
    gets_one_body_in_the_end(|faults| faults.first_chunk_only = true).await;
}

#[tokio::test]
async fn google_gets_one_body_when_its_source_gives_the_layer_again() {
    gets_one_body_in_the_end(|faults| faults.no_chunks = true).await;
}

#[tokio::test]
async fn no_chunk_but_the_last_is_shorter_than_the_registry_allows() {
    // With the smaller budget nothing goes up early; with the other one a beginning that is too short does.
    for budget in [4 * MIB, 20 * MIB] {
        let fake = Fake::start().await;
        fake.faults(|faults| faults.shortest_chunk = Some(24 * MIB));
        let bytes = noise(60 * MIB);
        push_made(&client_with(budget), &fake.repository("shop/api"), &bytes).await.unwrap();
        assert_there(&fake, &bytes);
    }
}

#[tokio::test]
async fn the_answer_to_the_end_of_a_stream_may_be_lost() {
    let fake = Fake::start().await;
    let (bytes, client) = (noise(20 * MIB), client_with(4 * MIB));
    fake.faults(|faults| faults.swallow_put_answers = 2);
    push_made(&client, &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_there(&fake, &bytes);
    fake.contents().blobs.clear();
    fake.faults(|faults| faults.put_statuses = [500, 503].into());
    push_made(&self::client_with(4 * MIB), &fake.repository("shop/api"), &bytes).await.unwrap();
    assert_there(&fake, &bytes);
}

#[tokio::test]
async fn a_layer_that_turns_out_to_be_known_leaves_nothing_behind() {
    for made in [MIB, 30 * MIB] {
        let fake = Fake::start().await;
        let client = client_with(4 * MIB);
        let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
        let mut pusher = Pusher::new(&client, &repository, Box::new(|_| ()), &cancel).unwrap();
        let (sender, pieces) = layer();
        pusher.take(Part::Layer { pieces, about: None });
        let mut rest = noise(made);
        while !rest.is_empty() {
            sender.send(rest.split_to(MIB)).await.unwrap();
        }
        drop(sender);
        let config = blob(media_type::OCI_CONFIG, "{}");
        let manifest = Manifest::new(config.descriptor.clone(), Vec::new()).to_bytes().unwrap();
        pusher.add(config);
        let manifest = RawManifest::new(None, manifest.into());
        let report = pusher.finish(&manifest, &["v1"]).await.unwrap();
        assert_eq!((report.sent, report.bytes_compressed), (1, 0));
        assert!(fake.contents().sessions.is_empty(), "a session was left open");
    }
}

/// A layer that is begun and not complete, of which the registry has begun to take something.
async fn begun(pusher: &mut Pusher, fake: &Fake, bytes: &Bytes) -> (LayerSender, Bytes) {
    let (sender, pieces) = layer();
    pusher.take(Part::Layer { pieces, about: None });
    let (mut rest, before) = (bytes.clone(), fake.count("PATCH "));
    while rest.len() > MIB {
        sender.send(rest.split_to(MIB)).await.unwrap();
    }
    while fake.count("PATCH ") == before {
        tokio::time::sleep(Duration::from_millis(1)).await; // it is not complete, and never will be if nobody sends it
    }
    (sender, rest)
}

/// Ends a push of these layers.
async fn finish(mut pusher: Pusher, layers: &[&Descriptor]) -> Result<PushReport, Error> {
    let config = blob(media_type::OCI_CONFIG, "{}");
    let layers = layers.iter().copied().cloned().collect();
    let manifest = Manifest::new(config.descriptor.clone(), layers).to_bytes().unwrap();
    pusher.add(config);
    pusher.finish(&RawManifest::new(None, manifest.into()), &["v1"]).await
}

/// A push into `shop/api`, a layer for it, and what that is.
fn early(fake: &Fake) -> (Pusher, Bytes, Descriptor) {
    let (repository, bytes) = (fake.repository("shop/api"), noise(14 * MIB));
    let pusher = Pusher::new(&client(), &repository, Box::new(|_| ()), &CancellationToken::new()).unwrap();
    let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(&bytes), bytes.len() as u64);
    (pusher, bytes, descriptor)
}

#[tokio::test]
async fn a_long_layer_goes_up_while_it_is_made() {
    let fake = Fake::start().await;
    let (mut pusher, bytes, descriptor) = early(&fake);
    let (sender, rest) = begun(&mut pusher, &fake, &bytes).await;
    give(sender, rest, &descriptor).await;
    let report = finish(pusher, &[&descriptor]).await.unwrap();
    assert_eq!((report.sent, report.bytes_compressed), (2, bytes.len() as u64));
    assert_there(&fake, &bytes);
    let requests = ["HEAD ", "POST ", "PATCH ", "PUT /v2/shop/api/blobs/"].map(|request| fake.count(request));
    assert_eq!(requests, [0, 2, 1, 2], "one of two POSTs and of two PUTs is the configuration's");
}

#[tokio::test]
async fn a_layer_that_is_known_to_be_long_goes_up_with_its_first_bytes() {
    for promise in [false, true] {
        let fake = Fake::start().await;
        let (mut pusher, bytes, blob) = early(&fake);
        let about = Some(bytes.len() as u64 * 2);
        let sender = if promise {
            let (answer, answered) = oneshot::channel();
            let layer = Promised { diff_id: Digest::of(b"the archive"), compression: Compression::Gzip };
            pusher.take(Part::Promise { layer, about, answer });
            let Ok(Verdict::Make(sender)) = answered.await else { panic!("nobody else makes it") };
            sender
        } else {
            let (sender, pieces) = layer();
            pusher.take(Part::Layer { pieces, about });
            sender
        };
        let mut rest = bytes.clone();
        sender.send(rest.split_to(MIB)).await.unwrap();
        while fake.count("PATCH ") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await; // no more comes, and none would go up if nobody sent it
        }
        give(sender, rest, &blob).await;
        finish(pusher, &[&blob]).await.unwrap();
        assert_there(&fake, &bytes);
    }
}

#[tokio::test]
async fn an_early_upload_that_fails_costs_nothing_but_time() {
    for fault in 0..4 {
        let fake = Fake::start().await;
        fake.faults(|faults| match fault {
            0 => faults.cut_patches = 1,
            1 => faults.patch_statuses = [416].into(),
            2 => faults.patch_statuses = [503].into(),
            _ => faults.swallow_put_answers = 1,
        });
        let (mut pusher, bytes, descriptor) = early(&fake);
        let (sender, rest) = begun(&mut pusher, &fake, &bytes).await;
        give(sender, rest, &descriptor).await;
        let report = finish(pusher, &[&descriptor]).await.unwrap();
        assert_there(&fake, &bytes);
        assert_eq!(report.new.len() + report.existed, 2, "fault {fault}");
    }
}

#[tokio::test]
async fn an_early_upload_that_is_cut_goes_on_where_the_registry_stands() {
    // One that can be held until it is complete, and one that cannot.
    for (budget, size, cut) in [(64 * MIB, 14 * MIB, 7 * MIB), (20 * MIB, 40 * MIB, 12 * MIB)] {
        for resumes in [true, false] {
            let fake = Fake::start().await;
            fake.faults(|faults| {
                (faults.cut_patches, faults.cut_after, faults.stale_state_cancels) = (1, Some(cut), !resumes);
            });
            let bytes = noise(size);
            push_made(&client_with(budget), &fake.repository("shop/api"), &bytes).await.unwrap();
            assert_there(&fake, &bytes);
            assert_eq!(fake.contents().faults.cut_patches, 0, "it has happened");
            let received = fake.contents().received;
            let most = if resumes { size * 105 / 100 } else { size + cut + 100 };
            assert!(received <= most as u64, "{received} of {size} bytes");
        }
    }
}

#[tokio::test]
async fn an_early_upload_of_what_is_not_needed_leaves_nothing_behind() {
    let fake = Fake::start().await;
    let (mut pusher, bytes, descriptor) = early(&fake);
    let (sender, _) = begun(&mut pusher, &fake, &bytes).await;
    drop(sender);
    let twice = [begun(&mut pusher, &fake, &bytes).await, begun(&mut pusher, &fake, &bytes).await];
    for (sender, rest) in twice {
        give(sender, rest, &descriptor).await;
    }
    let report = finish(pusher, &[&descriptor, &descriptor]).await.unwrap();
    assert_eq!((report.sent, report.bytes_compressed), (2, bytes.len() as u64));
    assert_there(&fake, &bytes);
}

#[tokio::test]
async fn an_offer_is_taken_only_where_the_registry_lacks_it() {
    let fake = Fake::start().await;
    // One that fits, and one that does not.
    for (budget, size) in [(8 * MIB, 4 * MIB), (8 * MIB, 20 * MIB)] {
        let (client, bytes) = (client_with(budget), noise(size));
        let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(&bytes), bytes.len() as u64);
        for is_there in [false, true] {
            let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
            let mut pusher = Pusher::new(&client, &repository, Box::new(|_| ()), &cancel).unwrap();
            let (answer, answered) = oneshot::channel();
            pusher.take(Part::Offer { descriptor: descriptor.clone(), answer });
            match answered.await.unwrap() {
                Answer::Have => assert!(is_there),
                Answer::Send(sender) => {
                    assert!(!is_there);
                    give(sender, bytes.clone(), &descriptor).await;
                }
            }
            let config = blob(media_type::OCI_CONFIG, "{}");
            let manifest = Manifest::new(config.descriptor.clone(), vec![descriptor.clone()]).to_bytes().unwrap();
            pusher.add(config);
            let manifest = RawManifest::new(None, manifest.into());
            pusher.finish(&manifest, &["v1"]).await.unwrap();
            assert_there(&fake, &bytes);
        }
    }
}

#[tokio::test]
async fn an_offer_may_be_complete_in_the_registry_before_its_sender_says_so() {
    let fake = Fake::start().await;
    let (client, bytes) = (client_with(4 * MIB), noise(MIB));
    let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(&bytes), bytes.len() as u64);
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    let mut pusher = Pusher::new(&client, &repository, Box::new(|_| ()), &cancel).unwrap();
    let (answer, answered) = oneshot::channel();
    pusher.take(Part::Offer { descriptor: descriptor.clone(), answer });
    let Answer::Send(sender) = answered.await.unwrap() else { panic!("the registry has nothing") };
    sender.send(bytes.clone()).await.unwrap();
    let target = crate::registry::target::Target::new(&client, &repository).unwrap();
    while !target.known.is_in(&target.path, &descriptor.digest) {
        tokio::time::sleep(Duration::from_millis(1)).await; // its upload has not ended yet
    }
    sender.end(descriptor.clone()).await.unwrap();
    let config = blob(media_type::OCI_CONFIG, "{}");
    let manifest = Manifest::new(config.descriptor.clone(), vec![descriptor]).to_bytes().unwrap();
    pusher.add(config);
    pusher.finish(&RawManifest::new(None, manifest.into()), &["v1"]).await.unwrap();
    assert_there(&fake, &bytes);
}

#[tokio::test]
async fn an_offer_that_is_withdrawn_or_is_something_else_leaves_nothing_behind() {
    let fake = Fake::start().await;
    let client = client_with(4 * MIB);
    let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"x"), 3 * MIB as u64);
    for withdrawn in [true, false] {
        fake.forget();
        let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
        let mut pusher = Pusher::new(&client, &repository, Box::new(|_| ()), &cancel).unwrap();
        let (answer, answered) = oneshot::channel();
        pusher.take(Part::Offer { descriptor: descriptor.clone(), answer });
        let Answer::Send(sender) = answered.await.unwrap() else { panic!("the registry has nothing") };
        sender.send(noise(MIB)).await.unwrap();
        while fake.count("PUT ") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await; // a session that nobody knows of cannot be ended
        }
        if withdrawn {
            drop(sender);
        } else {
            sender.end(Descriptor::new("", Digest::of(b"y"), 1)).await.unwrap();
        }
        let config = blob(media_type::OCI_CONFIG, "{}");
        let manifest = Manifest::new(config.descriptor.clone(), Vec::new()).to_bytes().unwrap();
        pusher.add(config);
        let manifest = RawManifest::new(None, manifest.into());
        let result = pusher.finish(&manifest, &["v1"]).await;
        assert_eq!(result.is_ok(), withdrawn, "{result:?}");
        assert!(fake.contents().sessions.is_empty(), "a session was left open");
    }
}

#[tokio::test]
async fn many_layers_at_once_never_wait_for_each_other_forever() {
    let fake = Fake::start().await;
    let client = client_with(8 * MIB);
    let layers: Vec<Bytes> = (0..6).map(|n| noise(5 * MIB + n)).collect();
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    let mut pusher = Pusher::new(&client, &repository, Box::new(|_| ()), &cancel).unwrap();
    let mut senders = Vec::new();
    for bytes in &layers {
        let (sender, pieces) = layer();
        pusher.take(Part::Layer { pieces, about: None });
        let bytes = bytes.clone();
        senders.push(tokio::spawn(async move {
            let (mut rest, digest) = (bytes.clone(), Digest::of(&bytes));
            while !rest.is_empty() {
                sender.send(rest.split_to(rest.len().min(MIB))).await.unwrap();
            }
            let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, digest, bytes.len() as u64);
            sender.end(descriptor.clone()).await.unwrap();
            descriptor
        }));
    }
    let made = futures::future::join_all(senders).await.into_iter().map(Result::unwrap).collect();
    let config = blob(media_type::OCI_CONFIG, "{}");
    let manifest = Manifest::new(config.descriptor.clone(), made).to_bytes().unwrap();
    pusher.add(config);
    let manifest = RawManifest::new(None, manifest.into());
    pusher.finish(&manifest, &["v1"]).await.unwrap();
    for bytes in &layers {
        assert_there(&fake, bytes);
    }
}
