//! What was typed and what the environment says, resolved: nobody behind this looks at a flag or a variable again.

use super::args::{Arguments, ColorChoice, GlobalFlags, Output, Verb};
use super::environment::Surroundings;
use super::run_context;
use crate::digitalocean::DEFAULT_ADDRESS;
use crate::error::{Failure, FailureKind};
use crate::model::{Environment, Redactor, RunContext, Secret};
use std::path::{Path, PathBuf};

/// Where the run happens, for whoever writes logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ci {
    /// GitHub Actions: groups, annotations, a job summary.
    GitHub,
    /// Another one: plain lines.
    Other,
}

/// The settings of one run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// deploy.yml.
    pub(crate) file: PathBuf,
    /// The entry of `environments` to lay over it.
    pub(crate) overlay: Option<String>,
    /// The environment with `--var` laid over it: where `${NAME}` gets its value.
    pub(crate) variables: Environment,
    /// The environment as it is.
    pub(crate) environment: Environment,
    /// Which kubeconfig was asked for, `--kubeconfig`.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Which context was asked for, `--context`.
    pub(crate) context: Option<String>,
    /// A `KUBECONFIG` that lies about: it counts only where deploy.yml names no cluster.
    pub(crate) ambient_kubeconfig: Option<PathBuf>,
    /// How results are written.
    pub(crate) output: Output,
    /// Whether standard error may have colours.
    pub(crate) colour_stderr: bool,
    /// What the streams are connected to.
    pub(crate) terminal: Terminal,
    /// 0, 1 (`-v`) or 2 (`-vv`).
    pub(crate) verbosity: u8,
    /// Whose continuous integration this is, if it is one.
    pub(crate) ci: Option<Ci>,
    /// The address of the DigitalOcean API, without a `/` at its end.
    pub(crate) api_url: String,
    /// The DigitalOcean token.
    pub(crate) token: Option<Secret>,
    /// The folder of hosts.toml files.
    pub(crate) registry_config: Option<PathBuf>,
    /// What takes secrets out of whatever is shown; it learns them as the run does.
    pub(crate) redactor: Redactor,
}

/// What the streams are connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// A table may live on standard error.
    pub(crate) live: bool,
    /// Somebody can answer questions.
    pub(crate) answers: bool,
    /// Standard output is a terminal.
    pub(crate) stdout: bool,
}

impl Settings {
    /// Resolves flags and environment. A wrong flag is a failure; what the verb needs is not looked at yet.
    pub(crate) fn resolve(arguments: Arguments, surroundings: &Surroundings) -> Result<(Verb, Self), Failure> {
        let Arguments { verb, global } = arguments;
        let environment = surroundings.environment.clone();
        let get = |name: &str| environment.non_empty(name).map(str::to_owned);
        let api_url = non_empty(global.api_url.clone()).or_else(|| get("DIGITALOCEAN_API_URL"));
        let api_url = api_url.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
        check_url(&api_url)?;
        let token = get("DIGITALOCEAN_ACCESS_TOKEN").or_else(|| get("DIGITALOCEAN_TOKEN"));
        let settings = Self {
            variables: with_variables(&environment, &global)?,
            overlay: non_empty(global.overlay.clone()),
            kubeconfig: non_empty_path(global.kubeconfig.clone()),
            context: non_empty(global.context.clone()),
            ambient_kubeconfig: get("KUBECONFIG").map(PathBuf::from),
            output: global.output,
            colour_stderr: wants_colour(global.color, surroundings.stderr_is_terminal, &environment),
            terminal: terminal(surroundings),
            verbosity: verbosity(&global, &environment)?,
            ci: ci(&environment),
            api_url: api_url.trim_end_matches('/').to_owned(),
            token: token.map(Secret::new),
            registry_config: non_empty_path(global.registry_config.clone()),
            file: global.file,
            redactor: Redactor::default(),
            environment,
        };
        Ok((verb, settings))
    }

    /// The commit, the pull request and the number of this run. Asks `git`, if it is there.
    pub(crate) fn run_context(&self) -> RunContext {
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        run_context::read(folder, &self.environment, &self.redactor)
    }
}

/// A text unless it is empty: an empty variable means nothing.
fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A path unless it is empty.
fn non_empty_path(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// A mistake in how the program was called.
fn usage(message: String) -> Failure {
    Failure::new(FailureKind::Configuration, message)
}

/// The environment with `SEAWAY_VAR` and then `--var` laid over it.
fn with_variables(environment: &Environment, global: &GlobalFlags) -> Result<Environment, Failure> {
    let mut variables = environment.clone();
    let lines = environment.get("SEAWAY_VAR").unwrap_or_default().lines().filter(|line| !line.trim().is_empty());
    for (pair, origin) in lines.map(|l| (l, "SEAWAY_VAR")).chain(global.variables.iter().map(|v| (v.as_str(), "--var")))
    {
        let Some((name, value)) = pair.split_once('=').filter(|(name, _)| is_variable_name(name)) else {
            // The pair is not repeated: it may be a secret whose name was forgotten.
            return Err(usage(format!("`{origin}` wants `NAME=VALUE`"))
                .with_hint("a name has letters, digits and `_`, and starts with no digit"));
        };
        variables.set(name, value);
    }
    Ok(variables)
}

/// The name of a variable as the shell has it.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether the address of the API can be one.
fn check_url(text: &str) -> Result<(), Failure> {
    let parsed = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let failure = || {
        usage(format!("`{text}` is not the address of an API"))
            .with_hint(format!("write it like the default, `{DEFAULT_ADDRESS}`"))
    };
    parsed.map(|_| ()).ok_or_else(failure)
}

/// Whether a stream gets colours: <https://no-color.org> and <https://bixense.com/clicolors> are heeded.
fn wants_colour(choice: ColorChoice, is_terminal: bool, environment: &Environment) -> bool {
    let says = |name: &str| environment.non_empty(name).is_some_and(|value| value != "0");
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if environment.non_empty("NO_COLOR").is_some() => false,
        ColorChoice::Auto if says("CLICOLOR_FORCE") || says("FORCE_COLOR") => true,
        ColorChoice::Auto => is_terminal && environment.get("TERM") != Some("dumb"),
    }
}

