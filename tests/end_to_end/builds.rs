//! What goes into builds, what is built again, and what a person reads where a build cannot be.

use crate::common::{Cramped, Project, build_noise, small};
use crate::failures::{nothing_was_written, reads_as};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Pushes; the digest of the only image, and how it came to be.
#[track_caller]
fn push(project: &Project, flags: &[&str]) -> (String, String) {
    let run = project.run(&[&["push", "--output", "json"], flags].concat()).exits(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let image = &result["images"][0];
    let text = |name: &str| image[name].as_str().unwrap_or_else(|| panic!("{result:#}")).to_owned();
    (text("digest"), text("state"))
}

#[test]
fn an_image_is_built_anew_where_it_is_asked_for_or_too_old() {
    let project = small("anew");
    project.renew("web/www/index.html");
    project.replace("web/Dockerfile", "COPY www /www", "COPY www /www\nRUN date +%s%N > /built && : wget");
    let (first, _) = push(&project, &[]);
    assert_eq!(push(&project, &[]), (first.clone(), "reused".to_owned()), "the same inputs");
    assert_eq!(push(&project, &["--max-age", "1h"]).0, first, "young enough");
    let (second, _) = push(&project, &["--max-age", "0s"]);
    assert_ne!(second, first, "too old, and the builder's cache would be as old");
    let (third, _) = push(&project, &["--no-cache"]);
    assert_ne!(third, second);
    assert_eq!(push(&project, &["--max-age", "none"]).0, third, "the content key is on the last one");
}

#[test]
fn what_dockerignore_leaves_is_what_a_builder_gets() {
    let project = small("ignored");
    let rules = "# rules\ndir/file\n!dir\n/!kept\n*\n!dir/other\n!a|b\n!deep/**/keep\ndeep/x/keep/not\n";
    for file in
        ["dir/file", "dir/other", "!kept", "a", "b/x", "deep/keep", "deep/x/keep/not", "deep/x/keep/yes", "deep/x/z"]
    {
        project.renew(&format!("web/{file}"));
    }
    project.write("web/.dockerignore", rules);
    project.write("web/Dockerfile", "FROM busybox:1.35\nCOPY . /ctx\nRUN cd /ctx && find . -type f | sort\n");
    // What BuildKit 0.32 is given by its own client, `buildctl build --local context=.`.
    let wanted = ["deep/keep", "deep/x/keep/yes", "dir/other"];
    for builder in ["BUILDKIT_HOST", "DOCKER_HOST"] {
        let mut command = project.command(&["push", "-v", "--no-cache"]);
        if builder == "DOCKER_HOST" {
            command.env("BUILDKIT_HOST", "");
        }
        let output = command.output().expect("a run");
        let text = String::from_utf8_lossy(&output.stderr);
        let mut found: Vec<&str> =
            text.lines().filter_map(|line| line.split_once("ignored | ./")).map(|(_, f)| f).collect();
        found.dedup();
        assert_eq!(found, wanted, "{builder}:\n{text}");
    }
}

#[test]
fn a_dockerfile_with_a_mistake_is_named_with_its_line() {
    let project = small("bad-syntax");
    // A mistyped instruction is seen before anything is contacted; this one the builder tells.
    project.replace("web/Dockerfile", "COPY www /www", "COPY www");
    let run = project.run(&["push"]).exits(1);
    reads_as("dockerfile_with_a_mistake", &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn a_base_that_is_not_there_is_named_with_its_line() {
    let project = small("no-base");
    project.replace("web/Dockerfile", "busybox:1.35", "busybox:nowhere");
    let run = project.run(&["push"]).exits(2);
    reads_as("base_that_is_not_there", &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn a_base_without_the_platform_is_named() {
    let project = small("no-platform");
    project.replace("deploy.yml", "no-platform: ./web", "no-platform: { build: ./web, platforms: [linux/arm64] }");
    let run = project.run(&["push"]).exits(2);
    reads_as("base_without_the_platform", &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn a_wrong_login_is_told_before_anything_is_built() {
    let project = small("wrong-login");
    let other = "registry: { host: registry.digitalocean.com, repository: todo-app-registry, username: bot, password: mistyped }";
    project.replace("deploy.yml", "registry: todo-app-registry", other);
    let run = project.run(&["push"]).exits(2);
    assert!(!run.stderr.contains("mistyped"), "{}", run.stderr);
    reads_as("login_that_is_wrong", &project, &run);
    nothing_was_written(&project, &run);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let project = small("unreadable");
    project.replace("web/Dockerfile", "COPY www /www", "COPY . /www");
    let locked = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(project.file("web/www/index.html"), locked).expect("a mode");
    // Root reads everything, unless it gives the right to do so away.
    let inner = project.command(&["push"]);
    let mut command = Command::new("setpriv");
    let rights = "-dac_override,-dac_read_search";
    command.arg(format!("--bounding-set={rights}")).arg(format!("--inh-caps={rights}")).arg(inner.get_program());
    command.args(inner.get_args()).current_dir(project.path()).env_clear().stdin(Stdio::null());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let run = Project::finish(&mut command).exits(2);
    reads_as("file_that_cannot_be_read", &project, &run);
    nothing_was_written(&project, &run);
}

/// A registry with hardly any room: Debian's docker-registry on a file system in memory.
struct Small {
    /// The file system.
    folder: PathBuf,
    /// The registry.
    process: Child,
}

impl Small {
    /// Starts one that listens here.
    fn start(project: &Project, address: &str) -> Self {
        let folder = project.file("blobs");
        std::fs::create_dir(&folder).expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1500k", "tmpfs"]).arg(&folder).status();
        assert!(mounted.expect("mount").success());
        let storage = format!("storage: {{ filesystem: {{ rootdirectory: {} }} }}", folder.display());
        project.write("registry.yml", &format!("version: 0.1\n{storage}\nhttp: {{ addr: \"{address}\" }}\n"));
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(project.file("registry.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().expect("docker-registry is installed");
        let answers = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--retry", "40", "--retry-connrefused", "--retry-delay", "1"])
            .arg(format!("http://{address}/v2/"))
            .status();
        assert!(answers.expect("curl").success());
        Self { folder, process }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = Command::new("umount").arg(&self.folder).status();
    }
}

#[test]
fn a_registry_whose_disk_is_full_is_told_at_once() {
    let project = small("full-registry");
    let address = format!("127.77.{}.1:5590", project.sandbox.variable("SANDBOX_NUMBER"));
    let _small = Small::start(&project, &address);
    let mut noise = vec![0; 3 << 20];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").expect("noise"), &mut noise).expect("noise");
    std::fs::write(project.file("web/www/noise"), noise).expect("a file");
    project.replace("deploy.yml", "registry: todo-app-registry", &format!("registry: {{ host: \"{address}\" }}"));
    let run = project.run(&["push"]).exits(3);
    reads_as("registry_whose_disk_is_full", &project, &run);
    let tags =
        Command::new("curl").arg("--silent").arg(format!("http://{address}/v2/full-registry/tags/list")).output();
    let tags = String::from_utf8_lossy(&tags.expect("curl").stdout).into_owned();
    assert!(!tags.contains("\"tags\":["), "{tags}");
}

#[test]
fn an_engine_whose_disk_is_full_is_told_as_such() {
    let mut project = small("full-engine");
    let engine = Cramped::debian(&project);
    build_noise(&mut project, &engine, 40 << 20);
    let run = project.run(&["push"]).exits(3);
    reads_as("engine_whose_disk_is_full", &project, &run);
    nothing_was_written(&project, &run);
}
