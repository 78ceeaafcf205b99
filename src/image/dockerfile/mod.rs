//! What goes into the image of a Dockerfile from outside of it: images, files of the context, the network.
//!
//! Not a builder: only as much of the grammar is read as leads there. What cannot be understood is left to the builder,
//! whose messages name the line. Source: <https://docs.docker.com/reference/dockerfile/>.

mod network;
mod sources;

pub(crate) use network::Reach;
pub(crate) use sources::Source;

mod evaluate;
mod expand;
mod parse;
mod recipe;

pub(crate) use recipe::{Recipe, read};

use crate::model::Platform;
use std::collections::{BTreeMap, BTreeSet};

/// One instruction, its continuation lines joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// The line where it starts, from 1.
    pub(crate) line: usize,
    /// The word in upper case, `FROM`.
    pub(crate) word: String,
    /// What follows it.
    pub(crate) rest: String,
    /// The lines of its here-documents.
    pub(crate) here: Vec<String>,
}

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
    let stages = stages(text, args, platform);
    let (reached, mut images) = reach(&stages, target);
    images.extend(frontend(text, args));
    let instructions = || reached.iter().flat_map(|at| &stages[*at].instructions);
    Inputs {
        bases: images.into_iter().collect(),
        sources: instructions().flat_map(sources::of).collect(),
        network: instructions().find_map(network::of),
    }
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

/// The image that reads the Dockerfile, where it names one: what it makes of the instructions is an input too.
fn frontend(text: &str, args: &BTreeMap<String, String>) -> Option<Base> {
    if let Some(name) = args.get("BUILDKIT_SYNTAX").filter(|name| !name.is_empty()) {
        return Some(Base { line: 1, name: name.clone() });
    }
    let (line, value) = directive(text, "#", "syntax").or_else(|| directive(text, "//", "syntax"))?;
    let name = value.split(' ').next().unwrap_or_default().to_owned();
    Some(Base { line, name })
}

/// The stage before `end` with this name or number; a later one of the same name hides an earlier one.
fn find(stages: &[Stage], end: usize, name: &str) -> Option<usize> {
    let by_number = name.parse().ok().filter(|number| *number < end);
    by_number.or_else(|| stages[..end].iter().rposition(|stage| stage.name.as_deref() == Some(name)))
}

/// The stages in order.
fn stages(text: &str, args: &BTreeMap<String, String>, platform: &Platform) -> Vec<Stage> {
    let mut globals = platform_arguments(platform);
    let mut locals = BTreeMap::new();
    let mut stages: Vec<Stage> = Vec::new();
    for instruction in instructions(text) {
        let Instruction { line, word, rest, .. } = &instruction;
        let line = *line;
        if word == "FROM" {
            let mut words = rest.split_whitespace().filter(|word| !word.starts_with("--"));
            let name = substitute(words.next().unwrap_or_default(), &globals);
            let is_named = words.next().is_some_and(|word| word.eq_ignore_ascii_case("as"));
            let alias = words.next().filter(|_| is_named).map(str::to_lowercase);
            let needs = vec![Base { line, name }];
            stages.push(Stage { name: alias, needs, instructions: Vec::new() });
            locals = platform_arguments(platform);
            continue;
        }
        let Some(stage) = stages.last_mut() else {
            if word == "ARG" {
                declare(rest, args, &BTreeMap::new(), &mut globals);
            }
            continue;
        };
        match word.as_str() {
            "ARG" => declare(rest, args, &globals, &mut locals),
            "COPY" | "RUN" => {
                let images = from_images(rest).into_iter().map(|name| Base { line, name: substitute(&name, &locals) });
                stage.needs.extend(images);
            }
            _ => {}
        }
        stage.instructions.push(instruction);
    }
    stages
}

