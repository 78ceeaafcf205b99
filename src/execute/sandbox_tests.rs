//! Builds and pushes against real parts: a Docker Engine, a buildkitd, a registry with a token service.
//!
//! Run inside of the sandbox's environment: `eval "$(sandbox env)"; cargo test --lib sandbox_tests -- --ignored`.

#![expect(clippy::print_stdout, reason = "whoever runs these by hand wants to see the numbers")]

use super::build::build;
use super::delivery::Delivery;
use super::event::{EventKind, Events, ImageResult};
use super::images::ImageDoors;
use super::{Diagnosis, push};
use crate::config::Build;
use crate::desired::{Desired, DesiredImage, ImageSource};
use crate::docker::Builder;
use crate::error::FailureKind;
use crate::model::{Environment, Platform, Reference, Repository, Secret};
use crate::observe::images::survey;
use crate::registry::{Client, Hosts, Logins};
use std::collections::BTreeMap;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// The environment of the sandbox, without the builder that is not asked for.
fn environment(without: &str) -> Environment {
    Environment::new(std::env::vars_os().filter_map(|(name, value)| {
        let pair = (name.into_string().ok()?, value.into_string().ok()?);
        (pair.0 != without).then_some(pair)
    }))
}

/// The doors of the sandbox.
fn doors(environment: &Environment) -> ImageDoors {
    let folder = environment.get("SEAWAY_REGISTRY_CONFIG").expect("the sandbox's environment");
    let token = environment.get("DIGITALOCEAN_ACCESS_TOKEN").unwrap();
    let logins = Logins::default();
    logins.set("registry.digitalocean.com", token, Secret::new(token));
    let registry = Client::new(Hosts::new(Some(folder.into()), Vec::new()), logins);
    ImageDoors { registry, builder: Builder::new(environment), account: None }
}

/// An image that is built from this folder.
fn image(folder: &Path, name: &str) -> DesiredImage {
    let build = Build {
        args: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        secrets: BTreeMap::from([("password".to_owned(), Secret::new("hunter2-canary"))]),
        ..Build::of(folder.to_owned())
    };
    let registry = "registry.digitalocean.com".to_owned();
    DesiredImage {
        key: name.to_owned(),
        source: ImageSource::Build(build),
        repository: Repository { registry, path: format!("todo-app-registry/{name}") },
        tag: "v1".to_owned(),
        pin: true,
        supply: crate::desired::Supply::default(),
    }
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let full = folder.path().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, text).unwrap();
    }
    folder
}

/// A deploy of one image.
fn desired(image: &DesiredImage) -> Desired {
    Desired {
        application: "t".to_owned(),
        namespace: "t".to_owned(),
        images: vec![image.clone()],
        objects: Vec::new(),
        expose: None,
        rollout: crate::config::Rollout::default(),
        smoke: Vec::new(),
    }
}

/// Builds an image; the result, and the lines that were said.
async fn run(doors: &ImageDoors, image: &DesiredImage) -> (Result<ImageResult, Diagnosis>, Vec<String>) {
    let (events, mut received) = Events::channel();
    let (images, _) = survey(&desired(image), doors, &events).await.unwrap();
    let key = &images[&image.key].content_key;
    let result = build(Delivery {
        doors,
        image,
        content_key: key,
        operation: 0,
        events: &events,
        cancel: &CancellationToken::new(),
    })
    .await;
    drop(events);
    let mut lines = Vec::new();
    while let Some(event) = received.recv().await {
        match event.kind {
            EventKind::BuildLog { line, .. } => lines.push(line),
            EventKind::Progress { message, .. } => lines.push(format!("» {message}")),
            _ => {}
        }
    }
    (result, lines)
}

/// A Dockerfile that uses all that a build may ask for.
const DOCKERFILE: &str = "ARG BASE=busybox:1.35\nFROM ${BASE} AS first\nARG GREETING\n\
    RUN --mount=type=secret,id=password wc -c < /run/secrets/password > /length && echo \"$GREETING from the build\"\n\
    COPY . /app\nRUN ls -lR /app\nFROM busybox:1.35\nCOPY --from=first /length /app /\n";

