//! A Dockerfile's text to its instructions, as BuildKit's parser reads them: parser directives, comments, continuation
//! lines, flags, here-documents.
//!
//! Source: <https://docs.docker.com/reference/dockerfile/#format> and `frontend/dockerfile/parser` of
//! <https://github.com/moby/buildkit>.

use super::expand;
use std::fmt;

/// A Dockerfile that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dockerfile {
    /// The character that takes the meaning from the next, and that continues a line: `\`, or a backtick by `# escape=`.
    pub(crate) escape: char,
    /// The frontend that `# syntax=` names, with its line, from 1.
    pub(crate) syntax: Option<(usize, String)>,
    /// Its instructions.
    pub(crate) instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// The line where it starts, from 1.
    pub(crate) line: usize,
    /// The word in upper case, `COPY`.
    pub(crate) word: String,
    /// Its flags with their dashes, quotes taken away: `--chown=1:1`.
    pub(crate) flags: Vec<String>,
    /// What follows the flags, continuation lines joined, nothing filled in.
    pub(crate) rest: String,
    /// Its here-documents.
    pub(crate) heredocs: Vec<Heredoc>,
    /// The character that takes the meaning from the next.
    pub(crate) escape: char,
}

/// A here-document of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heredoc {
    /// The line that ends it, which is its name too.
    pub(crate) name: String,
    /// Whether tabs at the beginning of its lines count for nothing: `<<-`.
    tabs: bool,
    /// Whether variables in it are filled in: its name has no quotes.
    pub(crate) expand: bool,
    /// Whether its name is nothing but a name, in quotes or not.
    pub(crate) is_plain: bool,
    /// Its lines with their ends.
    pub(crate) content: String,
}

/// Why a text is no Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(crate) struct SyntaxError {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) problem: String,
}

/// Blanks that separate an instruction from what follows.
fn is_blank(character: char) -> bool {
    matches!(character, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// What ends a line.
const LINE_ENDS: [char; 2] = ['\r', '\n'];

/// Reads a Dockerfile.
pub(crate) fn parse(text: &str) -> Result<Dockerfile, SyntaxError> {
    let (dockerfile, problem) = parse_as_far_as_possible(text);
    problem.map_or(Ok(dockerfile), Err)
}

/// Reads what can be read of a Dockerfile, and the first thing that is wrong with it.
pub(crate) fn parse_as_far_as_possible(text: &str) -> (Dockerfile, Option<SyntaxError>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (directives, mut problem) = Directives::read(text.lines(), "#");
    let escape = directives.escape.unwrap_or('\\');
    let mut lines = text.split_inclusive('\n').enumerate();
    let mut instructions = Vec::new();
    while let Some((number, first)) = lines.next() {
        let first = first.trim_end_matches(LINE_ENDS).trim_start();
        if first.is_empty() || first.starts_with('#') {
            continue;
        }
        let joined = joined(first, &mut lines.by_ref().map(|(_, line)| line), escape);
        if joined.trim().is_empty() {
            continue;
        }
        let mut instruction = Instruction::read(number + 1, &joined, escape);
        for mut heredoc in instruction.find_heredocs(&joined) {
            if !heredoc.take(&mut lines.by_ref().map(|(_, line)| line)) {
                let name = &heredoc.name;
                let problem_here =
                    SyntaxError { line: number + 1, problem: format!("the here-document `{name}` does not end") };
                problem.get_or_insert(problem_here);
            }
            instruction.heredocs.push(heredoc);
        }
        instructions.push(instruction);
    }
    (Dockerfile { escape, syntax: syntax(text), instructions }, problem)
}

/// A line and those that continue it. Comments and blank lines do not end a continuation.
fn joined<'a>(first: &'a str, lines: &mut impl Iterator<Item = &'a str>, escape: char) -> String {
    let (mut joined, mut part) = (String::new(), first);
    while let Some(start) = continued(part, escape) {
        joined.push_str(start);
        let says = |line: &&str| !line.trim_start().is_empty() && !line.trim_start().starts_with('#');
        let Some(next) = lines.find(says) else { return joined };
        part = next.trim_end_matches(LINE_ENDS);
    }
    joined + part
}

/// The frontend that a text names for itself, and the line: in a comment of either form, below a line that tells a shell which
/// program reads the file, or in JSON
/// (<https://docs.docker.com/build/buildkit/frontend/>).
fn syntax(text: &str) -> Option<(usize, String)> {
    let skipped = usize::from(text.starts_with("#!"));
    ["#", "//"].into_iter().find_map(|comment| {
        let (line, name) = Directives::read(text.lines().skip(skipped), comment).0.syntax?;
        Some((line + skipped, name))
    })
}

/// The text of a line before the escape character that continues it. An escaped escape character continues nothing.
fn continued(line: &str, escape: char) -> Option<&str> {
    let start = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!start.ends_with(escape)).then_some(start)
}

