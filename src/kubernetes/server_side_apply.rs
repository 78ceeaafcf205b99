//! Server-side apply: one PATCH says what an object should be, and the server merges, validates and keeps owners apart.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

use super::error::is_typed_patch;
use super::{Cluster, Error};
use crate::model::{FIELD_MANAGER, ObjectRef};
use kube::core::Status;
use kube::core::params::{Patch, PatchParams};
use serde_json::Value;

/// Whether the server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It only says what would come of it.
    DryRun,
    /// It does.
    Write,
}

/// What the server made of an object.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    /// The object as it is now, or would be.
    pub(crate) object: Value,
    /// Fields that were left to their owner, with the owner's name.
    pub(crate) left: Vec<FieldConflict>,
}

/// Why the server did not apply an object.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The object is wrong; each cause is a sentence of the server's.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// Somebody else owns fields of it.
    #[error("{}", sentences(.0))]
    Conflict(Vec<FieldConflict>),
    /// Its namespace is being deleted.
    #[error("namespace `{0}` is being deleted")]
    Terminating(String),
    /// The request itself failed.
    #[error(transparent)]
    Request(#[from] Error),
}

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldConflict {
    /// The owner: `kubectl-edit`, `kube-controller-manager`.
    pub(crate) manager: String,
    /// The subresource through which it owns the field: `scale`; empty for the object itself.
    pub(crate) subresource: String,
    /// The field as the server writes it: `.spec.replicas`.
    pub(crate) field: String,
}

/// What is done about a conflict.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// The owner was an earlier way to apply the same manifest: the field is ours now.
    TakeOver,
    /// The field belongs to an autoscaler: it stays as it is.
    Leave,
    /// A person or a controller meant it: somebody has to decide.
    Refuse,
}

/// The managers under which kubectl's client-side apply and objects from before field ownership own their fields.
const PREDECESSORS: [&str; 2] = ["kubectl-client-side-apply", "before-first-apply"];

impl FieldConflict {
    /// What is done about it.
    fn decide(&self) -> Decision {
        let scales = self.subresource == "scale" || self.manager == "kube-controller-manager";
        match self.field.as_str() {
            _ if PREDECESSORS.contains(&self.manager.as_str()) => Decision::TakeOver,
            ".spec.replicas" if scales || self.manager.contains("autoscaler") || self.manager.contains("keda") => {
                Decision::Leave
            }
            _ => Decision::Refuse,
        }
    }
}

/// The conflicts as one sentence.
fn sentences(conflicts: &[FieldConflict]) -> String {
    let each: Vec<_> = conflicts.iter().map(|c| format!("`{}` belongs to `{}`", c.field, c.manager)).collect();
    each.join(", ")
}

impl Cluster {
    /// Applies an object, or asks what would come of it.
    ///
    /// The first try forces nothing, unless kubectl's client-side apply is the only owner so far. On a conflict, fields
    /// of such predecessors are taken over, replicas of an autoscaler are left out, and all else is an error.
    pub(crate) async fn apply(&self, object: &ObjectRef, body: &Value, mode: Mode) -> Result<Applied, ApplyError> {
        let force = self.remembered(object).is_some_and(|live| only_predecessors(&live));
        let conflicts = match self.patch(object, body, mode, force).await {
            Err(ApplyError::Conflict(conflicts)) => conflicts,
            answer => return Ok(Applied { object: answer?, left: Vec::new() }),
        };
        let refused: Vec<_> = conflicts.iter().filter(|c| c.decide() == Decision::Refuse).cloned().collect();
        if !refused.is_empty() {
            return Err(ApplyError::Conflict(refused));
        }
        let (left, taken): (Vec<_>, Vec<_>) = conflicts.into_iter().partition(|c| c.decide() == Decision::Leave);
        let mut body = body.clone();
        for conflict in &left {
            drop_field(&mut body, &conflict.field);
        }
        Ok(Applied { object: self.patch(object, &body, mode, !taken.is_empty()).await?, left })
    }

    /// Sends the PATCH.
    async fn patch(&self, object: &ObjectRef, body: &Value, mode: Mode, force: bool) -> Result<Value, ApplyError> {
        let kind = self.kind(&object.gvk)?;
        let mut params = PatchParams::apply(FIELD_MANAGER).validation_strict();
        params.dry_run = mode == Mode::DryRun;
        params.force = force;
        let mut body = body.clone();
        if !kind.namespaced
            && let Some(metadata) = body["metadata"].as_object_mut()
        {
            metadata.remove("namespace");
        }
        let patch = Patch::Apply(body);
        let requests = kind.requests(object.namespace.as_deref());
        let answer = self.send(&format!("apply {object}"), || requests.patch(&object.name, &params, &patch)).await;
        answer.map_err(|error| classify(error, object))
    }
}

