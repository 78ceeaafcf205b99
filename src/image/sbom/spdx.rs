//! An inventory as an SPDX 2.3 document in JSON (<https://spdx.github.io/spdx-spec/v2.3/>).
//!
//! Licences are repeated as the packages say them, in comments: what Alpine or npm write is no SPDX expression more often
//! than not, and a document may not claim what nobody has looked at.

use super::{Ecosystem, Inventory, Package, python};
use crate::image::provenance::seconds;
use crate::image::purl::{self, Purl};
use crate::model::{Digest, Platform, Repository};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Which image a document is about.
#[derive(Clone, Debug)]
pub(crate) struct About<'a> {
    /// Where the image lies.
    pub(crate) repository: &'a Repository,
    /// Its manifest's digest.
    pub(crate) digest: &'a Digest,
    /// Its platform.
    pub(crate) platform: &'a Platform,
    /// When it was looked into.
    pub(crate) created: Timestamp,
}

/// What stands where nothing is claimed.
const NOTHING: &str = "NOASSERTION";
/// What a document does not claim.
const LIMITS: &str = "Listed are packages that records in the image name: those of dpkg and apk, dist-info folders of Python, \
                      modules of Node, archives of Yarn and lists of npm, the build information of Go programs, descriptions in Java archives, \
                      lists of Composer, and specifications of gems. \
                      Software that no such record names is not listed.";
/// The image in a document.
const IMAGE: &str = "SPDXRef-Image";
/// The document itself.
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

/// The document.
pub(crate) fn document(about: &About<'_>, inventory: &Inventory) -> Value {
    let ids: Vec<String> = (1..=inventory.packages.len()).map(|number| format!("SPDXRef-Package-{number}")).collect();
    let packages = inventory.packages.iter().zip(&ids).map(|(package, id)| describe(package, id, inventory));
    let packages: Vec<Value> = std::iter::once(image(about, inventory)).chain(packages).collect();
    let relationship = |from: &str, kind: &str, to: &str| json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to });
    let contained = ids.iter().map(|id| relationship(IMAGE, "CONTAINS", id));
    let relationships: Vec<Value> =
        std::iter::once(relationship(DOCUMENT, "DESCRIBES", IMAGE)).chain(contained).collect();
    // The address must be another one whenever the content is: it follows from the content.
    let content = Digest::of(format!("{packages:?}{:?}", inventory.gaps).as_bytes());
    let namespace = format!("https://seaway.dev/spdx/{}/{}-{}", about.repository, about.digest.hex(), content.short());
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": about.repository.at(about.digest).to_string(),
        "documentNamespace": namespace,
        "creationInfo": {
            "created": seconds(about.created),
            "creators": [concat!("Tool: seaway-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relationships,
    });
    let gaps = format!("Not looked into: {}. ", inventory.gaps.join("; "));
    let gaps = if inventory.gaps.is_empty() { "" } else { &gaps };
    document["comment"] = json!(format!("{gaps}{LIMITS}"));
    document
}

/// The image as a package that contains all others.
fn image(about: &About<'_>, inventory: &Inventory) -> Value {
    let os = &inventory.os.name;
    let system = if os.is_empty() { about.platform.to_string() } else { format!("{}, {os}", about.platform) };
    json!({
        "SPDXID": IMAGE,
        "name": about.repository.to_string(),
        "versionInfo": about.digest,
        "downloadLocation": NOTHING,
        "filesAnalyzed": false,
        "licenseConcluded": NOTHING,
        "licenseDeclared": NOTHING,
        "copyrightText": NOTHING,
        "primaryPackagePurpose": "CONTAINER",
        "comment": system,
        "checksums": [{ "algorithm": "SHA256", "checksumValue": about.digest.hex() }],
        "externalRefs": [locator(&purl::of_image(about.repository, about.digest, None))],
    })
}

