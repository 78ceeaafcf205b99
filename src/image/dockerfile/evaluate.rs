//! The instructions of a recipe, one after the other, on a base's configuration: what is copied, and what the
//! configuration becomes. Nothing is looked up: whether a source is there shows when it is copied.

use super::cut::Upper;
use super::expand::{self, Variables};
use super::network::is_remote;
use super::parse::{Heredoc, Instruction};
use super::recipe::{Recipe, Refusal};
use crate::image::assembly::blueprint::Step;
use crate::image::assembly::copy::{Account, Action, Copy, Text};
use crate::image::assembly::mode::Mode;
use crate::image::assembly::tree::clean;
use crate::image::config::Draft;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The state of a stage.
struct Evaluation<'a> {
    /// The recipe.
    recipe: &'a Recipe,
    /// The configuration.
    draft: Draft,
    /// Variables and arguments.
    known: Variables,
    /// Whether this stage has a `CMD`: an `ENTRYPOINT` after it leaves it alone.
    has_command: bool,
    /// The instructions so far.
    steps: Vec<Step>,
}

impl Recipe {
    /// The steps on a base with this configuration, and the configuration after them.
    pub(crate) fn evaluate(&self, base: Draft) -> Result<(Vec<Step>, Draft), Refusal> {
        let mut evaluation = self.begun(base)?;
        for stage in &self.stages {
            evaluation.begin();
            stage.iter().try_for_each(|instruction| evaluation.step(instruction))?;
        }
        Ok((evaluation.steps, evaluation.draft))
    }

    /// An evaluation that begins on a base with this configuration.
    fn begun(&self, base: Draft) -> Result<Evaluation<'_>, Refusal> {
        if !base.list("OnBuild").is_empty() {
            let why = Some("the base has ONBUILD instructions".to_owned());
            return Err(Refusal { line: self.base_line, what: "`FROM`".to_owned(), why });
        }
        let known = Variables::new();
        Ok(Evaluation { recipe: self, draft: base, known, has_command: false, steps: Vec::new() })
    }
}

impl Upper {
    /// The steps on what a builder has made of the lower part, and the configuration after them. `base` is the configuration
    /// that the lower part began with: arguments of the lower part hold in the upper part too, and may have been filled in
    /// from variables of the base.
    pub(crate) fn evaluate(&self, base: Draft, built: Draft) -> Result<(Vec<Step>, Draft), Refusal> {
        let mut evaluation = self.recipe.begun(base)?;
        let (lower, first, rest) = self.parts();
        for stage in lower {
            evaluation.begin();
            stage.iter().try_for_each(|instruction| evaluation.remember(instruction))?;
        }
        evaluation.go_on_with(built)?;
        first.iter().try_for_each(|instruction| evaluation.step(instruction))?;
        for stage in rest {
            evaluation.begin();
            stage.iter().try_for_each(|instruction| evaluation.step(instruction))?;
        }
        Ok((evaluation.steps, evaluation.draft))
    }
}

/// Fails about an instruction.
fn refuse(instruction: &Instruction, why: impl Into<String>) -> Refusal {
    Refusal::of(instruction, format!("`{}`", instruction.word)).because(why)
}

