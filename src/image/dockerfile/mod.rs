//! Which images a Dockerfile builds on.
//!
//! Not a builder: only as much of the grammar is read as leads to image names. What cannot be understood is left to the
//! builder, whose messages name the line. Source: <https://docs.docker.com/reference/dockerfile/>.

mod evaluate;
mod expand;
mod parse;
mod recipe;

pub(crate) use recipe::{Recipe, Refusal, read};

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
}

/// An image that a Dockerfile builds on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Base {
    /// The line that names it, from 1.
    pub(crate) line: usize,
    /// Its name as the builder sees it, arguments filled in.
    pub(crate) name: String,
}

/// A stage of a Dockerfile.
struct Stage {
    /// Its name in lower case, if it has one.
    name: Option<String>,
    /// The images and stages it builds on or copies from, each with its line.
    needs: Vec<Base>,
}

/// The images that the build of a target needs: the bases of the stages that it reaches, and images that are copied from.
/// Without a target, or where it is unknown, all stages count from the last.
pub(crate) fn bases(
    text: &str,
    args: &BTreeMap<String, String>,
    target: Option<&str>,
    platform: &Platform,
) -> Vec<Base> {
    let stages = stages(text, args, platform);
    let wanted = target.map(str::to_lowercase);
    let start = wanted.and_then(|wanted| find(&stages, stages.len(), &wanted));
    let Some(start) = start.or_else(|| stages.len().checked_sub(1)) else { return Vec::new() };
    let (mut images, mut open, mut seen) = (BTreeSet::new(), vec![start], BTreeSet::new());
    while let Some(at) = open.pop() {
        if !seen.insert(at) {
            continue;
        }
        for need in &stages[at].needs {
            match find(&stages, at, &need.name.to_lowercase()) {
                Some(stage) => open.push(stage),
                None if need.name == "scratch" => {}
                None => {
                    images.insert(need.clone());
                }
            }
        }
    }
    images.into_iter().collect()
}

/// The stage before `end` with this name or number; a later one of the same name hides an earlier one.
fn find(stages: &[Stage], end: usize, name: &str) -> Option<usize> {
    let by_number = name.parse().ok().filter(|number| *number < end);
    by_number.or_else(|| stages[..end].iter().rposition(|stage| stage.name.as_deref() == Some(name)))
}

/// The stages in order.
fn stages(text: &str, args: &BTreeMap<String, String>, platform: &Platform) -> Vec<Stage> {
    let mut globals = platform_arguments(platform);
    let mut stages: Vec<Stage> = Vec::new();
    for Instruction { line, word, rest } in instructions(text) {
        match (word.as_str(), stages.last_mut()) {
            ("ARG", None) => declare(&rest, args, &mut globals),
            ("FROM", _) => {
                let mut words = rest.split_whitespace().filter(|word| !word.starts_with("--"));
                let name = substitute(words.next().unwrap_or_default(), &globals);
                let is_named = words.next().is_some_and(|word| word.eq_ignore_ascii_case("as"));
                let alias = words.next().filter(|_| is_named).map(str::to_lowercase);
                stages.push(Stage { name: alias, needs: vec![Base { line, name }] });
            }
            ("COPY" | "RUN", Some(stage)) => {
                stage.needs.extend(sources(&rest).into_iter().map(|name| Base { line, name }));
            }
            _ => {}
        }
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

/// Takes the arguments of an `ARG` in: the given value, else the default.
fn declare(rest: &str, given: &BTreeMap<String, String>, known: &mut BTreeMap<String, String>) {
    for declaration in words(rest) {
        let (name, default) = match declaration.split_once('=') {
            Some((name, default)) => (name.to_owned(), Some(substitute(default, known))),
            None => (declaration, None),
        };
        if let Some(value) = given.get(&name).cloned().or(default) {
            known.insert(name, value);
        }
    }
}

/// The images or stages that `--from=` and `--mount=…,from=` name.
fn sources(rest: &str) -> Vec<String> {
    let flags = rest.split_whitespace().take_while(|word| word.starts_with("--"));
    flags
        .filter_map(|flag| match flag.strip_prefix("--mount=") {
            Some(mount) => mount.split(',').find_map(|part| part.strip_prefix("from=")),
            None => flag.strip_prefix("--from="),
        })
        .map(str::to_owned)
        .collect()
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
        if matches!(word.as_str(), "RUN" | "COPY" | "ADD") {
            for end in heredocs(rest) {
                lines.by_ref().find(|(_, line)| line.trim_start_matches('\t') == end);
            }
        }
        all.push(Instruction { line: number + 1, word, rest: rest.trim().to_owned() });
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
    let comments = text.lines().take_while(|line| line.trim_start().starts_with('#'));
    let mut directives = comments.filter_map(|line| line.trim_start_matches(['#', ' ', '\t']).split_once('='));
    let escape = directives.find(|(name, _)| name.trim().eq_ignore_ascii_case("escape"));
    escape.and_then(|(_, value)| value.trim().chars().next()).unwrap_or('\\')
}

/// The words that end the here-documents of a line, `<<EOF`, `<<-"EOF"`.
fn heredocs(rest: &str) -> Vec<String> {
    let starts = rest.match_indices("<<").map(|(at, mark)| rest[at + mark.len()..].trim_start_matches('-'));
    starts
        .filter_map(|text| {
            let text = text.trim_start_matches(['"', '\'']);
            let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
            (end > 0 && !text.starts_with('<')).then(|| text[..end].to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the bases.
    fn names(text: &str, args: &[(&str, &str)], target: Option<&str>) -> Vec<String> {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        bases(text, &args, target, &Platform::default()).into_iter().map(|base| base.name).collect()
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
    fn nonsense_has_no_bases() {
        assert!(names("", &[], None).is_empty());
        assert!(names("RUN x\nCOPY --from=a b c\n", &[], None).is_empty());
    }
}
