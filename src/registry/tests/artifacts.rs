//! Artifacts beside their subject, and the lists of them.

use super::client;
use super::small::{Race, Small};
use crate::image::Descriptor;
use crate::image::referrers::{Artifact, with_artifacts};
use crate::model::Digest;
use crate::registry::Error;
use bytes::Bytes;
use reqwest::StatusCode;
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;

/// An artifact about a manifest.
fn artifact(subject: &Descriptor, content: &'static str) -> Artifact {
    Artifact {
        kind: "application/vnd.in-toto+json".to_owned(),
        subject: subject.clone(),
        content_type: "application/vnd.in-toto+json".to_owned(),
        content: Bytes::from_static(content.as_bytes()),
        file: "statement.json".to_owned(),
        annotations: BTreeMap::from([("in-toto.io/predicate-type".to_owned(), "x".to_owned())]),
    }
}

/// Puts an artifact.
async fn push(small: &Small, artifact: &Artifact) -> Result<Digest, Error> {
    Ok(push_all(small, std::slice::from_ref(artifact)).await?.remove(0))
}

/// Puts artifacts about one manifest.
async fn push_all(small: &Small, artifacts: &[Artifact]) -> Result<Vec<Digest>, Error> {
    let (client, cancel, mut pushed) = (client(), CancellationToken::new(), Vec::new());
    for artifact in artifacts {
        pushed.push(client.push_artifact(&small.repository, artifact, &cancel).await?);
    }
    client.list_artifacts(&small.repository, &artifacts[0].subject.digest, &pushed).await?;
    Ok(pushed.into_iter().map(|artifact| artifact.entry.digest).collect())
}

/// The artifacts that are listed.
async fn listed(small: &Small, subject: &Descriptor) -> Vec<Digest> {
    let artifacts = client().artifacts(&small.repository, &subject.digest).await.unwrap();
    artifacts.into_iter().map(|artifact| artifact.digest).collect()
}

#[tokio::test]
async fn a_registry_that_knows_subjects_keeps_the_list() {
    let small = Small::start().await;
    small.contents().keeps_lists = true;
    let subject = small.seed("v1", &[b"layer"]);
    let digest = push(&small, &artifact(&subject, "1")).await.unwrap();
    assert_eq!(listed(&small, &subject).await, [digest]);
    assert!(!small.contents().manifests.contains_key(&subject.digest.referrers_tag()));
}

#[tokio::test]
async fn for_others_the_list_is_kept_under_a_tag() {
    for conditional in [false, true] {
        let small = Small::start().await;
        small.contents().conditional = conditional;
        let subject = small.seed("v1", &[b"layer"]);
        assert!(listed(&small, &subject).await.is_empty());
        let (one, two) = (artifact(&subject, "1"), artifact(&subject, "2"));
        let digests = [push(&small, &one).await.unwrap(), push(&small, &two).await.unwrap()];
        assert_eq!(listed(&small, &subject).await, digests);
        let (writes, tag) = (small.writes(), subject.digest.referrers_tag());
        let wanted =
            [digests[0].as_str(), &tag, digests[1].as_str(), &tag].map(|target| format!("PUT manifests/{target}"));
        assert_eq!(writes, wanted, "the artifact comes before the list that names it");
        push(&small, &one).await.unwrap();
        assert_eq!(listed(&small, &subject).await, digests, "nothing is listed twice");
    }
}

#[tokio::test]
async fn artifacts_that_are_put_together_are_listed_together() {
    let small = Small::start().await;
    let subject = small.seed("v1", &[b"layer"]);
    let (both, tag) = ([artifact(&subject, "1"), artifact(&subject, "2")], subject.digest.referrers_tag());
    let digests = push_all(&small, &both).await.unwrap();
    let wanted = [digests[0].as_str(), digests[1].as_str(), &tag].map(|target| format!("PUT manifests/{target}"));
    assert_eq!(small.writes(), wanted, "one list, and none that it has replaced");
    assert_eq!(listed(&small, &subject).await, digests);
}

#[tokio::test]
async fn a_list_of_the_registry_is_read_to_its_last_page() {
    let small = Small::start().await;
    small.contents().keeps_lists = true;
    let subject = small.seed("v1", &[b"layer"]);
    assert_eq!(listed(&small, &subject).await, Vec::<Digest>::new(), "an empty list is `null`");
    let contents = ["1", "2", "3", "4", "5"];
    let digests = push_all(&small, &contents.map(|content| artifact(&subject, content))).await.unwrap();
    for page in [1, 2, 5] {
        small.contents().page = Some(page);
        let there = listed(&small, &subject).await;
        assert_eq!(there.len(), 5, "pages of {page}");
        assert_eq!(BTreeSet::from_iter(there), digests.iter().cloned().collect(), "pages of {page}");
    }
    small.contents().next_page = Some("http://127.0.0.2:1/v2/".to_owned());
    let error = client().artifacts(&small.repository, &subject.digest).await.unwrap_err();
    assert!(error.to_string().contains("another host"), "{error}");
}

#[tokio::test]
async fn what_others_write_at_the_same_time_is_kept() {
    for conditional in [false, true] {
        let small = Small::start().await;
        let subject = small.seed("v1", &[b"layer"]);
        let foreign = Descriptor::new("application/vnd.oci.image.manifest.v1+json", Digest::of(b"signature"), 9);
        let other = Bytes::from(with_artifacts(None, std::slice::from_ref(&foreign)).unwrap().unwrap());
        {
            let mut contents = small.contents();
            contents.conditional = conditional;
            *(if conditional { &mut contents.written_before } else { &mut contents.overwritten_by }) = Some(other);
        }
        let digest = push(&small, &artifact(&subject, "1")).await.unwrap();
        assert_eq!(listed(&small, &subject).await, [foreign.digest, digest], "conditional: {conditional}");
    }
}

#[tokio::test]
async fn two_pushers_at_the_same_time_lose_nothing() {
    let small = Small::start().await;
    let subject = small.seed("v1", &[b"layer"]);
    small.contents().race = Some(Race::new());
    // Two clients that know nothing of each other, as two runs are.
    let (one, two) = (artifact(&subject, "1"), artifact(&subject, "2"));
    let (one, two) = tokio::join!(push(&small, &one), push(&small, &two));
    let wanted = BTreeSet::from([one.unwrap(), two.unwrap()]);
    assert_eq!(listed(&small, &subject).await.into_iter().collect::<BTreeSet<_>>(), wanted);
}

#[tokio::test]
async fn a_refusal_is_told_as_it_is() {
    let small = Small::start().await;
    let subject = small.seed("v1", &[b"layer"]);
    small.contents().refuses = Some(400);
    let error = push(&small, &artifact(&subject, "1")).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(StatusCode::BAD_REQUEST), Some("MANIFEST_INVALID")));
    assert!(!small.contents().manifests.contains_key(&subject.digest.referrers_tag()), "no list of nothing");
}

#[tokio::test]
async fn an_image_under_the_tag_of_the_list_is_left_alone() {
    let small = Small::start().await;
    let subject = small.seed("v1", &[b"layer"]);
    let tag = subject.digest.referrers_tag();
    let image = small.seed(&tag, &[b"another"]);
    let error = push(&small, &artifact(&subject, "1")).await.unwrap_err();
    assert!(matches!(&error, Error::Nonsense { problem, .. } if problem.contains("no index")), "{error}");
    let there = small.contents().manifests[&tag].clone();
    assert_eq!(Digest::of(&there), image.digest);
}
