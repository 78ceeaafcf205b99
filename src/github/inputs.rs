//! The inputs of the action, which the runner hands over as `INPUT_*` variables.
//!
//! The runner checks nothing: a required input may be missing, an unknown one is only a warning, and every value is a
//! text, empty where nothing was given
//! (<https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax#inputs>).

use super::error::Error;
use crate::model::{Environment, Secret, nearest};

/// What the action is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Command {
    /// What the event calls for.
    #[default]
    Auto,
    /// `seaway up`, whatever the event.
    Up,
    /// `seaway plan`.
    Plan,
    /// `seaway check`.
    Check,
    /// `seaway push`.
    Push,
    /// `seaway down`.
    Down,
}

/// The commands by their names.
const COMMANDS: [(&str, Command); 6] = [
    ("auto", Command::Auto),
    ("up", Command::Up),
    ("plan", Command::Plan),
    ("check", Command::Check),
    ("push", Command::Push),
    ("down", Command::Down),
];

impl Command {
    /// The verb of the command line; `up` for what the event calls for.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Auto | Self::Up => "up",
            Self::Plan => "plan",
            Self::Check => "check",
            Self::Push => "push",
            Self::Down => "down",
        }
    }
}

/// The names of all inputs, as in action.yml.
pub(crate) const NAMES: [&str; 15] = [
    "command",
    "args",
    "file",
    "env",
    "vars",
    "working_directory",
    "token",
    "kubeconfig",
    "context",
    "on_gc",
    "sbom",
    "provenance",
    "api_url",
    "github_token",
    "comment",
];

/// The inputs of the action.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    /// What to do.
    pub(crate) command: Command,
    /// More arguments for the verb.
    pub(crate) args: Vec<String>,
    /// deploy.yml.
    pub(crate) file: Option<String>,
    /// The entry of `environments`.
    pub(crate) env: Option<String>,
    /// Variables for deploy.yml, `NAME` and value.
    pub(crate) vars: Vec<(String, String)>,
    /// The folder that everything is relative to.
    pub(crate) working_directory: Option<String>,
    /// The DigitalOcean token.
    pub(crate) token: Option<Secret>,
    /// A kubeconfig file, for clusters that no DigitalOcean token leads to.
    pub(crate) kubeconfig: Option<String>,
    /// The context in it.
    pub(crate) context: Option<String>,
    /// What becomes of a push that meets a garbage collection, in the words of `--on-gc`.
    pub(crate) on_gc: Option<String>,
    /// Whether a list of its packages is put beside every image.
    pub(crate) sbom: bool,
    /// Whether it is put beside every image that is built how it was made.
    pub(crate) provenance: bool,
    /// The address of the DigitalOcean API.
    pub(crate) api_url: Option<String>,
    /// The token for the comment.
    pub(crate) github_token: Option<Secret>,
    /// Whether to comment on the pull request.
    pub(crate) comment: bool,
    /// What is wrong without being a mistake: inputs that there are not.
    pub(crate) warnings: Vec<String>,
}

impl Inputs {
    /// The inputs in an environment. The runner writes `INPUT_` and the name in capitals, with `_` for spaces and dashes
    /// kept: here `github-token`, `github token` and `github_token` are the same.
    pub(crate) fn from_environment(environment: &Environment) -> Result<Self, Error> {
        let given: Vec<(String, &str)> = environment
            .names()
            .filter_map(|variable| Some((input_name(variable)?, environment.non_empty(variable)?)))
            .collect();
        let get = |name: &str| given.iter().find(|(given, _)| given == name).map(|(_, value)| value.trim().to_owned());
        let secret = |name: &str| get(name).filter(|value| !value.is_empty()).map(Secret::new);
        Ok(Self {
            command: get("command").map_or(Ok(Command::default()), |text| command(&text))?,
            args: get("args").map_or(Ok(Vec::new()), |text| words(&text))?,
            file: get("file"),
            env: get("env"),
            vars: get("vars").map_or(Ok(Vec::new()), |text| variables(&text))?,
            working_directory: get("working_directory"),
            token: secret("token"),
            kubeconfig: get("kubeconfig"),
            context: get("context"),
            on_gc: get("on_gc").filter(|text| !text.is_empty()),
            sbom: get("sbom").map_or(Ok(false), |text| boolean("sbom", &text))?,
            provenance: get("provenance").map_or(Ok(false), |text| boolean("provenance", &text))?,
            api_url: get("api_url"),
            github_token: secret("github_token"),
            comment: get("comment").map_or(Ok(true), |text| boolean("comment", &text))?,
            warnings: given.iter().filter_map(|(name, _)| unknown(name)).collect(),
        })
    }

