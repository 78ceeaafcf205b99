//! Properties of the set: what is stamped, what is found, what is left alone.

use super::*;
use crate::config::{Image, ManifestDocument, Registry};
use crate::model::{GroupVersionKind, Secret};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A checked deploy.yml with these documents.
fn config(documents: &[Value]) -> Config {
    let image = |key: &str, source: &str| Image {
        key: key.to_owned(),
        source: ImageSource::Mirror(Reference::parse(source).unwrap()),
        pin: true,
        supply: crate::config::Supply::default(),
    };
    let document = |(line, object): (usize, &Value)| ManifestDocument {
        file: PathBuf::from("k8s/all.yaml"),
        line: line + 1,
        object: object.clone(),
    };
    Config {
        path: PathBuf::from("deploy.yml"),
        name: "todo".to_owned(),
        namespace: "todo-prod".to_owned(),
        cluster: None,
        registry: Some(Registry::DigitalOcean { name: "shop".to_owned() }),
        images: vec![image("backend", "acme/backend:1"), image("cache", "redis:7")],
        manifests: documents.iter().enumerate().map(document).collect(),
        secrets: BTreeMap::new(),
        expose: None,
        rollout: Rollout::default(),
        smoke: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A Deployment with one container of this image.
fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "api", "image": image }] },
            },
        },
    })
}

/// A Service of this type.
fn service(name: &str, kind: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": { "type": kind } })
}

/// The set of these documents.
fn rendered(documents: &[Value]) -> Desired {
    render(&config(documents), &RunContext::default()).unwrap()
}

/// The object of a kind.
fn find<'a>(desired: &'a Desired, kind: &str) -> &'a DesiredObject {
    desired.objects.iter().find(|object| object.reference.kind() == kind).unwrap()
}

#[test]
fn labels_go_on_the_object_and_nowhere_else() {
    let written = deployment("web", "nginx:1.22");
    let desired = rendered(std::slice::from_ref(&written));
    let body = &find(&desired, "Deployment").body;
    let wanted = json!({
        "app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "todo", "app.kubernetes.io/managed-by": "seaway",
    });
    assert_eq!(body["metadata"]["labels"], wanted);
    assert_eq!(body["metadata"]["namespace"], "todo-prod");
    assert_eq!(body["spec"], written["spec"]);
}

#[test]
fn an_image_is_ours_by_key_or_by_repository() {
    let ours = "registry.digitalocean.com/shop/backend:old";
    let pinned = format!("redis@{}", Digest::of(b""));
    for (image, wanted) in [
        ("backend", Some(SlotImage::Ours("backend".to_owned()))),
        (ours, Some(SlotImage::Ours("backend".to_owned()))),
        ("redis:7", Some(SlotImage::Foreign(Reference::parse("redis:7").unwrap()))),
        (pinned.as_str(), None),
    ] {
        let desired = rendered(&[deployment("web", image)]);
        let slots = &find(&desired, "Deployment").slots;
        assert_eq!(slots.first().map(|slot| slot.image.clone()), wanted, "{image}");
        assert!(slots.iter().all(|slot| slot.pointer == "/spec/template/spec/containers/0/image"));
    }
}

#[test]
fn every_place_of_a_pod_template_is_searched() {
    let spec = json!({
        "containers": [{ "image": "a:1" }], "initContainers": [{ "image": "b:1" }],
        "volumes": [{ "emptyDir": {} }, { "image": { "reference": "c:1" } }],
    });
    let cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "n" },
        "spec": { "jobTemplate": { "spec": { "template": { "spec": spec } } } },
    });
    let desired = rendered(&[cron]);
    let pointers: Vec<&str> = find(&desired, "CronJob").slots.iter().map(|slot| slot.pointer.as_str()).collect();
    let base = "/spec/jobTemplate/spec/template/spec";
    let wanted = ["initContainers/0/image", "containers/0/image", "volumes/1/image/reference"];
    assert_eq!(pointers, wanted.map(|place| format!("{base}/{place}")));
}

#[test]
fn the_namespace_is_added_once_and_comes_first() {
    let desired = rendered(&[deployment("web", "backend")]);
    assert_eq!(desired.objects[0].reference.to_string(), "Namespace todo-prod");
    let made_for = json!({ (NAMESPACE_MADE_FOR): "todo" });
    assert_eq!(desired.objects[0].body["metadata"], json!({ "name": "todo-prod", "annotations": made_for }));
    let own =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "todo-prod", "labels": { "a": "b" } } });
    let namespaces = rendered(&[own]).objects.len();
    assert_eq!(namespaces, 1);
}

#[test]
fn an_object_twice_is_an_error_with_both_places() {
    let error =
        render(&config(&[service("a", "ClusterIP"), service("a", "NodePort")]), &RunContext::default()).unwrap_err();
    let wanted = "Service a is described twice: in k8s/all.yaml:1 and in k8s/all.yaml:2";
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn the_only_load_balancer_is_exposed() {
    let desired = rendered(&[service("inner", "ClusterIP"), service("front", "LoadBalancer")]);
    assert_eq!(desired.expose.unwrap().name, "front");
    let two = config(&[service("a", "LoadBalancer"), service("b", "LoadBalancer")]);
    let error = render(&two, &RunContext::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot tell whose address is the application's: Service a, Service b could be");
}

#[test]
fn secrets_are_encoded_and_marked() {
    let mut config = config(&[]);
    let values = BTreeMap::from([("url".to_owned(), Secret::new("postgres://x"))]);
    config.secrets.insert("database".to_owned(), values);
    let desired = render(&config, &RunContext::default()).unwrap();
    let secret = find(&desired, "Secret");
    assert!(secret.sensitive);
    assert_eq!(secret.body["data"]["url"], "cG9zdGdyZXM6Ly94");
}

#[test]
fn the_pull_secret_is_where_our_images_are_pulled() {
    let mut elsewhere = deployment("other", "nginx:1.22");
    elsewhere["metadata"]["namespace"] = json!("elsewhere");
    let desired = rendered(&[deployment("web", "backend"), elsewhere]);
    let credential = PullCredential {
        host: "registry.digitalocean.com".to_owned(),
        username: "reader".to_owned(),
        password: Secret::new("pass:word"),
    };
    let desired = with_pull_secret(desired, &credential);
    let secrets: Vec<&DesiredObject> = desired.objects.iter().filter(|o| o.reference.kind() == "Secret").collect();
    let [secret] = secrets.as_slice() else { panic!("one pull Secret is wanted") };
    let wanted = ObjectRef::new(GroupVersionKind::new("v1", "Secret"), Some("todo-prod"), PULL_SECRET);
    assert_eq!(secret.reference, wanted);
    let names = |name: &str| {
        let object = desired.objects.iter().find(|object| object.reference.name == name).unwrap();
        object.body.pointer("/spec/template/spec/imagePullSecrets").cloned()
    };
    assert_eq!(names("web"), Some(json!([{ "name": PULL_SECRET }])));
    assert_eq!(names("other"), None);
    let live = PullCredential::from_live(&secret.body, "registry.digitalocean.com").unwrap();
    assert_eq!((live.username.as_str(), live.password.expose()), ("reader", "pass:word"));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let documents = [deployment("web", "backend"), service("front", "LoadBalancer")];
    let bodies = || -> Vec<String> { rendered(&documents).objects.iter().map(|o| o.body.to_string()).collect() };
    assert_eq!(bodies(), bodies());
}
