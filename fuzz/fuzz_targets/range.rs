//! `Range` of an upload: how much of it a registry says that it has.

#![no_main]

libfuzzer_sys::fuzz_target!(|header: &str| seaway::fuzzing::range(header));
