//! The circumstances of a run: the commit by `git`, the rest by what GitHub Actions says of itself.
//!
//! Source of the names: <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>

use super::origin;
use crate::model::{Environment, GitState, Redactor, RunContext};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Reads the context of a run whose deploy.yml lies in a folder. `secrets` learns what must not be told as the run does.
pub(crate) fn read(folder: &Path, environment: &Environment, secrets: &Redactor) -> RunContext {
    // All questions are asked at once: each is a process of its own, and none where they could not be answered.
    let is_tree = may_be_tree(folder, environment);
    let questions = [STATUS, origin::COMMIT, origin::REMOTE];
    let [status, commit, remote] = questions.map(|arguments| is_tree.then(|| ask(folder, arguments)).flatten());
    let git = answer(status).and_then(|text| parse_status(&text)).or_else(|| checked_out_by_github(environment));
    let git = git.map(|git| GitState { branch: branch(environment).or(git.branch), ..git });
    let origin = origin::read(environment, git.as_ref(), answer(commit).as_deref(), answer(remote).as_deref());
    RunContext {
        run_id: run_id(environment),
        git,
        pull_request: pull_request(environment),
        origin: crate::model::Origin { secrets: secrets.clone(), ..origin },
    }
}

/// `GITHUB_RUN_ID-ATTEMPT` in a workflow, the time elsewhere.
fn run_id(environment: &Environment) -> String {
    match environment.non_empty("GITHUB_RUN_ID") {
        Some(id) => format!("{id}-{}", environment.non_empty("GITHUB_RUN_ATTEMPT").unwrap_or("1")),
        None => jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string(),
    }
}

/// The branch of a workflow: a checkout there is usually detached.
fn branch(environment: &Environment) -> Option<String> {
    let head = environment.non_empty("GITHUB_HEAD_REF");
    let reference = || environment.non_empty("GITHUB_REF").and_then(|name| name.strip_prefix("refs/heads/"));
    head.or_else(reference).map(str::to_owned)
}

/// The pull request that a workflow runs for: `refs/pull/42/merge`.
fn pull_request(environment: &Environment) -> Option<u64> {
    environment.non_empty("GITHUB_REF")?.strip_prefix("refs/pull/")?.split('/').next()?.parse().ok()
}

/// The commit of a workflow where `git` is not at hand, as in an image that holds nothing but this program.
fn checked_out_by_github(environment: &Environment) -> Option<GitState> {
    environment.non_empty("GITHUB_ACTIONS")?;
    let sha = environment.non_empty("GITHUB_SHA")?.to_owned();
    Some(GitState { sha, branch: None, dirty: false })
}

/// Whether a folder may lie in a work tree: it, or one around it, has a `.git`, or the environment names one.
fn may_be_tree(folder: &Path, environment: &Environment) -> bool {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let folder = folder.canonicalize().unwrap_or(folder);
    environment.non_empty("GIT_DIR").is_some() || folder.ancestors().any(|around| around.join(".git").exists())
}

/// The question for the state of the work tree.
const STATUS: &[&str] = &["status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=dirty"];

/// Asks `git` about the work tree around a folder; `None` without git.
fn ask(folder: &Path, arguments: &[&str]) -> Option<Child> {
    // In a container the work tree often belongs to somebody else, and git refuses to look at it. Looking is safe as
    // long as no program that the repository's configuration names is started: <https://git-scm.com/docs/git-config#Documentation/git-config.txt-safedirectory>
    Command::new("git")
        .args(["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

/// What `git` answers; `None` without a work tree or a commit, or where there is no such thing.
fn answer(asked: Option<Child>) -> Option<String> {
    let output = asked?.wait_with_output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads `git status --porcelain=v2 --branch`: <https://git-scm.com/docs/git-status#_porcelain_format_version_2>.
fn parse_status(text: &str) -> Option<GitState> {
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix("# ")?.strip_prefix(name));
    let sha = header("branch.oid ")?;
    let is_commit = sha.len() >= 40 && sha.chars().all(|c| c.is_ascii_hexdigit()); // `(initial)` before the first one
    let branch = header("branch.head ").filter(|name| *name != "(detached)").map(str::to_owned);
    let dirty = text.lines().any(|line| !line.starts_with('#'));
    is_commit.then(|| GitState { sha: sha.to_owned(), branch, dirty })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "1a2b3c4d5e6f1a2b3c4d5e6f1a2b3c4d5e6f1a2b";

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_state_of_a_work_tree_is_read() {
        let clean = parse_status(&format!("# branch.oid {SHA}\n# branch.head main\n# branch.ab +0 -0\n")).unwrap();
        assert_eq!(clean, GitState { sha: SHA.to_owned(), branch: Some("main".to_owned()), dirty: false });
        let dirty = parse_status(&format!("# branch.oid {SHA}\n# branch.head (detached)\n1 .M N... a\n")).unwrap();
        assert_eq!((dirty.branch, dirty.dirty), (None, true));
        assert_eq!(parse_status("# branch.oid (initial)\n# branch.head main\n"), None);
    }

    #[test]
    fn a_workflow_says_its_branch_and_pull_request() {
        let pull = environment(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SHA", SHA),
            ("GITHUB_RUN_ID", "42"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_REF", "refs/pull/7/merge"),
            ("GITHUB_HEAD_REF", "feature/x"),
        ]);
        let context = read(Path::new("/nowhere/at/all"), &pull, &Redactor::default());
        assert_eq!((context.run_id.as_str(), context.pull_request), ("42-2", Some(7)));
        let git = context.git.unwrap();
        assert_eq!((git.sha.as_str(), git.branch.as_deref(), git.dirty), (SHA, Some("feature/x"), false));
    }

    #[test]
    fn git_is_asked_only_where_there_may_be_a_work_tree() {
        let outside = tempfile::tempdir().unwrap();
        let (inside, nothing) = (outside.path().join("a/b"), environment(&[]));
        std::fs::create_dir_all(&inside).unwrap();
        assert!(!may_be_tree(&inside, &nothing));
        assert!(may_be_tree(&inside, &environment(&[("GIT_DIR", "/srv/x.git")])));
        std::fs::write(outside.path().join("a/.git"), "gitdir: elsewhere").unwrap(); // as in a linked work tree
        assert!(may_be_tree(&inside, &nothing));
    }

    #[test]
    fn elsewhere_the_run_is_named_by_its_time() {
        let context = read(Path::new("/nowhere/at/all"), &environment(&[("GITHUB_SHA", SHA)]), &Redactor::default());
        assert_eq!((context.run_id.len(), context.git, context.pull_request), (15, None, None));
    }
}
