//! Puts an image together from what a source has shown: documents, layers that were passed on, layers that were compressed.
//!
//! Every source of a built image ends here: an archive, a layout, and what `BuildKit` writes into a session. They differ in
//! how layers come; what an image is, they have in common.

use super::error::Error;
use crate::image::descriptor::media_type;
use crate::image::part::LayerCount;
use crate::image::{Descriptor, ImageConfig, Index, KnownLayers, Manifest, Part};
use crate::model::{Digest, Platform};
use bytes::Bytes;
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// What a source has shown so far.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// What the registry has.
    pub(crate) known: KnownLayers,
    /// JSON documents by name: `index.json`, `blobs/sha256/…`.
    documents: HashMap<String, Bytes>,
    /// The blobs of layers that were not compressed, by the layer's own digest.
    made: HashMap<Digest, Descriptor>,
    /// The blobs of compressed layers, by the name that they have in an archive.
    named: HashMap<String, Descriptor>,
    /// Blobs that were passed on as they are.
    passed: HashSet<Digest>,
}

/// An entry of `manifest.json`, which `docker save` writes
/// (<https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format>).
#[derive(serde::Deserialize)]
pub(crate) struct DockerImage {
    /// The name of the configuration.
    #[serde(rename = "Config")]
    pub(crate) config: String,
    /// The names of the layers, lowest first.
    #[serde(rename = "Layers", default)]
    pub(crate) layers: Vec<String>,
}

/// Indexes may be nested: that of a layout names that of the image. Deeper than this is a loop.
const DEEPEST_INDEX: usize = 4;

/// The name of a blob in a layout.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The digest that a blob's name in a layout says; `None` for other names.
pub(crate) fn blob_digest(name: &str) -> Option<Digest> {
    Digest::parse(&format!("sha256:{}", name.strip_prefix("blobs/sha256/")?)).ok()
}

/// An image that cannot be put together.
pub(crate) fn unusable(problem: impl Into<String>) -> Error {
    Error::Image { problem: problem.into() }
}

impl Assembly {
    /// Nothing yet.
    pub(crate) fn new(known: KnownLayers) -> Self {
        Self { known, ..Self::default() }
    }

    /// A JSON document has come.
    pub(crate) fn document(&mut self, name: String, bytes: Bytes) {
        self.documents.insert(name, bytes);
    }

    /// A document that has come.
    pub(crate) fn find(&self, name: &str) -> Option<&Bytes> {
        self.documents.get(name)
    }

    /// A layer that was not compressed is this blob now. Says whether it is the first with this digest.
    pub(crate) fn made(&mut self, diff_id: Digest, blob: Descriptor) -> bool {
        self.made.insert(diff_id, blob).is_none()
    }

    /// A blob was passed on as it is, or left out because the registry has it.
    pub(crate) fn passed(&mut self, digest: Digest) {
        self.passed.insert(digest);
    }

    /// A compressed layer of this name is this blob.
    pub(crate) fn named(&mut self, name: String, blob: Descriptor) {
        self.named.insert(name, blob);
    }

    /// Takes a layer as known where the registry has its blob.
    pub(crate) fn take_known(&mut self, diff_id: &Digest) -> bool {
        let Some(blob) = self.known.blob(diff_id).cloned() else { return false };
        self.made(diff_id.clone(), blob);
        true
    }

    /// The image of an archive or a layout: by its index where that leads to layers that have come, else by what
    /// `docker save` wrote.
    pub(crate) fn archive(&self, platform: &Platform) -> Result<Vec<Part>, Error> {
        match self.find("index.json") {
            Some(index) => self.image(index, platform),
            None => self.docker_image(platform),
        }
    }

    /// The image that a manifest or an index describes.
    pub(crate) fn image(&self, root: &Bytes, platform: &Platform) -> Result<Vec<Part>, Error> {
        let bytes = manifest_of(root, platform, |digest| {
            let missing = || unusable(format!("its manifest {} is missing", digest.short()));
            self.find(&blob_name(digest)).cloned().ok_or_else(missing)
        })?;
        let manifest: Manifest = read(&bytes, "manifest")?;
        let config = self.find(&blob_name(&manifest.config.digest));
        let config = config.ok_or_else(|| unusable("its configuration is missing"))?;
        check_platform(config, platform)?;
        if let Some(whole) = self.known.whole(&manifest.config.digest) {
            return Ok(vec![whole]);
        }
        let is_docker = manifest.media_type == media_type::DOCKER_MANIFEST;
        let layers = manifest.layers.iter().map(|layer| self.blob_for(layer, is_docker));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let kind = if manifest.media_type.is_empty() { media_type::OCI_MANIFEST } else { &manifest.media_type };
        let counts = self.count(&layers);
        let same = layers.iter().zip(&manifest.layers).all(|(new, old)| new.digest == old.digest);
        let written = if same { bytes.clone() } else { with_layers(&bytes, &layers)? };
        let last = Part::Manifest { media_type: kind.to_owned(), bytes: written, layers: counts };
        Ok(vec![Part::Blob { descriptor: manifest.config.clone(), bytes: config.clone() }, last])
    }

