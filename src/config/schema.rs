//! The JSON Schema of deploy.yml.

use serde_json::{Value, json};

/// The schema.
pub(crate) fn document() -> Value {
    json!({ "$schema": "https://json-schema.org/draft/2020-12/schema" })
}
