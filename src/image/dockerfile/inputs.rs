//! What goes into the image of a Dockerfile from outside of it: images, files of the context, the network.
//!
//! What cannot be understood is left to the builder, whose messages name the line.

use super::expand::{self, Variables};
use super::network::{self, Reach};
use super::parse::{self, Dockerfile, Instruction};
use super::platform_arguments;
use super::recipe::frontend;
use super::sources::{self, Source};
use crate::model::Platform;
use std::collections::{BTreeMap, BTreeSet};

/// An image that a Dockerfile builds on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Base {
    /// The line that names it, from 1.
    pub(crate) line: usize,
    /// Its name as the builder sees it, arguments filled in.
    pub(crate) name: String,
}

/// What the build of a target takes from outside of the Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// The images: bases, images that are copied from or mounted, and the one that reads the Dockerfile (`# syntax=`).
    pub(crate) bases: Vec<Base>,
    /// The paths of the context.
    pub(crate) sources: Vec<Source>,
    /// The first place where it reaches the network.
    pub(crate) network: Option<Reach>,
}

/// A stage of a Dockerfile.
struct Stage {
    /// Its name in lower case, if it has one.
    name: Option<String>,
    /// The images and stages it builds on or copies from, each with its line.
    needs: Vec<Base>,
    /// Its instructions without `FROM`.
    instructions: Vec<Instruction>,
}

/// What the build of a target takes: from the stages that it reaches. Without a target, or where it is unknown, all stages
/// count from the last.
pub(crate) fn inputs(text: &str, args: &BTreeMap<String, String>, target: Option<&str>, platform: &Platform) -> Inputs {
    let (parsed, _) = parse::parse_as_far_as_possible(text);
    let stages = stages(&parsed, args, platform);
    let (reached, mut images) = reach(&stages, target);
    // What the frontend makes of the instructions is an input too.
    images.extend(frontend(&parsed, args).map(|(line, name)| Base { line, name }));
    let instructions = || reached.iter().flat_map(|at| &stages[*at].instructions);
    Inputs {
        bases: images.into_iter().collect(),
        sources: instructions().flat_map(sources::of).collect(),
        network: instructions().find_map(network::of),
    }
}

/// The names of the stages, as far as the Dockerfile can be understood.
pub(crate) fn stage_names(text: &str) -> Vec<String> {
    let (parsed, _) = parse::parse_as_far_as_possible(text);
    let stages = stages(&parsed, &BTreeMap::new(), &Platform::default());
    stages.into_iter().filter_map(|stage| stage.name).collect()
}

/// The stages that the build of a target reaches, in order, and the images that they need.
fn reach(stages: &[Stage], target: Option<&str>) -> (BTreeSet<usize>, BTreeSet<Base>) {
    let wanted = target.map(str::to_lowercase);
    let start = wanted.and_then(|wanted| find(stages, stages.len(), &wanted));
    let mut open: Vec<usize> = start.or_else(|| stages.len().checked_sub(1)).into_iter().collect();
    let (mut images, mut seen) = (BTreeSet::new(), BTreeSet::new());
    while let Some(at) = open.pop() {
        if !seen.insert(at) {
            continue;
        }
        for need in &stages[at].needs {
            match find(stages, at, &need.name.to_lowercase()) {
                Some(stage) => open.push(stage),
                None if need.name == "scratch" => {}
                None => drop(images.insert(need.clone())),
            }
        }
    }
    (seen, images)
}

/// The stage before `end` with this name or number; a later one of the same name hides an earlier one.
fn find(stages: &[Stage], end: usize, name: &str) -> Option<usize> {
    let by_number = name.parse().ok().filter(|number| *number < end);
    by_number.or_else(|| stages[..end].iter().rposition(|stage| stage.name.as_deref() == Some(name)))
}

