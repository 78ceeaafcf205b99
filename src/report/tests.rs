//! Whole runs, event by event, as each report shows them.

mod stories;

use super::files::{JobSummary, Outputs};
use super::lines::Lines;
use super::pr_comment::PrComment;
use super::results::Results;
use super::terminal::Terminal;
use super::*;
use crate::execute::Events;
use crate::github::Sticky;
use crate::model::Secret;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use stories::Story;
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A writer whose text can be looked at.
#[derive(Clone, Default)]
pub(super) struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Page {
    /// What has been written.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// An output that writes here.
    fn output(&self, redactor: &Redactor) -> Output {
        Output { writer: Box::new(self.clone()), redactor: redactor.clone() }
    }
}

/// The redactor of all stories: they leak one secret in each text.
fn redactor() -> Redactor {
    let redactor = Redactor::default();
    redactor.register(stories::SECRET);
    redactor
}

/// Plays a story to one report; time passes between the events.
async fn play(story: &Story, make: impl FnOnce(Output) -> Box<dyn Sink>) -> String {
    let page = Page::default();
    let redactor = redactor();
    let sinks = vec![make(page.output(&redactor))];
    let mut reports = Reports { sinks, picture: Picture::new(redactor) };
    for event in &story.0 {
        reports.picture.now = event.at;
        reports.each(|sink, picture| sink.tick(picture));
        reports.take(event);
    }
    reports.end().await;
    let text = page.text();
    assert!(!text.contains(stories::SECRET), "a secret is shown: {text}");
    text
}

/// What stays at a terminal of this width after a story.
async fn stays(story: &Story, width: usize) -> String {
    let paint = Paint { colour: false };
    let text = play(story, |output| Box::new(Terminal::new(output, paint, Box::new(move || (width, 60))))).await;
    let stays = screen(&text);
    assert!(stays.lines().next().unwrap_or_default().chars().count() <= width);
    stays
}

/// What a terminal shows after these bytes, scrolled or not: the two sequences that the table uses are obeyed.
fn screen(text: &str) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some((up, after)) = rest.strip_prefix("\u{1b}[").and_then(|rest| rest.split_once("F\u{1b}[J")) {
            let kept = lines.len().saturating_sub(1 + up.parse::<usize>().unwrap());
            lines.truncate(kept);
            lines.push(String::new());
            rest = after;
            continue;
        }
        match character {
            '\n' => lines.push(String::new()),
            other => lines.last_mut().unwrap().push(other),
        }
        rest = &rest[character.len_utf8()..];
    }
    lines.join("\n")
}

#[tokio::test]
async fn a_run_at_a_terminal() {
    insta::assert_snapshot!("terminal_done", stays(&stories::done(), 100).await);
    insta::assert_snapshot!("terminal_done_80_columns", stays(&stories::done(), 80).await);
    insta::assert_snapshot!("terminal_unchanged", stays(&stories::unchanged(), 100).await);
    insta::assert_snapshot!("terminal_failed", stays(&stories::failed(), 100).await);
    insta::assert_snapshot!("terminal_cancelled", stays(&stories::cancelled(), 100).await);
    insta::assert_snapshot!("terminal_early", stays(&stories::unreachable(), 100).await);
}

/// What a terminal shows some time after the first events of a story.
fn alive(events: usize, later: Duration) -> String {
    let mut story = stories::done();
    story.0.truncate(events);
    let paint = Paint { colour: false };
    let page = Page::default();
    let redactor = redactor();
    let sink: Box<dyn Sink> = Box::new(Terminal::new(page.output(&redactor), paint, Box::new(|| (100, 60))));
    let mut reports = Reports { sinks: vec![sink], picture: Picture::new(redactor) };
    story.0.iter().for_each(|event| reports.take(event));
    reports.picture.now += later;
    reports.each(|sink, picture| sink.tick(picture));
    reports.each(|sink, picture| sink.tick(picture));
    screen(&page.text())
}

