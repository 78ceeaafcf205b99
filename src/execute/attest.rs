//! What is said about an image: annotations in its manifest, and attestations beside it.
//!
//! The order is subject, attestations, list, tags: whoever finds an image by its tag finds what is said about it. A registry
//! that refuses attestations gets the image without them, and people are told; one that cannot be reached is a failure like
//! any other, and the next run puts what is missing.

mod parameters;

use super::account::{self, RegistryAccount};
use super::event::{Attestation, AttestationKind, EventKind, Events};
use crate::config::Build;
use crate::desired::{Circumstances, DesiredImage, ImageSource};
use crate::error::Failure;
use crate::http::Retry;
use crate::image::provenance::{
    self, Commit, PREDICATE_ANNOTATION, PROVENANCE, Provenance, SPDX, STATEMENT_MEDIA_TYPE,
};
use crate::image::referrers::Artifact;
use crate::image::sbom::{self, About, Inventory, Scan};
use crate::image::{Descriptor, ImageConfig, KnownLayers, annotations, dockerfile};
use crate::model::{Digest, Platform, Reference};
use crate::plan::OperationId;
use crate::registry::{Client, Error, PushReport, Pushed, Pusher, RawManifest};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures::future::try_join_all;
use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// So many layers are read at once.
const LAYERS_AT_ONCE: usize = 2;

/// So many bases are looked up at once.
const BASES_AT_ONCE: usize = 8;

impl AttestationKind {
    /// The predicate of its statement.
    fn predicate(self) -> &'static str {
        match self {
            Self::Sbom => SPDX,
            Self::Provenance => PROVENANCE,
        }
    }

    /// The name of its file where a client writes one.
    fn file(self) -> &'static str {
        match self {
            Self::Sbom => "sbom.spdx.intoto.json",
            Self::Provenance => "provenance.slsa.intoto.json",
        }
    }
}

/// An image's manifest as it is pushed: with its annotations. Where the repository has the same image of another commit, its
/// manifest is kept byte by byte: nothing that is deployed by digest changes because a commit did.
pub(super) fn annotated(image: &DesiredImage, manifest: RawManifest, known: &KnownLayers) -> RawManifest {
    if image.supply.annotations.is_empty() {
        return manifest; // whatever is copied stays what it is
    }
    let made = annotations::annotate(&manifest.media_type, &manifest.bytes, &image.supply.annotations);
    let Ok((media_type, bytes)) = made else { return manifest }; // the registry will say what is wrong with it
    let made = if bytes == manifest.bytes { manifest } else { RawManifest::new(Some(&media_type), bytes.into()) };
    let before = made.read().ok().and_then(|parts| known.manifest(&parts.config.digest));
    match before {
        Some((media_type, bytes)) if annotations::are_alike(bytes, &made.bytes) => {
            RawManifest::new(Some(media_type), bytes.clone())
        }
        _ => made,
    }
}

/// How an image was made, as far as only whoever made it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// When that began.
    pub(super) started: Timestamp,
    /// The tag of its inputs; `None` where they changed while it was made.
    pub(super) content_key: Option<String>,
    /// The images that it was made from.
    pub(super) bases: BTreeMap<String, Digest>,
    /// Whether the source has said which images those were. Otherwise they are what the names stood for at the beginning.
    bases_are_sure: bool,
    /// The files that it was made from, where they count one by one: archives that another tool has built.
    pub(super) files: BTreeMap<String, Digest>,
}

