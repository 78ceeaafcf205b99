//! Which Engine is meant: as Docker's own client finds it.
//!
//! `DOCKER_HOST` first, then the context of `DOCKER_CONTEXT` or of Docker's configuration, then the usual socket, then that of an
//! Engine that runs without root (<https://docs.docker.com/engine/manage-resources/contexts/>).

use super::address::Address;
use super::error::Error;
use crate::model::{Digest, Environment};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where the Engine listens unless somebody says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The context that stands for the usual socket.
const DEFAULT_CONTEXT: &str = "default";

/// What says where the Engine listens. Nothing is read before it is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// `DOCKER_HOST`.
    host: Option<String>,
    /// `DOCKER_CONTEXT`.
    context: Option<String>,
    /// The folder of Docker's configuration.
    folder: Option<PathBuf>,
    /// Whether `DOCKER_TLS_VERIFY` or `DOCKER_TLS` asks for encryption.
    tls: bool,
    /// `XDG_RUNTIME_DIR`, where an Engine without root has its socket.
    runtime: Option<PathBuf>,
}

impl Place {
    /// The place that an environment means.
    pub(super) fn new(environment: &Environment) -> Self {
        let get = |name| environment.non_empty(name).map(str::to_owned);
        let home = || get("HOME").map(|home| Path::new(&home).join(".docker"));
        Self {
            host: get("DOCKER_HOST"),
            context: get("DOCKER_CONTEXT"),
            folder: get("DOCKER_CONFIG").map(PathBuf::from).or_else(home),
            tls: get("DOCKER_TLS_VERIFY").or_else(|| get("DOCKER_TLS")).is_some(),
            runtime: get("XDG_RUNTIME_DIR").map(PathBuf::from),
        }
    }

    /// The address.
    pub(super) fn find(&self) -> Result<Address, Error> {
        if let Some(host) = &self.host {
            let address = Address::parse(host, "DOCKER_HOST")?;
            return if self.tls { without_tls(address, "DOCKER_HOST", host) } else { Ok(address) };
        }
        match self.chosen() {
            Some(name) if name != DEFAULT_CONTEXT => self.of_context(&name),
            _ => Ok(self.usual()),
        }
    }

    /// The name of the context that was chosen.
    fn chosen(&self) -> Option<String> {
        /// Docker's configuration.
        #[derive(Deserialize)]
        struct Configuration {
            /// The context that is used where nothing else is said.
            #[serde(rename = "currentContext")]
            current: Option<String>,
        }
        let configured = || {
            let text = std::fs::read(self.folder.as_ref()?.join("config.json")).ok()?;
            serde_json::from_slice::<Configuration>(&text).ok()?.current
        };
        self.context.clone().or_else(configured).filter(|name| !name.is_empty())
    }

    /// The address of a context.
    fn of_context(&self, name: &str) -> Result<Address, Error> {
        /// What is known of a context.
        #[derive(Deserialize)]
        struct Context {
            /// Its addresses.
            #[serde(rename = "Endpoints")]
            endpoints: Endpoints,
        }
        /// The addresses of a context.
        #[derive(Deserialize)]
        struct Endpoints {
            /// That of the Engine.
            docker: Endpoint,
        }
        /// An address.
        #[derive(Deserialize)]
        struct Endpoint {
            /// As `DOCKER_HOST` has it.
            #[serde(rename = "Host", default)]
            host: String,
        }
        let missing = || Error::NoContext { name: name.to_owned() };
        let folder = self.folder.as_ref().ok_or_else(missing)?.join("contexts");
        let id = Digest::of(name.as_bytes());
        let text = std::fs::read(folder.join("meta").join(id.hex()).join("meta.json")).map_err(|_| missing())?;
        let context: Context = serde_json::from_slice(&text).map_err(|_| missing())?;
        let host = context.endpoints.docker.host;
        let variable = format!("the Docker context {name}");
        let address = Address::parse(&host, &variable)?;
        if folder.join("tls").join(id.hex()).join("docker").exists() {
            return without_tls(address, &variable, &host);
        }
        Ok(address)
    }