/// What the streams are good for.
fn terminal(surroundings: &Surroundings) -> Terminal {
    let environment = &surroundings.environment;
    let dumb = environment.get("TERM") == Some("dumb");
    let in_ci = ci(environment).is_some();
    Terminal {
        live: surroundings.stderr_is_terminal && !dumb && !in_ci,
        answers: surroundings.stdin_is_terminal && surroundings.stderr_is_terminal && !in_ci,
        stdout: surroundings.stdout_is_terminal,
    }
}

/// Whose continuous integration this is: nearly all of them set `CI`.
fn ci(environment: &Environment) -> Option<Ci> {
    if environment.get("GITHUB_ACTIONS") == Some("true") {
        return Some(Ci::GitHub);
    }
    environment.non_empty("CI").filter(|value| *value != "false").map(|_| Ci::Other)
}

/// How much is said.
fn verbosity(global: &GlobalFlags, environment: &Environment) -> Result<u8, Failure> {
    if global.verbose > 0 {
        return Ok(global.verbose.min(2));
    }
    let Some(text) = environment.non_empty("SEAWAY_VERBOSE") else { return Ok(0) };
    let failure = || usage(format!("`SEAWAY_VERBOSE` is `{text}`, not 0, 1 or 2"));
    text.parse().ok().filter(|level| *level <= 2).ok_or_else(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn resolve(arguments: &[&str], pairs: &[(&str, &str)]) -> Result<Settings, Failure> {
        let arguments = Arguments::try_parse_from([&["seaway"], arguments].concat()).unwrap();
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let surroundings = Surroundings {
            environment: Environment::new(pairs),
            stdout_is_terminal: false,
            stderr_is_terminal: true,
            stdin_is_terminal: true,
        };
        Settings::resolve(arguments, &surroundings).map(|(_, settings)| settings)
    }

    #[test]
    fn variables_of_flags_win_over_the_environment() {
        let pairs = [("A", "1"), ("B", "1"), ("C", "1"), ("SEAWAY_VAR", "B=2\nC=2")];
        let settings = resolve(&["check", "--var", "C=3=3"], &pairs).unwrap();
        let values = ["A", "B", "C"].map(|name| settings.variables.get(name).unwrap().to_owned());
        assert_eq!(values, ["1", "2", "3=3"]);
        assert_eq!(settings.environment.get("C"), Some("1"));
    }

    #[test]
    fn a_variable_without_a_name_is_not_repeated() {
        let failure = resolve(&["check", "--var", "hunter2secret"], &[]).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Configuration);
        assert!(!crate::error::render(&failure).contains("hunter2"));
    }

    #[test]
    fn the_token_of_doctl_comes_before_that_of_terraform() {
        let pairs = [("DIGITALOCEAN_TOKEN", "b"), ("DIGITALOCEAN_ACCESS_TOKEN", "a")];
        assert_eq!(resolve(&["up"], &pairs).unwrap().token.unwrap().expose(), "a");
        assert_eq!(resolve(&["up"], &pairs[..1]).unwrap().token.unwrap().expose(), "b");
        assert!(resolve(&["up"], &[("DIGITALOCEAN_TOKEN", "")]).unwrap().token.is_none());
    }

    #[test]
    fn colours_follow_the_terminal_and_the_conventions() {
        let colours = |arguments: &[&str], pairs: &[(&str, &str)]| resolve(arguments, pairs).unwrap().colour_stderr;
        assert!(colours(&["check"], &[]));
        assert!(!colours(&["check"], &[("TERM", "dumb")]));
        assert!(!colours(&["check"], &[("NO_COLOR", "1")]));
        assert!(colours(&["check"], &[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")]));
        assert!(colours(&["check", "--color", "always"], &[("NO_COLOR", "1")]));
        assert!(!colours(&["check", "--color", "never"], &[]));
    }

    #[test]
    fn a_pipeline_has_no_live_table_and_is_asked_nothing() {
        assert_eq!(resolve(&["up"], &[]).unwrap().terminal, Terminal { live: true, answers: true, stdout: false });
        assert_eq!(resolve(&["up"], &[("CI", "true")]).unwrap().terminal, Terminal::default());
        assert_eq!(resolve(&["up"], &[("GITHUB_ACTIONS", "true")]).unwrap().ci, Some(Ci::GitHub));
    }

    #[test]
    fn the_address_of_the_api_is_checked() {
        assert_eq!(resolve(&["up"], &[]).unwrap().api_url, DEFAULT_ADDRESS);
        let pairs = [("DIGITALOCEAN_API_URL", "http://127.0.0.1:1/")];
        assert_eq!(resolve(&["up"], &pairs).unwrap().api_url, "http://127.0.0.1:1");
        assert!(resolve(&["up", "--api-url", "nonsense"], &[]).is_err());
    }
}
