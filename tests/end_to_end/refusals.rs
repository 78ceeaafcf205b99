//! DigitalOcean's registry says little when it refuses: what a person reads is the cause and the cure, and nothing is
//! tagged.

use crate::common::{Account, Run, get_json};
use serde_json::{Value, json};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Compares the errors of a failed run with the reviewed text of this name.
#[track_caller]
fn reads_as(name: &str, run: &Run) {
    let errors = run.stderr.find("error: ").zip(run.stderr.rfind("\nseaway: the "));
    let (from, to) = errors.unwrap_or_else(|| panic!("no errors in:\n{}", run.stderr));
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(r"it holds \d+ KiB", "it holds [size]");
    settings
        .bind(|| insta::assert_snapshot!(name, format!("{}exit {}\n", &run.stderr[from..to], run.code.unwrap_or(-1))));
}

/// A push that must be refused with a code, and leave no tag.
#[track_caller]
fn refused(
    account: &Account,
    name: &str,
    image: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
    code: i32,
) -> Run {
    let run = account.run(&[&["push"], arguments].concat(), variables).exits(code);
    reads_as(name, &run);
    assert_eq!(account.tags(image), [] as [&str; 0]);
    run
}

/// The registry with a login of somebody's own, `${TOKEN}`.
const OWN_LOGIN: &str =
    "{ host: registry.digitalocean.com, repository: todo-app-registry, username: x, password: \"${TOKEN}\" }";

/// Begins a garbage collection.
fn collect(account: &Account) {
    let body = json!({ "type": "unreferenced blobs only" });
    let started = account.api("POST", "/v2/registries/todo-app-registry/garbage-collection", &body);
    assert_eq!(started["garbage_collection"]["status"], "requested");
}

#[test]
fn the_cap_on_repositories_is_found_behind_a_bare_403() {
    let account = Account::start();
    account.deploy_yml("todo-app-registry", "first").run(&["push"], &[]).exits(0);
    account.turn("/registry/plan", &json!({ "tier": "starter" }));
    account.deploy_yml("todo-app-registry", "second");
    refused(&account, "refused_repository_cap", "second", &[], &[], 2);
    account.turn("/switches", &json!({ "registry_bare_refusals": true }));
    refused(&account, "refused_repository_cap_bare", "second", &[], &[], 2);
    // Without a token the registry's own words are all there is, where it has any.
    let token = account.environment["DIGITALOCEAN_ACCESS_TOKEN"].clone();
    let variables = [("TOKEN", token.as_str()), ("DIGITALOCEAN_ACCESS_TOKEN", "")];
    account.deploy_yml(OWN_LOGIN, "second");
    refused(&account, "refused_repository_cap_bare_without_a_token", "second", &[], &variables, 2);
    account.turn("/switches", &json!({ "registry_bare_refusals": false }));
    refused(&account, "refused_repository_cap_without_a_token", "second", &[], &variables, 2);
    // The first one still fits: its tags are there, and another push finds that.
    account.deploy_yml("todo-app-registry", "first").run(&["push"], &[]).exits(0);
}

#[test]
fn the_cap_on_storage_is_found_behind_a_403() {
    let account = Account::start();
    account.deploy_yml("todo-app-registry", "first").run(&["push"], &[]).exits(0);
    account.turn("/registry/plan", &json!({ "tier": "starter", "repositories": 5, "storage_bytes": 1 << 20 }));
    account.deploy_yml("todo-app-registry", "second");
    refused(&account, "refused_storage_cap", "second", &[], &[], 2);
}

#[test]
fn a_wrong_registry_is_found_behind_a_400() {
    let account = Account::start();
    let token = account.environment["DIGITALOCEAN_ACCESS_TOKEN"].clone();
    let registry =
        "{ host: registry.digitalocean.com, repository: todo-app-regstry, username: x, password: \"${TOKEN}\" }";
    account.deploy_yml(registry, "shop");
    refused(&account, "refused_wrong_registry", "shop", &[], &[("TOKEN", &token)], 2);
    let variables = [("TOKEN", token.as_str()), ("DIGITALOCEAN_ACCESS_TOKEN", "")];
    refused(&account, "refused_wrong_registry_without_a_token", "shop", &[], &variables, 2);
}

#[test]
fn the_source_of_an_image_is_explained_as_its_target_is() {
    let account = Account::start();
    let there = "registry.digitalocean.com/todo-app-regstry/base:1";
    for (name, source) in [
        ("refused_mirror", format!("{{ mirror: {there} }}")),
        ("refused_base_of_an_entry", format!("{{ from: {there}, copy: {{ ./deploy.yml: /etc/ }} }}")),
    ] {
        account.deploy_yml_of("todo-app-registry", "shop", &source);
        refused(&account, name, "shop", &[], &[], 2);
    }
}