#[test]
fn a_table_while_it_lives() {
    insta::assert_snapshot!("terminal_pushing", alive(stories::IN_THE_PUSH, Duration::ZERO));
    insta::assert_snapshot!("terminal_alive", alive(stories::IN_THE_ROLLOUT, Duration::from_secs(3)));
}

#[tokio::test]
async fn a_table_fits_a_low_terminal() {
    let paint = Paint { colour: true };
    let mut story = stories::done();
    story.0.truncate(stories::IN_THE_ROLLOUT);
    let text = play(&story, |output| Box::new(Terminal::new(output, paint, Box::new(|| (60, 5))))).await;
    for frame in text.split("\u{1b}[J") {
        let ending = frame.contains("seaway") || frame.contains("todo →");
        assert!(ending || frame.lines().count() <= 5, "{frame}");
    }
}

#[tokio::test]
async fn a_run_in_a_log() {
    let plain = |output| -> Box<dyn Sink> { Box::new(Lines::new(output, false, false)) };
    insta::assert_snapshot!("log_done", play(&stories::done(), plain).await);
    insta::assert_snapshot!("log_failed", play(&stories::failed(), plain).await);
    insta::assert_snapshot!("log_cancelled", play(&stories::cancelled(), plain).await);
    insta::assert_snapshot!("log_pushed_nowhere", play(&stories::pushed_nowhere(), plain).await);
}

#[tokio::test]
async fn a_run_in_github_actions() {
    let actions = |output| -> Box<dyn Sink> { Box::new(Lines::new(output, true, true)) };
    insta::assert_snapshot!("actions_done", play(&stories::done(), actions).await);
    let text = play(&stories::failed(), actions).await;
    let commands = ["::group::", "::endgroup::", "::error ", "::warning "];
    for line in text.lines().filter(|line| line.trim_start().starts_with("::")) {
        assert!(commands.iter().any(|command| line.starts_with(command)), "a foreign line is a command: {line}");
    }
    assert!(!text.contains("##["), "{text}");
    insta::assert_snapshot!("actions_failed", text);
}

#[tokio::test]
async fn a_result_for_programs() {
    let json = |output| -> Box<dyn Sink> { Box::new(Results::new(output, Format::Json, None)) };
    insta::assert_snapshot!("json_done", play(&stories::done(), json).await);
    insta::assert_snapshot!("json_failed", play(&stories::failed(), json).await);
}

#[tokio::test]
async fn the_address_is_the_result() {
    let text = |width| move |output| -> Box<dyn Sink> { Box::new(Results::new(output, Format::Text, width)) };
    assert_eq!(play(&stories::done(), text(None)).await, "http://203.0.113.10\n");
    assert_eq!(play(&stories::done(), text(Some(40))).await, "http://203.0.113.10               35.9 s\n");
    assert_eq!(play(&stories::failed(), text(None)).await, "");
}

/// A report that fails at its first event.
struct Broken;

impl Sink for Broken {
    fn name(&self) -> &'static str {
        "the broken report"
    }
    fn event(&mut self, _: &Event, _: &Picture) -> Result<(), Failure> {
        Err(Failure::new(FailureKind::Infrastructure, "no ink").with_hint("buy some"))
    }
}

