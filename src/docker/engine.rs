//! A Docker Engine: what it is, the connections to `BuildKit` inside of it, and its images.

use super::address::{Address, Connection, buffered, connect};
use super::error::Error;
use super::layer_store;
use super::session::METHODS;
use crate::model::{Digest, Platform};
use bytes::Bytes;
use futures::StreamExt as _;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// An Engine with an overlay store writes the whole image to its disk before the first byte of a `save` comes.
const TIMEOUT: u64 = 15 * 60;

/// So many names are shown to whoever asked for one that is not there.
const MOST_NAMES: usize = 8;

/// How an Engine stores images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// Layers of its own, without the blobs that they came from: it has no `oci` exporter.
    Layers,
    /// containerd's: blobs as they are pushed.
    Containerd,
}

/// What an Engine says of itself.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// `Docker Engine 20.10 (overlay2)`.
    pub(crate) name: String,
    /// How it stores images.
    pub(crate) store: Store,
    /// Where it keeps layers, as it says itself: a folder of the machine that it runs on. `None` where they lie in a way that
    /// is not known here.
    pub(crate) layers: Option<PathBuf>,
}

impl About {
    /// What an Engine's `info` says of it
    /// (<https://docs.docker.com/engine/storage/containerd/#enable-containerd-image-store-on-docker-engine>).
    fn of(info: bollard::models::SystemInfo) -> Self {
        let status = info.driver_status.unwrap_or_default();
        let containerd = status.iter().flatten().any(|text| text.starts_with("io.containerd.snapshotter."));
        let is_plain = !containerd && info.driver.as_deref() == Some(layer_store::DRIVER);
        let layers = info.docker_root_dir.filter(|_| is_plain).map(PathBuf::from);
        let (store, kind) = match (containerd, info.driver) {
            (true, _) => (Store::Containerd, "containerd store".to_owned()),
            (false, driver) => (Store::Layers, driver.unwrap_or_else(|| "its own store".to_owned())),
        };
        let version = info.server_version.unwrap_or_default();
        let version = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        Self { name: format!("Docker Engine {version} ({kind})"), store, layers }
    }
}

/// What an Engine says of an image.
#[derive(Clone, Debug)]
pub(crate) struct Inspected {
    /// Its id: the digest of its configuration, or of its manifest in containerd's store.
    pub(crate) id: Digest,
    /// The digests of its layers before compression, lowest first.
    pub(crate) layers: Vec<Digest>,
    /// The platform that it is for.
    pub(crate) platform: Platform,
}

/// A Docker Engine.
#[derive(Clone)]
pub(crate) struct Engine {
    /// Where it listens.
    address: Address,
    /// bollard's client for the ordinary calls.
    docker: bollard::Docker,
    /// A client for calls that are upgraded, which bollard keeps to itself.
    http: reqwest::Client,
}

impl Engine {
    /// Connects, and makes sure that somebody answers.
    pub(crate) async fn connect(address: Address) -> Result<Self, Error> {
        drop(connect(&address, "Docker Engine").await?); // the clients connect lazily; this tells whether they can
        let docker = match &address {
            Address::Unix(path) => {
                bollard::Docker::connect_with_unix(&path.to_string_lossy(), TIMEOUT, bollard::API_DEFAULT_VERSION)
            }
            Address::Tcp(host) => {
                bollard::Docker::connect_with_http(&format!("tcp://{host}"), TIMEOUT, bollard::API_DEFAULT_VERSION)
            }
        };
        let docker = docker.map_err(|source| Error::Engine { action: "be reached", source: Box::new(source) })?;
        crate::http::install_crypto();
        let mut http = reqwest::Client::builder().http1_only().no_proxy().tls_certs_only([]);
        if let Address::Unix(path) = &address {
            http = http.unix_socket(Path::new(path));
        }
        let http = http.build().map_err(|error| Error::BuildKit { problem: error.to_string() })?;
        Ok(Self { address, docker, http })
    }

    /// A raw connection to BuildKit inside of the Engine: `grpc` to give orders, `session` to be called back
    /// (<https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Session>).
    pub(crate) async fn upgrade(
        &self,
        path: &str,
        session: &str,
        shared_key: &str,
    ) -> Result<Box<dyn Connection>, Error> {
        let host = match &self.address {
            Address::Unix(_) => "docker",
            Address::Tcp(host) => host,
        };
        let mut request = self
            .http
            .post(format!("http://{host}/{path}"))
            .header("connection", "Upgrade")
            .header("upgrade", "h2c")
            .header("x-docker-expose-session-uuid", session)
            .header("x-docker-expose-session-name", "seaway")
            .header("x-docker-expose-session-sharedkey", shared_key);
        for method in METHODS {
            request = request.header("x-docker-expose-session-grpc-method", method);
        }
        let fail = |error: &reqwest::Error| Error::BuildKit {
            problem: format!("`/{path}` of the Docker Engine: {}", crate::http::transport_cause(error)),
        };
        let answer = request.send().await.map_err(|error| fail(&error))?;
        if answer.status() != reqwest::StatusCode::SWITCHING_PROTOCOLS {
            let problem = format!("`/{path}` of the Docker Engine answers {}, not with an upgrade", answer.status());
            return Err(Error::BuildKit { problem });
        }
        Ok(buffered(answer.upgrade().await.map_err(|error| fail(&error))?))
    }

