//! Fills variables into texts: `${NAME}`, `${NAME:-default}`, `${NAME:?message}`, `$$`, and Seaway's own names with a dot.

use super::raw::{Problem, Text};
use super::source::{SourceFile, Span};
use crate::model::{Environment, RunContext};
use crate::model::{listed, nearest};
use std::ops::Range;

/// A text in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Stays as it is.
    Literal(String),
    /// Is filled in.
    Variable(Variable),
}

/// A place in a text that is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    /// Its bytes in the text, `${` and `}` included.
    range: Range<usize>,
    /// The name.
    name: String,
    /// What is done where it has no value.
    fallback: Option<Fallback>,
}

/// What is done where a variable is unset or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fallback {
    /// `:-`: this text takes its place, variables in it filled in.
    Default(String),
    /// `:?`: it is an error with this message.
    Required(String),
}

/// A `${` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unreadable {
    /// Its bytes in the text.
    range: Range<usize>,
    /// What is wrong with it.
    message: String,
}

/// What is understood, for whoever wrote something else.
const SYNTAX: &str = "write `${NAME}`, `${NAME:-default}` or `${NAME:?message}`; a dollar itself is `$$`";

/// Takes a text apart. With `only`, everything but these names is literal: manifests hold shell scripts too, where
/// `$$` and `${X%%.*}` have a meaning of their own; there `$${NAME}` writes a `${NAME}` that is not filled in.
fn parse(text: &str, only: Option<&[String]>) -> Result<Vec<Part>, Unreadable> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('$').map(|offset| at + offset) {
        literal.push_str(&text[at..found]);
        let rest = &text[found + 1..];
        at = found + 1;
        if rest.starts_with("${") || (rest.starts_with('$') && only.is_none()) {
            literal.push('$');
            at += 1;
            continue;
        }
        let variable = if rest.starts_with('{') { Some(parse_variable(text, found)) } else { None };
        match variable {
            Some(Ok(variable)) if only.is_none_or(|only| only.contains(&variable.name)) => {
                at = variable.range.end;
                parts.push(Part::Literal(std::mem::take(&mut literal)));
                parts.push(Part::Variable(variable));
            }
            Some(Err(unreadable)) if only.is_none() => return Err(unreadable),
            _ => literal.push('$'),
        }
    }
    literal.push_str(&text[at..]);
    parts.push(Part::Literal(literal));
    parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
    Ok(parts)
}

/// Reads the variable that starts at this byte, where `${` stands.
fn parse_variable(text: &str, start: usize) -> Result<Variable, Unreadable> {
    let fail = |end: usize, message: &str| Unreadable { range: start..end, message: message.to_owned() };
    let end = closing_brace(text, start + 2)
        .ok_or_else(|| fail(text.len(), "a `${` has no closing `}`, or is nested too deep"))?;
    let inner = &text[start + 2..end];
    let split = inner.find([':', '=', '?', '+', '%', '#']).unwrap_or(inner.len());
    let (name, operator) = (&inner[..split], inner.get(split..).unwrap_or_default());
    if !is_name(name) {
        return Err(fail(end + 1, "this is not the name of a variable"));
    }
    let fallback = match operator.get(..2) {
        _ if operator.is_empty() => None,
        Some(":-") => Some(Fallback::Default(operator[2..].to_owned())),
        Some(":?") => Some(Fallback::Required(operator[2..].to_owned())),
        _ => return Err(fail(end + 1, "after a variable's name only `:-default` and `:?message` are understood")),
    };
    Ok(Variable { range: start..end + 1, name: name.to_owned(), fallback })
}

/// How deep defaults may hold variables with defaults: far more than anybody reads.
const DEEPEST: usize = 16;

/// The `}` that closes a `${` whose inside starts at this byte; `None` where there is none, or only too deep.
fn closing_brace(text: &str, start: usize) -> Option<usize> {
    let mut depth = 1_usize;
    let bytes = text.as_bytes();
    for at in start..bytes.len() {
        match bytes[at] {
            b'{' if bytes[at - 1] == b'$' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        if depth > DEEPEST {
            return None;
        }
    }
    None
}

/// `NAME` as in the shell, or parts with dots between: `git.sha`, `images.event-service`.
fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match text.split_once('.') {
        None => text.chars().all(word) && text.starts_with(|c: char| !c.is_ascii_digit()),
        Some((room, rest)) => {
            !room.is_empty() && !rest.is_empty() && rest.chars().all(|c| word(c) || c == '-' || c == '.')
        }
    }
}

/// What becomes of a variable that has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is an error.
    Error,
    /// It stays as it was written, and nothing is said: `check --no-env`, and parts that a verb does not use.
    Keep,
}

