//! `.dockerignore` as Docker reads it.
//!
//! Source of the rules: <https://github.com/moby/patternmatcher> and its `ignorefile`. They are not those of
//! `.gitignore`: a pattern is anchored at the root, the last pattern that matches wins, a match of a folder is one of
//! everything below it, and each pattern is cleaned as Go's `filepath.Clean` cleans a path.

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
    /// It begins with `!`: what it matches is not ignored.
    includes: bool,
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
            patterns.push(Pattern::parse(line.trim()).ok_or_else(fail)?);
        }
        Ok(Self { patterns })
    }

    /// Whether a path is ignored: relative to the context, with slashes.
    pub(crate) fn ignores(&self, path: &str) -> bool {
        let mut ignored = false;
        for pattern in &self.patterns {
            // A pattern that could not change the verdict is not looked at.
            if pattern.includes == ignored && pattern.matches_with_parents(path) {
                ignored = !pattern.includes;
            }
        }
        ignored
    }

    /// Whether something below an ignored folder may be included again, so that it has to be walked.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.includes)
    }
}

impl Pattern {
    /// Reads one pattern without blanks around it.
    fn parse(text: &str) -> Option<Self> {
        let (includes, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        if text.is_empty() {
            return None;
        }
        let cleaned = clean(text);
        let anchored = if cleaned.len() > 1 { cleaned.strip_prefix('/').unwrap_or(&cleaned) } else { &cleaned };
        Some(Self { includes, matcher: Matcher::compile(anchored)? })
    }

    /// Whether the pattern matches a path, or a folder above it.
    fn matches_with_parents(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        self.matcher.matches(path) || parents.into_iter().any(|parent| self.matcher.matches(parent))
    }
}

impl Matcher {
    /// Turns a cleaned pattern into what it matches.
    fn compile(pattern: &str) -> Option<Self> {
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
                '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => expression.extend(['\\', character]),
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
        Some(match kind {
            Kind::Exact => Self::Exact(pattern.to_owned()),
            Kind::Prefix => Self::Prefix(pattern[..pattern.len() - 2].to_owned()),
            Kind::Suffix => Self::Suffix(pattern[2..].to_owned()),
            Kind::Expression => Self::Expression(Regex::new(&(expression + "$")).ok()?),
        })
    }

    /// Whether a path matches.
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text.as_str()),
            Self::Suffix(text) => path.ends_with(text.as_str()) || text.strip_prefix('/') == Some(path),
            Self::Expression(expression) => expression.is_match(path),
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
    fn patterns_match_as_dockers_do() {
        // Pattern, path, whether it is ignored: the table of moby/patternmatcher's own behaviour, in our words.
        for (pattern, path, wanted) in [
            ("**", "file", true),
            ("**", "dir/file", true),
            ("**/", "file", true),
            ("**/", "dir/file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir/dir2/file", true),
            ("dir/**", "dir", false),
            ("dir", "dir/file", true),
            ("/dir", "dir/file", true),
            ("dir/", "dir", true),
            ("./dir/../dir", "dir", true),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir/dir2/dir3/file", true),
            ("**/file", "file", true),
            ("**/file", "dir/dir/file", true),
            ("**/file", "dir/a-file", false),
            ("**file", "dir/a-file", true),
            ("**/*.pyc", "a.pyc", true),
            ("**/*.pyc", "b/c/a.pyc", true),
            ("*.pyc", "b/a.pyc", false),
            ("a*.txt", "abc.txt", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("*/a", "x/a", true),
            ("*/a", "x/y/a", false),
            ("a[b-d]e", "ace", true),
            ("a[^b-d]e", "ace", false),
            ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
            (r"a\*c", "a*c", true),
            (r"a\*c", "abc", false),
            ("*", "dir/file", true),
            ("node_modules", "web/node_modules/x", false),
            ("dir/**/file", "dir/file", true),
            ("dir/**/file", "dir/a/b/file", true),
        ] {
            assert_eq!(Rules::parse(pattern).unwrap().ignores(path), wanted, "`{pattern}` on `{path}`");
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
            assert_eq!(rules.ignores(path), wanted, "{path}");
        }
        let rules = Rules::parse("!a\n*\n").unwrap();
        assert!(rules.ignores("a") && rules.has_exceptions(), "an exception before its rule means nothing");
    }

    #[test]
    fn nonsense_is_named_with_its_line() {
        let error = Rules::parse("ok\n!\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: `!` is no pattern");
        assert_eq!(Rules::parse("[a\n").unwrap_err().line, 1);
    }
}
