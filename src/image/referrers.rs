//! What refers to what in a repository: a manifest to its blobs and children, an artifact to its subject, and the tag that
//! lists the artifacts of a subject where a registry has no list of its own.
//!
//! Whoever cleans a repository up reads every manifest with [`Links::of`]: a manifest with a [`Links::subject`] belongs to
//! that subject: it goes when the subject goes, and stays while the subject stays. So does the list of its artifacts, whose
//! tag is [`Digest::referrers_tag`].
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>.

use super::descriptor::{Descriptor, media_type};
use crate::model::Digest;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The media type of the empty JSON object, which stands for "no configuration" in an artifact.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The empty JSON object (<https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidance-for-an-empty-descriptor>).
const EMPTY_BYTES: &[u8] = b"{}";

/// Where a layer that is a file has its name; `oras pull` leaves out what has none
/// (<https://github.com/opencontainers/image-spec/blob/main/annotations.md>).
const TITLE: &str = "org.opencontainers.image.title";

/// What a manifest or an index refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Links {
    /// The configuration of a manifest.
    #[serde(default)]
    pub(crate) config: Option<Descriptor>,
    /// The layers of a manifest: blobs.
    #[serde(default, deserialize_with = "none_or_some")]
    pub(crate) layers: Vec<Descriptor>,
    /// The children of an index: manifests.
    #[serde(default, deserialize_with = "none_or_some")]
    pub(crate) manifests: Vec<Descriptor>,
    /// The manifest that this one says something about. It need not be there any more.
    #[serde(default)]
    pub(crate) subject: Option<Descriptor>,
    /// What kind of artifact it is.
    #[serde(default)]
    pub(crate) artifact_type: Option<String>,
    /// Its annotations.
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

impl Links {
    /// The links of a manifest or an index, whichever it is.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The blobs: configuration and layers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers)
    }
}

/// A list for which programs in Go write `null` where it is empty.
fn none_or_some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Descriptor>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Something that is said about a manifest: an artifact with that manifest as its subject.
#[derive(Clone, Debug)]
pub(crate) struct Artifact {
    /// What kind of thing it is, a media type.
    pub(crate) kind: String,
    /// The manifest that it says something about.
    pub(crate) subject: Descriptor,
    /// The media type of the content.
    pub(crate) content_type: String,
    /// The content.
    pub(crate) content: Bytes,
    /// The name of the file that clients write the content to.
    pub(crate) file: String,
    /// What helps to choose among artifacts without reading them: they stand at the manifest, at the layer and in lists.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A small blob with its descriptor.
pub(crate) type SmallBlob = (Descriptor, Bytes);

impl Artifact {
    /// The blobs that must be there before the manifest.
    pub(crate) fn blobs(&self) -> [SmallBlob; 2] {
        let blob = |kind: &str, bytes: Bytes| (Descriptor::new(kind, Digest::of(&bytes), bytes.len() as u64), bytes);
        [blob(EMPTY, Bytes::from_static(EMPTY_BYTES)), blob(&self.content_type, self.content.clone())]
    }

    /// The manifest as it is pushed. The same artifact gives the same bytes.
    pub(crate) fn manifest(&self) -> Result<Vec<u8>, serde_json::Error> {
        let [(config, _), (mut layer, _)] = self.blobs();
        let Descriptor { media_type, digest, size, .. } = &self.subject;
        let mut annotations = self.annotations.clone();
        annotations.insert(TITLE.to_owned(), self.file.clone());
        layer.others.insert("annotations".to_owned(), json!(annotations));
        serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "artifactType": self.kind,
            "config": config,
            "layers": [layer],
            "subject": { "mediaType": media_type, "digest": digest, "size": size },
            "annotations": self.annotations,
        }))
    }

    /// How a list names the artifact, whose manifest has these bytes.
    pub(crate) fn descriptor(&self, manifest: &[u8]) -> Descriptor {
        let size = manifest.len() as u64;
        let mut descriptor = Descriptor::new(media_type::OCI_MANIFEST, Digest::of(manifest), size);
        descriptor.others.insert("artifactType".to_owned(), json!(self.kind));
        if !self.annotations.is_empty() {
            descriptor.others.insert("annotations".to_owned(), json!(self.annotations));
        }
        descriptor
    }
}

/// A list of artifacts, as far as it matters here.
pub(crate) fn listed(index: &[u8]) -> Result<Vec<Descriptor>, NotAnIndex> {
    let links = Links::of(index).map_err(|_| NotAnIndex)?;
    let kind = serde_json::from_slice::<Value>(index).map_err(|_| NotAnIndex)?;
    let kind = kind.get("mediaType").and_then(Value::as_str).unwrap_or(media_type::OCI_INDEX);
    if !media_type::is_index(kind) || links.config.is_some() { Err(NotAnIndex) } else { Ok(links.manifests) }
}

/// What should be a list of artifacts is something else: somebody's image has the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAnIndex;

