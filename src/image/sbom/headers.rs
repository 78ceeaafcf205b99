//! Paragraphs of `Name: value` lines, as dpkg and Python write them.

/// The value of a field of a paragraph; the first line of it, which is all of it for what is looked up here.
pub(super) fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = paragraph.lines();
    let value = lines.find_map(|line| {
        let (there, value) = line.split_once(':')?;
        there.eq_ignore_ascii_case(name).then(|| value.trim())
    })?;
    (!value.is_empty()).then_some(value)
}

/// The paragraphs of a text: blank lines separate them.
pub(super) fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_not_in_continuations() {
        let paragraph = "Package: a\nDescription: x\n Version: no\nversion: 1:2\nEmpty:\n";
        assert_eq!(field(paragraph, "Version"), Some("1:2"));
        assert_eq!(field(paragraph, "Package"), Some("a"));
        assert_eq!((field(paragraph, "Empty"), field(paragraph, "Pack")), (None, None));
        assert_eq!(paragraphs("a: 1\n\n\nb: 2\n").count(), 2);
    }
}
