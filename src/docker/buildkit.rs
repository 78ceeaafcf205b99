//! A client of BuildKit's own protocol: secrets and live progress in one build, which the Engine's build API cannot give.
//!
//! The same calls go to the Engine (`/grpc` and `/session`, upgraded on its socket) and to a plain buildkitd. Source:
//! <https://github.com/moby/buildkit/blob/master/api/services/control/control.proto>.

use super::address::Connection;
use super::content_store::ContentStore;
use super::context::Context;
use super::error::Error;
use super::file_sync::Shared;
use super::fresh_id::fresh_id;
use super::gateway::{Gateway, Halt};
use super::progress::{Follower, Progress};
use super::sent::Note;
use super::session::{CONNECTION_WINDOW, LoginSource, STREAM_WINDOW, Services};
use super::source::Source;
use crate::model::{Platform, Secret};
use bollard_buildkit_proto::google::rpc::Status as RpcStatus;
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{CacheOptions, SolveRequest, SolveResponse, StatusRequest};
use bollard_buildkit_proto::pb;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

/// What is to be built.
#[derive(Clone)]
pub(crate) struct BuildRequest {
    /// The files.
    pub(crate) context: Context,
    /// The Dockerfile's path.
    pub(crate) dockerfile: PathBuf,
    /// The Dockerfile's text.
    pub(crate) dockerfile_text: Vec<u8>,
    /// The stage; the last one without it.
    pub(crate) target: Option<String>,
    /// Build arguments.
    pub(crate) args: BTreeMap<String, String>,
    /// Secrets by id.
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// For which platform.
    pub(crate) platform: Platform,
    /// Nothing is taken from the builder's cache.
    pub(crate) anew: bool,
    /// Logins for base images.
    pub(crate) logins: LoginSource,
    /// The content key of all this.
    pub(crate) content_key: String,
}

/// Where the result of a build goes.
#[derive(Clone, Debug)]
pub(crate) struct Exporter {
    /// `moby` in the Engine, `oci` in buildkitd.
    pub(crate) kind: &'static str,
    /// Its attributes.
    pub(crate) attributes: HashMap<String, String>,
}

/// A build that is under way.
pub(crate) struct Solve<'a> {
    /// What is built.
    pub(crate) request: &'a BuildRequest,
    /// Where it halts before the export, if it does.
    pub(crate) halt: Option<&'a Halt>,
    /// Under which session BuildKit calls back.
    pub(crate) session: &'a str,
    /// Where the result goes.
    pub(crate) exporter: Exporter,
    /// Who builds: `buildkitd at unix:///run/buildkit/buildkitd.sock`.
    pub(crate) builder: &'a str,
    /// Whom to tell.
    pub(crate) progress: &'a mpsc::UnboundedSender<Progress>,
}

/// BuildKit's own limit for a message.
pub(super) const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// When a build has ended, its last reports come within this.
const LAST_REPORTS: Duration = Duration::from_secs(2);

impl BuildRequest {
    /// What the build may ask for. The Dockerfile is a folder of its own, so that `.dockerignore` cannot take it away, and so
    /// is the lower part of one that is cut.
    pub(crate) fn services(&self, note: Option<Note>, halt: Option<&Halt>, export: Option<ContentStore>) -> Services {
        let Context { root, entries } = self.context.clone();
        let context = Shared { root, entries, texts: Arc::default(), note };
        let dockerfile = |text: &[u8]| Shared::of_text(self.dockerfile_name(), text.to_vec());
        let mut folders = HashMap::from([
            ("context".to_owned(), context),
            ("dockerfile".to_owned(), dockerfile(&self.dockerfile_text)),
        ]);
        folders.extend(halt.map(|halt| (LOWER.to_owned(), dockerfile(halt.lower.as_bytes()))));
        Services {
            folders: Arc::new(folders),
            secrets: Arc::new(self.secrets.clone()),
            logins: Arc::clone(&self.logins),
            export,
        }
    }

