//! What is in the cluster against what the files say, by kubectl's judgement.

use super::Project;
use std::io::Write as _;
use std::process::Stdio;

/// What `kubectl diff` says of manifests against the cluster: its exit code (0: the same, 1: not) and its output.
pub(crate) fn kubectl_diff(project: &Project, manifests: &str) -> (Option<i32>, String) {
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