/// What the comments at the top say to the parser.
#[derive(Debug, Default)]
struct Directives {
    /// `# escape=`.
    escape: Option<char>,
    /// `# syntax=`, with its line.
    syntax: Option<(usize, String)>,
}

impl Directives {
    /// Reads comments of the form `# name=value` up to the first line of another form, and what is wrong with one.
    fn read<'a>(lines: impl Iterator<Item = &'a str>, comment: &str) -> (Self, Option<SyntaxError>) {
        let mut found = Self::default();
        let mut seen = Vec::new();
        for (number, line) in lines.enumerate() {
            let directive = line.trim_start().strip_prefix(comment).and_then(|rest| rest.split_once('='));
            let Some((name, value)) = directive else { break };
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            if !matches!(name.as_str(), "escape" | "syntax" | "check") || value.is_empty() {
                break;
            }
            let fail = |problem: String| Some(SyntaxError { line: number + 1, problem });
            if seen.contains(&name) {
                return (found, fail(format!("`# {name}=` stands twice")));
            }
            match (name.as_str(), value) {
                ("escape", "\\" | "`") => found.escape = value.chars().next(),
                ("escape", _) => {
                    return (found, fail(format!("`# escape={value}` is neither `\\` nor a backtick")));
                }
                ("syntax", _) => found.syntax = value.split(' ').next().map(|name| (number + 1, name.to_owned())),
                _ => {}
            }
            seen.push(name);
        }
        (found, None)
    }
}

impl Heredoc {
    /// The here-document that a word begins: `<<EOF`, `<<-"EOF"`, `3<<EOF`, and `<< EOF`.
    pub(crate) fn begun_by(word: &str) -> Option<Self> {
        let (descriptor, rest) = word.split_once("<<")?;
        if !descriptor.chars().all(|c| c.is_ascii_digit()) || rest.contains('<') {
            return None;
        }
        let (tabs, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let (written, read) = expand::heredoc_words(rest.trim_start());
        let ([written], [name]) = (written.as_slice(), read.as_slice()) else { return None };
        let quotes = |text: &str| text.matches(['"', '\'']).count();
        let is_plain = !name.contains(['"', '\'', '\\', '$', '/']) && !matches!(name.as_str(), "." | "..");
        let expand = quotes(written) == quotes(name);
        Some(Self { name: name.clone(), tabs, expand, is_plain, content: String::new() })
    }

    /// Takes the lines up to its end; `false` where there is none.
    fn take<'a>(&mut self, lines: &mut impl Iterator<Item = &'a str>) -> bool {
        for line in lines {
            let line = if self.tabs { line.trim_start_matches('\t') } else { line };
            if line.trim_end_matches(LINE_ENDS) == self.name {
                return true;
            }
            self.content.push_str(line);
        }
        false
    }
}

impl Instruction {
    /// Reads an instruction whose continuation lines are joined.
    fn read(line: usize, text: &str, escape: char) -> Self {
        let text = text.trim();
        let (word, rest) = text.split_once(is_blank).unwrap_or((text, ""));
        let (flags, rest) = flags(rest, escape);
        let rest = rest.trim().to_owned();
        Self { line, word: word.to_uppercase(), flags, rest, heredocs: Vec::new(), escape }
    }

    /// Whether a word of it begins a here-document.
    pub(super) fn begins_heredoc(&self, word: &str) -> bool {
        !self.heredocs.is_empty() && Heredoc::begun_by(word).is_some()
    }

