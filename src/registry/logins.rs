//! Who we are to a registry: logins given by name, then Docker's own configuration.

use super::error::Error;
use crate::model::{Environment, Secret};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// A user and a password, or a token in its place.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An `OAuth2` refresh token, as `docker login` stores it for some registries.
    IdentityToken(Secret),
}

/// The logins of a run by the registry's name. Clones share what is set later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logins {
    /// Set by [`Logins::set`], and what Docker's configuration answered.
    known: Arc<RwLock<HashMap<String, Option<Login>>>>,
    /// Docker's configuration file.
    docker_config: Option<PathBuf>,
}

impl Logins {
    /// Falls back to this configuration file of Docker's.
    pub(crate) fn new(docker_config: Option<PathBuf>) -> Self {
        Self { known: Arc::default(), docker_config }
    }

    /// Where Docker keeps its configuration: `$DOCKER_CONFIG/config.json`, else `$HOME/.docker/config.json`.
    pub(crate) fn docker_config_path(environment: &Environment) -> Option<PathBuf> {
        let home = || environment.non_empty("HOME").map(|home| PathBuf::from(home).join(".docker"));
        let folder = environment.non_empty("DOCKER_CONFIG").map(PathBuf::from).or_else(home)?;
        Some(folder.join("config.json"))
    }

    /// Sets the login of a registry.
    pub(crate) fn set(&self, registry: &str, user: &str, password: Secret) {
        let login = Login::Password { user: user.to_owned(), password };
        self.remember(registry, Some(login));
    }

    /// The login of a registry; `None` means anonymous.
    pub(crate) async fn get(&self, registry: &str) -> Result<Option<Login>, Error> {
        if let Some(known) = self.known.read().ok().and_then(|known| known.get(registry).cloned()) {
            return Ok(known);
        }
        let Some(path) = self.docker_config.clone() else { return Ok(None) };
        let name = registry.to_owned();
        // A credential helper is a program: it may take its time.
        let asked = tokio::task::spawn_blocking(move || from_docker(&path, &name)).await;
        let login = asked.unwrap_or_else(|error| Err(Unreadable { problem: error.to_string(), helper: None }));
        let told =
            |Unreadable { problem, helper }| Error::DockerConfig { registry: registry.to_owned(), problem, helper };
        let login = login.map_err(told)?;
        self.remember(registry, login.clone());
        Ok(login)
    }

    /// Whether there may be a login of a registry, without asking a credential helper for it.
    pub(crate) async fn may_have(&self, registry: &str) -> bool {
        if let Some(known) = self.known.read().ok().and_then(|known| known.get(registry).map(Option::is_some)) {
            return known;
        }
        let Some(path) = self.docker_config.clone() else { return false };
        let name = registry.to_owned();
        let looked = tokio::task::spawn_blocking(move || is_mentioned(&path, &name)).await;
        looked.unwrap_or(true)
    }

    /// Keeps an answer.
    fn remember(&self, registry: &str, login: Option<Login>) {
        if let Ok(mut known) = self.known.write() {
            known.insert(registry.to_owned(), login);
        }
    }
}

/// The name under which Docker stores a login; Docker Hub's is an old URL.
fn docker_key(registry: &str) -> &str {
    if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry }
}

/// What Docker's configuration says of logins.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mentions {
    /// Logins that stand in it, by registry.
    #[serde(default)]
    auths: serde_json::Map<String, serde_json::Value>,
    /// Helpers of single registries.
    #[serde(default)]
    cred_helpers: serde_json::Map<String, serde_json::Value>,
    /// The helper of all others.
    creds_store: Option<String>,
}

/// The program that Docker's configuration names for the login of a registry.
fn helper(path: &std::path::Path, registry: &str) -> Option<String> {
    let mentions: Mentions = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let own = mentions.cred_helpers.get(docker_key(registry)).and_then(|name| name.as_str()).map(str::to_owned);
    own.or(mentions.creds_store).map(|name| format!("docker-credential-{name}"))
}

/// Why a login cannot be read.
struct Unreadable {
    /// What is wrong; never what a credential helper printed.
    problem: String,
    /// The credential helper that is at fault.
    helper: Option<String>,
}

/// Whether Docker's configuration has a login of a registry, or names a helper that may have one; also if it cannot be
/// understood, so that whoever needs the login finds out why.
fn is_mentioned(path: &std::path::Path, registry: &str) -> bool {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => return error.kind() != std::io::ErrorKind::NotFound,
    };
    let Ok(mentions) = serde_json::from_slice::<Mentions>(&text) else { return true };
    let wanted = host_of(docker_key(registry));
    let named = |all: &serde_json::Map<String, serde_json::Value>| all.keys().any(|key| host_of(key) == wanted);
    mentions.creds_store.is_some_and(|store| !store.is_empty())
        || named(&mentions.auths)
        || named(&mentions.cred_helpers)
}

