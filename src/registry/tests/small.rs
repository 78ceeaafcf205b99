//! A small registry in this process for artifacts: blobs and manifests, a list of artifacts where it is asked to keep one,
//! and switches for how others treat them. What can go wrong with uploads is tested elsewhere.

use crate::image::descriptor::media_type;
use crate::image::referrers::Links;
use crate::image::{Descriptor, Manifest};
use crate::model::{Digest, Repository};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Barrier, Notify};

/// What the registry holds, and how it behaves.
#[derive(Default)]
pub(crate) struct Contents {
    /// Blobs by digest.
    pub(crate) blobs: BTreeMap<String, Bytes>,
    /// Manifests by digest or tag.
    pub(crate) manifests: BTreeMap<String, Bytes>,
    /// Every request.
    pub(crate) log: Vec<String>,
    /// It keeps the lists of artifacts itself.
    pub(crate) keeps_lists: bool,
    /// Manifests with a subject are answered with this status.
    pub(crate) refuses: Option<u16>,
    /// So many manifests with a subject are taken, and no more.
    pub(crate) takes_artifacts: Option<usize>,
    /// Its own lists have so many entries on a page.
    pub(crate) page: Option<usize>,
    /// Where the next page of its lists is said to be.
    pub(crate) next_page: Option<String>,
    /// It offers conditional requests.
    pub(crate) conditional: bool,
    /// The next list that is written is overwritten at once by somebody else with this one.
    pub(crate) overwritten_by: Option<Bytes>,
    /// Before the next list is written somebody else writes this one.
    pub(crate) written_before: Option<Bytes>,
    /// Two writers of a list get in each other's way as badly as they can.
    pub(crate) race: Option<Arc<Race>>,
}

/// Two writers of one list: both read it before either has written, and the second writes only when the first has read its
/// own list back and is content with it.
pub(crate) struct Race {
    /// Both have read the list.
    both_have_read: Barrier,
    /// How often the list was read.
    reads: AtomicUsize,
    /// How often the list was written.
    writes: AtomicUsize,
    /// The first one has read its list back.
    is_content: Notify,
    /// The second one has overwritten it.
    is_overwritten: Notify,
}

impl Race {
    /// A race that has not begun.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            both_have_read: Barrier::new(2),
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            is_content: Notify::new(),
            is_overwritten: Notify::new(),
        })
    }

    /// Waits until it is this request's turn; what is to be told when it is answered.
    async fn turn(&self, method: &Method) -> Option<&Notify> {
        if *method == Method::PUT {
            if self.writes.fetch_add(1, Ordering::SeqCst) == 1 {
                self.is_content.notified().await;
                return Some(&self.is_overwritten);
            }
            return None;
        }
        match self.reads.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => {
                self.both_have_read.wait().await;
                None
            }
            2 => Some(&self.is_content),
            3 => {
                self.is_overwritten.notified().await;
                None
            }
            _ => None,
        }
    }
}

/// The registry; it goes away with the test's runtime.
#[derive(Clone)]
pub(crate) struct Small {
    /// What it holds.
    state: Arc<Mutex<Contents>>,
    /// Its only repository.
    pub(crate) repository: Repository,
}

impl Small {
    /// Starts a registry that knows nothing of artifacts.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = listener.local_addr().unwrap().to_string();
        let small = Self { state: Arc::default(), repository: Repository { registry, path: "shop/api".to_owned() } };
        let router = Router::new().fallback(answer).with_state(small.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        small
    }

    /// What it holds, to look or to change.
    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.state.lock().unwrap()
    }

    /// Puts an image of these layers under a tag; its manifest.
    pub(crate) fn seed(&self, tag: &str, layers: &[&[u8]]) -> Descriptor {
        let blob = |kind: &str, bytes: &[u8]| {
            let descriptor = Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
            self.contents().blobs.insert(descriptor.digest.to_string(), Bytes::copy_from_slice(bytes));
            descriptor
        };
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = blob(media_type::OCI_CONFIG, config.to_string().as_bytes());
        let layers = layers.iter().map(|layer| blob(media_type::OCI_LAYER_GZIP, layer)).collect();
        let bytes = Bytes::from(Manifest::new(config, layers).to_bytes().unwrap());
        let digest = Digest::of(&bytes);
        for target in [digest.as_str(), tag] {
            self.contents().manifests.insert(target.to_owned(), bytes.clone());
        }
        Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64)
    }

    /// The requests that change something, without blobs, as `PUT manifests/…`.
    pub(crate) fn writes(&self) -> Vec<String> {
        let prefix = format!("/v2/{}/", self.repository.path);
        let log = self.contents().log.clone();
        let writes = log.iter().filter(|line| line.starts_with("PUT ") && line.contains("/manifests/"));
        writes.map(|line| line.replace(&prefix, "")).collect()
    }
}

/// Answers any request, in the order of the race if there is one.
async fn answer(State(small): State<Small>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let race = small.contents().race.clone().filter(|_| uri.path().contains("/manifests/sha256-"));
    let Some(race) = race else { return respond(&small, method, &uri, &headers, body) };
    let next = race.turn(&method).await;
    let response = respond(&small, method, &uri, &headers, body);
    if let Some(next) = next {
        next.notify_one();
    }
    response
}

