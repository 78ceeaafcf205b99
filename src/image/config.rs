//! An image configuration: for which platform, the digests of its layers before compression, and what runs in it.

use crate::model::{Digest, Platform};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What Seaway reads of an image configuration. It is pushed as the bytes it came in: their digest is the image's id.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ImageConfig {
    /// `amd64`.
    #[serde(default)]
    pub(crate) architecture: String,
    /// `linux`.
    #[serde(default)]
    pub(crate) os: String,
    /// `v8`.
    #[serde(default)]
    pub(crate) variant: Option<String>,
    /// The layers before compression.
    pub(crate) rootfs: RootFs,
}

/// The layers before compression.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RootFs {
    /// The digests of the layers' tar archives, lowest first.
    #[serde(default)]
    pub(crate) diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// The platform that the image is for.
    pub(crate) fn platform(&self) -> Platform {
        let (os, architecture) = (self.os.clone(), self.architecture.clone());
        Platform { os, architecture, variant: self.variant.clone() }
    }
}

/// Where a program is looked for when the base does not say it: what BuildKit writes into such an image.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A configuration that is being written, on top of a base's. Fields that Seaway does not know stay as they are
/// (<https://github.com/opencontainers/image-spec/blob/main/config.md>).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Draft(Map<String, Value>);

impl Draft {
    /// The configuration of an image without a base.
    pub(crate) fn scratch(platform: &Platform) -> Self {
        let mut draft = Self(Map::new());
        draft.0.insert("architecture".to_owned(), json!(platform.architecture));
        draft.0.insert("os".to_owned(), json!(platform.os));
        if let Some(variant) = &platform.variant {
            draft.0.insert("variant".to_owned(), json!(variant));
        }
        draft.set("WorkingDir", "/");
        draft.ensure_path();
        draft
    }

    /// A base's configuration, to be changed.
    pub(crate) fn on_top_of(base: &[u8]) -> Result<Self, serde_json::Error> {
        let mut draft = Self(serde_json::from_slice(base)?);
        draft.ensure_path();
        Ok(draft)
    }

    /// A Dockerfile's builder sees to it that programs are found.
    fn ensure_path(&mut self) {
        if !self.variables().iter().any(|(name, _)| name == "PATH") {
            self.set_variable("PATH", DEFAULT_PATH);
        }
    }

    /// What runs and how: the part that people set.
    fn settings(&mut self) -> &mut Map<String, Value> {
        let entry = self.0.entry("config").or_insert_with(|| json!({}));
        if !entry.is_object() {
            *entry = json!({});
        }
        match entry {
            Value::Object(settings) => settings,
            _ => unreachable!("it has just been made an object"),
        }
    }

    /// One of the settings.
    fn setting(&self, name: &str) -> Option<&Value> {
        self.0.get("config")?.get(name)
    }

    /// A setting that is text; empty where there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.setting(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A setting that is a list of texts.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let list = self.setting(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    }