/// Sorts an error of an apply.
fn classify(error: Error, object: &ObjectRef) -> ApplyError {
    let Some(status) = error.status() else { return ApplyError::Request(error) };
    let has_cause = |reason: &str| causes(status).any(|cause| cause.reason == reason);
    match status.code {
        409 if has_cause("FieldManagerConflict") => ApplyError::Conflict(conflicts(status)),
        403 if has_cause("NamespaceTerminating") || status.message.contains("because it is being terminated") => {
            ApplyError::Terminating(object.namespace.clone().unwrap_or_default())
        }
        400 | 413 | 415 | 422 => ApplyError::Invalid(complaints(status)),
        500 if is_typed_patch(status) => ApplyError::Invalid(complaints(status)),
        // A policy or an admission webhook says no: the object is wrong for this cluster.
        403 if !status.message.contains(" cannot ") => ApplyError::Invalid(complaints(status)),
        _ => ApplyError::Request(error),
    }
}

/// The causes of a status.
fn causes(status: &Status) -> impl Iterator<Item = &kube::core::response::StatusCause> {
    status.details.iter().flat_map(|details| &details.causes)
}

/// What the server has against an object: `spec.replicas: Invalid value: …`, one a field, or its message.
fn complaints(status: &Status) -> Vec<String> {
    let mut each: Vec<String> = causes(status)
        .filter(|cause| !cause.message.is_empty())
        .map(|cause| match cause.field.as_str() {
            "" | "<nil>" => cause.message.clone(),
            field => format!("`{field}`: {}", cause.message),
        })
        .collect();
    each.dedup();
    if each.is_empty() { vec![plain(&super::error::sentence(status))] } else { each }
}

/// A message without the server's own way of naming the object: `failed to create typed patch object (todo/x; …): .dta:
/// field not declared in schema` is `.dta: field not declared in schema`.
fn plain(message: &str) -> String {
    let typed = message.starts_with("failed to create typed patch object");
    let rest = message.split_once("): ").filter(|_| typed).map(|(_, rest)| rest);
    rest.unwrap_or(message).to_owned()
}

/// The conflicts of a refused apply. The owner stands only in the text of the cause:
/// `conflict with "kubectl-edit" with subresource "scale" using apps/v1 at 2026-01-02T03:04:05Z`.
fn conflicts(status: &Status) -> Vec<FieldConflict> {
    let quoted = |text: &str, after: &str| -> String {
        let rest = text.split_once(after).map_or("", |(_, rest)| rest);
        rest.split('"').nth(1).unwrap_or_default().to_owned()
    };
    causes(status)
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| FieldConflict {
            manager: quoted(&cause.message, "conflict with"),
            subresource: quoted(&cause.message, "subresource"),
            field: cause.field.clone(),
        })
        .collect()
}

