//! A repository in a temporary folder, and runs of Seaway in it.

use super::Sandbox;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A repository in a temporary folder that is removed at the end, together with its namespace.
pub(crate) struct Project {
    /// The sandbox that it is deployed to.
    pub(crate) sandbox: &'static Sandbox,
    /// The folder.
    folder: tempfile::TempDir,
    /// The namespace, unique to the test.
    pub(crate) namespace: String,
    /// Variables beside those of the sandbox.
    environment: BTreeMap<String, String>,
}

/// How a run of Seaway ended.
pub(crate) struct Run {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Project {
    /// An empty project with a namespace of this name.
    pub(crate) fn new(namespace: &str) -> Self {
        let sandbox = Sandbox::join();
        let folder = tempfile::Builder::new().prefix("seaway-").tempdir().expect("a temporary folder");
        let mut project = Self { sandbox, folder, namespace: namespace.to_owned(), environment: BTreeMap::new() };
        project.clean();
        project
    }

    /// Removes what an earlier run of the same test may have left.
    fn clean(&mut self) {
        let namespace = self.namespace.clone();
        self.sandbox.kubectl(&["delete", "namespace", &namespace, "--ignore-not-found", "--timeout=120s"]);
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file.
    pub(crate) fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        self
    }

    /// Gives an image an input that no image had before, so that it has to be built and pushed.
    pub(crate) fn renew(&self, path: &str) -> &Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
        self.write(path, &format!("hello from {}, {} {}\n", self.namespace, now.as_nanos(), std::process::id()))
    }

    /// Changes a text in a file that has it.
    pub(crate) fn replace(&self, path: &str, from: &str, to: &str) -> &Self {
        let text = fs::read_to_string(self.file(path)).expect(path);
        assert!(text.contains(from), "{path} has no `{from}`");
        self.write(path, &text.replace(from, to))
    }

    /// Copies a folder of this repository into the project.
    pub(crate) fn copy(&self, from: &str) -> &Self {
        let from = super::sandbox::repository().join(from).join(".");
        super::succeed(Command::new("cp").arg("-r").arg(from).arg(self.path()));
        self
    }

    /// Makes it a git repository with one commit of everything.
    pub(crate) fn commit(&self) -> &Self {
        let git = |arguments: &[&str]| {
            let identity =
                ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"];
            super::succeed(Command::new("git").current_dir(self.path()).args(identity).args(arguments));
        };
        git(&["init", "--quiet"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message", "first"]);
        self
    }

    /// Sets a variable for every run.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The command of a run, ready to be started: a scrubbed environment, the sandbox's and the project's variables.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seaway"));
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        for name in ["PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // A person's shell would have these from `eval "$(sandbox env)"`.
        command.envs(self.sandbox.environment.iter().filter(|(name, _)| name.as_str() != "GITHUB_TOKEN"));
        command.envs(&self.environment);
        command
    }

    /// Runs Seaway to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Self::finish(&mut self.command(arguments))
    }

    /// Runs a command to its end.
    pub(crate) fn finish(command: &mut Command) -> Run {
        let output = super::output(command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Run { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The path of a file.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.sandbox.remove_namespace(&self.namespace);
    }
}

impl Run {
    /// The run, if it ended with this code; a failed test with all that it printed otherwise.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        let (out, err) = (&self.stdout, &self.stderr);
        assert_eq!(self.code, Some(code), "standard output:\n{out}\nstandard error:\n{err}");
        self
    }

    /// Asserts that standard error contains a text.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "`{text}` is not in standard error:\n{}", self.stderr);
        self
    }
}
