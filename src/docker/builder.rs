//! The builder: an Engine or a buildkitd, looked for only when something has to be built or taken out.

use super::address::{Address, connect};
use super::assembly::check_platforms;
use super::buildkit::{self, BuildKit, BuildRequest, Exporter, Solve};
use super::content_store::ContentStore;
use super::engine::{About, Engine, Inspected, Named, Store};
use super::error::Error;
use super::fresh_id::fresh_id;
use super::gateway::Halt;
use super::layer_store;
use super::place::Place;
use super::progress::Progress;
use super::save::{self, ChannelReader, Expected};
use super::sent::{Kept, Notes, Of};
use super::session::{METHODS, Services};
use super::source::Source;
use super::squeeze::Parts;
use crate::image::{KnownLayers, Part};
use crate::model::{Digest, Environment, Platform};
use bollard_buildkit_proto::moby::buildkit::v1::{BytesMessage, SolveResponse};
use std::collections::HashMap;
use std::future::Future;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::metadata::MetadataValue;

/// Builds images. Cheap to clone; nothing is contacted before the first image.
#[derive(Clone, Debug, Default)]
pub(crate) struct Builder {
    /// Where the Engine listens.
    place: Place,
    /// `BUILDKIT_HOST`.
    buildkit_host: Option<String>,
    /// Where it is noted what builders were sent.
    notes: Notes,
}

/// An image on its way out of a source. Dropping it stops the work.
pub(crate) struct Built {
    /// The parts as they come; the manifest is the last.
    pub(crate) parts: mpsc::Receiver<Result<Part, Error>>,
    /// Who makes them.
    _work: JoinSet<()>,
}

/// Whom to tell what is going on.
pub(crate) type Told = mpsc::UnboundedSender<Progress>;

/// Pieces of an archive between the one who reads and the one who compresses.
const PIECES: usize = 32;

/// The session travels in messages of this size.
const TUNNEL: usize = 256 * 1024;

impl Built {
    /// An image whose parts `work` makes; its error is the last that comes.
    pub(crate) fn by<F: Future<Output = Result<(), Error>> + Send + 'static>(work: impl FnOnce(Parts) -> F) -> Self {
        let (sender, parts) = mpsc::channel(1);
        let making = work(sender.clone());
        let mut work = JoinSet::new();
        work.spawn(async move {
            if let Err(error) = making.await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { parts, _work: work }
    }
}

impl Builder {
    /// A builder at the places that the environment names: `BUILDKIT_HOST`, else the Engine that Docker's client would use.
    pub(crate) fn new(environment: &Environment) -> Self {
        let buildkit_host = environment.non_empty("BUILDKIT_HOST").map(str::to_owned);
        Self { place: Place::new(environment), buildkit_host, notes: Notes::new(environment) }
    }

    /// Whether there is a builder: connects to it and says nothing.
    pub(crate) async fn check(&self) -> Result<(), Error> {
        let (address, what) = match &self.buildkit_host {
            Some(host) => (Address::parse(host, "BUILDKIT_HOST")?, "BuildKit"),
            None => (self.place.find()?, "Docker Engine"),
        };
        connect(&address, what).await.map(drop)
    }

    /// Builds an image. Layers that are known are left out; progress goes to `progress`.
    pub(crate) fn build(&self, request: BuildRequest, known: KnownLayers, progress: Told) -> Built {
        self.start(request, None, known, progress)
    }

    /// The same, and the build halts where it can: where the image is exported over the session. What then comes is the image
    /// of the lower part or of the whole, whatever was decided.
    pub(crate) fn build_with_halt(
        &self,
        request: BuildRequest,
        halt: Halt,
        known: KnownLayers,
        progress: Told,
    ) -> Built {
        self.start(request, Some(halt), known, progress)
    }