#[test]
fn a_login_that_may_only_pull_is_named_and_without_a_token_the_likely_causes() {
    let account = Account::start();
    let token = account.token(&["registry:read"]);
    account.deploy_yml(OWN_LOGIN, "shop");
    let known = refused(&account, "refused_read_only_login", "shop", &[], &[("TOKEN", &token)], 2);
    assert!(!known.stderr.contains(&token));
    let variables = [("TOKEN", token.as_str()), ("DIGITALOCEAN_ACCESS_TOKEN", "")];
    refused(&account, "refused_without_a_token", "shop", &[], &variables, 2);
}

#[test]
fn a_dead_login_is_named() {
    let account = Account::start();
    let registry =
        "{ host: registry.digitalocean.com, repository: todo-app-registry, username: x, password: dop_v1_dead }";
    account.deploy_yml(registry, "shop");
    refused(&account, "refused_dead_login", "shop", &[], &[], 2);
}

#[test]
fn a_push_that_meets_a_garbage_collection_fails_if_it_is_to() {
    let account = Account::start();
    account.turn("/switches", &json!({ "garbage_collection_stuck": "scanning manifests" }));
    account.deploy_yml("todo-app-registry", "shop");
    collect(&account);
    account.turn("/clock", &json!({ "advance_seconds": 60 }));
    refused(&account, "refused_garbage_collection", "shop", &["--on-gc", "fail"], &[], 3);
    // A login that was not made by us meets it as a 401.
    let token = account.environment["DIGITALOCEAN_ACCESS_TOKEN"].clone();
    account.deploy_yml(OWN_LOGIN, "shop");
    let variables = [("TOKEN", token.as_str()), ("DIGITALOCEAN_ACCESS_TOKEN", "")];
    refused(&account, "refused_401_without_a_token", "shop", &["--on-gc", "fail"], &variables, 2);
}

#[test]
fn a_push_waits_for_a_garbage_collection_and_says_where_it_stands() {
    let account = Account::start();
    account.turn("/switches", &json!({ "garbage_collection_seconds": 10 }));
    account.deploy_yml("todo-app-registry", "shop");
    collect(&account);
    let run = account.run(&["push", "--output", "json"], &[]).exits(0);
    run.says("shop: waiting for the registry's garbage collection: requested");
    run.says("shop: waiting for the registry's garbage collection: ");
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(result["images"][0]["state"], "mirrored");
    assert_eq!(account.tags("shop").len(), 2);
}

#[test]
fn a_push_cancels_a_stuck_garbage_collection_if_it_is_to() {
    let account = Account::start();
    account.turn("/switches", &json!({ "garbage_collection_stuck": "waiting for write JWTs to expire" }));
    account.deploy_yml("todo-app-registry", "shop");
    collect(&account);
    let run = account.run(&["push", "--on-gc", "cancel"], &[]).exits(0);
    run.says("shop: cancelling the registry's garbage collection: ");
    assert_eq!(account.tags("shop").len(), 2);
}

/// Begins a garbage collection in the middle of a push: while the first blob is on its way, whose token has died when it
/// arrives. How the push ends.
fn met_in_the_middle(account: &Account, image: &str, on_gc: &str) -> Run {
    account.deploy_yml("todo-app-registry", image);
    let rule = json!({ "target": "registry", "method": "PUT", "path": format!("/{image}/blobs/"), "delay_seconds": 1.5, "times": 1 });
    account.turn("/faults", &rule);
    thread::scope(|scope| {
        let push = scope.spawn(|| account.run(&["push", "--on-gc", on_gc], &[]));
        let begin = Instant::now();
        while get_json(&format!("{}/faults", account.environment["SANDBOX_CONTROL_URL"]), &[])[0]["hits"] != 1 {
            assert!(begin.elapsed() < Duration::from_mins(2) && !push.is_finished(), "no blob is on its way");
            sleep(Duration::from_millis(20));
        }
        collect(account);
        let run = push.join().expect("a run");
        account.forget_faults();
        run
    })
}

#[test]
fn a_push_meets_a_garbage_collection_that_begins_in_its_middle_as_it_is_to() {
    let account = Account::start();
    account.through_the_fault_proxy();
    account.turn("/switches", &json!({ "registry_token_lifetime_seconds": 1, "garbage_collection_seconds": 3 }));
    met_in_the_middle(&account, "waits", "wait")
        .exits(0)
        .says("waits: waiting for the registry's garbage collection: ");
    assert_eq!(account.tags("waits").len(), 2);

    account.turn("/switches", &json!({ "garbage_collection_stuck": "requested" }));
    let run = met_in_the_middle(&account, "cancels", "cancel").exits(0);
    run.says("cancels: cancelling the registry's garbage collection: ");
    assert_eq!(account.tags("cancels").len(), 2);

    let run = met_in_the_middle(&account, "fails", "fail").exits(3);
    reads_as("refused_in_the_middle", &run);
    assert_eq!(account.tags("fails"), [] as [&str; 0]);
}
