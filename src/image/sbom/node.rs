//! Node modules: the `package.json` of each folder below a `node_modules`
//! (<https://docs.npmjs.com/cli/configuring-npm/package-json>).

use super::{Ecosystem, Package};
use serde_json::Value;

/// Whether a path is the description of an installed module: `node_modules/NAME/package.json` or with a scope. Deeper
/// ones belong to parts of a module.
pub(super) fn is_description(path: &str) -> bool {
    let inner = path.rfind("node_modules/").map(|at| &path[at + "node_modules/".len()..]);
    let Some(name) = inner.and_then(|inner| inner.strip_suffix("/package.json")) else { return false };
    match name.strip_prefix('@') {
        Some(scoped) => scoped.split('/').count() == 2,
        None => !name.contains('/') && !name.starts_with('.'),
    }
}

/// The module; nothing where the file is none, or has no name or version.
pub(super) fn packages(bytes: &[u8], place: &str) -> Vec<Package> {
    let description: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| description.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(name), Some(version)) = (text("name"), text("version")) else { return Vec::new() };
    let (namespace, name) = match name.strip_prefix('@').and_then(|name| name.split_once('/')) {
        Some((scope, name)) => (format!("@{scope}"), name),
        None => (String::new(), name),
    };
    let licence = description.get("license").and_then(|licence| licence.as_str().or_else(|| licence["type"].as_str()));
    let author = description.get("author").and_then(|author| author.as_str().or_else(|| author["name"].as_str()));
    vec![Package {
        namespace,
        licence: licence.map(str::to_owned),
        supplier: author.map(str::to_owned),
        homepage: text("homepage").map(str::to_owned),
        ..Package::new(Ecosystem::Node, name, version, place)
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_root_of_a_module_describes_it() {
        for (path, wanted) in [
            ("app/node_modules/express/package.json", true),
            ("app/node_modules/@types/node/package.json", true),
            ("app/node_modules/a/node_modules/b/package.json", true),
            ("app/node_modules/express/lib/package.json", false),
            ("app/node_modules/@types/package.json", false),
            ("app/node_modules/.bin/package.json", false),
            ("app/package.json", false),
        ] {
            assert_eq!(is_description(path), wanted, "{path}");
        }
    }

    #[test]
    fn scopes_and_old_licences_are_understood() {
        let package = &packages(
            br#"{"name":"@types/node","version":"20.1.0","license":{"type":"MIT"},"author":{"name":"A"}}"#,
            "x",
        )[0];
        assert_eq!((package.namespace.as_str(), package.name.as_str()), ("@types", "node"));
        assert_eq!((package.licence.as_deref(), package.supplier.as_deref()), (Some("MIT"), Some("A")));
        assert!(packages(b"{\"private\":true}", "x").is_empty() && packages(b"nonsense", "x").is_empty());
    }
}
