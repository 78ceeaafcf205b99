//! Images that are assembled in the registry equal those that a builder makes of the same Dockerfile: the file trees, and
//! what the configuration says.

mod cases;
mod flat;

use crate::common::{Project, Sandbox, output, pull, succeed};
use cases::{CASES, Case, Item};
use flat::Image;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

/// Writes the context of a case.
fn write(case: &Case, folder: &Path) {
    let full = |path: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        path
    };
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    fs::create_dir_all(folder).expect("a folder");
    for item in case.items {
        match item {
            Item::File(path, content, mode) => {
                fs::write(full(path), content).expect("a file");
                set(&full(path), *mode);
            }
            Item::Folder(path, mode) => {
                fs::create_dir_all(full(path)).expect("a folder");
                set(&full(path), *mode);
            }
            Item::Link(path, target) => symlink(target, full(path)).expect("a link"),
            Item::Second(path, first) => fs::hard_link(folder.join(first), full(path)).expect("a second name"),
        }
    }
    fs::write(folder.join("Dockerfile"), case.dockerfile).expect("a file");
}

/// Assembles all cases in one run, without any builder to turn to; the references of the images.
fn assemble(project: &mut Project) -> Vec<String> {
    let mut deploy = String::from("name: equality\nregistry: todo-app-registry\nimages:\n");
    for case in CASES {
        let name = case.name;
        write(case, &project.file(name));
        writeln!(deploy, "  equal-{name}: ./{name}").expect("memory");
    }
    project.write("deploy.yml", &deploy);
    project.set("DOCKER_HOST", "unix:///no/engine.sock").set("BUILDKIT_HOST", "");
    let run = project.run(&["push", "--output", "json"]).exits(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let image = |case: &Case| {
        let images = result["images"].as_array().expect("images");
        let image = images.iter().find(|image| image["name"] == format!("equal-{}", case.name));
        let digest = image.and_then(|image| image["digest"].as_str()).expect("a digest");
        format!("registry.digitalocean.com/todo-app-registry/equal-{}@{digest}", case.name)
    };
    CASES.iter().map(image).collect()
}

/// Debian's client, which is of the Engine's version and speaks BuildKit by itself; newer ones want a plug-in for that.
const DOCKER: &str = "/usr/bin/docker";

/// Has the Engine build a case, and takes the image out of it.
fn build(sandbox: &Sandbox, project: &Project, case: &Case) -> Image {
    let host = sandbox.variable("DOCKER_HOST");
    let tag = format!("seaway-equal-{}:test", case.name);
    let mut docker = Command::new(DOCKER);
    docker.env("DOCKER_HOST", host).env("DOCKER_BUILDKIT", "1").args(["build", "--quiet", "--tag", &tag]);
    let built = output(docker.arg(project.file(case.name)));
    assert!(built.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&built.stderr));
    let folder = tempfile::tempdir().expect("a folder");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--quiet", "--src-daemon-host", host, &format!("docker-daemon:{tag}")]);
    succeed(skopeo.arg(format!("dir:{}", folder.path().display())));
    succeed(Command::new(DOCKER).env("DOCKER_HOST", host).args(["image", "rm", "--force", &tag]));
    Image::read(folder.path())
}

#[test]
fn what_is_assembled_equals_what_is_built() {
    let mut project = Project::new("equality");
    let references = assemble(&mut project);
    let mut differences = Vec::new();
    for (case, reference) in CASES.iter().zip(&references) {
        let ours = Image::read(pull(project.sandbox, reference).folder.path());
        let theirs = build(project.sandbox, &project, case);
        let lines = ours.differences(&theirs);
        if !lines.is_empty() {
            differences.push(format!("{}:\n  {}\n", case.name, lines.join("\n  ")));
        }
    }
    assert!(differences.is_empty(), "ours < > theirs\n{}", differences.concat());
}
