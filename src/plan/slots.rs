//! Filling the image slots of an object with digests.

use crate::desired::{DesiredImage, DesiredObject, SlotImage};
use crate::model::{Digest, Reference};
use serde_json::Value;
use std::collections::BTreeMap;

/// The digest that stands for an image which is yet to be built. It has the form of one, so that the API server can
/// judge the rest of the object, and no content has it.
const UNKNOWN: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Which digests are known, and what the keys of images stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests {
    /// The images of deploy.yml by key.
    pub(crate) images: BTreeMap<String, DesiredImage>,
    /// The digests of those, as far as they are known.
    pub(crate) ours: BTreeMap<String, Digest>,
    /// The digests of images that Seaway did not build.
    pub(crate) foreign: BTreeMap<Reference, Digest>,
}

impl Digests {
    /// What is known about these images.
    pub(crate) fn new<'a>(
        images: impl IntoIterator<Item = &'a DesiredImage>,
        ours: BTreeMap<String, Digest>,
        foreign: BTreeMap<Reference, Digest>,
    ) -> Self {
        let images = images.into_iter().map(|image| (image.key.clone(), image.clone())).collect();
        Self { images, ours, foreign }
    }

    /// The text that fills a slot; `None` leaves what was written.
    pub(crate) fn text(&self, slot: &SlotImage) -> Option<String> {
        match slot {
            SlotImage::Ours(key) => self.images.get(key).map(|image| self.own_text(image)),
            SlotImage::Foreign(reference) => {
                self.foreign.get(reference).map(|digest| reference.repository.at(digest).to_string())
            }
        }
    }

    /// The text of an image of deploy.yml.
    fn own_text(&self, image: &DesiredImage) -> String {
        match self.ours.get(&image.key) {
            _ if !image.pin => image.repository.tagged(&image.tag).to_string(),
            Some(digest) => image.repository.at(digest).to_string(),
            None => format!("{}@{UNKNOWN}", image.repository),
        }
    }

    /// The body of an object with its slots filled.
    pub(crate) fn fill(&self, object: &DesiredObject) -> Value {
        let mut body = object.body.clone();
        for slot in &object.slots {
            if let (Some(place), Some(text)) = (body.pointer_mut(&slot.pointer), self.text(&slot.image)) {
                *place = Value::String(text);
            }
        }
        body
    }
}

/// Whether an image reference stands for an image that is yet to be built.
pub(crate) fn is_unknown(image: &str) -> bool {
    image.ends_with(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn known_digests_pin_and_unknown_ones_are_valid_references() {
        let object = sample::deployment("api", &["api", "worker"]);
        let digest = Digest::of(b"api");
        let images = [sample::image("api"), sample::image("worker")];
        let digests = Digests::new(&images, BTreeMap::from([("api".to_owned(), digest.clone())]), BTreeMap::new());
        let body = digests.fill(&object);
        let containers = &body["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers[0]["image"], format!("registry.test/shop/api@{digest}"));
        let unknown = containers[1]["image"].as_str().unwrap();
        assert!(is_unknown(unknown) && Reference::parse(unknown).is_ok(), "{unknown}");
    }

    #[test]
    fn an_image_without_pin_keeps_its_tag() {
        let mut image = sample::image("api");
        image.pin = false;
        let digests = Digests::new(&[image], BTreeMap::new(), BTreeMap::new());
        assert_eq!(digests.text(&SlotImage::Ours("api".to_owned())).unwrap(), "registry.test/shop/api:1a2b3c4");
    }

    #[test]
    fn a_foreign_image_without_a_digest_stays_as_written() {
        let reference = Reference::parse("redis:7").unwrap();
        assert_eq!(Digests::default().text(&SlotImage::Foreign(reference)), None);
    }
}
