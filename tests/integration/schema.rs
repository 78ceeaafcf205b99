//! `schema` prints a schema that accepts what `check` accepts, as far as a schema can tell.

use crate::common::World;
use serde_json::{Value, json};

/// The schema as the binary prints it.
pub(crate) fn schema() -> Value {
    let run = World::new().seaway(&["schema"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// A YAML text as a value.
fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// Whether the schema accepts a deploy.yml.
fn accepts(text: &str) -> bool {
    jsonschema::draft7::new(&schema()).expect("a schema").is_valid(&yaml(text))
}

#[test]
fn the_examples_are_accepted() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(examples).expect("the examples") {
        let path = entry.expect("an example").path().join("deploy.yml");
        let validator = jsonschema::draft7::new(&schema()).expect("a schema");
        let text = std::fs::read_to_string(&path).expect("a deploy.yml");
        let errors: Vec<String> = validator.iter_errors(&yaml(&text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn everything_that_is_understood_is_accepted() {
    assert!(accepts(crate::check::EVERYTHING));
}

#[test]
fn mistakes_are_refused() {
    for text in [
        "nmae: todo",
        "namespace: no-name",
        "name: 1",
        "{ name: todo, images: { a: { biuld: . } } }",
        "{ name: todo, images: { a: { build: ., mirror: b } } }",
        "{ name: todo, images: { a: { layout: a, engine: b } } }",
        "{ name: todo, images: [a] }",
        "{ name: todo, smoke: [{ gett: / }] }",
        "{ name: todo, smoke: [{ get: /, post: / }] }",
        "{ name: todo, rollout: { deadline: 10 } }",
        "{ name: todo, rollout: { deadline: 10x } }",
        "{ name: todo, rollout: { on_failure: rollback } }",
        "{ name: todo, services: {} }",
        "{ name: todo, environments: { staging: { namspace: x } } }",
    ] {
        assert!(!accepts(text), "{text}");
    }
}

#[test]
fn json_is_what_the_schema_is_written_in() {
    assert_eq!(schema()["$schema"], json!("http://json-schema.org/draft-07/schema#"));
}
