//! What the tests share: the sandbox, projects in temporary folders, and the clients on the other side.

pub(crate) mod account;
pub(crate) mod clients;
mod cramped;
pub(crate) mod docker;
pub(crate) mod faults;
pub(crate) mod kubectl_diff;
pub(crate) mod project;
pub(crate) mod pull;
pub(crate) mod pull_request;
pub(crate) mod sandbox;
pub(crate) mod small;

pub(crate) use account::Account;
pub(crate) use cramped::{Cramped, build_noise};
pub(crate) use docker::Docker;
pub(crate) use faults::{Fault, through_the_fault_proxy};
pub(crate) use kubectl_diff::kubectl_diff;
pub(crate) use project::{Project, Run};
pub(crate) use pull::{copy_out, pull};
pub(crate) use sandbox::Sandbox;
pub(crate) use small::small;

use serde_json::Value;
use std::process::{Command, Output};

/// Runs a command to its end and returns what it printed; a command that fails is a failed test.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = output(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed:\n{out}\n{err}");
    out.into_owned()
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"))
}

/// The JSON that a request answers with.
pub(crate) fn get_json(url: &str, headers: &[&str]) -> Value {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20", url]);
    for header in headers {
        curl.args(["--header", header]);
    }
    let text = succeed(&mut curl);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url} answers no JSON: {error}\n{text}"))
}

/// Sends JSON with a method; the answer's body.
pub(crate) fn send_json(method: &str, url: &str, headers: &[&str], body: &Value) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20", "--request", method, url]);
    curl.args(["--header", "content-type: application/json", "--data-binary", &body.to_string()]);
    for header in headers {
        curl.args(["--header", header]);
    }
    succeed(&mut curl)
}
