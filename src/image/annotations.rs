//! Annotations of an image manifest: where the image comes from, beside what it is.
//!
//! They stand in the manifest and never in the configuration: the configuration's digest is the image's id, and an image
//! of unchanged code keeps it, and its layers, from commit to commit.
//!
//! Source of the names: <https://github.com/opencontainers/image-spec/blob/main/annotations.md>.

use super::descriptor::media_type;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Names that the specification defines, of what changes from build to build.
pub(crate) mod name {
    /// The commit.
    pub(crate) const REVISION: &str = "org.opencontainers.image.revision";
    /// When the image was made, RFC 3339.
    pub(crate) const CREATED: &str = "org.opencontainers.image.created";
    /// The version of the software in it.
    pub(crate) const VERSION: &str = "org.opencontainers.image.version";
}

/// The counterparts of Docker's media types. Docker's manifests have no annotations: one that is to have some becomes an
/// OCI manifest, and the blobs that it names stay as they are.
const COUNTERPARTS: [(&str, &str); 6] = [
    ("application/vnd.docker.container.image.v1+json", media_type::OCI_CONFIG),
    ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", media_type::OCI_LAYER_GZIP),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
    (media_type::DOCKER_MANIFEST, media_type::OCI_MANIFEST),
];

/// A manifest with these annotations beside those that it has: its media type and bytes. Everything else in it stays, and
/// stays in its order. Nothing changes without annotations, and for an index, whose children would have to change too.
pub(crate) fn annotate(
    kind: &str,
    bytes: &[u8],
    annotations: &BTreeMap<String, String>,
) -> Result<(String, Vec<u8>), serde_json::Error> {
    if annotations.is_empty() || !media_type::is_manifest(kind) {
        return Ok((kind.to_owned(), bytes.to_vec()));
    }
    let mut manifest: Map<String, Value> = serde_json::from_slice(bytes)?;
    if kind == media_type::DOCKER_MANIFEST {
        to_oci(&mut manifest);
    }
    let there = manifest.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if !there.is_object() {
        *there = Value::Object(Map::new()); // `null` is how some write "none"
    }
    for (name, value) in annotations {
        there[name] = Value::String(value.clone());
    }
    Ok((media_type::OCI_MANIFEST.to_owned(), serde_json::to_vec(&manifest)?))
}

/// Gives a Docker manifest the media types of OCI.
fn to_oci(manifest: &mut Map<String, Value>) {
    manifest.insert("mediaType".to_owned(), Value::String(media_type::OCI_MANIFEST.to_owned()));
    let layers = manifest.get_mut("layers").and_then(Value::as_array_mut);
    layers.into_iter().flatten().for_each(rename);
    manifest.get_mut("config").into_iter().for_each(rename);
}

/// Gives a descriptor the media type of OCI, where it has one of Docker's.
fn rename(descriptor: &mut Value) {
    let there = descriptor.get("mediaType").and_then(Value::as_str);
    let counterpart = COUNTERPARTS.iter().find(|(docker, _)| there == Some(docker));
    if let Some((_, oci)) = counterpart {
        descriptor["mediaType"] = Value::String((*oci).to_owned());
    }
}

/// The annotations that change from commit to commit while the image stays the same.
const CHANGING: [&str; 3] = [name::REVISION, name::CREATED, name::VERSION];

