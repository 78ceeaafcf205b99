//! What a workflow run says of itself, and what follows from the event that started it.
//!
//! Source of the events: <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows>.

use super::error::Error;
use crate::model::{Environment, Secret};
use serde_json::Value;
use std::path::PathBuf;

/// A run of a workflow, as the runner describes it.
#[derive(Clone, Debug)]
pub(crate) struct Workflow {
    /// `pull_request`.
    pub(crate) event: String,
    /// Where the payload of the event lies.
    pub(crate) event_path: Option<PathBuf>,
    /// `acme/todo`.
    pub(crate) repository: String,
    /// `refs/pull/42/merge`, `refs/heads/main`.
    pub(crate) reference: String,
    /// `https://api.github.com`, or that of another server.
    pub(crate) api_url: String,
    /// `https://github.com`.
    pub(crate) server_url: String,
    /// The run and its attempt, where both are numbers.
    pub(crate) run: Option<(u64, u64)>,
    /// A token for GitHub's API, `GITHUB_TOKEN`.
    pub(crate) token: Option<Secret>,
    /// The file that becomes the job summary.
    pub(crate) summary: Option<PathBuf>,
    /// The file that takes the outputs of the step.
    pub(crate) output: Option<PathBuf>,
}

impl Workflow {
    /// The run that an environment describes; `None` outside of workflows.
    pub(crate) fn from_environment(environment: &Environment) -> Option<Self> {
        let text = |name: &str| environment.non_empty(name).map(str::to_owned);
        let or_empty = |name: &str| text(name).unwrap_or_default();
        let path = |name: &str| text(name).map(PathBuf::from);
        if environment.get("GITHUB_ACTIONS") != Some("true") {
            return None;
        }
        let number = |name: &str| environment.get(name)?.parse::<u64>().ok();
        Some(Self {
            event: or_empty("GITHUB_EVENT_NAME"),
            event_path: path("GITHUB_EVENT_PATH"),
            repository: or_empty("GITHUB_REPOSITORY"),
            reference: or_empty("GITHUB_REF"),
            api_url: text("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned()),
            server_url: text("GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".to_owned()),
            run: number("GITHUB_RUN_ID").map(|run| (run, number("GITHUB_RUN_ATTEMPT").unwrap_or(1))),
            token: text("GITHUB_TOKEN").map(Secret::new),
            summary: path("GITHUB_STEP_SUMMARY"),
            output: path("GITHUB_OUTPUT"),
        })
    }

    /// The page of the run, where its log is.
    pub(crate) fn run_url(&self) -> Option<String> {
        let (run, attempt) = self.run?;
        Some(format!("{}/{}/actions/runs/{run}/attempts/{attempt}", self.server_url, self.repository))
    }

    /// The page of a commit.
    pub(crate) fn commit_url(&self, sha: &str) -> String {
        format!("{}/{}/commit/{sha}", self.server_url, self.repository)
    }

    /// The pull request whose merge the run has checked out: `refs/pull/42/merge`.
    fn pull_request_of_reference(&self) -> Option<u64> {
        self.reference.strip_prefix("refs/pull/")?.split('/').next()?.parse().ok()
    }
}

/// What the action does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It deploys.
    Run(Deploy),
    /// It does nothing, and that is right.
    Skip {
        /// Why, in a sentence for the log and the job summary.
        reason: String,
    },
}

/// What is deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deploy {
    /// The pull request that hears of it.
    pub(crate) pull_request: Option<u64>,
    /// The commit that people know: the head of the pull request, not its merge. `None` leaves it to git.
    pub(crate) head_sha: Option<String>,
}

/// What follows from the event. `payload` is the text of the file that `GITHUB_EVENT_PATH` names; `has_token` says whether
/// a DigitalOcean token or another way to the cluster was given.
pub(crate) fn decide(workflow: &Workflow, payload: &str, has_token: bool) -> Result<Decision, Error> {
    let text = if payload.trim().is_empty() { "{}" } else { payload };
    let payload: Value = serde_json::from_str(text).map_err(|source| Error::Event { source })?;
    Ok(match workflow.event.as_str() {
        "pull_request" => of_pull_request(workflow, &payload, has_token),
        "push" => of_push(&payload),
        "workflow_dispatch" | "repository_dispatch" => Decision::Run(Deploy::default()),
        "pull_request_target" => skip(
            "`pull_request_target` runs with secrets on code that anybody may have proposed; use `on: pull_request`",
        ),
        "" => skip("`GITHUB_EVENT_NAME` is not set, so nothing says what happened"),
        other => {
            skip(format!("nothing is deployed on `{other}`: only on `pull_request`, `push` and `workflow_dispatch`"))
        }
    })
}

/// Nothing is done.
fn skip(reason: impl Into<String>) -> Decision {
    Decision::Skip { reason: reason.into() }
}

/// A push deploys, unless it takes a branch away.
fn of_push(payload: &Value) -> Decision {
    if payload["deleted"] == Value::Bool(true) {
        return skip("the push deleted a branch or tag, there is nothing to deploy");
    }
    Decision::Run(Deploy { pull_request: None, head_sha: text(payload, "/after") })
}