    /// Sets a setting.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.settings().insert(name.to_owned(), value.into());
    }

    /// Takes a setting away.
    pub(crate) fn unset(&mut self, name: &str) {
        self.settings().remove(name);
    }

    /// The variables, in order.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let pair = |text: String| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (text, String::new()),
        };
        self.list("Env").into_iter().map(pair).collect()
    }

    /// Sets a variable, at its place if it has one.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        let mut all = self.variables();
        match all.iter_mut().find(|(known, _)| known == name) {
            Some(known) => value.clone_into(&mut known.1),
            None => all.push((name.to_owned(), value.to_owned())),
        }
        let texts: Vec<String> = all.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.set("Env", texts);
    }

    /// Sets an entry of a setting that is a mapping: `Labels`, `ExposedPorts`, `Volumes`.
    pub(crate) fn set_entry(&mut self, name: &str, key: &str, value: Value) {
        let entry = self.settings().entry(name).or_insert_with(|| json!({}));
        if !entry.is_object() {
            *entry = json!({});
        }
        if let Some(entries) = entry.as_object_mut() {
            entries.insert(key.to_owned(), value);
        }
    }

    /// Sets the author.
    pub(crate) fn set_author(&mut self, author: &str) {
        self.0.insert("author".to_owned(), json!(author));
    }

    /// Notes what was done; `layer` says whether a layer came of it.
    pub(crate) fn note(&mut self, created_by: &str, layer: bool, created: &str) {
        let mut entry = json!({ "created": created, "created_by": created_by, "comment": "seaway" });
        if !layer {
            entry["empty_layer"] = json!(true);
        }
        match self.0.entry("history").or_insert_with(|| json!([])) {
            Value::Array(history) => history.push(entry),
            other => *other = json!([entry]),
        }
    }

    /// The digests of the base's layers before compression.
    pub(crate) fn diff_ids(&self) -> Vec<Digest> {
        let list = self.0.get("rootfs").and_then(|rootfs| rootfs.get("diff_ids")).and_then(Value::as_array);
        let list = list.map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(|text| Digest::parse(text.as_str()?).ok()).collect()
    }

    /// When the last layer was made, as the configuration so far says.
    pub(crate) fn created(&self) -> Option<&str> {
        self.0.get("created").and_then(Value::as_str)
    }

    /// The configuration as it is pushed, with these layers. The same calls give the same bytes.
    pub(crate) fn finish(mut self, diff_ids: &[Digest], created: &str) -> Result<Vec<u8>, serde_json::Error> {
        self.0.insert("created".to_owned(), json!(created));
        let diff_ids: Vec<&str> = diff_ids.iter().map(Digest::as_str).collect();
        self.0.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": diff_ids }));
        for container in ["container", "container_config", "id", "parent"] {
            self.0.remove(container); // of Docker's own, about a container that never was
        }
        serde_json::to_vec(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_keeps_what_it_does_not_know_and_changes_what_it_is_told() {
        let base = json!({ "architecture": "amd64", "os": "linux", "x": 1, "container": "c", "config": {
            "Env": ["A=1", "PATH=/p"], "Labels": { "l": "1" }, "StopSignal": "SIGQUIT" },
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"a").as_str()] }, "history": [{ "created_by": "base" }] });
        let mut draft = Draft::on_top_of(base.to_string().as_bytes()).unwrap();
        draft.set_variable("A", "2=3");
        draft.set_variable("B", "");
        draft.set_entry("Labels", "m", json!("2"));
        draft.set_entry("ExposedPorts", "80/tcp", json!({}));
        draft.set("Cmd", vec!["x".to_owned()]);
        draft.note("COPY a b", true, "1980-02-01T00:00:00Z");
        draft.note("CMD", false, "1980-02-01T00:00:00Z");
        let mut layers = draft.diff_ids();
        layers.push(Digest::of(b"b"));
        let done: Value = serde_json::from_slice(&draft.finish(&layers, "1980-02-01T00:00:00Z").unwrap()).unwrap();
        assert_eq!(done["config"]["Env"], json!(["A=2=3", "PATH=/p", "B="]));
        assert_eq!(done["config"]["Labels"], json!({ "l": "1", "m": "2" }));
        assert_eq!(
            (&done["config"]["StopSignal"], &done["x"], done.get("container")),
            (&json!("SIGQUIT"), &json!(1), None)
        );
        assert_eq!(done["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
        let history = done["history"].as_array().unwrap();
        assert_eq!(
            (history.len(), &history[1]["empty_layer"], &history[2]["empty_layer"]),
            (3, &Value::Null, &json!(true))
        );
    }

    #[test]
    fn an_image_without_a_base_has_a_path_and_a_folder() {
        let draft = Draft::scratch(&Platform::default());
        assert_eq!((draft.text("WorkingDir"), draft.variables()[0].0.as_str()), ("/", "PATH"));
        assert!(draft.diff_ids().is_empty());
    }
}
