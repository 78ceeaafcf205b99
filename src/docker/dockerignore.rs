//! `.dockerignore` as Docker reads it.
//!
//! Source of the rules: <https://github.com/moby/patternmatcher> with its `ignorefile`, and the walk of
//! <https://github.com/tonistiigi/fsutil> that uses it. They are not those of `.gitignore`: a pattern is anchored at the
//! root, the last pattern that matches wins, a match of a folder is one of everything below it, and each pattern is cleaned
//! as Go's `filepath.Clean` cleans a path. `recorded.json` holds what the original says; a test compares.

use super::go_pattern;
use crate::image::assembly::glob::go_match;
use regex::Regex;

/// The patterns of a file, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// The patterns.
    patterns: Vec<Pattern>,
}

/// A pattern that cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: `{pattern}` is no pattern")]
pub(crate) struct InvalidPattern {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What stands there.
    pub(crate) pattern: String,
}

/// One pattern.
#[derive(Clone, Debug)]
struct Pattern {
    /// The line that it stands on, from 1.
    line: usize,
    /// The line's text without blanks around it.
    text: String,
    /// It begins with `!`: what it matches is not ignored.
    includes: bool,
    /// The pattern, cleaned, without `!` and without a leading slash.
    cleaned: String,
    /// What it matches.
    matcher: Matcher,
}

/// How a pattern is compared. Plain patterns need no regular expression, and Docker's special cases for `**` at either end
/// differ from what the expression would match, so they are kept apart as there.
#[derive(Clone, Debug)]
enum Matcher {
    /// The path is this.
    Exact(String),
    /// The path begins with this.
    Prefix(String),
    /// The path ends with this, or is this without its slash.
    Suffix(String),
    /// The path matches this.
    Expression(Regex),
    /// Go's `regexp` refuses it, which shows when it is compared for the first time.
    Malformed,
}

/// What the patterns say of a path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// It is ignored.
    pub(crate) ignored: bool,
    /// For each pattern whether it matched the path or a folder above it, as far as it was looked at.
    matched: Vec<bool>,
    /// The pattern that had the last word.
    by: Option<usize>,
}

impl Rules {
    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (number, line) in text.lines().enumerate() {
            // A comment is known before blanks are removed: ` # x` is a pattern.
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let fail = || InvalidPattern { line: number + 1, pattern: line.trim().to_owned() };
            patterns.extend(Pattern::parse(number + 1, line.trim()).ok_or_else(fail)?);
        }
        Ok(Self { patterns })
    }

    /// What the patterns say of a path, relative to the context and with slashes, whose folder has this verdict; a path
    /// without a slash is in none.
    ///
    /// As in Docker a pattern that could not change the verdict is not looked at, neither here nor for what is below: after
    /// `dir/file`, a line `!dir` does not bring `dir/file` back.
    pub(crate) fn judge(&self, path: &str, folder: Option<&Verdict>) -> Result<Verdict, InvalidPattern> {
        let mut verdict = Verdict { matched: vec![false; self.patterns.len()], ..Verdict::default() };
        for (number, pattern) in self.patterns.iter().enumerate() {
            let inherited = folder.is_some_and(|folder| folder.matched[number]);
            if !inherited && (pattern.includes != verdict.ignored || !pattern.matches(path)?) {
                continue;
            }
            verdict.matched[number] = true;
            if verdict.ignored == pattern.includes {
                verdict.by = Some(number);
            }
            verdict.ignored = !pattern.includes;
        }
        Ok(verdict)
    }

    /// The same for a path that is not walked to.
    pub(crate) fn judge_alone(&self, path: &str) -> Result<Verdict, InvalidPattern> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut verdict: Option<Verdict> = None;
        for end in ends {
            verdict = Some(self.judge(&path[..end], verdict.as_ref())?);
        }
        Ok(verdict.unwrap_or_default())
    }

    /// The line, from 1, and the text of the pattern that had the last word in a verdict.
    pub(crate) fn reason(&self, verdict: &Verdict) -> Option<(usize, &str)> {
        let pattern = &self.patterns[verdict.by?];
        Some((pattern.line, &pattern.text))
    }

    /// Whether something below an ignored folder may be included again, so that it has to be walked.
    pub(crate) fn may_include_below(&self, folder: &str) -> bool {
        let mut exceptions = self.patterns.iter().filter(|pattern| pattern.includes);
        exceptions.any(|pattern| {
            let start = pattern.cleaned.strip_suffix("/**").unwrap_or(&pattern.cleaned);
            let start = start.strip_suffix("/*").unwrap_or(start);
            let inside = start.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            inside || start.contains(['*', '[', ']', '?', '^', '\\', '|', '{'])
        })
    }
}

