//! What BuildKit says while it builds, turned into steps and lines, and into a diagnosis where it fails.

use super::error::{BuildFailure, FULL_DISK, is_full};
use super::source::Source;
use crate::error::FailureKind;
use crate::image::dockerfile;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};
use std::collections::HashMap;

/// What happens in a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A step has begun: `step 3/7 RUN pip install`.
    Step(String),
    /// A line of output, of a step or of the tool that builds.
    Line(String),
    /// It has been decided where the image is taken from.
    Source(Source),
}

/// This many last lines of a step are kept for a diagnosis.
const TAIL: usize = 20;

/// Follows the steps of a build.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// The steps by digest.
    steps: HashMap<String, Step>,
}

/// What is known of a step.
#[derive(Debug, Default)]
struct Step {
    /// Its name, `[2/4] RUN make`.
    name: String,
    /// Whether its beginning was told.
    told: bool,
    /// Whether its end was told.
    ended: bool,
    /// Its error.
    error: String,
    /// The line that is not complete yet.
    partial: Vec<u8>,
    /// Its last lines.
    tail: Vec<String>,
}

impl Follower {
    /// Takes a report in; what is new in it.
    pub(crate) fn take(&mut self, report: StatusResponse) -> Vec<Progress> {
        let mut news = Vec::new();
        for vertex in report.vertexes {
            self.vertex(vertex, &mut news);
        }
        for log in report.logs {
            self.log(&log, &mut news);
        }
        news
    }

    /// A step has begun, ended, or failed.
    fn vertex(&mut self, vertex: Vertex, news: &mut Vec<Progress>) {
        let step = self.steps.entry(vertex.digest).or_default();
        step.name.clone_from(&vertex.name);
        if !vertex.error.is_empty() {
            step.error = vertex.error;
        }
        let is_internal = vertex.name.starts_with("[internal]");
        if vertex.started.is_some() && !step.told && !is_internal {
            step.told = true;
            if !vertex.cached {
                news.push(Progress::Step(for_people(&vertex.name)));
                news.push(Progress::Line(vertex.name.clone()));
            }
        }
        if vertex.completed.is_some() && !step.ended {
            step.ended = true;
            if vertex.cached && !is_internal {
                news.push(Progress::Line(format!("{} (cached)", vertex.name)));
            }
            flush(step, news);
        }
    }

    /// Output of a step: pieces that end anywhere.
    fn log(&mut self, log: &VertexLog, news: &mut Vec<Progress>) {
        let step = self.steps.entry(log.vertex.clone()).or_default();
        for piece in log.msg.split_inclusive(|byte| *byte == b'\n') {
            step.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                flush(step, news);
            }
        }
    }

    /// The diagnosis of a build that ended with this message.
    pub(crate) fn failure(&self, message: &str, dockerfile: &[u8], line: Option<usize>) -> BuildFailure {
        let message = strip(message).to_owned();
        let failed = self.steps.values().filter(|step| !step.error.is_empty());
        // A step that another one's failure stopped says so; the one that it means is another, which the message repeats.
        let step = failed.max_by_key(|step| {
            let is_meant = message.contains(strip(&step.error)) || step.error.contains(&message);
            (!step.error.contains("context canceled"), is_meant, step.name.len())
        });
        let name = step.map(|step| step.name.clone()).filter(|name| !name.is_empty());
        let text = String::from_utf8_lossy(dockerfile);
        let line = line.or_else(|| line_in(&message)).or_else(|| line_of(name.as_deref()?, &text));
        let tail = step.map(|step| step.tail.as_slice()).unwrap_or_default();
        let about = Cause::of(&message, name.as_deref(), tail);
        BuildFailure {
            headline: about.headline,
            message,
            step: name,
            line,
            log: step.map(|step| step.tail.clone()).unwrap_or_default(),
            kind: about.kind,
            hint: about.hint,
        }
    }
}

/// Tells the line that has been collected. A carriage return stands for a line that was drawn over.
fn flush(step: &mut Step, news: &mut Vec<Progress>) {
    let bytes = std::mem::take(&mut step.partial);
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches(['\n', '\r']).rsplit('\r').next().unwrap_or_default().to_owned();
    if text.is_empty() {
        return;
    }
    if step.tail.len() == TAIL {
        step.tail.remove(0);
    }
    step.tail.push(text.clone());
    news.push(Progress::Line(text));
}