    /// The image that `docker save` wrote, with a manifest of our own.
    fn docker_image(&self, platform: &Platform) -> Result<Vec<Part>, Error> {
        let list = self.find("manifest.json").ok_or_else(|| unusable("it has neither index.json nor manifest.json"))?;
        let images: Vec<DockerImage> = read(list, "manifest.json")?;
        let [image] = images.as_slice() else {
            return Err(unusable(format!("it holds {} images, and one was expected", images.len())));
        };
        let config = self.find(&image.config).ok_or_else(|| unusable("its configuration is missing"))?;
        self.bare(config, &image.layers, platform)
    }

    /// The image of a configuration, with a manifest of our own. `names` are those of its layers in an archive, if there was
    /// one.
    pub(crate) fn bare(&self, config: &Bytes, names: &[String], platform: &Platform) -> Result<Vec<Part>, Error> {
        check_platform(config, platform)?;
        let id = Digest::of(config);
        if let Some(whole) = self.known.whole(&id) {
            return Ok(vec![whole]);
        }
        let inside: ImageConfig = read(config, "configuration")?;
        let layers = inside.rootfs.diff_ids.iter().enumerate().map(|(at, diff_id)| {
            let missing = || unusable(format!("its layer {} is missing", diff_id.short()));
            let by_name = || self.named.get(names.get(at)?);
            self.made.get(diff_id).or_else(by_name).cloned().ok_or_else(missing)
        });
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let counts = self.count(&layers);
        let descriptor = Descriptor::new(media_type::OCI_CONFIG, id, config.len() as u64);
        let manifest = Manifest::new(descriptor.clone(), layers).to_bytes();
        let manifest = manifest.map_err(|error| unusable(error.to_string()))?;
        let media_type = media_type::OCI_MANIFEST.to_owned();
        let end = Part::Manifest { media_type, bytes: manifest.into(), layers: counts };
        Ok(vec![Part::Blob { descriptor, bytes: config.clone() }, end])
    }

    /// The blob that stands for a layer of a manifest. In one of Docker's kind its media type is Docker's too.
    fn blob_for(&self, layer: &Descriptor, is_docker: bool) -> Result<Descriptor, Error> {
        if layer.is_foreign() || self.passed.contains(&layer.digest) {
            return Ok(layer.clone());
        }
        let missing = || unusable(format!("its layer {} is missing", layer.digest.short()));
        let mut blob = self.made.get(&layer.digest).cloned().ok_or_else(missing)?;
        if is_docker && blob.media_type == media_type::OCI_LAYER_GZIP {
            media_type::DOCKER_LAYER_GZIP.clone_into(&mut blob.media_type);
        }
        Ok(blob)
    }

    /// How many layers there are, and how many were known.
    fn count(&self, layers: &[Descriptor]) -> LayerCount {
        let known = layers.iter().filter(|layer| self.known.has(&layer.digest)).count();
        LayerCount { all: layers.len(), known }
    }
}

/// The bytes of the manifest that a root leads to: through indexes to the one for a platform. `find` gives a document by its
/// digest.
pub(crate) fn manifest_of(
    root: &Bytes,
    platform: &Platform,
    find: impl Fn(&Digest) -> Result<Bytes, Error>,
) -> Result<Bytes, Error> {
    let mut bytes = root.clone();
    for _ in 0..DEEPEST_INDEX {
        let index: Index = read(&bytes, "index")?;
        if index.manifests.is_empty() {
            let is_manifest = read::<Value>(&bytes, "index")?.get("config").is_some();
            return if is_manifest { Ok(bytes) } else { Err(unusable("its index names no image")) };
        }
        let found = find(&only_one(&index, platform)?.digest);
        bytes = found.map_err(|error| match there(&index, &find) {
            others if others.is_empty() => error,
            got => Error::Platform { got, wanted: platform.clone() },
        })?;
    }
    Err(unusable("its indexes lead to each other"))
}

/// The platforms of an index whose manifests are there: what is pulled and saved keeps its index, with one of its images.
fn there(index: &Index, find: impl Fn(&Digest) -> Result<Bytes, Error>) -> Vec<Platform> {
    let manifests = index.manifests.iter().filter(|entry| find(&entry.digest).is_ok()).cloned().collect();
    Index { manifests }.platforms()
}

