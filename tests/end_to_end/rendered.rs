//! What is in the cluster is what the files say, by kubectl's judgement.

use crate::common::{Project, kubectl_diff, small};

/// The image that the live Deployment names.
fn live_image(project: &Project) -> String {
    let deployment = project.sandbox.objects(&["deployment", "web", "--namespace", &project.namespace]);
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().expect("an image").to_owned()
}

#[test]
fn kubectl_sees_no_difference() {
    let project = small("no-difference");
    project.run(&["up"]).exits(0);
    project.run(&["plan", "--exit-code"]).exits(0);
    let image = live_image(&project);
    assert!(image.contains("@sha256:"), "{image}");
    let manifests = std::fs::read_to_string(project.file("k8s/web.yaml")).expect("manifests");
    let manifests = manifests.replace("image: no-difference", &format!("image: {image}"));
    assert_eq!(kubectl_diff(&project, &manifests), (Some(0), String::new()));

    let other = manifests.replace("replicas: 2", "replicas: 1");
    let (code, text) = kubectl_diff(&project, &other);
    assert!(code == Some(1) && text.contains("+  replicas: 1"), "a difference is seen: {code:?} {text}");
}
