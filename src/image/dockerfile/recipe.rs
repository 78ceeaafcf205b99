//! A Dockerfile that needs no builder: the stages that lead to its target, with every word in them understood.
//!
//! In: the Dockerfile, its arguments, its target. Out: a [`Recipe`], or the first word that needs a builder.

use super::expand::{self, Variables};
use super::parse::{self, Dockerfile, Instruction};
use super::platform_arguments;
use crate::model::{Platform, nearest};
use std::collections::BTreeMap;

/// What a Dockerfile comes to when nothing in it has to be run.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The image that it builds on; `None` for `scratch`.
    pub(crate) base: Option<String>,
    /// The line that names it.
    pub(crate) base_line: usize,
    /// The instructions of the stages from the base to the target.
    pub(super) stages: Vec<Vec<Instruction>>,
    /// The character that takes the meaning from the next.
    pub(super) escape: char,
    /// The arguments of all stages.
    pub(super) globals: Variables,
    /// The arguments that were given.
    pub(super) given: BTreeMap<String, String>,
}

/// Why a Dockerfile is left to a builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What stands there: `` `RUN` ``.
    pub(crate) what: String,
    /// Why that needs a builder, if its word does not say it already.
    pub(crate) why: Option<String>,
}

impl Refusal {
    /// A word, or a part of an instruction, that only a builder understands.
    pub(super) fn of(instruction: &Instruction, what: impl Into<String>) -> Self {
        Self { line: instruction.line, what: what.into(), why: None }
    }

    /// The same with the reason.
    pub(super) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// What a person reads: `` `RUN` at Dockerfile:7 needs a builder ``.
    pub(crate) fn describe(&self, file: &str) -> String {
        let why = self.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} at {file}:{} needs a builder{why}", self.what, self.line)
    }
}

/// Words whose meaning is a change of files or of the configuration, and nothing that runs.
const UNDERSTOOD: [&str; 15] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
];

/// `WORKDIR` beside the others: it makes a folder too.
const WORKDIR: &str = "WORKDIR";

/// The argument with which a builder tells a Dockerfile its target.
pub(super) const TARGET_STAGE: &str = "TARGETSTAGE";

/// A stage.
struct Stage {
    /// Its `FROM`.
    from: Instruction,
    /// What it builds on, arguments filled in.
    base: String,
    /// Its name in lower case.
    name: Option<String>,
    /// What follows.
    instructions: Vec<Instruction>,
}

/// Reads a Dockerfile for a registry and nothing else.
pub(crate) fn read(
    text: &str,
    given: &BTreeMap<String, String>,
    target: Option<&str>,
    platform: &Platform,
) -> Result<Recipe, Refusal> {
    let recipe = Recipe::of(&parse(text)?, given, target, platform)?;
    recipe.stages.iter().flatten().try_for_each(check_word)?;
    Ok(recipe)
}

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Dockerfile, Refusal> {
    parse::parse(text).map_err(|error| Refusal {
        line: error.line,
        what: "what stands".to_owned(),
        why: Some(error.problem),
    })
}

impl Recipe {
    /// The stages that lead to the target, whatever stands in them.
    pub(super) fn of(
        parsed: &Dockerfile,
        given: &BTreeMap<String, String>,
        target: Option<&str>,
        platform: &Platform,
    ) -> Result<Self, Refusal> {
        check_syntax(parsed, given)?;
        let mut globals = platform_arguments(platform);
        globals.insert(TARGET_STAGE.to_owned(), target.unwrap_or("default").to_owned());
        for (name, value) in given.iter().filter(|(name, _)| globals.contains_key(*name)).collect::<Vec<_>>() {
            globals.insert(name.clone(), value.clone());
        }
        let stages = stages(parsed, given, &mut globals)?;
        let chain = chain(&stages, target)?;
        chain.iter().try_for_each(|stage| check_platform(stage, platform, &globals, parsed.escape))?;
        let Some(first) = chain.first() else {
            return Err(Refusal { line: 1, what: "a Dockerfile without stages".to_owned(), why: None });
        };
        Ok(Self {
            base: (first.base != "scratch").then(|| first.base.clone()),
            base_line: first.from.line,
            stages: chain.iter().map(|stage| stage.instructions.clone()).collect(),
            escape: parsed.escape,
            globals,
            given: given.clone(),
        })
    }
}

/// Docker's own frontend is the one that is understood here.
fn check_syntax(parsed: &Dockerfile, given: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let Some((line, syntax)) = frontend(parsed, given) else { return Ok(()) };
    let name = syntax.strip_prefix("docker.io/").unwrap_or(&syntax).split([':', '@']).next().unwrap_or_default();
    if name == "docker/dockerfile" {
        return Ok(());
    }
    Err(Refusal { line, what: format!("the frontend `{syntax}`"), why: None })
}