/// The stages in order.
fn stages(parsed: &Dockerfile, args: &BTreeMap<String, String>, platform: &Platform) -> Vec<Stage> {
    let mut globals = platform_arguments(platform);
    let mut locals = Variables::new();
    let mut stages: Vec<Stage> = Vec::new();
    for instruction in &parsed.instructions {
        let line = instruction.line;
        if instruction.word == "FROM" {
            let words = instruction.list();
            let is_named = words.get(1).is_some_and(|word| word.eq_ignore_ascii_case("as"));
            let name = words.get(2).filter(|_| is_named).map(|name| name.to_lowercase());
            let base = words.first().map(|base| expanded(base, &globals, parsed.escape)).unwrap_or_default();
            stages.push(Stage { name, needs: vec![Base { line, name: base }], instructions: Vec::new() });
            locals = platform_arguments(platform);
            continue;
        }
        let Some(stage) = stages.last_mut() else {
            if instruction.word == "ARG" {
                declare(instruction, args, &Variables::new(), &mut globals);
            }
            continue;
        };
        if instruction.word == "ARG" {
            declare(instruction, args, &globals, &mut locals);
        }
        // What is kept for a later build may be for that of a stage here.
        let deferred = instruction.deferred();
        let images = images_of(deferred.as_ref().unwrap_or(instruction)).into_iter();
        stage.needs.extend(images.map(|name| Base { line, name: expanded(&name, &locals, parsed.escape) }));
        stage.instructions.push(instruction.clone());
    }
    stages
}

/// A text with its arguments filled in; as it is written where that cannot be done.
fn expanded(text: &str, known: &Variables, escape: char) -> String {
    expand::word(text, known, escape).unwrap_or_else(|_| text.to_owned())
}

/// Takes the arguments of an `ARG` in: the given value, else the default, else the value from before the first stage.
fn declare(instruction: &Instruction, given: &BTreeMap<String, String>, globals: &Variables, known: &mut Variables) {
    for (name, default) in instruction.declarations() {
        let default = default.map(|default| expanded(&default, known, instruction.escape));
        let value = given.get(&name).cloned().or(default).or_else(|| globals.get(&name).cloned());
        if let Some(value) = value {
            known.insert(name, value);
        }
    }
}

