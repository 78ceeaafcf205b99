//! Sends a file over a connection without encryption, through one small buffer that stays in the processor's cache. To a
//! registry on the same machine that is most of what a push costs. The kernel could send the file's pages without reading
//! them (`sendfile`); but then the registry is the first to read them out of memory, and it has enough to do: such a push
//! takes up to a tenth longer.
//!
//! hyper writes the request and reads the answer. The body that it is given is blank, of the right length; where it writes
//! that body, the connection sends the file in its place: pieces of their own would each pass through hyper's queue.

use super::error::{Error, TransportCause};
use super::hosts::is_loopback;
use super::question::Question;
use crate::http::{self, CONNECT_TIMEOUT, Retry};
use crate::image::part::{ContentStream, FileRange};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Limited};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use reqwest::header::{CONTENT_LENGTH, HOST, HeaderValue, USER_AGENT};
use reqwest::{Request, Response};
use socket2::SockRef;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use url::{Host, Position, Url};

/// From this size on, in bytes, a blob is worth a connection of its own.
pub(crate) const WORTH_IT: u64 = 4 * 1024 * 1024;

/// Blank bodies come in pieces of this size, in bytes.
const PIECE: usize = 256 * 1024;

/// Answers to uploads are a few words; no more than this is read of one, in bytes.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// So much of a file is read at once, in bytes: several connections' buffers fit into the cache of one core.
const READ: usize = 32 * 1024;

/// What has been sent and not yet been read by a registry on the same machine, in bytes: least and most.
const ON_THE_WAY: (u64, u64) = (128 * 1024, 1024 * 1024);

/// The part of a blob that may be on the way to a registry on the same machine.
const PART_ON_THE_WAY: u64 = 128;

/// Whether there is a direct connection without encryption to the place of a URL. The environment may name a proxy
/// (`HTTP_PROXY`), as it does for all other requests to other machines.
pub(crate) fn reaches(url: &Url) -> bool {
    static PROXIES: LazyLock<Matcher> = LazyLock::new(Matcher::from_env);
    let is_here = url.host_str().is_some_and(is_loopback);
    let is_direct = || url.as_str().parse().is_ok_and(|url| PROXIES.intercept(&url).is_none());
    url.scheme() == "http" && (is_here || is_direct())
}

/// A body of so many bytes that stands for a file.
pub(crate) fn blank(length: u64) -> ContentStream {
    static BLANK: LazyLock<Bytes> = LazyLock::new(|| vec![0; PIECE].into());
    let pieces = (0..length).step_by(PIECE).map(move |start| {
        let left = usize::try_from(length - start).unwrap_or(PIECE);
        Ok(BLANK.slice(..left.min(PIECE)))
    });
    futures::stream::iter(pieces).boxed()
}

/// How many bytes a file lacks of those that were to be sent of it, if it does.
pub(crate) fn missing(range: &FileRange, length: u64) -> Option<u64> {
    let there = range.file.metadata().ok()?.len();
    (range.start + length).checked_sub(there).filter(|missing| *missing > 0)
}

/// What went wrong on the way.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Sends a request whose body stands for a file, on a connection of its own. The answer has been read as a whole.
pub(crate) async fn send(question: Question<'_>, range: &FileRange, request: Request) -> Result<Response, Error> {
    let (method, url) = (request.method().clone(), request.url().clone());
    let file = tokio::fs::File::open(&range.file).await.map_err(|error| Error::of_source("a blob", error))?;
    let start = Instant::now();
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let socket = connect(&url, length).await.map_err(|error| broken(question, &url, true, &error))?;
    let wire = Wire::new(socket, file.into_std().await, range.start);
    let answer = exchange(wire, request).await.map_err(|error| broken(question, &url, false, &*error))?;
    let (status, millis) = (answer.status().as_u16(), start.elapsed().as_millis());
    tracing::debug!("{method} {} → {status} in {millis} ms, out of a file", http::redact_url(&url));
    Ok(answer)
}

