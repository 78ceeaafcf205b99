//! Images that deploy.yml itself describes: files onto a base, or a WAR onto a server.

use super::super::account::unanswered;
use super::super::delivery::{Delivery, Source, Trouble};
use super::super::event::{Diagnosis, ImageResult};
use super::super::images::ImageDoors;
use super::make::{self, Opener, Opens};
use super::sources::{self, here};
use super::{Obstacle, Order, find_base};
use crate::config::{Assembly, FileCopy, War};
use crate::desired::ImageSource;
use crate::docker::content_key::{compressed, tag_of};
use crate::docker::context::side_by_side;
use crate::docker::file_digest::{Part, content_digest, digest_of, file_digest, stretch_digest, stretches};
use crate::docker::{self, BuildFailure};
use crate::error::{Failure, FailureKind};
use crate::image::assembly::blueprint::Step;
use crate::image::assembly::copy::{Account, Action, Copy};
use crate::image::assembly::mode::Mode;
use crate::image::assembly::source::{Content, Files, Kind};
use crate::image::assembly::war::{DEFAULT_ROOT, explode};
use crate::image::assembly::zip;
use crate::image::config::Draft;
use crate::model::{Compression, Digest};
use futures::FutureExt as _;
use futures::future::join;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

/// The files of an entry, listed.
#[derive(Clone)]
struct Listing {
    /// All files.
    files: Files,
    /// The steps that copy them.
    steps: Vec<Step>,
    /// The members of the WAR.
    members: Arc<Vec<zip::Member>>,
}

/// What is wrong with a file, and whose fault that is: what cannot be understood was made wrongly.
fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let (kind, hint) = match error.kind() {
        io::ErrorKind::PermissionDenied => (FailureKind::Configuration, "make it readable for this user"),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            (FailureKind::Application, "make it anew with the tool that wrote it (`mvn package` writes WAR files)")
        }
        _ => (FailureKind::Configuration, "let no other tool write to it, and run it again"),
    };
    let mut failure = Failure::new(kind, format!("cannot read `{}`", path.display())).with_hint(hint);
    failure.messages.push(error.to_string());
    failure
}

/// Lists the files of an entry. Blocking work.
fn list(assembly: &Assembly) -> Result<Listing, Failure> {
    let (mut files, mut steps, mut members) = (Files::default(), Vec::new(), Vec::new());
    if let Some(War { path, root }) = &assembly.war {
        let fail = |error: io::Error| unreadable(path, &error);
        members = zip::members(&mut File::open(path).map_err(fail)?).map_err(fail)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let root = if root.is_empty() { DEFAULT_ROOT } else { root };
        steps = explode(&members, &name, root, &mut files).map_err(|problem| {
            let message = format!("`{}` cannot be exploded: {problem}", path.display());
            Failure::new(FailureKind::Application, message)
        })?;
    }
    for (at, copy) in assembly.copy.iter().enumerate() {
        let source = sources::add(&copy.source, &format!("copy/{at}"), &mut files);
        let source = source.map_err(|(path, error)| unreadable(&path, &error))?;
        steps.push(step(copy, source));
    }
    if let Some(path) = &assembly.workdir {
        let action = Some(Action::Folder { path: path.clone(), owner: None });
        steps.push(Step { line: 1, text: format!("WORKDIR {path}"), action, unpacks: false });
    }
    Ok(Listing { files, steps, members: Arc::new(members) })
}

/// The step that copies a source.
fn step(copy: &FileCopy, source: String) -> Step {
    let name = copy.source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let owner = copy.chown.as_deref().map(|text| match text.split_once(':') {
        Some((user, group)) => Account { user: user.to_owned(), group: Some(group.to_owned()) },
        None => Account { user: text.to_owned(), group: None },
    });
    let (sources, mode) = (vec![source], copy.chmod.map(Mode::Octal));
    let action = Copy { sources, texts: Vec::new(), dest: copy.to.clone(), owner, mode, link: false };
    Step { line: 1, text: format!("COPY {name} {}", copy.to), action: Some(Action::Copy(action)), unpacks: false }
}

/// What an entry says of the configuration.
fn settle(assembly: &Assembly, mut draft: Draft) -> Draft {
    for (name, value) in &assembly.env {
        draft.set_variable(name, value);
    }
    for (name, value) in &assembly.labels {
        draft.set_entry("Labels", name, json!(value));
    }
    for port in &assembly.expose {
        let port = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
        draft.set_entry("ExposedPorts", &port, json!({}));
    }
    if let Some(entrypoint) = &assembly.entrypoint {
        draft.set("Entrypoint", entrypoint.clone());
        draft.unset("Cmd");
    }
    let texts = [("User", &assembly.user), ("WorkingDir", &assembly.workdir)];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
        draft.set(name, text.clone());
    }
    if let Some(cmd) = &assembly.cmd {
        draft.set("Cmd", cmd.clone());
    }
    draft
}

/// Changes whenever the meaning of a key changes.
const VERSION: &str = "seaway assembly key 3";

