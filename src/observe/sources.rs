//! What Dockerfiles take from their contexts, looked at before anything is contacted: a builder would say it a minute later
//! and in fewer words.
//!
//! Only paths that are known without a builder are looked at: no patterns, no variables, no stages.

use crate::config::{Build, Config, Diagnostic, Diagnostics, ImageSource};
use crate::docker::context::{ContextError, Ignore};
use crate::error::Hint as _;
use crate::image::dockerfile::{self, Source};
use crate::model::nearest;
use std::collections::BTreeSet;
use std::path::Path;

/// Looks at every image that is built; the warnings, or all mistakes. A file that is not there may still be made by a step
/// before the build, so that it is only a warning unless `now` the build comes next.
pub(crate) fn check(config: &Config, now: bool) -> Result<Vec<Diagnostic>, Diagnostics> {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for image in &config.images {
        if let ImageSource::Build(build) = &image.source {
            check_build(build, now, &mut errors, &mut warnings);
        }
    }
    if errors.is_empty() { Ok(warnings) } else { Err(Diagnostics::new(errors)) }
}

/// Looks at one build. What cannot be read at all is told where it is read.
fn check_build(build: &Build, now: bool, errors: &mut Vec<Diagnostic>, warnings: &mut Vec<Diagnostic>) {
    let Ok(text) = std::fs::read(&build.dockerfile) else { return };
    let text = String::from_utf8_lossy(&text).into_owned();
    let ignore = match Ignore::read(&build.context, &build.dockerfile) {
        Ok(ignore) => ignore,
        Err(error) => return errors.push(unreadable(&error)),
    };
    for (line, word, meant) in dockerfile::mistyped(&text, &build.args) {
        let written = text.lines().nth(line - 1).and_then(|line| line.split_whitespace().next()).unwrap_or(&word);
        let mistake = Diagnostic::error(format!("there is no instruction `{written}`"));
        let mistake = mistake.at_word(&build.dockerfile, &text, line, written);
        errors.push(mistake.with_label(format!("did you mean `{meant}`?")));
    }
    let look = Look { build, text: &text, ignore: &ignore };
    let inputs = dockerfile::inputs(&text, &build.args, build.target.as_deref(), &build.platform);
    let mut seen = BTreeSet::new();
    for source in inputs.sources.iter().filter(|source| seen.insert((source.line, source.path.clone()))) {
        match look.at_source(source) {
            Some(Finding::Missing(mistake)) if !now => warnings.push(mistake.warning()),
            Some(Finding::Missing(mistake) | Finding::Wrong(mistake)) => errors.push(mistake),
            None => {}
        }
    }
    warnings.extend(look.git(&inputs.sources));
}

/// A `.dockerignore` that cannot be read.
fn unreadable(error: &ContextError) -> Diagnostic {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let diagnostic = Diagnostic::error(format!("{error}{cause}"));
    let diagnostic = match error {
        ContextError::Ignore { path, source } => {
            let text = std::fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let message = format!("`{}` is not a pattern of `.dockerignore`", source.pattern);
            Diagnostic::error(message).at_word(path, &text, source.line, &source.pattern)
        }
        _ => diagnostic,
    };
    match error.hint() {
        Some(hint) => diagnostic.with_hint(hint),
        None => diagnostic,
    }
}

/// What is wrong with a source.
enum Finding {
    /// It is not there.
    Missing(Diagnostic),
    /// It cannot be taken, whether it is there or not.
    Wrong(Diagnostic),
}

/// One build that is looked at.
struct Look<'a> {
    /// The build.
    build: &'a Build,
    /// The Dockerfile's text.
    text: &'a str,
    /// The rules of its context.
    ignore: &'a Ignore,
}

