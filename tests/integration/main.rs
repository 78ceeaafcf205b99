//! The built binary from outside: one test binary, one file a verb. Nothing here needs a network or a cluster.

mod bench;
mod check;
mod common;
mod help;
mod house_rules;
mod reference;
mod schema;
