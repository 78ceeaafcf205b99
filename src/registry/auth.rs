//! Tokens: how Seaway proves to a registry who it is.
//!
//! Source: <https://distribution.github.io/distribution/spec/auth/token/>. One token for each registry and set of scopes,
//! fetched once however many requests wait for it, and fetched anew at 80 % of its life: registries look at its end when a
//! request begins, and a push can outlast a token.

use super::challenge;
use super::connections::Connections;
use super::error::{Error, Refusal};
use super::hosts::Endpoint;
use super::logins::{Login, Logins};
pub(crate) use super::scope::Scope;
use crate::http::Retry;
use crate::model::{DIGITALOCEAN_REGISTRY, Secret};
use base64::Engine as _;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// The proof that a registry wants.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scheme {
    /// None.
    Anonymous,
    /// User and password with each request.
    Basic,
    /// A token from this service.
    Bearer {
        /// Where tokens are given.
        realm: Url,
        /// For whom.
        service: Option<String>,
    },
}

/// A token and its time.
#[derive(Clone, Debug)]
struct Token {
    /// The `Authorization` header.
    header: HeaderValue,
    /// From when on another one is fetched.
    stale_at: Instant,
}

/// A slot that several tasks share; whoever locks it first fills it.
type Slot<T> = Arc<tokio::sync::Mutex<Option<T>>>;

/// A request that finds out what a place wants.
#[derive(Debug)]
pub(crate) struct Scout(tokio::sync::OwnedMutexGuard<Option<Scheme>>);

impl Scout {
    /// Learns from an answer that is not worth another try. Until then nobody else asks the place.
    pub(crate) fn learn(mut self, endpoint: &Endpoint, headers: &HeaderMap) {
        *self.0 = Some(scheme_of(endpoint, headers).unwrap_or(Scheme::Anonymous));
    }
}

/// The tokens of a run.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// Who we are.
    logins: Logins,
    /// What each place wants.
    schemes: Mutex<HashMap<Url, Slot<Scheme>>>,
    /// The tokens in use.
    in_use: Mutex<HashMap<(Url, Scope), Slot<Token>>>,
}

/// The answer of a token service.
#[derive(Deserialize)]
struct TokenAnswer {
    /// The token, as Docker's specification names it.
    token: Option<String>,
    /// The token, as `OAuth2` names it.
    access_token: Option<String>,
    /// Its life in seconds. Some services write a text, or nothing that makes sense.
    expires_in: Option<serde_json::Value>,
}

/// A token whose life is not given lives this long.
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// A token is fetched anew after this time, however long its service says that it lives.
const LONGEST_LIFE: Duration = Duration::from_hours(24);

/// The token service gets this long for an answer.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

impl Tokens {
    /// No token yet.
    pub(crate) fn new(logins: Logins) -> Self {
        Self { logins, schemes: Mutex::default(), in_use: Mutex::default() }
    }

    /// The right to find out what a place wants by a request that may be repeated, where nobody knows that yet. Others
    /// wait for what comes of it.
    ///
    /// To a registry that nobody has logged in to the first request goes as it is: most such registries want no login, and
    /// one that wants a token says so in its refusal, as it would to `GET /v2/`. With a login `GET /v2/` comes first: some
    /// registries hide from strangers what they have (404) instead of asking who they are.
    pub(crate) async fn scout(&self, endpoint: &Endpoint) -> Option<Scout> {
        let scheme = slot(&self.schemes, &endpoint.base).lock_owned().await;
        let is_unknown = scheme.is_none() && !self.logins.may_have(&endpoint.registry).await;
        is_unknown.then_some(Scout(scheme))
    }

