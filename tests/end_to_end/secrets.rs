//! Canaries: secrets that must be seen nowhere, in no form.

use crate::common::{Sandbox, pull, small};
use std::path::Path;

/// The forms in which a secret could be seen.
fn forms(secret: &str) -> Vec<String> {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(secret);
    let url: String = secret
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect();
    vec![secret.to_owned(), base64.trim_end_matches('=').to_owned(), url]
}

/// All files below a folder, as text.
fn texts(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(texts(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            all.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    all
}

#[test]
fn no_secret_is_seen_anywhere() {
    let mut project = small("canaries");
    let database = "postgres://canary:c4n4ry/pa+ss=word@db/1";
    let build = "bu1ld-c4n4ry/s3cret+=";
    let deploy = std::fs::read_to_string(project.file("deploy.yml")).unwrap();
    let deploy = deploy.replace(
        "  canaries: ./web\n",
        "  canaries:\n    build: { context: ./web, secrets: { npm_token: \"${BUILD_SECRET}\" } }\n",
    );
    project.write("deploy.yml", &format!("{deploy}secrets:\n  database-secret: {{ url: \"${{DATABASE_URL}}\" }}\n"));
    project.write(
        "web/Dockerfile",
        "FROM busybox:1.35\nRUN --mount=type=secret,id=npm_token test -s /run/secrets/npm_token && cat /run/secrets/npm_token\nCOPY www /www\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n",
    );
    let (summary, outputs) = (project.file("summary.md"), project.file("outputs.txt"));
    project.write("summary.md", "").write("outputs.txt", "");
    for (name, value) in [
        ("DATABASE_URL", database),
        ("BUILD_SECRET", build),
        ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()),
        ("GITHUB_OUTPUT", outputs.to_str().unwrap()),
    ] {
        project.set(name, value);
    }
    let sandbox = Sandbox::join();
    let token = sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN").to_owned();
    let text = project.run(&["up", "-vv"]).exits(0);
    let json = project.run(&["up", "-vv", "--output", "json"]).exits(0);
    let requests = text.stderr.matches("DEBUG").count();
    assert!(requests > 10 && text.stderr.contains("/v2/kubernetes/clusters"), "the log shows no requests");
    let objects = sandbox.kubectl(&["get", "all,ingress,configmap", "--namespace", "canaries", "--output=yaml"]);
    let image = format!("registry.digitalocean.com/todo-app-registry/canaries:{}", tag(&project));
    let image = pull(sandbox, &image);
    unpack(image.folder.path());

    let mut seen = vec![
        ("standard output".to_owned(), text.stdout),
        ("standard error".to_owned(), text.stderr),
        ("JSON".to_owned(), json.stdout),
        ("standard error beside JSON".to_owned(), json.stderr),
        ("objects".to_owned(), objects),
        ("summary".to_owned(), std::fs::read_to_string(&summary).unwrap()),
        ("outputs".to_owned(), std::fs::read_to_string(&outputs).unwrap()),
    ];
    seen.extend(texts(image.folder.path()));
    for secret in [database, build, &token] {
        for form in forms(secret) {
            for (place, text) in &seen {
                assert!(!text.contains(&form), "`{form}` is in {place}");
            }
        }
    }
}

/// Unpacks the blobs that are compressed, beside them.
fn unpack(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let bytes = std::fs::read(entry.path()).expect("a file");
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            let mut packed = flate2::read::MultiGzDecoder::new(&bytes[..]);
            std::io::Read::read_to_end(&mut packed, &mut plain).expect("a whole stream");
            std::fs::write(entry.path().with_extension("plain"), plain).expect("room for a file");
        }
    }
}

/// The tag for people of a clean or dirty commit.
fn tag(project: &crate::common::Project) -> String {
    let git = |arguments: &[&str]| {
        crate::common::succeed(std::process::Command::new("git").current_dir(project.path()).args(arguments))
    };
    let commit = git(&["rev-parse", "HEAD"]);
    let dirty = !git(&["status", "--porcelain", "--untracked-files=no"]).trim().is_empty();
    format!("{}{}", &commit[..12], if dirty { "-dirty" } else { "" })
}
