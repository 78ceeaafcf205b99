//! Where a registry's name leads: containerd-style folders, `DIR/NAME/hosts.toml`.
//!
//! The format is containerd's (<https://github.com/containerd/containerd/blob/main/docs/hosts.md>), so that the same
//! folders serve a node and Seaway. Credentials stay bound to the name, wherever it leads.

use crate::error::{FailureKind, Hint};
use crate::http::Recipe;
use crate::model::DIGITALOCEAN_REGISTRY;
use serde::Deserialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use url::Url;

/// What a host may be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Capability {
    /// To give blobs and manifests by digest.
    Pull,
    /// To say which digest a tag has.
    Resolve,
    /// To take blobs and manifests.
    Push,
}

/// A place that serves the images of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The registry's name, to which credentials are bound.
    pub(crate) registry: String,
    /// Its address, ending in `/v2/`.
    pub(crate) base: Url,
    /// How it is talked to.
    pub(crate) recipe: Recipe,
    /// What it may be asked to do.
    capabilities: Vec<Capability>,
}

/// The folders to look into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    /// The folder that has a folder for each name.
    folder: Option<PathBuf>,
    /// How a place is talked to where no file says otherwise.
    recipe: Recipe,
}

/// A hosts.toml that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use `{}`: {problem}", path.display())]
pub(crate) struct HostsError {
    /// The file.
    path: PathBuf,
    /// What is wrong with it.
    problem: String,
}

impl Hint for HostsError {
    fn kind(&self) -> FailureKind {
        FailureKind::Configuration
    }
    fn hint(&self) -> Option<String> {
        Some("correct the file, or point `--registry-config` at another folder".to_owned())
    }
}

/// A hosts.toml as it is written.
#[derive(Deserialize)]
struct HostsFile {
    /// The registry itself, asked last.
    server: Option<String>,
    /// Certificates of the server.
    ca: Option<OneOrMany>,
    /// Accepts any certificate of the server.
    #[serde(default)]
    skip_verify: bool,
    /// Places that are asked before the server, in the order of the file.
    #[serde(default)]
    host: toml::Table,
}

/// One `[host."URL"]` of a hosts.toml.
#[derive(Deserialize)]
struct HostEntry {
    /// What the place may be asked to do; everything where nothing is written.
    capabilities: Option<Vec<Capability>>,
    /// Certificates of the place.
    ca: Option<OneOrMany>,
    /// Accepts any certificate.
    #[serde(default)]
    skip_verify: bool,
    /// The URL is complete: `/v2` is not added.
    #[serde(default)]
    override_path: bool,
}

/// A file or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    /// One.
    One(PathBuf),
    /// Several.
    Many(Vec<PathBuf>),
}

impl OneOrMany {
    /// The files, relative ones in the folder of the hosts.toml.
    fn paths(self, folder: &Path) -> Vec<PathBuf> {
        let paths = match self {
            Self::One(path) => vec![path],
            Self::Many(paths) => paths,
        };
        paths.into_iter().map(|path| folder.join(path)).collect()
    }
}

impl Hosts {
    /// Looks into this folder; without one, every name leads to itself.
    pub(crate) fn new(folder: Option<PathBuf>, ca_files: Vec<PathBuf>) -> Self {
        // Redirects of blobs lead to other hosts, which must not see the registry's token; the client decides itself.
        Self { folder, recipe: Recipe { ca_files, no_redirects: true, for_blobs: true, ..Recipe::default() } }
    }

    /// The places that may be asked for this, in order. There is always one.
    pub(crate) fn endpoints(&self, registry: &str, wanted: Capability) -> Result<Vec<Endpoint>, HostsError> {
        let all = match self.file(registry)? {
            Some(path) => self.read(registry, &path)?,
            None => vec![self.default_endpoint(registry, &registry_address(registry))?],
        };
        let fitting: Vec<_> = all.iter().filter(|endpoint| endpoint.capabilities.contains(&wanted)).cloned().collect();
        Ok(if fitting.is_empty() { all.into_iter().rev().take(1).collect() } else { fitting })
    }

