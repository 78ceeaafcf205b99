//! Where a Dockerfile is cut in two: the lower part ends with the last instruction that needs a builder, the upper part is
//! laid on what the builder makes of it.
//!
//! Most builds differ from the one before only in the upper part: dependencies are installed, then the application is copied.

use super::network::is_remote;
use super::parse::Instruction;
use super::recipe::{Recipe, TARGET_STAGE, check_word, parse};
use crate::model::Platform;
use std::collections::BTreeMap;

/// A Dockerfile in two parts.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// The text of the lower part: the lines up to the upper part, in which those of the stage that is cut are the last.
    pub(crate) lower: String,
    /// The target of the lower part; `None` for its last stage.
    pub(crate) target: Option<String>,
    /// The upper part.
    pub(crate) upper: Upper,
}

/// The upper part of a Dockerfile.
#[derive(Clone, Debug)]
pub(crate) struct Upper {
    /// The stages from the base to the target, those of the lower part too.
    pub(super) recipe: Recipe,
    /// The stage that is cut.
    stage: usize,
    /// So many of its instructions belong to the lower part.
    instructions: usize,
}

impl Upper {
    /// The image that the lower part builds on; `None` for `scratch`.
    pub(crate) fn base(&self) -> Option<&str> {
        self.recipe.base.as_deref()
    }

    /// How many instructions it has.
    pub(crate) fn len(&self) -> usize {
        let (_, first, rest) = self.parts();
        first.len() + rest.iter().map(Vec::len).sum::<usize>()
    }

    /// The stages of the lower part up to the cut, what is left of the stage that is cut, and the stages after it.
    pub(super) fn parts(&self) -> (Vec<&[Instruction]>, &[Instruction], &[Vec<Instruction>]) {
        let (before, after) = self.recipe.stages.split_at(self.stage);
        let Some((stage, rest)) = after.split_first() else { return (Vec::new(), &[], &[]) };
        let (below, first) = stage.split_at(self.instructions);
        (before.iter().map(Vec::as_slice).chain([below]).collect(), first, rest)
    }
}

/// Arguments of these names are for the builder itself.
const OF_THE_BUILDER: [&str; 2] = ["BUILDKIT_", "SOURCE_DATE_EPOCH"];

/// Cuts a Dockerfile after the last instruction that needs a builder. `unpacks` says whether a source of `ADD` is an archive.
/// `None` where nothing is copied after that, where all of it can do without a builder, and where it is not understood what
/// leads to the target.
pub(crate) fn cut(
    text: &str,
    given: &BTreeMap<String, String>,
    target: Option<&str>,
    platform: &Platform,
    unpacks: impl Fn(&str) -> bool,
) -> Option<Cut> {
    if given.keys().any(|name| OF_THE_BUILDER.iter().any(|prefix| name.starts_with(prefix))) {
        return None;
    }
    let parsed = parse(text).ok()?;
    let recipe = Recipe::of(&parsed, given, target, platform).ok()?;
    let needs_builder = |instruction: &Instruction| check_word(instruction).is_err() || adds(instruction, &unpacks);
    let last = |stage: &Vec<Instruction>| stage.iter().rposition(needs_builder);
    let found = recipe.stages.iter().enumerate().rev().find_map(|(at, stage)| Some((at, last(stage)?)));
    let (stage, last) = found?;
    let upper = Upper { recipe, stage, instructions: last + 1 };
    let (_, first, rest) = upper.parts();
    let copies = |instruction: &Instruction| matches!(instruction.word.as_str(), "COPY" | "ADD");
    if !first.iter().chain(rest.iter().flatten()).any(copies) {
        return None;
    }
    // What one stage leaves to the next is done at the beginning of that, whatever it is.
    let leaving = if rest.is_empty() { stage } else { stage + 1 };
    if upper.recipe.stages[..leaving].iter().flatten().any(|instruction| instruction.word == "ONBUILD") {
        return None;
    }
    // The builder would tell another target to the part of a stage before it.
    if !rest.is_empty() && text.contains(TARGET_STAGE) {
        return None;
    }
    let line = upper.recipe.stages[stage][last].line;
    let next = parsed.instructions.iter().map(|instruction| instruction.line).find(|other| *other > line)?;
    Some(Cut {
        lower: text.split_inclusive('\n').take(next - 1).collect(),
        target: target.filter(|_| rest.is_empty()).map(str::to_owned),
        upper,
    })
}

