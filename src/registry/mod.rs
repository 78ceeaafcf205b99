//! The OCI distribution client: tokens, blobs, manifests, uploads.
//!
//! Source of the protocol: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.
