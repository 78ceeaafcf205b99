//! The circumstances of one run: which commit, which pull request, which run.

use super::Redactor;
use jiff::Timestamp;
use std::fmt;

/// The state of the git work tree that holds deploy.yml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GitState {
    /// The commit, 40 hexadecimal digits.
    pub(crate) sha: String,
    /// The branch, if one is checked out.
    pub(crate) branch: Option<String>,
    /// Whether tracked files differ from the commit.
    pub(crate) dirty: bool,
}

impl GitState {
    /// The tag for people: the first 12 digits of the commit, `-dirty` when the tree is.
    pub(crate) fn tag(&self) -> String {
        let short = self.sha.get(..12).unwrap_or(&self.sha);
        if self.dirty { format!("{short}-dirty") } else { short.to_owned() }
    }

    /// Whether a tag has the form of one that is made of a commit.
    pub(crate) fn is_tag(tag: &str) -> bool {
        let digits = tag.strip_suffix("-dirty").unwrap_or(tag);
        digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
}

impl fmt::Display for GitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.sha.get(..7).unwrap_or(&self.sha);
        write!(f, "{short}{}", if self.dirty { " (dirty)" } else { "" })
    }
}

/// What `${run.id}`, `${git.sha}`, `${git.branch}` and `${pr.number}` stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunContext {
    /// Unique to this run: `GITHUB_RUN_ID-ATTEMPT` in a workflow, the start time elsewhere.
    pub(crate) run_id: String,
    /// The commit, where deploy.yml lies in a git work tree.
    pub(crate) git: Option<GitState>,
    /// The pull request that this run is for.
    pub(crate) pull_request: Option<u64>,
    /// Where the code comes from and who runs.
    pub(crate) origin: Origin,
}

/// Where the code of a run comes from, and who runs it: what images are told by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// The page of the repository, `https://github.com/acme/todo`: never with a login in it.
    pub(crate) source: Option<String>,
    /// `refs/heads/main`.
    pub(crate) reference: Option<String>,
    /// The version that the commit is tagged as, `v1.2.0`.
    pub(crate) version: Option<String>,
    /// When the commit was made, or what `SOURCE_DATE_EPOCH` says: the same for every run of one commit.
    pub(crate) created: Option<Timestamp>,
    /// Who builds, as a URI: the workflow. `None` on somebody's machine.
    pub(crate) builder: Option<String>,
    /// The page of the run; `None` outside of a workflow.
    pub(crate) run_url: Option<String>,
    /// What is known to be secret by now.
    pub(crate) secrets: Redactor,
}
