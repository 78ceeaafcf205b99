//! The client itself: which place, which token, which error.

use super::auth::{Scope, Tokens, transport};
use super::error::{Error, Refusal};
use super::hosts::{Capability, Endpoint, Hosts};
use super::limiter::Limiter;
use super::logins::Logins;
use crate::http::{self, Recipe, RetryPolicy};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A client for all registries. Cheap to clone; clones share tokens, connections and limits.
#[derive(Clone, Debug)]
pub(crate) struct Client(Arc<Inner>);

/// What the clones of a client share.
#[derive(Debug)]
struct Inner {
    /// Where names lead.
    hosts: Hosts,
    /// The tokens in use.
    tokens: Tokens,
    /// A connection pool for each way of talking to a place.
    pools: Mutex<HashMap<Recipe, reqwest::Client>>,
    /// How many requests may run at once, by the registry's name.
    limiters: Mutex<HashMap<String, Arc<Limiter>>>,
    /// How long what may take.
    patience: Patience,
}

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// A request without a large body is answered within this.
    pub(crate) request: Duration,
    /// Something moves within this while a blob is being sent or received.
    pub(crate) stall: Duration,
    /// A registry may take this long to answer when it has the whole blob: those that store in S3 copy it first.
    pub(crate) commit: Duration,
    /// How often is tried again.
    pub(crate) retry: RetryPolicy,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: Duration::from_mins(1),
            stall: Duration::from_mins(1),
            commit: Duration::from_mins(15),
            retry: RetryPolicy::default(),
        }
    }
}

/// Tries of what somebody waits for: about five seconds of pauses.
const BRIEF_TRIES: usize = 4;

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

impl Client {
    /// A client that finds places and logins here.
    pub(crate) fn new(hosts: Hosts, logins: Logins) -> Self {
        Self::with_patience(hosts, logins, Patience::default())
    }

    /// The same with other time limits.
    pub(crate) fn with_patience(hosts: Hosts, logins: Logins, patience: Patience) -> Self {
        let tokens = Tokens::new(logins);
        Self(Arc::new(Inner { hosts, tokens, pools: Mutex::default(), limiters: Mutex::default(), patience }))
    }

    /// The user and password for a registry, for builders that fetch base images themselves. Docker Hub's registry goes
    /// by the name of its service.
    pub(crate) async fn login(&self, registry: &str) -> Option<(String, crate::model::Secret)> {
        let name = if matches!(registry, "registry-1.docker.io" | "index.docker.io") { "docker.io" } else { registry };
        self.0.tokens.password(name).await
    }

    /// How long what may take.
    pub(crate) fn patience(&self) -> Patience {
        self.0.patience
    }

    /// The tokens in use.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// The places that may be asked for this, in order.
    pub(crate) fn endpoints(&self, registry: &str, wanted: Capability) -> Result<Vec<Endpoint>, Error> {
        Ok(self.0.hosts.endpoints(registry, wanted)?)
    }

    /// The place that takes pushes.
    pub(crate) fn push_endpoint(&self, registry: &str) -> Result<Endpoint, Error> {
        self.endpoints(registry, Capability::Push)?.into_iter().next().ok_or_else(|| Error::Nonsense {
            registry: registry.to_owned(),
            action: "take a push".to_owned(),
            problem: "no place is known for it".to_owned(),
        })
    }

    /// How many requests may run at once against a registry.
    pub(crate) fn limiter(&self, registry: &str) -> Arc<Limiter> {
        let mut limiters = self.0.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        limiters.entry(registry.to_owned()).or_default().clone()
    }

    /// The connections to a place.
    pub(crate) fn pool(&self, endpoint: &Endpoint) -> Result<reqwest::Client, Error> {
        let mut pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&endpoint.recipe) {
            return Ok(pool.clone());
        }
        let pool = http::client(&endpoint.recipe)?;
        pools.insert(endpoint.recipe.clone(), pool.clone());
        Ok(pool)
    }

    /// Asks with tries: the answer, whatever its status, but an error where the last try was still worth another one.
    pub(crate) async fn ask(
        &self,
        question: Question<'_>,
        make: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let retry = self.0.patience.retry;
        retry.run(Error::retry, || self.ask_once(question, &make)).await
    }

    /// The same with fewer tries, for what is asked before anything has been done: somebody waits for it, and a wrong
    /// address should not take half a minute to show.
    pub(crate) async fn ask_briefly(
        &self,
        question: Question<'_>,
        make: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let retry = self.0.patience.retry;
        let retry = RetryPolicy { tries: retry.tries.min(BRIEF_TRIES), ..retry };
        retry.run(Error::retry, || self.ask_once(question, &make)).await
    }

    /// Asks once, with a fresh token where the one in use is refused. Answers that are worth another try are errors.
    async fn ask_once(
        &self,
        question: Question<'_>,
        make: &impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let mut answer = self.ask_with_token(question, make).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            answer = self.ask_with_token(question, make).await?;
        }
        if http::Retry::of_answer(answer.status(), answer.headers()) != http::Retry::Never {
            return Err(self.refusal(question, answer).await);
        }
        Ok(answer)
    }

    /// Sends one request with the token in use. A refused token is forgotten, so that the next request fetches another.
    async fn ask_with_token(
        &self,
        question: Question<'_>,
        make: &impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let pool = self.pool(question.endpoint)?;
        let token = self.0.tokens.authorization(&pool, question.endpoint, question.scope).await?;
        let mut request = make(&pool).timeout(self.0.patience.request);
        if let Some(token) = &token {
            request = request.header(reqwest::header::AUTHORIZATION, token.clone());
        }
        let answer = self.send(question, &pool, request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.0.tokens.refused(question.endpoint, question.scope, token.as_ref(), answer.headers()).await;
        }
        Ok(answer)
    }

    /// Sends a request as it is.
    pub(crate) async fn send(
        &self,
        question: Question<'_>,
        pool: &reqwest::Client,
        request: RequestBuilder,
    ) -> Result<Response, Error> {
        let request = request.build().map_err(|error| Self::transport(question, &error))?;
        http::send(pool, request).await.map_err(|error| Self::transport(question, &error))
    }

    /// The error of a request that got no answer, or only part of one.
    pub(crate) fn transport(question: Question<'_>, error: &reqwest::Error) -> Error {
        let url = error.url().unwrap_or(&question.endpoint.base);
        transport(question.endpoint, url, question.action, error)
    }

    /// The error that a refusal stands for.
    pub(crate) async fn refusal(&self, question: Question<'_>, answer: Response) -> Error {
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.unwrap_or_default();
        let refusal = Box::new(Refusal::read(status, &headers, &body));
        let (registry, action) = (question.endpoint.registry.clone(), question.action.to_owned());
        if status == StatusCode::UNAUTHORIZED {
            let had_login = self.0.tokens.has_login(&registry).await;
            return Error::Login { registry, action, had_login, refusal };
        }
        Error::Refused { registry, action, refusal }
    }

    /// The error of an answer that the protocol does not allow.
    pub(crate) fn nonsense(question: Question<'_>, problem: impl Into<String>) -> Error {
        Error::Nonsense {
            registry: question.endpoint.registry.clone(),
            action: question.action.to_owned(),
            problem: problem.into(),
        }
    }
}
