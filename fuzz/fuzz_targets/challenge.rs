//! `WWW-Authenticate`, as any server on the way may send it.

#![no_main]

libfuzzer_sys::fuzz_target!(|header: &str| seaway::fuzzing::challenge(header));