/// The names that mean something in one place, besides those of the environment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scope<'a> {
    /// The values that earlier smoke steps saved, for `${smoke.NAME}`; `None` outside of smoke steps.
    pub(crate) smoke: Option<&'a [String]>,
    /// The images and their repositories, for `${images.NAME}`; `None` outside of manifests.
    pub(crate) images: Option<&'a [(String, String)]>,
    /// Only these names are filled in, the rest stays as it is; `None` fills all.
    pub(crate) only: Option<&'a [String]>,
}

/// A text whose variables are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    /// The text.
    pub(crate) text: String,
    /// Whether every variable had a value; the text is not worth checking otherwise.
    pub(crate) known: bool,
}

/// Where variables get their values from.
#[derive(Clone, Copy)]
pub(crate) struct Variables<'a> {
    /// The environment, with `--var` laid over it.
    pub(crate) environment: &'a Environment,
    /// The commit, the pull request and the run.
    pub(crate) run: &'a RunContext,
}

/// What a name stands for.
enum Value {
    /// This text.
    Text(String),
    /// Only the run knows: it stays as written.
    Later,
    /// Nothing, and why.
    None(Problem),
}

impl Variables<'_> {
    /// Fills a text. `who` says what needs it, for messages: ``Secret `database-secret` ``.
    pub(crate) fn fill(
        self,
        text: &Text,
        (who, scope, missing): (&str, Scope<'_>, Missing),
        file: &SourceFile,
        problems: &mut Vec<Problem>,
    ) -> Filled {
        let filling = Filling { variables: self, who, scope, missing, at: Position { text, file } };
        filling.text(&text.value, problems)
    }
}

/// The text that is being filled, and the file that it stands in.
#[derive(Clone, Copy)]
struct Position<'a> {
    /// The text.
    text: &'a Text,
    /// The file.
    file: &'a SourceFile,
}

impl Position<'_> {
    /// Where a piece of the text stands in the file. In a scalar with escapes it may not be found: then the whole.
    fn locate(self, written: &str, nth: usize) -> Span {
        let source = self.file.slice(self.text.span);
        let found = source.match_indices(written).nth(nth).or_else(|| source.match_indices(written).next());
        found.map_or(self.text.span, |(offset, _)| {
            let start = self.text.span.start + offset;
            Span { start, end: start + written.len() }
        })
    }
}

/// All that is needed to fill one text.
struct Filling<'a> {
    /// Where values come from.
    variables: Variables<'a>,
    /// What needs the text.
    who: &'a str,
    /// The names that mean something here.
    scope: Scope<'a>,
    /// What becomes of a variable without a value.
    missing: Missing,
    /// Where the text stands.
    at: Position<'a>,
}