/// Connects to the place of a URL, for a body of so many bytes.
async fn connect(url: &Url, length: Option<u64>) -> io::Result<TcpStream> {
    let host = match url.host() {
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        Some(Host::Domain(name)) => name.to_owned(),
        None => String::new(),
    };
    let port = url.port_or_known_default().unwrap_or_default();
    let socket = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await??;
    socket.set_nodelay(true)?;
    if let Some(length) = length.filter(|_| url.host_str().is_some_and(is_loopback)) {
        SockRef::from(&socket).set_send_buffer_size(on_the_way(length))?;
    }
    Ok(socket)
}

/// How much of a body of this length may be on the way to a registry on the same machine, in bytes. What is left to itself
/// grows to megabytes, which have gone out of the processor's cache when the registry reads them. And a registry takes from
/// each connection what is there: with more there for a longer blob, all of them end together, and no core is left alone with
/// the longest.
fn on_the_way(length: u64) -> usize {
    let (least, most) = ON_THE_WAY;
    usize::try_from((length / PART_ON_THE_WAY).clamp(least, most)).unwrap_or_default()
}

/// Sends the request and reads the answer. Whoever stops waiting cuts the connection.
async fn exchange(wire: Wire, request: Request) -> Result<Response, Cause> {
    let request = origin_form(request)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire)).await?;
    let talk = async move {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await?.to_bytes();
        Ok(::http::Response::from_parts(parts, body).into())
    };
    tokio::pin!(talk);
    tokio::select! {
        biased;
        answer = &mut talk => answer,
        // What it failed of, if it did, the request tells as well.
        _ = connection => talk.await,
    }
}

/// The request as it goes to the server itself: its line has a path only, and the host is a header.
fn origin_form(request: Request) -> Result<::http::Request<reqwest::Body>, Cause> {
    let url = request.url().clone();
    let mut request = ::http::Request::<reqwest::Body>::try_from(request)?;
    *request.uri_mut() = url[Position::BeforePath..Position::AfterQuery].parse()?;
    let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort])?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(http::USER_AGENT));
    Ok(request)
}

/// The error of a connection that did not come about, or broke.
fn broken(question: Question<'_>, url: &Url, unreached: bool, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Transport {
        registry: question.endpoint.registry.clone(),
        at: http::redact_url(&url.join("/").unwrap_or_else(|_| url.clone())),
        action: question.action.to_owned(),
        retry: Retry::Later,
        obstacle: None,
        unreached,
        source: TransportCause(http::innermost(error)),
    }
}

/// A connection that sends a file where a body is written.
#[derive(Debug)]
struct Wire {
    /// The connection.
    socket: TcpStream,
    /// The file.
    file: File,
    /// Where in the file the next byte is that was not read.
    at: u64,
    /// What was read last.
    buffer: Box<[u8]>,
    /// The part of that which was not sent yet.
    unsent: Range<usize>,
    /// How many bytes of [`END_OF_HEAD`] were written last.
    matched: usize,
}

/// What stands between a request's head and its body.
const END_OF_HEAD: &[u8; 4] = b"\r\n\r\n";

/// How many of these bytes belong to the head, and how many bytes of its end stand at their end.
fn head_of(bytes: &[u8], mut matched: usize) -> (usize, usize) {
    for (at, byte) in bytes.iter().enumerate() {
        if matched == END_OF_HEAD.len() {
            return (at, matched);
        }
        matched = match byte {
            byte if *byte == END_OF_HEAD[matched] => matched + 1,
            b'\r' => 1,
            _ => 0,
        };
    }
    (bytes.len(), matched)
}

impl Wire {
    /// A connection that sends a file from here on.
    fn new(socket: TcpStream, file: File, at: u64) -> Self {
        Self { socket, file, at, buffer: vec![0; READ].into(), unsent: 0..0, matched: 0 }
    }

