//! One recipe for HTTP clients: user agent, time-outs, certificates, retry policy, redaction.
//!
//! In: a [`Recipe`]. Out: a `reqwest::Client` that every door can use. It knows no server and no credential.

use crate::error::{FailureKind, Hint};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, StatusCode};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;
use url::Url;

/// What every server sees as the client's name.
pub(crate) const USER_AGENT: &str = concat!("seaway/", env!("CARGO_PKG_VERSION"));

/// A server that does not accept a connection within this is treated as away.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that asks for a longer pause than this is treated as having refused.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// How a client differs from the ordinary one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Recipe {
    /// PEM bundles trusted beside the operating system's (`SSL_CERT_FILE`, `ca` of a hosts.toml).
    pub(crate) ca_files: Vec<PathBuf>,
    /// Accepts any certificate: only where somebody wrote `skip_verify`.
    pub(crate) skip_verify: bool,
    /// Leaves redirects to the caller, who decides which headers may travel.
    pub(crate) no_redirects: bool,
    /// For large blobs. HTTP/1.1 only: uploads on one HTTP/2 connection would share one flow-control window. And bodies are
    /// taken as they are stored, without asking for compression: a blob's digest is of those bytes.
    pub(crate) for_blobs: bool,
    /// Never encrypts, and so loads no certificates, which takes longer than a request to a registry on this machine.
    pub(crate) plain: bool,
    /// Goes through no proxy, whatever the environment says: nobody's proxy reaches this machine.
    pub(crate) direct: bool,
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A bundle of certificates cannot be read.
    #[error("cannot read the certificates in `{}`", path.display())]
    Certificates {
        /// The bundle.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A bundle is not PEM, or the client cannot be set up with it.
    #[error("cannot set up an HTTP client")]
    Setup(#[source] reqwest::Error),
}

impl Hint for Error {
    fn kind(&self) -> FailureKind {
        FailureKind::Configuration
    }
    fn hint(&self) -> Option<String> {
        matches!(self, Self::Certificates { .. })
            .then(|| "correct the path in `SSL_CERT_FILE` or in the hosts.toml that names it".to_owned())
    }
}

/// Installs ring as the provider of cryptography: once a process, before the first client.
pub(crate) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that another provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A client after this recipe. It has no overall time-out: a transfer may be long, so each caller sets its own.
pub(crate) fn client(recipe: &Recipe) -> Result<reqwest::Client, Error> {
    install_crypto();
    let mut builder = reqwest::Client::builder().user_agent(USER_AGENT).connect_timeout(CONNECT_TIMEOUT);
    builder = if recipe.plain { builder.tls_certs_only([]) } else { builder.tls_certs_merge(trusted(recipe)?) };
    if recipe.no_redirects {
        builder = builder.redirect(reqwest::redirect::Policy::none());
    }
    if recipe.for_blobs {
        builder = builder.http1_only().no_gzip();
    }
    if recipe.direct {
        builder = builder.no_proxy();
    }
    if recipe.skip_verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder.build().map_err(Error::Setup)
}

/// The certificates trusted beside the operating system's: the recipe's own, and the web's roots, so that a container
/// without a store of its own works too (without any root the client fails even for `http://`:
/// <https://github.com/seanmonstar/reqwest/issues/2988>).
fn trusted(recipe: &Recipe) -> Result<Vec<Certificate>, Error> {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    let mut trusted: Vec<_> = roots.filter_map(|der| Certificate::from_der(der).ok()).collect();
    for path in &recipe.ca_files {
        let pem = std::fs::read(path).map_err(|source| Error::Certificates { path: path.clone(), source })?;
        trusted.extend(Certificate::from_pem_bundle(&pem).map_err(Error::Setup)?);
    }
    Ok(trusted)
}

/// Sends a request and says so in the debug log, without what could be secret.
pub(crate) async fn send(client: &reqwest::Client, request: reqwest::Request) -> reqwest::Result<reqwest::Response> {
    let (method, url) = (request.method().clone(), redact_url(request.url()));
    let start = tokio::time::Instant::now();
    let answer = client.execute(request).await;
    let millis = start.elapsed().as_millis();
    match &answer {
        Ok(answer) => tracing::debug!("{method} {url} → {} in {millis} ms", answer.status().as_u16()),
        Err(error) => tracing::debug!("{method} {url} failed after {millis} ms: {}", transport_cause(error)),
    }
    answer
}

/// Names of query parameters whose values are no secrets; all others may be tokens, signatures or session states.
const PLAIN_PARAMETERS: [&str; 9] =
    ["digest", "mount", "from", "scope", "service", "page", "per_page", "labelSelector", "dryRun"];

/// A URL as it may stand in a log: no user, no password, no value of a query parameter that could be secret.
pub(crate) fn redact_url(url: &Url) -> String {
    let query: Vec<String> = url
        .query_pairs()
        .map(|(name, value)| {
            let shown = if PLAIN_PARAMETERS.contains(&name.as_ref()) { value.as_ref() } else { "***" };
            format!("{name}={shown}")
        })
        .collect();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let mark = if query.is_empty() { "" } else { "?" };
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}{port}{}{mark}{}", url.scheme(), url.path(), query.join("&"))
}