/// The arguments that the builder gives by itself.
fn platform_arguments(platform: &Platform) -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    for prefix in ["TARGET", "BUILD"] {
        known.insert(format!("{prefix}PLATFORM"), platform.to_string());
        known.insert(format!("{prefix}OS"), platform.os.clone());
        known.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        known.insert(format!("{prefix}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    known
}

/// Takes the arguments of an `ARG` in: the given value, else the default, else the value from before the first stage.
fn declare(
    rest: &str,
    given: &BTreeMap<String, String>,
    globals: &BTreeMap<String, String>,
    known: &mut BTreeMap<String, String>,
) {
    for declaration in words(rest) {
        let (name, default) = match declaration.split_once('=') {
            Some((name, default)) => (name.to_owned(), Some(substitute(default, known))),
            None => (declaration, None),
        };
        let value = given.get(&name).cloned().or(default).or_else(|| globals.get(&name).cloned());
        if let Some(value) = value {
            known.insert(name, value);
        }
    }
}

/// The images or stages that `--from=` and `--mount=…,from=` name.
fn from_images(rest: &str) -> Vec<String> {
    let flags = flags(rest).into_iter();
    flags
        .filter_map(|flag| match flag.strip_prefix("--mount=") {
            Some(mount) => mount_field(mount, &["from"]),
            None => flag.strip_prefix("--from=").map(str::to_owned),
        })
        .collect()
}

/// The flags at the beginning of what follows an instruction's word, quotes taken away.
fn flags(rest: &str) -> Vec<String> {
    words(rest).into_iter().take_while(|word| word.starts_with("--")).collect()
}

/// The value of a field of a `--mount`, under any of its names.
fn mount_field(mount: &str, names: &[&str]) -> Option<String> {
    let mut fields = mount.split(',').filter_map(|field| field.trim_matches('"').split_once('='));
    fields.find(|(name, _)| names.contains(&name.trim())).map(|(_, value)| value.to_owned())
}

/// What follows the flags: a list of words, or a JSON list of texts.
fn arguments(rest: &str) -> Vec<String> {
    let mut plain = rest.trim_start();
    while plain.starts_with("--") {
        plain = plain.split_once(char::is_whitespace).map_or("", |(_, after)| after.trim_start());
    }
    let listed = plain.starts_with('[').then(|| serde_json::from_str(plain).ok()).flatten();
    listed.unwrap_or_else(|| words(plain))
}

/// Words, with quotes taken away.
fn words(text: &str) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), String::new(), None);
    for character in text.chars() {
        match (character, quote) {
            (character, Some(open)) if character == open => quote = None,
            ('"' | '\'', None) => quote = Some(character),
            (character, None) if character.is_whitespace() => all.push(std::mem::take(&mut word)),
            _ => word.push(character),
        }
    }
    all.push(word);
    all.retain(|word| !word.is_empty());
    all
}

/// Fills `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME-word}`, `${NAME:+word}` and `${NAME+word}` in.
fn substitute(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text.trim_matches(['"', '\'']);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after.strip_prefix('{').and_then(|inner| Some((inner, closing(inner)?)));
        let (value, used) = if let Some((inner, end)) = braced {
            (expand(&inner[..end], known), end + 2)
        } else {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            (known.get(&after[..end]).cloned().unwrap_or_default(), end)
        };
        out.push_str(&value);
        rest = &after[used..];
    }
    out.push_str(rest);
    out
}

/// Where the brace that is open ends.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.char_indices().find_map(|(at, character)| {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(at)
    })
}

/// The value of what stands between braces.
fn expand(inside: &str, known: &BTreeMap<String, String>) -> String {
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, operator) = inside.split_at(end);
    let value = known.get(name).map(String::as_str);
    let set = value.filter(|value| !value.is_empty() || !operator.starts_with(':'));
    let operator = operator.strip_prefix(':').unwrap_or(operator);
    match operator.split_at_checked(1) {
        Some(("-", word)) => set.map_or_else(|| substitute(word, known), str::to_owned),
        Some(("+", word)) => set.map(|_| substitute(word, known)).unwrap_or_default(),
        _ => value.unwrap_or_default().to_owned(),
    }
}