/// The images or stages that `--from=` and `--mount=…,from=` name.
fn images_of(instruction: &Instruction) -> Vec<String> {
    if !matches!(instruction.word.as_str(), "COPY" | "RUN") {
        return Vec::new();
    }
    let flags = instruction.flags.iter();
    flags
        .filter_map(|flag| match flag.strip_prefix("--mount=") {
            Some(mount) => sources::mount_field(mount, &["from"]),
            None => flag.strip_prefix("--from=").map(str::to_owned),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the bases.
    fn names(text: &str, args: &[(&str, &str)], target: Option<&str>) -> Vec<String> {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        inputs(text, &args, target, &Platform::default()).bases.into_iter().map(|base| base.name).collect()
    }

    #[test]
    fn stages_are_not_images() {
        let text = "FROM golang:1.22 AS Build\nRUN go build\nFROM scratch\nCOPY --from=build /a /a\nCOPY --from=0 /b /b\n\
                    COPY --chown=1:1 --from=busybox:1.35 /bin/sh /sh\nRUN --mount=type=bind,from=alpine,target=/x ls\n";
        assert_eq!(names(text, &[], None), ["golang:1.22", "busybox:1.35", "alpine"]);
    }

    #[test]
    fn only_what_the_target_reaches_counts() {
        let text = "FROM a AS one\nFROM b AS two\nCOPY --from=one /x /x\nFROM c AS three\n";
        assert_eq!(names(text, &[], Some("TWO")), ["a", "b"]);
        assert_eq!(names(text, &[], Some("1")), ["a", "b"]);
        assert_eq!(names(text, &[], None), ["c"]);
        assert_eq!(names(text, &[], Some("gone")), ["c"], "the builder says that there is no such stage");
    }

    #[test]
    fn arguments_are_filled_in() {
        let text = "ARG TAG=1 NAME=\"base\"\nARG FULL=$NAME:${TAG}\nARG EMPTY\nFROM --platform=$BUILDPLATFORM ${FULL} AS x\n\
                    FROM x${EMPTY:+no}${EMPTY:-yes}-${TARGETARCH}\nARG TAG=9\n";
        assert_eq!(names(text, &[], Some("x")), ["base:1"]);
        assert_eq!(names(text, &[("TAG", "2"), ("OTHER", "3")], Some("x")), ["base:2"]);
        assert_eq!(names(text, &[], None), ["xyes-amd64"]);
    }

    #[test]
    fn continuations_comments_and_here_documents_are_understood() {
        let text = "# escape=`\n# a comment\nfrom `\n  # in between\n\n  debian:12\nRUN <<EOF cat\nFROM not:this\nEOF\nRUN a `\n b\n";
        assert_eq!(names(text, &[], None), ["debian:12"]);
    }

    #[test]
    fn a_shift_is_no_here_document() {
        let text = "FROM a AS one\nRUN echo $((1<<2)) <<<here\nFROM b\nRUN cat <<-'END' 3<<MORE\nFROM c\n\tEND\nFROM d\nMORE\nCOPY --from=one /x /y\n";
        assert_eq!(names(text, &[], None), ["a", "b"]);
    }

    #[test]
    fn the_image_that_reads_the_dockerfile_is_an_input() {
        let text = "#!/bin/dock\n# Syntax = docker/dockerfile:1 extra\nFROM \\\n a\n";
        assert_eq!(names(text, &[], None), ["docker/dockerfile:1", "a"]);
        assert_eq!(names(text, &[("BUILDKIT_SYNTAX", "other/frontend")], None), ["other/frontend", "a"]);
        let late = "# a comment\n# syntax=docker/dockerfile:1\nFROM a\n";
        assert_eq!(names(late, &[], None), ["a"], "a directive stands before everything else");
    }

    #[test]
    fn a_mount_may_take_its_image_from_an_argument() {
        let text = "ARG TOOLS=tools\nFROM a\nARG TOOLS TAG=2\nRUN --mount=type=bind,from=$TOOLS:${TAG},target=/t --mount=\"type=cache,target=/c\" make\n";
        assert_eq!(names(text, &[], None), ["a", "tools:2"]);
        assert_eq!(names(text, &[("TAG", "3")], None), ["a", "tools:3"]);
    }

    #[test]
    fn only_reached_stages_have_sources_and_reach_the_network() {
        let text = "FROM a AS dev\nCOPY tests /t\nRUN npm ci\nFROM a\nCOPY src /s\n";
        let of = |target| inputs(text, &BTreeMap::new(), target, &Platform::default());
        let (dev, last) = (of(Some("dev")), of(None));
        assert_eq!(dev.network, Some(Reach { line: 3, what: "npm".to_owned() }));
        assert_eq!((last.network, last.sources.len(), last.sources[0].path.as_str()), (None, 1, "src"));
    }

    #[test]
    fn no_image_hides_behind_what_looks_like_something_else() {
        for (text, wanted) in [
            ("FROM a\nRUN x \\\\\nCOPY --from=b /x /x\n", &["a", "b"][..]),
            ("FROM a AS one\nONBUILD COPY --from=b /x /x\nFROM one\n", &["a", "b"]),
            ("FROM a\nRUN << EOF\nFROM b\nEOF\n", &["a"]),
            ("FROM a\nRUN echo it's <<EOF\nCOPY --from=b /x /x\n", &["a", "b"]),
            ("ARG V=v1.2\nFROM a:${V#v}\nCOPY --from=b:${V} / /\n", &["a:1.2", "b:"]),
            ("# escape=x\nFROM a\nCOPY <<E /x\nCOPY --from=b / /\n", &["a"]),
        ] {
            assert_eq!(names(text, &[], None), wanted, "{text}");
        }
    }

    #[test]
    fn nonsense_has_no_bases() {
        assert!(names("", &[], None).is_empty());
        assert!(names("RUN x\nCOPY --from=a b c\n", &[], None).is_empty());
    }
}
