//! The one comment of ours on a pull request: written once, then edited in place.
//!
//! Ours is the comment that starts with our marker and whose author is who our token stands for: a marker alone proves
//! nothing, anybody can paste one. Runs may overlap, so whoever creates a comment looks again and keeps only the oldest:
//! whatever the order, the last one to look leaves exactly one.

use super::error::Error;
use crate::http::{self, Retry, RetryPolicy};
use crate::model::Secret;
use ::http::request::Builder;
use http_body_util::BodyExt as _;
use octocrab::Octocrab;
use octocrab::service::middleware::retry::RetryConfig;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Who `GITHUB_TOKEN` stands for. Such a token may not ask for itself.
const ACTIONS_BOT: &str = "github-actions[bot]";

/// GitHub refuses longer comments. It counts characters; we count bytes, which are never fewer.
const LONGEST_BODY: usize = 65_536;

/// The largest page that GitHub gives.
const PER_PAGE: usize = 100;

/// No answer of the API takes longer, unless something is broken.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which comment is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sticky {
    /// The first line of the comment, which no reader sees.
    marker: String,
    /// The run that writes, `GITHUB_RUN_ID` and its attempt: an older run does not overwrite what a newer one said.
    run: Option<(u64, u64)>,
}

impl Sticky {
    /// The comment on the deploys of an application to a namespace.
    pub(crate) fn deploy(application: &str, namespace: &str, run: Option<(u64, u64)>) -> Self {
        // What would end the hidden line early is not part of such names anyway.
        let key = format!("{application}/{namespace}").replace("--", "-").replace(['<', '>', '\n'], "");
        Self { marker: format!("<!-- seaway:deploy:{key} -->"), run }
    }

    /// The whole body around a text.
    fn body(&self, text: &str) -> String {
        let run = self.run.map(|(id, attempt)| format!("{RUN_MARKER}{id}-{attempt} -->\n")).unwrap_or_default();
        fit(&format!("{}\n{run}{text}", self.marker), LONGEST_BODY)
    }

    /// Whether a comment was written by a newer run than ours.
    fn is_newer(&self, body: &str) -> bool {
        matches!((self.run, run_of(body)), (Some(ours), Some(theirs)) if theirs > ours)
    }
}

/// The start of the hidden line that names the run.
const RUN_MARKER: &str = "<!-- seaway:run:";

/// The run that wrote a comment: its second line says.
fn run_of(body: &str) -> Option<(u64, u64)> {
    let line = body.lines().nth(1)?.trim();
    let (id, attempt) = line.strip_prefix(RUN_MARKER)?.strip_suffix(" -->")?.split_once('-')?;
    Some((id.parse().ok()?, attempt.parse().ok()?))
}

/// What became of a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// It is a new one.
    Created,
    /// It was edited.
    Edited,
    /// It says the same already.
    Unchanged,
    /// A newer run has said something since; its text stays.
    Superseded,
    /// Somebody has deleted it.
    Gone,
}

/// The comments on one pull request.
#[derive(Clone, Debug)]
pub(crate) struct Comments {
    /// The client.
    octocrab: Octocrab,
    /// `/repos/acme/todo/issues`.
    issues: String,
    /// The number of the pull request.
    number: u64,
    /// Which comment is ours.
    sticky: Sticky,
    /// Who we are, once it is known.
    login: Option<String>,
    /// Our comment, once it is known.
    known: Option<u64>,
    /// How often something is tried.
    policy: RetryPolicy,
}

/// A comment as it comes. Only what is needed: GitHub and its likes differ in the rest.
#[derive(Clone, Debug, Deserialize)]
struct Comment {
    /// Its number, unique on the server and rising.
    id: u64,
    /// Its author; `null` for an account that is gone.
    user: Option<User>,
    /// Its text.
    body: Option<String>,
}

/// An account as it comes.
#[derive(Clone, Debug, Deserialize)]
struct User {
    /// Its name; that of an app ends with `[bot]`.
    login: String,
}

impl Comment {
    /// Its text; empty where there is none.
    fn text(&self) -> &str {
        self.body.as_deref().unwrap_or_default()
    }
}

impl Comments {
    /// The comments on a pull request of a repository (`acme/todo`). Nothing is asked yet.
    pub(crate) fn new(
        api_url: &str,
        token: &Secret,
        repository: &str,
        number: u64,
        sticky: Sticky,
    ) -> Result<Self, Error> {
        http::install_crypto();
        let setup = |source| Error::Setup { address: api_url.to_owned(), source };
        let builder = Octocrab::builder()
            // Its own retries would repeat a POST whose answer was lost, and so comment twice.
            .add_retry_config(RetryConfig::None)
            .set_connect_timeout(Some(TIMEOUT))
            .set_read_timeout(Some(TIMEOUT))
            .personal_token(token.expose().to_owned());
        let builder = builder.base_uri(api_url).map_err(|error| setup(error.into()))?;
        let octocrab = builder.build().map_err(|error| setup(error.into()))?;
        let policy = RetryPolicy { tries: 3, first: Duration::from_secs(1), longest: Duration::from_secs(5) };
        let issues = format!("/repos/{repository}/issues");
        Ok(Self { octocrab, issues, number, sticky, login: None, known: None, policy })
    }

