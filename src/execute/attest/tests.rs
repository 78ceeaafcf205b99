//! What is said about an image, against a registry in this process.

use super::*;
use crate::config::Build;
use crate::desired::Supply;
use crate::execute::ImageDoors;
use crate::execute::delivery::Delivery;
use crate::model::Reference;
use crate::registry::tests::client;
use crate::registry::tests::small::Small;
use serde_json::json;
use std::io::Write as _;
use tokio::sync::mpsc::UnboundedReceiver;

/// An archive in which dpkg has one package.
fn archive() -> Vec<u8> {
    let status = b"Package: libc6\nStatus: install ok installed\nVersion: 2.36\nArchitecture: amd64\n";
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(status.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "var/lib/dpkg/status", status.as_slice()).unwrap();
    archive.into_inner().unwrap()
}

/// The archive as a layer.
fn layer() -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive()).unwrap();
    gzip.finish().unwrap()
}

/// An image for which everything is asked.
fn image(small: &Small) -> DesiredImage {
    let build = Build {
        args: BTreeMap::from([("URL".to_owned(), "/api".to_owned()), ("NPM_TOKEN".to_owned(), "hunter2".to_owned())]),
        secrets: BTreeMap::from([("key".to_owned(), crate::model::Secret::new("hunter3"))]),
        ..Build::of("/nowhere".into())
    };
    DesiredImage {
        key: "api".to_owned(),
        source: ImageSource::Build(build),
        repository: small.repository.clone(),
        tag: "v2".to_owned(),
        pin: true,
        supply: Supply { sbom: true, provenance: true, ..Supply::default() },
    }
}

/// How it was made.
fn made() -> Made {
    let bases = BTreeMap::from([("debian:12".to_owned(), Digest::of(b"debian"))]);
    let content_key = Some("ck-1".to_owned());
    Made { started: Timestamp::UNIX_EPOCH, content_key, bases, bases_are_sure: false, files: BTreeMap::new() }
}

/// Puts the attestations of an image; what came of it, and the warnings.
async fn run(
    image: &DesiredImage,
    digest: &Digest,
    made: Option<&Made>,
) -> (Result<Vec<Attestation>, Error>, Vec<String>) {
    let (events, received) = Events::channel();
    let (registry, cancel) = (client(), CancellationToken::new());
    let attest = Attest {
        registry: &registry,
        account: None,
        image,
        is_pushed: true,
        operation: 0,
        events: &events,
        cancel: &cancel,
    };
    let result = attest.run(digest, made).await;
    drop(events);
    (result, warnings(received).await)
}

/// The warnings among events.
async fn warnings(mut received: UnboundedReceiver<crate::execute::Event>) -> Vec<String> {
    let mut warnings = Vec::new();
    while let Some(event) = received.recv().await {
        if let EventKind::Warning { message } = event.kind {
            warnings.push(message);
        }
    }
    warnings
}

/// The statement in an attestation.
fn statement(small: &Small, attestation: &Attestation) -> Value {
    let contents = small.contents();
    let manifest = &contents.manifests[attestation.digest.as_str()];
    let links = crate::image::referrers::Links::of(manifest).unwrap();
    serde_json::from_slice(&contents.blobs[links.layers[0].digest.as_str()]).unwrap()
}

#[tokio::test]
async fn an_image_gets_what_is_asked_for_and_no_secret_is_told() {
    let small = Small::start().await;
    let subject = small.seed("v1", &[&layer()]);
    let (result, warnings) = run(&image(&small), &subject.digest, Some(&made())).await;
    let attestations = result.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let kinds: Vec<_> = attestations.iter().map(|attestation| (attestation.kind, attestation.new)).collect();
    assert_eq!(kinds, [(AttestationKind::Provenance, true), (AttestationKind::Sbom, true)]);
    let provenance = statement(&small, &attestations[0]);
    assert_eq!(provenance["subject"][0]["digest"]["sha256"], subject.digest.hex());
    let build = &provenance["predicate"]["buildDefinition"]["externalParameters"]["build"];
    assert_eq!((&build["args"]["URL"], &build["secrets"][0]), (&json!("/api"), &json!("key")));
    assert!(!provenance.to_string().contains("hunter"), "{provenance:#}");
    let sbom = statement(&small, &attestations[1]);
    assert_eq!(sbom["predicateType"], SPDX);
    assert_eq!(sbom["predicate"]["packages"][1]["name"], "libc6");
    let artifacts = client().artifacts(&small.repository, &subject.digest).await.unwrap();
    assert_eq!(artifacts.iter().filter_map(predicate_of).collect::<Vec<_>>(), [PROVENANCE, SPDX]);
}

