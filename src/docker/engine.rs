//! The builder: an Engine or a buildkitd, looked for only when something has to be built.

use super::address::{Address, Connection, DEFAULT_SOCKET};
use super::buildkit::{self, BuildRequest, Exporter, Solve, fresh_id};
use super::error::Error;
use super::progress::Progress;
use super::save::{self, ChannelReader};
use super::session::{METHODS, Services};
use crate::image::{KnownLayers, Part};
use crate::model::{Digest, Environment};
use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bytes::Bytes;
use futures::StreamExt as _;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

/// Builds images. Cheap to clone; nothing is contacted before the first build.
#[derive(Clone, Debug, Default)]
pub(crate) struct Builder {
    /// `DOCKER_HOST`.
    docker_host: Option<String>,
    /// `BUILDKIT_HOST`.
    buildkit_host: Option<String>,
}

/// An image on its way out of a builder. Dropping it stops the build.
pub(crate) struct Built {
    /// The parts as they come; the manifest is the last.
    pub(crate) parts: mpsc::Receiver<Result<Part, Error>>,
    /// Who makes them.
    _work: JoinSet<()>,
}

/// An Engine with an overlay store writes the whole image to its disk before the first byte of a `save` comes.
const ENGINE_TIMEOUT: u64 = 15 * 60;

/// A builder on this machine answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pieces of an archive between the one who reads and the one who compresses.
const PIECES: usize = 32;

impl Builder {
    /// A builder at the places that the environment names: `BUILDKIT_HOST`, else `DOCKER_HOST`, else the default socket.
    pub(crate) fn new(environment: &Environment) -> Self {
        let get = |name| environment.non_empty(name).map(str::to_owned);
        Self { docker_host: get("DOCKER_HOST"), buildkit_host: get("BUILDKIT_HOST") }
    }

    /// Whether there is a builder: connects to it and says nothing.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        let (text, variable, what) = match &self.buildkit_host {
            Some(host) => (host.as_str(), "BUILDKIT_HOST", "BuildKit"),
            None => (self.docker_host.as_deref().unwrap_or(DEFAULT_SOCKET), "DOCKER_HOST", "Docker Engine"),
        };
        connect(&Address::parse(text, variable)?, what).await.map(drop)
    }

    /// Builds an image. Parts whose layers are known are left out; progress goes to `progress`.
    pub(crate) fn build(
        &self,
        request: BuildRequest,
        known: KnownLayers,
        progress: mpsc::UnboundedSender<Progress>,
    ) -> Built {
        let (sender, parts) = mpsc::channel(1);
        let builder = self.clone();
        let mut work = JoinSet::new();
        work.spawn(async move {
            let job = Job { request, known, progress, parts: sender.clone() };
            let result = match &builder.buildkit_host {
                Some(host) => job.with_buildkitd(host).await,
                None => job.with_engine(builder.docker_host.as_deref().unwrap_or(DEFAULT_SOCKET)).await,
            };
            if let Err(error) = result {
                let _ = sender.send(Err(error)).await;
            }
        });
        Built { parts, _work: work }
    }
}

/// One build.
struct Job {
    /// What is built.
    request: BuildRequest,
    /// What need not be compressed.
    known: KnownLayers,
    /// Whom to tell.
    progress: mpsc::UnboundedSender<Progress>,
    /// Where parts go.
    parts: mpsc::Sender<Result<Part, Error>>,
}

impl Job {
    /// Builds with an Engine: BuildKit builds inside of it, and its `save` gives the image. The image has a name of its own
    /// while it is needed, so that nothing of the user's is touched.
    async fn with_engine(self, host: &str) -> Result<(), Error> {
        let engine = Engine::connect(Address::parse(host, "DOCKER_HOST")?).await?;
        let session = fresh_id();
        let services = self.request.services(None)?;
        let mut serving = JoinSet::new();
        serving.spawn(services.serve(engine.upgrade("session", &session, self.request.shared_key()).await?));
        let mut client = buildkit::client(engine.upgrade("grpc", &session, "").await?).await?;
        let name = format!("seaway-build:{session}");
        let attributes = HashMap::from([("name".to_owned(), name.clone())]);
        let exporter = Exporter { kind: "moby", attributes };
        let solve = Solve { request: &self.request, session: &session, exporter, progress: &self.progress };
        solve.run(&mut client).await?;
        let guard = Named { engine: engine.clone(), name: Some(name.clone()) };
        if let Some(part) = engine.id(&name).await?.and_then(|id| self.known.whole(&id)) {
            guard.remove().await;
            let _ = self.parts.send(Ok(part)).await;
            return Ok(());
        }
        let _ = self.progress.send(Progress::Step("taking the image out of the Docker Engine".to_owned()));
        let (sender, receiver) = mpsc::channel(PIECES);
        let reading = self.read(receiver);
        let copying = engine.save(&name, sender);
        let (copied, read) = tokio::join!(copying, reading);
        guard.remove().await;
        copied.and(read)
    }

