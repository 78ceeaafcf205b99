//! Encryption: a registry whose certificates are signed by an authority that nobody knows, unless it is named. The authority
//! and the certificate (for 127.0.0.1, until 2126) in `testdata` are made for these tests and used nowhere else.

use super::*;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

/// A file of the tests.
fn testdata(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/registry/testdata").join(name)
}

/// An encrypted registry in a thread of its own, in which everything is there; its host and port.
fn encrypted() -> String {
    crate::http::install_crypto();
    let chain = vec![CertificateDer::from_pem_file(testdata("leaf.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(testdata("key.pem")).unwrap();
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    // It would rather speak HTTP/2, and says so; whoever agrees is answered in HTTP/1.1 all the same.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (config, listener) = (Arc::new(config), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, socket.unwrap());
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let digest = Digest::of(b"x");
            let answer = format!("HTTP/1.1 200 OK\r\nDocker-Content-Digest: {digest}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()); // a client that does not trust us is gone
        }
    });
    host
}

/// What comes of a look at a tag, where the name leads to this server, and these certificates are trusted.
async fn look(server: &str, ca_files: Vec<std::path::PathBuf>, ca: Option<&Path>) -> Result<Option<Digest>, Error> {
    let folder = tempfile::tempdir().unwrap();
    let ca = ca.map(|ca| format!("ca = {ca:?}\n")).unwrap_or_default();
    std::fs::create_dir(folder.path().join("r.example")).unwrap();
    std::fs::write(folder.path().join("r.example/hosts.toml"), format!("server = \"https://{server}\"\n{ca}")).unwrap();
    let hosts = Hosts::new(Some(folder.path().to_owned()), ca_files);
    let client = Client::with_patience(hosts, Logins::default(), patience());
    let repository = crate::model::Repository { registry: "r.example".to_owned(), path: "shop/api".to_owned() };
    client.head_manifest(&repository, "v1").await
}

#[tokio::test]
async fn an_authority_is_trusted_where_it_is_named_and_asked_for_where_it_is_not() {
    let (host, ca) = (encrypted(), testdata("ca.pem"));
    let found = Some(Digest::of(b"x"));
    assert_eq!(look(&host, vec![ca.clone()], None).await.unwrap(), found, "SSL_CERT_FILE");
    assert_eq!(look(&host, Vec::new(), Some(&ca)).await.unwrap(), found, "hosts.toml");
    let error = look(&host, Vec::new(), None).await.unwrap_err();
    let text = crate::error::render(&error.into()).replace(&host, "HOST");
    insta::assert_snapshot!(text, @r#"
    error: cannot reach registry `r.example` at https://HOST/ to say what `r.example/shop/api:v1` is
      cause: invalid peer certificate: UnknownIssuer
      help: name the certificates of whoever signs for `r.example` in `SSL_CERT_FILE`, or as `ca` in a hosts.toml
            (`--registry-config`); check the clock as well
    "#);
}

#[tokio::test]
async fn a_registry_that_would_rather_speak_http_2_is_spoken_to_in_http_1() {
    let found = look(&encrypted(), vec![testdata("ca.pem")], None).await.unwrap();
    assert_eq!(found, Some(Digest::of(b"x")), "uploads on one connection would share one window");
}

#[tokio::test]
async fn a_registry_that_does_not_encrypt_is_told_from_one_that_is_away() {
    let fake = Fake::start().await;
    let error = look(&fake.host, Vec::new(), None).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Configuration);
    let text = crate::error::render(&error.into()).replace(&fake.host, "HOST");
    insta::assert_snapshot!(text, @r#"
    error: cannot reach registry `r.example` at https://HOST/ to say what `r.example/shop/api:v1` is
      cause: received corrupt message of type InvalidContentType
      help: it does not encrypt: if that is meant, write `server = "http://r.example"` into the hosts.toml of
            that registry (`--registry-config`)
    "#);
}
