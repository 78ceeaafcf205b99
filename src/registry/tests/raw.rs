//! Servers that break off, answer too early, or never end: what no HTTP library does of its own accord. They speak through
//! bare sockets.

use super::*;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a server does with a request: its line, its number from 0 on, and the connection that it came on; whether the
/// connection may be used again.
type Behaviour = dyn Fn(String, usize, TcpStream) -> BoxFuture<'static, Option<TcpStream>> + Send + Sync;

/// A server that does so; its name as a registry.
async fn serve(behaviour: Arc<Behaviour>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (behaviour, count) = (Arc::clone(&behaviour), Arc::clone(&count));
            tokio::spawn(async move {
                while let Some(line) = request_line(&mut socket).await {
                    match behaviour(line, count.fetch_add(1, Ordering::Relaxed), socket).await {
                        Some(again) => socket = again,
                        None => return,
                    }
                }
            });
        }
    });
    host
}

/// Reads the head of a request; its first line, without the version.
async fn request_line(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).unwrap();
    Some(text.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned())
}

/// Answers and keeps the connection.
async fn answer(mut socket: TcpStream, text: &str) -> Option<TcpStream> {
    socket.write_all(format!("HTTP/1.1 {text}").as_bytes()).await.ok().map(|()| socket)
}

/// A repository of such a server.
fn at(host: &str) -> crate::model::Repository {
    crate::model::Repository { registry: host.to_owned(), path: "shop/api".to_owned() }
}

/// A client that waits only for moments.
fn hasty() -> Client {
    let short = Duration::from_millis(200);
    let patience = Patience { request: short, stall: short, commit: short, ..patience() };
    Client::with_patience(Hosts::new(None, Vec::new()), Logins::default(), patience)
}

