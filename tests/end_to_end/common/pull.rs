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
