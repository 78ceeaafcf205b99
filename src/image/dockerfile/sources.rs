//! The paths of the context that instructions take.

use super::expand::{self, Variables};
use super::network;
use super::parse::{Heredoc, Instruction};
use crate::image::assembly::tree::clean;

/// A path of the context that an instruction takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The line of the instruction, from 1.
    pub(crate) line: usize,
    /// Its word: `COPY`, `ADD`, `RUN` for a mount.
    pub(crate) word: String,
    /// The path as it was written.
    pub(crate) path: String,
}

/// With one of these a path stands for others.
const SPECIAL: [char; 5] = ['$', '*', '?', '[', '\\'];

impl Source {
    /// Where the path leads in the context, clean and without a slash in front, as the builder reads it: it cannot leave the
    /// context, neither by a slash nor by `..`. Empty is the context itself, `None` is known only to the builder: a variable
    /// or a pattern.
    pub(crate) fn place(&self) -> Option<String> {
        if self.path.contains(SPECIAL) {
            return None;
        }
        Some(clean(&self.path))
    }

    /// Whether this may take what has a name at the top of the context. In doubt it may.
    pub(crate) fn may_take(&self, name: &str) -> bool {
        if let Some(place) = self.place() {
            return place.is_empty() || place == name || place.starts_with(&format!("{name}/"));
        }
        let first = self.path.split('/').find(|part| !matches!(*part, "" | "."));
        let known = first.and_then(|first| first.split(SPECIAL).next()).unwrap_or_default();
        self.path.contains("..") || name.starts_with(known)
    }
}

/// The paths that an instruction takes from the context.
pub(super) fn of(instruction: &Instruction) -> Vec<Source> {
    let source = |path: String| Source { line: instruction.line, word: instruction.word.clone(), path };
    let paths = match instruction.word.as_str() {
        "COPY" | "ADD" if instruction.flag("from").is_none() => {
            let mut paths = instruction.list();
            paths.pop(); // where they go
            let is_elsewhere = |path: &str| instruction.word == "ADD" && network::is_remote(path);
            paths.retain(|path| Heredoc::begun_by(path).is_none() && !is_elsewhere(path));
            paths.into_iter().map(|path| unquoted(path, instruction.escape)).collect()
        }
        "RUN" => instruction.flags.iter().filter_map(|flag| mounted(flag.strip_prefix("--mount=")?)).collect(),
        // What a later build on this image takes is an input of that build.
        _ => Vec::new(),
    };
    paths.into_iter().map(source).collect()
}

/// A path without its quotes; one with variables in it is known only to the builder, and stays.
fn unquoted(path: String, escape: char) -> String {
    if path.contains('$') { path } else { expand::word(&path, &Variables::new(), escape).unwrap_or(path) }
}

/// The value of a field of a `--mount`, under any of its names.
pub(super) fn mount_field(mount: &str, names: &[&str]) -> Option<String> {
    let mut fields = mount.split(',').filter_map(|field| field.trim_matches('"').split_once('='));
    fields.find(|(name, _)| names.contains(&name.trim())).map(|(_, value)| value.to_owned())
}

/// The path of the context that a mount shows.
fn mounted(mount: &str) -> Option<String> {
    let kind = mount_field(mount, &["type"]).unwrap_or_else(|| "bind".to_owned());
    let of_context = kind == "bind" && mount_field(mount, &["from"]).is_none_or(|from| from.is_empty());
    of_context.then(|| mount_field(mount, &["source", "src"]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::instructions;
    use super::*;

    /// The paths of the only instruction.
    fn paths(text: &str) -> Vec<String> {
        instructions(text).iter().flat_map(of).map(|source| source.path).collect()
    }

    #[test]
    fn copies_adds_and_mounts_take_paths() {
        for (text, wanted) in [
            ("COPY a b /x/", vec!["a", "b"]),
            ("COPY --chown=1:1 --link [\"a b\", \"c\", \"/x\"]", vec!["a b", "c"]),
            ("COPY \"a\" 'b'c \\d /x", vec!["a", "bc", "d"]),
            ("COPY --from=build a /x", vec![]),
            ("COPY <<EOF a /x\nCOPY b c\nEOF", vec!["a"]),
            ("ADD a.tar https://example.com/b git@host:c.git /x/", vec!["a.tar"]),
            ("RUN --mount=type=bind,source=src,target=/s --mount=target=/all make", vec!["src", ""]),
            ("RUN --mount=type=cache,source=c,target=/c --mount=type=bind,from=x,src=d,target=/d make", vec![]),
            ("ONBUILD COPY . /x", vec![]),
            ("COPY only", vec![]),
        ] {
            assert_eq!(paths(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_path_cannot_leave_the_context() {
        let source = |path: &str| Source { line: 1, word: "COPY".to_owned(), path: path.to_owned() };
        for (path, place) in [
            ("./a//b/", Some("a/b")),
            ("/etc/x", Some("etc/x")),
            ("../../x", Some("x")),
            ("a/../..", Some("")),
            (".", Some("")),
            ("a*", None),
            ("$A/b", None),
        ] {
            assert_eq!(source(path).place().as_deref(), place, "{path}");
        }
        let cases =
            [(".", true), (".git/HEAD", true), ("*", true), ("./.g*", true), ("${X}git", true), ("a/../*", true)];
        let others = ["src", ".github", "package*.json", "src/*", "./a?c/.git", "a$X"].map(|path| (path, false));
        for (path, takes) in cases.into_iter().chain(others) {
            assert_eq!(source(path).may_take(".git"), takes, "{path}");
        }
    }
}
