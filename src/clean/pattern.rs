//! Patterns of tags: `v1.*`, with `*` for anything and `?` for one character.

use crate::model::Digest;

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
    /// It finds the image of the same inputs (see [`Digest::content_key`]). It holds nothing: what only such a tag leads to may go.
    ContentKey,
    /// It finds what is about a manifest: see [`Digest::referrers_tag`].
    About(Digest),
}

/// What a tag is for, by its name.
pub(super) fn purpose(tag: &str) -> Purpose {
    if let Some(subject) = Digest::of_referrers_tag(tag) {
        return Purpose::About(subject);
    }
    if Digest::is_content_key(tag) { Purpose::ContentKey } else { Purpose::People }
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
        let digest = Digest::of(b"x");
        assert_eq!(purpose(&digest.referrers_tag()), Purpose::About(digest.clone()));
        assert_eq!(purpose(&format!("{}.sig", digest.referrers_tag())), Purpose::About(digest.clone()));
        assert_eq!(purpose(&digest.content_key()), Purpose::ContentKey);
        for people in ["ck-up", "ck-", "sha256-12", "v1", "0123456789ab"] {
            assert_eq!(purpose(people), Purpose::People, "{people}");
        }
    }
}
