//! Requests against the API: bearer token, pages, errors with their structure, another try where one may help.

use super::error::{Answer, Error};
use crate::http::{self, Retry, RetryPolicy};
use crate::model::{Redactor, Secret};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use url::Url;

/// Where DigitalOcean answers.
pub(crate) const DEFAULT_ADDRESS: &str = "https://api.digitalocean.com";

/// No answer of the API takes longer, unless something is broken.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest page that the API gives.
const PER_PAGE: &str = "200";

/// A client of the DigitalOcean API. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The connection pool.
    http: reqwest::Client,
    /// The address of the API without `/v2`.
    address: Url,
    /// The token of every request.
    token: Secret,
    /// Where secrets are registered before first use.
    redactor: Redactor,
    /// How often a read is tried.
    policy: RetryPolicy,
}

/// One request that reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read<'a> {
    /// What is attempted, for messages: `listing the clusters`.
    pub(super) doing: &'a str,
    /// The scope that the token needs for it.
    pub(super) scope: &'static str,
    /// The path segments behind `/v2`.
    pub(super) path: &'a [&'a str],
    /// The query.
    pub(super) query: &'a [(&'a str, &'a str)],
}

/// One request that changes something. Each is tried again like a read: what was done already is answered with 404 or 409.
#[derive(Clone, Debug)]
pub(super) struct Write<'a> {
    /// What is attempted, for messages: `deleting the tag v1`.
    pub(super) doing: &'a str,
    /// The scope that the token needs for it.
    pub(super) scope: &'static str,
    /// `POST`, `PUT`, `DELETE`.
    pub(super) method: Method,
    /// The path segments behind `/v2`.
    pub(super) path: &'a [&'a str],
    /// The body, if there is one.
    pub(super) body: Option<serde_json::Value>,
}

/// What surrounds a page of a list.
#[derive(Deserialize)]
struct Page {
    /// Where the other pages are; absent where there is only one.
    #[serde(default)]
    links: Links,
    /// How many items there are on all pages.
    #[serde(default)]
    meta: Meta,
}

/// What a page says of the whole list.
#[derive(Default, Deserialize)]
struct Meta {
    /// How many items it has; not every route says so.
    total: Option<usize>,
}

/// The links of a page.
#[derive(Default, Deserialize)]
struct Links {
    /// Absolute URLs of the pages that make sense from here.
    #[serde(default)]
    pages: Pages,
}

/// The pages around a page.
#[derive(Default, Deserialize)]
struct Pages {
    /// The next page; absent on the last one.
    next: Option<String>,
}

/// The body of an answer that is not a success.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    /// A sentence.
    message: String,
    /// The id for the support.
    request_id: Option<String>,
}

impl Client {
    /// A client of the API at `address` (without `/v2`). Fails without a token and with an address that is no URL.
    pub(crate) fn new(
        http: reqwest::Client,
        address: &str,
        token: Option<Secret>,
        redactor: Redactor,
    ) -> Result<Self, Error> {
        let token = token.filter(|token| !token.expose().trim().is_empty()).ok_or(Error::NoToken)?;
        let token = Secret::new(token.expose().trim());
        redactor.register(token.expose());
        let address = parse_address(address)?;
        // The whole of it stays within seconds: a person waits, and the address may simply be wrong.
        let policy = RetryPolicy { tries: 4, first: Duration::from_secs(1), ..RetryPolicy::default() };
        Ok(Self { http, address, token, redactor, policy })
    }

    /// The same client with another retry policy, for tests.
    #[cfg(test)]
    #[must_use]
    pub(super) fn with_policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Registers a secret before it is handed out.
    pub(super) fn learn(&self, secret: &str) -> Secret {
        self.redactor.register(secret);
        Secret::new(secret)
    }

    /// One JSON document.
    pub(super) async fn get<T: DeserializeOwned>(&self, read: Read<'_>) -> Result<T, Error> {
        let body = self.read(read, read.query).await?;
        parse(read.doing, &body)
    }

