//! The comment on the pull request: exactly one of ours, whatever others do.

use crate::common::pull_request::{comments, on_pull_request, only_comment, ours};
use crate::common::{output, send_json};
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn there_is_exactly_one_comment_of_ours() {
    let project = on_pull_request("comment");
    let control = |path: &str, body: Value| send_json("POST", &project.sandbox.control(path), &[], &body);
    control("/github/comments", json!({ "author": "somebody", "body": "what about this?", "issue": 42, "count": 130 }));

    let first = project.run(&["action"]).exits(0);
    let body = only_comment(&project);
    assert!(body.contains("is live"), "{body}\n{}", first.stderr);
    let id = ours(&project)[0]["id"].clone();

    // Somebody else writes a comment with our marker: it is theirs. Earlier runs of this test may have left some.
    let forged = |project| {
        comments(project).iter().filter(|c| c["body"].as_str().unwrap_or_default().contains("forged")).count()
    };
    let before = forged(&project);
    let marker = body.lines().next().expect("a marker").to_owned();
    control(
        "/github/comments",
        json!({ "author": "mallory", "body": format!("{marker}\nforged {}", project.namespace), "issue": 42 }),
    );
    project.run(&["action"]).exits(0);
    only_comment(&project);
    assert_eq!(ours(&project)[0]["id"], id, "it is edited in place");
    assert_eq!(forged(&project), before + 1, "the forged comment is left alone");

    // Two runs at once.
    let running: Vec<_> =
        (0..2).map(|_| project.command(&["action"]).stderr(std::process::Stdio::null()).spawn().unwrap()).collect();
    for mut run in running {
        assert!(run.wait().unwrap().success());
    }
    only_comment(&project);

    // Somebody deletes it.
    let id = ours(&project)[0]["id"].to_string();
    output(Command::new("curl").args([
        "--silent",
        "--request",
        "DELETE",
        &project.sandbox.control(&format!("/github/comments/{id}")),
    ]));
    assert_eq!(ours(&project).len(), 0);
    project.run(&["action"]).exits(0);
    only_comment(&project);
}

#[test]
fn a_github_that_fails_does_not_fail_the_deploy() {
    let mut project = on_pull_request("github-away");
    project.set("GITHUB_API_URL", "http://127.0.0.1:9");
    let run = project.run(&["action"]).exits(0);
    run.says("warning");
}

#[test]
fn an_event_that_is_not_for_us_is_skipped_with_the_reason() {
    let mut project = on_pull_request("skipped");
    project.write(
        ".event.json",
        &json!({ "action": "labeled", "number": 42, "pull_request": { "number": 42 } }).to_string(),
    );
    project.set("DIGITALOCEAN_ACCESS_TOKEN", "");
    project.run(&["action"]).exits(0).says("labeled");
}
