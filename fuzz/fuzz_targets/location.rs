//! `Location` of an upload: where a registry leads us, and whether we go there.

#![no_main]

libfuzzer_sys::fuzz_target!(|header: &str| seaway::fuzzing::location(header));
