//! The sandbox: started by whichever test comes first, joined by the others, left running for the next run.

use super::{output, succeed};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A DigitalOcean account on this machine.
pub(crate) struct Sandbox {
    /// The sandbox's program.
    program: PathBuf,
    /// What `sandbox env` exports.
    pub(crate) environment: BTreeMap<String, String>,
}

/// The root of this repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Sandbox {
    /// The sandbox of this test run. It is built and started when it is not there yet: that takes minutes once.
    pub(crate) fn join() -> &'static Self {
        static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
        SANDBOX.get_or_init(|| {
            let built = succeed(&mut Command::new(repository().join("sandbox/build.sh")));
            let program = PathBuf::from(built.lines().last().expect("build.sh prints the program's path").trim());
            succeed(Command::new(&program).arg("up"));
            let exports = succeed(Command::new(&program).arg("env"));
            Self { program, environment: exports.lines().filter_map(export).collect() }
        })
    }

    /// The sandbox's program.
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// The value of an export.
    pub(crate) fn variable(&self, name: &str) -> &str {
        self.environment.get(name).unwrap_or_else(|| panic!("`sandbox env` does not export {name}"))
    }

    /// What `kubectl` prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        succeed(self.kubectl_command(arguments))
    }

    /// A `kubectl` command that may fail: its exit code and output.
    pub(crate) fn try_kubectl(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = output(self.kubectl_command(arguments));
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    }

    /// An object, or a list of them, as JSON.
    pub(crate) fn objects(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = ["get", "--output=json"].iter().chain(arguments).copied().collect();
        serde_json::from_str(&self.kubectl(&arguments)).expect("kubectl prints JSON")
    }

    /// The `kubectl` that is linked into the sandbox.
    fn kubectl_command(&self, arguments: &[&str]) -> &'static mut Command {
        let mut command = Command::new(&self.program);
        command.arg("kubectl").args(arguments).env("KUBECONFIG", self.variable("KUBECONFIG"));
        Box::leak(Box::new(command))
    }

    /// Removes a namespace; the test that made it does not wait for it to be gone.
    pub(crate) fn remove_namespace(&self, namespace: &str) {
        let _ = self.try_kubectl(&["delete", "namespace", namespace, "--ignore-not-found", "--wait=false"]);
    }

    /// The entries of the API server's audit log that Seaway caused in a namespace, oldest first.
    pub(crate) fn audit(&self, namespace: &str) -> Vec<Value> {
        let path = Path::new(self.variable("SANDBOX_STATE")).join("logs/audit.log");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ours = |entry: &Value| {
            let agent = entry["userAgent"].as_str().unwrap_or_default();
            agent.starts_with("seaway/") && entry["objectRef"]["namespace"] == namespace
        };
        entries.filter(ours).collect()
    }

    /// What was asked of the emulated services after the request of this number, oldest first.
    pub(crate) fn requests(&self, since: u64) -> Vec<Value> {
        let log = super::get_json(&self.control(&format!("/requests?since={since}")), &[]);
        log["requests"].as_array().expect("a list of requests").clone()
    }

    /// The number of the last request so far.
    pub(crate) fn last_request(&self) -> u64 {
        super::get_json(&self.control("/requests"), &[])["last"].as_u64().expect("a number")
    }

    /// The address of the sandbox's own control API.
    pub(crate) fn control(&self, path: &str) -> String {
        format!("{}{path}", self.variable("SANDBOX_CONTROL_URL"))
    }
}

/// `export NAME=VALUE` or `export NAME='VALUE'`.
pub(super) fn export(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
    Some((name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
}