    /// The arguments of the command line that these inputs stand for, the verb first. Secrets are not among them: other
    /// processes can read arguments.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![self.command.verb().to_owned()];
        let flags = [
            ("--file", &self.file),
            ("--env", &self.env),
            ("--kubeconfig", &self.kubeconfig),
            ("--context", &self.context),
            ("--api-url", &self.api_url),
        ];
        for (flag, value) in flags {
            if let Some(value) = value {
                // In one word, so that a value that starts with a dash stays a value.
                arguments.push(format!("{flag}={value}"));
            }
        }
        // A workflow may run several commands with the same inputs: those that say nothing to one are left out.
        let (pushes, plans) = (matches!(arguments[0].as_str(), "up" | "push"), self.command == Command::Plan);
        arguments.extend(self.on_gc.iter().filter(|_| pushes).map(|what| format!("--on-gc={what}")));
        let wanted = [("--sbom", self.sbom), ("--provenance", self.provenance)];
        let wanted = wanted.into_iter().filter(|(_, is_wanted)| *is_wanted && (pushes || plans));
        arguments.extend(wanted.map(|(flag, _)| flag.to_owned()));
        arguments.extend(self.args.iter().cloned());
        arguments
    }

    /// The environment with what these inputs set: tokens, and the variables of deploy.yml.
    pub(crate) fn apply(&self, environment: &mut Environment) {
        for (name, token) in [("DIGITALOCEAN_ACCESS_TOKEN", &self.token), ("GITHUB_TOKEN", &self.github_token)] {
            if let Some(token) = token {
                environment.set(name, token.expose());
            }
        }
        for (name, value) in &self.vars {
            environment.set(name, value);
        }
    }
}

/// The name of the input that a variable holds: `INPUT_GITHUB-TOKEN` is `github_token`.
fn input_name(variable: &str) -> Option<String> {
    let name = variable.strip_prefix("INPUT_")?;
    Some(name.to_lowercase().replace(['-', ' '], "_"))
}

/// A remark on an input that there is not, with the nearest one that there is.
fn unknown(name: &str) -> Option<String> {
    if NAMES.contains(&name) {
        return None;
    }
    let meant = nearest(name, NAMES).map(|known| format!(": did you mean `{known}`?")).unwrap_or_default();
    Some(format!("the action has no input `{name}`{meant}"))
}

/// A wrong value of an input.
fn wrong(name: &'static str, problem: &str, help: impl Into<String>) -> Error {
    Error::Input { name, problem: problem.to_owned(), help: help.into() }
}

/// A command by its name.
fn command(text: &str) -> Result<Command, Error> {
    let names: Vec<String> = COMMANDS.iter().map(|(name, _)| format!("`{name}`")).collect();
    let found = COMMANDS.iter().find(|(name, _)| *name == text).map(|(_, command)| *command);
    found.ok_or_else(|| wrong("command", "not a command of the action", format!("it may be {}", names.join(", "))))
}

/// A switch.
fn boolean(name: &'static str, text: &str) -> Result<bool, Error> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong(name, "neither `true` nor `false`", "it may be `true` or `false`")),
    }
}

/// `NAME=value` lines; empty ones and those that start with `#` are skipped.
fn variables(text: &str) -> Result<Vec<(String, String)>, Error> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').filter(|(name, _)| !name.trim().is_empty()).ok_or_else(|| {
            wrong("vars", "not made of `NAME=value` lines", "write one `NAME=value` a line, with `vars: |` before them")
        })?;
        Ok((name.trim().to_owned(), value.to_owned()))
    };
    lines.map(pair).collect()
}