#[tokio::test]
async fn a_report_that_fails_is_a_warning() {
    let page = Page::default();
    let redactor = redactor();
    let log = Lines::new(page.output(&redactor), false, false);
    let reports = Reports { sinks: vec![Box::new(Broken), Box::new(log)], picture: Picture::new(redactor) };
    let (events, receiver) = Events::channel();
    for event in stories::unchanged().0 {
        events.send(event.kind);
    }
    reports.run(receiver).await;
    let text = page.text();
    assert!(text.contains("warning: the broken report was not written: no ink\n"), "{text}");
    assert!(text.contains("           help: buy some\n"), "{text}");
    assert_eq!(text.matches("no ink").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_log_is_never_silent_for_long() {
    let page = Page::default();
    let redactor = redactor();
    let log = Lines::new(page.output(&redactor), false, false);
    let reports = Reports { sinks: vec![Box::new(log)], picture: Picture::new(redactor) };
    let (events, receiver) = Events::channel();
    let mut story = stories::done();
    story.0.truncate(stories::IN_THE_ROLLOUT);
    story.0.into_iter().for_each(|event| events.send(event.kind));
    let running = tokio::spawn(reports.run(receiver));
    tokio::time::sleep(Duration::from_secs(61)).await;
    drop(events);
    running.await.unwrap();
    let text = page.text();
    let beats: Vec<&str> = text.lines().filter(|line| line.contains("still going on")).collect();
    assert!(beats.len() >= 4, "{text}");
    assert!(beats[0].contains("wait for Deployment backend: 1/3 ready"), "{}", beats[0]);
}

/// Where pages lead to.
fn links() -> Links {
    let base = "https://github.com/acme/todo";
    let application = "todo".to_owned();
    Links {
        application,
        log: Some(format!("{base}/actions/runs/77/attempts/1")),
        commit: Some(format!("{base}/commit/1a2b3c4")),
    }
}

/// The page of a story.
fn page_of(story: &Story) -> String {
    let mut picture = Picture::new(redactor());
    story.0.iter().for_each(|event| picture.absorb(event));
    let text = page::page(&picture, &links());
    assert!(!text.contains(stories::SECRET) && !text.contains("hunter2"), "a secret is shown: {text}");
    text
}

#[test]
fn a_run_as_a_page() {
    let mut underway = stories::done();
    underway.0.truncate(stories::IN_THE_BUILD);
    insta::assert_snapshot!("page_underway", page_of(&underway));
    insta::assert_snapshot!("page_done", page_of(&stories::done()));
    insta::assert_snapshot!("page_unchanged", page_of(&stories::unchanged()));
    insta::assert_snapshot!("page_failed", page_of(&stories::failed()));
    insta::assert_snapshot!("page_cancelled", page_of(&stories::cancelled()));
    insta::assert_snapshot!("page_early", page_of(&stories::unreachable()));
}

#[tokio::test]
async fn a_run_leaves_its_summary_and_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, outputs) = (folder.path().join("summary"), folder.path().join("outputs"));
    let (to_summary, to_outputs) = (summary.clone(), outputs.clone());
    play(&stories::done(), move |_| Box::new(JobSummary::new(to_summary, links(), redactor()))).await;
    play(&stories::failed(), move |_| Box::new(Outputs::new(to_outputs, redactor()))).await;
    assert!(std::fs::read_to_string(summary).unwrap().starts_with("### `todo` is live: <http://203.0.113.10>\n"));
    let text = std::fs::read_to_string(outputs).unwrap();
    let values: Vec<&str> = text.split('\n').collect();
    assert_eq!((values[1], values[4], values[7], values[13]), ("failed", "1", "", "todo-app-prod"));
    let digests: Value = serde_json::from_str(values[10]).unwrap();
    assert!(digests["backend"].as_str().unwrap().starts_with("sha256:"));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_a_warning() {
    let page = Page::default();
    let redactor = redactor();
    let log = Lines::new(page.output(&redactor), false, false);
    let outputs = Outputs::new("/nowhere/outputs".into(), redactor.clone());
    let reports = Reports { sinks: vec![Box::new(outputs), Box::new(log)], picture: Picture::new(redactor) };
    let (events, receiver) = Events::channel();
    stories::unchanged().0.into_iter().for_each(|event| events.send(event.kind));
    reports.run(receiver).await;
    assert!(page.text().contains("the outputs of the step was not written"), "{}", page.text());
}

/// A GitHub on which comment 1 is ours once it is posted; writes are answered with this status.
async fn hub(post: u16) -> MockServer {
    let server = MockServer::start().await;
    let comment = json!({"id": 1, "user": {"login": "github-actions[bot]"}, "body": ""});
    let mount = |verb: &'static str, status: u16, body: Value| {
        Mock::given(method(verb)).respond_with(ResponseTemplate::new(status).set_body_json(body))
    };
    let list = Mock::given(method("GET")).and(path("/repos/acme/todo/issues/42/comments"));
    list.respond_with(ResponseTemplate::new(200).set_body_json(json!([]))).mount(&server).await;
    let user = Mock::given(path("/user"));
    user.respond_with(ResponseTemplate::new(403).set_body_json(json!({"message": "no"}))).mount(&server).await;
    let one = Mock::given(method("GET")).and(path_regex("/comments/1$"));
    one.respond_with(ResponseTemplate::new(200).set_body_json(&comment)).mount(&server).await;
    mount("POST", post, comment.clone()).mount(&server).await;
    mount("PATCH", 200, comment).mount(&server).await;
    server
}

