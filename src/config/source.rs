//! A file's text, and the way from a byte range in it to the line and column that a person looks for.

use std::path::PathBuf;

/// A place in a file, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The file, as deploy.yml leads to it.
    pub(crate) file: PathBuf,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The column, from 1, counted in characters.
    pub(crate) column: usize,
    /// How many characters of the shown text come before it.
    pub(super) indent: usize,
    /// How many characters of the shown text it has.
    pub(crate) length: usize,
    /// The line's text with secrets blanked; `None` where it cannot be shown.
    pub(crate) text: Option<String>,
}

/// A range of bytes in a [`SourceFile`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// The first byte.
    pub(crate) start: usize,
    /// The byte after the last one.
    pub(crate) end: usize,
}

impl Span {
    /// Whether another span lies inside this one.
    pub(super) fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// A value with the place where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spanned<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it was written.
    pub(crate) span: Span,
}

/// What stands for a masked range in a line that is shown.
const MASK: &str = "***";

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// The path as it was given.
    pub(crate) path: PathBuf,
    /// The text, without a byte order mark.
    pub(crate) text: String,
    /// The byte where each line starts.
    lines: Vec<usize>,
    /// What must never be shown: values of secrets that were written in clear.
    masks: Vec<Span>,
    /// Whether no line may be shown at all.
    hidden: bool,
}

impl SourceFile {
    /// A file with this text.
    pub(crate) fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { path: path.into(), text, lines, masks: Vec::new(), hidden: false }
    }

    /// Never shows these ranges.
    pub(super) fn mask(&mut self, spans: impl IntoIterator<Item = Span>) {
        self.masks.extend(spans);
    }

    /// Never shows any line: the file holds secrets, and where exactly is not known.
    pub(super) fn hide(&mut self) {
        self.hidden = true;
    }

    /// The text of a span.
    pub(super) fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// The line (from 1) that holds a byte.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.lines.partition_point(|start| *start <= byte).max(1)
    }

    /// The range of a line (from 1), without its end.
    pub(super) fn line_span(&self, line: usize) -> Span {
        let start = self.lines.get(line - 1).copied().unwrap_or(self.text.len());
        let rest = &self.text[start..];
        let text = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        Span { start, end: start + text.len() }
    }

    /// The place of a span as it is shown: its first line, with masked ranges blanked.
    pub(crate) fn place(&self, span: Span) -> Place {
        let line = self.line_of(span.start);
        let whole = self.line_span(line);
        let start = span.start.min(whole.end);
        let end = span.end.clamp(start, whole.end);
        let (before, marked) = (self.shown(whole.start, start), self.shown(start, end));
        let text = if self.hidden { None } else { Some(self.shown(whole.start, whole.end)) };
        Place {
            file: self.path.clone(),
            line,
            column: self.text[whole.start..start].chars().count() + 1,
            indent: columns(&before),
            length: columns(&marked).max(1),
            text: text.map(|text| text.replace('\t', " ")),
        }
    }

    /// The text between two bytes of one line, with masked ranges blanked.
    fn shown(&self, start: usize, end: usize) -> String {
        let mut text = String::new();
        let mut at = start;
        for (character_at, character) in self.text[start..end].char_indices().map(|(i, c)| (i + start, c)) {
            if character_at < at {
                continue;
            }
            match self.masks.iter().find(|mask| mask.start <= character_at && character_at < mask.end) {
                Some(mask) => {
                    text.push_str(MASK);
                    at = mask.end;
                }
                None => text.push(character),
            }
        }
        text
    }
}

/// How many columns a text takes on a terminal; every character counts one.
fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_line_and_a_column() {
        let file = SourceFile::new("x.yml", "a: 1\nbä: two\n");
        let place = file.place(Span { start: 10, end: 13 });
        assert_eq!((place.line, place.column, place.length), (2, 5, 3));
        assert_eq!(place.text.as_deref(), Some("bä: two"));
    }

    #[test]
    fn the_end_of_the_file_has_a_place() {
        let file = SourceFile::new("x.yml", "a: [1");
        assert_eq!(file.place(Span { start: 5, end: 5 }).column, 6);
        assert_eq!(SourceFile::new("x.yml", "").place(Span::default()).line, 1);
    }

    #[test]
    fn masked_values_are_blanked_and_the_carets_follow() {
        let mut file = SourceFile::new("x.yml", "a: { p: hunter2secret, oops: 1 }");
        file.mask([Span { start: 8, end: 21 }]);
        let place = file.place(Span { start: 23, end: 27 });
        assert_eq!(place.text.as_deref(), Some("a: { p: ***, oops: 1 }"));
        assert_eq!((place.column, place.indent, place.length), (24, 13, 4));
    }

    #[test]
    fn a_byte_order_mark_and_carriage_returns_do_not_show() {
        let file = SourceFile::new("x.yml", "\u{feff}a: 1\r\nb: 2\r\n");
        assert_eq!(file.place(Span { start: 0, end: 1 }).text.as_deref(), Some("a: 1"));
    }
}