/// The whole way with one builder: built, found again, nothing left of the secret, and a failure that is explained.
async fn the_whole_way(environment: Environment, name: &str) {
    let doors = doors(&environment);
    let unique = format!("{:?}", std::time::SystemTime::now());
    let folder = folder(&[
        ("Dockerfile", DOCKERFILE),
        (".dockerignore", "secret*\nDockerfile\n"),
        ("a/b.txt", &unique),
        ("secret.key", "never"),
    ]);
    std::os::unix::fs::symlink("a/b.txt", folder.path().join("link")).unwrap();
    let image = image(folder.path(), name);
    let (result, lines) = run(&doors, &image).await;
    let result = result.unwrap_or_else(|diagnosis| panic!("{diagnosis:#?}\n{lines:#?}"));
    let log = lines.join("\n");
    assert!(log.contains("hello from the build"), "{log}");
    assert!(log.contains("link -> a/b.txt") && !log.contains("secret.key"), "{log}");
    assert!(log.contains("» step "), "{log}");
    let (events, _received) = Events::channel();
    let (images, _) = survey(&desired(&image), &doors, &events).await.unwrap();
    assert_eq!(images[name].digest.as_ref(), Some(&result.digest), "the content key is a hit");
    let reused = push::reuse(&doors, &image, &result.digest, 0, &events, &CancellationToken::new()).await.unwrap();
    assert_eq!(reused.bytes_sent, 0);
    let manifest =
        doors.registry.platform_manifest(&image.repository.tagged("v1"), &Platform::default()).await.unwrap();
    assert_eq!(manifest.digest, result.digest);
    let config = doors.registry.read_blob(&image.repository, &manifest.read().unwrap().config).await.unwrap();
    assert!(!String::from_utf8_lossy(&config).contains("hunter2-canary"));
    // A second image of which only the last layer differs sends only that one.
    std::fs::write(folder.path().join("a/b.txt"), format!("{unique} again")).unwrap();
    let (again, lines) = run(&doors, &image).await;
    let again = again.unwrap_or_else(|diagnosis| panic!("{diagnosis:#?}\n{lines:#?}"));
    assert!(again.detail.starts_with("1 of "), "{}", again.detail);
    // A change that neither the size nor the time of the file shows.
    let file = folder.path().join("a/b.txt");
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("again", "AGAIN")).unwrap();
    std::fs::File::options().append(true).open(&file).unwrap().set_modified(before).unwrap();
    let (hidden, lines) = run(&doors, &image).await;
    let hidden = hidden.unwrap_or_else(|diagnosis| panic!("{diagnosis:#?}\n{lines:#?}"));
    assert!(hidden.digest != again.digest && hidden.detail.starts_with("1 of "), "{hidden:?}");
    // A change that the image does not see: nothing is sent, and the digest stays.
    std::fs::write(folder.path().join("secret.md"), "ignored").unwrap();
    let text = std::fs::read_to_string(folder.path().join("Dockerfile")).unwrap();
    std::fs::write(folder.path().join("Dockerfile"), format!("{text}# a remark\n")).unwrap();
    let (same, lines) = run(&doors, &image).await;
    let same = same.unwrap_or_else(|diagnosis| panic!("{diagnosis:#?}\n{lines:#?}"));
    assert_eq!((same.digest, same.bytes_sent), (hidden.digest, 0));
    assert!(same.detail.starts_with("0 of "), "{}", same.detail);
    println!(
        "{} {} sent {} bytes; then {} sent {}",
        result.digest, result.detail, result.bytes_sent, again.detail, again.bytes_sent
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn an_engine_builds_pushes_and_is_found_again() {
    the_whole_way(environment("BUILDKIT_HOST"), "engine-test").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn a_buildkitd_builds_pushes_and_is_found_again() {
    the_whole_way(environment("DOCKER_HOST"), "buildkit-test").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn a_large_base_is_sent_once() {
    let environment = environment("BUILDKIT_HOST");
    let doors = doors(&environment);
    let unique = format!("{:?}", std::time::SystemTime::now());
    let dockerfile = "FROM python:3.11-slim\nCOPY unique /unique\n";
    let folder = folder(&[("Dockerfile", dockerfile), ("unique", &unique)]);
    let image = image(folder.path(), "large-test");
    for _ in 0..2 {
        std::fs::write(folder.path().join("unique"), format!("{:?}", std::time::SystemTime::now())).unwrap();
        let start = tokio::time::Instant::now();
        let (result, lines) = run(&doors, &image).await;
        let result = result.unwrap_or_else(|diagnosis| panic!("{diagnosis:#?}\n{lines:#?}"));
        println!("{} sent {} bytes in {:?}", result.detail, result.bytes_sent, start.elapsed());
    }
}

/// The diagnosis of a Dockerfile that fails.
async fn failure(environment: &Environment, dockerfile: &str) -> String {
    let doors = doors(environment);
    let folder = folder(&[("Dockerfile", dockerfile)]);
    let mut image = image(folder.path(), "failing-test");
    image.key = "api".to_owned();
    let (events, _received) = Events::channel();
    let result = build(Delivery {
        doors: &doors,
        image: &image,
        content_key: "ck-never",
        operation: 0,
        events: &events,
        cancel: &CancellationToken::new(),
    })
    .await;
    let diagnosis = result.unwrap_err();
    let kind = diagnosis.failure.kind;
    let text = format!("{kind:?} {:?} {:?} {:?}", diagnosis.failure, diagnosis.chain, diagnosis.evidence);
    text.replace(&folder.path().display().to_string(), "")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn failures_name_the_instruction_its_line_and_its_last_lines() {
    for environment in [environment("BUILDKIT_HOST"), environment("DOCKER_HOST")] {
        for (dockerfile, wanted) in [
            (
                "FROM busybox:1.35\nRUN echo almost; exit 3\n",
                ["failed with exit code 3", "/Dockerfile:2", "\"almost\""],
            ),
            ("FROM busybox:1.35\nRUN true\nCOPY gone /x\n", ["no `gone`", "/Dockerfile:3", ".dockerignore"]),
            ("FROM busybox:1.35\nRUNN x\n", ["the Dockerfile has an error", "RUNN", "/Dockerfile:2"]),
            ("FROM busybox:0\nRUN true\n", ["a base image cannot be used", "busybox:0", "Configuration"]),
        ] {
            let text = failure(&environment, dockerfile).await;
            println!("{text}\n");
            assert!(wanted.iter().all(|wanted| text.contains(wanted)), "{wanted:?} in {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn a_stop_ends_a_build_within_a_second() {
    for environment in [environment("BUILDKIT_HOST"), environment("DOCKER_HOST")] {
        let doors = doors(&environment);
        let folder = folder(&[("Dockerfile", "FROM busybox:1.35\nRUN echo now; sleep 600\n")]);
        let image = image(folder.path(), "stop-test");
        let (events, mut received) = Events::channel();
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let watcher = tokio::spawn(async move {
            let begun = |kind: &EventKind| matches!(kind, EventKind::BuildLog { line, .. } if line == "now");
            while !begun(&received.recv().await.expect("the step begins").kind) {}
            stop.cancel();
            tokio::time::Instant::now()
        });
        let diagnosis = build(Delivery {
            doors: &doors,
            image: &image,
            content_key: "ck-never",
            operation: 0,
            events: &events,
            cancel: &cancel,
        })
        .await
        .unwrap_err();
        assert_eq!(diagnosis.failure.kind, FailureKind::Interrupted);
        println!("stopped after {:?}", watcher.await.unwrap().elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn a_mirror_comes_from_docker_hub_with_its_digest() {
    let doors = doors(&environment(""));
    let source = Reference::parse("redis:7").unwrap();
    let folder = folder(&[]);
    let image = DesiredImage { source: ImageSource::Mirror(source.clone()), ..image(folder.path(), "mirror-test") };
    let (events, _received) = Events::channel();
    let digest = doors.registry.platform_manifest(&source, &Platform::default()).await.unwrap().digest;
    let result = push::mirror(
        Delivery {
            doors: &doors,
            image: &image,
            content_key: "ck-m",
            operation: 0,
            events: &events,
            cancel: &CancellationToken::new(),
        },
        &digest,
    )
    .await
    .unwrap();
    assert_eq!(result.digest, digest);
    println!("{} {} bytes", result.detail, result.bytes_sent);
}

/// Adds a fault to the proxy in front of the registry, for one repository and one time; its id.
async fn fault(http: &reqwest::Client, control: &str, repository: &str, rule: serde_json::Value) -> String {
    let mut body = serde_json::json!({
        "target": "registry", "method": "PUT", "path": format!("{repository}/blobs/uploads/"), "times": 1,
    });
    body.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    let answer = http.post(format!("{control}/faults")).json(&body).send().await.unwrap();
    let answer: serde_json::Value = answer.json().await.unwrap();
    answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Whether a fault has happened, now that it is not wanted any more.
async fn has_hit(http: &reqwest::Client, control: &str, id: &str) -> bool {
    let rules: serde_json::Value = http.get(format!("{control}/faults")).send().await.unwrap().json().await.unwrap();
    let rules = rules.as_array().cloned().or_else(|| rules["faults"].as_array().cloned()).unwrap_or_default();
    let hit = rules.iter().any(|rule| rule["id"] == id && rule["hits"].as_u64() > Some(0));
    http.delete(format!("{control}/faults/{id}")).send().await.unwrap();
    hit
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn faults_in_the_middle_of_a_put_end_in_an_equal_digest() {
    let environment = environment("");
    let control = environment.get("SANDBOX_CONTROL_URL").unwrap().to_owned();
    let http = crate::http::client(&crate::http::Recipe::default()).unwrap();
    let config = folder(&[
        ("registry.digitalocean.com/hosts.toml", "[host.\"http://127.77.1.1:5010\"]\n"),
        ("docker.io/hosts.toml", "server = \"http://127.77.1.1:5002\"\n"),
    ]);
    let token = environment.get("DIGITALOCEAN_ACCESS_TOKEN").unwrap();
    // Each round has a client of its own: one that remembers where blobs are would mount them.
    let doors = || {
        let logins = Logins::default();
        logins.set("registry.digitalocean.com", token, Secret::new(token));
        let registry = Client::new(Hosts::new(Some(config.path().to_owned()), Vec::new()), logins);
        ImageDoors { registry, builder: Builder::new(&environment), account: None }
    };
    let source = Reference::parse("redis:7").unwrap();
    let digest = doors().registry.platform_manifest(&source, &Platform::default()).await.unwrap().digest;
    let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    for (number, rule) in [
        serde_json::json!({ "cut_request_after": 20_000_000, "skip": 0 }),
        serde_json::json!({ "status": 503, "retry_after": 1 }),
        serde_json::json!({ "status": 401 }),
    ]
    .into_iter()
    .enumerate()
    {
        let (doors, name) = (doors(), format!("fault-test-{unique}-{number}"));
        let root = folder(&[]);
        let image = DesiredImage { source: ImageSource::Mirror(source.clone()), ..image(root.path(), &name) };
        let id = fault(&http, &control, &name, rule.clone()).await;
        let (events, _received) = Events::channel();
        let result = push::mirror(
            Delivery {
                doors: &doors,
                image: &image,
                content_key: "ck-f",
                operation: 0,
                events: &events,
                cancel: &CancellationToken::new(),
            },
            &digest,
        )
        .await;
        assert!(has_hit(&http, &control, &id).await, "{rule} has not happened");
        assert_eq!(result.unwrap_or_else(|diagnosis| panic!("{rule}: {diagnosis:#?}")).digest, digest);
        let back =
            doors.registry.platform_manifest(&image.repository.tagged("v1"), &Platform::default()).await.unwrap();
        assert_eq!(back.digest, digest);
        for blob in back.read().unwrap().blobs() {
            let mut stream = doors.registry.open_blob(&image.repository, &blob.digest).await.unwrap();
            let mut bytes = Vec::new();
            while let Some(piece) = futures::StreamExt::next(&mut stream).await {
                bytes.extend_from_slice(&piece.unwrap());
            }
            assert_eq!(crate::model::Digest::of(&bytes), blob.digest);
        }
    }
}

#[tokio::test]
async fn without_an_engine_it_is_said_what_to_do() {
    let environment = Environment::new([("DOCKER_HOST".to_owned(), "unix:///nowhere/docker.sock".to_owned())]);
    let fake = crate::registry::tests::fake::Fake::start().await;
    let doors =
        ImageDoors { registry: crate::registry::tests::client(), builder: Builder::new(&environment), account: None };
    let folder = folder(&[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\nRUN [\"/x\"]\n")]);
    let image = DesiredImage { repository: fake.repository("shop/api"), ..image(folder.path(), "api") };
    let (result, _) = run(&doors, &image).await;
    let text = crate::error::render(&result.unwrap_err().failure);
    insta::assert_snapshot!(text, @r"
    error: no Docker Engine answers at unix:///nowhere/docker.sock
      cause: image `api` has to be built there: `RUN` at Dockerfile:3 needs a builder
      cause: No such file or directory (os error 2)
      help: start Docker, or say where it listens: `DOCKER_HOST` (unix:// or tcp://), `DOCKER_CONTEXT`, or `BUILDKIT_HOST` of a buildkitd
    ");
}
