//! Whole runs, event by event, as each report shows them.

mod stories;

use super::lines::Lines;
use super::results::Results;
use super::terminal::Terminal;
use super::*;
use crate::execute::Events;
use std::sync::{Arc, Mutex};
use stories::Story;

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

#[tokio::test]
async fn a_table_while_it_lives() {
    let mut story = stories::done();
    story.0.truncate(stories::IN_THE_ROLLOUT);
    let paint = Paint { colour: false };
    let page = Page::default();
    let redactor = redactor();
    let sink: Box<dyn Sink> = Box::new(Terminal::new(page.output(&redactor), paint, Box::new(|| (100, 60))));
    let mut reports = Reports { sinks: vec![sink], picture: Picture::new(redactor) };
    story.0.iter().for_each(|event| reports.take(event));
    reports.picture.now += Duration::from_secs(3);
    reports.each(|sink, picture| sink.tick(picture));
    reports.each(|sink, picture| sink.tick(picture));
    insta::assert_snapshot!("terminal_alive", screen(&page.text()));
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
