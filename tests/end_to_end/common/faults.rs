//! The fault proxy in front of the registry: what a project sends goes through it, and is disturbed by rules.

use super::{Project, Sandbox, get_json, output, send_json};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// A fault that is there until it is dropped.
pub(crate) struct Fault {
    /// The sandbox that has it.
    sandbox: &'static Sandbox,
    /// Its number.
    id: String,
}

/// Leads a project's runs to the registry through the fault proxy.
pub(crate) fn through_the_fault_proxy(project: &mut Project) {
    let folder = project.file(".hosts");
    write_hosts(&folder, &format!("127.77.{}.1", project.sandbox.variable("SANDBOX_NUMBER")));
    project.set("SEAWAY_REGISTRY_CONFIG", folder.to_str().expect("a path"));
}

/// Writes a folder of `hosts.toml` files that lead to the registry through the fault proxy of the sandbox at an address.
pub(super) fn write_hosts(folder: &Path, address: &str) {
    for (registry, port) in [("registry.digitalocean.com", 5010), ("docker.io", 5002)] {
        let hosts = format!(
            "server = \"http://{address}:{port}\"\n\n[host.\"http://{address}:{port}\"]\n  capabilities = [\"pull\", \"resolve\", \"push\"]\n"
        );
        let folder = folder.join(registry);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("hosts.toml"), hosts).expect("a file");
    }
}

impl Fault {
    /// Disturbs the project's own uploads by some methods: `what` says how, in the words of the sandbox's control API.
    pub(crate) fn on_uploads(project: &Project, methods: &str, what: &Value) -> Self {
        Self::on(project, methods, "blobs/uploads/", what)
    }

    /// Disturbs the project's own requests of some methods to a part of its repository in the same way.
    pub(crate) fn on(project: &Project, methods: &str, part: &str, what: &Value) -> Self {
        let path = format!("/todo-app-registry/{}/{part}", project.namespace);
        let mut rule = json!({ "method": methods, "path": path });
        rule.as_object_mut().expect("a rule").extend(what.as_object().expect("a rule").clone());
        Self::by_rule(project, "registry", &rule)
    }

    /// Adds a rule of any kind for one of the registries, by its name in the sandbox's control API.
    pub(crate) fn by_rule(project: &Project, target: &str, what: &Value) -> Self {
        let mut rule = json!({ "target": target });
        rule.as_object_mut().expect("a rule").extend(what.as_object().expect("a rule").clone());
        let answer = send_json("POST", &project.sandbox.control("/faults"), &[], &rule);
        let added: Value = serde_json::from_str(&answer).expect("the rule with its id");
        Self { sandbox: project.sandbox, id: added["id"].as_str().expect("an id").to_owned() }
    }

    /// How many requests it has hit.
    pub(crate) fn hits(&self) -> u64 {
        self.number("hits")
    }

    /// How many bytes of the requests that it watches have come through.
    pub(crate) fn bytes(&self) -> u64 {
        self.number("request_bytes")
    }

    /// A number that the proxy keeps for it.
    fn number(&self, name: &str) -> u64 {
        let rules = get_json(&self.sandbox.control("/faults"), &[]);
        let rules = rules.as_array().or_else(|| rules["faults"].as_array()).expect("rules");
        rules.iter().find(|rule| rule["id"] == self.id.as_str()).expect("our rule")[name].as_u64().expect("a number")
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        output(Command::new("curl").args([
            "--silent",
            "--request",
            "DELETE",
            &self.sandbox.control(&format!("/faults/{}", self.id)),
        ]));
    }
}