impl Look<'_> {
    /// A mistake at a source.
    fn at(&self, source: &Source, message: String) -> Diagnostic {
        Diagnostic::error(message).at_word(&self.build.dockerfile, self.text, source.line, &source.path)
    }

    /// What is wrong with a source: it is not there, or it is ignored.
    fn at_source(&self, source: &Source) -> Option<Finding> {
        let place = source.place().filter(|place| !place.is_empty())?;
        let (what, path) = (taking(source), &source.path);
        let context = self.build.context.display();
        let full = self.build.context.join(&place);
        match std::fs::symlink_metadata(&full) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // A link on the way, a folder that may not be looked into: the builder knows better.
            Err(_) => return None,
            Ok(_) if passes_link(&self.build.context, &place) => return None,
            Ok(found) => return self.ignored(source, &place, found.is_dir()).map(Finding::Wrong),
        }
        if passes_link(&self.build.context, &place) {
            return None;
        }
        if leaves(path) {
            let message = format!("{what}, which lies outside of the build context `{context}`");
            let hint = "a build sees only its context: make `context` in deploy.yml a folder that holds both, with\n\
                        `dockerfile` leading to the Dockerfile, or move the file";
            return Some(Finding::Wrong(self.at(source, message).with_hint(hint)));
        }
        if path.starts_with('/') {
            let message = format!("{what}, but there is no `{place}` in the build context `{context}`");
            let hint =
                "a path with a slash in front starts at the context too: a build sees nothing else of the machine";
            return Some(Finding::Wrong(self.at(source, message).with_hint(hint)));
        }
        let message = format!("{what}, which is not in the build context `{context}`");
        let diagnostic = self.at(source, message);
        Some(Finding::Missing(match self.neighbour(&place) {
            Some(near) => diagnostic.with_label(format!("did you mean `{near}`?")),
            None => diagnostic.with_hint("paths start at the context, not at the folder of the Dockerfile"),
        }))
    }

    /// The path in the context that somebody probably meant: another name for the first part that is not there, if then all
    /// is there.
    fn neighbour(&self, place: &str) -> Option<String> {
        let root = &self.build.context;
        let ends = place.match_indices('/').map(|(at, _)| at).chain([place.len()]);
        let end = ends.into_iter().find(|end| root.join(&place[..*end]).symlink_metadata().is_err())?;
        let start = place[..end].rfind('/').map_or(0, |slash| slash + 1);
        let items = std::fs::read_dir(root.join(&place[..start])).ok()?;
        let mut names: Vec<String> = items.flatten().filter_map(|item| item.file_name().into_string().ok()).collect();
        names.sort_unstable();
        let near = nearest(&place[start..end], names.iter().map(String::as_str))?;
        let meant = format!("{}{near}{}", &place[..start], &place[end..]);
        root.join(&meant).symlink_metadata().is_ok().then_some(meant)
    }

    /// What is said of a source that `.dockerignore` takes away.
    fn ignored(&self, source: &Source, place: &str, is_folder: bool) -> Option<Diagnostic> {
        let verdict = self.ignore.rules.judge_alone(place).ok()?;
        if !verdict.ignored || is_folder && self.ignore.rules.may_include_below(place) {
            return None;
        }
        let (line, pattern) = self.ignore.rules.reason(&verdict)?;
        let file = self.ignore.file.display();
        let message = format!("{}, which `.dockerignore` leaves out", taking(source));
        let label = format!("left out by `{pattern}`, {file}:{line}");
        let hint = format!("take the pattern out, or add a line `!{place}` after it");
        Some(self.at(source, message).with_label(label).with_hint(hint))
    }

    /// A warning where `.git` is an input of the image.
    fn git(&self, sources: &[Source]) -> Option<Diagnostic> {
        let taker = sources.iter().find(|source| source.may_take(".git") && !source.path.contains(".git"))?;
        let is_there = self.build.context.join(".git").symlink_metadata().is_ok();
        if !is_there || self.ignore.rules.judge_alone(".git").is_ok_and(|verdict| verdict.ignored) {
            return None;
        }
        let message = format!("{}, and `.git` with it: every commit builds the image anew", taking(taker));
        let hint = format!("leave it out with a line `.git` in `{}`", self.ignore.file.display());
        Some(self.at(taker, message).warning().with_hint(hint))
    }
}

/// What takes what, in the words of a message; a mount is called one.
fn taking(source: &Source) -> String {
    let word = if source.word == "RUN" { "RUN --mount" } else { source.word.as_str() };
    let path = if source.path.is_empty() { "." } else { source.path.as_str() };
    format!("`{word}` takes `{path}`")
}

/// Whether a path has more `..` than folders before them.
fn leaves(path: &str) -> bool {
    let mut depth = 0_i64;
    path.split('/').any(|part| {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        depth < 0
    })
}

/// Whether a folder on the way to a path is a link, which the builder follows inside of the context.
fn passes_link(root: &Path, place: &str) -> bool {
    place.match_indices('/').any(|(at, _)| root.join(&place[..at]).is_symlink())
}
