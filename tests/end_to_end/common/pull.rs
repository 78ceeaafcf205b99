//! Other people's clients on what was pushed: skopeo, crane and containerd's own; Docker's is beside.

use super::{Sandbox, succeed};
use std::process::Command;

/// An image as other clients read it.
pub(crate) struct Pulled {
    /// The folder of skopeo's `dir:` layout: the manifest, and every blob under its digest.
    pub(crate) folder: tempfile::TempDir,
    /// The digest of the manifest as skopeo got it, and as crane names it, `sha256:…`.
    pub(crate) digests: [String; 2],
}

/// The address of the sandbox's registry.
pub(crate) fn registry(sandbox: &Sandbox) -> String {
    format!("127.77.{}.1:5000", sandbox.variable("SANDBOX_NUMBER"))
}

/// A folder with a login for the sandbox's registry.
pub(crate) fn login(sandbox: &Sandbox) -> tempfile::TempDir {
    use base64::Engine as _;
    let token = sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN");
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{token}:{token}"));
    let logins = tempfile::tempdir().expect("a folder");
    let config = serde_json::json!({ "auths": { registry(sandbox): { "auth": auth } } });
    std::fs::write(logins.path().join("config.json"), config.to_string()).expect("a file");
    logins
}

/// Copies an image whole into a folder, with skopeo. `image` has its production name.
pub(crate) fn copy_out(sandbox: &Sandbox, image: &str) -> tempfile::TempDir {
    let image = image.replace("registry.digitalocean.com", &registry(sandbox));
    let (logins, folder) = (login(sandbox), tempfile::tempdir().expect("a folder"));
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--quiet", "--src-tls-verify=false", "--authfile"]).arg(logins.path().join("config.json"));
    succeed(skopeo.arg(format!("docker://{image}")).arg(format!("dir:{}", folder.path().display())));
    folder
}

/// Pulls an image whole. `image` has its production name; the clients are sent to the sandbox's registry, with a login.
pub(crate) fn pull(sandbox: &Sandbox, image: &str) -> Pulled {
    let (logins, folder) = (login(sandbox), copy_out(sandbox, image));
    let image = image.replace("registry.digitalocean.com", &registry(sandbox));
    let sum = succeed(Command::new("sha256sum").arg(folder.path().join("manifest.json")));
    let read = format!("sha256:{}", sum.split_whitespace().next().expect("a sum"));

    let mut crane = sandbox.command();
    crane.args(["crane", "digest", "--insecure", &image]).env("DOCKER_CONFIG", logins.path());
    let named = succeed(&mut crane).trim().to_owned();
    Pulled { folder, digests: [read, named] }
}

/// What containerd's own client prints, at the containerd of the sandbox's nodes, in a namespace of the test.
pub(crate) fn ctr(sandbox: &Sandbox, namespace: &str, arguments: &[&str]) -> String {
    let socket = format!("{}/kubernetes/containerd.sock", sandbox.variable("SANDBOX_STATE"));
    succeed(Command::new("ctr").args(["--address", &socket, "--namespace", namespace]).args(arguments))
}

/// Pulls an image whole with crane, as an OCI layout; its digest there. `image` has its production name.
pub(crate) fn pull_with_crane(sandbox: &Sandbox, image: &str) -> String {
    let image = image.replace("registry.digitalocean.com", &registry(sandbox));
    let (logins, folder) = (login(sandbox), tempfile::tempdir().expect("a folder"));
    let mut crane = sandbox.command();
    crane.args(["crane", "pull", "--insecure", "--format=oci", &image]).arg(folder.path());
    succeed(crane.env("DOCKER_CONFIG", logins.path()));
    let index = std::fs::read(folder.path().join("index.json")).expect("an index");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
    let digest = index["manifests"][0]["digest"].as_str().expect("a digest").to_owned();
    // What stands in the index is what crane was asked for; the manifest that it wrote tells what it got.
    let manifest = folder.path().join("blobs").join(digest.replace(':', "/"));
    let sum = succeed(Command::new("sha256sum").arg(manifest));
    assert!(digest.ends_with(sum.split_whitespace().next().expect("a sum")), "{digest} {sum}");
    digest
}

/// Pulls an image whole with containerd and runs it there; its digest, and what it prints. `image` has its production name.
pub(crate) fn run_with_containerd(
    sandbox: &Sandbox,
    namespace: &str,
    image: &str,
    command: &[&str],
) -> (String, String) {
    let image = image.replace("registry.digitalocean.com", &registry(sandbox));
    let (token, fifos) = (sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN"), tempfile::tempdir().expect("a folder"));
    ctr(sandbox, namespace, &["images", "pull", "--plain-http", "--user", &format!("{token}:{token}"), &image]);
    let named = format!("name=={image}");
    let checked = ctr(sandbox, namespace, &["images", "check", &named]);
    assert!(checked.contains("complete"), "{checked}");
    let listed = ctr(sandbox, namespace, &["images", "list", &named]);
    let digest = listed.lines().last().expect("the image").split_whitespace().nth(2).expect("a digest").to_owned();
    // containerd has another /run than we.
    let fifos = fifos.path().to_str().expect("a path");
    let run = ["run", "--rm", "--fifo-dir", fifos, &image, "pulled-back"];
    let said = ctr(sandbox, namespace, &[&run, command].concat());
    ctr(sandbox, namespace, &["images", "remove", "--sync", &image]);
    (digest, said)
}
