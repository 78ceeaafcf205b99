//! Reads `WWW-Authenticate`: which proof of identity a registry wants.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9110#field.www-authenticate>. Real headers have commas inside quoted scopes,
//! several schemes in one header, and names in any case.

use std::collections::HashMap;

/// One way to prove who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// `bearer` or `basic`, in lower case.
    pub(crate) scheme: String,
    /// Its parameters by name in lower case.
    pub(crate) parameters: HashMap<String, String>,
}

/// All challenges of a header, in order. What cannot be read is left out.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    for part in split_outside_quotes(header) {
        let part = part.trim();
        let before_value = part.split('=').next().unwrap_or_default();
        let (scheme, parameter) = match before_value.trim_end().split_once(' ') {
            Some((scheme, _)) => (Some(scheme), part[scheme.len()..].trim_start()),
            None if part.contains('=') => (None, part),
            None => (Some(part), ""),
        };
        if let Some(scheme) = scheme.filter(|scheme| !scheme.is_empty()) {
            challenges.push(Challenge { scheme: scheme.to_lowercase(), parameters: HashMap::new() });
        }
        if let (Some(challenge), Some((name, value))) = (challenges.last_mut(), parameter.split_once('=')) {
            challenge.parameters.insert(name.trim().to_lowercase(), unquote(value.trim()));
        }
    }
    challenges
}

/// The parts between commas that stand outside of quotes.
fn split_outside_quotes(header: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in header.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&header[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&header[start..]);
    parts
}

/// The text inside quotes, its escapes undone; a text without quotes as it is.
fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => text.extend(characters.next()),
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The challenges as a text that is easy to compare.
    fn read(header: &str) -> String {
        let shown = parse(header).into_iter().map(|challenge| {
            let mut pairs: Vec<_> = challenge.parameters.into_iter().collect();
            pairs.sort();
            let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}[{}]", challenge.scheme, pairs.join(";"))
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn real_headers_are_understood() {
        for (header, wanted) in [
            (
                r#"Bearer realm="https://a.example/t",service="r",scope="repository:a/b:pull,push""#,
                "bearer[realm=https://a.example/t;scope=repository:a/b:pull,push;service=r]",
            ),
            (r#"bearer Realm=https://a.example, SERVICE = "x""#, "bearer[realm=https://a.example;service=x]"),
            (r#"Basic realm="a, b", Bearer realm="c""#, "basic[realm=a, b] bearer[realm=c]"),
            (r#"Negotiate, Basic realm="say \"hi\"""#, r#"negotiate[] basic[realm=say "hi"]"#),
            ("Basic", "basic[]"),
            ("", ""),
        ] {
            assert_eq!(read(header), wanted, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(header in any::<String>()) {
            parse(&header);
        }
    }
}
