//! Quotes and variables in a Dockerfile, as BuildKit's shell lexer reads them.
//!
//! Source: <https://docs.docker.com/reference/dockerfile/#environment-replacement> and `frontend/dockerfile/shell` of
//! <https://github.com/moby/buildkit>. It resembles a shell without being one.

use super::pattern::Pattern;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Names and values, as `ENV` and `ARG` set them.
pub(crate) type Variables = BTreeMap<String, String>;

/// What a text comes to: as one word, and split into words where blanks stand outside of quotes.
#[derive(Debug, Default)]
struct Expanded {
    /// As one word.
    whole: String,
    /// As words.
    words: Vec<String>,
    /// The word that is being put together.
    word: String,
    /// Whether there is one, which may be empty: `""`.
    open: bool,
}

impl Expanded {
    /// A character that separates words if it is a blank.
    fn push(&mut self, character: char) {
        self.whole.push(character);
        if !character.is_whitespace() {
            self.word.push(character);
            self.open = true;
        } else if self.open && !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
            self.open = false;
        }
    }

    /// Text that separates nothing.
    fn push_raw(&mut self, text: &str) {
        self.whole.push_str(text);
        self.word.push_str(text);
        self.open = true;
    }

    /// The words.
    fn into_words(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

/// What becomes of quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// They mean something, and go.
    Go,
    /// They mean something, and stay.
    Stay,
    /// They are characters like others.
    MeanNothing,
}

/// A text that is being read.
struct Lexer<'a> {
    /// What is left of it.
    rest: Peekable<Chars<'a>>,
    /// The character that takes the meaning from the next.
    escape: char,
    /// The variables.
    known: &'a Variables,
    /// What becomes of quotes.
    quotes: Quotes,
    /// Whether the escape character stays where it is.
    keeps_escapes: bool,
    /// Whether variables without a value stay as they are written.
    keeps_unset: bool,
}

/// A reader of a text, which takes quotes and escapes away and fills all variables in.
fn lexer<'a>(text: &'a str, known: &'a Variables, escape: char) -> Lexer<'a> {
    let rest = text.chars().peekable();
    Lexer { rest, escape, known, quotes: Quotes::Go, keeps_escapes: false, keeps_unset: false }
}

/// A text with its variables filled in and its quotes taken away.
pub(crate) fn word(text: &str, known: &Variables, escape: char) -> Result<String, String> {
    Ok(lexer(text, known, escape).until(None)?.whole)
}

/// The same, split at blanks outside of quotes; blanks inside of variables split too.
pub(crate) fn words(text: &str, known: &Variables, escape: char) -> Result<Vec<String>, String> {
    Ok(lexer(text, known, escape).until(None)?.into_words())
}

/// The words of a line as they are written, split at blanks outside of quotes; a `<<` takes the blanks after it. None where
/// quotes or variables do not end.
pub(super) fn raw_words(text: &str) -> Vec<String> {
    let known = Variables::new();
    let lexer = Lexer { quotes: Quotes::Stay, keeps_escapes: true, keeps_unset: true, ..lexer(text, &known, '\\') };
    words_of(lexer)
}

/// The words of what names the end of a here-document, with quotes and without.
pub(super) fn heredoc_words(text: &str) -> (Vec<String>, Vec<String>) {
    let known = Variables::new();
    let lexer = || Lexer { keeps_unset: true, ..lexer(text, &known, '\\') };
    (words_of(Lexer { quotes: Quotes::Stay, ..lexer() }), words_of(lexer()))
}

/// The words that a reader finds; none where it cannot read.
fn words_of(mut lexer: Lexer<'_>) -> Vec<String> {
    lexer.until(None).map(Expanded::into_words).unwrap_or_default()
}

/// The content of a here-document with its variables filled in: quotes stay, and a backslash takes the meaning from the
/// next character and goes, whatever the Dockerfile's own escape character is.
pub(crate) fn here_document(text: &str, known: &Variables) -> Result<String, String> {
    Ok(Lexer { quotes: Quotes::MeanNothing, ..lexer(text, known, '\\') }.until(None)?.whole)
}

