//! From what was written to what it means: variables are filled in, texts become durations, references and paths.
//! Files are looked at by `files`, not here.

mod assembly;
mod images;
mod smoke;
mod supply;

use super::needs::{Needs, Part};
use super::raw::{Problem, RawConfig, RawRegistry, Text};
use super::source::SourceFile;
use super::validate;
use super::variables::{Filled, Scope, Variables};
use super::{Expose, Registry, Rollout};
use crate::model::{DIGITALOCEAN_REGISTRY, Secret, nearest};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) use images::images;
pub(super) use smoke::smoke;

/// Fills the texts of one deploy.yml.
pub(super) struct Filler<'a> {
    /// The file.
    pub(super) file: &'a SourceFile,
    /// Where values come from.
    pub(super) variables: Variables<'a>,
    /// What the verb uses.
    pub(super) needs: Needs,
    /// The folder that relative paths start from.
    pub(super) root: PathBuf,
    /// The mistakes so far.
    pub(super) problems: Vec<Problem>,
}

impl Filler<'_> {
    /// Fills a text of a part; `who` says what needs it.
    fn text(&mut self, text: &Text, who: &str, part: Option<Part>) -> Filled {
        self.scoped(text, who, part, Scope::default())
    }

    /// Fills a text in which more names mean something.
    fn scoped(&mut self, text: &Text, who: &str, part: Option<Part>, scope: Scope<'_>) -> Filled {
        let missing = self.needs.missing_in(part);
        self.variables.fill(text, (who, scope, missing), self.file, &mut self.problems)
    }

    /// Fills a text and makes something of it; a text that is not known, or means nothing, gives nothing.
    fn value<T>(
        &mut self,
        text: &Text,
        path: &str,
        part: Option<Part>,
        make: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let filled = self.text(text, &format!("`{path}`"), part);
        if filled.known { self.made(text, path, make(&filled.text)) } else { None }
    }

    /// What was made of a text; notes why it could not be.
    fn made<T>(&mut self, text: &Text, path: &str, made: Result<T, String>) -> Option<T> {
        made.map_err(|rule| {
            let message = format!("`{path}` cannot be `{}`", text.value);
            self.problems.push(Problem::new(text.span, message).hint(rule));
        })
        .ok()
    }

    /// A path relative to deploy.yml; `None` where it is not known.
    pub(super) fn path(&mut self, text: &Text, path: &str, part: Part) -> Option<PathBuf> {
        let filled = self.text(text, &format!("`{path}`"), Some(part));
        filled.known.then(|| self.root.join(filled.text))
    }

    /// A text that must be the name of a Kubernetes object; as it was written where it is not known.
    fn name(&mut self, text: &Text, path: &str, part: Option<Part>, rule: fn(&str) -> Result<(), String>) -> String {
        let made = self.value(text, path, part, |text| rule(text).map(|()| text.to_owned()));
        made.unwrap_or_else(|| text.value.clone())
    }

    /// The same rule for a text without variables, such as a key.
    pub(super) fn key(&mut self, key: &Text, what: &str, rule: fn(&str) -> Result<(), String>) {
        if let Err(rule) = rule(&key.value) {
            let message = format!("{what} cannot be called `{}`", key.value);
            self.problems.push(Problem::new(key.span, message).hint(rule));
        }
    }
}

/// The name and the namespace.
pub(super) fn identity(filler: &mut Filler<'_>, raw: &RawConfig) -> (String, String) {
    let rule = validate::dns_label;
    let name = raw.name.as_ref().map(|text| filler.name(text, "name", None, rule)).unwrap_or_default();
    let namespace = raw.namespace.as_ref().map(|text| filler.name(text, "namespace", None, rule));
    (name.clone(), namespace.unwrap_or(name))
}

/// The cluster.
pub(super) fn cluster(filler: &mut Filler<'_>, raw: &RawConfig) -> Option<String> {
    let text = raw.cluster.as_ref()?;
    Some(filler.text(text, "`cluster`", Some(Part::Cluster)).text)
}

