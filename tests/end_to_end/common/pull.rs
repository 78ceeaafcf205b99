//! Other people's clients on what was pushed: skopeo and crane.

use super::{Sandbox, succeed};
use std::process::Command;

/// An image as other clients read it.
pub(crate) struct Pulled {
    /// The folder of skopeo's `dir:` layout: the manifest, and every blob under its digest.
    pub(crate) folder: tempfile::TempDir,
    /// The digest of the manifest as skopeo got it, and as crane names it, `sha256:…`.
    pub(crate) digests: [String; 2],
}

/// Pulls an image whole. `image` has its production name; the clients are sent to the sandbox's registry, with a login.
pub(crate) fn pull(sandbox: &Sandbox, image: &str) -> Pulled {
    use base64::Engine as _;
    let registry = format!("127.77.{}.1:5000", sandbox.variable("SANDBOX_NUMBER"));
    let image = image.replace("registry.digitalocean.com", &registry);
    let token = sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN");
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{token}:{token}"));
    let logins = tempfile::tempdir().expect("a folder");
    let authfile = logins.path().join("config.json");
    let config = serde_json::json!({ "auths": { registry: { "auth": auth } } });
    std::fs::write(&authfile, config.to_string()).expect("a file");

    let folder = tempfile::tempdir().expect("a folder");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--quiet", "--src-tls-verify=false", "--authfile"]).arg(&authfile);
    succeed(skopeo.arg(format!("docker://{image}")).arg(format!("dir:{}", folder.path().display())));
    let sum = succeed(Command::new("sha256sum").arg(folder.path().join("manifest.json")));
    let read = format!("sha256:{}", sum.split_whitespace().next().expect("a sum"));

    let mut crane = sandbox.command();
    crane.args(["crane", "digest", "--insecure", &image]).env("DOCKER_CONFIG", logins.path());
    let named = succeed(&mut crane).trim().to_owned();
    Pulled { folder, digests: [read, named] }
}
