//! Docker 29 in both of its stores: what Seaway builds with it, takes out of it, and what it pulls back.

use crate::cancel::interrupt;
use crate::common::{Cramped, Docker, Project, build_noise, small, succeed};
use crate::failures::{nothing_was_written, reads_as};
use crate::sources::{from, only_image};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The smallest application, built and pushed with one of the Engines alone.
fn at(docker: &Docker, mut project: Project) -> Project {
    project.set("DOCKER_HOST", &docker.host).set("BUILDKIT_HOST", "");
    project
}

/// Pushes; the image in the result, and standard error.
#[track_caller]
fn push(project: &Project, flags: &[&str]) -> (Value, String) {
    let run = project.run(&[&["push", "--output", "json"], flags].concat()).exits(0);
    (only_image(&run.stdout), run.stderr)
}

/// A text of an image in the result.
#[track_caller]
fn text<'a>(image: &'a Value, path: &str) -> &'a str {
    image.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no `{path}` in {image:#}"))
}

/// Pulls what was pushed, sees that the digest stayed, and runs a command in it; what that prints.
#[track_caller]
fn pulled_back(docker: &Docker, project: &Project, image: &Value, command: &[&str]) -> String {
    let reference = format!("{}/todo-app-registry/{}@{}", docker.registry, project.namespace, text(image, "/digest"));
    docker.run(&["pull", "--quiet", &reference]);
    let inspected: Value =
        serde_json::from_str(&docker.run(&["image", "inspect", &reference])).expect("docker prints JSON");
    assert_eq!(inspected[0]["RepoDigests"], serde_json::json!([reference]));
    if let Some(descriptor) = inspected[0].get("Descriptor") {
        assert_eq!(descriptor["digest"], image["digest"], "{inspected:#}");
    }
    docker.run(&[&["run", "--rm", "--network=none", &reference], command].concat())
}

/// A Dockerfile that needs a builder, a secret and some time.
const WITH_SECRET: &str = "FROM busybox:1.35
COPY www /www
RUN --mount=type=secret,id=word for step in 1 2 3; do echo step $step; done; wc -c < /run/secrets/word > /length
";

/// Gives the project a Dockerfile that needs a builder and a secret.
fn with_secret(project: &mut Project) {
    from(project, "./web", "{ build: { context: ./web, secrets: { word: \"${WORD}\" } } }");
    project.set("WORD", "kept-to-itself").renew("web/www/index.html").write("web/Dockerfile", WITH_SECRET);
}

#[test]
fn a_build_with_containerds_store_goes_over_the_session() {
    let mut project = small("docker-29");
    let docker = Docker::containerd_29(project.sandbox);
    with_secret(&mut project);
    let mut project = at(&docker, project);

    let (built, log) = push(&project, &["-v"]);
    assert_eq!((text(&built, "/state"), text(&built, "/source/kind")), ("built", "buildkit-session"));
    assert!(text(&built, "/source/reason").contains("Docker Engine 29.0 (containerd store)"), "{built:#}");
    assert!(log.contains("| step 3"), "the build is shown while it runs:\n{log}");
    assert!(!log.contains("kept-to-itself"), "{log}");
    let page = ["cat", "/www/index.html", "/length"];
    let told = pulled_back(&docker, &project, &built, &page);
    assert!(told.contains("hello from docker-29") && told.ends_with("14\n"), "{told}");
    assert_eq!(push(&project, &[]).0["state"], "reused");
    let (anew, log) = push(&project, &["--no-cache"]);
    assert_eq!(anew["state"], "built", "{log}");

    // Of the same layers, made smaller, and over the Engine's socket as a buildkitd is spoken to.
    project.replace("deploy.yml", "\" } } }", "\" } }, compression: zstd }");
    project.set("BUILDKIT_HOST", &docker.host).renew("web/www/index.html");
    let (small, log) = push(&project, &[]);
    assert_eq!((text(&small, "/state"), text(&small, "/source/kind")), ("built", "buildkit-session"), "{log}");
    assert!(pulled_back(&docker, &project, &small, &page).contains("hello from docker-29"));

    // What is copied last is laid on what was built, over each of the Engine's two ways to BuildKit.
    project.replace("web/Dockerfile", "> /length\n", "> /length\nCOPY www/index.html /copied/\n");
    for host in [docker.host.as_str(), ""] {
        project.set("BUILDKIT_HOST", host).renew("web/www/index.html");
        let (laid, log) = push(&project, &[]);
        assert_eq!(text(&laid, "/source/kind"), "buildkit-and-registry", "{log}");
        let told = pulled_back(&docker, &project, &laid, &["cat", "/copied/index.html", "/length"]);
        assert!(told.contains("hello from docker-29") && told.ends_with("14\n"), "{told}");
    }
}

