//! GitHub's Markdown with foreign texts in it: whatever a branch, an object or a log is called, it stays text.

use super::text::append;

/// A text outside of code: no markup, no mention, no reference to an issue comes of it. Characters that could start any
/// of these are written as entities.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => escaped.push(' '),
            '&' | '<' | '>' | '`' | '|' | '*' | '_' | '~' | '[' | ']' | '\\' | '@' | '#' | '$' => {
                append!(escaped, "&#{};", u32::from(character));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// A sentence of ours: what stands between backticks becomes code, everything else stays text.
pub(super) fn prose(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return escape(text); // a backtick is left over: they are not ours
    }
    let part = |(number, part): (usize, &&str)| match (number % 2, part.is_empty()) {
        (0, _) => escape(part),
        (_, true) => escape("``"),
        (_, false) => code(part),
    };
    parts.iter().enumerate().map(part).collect()
}

/// A text as code within a line, in a table too. The fence is longer than any run of backticks inside.
pub(super) fn code(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ").replace('|', "\\|");
    let fence = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Lines as a block of code.
pub(super) fn block<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let text = lines.into_iter().collect::<Vec<_>>().join("\n");
    let fence = "`".repeat((longest_run(&text) + 1).max(3));
    format!("{fence}text\n{text}\n{fence}\n")
}

/// The longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

/// A part that is folded away until somebody wants to see it.
pub(super) fn details(summary: &str, body: &str) -> String {
    format!("<details><summary>{summary}</summary>\n\n{}\n\n</details>\n", body.trim_end())
}

/// A table; the cells are Markdown already. Nothing at all without rows.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        append!(text, "| {} |\n", row.join(" | "));
    }
    text
}

/// A link whose text is Markdown already.
pub(super) fn link(text: &str, url: &str) -> String {
    format!("[{text}]({})", url.replace(['(', ')', ' ', '<', '>', '\n'], ""))
}

/// An address that shows itself: `<http://203.0.113.10>`.
pub(super) fn address(url: &str) -> String {
    format!("<{}>", url.replace(['<', '>', ' ', '\n'], ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_are_inert() {
        let hostile = "x|`<img src=x>`@all [a](b) *c* #1\n$y$";
        let escaped = escape(hostile);
        for sign in ["|", "`", "<", "@", "[", "*", " #1", "\n", "$"] {
            assert!(!escaped.contains(sign), "{sign}: {escaped}");
        }
    }

    #[test]
    fn backticks_of_ours_make_code() {
        assert_eq!(prose("no file `/a|b` in <x>"), "no file `/a\\|b` in &#60;x&#62;");
        assert_eq!(prose("one ` two"), "one &#96; two");
        assert_eq!(prose("a `` b"), "a &#96;&#96; b");
    }

    #[test]
    fn code_holds_backticks_and_bars() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a`b|c"), "``a`b\\|c``");
        assert_eq!(code("`a``b`"), "``` `a``b` ```");
        assert_eq!(block(["```", "x"]), "````text\n```\nx\n````\n");
    }

    #[test]
    fn a_table_without_rows_is_nothing() {
        assert_eq!(table(&["a"], &[]), "");
        assert_eq!(table(&["a", "b"], &[vec!["1".into(), "2".into()]]), "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }
}