/// Whether kubectl's client-side apply owns fields of this object and nobody else but us does, status aside.
fn only_predecessors(live: &Value) -> bool {
    let managers: Vec<&str> = live["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry["subresource"].as_str().is_none_or(str::is_empty))
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    let predecessor = |manager: &&&str| PREDECESSORS.contains(manager);
    managers.iter().any(|manager| predecessor(&manager))
        && managers.iter().all(|manager| predecessor(&manager) || *manager == FIELD_MANAGER)
}

/// Removes a plain field path (`.spec.replicas`) from an object.
fn drop_field(body: &mut Value, path: &str) {
    let mut names: Vec<&str> = path.trim_start_matches('.').split('.').collect();
    let Some(last) = names.pop() else { return };
    let parent = names.iter().try_fold(body, |value, name| value.get_mut(*name));
    if let Some(Value::Object(fields)) = parent {
        fields.shift_remove(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::fake::FakeServer;
    use crate::model::GroupVersionKind;
    use serde_json::json;

    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/todo/deployments";

    fn api() -> ObjectRef {
        ObjectRef::new(GroupVersionKind::new("apps/v1", "Deployment"), Some("todo"), "api")
    }

    fn body() -> Value {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "api", "namespace": "todo" },
                "spec": { "replicas": 3, "paused": false } })
    }

    fn conflict(message: &str, field: &str) -> Value {
        json!({ "kind": "Status", "code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict",
                "details": { "causes": [{ "reason": "FieldManagerConflict", "message": message, "field": field }] } })
    }

    #[tokio::test]
    async fn a_dry_run_is_one_unforced_strict_patch() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        server.forget();
        cluster.apply(&api(), &body(), Mode::DryRun).await.unwrap();
        let query = "dryRun=All&force=false&fieldManager=seaway&fieldValidation=Strict";
        let log = server.log();
        assert_eq!(log.len(), 1, "{log:?}");
        for part in query.split('&').filter(|part| *part != "force=false") {
            assert!(log[0].contains(part), "{part} in {log:?}");
        }
        assert!(log[0].starts_with(&format!("PATCH {DEPLOYMENTS}/api?")) && !log[0].contains("force=true"), "{log:?}");
    }

    #[tokio::test]
    async fn fields_of_client_side_apply_are_taken_over() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        server.forget();
        server.answer_next(
            409,
            &conflict(r#"conflict with "kubectl-client-side-apply" using apps/v1"#, ".spec.replicas"),
        );
        cluster.apply(&api(), &body(), Mode::Write).await.unwrap();
        assert!(server.log()[1].contains("force=true"), "{:?}", server.log());
    }

    #[tokio::test]
    async fn an_object_that_only_client_side_apply_owns_needs_one_request() {
        let server = FakeServer::start();
        let managed = json!([{ "manager": "kubectl-client-side-apply", "operation": "Update" },
                             { "manager": "kube-controller-manager", "operation": "Update", "subresource": "status" }]);
        server.put(DEPLOYMENTS, json!({ "metadata": { "name": "api", "managedFields": managed } }));
        let cluster = server.cluster().await;
        cluster.list(&super::super::Scope::all(&api().gvk, Some("todo"))).await.unwrap();
        server.forget();
        cluster.apply(&api(), &body(), Mode::Write).await.unwrap();
        assert!(server.log().len() == 1 && server.log()[0].contains("force=true"), "{:?}", server.log());
    }

    #[tokio::test]
    async fn replicas_of_an_autoscaler_are_left_to_it() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        let message = r#"conflict with "kube-controller-manager" with subresource "scale" using apps/v1"#;
        server.answer_next(409, &conflict(message, ".spec.replicas"));
        let applied = cluster.apply(&api(), &body(), Mode::Write).await.unwrap();
        assert_eq!(applied.left[0].subresource, "scale");
        let sent = server.bodies().pop().unwrap();
        assert_eq!(sent["spec"], json!({ "paused": false }));
    }

    #[tokio::test]
    async fn what_a_person_edited_is_refused_with_owner_and_field() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        server.answer_next(409, &conflict(r#"conflict with "kubectl-edit" using apps/v1"#, ".spec.replicas"));
        let error = cluster.apply(&api(), &body(), Mode::DryRun).await.unwrap_err();
        assert_eq!(error.to_string(), "`.spec.replicas` belongs to `kubectl-edit`");
    }

    #[tokio::test]
    async fn an_unknown_field_is_final_though_the_server_calls_it_internal() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        server.forget();
        let message = "failed to create typed patch object (todo/api; apps/v1, Kind=Deployment): .spc: field not declared in schema";
        server.fail_next(500, message, None);
        let error = cluster.apply(&api(), &body(), Mode::DryRun).await.unwrap_err();
        assert_eq!(error.to_string(), ".spc: field not declared in schema");
        assert_eq!(server.log().len(), 1);
    }

    #[tokio::test]
    async fn an_invalid_object_keeps_every_complaint() {
        let server = FakeServer::start();
        let cluster = server.cluster().await;
        let causes = json!([
            { "reason": "FieldValueInvalid", "message": "Invalid value: -1", "field": "spec.replicas" },
            { "reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector" },
        ]);
        server.answer_next(
            422,
            &json!({ "kind": "Status", "code": 422, "reason": "Invalid", "message": "is invalid",
                                        "details": { "causes": causes } }),
        );
        let error = cluster.apply(&api(), &body(), Mode::DryRun).await.unwrap_err();
        assert_eq!(error.to_string(), "`spec.replicas`: Invalid value: -1; `spec.selector`: Required value");
    }
}