/// The innermost cause of a transport error: `Connection refused (os error 111)`. The layers above only repeat the URL,
/// which may hold secrets.
pub(crate) fn transport_cause(error: &reqwest::Error) -> String {
    innermost(error)
}

/// What stands between us and a server for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Its certificate is signed by nobody that is trusted here, has run out, or is that of another host.
    Certificate,
    /// It does not encrypt.
    Plain,
}

/// What stands between us and a server for good, if that is why a request got no answer.
pub(crate) fn obstacle(error: &(dyn std::error::Error + 'static)) -> Option<Obstacle> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inside = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        let broken = inside.map_or(Some(error), |inside| Some(inside)).and_then(|e| e.downcast_ref::<rustls::Error>());
        match broken {
            Some(rustls::Error::InvalidCertificate(_)) => return Some(Obstacle::Certificate),
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                return Some(Obstacle::Plain);
            }
            _ => cause = inside.map_or_else(|| error.source(), |inside| Some(inside)),
        }
    }
    None
}

/// The innermost cause of any error.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It will not.
    Never,
    /// It may, at once: what stood in its way is gone.
    Now,
    /// It may, after a pause of our own choice.
    Later,
    /// It may, after the pause that the server asked for.
    After(Duration),
}

impl Retry {
    /// The verdict on an answer: 408, 429 and 5xx are worth another try, except 501 and 505, which will not change.
    pub(crate) fn of_answer(status: StatusCode, headers: &HeaderMap) -> Self {
        let lasting = matches!(status.as_u16(), 501 | 505);
        let passing = matches!(status.as_u16(), 408 | 429) || (status.is_server_error() && !lasting);
        match (passing, retry_after(headers)) {
            (true, Some(pause)) => Self::After(pause),
            (true, None) => Self::Later,
            (false, _) => Self::Never,
        }
    }

    /// The verdict on a request that got no answer: another try may help, unless it could not even be formed, or something
    /// stands in its way for good.
    pub(crate) fn of_transport(error: &reqwest::Error) -> Self {
        let is_final = error.is_builder() || error.is_redirect() || obstacle(error).is_some();
        if is_final { Self::Never } else { Self::Later }
    }
}

/// The pause that a server asks for, in seconds or as a date
/// (<https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(jiff::Timestamp::now())).unwrap_or_default())
}

/// How often and how long something is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// All tries, the first one included.
    pub(crate) tries: usize,
    /// The first pause is no longer; the limit doubles with each further one.
    pub(crate) first: Duration,
    /// No pause of our own choice is longer.
    pub(crate) longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { tries: 6, first: Duration::from_millis(500), longest: Duration::from_secs(30) }
    }
}

