//! What is in the cluster is what the files say, by kubectl's judgement.

use crate::common::{Project, small};
use std::io::Write as _;
use std::process::Stdio;

/// The image that the live Deployment names.
fn live_image(project: &Project) -> String {
    let deployment = project.sandbox.objects(&["deployment", "web", "--namespace", &project.namespace]);
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().expect("an image").to_owned()
}

/// What `kubectl diff` says of manifests against the cluster: its exit code (0: the same, 1: not) and its output.
fn diff(project: &Project, manifests: &str) -> (Option<i32>, String) {
    let mut kubectl = project.sandbox.command();
    kubectl.args(["kubectl", "diff", "--server-side", "--field-manager=a-reader", "--force-conflicts", "--filename=-"]);
    kubectl.args(["--namespace", &project.namespace]).env("KUBECONFIG", project.sandbox.variable("KUBECONFIG"));
    let pipes = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("kubectl");
    child.stdin.take().expect("standard input").write_all(manifests.as_bytes()).expect("kubectl reads");
    let output = child.wait_with_output().expect("an end");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn kubectl_sees_no_difference() {
    let project = small("no-difference");
    project.run(&["up"]).exits(0);
    project.run(&["plan", "--exit-code"]).exits(0);
    let image = live_image(&project);
    assert!(image.contains("@sha256:"), "{image}");
    let manifests = std::fs::read_to_string(project.file("k8s/web.yaml")).expect("manifests");
    let manifests = manifests.replace("image: no-difference", &format!("image: {image}"));
    assert_eq!(diff(&project, &manifests), (Some(0), String::new()));

    let other = manifests.replace("replicas: 2", "replicas: 1");
    let (code, text) = diff(&project, &other);
    assert!(code == Some(1) && text.contains("+  replicas: 1"), "a difference is seen: {code:?} {text}");
}