    /// What the Engine is.
    pub(crate) async fn about(&self) -> Result<About, Error> {
        let info = self.docker.info().await;
        let info = info.map_err(|source| Error::Engine { action: "say what it is", source: Box::new(source) })?;
        Ok(About::of(info))
    }

    /// What an image is. One that is not there is an error that names others.
    pub(crate) async fn inspect(&self, name: &str) -> Result<Inspected, Error> {
        let image = match self.docker.inspect_image(name).await {
            Ok(image) => image,
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
                return Err(Error::NoImage { image: name.to_owned(), there: self.names().await });
            }
            Err(source) => return Err(Error::Engine { action: "show the image", source: Box::new(source) }),
        };
        let id = image.id.and_then(|id| Digest::parse(&id).ok());
        let id = id.ok_or_else(|| Error::Image { problem: "the Engine gives it no id".to_owned() })?;
        let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
        let layers = layers.iter().filter_map(|layer| Digest::parse(layer).ok()).collect();
        let (os, architecture) = (image.os.unwrap_or_default(), image.architecture.unwrap_or_default());
        let variant = image.variant.filter(|variant| !variant.is_empty());
        Ok(Inspected { id, layers, platform: Platform { os, architecture, variant } })
    }

    /// The names of some images; none where the Engine does not say.
    async fn names(&self) -> Vec<String> {
        let images =
            self.docker.list_images(None::<bollard::query_parameters::ListImagesOptions>).await.unwrap_or_default();
        let mut names: Vec<String> = images.into_iter().flat_map(|image| image.repo_tags).collect();
        names.retain(|name| !name.starts_with("<none>"));
        names.sort();
        names.truncate(MOST_NAMES);
        names
    }

    /// Copies an image's archive into a channel.
    pub(crate) async fn save(&self, name: &str, into: mpsc::Sender<std::io::Result<Bytes>>) -> Result<(), Error> {
        let mut archive = std::pin::pin!(self.docker.export_image(name));
        while let Some(piece) = archive.next().await {
            let (piece, broken) = match piece {
                Ok(piece) => (Ok(piece), None),
                Err(error) => (Err(std::io::Error::other("the Engine broke off")), Some(error)),
            };
            let unwanted = into.send(piece).await.is_err();
            match broken {
                Some(source) => return Err(Error::Engine { action: "save the image", source: Box::new(source) }),
                None if unwanted => return Ok(()), // the reader says why it stopped
                None => {}
            }
        }
        Ok(())
    }
}

/// An image that has a name of ours in the Engine. The name goes when it is not needed any more, stopped or not; layers
/// stay in the build cache.
pub(crate) struct Named {
    /// The Engine.
    engine: Engine,
    /// The name, until it is removed.
    name: Option<String>,
}

impl Named {
    /// Takes over the removal of a name.
    pub(crate) fn new(engine: &Engine, name: &str) -> Self {
        Self { engine: engine.clone(), name: Some(name.to_owned()) }
    }

    /// Removes the name.
    pub(crate) async fn remove(mut self) {
        if let Some(name) = self.name.take() {
            remove(&self.engine.docker, &name).await;
        }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let (Some(name), Ok(runtime)) = (self.name.take(), tokio::runtime::Handle::try_current()) else { return };
        let docker = self.engine.docker.clone();
        runtime.spawn(async move { remove(&docker, &name).await });
    }
}

/// Removes a name from an Engine. What fails leaves an image behind that `docker image prune` takes away.
async fn remove(docker: &bollard::Docker, name: &str) {
    let options = bollard::query_parameters::RemoveImageOptionsBuilder::default().noprune(true).build();
    if let Err(error) = docker.remove_image(name, Some(options), None).await {
        tracing::debug!("cannot remove the image `{name}` from the Engine: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_of_an_engine_shows_in_the_status_of_its_driver() {
        let about = |version: &str, driver: &str, status: [&str; 2]| {
            About::of(bollard::models::SystemInfo {
                server_version: Some(version.to_owned()),
                driver: Some(driver.to_owned()),
                docker_root_dir: Some("/var/lib/docker".to_owned()),
                driver_status: Some(vec![status.map(str::to_owned).into()]),
                ..bollard::models::SystemInfo::default()
            })
        };
        let old = about("20.10.24+dfsg1", "overlay2", ["Backing Filesystem", "extfs"]);
        assert_eq!((old.name.as_str(), old.store), ("Docker Engine 20.10 (overlay2)", Store::Layers));
        assert_eq!(old.layers.as_deref(), Some(Path::new("/var/lib/docker")));
        let new = about("29.1.2", "overlayfs", ["driver-type", "io.containerd.snapshotter.v1"]);
        assert_eq!((new.name.as_str(), new.store), ("Docker Engine 29.1 (containerd store)", Store::Containerd));
        assert_eq!(new.layers, None);
        assert_eq!(about("28.0.1", "vfs", ["", ""]).layers, None);
    }
}