    /// The here-documents that its line begins. Only three words have them, after `ONBUILD` too, and only outside of the JSON
    /// form.
    fn find_heredocs(&self, line: &str) -> Vec<Heredoc> {
        let deferred = self.deferred();
        let inner = deferred.as_ref().unwrap_or(self);
        let may = matches!(inner.word.as_str(), "RUN" | "COPY" | "ADD") && line.contains("<<");
        if !may || inner.json().is_some() {
            return Vec::new();
        }
        expand::raw_words(line).iter().filter_map(|word| Heredoc::begun_by(word)).collect()
    }

    /// The instruction that an `ONBUILD` keeps for a later build.
    pub(crate) fn deferred(&self) -> Option<Self> {
        (self.word == "ONBUILD").then(|| Self::read(self.line, &self.rest, self.escape))
    }

    /// What follows as a list of texts, if it is written in JSON.
    pub(crate) fn json(&self) -> Option<Vec<String>> {
        if self.rest.starts_with('[') { serde_json::from_str(&self.rest).ok() } else { None }
    }

    /// What follows as a list: JSON, or words separated by blanks with quotes and variables left as they are.
    pub(crate) fn list(&self) -> Vec<String> {
        let words = || self.rest.split(is_blank).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        self.json().unwrap_or_else(words)
    }

    /// Pairs of names and values: `NAME=VALUE …`, or the old form `NAME VALUE`. Values are as they were written.
    pub(crate) fn pairs(&self) -> Result<Vec<(String, String)>, SyntaxError> {
        let words = words(&self.rest, self.escape);
        let fail = |problem: String| SyntaxError { line: self.line, problem };
        let first = words.first().ok_or_else(|| fail(format!("`{}` is followed by nothing", self.word)))?;
        if !first.contains('=') {
            let pair = self.rest.split_once(is_blank);
            let (name, value) = pair.ok_or_else(|| fail(format!("`{}` needs a name and a value", self.word)))?;
            return Ok(vec![(name.to_owned(), value.trim_start_matches(is_blank).to_owned())]);
        }
        let pair = |word: &String| match word.split_once('=') {
            Some(("", _)) => Err(fail(format!("`{word}` has no name before its `=`"))),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(fail(format!("`{word}` has no `=`"))),
        };
        words.iter().map(pair).collect()
    }

    /// The words of an `ARG`: names, some with a value.
    pub(crate) fn declarations(&self) -> Vec<(String, Option<String>)> {
        let split = |word: String| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        words(&self.rest, self.escape).into_iter().map(split).collect()
    }

    /// The value of a flag: `--NAME=VALUE`, or the empty text for `--NAME`.
    pub(crate) fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find_map(|flag| {
            let rest = flag.strip_prefix("--")?.strip_prefix(name)?;
            if rest.is_empty() { Some("") } else { rest.strip_prefix('=') }
        })
    }

    /// A flag that is none of these.
    pub(crate) fn other_flag(&self, known: &[&str]) -> Option<&str> {
        let name = |flag: &str| flag.trim_start_matches('-').split('=').next().unwrap_or_default().to_owned();
        self.flags.iter().find(|flag| !known.contains(&name(flag).as_str())).map(String::as_str)
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)?;
        for part in self.flags.iter().map(String::as_str).chain([self.rest.as_str()]).filter(|part| !part.is_empty()) {
            write!(f, " {part}")?;
        }
        Ok(())
    }
}

/// Takes the flags from the beginning of a text.
fn flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let (mut flags, mut rest) = (Vec::new(), text.trim_start());
    while rest.starts_with("--") {
        let (flag, after) = flag(rest, escape);
        rest = after.trim_start();
        if flag == "--" {
            break;
        }
        flags.push(flag);
    }
    (flags, rest)
}

/// One flag without its quotes, and what follows it.
fn flag(text: &str, escape: char) -> (String, &str) {
    let (mut flag, mut quote) = (String::new(), None);
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match (character, quote) {
            (_, None) if character.is_whitespace() => return (flag, &text[at..]),
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if character == open => quote = None,
            _ if character == escape => flag.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => flag.push(character),
        }
    }
    (flag, "")
}

