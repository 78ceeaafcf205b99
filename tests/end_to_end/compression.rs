//! Layers in Zstandard: other clients pull them, and they run.

use crate::common::pull::{pull_with_crane, run_with_containerd};
use crate::common::{pull, small, succeed};
use serde_json::Value;
use std::process::Command;

/// The only image of a run: its digest, and how it came to be.
fn image(stdout: &str) -> (String, String) {
    let result: Value = serde_json::from_str(stdout).expect("JSON");
    let text = |name: &str| result["images"][0][name].as_str().unwrap_or_else(|| panic!("{result:#}")).to_owned();
    (text("digest"), text("state"))
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
    assert_eq!(pull_with_crane(sandbox, &image), digest);
    let (by_containerd, page) = run_with_containerd(sandbox, "zstd", &image, &["cat", "/www/index.html"]);
    assert_eq!(by_containerd, digest);
    assert!(page.contains("hello from zstd"), "{page}");
}

/// A base with a user, a link to a folder, and a folder of the user's.
const BELOW: &str = "FROM scratch\nCOPY below /\nCOPY --chown=7:8 --chmod=0770 empty /opt/real\n";

#[test]
fn a_base_in_zstandard_is_looked_into_and_built_on() {
    let mut project = small("zstd-base");
    let (sandbox, name) = (project.sandbox, project.namespace.clone());
    let deploy = |images: &str| format!("name: {name}\nregistry: todo-app-registry\n{images}\n");
    project.set("DOCKER_HOST", "unix:///no/engine.sock").set("BUILDKIT_HOST", "");
    project
        .write("web/Dockerfile", BELOW)
        .write("web/below/etc/passwd", "app:x:7:8::/:\n")
        .write("web/empty/.keep", "");
    std::os::unix::fs::symlink("opt/real", project.file("web/below/app")).expect("a link");
    project.renew("web/below/new");
    project.write("deploy.yml", &deploy(&format!("compression: zstd\nimages:\n  {name}-below: ./web")));
    let (base, _) = image(&project.run(&["push", "--output", "json"]).exits(0).stdout);
    let base = format!("registry.digitalocean.com/todo-app-registry/{name}-below@{base}");

    // The user's number and the link's end stand in layers of the base.
    project.write("web/Dockerfile", &format!("FROM {base}\nCOPY --chown=app www/index.html /app/\n"));
    project.write("deploy.yml", &deploy(&format!("images:\n  {name}: ./web")));
    let push = || {
        project.renew("web/www/index.html");
        let run = project.run(&["push", "--output", "json"]).exits(0);
        (image(&run.stdout).0, run.stderr.contains("reading the file tree"))
    };
    let (digest, is_read) = push();
    assert!(is_read, "nobody has looked into it before");
    let pulled = pull(sandbox, &format!("registry.digitalocean.com/todo-app-registry/{name}@{digest}"));
    let manifest = std::fs::read(pulled.folder.path().join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers");
    let kinds: Vec<_> = layers.iter().map(|layer| layer["mediaType"].as_str().expect("a media type")).collect();
    let (zstd, gzip) = ("application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(kinds, [zstd, zstd, gzip]);
    let top = layers[2]["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
    let mut tar = Command::new("tar");
    tar.args(["--list", "--verbose", "--numeric-owner", "--gzip", "--file"]).arg(pulled.folder.path().join(top));
    let listed = succeed(&mut tar);
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    let entry = |path: &str| lines.iter().find(|line| line.last() == Some(&path)).map(|line| (line[0], line[1]));
    assert_eq!(entry("opt/real/"), Some(("drwxrwx---", "7/8")), "{listed}");
    assert_eq!(entry("opt/real/index.html"), Some(("-rw-r--r--", "7/8")), "{listed}");

    // What was found is noted: the next image need not look again.
    let (next, is_read) = push();
    assert!(next != digest && !is_read, "{next}");
}