#[tokio::test]
async fn what_is_there_is_not_put_again() {
    let small = Small::start().await;
    let subject = small.seed("v1", &[&layer()]);
    let (image, made) = (image(&small), made());
    let first = run(&image, &subject.digest, Some(&made)).await.0.unwrap();
    let writes = small.writes().len();
    let (second, warnings) = run(&image, &subject.digest, None).await;
    let again: Vec<_> = first.iter().map(|attestation| Attestation { new: false, ..attestation.clone() }).collect();
    assert_eq!((second.unwrap(), warnings, small.writes().len()), (again, Vec::new(), writes));
}

#[tokio::test]
async fn an_image_that_is_reused_gets_its_packages_and_no_invented_provenance() {
    let small = Small::start().await;
    let subject = small.seed("v1", &[&layer()]);
    let (result, warnings) = run(&image(&small), &subject.digest, None).await;
    let kinds: Vec<_> = result.unwrap().iter().map(|attestation| attestation.kind).collect();
    assert_eq!(kinds, [AttestationKind::Sbom]);
    assert!(warnings.len() == 1 && warnings[0].contains("has no provenance"), "{warnings:?}");
}

#[tokio::test]
async fn a_registry_that_refuses_gets_the_image_alone_and_people_are_told() {
    let small = Small::start().await;
    let subject = small.seed("v1", &[&layer()]);
    for status in [400, 403, 405, 415] {
        small.contents().refuses = Some(status);
        let (result, warnings) = run(&image(&small), &subject.digest, Some(&made())).await;
        assert_eq!(result.unwrap(), []);
        let told = warnings[0].contains(&small.repository.registry) && warnings[0].contains("no artifacts here");
        assert!(warnings.len() == 1 && told, "{warnings:?}");
    }
    small.contents().refuses = Some(503);
    let (result, warnings) = run(&image(&small), &subject.digest, Some(&made())).await;
    assert!(result.is_err() && warnings.is_empty(), "a registry that is out of order is no refusal");
}

#[tokio::test]
async fn what_was_put_before_a_refusal_is_listed() {
    let small = Small::start().await;
    let subject = small.seed("v1", &[&layer()]);
    small.contents().takes_artifacts = Some(1);
    let (result, warnings) = run(&image(&small), &subject.digest, Some(&made())).await;
    assert_eq!((result.unwrap(), warnings.len()), (Vec::new(), 1), "{warnings:?}");
    let artifacts = client().artifacts(&small.repository, &subject.digest).await.unwrap();
    assert_eq!(artifacts.iter().filter_map(predicate_of).collect::<Vec<_>>(), [PROVENANCE]);
}

#[tokio::test]
async fn a_registry_that_refuses_is_asked_for_no_layers_where_that_can_be_known_before() {
    let small = Small::start().await;
    let subject = small.seed("v1", &[&layer()]);
    small.contents().refuses = Some(400);
    let (_, warnings) = run(&image(&small), &subject.digest, Some(&made())).await;
    let layer = format!("GET /v2/shop/api/blobs/{}", Digest::of(&layer()));
    assert!(warnings.len() == 1 && !small.contents().log.contains(&layer), "{warnings:?}");
    let (_, warnings) = run(&image(&small), &subject.digest, None).await;
    assert!(warnings.len() == 1 && warnings[0].contains("no artifacts here"), "one thing to mend: {warnings:?}");
}

#[test]
fn a_hint_fits_into_a_sentence() {
    assert_eq!(on_one_line("likely causes:\n- one\n- two\nask"), "likely causes: one; two; ask");
    assert_eq!(on_one_line("wait"), "wait");
}

#[test]
fn of_inputs_that_changed_only_what_was_used_is_told() {
    let unsure = made().of_other_inputs();
    assert_eq!((unsure.content_key, unsure.bases), (None, BTreeMap::new()));
    let sure = Made { bases_are_sure: true, ..made() };
    assert_eq!(sure.clone().of_other_inputs().bases, sure.bases);
}

