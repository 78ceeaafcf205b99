//! Which images a Dockerfile builds on.
