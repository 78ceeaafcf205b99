//! What goes wrong, and what a person reads then: the place, the cause, the cure, and the right exit code.

use crate::common::{Project, Run, small};

/// Compares what a person reads at the end of a failed run with the reviewed text of this name.
///
/// The log above it depends on what came first; the errors and the last line do not.
#[track_caller]
pub(crate) fn reads_as(name: &str, project: &Project, run: &Run) {
    let errors = run.stderr.find("\nerror: ").map(|at| at + 1).zip(run.stderr.rfind("\nseaway: the "));
    let (from, to) = errors.unwrap_or_else(|| panic!("no errors in:\n{}", run.stderr));
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(&literal(&project.path().display().to_string()), "[project]");
    for (pattern, stands_for) in UNSTABLE {
        settings.add_filter(pattern, *stands_for);
    }
    settings.bind(|| insta::assert_snapshot!(name, &run.stderr[from..to]));
}

/// What differs from run to run, and what stands for it in the reviewed texts.
const UNSTABLE: &[(&str, &str)] = &[
    // Which events and which of two reasons are there depends on when the pod is looked at.
    (r"(?m)^  events\n(    .+\n)+", "  events\n    [events]\n"),
    (r"(?m)^    failed to create containerd task: .+$", "    failed to create containerd task: [runtime's words]"),
    (r"while listing the (Kubernetes clusters|container registries)", "while listing the [clusters or registries]"),
    (r"sha256:[0-9a-f]{12,64}", "sha256:[digest]"),
    (r"blob [0-9a-f]{8}\b", "blob [digest]"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "[id]"),
    (r"\b[0-9a-z]{25}::[0-9a-z]{25}\b", "[id]"),
    (r"that should be [0-9a-f]{8} is [0-9a-f]{8}\b", "that should be [digest] is [another]"),
    (r"overlay2/[0-9a-z]{25}/", "overlay2/[id]/"),
    (r"(containerd-mount|docker-export-|snapshots/)\d+", "${1}[id]"),
    (r"(ingest|blobs/sha256)/[0-9a-f]{64}", "$1/[id]"),
    (r"web-[0-9a-f]{6,10}-[0-9a-z]{5}", "web-[pod]"),
    (r"web-[0-9a-f]{6,10}", "web-[revision]"),
    (r"\b\d+(\.\d+)? (ms|s|min)\b", "[time]"),
];

/// A text as a regular expression that matches it.
fn literal(text: &str) -> String {
    text.replace('.', r"\.")
}

/// Asserts that nothing of the project's was written, neither to the registry nor to the cluster, and that it was said.
#[track_caller]
pub(crate) fn nothing_was_written(project: &Project, run: &Run) {
    run.says(if run.stderr.contains("seaway: the push failed after ") {
        " (exit "
    } else {
        ", no object was written (exit "
    });
    let mut writes = project.sandbox.requests(0);
    writes.retain(|entry| {
        matches!(entry["method"].as_str(), Some("POST" | "PUT" | "PATCH" | "DELETE"))
            && entry["path"].as_str().is_some_and(|path| path.contains(&format!("/{}/", project.namespace)))
    });
    assert_eq!(writes, Vec::<serde_json::Value>::new());
    let name = project.namespace.as_str();
    let (_, namespace) =
        project.sandbox.try_kubectl(&["get", "namespace", name, "--output=name", "--ignore-not-found"]);
    assert_eq!(namespace.trim(), "");
}

