//! Layers in Zstandard: other clients pull them, and they run.

use crate::common::pull::{login, registry};
use crate::common::{Sandbox, pull, small, succeed};
use serde_json::Value;
use std::process::Command;

/// The only image of a run: its digest, and how it came to be.
fn image(stdout: &str) -> (String, String) {
    let result: Value = serde_json::from_str(stdout).expect("JSON");
    let text = |name: &str| result["images"][0][name].as_str().unwrap_or_else(|| panic!("{result:#}")).to_owned();
    (text("digest"), text("state"))
}

/// What containerd's own client prints, at the containerd of the sandbox's nodes, in a namespace of this test.
fn ctr(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let socket = format!("{}/kubernetes/containerd.sock", sandbox.variable("SANDBOX_STATE"));
    succeed(Command::new("ctr").args(["--address", &socket, "--namespace", "compression"]).args(arguments))
}

#[test]
fn layers_in_zstandard_are_pulled_by_others_and_run() {
    let project = small("zstd");
    let (sandbox, name) = (project.sandbox, project.namespace.as_str());
    project.renew("web/www/index.html");
    let (gzip, _) = image(&project.run(&["push", "--output", "json"]).exits(0).stdout);
    project.replace("deploy.yml", "images:\n", "compression: zstd\nimages:\n");

    // Another compression is another image, which the cluster runs.
    let (digest, state) = image(&project.run(&["up", "--output", "json"]).exits(0).stdout);
    assert!(digest != gzip && state != "reused", "{digest} {state}");
    let (again, state) = image(&project.run(&["push", "--output", "json"]).exits(0).stdout);
    assert_eq!((&again, state.as_str()), (&digest, "reused"));
    let pods = sandbox.objects(&["pods", "--namespace", name, "--selector=app=web"]);
    let running = pods["items"][0]["status"]["containerStatuses"][0]["imageID"].as_str().expect("an image").to_owned();
    assert!(running.ends_with(&digest), "{running}");

    // skopeo, crane and containerd.
    let image = format!("registry.digitalocean.com/todo-app-registry/{name}@{digest}");
    let pulled = pull(sandbox, &image);
    assert_eq!(pulled.digests, [digest.clone(), digest.clone()]);
    let manifest = std::fs::read(pulled.folder.path().join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let last = manifest["layers"].as_array().and_then(|layers| layers.last()).expect("a layer");
    assert_eq!(last["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    let (image, token) =
        (image.replace("registry.digitalocean.com", &registry(sandbox)), sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN"));
    let mut crane = sandbox.command();
    crane.args(["crane", "pull", "--insecure", "--format=oci", &image]).arg(project.file("by-crane"));
    succeed(crane.env("DOCKER_CONFIG", login(sandbox).path()));
    assert!(project.file("by-crane/blobs/sha256").join(&digest["sha256:".len()..]).is_file());
    ctr(sandbox, &["images", "pull", "--plain-http", "--user", &format!("{token}:{token}"), &image]);
    let named = ctr(sandbox, &["images", "list", &format!("name=={image}")]);
    assert!(named.contains(&digest), "{named}");
    let checked = ctr(sandbox, &["images", "check", &format!("name=={image}")]);
    assert!(checked.contains("complete"), "{checked}");
    ctr(sandbox, &["images", "remove", "--sync", &image]);
}