/// Pushes where the Engine's own folder cannot be read, as where it runs elsewhere; the image in the result.
#[track_caller]
fn push_with_storage_hidden(project: &Project) -> Value {
    let inner = project.command(&["push", "--output", "json"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", "mount -t tmpfs none \"$1\"; shift; exec \"$@\"", "sh"]);
    command.arg(Path::new(project.sandbox.variable("SANDBOX_STATE")).join("layers29/data"));
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(project.path()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    only_image(&Project::finish(&mut command).exits(0).stdout)
}

#[test]
fn a_build_with_layers_is_read_or_saved() {
    let mut project = small("docker-29-layers");
    let docker = Docker::layers_29(project.sandbox);
    with_secret(&mut project);
    let project = at(&docker, project);
    let (read, log) = push(&project, &[]);
    assert_eq!((text(&read, "/state"), text(&read, "/source/kind")), ("built", "docker-storage"), "{log}");
    project.renew("web/www/index.html");
    let saved = push_with_storage_hidden(&project);
    assert_eq!((text(&saved, "/state"), text(&saved, "/source/kind")), ("built", "docker-save"));
    for image in [&read, &saved] {
        let told = pulled_back(&docker, &project, image, &["cat", "/www/index.html", "/length"]);
        assert!(told.contains("hello from docker-29-layers") && told.ends_with("14\n"), "{told}");
    }
    assert!(!docker.run(&["images"]).contains("seaway-build"), "the name of the build is gone");
}

#[test]
fn a_build_that_fails_and_one_that_is_stopped_end_in_the_engine_too() {
    let project = small("docker-29-fails");
    let docker = Docker::containerd_29(project.sandbox);
    let project = at(&docker, project);
    project.renew("web/www/index.html");
    project.write("web/Dockerfile", "FROM busybox:1.35\nCOPY www /www\nRUN echo oh no; exit 3\n");
    let run = project.run(&["push"]).exits(1);
    run.says("`RUN echo oh no; exit 3` failed with exit code 3").says("./web/Dockerfile:3");

    let sleeping = format!("sleep 6{}", std::process::id());
    project.write("web/Dockerfile", &format!("FROM busybox:1.35\nCOPY www /www\nRUN echo it begins; {sleeping}\n"));
    interrupt(&project, "push", |log| log.contains("| it begins"));
    let begin = Instant::now();
    while runs(&sleeping) {
        assert!(begin.elapsed() < Duration::from_mins(1), "the Engine goes on with the build");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a process of these words runs on this machine, in whichever namespace.
fn runs(words: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).replace('\0', " ").trim() == words)
}

#[test]
fn images_come_out_of_either_store_and_stay_what_they_are() {
    for (store, kind) in [(Docker::containerd_29 as fn(&_) -> _, "docker-save"), (Docker::layers_29, "docker-storage")]
    {
        let project = small("docker-29-takes");
        let docker = store(project.sandbox);
        let project = at(&docker, project);
        project.renew("web/www/index.html");
        let context = project.file("web");
        docker.run(&["build", "--quiet", "--tag", "takes:dev", context.to_str().expect("a path")]);
        from(&project, "./web", "{ engine: \"takes:dev\" }");
        let (pushed, log) = push(&project, &[]);
        assert_eq!((text(&pushed, "/state"), text(&pushed, "/source/kind")), ("pushed", kind), "{log}");
        assert_eq!(push(&project, &[]).0["state"], "reused");
        docker.run(&["image", "rm", "--force", "takes:dev"]);
        let page = pulled_back(&docker, &project, &pushed, &["cat", "/www/index.html"]);
        assert!(page.contains("hello from docker-29-takes"), "{page}");
    }
}

#[test]
fn an_image_for_several_platforms_comes_out_as_the_one_that_is_meant() {
    let project = small("docker-29-platforms");
    let docker = Docker::containerd_29(project.sandbox);
    let project = at(&docker, project);
    let crane = |arguments: &[&str]| succeed(project.sandbox.command().arg("crane").args(arguments)).trim().to_owned();
    let name = |tag: &str| format!("{}/todo-app-registry/docker-29-several:{tag}", docker.registry);
    let (amd64, arm64, both) = (name("amd64"), name("arm64"), name("both"));
    let hub = docker.registry.replace(":5000", ":5002");
    crane(&["copy", "--platform=linux/amd64", &format!("{hub}/library/busybox:1.35"), &amd64]);
    crane(&["mutate", &amd64, "--set-platform", "linux/arm64", "--tag", &arm64]);
    crane(&["index", "append", "--manifest", &amd64, "--manifest", &arm64, "--tag", &both]);
    // What a run before this one may have pulled is gone with the name.
    docker.run(&["pull", "--quiet", &both]);
    docker.run(&["image", "rm", "--force", &both]);
    docker.run(&["pull", "--quiet", &both]);

    let source = format!("{{ engine: \"{both}\" }}");
    from(&project, "./web", &source);
    let (pushed, log) = push(&project, &[]);
    assert_eq!(text(&pushed, "/digest"), crane(&["digest", &amd64]), "{log}");

    // The other one is named in the index, and not there yet.
    let other = source.replace(" }", ", platforms: [linux/arm64] }");
    from(&project, &source, &other);
    let run = project.run(&["push"]).exits(2);
    run.says("the image is for linux/amd64, and linux/arm64 was asked for");
    docker.run(&["pull", "--quiet", "--platform=linux/arm64", &both]);
    let (pushed, log) = push(&project, &[]);
    assert_eq!(text(&pushed, "/digest"), crane(&["digest", &arm64]), "{log}");
    docker.run(&["image", "rm", "--force", &both]);
}

/// Pushes what does not fit through an Engine; what a person reads.
#[track_caller]
fn does_not_fit(mut project: Project, engine: &Cramped, bytes: usize, text: &str) {
    build_noise(&mut project, engine, bytes);
    let run = project.run(&["push"]).exits(3);
    reads_as(text, &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn a_full_disk_is_told_as_such_when_an_image_is_built() {
    let project = small("docker-29-full");
    let engine = Cramped::containerd_29(&project);
    does_not_fit(project, &engine, 40 << 20, "docker_29_whose_disk_is_full");
}

#[test]
fn a_full_disk_is_told_as_such_when_a_built_image_comes_over_the_session() {
    let project = small("docker-29-full-export");
    let engine = Cramped::containerd_29(&project);
    does_not_fit(project, &engine, 9 << 20, "docker_29_whose_disk_is_full_when_it_exports");
}

#[test]
fn a_full_disk_is_told_as_such_when_a_built_image_is_saved() {
    let project = small("docker-29-full-save");
    let engine = Cramped::layers_29(&project);
    does_not_fit(project, &engine, 9 << 20, "docker_29_whose_disk_is_full_when_it_saves");
}