    /// The file for a name: its own folder, the one with `_` for the colon of a port, or `_default`. A folder that is not
    /// there, or one that may not be looked into, is an error: the name would lead past the place that was meant.
    fn file(&self, registry: &str) -> Result<Option<PathBuf>, HostsError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let fail = |path: &Path, problem: &str| HostsError { path: path.to_owned(), problem: problem.to_owned() };
        match folder.metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(fail(folder, "it is not a folder")),
            Err(error) => return Err(fail(folder, &error.to_string())),
        }
        let underscored = registry.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
        let names = [Some(registry.to_owned()), underscored, Some("_default".to_owned())];
        for path in names.into_iter().flatten().map(|name| folder.join(name).join("hosts.toml")) {
            match path.metadata() {
                Ok(found) if found.is_file() => return Ok(Some(path)),
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    return Err(fail(&path, &error.to_string()));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The places that a hosts.toml names, the server last.
    fn read(&self, registry: &str, path: &Path) -> Result<Vec<Endpoint>, HostsError> {
        let fail = |problem: String| HostsError { path: path.to_owned(), problem };
        let folder = path.parent().unwrap_or(path);
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let file: HostsFile = toml::from_str(&text).map_err(|error| fail(error.to_string()))?;
        let mut endpoints = Vec::new();
        for (url, entry) in file.host {
            let entry: HostEntry = entry.try_into().map_err(|error| fail(format!("host `{url}`: {error}")))?;
            endpoints.push(self.entry_endpoint(registry, &url, entry, folder).map_err(&fail)?);
        }
        let server = file.server.unwrap_or_else(|| registry_address(registry));
        let known = endpoints.iter().any(|known: &Endpoint| base_of(&server, false).is_ok_and(|url| url == known.base));
        if !known {
            let mut endpoint = self.default_endpoint(registry, &server).map_err(|error| fail(error.problem))?;
            endpoint.recipe.skip_verify = file.skip_verify;
            endpoint.recipe.ca_files.extend(file.ca.map(|ca| ca.paths(folder)).unwrap_or_default());
            endpoints.push(endpoint);
        }
        Ok(endpoints)
    }

    /// The place of one `[host."URL"]`.
    fn entry_endpoint(&self, registry: &str, url: &str, entry: HostEntry, folder: &Path) -> Result<Endpoint, String> {
        let mut recipe = self.recipe.clone();
        recipe.skip_verify = entry.skip_verify;
        recipe.ca_files.extend(entry.ca.map(|ca| ca.paths(folder)).unwrap_or_default());
        let capabilities =
            entry.capabilities.unwrap_or_else(|| vec![Capability::Pull, Capability::Resolve, Capability::Push]);
        Ok(Endpoint { registry: registry.to_owned(), base: base_of(url, entry.override_path)?, recipe, capabilities })
    }

    /// The place at this address, which may be asked for everything.
    fn default_endpoint(&self, registry: &str, address: &str) -> Result<Endpoint, HostsError> {
        let base = base_of(address, false).map_err(|problem| HostsError { path: registry.into(), problem })?;
        let capabilities = vec![Capability::Pull, Capability::Resolve, Capability::Push];
        Ok(Endpoint { registry: registry.to_owned(), base, recipe: self.recipe.clone(), capabilities })
    }
}

impl Endpoint {
    /// The address of something under `/v2/`: `blob("shop/api", "blobs/sha256:…")`.
    pub(crate) fn url(&self, repository: &str, rest: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{repository}/{rest}", self.base.path()));
        url
    }

    /// Whether it is DigitalOcean's registry, wherever the name leads.
    pub(crate) fn is_digitalocean(&self) -> bool {
        self.registry == DIGITALOCEAN_REGISTRY
    }

    /// Whether a URL is served by this very place, so that it may see the registry's token.
    pub(crate) fn serves(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }
}

/// The address that a name itself stands for. Docker Hub's name is not where its registry is; plain HTTP is for this
/// machine alone, as in every client.
fn registry_address(registry: &str) -> String {
    match host_of(registry) {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        host if is_loopback(host) => format!("http://{registry}"),
        _ => format!("https://{registry}"),
    }
}

/// A registry's name without its port; an address of IPv6 stands in brackets.
fn host_of(registry: &str) -> &str {
    match registry.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => registry,
    }
}

