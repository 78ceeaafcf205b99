//! In: a token, names. Out: clusters, registries, and short-lived credentials for both.
//!
//! A door: it names only `model`, `http` and `error`. It never prints, and it registers each secret that it learns in the
//! redactor before it hands the secret out.
//!
//! The API is described at <https://docs.digitalocean.com/reference/api/digitalocean/>.

mod client;
mod clusters;
mod error;
mod registries;

pub(crate) use client::{Client, DEFAULT_ADDRESS};

#[cfg(test)]
mod tests;
