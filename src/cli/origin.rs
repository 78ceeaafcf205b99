//! Where the code comes from and who runs: from `git`, and from what GitHub Actions says of itself.
//!
//! Source of the names: <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>

use crate::model::{Environment, GitState, Origin};
use jiff::Timestamp;
use url::Url;

/// The question for the commit: when it was made, and which names it has.
pub(super) const COMMIT: &[&str] = &["log", "-1", "--decorate=full", "--format=%ct%n%D"];

/// The question for the place that the repository was cloned from.
pub(super) const REMOTE: &[&str] = &["config", "--get", "remote.origin.url"];

/// The origin, from what `git` answers to the two questions.
pub(super) fn read(
    environment: &Environment,
    git: Option<&GitState>,
    commit: Option<&str>,
    remote: Option<&str>,
) -> Origin {
    let (time, names) = commit.and_then(|text| text.split_once('\n')).unwrap_or_default();
    let get = |name: &str| environment.non_empty(name);
    let on_github = get("GITHUB_ACTIONS").is_some();
    let server = get("GITHUB_SERVER_URL").unwrap_or("https://github.com");
    let github = get("GITHUB_REPOSITORY").filter(|_| on_github).map(|name| format!("{server}/{name}"));
    let run = get("GITHUB_RUN_ID")
        .zip(github.as_ref())
        .map(|(run, page)| format!("{page}/actions/runs/{run}/attempts/{}", get("GITHUB_RUN_ATTEMPT").unwrap_or("1")));
    let reference = get("GITHUB_REF").filter(|_| on_github).map(str::to_owned);
    let branch = || git.and_then(|git| git.branch.as_ref()).map(|branch| format!("refs/heads/{branch}"));
    let tagged = reference.as_deref().and_then(|name| name.strip_prefix("refs/tags/")).map(str::to_owned);
    // A tree with changes is not what the commit was, nor was it made then, nor has it its version.
    let clean = git.is_some_and(|git| !git.dirty);
    let epoch = get("SOURCE_DATE_EPOCH").and_then(seconds);
    Origin {
        source: github.or_else(|| page(remote?.trim())),
        version: tagged.or_else(|| version(names)).filter(|_| clean),
        created: epoch.or_else(|| seconds(time).filter(|_| clean)),
        builder: get("GITHUB_WORKFLOW_REF").filter(|_| on_github).map(|workflow| format!("{server}/{workflow}")),
        reference: reference.or_else(branch),
        run_url: run,
        ..Origin::default()
    }
}

/// A time in seconds since 1970 (<https://reproducible-builds.org/specs/source-date-epoch/>).
fn seconds(text: &str) -> Option<Timestamp> {
    Timestamp::from_second(text.trim().parse().ok()?).ok()
}

/// The version among the names of a commit, `HEAD -> refs/heads/main, tag: refs/tags/v1.2.0`: its only tag, or of several
/// the one that looks like a version.
fn version(names: &str) -> Option<String> {
    let tags: Vec<&str> = names.split(", ").filter_map(|name| name.trim().strip_prefix("tag: refs/tags/")).collect();
    let is_version = |tag: &&&str| tag.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    let chosen = tags.iter().find(is_version).or(tags.first().filter(|_| tags.len() == 1));
    chosen.map(|tag| (*tag).to_owned())
}