/// Answers any request.
fn respond(small: &Small, method: Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Response {
    let mut contents = small.contents();
    contents.log.push(format!("{method} {}", uri.path()));
    let Some(path) = uri.path().strip_prefix("/v2/shop/api/") else { return StatusCode::OK.into_response() };
    if let Some(upload) = path.strip_prefix("blobs/uploads/") {
        if upload.is_empty() {
            return (StatusCode::ACCEPTED, [(header::LOCATION, "/v2/shop/api/blobs/uploads/1")]).into_response();
        }
        contents.blobs.insert(Digest::of(&body).to_string(), body);
        return StatusCode::CREATED.into_response();
    }
    if let Some(digest) = path.strip_prefix("blobs/") {
        let found = contents.blobs.get(digest).cloned();
        return found.map_or(StatusCode::NOT_FOUND.into_response(), axum::response::IntoResponse::into_response);
    }
    if let Some(subject) = path.strip_prefix("referrers/") {
        return referrers(&contents, subject, uri);
    }
    if path == "tags/list" {
        let tags: Vec<_> = contents.manifests.keys().filter(|target| !target.contains(':')).collect();
        return serde_json::json!({ "tags": tags }).to_string().into_response();
    }
    match (path.strip_prefix("manifests/"), method) {
        (Some(target), Method::PUT) => put(&mut contents, target, headers, body),
        (Some(digest), Method::DELETE) => {
            contents.manifests.retain(|_, bytes| Digest::of(bytes).as_str() != digest);
            StatusCode::ACCEPTED.into_response()
        }
        (Some(target), _) => give(&contents, target),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The list of a subject's artifacts, or a page of it.
fn referrers(contents: &Contents, subject: &str, uri: &Uri) -> Response {
    if !contents.keeps_lists {
        return StatusCode::NOT_FOUND.into_response();
    }
    let about = contents.manifests.iter().filter(|(target, _)| target.contains(':')).filter_map(|(digest, bytes)| {
        let links = Links::of(bytes).ok()?;
        (links.subject?.digest.as_str() == subject).then(|| {
            serde_json::json!({
                "mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": bytes.len(),
                "artifactType": links.artifact_type, "annotations": links.annotations,
            })
        })
    });
    let list: Vec<_> = about.collect();
    let from: usize = uri.query().and_then(|query| query.strip_prefix("from=")?.parse().ok()).unwrap_or(0);
    let page = contents.page.unwrap_or(list.len());
    let shown: Vec<_> = list.iter().skip(from).take(page).collect();
    let next = (from + page < list.len()).then(|| format!("{}?from={}", uri.path(), from + page));
    let shown = if list.is_empty() { serde_json::Value::Null } else { serde_json::json!(shown) };
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": shown });
    match contents.next_page.clone().or(next) {
        Some(next) => ([(header::LINK, format!("<{next}>; rel=\"next\""))], index.to_string()).into_response(),
        None => index.to_string().into_response(),
    }
}

/// Gives a manifest.
fn give(contents: &Contents, target: &str) -> Response {
    let Some(bytes) = contents.manifests.get(target).cloned() else { return StatusCode::NOT_FOUND.into_response() };
    let digest = Digest::of(&bytes);
    let etag = if contents.conditional { format!("\"{digest}\"") } else { String::new() };
    let headers = [("docker-content-digest", digest.to_string()), ("etag", etag)];
    let headers: HeaderMap = headers
        .into_iter()
        .filter(|(_, v)| !v.is_empty())
        .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
        .collect();
    (headers, bytes).into_response()
}

/// Takes a manifest.
fn put(contents: &mut Contents, target: &str, headers: &HeaderMap, body: Bytes) -> Response {
    let links = Links::of(&body).unwrap();
    let takes_more = contents.takes_artifacts.as_mut().filter(|_| links.subject.is_some()).map(|left| {
        let more = *left > 0;
        *left = left.saturating_sub(1);
        more
    });
    let refuses = if takes_more == Some(false) { Some(400) } else { contents.refuses };
    if let Some(status) = refuses.filter(|_| links.subject.is_some()) {
        let body = r#"{"errors":[{"code":"MANIFEST_INVALID","message":"no artifacts here"}]}"#;
        return (StatusCode::from_u16(status).unwrap(), body).into_response();
    }
    let is_list = target.starts_with("sha256-");
    if let Some(other) = contents.written_before.take_if(|_| is_list) {
        contents.manifests.insert(target.to_owned(), other);
    }
    let now = contents.manifests.get(target).map(|bytes| format!("\"{}\"", Digest::of(bytes)));
    let wanted = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let stale = wanted("if-match").is_some_and(|wanted| now.as_ref() != Some(&wanted))
        || wanted("if-none-match").is_some_and(|_| now.is_some());
    if stale && contents.conditional {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    let digest = Digest::of(&body).to_string();
    contents.manifests.insert(digest.clone(), body.clone());
    let written = contents.overwritten_by.take_if(|_| is_list).unwrap_or(body);
    contents.manifests.insert(target.to_owned(), written);
    let mut answer = (StatusCode::CREATED, [("docker-content-digest", digest)]).into_response();
    if let Some(subject) = links.subject.filter(|_| contents.keeps_lists) {
        answer.headers_mut().insert("oci-subject", subject.digest.as_str().parse().unwrap());
    }
    answer
}
