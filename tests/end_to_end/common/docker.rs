//! Docker's own client at the Engines of the sandbox.

use super::{Sandbox, succeed};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// A client with a login for the sandbox's registry.
pub(crate) struct Docker {
    /// Where its Engine listens, as `DOCKER_HOST`.
    pub(crate) host: String,
    /// The registry as an Engine reaches it, `127.77.1.1:5000`.
    pub(crate) registry: String,
    /// The folder of the client's configuration.
    config: tempfile::TempDir,
}

impl Docker {
    /// At the Engine of Debian, 20.10.
    pub(crate) fn debian(sandbox: &Sandbox) -> Self {
        Self::at(sandbox, sandbox.variable("DOCKER_HOST").to_owned())
    }

    /// At Docker 29 with containerd's image store.
    pub(crate) fn containerd_29(sandbox: &Sandbox) -> Self {
        Self::of_29(sandbox, "engine29")
    }

    /// At Docker 29 with the store that older versions had.
    pub(crate) fn layers_29(sandbox: &Sandbox) -> Self {
        Self::of_29(sandbox, "layers29")
    }

    /// Builds Docker 29, once.
    pub(crate) fn build_29() {
        static BUILT: OnceLock<()> = OnceLock::new();
        BUILT.get_or_init(|| {
            succeed(Command::new(super::sandbox::repository().join("sandbox/build.sh")).env("SANDBOX_MOBY", "1"));
        });
    }

    /// At one of the Engines that the sandbox starts when they are asked for. They are built the first time: that takes
    /// minutes once.
    fn of_29(sandbox: &Sandbox, part: &str) -> Self {
        static STARTED: OnceLock<()> = OnceLock::new();
        STARTED.get_or_init(|| {
            Self::build_29();
            succeed(sandbox.command().args(["up", "--parts", "engine29,layers29"]));
        });
        let socket = Path::new(sandbox.variable("SANDBOX_STATE")).join(part).join("docker.sock");
        Self::at(sandbox, format!("unix://{}", socket.display()))
    }

    /// At an Engine.
    fn at(sandbox: &Sandbox, host: String) -> Self {
        use base64::Engine as _;
        let registry = format!("127.77.{}.1:5000", sandbox.variable("SANDBOX_NUMBER"));
        let token = sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN");
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{token}:{token}"));
        let config = tempfile::tempdir().expect("a folder");
        let logins = serde_json::json!({ "auths": { registry.as_str(): { "auth": auth } } });
        std::fs::write(config.path().join("config.json"), logins.to_string()).expect("a file");
        Self { host, registry, config }
    }

    /// Runs the client; what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let mut docker = Command::new("docker");
        docker.args(arguments).env("DOCKER_HOST", &self.host).env("DOCKER_CONFIG", self.config.path());
        succeed(docker.env("DOCKER_BUILDKIT", "0")) // the client has no plug-in for BuildKit
    }
}
