//! A build that halts, directed over a connection to a fake of BuildKit's.

use super::*;
use crate::docker::buildkit::{self, BuildRequest, Exporter};
use crate::docker::context::Context;
use crate::docker::progress::Progress;
use crate::docker::source::Source;
use bollard_buildkit_proto::moby::buildkit::v1 as control;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    ReadDirResponse, ReadFileResponse, ResolveImageConfigResponse, ReturnResponse, SolveResponse,
};
use futures::FutureExt as _;
use futures::stream::{self, StreamExt as _};
use std::convert::Infallible;
use std::path::PathBuf;
use std::task::{Context as TaskContext, Poll};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::Response;

/// A BuildKit that has built whatever it is asked for.
#[derive(Clone)]
struct Fake {
    /// What was called, with what matters of it.
    calls: Arc<Mutex<Vec<String>>>,
    /// The result that is exported, once it has been said.
    exported: watch::Sender<Option<Outcome>>,
    /// The lower part does not build.
    fails: bool,
}

/// The service of builds.
#[derive(Clone)]
struct AsControl(Fake);

/// The service that directs them.
#[derive(Clone)]
struct AsGateway(Fake);

/// An HTTP request of a call.
type HttpRequest = http::Request<tonic::body::Body>;

/// The answer to it.
type HttpResponse = http::Response<tonic::body::Body>;

/// Answers a call.
async fn answer<Q, A, F>(request: HttpRequest, reply: impl Fn(Q) -> F + Clone + Send + 'static) -> HttpResponse
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    let method = tower::service_fn(move |request: Request<Q>| {
        let replying = reply(request.into_inner());
        async move { replying.await.map(Response::new) }
    });
    tonic::server::Grpc::new(tonic_prost::ProstCodec::<A, Q>::default()).unary(method, request).await
}