/// The instructions that there are not and that look like one that there is: the line, the word in upper case, and what was
/// probably meant. Another frontend than Docker's own may know more, so that none is named of what it reads.
pub(crate) fn mistyped(text: &str, given: &BTreeMap<String, String>) -> Vec<(usize, String, &'static str)> {
    let (parsed, _) = parse::parse_as_far_as_possible(text);
    if check_syntax(&parsed, given).is_err() {
        return Vec::new();
    }
    let all = || UNDERSTOOD.into_iter().chain([WORKDIR, "RUN", "ONBUILD"]);
    let unknown = parsed.instructions.into_iter().filter(|one| all().all(|known| known != one.word));
    unknown.filter_map(|one| nearest(&one.word, all()).map(|meant| (one.line, one.word, meant))).collect()
}

/// The image that reads the Dockerfile, where an argument or the Dockerfile itself names one, and the line.
pub(super) fn frontend(parsed: &Dockerfile, given: &BTreeMap<String, String>) -> Option<(usize, String)> {
    let given = given.get("BUILDKIT_SYNTAX").filter(|name| !name.is_empty());
    given.map(|name| (1, name.clone())).or_else(|| parsed.syntax.clone())
}

/// The stages in order; arguments before the first of them are taken into `globals`.
fn stages(
    parsed: &Dockerfile,
    given: &BTreeMap<String, String>,
    globals: &mut Variables,
) -> Result<Vec<Stage>, Refusal> {
    let mut stages: Vec<Stage> = Vec::new();
    for instruction in &parsed.instructions {
        match (instruction.word.as_str(), stages.last_mut()) {
            ("FROM", _) => stages.push(stage(instruction, globals, parsed.escape)?),
            ("ARG", None) => declare_globals(instruction, given, globals, parsed.escape)?,
            (_, Some(stage)) => stage.instructions.push(instruction.clone()),
            (word, None) => return Err(Refusal::of(instruction, format!("`{word}` before the first `FROM`"))),
        }
    }
    Ok(stages)
}

/// Reads a `FROM`.
fn stage(from: &Instruction, globals: &Variables, escape: char) -> Result<Stage, Refusal> {
    let words = from.list();
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, between, name] if between.eq_ignore_ascii_case("as") => (base, Some(name.to_lowercase())),
        _ => return Err(Refusal::of(from, "`FROM`").because("it needs one image, or `IMAGE AS NAME`")),
    };
    let base = expand::word(base, globals, escape).map_err(|problem| Refusal::of(from, "`FROM`").because(problem))?;
    if base.is_empty() {
        return Err(Refusal::of(from, "`FROM`").because("its image is empty"));
    }
    Ok(Stage { from: from.clone(), base, name, instructions: Vec::new() })
}

/// Takes the arguments of an `ARG` before the first stage in.
fn declare_globals(
    instruction: &Instruction,
    given: &BTreeMap<String, String>,
    globals: &mut Variables,
    escape: char,
) -> Result<(), Refusal> {
    for (name, default) in instruction.declarations() {
        let default = default.map(|default| expand::word(&default, globals, escape)).transpose();
        let default = default.map_err(|problem| Refusal::of(instruction, "`ARG`").because(problem))?;
        if let Some(value) = given.get(&name).cloned().or(default) {
            globals.insert(name, value);
        }
    }
    Ok(())
}

/// The stages from the base to the target, the base's first.
fn chain<'a>(stages: &'a [Stage], target: Option<&str>) -> Result<Vec<&'a Stage>, Refusal> {
    let find = |end: usize, name: &str| stages[..end].iter().rposition(|stage| stage.name.as_deref() == Some(name));
    let last = stages.len().checked_sub(1);
    let start = match target {
        None => last,
        Some(target) => {
            let by_name = find(stages.len(), &target.to_lowercase());
            let by_number = target.parse().ok().filter(|number| *number < stages.len());
            let missing =
                || Refusal { line: 1, what: format!("the target `{target}`, which no stage is called,"), why: None };
            Some(by_name.or(by_number).ok_or_else(missing)?)
        }
    };
    let mut chain = Vec::new();
    let mut next = start;
    while let Some(at) = next {
        chain.push(&stages[at]);
        next = find(at, &stages[at].base.to_lowercase());
    }
    chain.reverse();
    Ok(chain)
}

/// A stage for another platform is another image than the one that is looked at.
fn check_platform(stage: &Stage, wanted: &Platform, globals: &Variables, escape: char) -> Result<(), Refusal> {
    if let Some(other) = stage.from.other_flag(&["platform"]) {
        return Err(Refusal::of(&stage.from, format!("`FROM {other}`")));
    }
    let Some(platform) = stage.from.flag("platform") else { return Ok(()) };
    let refuse = || Refusal::of(&stage.from, format!("`FROM --platform={platform}`"));
    let value = expand::word(platform, globals, escape).map_err(|problem| refuse().because(problem))?;
    let same = Platform::parse(&value).is_some_and(|there| there == *wanted);
    if same { Ok(()) } else { Err(refuse().because(format!("it is not `{wanted}`"))) }
}

