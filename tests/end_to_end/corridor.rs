//! The whole corridor on `examples/todo`: from nothing to a live URL, again with nothing changed, then with one line
//! changed, and away again.

use crate::common::{Project, Run, get_json, kubectl_diff, pull, succeed};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The example in a namespace of its own, with a load balancer of its own.
fn todo() -> Project {
    let mut project = Project::new("todo-corridor");
    project.copy("examples/todo");
    let rename = |path: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(project.file(path)).expect(path);
        assert!(text.contains(from), "{path} has no `{from}`");
        project.write(path, &text.replace(from, to));
    };
    rename("deploy.yml", "namespace: todo-app-prod", "namespace: todo-corridor");
    rename("k8s/frontend.yaml", "todo-lb", "todo-corridor-lb");
    project.commit();
    for (name, value) in [
        ("POSTGRES_PASSWORD", "corridor-postgres"),
        ("DATABASE_URL", "postgresql://todo:corridor-postgres@postgres:5432/todo"),
        ("REDIS_PASSWORD", "corridor-redis"),
        ("OPENAI_API_KEY", ""),
    ] {
        project.set(name, value);
    }
    project
}

/// The URL: the last line of standard output.
fn url(run: &Run) -> String {
    run.stdout.lines().last().and_then(|line| line.split_whitespace().next()).expect("a URL").to_owned()
}

/// The digests of the images of all pods that are there to stay.
fn pod_images(project: &Project) -> BTreeSet<String> {
    let pods = project.sandbox.objects(&["pods", "--namespace", &project.namespace]);
    let staying =
        pods["items"].as_array().expect("pods").iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let images = staying.flat_map(|pod| pod["spec"]["containers"].as_array().expect("containers"));
    images.map(|container| container["image"].as_str().expect("an image").to_owned()).collect()
}

/// The generation of every workload: it moves exactly when its specification does.
fn generations(project: &Project) -> BTreeMap<String, i64> {
    let workloads = project.sandbox.objects(&["deployments,statefulsets", "--namespace", &project.namespace]);
    let generation = |object: &Value| {
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        (name, object["metadata"]["generation"].as_i64().expect("a generation"))
    };
    workloads["items"].as_array().expect("workloads").iter().map(generation).collect()
}

/// How often each object was dry-run and applied, by the audit log.
fn applies(entries: &[Value]) -> BTreeMap<String, (usize, usize)> {
    let mut counts = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry["verb"] == "patch") {
        let reference = &entry["objectRef"];
        let part = |key: &str| reference[key].as_str().expect("a text").to_owned();
        let name = format!("{}/{}", part("resource"), part("name"));
        let count: &mut (usize, usize) = counts.entry(name).or_default();
        if is_dry_run(entry) { count.0 += 1 } else { count.1 += 1 }
    }
    counts
}

/// Whether a request was a dry run.
fn is_dry_run(entry: &Value) -> bool {
    entry["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun=All"))
}

/// The requests that changed something.
fn writes(entries: &[Value]) -> Vec<String> {
    let writing = |entry: &&Value| {
        matches!(entry["verb"].as_str(), Some("create" | "update" | "patch" | "delete" | "deletecollection"))
            && !is_dry_run(entry)
    };
    entries.iter().filter(writing).map(|entry| format!("{} {}", entry["verb"], entry["requestURI"])).collect()
}

/// Lists or gets of something after a watch on it began.
fn repeated_reads(entries: &[Value]) -> Vec<String> {
    let mut watched = BTreeSet::new();
    let mut repeated = Vec::new();
    for entry in entries {
        let resource = entry["objectRef"]["resource"].as_str().unwrap_or_default().to_owned();
        let log = entry["objectRef"]["subresource"] == "log";
        match entry["verb"].as_str() {
            Some("watch") => drop(watched.insert(resource)),
            Some("get" | "list") if watched.contains(&resource) && !log => {
                repeated.push(entry["requestURI"].to_string());
            }
            _ => {}
        }
    }
    repeated
}

