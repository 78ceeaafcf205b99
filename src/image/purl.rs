//! Package URLs: one name for a package, whatever the ecosystem (<https://github.com/package-url/purl-spec>).

use crate::model::{Digest, Reference, Repository};
use std::fmt::Write as _;

/// A package URL in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Purl<'a> {
    /// `deb`, `npm`, `golang`, …
    pub(crate) kind: &'a str,
    /// What stands before the name: `debian`, `org.apache.tomcat`, `@types`, `github.com/acme`; `/` separates its parts.
    pub(crate) namespace: &'a str,
    /// The name.
    pub(crate) name: &'a str,
    /// The version; empty where it is not known.
    pub(crate) version: &'a str,
    /// More about it, in the order of the names; empty values are left out.
    pub(crate) qualifiers: &'a [(&'a str, &'a str)],
}

impl std::fmt::Display for Purl<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pkg:{}/", self.kind)?;
        for part in self.namespace.split('/').filter(|part| !part.is_empty()) {
            write!(f, "{}/", encode(part))?;
        }
        f.write_str(&encode(self.name))?;
        if !self.version.is_empty() {
            write!(f, "@{}", encode(self.version))?;
        }
        let qualifiers = self.qualifiers.iter().filter(|(_, value)| !value.is_empty());
        for (at, (name, value)) in qualifiers.enumerate() {
            write!(f, "{}{name}={}", if at == 0 { '?' } else { '&' }, encode(value).replace("%2F", "/"))?;
        }
        Ok(())
    }
}

/// Percent-encodes everything but letters, digits and `.-_~:`
/// (<https://github.com/package-url/purl-spec/blob/main/docs/standard/characters-and-encoding.md>).
fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").unwrap_or_default(); // writing to a String cannot fail
        }
        out
    })
}

/// The package URL of an image by its digest.
pub(crate) fn of_image(repository: &Repository, digest: &Digest, tag: Option<&str>) -> String {
    let name = repository.path.rsplit('/').next().unwrap_or(&repository.path);
    let url = repository.to_string();
    let qualifiers = [("repository_url", url.as_str()), ("tag", tag.unwrap_or_default())];
    Purl { kind: "oci", name, version: digest.as_str(), qualifiers: &qualifiers, ..Purl::default() }.to_string()
}

/// The package URL of an image by the name that a Dockerfile has for it.
pub(crate) fn of_base(name: &str, digest: &Digest) -> String {
    match Reference::parse(name) {
        Ok(reference) => of_image(&reference.repository, digest, reference.tag.as_deref()),
        Err(_) => Purl { kind: "oci", name, version: digest.as_str(), ..Purl::default() }.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_encoded_where_they_must_be() {
        let qualifiers = [("arch", "amd64"), ("distro", "debian-12"), ("epoch", "")];
        let deb = Purl {
            kind: "deb",
            namespace: "debian",
            name: "libstdc++6",
            version: "1:12.2+x~1",
            qualifiers: &qualifiers,
        };
        assert_eq!(deb.to_string(), "pkg:deb/debian/libstdc%2B%2B6@1:12.2%2Bx~1?arch=amd64&distro=debian-12");
        let npm = Purl { kind: "npm", namespace: "@types", name: "node", version: "20.1.0", qualifiers: &[] };
        assert_eq!(npm.to_string(), "pkg:npm/%40types/node@20.1.0");
        let go = Purl { kind: "golang", namespace: "github.com/acme", name: "x", version: "", qualifiers: &[] };
        assert_eq!(go.to_string(), "pkg:golang/github.com/acme/x");
    }

    #[test]
    fn images_are_named_by_digest() {
        let digest = Digest::of(b"");
        let purl = of_base("debian:bookworm-slim", &digest);
        let hex = digest.hex();
        assert_eq!(
            purl,
            format!("pkg:oci/debian@sha256:{hex}?repository_url=docker.io/library/debian&tag=bookworm-slim")
        );
        assert!(of_base("${BROKEN", &digest).starts_with("pkg:oci/%24%7BBROKEN@sha256:"));
    }
}