/// The page of a repository, from the address that it was cloned from; `None` where that is a folder. A login in it is
/// left out.
fn page(remote: &str) -> Option<String> {
    // The short form of ssh: `git@github.com:acme/todo.git`.
    let short = remote.split_once(':').filter(|(host, path)| !host.contains('/') && !path.starts_with("//"));
    let address = match short {
        Some((host, path)) => format!("ssh://{host}/{}", path.trim_start_matches('/')),
        None => remote.to_owned(),
    };
    let url = Url::parse(&address).ok()?;
    let (host, path) = (url.host_str().filter(|host| !host.is_empty())?, url.path());
    let port = url.port().filter(|_| matches!(url.scheme(), "http" | "https")).map(|port| format!(":{port}"));
    let scheme = if url.scheme() == "http" { "http" } else { "https" };
    let path = path.trim_end_matches('/').trim_end_matches(".git").trim_end_matches('/');
    let known = matches!(url.scheme(), "http" | "https" | "ssh" | "git");
    (known && path.len() > 1).then(|| format!("{scheme}://{host}{}{path}", port.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "1a2b3c4d5e6f1a2b3c4d5e6f1a2b3c4d5e6f1a2b";

    /// An environment.
    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    /// A work tree.
    fn git(dirty: bool) -> GitState {
        GitState { sha: SHA.to_owned(), branch: Some("main".to_owned()), dirty }
    }

    #[test]
    fn addresses_of_clones_become_pages_without_logins() {
        for (remote, wanted) in [
            ("https://github.com/acme/todo.git", Some("https://github.com/acme/todo")),
            ("https://user:hunter2@github.com/acme/todo", Some("https://github.com/acme/todo")),
            ("git@github.com:acme/todo.git", Some("https://github.com/acme/todo")),
            ("ssh://git@git.example.com:2222/acme/todo.git", Some("https://git.example.com/acme/todo")),
            ("http://127.0.0.1:3000/acme/todo/", Some("http://127.0.0.1:3000/acme/todo")),
            ("/srv/git/todo.git", None),
            ("file:///srv/git/todo.git", None),
            ("../todo", None),
            ("", None),
        ] {
            assert_eq!(page(remote).as_deref(), wanted, "{remote}");
        }
    }

    #[test]
    fn a_clean_tree_is_told_by_its_commit() {
        let commit = "1700000000\nHEAD -> refs/heads/main, tag: refs/tags/latest, tag: refs/tags/v1.2.0, refs/remotes/origin/main\n";
        let remote = Some("git@github.com:acme/todo.git\n");
        let origin = read(&environment(&[]), Some(&git(false)), Some(commit), remote);
        assert_eq!(origin.source.as_deref(), Some("https://github.com/acme/todo"));
        assert_eq!((origin.version.as_deref(), origin.reference.as_deref()), (Some("v1.2.0"), Some("refs/heads/main")));
        assert_eq!(origin.created.map(|time| time.to_string()).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!((origin.builder, origin.run_url), (None, None));
        let dirty = read(&environment(&[]), Some(&git(true)), Some(commit), remote);
        assert_eq!((dirty.version, dirty.created), (None, None));
        let epoch = read(&environment(&[("SOURCE_DATE_EPOCH", "1")]), Some(&git(true)), Some(commit), None);
        assert_eq!(epoch.created.map(Timestamp::as_second), Some(1));
    }

    #[test]
    fn a_workflow_says_more_than_the_clone() {
        let environment = environment(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SERVER_URL", "https://github.example.com"),
            ("GITHUB_REPOSITORY", "acme/todo"),
            ("GITHUB_REF", "refs/tags/v2.0.0"),
            ("GITHUB_RUN_ID", "42"),
            ("GITHUB_WORKFLOW_REF", "acme/todo/.github/workflows/deploy.yml@refs/tags/v2.0.0"),
        ]);
        let origin = read(&environment, Some(&git(false)), None, Some("https://mirror.example.com/x/y"));
        assert_eq!(origin.source.as_deref(), Some("https://github.example.com/acme/todo"));
        assert_eq!(origin.version.as_deref(), Some("v2.0.0"));
        assert_eq!(origin.run_url.as_deref(), Some("https://github.example.com/acme/todo/actions/runs/42/attempts/1"));
        let workflow = "https://github.example.com/acme/todo/.github/workflows/deploy.yml@refs/tags/v2.0.0";
        assert_eq!(origin.builder.as_deref(), Some(workflow));
        let outside =
            super::read(&Environment::new([("GITHUB_REPOSITORY".to_owned(), "x/y".to_owned())]), None, None, None);
        assert_eq!((outside.source, outside.run_url), (None, None));
    }

    #[test]
    fn nothing_is_known_without_git() {
        let origin = read(&environment(&[]), None, None, None);
        assert_eq!((origin.source, origin.created, origin.reference), (None, None, None));
    }
}
