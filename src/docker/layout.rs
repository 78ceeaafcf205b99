//! Images that another tool wrote: an OCI layout (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>)
//! or what `docker save` writes, as a folder or as a tar archive.
//!
//! Layers that are compressed are pushed as they are, from where they lie, and can be read again when a try fails; others are
//! compressed on the way. A gzipped archive is read as a stream, from its beginning.

use super::assembly::{Assembly, DockerImage, blob_name, check_platform, manifest_of, read, unusable};
use super::builder::{Built, Told};
use super::error::Error;
use super::files::{Files, Place, problem};
use super::progress::Progress;
use super::save::{self, Expected, Kind};
use super::source::Source;
use super::squeeze::{Parts, Shared, Squeeze, Squeezed, UNWANTED, lock};
use crate::image::{Descriptor, ImageConfig, KnownLayers, Manifest, Part};
use crate::model::{Digest, Platform};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What an image is known by before it is pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The digest of its manifest, which it keeps.
    Manifest(Digest),
    /// Something else that tells it from others: its layers are compressed only when it is pushed.
    Content(Digest),
}

impl Identity {
    /// The digest, whatever it is of.
    pub(crate) fn digest(&self) -> &Digest {
        match self {
            Self::Manifest(digest) | Self::Content(digest) => digest,
        }
    }
}

/// The manifest of a layout's image that it keeps, because nothing in it has to be compressed; `None` where it gets another
/// one. Blocking work.
pub(crate) fn kept_manifest(path: &Path, platform: &Platform) -> Option<Manifest> {
    let layout = Layout::open(path).ok().filter(|layout| layout.form == Form::Oci)?;
    let (_, manifest) = layout.oci(platform).ok()?;
    layout.is_kept(&manifest).ok()?.then_some(manifest)
}

/// What the image of a layout is known by. Blocking work; of an archive that is gzipped all is read.
pub(crate) fn identify(path: &Path, platform: &Platform) -> Result<Identity, Error> {
    let layout = Layout::open(path)?;
    let found = match layout.form {
        Form::Oci => layout.oci_identity(platform),
        Form::Docker => layout.docker().map(|(_, config)| Identity::Content(Digest::of(&config))),
        Form::Stream => hash(path).map(Identity::Content).map_err(|error| unusable(error.to_string())),
    };
    found.map_err(|error| of_layout(path, error))
}

/// Reads the image of a layout. Layers that are known are left out; where it comes from goes to `progress`.
pub(crate) fn take(path: PathBuf, platform: Platform, known: KnownLayers, progress: Told) -> Built {
    Built::by(|parts| async move {
        let reading = tokio::task::spawn_blocking(move || {
            let result = Layout::open(&path).and_then(|layout| {
                let _ =
                    progress.send(Progress::Source(Source::Layout { path: path.clone(), form: layout.form.name() }));
                layout.take(&platform, known, &parts)
            });
            result.map_err(|error| of_layout(&path, error))
        });
        reading.await.unwrap_or_else(|error| Err(unusable(error.to_string())))
    })
}

/// An error of an image that came from a layout.
fn of_layout(path: &Path, error: Error) -> Error {
    match error {
        Error::Image { problem } => Error::Layout { path: path.to_owned(), problem },
        other => other,
    }
}

/// The digest of a file.
fn hash(path: &Path) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    Place::whole(path)?.read(|piece| {
        hash.update(&piece);
        Ok::<_, io::Error>(())
    })?;
    Ok(Digest::from_hash(&hash.finalize()))
}

/// How an image is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// With an `index.json`.
    Oci,
    /// With only a `manifest.json`.
    Docker,
    /// Either, in an archive that is gzipped.
    Stream,
}

impl Form {
    /// What people call it.
    fn name(self) -> &'static str {
        match self {
            Self::Oci => "OCI layout",
            Self::Docker => "docker-archive",
            Self::Stream => "gzipped archive",
        }
    }
}

/// A layout that is there.
struct Layout {
    /// Where it is.
    path: PathBuf,
    /// Its files.
    files: Files,
    /// How it is written down.
    form: Form,
}

impl Layout {
    /// Looks at what is there.
    fn open(path: &Path) -> Result<Self, Error> {
        let files = Files::open(path)?;
        let form = match &files {
            Files::Stream => Form::Stream,
            files if files.find("index.json").is_some() => Form::Oci,
            files if files.find("manifest.json").is_some() => Form::Docker,
            _ => {
                // A file that is there and may not be looked at is not found either.
                if let Err(error) = path.join("index.json").metadata()
                    && error.kind() == io::ErrorKind::PermissionDenied
                {
                    return Err(problem(path, format!("it cannot be read: {error}")));
                }
                let message = "it has neither index.json nor manifest.json: it is no OCI layout and no docker-archive";
                return Err(problem(path, message.to_owned()));
            }
        };
        Ok(Self { path: path.to_owned(), files, form })
    }