#[tokio::test]
async fn tags_come_last() {
    let small = Small::start().await;
    let source = Small::start().await;
    source.seed("7", &[&layer()]);
    let from = Reference::parse(&format!("{}:7", source.repository)).unwrap();
    let image = DesiredImage {
        source: ImageSource::Mirror(from.clone()),
        supply: Supply { sbom: true, ..Supply::default() },
        ..image(&small)
    };
    let doors = ImageDoors { registry: client(), builder: crate::docker::Builder::default(), account: None };
    let digest = client().resolve(&from).await.unwrap();
    let (events, cancel) = (Events::channel().0, CancellationToken::new());
    let result = crate::execute::push::mirror(
        Delivery { doors: &doors, image: &image, content_key: "ck-1", operation: 0, events: &events, cancel: &cancel },
        &digest,
    )
    .await
    .unwrap();
    let list = digest.referrers_tag();
    let attestation = result.attestations[0].digest.to_string();
    let wanted = [digest.as_str(), &attestation, &list, "ck-1", "v2"].map(|target| format!("PUT manifests/{target}"));
    assert_eq!((result.digest, small.writes()), (digest.clone(), wanted.to_vec()));
}

#[tokio::test]
async fn layers_that_cannot_be_read_are_gaps_and_wrong_ones_are_errors() {
    let small = Small::start().await;
    let image = image(&small);
    let cut = &zstd::encode_all(archive().as_slice(), 1).unwrap()[..20];
    let subject = small.seed("v1", &[&layer(), cut, b"nonsense"]);
    let (result, warnings) = run(&image, &subject.digest, Some(&made())).await;
    let sbom = statement(&small, &result.unwrap()[1]);
    assert_eq!(sbom["predicate"]["packages"].as_array().unwrap().len(), 2, "the image, and what could be read");
    assert!(sbom["predicate"]["comment"].as_str().unwrap().starts_with("Not looked into: layer sha256:"), "{sbom:#}");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let subject = small.seed("v2", &[&layer(), b"another"]);
    small.contents().blobs.insert(Digest::of(&layer()).to_string(), Bytes::from(vec![0; 2048]));
    let (result, _) = run(&image, &subject.digest, Some(&made())).await;
    assert!(matches!(result, Err(Error::DigestMismatch { .. })), "{result:?}");
}

#[test]
fn every_kind_of_compression_is_read() {
    for bytes in [archive(), layer(), zstd::encode_all(archive().as_slice(), 1).unwrap()] {
        let (read, digest) = read_layer(bytes.as_slice()).unwrap();
        let mut scan = Scan::default();
        scan.add(read);
        assert_eq!((scan.finish().packages.len(), digest), (1, Digest::of(&bytes)));
    }
}

#[test]
fn the_same_image_of_another_commit_keeps_its_manifest() {
    let config = Descriptor::new("application/vnd.oci.image.config.v1+json", Digest::of(b"config"), 6);
    let plain = crate::image::Manifest::new(config.clone(), Vec::new()).to_bytes().unwrap();
    let annotate = |revision: &str, title: &str| {
        let name = |name: &str| format!("org.opencontainers.image.{name}");
        let annotations = [(name("revision"), revision.to_owned()), (name("title"), title.to_owned())];
        Supply { annotations: annotations.into(), ..Supply::default() }
    };
    let image = |supply| DesiredImage {
        key: "api".to_owned(),
        source: ImageSource::Mirror(Reference::parse("x").unwrap()),
        repository: Reference::parse("x").unwrap().repository,
        tag: String::new(),
        pin: true,
        supply,
    };
    let of =
        |supply, known: &KnownLayers| annotated(&image(supply), RawManifest::new(None, plain.clone().into()), known);
    let first = of(annotate("1", "t"), &KnownLayers::default());
    assert_ne!(first.bytes, plain);
    let there = (config.digest.clone(), first.media_type.clone(), first.bytes.clone());
    let known = KnownLayers::default().with_images([there]);
    assert_eq!(of(annotate("2", "t"), &known), first, "nothing changed but the commit");
    assert_ne!(of(annotate("2", "another"), &known), first, "the author says something else");
    assert_eq!(of(Supply::default(), &KnownLayers::default()).bytes, plain);
}
