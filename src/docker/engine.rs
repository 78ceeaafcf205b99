//! A Docker Engine: what it is, the connections to `BuildKit` inside of it, and its images.

use super::address::{Address, Connection, buffered, connect};
use super::error::Error;
use super::layer_store;
use super::session::METHODS;
use crate::model::{Digest, Platform};
use bytes::Bytes;
use futures::StreamExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
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
    /// A client for calls that bollard has not: those that are upgraded, and those that name a platform.
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
        let patience = Duration::from_secs(TIMEOUT);
        let mut http = reqwest::Client::builder().http1_only().no_proxy().tls_certs_only([]).read_timeout(patience);
        if let Address::Unix(path) = &address {
            http = http.unix_socket(Path::new(path));
        }
        let http = http.build().map_err(|error| Error::BuildKit { problem: error.to_string() })?;
        Ok(Self { address, docker, http })
    }

    /// Where the Engine listens.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The URL of a call, without a version: the Engine's own is meant then.
    fn url(&self, path: &str) -> String {
        let host = match &self.address {
            Address::Unix(_) => "docker",
            Address::Tcp(host) => host,
        };
        format!("http://{host}/{path}")
    }

    /// A raw connection to BuildKit inside of the Engine: `grpc` to give orders, `session` to be called back
    /// (<https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Session>). `None` where the Engine has no such way
    /// any more: from API 1.53 on both are deprecated, and BuildKit is spoken to on the Engine's socket itself.
    pub(crate) async fn upgrade(
        &self,
        path: &str,
        session: &str,
        shared_key: &str,
    ) -> Result<Option<Box<dyn Connection>>, Error> {
        let mut request = self
            .http
            .post(self.url(path))
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
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if answer.status() != reqwest::StatusCode::SWITCHING_PROTOCOLS {
            let problem = format!("`/{path}` of the Docker Engine answers {}, not with an upgrade", answer.status());
            return Err(Error::BuildKit { problem });
        }
        Ok(Some(buffered(answer.upgrade().await.map_err(|error| fail(&error))?)))
    }

    /// What the Engine is.
    pub(crate) async fn about(&self) -> Result<About, Error> {
        let info = self.docker.info().await;
        let info = info.map_err(|source| Error::Engine { action: "say what it is", source: Box::new(source) })?;
        Ok(About::of(info))
    }

    /// What an image is. One that is not there is an error that names others. An image for several platforms (in containerd's
    /// store) is described as it is for `wanted`, or for one that the Engine chooses where it has none for that.
    pub(crate) async fn inspect(&self, name: &str, wanted: &Platform) -> Result<Inspected, Error> {
        let mut image = self.description(name, Some(wanted)).await;
        if image.as_ref().is_ok_and(|image| image.os.is_empty()) || matches!(image, Err(Refused { status: 404, .. })) {
            image = self.description(name, None).await;
        }
        let image = match image {
            Err(Refused { status: 404, .. }) => {
                return Err(Error::NoImage { image: name.to_owned(), there: self.names().await });
            }
            image => image.map_err(|refused| refused.when("show the image"))?,
        };
        let id =
            Digest::parse(&image.id).map_err(|_| Error::Image { problem: "the Engine gives it no id".to_owned() })?;
        let layers = image.root_fs.layers.unwrap_or_default();
        let layers = layers.iter().filter_map(|layer| Digest::parse(layer).ok()).collect();
        let variant = Some(image.variant).filter(|variant| !variant.is_empty());
        Ok(Inspected { id, layers, platform: Platform { os: image.os, architecture: image.architecture, variant } })
    }

    /// How the Engine describes an image.
    async fn description(&self, name: &str, platform: Option<&Platform>) -> Result<Description, Refused> {
        let answer = self.get(&format!("images/{name}/json"), platform).await?;
        answer.json().await.map_err(Refused::by)
    }

    /// A call about an image. Engines before API 1.48 do not read the platform, and have one of each image.
    async fn get(&self, path: &str, platform: Option<&Platform>) -> Result<reqwest::Response, Refused> {
        let platform = platform.map(|platform| ("platform", serde_json::json!(platform).to_string()));
        let request = self.http.get(self.url(path)).query(platform.as_slice());
        let answer = request.send().await.map_err(Refused::by)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.map_err(Refused::by)?;
        let message = serde_json::from_str(&text).map_or(text, |refusal: Refusal| refusal.message);
        Err(Refused { status: status.as_u16(), message })
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

    /// Copies an image's archive into a channel. With a platform only what belongs to that one, where the Engine can do so.
    pub(crate) async fn save(
        &self,
        name: &str,
        platform: Option<&Platform>,
        into: mpsc::Sender<std::io::Result<Bytes>>,
    ) -> Result<(), Error> {
        let answer = self.get(&format!("images/{name}/get"), platform).await;
        let archive = answer.map_err(|refused| refused.when("save the image"))?.bytes_stream();
        let mut archive = std::pin::pin!(archive);
        while let Some(piece) = archive.next().await {
            let (piece, broken) = match piece {
                Ok(piece) => (Ok(piece), None),
                Err(error) => (Err(std::io::Error::other("the Engine broke off")), Some(error)),
            };
            let unwanted = into.send(piece).await.is_err();
            match broken {
                Some(error) => return Err(Refused::by(error).when("save the image")),
                None if unwanted => return Ok(()), // the reader says why it stopped
                None => {}
            }
        }
        Ok(())
    }
}

