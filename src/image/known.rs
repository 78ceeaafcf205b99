//! The layers that a repository is known to have, so that they are neither made nor sent, and how it gets the others.

use super::descriptor::Descriptor;
use super::manifest::Manifest;
use super::part::{LayerCount, Part};
use crate::model::{Compression, Digest};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};

/// Layers that the registry is known to have.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownLayers {
    /// Blobs by the digest of the layer before compression: one for each way in which it was compressed.
    by_diff_id: HashMap<Digest, Vec<Descriptor>>,
    /// The digests of those blobs.
    blobs: HashSet<Digest>,
    /// Whole images by the digest of their configuration: the manifests' media types and bytes.
    images: HashMap<Digest, Vec<(String, Bytes)>>,
    /// What tags of the repository stand for.
    tags: HashMap<String, Digest>,
    /// How the layers that it lacks are compressed.
    compression: Compression,
}

impl KnownLayers {
    /// Layers as pairs of the digest before compression and the blob.
    pub(crate) fn new(layers: impl IntoIterator<Item = (Digest, Descriptor)>) -> Self {
        let by_diff_id = grouped(layers);
        let blobs = by_diff_id.values().flatten().map(|blob| blob.digest.clone()).collect();
        Self { by_diff_id, blobs, ..Self::default() }
    }

    /// The same with whole images: the digest of the configuration, the manifest's media type and its bytes.
    #[must_use]
    pub(crate) fn with_images(mut self, images: impl IntoIterator<Item = (Digest, String, Bytes)>) -> Self {
        self.images = grouped(images.into_iter().map(|(id, media_type, bytes)| (id, (media_type, bytes))));
        self
    }

    /// The same, and this is how the layers that the registry lacks are compressed. Layers that are compressed in another
    /// way are no longer known by what is in them, nor are images of such layers: who asks for another compression gets it.
    /// Of an image the top layer tells, since those of its base stay as they came.
    #[must_use]
    pub(crate) fn with_compression(mut self, compression: Compression) -> Self {
        let is_so = |blob: &Descriptor| blob.media_type.ends_with("zstd") == (compression == Compression::Zstd);
        retain(&mut self.by_diff_id, |blob| is_so(blob));
        retain(&mut self.images, |(_, bytes)| {
            serde_json::from_slice::<Manifest>(bytes).is_ok_and(|manifest| manifest.layers.last().is_none_or(is_so))
        });
        Self { compression, ..self }
    }

    /// How the layers that the registry lacks are compressed.
    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// The same without whole images: only their layers are reused.
    #[must_use]
    pub(crate) fn without_images(mut self) -> Self {
        self.images.clear();
        self
    }

    /// The same with tags of the repository: each with the manifest or index that it stands for.
    #[must_use]
    pub(crate) fn with_tags(mut self, tags: HashMap<String, Digest>) -> Self {
        self.tags = tags;
        self
    }

    /// What tags of the repository stand for, as far as they were looked at.
    pub(crate) fn tags(&self) -> &HashMap<String, Digest> {
        &self.tags
    }

    /// The same without these blobs, which the registry has lost, and without the images that have them.
    #[must_use]
    pub(crate) fn without(mut self, lost: &HashSet<Digest>) -> Self {
        retain(&mut self.by_diff_id, |blob| !lost.contains(&blob.digest));
        self.blobs.retain(|blob| !lost.contains(blob));
        retain(&mut self.images, |(_, bytes)| {
            let manifest = serde_json::from_slice::<Manifest>(bytes);
            manifest.is_ok_and(|manifest| !manifest.blobs().iter().any(|blob| lost.contains(&blob.digest)))
        });
        self
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// The manifests of the images that are known as a whole.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &Bytes> {
        self.images.values().flatten().map(|(_, bytes)| bytes)
    }

    /// The blob of a layer, by the layer's digest before compression.
    pub(crate) fn blob(&self, diff_id: &Digest) -> Option<&Descriptor> {
        self.by_diff_id.get(diff_id)?.first()
    }

    /// Whether the registry is known to have a blob.
    pub(crate) fn has(&self, blob: &Digest) -> bool {
        self.blobs.contains(blob)
    }

    /// The manifest of an image that the registry has as a whole, by the digest of the image's configuration: its media
    /// type and its bytes.
    pub(crate) fn manifest(&self, id: &Digest) -> Option<(&str, &Bytes)> {
        self.images.get(id)?.first().map(|(media_type, bytes)| (media_type.as_str(), bytes))
    }

    /// The only part of an image that the registry has as a whole.
    pub(crate) fn whole(&self, id: &Digest) -> Option<Part> {
        let (media_type, bytes) = self.images.get(id)?.first().cloned()?;
        let all = serde_json::from_slice::<Manifest>(&bytes).ok()?.layers.len();
        Some(Part::Manifest { media_type, bytes, layers: LayerCount { all, known: all } })
    }
}

