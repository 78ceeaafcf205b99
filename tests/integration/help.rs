//! What `--help` says must be readable on a terminal of 80 columns, and show an example.

use crate::common::World;

/// Every verb.
const VERBS: [&str; 9] = ["check", "plan", "up", "down", "push", "registry", "registry clean", "action", "schema"];

#[test]
fn help_fits_into_80_columns() {
    let world = World::new();
    for verb in std::iter::once(None).chain(VERBS.map(Some)) {
        for flag in ["--help", "-h"] {
            let run = world.seaway(&verb.unwrap_or_default().split_whitespace().chain([flag]).collect::<Vec<_>>());
            assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
            for line in run.stdout.lines() {
                assert!(line.chars().count() <= 80, "{verb:?}: {line}");
                assert_eq!(line, line.trim_end(), "{verb:?}: spaces at the end");
            }
            assert!(run.stdout.contains("Example"), "{verb:?} has no example");
        }
    }
}

#[test]
fn help_names_every_verb() {
    insta::assert_snapshot!(World::new().seaway(&["--help"]));
}

#[test]
fn the_version_names_the_codec_that_the_digests_of_layers_depend_on() {
    let run = World::new().seaway(&["--version"]);
    let codec = run.stdout.trim_end().strip_suffix(')').and_then(|text| text.split_once(" (gzip by "));
    let (version, codec) = codec.unwrap_or_else(|| panic!("{}", run.stdout));
    assert_eq!(version, concat!("seaway ", env!("CARGO_PKG_VERSION")));
    let isa_l = codec.starts_with("isa-l 2.") && codec.contains(" level 1");
    assert!(isa_l || codec == "zlib-rs level 2", "{codec}");
}

#[test]
fn help_of_a_verb() {
    insta::assert_snapshot!(World::new().seaway(&["down", "--help"]));
}

#[test]
fn help_shows_no_value_of_the_environment() {
    let world =
        World::new().variable("SEAWAY_API_URL", "http://hunter2.example").variable("DIGITALOCEAN_TOKEN", "hunter2");
    assert!(!world.seaway(&["up", "--help"]).stdout.contains("hunter2"));
}

#[test]
fn a_mistyped_verb_is_answered_with_the_right_one() {
    insta::assert_snapshot!(World::new().seaway(&["chek"]));
}

#[test]
fn a_mistyped_flag_is_answered_with_the_right_one() {
    insta::assert_snapshot!(World::new().seaway(&["check", "--no-evn"]));
}

#[test]
fn no_verb_shows_the_help_and_is_a_mistake() {
    let run = World::new().seaway(&[]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("Usage: seaway"));
}

#[test]
fn a_verb_of_a_later_version_is_refused_as_such() {
    insta::assert_snapshot!(World::new().seaway(&["rollback", "12"]));
}