/// A list with more artifacts; `None` where all stand there already. What others have written stays, in its order, fields
/// that Seaway does not know included.
pub(crate) fn with_artifacts(index: Option<&[u8]>, artifacts: &[Descriptor]) -> Result<Option<Vec<u8>>, NotAnIndex> {
    let mut there = index.map(listed).transpose()?.unwrap_or_default();
    let mut list = match index {
        None => json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [] }),
        Some(index) => serde_json::from_slice(index).map_err(|_| NotAnIndex)?,
    };
    let object: &mut Map<String, Value> = list.as_object_mut().ok_or(NotAnIndex)?;
    let entries = object.entry("manifests").or_insert_with(|| json!([]));
    if entries.is_null() {
        *entries = json!([]); // how some write "none"
    }
    let entries = entries.as_array_mut().ok_or(NotAnIndex)?;
    let before = entries.len();
    for artifact in artifacts {
        if !there.iter().any(|there| there.digest == artifact.digest) {
            entries.push(serde_json::to_value(artifact).map_err(|_| NotAnIndex)?);
            there.push(artifact.clone());
        }
    }
    if entries.len() == before && index.is_some() {
        return Ok(None);
    }
    serde_json::to_vec(&list).map(Some).map_err(|_| NotAnIndex)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An artifact about some manifest.
    fn artifact(content: &'static str) -> Artifact {
        let mut subject = Descriptor::new(media_type::OCI_MANIFEST, Digest::of(b"subject"), 7);
        subject.others.insert("annotations".to_owned(), json!({ "not": "repeated" }));
        Artifact {
            kind: "application/vnd.in-toto+json".to_owned(),
            subject,
            content_type: "application/vnd.in-toto+json".to_owned(),
            content: Bytes::from_static(content.as_bytes()),
            file: "sbom.json".to_owned(),
            annotations: BTreeMap::from([(
                "in-toto.io/predicate-type".to_owned(),
                "https://spdx.dev/Document".to_owned(),
            )]),
        }
    }

    #[test]
    fn an_artifact_says_what_it_is_about() {
        let artifact = artifact("{}");
        let manifest = artifact.manifest().unwrap();
        let links = Links::of(&manifest).unwrap();
        let subject = links.subject.clone().unwrap();
        assert_eq!((subject.digest, subject.size, subject.others.len()), (Digest::of(b"subject"), 7, 0));
        assert_eq!(links.artifact_type.as_deref(), Some("application/vnd.in-toto+json"));
        assert_eq!(links.config.as_ref().map(|config| config.media_type.as_str()), Some(EMPTY));
        assert_eq!(links.layers[0].others["annotations"]["org.opencontainers.image.title"], "sbom.json");
        let blobs: Vec<_> = artifact.blobs().into_iter().map(|(descriptor, _)| descriptor.digest).collect();
        assert_eq!(links.blobs().map(|blob| blob.digest.clone()).collect::<Vec<_>>(), blobs);
        let listed = artifact.descriptor(&manifest);
        assert_eq!(listed.digest, Digest::of(&manifest));
        assert_eq!(listed.others["artifactType"], "application/vnd.in-toto+json");
        assert_eq!(listed.others["annotations"]["in-toto.io/predicate-type"], "https://spdx.dev/Document");
    }

    #[test]
    fn a_list_grows_by_what_is_not_in_it() {
        let (one, two) = (artifact("1"), artifact("2"));
        let of = |artifact: &Artifact| artifact.descriptor(&artifact.manifest().unwrap());
        let first = with_artifacts(None, &[of(&one)]).unwrap().unwrap();
        assert_eq!(with_artifacts(Some(&first), &[of(&one)]).unwrap(), None, "no entry stands there twice");
        let both = with_artifacts(Some(&first), &[of(&one), of(&two)]).unwrap().unwrap();
        assert_eq!(listed(&both).unwrap(), [of(&one), of(&two)]);
        assert_eq!(Links::of(&both).unwrap().manifests.len(), 2);
    }

    #[test]
    fn what_others_have_written_stays() {
        let digest = Digest::of(b"sig");
        let foreign = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"x/y","digest":"{digest}","size":3,"artifactType":"sig","odd":[1]}}],"annotations":{{"a":"b"}}}}"#
        );
        let artifact = artifact("1");
        let entry = artifact.descriptor(&artifact.manifest().unwrap());
        let list = with_artifacts(Some(foreign.as_bytes()), std::slice::from_ref(&entry)).unwrap().unwrap();
        let value: Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(value["manifests"][0]["odd"], json!([1]));
        assert_eq!(value["annotations"]["a"], "b");
        assert_eq!(value["manifests"].as_array().unwrap().len(), 2);
        let none = br#"{"schemaVersion":2,"manifests":null}"#; // as programs in Go write an empty list
        assert_eq!(listed(none), Ok(Vec::new()));
        let list = with_artifacts(Some(none), std::slice::from_ref(&entry)).unwrap().unwrap();
        assert_eq!(listed(&list), Ok(vec![entry]));
    }

    #[test]
    fn an_image_under_the_tag_is_no_list() {
        let artifact = artifact("1");
        let manifest = artifact.manifest().unwrap();
        let entry = artifact.descriptor(&manifest);
        assert_eq!(with_artifacts(Some(&manifest), std::slice::from_ref(&entry)), Err(NotAnIndex));
        assert_eq!(with_artifacts(Some(b"not json"), &[entry]), Err(NotAnIndex));
    }
}
