//! In: a token, names. Out: clusters, registries, load balancers, and short-lived credentials for the first two.
//!
//! A door: it names only `model`, `http` and `error`. It never prints, and it registers each secret that it learns in the
//! redactor before it hands the secret out.
//!
//! The API is described at <https://docs.digitalocean.com/reference/api/digitalocean/>.

mod account;
mod client;
mod clusters;
mod error;
mod load_balancers;
mod registries;

pub(crate) use account::Account;
pub(crate) use client::{Client, DEFAULT_ADDRESS};
pub(crate) use clusters::{Cluster, ClusterCredentials};
pub(crate) use error::Error;
pub(crate) use load_balancers::LoadBalancer;
pub(crate) use registries::{Registry, RegistryLogin};

#[cfg(test)]
mod tests;
