//! An order in which a set may be applied: whoever is referred to comes before whoever refers to it.
//!
//! This is the order of a reader, by kind; the finer order, by the references of each object, is the planner's graph.

use super::DesiredObject;

/// The stages, in order; a kind that is not named here comes in the stage of custom resources.
const STAGES: &[&[&str]] = &[
    &["Namespace"],
    &["CustomResourceDefinition"],
    &["PriorityClass", "StorageClass", "IngressClass", "GatewayClass", "RuntimeClass"],
    &["ResourceQuota", "LimitRange", "NetworkPolicy", "PodSecurityPolicy"],
    &["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    &["Secret", "ConfigMap", "PersistentVolume", "PersistentVolumeClaim"],
    &["Service"],
    &[], // custom resources
    &["DaemonSet", "Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "Pod", "Job", "CronJob"],
    &["HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress", "Gateway", "HTTPRoute", "GRPCRoute"],
    &["APIService", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"],
];

/// The stage of custom resources.
const CUSTOM: usize = 7;

/// Sorts by stage and leaves the order inside a stage as it was written.
pub(super) fn sort(objects: &mut [DesiredObject]) {
    objects.sort_by_key(|object| stage(object.reference.kind()));
}

/// The stage of a kind.
fn stage(kind: &str) -> usize {
    STAGES.iter().position(|kinds| kinds.contains(&kind)).unwrap_or(CUSTOM)
}