    /// Sends the next bytes of the file, up to so many.
    fn poll_file(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        if self.unsent.is_empty() {
            let read = self.file.read_at(&mut self.buffer, self.at)?;
            if read == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())); // the file has become shorter
            }
            self.at += read as u64;
            self.unsent = 0..read;
        }
        let piece = &self.buffer[self.unsent.clone()];
        let sent = ready!(Pin::new(&mut self.socket).poll_write(context, &piece[..piece.len().min(most)]))?;
        self.unsent.start += sent;
        Poll::Ready(Ok(sent))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let (head, _) = head_of(bytes, wire.matched);
        if head == 0 {
            return wire.poll_file(context, bytes.len());
        }
        let written = ready!(Pin::new(&mut wire.socket).poll_write(context, &bytes[..head]))?;
        (_, wire.matched) = head_of(&bytes[..written], wire.matched);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(first) = pieces.iter().find(|piece| !piece.is_empty()) else { return Poll::Ready(Ok(0)) };
        if head_of(first, self.matched).0 > 0 {
            return self.poll_write(context, first);
        }
        let all = pieces.iter().map(|piece| piece.len()).sum();
        self.get_mut().poll_file(context, all)
    }

    fn is_write_vectored(&self) -> bool {
        true // otherwise the blank body would be copied
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Hosts;
    use crate::registry::auth::Scope;
    use crate::registry::hosts::Capability;
    use crate::registry::tests::noise;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[test]
    fn a_head_ends_with_its_first_empty_line_however_it_is_cut() {
        let bytes = b"PUT / HTTP/1.1\r\nA: \r\r\n\r\nbody\r\n\r\n";
        let end = bytes.len() - 8;
        for cut in 0..=end {
            let (first, matched) = head_of(&bytes[..cut], 0);
            assert_eq!(first, cut);
            assert_eq!(head_of(&bytes[cut..], matched).0, end - cut, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn on_one_machine_a_part_of_the_blob_is_on_the_way() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let mut sizes = Vec::new();
        for length in [WORTH_IT, 32 << 20, 2 << 30] {
            let socket = connect(&url, Some(length)).await.unwrap();
            sizes.push(SockRef::from(&socket).send_buffer_size().unwrap());
        }
        assert!(sizes[0] < sizes[1] && sizes[1] <= sizes[2], "as much as the kernel allows: {sizes:?}");
        assert_eq!([WORTH_IT, 32 << 20, 2 << 30].map(on_the_way), [128 * 1024, 256 * 1024, 1024 * 1024]);
    }

    #[tokio::test]
    async fn what_arrives_is_the_file_and_not_the_blank_body() {
        let content = noise(3_000_000);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("blob");
        std::fs::write(&file, &content).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut got = Vec::new();
            let mut piece = vec![0; 100_000];
            while got.len() < 2_900_000 || !got.ends_with(&[noise(3_000_000)[2_999_998], noise(3_000_000)[2_999_999]]) {
                let read = socket.read(&mut piece).await.unwrap();
                got.extend_from_slice(&piece[..read]);
            }
            socket.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            got
        });
        let endpoint = Hosts::new(None, Vec::new()).endpoints(&host, Capability::Push).unwrap().remove(0);
        let scope = Scope::push("a");
        let question = Question { endpoint: &endpoint, scope: &scope, action: "take a blob" };
        let length = content.len() as u64 - 7;
        let url = Url::parse(&format!("http://{host}/v2/a?b=c")).unwrap();
        let mut request = Request::new(reqwest::Method::PUT, url);
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        *request.body_mut() = Some(reqwest::Body::wrap_stream(blank(length)));
        let answer = send(question, &FileRange { file, start: 7 }, request).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (201, "ok"));
        let got = serving.await.unwrap();
        let end = got.windows(4).position(|four| four == END_OF_HEAD).unwrap() + 4;
        let head = String::from_utf8_lossy(&got[..end]).to_lowercase();
        assert!(head.starts_with("put /v2/a?b=c http/1.1\r\n") && head.contains(&format!("host: {host}")), "{head}");
        assert!(got[end..] == content[7..], "the bytes differ");
    }
}
