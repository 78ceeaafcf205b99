//! An Engine that answers as it is told to, for what the real ones of the tests do not do, or not any more.

use super::address::Address;
use super::engine::Engine;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The status and the body of an answer.
pub(super) type Answer = (u16, String);

/// Starts one. `answer` gets the head of each request, or what else a connection begins with (up to an empty line).
pub(super) async fn fake_engine(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Engine {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { serve(connection, answer.as_ref()).await });
        }
    });
    Engine::connect(address).await.unwrap()
}

/// Answers one request.
async fn serve(mut connection: TcpStream, answer: &(impl Fn(&str) -> Answer + Sync)) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return, // somebody looked whether anybody listens
        }
    }
    let (status, body) = answer(&String::from_utf8_lossy(&head));
    let text = format!("HTTP/1.1 {status} Told\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let _ = connection.write_all(text.as_bytes()).await;
}
