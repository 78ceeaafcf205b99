//! The repository that a push goes into, and the requests that uploads are made of.

use super::auth::Scope;
use super::client::{Client, Known, Way};
use super::error::Error;
use super::hosts::Endpoint;
use super::lost::judge_once;
use super::manifest::check_digest;
use super::progress::{BlobState, Track, lock};
use super::question::Question;
use super::redirects::check_target;
use super::wire;
use crate::image::part::{ContentStream, FileRange};
use crate::model::{Digest, Repository};
use bytes::Bytes;
use futures::stream::{Stream, StreamExt as _};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// The repository that a push goes into. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The client.
    pub(crate) client: Client,
    /// The place.
    pub(crate) endpoint: Endpoint,
    /// The repository's path.
    pub(crate) path: String,
    /// What is known of the registry.
    pub(crate) known: Arc<Known>,
    /// What a token must allow.
    scope: Scope,
}

/// An open upload.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Where the next request goes. Its query is the registry's own business.
    pub(crate) url: Url,
    /// No chunk but the last may be shorter.
    pub(crate) shortest_chunk: u64,
}

/// How an upload begins.
#[derive(Debug)]
pub(crate) enum Begun {
    /// With a session.
    Session(Session),
    /// It is over: the blob was mounted, or came with the request.
    Done,
}

/// A body that is sent: from where in the blob, how long, and its bytes from there on.
pub(crate) struct Body {
    /// Where in the blob it begins.
    pub(crate) from: u64,
    /// How long it is; `None` where nobody knows yet.
    pub(crate) length: Option<u64>,
    /// Its bytes.
    pub(crate) source: ContentStream,
    /// Whether it is a chunk, and so says where it belongs.
    pub(crate) is_chunk: bool,
    /// The file that is sent in place of its bytes, which are blank then.
    pub(crate) file: Option<FileRange>,
}

/// Who is waited for in a transfer.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// We are: for a token, for the end of a pause that the registry asked for, for the source of the body.
    Ours,
    /// The registry is, since then: to take the next piece.
    Takes(Instant),
    /// The registry is, since then: to answer, after all of the body.
    Answers(Instant),
}

/// What the two halves of a transfer tell each other.
#[derive(Debug)]
struct Pulse {
    /// Who is waited for.
    turn: Mutex<Turn>,
    /// What the source complained of: the cause behind a broken body.
    problem: Mutex<Option<Error>>,
}

/// The header in which a registry says how short a chunk may be.
const SHORTEST_CHUNK: &str = "oci-chunk-min-length";

/// The type of every body of an upload.
const OCTETS: &str = "application/octet-stream";

impl Target {
    /// A repository at the place that takes pushes.
    pub(crate) fn new(client: &Client, repository: &Repository) -> Result<Self, Error> {
        Ok(Self {
            client: client.clone(),
            endpoint: client.push_endpoint(&repository.registry)?,
            path: repository.path.clone(),
            known: client.known(&repository.registry),
            scope: Scope::push(&repository.path),
        })
    }

    /// Whether the repository has a blob.
    pub(crate) async fn has(&self, digest: &Digest) -> Result<bool, Error> {
        let found =
            self.known.is_in(&self.path, digest) || self.client.has_blob(&self.endpoint, &self.path, digest).await?;
        if found {
            self.known.has(&self.path, digest);
        }
        Ok(found)
    }

    /// Begins an upload: `POST /blobs/uploads/`, perhaps with what may end it at once. It has tries of its own.
    pub(crate) async fn begin(
        &self,
        action: &str,
        scope: &Scope,
        query: &[(&str, &str)],
        body: Option<&Bytes>,
    ) -> Result<Begun, Error> {
        let question = Question { endpoint: &self.endpoint, scope, action };
        let url = self.endpoint.url(&self.path, "blobs/uploads/");
        let make = |pool: &reqwest::Client| {
            let request = pool.post(url.clone()).query(query);
            match body {
                Some(bytes) => request.header(CONTENT_TYPE, OCTETS).body(bytes.clone()),
                // The protocol wants it for uploads in chunks, and some servers answer 411 without it.
                None => request.header(CONTENT_LENGTH, 0),
            }
        };
        // What may end it at once is not insisted on: the next request begins it without.
        let is_plain = query.is_empty();
        let answer = if is_plain {
            self.client.ask(question, make).await
        } else {
            self.client.ask_briefly(question, make).await
        };
        let answer = answer?;
        match answer.status() {
            StatusCode::CREATED => Ok(Begun::Done),
            StatusCode::ACCEPTED => Self::session(question, &url, answer.headers(), 0).map(Begun::Session),
            _ => Err(self.client.refusal(question, answer).await),
        }
    }