    /// The same without pauses, for tests.
    #[cfg(test)]
    #[must_use]
    pub(super) fn without_pauses(mut self) -> Self {
        self.policy = RetryPolicy { tries: 3, first: Duration::ZERO, longest: Duration::ZERO };
        self
    }

    /// Makes the comment say this.
    pub(crate) async fn publish(&mut self, text: &str) -> Result<Published, Error> {
        let body = self.sticky.body(text);
        if let Some(known) = self.known {
            match self.edit_by_id(known, &body).await? {
                Published::Gone => self.known = None,
                published => return Ok(published),
            }
        }
        self.find_login().await?;
        let published = match self.keep_oldest().await? {
            Some(comment) => self.edit(&comment, &body).await?,
            None => return self.create(&body).await,
        };
        // Deleted between the list and the edit: whoever deleted it does not want it at this moment, and there is none.
        if published == Published::Gone { self.create(&body).await } else { Ok(published) }
    }

    /// Learns who we are.
    async fn find_login(&mut self) -> Result<(), Error> {
        if self.login.is_none() {
            let answer = self.read("/user".to_owned(), "asking who the token stands for").await;
            self.login = Some(match answer {
                Ok(user) => parse::<User>("asking who the token stands for", user)?.login,
                // A token of a workflow or of an app is no user. If it is another app's than GitHub's own, the answer to
                // our first comment will tell.
                Err(error) if error.is_absent() || matches!(error, Error::Forbidden { .. }) => ACTIONS_BOT.to_owned(),
                Err(error) => return Err(error),
            });
        }
        Ok(())
    }

    /// Our oldest comment; younger ones are deleted.
    async fn keep_oldest(&mut self) -> Result<Option<Comment>, Error> {
        let mut ours = self.ours().await?.into_iter();
        let oldest = ours.next();
        self.known = oldest.as_ref().map(|comment| comment.id);
        for younger in ours {
            self.delete(younger.id).await?;
        }
        Ok(oldest)
    }

    /// All our comments, the oldest first.
    async fn ours(&self) -> Result<Vec<Comment>, Error> {
        let doing = format!("listing the comments on #{}", self.number);
        let mut ours = Vec::new();
        for page in 1.. {
            let path = format!("{}/{}/comments?per_page={PER_PAGE}&page={page}", self.issues, self.number);
            let comments: Vec<Comment> = parse(&doing, self.read(path, &doing).await?)?;
            let last = comments.len() < PER_PAGE;
            ours.extend(comments.into_iter().filter(|comment| self.is_ours(comment)));
            if last {
                break;
            }
        }
        ours.sort_by_key(|comment| comment.id);
        Ok(ours)
    }

    /// Whether a comment carries our marker and is by us.
    fn is_ours(&self, comment: &Comment) -> bool {
        let author = comment.user.as_ref().map(|user| &user.login);
        author == self.login.as_ref() && comment.text().lines().next().map(str::trim) == Some(&self.sticky.marker)
    }

    /// Writes a new comment, then sees to it that it is the only one.
    async fn create(&mut self, body: &str) -> Result<Published, Error> {
        let created = self.post(body).await?;
        self.known = Some(created.id);
        if let Some(user) = created.user {
            self.login = Some(user.login);
        }
        match self.keep_oldest().await? {
            // Another run was faster, or the answer to an earlier try of ours was lost.
            Some(older) if older.id != created.id => self.edit(&older, body).await,
            // A list that does not show it yet is no reason to forget it.
            _ => {
                self.known = Some(created.id);
                Ok(Published::Created)
            }
        }
    }

    /// Sends a new comment. A POST is repeated only after a look whether it has arrived all the same.
    async fn post(&self, body: &str) -> Result<Comment, Error> {
        let doing = format!("commenting on #{}", self.number);
        let path = format!("{}/{}/comments", self.issues, self.number);
        let mut tries = 1;
        loop {
            let error = match self.request(Method::POST, path.clone(), Some(json!({ "body": body })), &doing).await {
                Ok(answer) => return parse(&doing, answer),
                Err(error) => error,
            };
            let Some(pause) = self.policy.pause(tries, error.retry()) else { return Err(error) };
            tokio::time::sleep(pause.min(self.policy.longest)).await;
            if let Some(arrived) = self.ours().await?.into_iter().next() {
                return Ok(arrived);
            }
            tries += 1;
        }
    }

    /// Makes the comment with this number say this.
    async fn edit_by_id(&self, id: u64, body: &str) -> Result<Published, Error> {
        let doing = format!("reading our comment on #{}", self.number);
        match self.read(format!("{}/comments/{id}", self.issues), &doing).await {
            Ok(comment) => self.edit(&parse(&doing, comment)?, body).await,
            Err(error) if error.is_absent() => Ok(Published::Gone),
            Err(error) => Err(error),
        }
    }

