//! A registry in this process, with a switch for each thing that real ones do wrong.

mod faults;
mod manifests;
mod token;
mod uploads;

pub(crate) use faults::Faults;

use crate::model::Digest;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use uploads::Session;

/// What the registry holds and what it was asked.
#[derive(Default)]
pub(crate) struct Contents {
    /// Blobs by repository and digest.
    pub(crate) blobs: BTreeMap<(String, String), Bytes>,
    /// Manifests by repository and digest or tag: media type and bytes.
    pub(crate) manifests: BTreeMap<(String, String), (String, Bytes)>,
    /// Open sessions.
    pub(crate) sessions: HashMap<String, Session>,
    /// Every request: `PUT /v2/…`, the query included.
    pub(crate) log: Vec<String>,
    /// Requests that carried an `Authorization` header, in the same order.
    pub(crate) authorizations: Vec<Option<String>>,
    /// Bytes of bodies of uploads that were read.
    pub(crate) received: u64,
    /// How often an upload of each digest was finished, by a body and not by a mount.
    pub(crate) finished: BTreeMap<String, usize>,
    /// The tokens that are good. Each ends with the scopes that it stands for.
    pub(crate) tokens: Vec<String>,
    /// Blob PUTs that run now.
    puts: usize,
    /// What goes wrong.
    pub(crate) faults: Faults,
    /// How many sessions were begun.
    count: usize,
}

/// The registry; it goes away with the test's runtime.
#[derive(Clone)]
pub(crate) struct Fake {
    /// What it holds.
    state: Arc<Mutex<Contents>>,
    /// `127.0.0.1:12345`.
    pub(crate) host: String,
}

impl Fake {
    /// Starts a registry without faults.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self { state: Arc::default(), host: listener.local_addr().unwrap().to_string() };
        fake.faults(|faults| faults.token_life = 900);
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    /// What it holds, to look or to change.
    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes what goes wrong.
    pub(crate) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.contents().faults);
    }

    /// The requests so far, without those of the log-in.
    pub(crate) fn log(&self) -> Vec<String> {
        let all = self.contents().log.clone();
        all.into_iter().filter(|line| !line.contains("/token") && !line.ends_with("/v2/")).collect()
    }

    /// The requests so far, one a line, with names instead of digests and numbers. What ran side by side is sorted.
    pub(crate) fn sequence(&self, names: &[(&Digest, &str)]) -> String {
        let mut lines: Vec<String> = self.log().iter().map(|line| named(line, names)).collect();
        // Everything before the first manifest that is put ran side by side.
        let end = lines.iter().position(|line| line.starts_with("PUT") && line.contains("/manifests/"));
        lines[..end.unwrap_or(0)].sort_by_key(|line| line.rsplit_once("  ").map(|(_, blob)| blob.to_owned()));
        lines.join("\n")
    }

    /// How many requests there were that begin so.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.contents().log.iter().filter(|line| line.starts_with(start)).count()
    }

    /// Forgets what was asked so far.
    pub(crate) fn forget(&self) {
        let mut contents = self.contents();
        contents.log.clear();
        contents.authorizations.clear();
        contents.received = 0;
    }

    /// A repository of this registry.
    pub(crate) fn repository(&self, path: &str) -> crate::model::Repository {
        crate::model::Repository { registry: self.host.clone(), path: path.to_owned() }
    }

    /// Puts an image of one layer for a platform into a repository; its manifest's digest.
    pub(crate) fn seed(&self, path: &str, tag: &str, layer: &[u8]) -> Digest {
        use crate::image::{Descriptor, Manifest, descriptor::media_type};
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(layer)] },
        });
        let config = serde_json::to_vec(&config).unwrap();
        let describe = |kind: &str, bytes: &[u8]| Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
        let layers = vec![describe(media_type::OCI_LAYER_GZIP, layer)];
        let manifest = Manifest::new(describe(media_type::OCI_CONFIG, &config), layers).to_bytes().unwrap();
        let mut contents = self.contents();
        for blob in [config.as_slice(), layer] {
            let key = (path.to_owned(), Digest::of(blob).to_string());
            contents.blobs.insert(key, Bytes::copy_from_slice(blob));
        }
        let digest = Digest::of(&manifest);
        for target in [digest.as_str(), tag] {
            let value = (media_type::OCI_MANIFEST.to_owned(), Bytes::from(manifest.clone()));
            contents.manifests.insert((path.to_owned(), target.to_owned()), value);
        }
        digest
    }
}