impl Pattern {
    /// Reads one line without blanks around it, in the two steps of the original: the file is read into patterns, and the
    /// patterns are cleaned once more. `None` is a mistake, `Some(None)` a line that says nothing.
    #[expect(clippy::option_option, reason = "a mistake is not the same as nothing")]
    fn parse(line: usize, text: &str) -> Option<Option<Self>> {
        let (is_exception, inside) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        let inside = if inside.is_empty() { String::new() } else { clean(inside) };
        let anchored = if inside.len() > 1 { inside.strip_prefix('/').unwrap_or(&inside) } else { &inside };
        let read = format!("{}{anchored}", if is_exception { "!" } else { "" });
        let read = read.trim();
        if read.is_empty() {
            return Some(None);
        }
        let cleaned = clean(read);
        let (includes, cleaned) = match cleaned.strip_prefix('!') {
            Some("") => return None,
            Some(rest) => (true, rest.to_owned()),
            None => (false, cleaned),
        };
        go_match(&cleaned, ".").ok()?; // as moby finds out whether it is a pattern
        let matcher = Matcher::compile(&cleaned);
        Some(Some(Self { line, text: text.to_owned(), includes, cleaned, matcher }))
    }

    /// Whether a path matches.
    fn matches(&self, path: &str) -> Result<bool, InvalidPattern> {
        match &self.matcher {
            Matcher::Exact(text) => Ok(path == text),
            Matcher::Prefix(text) => Ok(path.starts_with(text.as_str())),
            Matcher::Suffix(text) => Ok(path.ends_with(text.as_str()) || text.strip_prefix('/') == Some(path)),
            Matcher::Expression(expression) => Ok(expression.is_match(path)),
            Matcher::Malformed => Err(InvalidPattern { line: self.line, pattern: self.text.clone() }),
        }
    }
}

impl Matcher {
    /// Turns a cleaned pattern into what it matches.
    fn compile(pattern: &str) -> Self {
        let mut expression = String::from("^");
        let mut kind = Kind::Exact;
        let mut characters = pattern.chars().peekable();
        let mut first = true;
        while let Some(character) = characters.next() {
            match character {
                '*' if characters.next_if_eq(&'*').is_some() => {
                    characters.next_if_eq(&'/'); // `**/` is `**`
                    kind = match (characters.peek(), kind) {
                        (None, Kind::Exact) => Kind::Prefix,
                        (None, _) => {
                            expression.push_str(".*");
                            Kind::Expression
                        }
                        (Some(_), _) => {
                            expression.push_str("(.*/)?");
                            Kind::Expression
                        }
                    };
                    if first {
                        kind = Kind::Suffix;
                    }
                }
                '*' => {
                    expression.push_str("[^/]*");
                    kind = Kind::Expression;
                }
                '?' => {
                    expression.push_str("[^/]");
                    kind = Kind::Expression;
                }
                // The original means to escape `|`, `{` and `}` too, but the bits of its table overflow for them.
                '.' | '+' | '(' | ')' | '$' => expression.extend(['\\', character]),
                '\\' => {
                    expression.push('\\');
                    if let Some(escaped) = characters.next() {
                        expression.push(escaped);
                        kind = Kind::Expression;
                    }
                }
                '[' | ']' => {
                    expression.push(character);
                    kind = Kind::Expression;
                }
                _ => expression.push(character),
            }
            first = false;
        }
        match kind {
            Kind::Exact => Self::Exact(pattern.to_owned()),
            Kind::Prefix => Self::Prefix(pattern[..pattern.len() - 2].to_owned()),
            Kind::Suffix => Self::Suffix(pattern[2..].to_owned()),
            Kind::Expression => {
                let expression = go_pattern::expression(&(expression + "$"));
                expression.and_then(|text| Regex::new(&text).ok()).map_or(Self::Malformed, Self::Expression)
            }
        }
    }
}

/// Which matcher a pattern needs.
#[derive(Clone, Copy)]
enum Kind {
    /// No wildcard.
    Exact,
    /// `**` at the end and nothing else.
    Prefix,
    /// `**` at the beginning and nothing else.
    Suffix,
    /// Anything else.
    Expression,
}