    /// The Dockerfile's name without its folder.
    fn dockerfile_name(&self) -> String {
        self.dockerfile.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// What the Dockerfile frontend wants to know
    /// (<https://github.com/moby/buildkit/blob/master/frontend/dockerui/config.go>).
    pub(super) fn frontend_attributes(&self) -> HashMap<String, String> {
        let mut attributes = HashMap::from([
            ("filename".to_owned(), self.dockerfile_name()),
            ("platform".to_owned(), self.platform.to_string()),
            // The key was made with the digest that the registry has now; a stale local base would contradict it.
            ("image-resolve-mode".to_owned(), "pull".to_owned()),
        ]);
        // An empty value stands for all stages.
        attributes.extend(self.anew.then(|| ("no-cache".to_owned(), String::new())));
        attributes.extend(self.target.clone().map(|target| ("target".to_owned(), target)));
        attributes.extend(self.args.iter().map(|(name, value)| (format!("build-arg:{name}"), value.clone())));
        attributes
    }

    /// The same for the lower part of a Dockerfile that is cut.
    pub(super) fn lower_attributes(&self, target: Option<&str>) -> HashMap<String, String> {
        let mut attributes = self.frontend_attributes();
        attributes.insert("dockerfilekey".to_owned(), LOWER.to_owned());
        attributes.remove("target");
        attributes.extend(target.map(|target| ("target".to_owned(), target.to_owned())));
        attributes
    }
}

/// The name of the folder that has the lower part of a Dockerfile.
const LOWER: &str = "lower-dockerfile";

/// BuildKit's name for the frontend that it has built in.
pub(super) const FRONTEND: &str = "dockerfile.v0";

/// A client over one connection.
pub(crate) async fn client(connection: Box<dyn Connection>) -> Result<BuildKit, Error> {
    let mut once = Some(connection);
    let connector = tower::service_fn(move |_| {
        let connection = once.take().ok_or_else(|| std::io::Error::other("the connection to BuildKit was lost"));
        async move { connection.map(TokioIo::new) }
    });
    // The address is only a form: the connection is there already.
    // A session may travel inside of one call of this connection, so both have the same room.
    let endpoint = Endpoint::from_static("http://buildkit")
        .initial_stream_window_size(CONNECTION_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW + STREAM_WINDOW);
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|error| Error::BuildKit { problem: chain(&error) })?;
    Ok(BuildKit { channel })
}

/// A connection to BuildKit.
#[derive(Clone)]
pub(crate) struct BuildKit {
    /// The connection.
    pub(super) channel: Channel,
}

impl BuildKit {
    /// Takes orders.
    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_MESSAGE)
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Why a build has stopped.
pub(super) enum Stopped {
    /// BuildKit says why.
    BuildKit(tonic::Status),
    /// For a reason of ours.
    Here(Error),
}

impl From<tonic::Status> for Stopped {
    fn from(status: tonic::Status) -> Self {
        Self::BuildKit(status)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Here(error)
    }
}

