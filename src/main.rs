//! The front door: everything else is in the library.

use std::process::ExitCode;

/// musl's own allocator has one lock for all threads, and fetches and returns every larger piece of memory one by one: each
/// block of a layer would be a few hundred page faults (<https://musl.libc.org/releases.html>, 1.2.1).
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    seaway::run(std::env::args_os())
}
