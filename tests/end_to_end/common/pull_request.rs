//! Runs for a pull request, and the comments that they leave there.

use super::{Project, get_json, small};
use serde_json::{Value, json};

/// The pull request of the sandbox's seed.
const REPOSITORY: &str = "acme/todo";

/// A project whose runs are for pull request 42.
pub(crate) fn on_pull_request(name: &str) -> Project {
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
pub(crate) fn comments(project: &Project) -> Vec<Value> {
    let all = get_json(&project.sandbox.control("/github/comments?issue=42"), &[]);
    all.as_array().or_else(|| all["comments"].as_array()).expect("comments").clone()
}

/// The comments that the workflow's token wrote about this application.
pub(crate) fn ours(project: &Project) -> Vec<Value> {
    let mut all = comments(project);
    all.retain(|comment| {
        let author = comment["user"]["login"].as_str().or(comment["author"].as_str()).unwrap_or_default();
        author == "github-actions[bot]" && comment["body"].as_str().unwrap_or_default().contains(&project.namespace)
    });
    all
}

/// The body of our only comment.
#[track_caller]
pub(crate) fn only_comment(project: &Project) -> String {
    let ours = ours(project);
    assert_eq!(ours.len(), 1, "{ours:#?}");
    ours[0]["body"].as_str().expect("a body").to_owned()
}
