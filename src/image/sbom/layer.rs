//! Reads one layer's tar archive for what it says about packages. Only the files that say something are kept, and of
//! those only what they say.

use super::os_release::{self, OsRelease};
use super::{Package, alpine, debian, golang, java, node, php, python, ruby};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// What a layer does to the layers below it, and what its own files say.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    /// Every file, by path, with what it says.
    pub(super) files: BTreeMap<String, Found>,
    /// Paths that are taken away, with everything below them.
    pub(super) removed: Vec<String>,
    /// Folders whose content is taken away.
    pub(super) emptied: Vec<String>,
}

/// What a file says.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Packages.
    Packages(Vec<Package>),
    /// Packages, and parts of it that could not be looked into, for people.
    Partly(Vec<Package>, Vec<String>),
    /// The distribution.
    Os(OsRelease),
    /// It says something that cannot be read: why.
    Unread(&'static str),
    /// A module's description in a store of modules: it says something where a link gives it the name of one.
    Stored(Vec<Package>),
    /// Nothing, but it stands where a file of a lower layer may say something.
    Nothing,
}

impl Found {
    /// What the same file says under another name.
    fn linked_as(&self, path: &str) -> Self {
        match self {
            Self::Stored(packages) if node::is_description(path) => {
                let there = |package: &Package| Package { place: path.to_owned(), ..package.clone() };
                Self::Packages(packages.iter().map(there).collect())
            }
            found => found.clone(),
        }
    }
}

/// Lists of packages are not longer than this.
const LONGEST_LIST: u64 = 64 * 1024 * 1024;

/// The description of one package is not longer than this.
const LONGEST_DESCRIPTION: u64 = 4 * 1024 * 1024;

/// Archives up to this size are looked into: their list of contents stands at their end.
const LARGEST_ARCHIVE: u64 = 256 * 1024 * 1024;

/// Why a list of npm's or Composer's is not read.
const OTHER_LIST: &str = "is a list of packages in a form that Seaway does not read";

/// Why the specification of a gem is not read.
const OTHER_GEM: &str = "is no specification of a gem in the form in which gems are installed";

/// The prefix of whiteouts, and the name of the one that empties its folder.
const WHITEOUT: &str = ".wh.";
/// See [`WHITEOUT`].
const OPAQUE: &str = ".wh..wh..opq";

/// Reads a layer.
pub(crate) fn read(archive: impl Read) -> io::Result<Layer> {
    let mut layer = Layer::default();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = normalized(&String::from_utf8_lossy(&entry.path_bytes()));
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", &path));
        if file == OPAQUE {
            layer.emptied.push(folder.to_owned());
        } else if let Some(name) = file.strip_prefix(WHITEOUT) {
            let separator = if folder.is_empty() { "" } else { "/" };
            layer.removed.push(format!("{folder}{separator}{name}"));
        } else if entry.header().entry_type().is_hard_link() {
            let target = entry.link_name_bytes().map(|name| normalized(&String::from_utf8_lossy(&name)));
            let found = target.and_then(|target| layer.files.get(&target)).map(|found| found.linked_as(&path));
            layer.files.insert(path, found.unwrap_or(Found::Nothing));
        } else if entry.header().entry_type().is_symlink() {
            layer.removed.push(path); // it replaces a folder of a lower layer with everything in it
        } else if entry.header().entry_type().is_file() {
            let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
            let found = look(&path, entry.size(), executable, &mut entry)?;
            layer.files.insert(path, found);
        }
    }
    Ok(layer)
}

/// A path without `./` or `/` at its start and without `/` at its end.
fn normalized(path: &str) -> String {
    path.trim_start_matches("./").trim_matches('/').to_owned()
}

