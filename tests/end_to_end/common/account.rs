//! An account of a test's own, without a cluster and without engines: for whatever would disturb the other tests.

use super::project::Run;
use super::sandbox::repository;
use super::{output, succeed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A fresh account with a registry, and a folder with a deploy.yml. It is gone at the end of the test.
pub(crate) struct Account {
    /// The sandbox's program.
    program: PathBuf,
    /// The number of its sandbox.
    pub(crate) number: u32,
    /// What `sandbox env` exports.
    pub(crate) environment: BTreeMap<String, String>,
    /// The folder.
    pub(crate) folder: tempfile::TempDir,
    /// There is one such account at a time.
    _turn: MutexGuard<'static, ()>,
}

impl Account {
    /// Starts one: that takes half a second.
    pub(crate) fn start() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let built = succeed(&mut Command::new(repository().join("sandbox/build.sh")));
        let program = PathBuf::from(built.lines().last().expect("build.sh prints the program's path").trim());
        // Beside the sandbox of the other tests, and beside those of other runs.
        let shared =
            std::env::var_os("SANDBOX_NUMBER").and_then(|number| number.to_str()?.parse::<u32>().ok()).unwrap_or(1);
        let number = 100 + shared;
        let sandbox = |arguments: &[&str]| {
            succeed(
                Command::new(&program)
                    .args(arguments)
                    .env("SANDBOX_NUMBER", number.to_string())
                    .env_remove("SANDBOX_STATE"),
            )
        };
        sandbox(&["down"]);
        sandbox(&["up", "--parts", "api,registry,hub,faults,control"]);
        let environment = sandbox(&["env"]).lines().filter_map(super::sandbox::export).collect();
        let folder = tempfile::Builder::new().prefix("seaway-").tempdir().expect("a temporary folder");
        Self { program, number, environment, folder, _turn: turn }
    }

    /// Writes deploy.yml: an application whose image is a copy of one of Docker Hub.
    pub(crate) fn deploy_yml(&self, registry: &str, image: &str) -> &Self {
        self.deploy_yml_of(registry, image, "{ mirror: busybox:1.35 }")
    }

    /// Writes deploy.yml: an application with this image.
    pub(crate) fn deploy_yml_of(&self, registry: &str, image: &str, source: &str) -> &Self {
        let text = format!("name: shop\nregistry: {registry}\nimages:\n  {image}: {source}\n");
        std::fs::write(self.folder.path().join("deploy.yml"), text).expect("a file");
        self
    }

    /// Changes something by the sandbox's control API.
    pub(crate) fn turn(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.environment["SANDBOX_CONTROL_URL"]);
        serde_json::from_str(&super::send_json("POST", &url, &[], body)).unwrap_or_default()
    }

    /// Leads the runs from here on to the registries through the fault proxies.
    pub(crate) fn through_the_fault_proxy(&self) {
        super::faults::write_hosts(&self.folder.path().join(".hosts"), &format!("127.77.{}.1", self.number));
    }

    /// Takes all faults away.
    pub(crate) fn forget_faults(&self) {
        let url = format!("{}/faults", self.environment["SANDBOX_CONTROL_URL"]);
        succeed(Command::new("curl").args(["--silent", "--request", "DELETE", &url]));
    }

    /// A token with these scopes only.
    pub(crate) fn token(&self, scopes: &[&str]) -> String {
        let made = self.turn("/tokens", &json!({ "name": "narrow", "scopes": scopes }));
        made["value"].as_str().expect("a token").to_owned()
    }

    /// Sends a request to the emulated DigitalOcean API.
    pub(crate) fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.environment["DIGITALOCEAN_API_URL"]);
        let token = format!("authorization: Bearer {}", self.environment["DIGITALOCEAN_ACCESS_TOKEN"]);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--request", method, &url, "--header", &token]);
        if !body.is_null() {
            curl.args(["--header", "content-type: application/json", "--data-binary", &body.to_string()]);
        }
        serde_json::from_str(&succeed(&mut curl)).unwrap_or_default()
    }

    /// The tags of a repository; none where there is no such repository.
    pub(crate) fn tags(&self, repository: &str) -> Vec<String> {
        let path = format!("/v2/registries/todo-app-registry/repositories/{repository}/tags");
        let answer = self.api("GET", &path, &Value::Null);
        let tags = answer["tags"].as_array().cloned().unwrap_or_default();
        tags.iter().filter_map(|tag| tag["tag"].as_str().map(str::to_owned)).collect()
    }

    /// Runs Seaway to its end, with variables beside those of the sandbox.
    pub(crate) fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seaway"));
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(self.environment.iter().filter(|(name, _)| name.as_str() != "GITHUB_TOKEN"));
        let hosts = self.folder.path().join(".hosts");
        if hosts.is_dir() {
            command.env("SEAWAY_REGISTRY_CONFIG", hosts);
        }
        let output = output(command.envs(variables.iter().copied()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Run { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let number = self.number.to_string();
        output(Command::new(&self.program).arg("down").env("SANDBOX_NUMBER", number).env_remove("SANDBOX_STATE"));
    }
}
