//! Why DigitalOcean's registry refuses: it answers with little more than a status, and the account knows the rest
//! (<https://docs.digitalocean.com/products/container-registry/details/limits/>). Pure.

use crate::digitalocean::{Error as ApiError, GarbageCollection, Plan, Registry};
use crate::error::{Failure, FailureKind, Hint as _};
use crate::model::DIGITALOCEAN_REGISTRY;
use crate::registry::{Error, Refusal};
use reqwest::StatusCode;

/// What an account knows of its registries; `None` is what could not be found out.
#[derive(Debug)]
pub(super) struct Facts {
    /// All registries of the account.
    pub(super) registries: Result<Vec<Registry>, ApiError>,
    /// The plan.
    pub(super) plan: Option<Plan>,
    /// The repositories of the registry.
    pub(super) repositories: Option<Vec<String>>,
    /// The garbage collection that runs.
    pub(super) collection: Option<GarbageCollection>,
    /// The same login has just pushed to the same repository: it may.
    pub(super) has_pushed: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Self { registries: Ok(Vec::new()), plan: None, repositories: None, collection: None, has_pushed: false }
    }
}

/// The cause of a refusal: what is said, and what helps.
#[derive(Debug, PartialEq, Eq)]
struct Cause {
    /// Whose fault it is.
    kind: FailureKind,
    /// The cause in a sentence.
    message: String,
    /// What helps.
    hint: String,
}

/// The refusal in an error, if DigitalOcean's registry gave it and it can have a cause that the account knows.
pub(super) fn of_digitalocean(error: &Error) -> Option<&Refusal> {
    let (Error::Refused { registry, refusal, .. } | Error::Login { registry, refusal, .. }) = error else {
        return None;
    };
    (registry == DIGITALOCEAN_REGISTRY && matches!(refusal.status.as_u16(), 400 | 401 | 403)).then_some(refusal)
}

/// The failure with the cause in front. Without facts the hint names the likely causes and how to find out more.
pub(super) fn explain(refusal: &Refusal, path: &str, facts: Option<&Facts>, mut failure: Failure) -> Failure {
    let Some(cause) = cause(refusal, path, facts) else { return failure };
    match failure.messages.as_mut_slice() {
        // `image X could not be pushed: …`, then the answer itself.
        [what, _, ..] => *what = format!("{what}: {}", cause.message),
        _ => failure.messages.insert(0, cause.message),
    }
    Failure { kind: cause.kind, hint: Some(cause.hint), ..failure }
}

/// The cause of a refusal, as far as it can be told.
fn cause(refusal: &Refusal, path: &str, facts: Option<&Facts>) -> Option<Cause> {
    let (registry, repository) = path.split_once('/').unwrap_or((path, ""));
    if repository.is_empty() {
        let hint =
            format!("images are called `{DIGITALOCEAN_REGISTRY}/REGISTRY/IMAGE`: name the registry in `registry`");
        return Some(configuration(format!("`{path}` names no registry and repository"), hint));
    }
    let Some(facts) = facts else { return said(refusal) };
    match &facts.registries {
        Err(error) if error.kind() == FailureKind::Configuration => {
            return Some(configuration(error.to_string(), error.hint().unwrap_or_default()));
        }
        Ok(all) if !all.iter().any(|known| known.name == registry) => return Some(wrong_registry(registry, all)),
        _ => {}
    }
    match refusal.status {
        StatusCode::UNAUTHORIZED => {
            Some(facts.collection.as_ref().map_or_else(dead_login, |gc| collecting(registry, gc)))
        }
        StatusCode::FORBIDDEN => repository_cap(registry, repository, facts)
            .or_else(|| said(refusal))
            .or_else(|| storage_cap(registry, facts))
            .or_else(|| may_not_push(facts)),
        _ => None,
    }
}

/// A cause that somebody can set right.
fn configuration(message: String, hint: impl Into<String>) -> Cause {
    Cause { kind: FailureKind::Configuration, message, hint: hint.into() }
}

/// What the registry itself says: the cap on repositories is the only cause that it names.
fn said(refusal: &Refusal) -> Option<Cause> {
    let about = refusal.message.as_deref().filter(|about| about.contains("limit is"))?;
    Some(configuration(format!("the plan has no room for another repository: {about}"), REPOSITORY_CURE))
}

/// What helps against the cap on repositories.
const REPOSITORY_CURE: &str = "delete a repository that nothing uses, or choose a larger plan";

/// The registry's name is wrong.
fn wrong_registry(wanted: &str, all: &[Registry]) -> Cause {
    let names: Vec<String> = all.iter().map(|registry| format!("`{}`", registry.name)).collect();
    let hint = if names.is_empty() {
        "the account has none: create one in the control panel".to_owned()
    } else {
        format!("the account has {}: write that name instead", names.join(", "))
    };
    configuration(format!("there is no container registry `{wanted}` in this DigitalOcean account"), hint)
}

/// A garbage collection runs.
fn collecting(registry: &str, collection: &GarbageCollection) -> Cause {
    Cause {
        kind: FailureKind::Infrastructure,
        message: format!("registry `{registry}` takes no pushes while it collects garbage ({})", collection.status),
        hint: "try again when it has ended; `--on-gc wait` waits for that, `--on-gc cancel` ends it".to_owned(),
    }
}

/// Nothing else explains a 401.
fn dead_login() -> Cause {
    configuration(
        "the login for the registry is wrong, expired or revoked".to_owned(),
        "run `doctl registry login`; or write `registry: NAME` into deploy.yml: then seaway makes\n\
         a login of its own",
    )
}