/// Plays a story to the comment and the log; gives the bodies that were written, and the log.
async fn commented(server: &MockServer, story: Story) -> (Vec<String>, String) {
    let sticky = Sticky::deploy("todo", "todo-app-prod", None);
    let comments = Comments::new(&server.uri(), &Secret::new("t"), "acme/todo", 42, sticky).unwrap();
    let page = Page::default();
    let redactor = redactor();
    let log = Lines::new(page.output(&redactor), false, false);
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(PrComment::new(comments, links())), Box::new(log)];
    let (events, receiver) = Events::channel();
    let running = tokio::spawn(Reports { sinks, picture: Picture::new(redactor) }.run(receiver));
    for event in story.0 {
        if matches!(event.kind, EventKind::Finished(_)) {
            wait_for_post(server).await;
        }
        events.send(event.kind);
    }
    running.await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let written = requests.iter().filter(|request| matches!(request.method.as_str(), "POST" | "PATCH"));
    let body = |request: &wiremock::Request| request.body_json::<Value>().unwrap()["body"].as_str().unwrap().to_owned();
    (written.map(body).collect(), page.text())
}

/// Comes back when the comment has been posted, as in a run that takes its time.
async fn wait_for_post(server: &MockServer) {
    let posted = async {
        loop {
            let requests = server.received_requests().await.unwrap();
            if requests.iter().any(|request| request.method.as_str() == "POST") {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), posted).await.unwrap();
}

#[tokio::test]
async fn the_comment_is_there_early_and_tells_the_end() {
    let server = hub(201).await;
    let (bodies, log) = commented(&server, stories::done()).await;
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    assert!(bodies[0].contains("### `todo` is being deployed"), "{}", bodies[0]);
    assert!(bodies[1].starts_with("<!-- seaway:deploy:todo/todo-app-prod -->\n### `todo` is live"), "{}", bodies[1]);
    assert!(!log.contains("comment"), "{log}");
}

#[tokio::test]
async fn a_comment_that_is_refused_is_a_warning() {
    let server = hub(403).await;
    let (bodies, log) = commented(&server, stories::unchanged()).await;
    assert_eq!(bodies.len(), 1);
    assert!(log.contains("warning: the comment on the pull request was not written"), "{log}");
    assert!(log.contains("pull-requests: write"), "{log}");
}

#[test]
fn a_workload_that_did_not_stay_ready_has_failed() {
    let mut story = stories::failed();
    let detail = "3/3 ready".to_owned();
    for event in &mut story.0 {
        if let EventKind::OperationFinished { operation: 8, outcome, .. } = &mut event.kind {
            *outcome = crate::execute::OperationOutcome::Done { detail: detail.clone() };
        }
    }
    assert!(page_of(&story).contains("| Deployment backend | **failed** |  |"), "{}", page_of(&story));
}

#[test]
fn a_run_ends_with_the_code_of_what_ended_it() {
    let failure = |kind| crate::execute::Diagnosis::from(Failure::new(kind, "x"));
    let failures = vec![failure(FailureKind::Infrastructure), failure(FailureKind::Application)];
    let failed = Outcome { failures, ..Outcome::default() };
    assert_eq!((Outcome::default().exit_code(), failed.exit_code()), (0, 3));
    let stopped = Outcome { cancelled: true, ..failed };
    assert_eq!((stopped.exit_code(), outcome_word(&stopped)), (130, "cancelled"));
    assert_eq!(Outcome { stopped_by: Some(FailureKind::Terminated), ..stopped }.exit_code(), 143);
}
