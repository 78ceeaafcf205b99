//! Java archives: Maven's coordinates in them, or else what their manifest or their name says. Archives in archives are
//! looked into as well: the libraries of a web application lie in it.

use super::headers::field;
use super::zip::{Archive, Member};
use super::{Ecosystem, Package};

/// A description in an archive is not longer than this.
const LONGEST_DESCRIPTION: u64 = 1024 * 1024;
/// An archive in an archive up to this size is looked into.
const LARGEST_INNER: u64 = 128 * 1024 * 1024;
/// Archives in archives in archives: a library in a web application in an enterprise application.
const DEEPEST: usize = 3;

/// Whether a path is such an archive.
pub(super) fn is_archive(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| matches!(extension.as_str(), "jar" | "war" | "ear" | "hpi"))
}

/// What an archive consists of; `None` where it cannot be read.
pub(super) fn packages(bytes: &[u8], place: &str) -> Option<Vec<Package>> {
    look(bytes, place, DEEPEST)
}

/// The same, for archives in archives.
fn look(bytes: &[u8], place: &str, depth: usize) -> Option<Vec<Package>> {
    let archive = Archive::open(bytes)?;
    let text = |member: &Member| {
        let bytes = archive.read(member, LONGEST_DESCRIPTION)?;
        Some(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
    };
    let poms = archive.members.iter().filter(|member| is_pom(&member.name));
    let mut packages: Vec<Package> = poms.filter_map(|member| of_pom(&text(member)?, place)).collect();
    if packages.is_empty() {
        let manifest = archive.members.iter().find(|member| member.name == "META-INF/MANIFEST.MF");
        packages.extend(of_manifest(&manifest.and_then(text).unwrap_or_default(), place));
    }
    for member in archive.members.iter().filter(|member| depth > 1 && is_archive(&member.name)) {
        let inner = archive.read(member, LARGEST_INNER);
        let place = format!("{place}!/{}", member.name);
        packages.extend(inner.and_then(|bytes| look(&bytes, &place, depth - 1)).unwrap_or_default());
    }
    Some(packages)
}

/// Whether a member holds Maven's coordinates.
fn is_pom(name: &str) -> bool {
    name.strip_prefix("META-INF/maven/").is_some_and(|rest| rest.ends_with("/pom.properties"))
}

/// Maven's coordinates.
fn of_pom(text: &str, place: &str) -> Option<Package> {
    let property = |name: &str| {
        let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix('='));
        value.map(str::trim).filter(|value| !value.is_empty())
    };
    let package = Package::new(Ecosystem::Maven, property("artifactId")?, property("version")?, place);
    Some(Package { namespace: property("groupId").unwrap_or_default().to_owned(), ..package })
}

/// What a manifest says, with the file's name for what it does not say; nothing without a version anywhere: classes of the
/// author's own, packed.
fn of_manifest(text: &str, place: &str) -> Option<Package> {
    let text = text.replace("\n ", ""); // long lines are folded
    let main = text.split("\n\n").next().unwrap_or_default();
    let (stem, number) = of_name(place);
    let symbolic = field(main, "Bundle-SymbolicName").and_then(|name| name.split(';').next());
    let version = field(main, "Implementation-Version").or_else(|| field(main, "Bundle-Version"));
    let version = number.or(version)?;
    let vendor = field(main, "Implementation-Vendor").or_else(|| field(main, "Bundle-Vendor"));
    let group = field(main, "Implementation-Vendor-Id").or(symbolic).unwrap_or_default();
    let package = Package::new(Ecosystem::Maven, stem, version, place);
    Some(Package { namespace: group.to_owned(), supplier: vendor.map(str::to_owned), ..package })
}

/// The name and the version that the name of an archive holds: `commons-io-2.15.1.jar`.
fn of_name(place: &str) -> (&str, Option<&str>) {
    let file = place.rsplit('/').next().unwrap_or(place);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let dash = stem.match_indices('-').find(|(at, _)| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    dash.map_or((stem, None), |(at, _)| (&stem[..at], Some(&stem[at + 1..])))
}

#[cfg(test)]
mod tests {
    use super::super::zip::tests::zip;
    use super::*;

    /// Group, name, version and place of each.
    fn all(bytes: &[u8], place: &str) -> Vec<String> {
        let packages = packages(bytes, place).unwrap();
        packages.iter().map(|p| format!("{}:{}:{} {}", p.namespace, p.name, p.version, p.place)).collect()
    }

    #[test]
    fn libraries_of_a_web_application_are_found() {
        let pom: &[u8] = b"#Generated\r\nversion=2.15.1\r\ngroupId = commons-io\r\nartifactId=commons-io\r\n";
        let maven = zip(&[("META-INF/maven/commons-io/commons-io/pom.properties", pom)]);
        let manifest: &[u8] = b"Manifest-Version: 1.0\r\nBundle-SymbolicName: org.slf4j.\r\n api;singleton:=true\r\nBundle-Version: 2.0.9\r\n";
        let bundle = zip(&[("META-INF/MANIFEST.MF", manifest)]);
        let plain = zip(&[("com/acme/A.class", b"x")]);
        let war = zip(&[
            ("WEB-INF/lib/commons-io-2.15.1.jar", &maven),
            ("WEB-INF/lib/slf4j-api-2.0.9.jar", &bundle),
            ("WEB-INF/lib/own.jar", &plain),
            ("WEB-INF/classes/A.class", b"x"),
        ]);
        assert_eq!(
            all(&war, "app/portal.war"),
            [
                "commons-io:commons-io:2.15.1 app/portal.war!/WEB-INF/lib/commons-io-2.15.1.jar",
                "org.slf4j.api:slf4j-api:2.0.9 app/portal.war!/WEB-INF/lib/slf4j-api-2.0.9.jar",
            ]
        );
    }

    #[test]
    fn names_hold_versions() {
        assert_eq!(of_name("a/b/log4j-api-2.20.0.jar"), ("log4j-api", Some("2.20.0")));
        assert_eq!(of_name("own.jar"), ("own", None));
        assert_eq!(of_name("x-1-y-2.jar"), ("x", Some("1-y-2")));
    }

    #[test]
    fn what_is_no_archive_is_told() {
        assert_eq!(packages(b"not a zip", "a.jar"), None);
        assert!(is_archive("a/B.JAR") && !is_archive("a/jar") && !is_archive("a.zip"));
    }
}