/// An image as an Engine describes it (<https://docs.docker.com/reference/api/engine/version/v1.51/#tag/Image/operation/ImageInspect>).
/// bollard's own type wants what Docker 29 leaves out where the index of an image names a platform and its content was never
/// pulled: system, processor and layers are empty then.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Description {
    /// Its id.
    id: String,
    /// The system.
    os: String,
    /// The processor.
    architecture: String,
    /// The processor's variant.
    variant: String,
    /// Its layers.
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
}

/// The layers of an image, lowest first, by their digests before compression.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RootFs {
    /// The digests.
    layers: Option<Vec<String>>,
}

/// The body of a refusal.
#[derive(serde::Deserialize)]
struct Refusal {
    /// The Engine's words.
    message: String,
}

/// A call that was not answered as it should be.
struct Refused {
    /// The status of the answer; 0 where there was none.
    status: u16,
    /// The Engine's words, or what became of the connection.
    message: String,
}

impl Refused {
    /// By the connection, or by an answer that cannot be read.
    #[expect(clippy::needless_pass_by_value, reason = "it stands where errors are mapped")]
    fn by(error: reqwest::Error) -> Self {
        Self { status: 0, message: crate::http::transport_cause(&error) }
    }

    /// The error of what was attempted.
    fn when(self, action: &'static str) -> Error {
        let source = match self.status {
            0 => std::io::Error::other(self.message).into(),
            status_code => bollard::errors::Error::DockerResponseServerError { status_code, message: self.message },
        };
        Error::Engine { action, source: Box::new(source) }
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
    use crate::docker::fake_engine::fake_engine;

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

    #[tokio::test]
    async fn an_image_is_described_as_it_is_for_the_platform_that_is_wanted() {
        // As Docker 29 answers of an image in containerd's store, for amd64, arm64 and riscv64, the last of which was not pulled.
        let engine = fake_engine(|head| {
            let line = head.lines().next().unwrap_or_default();
            assert!(line.starts_with("GET /images/multi:1/json"), "{line}");
            let asked = |platform: &str| line.contains(&format!("architecture%22%3A%22{platform}"));
            let image = |digest: &str, platform: &str| {
                let id = Digest::of(digest.as_bytes());
                serde_json::json!({ "Id": id, "Os": "linux", "Architecture": platform, "RootFS": { "Type": "layers", "Layers": [] } })
            };
            match (asked("amd64"), asked("arm64"), line.contains("platform=")) {
                (true, ..) => (200, image("manifest of amd64", "amd64").to_string()),
                (_, true, _) => (200, image("manifest of arm64", "arm64").to_string()),
                // Its manifest and nothing else is there.
                _ if asked("riscv64") => (200, serde_json::json!({ "Id": Digest::of(b"r"), "Config": {}, "Architecture": "", "Os": "", "Size": 0, "RootFS": {} }).to_string()),
                (.., true) => (404, r#"{"message":"image with reference multi:1 was found but does not provide the specified platform (linux/s390x)"}"#.to_owned()),
                (.., false) => (200, image("index", "amd64").to_string()),
            }
        })
        .await;
        let platform = |architecture: &str| Platform { architecture: architecture.to_owned(), ..Platform::default() };
        for (wanted, id, got) in [
            ("amd64", "manifest of amd64", "amd64"),
            ("arm64", "manifest of arm64", "arm64"),
            ("s390x", "index", "amd64"),
            ("riscv64", "index", "amd64"),
        ] {
            let inspected = engine.inspect("multi:1", &platform(wanted)).await.unwrap();
            assert_eq!((inspected.id, inspected.platform), (Digest::of(id.as_bytes()), platform(got)));
        }
    }

    #[tokio::test]
    async fn an_engines_own_words_are_told() {
        let engine = fake_engine(|_| (500, r#"{"message":"no space left on device"}"#.to_owned())).await;
        let error = engine.inspect("app:1", &Platform::default()).await.unwrap_err();
        let Error::Engine { action, source } = &error else { panic!("{error}") };
        assert_eq!(*action, "show the image");
        assert!(source.to_string().ends_with("status code 500: no space left on device"), "{source}");
        assert_eq!(error.to_string(), "the Docker Engine cannot show the image: its disk is full");
        assert!(crate::error::Hint::hint(&error).is_some_and(|hint| hint.starts_with("free some space")));
    }
}