    /// Builds with a buildkitd, whose `oci` exporter sends the image over the session.
    async fn with_buildkitd(self, host: &str) -> Result<(), Error> {
        let address = Address::parse(host, "BUILDKIT_HOST")?;
        let session = fresh_id();
        let (sender, receiver) = mpsc::channel(PIECES);
        let services = self.request.services(Some(sender))?;
        let mut client = buildkit::client(connect(&address, "BuildKit").await?).await?;
        let mut serving = JoinSet::new();
        serve_over_grpc(&client, services, &session, self.request.shared_key(), &mut serving)?;
        let exporter = Exporter { kind: "oci", attributes: HashMap::new() };
        let solve = Solve { request: &self.request, session: &session, exporter, progress: &self.progress };
        let building = async {
            let result = solve.run(&mut client).await;
            serving.shutdown().await; // ends the export, so that whoever reads it comes to an end too
            result
        };
        let (built, read) = tokio::join!(building, self.read(receiver));
        built?;
        read
    }

    /// Reads an archive on a thread of its own.
    async fn read(&self, pieces: mpsc::Receiver<std::io::Result<Bytes>>) -> Result<(), Error> {
        let (platform, known, parts) = (self.request.platform.clone(), self.known.clone(), self.parts.clone());
        let reading =
            tokio::task::spawn_blocking(move || save::read(ChannelReader::new(pieces), &platform, known, &parts));
        reading.await.unwrap_or_else(|error| Err(Error::Image { problem: error.to_string() }))
    }
}

/// Connects to a builder.
async fn connect(address: &Address, what: &'static str) -> Result<Box<dyn Connection>, Error> {
    let away = |source| Error::Away { what, address: address.to_string(), source };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, address.connect()).await;
    connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(away)
}

/// Serves a session inside of a call: buildkitd calls back over messages of bytes.
fn serve_over_grpc(
    client: &ControlClient<Channel>,
    services: Services,
    session: &str,
    shared_key: &str,
    tasks: &mut JoinSet<()>,
) -> Result<(), Error> {
    let (ours, theirs) = tokio::io::duplex(256 * 1024);
    let (mut read, mut write) = tokio::io::split(theirs);
    let (sender, outgoing) = mpsc::channel(PIECES);
    let mut request = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(outgoing));
    let metadata = request.metadata_mut();
    let value =
        |text: &str| MetadataValue::try_from(text).map_err(|error| Error::BuildKit { problem: error.to_string() });
    metadata.insert("x-docker-expose-session-uuid", value(session)?);
    metadata.insert("x-docker-expose-session-name", value("seaway")?);
    metadata.insert("x-docker-expose-session-sharedkey", value(shared_key)?);
    for method in METHODS {
        metadata.append("x-docker-expose-session-grpc-method", value(method)?);
    }
    tasks.spawn(services.serve(Box::new(ours)));
    tasks.spawn(async move {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = read.read(&mut piece).await {
            if sender.send(BytesMessage { data: piece[..length].to_vec() }).await.is_err() {
                break;
            }
        }
    });
    let mut client = client.clone();
    tasks.spawn(async move {
        let Ok(answers) = client.session(request).await else { return };
        let mut answers = answers.into_inner();
        while let Ok(Some(message)) = answers.message().await {
            if write.write_all(&message.data).await.is_err() {
                break;
            }
        }
    });
    Ok(())
}

/// A Docker Engine.
#[derive(Clone)]
struct Engine {
    /// Where it listens.
    address: Address,
    /// bollard's client for the ordinary calls.
    docker: bollard::Docker,
    /// A client for calls that are upgraded, which bollard keeps to itself.
    http: reqwest::Client,
}

impl Engine {
    /// Connects, and makes sure that somebody answers.
    async fn connect(address: Address) -> Result<Self, Error> {
        drop(connect(&address, "Docker Engine").await?); // the clients connect lazily; this tells whether they can
        let docker = match &address {
            Address::Unix(path) => bollard::Docker::connect_with_unix(
                &path.to_string_lossy(),
                ENGINE_TIMEOUT,
                bollard::API_DEFAULT_VERSION,
            ),
            Address::Tcp(host) => bollard::Docker::connect_with_http(
                &format!("tcp://{host}"),
                ENGINE_TIMEOUT,
                bollard::API_DEFAULT_VERSION,
            ),
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
    async fn upgrade(&self, path: &str, session: &str, shared_key: &str) -> Result<Box<dyn Connection>, Error> {
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
        Ok(Box::new(answer.upgrade().await.map_err(|error| fail(&error))?))
    }

    /// The id of an image, which is the digest of its configuration in an Engine that has one.
    async fn id(&self, name: &str) -> Result<Option<Digest>, Error> {
        let image = self.docker.inspect_image(name).await;
        let image = image.map_err(|source| Error::Engine { action: "show the image", source: Box::new(source) })?;
        Ok(image.id.and_then(|id| Digest::parse(&id).ok()))
    }

    /// Copies an image's archive into a channel.
    async fn save(&self, name: &str, into: mpsc::Sender<std::io::Result<Bytes>>) -> Result<(), Error> {
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
struct Named {
    /// The Engine.
    engine: Engine,
    /// The name, until it is removed.
    name: Option<String>,
}

impl Named {
    /// Removes the name.
    async fn remove(mut self) {
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
