//! In: `Desired` and the doors. Out: `Observed`, what exists now. Asks, never writes.
