//! Other people's programs that read what Seaway has put into a registry: built or installed once, then kept beside those of
//! the sandbox under the hash of what they are made of.

use super::sandbox::repository;
use super::{Sandbox, succeed};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The version of SPDX's own tools for Python.
const SPDX_TOOLS: &str = "0.8.3";

/// The ORAS client, built by Go's module proxy from `tests/clients`: half a minute once.
pub(crate) fn oras(sandbox: &Sandbox) -> &'static Path {
    static ORAS: OnceLock<PathBuf> = OnceLock::new();
    ORAS.get_or_init(|| {
        let module = repository().join("tests/clients");
        let sums = succeed(Command::new("sha256sum").args(["go.mod", "go.sum"]).current_dir(&module));
        let key: String = sums.split_whitespace().step_by(2).map(|sum| &sum[..8]).collect();
        kept(sandbox, &format!("oras-{key}"), |part| {
            let mut go = Command::new("go");
            go.args(["build", "-trimpath", "-ldflags", "-s -w", "-o"]).arg(part).arg("oras.land/oras/cmd/oras");
            succeed(go.current_dir(&module).env("CGO_ENABLED", "0"));
        })
    })
}

/// A Python that has the tools of SPDX, which pip installs: some seconds once.
pub(crate) fn python_with_spdx_tools(sandbox: &Sandbox) -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = kept(sandbox, &format!("spdx-tools-{SPDX_TOOLS}"), |part| {
            succeed(Command::new("python3").args(["-m", "venv"]).arg(part));
            let mut pip = Command::new(part.join("bin/python3"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            succeed(pip.arg(format!("spdx-tools=={SPDX_TOOLS}")));
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
