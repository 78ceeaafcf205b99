//! What a build may ask of us while it runs: files, secrets, logins, and the store that its result goes to.
//!
//! BuildKit calls back over a connection that we opened, so that nothing has to listen and no file with a secret is written
//! (<https://github.com/moby/buildkit/blob/master/session/session.go>).

use super::address::Connection;
use super::content_store::{ContentStore, WRITE};
use super::file_sync::{self, Shared, Wanted};
use crate::model::Secret;
use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
use bollard_buildkit_proto::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::{FileSync, FileSyncServer};
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use futures::future::BoxFuture;
use futures::stream::{self, Stream, StreamExt as _};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

/// Gives the login of a registry, for base images: user and password by host.
pub(crate) type LoginSource = Arc<dyn Fn(String) -> BoxFuture<'static, Option<(String, Secret)>> + Send + Sync>;

/// What a build may ask for.
#[derive(Clone)]
pub(crate) struct Services {
    /// Folders by the name under which they are asked for.
    pub(crate) folders: Arc<HashMap<String, Shared>>,
    /// Secrets by id.
    pub(crate) secrets: Arc<BTreeMap<String, Secret>>,
    /// Logins for the registries of base images.
    pub(crate) logins: LoginSource,
    /// Where the image is exported to; `None` where it stays in the Engine.
    pub(crate) export: Option<ContentStore>,
}

/// What is offered, as BuildKit wants it announced.
pub(crate) const METHODS: [&str; 5] = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.FileSync/DiffCopy",
    WRITE,
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
];

/// BuildKit's own limit for a message.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// A layer comes in pieces of a megabyte, each of which waits for an answer: it has to arrive in one go.
pub(crate) const STREAM_WINDOW: u32 = 4 * 1024 * 1024;

/// Four layers come at once.
pub(crate) const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

impl Services {
    /// Answers over a connection until it ends. Whoever drops this drops the connection and all that is served on it.
    pub(crate) async fn serve(self, connection: Box<dyn Connection>) {
        let (_alive, dropped) = oneshot::channel();
        let files = FileSyncServer::new(self.clone()).max_decoding_message_size(LARGEST_MESSAGE);
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .add_service(HealthServer::new(self.clone()))
            .add_service(files)
            .add_service(AuthServer::new(self.clone()))
            .add_optional_service(self.export.clone())
            .add_service(SecretsServer::new(self));
        // The stream of connections must not end while this one lives: the server would begin to say goodbye.
        let one = stream::iter([Ok::<_, std::io::Error>(Pipe { connection, dropped })]).chain(stream::pending());
        if let Err(error) = server.serve_with_incoming(one).await {
            tracing::debug!("the build session ended: {error}");
        }
    }
}

/// The answers of a call that streams.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl FileSync for Services {
    type DiffCopyStream = Answers<Packet>;
    type TarStreamStream = Answers<Packet>;

    async fn diff_copy(&self, request: Request<Streaming<Packet>>) -> Result<Response<Self::DiffCopyStream>, Status> {
        let name = request.metadata().get("dir-name").and_then(|name| name.to_str().ok()).unwrap_or_default();
        let shared = self.folders.get(name).cloned();
        let shared = shared.ok_or_else(|| Status::not_found(format!("no folder `{name}` is shared")))?;
        let shared = shared.narrowed(&Wanted::read(request.metadata()));
        let (outgoing, answers) = mpsc::channel(16);
        tokio::spawn(file_sync::send(shared, request.into_inner(), outgoing));
        Ok(Response::new(tokio_stream::wrappers::ReceiverStream::new(answers).boxed()))
    }

    async fn tar_stream(
        &self,
        _request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("files are synchronized by DiffCopy"))
    }
}

#[tonic::async_trait]
impl Auth for Services {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> Result<Response<CredentialsResponse>, Status> {
        let host = request.into_inner().host;
        let login = (self.logins)(host).await;
        let answer =
            login.map(|(user, secret)| CredentialsResponse { username: user, secret: secret.expose().to_owned() });
        Ok(Response::new(answer.unwrap_or_default()))
    }

    async fn fetch_token(&self, _request: Request<FetchTokenRequest>) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("the builder fetches tokens itself"))
    }

    async fn get_token_authority(
        &self,
        _request: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the builder fetches tokens itself"))
    }

    async fn verify_token_authority(
        &self,
        _request: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the builder fetches tokens itself"))
    }
}

#[tonic::async_trait]
impl Secrets for Services {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let secret = self.secrets.get(&id);
        let secret = secret.ok_or_else(|| Status::not_found(format!("no secret `{id}` in deploy.yml")))?;
        Ok(Response::new(GetSecretResponse { data: secret.expose().as_bytes().to_vec() }))
    }
}

#[tonic::async_trait]
impl Health for Services {
    type WatchStream = Answers<HealthCheckResponse>;

    async fn check(&self, _request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _request: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("only `Check` is answered"))
    }

    async fn watch(&self, _request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only `Check` is answered"))
    }
}

/// A connection as tonic's server takes it. The server gives each to a task of its own, which would outlive it for as long as
/// the other side keeps the connection: an Engine keeps that of a session for seconds after its build.
struct Pipe {
    /// The connection.
    connection: Box<dyn Connection>,
    /// Ends when nobody waits for the server any more. Nothing is ever sent.
    dropped: oneshot::Receiver<Infallible>,
}

impl Connected for Pipe {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if Pin::new(&mut self.dropped).poll(cx).is_ready() {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