    /// The ordinary scope.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Where a session goes on: relative or absolute.
    fn session(question: Question<'_>, asked: &Url, headers: &HeaderMap, shortest: u64) -> Result<Session, Error> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let url = text(LOCATION.as_str()).and_then(|location| asked.join(location).ok());
        let url = url.ok_or_else(|| question.nonsense("it began an upload without saying where"))?;
        check_target(question, &url)?;
        let said = text(SHORTEST_CHUNK).and_then(|length| length.trim().parse().ok());
        Ok(Session { url, shortest_chunk: said.unwrap_or(shortest) })
    }

    /// Sends one chunk; where the session goes on, and how much of the blob the registry holds now.
    pub(crate) async fn patch(
        &self,
        action: &str,
        session: &Session,
        body: Body,
        track: &Track,
    ) -> Result<(Session, Option<u64>), Error> {
        let question = self.question(action);
        let answer = self.send(question, Method::PATCH, session.url.clone(), body, track).await?;
        match answer.status() {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT | StatusCode::OK => {
                let next = Self::session(question, &session.url, answer.headers(), session.shortest_chunk)?;
                let held = answer.headers().get(RANGE).and_then(|value| value.to_str().ok()).and_then(parse_range);
                Ok((next, held.map(|last| last + 1)))
            }
            // ECR says so, and drops the chunks that follow (https://github.com/aws/containers-roadmap/issues/2831).
            StatusCode::CREATED => {
                self.known.features.chunks.learn(false);
                Err(self.lost("a layer", "it takes no chunks"))
            }
            _ => Err(self.client.refusal(question, answer).await),
        }
    }

    /// Ends an upload with what is still to be sent of the blob.
    pub(crate) async fn put(
        &self,
        action: &str,
        session: &Session,
        digest: &Digest,
        body: Body,
        track: &Track,
    ) -> Result<(), Error> {
        let question = self.question(action);
        let mut url = session.url.clone();
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let answer = self.send(question, Method::PUT, url, body, track).await?;
        if answer.status().is_success() {
            return check_digest(&self.endpoint, &answer, "a blob", digest);
        }
        Err(self.client.refusal(question, answer).await)
    }

