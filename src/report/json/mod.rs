//! A run for programs. Each version is a copy of the types and not the types themselves: they may change, it may not.

pub(super) mod v1;