impl Filling<'_> {
    /// Fills a text, which is the whole or a default in it.
    fn text(&self, text: &str, problems: &mut Vec<Problem>) -> Filled {
        let parts = match parse(text, self.scope.only) {
            Ok(parts) => parts,
            Err(unreadable) => {
                let span = self.at.locate(&text[unreadable.range], 0);
                problems.push(Problem::new(span, unreadable.message).hint(SYNTAX));
                return Filled { text: text.to_owned(), known: false };
            }
        };
        let mut filled = Filled { text: String::new(), known: true };
        for part in parts {
            match part {
                Part::Literal(literal) => filled.text.push_str(&literal),
                Part::Variable(variable) => {
                    let written = &text[variable.range.clone()];
                    let before = text[..variable.range.start].matches(written).count();
                    let value = self.variable(&variable, (written, before), problems);
                    filled.text.push_str(value.as_ref().map_or(written, |value| &value.text));
                    filled.known &= value.is_some_and(|value| value.known);
                }
            }
        }
        filled
    }

    /// The value of one variable; `None` keeps it as it was written.
    fn variable(&self, variable: &Variable, written: (&str, usize), problems: &mut Vec<Problem>) -> Option<Filled> {
        let known = |text| Some(Filled { text, known: true });
        let mut problem = match (self.value(&variable.name, written), &variable.fallback) {
            (Value::Text(text), None) => return known(text),
            (Value::Text(text), Some(_)) if !text.is_empty() => return known(text),
            (Value::Later, _) => return known(written.0.to_owned()),
            (_, Some(Fallback::Default(default))) => return Some(self.text(default, problems)),
            (Value::Text(_), Some(Fallback::Required(_))) => self.unset(&variable.name, written, "is empty"),
            (Value::None(problem), _) => problem,
        };
        if let Some(Fallback::Required(message)) = variable.fallback.as_ref().filter(|_| !variable.name.contains('.')) {
            if !message.is_empty() {
                problem.message = format!("{}: {message}", problem.message);
            }
            problem.hint = Some("export it, or set it with `--var`".to_owned());
        }
        if self.missing == Missing::Error || !is_about_value(&problem) {
            problems.push(problem);
        }
        None
    }

    /// What a name stands for.
    fn value(&self, name: &str, written: (&str, usize)) -> Value {
        match name.split_once('.') {
            None => match self.variables.environment.get(name) {
                Some(value) => Value::Text(value.to_owned()),
                None => Value::None(self.unset(name, written, "is not set")),
            },
            Some(("smoke", rest)) => self.smoke(rest, written),
            Some(("images", rest)) => self.image(rest, written),
            Some(_) => self.own(name, written),
        }
    }

    /// A mistake about a variable at its place.
    fn problem(&self, written: (&str, usize), message: impl Into<String>) -> Problem {
        Problem::new(self.at.locate(written.0, written.1), message)
    }

    /// A variable of the environment without a value.
    fn unset(&self, name: &str, written: (&str, usize), how: &str) -> Problem {
        self.problem(written, format!("`{name}` {how}"))
            .label(format!("needed by {}", self.who))
            .hint(format!("export it, set it with `--var {name}=…`, or give a default: `${{{name}:-…}}`"))
    }

    /// One of Seaway's own names.
    fn own(&self, name: &str, written: (&str, usize)) -> Value {
        let run = self.variables.run;
        let git = run.git.as_ref();
        let (value, reason) = match name {
            "git.sha" => (git.map(|git| git.sha.clone()), "deploy.yml does not lie in a git work tree with a commit"),
            "git.branch" => (git.and_then(|git| git.branch.clone()), "no branch is checked out"),
            "pr.number" => (run.pull_request.map(|number| number.to_string()), "this run is not for a pull request"),
            "run.id" => (Some(run.run_id.clone()), ""),
            _ => return Value::None(self.unknown(name, written)),
        };
        value.map_or_else(
            || {
                let problem = self.problem(written, format!("`{name}` has no value: {reason}"));
                let problem = problem.label(format!("needed by {}", self.who));
                Value::None(problem.hint(format!("give a default: `${{{name}:-…}}`")))
            },
            Value::Text,
        )
    }

    /// A name with a dot that means nothing.
    fn unknown(&self, name: &str, written: (&str, usize)) -> Problem {
        let own = ["git.sha", "git.branch", "pr.number", "run.id"];
        let problem = self.problem(written, format!("unknown variable `{name}`"));
        match nearest(name, own) {
            Some(right) => problem.label(format!("did you mean `{right}`?")),
            None => problem.hint(format!("Seaway's own are {}; `smoke.NAME` in smoke steps", listed(own))),
        }
    }

    /// A value that an earlier smoke step saved.
    fn smoke(&self, name: &str, written: (&str, usize)) -> Value {
        let Some(saved) = self.scope.smoke else {
            let problem = self.problem(written, format!("`smoke.{name}` has a value only in smoke steps"));
            return Value::None(problem.hint("the smoke test runs last, when everything else is deployed"));
        };
        if saved.iter().any(|known| known == name) {
            return Value::Later;
        }
        let problem = self.problem(written, format!("no earlier smoke step saves `{name}`"));
        Value::None(match nearest(name, saved.iter().map(String::as_str)) {
            Some(right) => problem.label(format!("did you mean `smoke.{right}`?")),
            None => problem.hint(format!("keep it in an earlier step: `save: {{ {name}: $.id }}`")),
        })
    }

    /// The repository of an image.
    fn image(&self, name: &str, written: (&str, usize)) -> Value {
        let Some(images) = self.scope.images else {
            let problem = self.problem(written, format!("`images.{name}` is not supported here yet"));
            return Value::None(problem.hint("manifests name an image by its key: `image: NAME`"));
        };
        if let Some((_, repository)) = images.iter().find(|(key, _)| key == name) {
            return Value::Text(repository.clone());
        }
        let problem = self.problem(written, format!("there is no image `{name}`"));
        Value::None(match nearest(name, images.iter().map(|(key, _)| key.as_str())) {
            Some(right) => problem.label(format!("did you mean `images.{right}`?")),
            None => problem.hint(format!("the images are {}", listed(images.iter().map(|(key, _)| key.as_str())))),
        })
    }
}