    /// Asks how much of an upload the registry holds: where it goes on and how many bytes there are, or `None` where the
    /// upload is not known any more. None at all and a single one look alike: both count as none.
    pub(crate) async fn status(&self, session: &Session) -> Result<Option<(Session, u64)>, Error> {
        let question = self.question("say how much of an upload it holds");
        let patience = self.client.patience();
        let ask = || async {
            let pool = self.client.pool(&self.endpoint, &session.url)?;
            let request = pool.get(session.url.clone()).timeout(patience.request);
            let answer = self.client.with_token(question, &session.url, Way::Pool(&pool), request).await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                return Err(self.client.refusal(question, answer).await);
            }
            self.client.unless_passing(question, answer).await
        };
        let answer = patience.run(judge_once(), ask).await?;
        let held = answer.headers().get(RANGE).and_then(|value| value.to_str().ok()).and_then(parse_range);
        let Some(last) = held.filter(|_| answer.status().is_success()) else { return Ok(None) };
        let next = Self::session(question, &session.url, answer.headers(), session.shortest_chunk)?;
        Ok(Some((next, if last == 0 { 0 } else { last + 1 })))
    }

    /// The same after a cut, when up to `most` bytes may come to be there: a registry goes on taking in what was on its way,
    /// and whoever goes on too soon sends that once more, beside the writer that still writes it. Two answers in a row that
    /// agree are believed.
    pub(crate) async fn settled(&self, session: &Session, most: u64) -> Result<Option<(Session, u64)>, Error> {
        let (patience, begin) = (self.client.patience(), Instant::now());
        let mut now = self.status(session).await?;
        while let Some((session, held)) = &now
            && *held < most
        {
            if begin.elapsed() >= patience.stall {
                return Err(self.lost("an upload", "it does not come to an end with what was cut off"));
            }
            tokio::time::sleep(patience.settle).await;
            let next = self.status(session).await?;
            let agree = next.as_ref().map(|(_, held)| *held) == Some(*held);
            now = next;
            if agree {
                break;
            }
        }
        Ok(now)
    }

    /// Tells the registry that a session is not needed any more, without waiting for what it thinks of that.
    pub(crate) async fn end(&self, session: Option<Session>) {
        let Some(session) = session else { return };
        let goodbye = async {
            let (question, pool) = (self.question("end an upload"), self.client.pool(&self.endpoint, &session.url)?);
            let request = pool.delete(session.url.clone());
            // Distribution 2 wants another right for it: what it refuses is the wish, and not the token.
            let (request, _) = self.client.proven(question, &session.url, request).await?;
            self.client.send(question, Way::Pool(&pool), request).await
        };
        let _ = tokio::time::timeout(self.client.patience().goodbye, goodbye).await;
    }

    /// The error of an upload that is lost.
    pub(crate) fn lost(&self, what: &str, problem: &str) -> Error {
        let registry = self.endpoint.registry.clone();
        Error::LostUpload { registry, what: what.to_owned(), problem: problem.to_owned() }
    }

    /// A question about this repository.
    fn question<'a>(&'a self, action: &'a str) -> Question<'a> {
        Question { endpoint: &self.endpoint, scope: &self.scope, action }
    }

    /// Sends a body and waits for the answer, as long as something moves.
    async fn send(
        &self,
        question: Question<'_>,
        method: Method,
        url: Url,
        body: Body,
        track: &Track,
    ) -> Result<Response, Error> {
        let pool = self.client.pool(&self.endpoint, &url)?;
        let mut request = pool.request(method, url.clone()).header(CONTENT_TYPE, OCTETS);
        if let Some(length) = body.length {
            request = request.header(CONTENT_LENGTH, length);
            if body.is_chunk && length > 0 {
                request = request.header(CONTENT_RANGE, format!("{}-{}", body.from, body.from + length - 1));
            }
        }
        let (file, length) = (body.file.clone(), body.length.unwrap_or_default());
        let end = body.from + length;
        let pulse = Arc::new(Pulse { turn: Mutex::new(Turn::Ours), problem: Mutex::default() });
        let watched = Watched { body, sent: 0, pulse: Arc::clone(&pulse), track: track.clone() };
        track.enter(BlobState::Sending);
        watched.taken();
        let request = request.body(reqwest::Body::wrap_stream(watched));
        let way = file.as_ref().map_or(Way::Pool(&pool), Way::Wire);
        let answer = tokio::select! {
            answer = self.client.with_token(question, &url, way, request) => answer,
            waited = self.stalled(&pulse, track) => Err(question.stalled(waited)),
        };
        if answer.is_err()
            && let Some(missing) = file.and_then(|file| wire::missing(&file, length))
        {
            let (what, got) = ("a blob".to_owned(), format!("{} bytes", end - missing));
            return Err(Error::SourceChanged { what, wanted: format!("{end} bytes"), got });
        }
        // What the source complained of is the cause; the broken connection is only its consequence.
        lock(&pulse.problem).take().map_or(answer, Err)
    }

    /// Comes back when the registry has not moved for too long: a minute in the middle, a quarter of an hour after the last
    /// byte, with signs of life meanwhile.
    async fn stalled(&self, pulse: &Pulse, track: &Track) -> Duration {
        let patience = self.client.patience();
        loop {
            let turn = *lock(&pulse.turn);
            let now = Instant::now();
            let (end, limit) = match turn {
                Turn::Ours => (now + patience.stall, patience.stall),
                Turn::Takes(since) => (since + patience.stall, patience.stall),
                Turn::Answers(since) => (since + patience.commit, patience.commit),
            };
            if now >= end {
                return limit;
            }
            tokio::time::sleep_until(end.min(now + patience.heartbeat)).await;
            if matches!(turn, Turn::Answers(_)) {
                track.repeat();
            }
        }
    }
}

/// The last byte that a registry holds of an upload, of a `Range` header: `0-1023`, sometimes with `bytes=` before it.
pub(crate) fn parse_range(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
    let (first, last) = text.split_once('-')?;
    (first.trim().parse::<u64>().ok()? == 0).then(|| last.trim().parse().ok())?.filter(|last| *last < u64::MAX)
}

/// A body that is watched while it is sent, and that must be as long as was promised.
struct Watched {
    /// The body.
    body: Body,
    /// How many of its bytes were taken.
    sent: u64,
    /// Where errors and progress are told.
    pulse: Arc<Pulse>,
    /// Tells how far it is.
    track: Track,
}

impl Watched {
    /// Notes how far it is. Nobody asks for the pieces of an empty body.
    fn taken(&self) {
        match self.body.length {
            Some(length) if length == self.sent => self.complete(),
            _ if self.sent > 0 => self.turn(Turn::Takes(Instant::now())),
            _ => {}
        }
        self.track.reach(self.body.from + self.sent);
    }

    /// All has been taken.
    fn complete(&self) {
        self.turn(Turn::Answers(Instant::now()));
        if !self.body.is_chunk && self.body.length.is_some() {
            self.track.enter(BlobState::Storing);
        }
    }

    /// Notes who is waited for.
    fn turn(&self, turn: Turn) {
        *lock(&self.pulse.turn) = turn;
    }

    /// Ends the body with an error that is told to the other half.
    fn fail(&self, error: Error) -> Poll<Option<std::io::Result<Bytes>>> {
        *lock(&self.pulse.problem) = Some(error);
        Poll::Ready(Some(Err(std::io::Error::other("the source of the blob failed"))))
    }

