//! Composer's list of what it has installed: `installed.json` in the folder `composer` beside the packages. Composer 1 wrote
//! a list of packages, Composer 2 writes an object that has it (<https://getcomposer.org/doc/06-config.md#vendor-dir>).

use super::{Ecosystem, Package};
use serde_json::Value;

/// Whether a path is such a list. The folder around it is `vendor` unless an application says otherwise.
pub(super) fn is_list(path: &str) -> bool {
    path == "composer/installed.json" || path.ends_with("/composer/installed.json")
}

/// The packages that are installed, those for the development included where they were; `None` for a list in another form.
pub(super) fn packages(bytes: &[u8], place: &str) -> Option<Vec<Package>> {
    let list: Value = serde_json::from_slice(bytes).ok()?;
    let list = list.as_array().or_else(|| list.get("packages")?.as_array())?;
    Some(list.iter().filter_map(|entry| package(entry, place)).collect())
}

/// One package; nothing where the entry has no name or version.
fn package(entry: &Value, place: &str) -> Option<Package> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (name, version) = (text("name")?, text("version")?);
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let licences = match entry.get("license") {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        other => Vec::from_iter(other.and_then(Value::as_str)),
    };
    let author = entry.pointer("/authors/0").and_then(|author| {
        let mail = author["email"].as_str().map(|mail| format!(" <{mail}>")).unwrap_or_default();
        Some(format!("{}{mail}", author["name"].as_str()?))
    });
    Some(Package {
        namespace: namespace.to_owned(),
        licence: (!licences.is_empty()).then(|| licences.join(", ")),
        supplier: author,
        homepage: text("homepage").map(str::to_owned),
        ..Package::new(Ecosystem::Composer, name, version, place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry as Composer 2.5 writes it, without what is not looked at.
    const ENTRY: &str = r#"{
        "name": "christian-riesen/base32", "version": "1.6.0", "version_normalized": "1.6.0.0",
        "source": {"type": "git", "url": "https://github.com/ChristianRiesen/base32.git", "reference": "2e82dab3"},
        "require": {"php": "^7.2 || ^8.0"}, "type": "library", "license": ["MIT", "BSD-3-Clause"],
        "authors": [{"name": "Christian Riesen", "email": "chris@example.com", "role": "Developer"}],
        "homepage": "https://github.com/ChristianRiesen/base32", "install-path": "../christian-riesen/base32"}"#;

    #[test]
    fn both_forms_are_read() {
        let first = format!(r#"[{ENTRY}, {{"name":"x"}}]"#);
        let second = format!(r#"{{"packages": [{ENTRY}], "dev": true, "dev-package-names": []}}"#);
        let wanted = Package {
            namespace: "christian-riesen".to_owned(),
            licence: Some("MIT, BSD-3-Clause".to_owned()),
            supplier: Some("Christian Riesen <chris@example.com>".to_owned()),
            homepage: Some("https://github.com/ChristianRiesen/base32".to_owned()),
            ..Package::new(Ecosystem::Composer, "base32", "1.6.0", "app/vendor/composer/installed.json")
        };
        for text in [first, second] {
            let read = packages(text.as_bytes(), "app/vendor/composer/installed.json");
            assert_eq!(read, Some(vec![wanted.clone()]), "{text}");
        }
        let empty: [&[u8]; 2] = [b"[]", br#"{"packages":[]}"#];
        assert!(empty.iter().all(|text| packages(text, "x") == Some(Vec::new())));
        for other in ["", "{}", "7", "nonsense"] {
            assert_eq!(packages(other.as_bytes(), "x"), None, "{other}");
        }
    }

    #[test]
    fn a_licence_may_be_one_word_and_an_author_may_have_no_mail() {
        let text = br#"[{"name":"a/b","version":"dev-main","license":"proprietary","authors":[{"name":"A"}]}]"#;
        let package = &packages(text, "x").unwrap()[0];
        assert_eq!((package.licence.as_deref(), package.supplier.as_deref()), (Some("proprietary"), Some("A")));
    }

    #[test]
    fn the_list_is_known_by_its_folder() {
        assert!(is_list("app/vendor/composer/installed.json") && is_list("composer/installed.json"));
        assert!(is_list("usr/share/icinga-php/vendor/vendor/composer/installed.json"));
        assert!(!is_list("app/vendor/composer/installed.php") && !is_list("app/installed.json"));
        assert!(!is_list("app/xcomposer/installed.json"));
    }
}
