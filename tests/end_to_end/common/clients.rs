//! Other people's programs that read what Seaway has put into a registry: built or installed once, then kept beside those of
//! the sandbox under the hash of what they are made of.

use super::sandbox::repository;
use super::{Sandbox, succeed};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// What checks statements: SPDX's own tools, in-toto's and SLSA's schemas as their authors generate code from them, and the
/// authors' reading of package URLs.
const CHECKERS: [&str; 3] = ["spdx-tools==0.8.3", "in-toto-attestation==0.9.3", "packageurl-python==0.17.6"];

/// The ORAS client: half a minute once.
pub(crate) fn oras(sandbox: &Sandbox) -> &'static Path {
    static ORAS: OnceLock<PathBuf> = OnceLock::new();
    ORAS.get_or_init(|| built(sandbox, "oras", "oras.land/oras/cmd/oras", &[]))
}

/// A program of the module `tests/clients`, built by Go's module proxy, of these own files.
fn built(sandbox: &Sandbox, name: &str, package: &str, own: &[&str]) -> PathBuf {
    let module = repository().join("tests/clients");
    let sums = succeed(Command::new("sha256sum").args(["go.mod", "go.sum"]).args(own).current_dir(&module));
    let key: String = sums.split_whitespace().step_by(2).map(|sum| &sum[..8]).collect();
    kept(sandbox, &format!("{name}-{key}"), |part| {
        let mut go = Command::new("go");
        go.args(["build", "-trimpath", "-ldflags", "-s -w", "-o"]).arg(part).arg(package);
        succeed(go.current_dir(&module).env("CGO_ENABLED", "0"));
    })
}

/// A registry that lists what refers to a manifest, which none of the sandbox's does: of its own, on loopback, in memory.
pub(crate) struct ListingRegistry {
    /// The program.
    process: Child,
    /// `127.0.0.1:12345`.
    pub(crate) host: String,
    /// The file with its requests.
    requests: tempfile::NamedTempFile,
}

impl ListingRegistry {
    /// Starts it with these options.
    pub(crate) fn start(sandbox: &Sandbox, options: &[&str]) -> Self {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let program = PROGRAM.get_or_init(|| built(sandbox, "registry", "./registry", &["registry/main.go"]));
        let requests = tempfile::NamedTempFile::new().expect("a file");
        let log = requests.reopen().expect("the same file");
        let mut command = Command::new(program);
        // It ends when its input does, so that it does not outlive the test, however that ends.
        command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut process = command.spawn().expect("a registry");
        let mut host = String::new();
        let output = process.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut host).expect("its address");
        Self { process, host: host.trim().to_owned(), requests }
    }

    /// The requests so far: `PUT /v2/…`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.requests.path()).expect("its requests");
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for ListingRegistry {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("it ends");
    }
}

/// A Python that has what checks statements, which pip installs: some seconds once.
pub(crate) fn python_with_checkers(sandbox: &Sandbox) -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let key = CHECKERS.join("-").replace("==", "-");
        let folder = kept(sandbox, &key, |part| {
            succeed(Command::new("python3").args(["-m", "venv"]).arg(part));
            let mut pip = Command::new(part.join("bin/python3"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            succeed(pip.args(CHECKERS));
        });
        folder.join("bin/python3")
    })
}

/// A program or a folder of the sandbox's cache; it is made where it is missing, and is there only when it is whole.
fn kept(sandbox: &Sandbox, name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let programs = Path::new(sandbox.variable("SANDBOX_CACHE")).join("programs");
    let kept = programs.join(name);
    if !kept.exists() {
        let part = programs.join(format!("{name}.{}", std::process::id()));
        make(&part);
        // Whoever has made it meanwhile has made the same.
        if std::fs::rename(&part, &kept).is_err() {
            assert!(kept.exists(), "{} cannot be kept", kept.display());
        }
    }
    kept
}