impl Made {
    /// A build that begins now, on the images that its source has found, or on those that can be found. Those are looked up
    /// where its provenance will be told; one that cannot be found is left out, and the builder says what is wrong with it.
    pub(super) async fn begin(
        image: &DesiredImage,
        content_key: &str,
        found: Option<BTreeMap<String, Digest>>,
        registry: &Client,
    ) -> Self {
        let (started, content_key) = (Timestamp::now(), Some(content_key.to_owned()));
        let bases_are_sure = found.is_some();
        let made = Self { started, content_key, bases: BTreeMap::new(), bases_are_sure, files: BTreeMap::new() };
        match &image.source {
            _ if !image.supply.provenance => made,
            ImageSource::Build(build) => {
                let bases = match found {
                    Some(found) => found,
                    None => bases(build, registry).await,
                };
                Self { bases, ..made }
            }
            ImageSource::Assembly(assembly) => {
                let bases = found.unwrap_or_default();
                let (assembly, file) = (assembly.clone(), image.supply.circumstances.file.clone());
                let hashing = tokio::task::spawn_blocking(move || parameters::files(&assembly, &file));
                Self { bases, files: hashing.await.unwrap_or_default(), ..made }
            }
            ImageSource::Mirror(_) | ImageSource::Layout(_) | ImageSource::Engine(_) => made,
        }
    }

    /// The same for an image whose inputs changed while it was made: only what its source itself has used is told.
    pub(super) fn of_other_inputs(self) -> Self {
        let bases = if self.bases_are_sure { self.bases } else { BTreeMap::new() };
        Self { content_key: None, bases, files: BTreeMap::new(), ..self }
    }
}

/// The images that a Dockerfile builds on, and their digests now.
async fn bases(build: &Build, registry: &Client) -> BTreeMap<String, Digest> {
    let text = tokio::fs::read(&build.dockerfile).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let named = dockerfile::inputs(&text, &build.args, build.target.as_deref(), &build.platform).bases;
    let resolving = stream::iter(named).map(|base| async move {
        let digest = registry.resolve(&Reference::parse(&base.name).ok()?).await.ok()?;
        Some((base.name, digest))
    });
    resolving.buffer_unordered(BASES_AT_ONCE).filter_map(std::future::ready).collect().await
}

/// Puts attestations beside an image.
#[derive(Clone, Copy)]
pub(super) struct Attest<'a> {
    /// The registries.
    pub(super) registry: &'a Client,
    /// The account behind the registry, if there is one: it knows why it refuses.
    pub(super) account: Option<&'a RegistryAccount>,
    /// The image.
    pub(super) image: &'a DesiredImage,
    /// Whether this run has pushed it.
    pub(super) is_pushed: bool,
    /// Which operation it is.
    pub(super) operation: OperationId,
    /// Whom to tell.
    pub(super) events: &'a Events,
    /// Stops it.
    pub(super) cancel: &'a CancellationToken,
}

