//! Which Kubernetes object is meant.

use serde::Serialize;
use std::fmt;

/// The group, version and kind of a Kubernetes object; the group of the core API is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct GroupVersionKind {
    /// `apps`, or empty for the core API.
    pub(crate) group: String,
    /// `v1`.
    pub(crate) version: String,
    /// `Deployment`.
    pub(crate) kind: String,
}

impl GroupVersionKind {
    /// From the two fields that a manifest has.
    pub(crate) fn new(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// `apps/v1`, or `v1` for the core API.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// One object: its kind, its namespace (none for cluster-scoped kinds) and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub(crate) struct ObjectRef {
    /// What it is.
    #[serde(flatten)]
    pub(crate) gvk: GroupVersionKind,
    /// Where it is; `None` for cluster-scoped kinds.
    pub(crate) namespace: Option<String>,
    /// Its name.
    pub(crate) name: String,
}

impl ObjectRef {
    /// An object of this kind.
    pub(crate) fn new(gvk: GroupVersionKind, namespace: Option<&str>, name: &str) -> Self {
        Self { gvk, namespace: namespace.map(str::to_owned), name: name.to_owned() }
    }

    /// The kind alone, `Deployment`.
    pub(crate) fn kind(&self) -> &str {
        &self.gvk.kind
    }
}

/// `Deployment backend`: the namespace is left out because nearly every line of a run has the same one.
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.gvk.kind, self.name)
    }
}
