//! A whole deploy.yml, from its text on the disk to what it means.

use super::needs::Needs;
use super::{Config, Diagnostics, Image, ImageSource, Registry, Request, Template, load};
use crate::model::{Environment, GitState, Platform, RunContext};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A deploy.yml that uses most of what is understood.
const DEPLOY: &str = r#"
name: todo
namespace: todo-${STAGE:-dev}
cluster: { name: todo-prod }
registry: { host: ghcr.io, repository: /acme/todo/, username: bot, password: "${PASSWORD}", pull_secret: none }
images:
  backend: ./backend
  frontend:
    build: { context: frontend, dockerfile: docker/Prod, target: run, args: { N: 1, B: true, SHA: "${git.sha}" }, secrets: { t: "${PASSWORD}" } }
    platforms: [linux/arm64/v8]
    pin: false
  cache: { mirror: "redis:7" }
manifests:
  - k8s
  - { path: more.yaml, substitute: [STAGE, REPLICAS, images.cache] }
secrets:
  db: { url: "postgres://u:${PASSWORD}@h/d", port: 5432 }
expose: { gateway: edge/public, host: todo.example.com }
rollout: { deadline: 1m30s }
smoke:
  - post: /api/${git.branch}
    headers: { X-Run: "${run.id}" }
    json: { title: "smoke ${run.id}", deep: [{ n: 1, t: "$$" }] }
    expect: { status: "201", body: "${run.id}", json: { $.id: 7, "$.t": "${STAGE:-dev}" }, within: 500ms }
    save: { task: $.id }
  - get: /api/${smoke.task}
environments:
  prod: { namespace: todo-prod, rollout: { settle: 0s }, images: { backend: ~ }, smoke: ~ }
"#;

/// A folder that holds [`DEPLOY`] and all it names.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("deploy.yml", DEPLOY),
        ("backend/Dockerfile", ""),
        ("frontend/docker/Prod", ""),
        ("k8s/b.yml", "apiVersion: batch/v1\nkind: Job\nmetadata: { name: b }\nspec: { suspend: yes, mode: 0644 }\n"),
        (
            "k8s/a.json",
            r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"}}]}"#,
        ),
        (
            "more.yaml",
            "---\n# first\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: { name: c }\nspec:\n  replicas: ${REPLICAS}\n  \
             x: [\"${REPLICAS}\", \"${STAGE:-dev} ${OTHER}\", \"${images.cache}:1\", \"$$ $${STAGE}\"]\n",
        ),
    ];
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// Loads the deploy.yml of a folder.
fn read(folder: &Path, overlay: Option<&str>, needs: Needs, pairs: &[(&str, &str)]) -> Result<Config, Diagnostics> {
    let variables = Environment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let git = GitState { sha: "a".repeat(40), branch: Some("main".to_owned()), dirty: false };
    let run = RunContext { run_id: "42-1".to_owned(), git: Some(git), ..RunContext::default() };
    load(&Request { path: &folder.join("deploy.yml"), overlay, variables: &variables, run: &run, needs })
}

/// The variables that [`DEPLOY`] wants.
const VARIABLES: [(&str, &str); 2] = [("PASSWORD", "hunter2"), ("REPLICAS", "3")];

#[test]
fn a_file_means_what_it_says() {
    let folder = folder();
    let config = read(folder.path(), None, Needs::ALL, &VARIABLES).unwrap();
    assert_eq!((config.name.as_str(), config.namespace.as_str()), ("todo", "todo-dev"));
    assert_eq!(config.cluster.as_deref(), Some("todo-prod"));
    let expose = config.expose.unwrap();
    assert_eq!((expose.kind.as_str(), expose.namespace.as_str(), expose.name.as_str()), ("Gateway", "edge", "public"));
    assert_eq!(expose.host.as_deref(), Some("todo.example.com"));
    assert_eq!((config.rollout.deadline, config.rollout.settle), (Duration::from_secs(90), Duration::from_secs(5)));
    assert_eq!(config.secrets["db"]["url"].expose(), "postgres://u:hunter2@h/d");
    assert_eq!(config.secrets["db"]["port"].expose(), "5432");
    let Some(Registry::Other { host, repository, login }) = config.registry else { panic!("a registry") };
    assert_eq!((host.as_str(), repository.as_str()), ("ghcr.io", "acme/todo"));
    let (user, password) = login.unwrap();
    assert_eq!((user.as_str(), password.expose()), ("bot", "hunter2"));
}