impl Attest<'_> {
    /// Whether there is anything to be put.
    pub(super) fn is_wanted(&self) -> bool {
        self.image.supply.sbom || self.image.supply.provenance
    }

    /// Puts what is asked for and not there yet beside the image with this digest. `made` is `None` for an image that was
    /// not made in this run: what is in it can be told all the same, how it was made cannot.
    pub(super) async fn run(&self, digest: &Digest, made: Option<&Made>) -> Result<Vec<Attestation>, Error> {
        if !self.is_wanted() {
            return Ok(Vec::new());
        }
        let work = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Error::Cancelled),
            work = self.put_all(digest, made) => work,
        };
        match work {
            Err(error) if is_refusal(&error) => {
                self.warn_of_refusal(&error).await;
                Ok(Vec::new())
            }
            work => work,
        }
    }

    /// Ends a push: the manifest, what is said about it, and then its tags.
    pub(super) async fn finish(
        &self,
        pusher: Pusher,
        manifest: &RawManifest,
        tags: &[&str],
        made: Option<&Made>,
    ) -> Result<(PushReport, Vec<Attestation>), Error> {
        if !self.is_wanted() {
            return Ok((pusher.finish(manifest, tags).await?, Vec::new()));
        }
        let report = pusher.finish(manifest, &[]).await?;
        let attestations = self.run(&report.digest, made).await?;
        self.tag(&report.digest, tags).await?;
        Ok((report, attestations))
    }

    /// Puts the tags that an image gets after its attestations, which registries take from the manifest that they have.
    pub(super) async fn tag(&self, digest: &Digest, tags: &[&str]) -> Result<(), Error> {
        for tag in tags {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Error::Cancelled),
                tagged = self.registry.tag(&self.image.repository, digest, tag) => tagged?,
            };
        }
        Ok(())
    }

    /// Puts what is missing, and then the list of it, once for all.
    async fn put_all(&self, digest: &Digest, made: Option<&Made>) -> Result<Vec<Attestation>, Error> {
        let there = self.registry.artifacts(&self.image.repository, digest).await?;
        let supply = &self.image.supply;
        let asked = [(AttestationKind::Provenance, supply.provenance), (AttestationKind::Sbom, supply.sbom)];
        let (mut attestations, mut missing) = (Vec::new(), Vec::new());
        for (kind, _) in asked.into_iter().filter(|(_, is_asked)| *is_asked) {
            match there.iter().find(|artifact| predicate_of(artifact) == Some(kind.predicate())) {
                Some(known) => attestations.push(Attestation { kind, digest: known.digest.clone(), new: false }),
                None => missing.push(kind),
            }
        }
        if missing.is_empty() {
            return Ok(attestations);
        }
        let mut pushed = Vec::new();
        let put = self.put_missing(digest, made, &missing, &mut pushed).await;
        // What is there is listed even where the next one was refused.
        let artifacts: Vec<Pushed> = pushed.iter().map(|(_, artifact)| artifact.clone()).collect();
        self.registry.list_artifacts(&self.image.repository, digest, &artifacts).await?;
        put?;
        let new = |(kind, artifact): (_, Pushed)| Attestation { kind, digest: artifact.entry.digest, new: true };
        attestations.extend(pushed.into_iter().map(new));
        attestations.sort_by_key(|attestation| asked.iter().position(|(kind, _)| *kind == attestation.kind));
        if missing.contains(&AttestationKind::Provenance) && made.is_none() {
            self.say_that_it_has_no_provenance();
        }
        Ok(attestations)
    }

    /// Puts one attestation after the other. The cheap one comes first: a registry that refuses it is not asked for all its
    /// layers in vain.
    async fn put_missing(
        &self,
        digest: &Digest,
        made: Option<&Made>,
        missing: &[AttestationKind],
        pushed: &mut Vec<(AttestationKind, Pushed)>,
    ) -> Result<(), Error> {
        let repository = &self.image.repository;
        let subject = self.registry.get_manifest(repository, digest.as_str()).await?;
        let subject = subject.ok_or_else(|| Error::NotFound { reference: repository.at(digest).to_string() })?;
        for kind in missing {
            let predicate = match kind {
                AttestationKind::Sbom => Some(self.sbom(&subject).await?),
                AttestationKind::Provenance => made.and_then(|made| self.provenance(made)),
            };
            let Some(predicate) = predicate else { continue };
            let artifact = self.artifact(*kind, &subject, &predicate);
            pushed.push((*kind, self.registry.push_artifact(repository, &artifact, self.cancel).await?));
        }
        Ok(())
    }

    /// One attestation as a registry takes it.
    fn artifact(&self, kind: AttestationKind, subject: &RawManifest, predicate: &Value) -> Artifact {
        let statement = provenance::statement(&self.image.repository, &subject.digest, kind.predicate(), predicate);
        Artifact {
            kind: STATEMENT_MEDIA_TYPE.to_owned(),
            subject: Descriptor::new(&subject.media_type, subject.digest.clone(), subject.bytes.len() as u64),
            content_type: STATEMENT_MEDIA_TYPE.to_owned(),
            content: Bytes::from(statement.to_string()),
            file: kind.file().to_owned(),
            annotations: BTreeMap::from([(PREDICATE_ANNOTATION.to_owned(), kind.predicate().to_owned())]),
        }
    }

    /// How the image was made; `None` for one that was made elsewhere and is copied.
    fn provenance(&self, made: &Made) -> Option<Value> {
        let Circumstances { file, run } = &*self.image.supply.circumstances;
        let (origin, git) = (&run.origin, run.git.as_ref());
        let commit = git.map(|git| Commit {
            source: origin.source.clone(),
            reference: origin.reference.clone(),
            sha: git.sha.clone(),
            dirty: git.dirty,
        });
        let provenance = Provenance {
            image: self.image.key.clone(),
            file: file.display().to_string(),
            parameters: parameters::of(&self.image.source, file, &origin.secrets)?,
            content_key: made.content_key.clone(),
            commit,
            bases: made.bases.clone(),
            files: made.files.clone(),
            builder: origin.builder.clone(),
            invocation: origin.run_url.clone().unwrap_or_else(|| run.run_id.clone()),
            started: made.started,
            finished: Timestamp::now(),
        };
        Some(provenance.predicate())
    }

    /// What is in the image: all its layers are read from the registry, each once.
    async fn sbom(&self, subject: &RawManifest) -> Result<Value, Error> {
        let repository = &self.image.repository;
        let unreadable = |problem: String| Error::Nonsense {
            registry: repository.registry.clone(),
            action: format!("give the image `{repository}@{}`", subject.digest.short()),
            problem,
        };
        let parts = subject.read().map_err(|error| unreadable(error.to_string()))?;
        let config = self.registry.read_blob(repository, &parts.config).await?;
        let config: Option<ImageConfig> = serde_json::from_slice(&config).ok();
        let platform = config.map_or_else(Platform::default, |config| config.platform());
        self.say(format!("listing the packages in {} layers", parts.layers.len()));
        let mut scan = Scan::default();
        for layers in parts.layers.chunks(LAYERS_AT_ONCE) {
            let read = try_join_all(layers.iter().map(|layer| self.read(layer))).await?;
            for (layer, read) in layers.iter().zip(read) {
                match read {
                    Ok(read) => scan.add(read),
                    Err(gap) => scan.add_gap(format!("layer sha256:{}… {gap}", layer.digest.short())),
                }
            }
        }
        let inventory: Inventory = scan.finish();
        for gap in &inventory.gaps {
            self.warn(format!("the list of packages of image `{}` has a gap: {gap}", self.image.key));
        }
        let about = About { repository, digest: &subject.digest, platform: &platform, created: Timestamp::now() };
        Ok(sbom::document(&about, &inventory))
    }

    /// Reads one layer. One that holds what nobody here can read is a gap, and no failure.
    async fn read(&self, layer: &Descriptor) -> Result<Result<sbom::Layer, String>, Error> {
        if layer.is_foreign() {
            return Ok(Err("lies elsewhere by its licence".to_owned()));
        }
        self.registry.patience().retry.run(Error::retry, || self.read_once(layer)).await
    }

    /// The same, once. The bytes are hashed on the way: what is said is said of the image and of nothing else.
    async fn read_once(&self, layer: &Descriptor) -> Result<Result<sbom::Layer, String>, Error> {
        let repository = &self.image.repository;
        let mut blob = self.registry.open_blob(repository, &layer.digest).await?;
        let (sender, pieces) = mpsc::channel(PIECES);
        let reading = tokio::task::spawn_blocking(move || read_layer(Pieces { pieces, current: Bytes::new() }));
        while let Some(piece) = blob.next().await {
            if sender.send(piece?).await.is_err() {
                break; // whoever reads has seen enough
            }
        }
        drop(sender);
        let read = reading.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match read {
            Ok((_, got)) if got != layer.digest => Err(Error::DigestMismatch {
                registry: repository.registry.clone(),
                what: "a layer".to_owned(),
                wanted: layer.digest.clone(),
                got: got.to_string(),
            }),
            Ok((layer, _)) => Ok(Ok(layer)),
            Err(gap) => Ok(Err(gap)),
        }
    }

    /// Says what is going on.
    fn say(&self, message: String) {
        self.events.send(EventKind::Progress { operation: self.operation, message });
    }

    /// Says what went wrong without changing the result.
    fn warn(&self, message: String) {
        self.events.send(EventKind::Warning { message });
    }

    /// An image that was made before anybody asked how.
    fn say_that_it_has_no_provenance(&self) {
        self.warn(format!(
            "image `{}` is reused and has no provenance: only the run that builds an image can say how. \
             `--no-cache` builds it again",
            self.image.key
        ));
    }

    /// A registry that takes images and no attestations. The account is asked for the cause; what the registry's answer alone
    /// lets suspect is told only where there is no account.
    async fn warn_of_refusal(&self, error: &Error) {
        let plain = Failure::of(error);
        let answers = plain.messages.len();
        let told = if self.is_pushed {
            account::explain_after_push(self.account, &self.image.repository, error, plain).await
        } else {
            account::explain(self.account, &self.image.repository, error, plain).await
        };
        let hint = told.hint.filter(|_| told.messages.len() > answers || self.account.is_none());
        let hint = hint.map(|hint| format!(" ({})", on_one_line(&hint))).unwrap_or_default();
        self.warn(format!(
            "image `{}` goes without attestations, the image itself is complete: {}{hint}. \
             Take `attest` out of deploy.yml (or `--sbom`, `--provenance`) to silence this",
            self.image.key,
            told.messages.join(": "),
        ));
    }
}

