//! Runs the built binary in a folder of its own, with nothing in its environment but what a test puts there.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A folder and an environment.
pub(crate) struct World {
    /// The folder; it goes away with the world.
    folder: TempDir,
    /// The variables.
    variables: Vec<(String, String)>,
}

/// How a run ended.
pub(crate) struct Run {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
    /// What it wrote to standard error.
    pub(crate) stderr: String,
}

impl World {
    /// An empty folder, no variables.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("seaway-").tempdir().expect("a temporary folder");
        Self { folder, variables: Vec::new() }
    }

    /// A world with this deploy.yml.
    pub(crate) fn with_deploy(text: &str) -> Self {
        Self::new().file("deploy.yml", text)
    }

    /// Writes a file, folders above it included.
    pub(crate) fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, text).expect("a file");
        self
    }

    /// Sets a variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs another program in the folder, for its effect.
    pub(crate) fn program(self, program: &str, arguments: &[&str]) -> Self {
        let status = Command::new(program).args(arguments).current_dir(self.path()).stdout(Stdio::null()).status();
        assert!(status.expect("the program starts").success(), "{program} {arguments:?}");
        self
    }

    /// Runs the binary.
    pub(crate) fn seaway(&self, arguments: &[&str]) -> Run {
        let output = Command::new(env!("CARGO_BIN_EXE_seaway"))
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path())
            .env("GIT_CEILING_DIRECTORIES", self.path().parent().expect("a folder above"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("the binary starts");
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
        }
    }
}

/// As snapshots show a run.
impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("killed".to_owned(), |code| code.to_string());
        write!(f, "exit code: {code}")?;
        for (name, text) in [("standard output", &self.stdout), ("standard error", &self.stderr)] {
            if !text.is_empty() {
                write!(f, "\n----- {name} -----\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}
