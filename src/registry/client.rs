//! The client itself: which place, which token, which error.

use super::auth::{Scout, Tokens};
use super::budget::Budget;
use super::connections::Connections;
use super::error::{Error, Refusal};
use super::features::Features;
use super::flights::Flights;
use super::hosts::{Capability, Endpoint, Hosts};
use super::limiter::Limiter;
use super::logins::Logins;
use super::mounts::Mounts;
use super::patience::Patience;
use super::progress::lock;
use super::promises::Promises;
use super::question::Question;
use super::redirects::Trail;
use super::wire;
use crate::http::{self, Retry};
use crate::image::part::FileRange;
use crate::model::{Digest, Repository};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WARNING};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use url::Url;

/// A client for all registries. Cheap to clone; clones share tokens, connections and limits.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// What clones share.
    inner: Arc<Inner>,
    /// The connections.
    connections: Connections,
}

/// What the clones of a client share.
#[derive(Debug)]
struct Inner {
    /// Where names lead.
    hosts: Hosts,
    /// The tokens in use.
    tokens: Tokens,
    /// What is known of each registry, by its name.
    known: Mutex<HashMap<String, Arc<Known>>>,
    /// The layers that are held in memory.
    budget: Arc<Budget>,
    /// How long what may take.
    patience: Patience,
    /// What registries wanted people to know.
    warnings: Mutex<Vec<Remark>>,
    /// Held by whoever writes a list of artifacts.
    lists: tokio::sync::Mutex<()>,
}

/// What a run has learnt of a registry.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// How many uploads may run at once.
    pub(crate) limiter: Arc<Limiter>,
    /// What it can do.
    pub(crate) features: Features,
    /// The blobs that are being sent.
    pub(crate) flights: Arc<Flights>,
    /// The layers that are being made for it.
    pub(crate) promises: Promises,
    /// Which repositories give their blobs to which others.
    pub(crate) mounts: Mounts,
    /// The blobs that were seen or put there, by the repository's path.
    present: Mutex<HashMap<String, HashSet<Digest>>>,
    /// The paths of the repositories that this run works on.
    in_use: Mutex<BTreeSet<String>>,
}

impl Known {
    /// A blob lies in a repository.
    pub(crate) fn has(&self, path: &str, blob: &Digest) {
        lock(&self.present).entry(path.to_owned()).or_default().insert(blob.clone());
    }

    /// Whether a blob was seen in a repository.
    pub(crate) fn is_in(&self, path: &str, blob: &Digest) -> bool {
        lock(&self.present).get(path).is_some_and(|blobs| blobs.contains(blob))
    }

    /// The other repositories that the blob was seen in.
    pub(crate) fn elsewhere(&self, path: &str, blob: &Digest) -> Vec<String> {
        let present = lock(&self.present);
        let there = present.iter().filter(|(there, blobs)| *there != path && blobs.contains(blob));
        there.map(|(there, _)| there.clone()).collect()
    }

    /// The other repositories that this run works on.
    pub(crate) fn neighbours(&self, path: &str) -> Vec<String> {
        lock(&self.in_use).iter().filter(|there| *there != path).cloned().collect()
    }

    /// A blob is not there any more; without a digest, nothing is known of the repository any more.
    pub(crate) fn lost(&self, path: &str, blob: Option<&Digest>) {
        let mut present = lock(&self.present);
        match blob {
            Some(blob) => present.values_mut().for_each(|blobs| {
                blobs.remove(blob);
            }),
            None => drop(present.remove(path)),
        }
    }
}

/// What a registry wanted people to know, and whether they do.
#[derive(Debug)]
struct Remark {
    /// Whose it is and what it says.
    text: String,
    /// Whether it was shown.
    shown: bool,
}

