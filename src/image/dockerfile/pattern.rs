//! Patterns in the variables of a Dockerfile: `${NAME#pattern}`, `${NAME%pattern}`, `${NAME/pattern/text}`.
//!
//! `*` is any text and `?` any character; there are no classes. Source: `frontend/dockerfile/shell` of
//! <https://github.com/moby/buildkit>.

use regex::{NoExpand, Regex};

/// A pattern.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Piece>);

/// A piece of a pattern.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// Any text.
    Any,
    /// Any character.
    One,
    /// This character.
    Character(char),
}

impl Pattern {
    /// Reads a pattern. A backslash takes the meaning from a star, a question mark and itself, and stands before what would
    /// end the pattern.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut characters = text.chars().peekable();
        let mut pieces = Vec::new();
        while let Some(character) = characters.next() {
            pieces.push(match character {
                '*' => Piece::Any,
                '?' => Piece::One,
                '\\' => match characters.next() {
                    Some(escaped @ ('}' | '/' | '*' | '?' | '\\')) => Piece::Character(escaped),
                    _ => return Err(format!("`{text}` is no pattern: nothing after a backslash that it could mean")),
                },
                other => Piece::Character(other),
            });
        }
        Ok(Self(pieces))
    }

    /// A text without what matches at its beginning.
    pub(super) fn trim_start<'a>(&self, text: &'a str, is_greedy: bool) -> &'a str {
        let found = expression(&self.0, is_greedy, "^").and_then(|expression| expression.find(text));
        found.map_or(text, |found| &text[found.end()..])
    }

    /// A text without what matches at its end.
    pub(super) fn trim_end<'a>(&self, text: &'a str, is_greedy: bool) -> &'a str {
        // The shortest match at the end is the first one from behind.
        let pieces: Vec<Piece> = self.0.iter().rev().copied().collect();
        let turned: String = text.chars().rev().collect();
        let found = expression(&pieces, is_greedy, "^").and_then(|expression| expression.find(&turned));
        found.map_or(text, |found| &text[..text.len() - found.end()])
    }

    /// A text with another one in the first place that matches, or in all of them.
    pub(super) fn replace(&self, text: &str, by: &str, all: bool) -> String {
        let Some(expression) = expression(&self.0, true, "") else { return text.to_owned() };
        expression.replacen(text, usize::from(!all), NoExpand(by)).into_owned()
    }
}

/// The pieces as an expression.
fn expression(pieces: &[Piece], is_greedy: bool, start: &str) -> Option<Regex> {
    let mut text = start.to_owned();
    for piece in pieces {
        match piece {
            Piece::Any => text.push_str(if is_greedy { ".*" } else { ".*?" }),
            Piece::One => text.push('.'),
            Piece::Character(character) => text.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&text).ok()
}
