//! When what was done: a Gantt chart for Mermaid, which GitHub draws.
//!
//! Source: <https://mermaid.js.org/syntax/gantt.html>.

use super::picture::{Phase, Picture, State, Task};
use super::text::append;
use crate::model::counted;
use std::time::Duration;

/// What is done in less is not seen on the chart.
const VISIBLE: Duration = Duration::from_millis(50);

/// A bar of the chart.
struct Bar {
    /// Its phase.
    phase: Phase,
    /// What it stands for.
    name: String,
    /// How it ended.
    state: State,
    /// When it began.
    start: Duration,
    /// When it ended.
    end: Duration,
}

/// The chart; `None` where nothing has a length.
pub(super) fn chart(picture: &Picture) -> Option<String> {
    /// More bars than these nobody reads.
    const MOST: usize = 40;
    let mut bars: Vec<Bar> = picture.tasks.iter().filter_map(|task| bar(task, picture)).collect();
    bars.extend(objects(picture));
    bars.sort_by_key(|bar| (bar.phase, bar.start));
    bars.truncate(MOST);
    if bars.is_empty() {
        return None;
    }
    let mut text = "```mermaid\ngantt\n    dateFormat x\n    axisFormat %M:%S\n".to_owned();
    let mut phase = None;
    for bar in &bars {
        if phase != Some(bar.phase) {
            append!(text, "    section {}\n", bar.phase.name());
            phase = Some(bar.phase);
        }
        // Without any length a bar would not be drawn.
        let end = bar.end.max(bar.start + Duration::from_millis(1)).as_millis();
        append!(text, "    {} :{}{}, {end}\n", bar.name, tag(bar.state), bar.start.as_millis());
    }
    text.push_str("```\n");
    Some(text)
}

/// The bar of an operation that began. Objects share one bar; what did not change has none.
fn bar(task: &Task, picture: &Picture) -> Option<Bar> {
    let quiet = task.phase == Phase::Rollout && !task.changed && task.state != State::Failed;
    if task.phase == Phase::Objects || quiet && task.object.is_some() || task.state == State::Skipped {
        return None;
    }
    let (start, age) = (task.started?, task.age(picture.now)?);
    let end = start + age;
    if age < VISIBLE && task.state == State::Done {
        return None;
    }
    Some(Bar { phase: task.phase, name: plain(&task.name()), state: task.state, start, end })
}

/// One bar for all objects that were applied.
fn objects(picture: &Picture) -> Option<Bar> {
    let applied: Vec<&Task> = picture.tasks_of(Phase::Objects).filter(|task| task.changed).collect();
    let start = applied.iter().filter_map(|task| task.started).min()?;
    let end = applied.iter().filter_map(|task| Some(task.started? + task.age(picture.now)?)).max()?;
    let failed = applied.iter().any(|task| task.state == State::Failed);
    let state = if failed { State::Failed } else { State::Done };
    let name = format!("apply {}", counted(applied.len(), "object"));
    Some(Bar { phase: Phase::Objects, name, state, start, end })
}

/// How a bar is drawn.
fn tag(state: State) -> &'static str {
    match state {
        State::Done => "done, ",
        State::Failed => "crit, ",
        State::Running => "active, ",
        State::Waiting | State::Skipped => "",
    }
}

/// A name without the signs that mean something in a chart.
fn plain(name: &str) -> String {
    name.chars().map(|sign| if sign.is_alphanumeric() || "-._/ ".contains(sign) { sign } else { ' ' }).collect()
}
