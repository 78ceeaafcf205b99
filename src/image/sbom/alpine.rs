//! apk's list of packages (<https://wiki.alpinelinux.org/wiki/Apk_spec#Installed_Database_V2>).

use super::headers::paragraphs;
use super::{Ecosystem, Package};

/// Whether a path is that list; newer versions keep it below `usr`.
pub(super) fn is_list(path: &str) -> bool {
    matches!(path, "lib/apk/db/installed" | "usr/lib/apk/db/installed")
}

/// The packages that are installed.
pub(super) fn packages(text: &str, place: &str) -> Vec<Package> {
    paragraphs(text).filter_map(|paragraph| package(paragraph, place)).collect()
}

/// One package. The names of the fields are single letters, and case matters.
fn package(paragraph: &str, place: &str) -> Option<Package> {
    let field = |letter: &str| {
        let mut lines = paragraph.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, value)| *name == letter && !value.is_empty()).map(|(_, value)| value)
    };
    let text = |letter| field(letter).map(str::to_owned);
    let (name, version) = (field("P")?, field("V")?);
    let source = field("o").filter(|origin| *origin != name).map(|origin| format!("{origin} ({version})"));
    Some(Package {
        architecture: text("A"),
        licence: text("L"),
        supplier: text("m"),
        homepage: text("U"),
        source,
        ..Package::new(Ecosystem::Alpine, name, version, place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_by_their_letters() {
        let text = "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:ld-musl.so\n\n\
                    P:busybox-binsh\nV:1.36.1-r28\nA:x86_64\nL:GPL-2.0-only\no:busybox\nU:https://busybox.net/\np:x V:9\n";
        let packages = packages(text, "lib/apk/db/installed");
        assert_eq!(packages.len(), 2);
        assert_eq!(
            (packages[0].name.as_str(), packages[0].version.as_str(), &packages[0].source),
            ("musl", "1.2.5-r0", &None)
        );
        assert_eq!(packages[1].source.as_deref(), Some("busybox (1.36.1-r28)"));
        assert_eq!(packages[1].homepage.as_deref(), Some("https://busybox.net/"));
    }
}