    /// Begins a build.
    fn start(&self, request: BuildRequest, halt: Option<Halt>, known: KnownLayers, progress: Told) -> Built {
        let builder = self.clone();
        Built::by(|parts| async move {
            let notes = builder.notes.clone();
            let keep = move || {
                let of = Of {
                    context: &request.context,
                    dockerfile: &request.dockerfile,
                    target: request.target.as_deref(),
                };
                Ok((notes.keep(&of, &request.content_key), request))
            };
            let (kept, request) = blocking(keep).await?;
            let job = Job { request, kept, halt, known, progress, parts };
            match &builder.buildkit_host {
                Some(host) => job.with_buildkitd(host).await,
                None => job.with_engine(&builder.engine().await?).await,
            }
        })
    }

    /// What the Engine says of an image that it has for a platform.
    pub(crate) async fn inspect(&self, image: &str, platform: &Platform) -> Result<Inspected, Error> {
        let inspected = self.engine().await?.inspect(image, platform).await?;
        check_platforms(&inspected.platform, platform)?;
        Ok(inspected)
    }

    /// Takes an image out of the Engine that was not built here.
    pub(crate) fn take(&self, image: String, platform: Platform, known: KnownLayers, progress: Told) -> Built {
        let builder = self.clone();
        Built::by(|parts| async move {
            let engine = builder.engine().await?;
            let (about, inspected) = tokio::try_join!(engine.about(), engine.inspect(&image, &platform))?;
            let exit = Exit { engine: &engine, about: &about, platform, known, progress, parts, built: false };
            exit.take(&image, inspected).await
        })
    }

    /// The Engine.
    async fn engine(&self) -> Result<Engine, Error> {
        Engine::connect(self.place.find()?).await
    }
}

/// One build.
struct Job {
    /// What is built.
    request: BuildRequest,
    /// Under which name the builder keeps its files.
    kept: Kept,
    /// Where it halts, if it does.
    halt: Option<Halt>,
    /// What the registry has.
    known: KnownLayers,
    /// Whom to tell.
    progress: Told,
    /// Where parts go.
    parts: Parts,
}

impl Job {
    /// Builds with an Engine: `BuildKit` builds inside of it. Where the Engine keeps blobs, they come over the session;
    /// otherwise its `save` gives the image.
    async fn with_engine(self, engine: &Engine) -> Result<(), Error> {
        let about = engine.about().await?;
        match about.store {
            Store::Containerd => self.through_session(engine, &about).await,
            Store::Layers => self.through_save(engine, &about).await,
        }
    }

    /// Builds with an Engine whose exporter writes into our store.
    async fn through_session(self, engine: &Engine, about: &About) -> Result<(), Error> {
        let session = fresh_id();
        let store = self.store();
        let services = self.services(Some(store.clone()));
        let mut serving = JoinSet::new();
        let buildkit = reach(engine, services, &session, &self.kept.name, &mut serving).await?;
        self.export_to(&buildkit, &session, &store, &format!("the {}", about.name)).await
    }

    /// Builds with an Engine that only keeps what it builds. The image has a name of its own while it is needed, so that
    /// nothing of the user's is touched.
    async fn through_save(self, engine: &Engine, about: &About) -> Result<(), Error> {
        let session = fresh_id();
        let services = self.services(None);
        let mut serving = JoinSet::new();
        let buildkit = reach(engine, services, &session, &self.kept.name, &mut serving).await?;
        let name = format!("seaway-build:{session}");
        let exporter = Exporter { kind: "moby", attributes: HashMap::from([("name".to_owned(), name.clone())]) };
        let builder = engine.address().to_string();
        let solve = Solve {
            request: &self.request,
            halt: None,
            session: &session,
            exporter,
            builder: &builder,
            progress: &self.progress,
        };
        solve.run(&buildkit).await?;
        let guard = Named::new(engine, &name);
        let Self { request, known, progress, parts, .. } = self;
        let inspected = engine.inspect(&name, &request.platform).await;
        let exit = Exit { engine, about, platform: request.platform, known, progress, parts, built: true };
        let result = match inspected {
            Ok(inspected) => exit.take(&name, inspected).await,
            Err(error) => Err(error),
        };
        guard.remove().await;
        result
    }

