//! Node modules: the `package.json` of each folder below a `node_modules`
//! (<https://docs.npmjs.com/cli/configuring-npm/package-json>), the archives in which Yarn keeps modules, and npm's lists of what an application was made with, which
//! are all that is left of modules that were bundled (<https://docs.npmjs.com/cli/configuring-npm/package-lock-json>).

use super::zipped::content;
use super::{Ecosystem, Package};
use crate::image::assembly::zip;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Cursor;

/// A description in an archive is not longer than this.
const LONGEST_DESCRIPTION: u64 = 4 * 1024 * 1024;

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

/// Whether a path is a file in pnpm's store: `files/` and the 128 digits of its SHA-512. Modules are links to such files, and
/// in an archive whichever name comes first has the content (<https://pnpm.io/symlinked-node-modules-structure>).
pub(super) fn is_stored(path: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = path.rsplitn(4, '/');
    let (name, folder, files) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
    let name = name.map(|name| name.strip_suffix("-exec").unwrap_or(name)).unwrap_or_default();
    files == Some("files") && folder.len() == 2 && name.len() == 126 && is_hex(folder) && is_hex(name)
}

/// Whether a path is a module as Yarn keeps it, and runs it where there is no `node_modules`: an archive in the cache of the
/// application or in that of the user (<https://yarnpkg.com/features/pnp>).
pub(super) fn is_archive(path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    let is_cache = |name: &str| folder == name || folder.strip_suffix(name).is_some_and(|above| above.ends_with('/'));
    let is_zip = std::path::Path::new(file).extension().is_some_and(|extension| extension == "zip");
    is_zip && (is_cache(".yarn/cache") || is_cache(".yarn/berry/cache"))
}

/// The module in such an archive, with those that it brings along; `None` where it cannot be read.
pub(super) fn archived(bytes: &[u8], place: &str) -> Option<Vec<Package>> {
    let members = zip::members(&mut Cursor::new(bytes)).ok()?;
    let descriptions = members.iter().filter(|member| is_description(&member.name));
    let modules = descriptions.filter_map(|member| {
        let description = content(bytes, member, LONGEST_DESCRIPTION)?;
        Some(packages(&description, &format!("{place}!/{}", member.name)))
    });
    Some(modules.flatten().collect())
}

/// Whether one of npm's lists or an archive of Yarn's says so: neither says that the module is installed.
fn is_from_elsewhere(place: &str) -> bool {
    is_lock(place) || place.split_once("!/").is_some_and(|(archive, _)| is_archive(archive))
}

/// Whether a path is one of npm's lists. The hidden one in `node_modules` repeats what lies beside it.
pub(super) fn is_lock(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    matches!(name, "package-lock.json" | "npm-shrinkwrap.json") && !folder.split('/').any(|part| part == "node_modules")
}

/// The modules in a list of the versions 2 and 3, without those that only the development needs and without links to parts
/// of the application itself; `None` for a list in another form.
pub(super) fn locked(bytes: &[u8], place: &str) -> Option<Vec<Package>> {
    let list: Value = serde_json::from_slice(bytes).ok()?;
    let modules = list.get("packages")?.as_object()?.iter();
    let is_needed = |entry: &Value| {
        !["dev", "devOptional", "link", "extraneous"]
            .iter()
            .any(|mark| entry.get(mark).and_then(Value::as_bool) == Some(true))
    };
    let module = |(path, entry): (&String, &Value)| {
        let (_, name) = path.rsplit_once("node_modules/")?;
        let name = entry.get("name").and_then(Value::as_str).unwrap_or(name);
        let version = entry.get("version").and_then(Value::as_str).filter(|_| is_needed(entry))?;
        let licence = entry.get("license").and_then(Value::as_str).map(str::to_owned);
        let (namespace, name) = scoped(name);
        Some(Package { namespace, licence, ..Package::new(Ecosystem::Node, name, version, place) })
    };
    let mut modules: Vec<Package> = modules.filter_map(module).collect();
    modules.sort();
    modules.dedup();
    Some(modules)
}

