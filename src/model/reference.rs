//! Image references: `registry.example.com/team/app:tag@sha256:…`, with Docker's rules for short names.

use super::Digest;
use serde::Serialize;
use std::fmt;

/// The registry that belongs to a `DigitalOcean` account.
pub(crate) const DIGITALOCEAN_REGISTRY: &str = "registry.digitalocean.com";

/// A repository in a registry, without a tag or digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Repository {
    /// The registry's name, with a port if it has one: `registry.digitalocean.com`, `docker.io`, `127.0.0.1:5000`.
    pub(crate) registry: String,
    /// The path inside the registry: `todo-app-registry/backend`, `library/redis`.
    pub(crate) path: String,
}

/// A repository with a tag, a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct Reference {
    /// Where it lies.
    pub(crate) repository: Repository,
    /// The tag, `latest` where neither tag nor digest was written.
    pub(crate) tag: Option<String>,
    /// The digest, if one was written.
    pub(crate) digest: Option<Digest>,
}

/// A text that is not an image reference.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an image reference: {reason}")]
pub(crate) struct InvalidReference {
    /// What was written.
    text: String,
    /// What is wrong with it.
    reason: String,
}

impl Repository {
    /// This repository at a digest.
    pub(crate) fn at(&self, digest: &Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest.clone()) }
    }

    /// This repository at a tag.
    pub(crate) fn tagged(&self, tag: &str) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag.to_owned()), digest: None }
    }
}

impl Reference {
    /// Reads a reference with Docker's rules: no registry means `docker.io`, and a single name there is `library/NAME`.
    ///
    /// Source: <https://pkg.go.dev/github.com/distribution/reference>, the grammar and the normalization of familiar names.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidReference> {
        let fail = |reason: String| InvalidReference { text: text.to_owned(), reason };
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(fail(format!("leave `{scheme}://` out, it begins with the registry or the repository")));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(Digest::parse(digest).map_err(|e| fail(e.to_string()))?)),
            None => (text, None),
        };
        let last_slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name[last_slash..].find(':') {
            Some(colon) => (&name[..last_slash + colon], Some(&name[last_slash + colon + 1..])),
            None => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fail("a tag has letters, digits, `_`, `.` and `-`, at most 128".to_owned()));
        }
        let (registry, path) = split_registry(name);
        if !is_registry(&registry) {
            return Err(fail(format!(
                "`{registry}` is no registry: a host name, and after a colon the number of a port"
            )));
        }
        if let Some(bad) = path.split('/').find(|part| !is_path_component(part)) {
            return Err(fail(format!(
                "`{bad}` is no part of a repository: lower-case letters, digits, `.`, `_` and `-` are"
            )));
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Ok(Self { repository: Repository { registry, path }, tag, digest })
    }
}

/// The registry and the path; `docker.io` where the first part is no host name.
fn split_registry(name: &str) -> (String, String) {
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    let is_host = first.contains(['.', ':']) || first == "localhost";
    match (is_host, first) {
        (true, "index.docker.io" | "docker.io") | (false, "") => {
            let path = if rest.contains('/') { rest.to_owned() } else { format!("library/{rest}") };
            ("docker.io".to_owned(), path)
        }
        (true, _) => (first.to_owned(), rest.to_owned()),
        (false, _) => ("docker.io".to_owned(), name.to_owned()),
    }
}

/// A host name or an address, in brackets where it has colons itself, with a port or not.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_address = host.starts_with('[') && host.ends_with(']');
    let inner = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || is_address && matches!(c, ':' | '[' | ']')
    };
    !host.is_empty() && host.chars().all(inner) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// The grammar of a tag: `[\w][\w.-]{0,127}`.
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// Lower-case letters and digits, with single separators between them.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().last().is_some_and(alphanumeric)
        && text.bytes().all(|b| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_docker_hub_names() {
        for (written, meant) in [
            ("redis", "docker.io/library/redis:latest"),
            ("redis:7", "docker.io/library/redis:7"),
            ("acme/todo", "docker.io/acme/todo:latest"),
            ("docker.io/redis:7", "docker.io/library/redis:7"),
            ("localhost/x", "localhost/x:latest"),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("[::1]/a:b", "[::1]/a:b"),
            ("Registry.Example/a", "Registry.Example/a:latest"),
            ("registry.digitalocean.com/shop/api", "registry.digitalocean.com/shop/api:latest"),
        ] {
            assert_eq!(Reference::parse(written).unwrap().to_string(), meant);
        }
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let digest = Digest::of(b"");
        let reference = Reference::parse(&format!("redis@{digest}")).unwrap();
        assert_eq!((reference.tag, reference.digest), (None, Some(digest)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "Redis", "a//b", "redis:", "redis:-x", "redis@sha256:1", "-a", "a/", "busybox:1.35/x", "a:b:5/x"]
        {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        for (text, reason) in [
            ("https://docker.io/library/redis:7", "leave `https://` out"),
            ("docker://redis", "leave `docker://` out"),
            ("busybox:1.35/x", "`busybox:1.35` is no registry"),
        ] {
            let error = Reference::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
