//! `annotations`, `stable_digest`, `attest` and `compression`, as they were written: at the top, and at an image.

use super::{Fields, Problem, Reader, Text};
use crate::config::keys;
use crate::config::node::Node;
use crate::config::source::Span;
use crate::model::Compression;

/// What is said about images beside what they are.
#[derive(Debug, Default)]
pub(crate) struct RawSupply {
    /// `annotations`: names and values; an empty value takes an annotation away.
    pub(crate) annotations: Vec<(Text, Text)>,
    /// `stable_digest`.
    pub(crate) stable_digest: Option<bool>,
    /// `attest.sbom`.
    pub(crate) sbom: Option<bool>,
    /// `attest.provenance`.
    pub(crate) provenance: Option<bool>,
    /// `compression`.
    pub(crate) compression: Option<Compression>,
}

/// Reads the four keys; `place` is empty at the top, and `images.NAME` at an image.
pub(super) fn read(fields: &Fields<'_>, place: &str, reader: &mut Reader) -> RawSupply {
    let path = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    let annotations = reader.texts(fields.get("annotations"), &path("annotations"));
    let stable_digest = fields.get("stable_digest").and_then(|node| reader.boolean(node, &path("stable_digest")));
    let attest = fields.get("attest").and_then(|node| reader.mapping(node, &path("attest"), &keys::ATTEST));
    let mut asked = |key: &str| {
        let node = attest.as_ref()?.get(key)?;
        reader.boolean(node, &format!("{}.{key}", path("attest")))
    };
    let (sbom, provenance) = (asked("sbom"), asked("provenance"));
    let compression = fields.get("compression").and_then(|node| compression(node, &path("compression"), reader));
    RawSupply { annotations, stable_digest, sbom, provenance, compression }
}

/// `compression`.
fn compression(node: &Node, path: &str, reader: &mut Reader) -> Option<Compression> {
    let name = reader.loose_text(node, path)?;
    let found = Compression::parse(&name.value);
    if found.is_none() {
        let problem = Problem::new(name.span, format!("`{}` is no compression that Seaway knows", name.value));
        reader.push(
            problem
                .hint("write `gzip`, which everything can pull, or `zstd` for Docker 23 and containerd 1.5 and later"),
        );
    }
    found
}

/// What only something that is built here can have, asked for an image that is copied.
pub(super) fn check_copied(fields: &Fields<'_>, place: &str, supply: &RawSupply, reader: &mut Reader) {
    let span_of = |key: &str| fields.entry(key).map(|entry| entry.key_span);
    let mut refuse = |span: Option<Span>, message: String, hint: &str| {
        if let Some(span) = span {
            reader.push(Problem::new(span, message).hint(hint));
        }
    };
    if supply.provenance == Some(true) {
        let message = format!("`{place}` is copied: Seaway cannot say how it was made");
        refuse(span_of("attest"), message, "take `provenance` out; `sbom: true` is possible");
    }
    for (key, hint) in [
        ("annotations", "take it out; only images that are built here have annotations of Seaway's"),
        ("stable_digest", "take it out; only images that are built here have annotations of Seaway's"),
        ("compression", "take it out; the layers of a copied image stay as they are"),
    ] {
        refuse(span_of(key), format!("`{place}` is copied byte by byte: `{key}` would change it"), hint);
    }
}