impl Fake {
    /// Notes a call.
    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    /// Answers a call of the service of builds: a build ends when it is said what is exported.
    async fn control(self, request: HttpRequest) -> HttpResponse {
        if !request.uri().path().ends_with("/Solve") {
            return Status::unimplemented("only builds").into_http();
        }
        let solve = move |request: control::SolveRequest| {
            let (fake, mut exported) = (self.clone(), self.exported.subscribe());
            async move {
                assert_eq!((request.frontend.as_str(), request.frontend_attrs.len()), ("", 0));
                let outcome = exported.wait_for(Option::is_some).await.unwrap().clone().unwrap();
                let Some(result::Result::Ref(built)) = outcome.result else { panic!("{outcome:?}") };
                assert!(built.def.is_none());
                fake.note(format!("exported by {}", request.r#ref));
                let exporter_response = HashMap::from([("exported".to_owned(), built.id)]);
                Ok(control::SolveResponse { exporter_response })
            }
        };
        answer(request, solve).await
    }

    /// Answers a call that directs a build.
    async fn gateway(self, request: HttpRequest) -> HttpResponse {
        let id = request.headers()["buildkit-controlapi-buildid"].to_str().unwrap().to_owned();
        let fake = self.clone();
        match request.uri().path().rsplit('/').next().unwrap_or_default() {
            "Solve" => {
                let build = move |request: SolveRequest| std::future::ready(fake.build(&id, &request));
                answer(request, build).await
            }
            "ResolveImageConfig" => {
                let config = |request: ResolveImageConfigRequest| async move {
                    let config = format!("configuration of {}", request.r#ref).into_bytes();
                    Ok(ResolveImageConfigResponse { config, ..ResolveImageConfigResponse::default() })
                };
                answer(request, config).await
            }
            "ReadDir" => {
                let list = move |request: ReadDirRequest| {
                    fake.note(format!("list {} of {}", request.dir_path, request.r#ref));
                    let stat = Stat { path: "folder".to_owned(), mode: GO_FOLDER | 0o750, uid: 7, ..Stat::default() };
                    async move { Ok(ReadDirResponse { entries: vec![stat] }) }
                };
                answer(request, list).await
            }
            "ReadFile" => {
                let read = |request: ReadFileRequest| async move {
                    Ok(ReadFileResponse { data: request.file_path.into_bytes() })
                };
                answer(request, read).await
            }
            "Return" => {
                let export = move |request: ReturnRequest| {
                    fake.exported.send_replace(request.result);
                    async move { Ok(ReturnResponse {}) }
                };
                answer(request, export).await
            }
            other => panic!("{other}"),
        }
    }

    /// Builds: the lower part is a folder of its own.
    fn build(&self, id: &str, request: &SolveRequest) -> Result<SolveResponse, Status> {
        let what = if request.frontend_opt.contains_key("dockerfilekey") { "lower" } else { "whole" };
        let target = request.frontend_opt.get("target").map(|target| format!(" to {target}")).unwrap_or_default();
        self.note(format!("{what}{target} by {id}"));
        if self.fails {
            return Err(Status::unknown("process \"x\" did not complete successfully: exit code: 3"));
        }
        let built = Ref { id: what.to_owned(), def: Some(pb::Definition::default()) };
        let metadata = HashMap::from([(CONFIG.to_owned(), b"{}".to_vec())]);
        let outcome = Outcome { metadata, result: Some(result::Result::Ref(built)), ..Outcome::default() };
        Ok(SolveResponse { result: Some(outcome), ..SolveResponse::default() })
    }

    /// A connection to it, which lives as long as the tasks.
    async fn connect(&self, tasks: &mut JoinSet<()>) -> BuildKit {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let server = tonic::transport::Server::builder();
        let server = { server }.add_service(AsControl(self.clone())).add_service(AsGateway(self.clone()));
        let one = stream::iter([Ok::<_, std::io::Error>(theirs)]).chain(stream::pending());
        tasks.spawn(async move { server.serve_with_incoming(one).await.unwrap() });
        buildkit::client(Box::new(ours)).await.unwrap()
    }
}

impl tonic::server::NamedService for AsControl {
    const NAME: &'static str = "moby.buildkit.v1.Control";
}

impl tonic::server::NamedService for AsGateway {
    const NAME: &'static str = "moby.buildkit.v1.frontend.LLBBridge";
}

impl tower::Service<HttpRequest> for AsControl {
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<HttpResponse, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        self.0.clone().control(request).map(Ok).boxed()
    }
}

impl tower::Service<HttpRequest> for AsGateway {
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<HttpResponse, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        self.0.clone().gateway(request).map(Ok).boxed()
    }
}

/// What came of a build.
struct Ended {
    /// What was exported, or why nothing was.
    exported: Result<String, Error>,
    /// What was called; the id of the build is `ID`.
    calls: Vec<String>,
    /// What was said.
    said: Vec<Progress>,
}

/// Builds a Dockerfile that is cut, with a builder that can or cannot.
async fn build(fails: bool, decide: Decide) -> Ended {
    let fake = Fake { calls: Arc::default(), exported: watch::Sender::default(), fails };
    let mut tasks = JoinSet::new();
    let connection = fake.connect(&mut tasks).await;
    let request = BuildRequest {
        context: Context { root: PathBuf::new(), entries: Arc::default() },
        dockerfile: "Dockerfile".into(),
        dockerfile_text: b"FROM base\nRUN x\nCOPY a /\n".to_vec(),
        target: Some("app".to_owned()),
        args: BTreeMap::new(),
        secrets: BTreeMap::new(),
        platform: Platform::default(),
        anew: false,
        logins: Arc::new(|_| async { None }.boxed()),
        content_key: String::new(),
    };
    let base = Some(Reference::parse("base").unwrap());
    let halt = Halt { lower: "FROM base\nRUN x\n".to_owned(), target: None, base, decide };
    let (progress, mut said) = mpsc::unbounded_channel();
    let exporter = Exporter { kind: "oci", attributes: HashMap::new() };
    let halt = Some(&halt);
    let solve = Solve { request: &request, halt, session: "s", exporter, builder: "a fake", progress: &progress };
    let solved = solve.run(&connection).await;
    let mut calls = fake.calls.lock().unwrap().clone();
    let id = calls[0].rsplit(' ').next().unwrap().to_owned();
    for call in &mut calls {
        *call = call.replace(&id, "ID");
    }
    let said = std::iter::from_fn(|| said.try_recv().ok()).collect();
    Ended { exported: solved.map(|solved| solved.exporter_response["exported"].clone()), calls, said }
}

/// What is told of an image of a fake.
fn told(source: Source) -> Vec<Progress> {
    vec![Progress::Source(source)]
}

#[tokio::test]
async fn the_lower_part_is_looked_at_and_exported() {
    let decide: Decide = Arc::new(|halfway| {
        async move {
            assert_eq!(halfway.base.unwrap(), "configuration of docker.io/library/base:latest");
            assert_eq!(halfway.config, "{}");
            let tree = halfway.tree;
            let looking = tokio::task::spawn_blocking(move || {
                assert_eq!(tree.node("folder"), Ok(Some(Node::Folder(0o750, 7, 0))));
                assert_eq!(tree.node("other"), Ok(None));
                assert_eq!(tree.node("folder/x"), Ok(None));
                assert_eq!(tree.accounts("passwd"), Ok("/etc/passwd".to_owned()));
            });
            looking.await.unwrap();
            Ok(Some(2))
        }
        .boxed()
    });
    let ended = build(false, decide).await;
    assert_eq!(ended.exported.unwrap(), "lower");
    let calls = ["lower by ID", "list / of lower", "list /folder of lower", "exported by ID"];
    assert_eq!(ended.calls, calls, "a folder is listed once, and all is about one build");
    assert_eq!(ended.said, told(Source::Laid { builder: "a fake".to_owned(), instructions: 2 }));
}

#[tokio::test]
async fn the_whole_may_be_built_after_all() {
    let ended = build(false, Arc::new(|_| async { Ok(None) }.boxed())).await;
    assert_eq!(ended.exported.unwrap(), "whole");
    assert_eq!(ended.calls, ["lower by ID", "whole to app by ID", "exported by ID"]);
    assert_eq!(ended.said, told(Source::Session { builder: "a fake".to_owned() }));
}

#[tokio::test]
async fn a_lower_part_that_fails_is_a_build_that_fails() {
    let ended = build(true, Arc::new(|_| async { panic!("there is nothing to decide") }.boxed())).await;
    let Err(Error::Build(failure)) = ended.exported else { panic!() };
    assert!(failure.message.contains("exit code: 3"), "{failure:?}");
    assert!(ended.said.is_empty());
}

#[tokio::test]
async fn what_stands_in_the_way_ends_the_build() {
    let missing = || Error::Image { problem: "missing".to_owned() };
    let ended = build(false, Arc::new(move |_| async move { Err(missing()) }.boxed())).await;
    assert!(matches!(ended.exported, Err(Error::Image { .. })));
    assert_eq!(ended.calls, ["lower by ID"], "nothing is exported");
}

#[test]
fn what_a_builder_says_of_a_path_is_understood() {
    let stat = |mode, linkname: &str| Stat {
        path: "x".to_owned(),
        mode,
        linkname: linkname.to_owned(),
        uid: 7,
        gid: 8,
        ..Stat::default()
    };
    let (sticky, setgid) = (1 << 20, 1 << 22);
    for (stat, wanted) in [
        (stat(GO_FOLDER | sticky | 0o777, ""), Node::Folder(0o1777, 7, 8)),
        (stat(GO_FOLDER | setgid | 0o750, ""), Node::Folder(0o2750, 7, 8)),
        (stat(GO_LINK | 0o777, "to"), Node::Link("to".to_owned())),
        (stat(0o644, ""), Node::File),
        (stat(0o644, "another name"), Node::File),
    ] {
        assert_eq!(entry(stat), ("x".to_owned(), Some(wanted)));
    }
    let with = |name: &str| Stat { xattrs: [(name.to_owned(), vec![1])].into(), ..stat(GO_FOLDER | 0o755, "") };
    assert_eq!(entry(with("system.posix_acl_access")).1, None);
    assert_eq!(entry(with("security.selinux")).1, Some(Node::Folder(0o755, 7, 8)));
}
