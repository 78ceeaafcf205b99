//! In: `Desired` and the doors. Out: `Observed`, what exists now. Asks, never writes.

pub(crate) mod cluster;
pub(crate) mod images;
pub(crate) mod sources;
