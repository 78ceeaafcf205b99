//! Java archives: Maven's coordinates in them, or else what their manifest or their name says. Archives in archives are
//! looked into as well: the libraries of a web application lie in it.

use super::headers::field;
use super::zipped::content;
use super::{Ecosystem, Package};
use crate::image::assembly::zip::{self, Member};
use std::io::Cursor;

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

/// What an archive consists of, and what of it could not be looked into, for people; `None` where it cannot be read.
pub(super) fn packages(bytes: &[u8], place: &str) -> Option<(Vec<Package>, Vec<String>)> {
    let mut found = (Vec::new(), Vec::new());
    look(bytes, place, DEEPEST, &mut found).then_some(found)
}

/// The same, for archives in archives; whether this one could be read.
fn look(bytes: &[u8], place: &str, depth: usize, found: &mut (Vec<Package>, Vec<String>)) -> bool {
    let Ok(members) = zip::members(&mut Cursor::new(bytes)) else { return false };
    let text = |member: &Member| {
        let bytes = content(bytes, member, LONGEST_DESCRIPTION)?;
        Some(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
    };
    let poms = members.iter().filter(|member| is_pom(&member.name));
    let mut packages: Vec<Package> = poms.filter_map(|member| of_pom(&text(member)?, place)).collect();
    if packages.is_empty() {
        let manifest = members.iter().find(|member| member.name == "META-INF/MANIFEST.MF");
        packages.extend(of_manifest(&manifest.and_then(text).unwrap_or_default(), place));
    }
    found.0.append(&mut packages);
    for member in members.iter().filter(|member| is_archive(&member.name)) {
        let place = format!("{place}!/{}", member.name);
        let is_small = depth > 1 && member.size <= LARGEST_INNER;
        let inner = is_small.then(|| content(bytes, member, LARGEST_INNER)).flatten();
        let is_read = inner.is_some_and(|bytes| look(&bytes, &place, depth - 1, found));
        if !is_read {
            let why = if is_small { "is no archive that can be read" } else { "is too large, or lies too deep" };
            found.1.push(format!("`/{place}` {why}"));
        }
    }
    true
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
    use super::*;
    use crate::image::assembly::zip::tests::zip;
    use proptest::prelude::*;

    /// Group, name, version and place of each.
    fn all(bytes: &[u8], place: &str) -> Vec<String> {
        let (packages, gaps) = packages(bytes, place).unwrap();
        assert_eq!(gaps, Vec::<String>::new());
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

    #[test]
    fn a_script_before_the_archive_is_passed_over() {
        let pom: &[u8] = b"version=1\ngroupId=g\nartifactId=a\n";
        let jar = zip(&[("x", b"x"), ("META-INF/maven/g/a/pom.properties", pom)]);
        let with_script = [b"#!/bin/sh\nexec java -jar $0\n", jar.as_slice()].concat();
        assert_eq!(all(&with_script, "app.jar"), ["g:a:1 app.jar"]);
    }

    #[test]
    fn what_cannot_be_looked_into_is_told_by_its_place() {
        let inner = zip(&[("WEB-INF/lib/broken-1.0.jar", b"no archive")]);
        let deep = zip(&[("d.ear", &zip(&[("c.war", &zip(&[("b.war", &zip(&[("a-1.jar", b"x")]))]))]))]);
        let ear = zip(&[("app.war", &inner), ("deep.ear", &deep)]);
        let (_, gaps) = packages(&ear, "app.ear").unwrap();
        assert_eq!(gaps[0], "`/app.ear!/app.war!/WEB-INF/lib/broken-1.0.jar` is no archive that can be read");
        assert!(gaps[1].starts_with("`/app.ear!/deep.ear!/d.ear") && gaps[1].ends_with("lies too deep"), "{gaps:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(flips in prop::collection::vec((0_usize..400, any::<u8>()), 0..8)) {
            let mut bytes = zip(&[("META-INF/MANIFEST.MF", b"Implementation-Version: 1"), ("b.jar", b"bbbbbbbb")]);
            for (at, value) in flips {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            let _ = packages(&bytes, "a.jar");
        }
    }
}
