//! What goes wrong, and what a person reads then: the place, the cause, the cure, and the right exit code.

use crate::common::{Project, get_json, small};
use serde_json::Value;

/// The requests that have written something to the DigitalOcean API or a registry since a point in the request log.
fn writes_since(project: &Project, since: usize) -> Vec<String> {
    let log = request_log(project);
    let writes = log.iter().skip(since).filter(|entry| {
        matches!(entry["method"].as_str(), Some("POST" | "PUT" | "PATCH" | "DELETE")) && entry["service"] != "github"
    });
    writes.map(Value::to_string).collect()
}

/// Everything that was asked of the emulated services.
fn request_log(project: &Project) -> Vec<Value> {
    let log = get_json(&project.sandbox.control("/requests"), &[]);
    log.as_array().or_else(|| log["requests"].as_array()).expect("a list of requests").clone()
}

/// Changes a line of a file.
fn replace(project: &Project, path: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(project.file(path)).expect(path);
    assert!(text.contains(from), "{path} has no `{from}`");
    project.write(path, &text.replace(from, to));
}

#[test]
fn without_a_token_nothing_is_asked() {
    let mut project = small("no-token");
    project.set("DIGITALOCEAN_ACCESS_TOKEN", "");
    project.run(&["up"]).exits(2).says("DIGITALOCEAN_ACCESS_TOKEN");
}

#[test]
fn a_wrong_token_is_named_and_not_shown() {
    let mut project = small("wrong-token");
    let token = format!("dop_v1_{}", "0".repeat(64));
    project.set("DIGITALOCEAN_ACCESS_TOKEN", &token);
    let run = project.run(&["up", "-vv"]).exits(2);
    run.says("token");
    assert!(!run.stderr.contains(&token), "{}", run.stderr);
}

#[test]
fn an_unknown_cluster_lists_those_that_there_are() {
    let project = small("unknown-cluster");
    replace(&project, "deploy.yml", "cluster: todo-prod", "cluster: todo-prd");
    project.run(&["up"]).exits(2).says("todo-prd").says("todo-prod");
}

#[test]
fn an_unknown_registry_lists_those_that_there_are() {
    let project = small("unknown-registry");
    replace(&project, "deploy.yml", "registry: todo-app-registry", "registry: todo-app-regstry");
    project.run(&["up"]).exits(2).says("todo-app-regstry").says("todo-app-registry");
}

#[test]
fn without_a_docker_engine_nothing_is_written() {
    let mut project = small("no-engine");
    project.set("DOCKER_HOST", "unix:///nowhere/docker.sock").set("BUILDKIT_HOST", "");
    let since = request_log(&project).len();
    project.run(&["up"]).exits(2).says("/nowhere/docker.sock");
    assert_eq!(writes_since(&project, since), Vec::<String>::new());
    let (_, namespace) =
        project.sandbox.try_kubectl(&["get", "namespace", "no-engine", "--output=name", "--ignore-not-found"]);
    assert_eq!(namespace.trim(), "");
}

#[test]
fn a_dockerfile_that_fails_shows_its_step_and_its_last_lines() {
    let project = small("bad-dockerfile");
    replace(&project, "web/Dockerfile", "COPY www /www", "COPY www /www\nRUN echo the last words; exit 7");
    project.run(&["up"]).exits(1).says("RUN echo the last words").says("the last words").says("7");
}

#[test]
fn a_file_that_is_not_in_the_context_is_named() {
    let project = small("missing-copy");
    replace(&project, "web/Dockerfile", "COPY www /www", "COPY nowhere /www");
    project.run(&["up"]).exits(1).says("nowhere");
}

#[test]
fn a_command_that_the_image_lacks_is_named_within_the_deadline() {
    let project = small("bad-command");
    replace(&project, "k8s/web.yaml", "          ports:", "          command: [/app/server]\n          ports:");
    let run = project.run(&["up"]).exits(1);
    run.says("`/app/server`").says("Deployment web");
}

#[test]
fn a_pod_that_never_gets_ready_shows_its_probe() {
    let project = small("never-ready");
    replace(&project, "k8s/web.yaml", "path: /, port: 8080", "path: /absent, port: 8080");
    replace(&project, "deploy.yml", "deadline: 90s", "deadline: 12s");
    project.run(&["up"]).exits(1).says("404");
}

#[test]
fn a_smoke_step_that_fails_says_what_was_expected_and_what_came() {
    let project = small("smoke-fails");
    replace(&project, "deploy.yml", "body: hello", "body: good morning");
    let run = project.run(&["up"]).exits(1);
    run.says("good morning").says("hello from smoke-fails");
}

#[test]
fn an_api_that_is_away_is_worth_a_retry() {
    let mut project = small("api-away");
    project.set("DIGITALOCEAN_API_URL", "http://127.0.0.1:9");
    project.run(&["up"]).exits(3).says("127.0.0.1:9");
}

#[test]
fn a_kubeconfig_that_lies_about_is_not_used() {
    let mut project = small("foreign-kubeconfig");
    project.write(
        "foreign",
        "apiVersion: v1
kind: Config
current-context: foreign
contexts: [{ name: foreign, context: { cluster: foreign, user: foreign } }]
clusters: [{ name: foreign, cluster: { server: 'https://127.0.0.1:9' } }]
users: [{ name: foreign, user: { token: foreign } }]
",
    );
    let foreign = project.file("foreign");
    project.set("KUBECONFIG", foreign.to_str().expect("a path"));
    project.run(&["up"]).exits(0).says("todo-prod (nyc1)");
}

#[test]
fn an_object_that_the_server_refuses_stops_everything_before_it_begins() {
    let project = small("refused-object");
    replace(&project, "k8s/web.yaml", "replicas: 2", "replicas: 2\n  replcas: 3");
    // The namespace has to be there for the server to be asked.
    project.sandbox.kubectl(&["create", "namespace", "refused-object"]);
    let run = project.run(&["up"]).exits(2);
    run.says("replcas").says("k8s/web.yaml");
    let deployments = project.sandbox.objects(&["deployments", "--namespace", "refused-object"]);
    assert_eq!(deployments["items"].as_array().map(Vec::len), Some(0));
}