    /// Builds with a buildkitd, whose exporter writes into our store.
    async fn with_buildkitd(self, host: &str) -> Result<(), Error> {
        let address = Address::parse(host, "BUILDKIT_HOST")?;
        let session = fresh_id();
        let store = self.store();
        let services = self.services(Some(store.clone()));
        let buildkit = buildkit::client(connect(&address, "BuildKit").await?).await?;
        let mut serving = JoinSet::new();
        serve_over_grpc(&buildkit, services, &session, &self.kept.name, &mut serving)?;
        self.export_to(&buildkit, &session, &store, &format!("buildkitd at {address}")).await
    }

    /// What the build may ask for.
    fn services(&self, export: Option<ContentStore>) -> Services {
        let halt = self.halt.as_ref().filter(|_| export.is_some());
        self.request.services(self.kept.note.clone(), halt, export)
    }

    /// The store into which the image is exported. What is known as a whole comes as nothing but a manifest, which is no
    /// foundation to lay anything on.
    fn store(&self) -> ContentStore {
        let known = self.known.clone();
        let known = if self.halt.is_some() { known.without_images() } else { known };
        ContentStore::new(known, self.request.platform.clone(), self.parts.clone())
    }

    /// Builds an image that is exported into our store. `builder` is who builds.
    async fn export_to(
        &self,
        buildkit: &BuildKit,
        session: &str,
        store: &ContentStore,
        builder: &str,
    ) -> Result<(), Error> {
        let exporter = exporter_into_store();
        let (request, halt, progress) = (&self.request, self.halt.as_ref(), &self.progress);
        let solve = Solve { request, halt, session, exporter, builder, progress };
        if halt.is_none() {
            solve.tell(None);
        }
        let solved = solve.run(buildkit).await.map_err(|error| store.problem().unwrap_or(error))?;
        store.finish(&root_of(&solved)?).await
    }
}

/// The exporter that writes blobs into the store that the session serves. Layers that it makes are not compressed, because
/// our codec is faster by far; those that it has compressed already (of base images) stay as they are.
fn exporter_into_store() -> Exporter {
    let attributes = [("tar", "false"), ("compression", "uncompressed")];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Exporter { kind: "oci", attributes: HashMap::from(attributes) }
}

/// The digest of the manifest or index that was exported.
fn root_of(solved: &SolveResponse) -> Result<Digest, Error> {
    let digest = solved.exporter_response.get("containerimage.digest");
    let digest = digest.and_then(|text| Digest::parse(text).ok());
    digest.ok_or_else(|| Error::BuildKit { problem: "it does not say which image it has made".to_owned() })
}

/// An image on its way out of an Engine, by `save`.
struct Exit<'a> {
    /// The Engine.
    engine: &'a Engine,
    /// What it is.
    about: &'a About,
    /// The platform that the image must be for.
    platform: Platform,
    /// What the registry has.
    known: KnownLayers,
    /// Whom to tell.
    progress: Told,
    /// Where parts go.
    parts: Parts,
    /// Whether the image was built right before.
    built: bool,
}

