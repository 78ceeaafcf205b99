//! A `.dockerignore`: its first line is the path that is asked for, the rest the file.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (path, rules) = text.split_once('\n').unwrap_or((text, ""));
    seaway::fuzzing::dockerignore(rules, path);
});