/// Go's `filepath.Clean`: single slashes, no `.`, `..` resolved as far as possible, no slash at the end.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Whether a path is ignored.
    fn ignores(rules: &Rules, path: &str) -> bool {
        rules.judge_alone(path).unwrap().ignored
    }

    /// What the original was asked, and what it said: `scripts/dockerignore` writes it.
    #[derive(serde::Deserialize)]
    struct Recorded {
        /// Every path of the tree, folders before what is in them.
        tree: Vec<String>,
        /// Texts of `.dockerignore`, each with what it leaves of the tree; `None` is a refusal.
        cases: BTreeMap<String, Option<Vec<usize>>>,
    }

    #[test]
    fn the_original_says_the_same() {
        let recorded: Recorded = serde_json::from_str(include_str!("recorded.json")).unwrap();
        assert!(recorded.cases.len() > 500, "{}", recorded.cases.len());
        let mut wrong = Vec::new();
        for (text, wanted) in &recorded.cases {
            let kept = Rules::parse(text).and_then(|rules| kept(&rules, &recorded.tree)).ok();
            if &kept != wanted {
                wrong.push(format!("{text:?}: {kept:?}, the original: {wanted:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), recorded.cases.len(), wrong.join("\n"));
    }

    /// The numbers of the paths that are left of a tree. Walks as contexts are walked.
    fn kept(rules: &Rules, tree: &[String]) -> Result<Vec<usize>, InvalidPattern> {
        let mut verdicts: BTreeMap<&str, Verdict> = BTreeMap::new();
        let mut kept = Vec::new();
        for (number, path) in tree.iter().enumerate() {
            let folder = path.rsplit_once('/').map(|(folder, _)| folder);
            let above = folder.and_then(|folder| verdicts.get(folder));
            if folder.is_some() && above.is_none() {
                continue; // not walked
            }
            let verdict = rules.judge(path, above)?;
            assert_eq!(verdict.ignored, rules.judge_alone(path)?.ignored, "{path}");
            if !verdict.ignored {
                kept.push(number);
            }
            if !verdict.ignored || rules.may_include_below(path) {
                verdicts.insert(path, verdict);
            }
        }
        Ok(kept)
    }

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, wanted) in [
            ("a//b/", "a/b"),
            ("./a", "a"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("/../a", "/a"),
            ("/", "/"),
            ("", "."),
            ("a/..", "."),
        ] {
            assert_eq!(clean(path), wanted, "{path}");
        }
    }

    #[test]
    fn the_last_match_wins() {
        let rules = Rules::parse("\u{feff}# comment\n\n *.md \n!README.md\ndocs\n!docs/keep\ndocs/keep/not\n").unwrap();
        for (path, wanted) in [
            ("a.md", true),
            ("README.md", false),
            ("docs/a", true),
            ("docs/keep", false),
            ("docs/keep/a", false),
            ("docs/keep/not/b", true),
            ("src/a.md", false),
        ] {
            assert_eq!(ignores(&rules, path), wanted, "{path}");
        }
        assert!(rules.may_include_below("docs") && !rules.may_include_below("src"));
        let reason = |path: &str| rules.reason(&rules.judge_alone(path).unwrap());
        assert_eq!((reason("docs/keep/not/b"), reason("src")), (Some((7, "docs/keep/not")), None));
        let rules = Rules::parse("!a\n*\n").unwrap();
        assert!(ignores(&rules, "a"), "an exception before its rule means nothing");
    }

    #[test]
    fn nonsense_is_named_with_its_line() {
        let error = Rules::parse("ok\n!\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: `!` is no pattern");
        assert_eq!(Rules::parse("[a\n").unwrap_err().line, 1);
    }

    #[test]
    fn any_text_is_rules_or_a_mistake() {
        use proptest::prelude::*;
        let alphabet = "[a-c*?!#/\\\\.\\[\\]{}|^$+() -]{0,12}";
        let paths: BTreeSet<&str> = ["a", "a/b", "b/c/a", "c.b"].into();
        proptest!(|(lines in proptest::collection::vec(alphabet, 0..4))| {
            if let Ok(rules) = Rules::parse(&lines.join("\n")) {
                for path in &paths {
                    let _ = rules.judge_alone(path);
                }
            }
        });
    }
}
