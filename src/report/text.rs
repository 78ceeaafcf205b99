//! Words, numbers and columns, the same in every report that is text.

use std::time::Duration;

/// Appends formatted text to a `String`, which cannot fail.
macro_rules! append {
    ($text:expr, $($format:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($text, $($format)*);
    }};
}
pub(super) use append;

/// A duration for people: `41 ms`, `12.4 s`, `2 min 05 s`, `1 h 04 min`.
pub(super) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.as_millis() < 1000 && time.as_millis() > 0 => format!("{} ms", time.as_millis()),
        0..=99 => format!("{:.1} s", time.as_secs_f64()),
        100..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A time since the start of a run, always in the same unit so that a column of it can be compared: `12.4 s`.
pub(super) fn elapsed(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Bytes for people, in powers of 1000: `512 B`, `4.1 MB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut unit = 0;
    let (mut whole, mut rest) = (count / 1000, count % 1000);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        (whole, rest, unit) = (whole / 1000, whole % 1000, unit + 1);
    }
    format!("{whole}.{} {}", rest / 100, UNITS[unit])
}

/// A foreign line as it may stand in ours: without escape sequences, carriage returns and other control characters,
/// which could rewrite what a terminal shows.
pub(super) fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => skip_escape(&mut characters),
            '\n' | '\t' => text.push(character),
            other if other.is_control() => {}
            other => text.push(other),
        }
    }
    text
}

/// Skips what follows an escape character: a control sequence up to its final byte, a title up to its end, or one
/// character (<https://ecma-international.org/publications-and-standards/standards/ecma-48/>).
fn skip_escape(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match characters.next() {
        Some('[') => while characters.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
        Some(']') => while characters.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {},
        _ => {}
    }
}

/// The text in at most `width` characters; what is cut off is replaced by `…`.
pub(super) fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    if width == 0 {
        return String::new();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// What a cell of a table means; colour repeats it, never replaces a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// As the terminal has it.
    #[default]
    Plain,
    /// Done, ready.
    Good,
    /// Failed.
    Bad,
    /// Going on.
    Busy,
    /// Less important.
    Faint,
    /// A name or a headline.
    Strong,
}

/// Puts colour on text, or does not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    /// Whether there is colour.
    pub(super) colour: bool,
}

impl Paint {
    /// The text in its tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Busy => "36",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        if self.colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// What it says.
    pub(super) text: String,
    /// What it means.
    pub(super) tone: Tone,
}

impl Cell {
    /// A cell of this tone.
    pub(super) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// Rows under one heading, `images`, with columns of their own.
#[derive(Clone, Debug, Default)]
pub(super) struct Section {
    /// Stands before the first row.
    pub(super) heading: &'static str,
    /// The rows; the last cell of each takes what room is left.
    pub(super) rows: Vec<Vec<Cell>>,
}

/// The column where the rows start.
const INDENT: usize = 12;

/// The gap between two columns.
const GAP: usize = 2;

impl Section {
    /// The lines of the section, none longer than `width`, as long as the heading has room.
    pub(super) fn lines(&self, width: usize, paint: Paint) -> Vec<String> {
        let room = width.saturating_sub(INDENT);
        let widths = fit(self.widths(), room);
        let heading = |number: usize| if number == 0 { self.heading } else { "" };
        let row = |(number, cells): (usize, &Vec<Cell>)| {
            let start = paint.paint(Tone::Faint, &format!("{:INDENT$}", heading(number)));
            let row = if cells.len() == 1 { row_text(cells, &[room], paint) } else { row_text(cells, &widths, paint) };
            format!("{start}{row}").trim_end().to_owned()
        };
        self.rows.iter().enumerate().map(row).collect()
    }

    /// The widths of the columns. A row of one cell is a sentence and sets none.
    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in self.rows.iter().filter(|row| row.len() > 1) {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        widths
    }
}

/// The widths made so small that a row has room: the widest column gives first.
fn fit(mut widths: Vec<usize>, room: usize) -> Vec<usize> {
    loop {
        let used: usize = widths.iter().filter(|width| **width > 0).map(|width| width + GAP).sum();
        let excess = used.saturating_sub(room + GAP);
        let Some(widest) = widths.iter_mut().max().filter(|widest| excess > 0 && **widest > 0) else { return widths };
        *widest = widest.saturating_sub(excess).max(*widest / 2);
    }
}

/// One row in columns of these widths; a column of width 0 is left out.
fn row_text(cells: &[Cell], widths: &[usize], paint: Paint) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| **width > 0) {
        let text = shorten(&cell.text, *width);
        let padding = width - text.chars().count() + GAP;
        append!(line, "{}{:padding$}", paint.paint(cell.tone, &text), "");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        let times = [0, 41, 999, 1000, 12_400, 99_940, 125_000, 3_840_000].map(Duration::from_millis).map(duration);
        assert_eq!(times, ["0.0 s", "41 ms", "999 ms", "1.0 s", "12.4 s", "99.9 s", "2 min 05 s", "1 h 04 min"]);
        assert_eq!([0, 999, 1000, 4_123_000, 999_999_999].map(bytes), ["0 B", "999 B", "1.0 kB", "4.1 MB", "999.9 MB"]);
    }

    #[test]
    fn foreign_lines_cannot_steer_a_terminal() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m\r \u{1b}]0;title\u{7}x\u{1b}c\u{8}y\t."), "red xy\t.");
        assert_eq!(plain("broken \u{1b}["), "broken ");
    }

    #[test]
    fn a_row_never_exceeds_the_width() {
        let rows = vec![vec!["backend".into(), "built".into(), "x".repeat(50).into()], vec!["a sentence".into()]];
        let section = Section { heading: "images", rows };
        for width in [0, 5, 12, 13, 20, 30, 79, 200] {
            for line in section.lines(width, Paint { colour: false }) {
                assert!(line.chars().count() <= width.max(INDENT), "{width}: {line}");
            }
        }
        let lines = section.lines(40, Paint { colour: false });
        assert_eq!(lines[0], format!("images      backend  built  {}…", "x".repeat(11)));
        assert_eq!(lines[1], "            a sentence");
    }
}
