//! What a job says to the runner: commands on its output, and lines in the files that the runner names.
//!
//! Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>. The escapes are those
//! of the runner's own parser
//! (<https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs>).

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _};

/// The runner cuts longer messages.
const LONGEST_MESSAGE: usize = 4096;

/// How serious an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Red.
    Error,
    /// Yellow.
    Warning,
}

/// A remark on the run, or on a line of a file of the repository. A step has room for ten of each level.
#[derive(Clone, Debug)]
pub(crate) struct Annotation<'a> {
    /// How serious it is.
    pub(crate) level: Level,
    /// Its headline.
    pub(crate) title: &'a str,
    /// What it says.
    pub(crate) message: &'a str,
    /// The file, relative to the repository, and the line from 1.
    pub(crate) place: Option<(&'a str, usize)>,
}

impl Annotation<'_> {
    /// The command line, without its end.
    pub(crate) fn command(&self) -> String {
        let name = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let mut properties = String::new();
        if let Some((file, line)) = self.place {
            write!(properties, "file={},line={line},", escape_property(file)).unwrap_or_default();
        }
        write!(properties, "title={}", escape_property(self.title)).unwrap_or_default();
        let message: String = self.message.chars().take(LONGEST_MESSAGE).collect();
        format!("::{name} {properties}::{}", escape_data(&message))
    }
}

/// Opens a group, which the log shows folded.
pub(crate) fn group(title: &str) -> String {
    format!("::group::{}", escape_data(title))
}

/// Closes the group.
pub(crate) const END_GROUP: &str = "::endgroup::";

/// Tells the runner a secret, which it blanks out in the log from then on: one command a line, for it compares lines.
///
/// This is the one text of a run that holds a secret in clear, and the runner is its only reader: print it where nothing
/// but a runner reads, and never through a report.
pub(crate) fn masks(secret: &str) -> Vec<String> {
    let lines = secret.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| format!("::add-mask::{}", escape_data(line))).collect()
}

/// The text of a command.
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property of a command.
fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A foreign line that the runner takes for no command: `::x::` counts at the start of a line, `##[x]` anywhere. A
/// zero-width space between the signs is seen by nobody but the runner.
pub(crate) fn inert(line: &str) -> String {
    let line = line.replace("##[", "#\u{200b}#[");
    let start = line.len() - line.trim_start().len();
    match line[start..].strip_prefix("::") {
        Some(rest) => format!("{}:\u{200b}:{rest}", &line[..start]),
        None => line,
    }
}

/// An entry of the file that `GITHUB_OUTPUT` names. The delimiter is random: a value that could guess it could add
/// entries of its own.
pub(crate) fn output(name: &str, value: &str) -> String {
    let mut delimiter = random_delimiter();
    while value.contains(&delimiter) {
        delimiter = random_delimiter();
    }
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// A word that nobody can guess: the seed of a hash table is random for each one.
fn random_delimiter() -> String {
    let word = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("end-{:016x}{:016x}", word(), word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_escaped() {
        let annotation = Annotation {
            level: Level::Error,
            title: "a, b: c",
            message: "100 %\nsecond\r",
            place: Some(("k8s/a:b,c.yaml", 7)),
        };
        let wanted = "::error file=k8s/a%3Ab%2Cc.yaml,line=7,title=a%2C b%3A c::100 %25%0Asecond%0D";
        assert_eq!(annotation.command(), wanted);
        let long = "x".repeat(9000);
        let warning = Annotation { level: Level::Warning, title: "t", message: &long, place: None }.command();
        assert_eq!(warning.len(), "::warning title=t::".len() + LONGEST_MESSAGE);
    }

    #[test]
    fn foreign_lines_are_no_commands() {
        for line in ["::add-mask::x", "  ::set-output name=a::b", "a ##[error]b", "\t##[group]x"] {
            let inert = inert(line);
            assert!(!inert.trim_start().starts_with("::") && !inert.contains("##["), "{inert}");
            assert_eq!(inert.replace('\u{200b}', ""), line);
        }
        assert_eq!(inert("a::b"), "a::b");
    }

    #[test]
    fn outputs_hold_any_value() {
        for value in ["", "one", "two\nlines", "EOF\nx=y", "name<<end-"] {
            let text = output("key", value);
            let (head, rest) = text.split_once('\n').unwrap();
            let delimiter = head.strip_prefix("key<<").unwrap();
            assert_eq!(rest, format!("{value}\n{delimiter}\n"));
        }
        assert_ne!(output("a", "b"), output("a", "b"));
    }

    #[test]
    fn each_line_of_a_secret_is_masked() {
        assert_eq!(masks("one\n\n two%\n"), ["::add-mask::one", "::add-mask::two%25"]);
    }
}
