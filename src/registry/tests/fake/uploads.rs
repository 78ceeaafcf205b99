//! Uploads: sessions, chunks, mounts.

use super::{Asked, Contents, Fake, error, refusal};
use crate::model::Digest;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use std::collections::VecDeque;
use std::time::Duration;

/// An open session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    /// The repository's path.
    path: String,
    /// What it holds.
    bytes: Vec<u8>,
    /// What comes after a cut, when it is asked next.
    late: VecDeque<Vec<u8>>,
    /// It takes no more chunks: those that come are dropped.
    is_deaf: bool,
    /// Its last chunk was shorter than any but the last may be.
    is_short: bool,
}

/// Answers a request to the uploads of a repository; `upload` is the name of a session, or nothing.
pub(super) async fn upload(fake: &Fake, path: &str, upload: &str, asked: &Asked, body: Body) -> Response {
    if upload.is_empty() {
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        return begin(fake, path, asked, &body);
    }
    match asked.method {
        Method::DELETE => {
            let ended = fake.contents().sessions.remove(upload);
            if ended.is_some() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }.into_response()
        }
        Method::GET => status(fake, upload, asked),
        Method::PATCH => patch(fake, upload, asked, body).await,
        _ => put(fake, path, upload, asked, body).await,
    }
}

/// Begins a session, or mounts, or takes a blob at once.
fn begin(fake: &Fake, path: &str, asked: &Asked, body: &Bytes) -> Response {
    let mut contents = fake.contents();
    contents.received += body.len() as u64;
    if let Some(status) = contents.faults.gamble_status.filter(|_| !asked.query.is_empty()) {
        return refusal(status, None);
    }
    if contents.faults.mount_wants_from && asked.parameter("mount").is_some() && asked.parameter("from").is_none() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    if let (Some(digest), Some(from)) = (asked.parameter("mount"), asked.parameter("from")) {
        let may_read = asked.header("authorization").is_some_and(|token| token.contains(&format!(":{from}:pull")));
        let there = contents.blobs.get(&(from.to_owned(), digest.to_owned())).cloned();
        let there = there.filter(|_| may_read || !contents.faults.mount_wants_scope);
        match there {
            Some(bytes) if contents.faults.mounts => {
                contents.blobs.insert((path.to_owned(), digest.to_owned()), bytes);
                return StatusCode::CREATED.into_response();
            }
            _ if !contents.faults.mount_gives_session => return StatusCode::BAD_REQUEST.into_response(),
            _ => {}
        }
    }
    if let Some(digest) = asked.parameter("digest") {
        if contents.faults.no_single_post {
            return StatusCode::BAD_REQUEST.into_response();
        }
        if contents.faults.single_post {
            assert_eq!(Digest::of(body).as_str(), digest);
            *contents.finished.entry(digest.to_owned()).or_default() += 1;
            contents.blobs.insert((path.to_owned(), digest.to_owned()), body.clone());
            return StatusCode::CREATED.into_response();
        }
    } else {
        assert_eq!(asked.header("content-length"), Some("0"), "a POST without a body says so");
    }
    contents.count += 1;
    let id = format!("session-{}", contents.count);
    contents.sessions.insert(id.clone(), Session { path: path.to_owned(), ..Session::default() });
    (StatusCode::ACCEPTED, session_headers(fake, &contents, &id)).into_response()
}

/// Where a session goes on, and what it holds.
fn session_headers(fake: &Fake, contents: &Contents, id: &str) -> HeaderMap {
    let session = &contents.sessions[id];
    let (path, held) = (&session.path, session.bytes.len());
    let relative = format!("/v2/{path}/blobs/uploads/{id}?_state=a%2Fb&offset={held}");
    let location = match &contents.faults.foreign_location {
        Some(host) => format!("http://{host}{relative}"),
        None if contents.faults.relative_location => relative,
        None => format!("http://{}{relative}", fake.host),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, location.parse().unwrap());
    headers.insert(header::RANGE, format!("0-{}", held.saturating_sub(1)).parse().unwrap());
    if let Some(length) = contents.faults.shortest_chunk {
        headers.insert("oci-chunk-min-length", length.into());
    }
    headers
}