/// A pull request deploys when it has new commits and its code may see secrets.
fn of_pull_request(workflow: &Workflow, payload: &Value, has_token: bool) -> Decision {
    let number = payload["number"].as_u64().or_else(|| payload.pointer("/pull_request/number")?.as_u64());
    let Some(number) = number.or_else(|| workflow.pull_request_of_reference()) else {
        return skip("the event names no pull request");
    };
    let action = payload["action"].as_str().unwrap_or("synchronize");
    if !matches!(action, "opened" | "synchronize" | "reopened") {
        return skip(format!("#{number} was {action}: only `opened`, `synchronize` and `reopened` deploy"));
    }
    if is_fork(workflow, payload) {
        return skip(format!(
            "#{number} comes from a fork: GitHub gives its runs no secrets, and Seaway would not use them"
        ));
    }
    if !has_token && text(payload, "/pull_request/user/login").as_deref() == Some("dependabot[bot]") {
        return skip(format!(
            "#{number} is Dependabot's: its runs see only Dependabot secrets \
             (Settings › Secrets and variables › Dependabot), and there is no DigitalOcean token among them"
        ));
    }
    Decision::Run(Deploy { pull_request: Some(number), head_sha: text(payload, "/pull_request/head/sha") })
}

/// Whether a pull request comes from another repository, or from one that is gone. Who acts is no proof: that can be
/// made up. A payload without a pull request says nothing of forks.
fn is_fork(workflow: &Workflow, payload: &Value) -> bool {
    let Some(head) = payload.pointer("/pull_request/head") else { return false };
    let name = head.pointer("/repo/full_name").and_then(Value::as_str);
    !name.is_some_and(|name| name.eq_ignore_ascii_case(&workflow.repository))
}

/// A text at a JSON pointer.
fn text(payload: &Value, pointer: &str) -> Option<String> {
    payload.pointer(pointer)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The environment of a run.
    fn workflow(event: &str) -> Workflow {
        let pairs = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", event),
            ("GITHUB_REPOSITORY", "acme/todo"),
            ("GITHUB_REF", "refs/pull/42/merge"),
            ("GITHUB_RUN_ID", "77"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_SERVER_URL", "https://github.com"),
        ];
        let environment = Environment::new(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Workflow::from_environment(&environment).unwrap()
    }

    /// The payload of a pull request.
    fn pull_request(action: &str, head: &Value, user: &str) -> String {
        let pull_request = json!({"number": 42, "head": head, "user": {"login": user}});
        json!({"action": action, "number": 42, "pull_request": pull_request}).to_string()
    }

    /// The head of a pull request from the same repository.
    fn own() -> Value {
        json!({"sha": "abc", "repo": {"full_name": "Acme/todo"}})
    }

    /// Why nothing is done.
    fn reason(decision: Decision) -> String {
        match decision {
            Decision::Skip { reason } => reason,
            Decision::Run(deploy) => panic!("it deploys {deploy:?}"),
        }
    }

    #[test]
    fn outside_of_workflows_there_is_none() {
        assert!(Workflow::from_environment(&Environment::default()).is_none());
        let run_url = "https://github.com/acme/todo/actions/runs/77/attempts/2";
        assert_eq!(workflow("push").run_url().as_deref(), Some(run_url));
    }

    #[test]
    fn new_commits_of_a_pull_request_deploy() {
        for action in ["opened", "synchronize", "reopened"] {
            let decision = decide(&workflow("pull_request"), &pull_request(action, &own(), "me"), true).unwrap();
            let deploy = Deploy { pull_request: Some(42), head_sha: Some("abc".to_owned()) };
            assert_eq!(decision, Decision::Run(deploy), "{action}");
        }
    }

    #[test]
    fn other_actions_of_a_pull_request_do_not() {
        for action in ["closed", "labeled", "unlabeled", "edited", "converted_to_draft"] {
            let decision = decide(&workflow("pull_request"), &pull_request(action, &own(), "me"), true).unwrap();
            assert!(reason(decision).starts_with(&format!("#42 was {action}")));
        }
    }

    #[test]
    fn a_fork_is_explained() {
        for head in [json!({"repo": {"full_name": "eve/todo"}}), json!({"repo": null}), json!({})] {
            let payload = pull_request("opened", &head, "me");
            let decision = decide(&workflow("pull_request"), &payload, true).unwrap();
            assert!(reason(decision).contains("comes from a fork"), "{head}");
        }
    }

    #[test]
    fn dependabot_is_told_of_its_own_secrets() {
        let payload = pull_request("opened", &own(), "dependabot[bot]");
        assert!(reason(decide(&workflow("pull_request"), &payload, false).unwrap()).contains("Dependabot secrets"));
        assert!(matches!(decide(&workflow("pull_request"), &payload, true).unwrap(), Decision::Run(_)));
    }

    #[test]
    fn a_payload_that_says_nothing_is_helped_by_the_reference() {
        let decision = decide(&workflow("pull_request"), "", true).unwrap();
        assert_eq!(decision, Decision::Run(Deploy { pull_request: Some(42), head_sha: None }));
    }

    #[test]
    fn pushes_and_dispatches_deploy() {
        let deploy = Deploy { pull_request: None, head_sha: Some("def".to_owned()) };
        assert_eq!(decide(&workflow("push"), "{\"after\": \"def\"}", true).unwrap(), Decision::Run(deploy));
        assert!(reason(decide(&workflow("push"), "{\"deleted\": true}", true).unwrap()).contains("deleted a branch"));
        for event in ["workflow_dispatch", "repository_dispatch"] {
            assert_eq!(decide(&workflow(event), "{}", true).unwrap(), Decision::Run(Deploy::default()));
        }
    }

    #[test]
    fn everything_else_is_skipped_with_its_name() {
        for event in ["schedule", "issue_comment", "workflow_run", "release"] {
            assert!(reason(decide(&workflow(event), "{}", true).unwrap()).contains(&format!("`{event}`")));
        }
        assert!(reason(decide(&workflow("pull_request_target"), "{}", true).unwrap()).contains("on: pull_request"));
        assert!(decide(&workflow("push"), "{", true).is_err());
    }
}