/// Takes those modules of lists and caches away that lie in the image as modules: those say more of themselves.
pub(super) fn drop_what_is_installed(packages: &mut Vec<Package>) {
    let is_listed = |package: &Package| package.ecosystem == Ecosystem::Node && is_from_elsewhere(&package.place);
    let key = |package: &Package| (package.namespace.clone(), package.name.clone(), package.version.clone());
    let installed = packages.iter().filter(|package| package.ecosystem == Ecosystem::Node && !is_listed(package));
    let installed: BTreeSet<_> = installed.map(key).collect();
    packages.retain(|package| !is_listed(package) || !installed.contains(&key(package)));
}

/// The scope of a name and the rest of it.
fn scoped(name: &str) -> (String, &str) {
    match name.strip_prefix('@').and_then(|name| name.split_once('/')) {
        Some((scope, name)) => (format!("@{scope}"), name),
        None => (String::new(), name),
    }
}

/// The module; nothing where the file is none, or has no name or version.
pub(super) fn packages(bytes: &[u8], place: &str) -> Vec<Package> {
    let description: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| description.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(name), Some(version)) = (text("name"), text("version")) else { return Vec::new() };
    let (namespace, name) = scoped(name);
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
    use crate::image::assembly::zip::tests::zip;

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

    #[test]
    fn lists_are_read_in_both_newer_versions() {
        let lock = br#"{"lockfileVersion":2,"packages":{
            "":{"name":"app","version":"1.0.0"},
            "packages/own":{"version":"1.0.0"},
            "node_modules/own":{"resolved":"packages/own","link":true},
            "node_modules/@types/node":{"version":"20.1.0","dev":true},
            "node_modules/a":{"version":"1.0.0","license":"MIT"},
            "node_modules/a/node_modules/@s/b":{"version":"2.0.0","optional":true},
            "node_modules/alias":{"name":"real","version":"3.0.0"},
            "node_modules/b/node_modules/a":{"version":"1.0.0","license":"MIT"}},"dependencies":{}}"#;
        let names: Vec<String> =
            locked(lock, "x").unwrap().iter().map(|p| format!("{}/{} {}", p.namespace, p.name, p.version)).collect();
        assert_eq!(names, ["/a 1.0.0", "/real 3.0.0", "@s/b 2.0.0"]);
        assert!(locked(br#"{"lockfileVersion":1,"dependencies":{"a":{"version":"1"}}}"#, "x").is_none());
        assert!(locked(b"nonsense", "x").is_none());
        assert!(is_lock("package-lock.json") && is_lock("app/npm-shrinkwrap.json"));
        assert!(!is_lock("app/node_modules/a/npm-shrinkwrap.json") && !is_lock("app/package.json"));
    }

    #[test]
    fn what_yarn_keeps_in_archives_is_read_where_it_is_not_installed() {
        let description: &[u8] = br#"{"name":"@s/b","version":"1.0.0"}"#;
        let brought: &[u8] = br#"{"name":"c","version":"2.0.0"}"#;
        let archive = zip(&[
            ("node_modules/@s/b/package.json", description),
            ("node_modules/@s/b/lib/package.json", b"{}"),
            ("node_modules/@s/b/node_modules/c/package.json", brought),
        ]);
        let place = "app/.yarn/cache/@s-b-npm-1.0.0-c5561d67cd-77173e89fe.zip";
        let mut all = archived(&archive, place).unwrap();
        let names: Vec<String> = all.iter().map(|p| format!("{}/{} {}", p.namespace, p.name, p.version)).collect();
        assert_eq!(names, ["@s/b 1.0.0", "/c 2.0.0"]);
        all.extend(packages(brought, "app/node_modules/c/package.json"));
        drop_what_is_installed(&mut all);
        let places: Vec<&str> = all.iter().map(|package| package.place.rsplit('!').next().unwrap()).collect();
        assert_eq!(places, ["/node_modules/@s/b/package.json", "app/node_modules/c/package.json"], "each once");
        assert!(is_archive(place) && is_archive("root/.yarn/berry/cache/a.zip") && is_archive(".yarn/cache/a.zip"));
        assert!(!is_archive("app/.yarn/cache/a.tgz") && !is_archive("app/x.yarn/cache/a.zip") && !is_archive("a.zip"));
        assert_eq!(archived(b"no archive", "x"), None);
    }
}
