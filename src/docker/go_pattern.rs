//! What Go's `regexp` reads in the expression that moby's matcher puts together of a pattern of `.dockerignore`.
//!
//! The matcher escapes less than it means to (`|`, `{` and `}` keep their meaning, and `*` inside of a class ends it), so
//! the expression is read here as Go reads it and written down again so that no character can mean anything else.
//! Source: <https://pkg.go.dev/regexp/syntax>.

use std::fmt::Write as _;

/// Go refuses to repeat more often.
const MOST_REPEATS: u32 = 1000;

/// An expression in Go's syntax as one in the syntax of the crate `regex` that matches the same; `None` where Go refuses
/// it, and for escapes that no file name needs (`\p`, `\x`, `\Q`).
pub(super) fn expression(go: &str) -> Option<String> {
    let go: Vec<char> = go.chars().collect();
    let (mut rust, mut at, mut repeated) = (String::new(), 0, false);
    while let Some(character) = go.get(at) {
        let (next, repeats) = match character {
            '\\' => (at + 2, escaped(*go.get(at + 1)?, &mut rust)?),
            '[' => (class(&go, at + 1, &mut rust)?, false),
            '{' => match repetition(&go[at..]) {
                Some(Repetition { least, most, length }) => {
                    let is_wrong = repeated || at == 0 || least > MOST_REPEATS || most.is_some_and(|most| most < least);
                    if is_wrong || most.is_some_and(|most| most > MOST_REPEATS) {
                        return None;
                    }
                    rust.extend(&go[at..at + length]);
                    (at + length, true)
                }
                None => (at + 1, literal('{', &mut rust)),
            },
            '*' | '?' if repeated => return None,
            '*' | '?' => {
                rust.push(*character);
                (at + 1, true)
            }
            '(' | ')' | '.' | '|' | '^' | '$' => {
                rust.push(*character);
                (at + 1, false)
            }
            other => (at + 1, literal(*other, &mut rust)),
        };
        (at, repeated) = (next, repeats);
    }
    Some(rust)
}

/// Writes a character that means itself; it repeats nothing.
fn literal(character: char, rust: &mut String) -> bool {
    let _ = write!(rust, "\\x{{{:X}}}", u32::from(character)); // writing to a String cannot fail
    false
}

/// Writes what stands for a backslash and this character outside of a class.
fn escaped(character: char, rust: &mut String) -> Option<bool> {
    match character {
        'A' => rust.push('^'),
        'z' => rust.push('$'),
        'b' => rust.push_str(r"(?-u:\b)"),
        _ => match perl_class(character) {
            Some((is_negated, members)) => {
                let _ = write!(rust, "[{}{members}]", if is_negated { "^" } else { "" });
            }
            None => drop(literal(escaped_character(character)?, rust)),
        },
    }
    Some(false)
}

/// The ASCII class that a backslash and this letter stand for: whether it is negated, and its members.
fn perl_class(letter: char) -> Option<(bool, &'static str)> {
    let members = match letter.to_ascii_lowercase() {
        'd' => "0-9",
        's' => r"\t\n\x0C\r ",
        'w' => "0-9A-Za-z_",
        _ => return None,
    };
    Some((letter.is_ascii_uppercase(), members))
}

/// The character that a backslash and this one stand for.
fn escaped_character(character: char) -> Option<char> {
    match character {
        'a' => Some('\u{7}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        other => (other.is_ascii() && !other.is_ascii_alphanumeric()).then_some(other),
    }
}

/// Writes the class whose inside starts here; where it ends.
fn class(go: &[char], start: usize, rust: &mut String) -> Option<usize> {
    rust.push('[');
    let mut at = start;
    if go.get(at) == Some(&'^') {
        rust.push('^');
        at += 1;
    }
    let first = at;
    while *go.get(at)? != ']' || at == first {
        if let Some(length) = posix_class(&go[at..])? {
            rust.extend(&go[at..at + length]);
            at += length;
            continue;
        }
        if let ('\\', Some((is_negated, members))) = (go[at], go.get(at + 1).and_then(|letter| perl_class(*letter))) {
            let _ = write!(rust, "[{}{members}]", if is_negated { "^" } else { "" });
            at += 2;
            continue;
        }
        let (low, mut next) = class_character(go, at)?;
        literal(low, rust);
        if go.get(next) == Some(&'-') && go.get(next + 1).is_some_and(|after| *after != ']') {
            let (high, end) = class_character(go, next + 1)?;
            if high < low {
                return None;
            }
            rust.push('-');
            literal(high, rust);
            next = end;
        }
        at = next;
    }
    rust.push(']');
    Some(at + 1)
}

/// The character of a class that starts here, and where it ends.
fn class_character(go: &[char], at: usize) -> Option<(char, usize)> {
    match go.get(at)? {
        '\\' => Some((escaped_character(*go.get(at + 1)?)?, at + 2)),
        other => Some((*other, at + 1)),
    }
}

/// The names of `[:name:]`.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// The length of a `[:name:]`; `Some(None)` where there is none, `None` where its name is not known.
#[expect(clippy::option_option, reason = "a mistake is not the same as nothing")]
fn posix_class(go: &[char]) -> Option<Option<usize>> {
    if !go.starts_with(&['[', ':']) {
        return Some(None);
    }
    let Some(end) = go[2..].windows(2).position(|pair| pair == [':', ']']) else { return Some(None) };
    let name: String = go[2..2 + end].iter().collect();
    POSIX.contains(&name.trim_start_matches('^')).then_some(Some(end + 4))
}

/// `{2}`, `{2,}` or `{2,3}`.
struct Repetition {
    /// At least so often.
    least: u32,
    /// At most so often; `None` without a limit.
    most: Option<u32>,
    /// Its length in characters.
    length: usize,
}

/// The repetition that starts here; braces that hold anything else mean themselves.
fn repetition(go: &[char]) -> Option<Repetition> {
    let end = go.iter().position(|character| *character == '}')?;
    let inside: String = go[1..end].iter().collect();
    let number = |text: &str| {
        let is_number = text.chars().all(|c| c.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
        is_number.then(|| text.parse::<u32>().unwrap_or(u32::MAX)).filter(|_| !text.is_empty())
    };
    let (least, most) = match inside.split_once(',') {
        None => (number(&inside)?, Some(number(&inside)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some(Repetition { least, most, length: end + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_go_reads_them() {
        let matches = |go: &str, text: &str| regex::Regex::new(&expression(go).unwrap()).unwrap().is_match(text);
        assert!(matches("^a|b[^/]*$", "x-b") && matches("^a|b[^/]*$", "abc/d"), "`|` keeps its meaning");
        assert!(matches("^a{2}$", "aa") && !matches("^a{2}$", "a{2}"));
        assert!(matches("^a{x}$", "a{x}") && matches("^a{,2}$", "a{,2}"));
        assert!(matches("^[[^/]*]$", "[]") && matches("^[[^/]*]$", "[^/]"), "a star in a class ends it");
        assert!(matches("^[a&&b]$", "&") && matches("^[[:digit:]x]$", "7"));
        assert!(matches(r"^\d$", "7") && !matches(r"^\d$", "\u{663}"), "classes are ASCII");
        assert!(matches(r"^\<$", "<") && matches("^#~-$", "#~-"));
        for wrong in ["^a{2}{3}$", "^a{1001}$", "^a{3,2}$", r"^\é$", "^[b-a]$", "^[a$", "{2}"] {
            assert_eq!(expression(wrong), None, "{wrong}");
        }
    }
}