#[test]
fn images_are_builds_and_mirrors() {
    let folder = folder();
    let config = read(folder.path(), None, Needs::ALL, &VARIABLES).unwrap();
    let [backend, frontend, cache] = config.images.as_slice() else { panic!("three images") };
    let Image { source: ImageSource::Build(build), pin: true, .. } = backend else { panic!("a build") };
    assert_eq!(build.dockerfile, folder.path().join("./backend/Dockerfile"));
    assert_eq!(build.platform, Platform::default());
    let Image { source: ImageSource::Build(build), pin: false, .. } = frontend else { panic!("a build") };
    assert_eq!(build.context, folder.path().join("frontend"));
    assert_eq!(build.dockerfile, folder.path().join("frontend/docker/Prod"));
    assert_eq!(build.target.as_deref(), Some("run"));
    assert_eq!(build.args["SHA"], "a".repeat(40));
    assert_eq!((build.args["N"].as_str(), build.args["B"].as_str()), ("1", "true"));
    assert_eq!(build.secrets["t"].expose(), "hunter2");
    assert_eq!(build.platform.to_string(), "linux/arm64/v8");
    let ImageSource::Mirror(reference) = &cache.source else { panic!("a mirror") };
    assert_eq!(reference.to_string(), "docker.io/library/redis:7");
}

#[test]
fn manifests_are_read_like_kubectl_does_and_filled_where_asked() {
    let folder = folder();
    let config = read(folder.path(), None, Needs::ALL, &VARIABLES).unwrap();
    let [service, job, deployment] = config.manifests.as_slice() else { panic!("three objects") };
    assert_eq!(service.object["kind"], "Service");
    assert_eq!(job.object["spec"], json!({ "suspend": true, "mode": 420 }));
    assert_eq!((deployment.file.as_path(), deployment.line), (folder.path().join("more.yaml").as_path(), 4));
    let x = json!(["3", "dev ${OTHER}", "ghcr.io/acme/todo/cache:1", "$$ ${STAGE}"]);
    assert_eq!(deployment.object["spec"], json!({ "replicas": 3, "x": x }));
}

#[test]
fn smoke_steps_keep_what_only_the_run_knows() {
    let folder = folder();
    let config = read(folder.path(), None, Needs::ALL, &VARIABLES).unwrap();
    let [post, get] = config.smoke.as_slice() else { panic!("two steps") };
    assert_eq!((post.method.as_str(), &post.path), ("POST", &Template("/api/main".to_owned())));
    assert_eq!(post.json, Some(json!({ "title": "smoke 42-1", "deep": [{ "n": 1, "t": "$" }] })));
    assert_eq!(post.headers["X-Run"], Template("42-1".to_owned()));
    assert_eq!((post.expect.status, post.expect.within), (Some(201), Some(Duration::from_millis(500))));
    assert_eq!(post.expect.json["$.id"], json!(7));
    assert_eq!(post.expect.json["$.t"], json!("dev"));
    assert_eq!(post.save["task"], "$.id");
    assert_eq!((get.path.0.as_str(), get.line), ("/api/${smoke.task}", DEPLOY.lines().count() - 2));
}

#[test]
fn an_overlay_lies_over_the_rest() {
    let config = read(folder().path(), Some("prod"), Needs::ALL, &VARIABLES).unwrap();
    assert_eq!(config.namespace, "todo-prod");
    assert_eq!((config.rollout.deadline, config.rollout.settle), (Duration::from_secs(90), Duration::ZERO));
    assert_eq!(config.images.len(), 2);
    assert!(config.smoke.is_empty());
}

#[test]
fn a_verb_wants_only_what_it_uses() {
    let folder = folder();
    let config = read(folder.path(), None, Needs::DOWN, &VARIABLES[1..]).unwrap();
    assert!(config.secrets["db"].is_empty());
    assert_eq!(config.manifests.len(), 3);
    std::fs::remove_dir_all(folder.path().join("k8s")).unwrap();
    let config = read(folder.path(), None, Needs::PUSH, &VARIABLES[..1]).unwrap();
    assert_eq!((config.images.len(), config.manifests.len(), config.smoke.len()), (3, 0, 0));
    let problems = read(folder.path(), None, Needs::PUSH, &[]).unwrap_err();
    assert_eq!(problems.list().len(), 2, "{}", problems.render(false));
}

#[test]
fn a_value_is_in_no_debug_output() {
    let config = read(folder().path(), None, Needs::ALL, &VARIABLES).unwrap();
    let mut text = String::new();
    write!(text, "{config:?}").unwrap();
    assert!(!text.contains("hunter2"));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 200, ..proptest::test_runner::Config::default() })]

    /// Whatever is cut out of the file or put into it, there is an answer, and it is not a panic.
    #[test]
    fn no_file_makes_it_panic(at in 0..DEPLOY.len(), cut in 0usize..30, put in "[ \n:{}\\[\\]\"'&*<$a0ä|>-]{0,6}") {
        let folder = tempfile::tempdir().unwrap();
        let end = (at + cut).min(DEPLOY.len());
        let text = format!("{}{put}{}", &DEPLOY[..at], &DEPLOY[end..]);
        std::fs::write(folder.path().join("deploy.yml"), text).unwrap();
        let problems = read(folder.path(), Some("prod"), Needs::ALL, &VARIABLES);
        proptest::prop_assert!(!problems.unwrap_err().render(true).is_empty());
    }
}
