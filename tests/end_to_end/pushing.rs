//! What is pushed arrives whole, also where the way to the registry is bad.

use crate::common::{Docker, Fault, Project, pull, small, through_the_fault_proxy};
use serde_json::{Value, json};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Writes a file that does not compress: something that a connection can be cut in the middle of.
fn write_noise(project: &Project, path: &str, bytes: u64) {
    let mut noise = vec![0; usize::try_from(bytes).expect("a size")];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").expect("noise"), &mut noise).expect("noise");
    std::fs::write(project.file(path), noise).expect("a file");
}

#[test]
fn a_busy_registry_and_a_cut_connection_end_in_an_equal_digest() {
    let mut project = small("bad-way");
    through_the_fault_proxy(&mut project);
    project.renew("web/www/index.html");
    write_noise(&project, "web/www/noise", 1 << 20);

    let busy = Fault::on_uploads(&project, "POST", &json!({ "status": 503, "times": 3 }));
    let cut = Fault::on_uploads(&project, "PUT|PATCH", &json!({ "cut_request_after": 200, "times": 1 }));
    let run = project.run(&["push", "--output", "json"]).exits(0);
    assert_eq!((busy.hits(), cut.hits()), (3, 1), "{}", run.stderr);

    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let digest = result["images"][0]["digest"].as_str().unwrap_or_else(|| panic!("{result:#}"));
    let image = format!("registry.digitalocean.com/todo-app-registry/bad-way@{digest}");
    assert_eq!(pull(project.sandbox, &image).digests, [digest, digest]);
}

