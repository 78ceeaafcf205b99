//! Brings images into the registry that need no build: mirrors, and tags on what is there.

use super::attest::Attest;
use super::delivery::Delivery;
use super::event::{Diagnosis, Events, ImageResult, Transfer};
use super::images::{ImageDoors, about, on_transfer};
use crate::desired::{DesiredImage, ImageSource};
use crate::model::{Digest, Platform};
use crate::plan::OperationId;
use crate::registry::{Error, Mirror};
use tokio_util::sync::CancellationToken;

/// Copies an image from another registry, at the digest that the plan found, under its content key and its tag for people.
pub(super) async fn mirror(delivery: Delivery<'_>, digest: &Digest) -> Result<ImageResult, Diagnosis> {
    let Delivery { doors, image, content_key, operation, events, cancel } = delivery;
    let ImageSource::Mirror(source) = &image.source else {
        return Err(delivery.is_not("mirrored"));
    };
    let (from, platform) = (source.repository.at(digest), Platform::default());
    let tags = [content_key, image.tag.as_str()];
    let attest = delivery.attest();
    // What is said about the image comes before its tags: it has none until then.
    let first: &[&str] = if attest.is_wanted() { &[] } else { &tags };
    let mirror = Mirror { from: &from, platform: &platform, to: &image.repository, tags: first };
    let report = doors.registry.mirror(mirror, on_transfer(events, operation), cancel).await;
    let report = match report {
        Ok(report) => report,
        Err(error) => return Err(about(doors, image, "mirrored", &error).await),
    };
    let attestations = match attest.run(&report.digest, None).await {
        Ok(attestations) => attestations,
        Err(error) => return Err(about(doors, image, "attested", &error).await),
    };
    if attest.is_wanted()
        && let Err(error) = attest.tag(&report.digest, &tags).await
    {
        return Err(about(doors, image, "tagged", &error).await);
    }
    let blobs = report.sent + report.mounted + report.existed;
    let result = ImageResult {
        key: image.key.clone(),
        digest: report.digest.clone(),
        detail: format!("{} of {blobs} blobs new, from {source}", report.sent),
        bytes_sent: report.bytes_sent,
        attestations: Vec::new(),
        transfer: Transfer::of(&report),
        origin: None,
    };
    Ok(result.with_attestations(attestations))
}

/// Puts the tag for people on an image that the registry has, where it is missing.
pub(crate) async fn reuse(
    doors: &ImageDoors,
    image: &DesiredImage,
    digest: &Digest,
    operation: OperationId,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<ImageResult, Diagnosis> {
    let (registry, account) = (&doors.registry, doors.account.as_ref());
    let attest = Attest { registry, account, image, is_pushed: false, operation, events, cancel };
    let attestations = match attest.run(digest, None).await {
        Ok(attestations) => attestations,
        Err(error) => return Err(about(doors, image, "attested", &error).await),
    };
    let tagged = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Error::Cancelled),
        tagged = doors.registry.tag(&image.repository, digest, &image.tag) => tagged,
    };
    if let Err(error) = tagged {
        return Err(about(doors, image, "tagged", &error).await);
    }
    let detail = match image.source {
        ImageSource::Build(_) | ImageSource::Assembly(_) => "inputs unchanged",
        ImageSource::Mirror(_) => "same digest in the registry",
        ImageSource::Layout(_) | ImageSource::Engine(_) => "same image in the registry",
    };
    let result = ImageResult {
        key: image.key.clone(),
        digest: digest.clone(),
        detail: detail.to_owned(),
        bytes_sent: 0,
        attestations: Vec::new(),
        transfer: Transfer::default(),
        origin: None,
    };
    Ok(result.with_attestations(attestations))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::Builder;
    use crate::error::FailureKind;
    use crate::execute::EventKind;
    use crate::model::Reference;
    use crate::registry::tests::{client, fake::Fake};

    /// An image to be mirrored from one registry into another.
    fn image(source: &Fake, target: &Fake) -> DesiredImage {
        DesiredImage {
            key: "cache".to_owned(),
            source: ImageSource::Mirror(Reference::parse(&format!("{}/library/redis:7", source.host)).unwrap()),
            repository: target.repository("shop/cache"),
            tag: "1a2b3c4d5e6f".to_owned(),
            pin: true,
            supply: crate::desired::Supply::default(),
        }
    }

    /// Doors without a builder.
    fn doors() -> ImageDoors {
        ImageDoors { registry: client(), builder: Builder::default(), account: None }
    }

    #[tokio::test]
    async fn a_mirror_is_put_under_its_key_and_its_tag() {
        let (source, target) = (Fake::start().await, Fake::start().await);
        let digest = source.seed("library/redis", "7", b"redis");
        let (image, (events, mut received)) = (image(&source, &target), Events::channel());
        let cancel = CancellationToken::new();
        let result = mirror(
            Delivery {
                doors: &doors(),
                image: &image,
                content_key: "ck-1",
                operation: 3,
                events: &events,
                cancel: &cancel,
            },
            &digest,
        )
        .await
        .unwrap();
        assert_eq!((result.digest, result.bytes_sent > 0), (digest.clone(), true));
        for tag in ["ck-1", "1a2b3c4d5e6f"] {
            assert_eq!(client().head_manifest(&image.repository, tag).await.unwrap().as_ref(), Some(&digest));
        }
        drop(events);
        let mut last = None;
        while let Some(event) = received.recv().await {
            match event.kind {
                EventKind::Transfer { operation: 3, done, total } => last = Some((done, total)),
                EventKind::Blob { operation: 3, .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(last.is_some_and(|(done, total)| done == total), "the last news is that all is done");
    }

    #[tokio::test]
    async fn a_reused_image_gets_its_tag_and_nothing_else() {
        let (source, target) = (Fake::start().await, Fake::start().await);
        let digest = target.seed("shop/cache", "ck-1", b"redis");
        let (image, (events, _received)) = (image(&source, &target), Events::channel());
        let result = reuse(&doors(), &image, &digest, 0, &events, &CancellationToken::new()).await.unwrap();
        assert_eq!(result.detail, "same digest in the registry");
        assert_eq!(target.count("PUT /v2/shop/cache/manifests/1a2b3c4d5e6f"), 1);
        assert_eq!(target.count("PUT ") + target.count("POST "), 1);
    }

    #[tokio::test]
    async fn a_stop_is_not_a_failure_of_the_image() {
        let (source, target) = (Fake::start().await, Fake::start().await);
        let digest = source.seed("library/redis", "7", b"redis");
        let (image, (events, _received)) = (image(&source, &target), Events::channel());
        let cancel = CancellationToken::new();
        cancel.cancel();
        let diagnosis = mirror(
            Delivery {
                doors: &doors(),
                image: &image,
                content_key: "ck-1",
                operation: 0,
                events: &events,
                cancel: &cancel,
            },
            &digest,
        )
        .await
        .unwrap_err();
        assert_eq!(diagnosis.failure.kind, FailureKind::Interrupted);
    }
}
