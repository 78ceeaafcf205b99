//! An image index: one manifest for each platform.

use super::descriptor::Descriptor;
use crate::model::Platform;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What Seaway reads of an image index or a Docker manifest list.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Index {
    /// The manifests, in the order in which clients prefer them. What is written in a way that Seaway does not know (another
    /// kind of digest, half a platform) is left out, and hides no other.
    #[serde(default, deserialize_with = "understood")]
    pub(crate) manifests: Vec<Descriptor>,
}

/// The entries that can be read.
fn understood<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Descriptor>, D::Error> {
    let all = Option::<Vec<Value>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(all.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
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

    #[test]
    fn an_entry_that_nobody_understands_hides_no_other() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let linux = serde_json::json!({ "os": "linux", "architecture": "amd64" });
        for odd in [
            serde_json::json!({ "digest": format!("sha512:{}", "a".repeat(128)), "size": 1, "platform": linux }),
            serde_json::json!({ "digest": digest("a"), "size": 1, "platform": { "os": "linux" } }),
            serde_json::json!({ "digest": digest("a"), "size": 1, "platform": null }),
            serde_json::json!({ "digest": digest("a"), "size": 1, "platform": { "os": "", "architecture": "" } }),
            serde_json::json!({ "digest": digest("a"), "size": -1, "platform": { "os": "windows", "architecture": "amd64", "os.version": "10" } }),
            serde_json::json!({ "mediaType": "application/x", "size": 1 }),
        ] {
            let good = serde_json::json!({ "digest": digest("b"), "size": 1, "platform": linux });
            let index: Result<Index, _> = serde_json::from_value(serde_json::json!({ "manifests": [odd, good] }));
            let found =
                index.ok().and_then(|index| index.find(&Platform::default()).map(|entry| entry.digest.to_string()));
            assert_eq!(found, Some(digest("b")), "{odd}");
        }
    }
}
