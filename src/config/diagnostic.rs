//! A mistake in deploy.yml or in a file that it names: what, where, and what to do. All of them are shown at once.

use super::source::{Place, SourceFile, Span};
use crate::model::counted;
use std::fmt::Write as _;
use std::path::Path;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Nothing is done before this is put right.
    Error,
    /// Probably not what was meant, but it has one meaning.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// What is wrong, one line: small first letter, no final period.
    pub(crate) message: String,
    /// Where; `None` where there is no file to point at.
    pub(crate) place: Option<Place>,
    /// What to say beside the carets.
    pub(crate) label: Option<String>,
    /// What to do, one or more lines.
    pub(crate) hint: Option<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), place: None, label: None, hint: None }
    }

    /// The same as a warning.
    #[must_use]
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The same at a place.
    #[must_use]
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same at a line (from 1) of a file whose text is not at hand.
    #[must_use]
    pub(crate) fn at_line(self, file: &Path, line: usize) -> Self {
        self.at(Place { file: file.to_owned(), line, column: 1, indent: 0, length: 1, text: None })
    }

    /// The same at the first place of a word in a line (from 1) of a text; at the whole line where it is not there.
    #[must_use]
    pub(crate) fn at_word(self, file: &Path, text: &str, line: usize, word: &str) -> Self {
        let source = SourceFile::new(file, text);
        let whole = source.line_span(line);
        let found = source.slice(whole).find(word).filter(|_| !word.is_empty());
        let span = found.map_or(whole, |at| Span { start: whole.start + at, end: whole.start + at + word.len() });
        let place = source.place(span);
        self.at(place)
    }

    /// The same with a word beside the carets.
    #[must_use]
    pub(crate) fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same with something to do.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The mistake as a person reads it, with a final line feed.
    pub(crate) fn render(&self, colour: bool) -> String {
        let paint = Paint { colour };
        let (word, code) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
        };
        let mut text = format!("{} {}\n", paint.with(code, &format!("{word}:")), paint.with("1", &self.message));
        if let Some(place) = &self.place {
            text.push_str(&self.render_place(place, code, paint));
        }
        for (number, line) in self.hint.iter().flat_map(|hint| hint.lines()).enumerate() {
            let start = if number == 0 { paint.with("36", "help:") } else { "     ".to_owned() };
            let _ = writeln!(text, "  {start} {line}");
        }
        text
    }

    /// The lines that point at the place.
    fn render_place(&self, place: &Place, code: &str, paint: Paint) -> String {
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        let arrow = paint.with("34", "┌─");
        let mut text = format!("{gutter} {arrow} {}:{}:{}\n", place.file.display(), place.line, place.column);
        let bar = paint.with("34", "│");
        let label = self.label.as_deref().unwrap_or_default();
        if let Some(line) = &place.text {
            let (shown, indent) = window(line, place.indent);
            let carets = "^".repeat(place.length.min(WIDEST.saturating_sub(indent)).max(1));
            let mark = paint.with(code, format!("{carets} {label}").trim_end());
            let _ = writeln!(text, "{} {bar} {shown}", paint.with("34", &number));
            let _ = writeln!(text, "{gutter} {bar} {}{mark}", " ".repeat(indent));
        } else if !label.is_empty() {
            let _ = writeln!(text, "{gutter} {bar} {label}");
        }
        text
    }
}

/// The longest piece of a line that is shown, in characters.
const WIDEST: usize = 120;

/// The part of a line that is shown, and how far the mistake is from its start: long lines are cut.
fn window(line: &str, indent: usize) -> (String, usize) {
    let length = line.chars().count();
    if length <= WIDEST {
        return (line.to_owned(), indent);
    }
    let skipped = if indent > WIDEST / 2 { indent - WIDEST / 4 } else { 0 };
    let piece: String = line.chars().skip(skipped).take(WIDEST).collect();
    let before = if skipped > 0 { "…" } else { "" };
    let after = if skipped + WIDEST < length { "…" } else { "" };
    (format!("{before}{piece}{after}"), indent - skipped + before.chars().count())
}

/// Puts colour around words, or not.
#[derive(Clone, Copy)]
struct Paint {
    /// Whether colours are wanted.
    colour: bool,
}

impl Paint {
    /// The text in the colour of this SGR code.
    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Every mistake of a deploy.yml and of the files that it names, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// These mistakes, sorted by file and position; mistakes without a place come first.
    pub(crate) fn new(mut list: Vec<Diagnostic>) -> Self {
        list.sort_by(|a, b| (&a.place, a.severity).cmp(&(&b.place, b.severity)));
        list.dedup();
        Self(list)
    }

    /// The mistakes.
    pub(crate) fn list(&self) -> &[Diagnostic] {
        &self.0
    }

    /// All of them as a person reads them, with an empty line between.
    pub(crate) fn render(&self, colour: bool) -> String {
        self.0.iter().map(|diagnostic| diagnostic.render(colour)).collect::<Vec<_>>().join("\n")
    }

    /// `2 problems in deploy.yml`: how many errors there are, and where.
    pub(crate) fn summary(&self, file: &Path) -> String {
        let errors = self.0.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        let mut files: Vec<&Path> = errors.clone().filter_map(|d| d.place.as_ref()).map(|p| p.file.as_path()).collect();
        files.dedup();
        let place = match files.as_slice() {
            [] => file.display().to_string(),
            [one] => one.display().to_string(),
            [one, other] => format!("{} and {}", one.display(), other.display()),
            more => format!("{} files", more.len()),
        };
        format!("{} in {place}", counted(errors.count(), "problem"))
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::new(vec![diagnostic])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_points_at_its_word() {
        let file = SourceFile::new("deploy.yml", "services:\n  backend:\n    replcas: 3\n");
        let diagnostic = Diagnostic::error("unknown key `replcas`")
            .at(file.place(Span { start: 25, end: 32 }))
            .with_label("did you mean `replicas`?")
            .with_hint("one\ntwo");
        let wanted = "\
error: unknown key `replcas`
  ┌─ deploy.yml:3:5
3 │     replcas: 3
  │     ^^^^^^^ did you mean `replicas`?
  help: one
        two
";
        assert_eq!(diagnostic.render(false), wanted);
    }

    #[test]
    fn a_long_line_is_cut_around_the_mistake() {
        let line = format!("{}oops{}", "a".repeat(500), "b".repeat(500));
        let place = SourceFile::new("x", &line).place(Span { start: 500, end: 504 });
        let text = Diagnostic::error("x").at(place).render(false);
        let lines: Vec<&str> = text.lines().collect();
        let caret = lines[3].find('^').unwrap();
        assert!(lines.iter().all(|line| line.chars().count() < 140));
        assert_eq!(lines[2].chars().skip(lines[3][..caret].chars().count()).take(4).collect::<String>(), "oops");
    }

    #[test]
    fn the_summary_counts_errors_and_names_files() {
        let at = |file: &str| Diagnostic::error("x").at_line(Path::new(file), 1);
        let all = Diagnostics::new(vec![at("b.yml"), at("a.yml")]);
        assert_eq!(all.summary(Path::new("deploy.yml")), "2 problems in a.yml and b.yml");
        assert_eq!(Diagnostics::new(vec![at("a.yml")]).summary(Path::new("x")), "1 problem in a.yml");
        assert_eq!(Diagnostics::from(Diagnostic::error("x")).summary(Path::new("x")), "1 problem in x");
    }
}