    /// The `Authorization` header for a request; `None` where the registry wants none.
    pub(crate) async fn authorization(
        &self,
        connections: &Connections,
        endpoint: &Endpoint,
        scope: &Scope,
    ) -> Result<Option<HeaderValue>, Error> {
        match self.scheme(connections, endpoint).await? {
            Scheme::Anonymous => Ok(None),
            Scheme::Basic => Ok(self.logins.get(&endpoint.registry).await?.as_ref().and_then(basic)),
            Scheme::Bearer { realm, service } => {
                let slot = slot(&self.in_use, &(endpoint.base.clone(), scope.clone()));
                let mut token = slot.lock().await; // whoever waits here finds the token that another one fetched
                if let Some(token) = token.as_ref().filter(|token| token.stale_at > Instant::now()) {
                    return Ok(Some(token.header.clone()));
                }
                let fresh = self.fetch(connections, endpoint, scope, &realm, service.as_deref()).await?;
                Ok(Some(token.insert(fresh).header.clone()))
            }
        }
    }

    /// Forgets a token that the registry did not accept, unless another one has taken its place, and learns from the
    /// refusal what the registry wants.
    pub(crate) async fn refused(
        &self,
        endpoint: &Endpoint,
        scope: &Scope,
        used: Option<&HeaderValue>,
        headers: &HeaderMap,
    ) {
        if let Some(scheme) = scheme_of(endpoint, headers) {
            *slot(&self.schemes, &endpoint.base).lock().await = Some(scheme);
        }
        let slot = slot(&self.in_use, &(endpoint.base.clone(), scope.clone()));
        let mut token = slot.lock().await;
        if token.as_ref().is_some_and(|token| Some(&token.header) == used) {
            *token = None;
        }
    }

    /// Whether there is a login for a registry, for the wording of errors.
    pub(crate) async fn has_login(&self, registry: &str) -> bool {
        self.logins.get(registry).await.is_ok_and(|login| login.is_some())
    }

    /// The user and password for a registry, if it has such a login.
    pub(crate) async fn password(&self, registry: &str) -> Option<(String, Secret)> {
        match self.logins.get(registry).await {
            Ok(Some(Login::Password { user, password })) => Some((user, password)),
            _ => None,
        }
    }

    /// What a place wants: asked once, by `GET /v2/`. Whoever asks has tries of their own, so there are none here.
    async fn scheme(&self, connections: &Connections, endpoint: &Endpoint) -> Result<Scheme, Error> {
        let slot = slot(&self.schemes, &endpoint.base);
        let mut scheme = slot.lock().await;
        if let Some(scheme) = &*scheme {
            return Ok(scheme.clone());
        }
        let headers = self.ask_scheme(connections, endpoint).await?;
        let found = scheme_of(endpoint, &headers).unwrap_or(Scheme::Anonymous);
        Ok(scheme.insert(found).clone())
    }

    /// One `GET /v2/`; its headers whatever the answer is, except where another try may help.
    async fn ask_scheme(&self, connections: &Connections, endpoint: &Endpoint) -> Result<HeaderMap, Error> {
        let action = "say which login it wants";
        let fail = |error: reqwest::Error| Error::transport(endpoint, &endpoint.base, action, &error);
        let pool = connections.pool(endpoint, &endpoint.base)?;
        let request = pool.get(endpoint.base.clone()).timeout(TOKEN_TIMEOUT).build().map_err(fail)?;
        let answer = connections.execute(&pool, request).await.map_err(fail)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if Retry::of_answer(status, &headers) == Retry::Never {
            return Ok(headers);
        }
        let body = answer.bytes().await.unwrap_or_default();
        let refusal = Box::new(Refusal::read(status, &headers, &body));
        Err(Error::Refused { registry: endpoint.registry.clone(), action: action.to_owned(), refusal })
    }

    /// Fetches a token.
    async fn fetch(
        &self,
        connections: &Connections,
        endpoint: &Endpoint,
        scope: &Scope,
        realm: &Url,
        service: Option<&str>,
    ) -> Result<Token, Error> {
        let login = self.logins.get(&endpoint.registry).await?;
        let pool = connections.pool(endpoint, realm)?;
        let ask = Ask { connections, pool, endpoint, scope, realm, service, login: login.as_ref() };
        ask.token().await
    }
}

/// One question to a token service.
struct Ask<'a> {
    /// Who sends it.
    connections: &'a Connections,
    /// Its connections.
    pool: reqwest::Client,
    /// For which place.
    endpoint: &'a Endpoint,
    /// What the token must allow.
    scope: &'a Scope,
    /// The service's address.
    realm: &'a Url,
    /// For whom.
    service: Option<&'a str>,
    /// Who we are.
    login: Option<&'a Login>,
}