impl Exit<'_> {
    /// Takes the image out, unless the registry has all of it: out of the Engine's storage where that lies open, else by its
    /// export.
    async fn take(self, name: &str, image: Inspected) -> Result<(), Error> {
        check_platforms(&image.platform, &self.platform)?;
        if let Some(part) = self.known.whole(&image.id) {
            self.tell_export();
            let _ = self.parts.send(Ok(part)).await;
            return Ok(());
        }
        match self.read(&image.id).await {
            Err(error) if !matches!(error, Error::Cancelled) => {
                tracing::info!("the image is exported, since it cannot be read from the Engine's storage: {error}");
            }
            result => return result,
        }
        self.tell_export();
        self.tell(Progress::Step("taking the image out of the Docker Engine".to_owned()));
        let (sender, pieces) = mpsc::channel(PIECES);
        let expected = Expected { platform: self.platform, known: self.known, layers: image.layers };
        let parts = self.parts;
        let reading = blocking(move || save::read(ChannelReader::new(pieces), &expected, &parts));
        // Only containerd's store has more than one.
        let only = (self.about.store == Store::Containerd).then_some(&image.platform);
        let (copied, read) = tokio::join!(self.engine.save(name, only, sender), reading);
        copied.and(read)
    }

    /// Reads the image from the Engine's storage.
    async fn read(&self, id: &Digest) -> Result<(), Error> {
        let closed = |error: std::io::Error| Error::Image { problem: error.to_string() };
        let Some(root) = self.about.layers.clone() else { return Err(closed(std::io::ErrorKind::Unsupported.into())) };
        let (id, parts) = (id.clone(), self.parts.clone());
        let expected = Expected { platform: self.platform.clone(), known: self.known.clone(), layers: Vec::new() };
        let found = blocking(move || layer_store::find(&root, &id, expected).map_err(closed)).await?;
        self.tell(Progress::Source(Source::Storage { engine: self.about.name.clone() }));
        blocking(move || found.read(&parts)).await
    }

    /// Says that the image comes by the Engine's export.
    fn tell_export(&self) {
        let (engine, built, store) = (self.about.name.clone(), self.built, self.about.store);
        self.tell(Progress::Source(Source::Save { engine, built, store }));
    }

    /// Says something.
    fn tell(&self, news: Progress) {
        let _ = self.progress.send(news);
    }
}

/// Does blocking work on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::Image { problem: error.to_string() }))
}

/// Reaches BuildKit inside of an Engine and serves it a session: over a connection of its own each where the Engine has them,
/// else as a buildkitd is spoken to, on the Engine's socket.
async fn reach(
    engine: &Engine,
    services: Services,
    session: &str,
    shared_key: &str,
    tasks: &mut JoinSet<()>,
) -> Result<BuildKit, Error> {
    if let Some(connection) = engine.upgrade("session", session, shared_key).await? {
        tasks.spawn(services.serve(connection));
        let orders = engine.upgrade("grpc", session, "").await?;
        return buildkit::client(orders.ok_or_else(|| Error::BuildKit {
            problem: "the Docker Engine takes sessions and no orders".to_owned(),
        })?)
        .await;
    }
    let client = buildkit::client(connect(engine.address(), "Docker Engine").await?).await?;
    serve_over_grpc(&client, services, session, shared_key, tasks)?;
    Ok(client)
}

/// Serves a session inside of a call: buildkitd calls back over messages of bytes.
fn serve_over_grpc(
    buildkit: &BuildKit,
    services: Services,
    session: &str,
    shared_key: &str,
    tasks: &mut JoinSet<()>,
) -> Result<(), Error> {
    let (ours, theirs) = tokio::io::duplex(TUNNEL);
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
        let mut piece = vec![0; TUNNEL];
        while let Ok(length @ 1..) = read.read(&mut piece).await {
            if sender.send(BytesMessage { data: piece[..length].to_vec() }).await.is_err() {
                break;
            }
        }
    });
    let mut client = buildkit.control();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::fake_engine::fake_engine;
    use futures::FutureExt as _;
    use std::sync::Arc;

    #[tokio::test]
    async fn an_engine_without_upgrades_is_spoken_to_on_its_socket() {
        let (seen, mut begun) = mpsc::unbounded_channel();
        let engine = fake_engine(move |head| {
            let line = head.lines().next().unwrap_or_default().to_owned();
            let _ = seen.send(line);
            (404, r#"{"message":"page not found"}"#.to_owned())
        })
        .await;
        let services = Services {
            folders: Arc::default(),
            secrets: Arc::default(),
            logins: Arc::new(|_| async { None }.boxed()),
            export: None,
        };
        let mut tasks = JoinSet::new();
        reach(&engine, services, "an-id", "", &mut tasks).await.unwrap();
        assert_eq!(begun.recv().await.as_deref(), Some("POST /session HTTP/1.1"));
        assert_eq!(begun.recv().await.as_deref(), Some("PRI * HTTP/2.0"), "the beginning of HTTP/2");
    }
}