#[test]
fn a_push_that_is_killed_is_finished_by_the_next_run_which_repeats_no_finished_layer() {
    let mut project = small("killed");
    through_the_fault_proxy(&mut project);
    project.write("web/Dockerfile", "FROM scratch\nCOPY one /one\nCOPY two /two\n");
    let size: u64 = 3 << 20;
    write_noise(&project, "web/one", size);
    write_noise(&project, "web/two", size);
    // Two of the three blobs arrive, so at least one layer; the third never gets an answer.
    let held = Fault::on_uploads(&project, "PUT|PATCH", &json!({ "hold": true, "skip": 2 }));
    let watched = Fault::on_uploads(&project, "PUT|PATCH", &json!({ "watch": true }));
    let mut run = project.command(&["push"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("seaway");
    let begin = Instant::now();
    let (mut sent, mut since) = (0, Instant::now());
    // What is on its way arrives: nothing more comes through for a while.
    while held.hits() == 0 || sent < size || since.elapsed() < Duration::from_secs(1) {
        assert!(begin.elapsed() < Duration::from_mins(3), "{sent} bytes, {} held", held.hits());
        let now = watched.bytes();
        if now != sent {
            (sent, since) = (now, Instant::now());
        }
        sleep(Duration::from_millis(20));
    }
    run.kill().expect("SIGKILL"); // nothing is said, nothing is cleaned up
    run.wait().expect("an end");
    drop(held);

    project.run(&["push"]).exits(0);
    let all = watched.bytes();
    // Small blobs are sent rather than looked for; the layers of noise are larger than that by far.
    assert!(all < 2 * size + (1 << 19), "{all} bytes in both runs, {sent} in the first");
    let before = watched.bytes();
    project.run(&["push"]).exits(0);
    assert_eq!(watched.bytes(), before, "all is there now");
}

/// Leads a project's runs to one of the registries through its fault proxy.
fn through(project: &mut Project, port: u16) {
    let folder = project.file(".hosts");
    let at = format!("http://127.77.{}.1", project.sandbox.variable("SANDBOX_NUMBER"));
    for (registry, port) in [("registry.digitalocean.com", port), ("docker.io", 5002)] {
        let hosts = format!("server = \"{at}:{port}\"\n\n[host.\"{at}:{port}\"]\n");
        std::fs::create_dir_all(folder.join(registry)).expect("a folder");
        std::fs::write(folder.join(registry).join("hosts.toml"), hosts).expect("a file");
    }
    project.set("SEAWAY_REGISTRY_CONFIG", folder.to_str().expect("a path"));
}

/// The sum of a number over the transfers of all images of a run.
fn sum(result: &Value, what: &str) -> u64 {
    let images = result["images"].as_array().expect("images").iter();
    images.map(|image| image["transfer"][what].as_u64().expect(what)).sum()
}

/// A name that no repository has.
fn unheard_of(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
    format!("{name}-{}", now.as_nanos())
}

/// Pushes three services at once on a base that no repository has, then a fourth one; the base goes over the wire once.
fn three_services_on_one_base(name: &str, target: &str, port: u16) {
    let mut project = Project::new(name);
    through(&mut project, port);
    let prefix = unheard_of(name);
    let service = |which: &str| format!("{prefix}-{which}");
    let listed = |all: &[&str]| {
        let images: Vec<String> = all.iter().map(|which| format!("  {}: ./{which}\n", service(which))).collect();
        format!("name: {name}\ncluster: todo-prod\nregistry: todo-app-registry\nimages:\n{}", images.concat())
    };
    for which in ["api", "web", "jobs", "mail"] {
        project.write(&format!("{which}/Dockerfile"), "FROM debian:bookworm-slim\nCOPY own /own\n");
        project.write(&format!("{which}/own"), &service(which));
    }
    project.write("deploy.yml", &listed(&["api", "web", "jobs"])).commit();
    let path = format!("/todo-app-registry/{prefix}");
    let watched = Fault::by_rule(&project, target, &json!({ "method": "POST|PUT|PATCH", "path": path, "watch": true }));

    let run = project.run(&["push", "--output", "json"]).exits(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let (uploaded, mounted) = (sum(&result, "uploaded_bytes"), sum(&result, "mounted_bytes"));
    let sent = watched.bytes();
    let base = mounted / 2;
    assert!(base > 10_000_000, "{result:#}");
    assert!((base..base + 100_000).contains(&uploaded), "{uploaded} bytes sent, the base has {base}: {result:#}");
    assert!((uploaded..uploaded + 100_000).contains(&sent), "{sent} bytes came through, {uploaded} are said");

    // A new service on the same base, in a run of its own.
    project.write("deploy.yml", &listed(&["api", "web", "jobs", "mail"]));
    let run = project.run(&["push", "--output", "json"]).exits(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(sum(&result, "mounted_bytes"), base, "{result:#}");
    assert!(watched.bytes() < sent + 200_000, "the base was sent again");
    if port == 5010 {
        let images = result["images"].as_array().expect("images");
        let digest = images.iter().filter(|image| image["transfer"]["mounted_bytes"] == base);
        let digest = digest.map(|image| image["digest"].as_str().expect("a digest")).next().expect("the new service");
        let reference = format!("registry.digitalocean.com/todo-app-registry/{}@{digest}", service("mail"));
        assert_eq!(pull(project.sandbox, &reference).digests, [digest, digest]);
    }
}

#[test]
fn three_services_on_one_base_send_it_once() {
    three_services_on_one_base("one-base", "registry", 5010);
}

#[test]
fn three_services_on_one_base_send_it_once_to_the_old_registry() {
    three_services_on_one_base("one-base-old", "registry-old", 5011);
}

#[test]
fn three_images_of_an_engine_with_one_long_layer_send_it_once() {
    let mut project = Project::new("engine-base");
    through(&mut project, 5010);
    let (prefix, docker) = (unheard_of("engine-base"), Docker::debian(project.sandbox));
    let build = |tag: &str, folder: &str| {
        docker.run(&["build", "--quiet", "--tag", tag, project.file(folder).to_str().expect("a path")]);
    };
    let base: u64 = 12 << 20; // its upload begins before its digest is known
    project.write("base/Dockerfile", "FROM scratch\nCOPY noise /noise\n");
    write_noise(&project, "base/noise", base);
    build(&prefix, "base");
    let services = ["api", "web", "jobs"].map(|which| format!("{prefix}-{which}"));
    for service in &services {
        project.write("service/Dockerfile", &format!("FROM {prefix}\nCOPY own /own\n"));
        project.write("service/own", service);
        build(service, "service");
    }
    let images = services.each_ref().map(|service| format!("  {service}: {{ engine: \"{service}\" }}\n")).concat();
    let text = format!("name: engine-base\ncluster: todo-prod\nregistry: todo-app-registry\nimages:\n{images}");
    project.write("deploy.yml", &text).commit();
    let path = format!("/todo-app-registry/{prefix}");
    let watched =
        Fault::by_rule(&project, "registry", &json!({ "method": "POST|PUT|PATCH", "path": path, "watch": true }));

    let run = project.run(&["push", "--output", "json"]).exits(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let (compressed, mounted) = (sum(&result, "compressed_bytes"), sum(&result, "mounted_bytes"));
    assert!((2 * base..2 * base + 100_000).contains(&mounted), "{result:#}");
    assert!((base..base + 100_000).contains(&compressed), "it was compressed once: {result:#}");
    let sent = watched.bytes();
    assert!((base..base + 200_000).contains(&sent), "{sent} bytes came through: {result:#}");
    let digest = result["images"][1]["digest"].as_str().expect("a digest");
    let reference = format!("registry.digitalocean.com/todo-app-registry/{}@{digest}", services[1]);
    assert_eq!(pull(project.sandbox, &reference).digests, [digest, digest]);
    for image in services.iter().chain([&prefix]) {
        docker.run(&["image", "rm", "--force", image]);
    }
}
