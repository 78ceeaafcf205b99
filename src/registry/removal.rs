//! Looking at all of a repository, and removing manifests from it.

use super::auth::Scope;
use super::client::{Client, Question};
use super::error::Error;
use crate::model::{Digest, Repository};
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode};
use url::Url;

/// The page size that is asked for; registries give less where they want to.
const PAGE: &str = "1000";

/// More pages than this are a list that leads to itself.
const MOST_PAGES: usize = 10_000;

impl Client {
    /// All tags of a repository, from all pages; none where there is no repository
    /// (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags>).
    pub(crate) async fn all_tags(&self, repository: &Repository) -> Result<Vec<String>, Error> {
        #[derive(serde::Deserialize)]
        struct Answer {
            tags: Option<Vec<String>>,
        }
        let endpoint = self.push_endpoint(&repository.registry)?;
        let action = format!("list the tags of `{repository}`");
        let scope = Scope::pull(&repository.path);
        let question = Question { endpoint: &endpoint, scope: &scope, action: &action };
        let mut url = endpoint.url(&repository.path, "tags/list");
        url.query_pairs_mut().append_pair("n", PAGE);
        let mut tags = Vec::new();
        for _ in 0..MOST_PAGES {
            let answer = self.ask(question, |pool| pool.get(url.clone())).await?;
            match answer.status() {
                StatusCode::NOT_FOUND if tags.is_empty() => return Ok(tags),
                status if status.is_success() => {}
                _ => return Err(self.refusal(question, answer).await),
            }
            let next = next_page(&url, answer.headers());
            let page: Answer = answer.json().await.map_err(|error| Self::transport(question, &error))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                // The token must not follow a link to another host.
                Some(next) if next.origin() == url.origin() => url = next,
                Some(_) => return Err(Self::nonsense(question, "the next page is on another host")),
                None => return Ok(tags),
            }
        }
        Err(Self::nonsense(question, "the list has no end"))
    }

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

/// The page behind this one: `Link: </v2/…?last=b&n=1000>; rel="next"`.
fn next_page(url: &Url, headers: &HeaderMap) -> Option<Url> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let next = links.flat_map(|text| text.split(',')).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = parameters.split(';').any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
        next.then_some(target)
    })?;
    url.join(next).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn the_next_page_is_found() {
        let url = Url::parse("http://127.0.0.1:5000/v2/a/tags/list?n=2").unwrap();
        for (link, wanted) in [
            ("</v2/a/tags/list?last=b&n=2>; rel=\"next\"", Some("http://127.0.0.1:5000/v2/a/tags/list?last=b&n=2")),
            ("<http://127.0.0.1:5000/x?last=b>;rel=next", Some("http://127.0.0.1:5000/x?last=b")),
            ("</first>; rel=\"first\", </v2/b>; rel=\"next\"", Some("http://127.0.0.1:5000/v2/b")),
            ("</v2/b>; rel=\"prev\"", None),
            ("nonsense", None),
        ] {
            let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_str(link).unwrap())]);
            assert_eq!(next_page(&url, &headers).as_ref().map(Url::as_str), wanted, "{link}");
        }
    }
}