impl Evaluation<'_> {
    /// Begins a stage: the image's variables come before arguments of the same name again.
    fn begin(&mut self) {
        self.known.extend(self.draft.variables());
        self.has_command = false;
    }

    /// Does one instruction, and notes it.
    fn step(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        let action = self.instruction(instruction)?;
        let (line, text, unpacks) = (instruction.line, instruction.to_string(), instruction.word == "ADD");
        self.steps.push(Step { line, text, action, unpacks });
        Ok(())
    }

    /// An instruction that a builder has done: what it says about later ones.
    fn remember(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        if matches!(instruction.word.as_str(), "ARG" | "ENV" | "CMD") {
            self.instruction(instruction)?;
        }
        Ok(())
    }

    /// Goes on with the configuration that a builder has come to. Its variables must be those that were expected: otherwise
    /// something in the lower part was not understood.
    fn go_on_with(&mut self, built: Draft) -> Result<(), Refusal> {
        let sorted = |draft: &Draft| draft.variables().into_iter().collect::<BTreeSet<_>>();
        if sorted(&built) != sorted(&self.draft) {
            let why = Some("its variables cannot be told before it is built".to_owned());
            return Err(Refusal { line: self.recipe.base_line, what: "`FROM`".to_owned(), why });
        }
        self.draft = built;
        Ok(())
    }

    /// Does one instruction; what it does to files comes back.
    fn instruction(&mut self, instruction: &Instruction) -> Result<Option<Action>, Refusal> {
        match instruction.word.as_str() {
            "COPY" | "ADD" => return self.copy(instruction).map(|copy| Some(Action::Copy(copy))),
            "WORKDIR" => return self.working_folder(instruction),
            "ARG" => self.arguments(instruction)?,
            "ENV" => {
                for (name, value) in self.pairs(instruction)? {
                    self.draft.set_variable(&name, &value);
                    self.known.insert(name, value);
                }
            }
            "LABEL" => {
                for (name, value) in self.pairs(instruction)? {
                    self.draft.set_entry("Labels", &name, json!(value));
                }
            }
            "CMD" => {
                let command = self.command(instruction)?;
                self.draft.set("Cmd", command);
                // Means something on Windows only, but every builder writes it.
                self.draft.set("ArgsEscaped", true);
                self.has_command = true;
            }
            "ENTRYPOINT" => {
                let command = self.command(instruction)?;
                self.draft.set("Entrypoint", command);
                if !self.has_command {
                    self.draft.unset("Cmd");
                }
            }
            "EXPOSE" => self.ports(instruction)?,
            "USER" => {
                let user = self.one(instruction)?;
                self.draft.set("User", user);
            }
            "VOLUME" => {
                for volume in instruction.list() {
                    let volume = self.expand(instruction, volume.trim())?;
                    self.draft.set_entry("Volumes", &volume, json!({}));
                }
            }
            "STOPSIGNAL" => {
                let signal = self.one(instruction)?;
                if !is_signal(&signal) {
                    return Err(refuse(instruction, format!("`{signal}` is no signal")));
                }
                self.draft.set("StopSignal", signal);
            }
            "SHELL" => {
                let shell = instruction.json().filter(|shell| !shell.is_empty());
                self.draft.set("Shell", shell.ok_or_else(|| refuse(instruction, "it is not a list in JSON"))?);
            }
            "HEALTHCHECK" => {
                let check = health_check(instruction)?;
                self.draft.set("Healthcheck", check);
            }
            "MAINTAINER" => self.draft.set_author(&instruction.rest),
            _ => return Err(Refusal::of(instruction, format!("`{}`", instruction.word))),
        }
        Ok(None)
    }

    /// A text with its variables filled in.
    fn expand(&self, instruction: &Instruction, text: &str) -> Result<String, Refusal> {
        expand::word(text, &self.known, self.recipe.escape).map_err(|problem| refuse(instruction, problem))
    }

    /// The one text that an instruction has.
    fn one(&self, instruction: &Instruction) -> Result<String, Refusal> {
        if instruction.rest.is_empty() {
            return Err(refuse(instruction, "it is followed by nothing"));
        }
        self.expand(instruction, &instruction.rest)
    }

    /// Names and values; all see the variables from before the instruction.
    fn pairs(&self, instruction: &Instruction) -> Result<Vec<(String, String)>, Refusal> {
        let pairs = instruction.pairs().map_err(|error| refuse(instruction, error.problem))?;
        let expand =
            |(name, value): (String, String)| Ok((self.expand(instruction, &name)?, self.expand(instruction, &value)?));
        pairs.into_iter().map(expand).collect()
    }

    /// `ARG`: the given value, else the default, else that of an argument before the first stage.
    fn arguments(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        for (name, default) in instruction.declarations() {
            let default = default.map(|default| self.expand(instruction, &default)).transpose()?;
            let given = self.recipe.given.get(&name).cloned();
            if let Some(value) = given.or(default).or_else(|| self.recipe.globals.get(&name).cloned()) {
                self.known.insert(name, value);
            }
        }
        Ok(())
    }

    /// `CMD` and `ENTRYPOINT`: a list, or a line for the shell.
    fn command(&self, instruction: &Instruction) -> Result<Vec<String>, Refusal> {
        if let Some(list) = instruction.json() {
            return Ok(list);
        }
        let mixed = serde_json::from_str::<Vec<Value>>(&instruction.rest).is_ok();
        if mixed || instruction.rest.is_empty() {
            return Err(refuse(instruction, "it is neither a list of texts nor a line for the shell"));
        }
        let mut shell = self.draft.list("Shell");
        if shell.is_empty() {
            shell = vec!["/bin/sh".to_owned(), "-c".to_owned()];
        }
        shell.push(instruction.rest.clone());
        Ok(shell)
    }

    /// `EXPOSE`: ports and ranges of ports, with their protocol.
    fn ports(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        let words = expand::words(&instruction.rest, &self.known, self.recipe.escape);
        let words = words.map_err(|problem| refuse(instruction, problem))?;
        if words.is_empty() {
            return Err(refuse(instruction, "it is followed by nothing"));
        }
        for word in words {
            let ports = ports(&word).ok_or_else(|| refuse(instruction, format!("`{word}` is no port")))?;
            for port in ports {
                self.draft.set_entry("ExposedPorts", &port, json!({}));
            }
        }
        Ok(())
    }

    /// `WORKDIR`: the setting, and the folder.
    fn working_folder(&mut self, instruction: &Instruction) -> Result<Option<Action>, Refusal> {
        let path = absolute(self.draft.text("WorkingDir"), &self.one(instruction)?);
        self.draft.set("WorkingDir", path.clone());
        if path == "/" {
            return Ok(None);
        }
        let user = self.draft.text("User");
        let owner = if user.is_empty() { None } else { Some(account(instruction, user)?) };
        Ok(Some(Action::Folder { path, owner }))
    }

    /// `COPY`, or `ADD` of files.
    fn copy(&self, instruction: &Instruction) -> Result<Copy, Refusal> {
        let expanded = |text: &String| self.expand(instruction, text);
        let mut words = instruction.list();
        let dest = words.pop().filter(|_| !words.is_empty());
        let dest = dest.ok_or_else(|| refuse(instruction, "it needs a source and a destination"))?;
        if instruction.begins_heredoc(&dest) {
            return Err(refuse(instruction, "a here-document is no destination"));
        }
        let dest = self.expand(instruction, &dest)?;
        let (texts, sources) = words.iter().partition::<Vec<_>, _>(|word| instruction.begins_heredoc(word));
        let texts = texts.into_iter().map(|word| self.text(instruction, word)).collect::<Result<_, _>>()?;
        let sources = sources.into_iter().map(expanded).collect::<Result<Vec<_>, _>>()?;
        if let Some(remote) = sources.iter().find(|source| is_remote(source)) {
            return Err(Refusal::of(instruction, format!("`{} {remote}`", instruction.word)));
        }
        let flag = |name: &str| match instruction.flag(name) {
            Some("") => Err(refuse(instruction, format!("`--{name}` has no value"))),
            Some(value) => self.expand(instruction, value).map(Some),
            None => Ok(None),
        };
        let owner = flag("chown")?.map(|text| account(instruction, &text)).transpose()?;
        let mode = flag("chmod")?.map(|text| {
            let unknown = || Refusal::of(instruction, format!("`--chmod={text}`")).because("it is no mode");
            Mode::parse(&text).ok_or_else(unknown)
        });
        let link = match instruction.flag("link").map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => false,
            Some("" | "true") => true,
            Some(other) => return Err(refuse(instruction, format!("`--link={other}` is neither true nor false"))),
        };
        let mode = mode.transpose()?;
        // BuildKit itself lets a mode keep the copy in its place.
        let link = link && mode.is_none();
        let folder = absolute("/", self.draft.text("WorkingDir"));
        Ok(Copy { sources, texts, dest: destination(&folder, &dest), owner, mode, link })
    }

    /// A here-document as a file.
    fn text(&self, instruction: &Instruction, word: &str) -> Result<Text, Refusal> {
        let fail =
            |problem: String| Refusal::of(instruction, format!("`{} {word}`", instruction.word)).because(problem);
        let begun = Heredoc::begun_by(word);
        // Of several with one name, all have the content of the last.
        let heredoc = begun.and_then(|begun| instruction.heredocs.iter().rfind(|known| known.name == begun.name));
        let heredoc = heredoc.filter(|known| known.is_plain);
        let heredoc = heredoc.ok_or_else(|| fail("its name is more than a name".to_owned()))?;
        let content = if heredoc.expand {
            expand::here_document(&heredoc.content, &self.known).map_err(fail)?
        } else {
            heredoc.content.clone()
        };
        Ok(Text { name: heredoc.name.clone(), content: content.into() })
    }
}

