//! Seaway against the real parts: Kubernetes, containerd, a registry, a Docker Engine, a cloud-controller, a load balancer.
//!
//! The first test starts the sandbox, or joins the one that runs; `sandbox/README.md` says what is real in it. Every test
//! has a namespace and an image repository of its own, so that they run side by side.

mod common;

mod attestations;
mod builds;
mod cancel;
mod cleaning;
mod comment;
mod compression;
mod corridor;
mod docker_29;
mod equality;
mod failures;
mod files;
mod pulled_back;
mod pulling;
mod pushing;
mod referrers;
mod refusals;
mod rendered;
mod secrets;
mod sources;
