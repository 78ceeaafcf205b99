//! Somebody stops a run: it ends soon, says what it has written, and the next run finishes the work.

use crate::common::{Project, small};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Starts `up`, sends SIGINT when a line of standard error contains `sign`, and gives all of standard error.
fn interrupt_at(project: &Project, sign: &str) -> String {
    let mut child =
        project.command(&["up", "-v"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("seaway");
    let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
    let mut text = String::new();
    let mut interrupted = None;
    for line in lines.by_ref().map_while(Result::ok) {
        text.push_str(&line);
        text.push('\n');
        if interrupted.is_none() && line.contains(sign) {
            Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
            interrupted = Some(Instant::now());
        }
    }
    let status = child.wait().expect("an end");
    let interrupted = interrupted.unwrap_or_else(|| panic!("`{sign}` never came:\n{text}"));
    assert_eq!(status.code(), Some(130), "{text}");
    // The promise is 2.5 s; a machine that does other things gets some more before this is a failure.
    assert!(interrupted.elapsed() < Duration::from_secs(10), "{:?}\n{text}", interrupted.elapsed());
    text
}

#[test]
fn a_build_that_is_stopped_is_finished_by_the_next_run() {
    let project = small("stop-build");
    project.write("web/Dockerfile", "FROM busybox:1.35\nRUN echo it begins; sleep 20\nCOPY www /www\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n");
    interrupt_at(&project, "it begins");
    project.write(
        "web/Dockerfile",
        "FROM busybox:1.35\nCOPY www /www\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n",
    );
    project.run(&["up"]).exits(0);
}

#[test]
fn a_wait_that_is_stopped_names_what_was_written() {
    let project = small("stop-wait");
    let manifests = std::fs::read_to_string(project.file("k8s/web.yaml")).expect("manifests");
    let slow = manifests.replace(
        "readinessProbe: { httpGet: { path: /, port: 8080 },",
        "readinessProbe: { initialDelaySeconds: 15, httpGet: { path: /, port: 8080 },",
    );
    assert_ne!(slow, manifests);
    project.write("k8s/web.yaml", &slow);
    let text = interrupt_at(&project, "/2 ready");
    assert!(text.contains("Deployment web"), "{text}");
    project.run(&["up"]).exits(0);
}
