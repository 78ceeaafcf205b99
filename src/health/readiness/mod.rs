//! When an object of a kind is ready: a table from kind to rule, one file a rule.
//!
//! The rules begin where kstatus (<https://github.com/fluxcd/cli-utils/tree/main/pkg/kstatus>) does and close its holes;
//! each file says which.

mod custom_resource_definition;
mod daemon_set;
mod deployment;
mod gateway;
mod generic;
mod job;
mod persistent_volume_claim;
mod pod;
mod replica_set;
mod service;
mod stateful_set;

use super::fields::text;
use super::{Readiness, Surroundings};
use serde_json::Value;

/// Whether an object is ready, by the rule of its kind. Its status is taken as belonging to its newest generation.
pub(super) fn of(object: &Value, around: &Surroundings<'_>) -> Readiness {
    let group = text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    match (group, text(object, "/kind")) {
        ("apps", "Deployment") => deployment::readiness(object, around),
        ("apps", "StatefulSet") => stateful_set::readiness(object),
        ("apps", "DaemonSet") => daemon_set::readiness(object),
        ("apps", "ReplicaSet") => replica_set::readiness(object),
        ("batch", "Job") => job::readiness(object),
        ("", "Pod") => pod::readiness(object),
        ("", "PersistentVolumeClaim") => persistent_volume_claim::readiness(object, around),
        ("", "Service") => service::readiness(object, around),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom_resource_definition::readiness(object),
        ("gateway.networking.k8s.io", "Gateway") => gateway::gateway(object),
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute") => gateway::route(object),
        // They hold data or rules; there is nothing that they could still become. An autoscaler without metrics blips
        // on every rollout, and many controllers never write an Ingress's status.
        ("", "ConfigMap" | "Secret" | "ServiceAccount" | "ResourceQuota" | "LimitRange" | "Namespace")
        | ("batch", "CronJob")
        | (
            "autoscaling"
            | "policy"
            | "networking.k8s.io"
            | "rbac.authorization.k8s.io"
            | "storage.k8s.io"
            | "scheduling.k8s.io"
            | "node.k8s.io",
            _,
        ) => Readiness::Ready("exists".to_owned()),
        _ => generic::readiness(object),
    }
}

/// Whether a controller writes `status.observedGeneration` for this kind, so that its absence means "not looked at yet".
pub(super) fn observes_generation(object: &Value) -> bool {
    let group = text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    group == "apps"
}
