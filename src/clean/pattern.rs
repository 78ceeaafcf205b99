//! Patterns of tags: `v1.*`, with `*` for anything and `?` for one character.

/// A pattern of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// The pattern of this text; every text is one.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether a tag is meant.
    pub(crate) fn matches(&self, tag: &str) -> bool {
        matches(self.0.as_bytes(), tag.as_bytes())
    }
}

/// Matches byte by byte; after a mismatch the last `*` takes one byte more. Tags are ASCII.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// What a tag is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For people: `v1.2`, `latest`, a commit.
    People,
    /// It finds the image of the same inputs: `ck-` and a hash. It holds nothing: what only such a tag leads to may go.
    ContentKey,
    /// It finds what is about a manifest: `sha256-` and its digest, with or without an ending like `.sig`
    /// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>).
    About(crate::model::Digest),
}

/// What a tag is for, by its name.
pub(super) fn purpose(tag: &str) -> Purpose {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if let Some(rest) = tag.strip_prefix("sha256-") {
        let name = rest.split('.').next().unwrap_or_default();
        if let Ok(digest) = crate::model::Digest::parse(&format!("sha256:{name}")) {
            return Purpose::About(digest);
        }
    }
    if tag.strip_prefix("ck-").is_some_and(hex) { Purpose::ContentKey } else { Purpose::People }
}

/// Whether Seaway made this tag of a commit: its first twelve digits, with `-dirty` where the tree was.
pub(super) fn is_commit(tag: &str) -> bool {
    let digits = tag.strip_suffix("-dirty").unwrap_or(tag);
    digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, tag, wanted) in [
            ("*", "", true),
            ("*", "v1", true),
            ("v*", "v1.2", true),
            ("v*", "1.2", false),
            ("v?.2", "v1.2", true),
            ("v?.2", "v10.2", false),
            ("*-rc*", "v1-rc.3", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("latest", "latest", true),
            ("latest", "latest2", false),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(tag), wanted, "{pattern} {tag}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_piece_replaced_by_a_star_still_matches(tag in "[a-z0-9.-]{0,12}", from in 0usize..12, length in 0usize..12) {
            let from = from.min(tag.len());
            let until = (from + length).min(tag.len());
            let pattern = format!("{}*{}", &tag[..from], &tag[until..]);
            proptest::prop_assert!(Pattern::new(&pattern).matches(&tag));
        }
    }

    #[test]
    fn tags_tell_what_they_are_for() {
        let digest = crate::model::Digest::of(b"x");
        for ending in ["", ".sig", ".att"] {
            assert_eq!(purpose(&format!("sha256-{}{ending}", digest.hex())), Purpose::About(digest.clone()));
        }
        assert_eq!(purpose("ck-0123456789abcdef0123456789abcdef"), Purpose::ContentKey);
        for people in ["ck-up", "ck-", "sha256-12", "v1", "0123456789ab"] {
            assert_eq!(purpose(people), Purpose::People, "{people}");
        }
        assert!(is_commit("0123456789ab") && is_commit("0123456789ab-dirty"));
        assert!(!is_commit("0123456789a") && !is_commit("v23456789abc") && !is_commit("0123456789AB"));
    }
}
