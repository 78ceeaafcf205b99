//! A registry in this process, with a switch for each thing that real ones do wrong.

use crate::model::Digest;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use futures::StreamExt as _;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

/// What the registry does wrong, or differently.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Faults {
    /// So many blob PUTs are cut in the middle.
    pub(crate) cut_puts: u32,
    /// These statuses answer the next blob PUTs.
    pub(crate) put_statuses: VecDeque<u16>,
    /// These statuses answer the next requests of any kind.
    pub(crate) statuses: VecDeque<u16>,
    /// A refused mount comes with a session (202) instead of an error.
    pub(crate) mount_gives_session: bool,
    /// A possible mount is done.
    pub(crate) mounts: bool,
    /// `Location` is relative.
    pub(crate) relative_location: bool,
    /// `Location` is on this host.
    pub(crate) foreign_location: Option<String>,
    /// Manifest PUTs are answered with another digest.
    pub(crate) wrong_digest: bool,
    /// No digest header in answers.
    pub(crate) no_digest_header: bool,
    /// Blobs are redirected to this server.
    pub(crate) redirect_blobs: Option<String>,
    /// Blob PUTs are never answered.
    pub(crate) hang_puts: bool,
    /// User and password that the token service wants; tokens are wanted for everything then.
    pub(crate) login: Option<(String, String)>,
    /// The life of a token in seconds, as the service says.
    pub(crate) token_life: u64,
}

/// What the registry holds and what it was asked.
#[derive(Default)]
pub(crate) struct Contents {
    /// Blobs by repository and digest.
    pub(crate) blobs: BTreeMap<(String, String), Bytes>,
    /// Manifests by repository and digest or tag: media type and bytes.
    pub(crate) manifests: BTreeMap<(String, String), (String, Bytes)>,
    /// Open sessions.
    pub(crate) sessions: HashMap<String, String>,
    /// Every request: `PUT /v2/…`, the query included.
    pub(crate) log: Vec<String>,
    /// Requests that carried an `Authorization` header, in the same order.
    pub(crate) authorizations: Vec<Option<String>>,
    /// The tokens that are good.
    pub(crate) tokens: Vec<String>,
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
        self.state.lock().unwrap()
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

    /// How many requests there were that begin so.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.contents().log.iter().filter(|line| line.starts_with(start)).count()
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

/// A request without its body.
struct Asked {
    /// Its method.
    method: Method,
    /// Its path.
    path: String,
    /// Its query.
    query: HashMap<String, String>,
    /// Its headers.
    headers: HeaderMap,
}

/// Answers any request.
async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let asked = Asked { method: parts.method, path: parts.uri.path().to_owned(), query, headers: parts.headers };
    {
        let mut contents = fake.contents();
        contents.log.push(format!("{} {}", asked.method, parts.uri));
        let authorization = asked.headers.get(header::AUTHORIZATION);
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        contents.authorizations.push(authorization);
    }
    if asked.path == "/token" {
        return token(&fake, &asked);
    }
    if let Some(refusal) = unauthorized(&fake, &asked) {
        return refusal;
    }
    if let Some(status) = fake.contents().faults.statuses.pop_front() {
        return status_of(status).into_response();
    }
    let rest = asked.path.trim_start_matches("/v2/").to_owned();
    if rest.is_empty() {
        return StatusCode::OK.into_response();
    }
    if let Some((path, upload)) = rest.split_once("/blobs/uploads/") {
        return if upload.is_empty() {
            begin(&fake, path, &asked)
        } else {
            put(&fake, path, upload, &asked, body).await
        };
    }
    if let Some((path, digest)) = rest.split_once("/blobs/") {
        return blob(&fake, path, digest, &asked);
    }
    if let Some((path, target)) = rest.split_once("/manifests/") {
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        return manifest(&fake, path, target, &asked, &body);
    }
    let path = rest.trim_end_matches("/tags/list");
    let contents = fake.contents();
    let keys = contents.manifests.keys().filter(|(there, target)| there == path && !target.contains(':'));
    let tags: Vec<_> = keys.map(|(_, target)| target.clone()).collect();
    axum::Json(serde_json::json!({ "name": path, "tags": tags })).into_response()
}

/// A status that is written as a number.
fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap()
}

