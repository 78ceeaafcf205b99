//! Which kinds the server knows, and how their addresses are made.

use crate::model::GroupVersionKind;
use kube::core::{ApiResource, Request};
use kube::discovery::{Discovery, Scope as Reach};
use std::collections::BTreeMap;

/// A kind as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Its group, version, name and plural.
    pub(crate) resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
}

impl Kind {
    /// The requests for objects of this kind in a namespace, or in all where `namespace` is `None`.
    pub(super) fn requests(&self, namespace: Option<&str>) -> Request {
        let ApiResource { group, version, plural, .. } = &self.resource;
        let base = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => Request::new(format!("{base}/namespaces/{namespace}/{plural}")),
            None => Request::new(format!("{base}/{plural}")),
        }
    }
}

/// All kinds of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Kinds(BTreeMap<GroupVersionKind, Kind>);

impl Kinds {
    /// A kind, if the server knows it.
    pub(super) fn get(&self, gvk: &GroupVersionKind) -> Option<&Kind> {
        self.0.get(gvk)
    }

    /// The `apiVersion`s in which the server knows a kind of this name.
    pub(super) fn versions_of(&self, kind: &str) -> Vec<String> {
        self.0.keys().filter(|gvk| gvk.kind == kind).map(|gvk| format!("`{}`", gvk.api_version())).collect()
    }
}

/// Asks the server for all its kinds: two requests, or one for each group on servers that cannot put them together.
pub(super) async fn discover(client: &kube::Client) -> Result<Kinds, kube::Error> {
    match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) if discovery.has_group("") => Ok(kinds_of(&discovery)),
        Ok(_) | Err(kube::Error::SerdeError(_) | kube::Error::Discovery(_)) => one_by_one(client).await,
        // 406: the server does not know the aggregated media type (before Kubernetes 1.26).
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 406) => one_by_one(client).await,
        Err(error) => Err(error),
    }
}

/// Discovery as it was before Kubernetes 1.26.
async fn one_by_one(client: &kube::Client) -> Result<Kinds, kube::Error> {
    Ok(kinds_of(&Discovery::new(client.clone()).run().await?))
}

/// Every kind in every version that is served.
fn kinds_of(discovery: &Discovery) -> Kinds {
    let mut kinds = BTreeMap::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.versions().flat_map(|version| group.versioned_resources(version)) {
            let gvk = GroupVersionKind {
                group: resource.group.clone(),
                version: resource.version.clone(),
                kind: resource.kind.clone(),
            };
            kinds.insert(gvk, Kind { resource, namespaced: capabilities.scope == Reach::Namespaced });
        }
    }
    Kinds(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::fake::FakeServer;

    #[tokio::test]
    async fn two_requests_find_every_kind() {
        let server = FakeServer::start();
        let kinds = discover(&server.client()).await.unwrap();
        let deployment = kinds.get(&GroupVersionKind::new("apps/v1", "Deployment")).unwrap();
        assert_eq!((deployment.resource.plural.as_str(), deployment.namespaced), ("deployments", true));
        assert!(!kinds.get(&GroupVersionKind::new("v1", "Namespace")).unwrap().namespaced);
        assert_eq!(kinds.versions_of("Deployment"), ["`apps/v1`"]);
        assert_eq!(server.log(), ["GET /apis", "GET /api"]);
    }

    #[test]
    fn the_address_of_a_kind_follows_its_group_and_reach() {
        let resource = |group: &str, plural: &str| ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            api_version: String::new(),
            kind: String::new(),
            plural: plural.to_owned(),
        };
        let pods = Kind { resource: resource("", "pods"), namespaced: true };
        let classes = Kind { resource: resource("storage.k8s.io", "storageclasses"), namespaced: false };
        assert_eq!(pods.requests(Some("todo")).url_path, "/api/v1/namespaces/todo/pods");
        assert_eq!(classes.requests(Some("todo")).url_path, "/apis/storage.k8s.io/v1/storageclasses");
    }
}