impl Lexer<'_> {
    /// Reads up to a character, which is taken away, or to the end.
    fn until(&mut self, stop: Option<char>) -> Result<Expanded, String> {
        let mut out = Expanded::default();
        while let Some(character) = self.rest.next() {
            match character {
                _ if Some(character) == stop => return Ok(out),
                '\'' if self.quotes != Quotes::MeanNothing => out.push_raw(&self.single_quoted()?),
                '"' if self.quotes != Quotes::MeanNothing => out.push_raw(&self.double_quoted()?),
                '$' => self.variable()?.chars().for_each(|character| out.push(character)),
                '<' => out.push_raw(&self.possible_heredoc()),
                _ if character == self.escape => {
                    if self.keeps_escapes {
                        out.push_raw(character.encode_utf8(&mut [0; 4]));
                    }
                    let Some(escaped) = self.rest.next() else { break };
                    out.push_raw(escaped.encode_utf8(&mut [0; 4]));
                }
                _ => out.push(character),
            }
        }
        if stop.is_some() { Err("`}` is missing".to_owned()) } else { Ok(out) }
    }

    /// Reads up to a character as the meaning of an operator: backslashes in it may be those of a pattern.
    fn operand(&mut self, stop: char, keeps_escapes: bool) -> Result<String, String> {
        let before = std::mem::replace(&mut self.keeps_escapes, keeps_escapes);
        let read = self.until(Some(stop));
        self.keeps_escapes = before;
        read.map(|read| read.whole)
    }

    /// What begins with `<`: two of them take the blanks that follow, so that the name of a here-document is in their word.
    fn possible_heredoc(&mut self) -> String {
        let mut text = "<".to_owned();
        if self.rest.next_if_eq(&'<').is_some() {
            text.push('<');
            while let Some(blank) = self.rest.next_if(|c| matches!(c, ' ' | '\t' | '\r')) {
                text.push(blank);
            }
        }
        text
    }

    /// A quote, where quotes stay.
    fn kept(&self, quote: &str) -> String {
        if self.quotes == Quotes::Stay { quote.to_owned() } else { String::new() }
    }

    /// What stands between single quotes: nothing in it means anything.
    fn single_quoted(&mut self) -> Result<String, String> {
        let mut text = self.kept("'");
        for character in self.rest.by_ref() {
            if character == '\'' {
                return Ok(text + &self.kept("'"));
            }
            text.push(character);
        }
        Err("a single quote is not closed".to_owned())
    }

    /// What stands between double quotes: variables, and the escape character before a quote, a dollar or itself.
    fn double_quoted(&mut self) -> Result<String, String> {
        let mut text = self.kept("\"");
        while let Some(character) = self.rest.next() {
            match character {
                '"' => return Ok(text + &self.kept("\"")),
                '$' => text.push_str(&self.variable()?),
                _ if character == self.escape => {
                    if self.keeps_escapes {
                        text.push(character);
                    }
                    let means_itself = |next: &char| matches!(next, '"' | '$') || *next == self.escape;
                    match self.rest.peek().copied() {
                        None => break,
                        Some(next) if means_itself(&next) => {
                            self.rest.next();
                            text.push(next);
                        }
                        Some(_) => text.push(character),
                    }
                }
                _ => text.push(character),
            }
        }
        Err("a double quote is not closed".to_owned())
    }

    /// The value of what follows a dollar.
    fn variable(&mut self) -> Result<String, String> {
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.plain(&name, || format!("${name}")) });
        }
        if matches!(self.rest.peek(), None | Some('{' | '}' | ':')) {
            return Err("`${` is not followed by a name".to_owned());
        }
        let name = self.name();
        match self.rest.next() {
            Some('}') => Ok(self.plain(&name, || format!("${{{name}}}"))),
            Some(':') => match self.rest.next() {
                Some(operator @ ('-' | '+' | '?')) => self.choice(&name, operator, true),
                _ => Err(format!("`${{{name}:…}}` has an operator that does not exist")),
            },
            Some(operator @ ('-' | '+' | '?')) => self.choice(&name, operator, false),
            Some(end @ ('#' | '%')) => self.trimmed(&name, end),
            Some('/') => self.replaced(&name),
            _ => Err(format!("`${{{name}…}}` has an operator that does not exist")),
        }
    }

    /// The value of a variable, or what is written where it has none and that stays.
    fn plain(&self, name: &str, written: impl FnOnce() -> String) -> String {
        match self.value(name) {
            Some(value) => value.to_owned(),
            None if self.keeps_unset => written(),
            None => String::new(),
        }
    }

    /// `${name-word}`, `${name+word}` and `${name?word}`; with a colon an empty value is none.
    fn choice(&mut self, name: &str, operator: char, empty_is_unset: bool) -> Result<String, String> {
        let word = self.operand('}', false)?;
        let value = self.value(name).map(str::to_owned);
        if value.is_none() && self.keeps_unset {
            let colon = if empty_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let value = value.filter(|value| !(empty_is_unset && value.is_empty()));
        match (operator, value) {
            ('+', Some(_)) | ('-', None) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('?', None) if word.is_empty() => Err(format!("`{name}` must be set")),
            ('?', None) => Err(format!("`{name}`: {word}")),
            (_, value) => Ok(value.unwrap_or_default()),
        }
    }

    /// `${name#pattern}` and `${name%pattern}`: without what the pattern matches at the beginning, or at the end. A doubled
    /// operator takes as much as it can, one alone as little.
    fn trimmed(&mut self, name: &str, end: char) -> Result<String, String> {
        let word = self.operand('}', true)?;
        let Some(value) = self.value(name) else { return Ok(self.plain(name, || format!("${{{name}{end}{word}}}"))) };
        let (pattern, is_greedy) = word.strip_prefix(end).map_or((word.as_str(), false), |pattern| (pattern, true));
        let pattern = Pattern::read(pattern)?;
        let rest = if end == '#' { pattern.trim_start(value, is_greedy) } else { pattern.trim_end(value, is_greedy) };
        Ok(rest.to_owned())
    }

    /// `${name/pattern/text}`, and with two slashes for each place that matches.
    fn replaced(&mut self, name: &str) -> Result<String, String> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let pattern = self.operand('/', true)?;
        let text = self.operand('}', true)?;
        let Some(value) = self.value(name) else {
            return Ok(self.plain(name, || format!("${{{name}/{pattern}/{text}}}")));
        };
        if all && text.contains('$') {
            return Err("a dollar in what takes the place of a pattern is left to a builder".to_owned());
        }
        Ok(Pattern::read(&pattern)?.replace(value, &text, all))
    }

    /// The name that follows: letters, digits and underscores, or digits alone, or one of the shell's special characters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(&character) = self.rest.peek() {
            let first = name.is_empty();
            if first && "@*#?-$!".contains(character) {
                self.rest.next();
                return character.to_string();
            }
            let only_digits = !first && name.chars().all(char::is_numeric);
            let fits = character.is_alphanumeric() || character == '_';
            if !fits || (only_digits && !character.is_numeric()) {
                break;
            }
            name.push(character);
            self.rest.next();
        }
        name
    }

    /// The value of a variable.
    fn value(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Variables for the tests.
    fn known() -> Variables {
        [("A", "1"), ("EMPTY", ""), ("TWO", "x y"), ("P", "/opt/a.b/a.c")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn variables_and_quotes_are_read_as_buildkit_reads_them() {
        for (text, wanted) in [
            ("$A", "1"),
            ("${A}b", "1b"),
            ("$Ab", ""),
            ("$A_", ""),
            ("$A.b", "1.b"),
            ("'$A'", "$A"),
            ("\"$A\"", "1"),
            ("\\$A", "$A"),
            ("\"\\$A\\n\"", "$A\\n"),
            ("${NO:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${NO-d}", "d"),
            ("${A:+d}", "d"),
            ("${EMPTY:+d}", ""),
            ("${EMPTY+d}", "d"),
            ("${NO:-${A}x}", "1x"),
            ("${NO:-'}'}", "}"),
            ("${A:?no}", "1"),
            ("${P#/*.}", "b/a.c"),
            ("${P##/*.}", "c"),
            ("${P%.*}", "/opt/a.b/a"),
            ("${P%%.*}", "/opt/a"),
            ("${P%?\\}}", "/opt/a.b/a.c"),
            ("${P/a?/x}", "/opt/xb/a.c"),
            ("${P//a?/x}", "/opt/xb/xc"),
            ("${P/\\//}", "opt/a.b/a.c"),
            ("${NO#x}${NO/x/y}", ""),
            ("a$", "a$"),
            ("$1x", "x"),
            ("it\\'s", "it's"),
            ("a\\", "a"),
            ("\u{e9}$P/\u{fc}", "\u{e9}/opt/a.b/a.c/\u{fc}"),
        ] {
            assert_eq!(word(text, &known(), '\\').as_deref(), Ok(wanted), "{text}");
        }
        assert_eq!(word("C:\\x`$A", &known(), '`').as_deref(), Ok("C:\\x$A"));
    }

    #[test]
    fn here_documents_keep_their_quotes() {
        let text = "\"$A\" '$A' \\$A \\n ${NO:-'}'} `$P`";
        assert_eq!(here_document(text, &known()).as_deref(), Ok("\"1\" '1' $A n ''} `/opt/a.b/a.c`"));
        assert_eq!(here_document("$TWO\n\n", &known()).as_deref(), Ok("x y\n\n"));
        assert!(here_document("${A=x}", &known()).is_err());
    }

    #[test]
    fn words_split_outside_of_quotes_and_inside_of_variables() {
        let words = |text| words(text, &known(), '\\').unwrap();
        assert_eq!(words("a  b"), ["a", "b"]);
        assert_eq!(words("a\\ b 'c d' \"e f\"g"), ["a b", "c d", "e fg"]);
        assert_eq!(words("$TWO \"$TWO\""), ["x", "y", "x y"]);
        assert!(words("  ").is_empty());
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for text in [
            "'a",
            "\"a",
            "${",
            "${}",
            "${A",
            "${A:",
            "${A:#x}",
            "${A/x}",
            "${A=x}",
            "${NO?}",
            "${NO:?say why}",
            "${A:-x",
            "${A#\\x}",
        ] {
            assert!(word(text, &known(), '\\').is_err(), "{text}");
        }
        assert_eq!(word("${NO:?say why}", &known(), '\\').unwrap_err(), "`NO`: say why");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\u{e4}]{0,40}") {
            let _ = word(&text, &known(), '\\');
            let _ = words(&text, &known(), '`');
        }

        #[test]
        fn text_without_special_characters_stays(text in "[a-zA-Z0-9 ./:_-]{0,40}") {
            prop_assert_eq!(word(&text, &known(), '\\').unwrap(), text);
        }
    }
}
