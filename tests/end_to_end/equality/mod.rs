//! Images that are assembled in the registry equal those that a builder makes of the same Dockerfile: the file trees, and
//! what the configuration says.

mod cases;
mod flat;
mod laid;

use crate::common::{Project, copy_out, output, succeed};
use cases::{CASES, Case, Item, UNABLE};
use flat::Image;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

/// Sets an extended attribute.
fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    let script = "import json, os, sys; os.setxattr(sys.argv[1], sys.argv[2], bytes(json.loads(sys.argv[3])))";
    succeed(Command::new("python3").args(["-c", script]).arg(path).args([name, &format!("{value:?}")]));
}

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
            Item::Capability(path, value) => {
                set_attribute(&full(path), "security.capability", value);
            }
            Item::Second(path, first) => fs::hard_link(folder.join(first), full(path)).expect("a second name"),
            Item::Archive(path, member) => {
                let mut archive = tar::Builder::new(fs::File::create(full(path)).expect("a file"));
                let mut header = tar::Header::new_ustar();
                header.set_mode(0o640);
                archive.append_data(&mut header, member, std::io::empty()).expect("a member");
                archive.finish().expect("an archive");
            }
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
    let run = project.run(&["push", "--no-cache", "--output", "json"]).exits(0);
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

/// What a case came to.
type Outcome = Result<Image, String>;

/// Has Debian's Engine build a case, and takes the image out of it.
fn build_with_engine(project: &Project, case: &Case) -> Outcome {
    let host = project.sandbox.variable("DOCKER_HOST");
    let tag = format!("seaway-equal-{}:test", case.name);
    let mut docker = Command::new(DOCKER);
    docker.env("DOCKER_HOST", host).env("DOCKER_BUILDKIT", "1").args(["build", "--quiet", "--tag", &tag]);
    run(docker.arg(project.file(case.name)))?;
    let folder = tempfile::tempdir().expect("a folder");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["copy", "--quiet", "--src-daemon-host", host, &format!("docker-daemon:{tag}")]);
    succeed(skopeo.arg(format!("dir:{}", folder.path().display())));
    succeed(Command::new(DOCKER).env("DOCKER_HOST", host).args(["image", "rm", "--force", &tag]));
    Ok(Image::read(folder.path()))
}

/// Has `BuildKit` build a case, by its own client and with its own frontend. `options` are those of the frontend.
fn build_with_buildkit(project: &Project, case: &Case, options: &[String]) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let (archive, context) = (folder.path().join("image.tar"), project.file(case.name));
    let mut buildctl = Command::new(buildctl());
    buildctl.env("BUILDKIT_HOST", project.sandbox.variable("BUILDKIT_HOST"));
    buildctl.args(["build", "--progress=plain", "--frontend=dockerfile.v0"]);
    buildctl.args(["--local", &format!("context={}", context.display())]);
    buildctl.args(["--local", &format!("dockerfile={}", context.display())]);
    buildctl.args(options.iter().flat_map(|option| ["--opt", option]));
    run(buildctl.args(["--output", &format!("type=oci,dest={}", archive.display())]))?;
    Ok(Image::read_archive(&archive))
}

/// Runs a builder; what it said if it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let done = output(command);
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

/// `BuildKit`'s own client, of the version of the sandbox's daemon. It is built once.
fn buildctl() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("buildctl");
        let mut go = Command::new("go");
        go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/buildctl")).env("CGO_ENABLED", "0");
        go.args(["build", "-trimpath", "-ldflags", "-s -w", "-o"]).arg(&program);
        succeed(go.arg("github.com/moby/buildkit/cmd/buildctl"));
        program
    })
}

/// Does something with every case, a few at a time; the results in the order of the cases.
fn with_each<C: Sync, T: Send>(cases: &[C], job: impl Fn(usize, &C) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let take = || Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, cases.get(at)?)));
    let work = || {
        while let Some((at, case)) = take() {
            let result = job(at, case);
            done.lock().expect("no panic").push((at, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().expect("no panic");
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What an image differs in from what a builder made, a line each.
fn compare(ours: &Image, theirs: &Outcome) -> Vec<String> {
    match theirs {
        Ok(theirs) => ours.differences(theirs),
        Err(message) => vec![format!("it does not build: {message}")],
    }
}

#[test]
fn what_is_assembled_equals_what_is_built() {
    let mut project = Project::new("equality");
    let references = assemble(&mut project);
    buildctl();
    let wrong = with_each(CASES, |at, case| {
        let ours = Image::read(copy_out(project.sandbox, &references[at]).path());
        let buildkit = compare(&ours, &build_with_buildkit(&project, case, &[]));
        let engine =
            if case.engine == UNABLE { Vec::new() } else { compare(&ours, &build_with_engine(&project, case)) };
        let mut wrong = String::new();
        if !buildkit.is_empty() {
            writeln!(wrong, "{}: BuildKit makes something else\n  {}", case.name, buildkit.join("\n  "))
                .expect("memory");
        }
        if case.engine != UNABLE && engine != case.engine {
            writeln!(wrong, "{}: the old Engine makes\n  {}", case.name, engine.join("\n  ")).expect("memory");
        }
        wrong
    });
    assert!(wrong.concat().is_empty(), "ours <> theirs\n{}", wrong.concat());
}