/// A hint of several lines, perhaps with a list, within a sentence.
fn on_one_line(hint: &str) -> String {
    let lines: Vec<&str> = hint.lines().map(|line| line.trim().trim_start_matches("- ")).collect();
    lines.join("; ").replace(":; ", ": ")
}

/// Whether a registry does not want attestations, rather than being out of order or locked: the image itself went in.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Refused { refusal, .. } => refusal.status.is_client_error() && refusal.retry == Retry::Never,
        Error::Nonsense { .. } => true, // somebody's image has the tag of the list
        _ => false,
    }
}

/// The predicate of an artifact, where its list says it.
fn predicate_of(artifact: &Descriptor) -> Option<&str> {
    artifact.others.get("annotations")?.get(PREDICATE_ANNOTATION)?.as_str()
}

/// Pieces between the one who receives a layer and the one who reads it.
const PIECES: usize = 4;

/// A layer in pieces, for whoever reads it on a thread that may block.
struct Pieces {
    /// Where they come from.
    pieces: mpsc::Receiver<Bytes>,
    /// What is left of the one that is being read.
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let Some(next) = self.pieces.blocking_recv() else { return Ok(0) };
            self.current = next;
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// Hashes what is read.
struct Hashing<R> {
    /// What is read.
    source: R,
    /// Its hash so far.
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// Reads a layer as it lies in a registry, and its digest; why it cannot be read otherwise. Blocking work.
fn read_layer(blob: impl Read) -> Result<(sbom::Layer, Digest), String> {
    let mut blob = Hashing { source: blob, hash: Sha256::new() };
    let mut start = [0; 4];
    let mut filled = 0;
    while filled < start.len() {
        match blob.read(&mut start[filled..]).map_err(|error| format!("cannot be read: {error}"))? {
            0 => break,
            count => filled += count,
        }
    }
    let mut whole = start[..filled].chain(&mut blob);
    let layer = match start {
        [0x1f, 0x8b, ..] => read_all(&mut MultiGzDecoder::new(&mut whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => zstd::Decoder::new(&mut whole).and_then(|mut archive| read_all(&mut archive)),
        _ => sbom::read(&mut whole),
    };
    let layer = layer.map_err(|error| format!("is no archive that can be read: {error}"))?;
    io::copy(&mut whole, &mut io::sink()).map_err(|error| format!("cannot be read: {error}"))?;
    Ok((layer, Digest::from_hash(&blob.hash.finalize())))
}

/// Reads an archive to the end of what it is compressed into, which may lie behind the end of the archive.
fn read_all(archive: &mut impl Read) -> io::Result<sbom::Layer> {
    let layer = sbom::read(&mut *archive)?;
    io::copy(archive, &mut io::sink()).map(|_| layer)
}

#[cfg(test)]
mod tests;