#[test]
fn without_a_token_nothing_is_asked() {
    let mut project = small("no-token");
    project.set("DIGITALOCEAN_ACCESS_TOKEN", "");
    let run = project.run(&["up"]).exits(2);
    reads_as("no_token", &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn a_wrong_token_is_named_and_not_shown() {
    let mut project = small("wrong-token");
    let token = format!("dop_v1_{}", "0".repeat(64));
    project.set("DIGITALOCEAN_ACCESS_TOKEN", &token);
    let run = project.run(&["up", "-vv"]).exits(2);
    assert!(!run.stderr.contains(&token), "{}", run.stderr);
    reads_as("wrong_token", &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn a_file_and_an_environment_without_a_cluster_say_how_to_name_one() {
    let mut project = small("no-cluster");
    project.replace("deploy.yml", "cluster: todo-prod\n", "");
    project.set("KUBECONFIG", "");
    let run = project.run(&["up"]).exits(2);
    reads_as("no_cluster", &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn an_unknown_cluster_lists_those_that_there_are() {
    let project = small("unknown-cluster");
    project.replace("deploy.yml", "cluster: todo-prod", "cluster: todo-prd");
    let run = project.run(&["up"]).exits(2);
    reads_as("unknown_cluster", &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn an_unknown_registry_lists_those_that_there_are() {
    let project = small("unknown-registry");
    project.replace("deploy.yml", "registry: todo-app-registry", "registry: todo-app-regstry");
    let run = project.run(&["up"]).exits(2);
    reads_as("unknown_registry", &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn without_a_docker_engine_nothing_is_written() {
    let mut project = small("no-engine");
    project.set("DOCKER_HOST", "unix:///nowhere/docker.sock").set("BUILDKIT_HOST", "");
    // What only copies files is made without an Engine.
    project.replace("web/Dockerfile", "COPY www /www", "COPY www /www\nRUN true");
    let run = project.run(&["up"]).exits(2);
    reads_as("no_docker_engine", &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn a_dockerfile_that_fails_shows_its_step_and_its_last_lines() {
    let project = small("bad-dockerfile");
    project.replace("web/Dockerfile", "COPY www /www", "COPY www /www\nRUN echo the last words; exit 7");
    let run = project.run(&["up"]).exits(1);
    reads_as("dockerfile_that_fails", &project, &run);
}

#[test]
fn a_file_that_is_not_in_the_context_is_named() {
    let project = small("missing-copy");
    // An argument hides the path from the look that is taken before anything is contacted.
    project.replace("web/Dockerfile", "COPY www /www", "ARG DIR=nowhere\nCOPY $DIR /www");
    let run = project.run(&["up"]).exits(1);
    reads_as("file_not_in_the_context", &project, &run);
}

#[test]
fn a_command_that_the_image_lacks_is_named_within_the_deadline() {
    let project = small("bad-command");
    project.replace("k8s/web.yaml", "          ports:", "          command: [/app/server]\n          ports:");
    project.replace("k8s/web.yaml", "replicas: 2", "replicas: 1");
    let run = project.run(&["up"]).exits(1);
    reads_as("command_that_the_image_lacks", &project, &run);
}

#[test]
fn a_pod_that_never_gets_ready_shows_its_probe() {
    let project = small("never-ready");
    project.replace("k8s/web.yaml", "path: /, port: 8080", "path: /absent, port: 8080");
    project.replace("k8s/web.yaml", "replicas: 2", "replicas: 1");
    project.replace("deploy.yml", "deadline: 90s", "deadline: 30s");
    let run = project.run(&["up"]).exits(1);
    reads_as("pod_that_never_gets_ready", &project, &run);
}

#[test]
fn a_smoke_step_that_fails_says_what_was_expected_and_what_came() {
    let project = small("smoke-fails");
    project.replace("deploy.yml", "body: hello", "body: good morning");
    let run = project.run(&["up"]).exits(1);
    reads_as("smoke_step_that_fails", &project, &run);
}

#[test]
fn an_api_that_is_away_is_worth_a_retry() {
    let mut project = small("api-away");
    project.set("DIGITALOCEAN_API_URL", "http://127.0.0.1:9");
    let run = project.run(&["up"]).exits(3);
    reads_as("api_that_is_away", &project, &run);
    nothing_was_written(&project, &run);
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
    project.replace("k8s/web.yaml", "replicas: 2", "replicas: 2\n  replcas: 3");
    // The namespace has to be there for the server to be asked.
    project.sandbox.kubectl(&["create", "namespace", "refused-object"]);
    let run = project.run(&["up"]).exits(2);
    reads_as("object_that_the_server_refuses", &project, &run);
    let deployments = project.sandbox.objects(&["deployments", "--namespace", "refused-object"]);
    assert_eq!(deployments["items"].as_array().map(Vec::len), Some(0));
}
