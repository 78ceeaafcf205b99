//! What is pushed arrives whole, also where the way to the registry is bad.

use crate::common::{Fault, pull, small, through_the_fault_proxy};
use serde_json::{Value, json};

#[test]
fn a_busy_registry_and_a_cut_connection_end_in_an_equal_digest() {
    let mut project = small("bad-way");
    through_the_fault_proxy(&mut project);
    project.renew("web/www/index.html");
    // Something that a connection can be cut in the middle of: a megabyte that does not compress.
    let mut noise = vec![0; 1 << 20];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").expect("noise"), &mut noise).expect("noise");
    std::fs::write(project.file("web/www/noise"), noise).expect("a file");

    let busy = Fault::on_uploads(&project, "POST", &json!({ "status": 503, "times": 3 }));
    let cut = Fault::on_uploads(&project, "PUT|PATCH", &json!({ "cut_request_after": 200, "times": 1 }));
    let run = project.run(&["push", "--output", "json"]).exits(0);
    assert_eq!((busy.hits(), cut.hits()), (3, 1), "{}", run.stderr);

    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let digest = result["images"][0]["digest"].as_str().unwrap_or_else(|| panic!("{result:#}"));
    let image = format!("registry.digitalocean.com/todo-app-registry/bad-way@{digest}");
    assert_eq!(pull(project.sandbox, &image).digests, [digest, digest]);
}
