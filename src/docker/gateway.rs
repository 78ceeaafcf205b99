//! Halts a build between its last step and its export: what was built can be looked at, and more be built, before it is said
//! what is exported.
//!
//! A solve without a frontend waits for its client to direct it, by calls on the same connection that name it in their
//! metadata: this is how BuildKit's own client runs programs instead of Dockerfiles
//! (<https://github.com/moby/buildkit/blob/v0.32.0/client/build.go>,
//! <https://github.com/moby/buildkit/blob/v0.32.0/frontend/gateway/pb/gateway.proto>).

use super::buildkit::{BuildKit, FRONTEND, LARGEST_MESSAGE, Solve, Stopped};
use super::error::Error;
use super::file_sync::{GO_FOLDER, GO_LINK, SPECIAL};
use crate::image::assembly::tree::{Look, Node, Unknown};
use crate::model::{Platform, Reference};
use bollard_buildkit_proto::fsutil::types::Stat;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_client::LlbBridgeClient;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    ReadDirRequest, ReadFileRequest, Ref, ResolveImageConfigRequest, Result as Outcome, ReturnRequest, SolveRequest,
    result,
};
use bollard_buildkit_proto::pb;
use bytes::Bytes;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Where a build halts: after the lower part of its Dockerfile.
#[derive(Clone)]
pub(crate) struct Halt {
    /// The text of the lower part.
    pub(crate) lower: String,
    /// Its target; the last stage without it.
    pub(crate) target: Option<String>,
    /// The image that it builds on; `None` for `scratch`.
    pub(crate) base: Option<Reference>,
    /// What is then decided.
    pub(crate) decide: Decide,
}

/// Decides on what was built of a lower part: the number of instructions that are laid on it elsewhere, or `None` to have
/// the whole Dockerfile built.
pub(crate) type Decide = Arc<dyn Fn(Halfway) -> BoxFuture<'static, Result<Option<usize>, Error>> + Send + Sync>;

/// What was built of a lower part.
#[derive(Clone, Debug)]
pub(crate) struct Halfway {
    /// The configuration of the image that it began with; `None` for `scratch`.
    pub(crate) base: Option<Bytes>,
    /// Its configuration so far; layers are named only in the one that is exported.
    pub(crate) config: Bytes,
    /// Its file tree.
    pub(crate) tree: Arc<dyn Look>,
}

/// Where a frontend puts the configuration of an image
/// (<https://github.com/moby/buildkit/blob/v0.32.0/exporter/containerimage/exptypes/types.go>).
const CONFIG: &str = "containerimage.config";

/// Says in the metadata of each call which build it directs
/// (<https://github.com/moby/buildkit/blob/v0.32.0/client/buildid/metadata.go>).
#[derive(Clone)]
struct OfBuild(MetadataValue<Ascii>);

impl Interceptor for OfBuild {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("buildkit-controlapi-buildid", self.0.clone());
        Ok(request)
    }
}

/// Directs a build.
#[derive(Clone)]
pub(super) struct Gateway(LlbBridgeClient<InterceptedService<Channel, OfBuild>>);

impl Gateway {
    /// Directs the build with an id.
    pub(super) fn new(buildkit: &BuildKit, id: &str) -> Result<Self, Error> {
        let id = MetadataValue::try_from(id).map_err(|error| Error::BuildKit { problem: error.to_string() })?;
        let calls = LlbBridgeClient::with_interceptor(buildkit.channel.clone(), OfBuild(id));
        Ok(Self(calls.max_decoding_message_size(LARGEST_MESSAGE)))
    }

    /// Builds a Dockerfile, up to its last step.
    async fn build(&mut self, attributes: HashMap<String, String>) -> Result<Outcome, Status> {
        let request = SolveRequest {
            frontend: FRONTEND.to_owned(),
            frontend_opt: attributes,
            allow_result_return: true,
            allow_result_array_ref: true,
            evaluate: true,
            ..SolveRequest::default()
        };
        let solved = self.0.solve(request).await?.into_inner();
        solved.result.ok_or_else(|| Status::internal("it does not say what it has built"))
    }

    /// The configuration of an image in a registry, as the build itself sees it.
    async fn config(&mut self, image: &Reference, platform: &Platform) -> Result<Bytes, Status> {
        let Platform { os, architecture, variant } = platform.clone();
        let variant = variant.unwrap_or_default();
        let request = ResolveImageConfigRequest {
            r#ref: image.to_string(),
            platform: Some(pb::Platform { os, architecture, variant, ..pb::Platform::default() }),
            resolve_mode: "pull".to_owned(),
            log_name: format!("[internal] load metadata for {image}"),
            ..ResolveImageConfigRequest::default()
        };
        Ok(self.0.resolve_image_config(request).await?.into_inner().config.into())
    }

    /// Ends the direction: this is exported.
    async fn export(&mut self, outcome: Outcome) -> Result<(), Status> {
        self.0.r#return(ReturnRequest { result: Some(outcome), error: None }).await.map(drop)
    }
}

