//! Go's `filepath.Match`: the patterns in the sources of a `COPY`, and those of `.dockerignore` before they are read on.
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

/// Whether a whole path matches a pattern; a pattern that cannot be read matches nothing.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    go_match(pattern, path).unwrap_or(false)
}

/// A pattern that is malformed: a `[` that is not closed, or a backslash at the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What `filepath.Match` answers. A mistake shows only as far as the comparison goes.
pub(crate) fn go_match(pattern: &str, path: &str) -> Result<bool, Malformed> {
    let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
    let (mut rest, mut path) = (pattern.as_slice(), path.as_slice());
    while !rest.is_empty() {
        let stars = rest.iter().take_while(|c| **c == '*').count();
        let (chunk, after) = rest[stars..].split_at(chunk_length(&rest[stars..]));
        if stars > 0 && chunk.is_empty() {
            return Ok(!path.contains(&'/'));
        }
        // What stands between two stars is taken where it is found first: the time does not grow with the number of stars.
        let reach = if stars > 0 { path.iter().take_while(|c| **c != '/').count() } else { 0 };
        let mut left = None;
        for start in 0..=reach {
            left = match_chunk(chunk, &path[start..])?.filter(|left| left.is_empty() || !after.is_empty());
            if left.is_some() {
                break;
            }
        }
        let Some(left) = left else { return Ok(false) };
        (rest, path) = (after, left);
    }
    Ok(path.is_empty())
}

/// How far it is to the next star outside of a class.
fn chunk_length(pattern: &[char]) -> usize {
    let (mut at, mut in_class) = (0, false);
    while at < pattern.len() {
        match pattern[at] {
            '\\' if at + 1 < pattern.len() => at += 1,
            '[' => in_class = true,
            ']' => in_class = false,
            '*' if !in_class => break,
            _ => {}
        }
        at += 1;
    }
    at.min(pattern.len())
}

/// What is left of a name whose beginning a piece without stars matches; the whole piece is read in any case.
fn match_chunk<'a>(chunk: &[char], name: &'a [char]) -> Result<Option<&'a [char]>, Malformed> {
    let (mut at, mut left, mut failed) = (0, name, false);
    while let Some(character) = chunk.get(at) {
        let first = left.first().copied();
        failed = failed || first.is_none();
        left = left.get(1..).unwrap_or_default();
        at += 1;
        match character {
            '[' => {
                let (end, holds) = class_of(chunk, at, first)?;
                (at, failed) = (end, failed || !holds);
            }
            '?' => failed = failed || first == Some('/'),
            '\\' => {
                let escaped = *chunk.get(at).ok_or(Malformed)?;
                failed = failed || first != Some(escaped);
                at += 1;
            }
            other => failed = failed || first != Some(*other),
        }
    }
    Ok((!failed).then_some(left))
}

/// Where the class ends whose inside starts here, and whether it holds a character.
fn class_of(chunk: &[char], start: usize, character: Option<char>) -> Result<(usize, bool), Malformed> {
    let is_negated = chunk.get(start) == Some(&'^');
    let mut at = start + usize::from(is_negated);
    let (mut is_empty, mut holds) = (true, false);
    while is_empty || chunk.get(at) != Some(&']') {
        let (low, end) = class_member(chunk, at)?;
        let (high, end) = if chunk[end] == '-' { class_member(chunk, end + 1)? } else { (low, end) };
        holds |= character.is_some_and(|character| low <= character && character <= high);
        (at, is_empty) = (end, false);
    }
    Ok((at + 1, holds != is_negated))
}

/// The member of a class that starts here, and where it ends. Something always follows it.
fn class_member(chunk: &[char], at: usize) -> Result<(char, usize), Malformed> {
    let at = match chunk.get(at).ok_or(Malformed)? {
        '-' | ']' => return Err(Malformed),
        '\\' => at + 1,
        _ => at,
    };
    let member = *chunk.get(at).ok_or(Malformed)?;
    if at + 1 < chunk.len() { Ok((member, at + 1)) } else { Err(Malformed) }
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
            ("*[^a]*b", "x/yb", false),
            ("\u{e9}*", "\u{e9}t\u{e9}", true),
        ] {
            assert_eq!(matches(pattern, path), wanted, "`{pattern}` on `{path}`");
        }
        assert!(is_pattern("a/*") && is_pattern("[") && !is_pattern("a\\*") && !is_pattern("a/b"));
    }

    #[test]
    fn classes_and_backslashes_must_end() {
        for pattern in ["a", "a*[b-d]", "[^a]", r"\[", r"[\]]", "*", "a**b", "[!a]", "a*[", r"**/**\"] {
            assert!(go_match(pattern, ".").is_ok(), "{pattern}");
        }
        for pattern in ["[", "[]", "[]a]", "[a", "[a-", "[-a]", r"a\", r"[\", "*[", "[a-]", ".*[", "*/[a", r"*\"] {
            assert_eq!(go_match(pattern, "."), Err(Malformed), "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_longer() {
        let (pattern, path) = ("a*".repeat(40) + "b", "a".repeat(250));
        assert!(!matches(&pattern, &path));
        assert!(matches(&pattern, &(path + "b")));
    }

    proptest! {
        #[test]
        fn a_path_matches_itself_and_any_pattern_is_read(path in "[a-z0-9/._-]{0,20}", pattern in "[a-c*?\\[\\]^\\\\-]{0,10}") {
            prop_assert!(matches(&path, &path));
            let _ = matches(&pattern, &path);
        }
    }
}
