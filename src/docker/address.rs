//! Where an Engine or a buildkitd listens.

use super::error::Error;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufStream};

/// A place to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket file.
    Unix(PathBuf),
    /// A host and a port, without encryption.
    Tcp(String),
}

/// A builder on this machine answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection, whatever it is made of.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for T {}

impl Address {
    /// Reads `unix:///path` or `tcp://host:port`; `variable` names where it was written.
    pub(crate) fn parse(text: &str, variable: &str) -> Result<Self, Error> {
        let has_port = |host: &str| host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match text.split_once("://").map(|(scheme, place)| (scheme, place.trim_end_matches('/'))) {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("tcp" | "http", host)) if has_port(host) => Ok(Self::Tcp(host.to_owned())),
            _ => Err(Error::Address { variable: variable.to_owned(), text: text.to_owned() }),
        }
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> std::io::Result<Box<dyn Connection>> {
        match self {
            Self::Unix(path) => Ok(buffered(tokio::net::UnixStream::connect(path).await?)),
            Self::Tcp(host) => Ok(buffered(tokio::net::TcpStream::connect(host).await?)),
        }
    }
}

/// Connections are read and written in pieces of up to this size, in bytes.
const BUFFER: usize = 256 * 1024;

/// A connection that asks the kernel rarely: HTTP/2 reads 8 KiB at a time and writes frames of 16, which for a layer of 60 MiB
/// would be eight thousand calls.
pub(crate) fn buffered(connection: impl Connection) -> Box<dyn Connection> {
    Box::new(BufStream::with_capacity(BUFFER, BUFFER, connection))
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

/// Connects to a builder; `what` names it in the error.
pub(crate) async fn connect(address: &Address, what: &'static str) -> Result<Box<dyn Connection>, Error> {
    let away = |source| Error::Away { what, address: address.to_string(), source };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, address.connect()).await;
    connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(away)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_ports_are_understood() {
        for text in ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375"] {
            assert_eq!(Address::parse(text, "DOCKER_HOST").unwrap().to_string(), text);
        }
        let error = Address::parse("ssh://me@host", "DOCKER_HOST").unwrap_err();
        assert_eq!(error.to_string(), "`DOCKER_HOST` is `ssh://me@host`, which is not supported yet");
        for text in
            ["tcp://host", "tcp://host:port", "unix://", "npipe:////./pipe/docker_engine", "fd://", "/x.sock", ""]
        {
            assert!(Address::parse(text, "DOCKER_HOST").is_err(), "{text}");
        }
    }
}
