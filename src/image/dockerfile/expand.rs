//! Quotes and variables in a Dockerfile, as BuildKit's shell lexer reads them.
//!
//! Source: <https://docs.docker.com/reference/dockerfile/#environment-replacement> and `frontend/dockerfile/shell` of
//! <https://github.com/moby/buildkit>. It resembles a shell without being one: `${X#pattern}` and the like are left to a
//! builder, everything else is understood.

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

/// A text that is being read.
struct Lexer<'a> {
    /// What is left of it.
    rest: Peekable<Chars<'a>>,
    /// The character that takes the meaning from the next.
    escape: char,
    /// The variables.
    known: &'a Variables,
    /// Whether quotes mean something.
    quotes: bool,
}

/// A text with its variables filled in and its quotes taken away.
pub(crate) fn word(text: &str, known: &Variables, escape: char) -> Result<String, String> {
    Ok(Lexer { rest: text.chars().peekable(), escape, known, quotes: true }.until(None)?.whole)
}

/// The same, split at blanks outside of quotes; blanks inside of variables split too.
pub(crate) fn words(text: &str, known: &Variables, escape: char) -> Result<Vec<String>, String> {
    Ok(Lexer { rest: text.chars().peekable(), escape, known, quotes: true }.until(None)?.into_words())
}

/// The content of a here-document with its variables filled in: quotes stay, and a backslash takes the meaning from the
/// next character and goes, whatever the Dockerfile's own escape character is.
pub(crate) fn here_document(text: &str, known: &Variables) -> Result<String, String> {
    Ok(Lexer { rest: text.chars().peekable(), escape: '\\', known, quotes: false }.until(None)?.whole)
}

impl Lexer<'_> {
    /// Reads up to a character, which is taken away, or to the end.
    fn until(&mut self, stop: Option<char>) -> Result<Expanded, String> {
        let mut out = Expanded::default();
        while let Some(character) = self.rest.next() {
            match character {
                _ if Some(character) == stop => return Ok(out),
                '\'' if self.quotes => out.push_raw(&self.single_quoted()?),
                '"' if self.quotes => out.push_raw(&self.double_quoted()?),
                '$' => self.variable()?.chars().for_each(|character| out.push(character)),
                _ if character == self.escape => match self.rest.next() {
                    Some(escaped) => out.push_raw(escaped.encode_utf8(&mut [0; 4])),
                    None => break,
                },
                _ => out.push(character),
            }
        }
        if stop.is_some() { Err("`}` is missing".to_owned()) } else { Ok(out) }
    }

    /// What stands between single quotes: nothing in it means anything.
    fn single_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        for character in self.rest.by_ref() {
            if character == '\'' {
                return Ok(text);
            }
            text.push(character);
        }
        Err("a single quote is not closed".to_owned())
    }

    /// What stands between double quotes: variables, and the escape character before a quote, a dollar or itself.
    fn double_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        while let Some(character) = self.rest.next() {
            match character {
                '"' => return Ok(text),
                '$' => text.push_str(&self.variable()?),
                _ if character == self.escape => match self.rest.peek().copied() {
                    None => break,
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        self.rest.next();
                        text.push(next);
                    }
                    Some(_) => text.push(character),
                },
                _ => text.push(character),
            }
        }
        Err("a double quote is not closed".to_owned())
    }

    /// The value of what follows a dollar.
    fn variable(&mut self) -> Result<String, String> {
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name).unwrap_or_default().to_owned() });
        }
        if matches!(self.rest.peek(), None | Some('{' | '}' | ':')) {
            return Err("`${` is not followed by a name".to_owned());
        }
        let name = self.name();
        let mut operator = self.rest.next();
        if operator == Some('}') {
            return Ok(self.value(&name).unwrap_or_default().to_owned());
        }
        let empty_is_unset = operator == Some(':');
        if empty_is_unset {
            operator = self.rest.next();
        }
        if !matches!(operator, Some('-' | '+' | '?')) {
            return Err(format!("`${{{name}…}}` uses an operator that only a builder knows"));
        }
        let word = self.until(Some('}'))?.whole;
        let value = self.value(&name).filter(|value| !(empty_is_unset && value.is_empty())).map(str::to_owned);
        match (operator, value) {
            (Some('+'), Some(_)) | (Some('-'), None) => Ok(word),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), None) if word.is_empty() => Err(format!("`{name}` must be set")),
            (Some('?'), None) => Err(format!("`{name}`: {word}")),
            (_, value) => Ok(value.unwrap_or_default()),
        }
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
        [("A", "1"), ("EMPTY", ""), ("TWO", "x y"), ("P", "/opt")]
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
            ("a$", "a$"),
            ("$1x", "x"),
            ("it\\'s", "it's"),
            ("a\\", "a"),
            ("\u{e9}$P/\u{fc}", "\u{e9}/opt/\u{fc}"),
        ] {
            assert_eq!(word(text, &known(), '\\').as_deref(), Ok(wanted), "{text}");
        }
        assert_eq!(word("C:\\x`$A", &known(), '`').as_deref(), Ok("C:\\x$A"));
    }

    #[test]
    fn here_documents_keep_their_quotes() {
        let text = "\"$A\" '$A' \\$A \\n ${NO:-'}'} `$P`";
        assert_eq!(here_document(text, &known()).as_deref(), Ok("\"1\" '1' $A n ''} `/opt`"));
        assert_eq!(here_document("$TWO\n\n", &known()).as_deref(), Ok("x y\n\n"));
        assert!(here_document("${A#x}", &known()).is_err());
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
        for text in
            ["'a", "\"a", "${", "${}", "${A", "${A:", "${A#x}", "${A/x/y}", "${NO?}", "${NO:?say why}", "${A:-x"]
        {
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