/// What a file says.
fn look(path: &str, size: u64, executable: bool, file: &mut impl Read) -> io::Result<Found> {
    let text = |limit, file: &mut dyn Read| -> io::Result<String> {
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(if debian::is_list(path) {
        Found::Packages(debian::packages(&text(LONGEST_LIST, file)?, path))
    } else if alpine::is_list(path) {
        Found::Packages(alpine::packages(&text(LONGEST_LIST, file)?, path))
    } else if os_release::is_file(path) {
        Found::Os(OsRelease::parse(&text(LONGEST_DESCRIPTION, file)?))
    } else if python::is_metadata(path) {
        Found::Packages(python::packages(&text(LONGEST_DESCRIPTION, file)?, path))
    } else if node::is_description(path) {
        Found::Packages(node::packages(text(LONGEST_DESCRIPTION, file)?.as_bytes(), path))
    } else if node::is_lock(path) {
        node::locked(text(LONGEST_LIST, file)?.as_bytes(), path).map_or(Found::Unread(OTHER_LIST), of_packages)
    } else if node::is_stored(path) {
        Found::Stored(node::packages(text(LONGEST_DESCRIPTION, file)?.as_bytes(), path))
    } else if php::is_list(path) {
        php::packages(text(LONGEST_LIST, file)?.as_bytes(), path).map_or(Found::Unread(OTHER_LIST), of_packages)
    } else if ruby::is_specification(path) {
        let gem = ruby::package(&text(LONGEST_DESCRIPTION, file)?, path);
        gem.map_or(Found::Unread(OTHER_GEM), |gem| Found::Packages(vec![gem]))
    } else if is_rpm_database(path) {
        Found::Unread("is a database of RPM packages, which Seaway does not read")
    } else if java::is_archive(path) {
        archive(path, size, file, java::packages)?
    } else if node::is_archive(path) {
        archive(path, size, file, |bytes, path| Some((node::archived(bytes, path)?, Vec::new())))?
    } else if executable {
        of_packages(golang::packages(file, path)?)
    } else {
        Found::Nothing
    })
}

/// What an archive says, as its reader finds it: packages, and what of it could not be looked into.
fn archive<R>(path: &str, size: u64, file: &mut impl Read, reader: R) -> io::Result<Found>
where
    R: FnOnce(&[u8], &str) -> Option<(Vec<Package>, Vec<String>)>,
{
    if size > LARGEST_ARCHIVE {
        return Ok(Found::Unread("is too large to be looked into"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(match reader(&bytes, path) {
        None => Found::Unread("is no archive that can be read"),
        Some((packages, gaps)) if gaps.is_empty() => of_packages(packages),
        Some((packages, gaps)) => Found::Partly(packages, gaps),
    })
}

/// Packages, or nothing where there are none.
fn of_packages(packages: Vec<Package>) -> Found {
    if packages.is_empty() { Found::Nothing } else { Found::Packages(packages) }
}

/// Whether a path is a database of rpm, in any of its forms.
fn is_rpm_database(path: &str) -> bool {
    let folder = ["var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/"];
    let name = folder.iter().find_map(|folder| path.strip_prefix(folder));
    name.is_some_and(|name| matches!(name, "Packages" | "Packages.db" | "rpmdb.sqlite"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An archive of files.
    pub(in crate::image::sbom) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            archive.append(&header, *bytes).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn links_are_followed_inside_of_a_layer() {
        let description: &[u8] = br#"{"name":"a","version":"1"}"#;
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(description.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, "app/node_modules/a/package.json", description).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        archive.append_link(&mut header, "b/node_modules/a/package.json", "app/node_modules/a/package.json").unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, "lib", "usr/lib").unwrap();
        let layer = read(archive.into_inner().unwrap().as_slice()).unwrap();
        assert!(matches!(layer.files["b/node_modules/a/package.json"], Found::Packages(_)));
        assert_eq!(layer.removed, ["lib"]);
    }

    #[test]
    fn modules_that_are_links_into_a_store_are_read_whichever_name_comes_first() {
        let stored = format!("root/.local/share/pnpm/store/v3/files/0f/{}", "ab".repeat(63));
        let module = "srv/app/node_modules/.pnpm/a@1.0.0/node_modules/a/package.json";
        for (first, second) in [(stored.as_str(), module), (module, stored.as_str())] {
            let mut archive = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            let description: &[u8] = br#"{"name":"a","version":"1.0.0"}"#;
            header.set_size(description.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, first, description).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Link);
            header.set_size(0);
            archive.append_link(&mut header, second, first).unwrap();
            // What the application sees is a symbolic link to it.
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, "srv/app/node_modules/a", ".pnpm/a@1.0.0/node_modules/a").unwrap();
            let mut scan = super::super::Scan::default();
            scan.add(read(archive.into_inner().unwrap().as_slice()).unwrap());
            let places: Vec<String> = scan.finish().packages.into_iter().map(|package| package.place).collect();
            assert_eq!(places, [module], "{first}");
        }
    }

    #[test]
    fn a_broken_archive_is_an_error() {
        let mut bytes = tar(&[("var/lib/dpkg/status", &[b'x'; 2000])]);
        bytes.truncate(1000);
        assert!(read(bytes.as_slice()).is_err());
        assert!(read([7_u8; 1024].as_slice()).is_err());
    }

    #[test]
    fn every_form_of_an_rpm_database_is_known() {
        assert!(is_rpm_database("var/lib/rpm/Packages") && is_rpm_database("usr/lib/sysimage/rpm/rpmdb.sqlite"));
        assert!(!is_rpm_database("var/lib/rpm/Name") && !is_rpm_database("x/var/lib/rpm/Packages"));
    }
}
