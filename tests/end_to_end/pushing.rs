//! What is pushed arrives whole, also where the way to the registry is bad.

use crate::common::{Fault, Project, pull, small, through_the_fault_proxy};
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