/// The registry; its login only where the registry is needed.
pub(super) fn registry(filler: &mut Filler<'_>, raw: &RawConfig) -> Option<Registry> {
    let part = Some(Part::Registry);
    match raw.registry.as_ref()? {
        RawRegistry::DigitalOcean(name) => {
            let name = filler.value(name, "registry", part, registry_name)?;
            Some(Registry::DigitalOcean { name })
        }
        RawRegistry::Other { host, repository, username, password, pull_secret, span } => {
            let host = host.as_ref().map(|text| filler.value(text, "registry.host", part, registry_host));
            let repository =
                repository.as_ref().map(|text| filler.value(text, "registry.repository", part, repository_path));
            let username = username.as_ref().map(|text| filler.text(text, "`registry.username`", part).text);
            let password = password.as_ref().map(|text| filler.text(text, "`registry.password`", part).text);
            if username.is_some() != password.is_some() {
                let problem = Problem::new(*span, "`registry` has one of `username` and `password`, not both");
                filler.problems.push(problem.hint("write both, or neither: then Docker's own login is used"));
            }
            let login = username.zip(password.map(Secret::new)).filter(|_| filler.needs.include(Part::Registry));
            if let Some(text) = pull_secret {
                filler.value(text, "registry.pull_secret", part, no_pull_secret);
            }
            Some(Registry::Other {
                host: host??,
                repository: repository.unwrap_or_else(|| Some(String::new()))?,
                login,
            })
        }
    }
}

/// The name of a DOCR registry.
fn registry_name(text: &str) -> Result<String, String> {
    if !text.contains(['/', '.', ':']) {
        return validate::dns_label(text).map(|()| text.to_owned());
    }
    let bare = text.split_once("://").map_or(text, |(_, bare)| bare).trim_end_matches('/');
    Err(match bare.split_once('/') {
        Some((DIGITALOCEAN_REGISTRY, name)) => {
            format!("of a DigitalOcean registry only the name is written: `registry: {name}`")
        }
        Some((host, path)) => format!(
            "this names a DigitalOcean registry; another one is written `registry: {{ host: \"{host}\", repository: {path} }}`"
        ),
        None => format!(
            "this names a DigitalOcean registry; another one is written `registry: {{ host: \"{bare}\", repository: … }}`"
        ),
    })
}

/// The host of a registry, with a port or not.
fn registry_host(text: &str) -> Result<String, String> {
    let rule =
        "this is a host name with a port or without: `ghcr.io`, `127.0.0.1:5000`; what follows goes to `repository`";
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if !text.is_empty() && text.chars().all(inner) { Ok(text.to_owned()) } else { Err(rule.to_owned()) }
}

/// The path inside a registry.
fn repository_path(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    path.split('/').try_for_each(validate::image_key).map(|()| path.to_owned())
}

/// The one thing that can be said of the pull Secret of another registry: that there is none.
fn no_pull_secret(text: &str) -> Result<(), String> {
    let rule = "a pull Secret is made for DigitalOcean registries only: write `pull_secret: none` or leave it out, and \
                name a Secret of your own in the pods' `imagePullSecrets` where nodes need a login";
    if text == "none" { Ok(()) } else { Err(rule.to_owned()) }
}

/// The Secrets; only their names where the values are not needed.
pub(super) fn secrets(filler: &mut Filler<'_>, raw: &RawConfig) -> BTreeMap<String, BTreeMap<String, Secret>> {
    let mut secrets = BTreeMap::new();
    for (name, values) in &raw.secrets {
        filler.key(name, "a Secret", validate::dns_subdomain);
        let all: BTreeMap<String, Secret> = values
            .iter()
            .map(|(key, value)| (key.value.clone(), secret_value(filler, &name.value, key, value)))
            .collect();
        let values = if filler.needs.include(Part::Secrets) { all } else { BTreeMap::new() };
        secrets.insert(name.value.clone(), values);
    }
    secrets
}

