//! Removing manifests from a repository.

use super::auth::Scope;
use super::client::Client;
use super::error::Error;
use super::question::Question;
use crate::model::{Digest, Repository};
use reqwest::{Method, StatusCode};

impl Client {
    /// Removes a manifest with its tags; false where it was gone
    /// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#deleting-manifests>).
    pub(crate) async fn delete_manifest(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        let endpoint = self.push_endpoint(&repository.registry)?;
        let action = format!("delete `{repository}@{digest}`");
        let scope = Scope::delete(&repository.path);
        let question = Question { endpoint: &endpoint, scope: &scope, action: &action };
        let url = endpoint.url(&repository.path, &format!("manifests/{digest}"));
        let answer = self.ask(question, |pool| pool.request(Method::DELETE, url.clone())).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refusal(question, answer).await),
        }
    }
}