/// The host and port of a key of Docker's configuration, which may be a URL.
fn host_of(key: &str) -> &str {
    let name = key.split_once("://").map_or(key, |(_, name)| name);
    name.split('/').next().unwrap_or(name)
}

/// Asks Docker's configuration, which may run a credential helper. A file that is not there is an anonymous login.
fn from_docker(path: &std::path::Path, registry: &str) -> Result<Option<Login>, Unreadable> {
    let Ok(file) = std::fs::File::open(path) else { return Ok(None) };
    match docker_credential::get_credential_from_reader(std::io::BufReader::new(file), docker_key(registry)) {
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Login::IdentityToken(Secret::new(token)))),
        Ok(DockerCredential::UsernamePassword(user, password)) if user == "<token>" => {
            Ok(Some(Login::IdentityToken(Secret::new(password))))
        }
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Some(Login::Password { user, password: Secret::new(password) }))
        }
        // A helper that has nothing for this registry ends with a failure (`credentials not found in native keychain`).
        // What it printed may hold a credential, so it is never shown.
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::HelperFailure { .. },
        ) => Ok(None),
        Err(error) => {
            let (file, named) = (path.display(), || helper(path, registry));
            let (problem, helper) = match error {
                CredentialRetrievalError::HelperCommunicationError => {
                    ("its credential helper cannot be run".to_owned(), named())
                }
                CredentialRetrievalError::MalformedHelperResponse => {
                    ("its credential helper gives nonsense".to_owned(), named())
                }
                CredentialRetrievalError::CredentialDecodingError => (format!("`auth` in `{file}` is no login"), None),
                CredentialRetrievalError::ConfigReadError => (format!("`{file}` cannot be understood"), None),
                other => (other.to_string(), None),
            };
            Err(Unreadable { problem, helper })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_login_that_was_set_comes_before_dockers_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let auths = r#"{"auths":{"r.example":{"auth":"bWU6cHc="},"https://index.docker.io/v1/":{"auth":"aHViOnB3"}}}"#;
        std::fs::write(&path, auths).unwrap();
        let logins = Logins::new(Some(path));
        let password = |user: &str| Login::Password { user: user.to_owned(), password: Secret::new("pw") };
        assert_eq!(logins.get("r.example").await.unwrap(), Some(password("me")));
        assert_eq!(logins.get("docker.io").await.unwrap(), Some(password("hub")));
        assert_eq!(logins.get("other.example").await.unwrap(), None);
        logins.clone().set("r.example", "you", Secret::new("pw"));
        assert_eq!(logins.get("r.example").await.unwrap(), Some(password("you")));
    }

    #[tokio::test]
    async fn whether_there_may_be_a_login_is_known_without_asking_a_helper() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        for (text, wanted) in [
            (r#"{"auths":{"r.example":{}}}"#, true),
            (r#"{"auths":{"https://r.example/v1/":{}}}"#, true),
            (r#"{"credHelpers":{"r.example":"missing"}}"#, true),
            (r#"{"credsStore":"missing"}"#, true),
            (r#"{"credsStore":"","auths":{"other.example":{}}}"#, false),
            ("{}", false),
            ("{", true),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Logins::new(Some(path.clone())).may_have("r.example").await, wanted, "{text}");
        }
        let logins = Logins::new(Some("/nowhere/config.json".into()));
        assert!(!logins.may_have("r.example").await);
        logins.set("r.example", "me", Secret::new("pw"));
        assert!(logins.may_have("r.example").await);
    }

    #[tokio::test]
    async fn a_login_that_cannot_be_read_says_what_to_do() {
        use crate::error::Hint as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        for (text, problem, cure) in [
            ("{", "config.json` cannot be understood", "docker login"),
            (r#"{"auths":{"r.example":{"auth":"not base64!"}}}"#, "config.json` is no login", "docker login"),
            (r#"{"credsStore":"of-nobody"}"#, "its credential helper cannot be run", "`docker-credential-of-nobody`"),
            (
                r#"{"credHelpers":{"r.example":"of-one"},"credsStore":"b"}"#,
                "helper cannot be run",
                "`docker-credential-of-one`",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Logins::new(Some(path.clone())).get("r.example").await.unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert!(error.hint().unwrap().contains(cure), "{:?}", error.hint());
        }
    }

    #[tokio::test]
    async fn no_configuration_is_an_anonymous_login() {
        assert_eq!(Logins::new(Some("/nowhere/config.json".into())).get("docker.io").await.unwrap(), None);
    }
}