/// The token service: GET only, as DigitalOcean's.
fn token(fake: &Fake, asked: &Asked) -> Response {
    let mut contents = fake.contents();
    if asked.method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let (user, password) = contents.faults.login.clone().unwrap_or_default();
    let wanted = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let given = asked.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    if given != Some(format!("Basic {wanted}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let token = format!("token-{}", contents.log.len());
    contents.tokens.push(token.clone());
    let life = contents.faults.token_life;
    axum::Json(serde_json::json!({ "token": token, "expires_in": life })).into_response()
}

/// The refusal of a request without a good token.
fn unauthorized(fake: &Fake, asked: &Asked) -> Option<Response> {
    let contents = fake.contents();
    contents.faults.login.as_ref()?;
    let given = asked.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap());
    let good = contents.tokens.iter().any(|token| given == Some(&format!("Bearer {token}")));
    let challenge = format!(r#"Bearer realm="http://{}/token",service="fake",scope="a:b:pull,push""#, fake.host);
    (!good).then(|| (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response())
}

/// Begins a session, or mounts.
fn begin(fake: &Fake, path: &str, asked: &Asked) -> Response {
    let mut contents = fake.contents();
    if let (Some(digest), Some(from)) = (asked.query.get("mount"), asked.query.get("from")) {
        let there = contents.blobs.get(&(from.clone(), digest.clone())).cloned();
        match there {
            Some(bytes) if contents.faults.mounts => {
                contents.blobs.insert((path.to_owned(), digest.clone()), bytes);
                return StatusCode::CREATED.into_response();
            }
            _ if !contents.faults.mount_gives_session => return StatusCode::BAD_REQUEST.into_response(),
            _ => {}
        }
    }
    contents.count += 1;
    let id = format!("session-{}", contents.count);
    contents.sessions.insert(id.clone(), path.to_owned());
    let relative = format!("/v2/{path}/blobs/uploads/{id}?_state=a%2Fb");
    let location = match &contents.faults.foreign_location {
        Some(host) => format!("http://{host}{relative}"),
        None if contents.faults.relative_location => relative,
        None => format!("http://{}{relative}", fake.host),
    };
    (StatusCode::ACCEPTED, [(header::LOCATION, location)]).into_response()
}

/// Takes a blob, or ends a session.
async fn put(fake: &Fake, path: &str, upload: &str, asked: &Asked, body: Body) -> Response {
    if asked.method == Method::DELETE {
        let ended = fake.contents().sessions.remove(upload);
        return if ended.is_some() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }.into_response();
    }
    if fake.contents().faults.hang_puts {
        std::future::pending::<()>().await;
    }
    let cut = {
        let mut contents = fake.contents();
        let cut = contents.faults.cut_puts > 0;
        contents.faults.cut_puts = contents.faults.cut_puts.saturating_sub(1);
        cut
    };
    if cut {
        let _ = body.into_data_stream().next().await;
        std::panic::resume_unwind(Box::new("cut")); // ends the connection without an answer
    }
    let status = fake.contents().faults.put_statuses.pop_front();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    if let Some(status) = status {
        if status == 401 {
            fake.contents().tokens.clear();
        }
        return status_of(status).into_response();
    }
    assert_eq!(asked.query.get("_state").map(String::as_str), Some("a/b"), "the query of the session must survive");
    let mut contents = fake.contents();
    if contents.sessions.remove(upload).is_none() {
        let body = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown"}]}"#;
        return (StatusCode::NOT_FOUND, body).into_response();
    }
    let digest = asked.query["digest"].clone();
    if Digest::of(&bytes).as_str() != digest {
        return (StatusCode::BAD_REQUEST, r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#).into_response();
    }
    contents.blobs.insert((path.to_owned(), digest), bytes);
    StatusCode::CREATED.into_response()
}

/// Gives a blob.
fn blob(fake: &Fake, path: &str, digest: &str, asked: &Asked) -> Response {
    let contents = fake.contents();
    let Some(bytes) = contents.blobs.get(&(path.to_owned(), digest.to_owned())).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if let Some(host) = &contents.faults.redirect_blobs {
        let location = format!("http://{host}/v2/{path}/blobs/{digest}?X-Amz-Signature=abc");
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response();
    }
    if asked.method == Method::HEAD { StatusCode::OK.into_response() } else { bytes.into_response() }
}

/// Gives or takes a manifest.
fn manifest(fake: &Fake, path: &str, target: &str, asked: &Asked, body: &Bytes) -> Response {
    let mut contents = fake.contents();
    let digest_header = |digest: &Digest, contents: &Contents| {
        let shown = if contents.faults.wrong_digest { Digest::of(b"another") } else { digest.clone() };
        let mut headers = HeaderMap::new();
        if !contents.faults.no_digest_header {
            headers.insert("docker-content-digest", shown.as_str().parse().unwrap());
        }
        headers
    };
    if asked.method == Method::PUT {
        let digest = Digest::of(body);
        let parts: crate::image::Manifest = serde_json::from_slice(body).unwrap();
        let has = |blob: &Digest| contents.blobs.contains_key(&(path.to_owned(), blob.to_string()));
        if !parts.blobs().iter().all(|blob| has(&blob.digest)) {
            let body = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#;
            return (StatusCode::BAD_REQUEST, body).into_response();
        }
        let media_type = asked.headers[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        for key in [digest.as_str(), target] {
            contents.manifests.insert((path.to_owned(), key.to_owned()), (media_type.clone(), body.clone()));
        }
        return (StatusCode::CREATED, digest_header(&digest, &contents)).into_response();
    }
    let Some((media_type, bytes)) = contents.manifests.get(&(path.to_owned(), target.to_owned())).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut headers = digest_header(&Digest::of(&bytes), &contents);
    headers.insert(header::CONTENT_TYPE, media_type.parse().unwrap());
    if asked.method == Method::HEAD { headers.into_response() } else { (headers, bytes).into_response() }
}
