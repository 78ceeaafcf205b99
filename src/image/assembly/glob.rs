//! Patterns in the sources of a `COPY`: Go's `filepath.Match` and how BuildKit looks for what matches.
//!
//! Source: <https://pkg.go.dev/path/filepath#Match>. `*` and `?` stop at a slash; a pattern that cannot be read matches
//! nothing.

/// Whether a path has a character that makes it a pattern.
pub(crate) fn is_pattern(path: &str) -> bool {
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// Whether a whole path matches a pattern.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
    matches_here(&pattern, &path).unwrap_or(false)
}

/// Whether the rest of a path matches the rest of a pattern; `None` where the pattern cannot be read.
fn matches_here(pattern: &[char], path: &[char]) -> Option<bool> {
    let Some((first, rest)) = pattern.split_first() else { return Some(path.is_empty()) };
    match first {
        '*' => {
            let rest_of_stars = &rest[rest.iter().take_while(|c| **c == '*').count()..];
            let reach = path.iter().take_while(|c| **c != '/').count();
            // From the shortest: the number of tries stays small for the few stars that a path has.
            (0..=reach).try_fold(false, |found, taken| Some(found || matches_here(rest_of_stars, &path[taken..])?))
        }
        '?' => one(path, rest, |character| Some(character != '/')),
        '[' => {
            let (class, after) = Class::read(rest)?;
            one(path, after, |character| Some(class.has(character)))
        }
        '\\' => {
            let (escaped, after) = rest.split_first()?;
            one(path, after, |character| Some(character == *escaped))
        }
        literal => one(path, rest, |character| Some(character == *literal)),
    }
}

/// Whether the first character fits, and what follows it matches what is left of the pattern.
fn one(path: &[char], pattern: &[char], fits: impl Fn(char) -> Option<bool>) -> Option<bool> {
    let Some((character, rest)) = path.split_first() else { return Some(false) };
    if fits(*character)? { matches_here(pattern, rest) } else { Some(false) }
}

/// `[a-z]` or `[^a-z]`.
struct Class {
    /// It begins with `^`.
    negated: bool,
    /// The first and last of each range.
    ranges: Vec<(char, char)>,
}

impl Class {
    /// Reads a class after its bracket, and what follows it.
    fn read(pattern: &[char]) -> Option<(Self, &[char])> {
        let negated = pattern.first() == Some(&'^');
        let mut rest = if negated { &pattern[1..] } else { pattern };
        let mut ranges = Vec::new();
        loop {
            let (first, after) = rest.split_first()?;
            if *first == ']' && !ranges.is_empty() {
                return Some((Self { negated, ranges }, after));
            }
            let (low, after) = Self::character(rest)?;
            let (high, after) = match after.split_first() {
                Some(('-', after)) => Self::character(after)?,
                _ => (low, after),
            };
            ranges.push((low, high));
            rest = after;
        }
    }

    /// One character of a class, escaped or not.
    fn character(pattern: &[char]) -> Option<(char, &[char])> {
        let (first, rest) = pattern.split_first()?;
        match first {
            '-' | ']' => None,
            '\\' => rest.split_first().map(|(escaped, rest)| (*escaped, rest)),
            plain => Some((*plain, rest)),
        }
    }

    /// Whether a character is in it. A class reaches over slashes, as in Go.
    fn has(&self, character: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_go_matches_them() {
        for (pattern, path, wanted) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("*/a", "d/a", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[\\]a]", "]", true),
            ("[[]a", "[a", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a**b", "axxb", true),
            ("*", "", true),
            ("", "", true),
            ("[]a]", "]", false),
            ("[a", "a", false),
            ("a\\", "a", false),
            ("\u{e9}*", "\u{e9}t\u{e9}", true),
        ] {
            assert_eq!(matches(pattern, path), wanted, "`{pattern}` on `{path}`");
        }
        assert!(is_pattern("a/*") && is_pattern("[") && !is_pattern("a\\*") && !is_pattern("a/b"));
    }

    proptest! {
        #[test]
        fn a_path_matches_itself_and_any_pattern_is_read(path in "[a-z0-9/._-]{0,20}", pattern in "[a-c*?\\[\\]^\\\\-]{0,10}") {
            prop_assert!(matches(&path, &path));
            let _ = matches(&pattern, &path);
        }
    }
}