/// What is said of a secret that stands in the file itself. A user name may; what its key calls secret should not.
fn written_in_clear(value: &Text, key: &Text) -> Option<Problem> {
    let name = key.value.to_lowercase();
    let telling = ["password", "passwd", "token", "secret", "apikey", "api-key", "api_key"];
    if value.value.contains("${") || value.value.is_empty() || !telling.iter().any(|word| name.contains(word)) {
        return None;
    }
    let problem = Problem::new(value.span, format!("the value of `{}` is written in clear", key.value)).warning();
    Some(problem.hint("take it from the environment, `${NAME}`: whoever reads the file, or its history, knows it"))
}

/// One value of a Secret. An empty one is a mistake unless an empty default was written: in a workflow a secret that
/// does not exist is an empty variable.
fn secret_value(filler: &mut Filler<'_>, name: &str, key: &Text, value: &Text) -> Secret {
    filler.key(key, "a value of a Secret", validate::secret_key);
    let made = filler.text(value, &format!("Secret `{name}`"), Some(Part::Secrets));
    if let Some(problem) = written_in_clear(value, key) {
        filler.problems.push(problem);
    }
    let wanted = filler.needs.missing_in(Some(Part::Secrets)) == super::variables::Missing::Error;
    if wanted && made.known && made.text.is_empty() && value.value.contains("${") && !value.value.contains(":-") {
        let problem = Problem::new(value.span, format!("the value of `{}` in Secret `{name}` is empty", key.value));
        filler.problems.push(
            problem.hint(
                "set the variable (in a workflow, a secret that does not exist is empty), or allow it: `${NAME:-}`",
            ),
        );
    }
    Secret::new(made.text)
}

/// Whose address is the application's.
pub(super) fn expose(filler: &mut Filler<'_>, raw: &RawConfig, namespace: &str) -> Option<Expose> {
    let expose = raw.expose.as_ref()?;
    let path = format!("expose.{}", expose.kind.to_lowercase());
    let part = Some(Part::Cluster);
    let host = expose.host.as_ref().map(|text| filler.name(text, "expose.host", part, validate::host_name));
    let target = filler.value(&expose.target, &path, part, |text| {
        let Some((other, name)) = text.split_once('/') else {
            return validate::dns_subdomain(text).map(|()| (namespace.to_owned(), text.to_owned()));
        };
        validate::dns_label(other).and_then(|()| validate::dns_subdomain(name))?;
        Ok((other.to_owned(), name.to_owned()))
    });
    let (namespace, name) = target?;
    Some(Expose { kind: expose.kind.to_owned(), namespace, name, host })
}

/// How the rollout is waited for.
pub(super) fn rollout(filler: &mut Filler<'_>, raw: &RawConfig) -> Rollout {
    let mut rollout = Rollout::default();
    let part = Some(Part::Cluster);
    let times = [
        (&raw.rollout.deadline, "rollout.deadline", &mut rollout.deadline),
        (&raw.rollout.settle, "rollout.settle", &mut rollout.settle),
    ];
    for (text, path, time) in times {
        if let Some(value) = text.as_ref().and_then(|text| filler.value(text, path, part, validate::duration)) {
            *time = value;
        }
    }
    rollout
}

/// Notes an exposed object that the manifests have under a name nearby.
pub(super) fn check_exposed(raw: &RawConfig, expose: Option<&Expose>, objects: &[(String, String)]) -> Option<Problem> {
    let (raw, expose) = (raw.expose.as_ref()?, expose?);
    let names = || objects.iter().filter(|(kind, _)| *kind == expose.kind).map(|(_, name)| name.as_str());
    if names().any(|name| name == expose.name) || raw.target.value.contains('/') {
        return None;
    }
    let near = nearest(&expose.name, names())?;
    let message = format!("there is no {} `{}` in the manifests", expose.kind, expose.name);
    Some(Problem::new(raw.target.span, message).label(format!("did you mean `{near}`?")))
}