/// `step 3/7 RUN pip install` for `[runtime 3/7] RUN pip install`.
fn for_people(name: &str) -> String {
    let inside = name.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let numbered = inside.and_then(|(place, what)| {
        let number = place.split_whitespace().last().filter(|word| word.contains('/'))?;
        Some(format!("step {number} {what}"))
    });
    numbered.unwrap_or_else(|| name.to_owned())
}

/// BuildKit's message without the layers that only say that something failed.
fn strip(message: &str) -> &str {
    let mut message = message;
    for prefix in
        ["failed to solve: ", "rpc error: code = Unknown desc = ", "failed to solve with frontend dockerfile.v0: "]
    {
        message = message.strip_prefix(prefix).unwrap_or(message);
    }
    message
}

/// The line that a message itself names: `dockerfile parse error line 3: …`, `dockerfile parse error on line 3: …`.
fn line_in(message: &str) -> Option<usize> {
    let (_, after) = message.split_once("parse error")?;
    let number = after.trim_start_matches(" on").trim_start().strip_prefix("line ")?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The line of the instruction that a step carries out, where only one instruction reads like it.
fn line_of(step: &str, dockerfile: &str) -> Option<usize> {
    let (_, what) = step.split_once("] ")?;
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let wanted = squeeze(what);
    let all = dockerfile::instructions(dockerfile);
    let mut fitting = all.iter().filter(|one| squeeze(&one.to_string()) == wanted);
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Some(one.line),
        _ => None,
    }
}

/// What a message means.
struct Cause {
    /// One line.
    headline: String,
    /// Whose fault it is.
    kind: FailureKind,
    /// What to do.
    hint: Option<String>,
}

impl Cause {
    /// Reads a message of BuildKit's, with the last lines of the step that failed.
    fn of(message: &str, step: Option<&str>, tail: &[String]) -> Self {
        let instruction = step.and_then(|name| name.split_once("] ")).map_or("a step", |(_, what)| what);
        let instruction = instruction.split_whitespace().collect::<Vec<_>>().join(" ");
        let application = |headline: String, hint: Option<&str>| Self {
            headline,
            kind: FailureKind::Application,
            hint: hint.map(str::to_owned),
        };
        if is_full(message) || tail.iter().any(|line| is_full(line)) {
            let headline = match exit_code(message) {
                Some(_) => format!("`{instruction}` finds the builder's disk full"),
                None => "the builder's disk is full".to_owned(),
            };
            return Self { headline, kind: FailureKind::Infrastructure, hint: Some(FULL_DISK.to_owned()) };
        }
        if let Some(code) = exit_code(message) {
            let hint = match code {
                137 => "the step was killed: most often because memory ran out",
                _ => "correct the step or what it works on; `-v` shows everything that the build says",
            };
            return application(format!("`{instruction}` failed with exit code {code}"), Some(hint));
        }
        if message.contains("parse error") || message.contains("unknown instruction") {
            let hint = "correct that line of the Dockerfile";
            return application(format!("the Dockerfile has an error: {}", parse_problem(message)), Some(hint));
        }
        if let Some((headline, hint)) = mistake_of_the_file(message) {
            return application(headline, Some(hint));
        }
        if message.contains("failed to calculate checksum") || message.contains("failed to compute cache key") {
            let path = message.split('"').nth(1).unwrap_or_default();
            let hint = "it is not in the build context: check the path, and whether `.dockerignore` leaves it out";
            return application(format!("`{instruction}` finds no `{}`", path.trim_start_matches('/')), Some(hint));
        }
        if message.contains("target stage") {
            let hint = "correct `target` in deploy.yml or the name after `AS` in the Dockerfile";
            return Self {
                headline: message.to_owned(),
                kind: FailureKind::Configuration,
                hint: Some(hint.to_owned()),
            };
        }
        let about_image = step.is_some_and(|name| name.contains("load metadata for") || name.contains("FROM "));
        if about_image && message.contains("no match for platform") {
            let image =
                step.and_then(|name| name.split_once("metadata for ")).map_or("the base image", |(_, image)| image);
            let hint = "choose a base that is built for it, or another one of `platforms` in deploy.yml";
            return Self {
                headline: format!("`{image}` has no variant for the platform that is built"),
                kind: FailureKind::Configuration,
                hint: Some(hint.to_owned()),
            };
        }
        let missing = ["not found", "pull access denied", "insufficient_scope", "manifest unknown"];
        if about_image && missing.iter().any(|text| message.contains(text)) {
            return Self {
                headline: format!("a base image cannot be used: {message}"),
                kind: FailureKind::Configuration,
                hint: Some("check the name after `FROM`; a private image needs a login".to_owned()),
            };
        }
        if about_image {
            return Self {
                headline: format!("a base image cannot be fetched: {message}"),
                kind: FailureKind::Infrastructure,
                hint: Some("its registry may be down: try again later".to_owned()),
            };
        }
        let hint = "correct the Dockerfile or what it works on; `-v` shows everything that the build says";
        application(format!("the build failed: {message}"), Some(hint))
    }
}

