//! GitHub: the event that started a workflow, the comment on its pull request, the commands of its runner.
//!
//! A door: it names only `model`, `http` and `error`.

pub(crate) mod workflow_commands;
