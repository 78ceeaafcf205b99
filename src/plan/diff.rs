//! What changes between an object as it is and as it would be, field by field.

use super::FieldChange;
use super::slots::is_unknown;
use serde_json::{Map, Value};

/// What is shown in place of a secret value.
const HIDDEN: &str = "***";

/// What is shown for an image that is yet to be built.
const TO_BE_BUILT: &str = "built in this deploy";

/// The keys by which the items of a list are told apart, in the order in which they are tried: the API server merges
/// nearly all lists of objects by one of these.
const ITEM_KEYS: [&str; 8] = ["name", "mountPath", "containerPort", "port", "key", "type", "host", "ip"];

/// Words in the name of an environment variable or annotation that say that its value is nobody's business.
const SECRET_WORDS: [&str; 6] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "CREDENTIAL", "API_KEY"];

/// The changes from one state of an object to another; `sensitive` hides all values below `data` and `stringData`.
pub(super) fn changes(before: &Value, after: &Value, sensitive: bool) -> Vec<FieldChange> {
    let mut walk = Walk { sensitive, found: Vec::new() };
    walk.compare("", Some(&normal(before)), Some(&normal(after)));
    walk.found
}

/// The fields of a written body that differ from the live object; what the body leaves out is left to the server.
pub(super) fn written_changes(live: &Value, body: &Value, sensitive: bool) -> Vec<FieldChange> {
    let mut merged = live.clone();
    overlay(&mut merged, body);
    changes(live, &merged, sensitive)
}