    /// Makes a comment say this, unless it does or a newer run has spoken.
    ///
    /// octocrab's own `update_comment` sends POST, where GitHub knows only PATCH
    /// (<https://docs.github.com/en/rest/issues/comments#update-an-issue-comment>).
    async fn edit(&self, comment: &Comment, body: &str) -> Result<Published, Error> {
        if self.sticky.is_newer(comment.text()) {
            return Ok(Published::Superseded);
        }
        if comment.text().replace("\r\n", "\n").trim_end() == body.trim_end() {
            return Ok(Published::Unchanged);
        }
        let doing = format!("editing our comment on #{}", self.number);
        let path = format!("{}/comments/{}", self.issues, comment.id);
        let send = || self.request(Method::PATCH, path.clone(), Some(json!({ "body": body })), &doing);
        match self.policy.run(Error::retry, send).await {
            Ok(_) => Ok(Published::Edited),
            Err(error) if error.is_absent() => Ok(Published::Gone),
            Err(error) => Err(error),
        }
    }

    /// Deletes a comment of ours; one that is gone already is fine.
    async fn delete(&self, id: u64) -> Result<(), Error> {
        let doing = format!("deleting a second comment of ours on #{}", self.number);
        let path = format!("{}/comments/{id}", self.issues);
        match self.policy.run(Error::retry, || self.request(Method::DELETE, path.clone(), None, &doing)).await {
            Err(error) if !error.is_absent() => Err(error),
            _ => Ok(()),
        }
    }

    /// A GET, tried again where that may help.
    async fn read(&self, path: String, doing: &str) -> Result<Value, Error> {
        self.policy.run(Error::retry, || self.request(Method::GET, path.clone(), None, doing)).await
    }

    /// One request, once. An answer without a body is `null`.
    async fn request(&self, method: Method, path: String, body: Option<Value>, doing: &str) -> Result<Value, Error> {
        let unreachable = |error: octocrab::Error| unreachable(doing, &error);
        let builder = Builder::new().method(method).uri(path);
        let request = self.octocrab.build_request(builder, body.as_ref()).map_err(unreachable)?;
        let answer = self.octocrab.execute(request).await.map_err(unreachable)?;
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.map_err(unreachable)?.to_bytes();
        if !parts.status.is_success() {
            return Err(refusal(doing, &parts, &bytes));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|source| Error::Unreadable { doing: doing.to_owned(), source })
    }
}

/// The error for a request without an answer: its innermost cause, the layers above only repeat it.
fn unreachable(doing: &str, error: &octocrab::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Error::Unreachable { doing: doing.to_owned(), cause: cause.to_string() }
}

/// The error that an answer without success stands for. GitHub says 403 for rate limits too
/// (<https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit>).
fn refusal(doing: &str, parts: &::http::response::Parts, body: &[u8]) -> Error {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body["message"].as_str().unwrap_or("no reason given").trim_end_matches('.').to_owned();
    let limited = parts.headers.contains_key("retry-after")
        || parts.headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0");
    let (doing, status) = (doing.to_owned(), parts.status);
    match (status, limited) {
        (StatusCode::FORBIDDEN, false) => Error::Forbidden { doing, message },
        (StatusCode::FORBIDDEN, true) => {
            // Without a pause that GitHub asks for, the limit is that of the hour: too long to wait for.
            let retry = http::retry_after(&parts.headers).map_or(Retry::Never, Retry::After);
            Error::Refused { doing, status, message, retry }
        }
        _ => Error::Refused { doing, status, message, retry: Retry::of_answer(status, &parts.headers) },
    }
}

/// A JSON value as what it should be.
fn parse<T: serde::de::DeserializeOwned>(doing: &str, value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|source| Error::Unreadable { doing: doing.to_owned(), source })
}

/// The text in at most `limit` bytes: cut at the end of a line, with what is open there closed again.
pub(crate) fn fit(text: &str, limit: usize) -> String {
    /// Room for the closing of fences and details, and for the remark.
    const RESERVE: usize = 256;
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub(RESERVE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let kept = &text[..end];
    let mut kept = kept[..kept.rfind('\n').unwrap_or(end)].to_owned();
    if let Some(fence) = open_fence(&kept) {
        kept = format!("{kept}\n{fence}");
    }
    let open = kept.matches("<details>").count().saturating_sub(kept.matches("</details>").count());
    format!("{kept}\n{}\n\n_Shortened: the log of the run has it all._\n", "</details>".repeat(open))
}

/// The fence of a code block that is open at the end of a text.
fn open_fence(text: &str) -> Option<&str> {
    let mut open = None;
    for line in text.lines() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        match open {
            None if ticks >= 3 => open = Some(&line[..ticks]),
            Some(fence) if line.trim_end() == fence => open = None,
            _ => {}
        }
    }
    open
}

#[cfg(test)]
mod tests;
