//! dpkg's list of packages: one file, or one file a package in images that were made without dpkg.
//!
//! Source: <https://manpages.debian.org/bookworm/dpkg/dpkg-query.1.en.html>, deb-control(5).

use super::headers::{field, paragraphs};
use super::{Ecosystem, Package};

/// Whether a path is such a list.
pub(super) fn is_list(path: &str) -> bool {
    let single = path.strip_prefix("var/lib/dpkg/status.d/");
    path == "var/lib/dpkg/status" || single.is_some_and(|name| !name.contains('/') && !name.ends_with(".md5sums"))
}

/// The packages that are installed, and not only known: configuration files of removed ones are listed too.
pub(super) fn packages(text: &str, place: &str) -> Vec<Package> {
    paragraphs(text).filter_map(|paragraph| package(paragraph, place)).collect()
}

/// One package.
fn package(paragraph: &str, place: &str) -> Option<Package> {
    let installed = field(paragraph, "Status").is_none_or(|status| status.ends_with(" installed"));
    let (name, version) = (field(paragraph, "Package")?, field(paragraph, "Version")?);
    let text = |name| field(paragraph, name).map(str::to_owned);
    installed.then(|| Package {
        architecture: text("Architecture"),
        supplier: text("Maintainer"),
        homepage: text("Homepage"),
        source: text("Source"),
        ..Package::new(Ecosystem::Debian, name, version, place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_are_listed_and_no_others() {
        let text = "Package: libc6\nStatus: install ok installed\nSource: glibc (2.36-9)\nVersion: 2.36-9+deb12u9\n\
                    Architecture: amd64\nMaintainer: GNU Libc <x@lists.debian.org>\nDescription: C\n Version: 9\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                    Package: half\nStatus: install reinstreq half-installed\nVersion: 1\n\n\
                    Package: held\nStatus: hold ok installed\nVersion: 3:4~5\n";
        let packages = packages(text, "var/lib/dpkg/status");
        let names: Vec<_> = packages.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
        assert_eq!(names, [("libc6", "2.36-9+deb12u9"), ("held", "3:4~5")]);
        assert_eq!(packages[0].source.as_deref(), Some("glibc (2.36-9)"));
        assert_eq!(packages[0].architecture.as_deref(), Some("amd64"));
    }

    #[test]
    fn images_without_dpkg_have_a_file_a_package() {
        for (path, wanted) in [
            ("var/lib/dpkg/status", true),
            ("var/lib/dpkg/status.d/base", true),
            ("var/lib/dpkg/status.d/base.md5sums", false),
            ("var/lib/dpkg/status-old", false),
            ("x/var/lib/dpkg/status", false),
        ] {
            assert_eq!(is_list(path), wanted, "{path}");
        }
        assert_eq!(packages("Package: tzdata\nVersion: 2024a\n", "x").len(), 1, "such a file has no status");
    }
}
