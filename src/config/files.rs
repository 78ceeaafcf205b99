//! The files that deploy.yml names: build contexts, Dockerfiles and manifests. The only part that reads the disk.

use super::raw::{Problem, RawAssembly, RawBuild, RawConfig, RawCopy, RawSource, Text};
use super::source::{SourceFile, Span};
use super::{Assembly, Build, Diagnostic, Image, ImageSource, Layout};
use crate::model::nearest;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The most that a file of deploy.yml or of its manifests may hold, in bytes: more is not written by people.
const LARGEST_FILE: u64 = 16 << 20;

/// The text of a file, or why it cannot be read: a phrase without the name of the file.
pub(super) fn read_text(path: &Path) -> Result<String, (ErrorKind, String)> {
    let say = |error: std::io::Error| (error.kind(), reason(&error));
    let size = fs::metadata(path).map_err(say)?.len();
    if size > LARGEST_FILE {
        return Err((ErrorKind::FileTooLarge, format!("it is larger than {} MiB", LARGEST_FILE >> 20)));
    }
    let bytes = fs::read(path).map_err(say)?;
    String::from_utf8(bytes).map_err(|_| (ErrorKind::InvalidData, "it is not UTF-8 text".to_owned()))
}

/// What the operating system said, without its error number.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_lowercase()
        }
    }
}

/// deploy.yml itself.
pub(super) fn read_deploy(path: &Path) -> Result<SourceFile, Diagnostic> {
    let shown = path.display();
    match read_text(path) {
        Ok(text) => Ok(SourceFile::new(path, &text)),
        Err((ErrorKind::NotFound, _)) => {
            let hint = sibling(path).map_or_else(
                || "go to the folder that has one, name it with `--file PATH`, or write one; its first line is `name: NAME`".to_owned(),
                |other| format!("did you mean `--file {}`?", other.display()),
            );
            Err(Diagnostic::error(format!("there is no `{shown}`")).with_hint(hint))
        }
        Err((kind, reason)) => {
            let hint = match kind {
                ErrorKind::PermissionDenied => {
                    "make it readable for this user, or name another file with `--file PATH`"
                }
                _ => "name the file to read with `--file PATH`",
            };
            Err(Diagnostic::error(format!("cannot read `{shown}`: {reason}")).with_hint(hint))
        }
    }
}

/// A file beside the wanted one that looks like it: `deploy.yaml` for `deploy.yml`.
fn sibling(path: &Path) -> Option<PathBuf> {
    let folder = folder_of(path);
    let names = names_in(&folder);
    let wanted = path.file_name()?.to_str()?;
    nearest(wanted, names.iter().map(String::as_str)).map(|name| path.with_file_name(name))
}

/// The folder of a file, `.` for a bare name.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The names in a folder, sorted; none where it cannot be read.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Notes contexts, Dockerfiles and layouts that are not there.
pub(super) fn check_contexts(raw: &RawConfig, images: &[Image], problems: &mut Vec<Problem>) {
    for raw in &raw.images {
        let image = images.iter().find(|image| image.key == raw.key.value);
        if let (Some(RawSource::Build(raw)), Some(Image { source: ImageSource::Build(build), .. })) =
            (&raw.source, image)
        {
            problems.extend(check_context(raw, build));
        }
        if let (Some(RawSource::Layout(text)), Some(Image { source: ImageSource::Layout(layout), .. })) =
            (&raw.source, image)
        {
            problems.extend(check_layout(text, layout));
        }
        if let (Some(RawSource::Assembly(raw)), Some(Image { source: ImageSource::Assembly(assembly), .. })) =
            (&raw.source, image)
        {
            problems.extend(check_assembly(raw, assembly));
        }
    }
}

/// Notes a context or a Dockerfile that is not there. Variables without a value make a path unknown, not wrong.
fn check_context(raw: &RawBuild, build: &Build) -> Option<Problem> {
    let unknown = |path: &Path| path.to_string_lossy().contains("${");
    if unknown(&build.context) || unknown(&build.dockerfile) {
        return None;
    }
    if !build.context.is_dir() {
        let problem = missing(&raw.context, &build.context, "folder");
        if raw.context.value.contains("://") || raw.context.value.starts_with("git@") {
            return Some(problem.hint("a context is a folder of this machine: clone the repository first"));
        }
        return Some(problem.hint("it is the folder that the Dockerfile builds from, relative to deploy.yml"));
    }
    if build.dockerfile.is_file() {
        return None;
    }
    let text = raw.dockerfile.as_ref().unwrap_or(&raw.context);
    if let Some(problem) = hidden(text, &build.dockerfile) {
        return Some(problem);
    }
    let name = shown(text, &build.dockerfile);
    if build.dockerfile.exists() {
        let problem = Problem::new(text.span, format!("the Dockerfile `{name}` is not a file"));
        return Some(problem.hint("name the file itself: `build: { context: …, dockerfile: … }`"));
    }
    let problem = Problem::new(text.span, format!("there is no Dockerfile `{name}`"));
    let name = build.dockerfile.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let names = names_in(&folder_of(&build.dockerfile));
    let dockerfiles = names.iter().filter(|name| name.to_lowercase().contains("dockerfile"));
    Some(match nearest(name, names.iter().map(String::as_str)).or_else(|| dockerfiles.map(String::as_str).next()) {
        Some(other) => problem.label(format!("did you mean `dockerfile: {other}`?")),
        None => problem.hint("write one there, or name another one: `build: { context: …, dockerfile: … }`"),
    })
}