/// A folder, relative to another one or absolute. An absolute one stays as it is written.
fn absolute(folder: &str, path: &str) -> String {
    let folder = if folder.is_empty() { "/" } else { folder };
    match path {
        "" => folder.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{}", clean(&format!("{folder}/{path}"))),
    }
}

/// A destination in a folder, or absolute; a slash at its end stays.
fn destination(folder: &str, dest: &str) -> String {
    let path = if dest.starts_with('/') { dest.to_owned() } else { format!("{folder}/{dest}") };
    let cleaned = clean(&path);
    let is_folder = matches!(dest, "" | ".") || dest.ends_with('/') || dest.ends_with("/.");
    if is_folder && !cleaned.is_empty() { format!("/{cleaned}/") } else { format!("/{cleaned}") }
}

/// The ports of `8080`, `8080/udp`, `8000-8003`.
fn ports(word: &str) -> Option<Vec<String>> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_lowercase() };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| (first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// The signals of Linux without their numbers and those for real time.
const SIGNALS: &str = "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP \
                       SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX";

/// Whether a text is a signal: a number that is not nought, or a name with or without `SIG`.
fn is_signal(text: &str) -> bool {
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |start: &str| name.strip_prefix(start).and_then(|offset| offset.parse().ok());
    match text.parse::<i32>() {
        Ok(number) => number != 0,
        Err(_) if real_time("RTMIN+").is_some_and(|offset: u32| (1..=15).contains(&offset)) => true,
        Err(_) if real_time("RTMAX-").is_some_and(|offset: u32| (1..=14).contains(&offset)) => true,
        Err(_) => SIGNALS.split_whitespace().any(|signal| signal == name),
    }
}

/// `HEALTHCHECK`.
fn health_check(instruction: &Instruction) -> Result<Value, Refusal> {
    let (kind, rest) = instruction.rest.split_once(char::is_whitespace).unwrap_or((&instruction.rest, ""));
    let rest = rest.trim();
    let test = match kind.to_uppercase().as_str() {
        "NONE" if rest.is_empty() => return Ok(json!({ "Test": ["NONE"] })),
        "CMD" if !rest.is_empty() => match serde_json::from_str::<Vec<String>>(rest) {
            Ok(list) => [vec!["CMD".to_owned()], list].concat(),
            Err(_) => vec!["CMD-SHELL".to_owned(), rest.to_owned()],
        },
        _ => return Err(refuse(instruction, "it is neither `NONE` nor `CMD` with a command")),
    };
    let mut check = json!({ "Test": test });
    let times = [
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start-period", "StartPeriod"),
        ("start-interval", "StartInterval"),
    ];
    for (flag, field) in times {
        if let Some(text) = instruction.flag(flag) {
            let time = nanoseconds(text).ok_or_else(|| refuse(instruction, format!("`{text}` is no duration")))?;
            set_unless_zero(&mut check, field, time);
        }
    }
    if let Some(text) = instruction.flag("retries") {
        let retries: u32 = text.parse().map_err(|_| refuse(instruction, format!("`{text}` is no number")))?;
        set_unless_zero(&mut check, "Retries", retries.into());
    }
    Ok(check)
}

/// Sets a number of a health check; nought says that the default is meant, and is left out.
fn set_unless_zero(check: &mut Value, field: &str, number: u64) {
    if number > 0 {
        check[field] = json!(number);
    }
}

/// A duration as Go writes it: `30s`, `1m30s`, `500ms`.
fn nanoseconds(text: &str) -> Option<u64> {
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let unit = match &after[..end] {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = &after[end..];
    }
    (!text.is_empty()).then_some(total)
}

/// `USER`, or `--chown`.
fn account(instruction: &Instruction, text: &str) -> Result<Account, Refusal> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group.to_owned())),
        None => (text, None),
    };
    if user.is_empty() || group.as_deref() == Some("") {
        return Err(refuse(instruction, format!("`{text}` is neither `USER` nor `USER:GROUP`")));
    }
    Ok(Account { user: user.to_owned(), group })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Platform;

    /// The steps and the configuration of a Dockerfile on a base with these settings.
    fn evaluate(text: &str, settings: &Value) -> Result<(Vec<Step>, Draft), String> {
        let given = [("GIVEN".to_owned(), "g".to_owned())].into();
        let recipe = super::super::read(text, &given, None, &Platform::default());
        let recipe = recipe.map_err(|refusal| refusal.describe("Dockerfile"))?;
        let base = json!({ "architecture": "amd64", "os": "linux", "config": settings, "rootfs": {} });
        let draft = Draft::on_top_of(base.to_string().as_bytes()).unwrap();
        recipe.evaluate(draft).map_err(|refusal| refusal.describe("Dockerfile"))
    }

    /// One setting after a Dockerfile.
    fn setting(text: &str, settings: &Value, name: &str) -> Value {
        let bytes = evaluate(text, settings).unwrap().1.finish(&[], "x").unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["config"][name].clone()
    }

    /// The copies and folders of a Dockerfile.
    fn actions(text: &str) -> Vec<Action> {
        evaluate(text, &json!({ "WorkingDir": "/srv" })).unwrap().0.into_iter().filter_map(|step| step.action).collect()
    }

    #[test]
    fn variables_are_those_from_before_the_instruction() {
        let base = json!({ "Env": ["PATH=/p", "A=base"] });
        let text = "ARG TOP=top\nFROM b\nARG GIVEN=no TOP X=$A\nENV A=1 B=$A C=${GIVEN}-$TOP-$X\nENV D $A $B\nENV PATH=$PATH:/x";
        let wanted = json!(["PATH=/p:/x", "A=1", "B=base", "C=g-top-base", "D=1 base"]);
        assert_eq!(setting(text, &base, "Env"), wanted);
        assert_eq!(setting("FROM b\nLABEL a=\"x y\" b='$A'\n", &base, "Labels"), json!({ "a": "x y", "b": "$A" }));
        assert_eq!(
            setting("FROM b\n", &json!({}), "Env"),
            json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
        );
    }

    #[test]
    fn an_entrypoint_takes_the_bases_command_away_but_not_the_stages_own() {
        let base = json!({ "Cmd": ["base"], "Entrypoint": ["e"] });
        assert_eq!(setting("FROM b\nENTRYPOINT [\"x\"]\n", &base, "Cmd"), Value::Null);
        assert_eq!(setting("FROM b\nCMD a $B\nENTRYPOINT [\"x\"]\n", &base, "Cmd"), json!(["/bin/sh", "-c", "a $B"]));
        assert_eq!(setting("FROM b AS one\nCMD a\nFROM one\nENTRYPOINT x y\n", &base, "Cmd"), Value::Null);
        let text = "FROM b\nSHELL [\"/bin/bash\", \"-c\"]\nENTRYPOINT x y\n";
        assert_eq!(setting(text, &base, "Entrypoint"), json!(["/bin/bash", "-c", "x y"]));
        assert_eq!(setting("FROM b\nENTRYPOINT []\n", &base, "Entrypoint"), json!([]));
    }

    #[test]
    fn other_settings_are_set() {
        let base = json!({});
        let ports = setting("FROM b\nENV P=90\nEXPOSE 80 $P/UDP 8000-8002/tcp\n", &base, "ExposedPorts");
        assert_eq!(ports, json!({ "80/tcp": {}, "90/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {} }));
        assert_eq!(setting("FROM b\nUSER app:staff\n", &base, "User"), json!("app:staff"));
        assert_eq!(
            setting("FROM b\nVOLUME [\"/a b\"]\nVOLUME /c /d\n", &base, "Volumes"),
            json!({ "/a b": {}, "/c": {}, "/d": {} })
        );
        let check = setting("FROM b\nHEALTHCHECK --interval=1m30s --retries=2 CMD x y\n", &base, "Healthcheck");
        assert_eq!(check, json!({ "Test": ["CMD-SHELL", "x y"], "Interval": 90_000_000_000_u64, "Retries": 2 }));
        assert_eq!(setting("FROM b\nWORKDIR /a\nWORKDIR b/../c\n", &base, "WorkingDir"), json!("/a/c"));
        assert_eq!(setting("FROM b\nSTOPSIGNAL SIGQUIT\n", &base, "StopSignal"), json!("SIGQUIT"));
    }

    #[test]
    fn copies_and_folders_are_actions() {
        let copy = |sources: &[&str], dest: &str| Copy {
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            dest: dest.to_owned(),
            texts: Vec::new(),
            owner: None,
            mode: None,
            link: false,
        };
        let account =
            |user: &str, group: Option<&str>| Some(Account { user: user.to_owned(), group: group.map(str::to_owned) });
        let text = "FROM b\nARG N=x\nCOPY [\"a b\", \"$N\", \"/d/\"]\nCOPY [\"a b\", \".\"]\nUSER 7\nWORKDIR sub/\nCOPY --chown=1:2 --chmod=0750 a b/\n\
                    ADD --link a ./c\nCOPY a ..\nCOPY a /\n";
        let wanted = vec![
            Action::Copy(copy(&["a b", "x"], "/d/")),
            Action::Copy(copy(&["a b"], "/srv/")),
            Action::Folder { path: "/srv/sub".to_owned(), owner: account("7", None) },
            Action::Copy(Copy {
                owner: account("1", Some("2")),
                mode: Some(Mode::Octal(0o750)),
                ..copy(&["a"], "/srv/sub/b/")
            }),
            Action::Copy(Copy { link: true, ..copy(&["a"], "/srv/sub/c") }),
            Action::Copy(copy(&["a"], "/srv")),
            Action::Copy(copy(&["a"], "/")),
        ];
        assert_eq!(actions(text), wanted);
    }

    #[test]
    fn here_documents_are_files_after_the_sources() {
        let text = "FROM b\nENV A=1\nCOPY --chmod=u+x <<one x <<'two' /d/\n$A\none\n$A\ntwo\n";
        let Some(Action::Copy(copy)) = actions(text).pop() else { panic!() };
        let texts = copy.texts.iter().map(|text| (text.name.as_str(), &text.content[..])).collect::<Vec<_>>();
        assert_eq!((copy.sources, texts), (vec!["x".to_owned()], vec![("one", &b"1\n"[..]), ("two", b"$A\n")]));
        assert_eq!(copy.mode, Mode::parse("u+x"));
    }

    #[test]
    fn what_cannot_be_done_here_is_said() {
        for (text, wanted) in [
            ("FROM b\nADD https://example.com/x /x\n", "`ADD https://example.com/x` at Dockerfile:2 needs a builder"),
            ("FROM b\nADD git@github.com:a/b.git /x\n", "`ADD git@github.com:a/b.git` at Dockerfile:2 needs a builder"),
            ("FROM b\nCOPY --chmod=u+y a /x\n", "`--chmod=u+y` at Dockerfile:2 needs a builder: it is no mode"),
            (
                "FROM b\nCOPY <<a/b /x\nhi\na/b\n",
                "`COPY <<a/b` at Dockerfile:2 needs a builder: its name is more than a name",
            ),
            (
                "FROM b\nCOPY a <<E\nhi\nE\n",
                "`COPY` at Dockerfile:2 needs a builder: a here-document is no destination",
            ),
            ("FROM b\nCOPY a\n", "`COPY` at Dockerfile:2 needs a builder: it needs a source and a destination"),
            (
                "FROM b\nCOPY <<E /x\n${B=x}\nE\n",
                "`COPY <<E` at Dockerfile:2 needs a builder: `${B…}` has an operator that does not exist",
            ),
            (
                "FROM b\nENV A=${B=x}\n",
                "`ENV` at Dockerfile:2 needs a builder: `${B…}` has an operator that does not exist",
            ),
            (
                "FROM b\nCMD [1]\n",
                "`CMD` at Dockerfile:2 needs a builder: it is neither a list of texts nor a line for the shell",
            ),
            ("FROM b\nSTOPSIGNAL SIGNO\n", "`STOPSIGNAL` at Dockerfile:2 needs a builder: `SIGNO` is no signal"),
            ("FROM b\nEXPOSE x\n", "`EXPOSE` at Dockerfile:2 needs a builder: `x` is no port"),
        ] {
            assert_eq!(evaluate(text, &json!({})).unwrap_err(), wanted);
        }
        let refusal = evaluate("FROM b\nCMD x\n", &json!({ "OnBuild": ["RUN x"] })).unwrap_err();
        assert_eq!(refusal, "`FROM` at Dockerfile:1 needs a builder: the base has ONBUILD instructions");
    }
}