impl Solve<'_> {
    /// Says where the image is taken from: all of it from the builder, or all but so many instructions.
    pub(super) fn tell(&self, laid: Option<usize>) {
        let builder = self.builder.to_owned();
        let source = match laid {
            None => Source::Session { builder },
            Some(instructions) => Source::Laid { builder, instructions },
        };
        let _ = self.progress.send(Progress::Source(source));
    }

    /// Builds, and tells what happens.
    pub(crate) async fn run(&self, buildkit: &BuildKit) -> Result<SolveResponse, Error> {
        let id = fresh_id();
        let (mut client, mut watcher) = (buildkit.control(), buildkit.control());
        let solve = client.solve(self.solve_request(&id));
        let directed = async {
            match self.halt {
                Some(halt) => self.direct(halt, Gateway::new(buildkit, &id)?).await,
                None => Ok(()),
            }
        };
        let mut both = Box::pin(async {
            tokio::pin!(solve, directed);
            tokio::select! {
                // One that ends before it was told what to give has an error of its own.
                solved = &mut solve => solved.map_err(Stopped::from),
                directed = &mut directed => {
                    directed?;
                    solve.await.map_err(Stopped::from)
                }
            }
        });
        let mut follower = Follower::default();
        let result = {
            let watch = self.watch(&mut watcher, id.clone(), &mut follower);
            tokio::pin!(watch);
            tokio::select! {
                result = &mut both => {
                    let _ = tokio::time::timeout(LAST_REPORTS, &mut watch).await;
                    result
                }
                () = &mut watch => both.await,
            }
        };
        result.map(tonic::Response::into_inner).map_err(|stopped| match stopped {
            Stopped::BuildKit(status) => self.failure(&status, &follower),
            Stopped::Here(error) => error,
        })
    }

    /// Tells what happens until the build ends.
    async fn watch(&self, client: &mut ControlClient<Channel>, id: String, follower: &mut Follower) {
        let Ok(reports) = client.status(StatusRequest { r#ref: id }).await else { return };
        let mut reports = reports.into_inner();
        while let Ok(Some(report)) = reports.message().await {
            for news in follower.take(report) {
                let _ = self.progress.send(news);
            }
        }
    }

    /// The order to build. The deprecated fields are the ones that an Engine of 2020 knows, and all later ones still read.
    /// A build that halts is directed over the gateway, and has no frontend of its own.
    fn solve_request(&self, id: &str) -> SolveRequest {
        let (frontend, frontend_attrs) = match self.halt {
            None => (FRONTEND, self.request.frontend_attributes()),
            Some(_) => ("", HashMap::new()),
        };
        SolveRequest {
            r#ref: id.to_owned(),
            exporter_deprecated: self.exporter.kind.to_owned(),
            exporter_attrs_deprecated: self.exporter.attributes.clone(),
            session: self.session.to_owned(),
            frontend: frontend.to_owned(),
            frontend_attrs,
            cache: Some(CacheOptions::default()),
            ..SolveRequest::default()
        }
    }

    /// What a refusal of BuildKit's means.
    fn failure(&self, status: &tonic::Status, follower: &Follower) -> Error {
        use tonic::Code;
        let message = status.message();
        let broken = status.code() == Code::Unavailable || message.contains("h2 protocol error");
        if broken || (status.code() == Code::Unknown && message == "transport error") {
            return Error::BuildKit { problem: message.to_owned() };
        }
        let line = source_line(status.details());
        Error::Build(Box::new(follower.failure(message, &self.request.dockerfile_text, line)))
    }
}

/// Where in the Dockerfile an error lies, as BuildKit attaches it to its status
/// (<https://github.com/moby/buildkit/blob/master/solver/errdefs/errdefs.proto>).
#[derive(Clone, PartialEq, prost::Message)]
struct Place {
    /// The file.
    #[prost(message, optional, tag = "1")]
    info: Option<pb::SourceInfo>,
    /// The lines.
    #[prost(message, repeated, tag = "2")]
    ranges: Vec<pb::Range>,
}

/// The line in the details of a status. Newer servers attach a message, older ones JSON.
fn source_line(details: &[u8]) -> Option<usize> {
    let details = RpcStatus::decode(details).ok()?.details;
    details.iter().find_map(|detail| {
        let line = if detail.type_url.ends_with("errdefs.Source+json") {
            let json: serde_json::Value = serde_json::from_slice(&detail.value).ok()?;
            json.pointer("/ranges/0/start/line")?.as_i64()?
        } else if detail.type_url.ends_with("errdefs.Source") {
            i64::from(Place::decode(detail.value.as_slice()).ok()?.ranges.first()?.start?.line)
        } else {
            return None;
        };
        usize::try_from(line).ok().filter(|line| *line > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_buildkit_proto::google::protobuf::Any;

    #[test]
    fn the_line_is_found_in_either_form() {
        let start = pb::Position { line: 3, character: 0 };
        let message = Place { info: None, ranges: vec![pb::Range { start: Some(start), end: None }] };
        for (type_url, value) in [
            ("type.googleapis.com/errdefs.Source", message.encode_to_vec()),
            ("github.com/moby/buildkit/solver/errdefs.Source+json", br#"{"ranges":[{"start":{"line":3}}]}"#.to_vec()),
        ] {
            let details = vec![Any { type_url: type_url.to_owned(), value }];
            let status = RpcStatus { code: 2, message: String::new(), details };
            assert_eq!(source_line(&status.encode_to_vec()), Some(3), "{type_url}");
        }
        assert_eq!(source_line(b"nonsense"), None);
    }
}