/// The one entry of an index that is for a platform, or that does not say for which it is: a layout of one image need not,
/// its configuration does.
fn only_one<'a>(index: &'a Index, platform: &Platform) -> Result<&'a Descriptor, Error> {
    let images = || index.manifests.iter().filter(|entry| !is_about_another(entry));
    let fitting: Vec<_> =
        images().filter(|entry| entry.platform.as_ref().is_some_and(|one| fits(one, platform))).collect();
    let silent: Vec<_> = images().filter(|entry| entry.platform.is_none()).collect();
    let candidates = if fitting.is_empty() { silent } else { fitting };
    let Some(first) = candidates.first() else {
        return Err(Error::Platform { got: index.platforms(), wanted: platform.clone() });
    };
    if candidates.iter().any(|entry| entry.digest != first.digest) {
        let names = candidates.iter().map(|entry| name_of(entry)).collect::<Vec<_>>().join(", ");
        return Err(unusable(format!("it holds several images ({names}), and one was expected")));
    }
    Ok(first)
}

/// Whether an entry of an index is not an image, but says something of one: an artifact, or an attestation as BuildKit
/// writes it (<https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md>) or containerd's `save`.
fn is_about_another(entry: &Descriptor) -> bool {
    let annotations = entry.others.get("annotations");
    let annotated = |name: &str| annotations.is_some_and(|all| all.get(name).is_some());
    entry.others.contains_key("artifactType")
        || annotated("vnd.docker.reference.type")
        || annotated("io.containerd.manifest.subject")
}

/// Whether an image for one platform runs on another.
fn fits(there: &Platform, wanted: &Platform) -> bool {
    let variant = wanted.variant.is_none() || there.variant.is_none() || there.variant == wanted.variant;
    there.os == wanted.os && there.architecture == wanted.architecture && variant
}

/// The name of an entry in a layout, or the beginning of its digest.
fn name_of(entry: &Descriptor) -> &str {
    let annotations = entry.others.get("annotations");
    let name = annotations.and_then(|all| all.get("org.opencontainers.image.ref.name")?.as_str());
    name.unwrap_or_else(|| entry.digest.short())
}

/// Compares the platform of an image with the one that was asked for.
pub(crate) fn check_platform(config: &[u8], wanted: &Platform) -> Result<(), Error> {
    check_platforms(&read::<ImageConfig>(config, "configuration")?.platform(), wanted)
}

/// Compares two platforms by system and processor.
pub(crate) fn check_platforms(got: &Platform, wanted: &Platform) -> Result<(), Error> {
    if (&got.os, &got.architecture) == (&wanted.os, &wanted.architecture) {
        return Ok(());
    }
    Err(Error::Platform { got: vec![got.clone()], wanted: wanted.clone() })
}

/// Reads a document; `what` names it in the error.
pub(crate) fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| unusable(format!("its {what} cannot be read: {error}")))
}