#[test]
fn todo_from_nothing_to_a_live_url_and_away_again() {
    let project = todo();
    let sandbox = project.sandbox;

    // From nothing.
    let before = sandbox.audit(&project.namespace).len();
    let run = project.run(&["up"]).exits(0);
    let url = url(&run);
    let page = succeed(Command::new("curl").args(["--silent", "--fail", "--max-time", "1", &url]));
    assert!(page.contains("Todo"), "{page}");
    let entries = sandbox.audit(&project.namespace).split_off(before);
    for (object, (dry_runs, applied)) in applies(&entries) {
        // The namespace is not there yet: what cannot be asked is not asked.
        assert!(dry_runs <= 1 && applied <= 1, "{object}: {dry_runs} dry runs, {applied} applies");
    }
    assert_eq!(repeated_reads(&entries), Vec::<String>::new());

    every_image_is_pinned_and_pulled_back(&project);

    // Nothing changed.
    let before = sandbox.audit(&project.namespace).len();
    let unchanged = generations(&project);
    project.run(&["up"]).exits(0);
    let entries = sandbox.audit(&project.namespace).split_off(before);
    assert_eq!(writes(&entries), Vec::<String>::new());
    let twice = applies(&entries).into_iter().filter(|(_, counts)| *counts != (1, 0)).collect::<Vec<_>>();
    assert_eq!(twice, vec![], "one dry run each");
    assert_eq!(repeated_reads(&entries), Vec::<String>::new());
    assert_eq!(generations(&project), unchanged);
    project.run(&["plan", "--exit-code"]).exits(0);
    assert_eq!(kubectl_diff(&project, &rendered(&project)), (Some(0), String::new()));

    // One line of the backend.
    let images = pod_images(&project);
    let file = "backend/todo/__init__.py";
    let text = std::fs::read_to_string(project.file(file)).expect(file);
    project.write(file, &format!("{text}\n# One line more.\n"));
    project.run(&["plan", "--exit-code"]).exits(5);
    project.run(&["up"]).exits(0);
    let moved: Vec<String> =
        generations(&project).into_iter().filter(|(name, now)| unchanged[name] != *now).map(|(name, _)| name).collect();
    assert_eq!(moved, ["backend"]);
    let changed: Vec<String> = pod_images(&project).difference(&images).cloned().collect();
    assert!(matches!(changed.as_slice(), [image] if image.contains("/backend@")), "{changed:?}");

    // And away.
    project.run(&["down", "--yes"]).exits(0);
    let (_, left) =
        sandbox.try_kubectl(&["get", "all,pvc,ingress", "--namespace", &project.namespace, "--output=name"]);
    assert!(!left.contains('/'), "{left}");
    let balancers = get_json(
        &format!("{}/v2/load_balancers", sandbox.variable("DIGITALOCEAN_API_URL")),
        &[&format!("authorization: Bearer {}", sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN"))],
    );
    assert!(!balancers.to_string().contains("todo-corridor-lb"), "{balancers}");
}

/// The manifests of the example, every image at the digest that its pods run.
fn rendered(project: &Project) -> String {
    let images = pod_images(project);
    let pinned = |line: &str| match line.trim_start().strip_prefix("image: ") {
        Some(key) => {
            let indent = &line[..line.len() - line.trim_start().len()];
            let image = images.iter().find(|image| image.contains(&format!("/{key}@")));
            format!("{indent}image: {}\n", image.unwrap_or_else(|| panic!("no pod runs {key}: {images:?}")))
        }
        None => format!("{line}\n"),
    };
    let mut manifests = String::new();
    for entry in std::fs::read_dir(project.file("k8s")).expect("manifests") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("a manifest");
        manifests.push_str("---\n");
        manifests.extend(text.lines().map(pinned));
    }
    manifests
}

/// Every image of every pod has a digest, and two other clients find that digest in the registry and can read it all.
fn every_image_is_pinned_and_pulled_back(project: &Project) {
    let images = pod_images(project);
    assert!(images.len() >= 5, "{images:?}");
    for image in &images {
        let (repository, digest) = image.split_once('@').unwrap_or_else(|| panic!("{image} has no digest"));
        assert!(repository.starts_with("registry.digitalocean.com/todo-app-registry/"), "{image}");
        assert_eq!(pull(project.sandbox, image).digests, [digest, digest], "{image}");
    }
}