/// The content key of an entry: its base's digest, its settings, its files without their times. A WAR counts by its
/// members, packed as they are: building it again at another time changes nothing.
pub(crate) async fn content_key(
    assembly: &Assembly,
    compression: Compression,
    doors: &ImageDoors,
) -> Result<String, Failure> {
    let base = async {
        let Some(reference) = &assembly.from else { return Ok("scratch".to_owned()) };
        let error = match doors.registry.resolve(reference).await {
            Ok(digest) => return Ok(digest.to_string()),
            Err(error) => error,
        };
        let asked = format!("it is made on `{reference}`");
        Err(unanswered(asked, doors.account.as_ref(), &reference.repository, &error).await)
    };
    let hashed = assembly.clone();
    let hashing = tokio::task::spawn_blocking(move || hash_files(&hashed));
    let hashing = hashing
        .map(|done| done.unwrap_or_else(|error| Err(Failure::new(FailureKind::Infrastructure, error.to_string()))));
    let (base, files) = futures::future::try_join(base, hashing).await?;
    Ok(compressed(key(assembly, &base, &files), compression))
}

/// The key of an entry, of its settings, its base and its files.
fn key(assembly: &Assembly, base: &str, files: &[Counted]) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    // What is copied is named in the image's history, and its base in the manifest.
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let copies = assembly.copy.iter().map(|copy| json!([name(&copy.source), copy.to, copy.chown, copy.chmod]));
    let copies: Vec<_> = copies.collect();
    let settings = json!([
        VERSION,
        assembly.from.as_ref().map(ToString::to_string),
        base,
        assembly.platform,
        assembly.entrypoint,
        assembly.cmd,
        assembly.env,
        assembly.user,
        assembly.workdir,
        assembly.expose,
        assembly.labels,
        copies,
        assembly.war.as_ref().map(|war| (name(&war.path), &war.root)),
    ]);
    field(settings.to_string().as_bytes());
    for file in files {
        field(file.path.as_bytes());
        field(format!("{:o}", file.mode).as_bytes());
        field(file.content.as_bytes());
    }
    tag_of(&Digest::from_hash(&hash.finalize()))
}

/// What a file counts by.
struct Counted {
    /// Its path in the listing.
    path: String,
    /// Its mode.
    mode: u32,
    /// What it is.
    content: String,
}

/// A stretch of a file's content that is hashed by itself.
struct Stretch<'a> {
    /// The content.
    content: &'a Content,
    /// The file that it lies in.
    file: &'a Path,
    /// Where the stretch begins, in bytes.
    from: u64,
    /// How long the content is.
    size: u64,
}

/// Reads and hashes the files of an entry, several at once. Blocking work.
fn hash_files(assembly: &Assembly) -> Result<Vec<Counted>, Failure> {
    let listing = list(assembly)?;
    let (mut counted, mut parts, mut whose) = (Vec::new(), Vec::new(), Vec::new());
    let mut first_names: HashMap<(u64, u64), String> = HashMap::new();
    for (path, item) in listing.files.all() {
        let content = match &item.kind {
            Kind::Folder => "folder".to_owned(),
            Kind::Link(target) => format!("link {target}"),
            Kind::File { identity: Some(identity), .. } if first_names.contains_key(identity) => {
                format!("same file as {}", first_names[identity])
            }
            Kind::File { content, size, identity } => {
                first_names.extend(identity.map(|identity| (identity, path.to_owned())));
                let file = match (content, &assembly.war) {
                    (Content::Path(path), _) => path,
                    (Content::Member(_), Some(war)) => &war.path,
                    (Content::Member(_), None) | (Content::Text(_), _) => continue,
                };
                // A member is read as it is packed; how that is done is a part of what it is.
                let member = match content {
                    Content::Member(number) => listing.members.get(*number),
                    Content::Path(_) | Content::Text(_) => None,
                };
                for from in stretches(if member.is_some() { 0 } else { *size }) {
                    parts.push(Stretch { content, file, from, size: *size });
                    whose.push(counted.len());
                }
                let method = member.map(|member| format!(" packed by {}", member.method)).unwrap_or_default();
                format!("file {size} bytes{method}")
            }
        };
        counted.push(Counted { path: path.to_owned(), mode: item.mode, content });
    }
    let digests = side_by_side(&parts, |stretch| digest(stretch, &listing.members));
    for ((digest, stretch), at) in digests.into_iter().zip(&parts).zip(whose) {
        let digest = digest.map_err(|error| unreadable(stretch.file, &error))?;
        counted[at].content.push(' ');
        counted[at].content.push_str(digest.hex());
    }
    Ok(counted)
}

/// The digest of a stretch of a file, or of a member of the WAR as it is packed.
fn digest(stretch: &Stretch<'_>, members: &[zip::Member]) -> io::Result<Digest> {
    match stretch.content {
        Content::Path(_) => stretch_digest(stretch.file, stretch.from, stretch.size),
        Content::Text(text) => Ok(Digest::of(text)),
        Content::Member(number) => file_digest(stretch.file, Part::Member(*number), None, |file| {
            let member = members.get(*number).ok_or(io::ErrorKind::NotFound)?;
            Ok(digest_of(zip::packed(file, member)?, member.packed)?.0)
        }),
    }
}

