//! How to get to a cluster: a kubeconfig, or an address with a token.

use super::Error;
use super::error::innermost;
use crate::model::Secret;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::path::PathBuf;
use std::time::Duration;

/// How to get to a cluster.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// By a kubeconfig.
    Kubeconfig {
        /// The file; `None` means `KUBECONFIG`, then `~/.kube/config`.
        path: Option<PathBuf>,
        /// The context; `None` means the file's current one.
        context: Option<String>,
    },
    /// By what the cloud hands out.
    Token {
        /// `https://203.0.113.1:443`.
        server: String,
        /// The certificates of the server's authority, PEM.
        ca_pem: String,
        /// The bearer token.
        token: Secret,
    },
}

/// A server that does not take a connection within this is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Access {
    /// The client library's configuration, with its own retries off: ours know which requests may be repeated.
    pub(super) async fn config(self) -> Result<kube::Config, Error> {
        let mut config = match self {
            Self::Kubeconfig { path, context } => from_kubeconfig(path, context).await?,
            Self::Token { server, ca_pem, token } => from_token(&server, &ca_pem, &token)?,
        };
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let agent = concat!("seaway/", env!("CARGO_PKG_VERSION"));
        config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(agent)));
        Ok(config)
    }
}

/// Reads a kubeconfig; relative paths in it start from its folder, as for kubectl.
async fn from_kubeconfig(path: Option<PathBuf>, context: Option<String>) -> Result<kube::Config, Error> {
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let config = match path {
        Some(path) => match Kubeconfig::read_from(&path) {
            Ok(kubeconfig) => kube::Config::from_custom_kubeconfig(kubeconfig, &options).await,
            Err(error) => Err(error),
        },
        None => kube::Config::from_kubeconfig(&options).await,
    };
    config.map_err(|error| Error::Kubeconfig { cause: explain(&error) })
}

/// The library's message with its cause, once.
fn explain(error: &KubeconfigError) -> String {
    let (message, cause) = (error.to_string(), innermost(error));
    if message.contains(&cause) { message } else { format!("{message}: {cause}") }
}

/// From an address, an authority and a token.
fn from_token(server: &str, ca_pem: &str, token: &Secret) -> Result<kube::Config, Error> {
    let unusable = |cause: String| Error::Kubeconfig { cause };
    let url = server.parse().map_err(|error| unusable(format!("`{server}` is not an address: {error}")))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(ca_pem.as_bytes()).collect();
    let certificates = certificates.map_err(|error| unusable(format!("its authority is not PEM: {error}")))?;
    let mut config = kube::Config::new(url);
    config.root_cert = Some(certificates.iter().map(|certificate| certificate.to_vec()).collect());
    config.auth_info.token = Some(token.expose().to_owned().into());
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let path = Some(PathBuf::from("/nonexistent/kubeconfig"));
        let error = Access::Kubeconfig { path, context: None }.config().await.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/kubeconfig"), "{error}");
    }

    #[tokio::test]
    async fn an_unknown_context_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, "apiVersion: v1\nkind: Config\ncontexts: []\nclusters: []\nusers: []\n").unwrap();
        let access = Access::Kubeconfig { path: Some(path), context: Some("prod".to_owned()) };
        let error = access.config().await.unwrap_err();
        assert!(error.to_string().contains("prod"), "{error}");
    }

    #[tokio::test]
    async fn a_token_configuration_does_not_retry_by_itself() {
        let access =
            Access::Token { server: "https://203.0.113.1".to_owned(), ca_pem: String::new(), token: Secret::new("t") };
        assert!(!access.config().await.unwrap().default_retry);
    }
}
