//! Python distributions: the metadata beside their code
//! (<https://packaging.python.org/en/latest/specifications/core-metadata/>).

use super::headers::{field, paragraphs};
use super::{Ecosystem, Package};

/// Whether a path is the metadata of a distribution.
pub(super) fn is_metadata(path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    (file == "METADATA" && folder.ends_with(".dist-info"))
        || (file == "PKG-INFO" && folder.ends_with(".egg-info"))
        || file.ends_with(".egg-info")
}

/// The distribution; nothing where the file has no name or version.
pub(super) fn packages(text: &str, place: &str) -> Vec<Package> {
    let text = text.replace("\r\n", "\n");
    let headers = paragraphs(&text).next().unwrap_or_default();
    let (Some(name), Some(version)) = (field(headers, "Name"), field(headers, "Version")) else { return Vec::new() };
    let known = |name| field(headers, name).filter(|value| *value != "UNKNOWN").map(str::to_owned);
    vec![Package {
        licence: known("License-Expression").or_else(|| known("License")),
        supplier: known("Author"),
        homepage: known("Home-page"),
        ..Package::new(Ecosystem::Python, name, version, place)
    }]
}

/// A name as the index compares them: lower case, one dash for each run of `-`, `_` and `.`
/// (<https://packaging.python.org/en/latest/specifications/name-normalization/>).
pub(super) fn normalized(name: &str) -> String {
    let words: Vec<String> =
        name.split(['-', '_', '.']).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_found_and_read_up_to_its_first_blank_line() {
        assert!(is_metadata("usr/lib/python3/dist-packages/click-8.1.dist-info/METADATA"));
        assert!(is_metadata("usr/lib/python3/dist-packages/six.egg-info/PKG-INFO"));
        assert!(is_metadata("usr/lib/python3/dist-packages/six-1.16.egg-info"));
        assert!(!is_metadata("usr/share/doc/METADATA") && !is_metadata("METADATA"));
        let text =
            "Metadata-Version: 2.1\r\nName: Flask_SQLAlchemy\r\nVersion: 3.1.1\r\nLicense: UNKNOWN\r\n\r\nName: no\r\n";
        let packages = packages(text, "x");
        assert_eq!((packages[0].name.as_str(), packages[0].version.as_str()), ("Flask_SQLAlchemy", "3.1.1"));
        assert_eq!((&packages[0].licence, normalized(&packages[0].name).as_str()), (&None, "flask-sqlalchemy"));
    }
}
