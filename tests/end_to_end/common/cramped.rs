//! Docker Engines with hardly any room: in namespaces of their own, their data in memory.

use super::{Docker, Project, Sandbox, succeed};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A Docker Engine with 24 MiB for all of its data.
pub(crate) struct Cramped {
    /// The process whose end is the end of all of them.
    process: Child,
    /// Where it listens.
    socket: PathBuf,
}

impl Cramped {
    /// Debian's, 20.10.
    pub(crate) fn debian(project: &Project) -> Self {
        let key = project.file("engine/key.json");
        Self::start(project, &json!({ "deprecated-key-path": key, "storage-driver": "overlay2" }))
    }

    /// Docker 29, with containerd's image store.
    pub(crate) fn containerd_29(project: &Project) -> Self {
        Self::of_29(project, json!({ "features": { "time-namespaces": false } }))
    }

    /// Docker 29, with the store that older versions had.
    pub(crate) fn layers_29(project: &Project) -> Self {
        let features = json!({ "time-namespaces": false, "containerd-snapshotter": false });
        Self::of_29(project, json!({ "features": features, "storage-driver": "overlay2" }))
    }

    /// Docker 29 with this configuration: it finds its own programs before the machine's.
    #[expect(clippy::needless_pass_by_value, reason = "it is written where it is given")]
    fn of_29(project: &Project, configuration: Value) -> Self {
        Docker::build_29();
        let folder = project.file("engine/bin");
        std::fs::create_dir_all(&folder).expect("a folder");
        let built = programs(project.sandbox);
        for (name, program) in
            [("dockerd", "moby-dockerd"), ("containerd", "moby-containerd"), ("containerd-shim-runc-v2", "moby-shim")]
        {
            symlink(built.join(program), folder.join(name)).expect("a link");
        }
        Self::start(project, &configuration)
    }

    /// Starts one in a folder of the project.
    fn start(project: &Project, configuration: &Value) -> Self {
        let folder = project.file("engine");
        std::fs::create_dir_all(folder.join("data")).expect("a folder");
        let socket = folder.join("docker.sock");
        std::fs::write(folder.join("daemon.json"), configuration.to_string()).expect("a file");
        let script = "mount -t tmpfs -o size=24m tmpfs data && export PATH=\"$PWD/bin:$PATH\" && exec dockerd \
            --config-file \"$PWD/daemon.json\" --data-root \"$PWD/data\" --exec-root \"$PWD/run\" --pidfile \"$PWD/pid\" \
            --host \"unix://$PWD/docker.sock\" --bridge none --iptables=false --ip-forward=false";
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--net",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            script,
        ]);
        let log = std::fs::File::create(folder.join("log")).expect("a file");
        let process = command.current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let mut engine = Self { process: process.expect("unshare"), socket };
        let begin = Instant::now();
        while !engine.answers() {
            let ended = engine.process.try_wait().expect("a status").is_some();
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(!ended && begin.elapsed() < Duration::from_mins(2), "no Engine:\n{}", log());
            sleep(Duration::from_millis(50));
        }
        engine
    }

    /// Whether it answers.
    fn answers(&self) -> bool {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--output", "/dev/null", "--unix-socket"]).arg(&self.socket);
        curl.arg("http://engine/_ping").status().expect("curl").success()
    }
}

impl Drop for Cramped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where the sandbox keeps programs that were built for it.
fn programs(sandbox: &Sandbox) -> PathBuf {
    Path::new(sandbox.variable("SANDBOX_STATE")).join("bin")
}

/// Gives a project an image that takes so many bytes of a builder's room twice, and once more where it leaves an Engine. An
/// archive that is unpacked needs a builder, and nothing but room.
pub(crate) fn build_noise(project: &mut Project, engine: &Cramped, bytes: usize) {
    project.set("DOCKER_HOST", &format!("unix://{}", engine.socket.display())).set("BUILDKIT_HOST", "");
    let mut noise = vec![0; bytes];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").expect("noise"), &mut noise).expect("noise");
    std::fs::write(project.file("web/noise"), noise).expect("a file");
    succeed(Command::new("tar").current_dir(project.file("web")).args(["--create", "--file=noise.tar", "noise"]));
    std::fs::remove_file(project.file("web/noise")).expect("a file");
    project.write("web/Dockerfile", "FROM scratch\nADD noise.tar /\n");
}