    /// Gives the parts of the image away.
    fn take(&self, platform: &Platform, known: KnownLayers, parts: &Parts) -> Result<(), Error> {
        if self.form == Form::Stream {
            let file = File::open(&self.path).map_err(|error| unusable(error.to_string()))?;
            let archive = MultiGzDecoder::new(BufReader::with_capacity(1 << 20, file));
            let expected = Expected { platform: platform.clone(), known, layers: Vec::new() };
            return save::read(archive, &expected, parts);
        }
        let assembly: Shared = Arc::new(Mutex::new(Assembly::new(known)));
        let mut taker = Taker { layout: self, assembly, parts, squeezed: Vec::new() };
        match self.form {
            Form::Oci => taker.oci(platform)?,
            _ => taker.docker(platform)?,
        }
        taker.finish(platform)
    }

    /// The manifest of an OCI layout for a platform, as bytes and as what it says; its configuration is for that platform.
    fn oci(&self, platform: &Platform) -> Result<(Bytes, Manifest), Error> {
        let bytes = manifest_of(&self.document("index.json")?, platform, |digest| self.blob(digest))?;
        let manifest: Manifest = read(&bytes, "manifest")?;
        check_platform(&self.blob(&manifest.config.digest)?, platform)?;
        Ok((bytes, manifest))
    }

    /// What the image of an OCI layout is known by.
    fn oci_identity(&self, platform: &Platform) -> Result<Identity, Error> {
        let (bytes, manifest) = self.oci(platform)?;
        let is_kept = self.is_kept(&manifest)?;
        Ok(if is_kept { Identity::Manifest(Digest::of(&bytes)) } else { Identity::Content(manifest.config.digest) })
    }

    /// Whether all layers that are pushed are compressed, so that the manifest stays.
    fn is_kept(&self, manifest: &Manifest) -> Result<bool, Error> {
        let pushed = manifest.layers.iter().filter(|layer| !layer.is_foreign());
        let compressed = pushed.map(|layer| self.is_compressed(layer)).collect::<Result<Vec<_>, _>>()?;
        Ok(compressed.into_iter().all(|is_compressed| is_compressed))
    }

    /// The image of a docker-archive and its configuration.
    fn docker(&self) -> Result<(DockerImage, Bytes), Error> {
        let list = self.document("manifest.json")?;
        if list.starts_with(b"{") {
            return Err(unusable("it is skopeo's `dir` format; write `oci:` or `docker-archive:` instead"));
        }
        let mut images: Vec<DockerImage> = read(&list, "manifest.json")?;
        match (images.pop(), images.len()) {
            (Some(image), 0) => {
                let config = self.document(&image.config)?;
                Ok((image, config))
            }
            (_, others) => Err(unusable(format!("it holds {} images, and one was expected", others + 1))),
        }
    }

    /// A document of this name.
    fn document(&self, name: &str) -> Result<Bytes, Error> {
        let place = self.files.find(name).ok_or_else(|| unusable(format!("`{name}` is missing")))?;
        place.document().map_err(|error| unusable(format!("`{name}` cannot be read: {error}")))
    }

    /// A document by its digest, which is checked.
    fn blob(&self, digest: &Digest) -> Result<Bytes, Error> {
        let bytes = self.document(&blob_name(digest))?;
        if Digest::of(&bytes) == *digest {
            return Ok(bytes);
        }
        Err(not_its_digest(digest))
    }

    /// Where a layer is, as long as its manifest says.
    fn layer(&self, layer: &Descriptor) -> Result<Place, Error> {
        let missing = || unusable(format!("its layer {} is missing", layer.digest.short()));
        let place = self.files.find(&blob_name(&layer.digest)).ok_or_else(missing)?;
        if place.size == layer.size {
            return Ok(place);
        }
        let (got, wanted) = (place.size, layer.size);
        Err(unusable(format!("its layer {} has {got} bytes, and its manifest says {wanted}", layer.digest.short())))
    }

    /// Whether a layer is compressed. Its first bytes say it, whatever its media type says.
    fn is_compressed(&self, layer: &Descriptor) -> Result<bool, Error> {
        Ok(matches!(kind(&self.layer(layer)?)?, Kind::Compressed(_)))
    }
}

/// A file that is not what its name says.
fn not_its_digest(digest: &Digest) -> Error {
    unusable(format!("the content of `{}` does not have that digest", blob_name(digest)))
}

/// What a file is.
fn kind(place: &Place) -> Result<Kind, Error> {
    place.beginning().map(|start| Kind::of(&start)).map_err(|error| unusable(error.to_string()))
}

/// Gives the parts of a layout away.
struct Taker<'a> {
    /// The layout.
    layout: &'a Layout,
    /// What has been given.
    assembly: Shared,
    /// Where parts go.
    parts: &'a Parts,
    /// Layers that are still being compressed, with the digest that they must have.
    squeezed: Vec<Squeezed>,
}

