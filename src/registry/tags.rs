//! The tags of a repository: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags>.

use super::auth::Scope;
use super::client::Client;
use super::error::Error;
use super::question::Question;
use crate::model::Repository;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;
use url::Url;

/// So many tags are asked for where a few will do.
const SOME: &str = "100";

/// The page size where all are asked for; registries give less where they want to.
const PAGE: &str = "1000";

/// More pages than this are a list that leads to itself.
pub(super) const MOST_PAGES: usize = 10_000;

/// A page of the list.
#[derive(Deserialize)]
struct Page {
    /// Its tags; some registries write `null` where there are none.
    tags: Option<Vec<String>>,
}

impl Client {
    /// The tags of a repository, as far as the first page goes; none where there is no repository.
    pub(crate) async fn tags(&self, repository: &Repository) -> Result<Vec<String>, Error> {
        self.list_tags(repository, SOME, 1).await
    }

    /// All tags of a repository, from all pages; none where there is no repository.
    pub(crate) async fn all_tags(&self, repository: &Repository) -> Result<Vec<String>, Error> {
        self.list_tags(repository, PAGE, MOST_PAGES).await
    }

    /// The tags on up to so many pages of a size. Somebody waits for a single page, so that it is not insisted on.
    async fn list_tags(&self, repository: &Repository, size: &str, pages: usize) -> Result<Vec<String>, Error> {
        let endpoint = self.push_endpoint(&repository.registry)?;
        let action = format!("list the tags of `{repository}`");
        let scope = Scope::pull(&repository.path);
        let question = Question { endpoint: &endpoint, scope: &scope, action: &action };
        let mut url = endpoint.url(&repository.path, "tags/list");
        url.query_pairs_mut().append_pair("n", size);
        let mut tags = Vec::new();
        for _ in 0..pages {
            let answer = if pages == 1 {
                self.ask_briefly(question, |pool| pool.get(url.clone())).await?
            } else {
                self.ask(question, |pool| pool.get(url.clone())).await?
            };
            match answer.status() {
                StatusCode::NOT_FOUND if tags.is_empty() => return Ok(tags),
                status if status.is_success() => {}
                _ => return Err(self.refusal(question, answer).await),
            }
            let next = next_page(&url, answer.headers());
            let page = answer.bytes().await.map_err(|error| question.transport(&error))?;
            let page: Page = serde_json::from_slice(&page)
                .map_err(|error| question.nonsense(format!("that is no list of tags: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                _ if pages == 1 => return Ok(tags),
                // The token must not follow a link to another host.
                Some(next) if next.origin() == url.origin() => url = next,
                Some(_) => return Err(question.nonsense("the next page is on another host")),
                None => return Ok(tags),
            }
        }
        Err(question.nonsense("the list has no end"))
    }
}

/// The page behind this one: `Link: </v2/…?last=b&n=1000>; rel="next"`.
pub(super) fn next_page(url: &Url, headers: &HeaderMap) -> Option<Url> {
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