/// The plan has no room for another repository.
fn repository_cap(registry: &str, repository: &str, facts: &Facts) -> Option<Cause> {
    let (plan, repositories) = (facts.plan.as_ref()?, facts.repositories.as_ref()?);
    let limit = plan.included_repositories;
    if limit == 0 || repositories.len() < limit || repositories.iter().any(|known| known == repository) {
        return None;
    }
    let noun = if limit == 1 { "repository" } else { "repositories" };
    let names: Vec<String> = repositories.iter().map(|name| format!("`{name}`")).collect();
    let message =
        format!("the plan {} has room for {limit} {noun}, and `{repository}` would be one more than that", plan.name);
    Some(configuration(message, format!("{REPOSITORY_CURE}; `{registry}` has {}", names.join(", "))))
}

/// The plan has no room for more bytes.
fn storage_cap(registry: &str, facts: &Facts) -> Option<Cause> {
    let plan = facts.plan.as_ref().filter(|plan| !plan.allow_storage_overage)?;
    let used = facts.registries.as_ref().ok()?.iter().find(|known| known.name == registry)?.storage_usage_bytes;
    if plan.included_storage_bytes == 0 || used < plan.included_storage_bytes {
        return None;
    }
    let message = format!(
        "the storage of registry `{registry}` is full: it holds {}, and the plan {} allows {}",
        mebibytes(used),
        plan.name,
        mebibytes(plan.included_storage_bytes)
    );
    let hint = "remove images that nothing uses (`seaway registry clean` shows them), or choose a larger plan";
    Some(configuration(message, hint))
}

/// Nothing else explains a 403, if all was found out.
fn may_not_push(facts: &Facts) -> Option<Cause> {
    facts.plan.as_ref().filter(|_| !facts.has_pushed)?;
    facts.repositories.as_ref()?;
    Some(configuration(
        "the login may pull and not push".to_owned(),
        "use a token with `registry:create` and `registry:update`, or a login that may write\n\
         (`doctl registry login` without `--read-only`)",
    ))
}

/// Bytes in the unit of the plans.
fn mebibytes(bytes: u64) -> String {
    let whole = bytes / (1 << 20);
    if whole < 10 { format!("{} KiB", bytes / 1024) } else { format!("{whole} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::render;
    use reqwest::header::HeaderMap;
    use serde_json::json;

    /// A refusal with this status and message.
    fn refusal(status: u16, message: &str) -> Refusal {
        let body = json!({ "errors": [{ "code": "DENIED", "message": message }] });
        let body = if message.is_empty() { String::new() } else { body.to_string() };
        Refusal::read(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    /// An account with one registry, `shop`, on the starter plan.
    fn facts(repositories: &[&str], used: u64) -> Facts {
        let registry = json!({ "name": "shop", "region": "nyc3", "storage_usage_bytes": used });
        let plan = json!({ "name": "Starter", "included_repositories": 1, "included_storage_bytes": 524_288_000 });
        Facts {
            registries: Ok(vec![serde_json::from_value(registry).unwrap()]),
            plan: Some(serde_json::from_value(plan).unwrap()),
            repositories: Some(repositories.iter().map(|name| (*name).to_owned()).collect()),
            collection: None,
            has_pushed: false,
        }
    }

    /// What a person reads.
    fn read(status: u16, message: &str, path: &str, facts: Option<&Facts>) -> String {
        let error = Error::Refused {
            registry: DIGITALOCEAN_REGISTRY.to_owned(),
            action: "give a token".to_owned(),
            refusal: Box::new(refusal(status, message)),
        };
        let mut failure = Failure::of(&error);
        failure.messages.insert(0, "image `api` could not be pushed".to_owned());
        let failure = explain(of_digitalocean(&error).unwrap(), path, facts, failure);
        format!("{}exit {}\n", render(&failure), failure.kind.exit_code())
    }

    #[test]
    fn a_login_that_has_just_pushed_may_push() {
        let failure = || Failure::new(FailureKind::Configuration, "403");
        let told = |used, has_pushed| {
            let facts = Facts { has_pushed, ..facts(&["api"], used) };
            explain(&refusal(403, ""), "shop/api", Some(&facts), failure()).messages.remove(0)
        };
        assert_eq!(told(0, false), "the login may pull and not push");
        assert_eq!(told(0, true), "403", "nobody knows why");
        assert!(told(600_000_000, true).starts_with("the storage of registry `shop` is full"));
    }

    #[test]
    fn each_refusal_has_its_cause() {
        let collection = json!({ "uuid": "1", "status": "scanning manifests" });
        let collecting = Facts { collection: Some(serde_json::from_value(collection).unwrap()), ..facts(&["web"], 0) };
        let texts = [
            read(403, "", "shop/api", Some(&facts(&["web"], 0))),
            read(403, "", "shop/web", Some(&facts(&["web"], 530_000_000))),
            read(403, "", "shop/web", Some(&facts(&["web"], 1000))),
            read(401, "", "shop/web", Some(&collecting)),
            read(401, "", "shop/web", Some(&facts(&["web"], 0))),
            read(400, "", "shoop/web", Some(&facts(&["web"], 0))),
            read(400, "", "web", None),
            read(403, "registry contains 1 repositories, limit is 1", "shop/api", None),
            read(403, "", "shop/api", None),
            read(401, "", "shop/api", None),
            read(400, "", "shop/api", None),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn what_could_not_be_found_out_is_not_claimed() {
        let unknown = Facts { plan: None, ..facts(&["web"], 0) };
        assert!(cause(&refusal(403, ""), "shop/api", Some(&unknown)).is_none());
    }

    #[test]
    fn other_registries_have_other_rules() {
        let error = Error::Refused {
            registry: "ghcr.io".to_owned(),
            action: "give a token".to_owned(),
            refusal: Box::new(refusal(403, "")),
        };
        assert!(of_digitalocean(&error).is_none());
    }
}
