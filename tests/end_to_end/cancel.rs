//! Somebody stops a run: it ends soon, says what it has written, and the next run finishes the work.

use crate::common::pull_request::{on_pull_request, only_comment};
use crate::common::{Fault, Project, small, through_the_fault_proxy};
use serde_json::json;
use std::fs::File;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// How long a run may take to come to the place where it is stopped.
const PATIENCE: Duration = Duration::from_mins(5);

/// A run that was stopped.
pub(crate) struct Stopped {
    /// All of standard error.
    text: String,
    /// The objects that it says it has written, `Deployment web`.
    written: Vec<String>,
}

/// Starts a verb, and sends SIGINT when `it_is_time`, judging by standard error so far.
pub(crate) fn interrupt(project: &Project, verb: &str, it_is_time: impl Fn(&str) -> bool) -> Stopped {
    let log = project.file(".log");
    let mut run = project.command(&[verb, "-v"]);
    let mut child = run.stdout(Stdio::null()).stderr(File::create(&log).expect("a file")).spawn().expect("seaway");
    let read = || String::from_utf8_lossy(&std::fs::read(&log).expect("the log")).into_owned();
    let begin = Instant::now();
    while !it_is_time(&read()) {
        let ended = child.try_wait().expect("a status");
        if ended.is_some() || begin.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("it was never time to stop ({ended:?}):\n{}", read());
        }
        sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    let interrupted = Instant::now();
    let status = child.wait().expect("an end");
    let text = read();
    assert_eq!(status.code(), Some(130), "{text}");
    // The promise is 2.5 s; a machine that does other things gets some more before this is a failure.
    assert!(interrupted.elapsed() < Duration::from_secs(10), "{:?}\n{text}", interrupted.elapsed());
    let written = written(&text);
    for object in &written {
        is_there(project, object);
    }
    Stopped { text, written }
}

/// The objects that the last line names: `seaway: stopped after 3 s, 2 objects written: Namespace x, Service y (exit 130)`.
fn written(text: &str) -> Vec<String> {
    let last =
        text.lines().rfind(|line| line.starts_with("seaway: stopped after ")).unwrap_or_else(|| panic!("{text}"));
    let is_push = last.strip_suffix(" (exit 130)").is_some_and(|line| !line.contains(','));
    if is_push || last.ends_with(", no object was written (exit 130)") {
        return Vec::new();
    }
    let names = last.split_once(" written: ").and_then(|(_, rest)| rest.strip_suffix(" (exit 130)"));
    names.unwrap_or_else(|| panic!("{last}")).split(", ").map(str::to_owned).collect()
}

/// Asserts that an object is in the cluster.
#[track_caller]
fn is_there(project: &Project, object: &str) {
    let (kind, name) = object.split_once(' ').expect("kind and name");
    project.sandbox.kubectl(&["get", kind, name, "--namespace", &project.namespace, "--output=name"]);
}

/// A Dockerfile with a step that takes long.
const SLOW: &str = "FROM busybox:1.35\nCOPY www /www\nRUN echo it begins; sleep 60\n";

#[test]
fn a_build_that_is_stopped_is_finished_by_the_next_run() {
    let project = small("stop-build");
    let quick = std::fs::read_to_string(project.file("web/Dockerfile")).expect("a Dockerfile");
    project.renew("web/www/index.html").write("web/Dockerfile", SLOW);
    interrupt(&project, "up", |log| log.contains("| it begins"));
    project.write("web/Dockerfile", &quick);
    project.run(&["up"]).exits(0);
}

#[test]
fn a_push_that_is_stopped_is_finished_by_the_next_run() {
    let mut project = small("stop-push");
    through_the_fault_proxy(&mut project);
    project.renew("web/www/index.html");
    let held = Fault::on_uploads(&project, "PUT|PATCH", &json!({ "hold": true }));
    interrupt(&project, "up", |_| held.hits() > 0);
    drop(held);
    project.run(&["up"]).exits(0);
}

#[test]
fn an_apply_that_is_stopped_names_what_was_written() {
    let project = small("stop-apply");
    let settings = (0..200).map(|number| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: settings-{number} }}\ndata: {{ number: \"{number}\" }}\n")
    });
    project.write("k8s/settings.yaml", &settings.collect::<String>());
    let stopped = interrupt(&project, "up", |log| log.contains("applied ConfigMap"));
    assert!(stopped.written.iter().any(|object| object.starts_with("ConfigMap settings-")), "{}", stopped.text);
    project.run(&["up"]).exits(0);
}

#[test]
fn a_wait_that_is_stopped_names_what_was_written() {
    let project = small("stop-wait");
    project.replace("k8s/web.yaml", "readinessProbe: { ", "readinessProbe: { initialDelaySeconds: 15, ");
    let stopped = interrupt(&project, "up", |log| log.contains("/2 ready"));
    for object in ["Deployment web", "Service web"] {
        assert!(stopped.written.iter().any(|written| written == object), "{}", stopped.text);
    }
    project.run(&["up"]).exits(0);
}

#[test]
fn a_smoke_test_that_is_stopped_is_run_by_the_next_run_and_the_comment_says_so() {
    let mut project = on_pull_request("stop-smoke");
    // A comment that an earlier run of this test has left is older than these two.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970").as_secs();
    project.set("GITHUB_RUN_ID", &now.to_string());
    project.replace("deploy.yml", "- get: /", "- get: /absent");
    let stopped = interrupt(&project, "action", |log| log.contains("got 404"));
    assert!(stopped.written.iter().any(|written| written == "Deployment web"), "{}", stopped.text);
    let comment = only_comment(&project);
    assert!(comment.to_lowercase().contains("cancelled"), "{comment}");
    project.replace("deploy.yml", "- get: /absent", "- get: /");
    project.set("GITHUB_RUN_ID", &(now + 1).to_string());
    project.run(&["action"]).exits(0);
    let comment = only_comment(&project);
    assert!(comment.contains("is live"), "{comment}");
}