impl Solve<'_> {
    /// Has the lower part built, has it decided what follows, and says what is exported.
    pub(super) async fn direct(&self, halt: &Halt, mut gateway: Gateway) -> Result<(), Stopped> {
        let mut other = gateway.clone();
        let base = async {
            match &halt.base {
                Some(base) => other.config(base, &self.request.platform).await.map(Some),
                None => Ok(None),
            }
        };
        let building = gateway.build(self.request.lower_attributes(halt.target.as_deref()));
        let (lower, base) = tokio::join!(building, base);
        let lower = lower?;
        let halfway = base.inspect_err(|status| tracing::info!("the base is not looked at: {}", status.message()));
        let halfway = halfway.ok().and_then(|base| Halfway::of(&lower, base, &gateway));
        let laid = match halfway {
            Some(halfway) => (halt.decide)(halfway).await?,
            None => None,
        };
        self.tell(laid);
        let outcome = match laid {
            Some(_) => lower,
            None => gateway.build(self.request.frontend_attributes()).await?,
        };
        Ok(gateway.export(without_definition(outcome)).await?)
    }
}

/// A result as it is given back: how it was built is known where it was.
fn without_definition(mut outcome: Outcome) -> Outcome {
    if let Some(result::Result::Ref(built)) = &mut outcome.result {
        built.def = None;
    }
    outcome
}

impl Halfway {
    /// What a build has come to; `None` where that is not one image of one platform with files in it.
    fn of(outcome: &Outcome, base: Option<Bytes>, gateway: &Gateway) -> Option<Self> {
        let Some(result::Result::Ref(Ref { id, .. })) = &outcome.result else { return None };
        if id.is_empty() {
            return None;
        }
        let config = outcome.metadata.get(CONFIG)?.clone().into();
        let (gateway, runtime) = (gateway.clone(), Handle::current());
        let tree = Arc::new(Tree { gateway, id: id.clone(), runtime, folders: Mutex::default() });
        Some(Self { base, config, tree })
    }
}

/// The names in a folder, and what stands there; `None` for what is more than can be told.
type Listing = Arc<BTreeMap<String, Option<Node>>>;

/// The file tree of what was built. Folders are listed once.
struct Tree {
    /// Asks.
    gateway: Gateway,
    /// The name that the result has on the gateway.
    id: String,
    /// Where calls run.
    runtime: Handle,
    /// Folders that were listed, by their paths.
    folders: Mutex<HashMap<String, Listing>>,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({})", self.id)
    }
}

impl Tree {
    /// The entries of a folder.
    fn list(&self, folder: &str) -> Result<Listing, Unknown> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = folders.get(folder) {
            return Ok(Arc::clone(known));
        }
        let mut gateway = self.gateway.clone();
        let request =
            ReadDirRequest { r#ref: self.id.clone(), dir_path: format!("/{folder}"), ..ReadDirRequest::default() };
        let answer = self.runtime.block_on(gateway.0.read_dir(request)).map_err(|status| unknown(folder, &status))?;
        let listing: Listing = Arc::new(answer.into_inner().entries.into_iter().map(entry).collect());
        folders.insert(folder.to_owned(), Arc::clone(&listing));
        Ok(listing)
    }
}

impl Look for Tree {
    fn node(&self, path: &str) -> Result<Option<Node>, Unknown> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.list(folder)?.get(name) {
            None => Ok(None),
            Some(node) => node.clone().ok_or(Unknown).map(Some),
        }
    }

    fn accounts(&self, file: &'static str) -> Result<String, Unknown> {
        let path = format!("/etc/{file}");
        let request = ReadFileRequest { r#ref: self.id.clone(), file_path: path.clone(), ..ReadFileRequest::default() };
        let mut gateway = self.gateway.clone();
        let answer = self.runtime.block_on(gateway.0.read_file(request)).map_err(|status| unknown(&path, &status))?;
        Ok(String::from_utf8_lossy(&answer.into_inner().data).into_owned())
    }
}

/// What cannot be looked at is not known.
fn unknown(path: &str, status: &Status) -> Unknown {
    tracing::info!("`{path}` of what was built cannot be looked at: {}", status.message());
    Unknown
}

/// Extended attributes of these names belong to the machine that builds.
const OF_THE_MACHINE: [&str; 2] = ["security.selinux", "trusted.overlay."];

/// The name of an entry, and what it is. Modes are Go's. A folder with extended attributes of its own (an access control list,
/// say) is more than can be told: a layer that names it again has to name them too.
fn entry(stat: Stat) -> (String, Option<Node>) {
    let is_own = |name: &String| !OF_THE_MACHINE.iter().any(|start| name.starts_with(start));
    let node = if stat.mode & GO_FOLDER != 0 {
        let special = SPECIAL.into_iter().filter(|(_, go)| stat.mode & go != 0).fold(0, |mode, (bit, _)| mode | bit);
        let folder = Node::Folder(special | (stat.mode & 0o777), stat.uid.into(), stat.gid.into());
        (!stat.xattrs.keys().any(is_own)).then_some(folder)
    } else if stat.mode & GO_LINK != 0 {
        Some(Node::Link(stat.linkname))
    } else {
        Some(Node::File)
    };
    (stat.path, node)
}

#[cfg(test)]
mod tests;
