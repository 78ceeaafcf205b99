//! The reference in docs/ says what the schema says. `UPDATE_DOCS=1 cargo test --test integration reference` rewrites it.

use crate::schema::schema;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A page of the reference.
fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// The rows of a mapping's keys.
fn table(definition: &Value) -> String {
    let required: Vec<&str> =
        definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut text = "| key | what it is | example |\n| --- | --- | --- |\n".to_owned();
    for (key, property) in definition["properties"].as_object().expect("a mapping") {
        let needed = if required.contains(&key.as_str()) { ", required" } else { "" };
        let description = property["description"].as_str().expect("a description").replace('|', "\\|");
        let example = property["examples"][0].as_str().map_or_else(
            || property.get("examples").map(|examples| format!("`{}`", examples[0])).unwrap_or_default(),
            |example| format!("`{example}`"),
        );
        let _ = writeln!(text, "| `{key}`{needed} | {description} | {example} |");
    }
    text
}

/// The page with every table made anew. A table stands between `<!-- keys: NAME -->` and `<!-- end -->`.
fn with_tables(page: &str, schema: &Value) -> (String, Vec<String>) {
    let mut parts = page.split("<!-- keys: ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut names = Vec::new();
    for part in parts {
        let (name, rest) = part.split_once(" -->").expect("an end of the marker");
        let (_, rest) = rest.split_once("<!-- end -->").expect("an end of the table");
        let definition = if name == "deploy" { schema } else { &schema["definitions"][name] };
        let _ = write!(text, "<!-- keys: {name} -->\n{}<!-- end -->{rest}", table(definition));
        names.push(name.to_owned());
    }
    (text, names)
}

#[test]
fn the_reference_says_what_the_schema_says() {
    let path = page("deploy-yml.md");
    let written = std::fs::read_to_string(&path).expect("the reference");
    let schema = schema();
    let (made, names) = with_tables(&written, &schema);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return std::fs::write(&path, &made).expect("the reference");
    }
    let with_keys = schema["definitions"].as_object().expect("definitions").iter();
    let with_keys = with_keys.filter(|(name, d)| d.get("properties").is_some() && *name != "overlay");
    for (name, _) in with_keys {
        assert!(names.contains(name), "the reference has no table of `{name}`");
    }
    assert!(names.contains(&"deploy".to_owned()));
    assert!(made == written, "docs/deploy-yml.md is not what the schema says: run this test with UPDATE_DOCS=1");
}

#[test]
fn the_exit_codes_are_listed() {
    let text = std::fs::read_to_string(page("messages.md")).expect("the page");
    for code in [0, 1, 2, 3, 4, 5, 130, 143] {
        assert!(text.contains(&format!("| {code} |")), "{code}");
    }
}