impl Taker<'_> {
    /// The layers and documents of an OCI layout.
    fn oci(&mut self, platform: &Platform) -> Result<(), Error> {
        let (bytes, manifest) = self.layout.oci(platform)?;
        let config = self.layout.blob(&manifest.config.digest)?;
        {
            let mut assembly = lock(&self.assembly);
            assembly.document(blob_name(&manifest.config.digest), config);
            assembly.document("index.json".to_owned(), bytes); // the manifest itself is an index of one
        }
        let mut seen = HashSet::new();
        for layer in manifest.layers.iter().filter(|layer| !layer.is_foreign() && seen.insert(layer.digest.clone())) {
            let place = self.layout.layer(layer)?;
            match kind(&place)? {
                Kind::Compressed(_) => self.pass(layer.clone(), place)?,
                _ => self.squeeze(&layer.digest, &place)?,
            }
        }
        Ok(())
    }

    /// The layers and documents of a docker-archive.
    fn docker(&mut self, platform: &Platform) -> Result<(), Error> {
        let (image, config) = self.layout.docker()?;
        check_platform(&config, platform)?;
        let inside: ImageConfig = read(&config, "configuration")?;
        let (layers, diff_ids) = (image.layers.len(), inside.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(unusable(format!("it has {layers} layers, and its configuration says {diff_ids}")));
        }
        {
            let mut assembly = lock(&self.assembly);
            assembly.document("manifest.json".to_owned(), self.layout.document("manifest.json")?);
            assembly.document(image.config.clone(), config);
        }
        let mut seen = HashSet::new();
        for (name, diff_id) in image.layers.iter().zip(inside.rootfs.diff_ids) {
            if lock(&self.assembly).take_known(&diff_id) || !seen.insert(diff_id.clone()) {
                continue;
            }
            let place =
                self.layout.files.find(name).ok_or_else(|| unusable(format!("its layer `{name}` is missing")))?;
            match kind(&place)? {
                Kind::Compressed(kind) => self.hash_and_pass(name, kind, place)?,
                _ => self.squeeze(&diff_id, &place)?,
            }
        }
        Ok(())
    }

    /// Passes a blob on as it is, unless the registry has it.
    fn pass(&self, descriptor: Descriptor, place: Place) -> Result<(), Error> {
        let is_known = {
            let mut assembly = lock(&self.assembly);
            assembly.passed(descriptor.digest.clone());
            assembly.known.has(&descriptor.digest)
        };
        if is_known {
            return Ok(());
        }
        self.give(Part::Reopenable { descriptor, content: place.content(), mount_from: None })
    }

    /// Passes a compressed layer on whose digest nobody says.
    fn hash_and_pass(&self, name: &str, kind: &str, place: Place) -> Result<(), Error> {
        let mut hash = Sha256::new();
        let read = place.read(|piece| {
            hash.update(&piece);
            Ok::<_, io::Error>(())
        });
        read.map_err(|error| unusable(format!("its layer `{name}` cannot be read: {error}")))?;
        let blob = Descriptor::new(kind, Digest::from_hash(&hash.finalize()), place.size);
        lock(&self.assembly).named(name.to_owned(), blob.clone());
        self.pass(blob, place)
    }

    /// Compresses a layer, unless the registry has it.
    fn squeeze(&mut self, diff_id: &Digest, place: &Place) -> Result<(), Error> {
        if lock(&self.assembly).take_known(diff_id) {
            return Ok(());
        }
        let claim = Squeeze::claim(&self.assembly, self.parts, diff_id, Some(place.size));
        let Some(squeeze) = tokio::runtime::Handle::current().block_on(claim)? else { return Ok(()) };
        place.read(|piece| squeeze.blocking_write(piece).map_err(Cut::Unwanted))?;
        self.squeezed.push(squeeze.blocking_end());
        Ok(())
    }

    /// Gives a part away.
    fn give(&self, part: Part) -> Result<(), Error> {
        self.parts.blocking_send(Ok(part)).map_err(|_| UNWANTED)
    }

    /// Puts the image together when everything is compressed.
    fn finish(self, platform: &Platform) -> Result<(), Error> {
        let runtime = tokio::runtime::Handle::current();
        for layer in self.squeezed {
            runtime.block_on(layer.digest())?;
        }
        let last = lock(&self.assembly).archive(platform)?;
        last.into_iter().try_for_each(|part| self.parts.blocking_send(Ok(part)).map_err(|_| UNWANTED))
    }
}

/// Why a file was not read to its end.
enum Cut {
    /// It cannot be read.
    Read(io::Error),
    /// Nobody wants it any more.
    Unwanted(Error),
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Cut> for Error {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Read(error) => unusable(format!("a layer cannot be read: {error}")),
            Cut::Unwanted(error) => error,
        }
    }
}

#[cfg(test)]
mod tests;