/// Pushes an image of one large layer to a server that answers PUTs of blobs like this; how often that was.
async fn push_to(put: &'static str, blobs: Vec<Blob>, manifest: RawManifest) -> (Result<PushReport, Error>, usize) {
    let puts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&puts);
    let host = serve(Arc::new(move |line, _, socket| {
        if line.starts_with("PUT ") {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        Box::pin(async move {
            match line.split(' ').next().unwrap() {
                "HEAD" => answer(socket, "404 Not Found\r\nContent-Length: 0\r\n\r\n").await,
                "POST" => {
                    answer(
                        socket,
                        "202 Accepted\r\nLocation: /v2/shop/api/blobs/uploads/1\r\nContent-Length: 0\r\n\r\n",
                    )
                    .await
                }
                "PUT" => {
                    // What is still on its way is never read: the system resets the connection.
                    let kept = answer(socket, put).await;
                    if put.ends_with('{') {
                        std::future::pending::<()>().await;
                    }
                    drop(kept);
                    None
                }
                _ => answer(socket, "204 No Content\r\n\r\n").await,
            }
        })
    }));
    let host = host.await;
    let cancel = CancellationToken::new();
    let result = hasty().push(&at(&host), blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await;
    (result, puts.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_body_is_heard() {
    let denied = "403 Forbidden\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{\"errors\":[{\"code\":\"DENIED\",\"message\":\"too big\"}]} ";
    let (blobs, manifest) = image_of(vec![noise(20_000_000)]);
    for _ in 0..3 {
        let (result, puts) = push_to(denied, blobs[1..].to_vec(), manifest.clone()).await;
        let error = result.unwrap_err().to_string();
        assert!(error.contains("403 Forbidden (DENIED: too big)"), "{error}");
        assert_eq!(puts, 1, "a refusal that will not change is no reason to try again");
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_a_file_is_heard() {
    let denied = "403 Forbidden\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{\"errors\":[{\"code\":\"DENIED\",\"message\":\"too big\"}]} ";
    let (folder, layer) = (tempfile::tempdir().unwrap(), noise(20_000_000));
    let (mut blobs, manifest) = image_of(vec![layer.clone()]);
    let file = folder.path().join("layer");
    std::fs::write(&file, &layer).unwrap();
    let range = crate::image::part::FileRange { file, start: 0 };
    let open = Arc::new(|| -> BoxFuture<'static, _> { Box::pin(async { Err(std::io::Error::other("not read")) }) });
    blobs[1].content = Content::File { range, open };
    for _ in 0..3 {
        let (result, puts) = push_to(denied, blobs[1..].to_vec(), manifest.clone()).await;
        let error = result.unwrap_err().to_string();
        assert!(error.contains("403 Forbidden (DENIED: too big)"), "{error}");
        assert_eq!(puts, 1);
    }
}

#[tokio::test]
async fn a_refusal_that_never_ends_is_not_waited_for() {
    let (blobs, manifest) = image();
    let (result, _) = push_to("400 Bad Request\r\nContent-Length: 900\r\n\r\n{", blobs[1..].to_vec(), manifest).await;
    let error = result.unwrap_err();
    assert!(error.status().is_none_or(|status| status == 400), "{error}");
}

/// A server that gives this and then the same piece again and again, as long as somebody reads.
async fn endless() -> String {
    serve(Arc::new(|_, _, mut socket: TcpStream| {
        Box::pin(async move {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nTransfer-Encoding: chunked\r\n\r\n";
            socket.write_all(head.as_bytes()).await.ok()?;
            let piece = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
            for _ in 0..2048 {
                socket.write_all(&piece).await.ok()?;
            }
            panic!("two gibibytes were read");
        })
    }))
    .await
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_its_end() {
    let repository = at(&endless().await);
    let client = client();
    let error = client.get_manifest(&repository, "v1").await.unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
    let error = client.all_tags(&repository).await.unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
    let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"x"), 1);
    let error = client.read_blob(&repository, &config).await.unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let (_, manifest) = image();
    let bytes = manifest.bytes.clone();
    let host = serve(Arc::new(move |_, number, mut socket: TcpStream| {
        let bytes = bytes.clone();
        Box::pin(async move {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
            socket.write_all(head.as_bytes()).await.ok()?;
            let end = if number == 0 { bytes.len() / 2 } else { bytes.len() };
            socket.write_all(&bytes[..end]).await.ok()?;
            (number > 0).then_some(socket)
        })
    }));
    let found = client().get_manifest(&at(&host.await), "v1").await.unwrap();
    assert_eq!(found.map(|found| found.digest), Some(manifest.digest));
}

#[tokio::test]
async fn a_kept_connection_that_ends_with_the_next_request_costs_a_try_and_nothing_else() {
    let digest = Digest::of(b"x");
    let header = format!("200 OK\r\nDocker-Content-Digest: {digest}\r\nContent-Length: 2\r\n\r\n");
    let host = serve(Arc::new(move |_, number, socket| {
        let header = header.clone();
        // Each second request meets a server that has just given the idle connection up.
        Box::pin(async move { if number % 2 == 1 { None } else { answer(socket, &header).await } })
    }));
    let (client, repository) = (client(), at(&host.await));
    for _ in 0..3 {
        assert_eq!(client.head_manifest(&repository, "v1").await.unwrap().as_ref(), Some(&digest));
    }
}

#[tokio::test]
async fn a_redirected_manifest_is_followed_without_the_token() {
    let store = Fake::start().await;
    let digest = store.seed("shop/api", "v1", b"layer");
    let host = store.host.clone();
    let front = serve(Arc::new(move |line: String, _, socket| {
        let to = format!("http://{host}{}", line.split(' ').nth(1).unwrap());
        Box::pin(async move {
            answer(socket, &format!("307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")).await
        })
    }));
    let repository = at(&front.await);
    assert_eq!(client().head_manifest(&repository, "v1").await.unwrap(), Some(digest.clone()));
    assert_eq!(client().get_manifest(&repository, "v1").await.unwrap().map(|found| found.digest), Some(digest));
    assert!(store.contents().authorizations.iter().all(Option::is_none));
}

#[tokio::test]
async fn a_source_that_takes_its_time_is_not_the_registrys_fault() {
    let fake = Fake::start().await;
    let short = Duration::from_millis(100);
    let patience = Patience { stall: short, ..patience() };
    let client = Client::with_patience(Hosts::new(None, Vec::new()), Logins::default(), patience);
    let (mut blobs, manifest) = image();
    let Content::Bytes(layer) = blobs[1].content.clone() else { unreachable!() };
    let open = Arc::new(move || -> BoxFuture<'static, _> {
        let halves = [layer.slice(..4_000_000), layer.slice(4_000_000..)];
        Box::pin(async move {
            let halves = futures::stream::iter(halves).then(move |half| async move {
                tokio::time::sleep(4 * short).await;
                Ok(half)
            });
            Ok(halves.boxed())
        })
    });
    blobs[1].content = Content::Open(open);
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    client.push(&repository, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap();
    assert_eq!(fake.count("PUT /v2/shop/api/blobs/"), 2, "each blob once");
    assert_pushed(&client, &fake).await;
}

#[tokio::test]
async fn a_pause_that_the_registry_asked_for_is_no_stall() {
    let fake = Fake::start().await;
    let patience = Patience { stall: Duration::from_millis(100), ..patience() };
    let client = Client::with_patience(Hosts::new(None, Vec::new()), Logins::default(), patience);
    // A neighbour's upload is refused while this one has its permit and its session.
    let limiter = client.known(&fake.host).limiter.clone();
    let pausing = move |news| {
        if matches!(news, News::Blob(BlobProgress { state: BlobState::Sending, done: 0, .. })) {
            limiter.pause(Duration::from_millis(400));
        }
    };
    let (blobs, manifest) = image();
    let (repository, cancel) = (fake.repository("shop/api"), CancellationToken::new());
    client.push(&repository, blobs, &manifest, &["v1"], Box::new(pausing), &cancel).await.unwrap();
    assert_eq!(fake.count("PUT /v2/shop/api/blobs/"), 2, "each blob once");
}
