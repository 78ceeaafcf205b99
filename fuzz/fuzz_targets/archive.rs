//! An image archive: what `docker save`, a builder or another tool wrote.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| seaway::fuzzing::archive(bytes));