impl Ask<'_> {
    /// Fetches a token: by GET with the password, by POST with an identity token. A service that knows only `OAuth2` is asked
    /// by POST, except DigitalOcean's, which knows only GET. It says so by 404, 405 or 501, or by 401, as if the login were
    /// wrong: then it is the refusal of the GET that counts, if both are refused.
    async fn token(&self) -> Result<Token, Error> {
        let asked_at = Instant::now();
        let mut answer = match self.login {
            Some(Login::IdentityToken(_)) => self.send(self.by_post()).await?,
            _ => self.send(self.by_get()).await?,
        };
        let only_post = matches!(answer.status().as_u16(), 401 | 404 | 405 | 501);
        let knows_password = matches!(self.login, Some(Login::Password { .. }));
        if only_post && knows_password && self.endpoint.registry != DIGITALOCEAN_REGISTRY {
            let posted = self.send(self.by_post()).await?;
            if answer.status() != StatusCode::UNAUTHORIZED || posted.status().is_success() {
                answer = posted;
            }
        }
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(|error| Error::transport(self.endpoint, self.realm, ACTION, &error))?;
        if !status.is_success() {
            return Err(self.refusal(Refusal::read(status, &headers, &body)));
        }
        self.read(&body, asked_at)
    }

    /// `GET realm?service=…&scope=…`, with the password if there is one.
    fn by_get(&self) -> reqwest::RequestBuilder {
        let mut url = self.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(self.service.map(|service| ("service", service)));
            query.extend_pairs(self.scope.parts().iter().map(|scope| ("scope", scope)));
        }
        let request = self.pool.get(url);
        match self.login.and_then(basic) {
            Some(header) => request.header(AUTHORIZATION, header),
            None => request,
        }
    }

    /// The `OAuth2` form (<https://distribution.github.io/distribution/spec/auth/oauth/>); secrets travel in the body.
    fn by_post(&self) -> reqwest::RequestBuilder {
        let scopes = self.scope.parts().join(" ");
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs([("client_id", "seaway"), ("scope", &scopes), ("service", self.service.unwrap_or_default())]);
        match self.login {
            Some(Login::IdentityToken(token)) => {
                form.extend_pairs([("grant_type", "refresh_token"), ("refresh_token", token.expose())])
            }
            Some(Login::Password { user, password }) => {
                form.extend_pairs([("grant_type", "password"), ("username", user), ("password", password.expose())])
            }
            None => &mut form,
        };
        let kind = "application/x-www-form-urlencoded";
        self.pool.post(self.realm.clone()).header("content-type", kind).body(form.finish())
    }

    /// Sends a question.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Error> {
        let fail = |error: reqwest::Error| Error::transport(self.endpoint, self.realm, ACTION, &error);
        let request = request.timeout(TOKEN_TIMEOUT).build().map_err(fail)?;
        self.connections.execute(&self.pool, request).await.map_err(fail)
    }

    /// The error that a refusal stands for: 401 is a wrong login, or none where one is needed.
    fn refusal(&self, refusal: Refusal) -> Error {
        let (registry, refusal) = (self.endpoint.registry.clone(), Box::new(refusal));
        let action = format!("{ACTION} for `{}`", self.scope.parts().join(" "));
        if refusal.status == StatusCode::UNAUTHORIZED {
            Error::Login { registry, action, had_login: self.login.is_some(), refusal }
        } else {
            Error::Refused { registry, action, refusal }
        }
    }

    /// The token in an answer. Its life is counted from the question: the service's clock may differ from ours.
    fn read(&self, body: &[u8], asked_at: Instant) -> Result<Token, Error> {
        let nonsense = |problem: &str| Error::Nonsense {
            registry: self.endpoint.registry.clone(),
            action: ACTION.to_owned(),
            problem: problem.to_owned(),
        };
        let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| nonsense("the answer is not JSON"))?;
        let text = answer.token.or(answer.access_token).filter(|text| !text.is_empty());
        let text = text.map(Secret::new).ok_or_else(|| nonsense("the answer has no token"))?;
        let header = header(&format!("Bearer {}", text.expose())).ok_or_else(|| nonsense("the token is no header"))?;
        Ok(Token { header, stale_at: asked_at + life(answer.expires_in.as_ref()).mul_f64(0.8) })
    }
}