/// Whether a mistake is only that a value is missing at the moment, which `check --no-env` is not told about.
fn is_about_value(problem: &Problem) -> bool {
    problem.label.as_deref().is_some_and(|label| label.starts_with("needed by"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, pairs: &[(&str, &str)], scope: Scope<'_>) -> (Filled, Vec<Problem>) {
        let environment = Environment::new(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let run = RunContext { run_id: "42-1".to_owned(), pull_request: Some(7), ..RunContext::default() };
        let variables = Variables { environment: &environment, run: &run };
        let file = SourceFile::new("deploy.yml", text);
        let text = Text { value: text.to_owned(), span: Span { start: 0, end: text.len() } };
        let mut problems = Vec::new();
        let filled = variables.fill(&text, ("`test`", scope, Missing::Error), &file, &mut problems);
        (filled, problems)
    }

    #[test]
    fn variables_are_filled_as_in_the_shell() {
        let pairs = [("A", "1"), ("EMPTY", ""), ("B", "two")];
        for (text, wanted) in [
            ("${A}", "1"),
            ("x${A}y${B}", "x1ytwo"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${NONE:-d}", "d"),
            ("${NONE:-}", ""),
            ("${NONE:-${A}-${B}}", "1-two"),
            ("${NONE:-a:b}", "a:b"),
            ("$$", "$"),
            ("$${A}", "${A}"),
            ("$A $.id $", "$A $.id $"),
            ("pr-${pr.number} ${run.id}", "pr-7 42-1"),
            ("${git.sha:-dev}", "dev"),
        ] {
            let (filled, problems) = fill(text, &pairs, Scope::default());
            assert_eq!((filled.text.as_str(), problems), (wanted, vec![]), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_is_a_problem_at_its_place() {
        for (text, message, place) in [
            ("a ${NONE} b", "`NONE` is not set", 2..9),
            ("${NONE:?ask Bob}", "`NONE` is not set: ask Bob", 0..16),
            ("${EMPTY:?}", "`EMPTY` is empty", 0..10),
            ("${git.sha}", "`git.sha` has no value: deploy.yml does not lie in a git work tree with a commit", 0..10),
            ("${git.sah}", "unknown variable `git.sah`", 0..10),
            ("x ${A", "a `${` has no closing `}`, or is nested too deep", 2..5),
            ("${1A}", "this is not the name of a variable", 0..5),
            ("${A-b}", "this is not the name of a variable", 0..6),
            ("${A:=b}", "after a variable's name only `:-default` and `:?message` are understood", 0..7),
            ("${smoke.x}", "`smoke.x` has a value only in smoke steps", 0..10),
            ("${images.x}", "`images.x` is not supported here yet", 0..11),
        ] {
            let (filled, problems) = fill(text, &[("A", "1"), ("EMPTY", "")], Scope::default());
            assert!(!filled.known);
            assert_eq!(problems.len(), 1, "{text}");
            assert_eq!(problems[0].message, message);
            assert_eq!(problems[0].span, Span { start: place.start, end: place.end }, "{text}");
        }
    }

    #[test]
    fn saved_values_stay_for_the_run_to_fill() {
        let saved = ["task".to_owned()];
        let scope = Scope { smoke: Some(&saved), ..Scope::default() };
        assert_eq!(fill("/t/${smoke.task}", &[], scope).0, Filled { text: "/t/${smoke.task}".to_owned(), known: true });
        assert_eq!(fill("${smoke.tsak}", &[], scope).1[0].label.as_deref(), Some("did you mean `smoke.task`?"));
    }

    #[test]
    fn in_a_manifest_only_the_listed_names_are_filled() {
        let only = ["A".to_owned()];
        let scope = Scope { only: Some(&only), ..Scope::default() };
        for (text, wanted) in [
            ("${A} ${B}", "1 ${B}"),
            ("$$ ${X%%.*} $(C) ${A:-d}", "$$ ${X%%.*} $(C) 1"),
            ("$${A}", "${A}"),
            ("${", "${"),
        ] {
            assert_eq!(fill(text, &[("A", "1")], scope).0.text, wanted);
        }
    }

    #[test]
    fn defaults_in_defaults_have_an_end() {
        let text = format!("{}x{}", "${N:-".repeat(100_000), "}".repeat(100_000));
        assert_eq!(fill(&text, &[], Scope::default()).1.len(), 1);
        let text = format!("{}x{}", "${N:-".repeat(DEEPEST), "}".repeat(DEEPEST));
        assert_eq!(fill(&text, &[], Scope::default()).0.text, "x");
    }

    #[test]
    fn the_second_of_two_equal_variables_has_its_own_place() {
        let (_, problems) = fill("${N} ${N}", &[], Scope::default());
        assert_eq!(problems.iter().map(|problem| problem.span.start).collect::<Vec<_>>(), [0, 5]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[${}:?\\-A.ä ]{0,20}") {
            let _ = fill(&text, &[("A", "1")], Scope::default());
        }
    }
}
