//! Uploads that a registry has lost, and what is worth another try.

use super::error::Error;
use crate::http::Retry;
use reqwest::StatusCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// A judge that lets a dead token be replaced once, at once, and lost sessions be tried again.
pub(crate) fn judge_once() -> impl Fn(&Error) -> Retry {
    let renewed = AtomicBool::new(false);
    move |error: &Error| match error.status() {
        Some(StatusCode::UNAUTHORIZED) if !renewed.swap(true, Ordering::Relaxed) => Retry::Now,
        _ if lost_session(error) => Retry::Later,
        _ => error.retry(),
    }
}

/// Whether the registry has lost the session, or what arrived is not what was sent: a new session may do better.
pub(crate) fn lost_session(error: &Error) -> bool {
    let lost =
        ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", NO_BLOB, "DIGEST_INVALID", "SIZE_INVALID", "RANGE_INVALID"];
    let Error::Refused { refusal, .. } = error else { return false };
    error.code().is_some_and(|code| lost.contains(&code))
        || refusal.status == StatusCode::RANGE_NOT_SATISFIABLE
        || refusal.status.is_server_error() && refusal.message.as_deref().is_some_and(has_lost_path)
}

/// The code of a blob that is not there. As an answer to an upload: it was lost, as GHCR says
/// (<https://github.com/GoogleContainerTools/jib/issues/4301>), or was not looked for in this request.
pub(crate) const NO_BLOB: &str = "BLOB_UNKNOWN";

/// Whether distribution complains that what it has stored of an upload is not where it looks: with S3 below, and several
/// registries or uploads at once (<https://github.com/distribution/distribution/issues/2847>, with Spaces).
fn has_lost_path(message: &str) -> bool {
    message.contains("Path not found") && message.contains("/_uploads/")
}