/// One package.
fn describe(package: &Package, id: &str, inventory: &Inventory) -> Value {
    let version = if package.version.is_empty() { None } else { Some(package.version.as_str()) };
    let source = package.source.as_ref().map(|source| format!(", built from the source package {source}"));
    let fields = [
        ("SPDXID", json!(id)),
        ("name", json!(full_name(package))),
        ("versionInfo", json!(version)),
        ("supplier", json!(package.supplier.as_deref().map_or(NOTHING.to_owned(), organization))),
        ("downloadLocation", json!(NOTHING)),
        ("filesAnalyzed", json!(false)),
        ("homepage", json!(package.homepage.as_deref().filter(|text| is_page(text)))),
        ("sourceInfo", json!(format!("found in /{}{}", package.place, source.unwrap_or_default()))),
        ("licenseConcluded", json!(NOTHING)),
        ("licenseDeclared", json!(NOTHING)),
        ("licenseComments", json!(package.licence.as_ref().map(|text| format!("the package says: {text}")))),
        ("copyrightText", json!(NOTHING)),
        ("externalRefs", json!([locator(&package_url(package, inventory))])),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// The name as people write it: with its scope or its group.
fn full_name(package: &Package) -> String {
    match package.ecosystem {
        Ecosystem::Node | Ecosystem::Composer if !package.namespace.is_empty() => {
            format!("{}/{}", package.namespace, package.name)
        }
        _ => package.name.clone(),
    }
}

/// A reference that finds the package in its ecosystem.
fn locator(purl: &str) -> Value {
    json!({ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl })
}

/// Whoever made a package, as the format writes it: `Organization: NAME (MAIL)`.
fn organization(text: &str) -> String {
    let (name, rest) = text.split_once('<').unwrap_or((text, ""));
    let name: String = name.chars().filter(|c| !matches!(c, '(' | ')') && !c.is_control()).collect();
    let mail = rest.trim_end().trim_end_matches('>');
    match (name.trim(), mail) {
        ("", "") => NOTHING.to_owned(),
        ("", mail) => format!("Organization: {mail}"),
        (name, mail) if mail.contains('@') && !mail.contains([' ', '(', ')']) => {
            format!("Organization: {name} ({mail})")
        }
        (name, _) => format!("Organization: {name}"),
    }
}

/// Whether a text can be the address of a page.
fn is_page(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        && !text.contains(char::is_whitespace)
}

/// The package URL.
fn package_url(package: &Package, inventory: &Inventory) -> String {
    let (os, distro) = (&inventory.os, inventory.os.distro());
    let system = |default: &str| if os.id.is_empty() { default.to_owned() } else { os.id.clone() };
    let architecture = package.architecture.as_deref().unwrap_or_default();
    let qualifiers = [("arch", architecture), ("distro", distro.as_str())];
    let (name, version) = (package.name.as_str(), package.version.as_str());
    match package.ecosystem {
        Ecosystem::Debian => {
            let namespace = system("debian");
            Purl { kind: "deb", namespace: &namespace, name, version, qualifiers: &qualifiers }.to_string()
        }
        Ecosystem::Alpine => {
            let namespace = system("alpine");
            Purl { kind: "apk", namespace: &namespace, name, version, qualifiers: &qualifiers }.to_string()
        }
        Ecosystem::Python => {
            let name = python::normalized(name);
            Purl { kind: "pypi", namespace: "", name: &name, version, qualifiers: &[] }.to_string()
        }
        Ecosystem::Node => {
            Purl { kind: "npm", namespace: &package.namespace, name, version, qualifiers: &[] }.to_string()
        }
        Ecosystem::Go => {
            let (namespace, name) = name.rsplit_once('/').unwrap_or(("", name));
            Purl { kind: "golang", namespace, name, version, qualifiers: &[] }.to_string()
        }
        Ecosystem::Composer => {
            // The specification of package URLs has both in small letters.
            let (namespace, name) = (package.namespace.to_lowercase(), name.to_lowercase());
            Purl { kind: "composer", namespace: &namespace, name: &name, version, qualifiers: &[] }.to_string()
        }
        Ecosystem::Gem => {
            let qualifiers = [("platform", architecture)];
            Purl { kind: "gem", namespace: "", name, version, qualifiers: &qualifiers }.to_string()
        }
        Ecosystem::Maven => {
            Purl { kind: "maven", namespace: &package.namespace, name, version, qualifiers: &[] }.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::os_release::OsRelease;
    use super::*;
    use std::collections::BTreeSet;

    /// A document of one package of each kind.
    fn sample(packages: Vec<Package>) -> Value {
        let repository = Repository { registry: "registry.example.com".to_owned(), path: "shop/api".to_owned() };
        let os =
            OsRelease { id: "debian".to_owned(), version: "12".to_owned(), name: "Debian GNU/Linux 12".to_owned() };
        let inventory = Inventory { os, packages, gaps: vec!["`/x` is odd".to_owned()] };
        let created = "2026-11-21T09:00:00.5Z".parse().unwrap();
        let about =
            About { repository: &repository, digest: &Digest::of(b"m"), platform: &Platform::default(), created };
        document(&about, &inventory)
    }

    /// A package of each kind.
    fn packages() -> Vec<Package> {
        let new = |ecosystem, name: &str, version: &str| Package::new(ecosystem, name, version, "some/file");
        let supplier = Some("GNU Libc Maintainers <libc@lists.debian.org>".to_owned());
        vec![
            Package {
                supplier,
                architecture: Some("amd64".to_owned()),
                ..new(Ecosystem::Debian, "libc6", "2.36-9+deb12u9")
            },
            Package { licence: Some("MIT AND custom".to_owned()), ..new(Ecosystem::Alpine, "musl", "1.2.5-r0") },
            new(Ecosystem::Python, "Flask_SQLAlchemy", "3.1.1"),
            Package {
                namespace: "@types".to_owned(),
                homepage: Some("no page".to_owned()),
                ..new(Ecosystem::Node, "node", "20.1.0")
            },
            new(Ecosystem::Go, "github.com/a/b", ""),
            Package { namespace: "commons-io".to_owned(), ..new(Ecosystem::Maven, "commons-io", "2.15.1") },
            Package { namespace: "Acme".to_owned(), ..new(Ecosystem::Composer, "Tool", "v1.0.0") },
            Package { architecture: Some("java".to_owned()), ..new(Ecosystem::Gem, "jruby-launcher", "1.1.2") },
            new(Ecosystem::Gem, "RedCloth", "4.3.2"),
        ]
    }

    #[test]
    fn every_package_has_its_address() {
        let document = sample(packages());
        let purls: Vec<&str> = document["packages"].as_array().unwrap()[1..]
            .iter()
            .map(|package| package["externalRefs"][0]["referenceLocator"].as_str().unwrap())
            .collect();
        assert_eq!(
            purls,
            [
                "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64&distro=debian-12",
                "pkg:apk/debian/musl@1.2.5-r0?distro=debian-12",
                "pkg:pypi/flask-sqlalchemy@3.1.1",
                "pkg:npm/%40types/node@20.1.0",
                "pkg:golang/github.com/a/b",
                "pkg:maven/commons-io/commons-io@2.15.1",
                "pkg:composer/acme/tool@v1.0.0",
                "pkg:gem/jruby-launcher@1.1.2?platform=java",
                "pkg:gem/RedCloth@4.3.2",
            ]
        );
    }

    #[test]
    fn what_the_format_requires_is_there() {
        let document = sample(packages());
        for field in ["spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo"] {
            assert!(!document[field].is_null(), "{field}");
        }
        assert_eq!(document["creationInfo"]["created"], "2026-11-21T09:00:00Z");
        let mut ids = BTreeSet::from([DOCUMENT.to_owned()]);
        for package in document["packages"].as_array().unwrap() {
            for field in ["SPDXID", "name", "downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText"]
            {
                assert!(package[field].is_string(), "{field}");
            }
            assert_eq!(package["filesAnalyzed"], false, "no file is listed, so none was analyzed");
            let id = package["SPDXID"].as_str().unwrap().to_owned();
            assert!(id["SPDXRef-".len()..].chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')));
            assert!(ids.insert(id), "identifiers are unique");
            assert!(package.get("versionInfo").is_none_or(Value::is_string), "what is not known is left out");
            assert!(package.get("homepage").is_none_or(Value::is_string));
        }
        for relationship in document["relationships"].as_array().unwrap() {
            for end in ["spdxElementId", "relatedSpdxElement"] {
                assert!(ids.contains(relationship[end].as_str().unwrap()), "{relationship}");
            }
        }
        let comment = document["comment"].as_str().unwrap();
        assert!(comment.starts_with("Not looked into: `/x` is odd. Listed are packages"), "{comment}");
    }

    #[test]
    fn the_address_of_a_document_follows_from_its_content() {
        let namespace = |packages| sample(packages)["documentNamespace"].clone();
        assert_eq!(namespace(packages()), namespace(packages()));
        assert_ne!(namespace(packages()), namespace(Vec::new()));
        assert!(url::Url::parse(namespace(packages()).as_str().unwrap()).is_ok());
    }

    #[test]
    fn whoever_made_a_package_is_an_organization() {
        for (text, wanted) in [
            ("Debian X <x@lists.debian.org>", "Organization: Debian X (x@lists.debian.org)"),
            ("A (B) C", "Organization: A B C"),
            ("<x@y>", "Organization: x@y"),
            ("", NOTHING),
        ] {
            assert_eq!(organization(text), wanted);
        }
    }
}