/// A line of the log with names: the host and the number of a session go, a digest becomes a name.
fn named(line: &str, names: &[(&Digest, &str)]) -> String {
    let mut line = line.replace("sha256%3A", "sha256:").replace("?_state=a%2Fb&offset=", "?at=");
    for (digest, name) in names {
        line = line.replace(digest.as_str(), name);
    }
    while let Some(at) = line.find("session-") {
        let rest = line[at + 8..].trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
        line = format!("{}SESSION{rest}", &line[..at]);
    }
    line
}

/// A request without its body.
struct Asked {
    /// Its method.
    method: Method,
    /// Its path.
    path: String,
    /// Its query.
    query: Vec<(String, String)>,
    /// Its headers.
    headers: HeaderMap,
}

impl Asked {
    /// A parameter of the query.
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    /// A header.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Answers any request, with the warning if there is one.
async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let mut response = respond(&fake, request).await;
    if let Some(warning) = &fake.contents().faults.warning {
        response.headers_mut().append(header::WARNING, HeaderValue::from_str(warning).unwrap());
    }
    response
}

/// Answers any request.
async fn respond(fake: &Fake, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let asked = Asked { method: parts.method, path: parts.uri.path().to_owned(), query, headers: parts.headers };
    {
        let mut contents = fake.contents();
        contents.log.push(format!("{} {}", asked.method, parts.uri));
        contents.authorizations.push(asked.header("authorization").map(str::to_owned));
    }
    if asked.path == "/token" {
        return token::token(fake, &asked, body).await;
    }
    if let Some(refusal) = token::unauthorized(fake, &asked) {
        return refusal;
    }
    if let Some(refusal) = refused(fake) {
        return refusal;
    }
    let rest = asked.path.trim_start_matches("/v2/").to_owned();
    if rest.is_empty() {
        return StatusCode::OK.into_response();
    }
    if let Some((path, upload)) = rest.split_once("/blobs/uploads/") {
        return uploads::upload(fake, path, upload, &asked, body).await;
    }
    let gather =
        fake.contents().faults.gather.clone().filter(|_| asked.method == Method::GET && !rest.contains("/tags/"));
    if let Some(gather) = gather {
        gather.wait().await;
    }
    if let Some((path, digest)) = rest.split_once("/blobs/") {
        return blob(fake, path, digest, &asked);
    }
    if let Some((path, target)) = rest.split_once("/manifests/") {
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        return manifests::manifest(fake, path, target, &asked, &body);
    }
    let Some(path) = rest.strip_suffix("/tags/list") else { return StatusCode::NOT_FOUND.into_response() };
    let contents = fake.contents();
    let wanted = asked.parameter("n").map_or(0, |n| n.parse().unwrap());
    if contents.faults.largest_page.is_some_and(|largest| wanted > largest) {
        return error(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", &[]);
    }
    let keys = contents.manifests.keys().filter(|(there, target)| there == path && !target.contains(':'));
    let tags: Vec<_> = keys.map(|(_, target)| target.clone()).collect();
    axum::Json(serde_json::json!({ "name": path, "tags": tags })).into_response()
}

/// The next status that was asked for.
fn refused(fake: &Fake) -> Option<Response> {
    let mut contents = fake.contents();
    let status = contents.faults.statuses.pop_front()?;
    Some(refusal(status, contents.faults.retry_after.as_deref()))
}

/// A refusal with a status, perhaps with `Retry-After`.
fn refusal(status: u16, retry_after: Option<&str>) -> Response {
    let mut response = StatusCode::from_u16(status).unwrap().into_response();
    if let Some(after) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_str(after).unwrap());
    }
    response
}

/// The protocol's error.
fn error(status: StatusCode, code: &str, detail: &[String]) -> Response {
    let errors: Vec<_> = if detail.is_empty() {
        vec![serde_json::json!({ "code": code, "message": "as the fake says" })]
    } else {
        let one = |detail| serde_json::json!({ "code": code, "message": "as the fake says", "detail": detail });
        detail.iter().map(one).collect()
    };
    (status, axum::Json(serde_json::json!({ "errors": errors }))).into_response()
}

/// Gives a blob.
fn blob(fake: &Fake, path: &str, digest: &str, asked: &Asked) -> Response {
    let contents = fake.contents();
    if let Some(message) = &contents.faults.forbidden {
        return if asked.method == Method::HEAD {
            StatusCode::FORBIDDEN.into_response()
        } else {
            (StatusCode::FORBIDDEN, message.clone()).into_response()
        };
    }
    let Some(bytes) = contents.blobs.get(&(path.to_owned(), digest.to_owned())).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if let Some(host) = &contents.faults.redirect_blobs {
        let location = format!("http://{host}/v2/{path}/blobs/{digest}?X-Amz-Signature=abc");
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response();
    }
    if asked.method == Method::HEAD { StatusCode::OK.into_response() } else { bytes.into_response() }
}