/// How long a token lives of which its service says this: whatever is no number of seconds says nothing.
fn life(said: Option<&serde_json::Value>) -> Duration {
    let seconds = said.and_then(|said| said.as_f64().or_else(|| said.as_str()?.trim().parse().ok()));
    let seconds = seconds.filter(|seconds| *seconds >= 0.0);
    seconds.map_or(DEFAULT_LIFE, |seconds| Duration::from_secs_f64(seconds.min(LONGEST_LIFE.as_secs_f64())))
}

/// What is being attempted when a token is fetched.
const ACTION: &str = "give a token";

/// The slot of a key, made where there is none.
fn slot<K: Clone + Eq + std::hash::Hash, T>(slots: &Mutex<HashMap<K, Slot<T>>>, key: &K) -> Slot<T> {
    let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
    slots.entry(key.clone()).or_default().clone()
}

/// The scheme that a place asks for: bearer before basic. A token service without encryption is only believed where the
/// registry itself has none: the password would travel in clear.
fn scheme_of(endpoint: &Endpoint, headers: &HeaderMap) -> Option<Scheme> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenges: Vec<_> = texts.flat_map(challenge::parse).collect();
    let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    let bearer = of("bearer").and_then(|bearer| {
        let realm = Url::parse(bearer.parameters.get("realm")?).ok()?;
        let trusted = realm.scheme() == "https" || (realm.scheme() == "http" && endpoint.base.scheme() == "http");
        let service = bearer.parameters.get("service").cloned();
        trusted.then_some(Scheme::Bearer { realm, service })
    });
    bearer.or_else(|| of("basic").map(|_| Scheme::Basic))
}

/// The `Authorization: Basic` header of a login; an identity token has none.
fn basic(login: &Login) -> Option<HeaderValue> {
    let Login::Password { user, password } = login else { return None };
    let pair = Secret::new(format!("{user}:{}", password.expose()));
    header(&format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.expose())))
}

/// A header that debug output does not show.
fn header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::hosts::{Capability, Hosts};
    use serde_json::{Value, json};

    #[test]
    fn a_token_is_fetched_anew_at_four_fifths_of_its_life() {
        let connections = Connections::default();
        let endpoint = Hosts::default().endpoints("127.0.0.1:1", Capability::Push).unwrap().remove(0);
        let (scope, realm) = (Scope::push("a"), endpoint.base.clone());
        let pool = connections.pool(&endpoint, &realm).unwrap();
        let ask = Ask {
            connections: &connections,
            pool,
            endpoint: &endpoint,
            scope: &scope,
            realm: &realm,
            service: None,
            login: None,
        };
        let asked_at = Instant::now();
        for (body, seconds) in [
            (json!({ "token": "t", "expires_in": 900 }), 720),
            (json!({ "access_token": "t", "expires_in": 300 }), 240),
            (json!({ "token": "t" }), 48),
        ] {
            let token = ask.read(body.to_string().as_bytes(), asked_at).unwrap();
            assert_eq!((token.stale_at - asked_at).as_secs(), seconds, "{body}");
        }
    }

    #[test]
    fn whatever_a_service_says_of_a_tokens_life_it_ends() {
        for (said, seconds) in [
            (json!(300), 300),
            (json!(299.5), 299),
            (json!("300"), 300),
            (json!(u64::MAX), 86_400),
            (json!(1e300), 86_400),
            (json!("inf"), 86_400),
            (json!(0), 0),
            (json!(-1), 60),
            (json!("soon"), 60),
            (Value::Null, 60),
        ] {
            assert_eq!(life(Some(&said)).as_secs(), seconds, "{said}");
        }
        assert_eq!(life(None), DEFAULT_LIFE);
    }
}
