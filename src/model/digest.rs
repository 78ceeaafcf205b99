//! A content digest, always SHA-256: the only algorithm that every registry and runtime in use accepts.

use sha2::{Digest as _, Sha256};
use std::fmt;

/// `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest(String);

/// A text that is not a SHA-256 digest.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a digest: `sha256:` and 64 hexadecimal digits are wanted")]
pub(crate) struct InvalidDigest(String);

impl Digest {
    /// The digest of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::from_hash(&Sha256::digest(bytes))
    }

    /// The digest whose 32 hash bytes are known, for whoever hashes a stream.
    pub(crate) fn from_hash(hash: &[u8]) -> Self {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 });
        text.extend(hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]));
        Self(text)
    }

    /// The 32 hash bytes.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let (pairs, _) = self.hex().as_bytes().as_chunks::<2>();
        let value = |digit: u8| if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 };
        std::array::from_fn(|at| pairs.get(at).map_or(0, |[high, low]| value(*high) << 4 | value(*low)))
    }

    /// Reads `sha256:…`.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        let valid = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidDigest(text.to_owned())) }
    }

    /// The whole digest, `sha256:…`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits without the algorithm.
    pub(crate) fn hex(&self) -> &str {
        &self.0[7..]
    }

    /// The first eight hexadecimal digits, for people.
    pub(crate) fn short(&self) -> &str {
        &self.0[7..15]
    }

    /// The tag that finds what is about the manifest of this digest, in registries that keep no list of it themselves:
    /// `sha256-` and the digits (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>).
    pub(crate) fn referrers_tag(&self) -> String {
        format!("{TAG_PREFIX}{}", self.hex())
    }

    /// The manifest that a tag of that form is about; with an ending like `.sig` too, as signatures had them before there
    /// were referrers (<https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>).
    pub(crate) fn of_referrers_tag(tag: &str) -> Option<Self> {
        let digits = tag.strip_prefix(TAG_PREFIX)?.split('.').next()?;
        Self::parse(&format!("sha256:{digits}")).ok()
    }

    /// The tag that finds the image of these inputs: `ck-` and 32 digits of the hash over them.
    pub(crate) fn content_key(&self) -> String {
        format!("{KEY_PREFIX}{}", &self.hex()[..32])
    }

    /// Whether a tag has the form of a content key.
    pub(crate) fn is_content_key(tag: &str) -> bool {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        tag.strip_prefix(KEY_PREFIX).is_some_and(|digits| !digits.is_empty() && digits.bytes().all(is_hex))
    }

    /// The first digest that stands in a text, and where it ends.
    pub(crate) fn find(text: &str) -> Option<(Self, usize)> {
        let mut from = 0;
        while let Some(at) = text[from..].find("sha256:") {
            let start = from + at;
            let end = start + 71;
            if let Some(digest) = text.get(start..end).and_then(|text| Self::parse(text).ok()) {
                return Some((digest, end));
            }
            from = start + 7;
        }
        None
    }
}

/// What stands before the digits in the tag that finds what is about a manifest.
const TAG_PREFIX: &str = "sha256-";

/// What stands before the digits in the tag that finds the image of some inputs.
const KEY_PREFIX: &str = "ck-";

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_digest_is_the_known_one() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert_eq!(Digest::parse(empty).unwrap().short(), "e3b0c442");
        assert_eq!(Digest::from_hash(&Digest::of(b"").hash()).as_str(), empty);
    }

    #[test]
    fn the_tag_of_what_is_about_a_manifest_leads_back_to_it() {
        let digest = Digest::of(b"x");
        for ending in ["", ".sig", ".att", ".sbom"] {
            assert_eq!(Digest::of_referrers_tag(&format!("{}{ending}", digest.referrers_tag())), Some(digest.clone()));
        }
        for other in ["", "sha256-", "sha256-12", "latest", digest.as_str(), digest.hex()] {
            assert_eq!(Digest::of_referrers_tag(other), None, "{other}");
        }
    }

    #[test]
    fn digests_are_found_in_texts() {
        let digest = Digest::of(b"x");
        let text = format!("sha256:short, --image=r.example/ä@{digest},more");
        let (found, end) = Digest::find(&text).unwrap();
        assert_eq!((found, &text[end..]), (digest, ",more"));
        assert_eq!(Digest::find("sha256:ä sha256:"), None);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "sha256:", "sha512:00", "sha256:E3B0", &format!("sha256:{}", "g".repeat(64))] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }
}