/// Finds the words, and the parts of them, that need a builder whatever the base is.
pub(super) fn check_word(instruction: &Instruction) -> Result<(), Refusal> {
    let word = instruction.word.as_str();
    if !UNDERSTOOD.contains(&word) && word != WORKDIR {
        return Err(Refusal::of(instruction, format!("`{word}`")));
    }
    let flags: &[&str] = match word {
        "COPY" | "ADD" => &["chown", "chmod", "link"],
        "HEALTHCHECK" => &["interval", "timeout", "start-period", "start-interval", "retries"],
        _ => &[],
    };
    match instruction.other_flag(flags) {
        Some(other) => Err(Refusal::of(instruction, format!("`{word} {other}`"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads with arguments.
    fn with(text: &str, args: &[(&str, &str)], target: Option<&str>) -> Result<Recipe, String> {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read(text, &args, target, &Platform::default()).map_err(|refusal| refusal.describe("Dockerfile"))
    }

    /// The base and the words of the instructions.
    fn summary(recipe: &Recipe) -> (Option<&str>, Vec<&str>) {
        let words = recipe.stages.iter().flatten().map(|instruction| instruction.word.as_str());
        (recipe.base.as_deref(), words.collect())
    }

    #[test]
    fn files_and_settings_need_no_builder() {
        let text = "# syntax=docker/dockerfile:1\nARG V=1\nFROM --platform=$TARGETPLATFORM tomcat:$V AS base\nWORKDIR /x\n\
                    FROM base\nCOPY a /\nentrypoint [\"/a\"]\n";
        let recipe = with(text, &[("V", "10")], None).unwrap();
        assert_eq!(summary(&recipe), (Some("tomcat:10"), vec!["WORKDIR", "COPY", "ENTRYPOINT"]));
        assert_eq!(recipe.base_line, 3);
        assert_eq!(with("FROM scratch\nCOPY a /", &[], None).unwrap().base, None);
    }

    #[test]
    fn a_frontend_may_be_given_as_an_argument() {
        let given = |frontend: &str| with("FROM a\n", &[("BUILDKIT_SYNTAX", frontend)], None);
        assert!(given("docker/dockerfile:1.7").is_ok() && given("").is_ok());
        assert_eq!(given("other/one").unwrap_err(), "the frontend `other/one` at Dockerfile:1 needs a builder");
    }

    #[test]
    fn only_the_stages_of_the_target_count() {
        let text = "FROM golang AS build\nRUN go build\nFROM a AS files\nCOPY x /\nFROM build\nCOPY y /\n";
        assert_eq!(with(text, &[], Some("FILES")).unwrap().base.as_deref(), Some("a"));
        assert_eq!(with(text, &[], Some("1")).unwrap().base.as_deref(), Some("a"));
        assert_eq!(with(text, &[], None).unwrap_err(), "`RUN` at Dockerfile:2 needs a builder");
        assert!(with(text, &[], Some("no")).unwrap_err().starts_with("the target `no`"));
    }

    #[test]
    fn what_needs_a_builder_is_named_with_its_line() {
        for (text, wanted) in [
            ("FROM a\n\nRUN x\n", "`RUN` at Dockerfile:3 needs a builder"),
            ("FROM a\nONBUILD COPY a b\n", "`ONBUILD` at Dockerfile:2 needs a builder"),
            ("FROM a\nCOPY --from=b /x /y\n", "`COPY --from=b` at Dockerfile:2 needs a builder"),
            ("FROM a\nCOPY --parents x /y\n", "`COPY --parents` at Dockerfile:2 needs a builder"),
            (
                "FROM --platform=linux/arm64 a\n",
                "`FROM --platform=linux/arm64` at Dockerfile:1 needs a builder: it is not `linux/amd64`",
            ),
            (
                "# syntax=example.com/other:1\nFROM a\n",
                "the frontend `example.com/other:1` at Dockerfile:1 needs a builder",
            ),
            (
                "#!/bin/x\n# syntax=example.com/other:1\nFROM a\n",
                "the frontend `example.com/other:1` at Dockerfile:2 needs a builder",
            ),
            ("COPY a b\n", "`COPY` before the first `FROM` at Dockerfile:1 needs a builder"),
            ("FROM a b\n", "`FROM` at Dockerfile:1 needs a builder: it needs one image, or `IMAGE AS NAME`"),
            ("FROM $NO\n", "`FROM` at Dockerfile:1 needs a builder: its image is empty"),
            ("# nothing\n", "a Dockerfile without stages at Dockerfile:1 needs a builder"),
            ("FROM a\nFOO x\n", "`FOO` at Dockerfile:2 needs a builder"),
        ] {
            assert_eq!(with(text, &[], None).unwrap_err(), wanted);
        }
    }
}