/// Whether two manifests are of one image, and say the same about it but for the commit. The older of the two is then as
/// true as the newer, and whoever deploys by digest changes nothing by keeping it.
pub(crate) fn are_alike(one: &[u8], other: &[u8]) -> bool {
    let lasting = |bytes: &[u8]| -> Option<Value> {
        let mut manifest: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        if manifest.get("mediaType").is_some_and(|kind| kind == media_type::DOCKER_MANIFEST) {
            to_oci(&mut manifest);
        }
        if let Some(annotations) = manifest.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| !CHANGING.contains(&name.as_str()));
        }
        if manifest.get("annotations").is_some_and(|there| there.is_null() || *there == Value::Object(Map::new())) {
            manifest.remove("annotations");
        }
        Some(Value::Object(manifest))
    };
    lasting(one).is_some_and(|one| Some(one) == lasting(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Descriptor, Manifest};
    use crate::model::Digest;

    /// The page of the source code.
    const SOURCE: &str = "org.opencontainers.image.source";

    /// A name for people.
    const TITLE: &str = "org.opencontainers.image.title";

    /// A manifest of a configuration and a layer.
    fn manifest() -> Vec<u8> {
        let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"config"), 6);
        let layer = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"layer"), 5);
        Manifest::new(config, vec![layer]).to_bytes().unwrap()
    }

    /// Annotations.
    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn without_annotations_no_byte_changes() {
        let spaced = b"{ \"schemaVersion\": 2 , \"config\": {} }";
        let (kind, bytes) = annotate(media_type::OCI_MANIFEST, spaced, &BTreeMap::new()).unwrap();
        assert_eq!((kind.as_str(), bytes.as_slice()), (media_type::OCI_MANIFEST, spaced.as_slice()));
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        let (_, bytes) = annotate(media_type::OCI_INDEX, index, &pairs(&[(TITLE, "x")])).unwrap();
        assert_eq!(bytes, index);
    }

    #[test]
    fn configuration_and_layers_stay_what_they_are() {
        let annotations = pairs(&[(name::REVISION, "1a2b"), (SOURCE, "https://example.com/a")]);
        let (_, bytes) = annotate(media_type::OCI_MANIFEST, &manifest(), &annotations).unwrap();
        let (before, after): (Manifest, Manifest) =
            (serde_json::from_slice(&manifest()).unwrap(), serde_json::from_slice(&bytes).unwrap());
        assert_eq!((before.config, before.layers), (after.config, after.layers));
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["annotations"][name::REVISION], "1a2b");
        let again = annotate(media_type::OCI_MANIFEST, &bytes, &annotations).unwrap().1;
        assert_eq!(again, bytes, "the same annotations twice are the same bytes");
    }

    #[test]
    fn other_annotations_stay_and_ours_win() {
        let mut value: Value = serde_json::from_slice(&manifest()).unwrap();
        value["annotations"] = serde_json::json!({ "vendor": "x", TITLE: "theirs" });
        let bytes = serde_json::to_vec(&value).unwrap();
        let (_, bytes) = annotate(media_type::OCI_MANIFEST, &bytes, &pairs(&[(TITLE, "ours")])).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["annotations"], serde_json::json!({ "vendor": "x", TITLE: "ours" }));
    }

    #[test]
    fn a_docker_manifest_becomes_one_of_oci_with_the_same_blobs() {
        let docker = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::DOCKER_MANIFEST,
            "config": { "mediaType": "application/vnd.docker.container.image.v1+json", "digest": Digest::of(b"c"), "size": 1 },
            "layers": [
                { "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": Digest::of(b"l"), "size": 1 },
                { "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": Digest::of(b"w"), "size": 1, "urls": ["https://example.com/w"] },
            ],
        });
        let bytes = serde_json::to_vec(&docker).unwrap();
        let (kind, bytes) = annotate(media_type::DOCKER_MANIFEST, &bytes, &pairs(&[(TITLE, "x")])).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            (kind.as_str(), value["mediaType"].as_str()),
            (media_type::OCI_MANIFEST, Some(media_type::OCI_MANIFEST))
        );
        assert_eq!(value["config"]["mediaType"], media_type::OCI_CONFIG);
        assert_eq!(value["layers"][0]["mediaType"], media_type::OCI_LAYER_GZIP);
        assert_eq!(value["layers"][1]["urls"], docker["layers"][1]["urls"]);
        let (before, after): (Manifest, Manifest) =
            (serde_json::from_value(docker).unwrap(), serde_json::from_value(value).unwrap());
        let digests = |manifest: &Manifest| manifest.blobs().iter().map(|blob| blob.digest.clone()).collect::<Vec<_>>();
        assert_eq!(digests(&before), digests(&after));
        assert!(after.layers[1].is_foreign(), "what lies elsewhere by licence still does");
    }

    #[test]
    fn images_are_alike_whatever_the_commit() {
        let of = |annotations: &[(&str, &str)]| {
            annotate(media_type::OCI_MANIFEST, &manifest(), &pairs(annotations)).unwrap().1
        };
        let first = of(&[(name::REVISION, "1"), (TITLE, "x")]);
        assert!(are_alike(&first, &of(&[(name::REVISION, "2"), (name::CREATED, "now"), (TITLE, "x")])));
        assert!(are_alike(&of(&[(name::REVISION, "1")]), &manifest()));
        assert!(!are_alike(&first, &of(&[(name::REVISION, "1"), (TITLE, "y")])), "the author said something else");
        assert!(!are_alike(&first, &manifest()), "it was not said before");
        let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"another"), 7);
        assert!(!are_alike(&manifest(), &Manifest::new(config, Vec::new()).to_bytes().unwrap()));
        assert!(!are_alike(b"", b""));
    }

    #[test]
    fn annotations_that_are_null_are_none() {
        let bytes = br#"{"schemaVersion":2,"config":{},"layers":[],"annotations":null}"#;
        let (_, bytes) = annotate(media_type::OCI_MANIFEST, bytes, &pairs(&[("a", "b")])).unwrap();
        assert!(String::from_utf8(bytes).unwrap().ends_with(r#""annotations":{"a":"b"}}"#));
        assert!(annotate(media_type::OCI_MANIFEST, b"[]", &pairs(&[("a", "b")])).is_err());
    }
}
