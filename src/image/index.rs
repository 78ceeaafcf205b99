//! An image index: one manifest for each platform.

use super::descriptor::Descriptor;
use crate::model::Platform;
use serde::Deserialize;

/// What Seaway reads of an image index or a Docker manifest list.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Index {
    /// The manifests, in the order in which clients prefer them.
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
}

impl Index {
    /// The manifest for a platform: the first with its system and processor, and its variant where one is asked for.
    pub(crate) fn find(&self, wanted: &Platform) -> Option<&Descriptor> {
        let fits = |there: &Platform| {
            let variant = wanted.variant.is_none() || there.variant.is_none() || there.variant == wanted.variant;
            there.os == wanted.os && there.architecture == wanted.architecture && variant
        };
        self.manifests.iter().find(|entry| entry.platform.as_ref().is_some_and(fits))
    }

    /// The platforms that the index has, without attestations (`unknown/unknown`).
    pub(crate) fn platforms(&self) -> Vec<Platform> {
        let known = self.manifests.iter().filter_map(|entry| entry.platform.clone());
        known.filter(|platform| platform.os != "unknown").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_is_found_and_attestations_are_not_platforms() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let entry = |letter: &str, platform: serde_json::Value| serde_json::json!({ "digest": digest(letter), "size": 1, "platform": platform });
        let index: Index = serde_json::from_value(serde_json::json!({ "manifests": [
            entry("a", serde_json::json!({ "os": "linux", "architecture": "arm64", "variant": "v8" })),
            entry("b", serde_json::json!({ "os": "linux", "architecture": "amd64" })),
            entry("c", serde_json::json!({ "os": "unknown", "architecture": "unknown" })),
        ]}))
        .unwrap();
        let found = |text: &str| index.find(&Platform::parse(text).unwrap()).map(|entry| entry.digest.to_string());
        assert_eq!(found("linux/amd64"), Some(digest("b")));
        assert_eq!(found("linux/arm64"), Some(digest("a")));
        assert_eq!(found("linux/arm64/v7"), None);
        assert_eq!(index.platforms().len(), 2);
    }
}