/// Says what a session holds.
fn status(fake: &Fake, id: &str, asked: &Asked) -> Response {
    let mut contents = fake.contents();
    if is_stale(&contents, id, asked) {
        contents.sessions.remove(id);
        return error(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", &[]);
    }
    if !contents.sessions.contains_key(id) {
        return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", &[]);
    }
    let headers = session_headers(fake, &contents, id);
    let session = contents.sessions.get_mut(id).unwrap();
    session.bytes.extend(session.late.pop_front().unwrap_or_default());
    (StatusCode::NO_CONTENT, headers).into_response()
}

impl Session {
    /// Takes a body in. A cut one comes in steps: the first now, the others later; what meets another writer is mixed up.
    fn take(&mut self, bytes: &[u8], late_steps: usize) {
        let mut pieces = bytes.chunks((bytes.len() / (late_steps + 1)).max(1)).map(<[u8]>::to_vec);
        let others = std::mem::take(&mut self.late);
        self.bytes.extend(pieces.next().unwrap_or_default());
        self.bytes.extend(others.into_iter().flatten());
        self.late = pieces.collect();
    }
}

/// Whether a request carries a state that is not the session's last, where that matters.
fn is_stale(contents: &Contents, id: &str, asked: &Asked) -> bool {
    assert_eq!(asked.parameter("_state"), Some("a/b"), "the query of the session must survive");
    let held = contents.sessions.get(id).map(|session| session.bytes.len().to_string());
    contents.faults.stale_state_cancels && held.as_deref() != asked.parameter("offset")
}

/// Reads a body, up to `cut` bytes.
async fn read(fake: &Fake, body: Body, cut: Option<usize>) -> Vec<u8> {
    let (mut bytes, mut pieces) = (Vec::new(), body.into_data_stream());
    while let Some(Ok(piece)) = pieces.next().await {
        bytes.extend_from_slice(&piece);
        if cut.is_some_and(|cut| bytes.len() >= cut) {
            break;
        }
    }
    bytes.truncate(cut.unwrap_or(usize::MAX));
    fake.contents().received += bytes.len() as u64;
    bytes
}

/// Ends the connection without an answer.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("cut"))
}

