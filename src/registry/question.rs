//! One thing that is asked of a place, and what can be wrong with the answer.

use super::error::Error;
use super::hosts::Endpoint;
use super::scope::Scope;
use std::time::Duration;

/// One thing that is asked of a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// Whom.
    pub(crate) endpoint: &'a Endpoint,
    /// What the token must allow.
    pub(crate) scope: &'a Scope,
    /// What is being attempted, for people: `push blob sha256:…`.
    pub(crate) action: &'a str,
}

impl Question<'_> {
    /// The error of a request that got no answer, or only part of one.
    pub(crate) fn transport(self, error: &reqwest::Error) -> Error {
        let url = error.url().unwrap_or(&self.endpoint.base);
        Error::transport(self.endpoint, url, self.action, error)
    }

    /// The error of a request on which nothing moved.
    pub(crate) fn stalled(self, waited: Duration) -> Error {
        Error::Stalled {
            registry: self.endpoint.registry.clone(),
            action: self.action.to_owned(),
            seconds: waited.as_secs(),
        }
    }

    /// The error of an answer that the protocol does not allow.
    pub(crate) fn nonsense(self, problem: impl Into<String>) -> Error {
        Error::Nonsense {
            registry: self.endpoint.registry.clone(),
            action: self.action.to_owned(),
            problem: problem.into(),
        }
    }
}