/// A mistake of the Dockerfile as a whole, of which the builder says little: what it is, and what to do.
fn mistake_of_the_file(message: &str) -> Option<(String, &'static str)> {
    let all = [
        (
            "no build stage in current context",
            "the Dockerfile has an instruction before its first `FROM`",
            "begin with `FROM IMAGE`; only `ARG` may stand before it",
        ),
        (
            "Dockerfile cannot be empty",
            "the Dockerfile is empty",
            "write `FROM IMAGE`, and below it what comes onto that image",
        ),
        (
            "unterminated heredoc",
            "the Dockerfile has an error: a here-document does not end",
            "write the word after `<<` once more, alone on a line, where the text ends",
        ),
    ];
    if message.contains("failed to parse stage name") {
        let headline = format!("`FROM` names no image: {}", message.rsplit(": ").next().unwrap_or(message));
        return Some((
            headline,
            "write `FROM [REGISTRY/]NAME[:TAG]`: the name in lower-case letters, without `https://`",
        ));
    }
    let (_, headline, hint) = all.into_iter().find(|(said, ..)| message.contains(said))?;
    Some((headline.to_owned(), hint))
}

/// What a parser says, without where: the line is shown beside it.
fn parse_problem(message: &str) -> &str {
    let after = message.rsplit_once("parse error").map_or(message, |(_, after)| after);
    let rest = after.trim_start_matches(" on").trim_start().strip_prefix("line ");
    let rest = rest.map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(": "));
    rest.unwrap_or(after.trim_start_matches(": "))
}