/// Notes a layout that is not there. Whether it holds an image is found out when it is read.
fn check_layout(text: &Text, layout: &Layout) -> Option<Problem> {
    if layout.path.to_string_lossy().contains("${") || layout.path.exists() {
        return None;
    }
    let problem = missing(text, &layout.path, "OCI layout or archive");
    Some(problem.hint("another tool writes it (`docker save`, `buildctl --output type=oci`, Bazel): run that first"))
}

/// Notes files of an image that are not there.
fn check_assembly(raw: &RawAssembly, assembly: &Assembly) -> Vec<Problem> {
    let unknown = |path: &Path| path.to_string_lossy().contains("${");
    let war = raw.war.as_ref().zip(assembly.war.as_ref());
    let war = war.filter(|(_, war)| !unknown(&war.path) && !war.path.is_file());
    let war = war.map(|(text, war)| {
        let hint = "it is what the build of the application writes (`mvn package`): run that first";
        missing(text, &war.path, "file").hint(hint)
    });
    let copies = assembly.copy.iter().filter(|copy| !unknown(&copy.source) && !copy.source.exists());
    let copies = copies.filter_map(|copy| {
        let written = |raw: &&RawCopy| copy.source.ends_with(raw.source.value.trim_start_matches("./"));
        let raw = raw.copy.iter().find(written)?;
        Some(missing(&raw.source, &copy.source, "file or folder"))
    });
    war.into_iter().chain(copies).collect()
}

/// A path as messages show it: as it was written where a variable gave it, since its value may be a secret.
fn shown(text: &Text, path: &Path) -> String {
    if text.value.contains("${") { text.value.clone() } else { path.display().to_string() }
}

/// A path that leads nowhere.
fn missing(text: &Text, path: &Path, what: &str) -> Problem {
    if let Some(problem) = hidden(text, path) {
        return problem;
    }
    let name = shown(text, path);
    if path.exists() {
        return Problem::new(text.span, format!("`{name}` is not a {what}"));
    }
    let problem = Problem::new(text.span, format!("there is no {what} `{name}`"));
    match sibling(path) {
        Some(near) => problem.label(format!("did you mean `{}`?", near.display())),
        None => problem.hint("paths start at the folder of deploy.yml"),
    }
}

/// A path behind a folder that may not be looked into, or a link that leads nowhere: what looks as if it were not there.
fn hidden(text: &Text, path: &Path) -> Option<Problem> {
    let name = shown(text, path);
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let problem = Problem::new(text.span, format!("cannot look at `{name}`: permission denied"));
            Some(problem.hint("let this user into the folders above it"))
        }
        Err(_) => {
            let target = fs::read_link(path).ok()?;
            let target = target.display();
            let problem = Problem::new(text.span, format!("`{name}` is a link to `{target}`, which is not there"));
            Some(problem.hint("make what it leads to, or lead the link elsewhere"))
        }
        Ok(_) => None,
    }
}

/// The files of an entry of `manifests`: the file itself, or those of a folder as `kubectl apply -f FOLDER` takes them:
/// `.yaml`, `.yml` and `.json`, sorted, without folders inside.
pub(super) fn manifest_files(text: &Text, path: &Path) -> Result<Vec<PathBuf>, Problem> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if text.value.contains('*') && !path.exists() {
        let problem = Problem::new(text.span, "patterns are not supported");
        return Err(problem.hint("name the folder, whose manifests are all taken, or each file"));
    }
    if !path.is_dir() {
        return Err(missing(text, path, "file or folder"));
    }
    let is_manifest = |name: &String| {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"))
    };
    let files: Vec<PathBuf> = names_in(path).into_iter().filter(is_manifest).map(|name| path.join(name)).collect();
    let files: Vec<PathBuf> = files.into_iter().filter(|file| file.is_file()).collect();
    if files.is_empty() {
        let problem = Problem::new(text.span, format!("there are no manifests in `{}`", shown(text, path)));
        return Err(
            problem.hint("files that end in `.yaml`, `.yml` or `.json` are taken; folders inside are not looked into")
        );
    }
    Ok(files)
}

/// A manifest file, or what to say at the entry that led to it.
pub(super) fn read_manifest(path: &Path, entry: Span) -> Result<SourceFile, Problem> {
    let text = read_text(path);
    let text =
        text.map_err(|(_, reason)| Problem::new(entry, format!("cannot read `{}`: {reason}", path.display())))?;
    Ok(SourceFile::new(path, &text))
}