/// Whether an instruction adds what is not simply copied: from the network, out of an archive, or from who knows where.
fn adds(instruction: &Instruction, unpacks: impl Fn(&str) -> bool) -> bool {
    let mut words = instruction.list();
    words.pop();
    let is_more = |source: &String| {
        !instruction.begins_heredoc(source) && (source.contains('$') || is_remote(source) || unpacks(source))
    };
    instruction.word == "ADD" && words.iter().any(is_more)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::image::config::Draft;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Cuts a Dockerfile whose archives have `.tar` in their names.
    fn cut_with(text: &str, given: &[(&str, &str)], target: Option<&str>) -> Option<Cut> {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        super::cut(text, &given, target, &Platform::default(), is_archive)
    }

    /// Whether a source is an archive.
    fn is_archive(source: &str) -> bool {
        source.contains(".tar")
    }

    /// The lower part, and the words of the upper one.
    fn summary(text: &str, target: Option<&str>) -> Option<(String, String)> {
        let cut = cut_with(text, &[], target)?;
        let (_, first, rest) = cut.upper.parts();
        let words: Vec<&str> =
            first.iter().chain(rest.iter().flatten()).map(|instruction| instruction.word.as_str()).collect();
        assert_eq!(words.len(), cut.upper.len());
        Some((cut.lower, words.join(" ")))
    }

    #[test]
    fn the_lower_part_ends_with_the_last_instruction_that_needs_a_builder() {
        let rest = "COPY . .\nUSER app\nCMD [\"x\"]\n";
        for lower in [
            "FROM a\nCOPY package.json .\nRUN install\n",
            "# syntax=docker/dockerfile:1\nFROM a\nRUN install \\\n  # why\n  more\n\n# the application\n",
            "FROM a\nRUN <<END\nCOPY not an instruction\nEND\n",
            "FROM a\nONBUILD RUN x\n",
            "FROM b AS build\nRUN make\nFROM a\nCOPY --from=build /x /x\n",
            "FROM a\nCOPY --parents x /\n",
            "FROM a\nCOPY --exclude=x . /\n",
            "FROM a\nADD https://example.com/x /x\n",
            "FROM a\nADD files.tar /\n",
            "ARG N=1\nFROM a\nARG N\nADD file-$N /x\n",
            "FROM a\nADD --checksum=sha256:0 x /\n",
            "FROM a\nRUN x\nWORKDIR /y\nRUN z\n",
        ] {
            assert_eq!(summary(&format!("{lower}{rest}"), None), Some((lower.to_owned(), "COPY USER CMD".to_owned())));
        }
        let plain = summary("FROM a\nRUN x\nADD file /x\nADD [\"a b\", \"/\"]\nENV A=1\n", None);
        assert_eq!(plain, Some(("FROM a\nRUN x\n".to_owned(), "ADD ADD ENV".to_owned())));
        let no_end = summary("FROM a\nRUN x\nCOPY a /", None);
        assert_eq!(no_end, Some(("FROM a\nRUN x\n".to_owned(), "COPY".to_owned())));
        let here = summary("FROM a\nRUN x\nADD <<E /x\nRUN y\nE\n", None);
        assert_eq!(here, Some(("FROM a\nRUN x\n".to_owned(), "ADD".to_owned())));
    }

    #[test]
    fn what_has_no_such_end_is_not_cut() {
        for text in [
            "FROM a\nCOPY x /\n",
            "FROM a\nCOPY x /\nRUN y\n",
            "FROM a\nRUN y\nENV A=1\nCMD [\"x\"]\n",
            "FROM b AS b\nRUN y\nFROM a\nCOPY --from=b /x /x\nCMD x\n",
            "# syntax=example.com/other:1\nFROM a\nRUN x\nCOPY x /\n",
            "FROM --platform=linux/arm64 a\nRUN x\nCOPY x /\n",
            "FROM a\nRUN <<E\nCOPY x /\n",
            "FROM a AS a\nONBUILD RUN x\nFROM a\nCOPY x /\n",
            "FROM a AS a\nONBUILD ARG X=1\nFROM a\nRUN x\nCOPY x /\n",
            "RUN x\nFROM a\nCOPY x /\n",
            "",
        ] {
            assert_eq!(summary(text, None), None, "{text}");
        }
        let text = "FROM a\nRUN x\nCOPY x /\n";
        for given in ["BUILDKIT_SYNTAX", "BUILDKIT_MULTI_PLATFORM", "SOURCE_DATE_EPOCH"] {
            assert!(cut_with(text, &[(given, "1")], None).is_none());
        }
        assert!(cut_with(text, &[("OTHER", "1")], None).is_some());
        assert_eq!(summary(text, Some("no")), None);
    }

    #[test]
    fn stages_lead_to_the_target() {
        let text =
            "FROM a AS base\nRUN x\nCOPY a /\nFROM b AS other\nRUN y\nFROM base AS app\nCOPY b /\nFROM app\nRUN z\n";
        let cut = cut_with(text, &[], Some("app")).unwrap();
        assert_eq!(
            (cut.lower.as_str(), cut.target),
            ("FROM a AS base\nRUN x\n", None),
            "another stage is the last now"
        );
        assert_eq!((cut.upper.len(), cut.upper.base()), (2, Some("a")));
        let cut = cut_with(text, &[], Some("0")).unwrap();
        assert_eq!((cut.lower.as_str(), cut.target.as_deref()), ("FROM a AS base\nRUN x\n", Some("0")));
        assert!(cut_with(text, &[], None).is_none());
        let told = "FROM a AS base\nARG TARGETSTAGE\nRUN x\nFROM base AS app\nCOPY b /\n";
        assert!(cut_with(told, &[], Some("app")).is_none(), "the lower part would be told another target");
        assert!(cut_with("FROM scratch\nCOPY --from=x /y /\nCOPY a /\n", &[], None).unwrap().upper.base().is_none());
    }

    /// The steps of the upper part, on a base and a lower part with these variables.
    fn steps(text: &str, base: &Value, built: &Value) -> Result<Vec<String>, String> {
        let cut = cut_with(text, &[("GIVEN", "g")], None).unwrap();
        let draft = |settings: &Value| {
            let config = json!({ "architecture": "amd64", "os": "linux", "config": settings, "rootfs": {} });
            Draft::on_top_of(config.to_string().as_bytes()).unwrap()
        };
        let (_, draft) =
            cut.upper.evaluate(draft(base), draft(built)).map_err(|refusal| refusal.describe("Dockerfile"))?;
        Ok(draft.list("Env").into_iter().chain(draft.list("Cmd")).collect())
    }

    #[test]
    fn the_upper_part_goes_on_where_the_lower_one_ended() {
        let base = json!({ "Env": ["PATH=/p", "A=base"], "Cmd": ["base"] });
        let built = json!({ "Env": ["PATH=/p", "A=2"], "Cmd": ["base"] });
        let text = "ARG TOP=top\nFROM b\nARG GIVEN X=$A TOP\nENV A=2\nARG Y=${A}y\nRUN x\nCOPY a /\nENV Z=$X-$Y-$A-$GIVEN-$TOP-$NO\n";
        assert_eq!(steps(text, &base, &built).unwrap(), ["PATH=/p", "A=2", "Z=base-2y-2-g-top-", "base"]);
        let entry = |lower: &str| {
            let text = format!("FROM b\n{lower}RUN x\nCOPY a /\nENTRYPOINT [\"e\"]\n");
            let built = json!({ "Env": ["PATH=/p"], "Cmd": ["c"] });
            steps(&text, &json!({ "Env": ["PATH=/p"] }), &built).unwrap()
        };
        assert_eq!(entry(""), ["PATH=/p"], "the base's command goes");
        assert_eq!(entry("CMD [\"c\"]\n"), ["PATH=/p", "c"], "the stage's own stays");
    }

    #[test]
    fn a_lower_part_that_is_not_understood_is_no_foundation() {
        let (base, text) = (json!({ "Env": ["PATH=/p"] }), "FROM b\nRUN x\nCOPY a /\n");
        let other = json!({ "Env": ["PATH=/p", "X=1"] });
        assert!(steps(text, &base, &other).unwrap_err().contains("its variables cannot be told"));
        let triggers = json!({ "Env": ["PATH=/p"], "OnBuild": ["ARG X=1"] });
        assert!(steps(text, &triggers, &base).unwrap_err().contains("ONBUILD"));
    }

    /// Lines of a stage.
    fn line() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "COPY a /",
            "RUN x",
            "RUN x \\\n  y",
            "RUN <<E\nCOPY q /\nE",
            "COPY <<E /x\nRUN q\nE",
            "ENV A=1",
            "# RUN x",
            "",
            "ADD a /",
            "ADD a.tar /",
            "COPY --from=x /a /",
            "WORKDIR /x",
            "CMD x",
            "FROM s",
            "FROM other",
            "FROM t AS s",
        ])
    }

    proptest! {
        #[test]
        fn both_parts_are_the_whole(lines in prop::collection::vec(line(), 0..12)) {
            let text = format!("FROM a AS s\n{}\n", lines.join("\n"));
            let Some(cut) = cut_with(&text, &[], None) else { return Ok(()) };
            prop_assert!(text.starts_with(&cut.lower) && cut.lower.ends_with('\n'));
            let all = parse::parse(&text).unwrap().instructions;
            let lower = parse::parse(&cut.lower).unwrap().instructions;
            prop_assert_eq!(&all[..lower.len()], &lower[..]);
            let needs_builder = |instruction: &Instruction| {
                check_word(instruction).is_err() || adds(instruction, is_archive)
            };
            prop_assert!(lower.last().is_some_and(needs_builder));
            let (below, first, rest) = cut.upper.parts();
            let upper: Vec<_> = first.iter().chain(rest.iter().flatten()).collect();
            prop_assert!(!upper.iter().any(|instruction| needs_builder(instruction)));
            let chain: Vec<_> = below.into_iter().flatten().chain(upper).cloned().collect();
            let whole: Vec<_> = cut.upper.recipe.stages.iter().flatten().cloned().collect();
            prop_assert_eq!(chain, whole);
        }
    }
}