/// Whether a host is this machine, by its name or its address
/// (<https://www.rfc-editor.org/rfc/rfc6761#section-6.3>).
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The address of `/v2/` on a host. A missing scheme means HTTPS, and HTTP on this machine.
fn base_of(address: &str, complete: bool) -> Result<Url, String> {
    let with_scheme = if address.contains("://") { address.to_owned() } else { registry_address(address) };
    let mut url = Url::parse(&with_scheme).map_err(|error| format!("`{address}` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("`{address}` is no http or https URL"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let has_version = complete || path.ends_with("/v2");
    url.set_path(&if has_version { format!("{path}/") } else { format!("{path}/v2/") });
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with one hosts.toml.
    fn folder(name: &str, text: &str) -> (tempfile::TempDir, Hosts) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("hosts.toml"), text).unwrap();
        let hosts = Hosts::new(Some(folder.path().to_owned()), Vec::new());
        (folder, hosts)
    }

    /// The addresses to which a name leads.
    fn addresses(hosts: &Hosts, registry: &str, wanted: Capability) -> Vec<String> {
        hosts.endpoints(registry, wanted).unwrap().into_iter().map(|endpoint| endpoint.base.to_string()).collect()
    }

    #[test]
    fn a_name_leads_to_itself() {
        for (name, wanted) in [
            ("registry.digitalocean.com", "https://registry.digitalocean.com/v2/"),
            ("docker.io", "https://registry-1.docker.io/v2/"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/v2/"),
            ("localhost", "http://localhost/v2/"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/v2/"),
            ("[::1]:5000", "http://[::1]:5000/v2/"),
            ("[::1]", "http://[::1]/v2/"),
            ("[2001:db8::1]:5000", "https://[2001:db8::1]:5000/v2/"),
            ("[2001:db8::1]", "https://[2001:db8::1]/v2/"),
            ("LocalHost:5000", "http://localhost:5000/v2/"),
            ("Registry.Example:443", "https://registry.example/v2/"),
        ] {
            assert_eq!(addresses(&Hosts::default(), name, Capability::Push), [wanted]);
        }
    }

    #[test]
    fn hosts_come_in_the_order_of_the_file_and_the_server_last() {
        let text = r#"
            server = "https://upstream.example"
            [host."http://z.example:5000"]
              capabilities = ["pull", "resolve"]
            [host."https://a.example/prefix"]
              skip_verify = true
            [host."https://b.example/path/v3"]
              capabilities = ["pull"]
              override_path = true
        "#;
        let (_folder, hosts) = folder("docker.io", text);
        let server = "https://upstream.example/v2/";
        let (a, b, z) = ("https://a.example/prefix/v2/", "https://b.example/path/v3/", "http://z.example:5000/v2/");
        assert_eq!(addresses(&hosts, "docker.io", Capability::Pull), [z, a, b, server]);
        assert_eq!(addresses(&hosts, "docker.io", Capability::Push), [a, server]);
        let pushed_to = &hosts.endpoints("docker.io", Capability::Push).unwrap()[0];
        assert!(pushed_to.recipe.skip_verify && pushed_to.registry == "docker.io");
    }

    #[test]
    fn a_server_that_is_also_a_host_is_asked_once() {
        let text = "server = \"http://127.0.0.1:5000\"\n[host.\"http://127.0.0.1:5000\"]\n";
        let (_folder, hosts) = folder("r.example", text);
        assert_eq!(addresses(&hosts, "r.example", Capability::Pull), ["http://127.0.0.1:5000/v2/"]);
    }

    #[test]
    fn a_port_may_be_written_with_underscores_and_default_serves_the_rest() {
        let (_folder, hosts) = folder("r.example_5000_", "server = \"https://one.example\"");
        assert_eq!(addresses(&hosts, "r.example:5000", Capability::Pull), ["https://one.example/v2/"]);
        let (_folder, hosts) = folder("_default", "server = \"https://all.example\"");
        assert_eq!(addresses(&hosts, "ghcr.io", Capability::Pull), ["https://all.example/v2/"]);
    }

    #[test]
    fn a_broken_file_is_named() {
        let (_folder, hosts) = folder("r.example", "[host.\"ftp://x\"]");
        let error = hosts.endpoints("r.example", Capability::Pull).unwrap_err().to_string();
        assert!(
            error.contains("r.example/hosts.toml") && error.contains("`ftp://x` is no http or https URL"),
            "{error}"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_leads_nowhere_instead_of_past_the_place_that_was_meant() {
        let (folder, hosts) = folder("r.example", "server = \"https://one.example\"");
        assert_eq!(
            addresses(&hosts, "other.example", Capability::Pull),
            ["https://other.example/v2/"],
            "no file for it"
        );
        for (name, problem) in [("nowhere", "No such file"), ("r.example/hosts.toml", "it is not a folder")] {
            let hosts = Hosts::new(Some(folder.path().join(name)), Vec::new());
            let error = hosts.endpoints("r.example", Capability::Pull).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(problem), "{error}");
        }
    }
}
