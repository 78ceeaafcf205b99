//! What is in an image: the packages that its layers say are installed, as an SPDX document.
//!
//! In: the layers' tar archives, lowest first, each read once. Out: an [`Inventory`]. Pure: whoever calls reads the
//! registry. Known are Debian's and Alpine's packages, Python distributions, Node modules and npm's lists of them, Go
//! programs, Java archives, Composer's packages and gems. Not known are RPM databases, which are binary formats of their own: an image that has one
//! says so.

mod alpine;
mod debian;
mod golang;
mod headers;
mod java;
mod layer;
mod node;
mod os_release;
mod php;
mod python;
mod ruby;
mod spdx;
mod zipped;

pub(crate) use layer::{Layer, read};
pub(crate) use spdx::{About, document};

use layer::Found;
use os_release::OsRelease;
use std::collections::BTreeMap;

/// Where a package comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ecosystem {
    /// Debian and its children.
    Debian,
    /// Alpine and its children.
    Alpine,
    /// The Python Package Index.
    Python,
    /// npm.
    Node,
    /// Go modules.
    Go,
    /// Maven's coordinates.
    Maven,
    /// Composer's packages.
    Composer,
    /// Gems.
    Gem,
}

/// A package that is installed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    /// Where it comes from.
    pub(crate) ecosystem: Ecosystem,
    /// What stands before the name: a Maven group, an npm scope, a vendor of Composer's; empty for others.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its version; empty where nothing says it.
    pub(crate) version: String,
    /// Its architecture, where it has one; a gem's platform.
    pub(crate) architecture: Option<String>,
    /// Its licence in its own words.
    pub(crate) licence: Option<String>,
    /// Who made the package.
    pub(crate) supplier: Option<String>,
    /// Its page.
    pub(crate) homepage: Option<String>,
    /// The source package and its version, where they differ from the package's own.
    pub(crate) source: Option<String>,
    /// The file that says so, without a `/` at its start.
    pub(crate) place: String,
}

impl Package {
    /// A package of which nothing but its name and its version is known.
    fn new(ecosystem: Ecosystem, name: impl Into<String>, version: impl Into<String>, place: &str) -> Self {
        Self {
            ecosystem,
            namespace: String::new(),
            name: name.into(),
            version: version.into(),
            architecture: None,
            licence: None,
            supplier: None,
            homepage: None,
            source: None,
            place: place.to_owned(),
        }
    }
}

/// What is in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inventory {
    /// The distribution, if the image says which.
    pub(crate) os: OsRelease,
    /// The packages, each once, sorted.
    pub(crate) packages: Vec<Package>,
    /// What could not be looked into, for people.
    pub(crate) gaps: Vec<String>,
}

/// The layers of an image laid over each other.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// What the files that are visible say, by path.
    files: BTreeMap<String, Found>,
    /// Layers that could not be read.
    gaps: Vec<String>,
}

impl Scan {
    /// Lays a layer over those before it: files replace files, whiteouts take them away
    /// (<https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>).
    pub(crate) fn add(&mut self, layer: Layer) {
        // A whiteout is about the layers below, wherever it stands in its own.
        for path in &layer.removed {
            self.files.remove(path);
            self.empty(path);
        }
        for folder in &layer.emptied {
            self.empty(folder);
        }
        for (path, found) in layer.files {
            match found {
                Found::Nothing | Found::Stored(_) => self.files.remove(&path),
                found => self.files.insert(path, found),
            };
        }
    }

    /// A layer that cannot be read is a gap, and told.
    pub(crate) fn add_gap(&mut self, gap: String) {
        self.gaps.push(gap);
    }

    /// Takes everything away that lies below a folder; an empty name is the root.
    fn empty(&mut self, folder: &str) {
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let from = self.files.range(below.clone()..).map(|(path, _)| path);
        let gone: Vec<String> = from.take_while(|path| path.starts_with(&below)).cloned().collect();
        for path in gone {
            self.files.remove(&path);
        }
    }