/// Lays a body over a live object: mappings merge, everything else is replaced.
fn overlay(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                overlay(under.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// An object without what the server and its controllers write.
fn normal(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(fields) = &mut object {
        fields.shift_remove("status");
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return object };
    for field in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"] {
        metadata.shift_remove(field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
        annotations.shift_remove("deployment.kubernetes.io/revision");
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
    object
}

/// A comparison under way.
struct Walk {
    /// Whether the object's data is secret.
    sensitive: bool,
    /// The changes so far.
    found: Vec<FieldChange>,
}

impl Walk {
    /// Compares what stands at a path; `None` where nothing does.
    fn compare(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        if before == after {
            return;
        }
        match (before, after) {
            (Some(Value::Object(before)), Some(Value::Object(after))) => self.fields(path, before, after),
            (Some(Value::Object(before)), None) if !before.is_empty() => self.fields(path, before, &Map::new()),
            (None, Some(Value::Object(after))) if !after.is_empty() => self.fields(path, &Map::new(), after),
            (Some(Value::Array(before)), Some(Value::Array(after))) => self.items(path, before, after),
            (Some(Value::Array(before)), None) if holds_objects(before) => self.items(path, before, &[]),
            (None, Some(Value::Array(after))) if holds_objects(after) => self.items(path, &[], after),
            _ => self.leaf(path, before, after),
        }
    }

    /// Compares two mappings.
    fn fields(&mut self, path: &str, before: &Map<String, Value>, after: &Map<String, Value>) {
        let new = after.keys().filter(|key| !before.contains_key(*key));
        for key in before.keys().chain(new) {
            self.compare(&member(path, key), before.get(key), after.get(key));
        }
    }

    /// Compares two lists: by key where their items have one, else as a whole or by place.
    fn items(&mut self, path: &str, before: &[Value], after: &[Value]) {
        if let Some(key) = item_key(before, after) {
            let known = |item: &&Value| !before.iter().any(|old| old[key] == item[key]);
            for item in before.iter().chain(after.iter().filter(known)) {
                let of = |side: &'_ [Value]| side.iter().find(|one| one[key] == item[key]).cloned();
                let (old, new) = (of(before), of(after));
                self.item(&format!("{path}[{}]", show(&item[key])), key, old.as_ref(), new.as_ref());
            }
        } else if holds_objects(before) || holds_objects(after) {
            for index in 0..before.len().max(after.len()) {
                self.compare(&format!("{path}[{index}]"), before.get(index), after.get(index));
            }
        } else {
            self.leaf(path, Some(&Value::from(before)), Some(&Value::from(after)));
        }
    }

    /// Compares two items of the same key. An item that is nothing but key and value (`env`) is its value.
    fn item(&mut self, path: &str, key: &str, before: Option<&Value>, after: Option<&Value>) {
        if before == after {
            return;
        }
        let plain = |item: Option<&Value>| {
            item.is_none_or(|item| {
                item.as_object().is_some_and(|fields| fields.len() == 2 && fields.contains_key("value"))
            })
        };
        if plain(before) && plain(after) {
            return self.compare(
                path,
                before.and_then(|item| item.get("value")),
                after.and_then(|item| item.get("value")),
            );
        }
        // An item that is nothing but its key (`imagePullSecrets`) is that key.
        let bare =
            |item: Option<&Value>| item.is_none_or(|item| item.as_object().is_some_and(|fields| fields.len() == 1));
        if bare(before) && bare(after) {
            let list = path.rsplit_once('[').map_or(path, |(list, _)| list);
            return self.leaf(list, before.map(|item| &item[key]), after.map(|item| &item[key]));
        }
        let without_key = |item: Option<&Value>| {
            item.cloned().map(|mut item| {
                if let Value::Object(fields) = &mut item {
                    fields.shift_remove(key); // it stands in the path already
                }
                item
            })
        };
        let (before, after) = (without_key(before), without_key(after));
        self.compare(path, before.as_ref(), after.as_ref());
    }

    /// Notes a change.
    fn leaf(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        let hidden = self.hides(path);
        let text = |value: Option<&Value>| value.map(|value| if hidden { HIDDEN.to_owned() } else { show(value) });
        self.found.push(FieldChange { path: path.to_owned(), before: text(before), after: text(after) });
    }

    /// Whether the value at a path is secret.
    fn hides(&self, path: &str) -> bool {
        let data = path.starts_with("data") || path.starts_with("stringData");
        let name = path.rsplit(['[', '.']).next().unwrap_or_default().to_uppercase().replace('-', "_");
        (self.sensitive && data) || (path.contains("env[") && SECRET_WORDS.iter().any(|word| name.contains(word)))
    }
}

/// Whether a list has an object in it.
fn holds_objects(items: &[Value]) -> bool {
    items.iter().any(Value::is_object)
}

/// The key by which the items of both lists can be told apart.
fn item_key(before: &[Value], after: &[Value]) -> Option<&'static str> {
    ITEM_KEYS.into_iter().find(|key| {
        [before, after].iter().all(|items| {
            let mut values: Vec<String> = items.iter().filter_map(|item| item.get(key)).map(Value::to_string).collect();
            values.sort();
            values.dedup();
            values.len() == items.len()
        })
    })
}

/// The path of a field; names that are no plain words stand in brackets.
fn member(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path.is_empty(), plain) {
        (true, _) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (false, false) => format!("{path}[{key}]"),
    }
}

/// A value as people read it.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) if is_unknown(text) => TO_BE_BUILT.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The path of a JSON pointer in the words of a change: `/spec/containers/0/image` is `spec.containers[api].image`.
pub(super) fn path_of(body: &Value, pointer: &str) -> String {
    let (mut path, mut value) = (String::new(), body);
    for part in pointer.trim_start_matches('/').split('/') {
        let part = part.replace("~1", "/").replace("~0", "~");
        if let Value::Array(items) = value {
            let index = part.parse::<usize>().unwrap_or_default();
            let Some(item) = items.get(index) else { return path };
            let key = item_key(items, &[]).map_or(part.clone(), |key| show(&item[key]));
            path = format!("{path}[{key}]");
            value = item;
        } else {
            path = member(&path, &part);
            value = &value[part.as_str()];
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The changes as lines, `path: before → after`.
    fn lines(before: &Value, after: &Value, sensitive: bool) -> Vec<String> {
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let each = changes(before, after, sensitive).into_iter();
        each.map(|change| format!("{}: {} → {}", change.path, text(change.before), text(change.after))).collect()
    }

    #[test]
    fn what_servers_write_is_no_change() {
        let before = json!({ "metadata": { "name": "a", "resourceVersion": "1", "generation": 1, "uid": "u",
            "annotations": { "deployment.kubernetes.io/revision": "3" } }, "status": { "replicas": 1 } });
        let after =
            json!({ "metadata": { "name": "a", "resourceVersion": "2", "generation": 2, "managedFields": [] } });
        assert_eq!(changes(&before, &after, false), []);
    }

    #[test]
    fn fields_are_named_by_what_people_call_them() {
        let container = |image: &str, level: &str, ports: Value| {
            json!({ "spec": { "template": { "spec": { "containers": [
                { "name": "sidecar", "image": "s" },
                { "name": "api", "image": image, "env": [{ "name": "LOG_LEVEL", "value": level }], "ports": ports },
            ] } } } })
        };
        let before = container("r/api:1", "info", json!([{ "containerPort": 80 }]));
        let after =
            container("r/api:2", "debug", json!([{ "containerPort": 80 }, { "containerPort": 81, "protocol": "UDP" }]));
        let api = "spec.template.spec.containers[api]";
        let wanted = [
            format!("{api}.image: r/api:1 → r/api:2"),
            format!("{api}.env[LOG_LEVEL]: info → debug"),
            format!("{api}.ports[81].protocol: - → UDP"),
        ];
        assert_eq!(lines(&before, &after, false), wanted);
    }

    #[test]
    fn an_item_that_moves_in_its_list_is_no_change() {
        let item = |name: &str| json!({ "name": name, "value": name });
        let before = json!({ "env": [item("a"), item("b")] });
        let after = json!({ "env": [item("b"), item("a"), item("c")] });
        assert_eq!(lines(&before, &after, false), ["env[c]: - → c"]);
    }

    #[test]
    fn an_item_that_is_nothing_but_a_name_is_its_name() {
        let secrets = |names: &[&str]| {
            let items: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
            json!({ "imagePullSecrets": items })
        };
        assert_eq!(lines(&secrets(&["a"]), &secrets(&["a", "b"]), false), ["imagePullSecrets: - → b"]);
    }

    #[test]
    fn lists_of_texts_change_as_a_whole() {
        let lines = lines(&json!({ "args": ["a"] }), &json!({ "args": ["a", "b"] }), false);
        assert_eq!(lines, [r#"args: ["a"] → ["a","b"]"#]);
    }

    #[test]
    fn secrets_are_never_shown() {
        let before = json!({ "data": { "url": "b2xk" }, "type": "Opaque" });
        let after = json!({ "data": { "url": "bmV3", "more": "eA==" }, "type": "Opaque" });
        assert_eq!(lines(&before, &after, true), ["data.url: *** → ***", "data.more: - → ***"]);
        let env = |value: &str| json!({ "env": [{ "name": "DB_PASSWORD", "value": value }, { "name": "MODE", "value": value }] });
        let all = lines(&env("a"), &env("b"), false);
        assert_eq!(all, ["env[DB_PASSWORD]: *** → ***", "env[MODE]: a → b"]);
    }

    #[test]
    fn an_annotation_stands_in_brackets() {
        let annotated = |value: &str| json!({ "metadata": { "annotations": { "seaway.dev/x": value } } });
        assert_eq!(lines(&annotated("1"), &annotated("2"), false), ["metadata.annotations[seaway.dev/x]: 1 → 2"]);
    }

    #[test]
    fn a_pointer_and_a_change_speak_of_the_same_path() {
        let body = json!({ "spec": { "containers": [{ "name": "a" }, { "name": "api", "image": "x" }] } });
        assert_eq!(path_of(&body, "/spec/containers/1/image"), "spec.containers[api].image");
    }

    #[test]
    fn without_a_dry_run_only_written_fields_count() {
        let live = json!({ "spec": { "replicas": 1, "defaulted": true } });
        let body = json!({ "spec": { "replicas": 2 } });
        let changed = written_changes(&live, &body, false);
        assert_eq!((changed.len(), changed[0].path.as_str()), (1, "spec.replicas"));
    }
}