    /// The error of content that is longer or shorter than was promised.
    fn changed(&self, got: String) -> Poll<Option<std::io::Result<Bytes>>> {
        let wanted = format!("{} bytes", self.body.from + self.body.length.unwrap_or_default());
        self.fail(Error::SourceChanged { what: "a blob".to_owned(), wanted, got })
    }
}

impl Stream for Watched {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.body.length == Some(self.sent) {
            return Poll::Ready(None); // a chunk may end in the middle of its source
        }
        let limit = self.body.length.map_or(u64::MAX, |length| length - self.sent);
        match self.body.source.poll_next_unpin(context) {
            Poll::Pending => {
                self.turn(Turn::Ours);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(piece))) if piece.len() as u64 > limit && !self.body.is_chunk => {
                self.changed("more".to_owned())
            }
            Poll::Ready(Some(Ok(mut piece))) => {
                piece.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                self.sent += piece.len() as u64;
                self.taken();
                Poll::Ready(Some(Ok(piece)))
            }
            Poll::Ready(Some(Err(error))) => self.fail(Error::of_source("a blob", error)),
            Poll::Ready(None) if self.body.length.is_some() => self.changed(format!("{} bytes", self.sent)),
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_of_all_kinds_are_read() {
        for (text, wanted) in [
            ("0-1023", Some(1023)),
            ("bytes=0-5", Some(5)),
            (" bytes 0-5 ", Some(5)),
            ("0-0", Some(0)),
            ("5-9", None),
            ("0-", None),
            ("-5", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
            ("", None),
        ] {
            assert_eq!(parse_range(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_session_goes_on_where_the_registry_says_and_not_in_a_private_network() {
        use crate::registry::hosts::{Capability, Hosts};
        let endpoint = Hosts::default().endpoints("r.example", Capability::Push).unwrap().remove(0);
        let (scope, asked) = (Scope::push("a"), endpoint.url("a", "blobs/uploads/"));
        let question = Question { endpoint: &endpoint, scope: &scope, action: "take a blob" };
        for (location, wanted) in [
            ("/v2/a/blobs/uploads/1?_state=x%2Fy", Some("https://r.example/v2/a/blobs/uploads/1?_state=x%2Fy")),
            ("1?_state=x", Some("https://r.example/v2/a/blobs/uploads/1?_state=x")),
            ("https://store.example/1?X-Amz-Signature=x", Some("https://store.example/1?X-Amz-Signature=x")),
            ("https://169.254.169.254/latest", None),
            ("http://store.example/1", None),
            ("http://[", None),
        ] {
            let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            let session = Target::session(question, &asked, &headers, 0).ok();
            assert_eq!(session.as_ref().map(|session| session.url.as_str()), wanted, "{location}");
        }
        assert!(Target::session(question, &asked, &HeaderMap::new(), 0).is_err());
    }

    /// Waits until a transfer is given up; how long that took, and how many signs of life there were.
    async fn given_up(turn: Turn) -> (Duration, usize) {
        use crate::registry::progress::{Meter, News};
        use crate::registry::{Hosts, Logins};
        let client = Client::new(Hosts::new(None, Vec::new()), Logins::default());
        let repository = Repository { registry: "127.0.0.1:1".to_owned(), path: "a".to_owned() };
        let target = Target::new(&client, &repository).unwrap();
        let signs = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&signs);
        let meter = Meter::new(Box::new(move |news| {
            if matches!(news, News::Blob(_)) {
                *lock(&counted) += 1;
            }
        }));
        let track = meter.follow(None);
        let start = Instant::now();
        let pulse = Pulse { turn: Mutex::new(turn), problem: Mutex::default() };
        let limit = target.stalled(&pulse, &track).await;
        assert!(start.elapsed() >= limit);
        let signs = *lock(&signs);
        (limit, signs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_may_take_a_quarter_of_an_hour_to_store_and_a_minute_to_take_the_next_piece() {
        let (limit, signs) = given_up(Turn::Answers(Instant::now())).await;
        assert_eq!((limit, signs), (Duration::from_mins(15), 90), "a sign of life each ten seconds");
        assert_eq!(given_up(Turn::Takes(Instant::now())).await, (Duration::from_mins(1), 0));
        let ours = tokio::time::timeout(Duration::from_hours(2), given_up(Turn::Ours)).await;
        assert!(ours.is_err(), "nobody blames the registry for our own pauses");
    }

    proptest! {
        #[test]
        fn no_range_is_too_strange(text in any::<String>()) {
            if let Some(last) = parse_range(&text) {
                prop_assert!(last < u64::MAX);
            }
        }
    }
}