/// A text in words as a shell has them: quotes hold a word together, a backslash outside of single quotes keeps the next
/// character. Nothing is expanded.
fn words(text: &str) -> Result<Vec<String>, Error> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), other) if open == other => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, other) if other.is_whitespace() => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    match quote {
        Some(_) => Err(wrong("args", "a text whose quotes do not close", "close each `\"` and `'`")),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn action_yml_has_the_same_inputs() {
        let action: serde_json::Value = serde_saphyr::from_str(include_str!("../../action.yml")).unwrap();
        let inputs = action["inputs"].as_object().unwrap();
        let mut described: Vec<&str> = inputs.keys().map(String::as_str).collect();
        let mut read = NAMES.to_vec();
        described.sort_unstable();
        read.sort_unstable();
        assert_eq!(described, read);
        assert!(inputs.values().all(|input| input["description"].is_string() && input["default"].is_string()));
        assert_eq!(action["runs"]["args"], serde_json::json!(["action"]));
    }

    /// The inputs that these variables stand for.
    fn inputs(pairs: &[(&str, &str)]) -> Result<Inputs, Error> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Inputs::from_environment(&Environment::new(pairs))
    }

    #[test]
    fn every_way_of_writing_a_name_is_the_same() {
        for name in ["INPUT_GITHUB-TOKEN", "INPUT_GITHUB_TOKEN", "INPUT_GITHUB TOKEN", "INPUT_github_token"] {
            assert_eq!(inputs(&[(name, "t")]).unwrap().github_token.unwrap().expose(), "t", "{name}");
        }
    }

    #[test]
    fn inputs_become_arguments_and_variables() {
        let inputs = inputs(&[
            ("INPUT_COMMAND", "plan"),
            ("INPUT_FILE", "-odd.yml"),
            ("INPUT_ENV", ""),
            ("INPUT_TOKEN", " dop_v1_x\n"),
            ("INPUT_VARS", "# two\nA=1\n\n B = x=y\n"),
            ("INPUT_ARGS", r#"-v --var "C=a b" 'd'e \'"#),
            ("INPUT_COMMENT", "false"),
        ])
        .unwrap();
        assert_eq!(inputs.arguments(), ["plan", "--file=-odd.yml", "-v", "--var", "C=a b", "de", "'"]);
        let mut environment = Environment::default();
        inputs.apply(&mut environment);
        assert_eq!(environment.get("DIGITALOCEAN_ACCESS_TOKEN"), Some("dop_v1_x"));
        assert_eq!((environment.get("A"), environment.get("B")), (Some("1"), Some(" x=y")));
        assert!(!inputs.comment && inputs.warnings.is_empty());
        assert!(!format!("{inputs:?}").contains("dop_v1_x"));
    }

    #[test]
    fn what_is_asked_of_images_goes_to_the_commands_that_have_some() {
        for (command, wanted) in [
            ("auto", "up --on-gc=cancel --sbom --provenance"),
            ("push", "push --on-gc=cancel --sbom --provenance"),
            ("plan", "plan --sbom --provenance"),
            ("check", "check"),
            ("down", "down"),
        ] {
            let given = [("INPUT_ON-GC", "cancel"), ("INPUT_SBOM", "true"), ("INPUT_PROVENANCE", "true")];
            let arguments = inputs(&[&given[..], &[("INPUT_COMMAND", command)]].concat()).unwrap().arguments();
            assert_eq!(arguments.join(" "), wanted);
        }
        let defaults = [("INPUT_ON_GC", "wait"), ("INPUT_SBOM", "false"), ("INPUT_PROVENANCE", "false")];
        assert_eq!(inputs(&defaults).unwrap().arguments(), ["up", "--on-gc=wait"]);
    }

    #[test]
    fn nothing_given_is_what_the_event_calls_for() {
        let inputs = inputs(&[]).unwrap();
        assert_eq!((inputs.command, inputs.arguments()), (Command::Auto, vec!["up".to_owned()]));
        assert!(inputs.comment);
    }

    #[test]
    fn an_unknown_input_is_a_warning_with_the_nearest_name() {
        let inputs = inputs(&[("INPUT_TOKN", "x"), ("INPUT_ZZZ", "y"), ("INPUT_EMPTY", "")]).unwrap();
        let wanted = ["the action has no input `tokn`: did you mean `token`?", "the action has no input `zzz`"];
        assert_eq!(inputs.warnings, wanted);
    }

    #[test]
    fn wrong_values_are_refused_without_being_shown() {
        let wrong = [
            ("INPUT_COMMAND", "destroy-secret"),
            ("INPUT_COMMENT", "yes-secret"),
            ("INPUT_VARS", "secret"),
            ("INPUT_ARGS", "\"secret"),
        ];
        for (name, value) in wrong {
            let error = inputs(&[(name, value)]).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
