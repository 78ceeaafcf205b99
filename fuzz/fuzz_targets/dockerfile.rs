//! A Dockerfile.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| seaway::fuzzing::dockerfile(text));