/// A manifest with other layers, and everything else as it was written.
fn with_layers(manifest: &[u8], layers: &[Descriptor]) -> Result<Bytes, Error> {
    let mut value: Value = read(manifest, "manifest")?;
    value["layers"] = serde_json::to_value(layers).map_err(|error| unusable(error.to_string()))?;
    let bytes = serde_json::to_vec(&value).map_err(|error| unusable(error.to_string()))?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manifest, which comes last, and how many layers it has.
    fn last(parts: Vec<Part>) -> (Bytes, LayerCount) {
        let Some(Part::Manifest { bytes, layers, .. }) = parts.into_iter().next_back() else { panic!("no manifest") };
        (bytes, layers)
    }

    /// A configuration of these layers for a platform.
    fn config(architecture: &str, diff_ids: &[Digest]) -> Bytes {
        let rootfs = serde_json::json!({ "type": "layers", "diff_ids": diff_ids });
        let config = serde_json::json!({ "architecture": architecture, "os": "linux", "rootfs": rootfs });
        serde_json::to_vec(&config).unwrap().into()
    }

    /// An assembly with a configuration and a manifest of these layers; the manifest's bytes too.
    fn described(layers: &[Descriptor], known: KnownLayers) -> (Assembly, Bytes) {
        let mut assembly = Assembly::new(known);
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.digest.clone()).collect();
        let config = config("amd64", &diff_ids);
        let descriptor = Descriptor::new(media_type::OCI_CONFIG, Digest::of(&config), config.len() as u64);
        assembly.document(blob_name(&descriptor.digest), config);
        let mut value = serde_json::to_value(Manifest::new(descriptor, layers.to_vec())).unwrap();
        value["annotations"] = serde_json::json!({ "org.opencontainers.image.source": "https://example.com" });
        (assembly, serde_json::to_vec(&value).unwrap().into())
    }

    #[test]
    fn a_manifest_whose_layers_were_passed_on_stays_as_it_was_written() {
        let layer = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"gz"), 2);
        let (mut assembly, manifest) = described(std::slice::from_ref(&layer), KnownLayers::default());
        assert!(assembly.image(&manifest, &Platform::default()).is_err(), "the layer has not come yet");
        assembly.passed(layer.digest);
        let parts = assembly.image(&manifest, &Platform::default()).unwrap();
        assert_eq!(last(parts), (manifest, LayerCount { all: 1, known: 0 }));
    }

    #[test]
    fn a_compressed_layer_takes_the_place_of_the_plain_one_and_nothing_else_changes() {
        let plain = Descriptor::new("application/vnd.oci.image.layer.v1.tar", Digest::of(b"tar"), 3);
        let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"gz"), 2);
        let known = KnownLayers::new([(plain.digest.clone(), blob.clone())]);
        let (mut assembly, manifest) = described(std::slice::from_ref(&plain), known);
        assert!(assembly.take_known(&plain.digest));
        let (written, layers) = last(assembly.image(&manifest, &Platform::default()).unwrap());
        assert_eq!(layers, LayerCount { all: 1, known: 1 });
        let written: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(written["layers"][0]["digest"], blob.digest.as_str());
        assert_eq!(written["annotations"]["org.opencontainers.image.source"], "https://example.com");
    }

    #[test]
    fn a_manifest_of_dockers_kind_gets_layers_of_dockers_kind() {
        let plain = Descriptor::new("application/vnd.docker.image.rootfs.diff.tar", Digest::of(b"tar"), 3);
        let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"gz"), 2);
        let (mut assembly, manifest) = described(std::slice::from_ref(&plain), KnownLayers::default());
        assembly.made(plain.digest, blob);
        let text = String::from_utf8_lossy(&manifest).replace(media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST);
        let (written, _) = last(assembly.image(&text.into_bytes().into(), &Platform::default()).unwrap());
        let written: Manifest = serde_json::from_slice(&written).unwrap();
        assert_eq!(written.layers[0].media_type, media_type::DOCKER_LAYER_GZIP);
    }

    #[test]
    fn an_image_that_the_registry_has_as_a_whole_keeps_its_manifest() {
        let (assembly, manifest) = described(&[], KnownLayers::default());
        let parts: Manifest = serde_json::from_slice(&manifest).unwrap();
        let there = Bytes::from_static(br#"{"schemaVersion":2,"config":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}}"#);
        let images = [(parts.config.digest, media_type::DOCKER_MANIFEST.to_owned(), there.clone())];
        let assembly = Assembly { known: KnownLayers::default().with_images(images), ..assembly };
        let parts = assembly.image(&manifest, &Platform::default()).unwrap();
        assert_eq!((parts.len(), last(parts).0), (1, there));
    }

    #[test]
    fn what_is_said_of_an_image_is_no_other_image() {
        // As `docker save --platform` of Docker 29 writes it, but for the platform of the image, which need not be there.
        let (assembly, manifest) = described(&[], KnownLayers::default());
        let mut assembly = assembly;
        assembly.document(blob_name(&Digest::of(&manifest)), manifest.clone());
        for annotation in ["io.containerd.manifest.subject", "vnd.docker.reference.type"] {
            let index = serde_json::json!({ "manifests": [
                { "digest": Digest::of(&manifest), "size": 1 },
                { "digest": Digest::of(b"statement"), "size": 1, "annotations": { annotation: "sha256:…" } },
            ] });
            let parts = assembly.image(&index.to_string().into(), &Platform::default()).unwrap();
            assert_eq!(last(parts).0, manifest);
        }
    }

    #[test]
    fn the_platforms_that_are_there_are_named() {
        let entry = |architecture: &str| serde_json::json!({ "digest": Digest::of(b"m"), "size": 1, "platform": { "os": "linux", "architecture": architecture } });
        let index = serde_json::json!({ "manifests": [entry("arm64"), entry("s390x")] }).to_string();
        let error = Assembly::default().image(&index.into(), &Platform::default()).unwrap_err();
        assert_eq!(error.to_string(), "the image is for linux/arm64 and linux/s390x, and linux/amd64 was asked for");
        let error = check_platform(&config("arm64", &[]), &Platform::default()).unwrap_err();
        assert_eq!(error.to_string(), "the image is for linux/arm64, and linux/amd64 was asked for");
    }
}