/// All values of each key, in the order in which they come.
fn grouped<T>(all: impl IntoIterator<Item = (Digest, T)>) -> HashMap<Digest, Vec<T>> {
    let mut groups = HashMap::<_, Vec<T>>::new();
    for (key, value) in all {
        groups.entry(key).or_default().push(value);
    }
    groups
}

/// Leaves out values, and keys that have none left.
fn retain<T>(groups: &mut HashMap<Digest, Vec<T>>, is_kept: impl Fn(&T) -> bool) {
    groups.retain(|_, values| {
        values.retain(&is_kept);
        !values.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::descriptor::media_type;

    #[test]
    fn what_is_lost_is_not_known_any_more_and_neither_is_its_image() {
        let blob = |text: &[u8]| Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(text), 1);
        let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"config"), 1);
        let manifest = Manifest::new(config.clone(), vec![blob(b"a"), blob(b"b")]).to_bytes().unwrap();
        let known = KnownLayers::new([(Digest::of(b"A"), blob(b"a")), (Digest::of(b"B"), blob(b"b"))]);
        let known = known.with_images([(config.digest.clone(), String::new(), manifest.into())]);
        assert!(known.whole(&config.digest).is_some());
        let known = known.without(&HashSet::from([Digest::of(b"b")]));
        assert!(known.whole(&config.digest).is_none());
        assert_eq!((known.blob(&Digest::of(b"A")), known.blob(&Digest::of(b"B"))), (Some(&blob(b"a")), None));
        assert!(known.has(&Digest::of(b"a")) && !known.has(&Digest::of(b"b")));
    }

    #[test]
    fn what_is_compressed_in_another_way_is_made_again() {
        let diff_id = Digest::of(b"A");
        for (there, kind) in
            [(Compression::Gzip, media_type::OCI_LAYER_GZIP), (Compression::Zstd, media_type::OCI_LAYER_ZSTD)]
        {
            let blob = Descriptor::new(kind, Digest::of(b"a"), 1);
            let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"config"), 1);
            let manifest = Manifest::new(config.clone(), vec![blob.clone()]).to_bytes().unwrap();
            for wanted in [Compression::Gzip, Compression::Zstd] {
                let known = KnownLayers::new([(diff_id.clone(), blob.clone())]);
                let known = known.with_images([(config.digest.clone(), String::new(), manifest.clone().into())]);
                let known = known.with_compression(wanted);
                let same = wanted == there;
                assert_eq!((known.blob(&diff_id).is_some(), known.whole(&config.digest).is_some()), (same, same));
                assert!(known.has(&blob.digest), "a blob that comes as it is need not be sent");
            }
        }
    }

    #[test]
    fn an_image_on_a_base_of_another_compression_is_known() {
        let blob = |kind: &str, text: &[u8]| Descriptor::new(kind, Digest::of(text), 1);
        let layers = vec![blob(media_type::OCI_LAYER_ZSTD, b"base"), blob(media_type::OCI_LAYER_GZIP, b"own")];
        let config = blob(media_type::OCI_CONFIG, b"config");
        let manifest = Manifest::new(config.clone(), layers).to_bytes().unwrap();
        let known = KnownLayers::default().with_images([(config.digest.clone(), String::new(), manifest.into())]);
        assert!(known.clone().with_compression(Compression::Gzip).whole(&config.digest).is_some());
        assert!(known.with_compression(Compression::Zstd).whole(&config.digest).is_none());
    }

    #[test]
    fn what_is_there_in_both_compressions_is_found_in_either() {
        let (diff_id, config) = (Digest::of(b"A"), Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"config"), 1));
        let kinds = [media_type::OCI_LAYER_GZIP, media_type::OCI_LAYER_ZSTD];
        let blobs = kinds.map(|kind| Descriptor::new(kind, Digest::of(kind.as_bytes()), 1));
        for order in [[0, 1], [1, 0]] {
            let blobs = order.map(|at| blobs[at].clone());
            let image = |blob: &Descriptor| Manifest::new(config.clone(), vec![blob.clone()]).to_bytes().unwrap();
            let images = blobs.iter().map(|blob| (config.digest.clone(), String::new(), image(blob).into()));
            let known = KnownLayers::new(blobs.clone().map(|blob| (diff_id.clone(), blob))).with_images(images);
            for (wanted, kind) in [(Compression::Gzip, kinds[0]), (Compression::Zstd, kinds[1])] {
                let known = known.clone().with_compression(wanted);
                assert_eq!(known.blob(&diff_id).unwrap().media_type, kind);
                let (_, manifest) = known.manifest(&config.digest).unwrap();
                assert_eq!(serde_json::from_slice::<Manifest>(manifest).unwrap().layers[0].media_type, kind);
            }
        }
    }
}
