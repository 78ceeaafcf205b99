//! Deleting objects, and waiting until they are gone.

use super::{Cluster, Error, Scope};
use crate::model::ObjectRef;
use kube::core::params::{DeleteParams, Preconditions, PropagationPolicy};
use std::collections::BTreeSet;

impl Cluster {
    /// Deletes exactly the object that was seen: `uid` keeps a namesake that was made since. What it owns goes first.
    ///
    /// Answers whether there was something to delete.
    pub(crate) async fn delete(&self, object: &ObjectRef, uid: &str) -> Result<bool, Error> {
        let kind = self.kind(&object.gvk)?;
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        let requests = kind.requests(object.namespace.as_deref());
        match self.send(&format!("delete {object}"), || requests.delete(&object.name, &params)).await {
            Ok(_) => Ok(true),
            // 404: somebody was quicker. 409: the name belongs to another object by now.
            Err(error) if error.status().is_some_and(|status| matches!(status.code, 404 | 409)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until none of these objects exists; `left` is told, now and at every change, which still do.
    pub(crate) async fn until_gone(&self, objects: &[ObjectRef], mut left: impl FnMut(&[&ObjectRef])) {
        let mut changes = self.changes();
        let scopes: BTreeSet<Scope> = objects.iter().map(|object| self.scope_of(object)).collect();
        let watched: Vec<_> = scopes.into_iter().map(|scope| (self.watch(&scope), scope)).collect();
        loop {
            let exists = |object: &&ObjectRef| {
                let scope = self.scope_of(object);
                let reflector = watched.iter().find(|(_, known)| *known == scope).map(|(reflector, _)| reflector);
                reflector.is_none_or(|reflector| !reflector.is_synced() || reflector.get(&object.name).is_some())
            };
            let remaining: Vec<&ObjectRef> = objects.iter().filter(exists).collect();
            left(&remaining);
            if remaining.is_empty() || changes.changed().await.is_err() {
                return;
            }
        }
    }
}
