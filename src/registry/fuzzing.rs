//! What registries send, for the fuzz targets: each of these may refuse, and must do nothing worse.

use super::auth::Scope;
use super::challenge;
use super::hosts::{Capability, Hosts};
use super::question::Question;
use super::redirects::check_target;
use super::target::parse_range;

/// A `WWW-Authenticate`.
pub(crate) fn challenge(header: &str) {
    for challenge in challenge::parse(header) {
        assert!(!challenge.scheme.is_empty());
        assert_eq!(challenge.scheme, challenge.scheme.to_lowercase());
    }
}

/// The `Location` of an upload. Where it is followed, its query goes back as it came, with the digest behind it.
pub(crate) fn location(header: &str) {
    let endpoints = Hosts::default().endpoints("registry.example", Capability::Push).expect("a place");
    let (endpoint, scope) = (&endpoints[0], Scope::push("app"));
    let Ok(mut session) = endpoint.url("app", "blobs/uploads/").join(header) else { return };
    if check_target(Question { endpoint, scope: &scope, action: "push" }, &session).is_err() {
        return;
    }
    let before = session.clone();
    session.query_pairs_mut().append_pair("digest", "sha256:0");
    assert_eq!((session.host(), session.port()), (before.host(), before.port()));
    let query = session.query().expect("a digest");
    assert!(query.starts_with(before.query().unwrap_or_default()) && query.ends_with("digest=sha256%3A0"), "{session}");
}

/// The `Range` of an upload: the last byte is one that the header names.
pub(crate) fn range(header: &str) {
    if let Some(last) = parse_range(header) {
        assert!(header.contains(&last.to_string()), "{header:?} does not say {last}");
    }
}
