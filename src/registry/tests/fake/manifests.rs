//! Manifests: given and taken.

use super::{Asked, Contents, Fake, error};
use crate::model::Digest;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// Gives or takes a manifest.
pub(super) fn manifest(fake: &Fake, path: &str, target: &str, asked: &Asked, body: &Bytes) -> Response {
    let mut contents = fake.contents();
    if asked.method == Method::PUT {
        return put(&mut contents, path, target, asked, body);
    }
    if asked.method == Method::DELETE {
        return delete(&mut contents, path, target);
    }
    let Some((media_type, bytes)) = contents.manifests.get(&(path.to_owned(), target.to_owned())).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut headers = digest_header(&Digest::of(&bytes), &contents);
    headers.insert(header::CONTENT_TYPE, media_type.parse().unwrap());
    if asked.method == Method::HEAD { headers.into_response() } else { (headers, bytes).into_response() }
}

/// Deletes a manifest with its tags.
fn delete(contents: &mut Contents, path: &str, digest: &str) -> Response {
    if let Some(status) = contents.faults.delete_statuses.pop_front().filter(|status| *status != 202) {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let before = contents.manifests.len();
    contents.manifests.retain(|(there, _), (_, bytes)| there != path || Digest::of(bytes).as_str() != digest);
    if contents.manifests.len() == before { StatusCode::NOT_FOUND } else { StatusCode::ACCEPTED }.into_response()
}

/// The digest that the registry says it sees.
fn digest_header(digest: &Digest, contents: &Contents) -> HeaderMap {
    let shown = if contents.faults.wrong_digest { Digest::of(b"another") } else { digest.clone() };
    let mut headers = HeaderMap::new();
    if !contents.faults.no_digest_header {
        headers.insert("docker-content-digest", shown.as_str().parse().unwrap());
    }
    headers
}

/// Takes a manifest whose blobs are there.
fn put(contents: &mut Contents, path: &str, target: &str, asked: &Asked, body: &Bytes) -> Response {
    if let Some(status) = contents.faults.manifest_statuses.pop_front() {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let digest = Digest::of(body);
    let parts: crate::image::Manifest = serde_json::from_slice(body).unwrap();
    let has = |blob: &Digest| contents.blobs.contains_key(&(path.to_owned(), blob.to_string()));
    let missing = parts.blobs().into_iter().filter(|blob| !has(&blob.digest)).map(|blob| blob.digest.to_string());
    let missing: Vec<String> = missing.collect();
    if !missing.is_empty() {
        let named = if contents.faults.unnamed_blobs { Vec::new() } else { missing };
        return error(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", &named);
    }
    let media_type = asked.header("content-type").unwrap().to_owned();
    let beside = asked.query.iter().filter(|(name, _)| name == "tag").map(|(_, tag)| tag.clone());
    let beside: Vec<String> = beside.take(contents.faults.tag_parameter).collect();
    let keys = [digest.as_str(), target].into_iter().map(str::to_owned).chain(beside.clone());
    for key in keys.collect::<Vec<_>>() {
        contents.manifests.insert((path.to_owned(), key), (media_type.clone(), body.clone()));
    }
    let mut headers = digest_header(&digest, contents);
    for tag in &beside {
        headers.append("oci-tag", tag.parse().unwrap());
    }
    (StatusCode::CREATED, headers).into_response()
}