/// The exit code in a message: `… exit code: 3`.
fn exit_code(message: &str) -> Option<i32> {
    let (_, after) = message.rsplit_once("exit code: ")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_buildkit_proto::google::protobuf::Timestamp;

    fn vertex(name: &str, cached: bool, completed: bool, error: &str) -> Vertex {
        let now = Some(Timestamp { seconds: 1, nanos: 0 });
        Vertex {
            digest: name.to_owned(),
            name: name.to_owned(),
            cached,
            started: now,
            completed: completed.then_some(now).flatten(),
            error: error.to_owned(),
            ..Vertex::default()
        }
    }

    fn log(name: &str, text: &str) -> VertexLog {
        VertexLog { vertex: name.to_owned(), msg: text.as_bytes().to_vec(), ..VertexLog::default() }
    }

    #[test]
    fn steps_and_lines_are_told_once() {
        let mut follower = Follower::default();
        let run = "[runtime 3/7] RUN make";
        let vertexes = vec![
            vertex("[internal] load build context", false, false, ""),
            vertex("[1/7] FROM debian", true, true, ""),
            vertex(run, false, false, ""),
        ];
        let news = follower.take(StatusResponse { vertexes, logs: vec![log(run, "a\nb")], ..Default::default() });
        let line = |text: &str| Progress::Line(text.to_owned());
        assert_eq!(
            news,
            [line("[1/7] FROM debian (cached)"), Progress::Step("step 3/7 RUN make".to_owned()), line(run), line("a")]
        );
        let vertexes = vec![vertex(run, false, false, "")];
        let logs = vec![log(run, "c\r\nold\rnew\n"), log(run, "rest")];
        assert_eq!(follower.take(StatusResponse { vertexes, logs, ..Default::default() }), [line("bc"), line("new")]);
        let vertexes = vec![vertex(run, false, true, "")];
        assert_eq!(follower.take(StatusResponse { vertexes, ..Default::default() }), [line("rest")]);
    }

    #[test]
    fn a_failed_step_is_named_with_its_line_and_its_last_lines() {
        let mut follower = Follower::default();
        let run = "[2/2] RUN make   all";
        follower.take(StatusResponse {
            vertexes: vec![
                vertex(run, false, true, "exit code: 2"),
                vertex("[1/2] x", false, true, "context canceled"),
            ],
            logs: vec![log(run, "cc: not found\n")],
            ..Default::default()
        });
        let message = "failed to solve: rpc error: code = Unknown desc = executor failed running [/bin/sh -c make all]: exit code: 2";
        let failure = follower.failure(message, b"FROM x\n# c\nRUN make all\n", None);
        assert_eq!(failure.headline, "`RUN make all` failed with exit code 2");
        assert_eq!((failure.line, failure.kind), (Some(3), FailureKind::Application));
        assert_eq!(failure.log, ["cc: not found"]);
    }

    #[test]
    fn messages_become_causes() {
        for (message, step, kind, headline) in [
            (
                "dockerfile parse error line 3: unknown instruction: RUNN",
                None,
                FailureKind::Application,
                "the Dockerfile has an error: unknown instruction: RUNN",
            ),
            (
                r#"failed to compute cache key: "/gone" not found: not found"#,
                Some("[2/2] COPY gone /x"),
                FailureKind::Application,
                "`COPY gone /x` finds no `gone`",
            ),
            (
                "docker.io/library/gone:1: not found",
                Some("[internal] load metadata for docker.io/library/gone:1"),
                FailureKind::Configuration,
                "a base image cannot be used: docker.io/library/gone:1: not found",
            ),
            (
                "busybox:1.35: failed to resolve source metadata for docker.io/library/busybox:1.35: no match for platform in manifest: not found",
                Some("[internal] load metadata for docker.io/library/busybox:1.35"),
                FailureKind::Configuration,
                "`docker.io/library/busybox:1.35` has no variant for the platform that is built",
            ),
            (
                "dial tcp: i/o timeout",
                Some("[internal] load metadata for docker.io/library/x:1"),
                FailureKind::Infrastructure,
                "a base image cannot be fetched: dial tcp: i/o timeout",
            ),
        ] {
            let cause = Cause::of(message, step, &[]);
            assert_eq!((cause.headline.as_str(), cause.kind), (headline, kind));
            assert!(cause.hint.is_some(), "{message}");
        }
    }

    #[test]
    fn mistakes_of_a_dockerfile_have_a_cure() {
        // BuildKit 0.32's words.
        for (message, headline, cure) in [
            (
                "no build stage in current context",
                "the Dockerfile has an instruction before its first `FROM`",
                "begin with `FROM IMAGE`",
            ),
            ("the Dockerfile cannot be empty", "the Dockerfile is empty", "write `FROM IMAGE`"),
            ("unterminated heredoc", "the Dockerfile has an error: a here-document does not end", "after `<<`"),
            (
                "failed to parse stage name \"Busybox:1.35\": invalid reference format: repository name (library/Busybox) must be lowercase",
                "`FROM` names no image: repository name (library/Busybox) must be lowercase",
                "in lower-case letters",
            ),
            (
                "circular dependency detected on stage: a",
                "the build failed: circular dependency detected on stage: a",
                "`-v`",
            ),
        ] {
            let cause = Cause::of(message, None, &[]);
            assert_eq!((cause.headline.as_str(), cause.kind), (headline, FailureKind::Application));
            assert!(cause.hint.as_ref().unwrap().contains(cure), "{:?}", cause.hint);
        }
    }

    #[test]
    fn a_full_disk_is_told_from_what_it_breaks() {
        // The words of an Engine 20.10 whose storage is full: in a base, in the context, in a copy, and in a program.
        for (message, step, tail) in [
            (
                "failed to register layer: Error processing tar file(exit status 1): write /usr/bin/dash: no space left on device",
                "[1/2] FROM docker.io/library/debian:bookworm-slim",
                "",
            ),
            (
                "write /var/lib/docker/overlay2/x/diff/noise: no space left on device",
                "[internal] load build context",
                "",
            ),
            (
                "failed to copy files: userspace copy failed: write /x/merged/noise: no space left on device",
                "[2/4] COPY noise /noise",
                "",
            ),
            (
                "executor failed running [/bin/sh -c dd if=/dev/zero of=/x]: exit code: 1",
                "[2/2] RUN dd if=/dev/zero of=/x",
                "dd: error writing '/x': No space left on device",
            ),
        ] {
            let cause = Cause::of(message, Some(step), &[tail.to_owned(), "3+0 records out".to_owned()]);
            assert!(
                cause.headline.ends_with("the builder's disk is full") || cause.headline.ends_with("disk full"),
                "{}",
                cause.headline
            );
            assert_eq!(cause.kind, FailureKind::Infrastructure, "{message}");
            assert!(cause.hint.unwrap().contains("docker system prune"));
        }
    }
}