    /// The usual socket, or that of an Engine without root where only that is there.
    fn usual(&self) -> Address {
        let rootless = self.runtime.as_ref().map(|folder| folder.join("docker.sock"));
        let rootless = rootless.filter(|socket| !Path::new(DEFAULT_SOCKET).exists() && socket.exists());
        Address::Unix(rootless.unwrap_or_else(|| DEFAULT_SOCKET.into()))
    }
}

/// An address to which TLS makes no difference: what it would protect is not reached without it.
fn without_tls(address: Address, variable: &str, host: &str) -> Result<Address, Error> {
    match address {
        Address::Unix(_) => Ok(address),
        Address::Tcp(_) => Err(Error::Address { variable: variable.to_owned(), text: format!("{host} with TLS") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of Docker's configuration with contexts, one of which is the current one.
    fn configuration(current: &str, contexts: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let text = serde_json::json!({ "auths": {}, "currentContext": current });
        std::fs::write(folder.path().join("config.json"), text.to_string()).unwrap();
        for (name, host) in contexts {
            let meta = folder.path().join("contexts/meta").join(Digest::of(name.as_bytes()).hex());
            std::fs::create_dir_all(&meta).unwrap();
            let text = serde_json::json!({ "Name": name, "Endpoints": { "docker": { "Host": host } } });
            std::fs::write(meta.join("meta.json"), text.to_string()).unwrap();
        }
        folder
    }

    /// The address that an environment means, or what is wrong with it.
    fn find(pairs: &[(&str, &str)]) -> String {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let found = Place::new(&Environment::new(environment)).find();
        found.map_or_else(|error| error.to_string(), |address| address.to_string())
    }

    #[test]
    fn an_engine_is_found_as_dockers_client_finds_it() {
        let folder =
            configuration("rootless", &[("rootless", "unix:///run/user/7/docker.sock"), ("far", "ssh://me@far")]);
        let config = ("DOCKER_CONFIG", folder.path().to_str().unwrap());
        assert_eq!(find(&[config]), "unix:///run/user/7/docker.sock");
        assert_eq!(find(&[config, ("DOCKER_HOST", "tcp://127.0.0.1:2375")]), "tcp://127.0.0.1:2375");
        assert_eq!(find(&[config, ("DOCKER_CONTEXT", "default")]), "unix:///var/run/docker.sock");
        assert_eq!(
            find(&[config, ("DOCKER_CONTEXT", "far")]),
            "the Docker context far is `ssh://me@far`, which is not supported yet"
        );
        assert_eq!(find(&[config, ("DOCKER_CONTEXT", "gone")]), "there is no Docker context `gone`");
        assert_eq!(find(&[("HOME", "/nowhere")]), "unix:///var/run/docker.sock");
        assert_eq!(find(&[]), "unix:///var/run/docker.sock");
    }

    #[test]
    fn an_engine_that_wants_tls_is_not_spoken_to_without() {
        let host = ("DOCKER_HOST", "tcp://10.0.0.1:2376");
        let refusal = "`DOCKER_HOST` is `tcp://10.0.0.1:2376 with TLS`, which is not supported yet";
        assert_eq!(find(&[host, ("DOCKER_TLS_VERIFY", "1")]), refusal);
        assert_eq!(find(&[("DOCKER_HOST", "unix:///x.sock"), ("DOCKER_TLS_VERIFY", "1")]), "unix:///x.sock");
        let folder = configuration("tls", &[("tls", "tcp://10.0.0.1:2376")]);
        let material = folder.path().join("contexts/tls").join(Digest::of(b"tls").hex()).join("docker");
        std::fs::create_dir_all(material).unwrap();
        let found = find(&[("DOCKER_CONFIG", folder.path().to_str().unwrap())]);
        assert_eq!(found, "the Docker context tls is `tcp://10.0.0.1:2376 with TLS`, which is not supported yet");
    }

    #[test]
    fn an_engine_without_root_is_found_where_there_is_no_other() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("docker.sock"), "").unwrap();
        let rootless = format!("unix://{}", folder.path().join("docker.sock").display());
        let usual = "unix:///var/run/docker.sock".to_owned();
        let wanted = if Path::new(DEFAULT_SOCKET).exists() { usual } else { rootless };
        assert_eq!(find(&[("XDG_RUNTIME_DIR", folder.path().to_str().unwrap())]), wanted);
    }
}