/// Words separated by blanks outside of quotes; quotes and escapes stay in them.
fn words(text: &str, escape: char) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (_, None) if character.is_whitespace() => {
                if !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
                continue;
            }
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if character == open => quote = None,
            (_, quote) if character == escape && quote != Some('\'') => {
                let Some(escaped) = characters.next() else { continue };
                word.push(character);
                word.push(escaped);
                continue;
            }
            _ => {}
        }
        word.push(character);
    }
    all.extend((!word.is_empty()).then_some(word));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The instructions as texts with their lines.
    fn read(text: &str) -> Vec<(usize, String)> {
        let parsed = parse(text).unwrap();
        parsed.instructions.iter().map(|instruction| (instruction.line, instruction.to_string())).collect()
    }

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let text = "\u{feff}# a comment\n\n  from a\\\n  # inside\n\n  :1 \\ \t\n  as b\n  # end\nrun x \\\\\ncopy a b";
        let wanted = [(3, "FROM a  :1   as b"), (9, "RUN x \\\\"), (10, "COPY a b")];
        assert_eq!(read(text), wanted.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(read("FROM a\r\nCOPY \\\r\n  a b\r\n")[1], (2, "COPY a b".to_owned()));
        assert_eq!(read("FROM a\nRUN x \\"), [(1, "FROM a".to_owned()), (2, "RUN x".to_owned())]);
    }

    #[test]
    fn directives_count_only_at_the_top() {
        let parsed = parse("# syntax=docker/dockerfile:1 --x\n#escape = `\nFROM a `\n b\n").unwrap();
        assert_eq!((parsed.escape, parsed.syntax), ('`', Some((1, "docker/dockerfile:1".to_owned()))));
        assert_eq!(parsed.instructions[0].rest, "a  b");
        let parsed = parse("# a comment\n# escape=`\nFROM a\n").unwrap();
        assert_eq!((parsed.escape, parsed.syntax), ('\\', None));
        let parsed = parse("# other=1\n# escape=`\n# syntax=x\nFROM a\n").unwrap();
        assert_eq!(
            (parsed.escape, parsed.syntax),
            ('\\', None),
            "an unknown one is a comment, after which there are none"
        );
        assert_eq!(parse("# escape=x\n").unwrap_err().line, 1);
        assert_eq!(parse("# escape=`\n# escape=`\n").unwrap_err().line, 2);
    }

    #[test]
    fn a_frontend_is_named_in_several_forms() {
        for (text, wanted) in [
            ("#!/bin/dock\n# Syntax = a/b:1 extra\n# escape=`\nFROM a\n", Some((2, "a/b:1"))),
            ("// syntax=a/b\n", Some((1, "a/b"))),
            ("# escape=`\n# syntax=a/b\n# syntax=c/d\n", Some((2, "a/b"))),
            ("FROM a\n# syntax=a/b\n", None),
            ("\n# syntax=a/b\n", None),
        ] {
            let found = parse_as_far_as_possible(text).0.syntax;
            assert_eq!(found, wanted.map(|(line, name)| (line, name.to_owned())), "{text}");
        }
    }

    #[test]
    fn flags_lose_their_quotes() {
        let text = "COPY --chown=\"1:1\" --link --from='a b' --chmod=7\\55 -- --x /y\n";
        let instruction = parse(text).unwrap().instructions.remove(0);
        assert_eq!(instruction.flags, ["--chown=1:1", "--link", "--from=a b", "--chmod=755"]);
        assert_eq!(
            (instruction.flag("chown"), instruction.flag("link"), instruction.flag("ch")),
            (Some("1:1"), Some(""), None)
        );
        assert_eq!(instruction.list(), ["--x", "/y"]);
        assert_eq!(instruction.other_flag(&["chown", "link", "chmod"]), Some("--from=a b"));
    }

    #[test]
    fn here_documents_are_skipped_and_noted() {
        let text = "RUN <<EOF cat\nCOPY a b\nEOF\nCOPY <<-\"X\" 3<<Y /z\n\tX\nY\nRUN a <<< b\nCOPY [\"<<A\", \"b\"]\n";
        let parsed = parse(text).unwrap();
        let seen: Vec<_> = parsed.instructions.iter().map(|i| (i.line, !i.heredocs.is_empty())).collect();
        assert_eq!(seen, [(1, true), (4, true), (7, false), (8, false)]);
        assert_eq!(parse("RUN <<EOF\nx\n").unwrap_err().to_string(), "line 1: the here-document `EOF` does not end");
    }

    #[test]
    fn here_documents_begin_where_buildkit_sees_them() {
        let names = |text: &str| {
            let (parsed, _) = parse_as_far_as_possible(text);
            let seen = |heredoc: &Heredoc| (heredoc.name.clone(), heredoc.expand);
            parsed.instructions[0].heredocs.iter().map(seen).collect::<Vec<_>>()
        };
        for (text, wanted) in [
            ("RUN << EOF\nFROM a\nEOF\n", &[("EOF", true)][..]),
            ("RUN <<\"E F\" 5<<-G\nE F\nG\n", &[("E F", false), ("G", true)]),
            ("RUN <<E\"O\"F\nEOF\n", &[("EOF", false)]),
            ("ONBUILD RUN <<EOF\nFROM a\nEOF\n", &[("EOF", true)]),
            ("RUN echo 'a <<EOF'\n", &[]),
            ("RUN echo it's <<EOF\n", &[]),
            ("RUN echo \"<<EOF\" ${A:-<<B} \\<<C\n", &[]),
            ("ENV A=<<EOF\n", &[]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(|(name, expand)| ((*name).to_owned(), *expand)).collect();
            assert_eq!(names(text), wanted, "{text}");
        }
    }

    #[test]
    fn here_documents_keep_their_lines() {
        let text = "COPY <<A <<-'B' <<C/D /x/\n$a\r\n\n# b\nA\n\t\tc\n \td\n\tB\nC/D\nENV a=b\n";
        let parsed = parse(text).unwrap();
        let seen = |h: &Heredoc| (h.name.clone(), h.expand, h.is_plain, h.content.clone());
        let seen: Vec<_> = parsed.instructions[0].heredocs.iter().map(seen).collect();
        let wanted = |name: &str, expand, plain, content: &str| (name.to_owned(), expand, plain, content.to_owned());
        let wanted = [
            wanted("A", true, true, "$a\r\n\n# b\n"),
            wanted("B", false, true, "c\n \td\n"),
            wanted("C/D", true, false, ""),
        ];
        assert_eq!(seen, wanted);
        assert_eq!(parsed.instructions[1].line, 10);
    }

    #[test]
    fn lists_and_pairs_have_two_forms() {
        let read = |text: &str| parse(text).unwrap().instructions.remove(0);
        assert_eq!(read("COPY [\"a b\", \"c\"]").list(), ["a b", "c"]);
        assert_eq!(read("COPY [a b").list(), ["[a", "b"]);
        let pairs = |text: &str| read(text).pairs().map_err(|error| error.problem);
        let owned =
            |pairs: &[(&str, &str)]| Ok(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect());
        assert_eq!(pairs("ENV A=1 B=\"x y\" C=a\\ b"), owned(&[("A", "1"), ("B", "\"x y\""), ("C", "a\\ b")]));
        assert_eq!(pairs("ENV A  x  y"), owned(&[("A", "x  y")]));
        assert_eq!(pairs("ENV A=1 B").unwrap_err(), "`B` has no `=`");
        assert_eq!(pairs("ENV A").unwrap_err(), "`ENV` needs a name and a value");
        assert_eq!(pairs("ENV =1").unwrap_err(), "`=1` has no name before its `=`");
        let wanted = vec![("A".to_owned(), None), ("B".to_owned(), Some("'x y'".to_owned()))];
        assert_eq!(read("ARG A B='x y'").declarations(), wanted);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([A-Za-z]{1,5}[ \\\\<`='\"\\[#\\n\\r\\t-]{0,3}){0,20}") {
            if let Ok(parsed) = parse(&text) {
                for instruction in parsed.instructions {
                    let _ = (instruction.list(), instruction.pairs(), instruction.declarations());
                    prop_assert!(!instruction.word.is_empty());
                }
            }
        }
    }
}
