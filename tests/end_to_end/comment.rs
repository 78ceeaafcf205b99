//! The comment on the pull request: exactly one of ours, whatever others do.

use crate::common::{Project, get_json, output, send_json, small};
use serde_json::{Value, json};
use std::process::Command;

/// The pull request of the sandbox's seed.
const REPOSITORY: &str = "acme/todo";

/// A project whose runs are for pull request 42.
fn on_pull_request(name: &str) -> Project {
    let mut project = small(name);
    project.write(
        ".event.json",
        &json!({
            "action": "synchronize",
            "number": 42,
            "pull_request": {
                "number": 42,
                "head": { "ref": "feature", "sha": "0".repeat(40), "repo": { "full_name": REPOSITORY, "fork": false } },
                "base": { "ref": "main", "repo": { "full_name": REPOSITORY } },
            },
            "repository": { "full_name": REPOSITORY, "name": "todo", "owner": { "login": "acme" } },
        })
        .to_string(),
    );
    let event = project.file(".event.json");
    let token = project.sandbox.variable("GITHUB_TOKEN").to_owned();
    for (name, value) in [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "pull_request"),
        ("GITHUB_EVENT_PATH", event.to_str().expect("a path")),
        ("GITHUB_REPOSITORY", REPOSITORY),
        ("GITHUB_TOKEN", &token),
        ("INPUT_GITHUB-TOKEN", &token),
        ("GITHUB_RUN_ID", "77"),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("GITHUB_SERVER_URL", "https://github.com"),
    ] {
        project.set(name, value);
    }
    project
}

/// All comments on the pull request.
fn comments(project: &Project) -> Vec<Value> {
    let all = get_json(&project.sandbox.control("/github/comments?issue=42"), &[]);
    all.as_array().or_else(|| all["comments"].as_array()).expect("comments").clone()
}

/// The comments that the workflow's token wrote about this application.
fn ours(project: &Project) -> Vec<Value> {
    let mut all = comments(project);
    all.retain(|comment| {
        let author = comment["user"]["login"].as_str().or(comment["author"].as_str()).unwrap_or_default();
        author == "github-actions[bot]" && comment["body"].as_str().unwrap_or_default().contains(&project.namespace)
    });
    all
}

/// The body of our only comment.
#[track_caller]
fn only_comment(project: &Project) -> String {
    let ours = ours(project);
    assert_eq!(ours.len(), 1, "{ours:#?}");
    ours[0]["body"].as_str().expect("a body").to_owned()
}

#[test]
fn there_is_exactly_one_comment_of_ours() {
    let project = on_pull_request("comment");
    let control = |path: &str, body: Value| send_json("POST", &project.sandbox.control(path), &[], &body);
    control("/github/comments", json!({ "author": "somebody", "body": "what about this?", "issue": 42, "count": 130 }));

    let first = project.run(&["action"]).exits(0);
    let body = only_comment(&project);
    assert!(body.contains("is live"), "{body}\n{}", first.stderr);
    let id = ours(&project)[0]["id"].clone();

    // Somebody else writes a comment with our marker: it is theirs.
    let marker = body.lines().next().expect("a marker").to_owned();
    control(
        "/github/comments",
        json!({ "author": "mallory", "body": format!("{marker}\nforged {}", project.namespace), "issue": 42 }),
    );
    project.run(&["action"]).exits(0);
    only_comment(&project);
    assert_eq!(ours(&project)[0]["id"], id, "it is edited in place");
    let forged =
        comments(&project).iter().filter(|c| c["body"].as_str().unwrap_or_default().contains("forged")).count();
    assert_eq!(forged, 1, "the forged comment is left alone");

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
