//! Small words of messages: the nearest right name for a wrong one, lists, counted things.

/// The candidate that somebody who wrote `wrong` probably meant; `None` where none is near.
pub(crate) fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-', ' '], "");
    let wanted = plain(wrong);
    let near = |candidate: &str| {
        let distance = strsim::damerau_levenshtein(&wanted, &plain(candidate));
        let longest = wrong.chars().count().max(candidate.chars().count());
        // One slip in a short word, two in a longer one, three in a long one.
        let allowed = match longest {
            0..=3 => 1,
            4..=7 => 2,
            _ => 3,
        };
        let extended =
            wanted.len() >= 4 && (plain(candidate).starts_with(&wanted) || wanted.starts_with(&plain(candidate)));
        (distance <= allowed && distance < longest || extended).then_some(distance)
    };
    candidates
        .into_iter()
        .filter_map(|candidate| near(candidate).map(|distance| (distance, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `a`, `a and b`, `a, b and c`, each in backticks.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

/// `1 object`, `2 objects`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let keys = ["name", "namespace", "images", "manifests", "replicas", "dockerfile", "on_failure"];
        for (wrong, right) in [
            ("nmae", Some("name")),
            ("image", Some("images")),
            ("replcas", Some("replicas")),
            ("Dockerfile", Some("dockerfile")),
            ("on-failure", Some("on_failure")),
            ("manifest", Some("manifests")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, keys), right, "{wrong}");
        }
    }

    #[test]
    fn lists_read_like_sentences() {
        assert_eq!((counted(1, "image"), counted(0, "image")), ("1 image".to_owned(), "0 images".to_owned()));
        assert_eq!(listed(["a"]), "`a`");
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