/// Which way a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way<'a> {
    /// On a connection of a pool; the answer is read as a whole.
    Pool(&'a reqwest::Client),
    /// The same; the answer is read as it comes.
    Stream(&'a reqwest::Client),
    /// On a connection of its own that sends this file as its body.
    Wire(&'a FileRange),
}

/// No answer that is read as a whole is longer, in bytes: manifests may have 4 MiB, lists of tags a little more.
pub(crate) const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// What is wrong with an answer that is.
pub(crate) const TOO_LARGE: &str = "it is larger than 16 MiB";

impl Client {
    /// A client that finds places and logins here.
    pub(crate) fn new(hosts: Hosts, logins: Logins) -> Self {
        Self::with_patience(hosts, logins, Patience::default())
    }

    /// The same with other time limits.
    pub(crate) fn with_patience(hosts: Hosts, logins: Logins, patience: Patience) -> Self {
        let inner = Inner {
            hosts,
            tokens: Tokens::new(logins),
            known: Mutex::default(),
            budget: Arc::default(),
            patience,
            warnings: Mutex::default(),
            lists: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner), connections: Connections::default() }
    }

    /// The same with another budget for layers in memory. Nothing may have been sent yet.
    #[cfg(test)]
    pub(crate) fn with_budget(mut self, bytes: u64) -> Self {
        Arc::get_mut(&mut self.inner).expect("a client without clones").budget = Arc::new(Budget::new(bytes));
        self
    }

    /// The same client with a counter of its own for requests.
    #[must_use]
    pub(crate) fn counting(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), connections: self.connections.counting() }
    }

    /// How many requests this client and its clones have sent.
    pub(crate) fn requests(&self) -> u64 {
        self.connections.requests()
    }

    /// What registries wanted people to know (`Warning: 299`), each once.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut all = lock(&self.inner.warnings);
        let new = all.iter_mut().filter(|remark| !remark.shown);
        new.map(|remark| {
            remark.shown = true;
            remark.text.clone()
        })
        .collect()
    }

    /// The user and password for a registry, for builders that fetch base images themselves. Docker Hub's registry goes
    /// by the name of its service.
    pub(crate) async fn login(&self, registry: &str) -> Option<(String, crate::model::Secret)> {
        let name = if matches!(registry, "registry-1.docker.io" | "index.docker.io") { "docker.io" } else { registry };
        self.inner.tokens.password(name).await
    }

    /// Held by whoever writes a list of artifacts.
    pub(super) fn writing_lists(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.lists
    }

    /// How long what may take.
    pub(crate) fn patience(&self) -> Patience {
        self.inner.patience
    }

    /// The places that may be asked for this, in order.
    pub(crate) fn endpoints(&self, registry: &str, wanted: Capability) -> Result<Vec<Endpoint>, Error> {
        Ok(self.inner.hosts.endpoints(registry, wanted)?)
    }

    /// The place that takes pushes.
    pub(crate) fn push_endpoint(&self, registry: &str) -> Result<Endpoint, Error> {
        self.endpoints(registry, Capability::Push)?.into_iter().next().ok_or_else(|| Error::Nonsense {
            registry: registry.to_owned(),
            action: "take a push".to_owned(),
            problem: "no place is known for it".to_owned(),
        })
    }

    /// What the run has learnt of a registry.
    pub(crate) fn known(&self, registry: &str) -> Arc<Known> {
        lock(&self.inner.known).entry(registry.to_owned()).or_default().clone()
    }

    /// This run works on a repository: what others of the same registry lack may lie there.
    pub(crate) fn works_on(&self, repository: &Repository) {
        lock(&self.known(&repository.registry).in_use).insert(repository.path.clone());
    }

    /// The layers that are held in memory.
    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.inner.budget
    }

    /// The connections on which a URL is asked for that a place has named, or for its own.
    pub(crate) fn pool(&self, endpoint: &Endpoint, url: &Url) -> Result<reqwest::Client, Error> {
        self.connections.pool(endpoint, url)
    }

    /// Asks with tries: the answer, whatever its status, but an error where the last try was still worth another one.
    pub(crate) async fn ask(
        &self,
        question: Question<'_>,
        make: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Error> {
        self.inner.patience.run(Error::retry, || self.ask_once(question, &make)).await
    }

    /// The same with fewer tries, for what is asked before anything has been done: somebody waits for it, and a wrong
    /// address should not take half a minute to show.
    pub(crate) async fn ask_briefly(
        &self,
        question: Question<'_>,
        make: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Error> {
        self.inner.patience.brief().run(Error::retry, || self.ask_once(question, &make)).await
    }

    /// Reads something: asks, with few tries, and goes where the registry sends us.
    pub(crate) async fn read_briefly(
        &self,
        question: Question<'_>,
        url: &Url,
        make: impl Fn(&reqwest::Client, &Url) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let read = || async {
            let mut answer = self.ask_once(question, &|pool: &reqwest::Client| make(pool, url)).await?;
            let mut trail = Trail::new(url);
            while trail.goes_on(question, &answer)? {
                let pool = self.pool(question.endpoint, &trail.url)?;
                let request = make(&pool, &trail.url).timeout(self.inner.patience.request);
                answer = self.with_token(question, &trail.url, Way::Pool(&pool), request).await?;
            }
            self.unless_passing(question, answer).await
        };
        self.inner.patience.brief().run(Error::retry, read).await
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
        self.unless_passing(question, answer).await
    }

    /// The answer, or an error where it is worth another try.
    pub(crate) async fn unless_passing(&self, question: Question<'_>, answer: Response) -> Result<Response, Error> {
        match Retry::of_answer(answer.status(), answer.headers()) {
            Retry::Never => Ok(answer),
            _ => Err(self.refusal(question, answer).await),
        }
    }

    /// Sends one request to the registry itself, with a token if it wants one.
    async fn ask_with_token(
        &self,
        question: Question<'_>,
        make: &impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let base = &question.endpoint.base;
        let pool = self.pool(question.endpoint, base)?;
        let make = || make(&pool).timeout(self.inner.patience.request);
        if let Some(scout) = self.inner.tokens.scout(question.endpoint).await
            && let Some(answer) = self.scout(question, &pool, make(), scout).await?
        {
            return Ok(answer);
        }
        self.with_token(question, base, Way::Pool(&pool), make()).await
    }

    /// Sends one request without a proof, and learns from its answer what the registry wants; `None` where it wants one.
    async fn scout(
        &self,
        question: Question<'_>,
        pool: &reqwest::Client,
        request: RequestBuilder,
        scout: Scout,
    ) -> Result<Option<Response>, Error> {
        let answer = self.send(question, Way::Pool(pool), request).await?;
        if Retry::of_answer(answer.status(), answer.headers()) == Retry::Never {
            scout.learn(question.endpoint, answer.headers());
        }
        Ok((answer.status() != StatusCode::UNAUTHORIZED).then_some(answer))
    }

    /// Sends a request with the token in use, if it goes to the registry itself: another host never sees it. The token is
    /// looked at right before: the registry checks its end when the request begins. One that is refused is forgotten, so
    /// that the next request fetches another.
    pub(crate) async fn with_token(
        &self,
        question: Question<'_>,
        url: &Url,
        way: Way<'_>,
        request: RequestBuilder,
    ) -> Result<Response, Error> {
        let (request, token) = self.proven(question, url, request).await?;
        let answer = self.send(question, way, request).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.inner.tokens.refused(question.endpoint, question.scope, token.as_ref(), answer.headers()).await;
        }
        Ok(answer)
    }

    /// A request with the token in use, if it goes to the registry itself; and that token.
    pub(crate) async fn proven(
        &self,
        question: Question<'_>,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<(RequestBuilder, Option<HeaderValue>), Error> {
        if !question.endpoint.serves(url) {
            return Ok((request, None));
        }
        let token = self.inner.tokens.authorization(&self.connections, question.endpoint, question.scope).await?;
        let request = match &token {
            Some(token) => request.header(AUTHORIZATION, token.clone()),
            None => request,
        };
        Ok((request, token))
    }

    /// Sends a request as it is, after any pause that the registry asked for. What it says about its load holds for all
    /// that is sent to it.
    pub(crate) async fn send(
        &self,
        question: Question<'_>,
        way: Way<'_>,
        request: RequestBuilder,
    ) -> Result<Response, Error> {
        let request = request.build().map_err(|error| question.transport(&error))?;
        let known = self.known(&question.endpoint.registry);
        known.limiter.open().await;
        let mark = known.limiter.mark();
        let answer = match way {
            Way::Pool(pool) | Way::Stream(pool) => {
                let answer = self.connections.execute(pool, request).await;
                answer.map_err(|error| question.transport(&error))?
            }
            Way::Wire(file) => {
                self.connections.count();
                wire::send(question, file, request).await?
            }
        };
        if matches!(answer.status().as_u16(), 429 | 503) {
            known.limiter.complained(mark);
            let pause = http::retry_after(answer.headers());
            pause
                .filter(|pause| *pause <= http::LONGEST_PAUSE)
                .into_iter()
                .for_each(|pause| known.limiter.pause(pause));
        }
        self.listen(&question.endpoint.registry, answer.headers());
        match way {
            Way::Pool(_) => self.whole(question, answer).await,
            Way::Stream(_) | Way::Wire(_) => Ok(answer),
        }
    }

    /// Reads an answer to its end, so that what breaks off is tried again with the request. Of a refusal the status is
    /// enough, whatever becomes of its words.
    pub(crate) async fn whole(&self, question: Question<'_>, mut answer: Response) -> Result<Response, Error> {
        let (status, stall) = (answer.status(), self.inner.patience.stall);
        let mut bytes = Vec::new();
        let reading = async {
            while let Some(piece) = answer.chunk().await.map_err(|error| question.transport(&error))? {
                if bytes.len() + piece.len() > LARGEST_ANSWER {
                    return Err(question.nonsense(TOO_LARGE));
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(())
        };
        let read = tokio::time::timeout(stall, reading).await.unwrap_or_else(|_| Err(question.stalled(stall)));
        if !status.is_client_error() && !status.is_server_error() {
            read?;
        }
        let mut whole = ::http::Response::new(bytes);
        (*whole.status_mut(), *whole.headers_mut()) = (status, answer.headers().clone());
        Ok(whole.into())
    }

    /// Remembers warnings (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md#warnings>).
    fn listen(&self, registry: &str, headers: &HeaderMap) {
        for value in headers.get_all(WARNING).iter().filter_map(|value| value.to_str().ok()) {
            let Some(text) = value.strip_prefix("299 - ") else { continue };
            let text = format!("registry `{registry}` says: {}", text.trim().trim_matches('"'));
            let mut all = lock(&self.inner.warnings);
            if !all.iter().any(|remark| remark.text == text) {
                all.push(Remark { text, shown: false });
            }
        }
    }

    /// The error that a refusal stands for.
    pub(crate) async fn refusal(&self, question: Question<'_>, answer: Response) -> Error {
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.unwrap_or_default();
        let refusal = Box::new(Refusal::read(status, &headers, &body));
        let (registry, action) = (question.endpoint.registry.clone(), question.action.to_owned());
        if status == StatusCode::UNAUTHORIZED {
            let had_login = self.inner.tokens.has_login(&registry).await;
            return Error::Login { registry, action, had_login, refusal };
        }
        Error::Refused { registry, action, refusal }
    }

    /// The error that the refusal of a HEAD stands for. It has no body, so that one is asked for again where the reason
    /// matters: a bare 403 has several.
    pub(crate) async fn refusal_of_head(&self, question: Question<'_>, url: &Url, answer: Response) -> Error {
        if answer.status() == StatusCode::FORBIDDEN {
            let again = self.ask_with_token(question, &|pool| pool.get(url.clone())).await;
            if let Ok(again) = again.map(|again| (again.status().is_client_error(), again))
                && again.0
            {
                return self.refusal(question, again.1).await;
            }
        }
        self.refusal(question, answer).await
    }
}