/// Opens files of this machine, and members of a WAR.
struct WithWar {
    /// The WAR.
    archive: File,
    /// Its members.
    members: Arc<Vec<zip::Member>>,
}

impl Opener for WithWar {
    fn open(&mut self, content: &Content) -> io::Result<Box<dyn Read + '_>> {
        match content {
            Content::Path(path) => Ok(Box::new(File::open(path)?)),
            Content::Member(number) => {
                let member = self.members.get(*number).ok_or(io::ErrorKind::NotFound)?;
                zip::open(&mut self.archive, member)
            }
            Content::Text(text) => Ok(Box::new(io::Cursor::new(text.clone()))),
        }
    }

    fn digest(&mut self, content: &Content, size: u64) -> io::Result<Digest> {
        match content {
            Content::Path(path) => content_digest(path, size),
            // What the archive says of it: its reader checks that.
            Content::Member(number) => {
                let member = self.members.get(*number).ok_or(io::ErrorKind::NotFound)?;
                Ok(Digest::of(&member.crc.to_be_bytes()))
            }
            Content::Text(text) => Ok(Digest::of(text)),
        }
    }
}

/// Says that the WAR is gone.
struct Gone(io::ErrorKind);

impl Opener for Gone {
    fn open(&mut self, _: &Content) -> io::Result<Box<dyn Read + '_>> {
        Err(self.0.into())
    }

    fn digest(&mut self, _: &Content, _: u64) -> io::Result<Digest> {
        Err(self.0.into())
    }
}

/// Where the content of an entry comes from.
fn opens(assembly: &Assembly, members: &Arc<Vec<zip::Member>>) -> Opens {
    let Some(war) = &assembly.war else { return here() };
    let (path, members) = (war.path.clone(), Arc::clone(members));
    Arc::new(move || match File::open(&path) {
        Ok(archive) => Box::new(WithWar { archive, members: Arc::clone(&members) }),
        Err(error) => Box::new(Gone(error.kind())),
    })
}

/// Makes the image of an entry and pushes it under its content key and its tag for people.
pub(in crate::execute) async fn push(delivery: Delivery<'_>) -> Result<ImageResult, Diagnosis> {
    let ImageSource::Assembly(assembly) = &delivery.image.source else {
        return Err(delivery.is_not("made of files"));
    };
    let listed = assembly.clone();
    let listing = tokio::task::spawn_blocking(move || list(&listed));
    let listing =
        listing.await.unwrap_or_else(|error| Err(Failure::new(FailureKind::Infrastructure, error.to_string())));
    let pushed = deliver(&delivery, assembly, listing?).await;
    match pushed {
        Ok(result) => Ok(result),
        Err(trouble) => {
            let place = assembly.from.as_ref().map_or_else(|| "scratch".to_owned(), ToString::to_string);
            Err(delivery.diagnose(&trouble, place).await)
        }
    }
}

/// Prepares and pushes.
async fn deliver(delivery: &Delivery<'_>, assembly: &Assembly, listing: Listing) -> Result<ImageResult, Trouble> {
    let looking = join(delivery.known_layers(), find_base(delivery, assembly.from.as_ref(), &assembly.platform));
    let (known, base) = tokio::select! {
        biased;
        () = delivery.cancel.cancelled() => return Err(docker::Error::Cancelled.into()),
        looked = looking => looked,
    };
    let base = base.map_err(trouble)?;
    let order = Order {
        base,
        platform: &assembly.platform,
        steps: |draft: Draft| Ok((listing.steps.clone(), settle(assembly, draft))),
        files: listing.files.clone(),
        opens: opens(assembly, &listing.members),
        reason: "files onto a base need no builder",
    };
    let ready = tokio::select! {
        biased;
        () = delivery.cancel.cancelled() => return Err(docker::Error::Cancelled.into()),
        ready = order.prepare(delivery, &known) => ready,
    };
    let ready = Arc::new(ready.map_err(trouble)?);
    let same = || async {
        let now = self::content_key(assembly, delivery.image.supply.compression, delivery.doors).await;
        now.is_ok_and(|now| now == delivery.content_key)
    };
    let give = |known, progress| make::make(&ready, known, &progress);
    let bases = Some(ready.bases());
    let source = Source { give: &give, unchanged: &|| same().boxed(), bases, keeps_manifest: false };
    delivery.run(known, source).await
}

/// What an obstacle means here, where there is no builder to fall back to.
fn trouble(obstacle: Obstacle) -> Trouble {
    match obstacle {
        Obstacle::Base(error) => error.into(),
        Obstacle::Missing { source, .. } => impossible(format!("there is no `{source}`")).into(),
        Obstacle::Builder(problem) => impossible(problem).into(),
    }
}

/// The failure of files that cannot be laid on the base.
fn impossible(problem: String) -> docker::Error {
    docker::Error::Build(Box::new(BuildFailure {
        message: problem.clone(),
        headline: problem,
        step: None,
        line: None,
        log: Vec::new(),
        kind: FailureKind::Application,
        hint: Some("choose another place with `copy`, or write a Dockerfile".to_owned()),
    }))
}

#[cfg(test)]
mod tests;