    /// What is in the image.
    pub(crate) fn finish(self) -> Inventory {
        let mut inventory = Inventory { gaps: self.gaps, ..Inventory::default() };
        for (path, found) in self.files {
            match found {
                Found::Packages(packages) => inventory.packages.extend(packages),
                Found::Partly(packages, gaps) => {
                    inventory.packages.extend(packages);
                    inventory.gaps.extend(gaps);
                }
                // `etc/os-release` comes first in the order of paths, and is the one that counts.
                Found::Os(os) if inventory.os == OsRelease::default() => inventory.os = os,
                Found::Os(_) | Found::Nothing | Found::Stored(_) => {}
                Found::Unread(why) => inventory.gaps.push(format!("`/{path}` {why}")),
            }
        }
        inventory.packages.sort();
        inventory.packages.dedup();
        node::drop_what_is_installed(&mut inventory.packages);
        inventory.gaps.sort();
        inventory.gaps.dedup();
        inventory
    }
}

#[cfg(test)]
mod tests {
    use super::layer::tests::tar;
    use super::*;

    /// The names and versions of an image with these layers.
    fn packages(layers: &[&[(&str, &[u8])]]) -> Vec<String> {
        let mut scan = Scan::default();
        for files in layers {
            scan.add(read(tar(files).as_slice()).unwrap());
        }
        scan.finish().packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect()
    }

    const ONE: &[u8] = b"Package: one\nStatus: install ok installed\nVersion: 1\n";
    const TWO: &[u8] = b"Package: two\nStatus: install ok installed\nVersion: 2\n";

    #[test]
    fn an_upper_layer_replaces_a_lower_one() {
        assert_eq!(packages(&[&[("var/lib/dpkg/status", ONE)], &[("./var/lib/dpkg/status", TWO)]]), ["two 2"]);
    }

    #[test]
    fn whiteouts_take_away_what_is_below() {
        let lower: &[(&str, &[u8])] = &[("var/lib/dpkg/status.d/one", ONE), ("var/lib/dpkg/status.d/two", TWO)];
        assert_eq!(packages(&[lower]), ["one 1", "two 2"]);
        assert_eq!(packages(&[lower, &[("var/lib/dpkg/status.d/.wh.one", b"")]]), ["two 2"]);
        assert!(packages(&[lower, &[("var/.wh.lib", b"")]]).is_empty());
        let opaque: &[(&str, &[u8])] = &[("var/lib/dpkg/status.d/one", ONE), ("var/lib/dpkg/.wh..wh..opq", b"")];
        assert_eq!(packages(&[lower, opaque]), ["one 1"], "an opaque folder keeps what its own layer has");
        assert_eq!(packages(&[lower, &[("var/lib/dpkgx/.wh.status.d", b"")]]), ["one 1", "two 2"]);
    }

    #[test]
    fn a_list_of_npm_names_what_is_not_there_as_a_module() {
        let lock: &[u8] = br#"{"lockfileVersion":3,"packages":{
            "":{"name":"app","version":"1.0.0"},
            "node_modules/a":{"version":"1.0.0"},"node_modules/b":{"version":"2.0.0"}}}"#;
        let module: &[u8] = br#"{"name":"a","version":"1.0.0"}"#;
        assert_eq!(packages(&[&[("app/package-lock.json", lock)]]), ["a 1.0.0", "b 2.0.0"]);
        let both: &[(&str, &[u8])] = &[("app/package-lock.json", lock), ("app/node_modules/a/package.json", module)];
        let mut scan = Scan::default();
        scan.add(read(tar(both).as_slice()).unwrap());
        let places: Vec<String> = scan.finish().packages.into_iter().map(|package| package.place).collect();
        assert_eq!(places, ["app/node_modules/a/package.json", "app/package-lock.json"], "each once");
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let mut scan = Scan::default();
        scan.add(read(tar(&[("var/lib/rpm/rpmdb.sqlite", b"SQLite")]).as_slice()).unwrap());
        scan.add_gap("layer 2 is odd".to_owned());
        let inventory = scan.finish();
        assert_eq!(inventory.gaps.len(), 2);
        assert!(inventory.gaps[0].contains("/var/lib/rpm/rpmdb.sqlite"), "{:?}", inventory.gaps);
    }
}