/// The instructions: comments and blank lines left out, continuation lines joined, here-documents skipped.
pub(crate) fn instructions(text: &str) -> Vec<Instruction> {
    let escape = escape_character(text);
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate();
    let mut all = Vec::new();
    while let Some((number, first)) = lines.next() {
        if is_silent(first) {
            continue;
        }
        let mut joined = String::new();
        let mut line = first;
        loop {
            let trimmed = line.trim_end();
            let Some(start) = trimmed.strip_suffix(escape) else {
                joined.push_str(trimmed);
                break;
            };
            joined.push_str(start);
            // Comments and blank lines do not end a continuation.
            match lines.by_ref().find(|(_, line)| !is_silent(line)) {
                Some((_, next)) => line = next,
                None => break,
            }
        }
        let joined = joined.trim();
        let (word, rest) = joined.split_once(char::is_whitespace).unwrap_or((joined, ""));
        let word = word.to_uppercase();
        let mut here = Vec::new();
        if matches!(word.as_str(), "RUN" | "COPY" | "ADD") {
            for end in heredocs(rest) {
                let body = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim_start_matches('\t') != end);
                here.extend(body.map(str::to_owned));
            }
        }
        all.push(Instruction { line: number + 1, word, rest: rest.trim().to_owned(), here });
    }
    all
}

/// Whether a line says nothing.
fn is_silent(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// The character that continues a line: a backslash, or what `# escape=` says at the top.
fn escape_character(text: &str) -> char {
    directive(text, "#", "escape").and_then(|(_, value)| value.chars().next()).unwrap_or('\\')
}

/// The line, from 1, and the value of a directive. Directives stand before everything else, comments included.
fn directive(text: &str, comment: &str, name: &str) -> Option<(usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().skip_while(|(number, line)| *number == 0 && line.starts_with("#!"));
    let directives = lines.map_while(|(number, line)| {
        let (key, value) = line.trim().strip_prefix(comment)?.trim_start().split_once('=')?;
        let key = key.trim();
        let is_name =
            key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
        (is_name && !value.trim().is_empty()).then(|| (number + 1, key.to_lowercase(), value.trim().to_owned()))
    });
    directives.into_iter().find(|(_, key, _)| key == name).map(|(line, _, value)| (line, value))
}

/// The words that end the here-documents of a line, `<<EOF`, `<<-"EOF"`: a word that begins with `<<`, or with a number of
/// a file and `<<`. `1<<2` inside of a word is arithmetic.
fn heredocs(rest: &str) -> Vec<String> {
    let ends = rest.split_whitespace().filter_map(|word| {
        let name = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let name = name.strip_prefix('-').unwrap_or(name).trim_matches(['"', '\'']);
        (!name.is_empty() && !name.contains('<')).then(|| name.to_owned())
    });
    ends.collect()
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
        let words: Vec<_> = instructions(text).into_iter().map(|i| (i.line, i.word)).collect();
        assert_eq!(words, [(3, "FROM".to_owned()), (7, "RUN".to_owned()), (10, "RUN".to_owned())]);
    }

    #[test]
    fn a_shift_is_no_here_document() {
        let text = "FROM a AS one\nRUN echo $((1<<2)) <<<here\nFROM b\nRUN cat <<-'END' 3<<MORE\nFROM c\n\tEND\nFROM d\nMORE\nCOPY --from=one /x /y\n";
        assert_eq!(names(text, &[], None), ["a", "b"]);
        let here: Vec<_> = instructions(text).into_iter().map(|i| i.here).filter(|here| !here.is_empty()).collect();
        assert_eq!(here, [["FROM c", "FROM d"]]);
    }

    #[test]
    fn the_image_that_reads_the_dockerfile_is_an_input() {
        let text = "#!/bin/dock\n# Syntax = docker/dockerfile:1 extra\n# escape=`\nFROM `\n a\n";
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
    fn nonsense_has_no_bases() {
        assert!(names("", &[], None).is_empty());
        assert!(names("RUN x\nCOPY --from=a b c\n", &[], None).is_empty());
    }
}