impl RetryPolicy {
    /// Runs an operation until it succeeds, until `judge` calls its error final, or until the tries are used up.
    pub(crate) async fn run<T, E, F>(
        &self,
        judge: impl Fn(&E) -> Retry,
        mut operation: impl FnMut() -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: std::fmt::Display,
    {
        for tries in 1.. {
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let Some(pause) = self.pause(tries, judge(&error)) else { return Err(error) };
            tracing::info!("trying again in {} ms: {error}", pause.as_millis());
            tokio::time::sleep(pause).await;
        }
        unreachable!("tries are bounded")
    }

    /// The pause before another try after so many, if there is to be one.
    pub(crate) fn pause(&self, tries: usize, verdict: Retry) -> Option<Duration> {
        let own = || self.own_pause(tries);
        let pause = match verdict {
            Retry::Never => None,
            Retry::Now => Some(Duration::ZERO),
            Retry::Later => Some(own()),
            Retry::After(asked) => (asked <= LONGEST_PAUSE).then(|| asked.max(own())),
        };
        pause.filter(|_| tries < self.tries)
    }

    /// A pause of our own choice: any length up to a limit that doubles with each try, so that clients that failed together
    /// do not come back together.
    fn own_pause(&self, tries: usize) -> Duration {
        let doubled = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
        let limit = self.first.saturating_mul(1 << doubled).min(self.longest);
        limit.mul_f64(random())
    }
}

/// A number from 0 to 1. Its quality does not matter, only that two runs differ.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_logged_url_keeps_no_secret() {
        let url = Url::parse("https://me:pw@r.example:5000/v2/a/blobs/uploads/x?_state=abc&digest=sha256:1").unwrap();
        assert_eq!(redact_url(&url), "https://r.example:5000/v2/a/blobs/uploads/x?_state=***&digest=sha256:1");
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let header = |text: &str| HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
        assert_eq!(retry_after(&header("7")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&header("Wed, 21 Oct 2015 07:28:00 GMT")), Some(Duration::ZERO));
        assert_eq!(retry_after(&header("soon")), None);
    }

    #[test]
    fn only_passing_statuses_are_tried_again() {
        let verdict = |code: u16| Retry::of_answer(StatusCode::from_u16(code).unwrap(), &HeaderMap::new());
        for code in [408, 429, 500, 502, 503, 504] {
            assert_eq!(verdict(code), Retry::Later, "{code}");
        }
        for code in [400, 401, 403, 404, 409, 501] {
            assert_eq!(verdict(code), Retry::Never, "{code}");
        }
    }

    /// Counts the tries of an operation that always fails, judged so.
    async fn tries(verdict: Retry) -> usize {
        let count = Cell::new(0);
        let policy = RetryPolicy { tries: 4, first: Duration::ZERO, longest: Duration::ZERO };
        let result: Result<(), &str> = policy
            .run(
                |_| verdict,
                || {
                    count.set(count.get() + 1);
                    async { Err("no") }
                },
            )
            .await;
        assert_eq!(result, Err("no"));
        count.get()
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_differ() {
        let policy = RetryPolicy { tries: 99, ..RetryPolicy::default() };
        let pauses = |tries, verdict| (0..200).filter_map(move |_| policy.pause(tries, verdict));
        for (tries, limit) in [(1, 500), (2, 1000), (4, 4000), (7, 30_000), (60, 30_000)] {
            let longest = pauses(tries, Retry::Later).max().unwrap().as_millis();
            assert!(longest <= limit && longest > limit / 2, "{tries}: {longest}");
        }
        assert!(pauses(1, Retry::After(Duration::from_secs(7))).all(|pause| pause == Duration::from_secs(7)));
        let hasty = pauses(4, Retry::After(Duration::ZERO)).max().unwrap();
        assert!(hasty > Duration::from_secs(2), "a server that asks for no pause gets ours: {hasty:?}");
    }

    #[tokio::test]
    async fn tries_are_bounded_and_final_errors_are_final() {
        assert_eq!(tries(Retry::Later).await, 4);
        assert_eq!(tries(Retry::After(Duration::ZERO)).await, 4);
        assert_eq!(tries(Retry::After(Duration::from_hours(1))).await, 1);
        assert_eq!(tries(Retry::Never).await, 1);
    }

    #[test]
    fn a_client_needs_no_operating_system_store() {
        assert!(client(&Recipe::default()).is_ok());
        assert!(client(&Recipe { plain: true, ..Recipe::default() }).is_ok());
        let missing = Recipe { ca_files: vec!["/nowhere/ca.pem".into()], ..Recipe::default() };
        assert_eq!(client(&missing).unwrap_err().to_string(), "cannot read the certificates in `/nowhere/ca.pem`");
    }
}