    /// A list from all its pages: `key` is the list's root key.
    pub(super) async fn list<T: DeserializeOwned>(&self, read: Read<'_>, key: &str) -> Result<Vec<T>, Error> {
        let mut items = Vec::new();
        let mut query: Vec<(String, String)> = vec![("per_page".into(), PER_PAGE.into())];
        loop {
            let borrowed: Vec<(&str, &str)> =
                query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let body = self.read(read, &borrowed).await?;
            let mut page: serde_json::Value = parse(read.doing, &body)?;
            // An empty list comes as `null` from some routes.
            let list = page.get_mut(key).map(serde_json::Value::take).unwrap_or_default();
            let part: Option<Vec<T>> = convert(read.doing, list)?;
            items.extend(part.unwrap_or_default());
            let page = convert::<Page>(read.doing, page)?;
            match page.links.pages.next.as_deref().and_then(next_query).filter(|next| *next != query) {
                Some(next) => query = next,
                // Whoever deletes by such a list must know that it is whole.
                None if page.meta.total.is_some_and(|total| total > items.len()) => {
                    let (got, total) = (items.len(), page.meta.total.unwrap_or_default());
                    return Err(unreadable(read.doing, format!("only {got} of {total} came")));
                }
                None => return Ok(items),
            }
        }
    }

    /// The body of a successful answer to a GET, after as many tries as the policy allows.
    async fn read(&self, read: Read<'_>, query: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
        let make = || self.http.get(self.url(read.path)).query(query);
        self.policy.run(Error::retry, || self.attempt(read.doing, read.scope, make())).await
    }

    /// The body of a successful answer to a request that changes something; empty where there is none.
    pub(super) async fn write(&self, write: Write<'_>) -> Result<Vec<u8>, Error> {
        let make = || {
            let request = self.http.request(write.method.clone(), self.url(write.path));
            write.body.iter().fold(request, reqwest::RequestBuilder::json)
        };
        self.policy.run(Error::retry, || self.attempt(write.doing, write.scope, make())).await
    }

    /// One try.
    async fn attempt(
        &self,
        doing: &str,
        scope: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<Vec<u8>, Error> {
        let unreachable = |error: &reqwest::Error| self.unreachable(doing, error);
        let request = request.bearer_auth(self.token.expose());
        let request = request.timeout(TIMEOUT).build().map_err(|error| unreachable(&error))?;
        let answer = http::send(&self.http, request).await.map_err(|error| unreachable(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(|error| unreachable(&error))?;
        if status.is_success() { Ok(body.to_vec()) } else { Err(refusal(doing, scope, status, &headers, &body)) }
    }

    /// The URL of a path below `/v2`; segments are encoded, a `/` inside of one too.
    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.address.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v2").extend(path);
        }
        url
    }

    /// The error for a request without an answer.
    fn unreachable(&self, doing: &str, error: &reqwest::Error) -> Error {
        let cause = if error.is_timeout() { "no answer in time".to_owned() } else { http::transport_cause(error) };
        let (address, doing) = (http::redact_url(&self.address), doing.to_owned());
        Error::Unreachable { address, doing, cause, retry: Retry::of_transport(error) }
    }
}

/// An address that can have a path.
fn parse_address(address: &str) -> Result<Url, Error> {
    let invalid = |source| Error::InvalidAddress { address: address.to_owned(), source };
    let url = Url::parse(address).map_err(invalid)?;
    if url.has_host() { Ok(url) } else { Err(invalid(url::ParseError::EmptyHost)) }
}

/// The query of the next page. The rest of the link is not followed: behind a proxy it names another host, which must
/// never see the token.
fn next_query(next: &str) -> Option<Vec<(String, String)>> {
    let url = Url::parse(next).ok()?;
    Some(url.query_pairs().into_owned().collect())
}

/// The error that an answer without success stands for.
fn refusal(doing: &str, scope: &'static str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let parsed: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
    let header = headers.get("x-request-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let answer = Answer {
        status,
        message: parsed.message,
        request_id: parsed.request_id.filter(|id| !id.is_empty()).or(header),
        retry: Retry::of_answer(status, headers),
    };
    let doing = doing.to_owned();
    match status {
        StatusCode::UNAUTHORIZED => Error::TokenRefused { doing, answer },
        StatusCode::FORBIDDEN => Error::ScopeMissing { doing, scope, answer },
        _ => Error::Refused { doing, answer },
    }
}

/// The body as what it should be.
pub(super) fn parse<T: DeserializeOwned>(doing: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| unreadable(doing, error))
}

/// A JSON value as what it should be.
fn convert<T: DeserializeOwned>(doing: &str, value: serde_json::Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| unreadable(doing, error))
}

/// The error for an answer that is not what it should be.
pub(super) fn unreadable(doing: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unreadable { doing: doing.to_owned(), source: source.into() }
}
