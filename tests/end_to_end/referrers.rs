//! What is said about an image on registries that treat it otherwise than those of the sandbox: one that lists what refers
//! to a manifest, and one that refuses it.

use crate::attestations::{Registry, are_valid, image};
use crate::common::clients::ListingRegistry;
use crate::common::{Fault, Project, Run, Sandbox, get_json, small, succeed, through_the_fault_proxy};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The predicates of provenance and SBOM.
const PREDICATES: [&str; 2] = ["https://slsa.dev/provenance/v1", "https://spdx.dev/Document"];

/// A project whose image has a package of each ecosystem that leaves a list or a description of its own, in a registry.
fn project(name: &str, host: &str) -> Project {
    let project = small(name);
    project
        .write("web/Dockerfile", "FROM scratch\nCOPY www /www\nCOPY app /app\n")
        .write(
            "web/app/vendor/composer/installed.json",
            r#"[{"name":"Acme/Tool","version":"v1.0.0","license":["MIT"]}]"#,
        )
        .write("web/app/specifications/default/rack-3.1.0.gemspec", "# stub: rack 3.1.0 ruby lib\n")
        .write("web/app/node_modules/.pnpm/a@2.0.0/node_modules/a/package.json", r#"{"name":"a","version":"2.0.0"}"#)
        .replace(
            "deploy.yml",
            "registry: todo-app-registry",
            &format!("registry: {{ host: \"{host}\", repository: todo-app-registry }}"),
        )
        .replace(
            "deploy.yml",
            &format!("  {name}: ./web"),
            &format!("  {name}: {{ build: ./web, attest: {{ sbom: true, provenance: true }} }}"),
        );
    project.renew("web/www/index.html").commit();
    project
}

/// Pushes; the image in the result.
fn push(project: &Project) -> Value {
    image(&project.run(&["push", "--output", "json"]).exits(0).stdout)
}

/// A digest in a result.
fn digest(value: &Value) -> String {
    value["digest"].as_str().expect("a digest").to_owned()
}

/// The registry's own list of what refers to a manifest.
fn listed(host: &str, name: &str, subject: &str, query: &str) -> Vec<Value> {
    let url = format!("http://{host}/v2/todo-app-registry/{name}/referrers/{subject}{query}");
    let list = get_json(&url, &[]);
    list["manifests"].as_array().cloned().unwrap_or_default()
}

/// The tags of a repository.
fn tags(host: &str, name: &str) -> BTreeSet<String> {
    let list = get_json(&format!("http://{host}/v2/todo-app-registry/{name}/tags/list"), &[]);
    let tags = list["tags"].as_array().cloned().unwrap_or_default();
    tags.iter().map(|tag| tag.as_str().expect("a tag").to_owned()).collect()
}

#[test]
fn a_registry_that_lists_what_refers_to_an_image_needs_no_list_under_a_tag() {
    let server = ListingRegistry::start(Sandbox::join(), &[]);
    let (project, host) = (project("listing", &server.host), server.host.as_str());
    let first = push(&project);
    let subject = digest(&first);
    let attested: Vec<String> = first["attestations"].as_array().expect("a list").iter().map(digest).collect();

    // The registry's own list says what each is, and how it is found.
    let list = listed(host, "listing", &subject, "");
    let predicates: BTreeMap<String, String> = list
        .iter()
        .map(|entry| {
            assert_eq!(entry["artifactType"], "application/vnd.in-toto+json", "{entry:#}");
            let predicate = entry["annotations"]["in-toto.io/predicate-type"].as_str().expect("a predicate");
            (predicate.to_owned(), digest(entry))
        })
        .collect();
    let wanted = PREDICATES.map(str::to_owned).into_iter().zip(attested.clone());
    assert_eq!(predicates, wanted.collect());
    assert_eq!(listed(host, "listing", &subject, "?artifactType=application/vnd.in-toto%2Bjson").len(), 2);
    assert_eq!(listed(host, "listing", &subject, "?artifactType=application/other").len(), 0);
    let tags_before = tags(host, "listing");
    assert!(tags_before.len() == 2 && !tags_before.iter().any(|tag| tag.starts_with("sha256-")), "{tags_before:?}");
    assert!(!server.requests().iter().any(|request| request.contains("/manifests/sha256-")), "nobody asked for a list");

    // Others find them too, and those who wrote the formats find no fault with them.
    let registry = Registry::open(&project, host);
    for attestation in &attested {
        let manifest = registry.crane("manifest", &format!("listing@{attestation}"));
        assert_eq!(manifest["subject"]["digest"], subject.as_str());
    }
    let tag = tags_before.iter().find(|tag| !tag.starts_with("ck-")).expect("a tag for people");
    let found = registry.found_by_oras("listing", tag);
    let statement = |predicate: &str| -> Value { serde_json::from_str(&found[predicate].1).expect("JSON") };
    let [provenance, sbom] = PREDICATES.map(statement);
    are_valid(&project, &provenance, &sbom);
    let packages = sbom["predicate"]["packages"].as_array().expect("packages").iter().skip(1);
    let purls: Vec<_> = packages.map(|package| package["externalRefs"][0]["referenceLocator"].clone()).collect();
    assert_eq!(purls, ["pkg:npm/a@2.0.0", "pkg:composer/acme/tool@v1.0.0", "pkg:gem/rack@3.1.0"]);

    // The same once more adds nothing and loses nothing; a new image gets its own.
    let asked = server.requests().len();
    let again = push(&project);
    let known = again["attestations"].as_array().expect("a list");
    assert_eq!(known.iter().map(digest).collect::<Vec<_>>(), attested);
    assert!(server.requests()[asked..].iter().all(|request| !request.starts_with('P')), "nothing is put");
    project.renew("web/www/index.html").commit();
    let second = digest(&push(&project));
    assert_ne!(second, subject);
    assert_eq!([&subject, &second].map(|subject| listed(host, "listing", subject, "").len()), [2, 2]);

    // What goes takes what is about it along, and leaves the other alone.
    let rules = ["registry", "clean", "--pattern", "*", "--keep-tags", "1", "--older-than", "0", "--no-cluster"];
    let run = project.run(&[&rules[..], &["--yes", "--output", "json"]].concat()).exits(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(result["deleted"], 3, "{result:#}");
    let left = [&subject, &second].map(|subject| listed(host, "listing", subject, "").len());
    assert_eq!((left, tags(host, "listing").len()), ([0, 2], 2));
    for gone in std::iter::once(&subject).chain(&attested) {
        let url = format!("http://{host}/v2/todo-app-registry/listing/manifests/{gone}");
        let status = succeed(Command::new("curl").args([
            "--silent",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code}",
            &url,
        ]));
        assert_eq!(status, "404", "{gone}");
    }
}

/// Compares the warning that a person reads of a refusal with the reviewed text of this name.
#[track_caller]
fn reads_as(name: &str, run: &Run) {
    let from = run.stderr.find("warning: ").unwrap_or_else(|| panic!("no warning in:\n{}", run.stderr));
    let warning = run.stderr[from..].lines().next().expect("a line");
    assert_eq!(run.stderr.matches("warning: ").count(), 1, "{}", run.stderr);
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(r"127\.0\.0\.1:\d+", "[registry]");
    settings.add_filter(r"@[0-9a-f]{8}", "@[digest]");
    settings.bind(|| insta::assert_snapshot!(name, warning));
}

#[test]
fn a_registry_that_refuses_what_is_said_about_an_image_gets_the_image() {
    let server = ListingRegistry::start(Sandbox::join(), &["--refuse-subjects"]);
    let (project, host) = (project("refusing", &server.host), server.host.as_str());
    reads_as("attestations_refused", &project.run(&["push"]).exits(0));
    let there = tags(host, "refusing");
    assert!(there.len() == 2 && there.iter().any(|tag| tag.starts_with("ck-")), "{there:?}");

    // The next run finds the image, and asks for nothing that it would not be allowed to say.
    let asked = server.requests().len();
    let run = project.run(&["push", "--output", "json"]).exits(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let warnings = result["warnings"].as_array().expect("a list");
    assert!(
        warnings.len() == 1 && warnings[0].as_str().expect("a text").contains("unknown field: subject"),
        "{result:#}"
    );
    let reused = &result["images"][0];
    assert_eq!((&reused["state"], reused.get("attestations")), (&Value::from("reused"), None));
    let manifests = server.requests()[asked..]
        .iter()
        .filter(|request| request.starts_with("PUT") && request.contains("/manifests/"))
        .count();
    assert_eq!(manifests, 1, "it is tried once");
    let manifest = Registry::open(&project, host).crane("manifest", &format!("refusing@{}", digest(reused)));
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(2));
    assert_eq!(tags(host, "refusing"), there);
}

#[test]
fn what_digitalocean_refuses_to_have_said_about_an_image_is_put_by_the_next_run() {
    let mut project = small("refusing-403");
    through_the_fault_proxy(&mut project);
    project.renew("web/www/index.html").commit();
    // The image itself is the first manifest that is put under its digest.
    let what = serde_json::json!({ "status": 403, "skip": 1 });
    let fault = Fault::on(&project, "PUT", "manifests/sha256:", &what);
    // The account knows of no cap, and the image has just gone in with the same login: no cause is made up.
    reads_as("attestations_refused_403", &project.run(&["push", "--sbom", "--provenance"]).exits(0));
    assert_eq!(fault.hits(), 1, "it is tried once");
    drop(fault);
    let later = image(&project.run(&["push", "--sbom", "--output", "json"]).exits(0).stdout);
    assert_eq!((&later["state"], &later["attestations"][0]["kind"]), (&Value::from("reused"), &Value::from("sbom")));
}
