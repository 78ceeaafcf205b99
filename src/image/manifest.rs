//! An image manifest: one configuration and its layers.

use super::descriptor::{Descriptor, media_type};
use serde::{Deserialize, Serialize};

/// What Seaway reads of an image manifest, and all that it writes into one. A manifest whose digest matters travels as
/// the bytes it came in; this value is for reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// Always 2.
    pub(crate) schema_version: u32,
    /// The manifest's own media type; old OCI manifests have none.
    #[serde(default)]
    pub(crate) media_type: String,
    /// The image configuration.
    pub(crate) config: Descriptor,
    /// The layers, lowest first.
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
}

impl Manifest {
    /// An OCI manifest of these parts.
    pub(crate) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: media_type::OCI_MANIFEST.to_owned(), config, layers }
    }

    /// The manifest as it is pushed. The same value gives the same bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The blobs that must be there before the manifest: the configuration and the layers, each once, without layers
    /// that lie elsewhere by licence.
    pub(crate) fn blobs(&self) -> Vec<&Descriptor> {
        let mut blobs: Vec<&Descriptor> = Vec::new();
        for blob in std::iter::once(&self.config).chain(&self.layers).filter(|blob| !blob.is_foreign()) {
            if !blobs.iter().any(|known| known.digest == blob.digest) {
                blobs.push(blob);
            }
        }
        blobs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    #[test]
    fn a_layer_that_stands_twice_is_one_blob() {
        let layer = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"l"), 1);
        let foreign = Descriptor::new("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest::of(b"w"), 1);
        let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"c"), 1);
        let manifest = Manifest::new(config.clone(), vec![layer.clone(), foreign, layer.clone()]);
        assert_eq!(manifest.blobs(), [&config, &layer]);
    }

    #[test]
    fn the_bytes_are_the_known_ones() {
        let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b""), 0);
        let text = String::from_utf8(Manifest::new(config, Vec::new()).to_bytes().unwrap()).unwrap();
        let wanted = concat!(
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"#,
            r#""mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:"#,
            r#"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#
        );
        assert_eq!(text, wanted);
    }
}
