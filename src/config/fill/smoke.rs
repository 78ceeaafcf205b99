//! `smoke`, filled in up to the places that only the run can fill.

use super::Filler;
use crate::config::needs::Part;
use crate::config::raw::{Json, RawConfig, RawExpectation, RawStep, Text};
use crate::config::validate;
use crate::config::variables::Scope;
use crate::config::{Expectation, SmokeStep, Template};
use serde_json::Value;
use std::collections::BTreeMap;

/// The requests, in order. Each may use what earlier ones save.
pub(in crate::config) fn smoke(filler: &mut Filler<'_>, raw: &RawConfig) -> Vec<SmokeStep> {
    let mut saved: Vec<String> = Vec::new();
    let mut steps = Vec::new();
    for (index, step) in raw.smoke.iter().enumerate() {
        let mut filling = StepFilling { filler, who: format!("`smoke[{index}]`"), saved: saved.clone() };
        steps.extend(filling.step(step));
        saved.extend(step.save.iter().map(|(name, _)| name.value.clone()));
    }
    if filler.needs.include(Part::Smoke) { steps } else { Vec::new() }
}

/// Fills one step.
struct StepFilling<'f, 'a> {
    /// Fills texts and takes mistakes.
    filler: &'f mut Filler<'a>,
    /// The step, for messages.
    who: String,
    /// What earlier steps save.
    saved: Vec<String>,
}

impl StepFilling<'_, '_> {
    /// The request and what its answer must be.
    fn step(&mut self, raw: &RawStep) -> Option<SmokeStep> {
        let headers = raw.headers.iter().map(|(name, value)| (name.value.clone(), self.header(name, value))).collect();
        let json = raw.json.as_ref().map(|json| self.json(json));
        let expect = self.expectation(&raw.expect);
        let save = raw.save.iter().map(|(name, path)| self.save(name, path)).collect();
        let (method, path) = raw.request.as_ref()?;
        let filled = self.template(path);
        if filled.1 {
            let made = validate::request_path(&filled.0.0);
            let place = format!("{}.{}", self.who.trim_matches('`'), method.to_lowercase());
            self.filler.made(path, &place, made);
        }
        let line = self.filler.file.line_of(raw.span.start);
        Some(SmokeStep { method: method.clone(), path: filled.0, json, headers, expect, save, line })
    }

    /// A text with its variables filled in, and whether all of them were known.
    fn template(&mut self, text: &Text) -> (Template, bool) {
        let scope = Scope { smoke: Some(&self.saved), ..Scope::default() };
        let filled = self.filler.scoped(text, &self.who, Some(Part::Smoke), scope);
        (Template(filled.text), filled.known)
    }

    /// The value of a header.
    fn header(&mut self, name: &Text, value: &Text) -> Template {
        self.filler.key(name, "a header", validate::header_name);
        self.template(value).0
    }

    /// A name to save under, and where in the answer the value stands.
    fn save(&mut self, name: &Text, path: &Text) -> (String, String) {
        self.filler.key(name, "a saved value", validate::saved_name);
        let made = validate::json_path(&path.value);
        self.filler.made(path, &format!("{}.save.{}", self.who.trim_matches('`'), name.value), made);
        (name.value.clone(), path.value.clone())
    }

    /// A JSON value, its texts filled in.
    fn json(&mut self, json: &Json) -> Value {
        self.json_value(&json.value, json)
    }

    /// A part of a JSON value.
    fn json_value(&mut self, value: &Value, whole: &Json) -> Value {
        match value {
            Value::String(text) => {
                let text = Text { value: text.clone(), span: whole.span };
                Value::String(self.template(&text).0.0)
            }
            Value::Array(items) => items.iter().map(|item| self.json_value(item, whole)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(key, value)| (key.clone(), self.json_value(value, whole))).collect()
            }
            other => other.clone(),
        }
    }

    /// What the answer must be.
    fn expectation(&mut self, raw: &RawExpectation) -> Expectation {
        let part = Some(Part::Smoke);
        let place = format!("{}.expect", self.who.trim_matches('`'));
        let status = raw.status.as_ref();
        let status = status.and_then(|t| self.filler.value(t, &format!("{place}.status"), part, validate::status));
        let within = raw.within.as_ref();
        let within = within.and_then(|t| self.filler.value(t, &format!("{place}.within"), part, validate::duration));
        let body = raw.body.as_ref().map(|text| self.template(text).0);
        let mut json = BTreeMap::new();
        for (path, value) in &raw.json {
            self.filler.made(path, &format!("{place}.json"), validate::json_path(&path.value));
            json.insert(path.value.clone(), self.json(value));
        }
        Expectation { status, body, json, within }
    }
}
