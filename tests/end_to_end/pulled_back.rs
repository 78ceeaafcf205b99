//! Whatever an image comes from, skopeo, crane, Docker and containerd pull it back with one digest, and it runs.

use crate::common::pull::{pull_with_crane, run_with_containerd};
use crate::common::{Docker, Project, pull, small, succeed};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Pushes where the folder of Debian's Engine cannot be read, as where it runs elsewhere; the images in the result.
#[track_caller]
fn push_with_storage_hidden(project: &Project) -> Vec<Value> {
    let inner = project.command(&["push", "--output", "json"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", "mount -t tmpfs none \"$1\"; shift; exec \"$@\"", "sh"]);
    command.arg(Path::new(project.sandbox.variable("SANDBOX_STATE")).join("engine/data"));
    command.arg(inner.get_program()).args(inner.get_args()).current_dir(project.path()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let run = Project::finish(&mut command).exits(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    result["images"].as_array().expect("images").clone()
}

/// What all of these images print.
const PAGE: &[&str] = &["cat", "/www/index.html"];

#[test]
fn an_image_of_any_source_is_pulled_back_by_everybody_and_runs() {
    let project = small("back");
    let (sandbox, docker) = (project.sandbox, Docker::debian(project.sandbox));
    project.renew("web/www/index.html");
    let page = std::fs::read_to_string(project.file("web/www/index.html")).expect("a page");
    // One that needs a builder, one that needs none, one of the Engine's, and a layout.
    project.write("run/Dockerfile", "FROM busybox:1.35\nCOPY www /www\nRUN : > /was-run\n");
    project.write("run/www/index.html", &page);
    let context = project.file("web");
    docker.run(&["build", "--quiet", "--tag", "back:dev", context.to_str().expect("a path")]);
    let layout = format!("oci:{}:latest", project.file("layout").display());
    let mut skopeo = Command::new("skopeo");
    succeed(skopeo.args(["copy", "--quiet", "--src-daemon-host", &docker.host, "docker-daemon:back:dev", &layout]));
    let kinds = [
        ("back-a", "./run", "buildkit-session"),
        ("back-b", "./web", "registry"),
        ("back-c", "{ engine: \"back:dev\" }", "docker-save"),
        ("back-d", "{ layout: layout }", "layout"),
    ];
    let images: Vec<String> = kinds.iter().map(|(name, source, _)| format!("  {name}: {source}\n")).collect();
    project.write("deploy.yml", &format!("name: back\nregistry: todo-app-registry\nimages:\n{}", images.concat()));
    let pushed = push_with_storage_hidden(&project);
    docker.run(&["image", "rm", "--force", "back:dev"]);

    for (name, _, kind) in kinds {
        let image = pushed.iter().find(|image| image["name"] == name).unwrap_or_else(|| panic!("{pushed:#?}"));
        let (state, found) = (&image["state"], &image["source"]["kind"]);
        assert!(["pushed", "built"].contains(&state.as_str().expect("a state")) && found == kind, "{image:#}");
        let digest = image["digest"].as_str().expect("a digest");
        let reference = format!("registry.digitalocean.com/todo-app-registry/{name}@{digest}");
        assert_eq!(pull(sandbox, &reference).digests, [digest, digest], "{name}: skopeo, and crane's word");
        assert_eq!(pull_with_crane(sandbox, &reference), digest, "{name}: crane");
        let (by_containerd, said) = run_with_containerd(sandbox, "back", &reference, PAGE);
        assert_eq!((by_containerd.as_str(), said.as_str()), (digest, page.as_str()), "{name}: containerd");
        let here = reference.replace("registry.digitalocean.com", &docker.registry);
        docker.run(&["pull", "--quiet", &here]);
        let known = docker.run(&["image", "inspect", "--format", "{{ json .RepoDigests }}", &here]);
        assert!(known.contains(&here), "{name}: {known}");
        assert_eq!(docker.run(&[&["run", "--rm", "--network=none", &here], PAGE].concat()), page, "{name}: Docker");
        docker.run(&["image", "rm", "--force", &here]);
    }
}