/// Half of a body, if it is to be cut.
fn cut(counter: &mut u32, asked: &Asked) -> Option<usize> {
    let length = asked.header("content-length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(1 << 20);
    let cut = *counter > 0;
    *counter = counter.saturating_sub(1);
    cut.then_some(length / 2)
}

/// Takes a chunk.
async fn patch(fake: &Fake, id: &str, asked: &Asked, body: Body) -> Response {
    let (cut, refused) = {
        let mut contents = fake.contents();
        let status = contents.faults.patch_statuses.pop_front();
        let refused = status.map(|status| refusal(status, contents.faults.retry_after.as_deref()));
        let cut_after = contents.faults.cut_after;
        let cut = cut(&mut contents.faults.cut_patches, asked).map(|half| cut_after.unwrap_or(half));
        (cut, refused)
    };
    if let Some(refused) = refused {
        axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        return refused;
    }
    let bytes = read(fake, body, cut).await;
    let mut contents = fake.contents();
    if contents.faults.no_chunks && asked.header("content-range").is_some() {
        return error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", &[]);
    }
    if is_stale(&contents, id, asked) {
        contents.sessions.remove(id);
    }
    let (longest, first_only) = (contents.faults.longest_chunk, contents.faults.first_chunk_only);
    let shortest = contents.faults.shortest_chunk;
    let late_steps = if cut.is_some() { contents.faults.late_steps } else { 0 };
    let Some(session) = contents.sessions.get_mut(id) else {
        return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", &[]);
    };
    if session.is_short {
        contents.sessions.remove(id);
        return error(StatusCode::BAD_REQUEST, "SIZE_INVALID", &[]);
    }
    session.is_short = shortest.is_some_and(|shortest| bytes.len() < shortest);
    let range = asked.header("content-range");
    let start = range.map(|range| range.split_once('-').unwrap().0.parse::<usize>().unwrap());
    if start.is_some_and(|start| start != session.bytes.len()) {
        return error(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", &[]);
    }
    if longest.is_some_and(|longest| bytes.len() > longest) {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    if !session.is_deaf {
        session.take(&bytes, late_steps);
    }
    session.is_deaf = first_only && start.is_some();
    if cut.is_some() {
        drop(contents);
        hang_up();
    }
    let status = if contents.sessions[id].is_deaf { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    (status, session_headers(fake, &contents, id)).into_response()
}

/// What distribution says of a session whose beginning another one of several registries holds.
fn lost_path(id: &str) -> Response {
    let detail = format!("s3aws: Path not found: /docker/registry/v2/repositories/shop/api/_uploads/{id}/data");
    let one = serde_json::json!({ "code": "UNKNOWN", "message": "unknown error", "detail": detail });
    (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(serde_json::json!({ "errors": [one] }))).into_response()
}

/// Takes the rest of a blob.
async fn put(fake: &Fake, path: &str, id: &str, asked: &Asked, body: Body) -> Response {
    let delay = fake.contents().faults.commit_delay;
    while fake.contents().faults.hang_puts {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if fake.contents().faults.refused_path.as_deref() == Some(path) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let cut = cut(&mut fake.contents().faults.cut_puts, asked);
    let at_once = {
        let mut contents = fake.contents();
        contents.puts += 1;
        contents.puts
    };
    let bytes = read(fake, body, cut).await;
    tokio::time::sleep(delay).await;
    let mut contents = fake.contents();
    contents.puts -= 1;
    if contents.faults.puts_at_once.is_some_and(|most| at_once > most) {
        contents.sessions.remove(id);
        return lost_path(id);
    }
    let is_lost = contents.faults.lose_blobs > 0 && bytes.len() > 1000;
    contents.faults.lose_blobs -= u32::from(is_lost);
    if is_lost || contents.faults.wants_patch && !bytes.is_empty() {
        contents.sessions.remove(id);
        return error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", &[]);
    }
    if cut.is_none()
        && let Some(status) = contents.faults.put_statuses.pop_front()
    {
        if status == 401 {
            contents.tokens.clear();
        }
        return refusal(status, contents.faults.retry_after.as_deref());
    }
    if is_stale(&contents, id, asked) {
        contents.sessions.remove(id);
    }
    let late_steps = if cut.is_some() { contents.faults.late_steps } else { 0 };
    let Some(session) = contents.sessions.get_mut(id) else {
        return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", &[]);
    };
    let start = asked.header("content-range").map(|range| range.split_once('-').unwrap().0.parse::<usize>().unwrap());
    if start.is_some_and(|start| start != session.bytes.len()) {
        return error(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", &[]);
    }
    session.take(&bytes, late_steps);
    if cut.is_some() {
        if contents.faults.tokens_die_with_cuts {
            contents.tokens.clear();
        }
        drop(contents);
        hang_up();
    }
    let session = contents.sessions.remove(id).unwrap();
    let mut bytes = Bytes::from(session.bytes);
    if std::mem::take(&mut contents.faults.forget_half) {
        bytes.truncate(bytes.len() / 2);
    }
    let digest = asked.parameter("digest").unwrap().to_owned();
    if Digest::of(&bytes).as_str() != digest {
        return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", &[]);
    }
    *contents.finished.entry(digest.clone()).or_default() += 1;
    contents.blobs.insert((path.to_owned(), digest), bytes);
    let swallow = contents.faults.swallow_put_answers > 0;
    contents.faults.swallow_put_answers = contents.faults.swallow_put_answers.saturating_sub(1);
    if swallow {
        drop(contents);
        hang_up();
    }
    StatusCode::CREATED.into_response()
}
