//! The Docker Engine (through bollard) and `BuildKit` (a client of our own).
