//! A run for programs. Each version is a copy of the types and not the types themselves: they may change, it may not.

mod plan;
pub(super) mod v1;

pub(crate) use plan::plan_json;
