//! Pushes through faults, to real registries: distribution 3 and Debian's docker-registry 2.8 behind the fault proxies.
//!
//! Run inside of the sandbox's environment: `eval "$(sandbox env)"; cargo test --lib sandbox_tests -- --ignored`.

use super::tests::made::{MIB, push_made};
use super::tests::{image_of, noise};
use super::{Client, Hosts, Logins};
use crate::model::{Digest, Repository, Secret};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The fault proxy in front of distribution 3, and the name that its rules have for it.
const NEW: (u16, &str) = (5010, "registry");

/// The fault proxy in front of docker-registry 2.8.
const OLD: (u16, &str) = (5011, "registry-old");

/// A variable of the sandbox's environment.
fn variable(name: &str) -> String {
    let found = std::env::vars_os().find(|(there, _)| there == name);
    found.expect("the sandbox's environment").1.into_string().expect("text")
}

/// A client whose registry lies at a port of the sandbox.
fn client(port: u16) -> Client {
    let folder = tempfile::tempdir().unwrap().keep();
    let number = variable("SANDBOX_NUMBER");
    let file = folder.join("registry.digitalocean.com/hosts.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, format!("[host.\"http://127.77.{number}.1:{port}\"]\n")).unwrap();
    let (logins, token) = (Logins::default(), variable("DIGITALOCEAN_ACCESS_TOKEN"));
    logins.set("registry.digitalocean.com", &token, Secret::new(token.as_str()));
    Client::new(Hosts::new(Some(folder), Vec::new()), logins)
}

/// A repository that nobody else uses.
fn repository(name: &str) -> Repository {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let path = format!("todo-app-registry/p-{name}-{now}");
    Repository { registry: "registry.digitalocean.com".to_owned(), path }
}

/// A rule of a fault proxy for one repository; it is there until it is taken away.
struct Rule {
    /// Speaks with the control API.
    http: reqwest::Client,
    /// Its number.
    id: String,
}

impl Rule {
    /// Adds a rule for the uploads of a repository.
    async fn new(target: &str, repository: &Repository, methods: &str, what: Value) -> Self {
        Self::on("blobs", target, repository, methods, what).await
    }

    /// Adds a rule for the `blobs` or the `manifests` of a repository.
    async fn on(kind: &str, target: &str, repository: &Repository, methods: &str, what: Value) -> Self {
        let http = crate::http::client(&crate::http::Recipe::default()).unwrap();
        let path = format!("/{}/{kind}/", repository.path);
        let mut rule = json!({ "target": target, "method": methods, "path": path });
        rule.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        let url = format!("{}/faults", variable("SANDBOX_CONTROL_URL"));
        let answer: Value = http.post(url).json(&rule).send().await.unwrap().json().await.unwrap();
        let id = answer["id"].as_str().unwrap_or_else(|| panic!("{rule}: {answer}")).to_owned();
        Self { http, id }
    }

    /// What the proxy has counted for it.
    async fn number(&self, name: &str) -> u64 {
        let url = format!("{}/faults", variable("SANDBOX_CONTROL_URL"));
        let rules: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        let rules = rules.as_array().or_else(|| rules["faults"].as_array()).expect("rules");
        rules.iter().find(|rule| rule["id"] == self.id.as_str()).expect("our rule")[name].as_u64().unwrap()
    }

    /// Takes it away.
    async fn end(self) {
        let url = format!("{}/faults/{}", variable("SANDBOX_CONTROL_URL"), self.id);
        self.http.delete(url).send().await.unwrap();
    }
}

/// Pushes an image whose one layer is made while it is sent, from the beginning where the registry has lost it; how often it was given.
async fn push_with_replays(client: &Client, to: &Repository, bytes: &Bytes) -> (Digest, usize) {
    let mut given = 1;
    loop {
        match push_made(client, to, bytes).await {
            Ok(report) => return (report.digest, given),
            Err(error) if error.wants_replay() && given < 3 => given += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Cuts a layer of 48 MiB in its middle, while it is made; how many thousandths of it were sent in all, and how often its
/// source had to give it. It goes up early in one request, and can be held; or in chunks, and cannot.
async fn cut_in_the_middle((port, target): (u16, &str), in_chunks: bool) -> (u64, usize) {
    let (mut client, to, bytes) = (client(port), repository("cut"), noise(48 * MIB));
    // The first chunk has 16 MiB: half of the layer is 8 MiB into the second one.
    let mut place = json!({ "cut_request_after": 24 * MIB, "times": 1 });
    if in_chunks {
        client = client.with_budget(8 << 20);
        client.known(&to.registry).features.open_end.learn(false);
        place = json!({ "cut_request_after": 8 * MIB, "skip": 1, "times": 1 });
    }
    let watch = Rule::new(target, &to, "PATCH|PUT", json!({ "watch": true })).await;
    let cut = Rule::new(target, &to, "PATCH", place).await;
    let (digest, given) = push_with_replays(&client, &to, &bytes).await;
    assert_eq!(client.head_manifest(&to, "v1").await.unwrap(), Some(digest));
    assert_eq!(cut.number("hits").await, 1);
    let config = 2; // it goes up beside the layer
    let sent = watch.number("request_bytes").await - config;
    cut.end().await;
    watch.end().await;
    (sent * 1000 / bytes.len() as u64, given)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn an_upload_that_is_cut_while_its_layer_is_made_goes_on_at_distribution_3() {
    for in_chunks in [true, false] {
        let (permille, given) = cut_in_the_middle(NEW, in_chunks).await;
        assert!(permille <= 1050 && given == 1, "{permille} ‰ of the layer in {given} goes, chunks: {in_chunks}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn an_upload_that_is_cut_while_its_layer_is_made_begins_anew_at_distribution_2() {
    for (in_chunks, goes) in [(true, 2), (false, 1)] {
        let (permille, given) = cut_in_the_middle(OLD, in_chunks).await;
        // What had come before the cut, and all of it once more: it was in the middle.
        assert!((1480..=1500).contains(&permille), "{permille} ‰ of the layer, chunks: {in_chunks}");
        assert_eq!(given, goes, "chunks: {in_chunks}");
    }
}

/// Resolves a tag every ten milliseconds; what it has seen when it is stopped.
fn watch_tag(to: &Repository, port: u16) -> (CancellationToken, tokio::task::JoinHandle<BTreeSet<Option<Digest>>>) {
    let (stop, seen) = (CancellationToken::new(), Arc::new(Mutex::new(BTreeSet::new())));
    let (client, to, stopped) = (client(port), to.clone(), stop.clone());
    let watching = tokio::spawn(async move {
        while !stopped.is_cancelled() {
            let now = client.head_manifest(&to, "v1").await.unwrap();
            seen.lock().unwrap().insert(now);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let seen = seen.lock().unwrap();
        seen.clone()
    });
    (stop, watching)
}

/// Pushes an image in a way, then another one under the same tag in the same way while a fault acts, and watches the tag
/// meanwhile at the registry itself, which listens at `direct`.
async fn watched(
    name: &str,
    (to, direct): (&Repository, u16),
    push: impl AsyncFn(usize) -> Digest,
    fault: impl Future<Output = ()>,
) {
    let old = push(0).await;
    let (stop, watching) = watch_tag(to, direct);
    let (new, ()) = tokio::join!(push(1), fault);
    stop.cancel();
    let seen = watching.await.unwrap();
    assert!(seen.is_subset(&BTreeSet::from([Some(old.clone()), Some(new.clone())])), "{name}: {seen:?}");
    assert!(seen.contains(&Some(old)), "{name}: the watcher has seen the old image first");
    assert_eq!(client(direct).head_manifest(to, "v1").await.unwrap(), Some(new), "{name}");
}

/// Pushes blobs whose digests are known through a fault of their uploads, and watches the tag.
async fn through(name: &str, proxy: (u16, &str), direct: u16, size: usize, methods: &str, what: Value) {
    through_on("blobs", name, proxy, direct, size, methods, what).await;
}

/// Pushes blobs whose digests are known through a fault of the requests for `blobs` or `manifests`, and watches the tag.
async fn through_on(
    kind: &str,
    name: &str,
    (port, target): (u16, &str),
    direct: u16,
    size: usize,
    methods: &str,
    what: Value,
) {
    let (client, to) = (client(port), repository(name));
    let fault = Mutex::new(None);
    let push = async |image: usize| {
        if image > 0 {
            let rule = Rule::on(kind, target, &to, methods, what.clone()).await;
            *fault.lock().unwrap() = Some(rule);
        }
        let (blobs, manifest) = image_of(vec![noise(size + image), noise(size / 3 + image)]);
        let cancel = CancellationToken::new();
        let pushed = client.push(&to, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await;
        pushed.unwrap_or_else(|error| panic!("{name}: {error}")).digest
    };
    watched(name, (&to, direct), push, async {}).await;
    let fault = fault.lock().unwrap().take().unwrap();
    assert!(fault.number("hits").await > 0, "{name} has not happened");
    fault.end().await;
}

/// Pushes layers that are made while they go up in chunks, one of which is cut in its middle, and watches the tag.
async fn stream_through(name: &str, (port, target): (u16, &str), direct: u16) {
    let (client, to) = (client(port).with_budget(8 << 20), repository(name));
    // The old image is one chunk and a bit; of the new one, the second chunk is cut.
    let cut = json!({ "cut_request_after": 4 * MIB, "skip": 3, "times": 1 });
    let cut = Rule::new(target, &to, "PATCH", cut).await;
    watched(
        name,
        (&to, direct),
        async |image| push_with_replays(&client, &to, &noise(24 * MIB + image)).await.0,
        async {},
    )
    .await;
    assert_eq!(cut.number("hits").await, 1, "{name} has not happened");
    cut.end().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn every_fault_ends_in_the_new_image_and_nobody_sees_anything_between() {
    let half = json!({ "cut_request_after": 2 * MIB, "times": 2 });
    let commit = json!({ "delay_seconds": 60, "times": 1 });
    tokio::join!(
        through("cut", NEW, 5000, 4 * MIB, "PUT", half.clone()),
        through("cut-old", OLD, 5001, 4 * MIB, "PUT", half),
        through("busy", NEW, 5000, MIB, "HEAD|POST|PUT", json!({ "status": 503, "times": 6 })),
        through("much", NEW, 5000, MIB, "PUT", json!({ "status": 429, "times": 3 })),
        through("later", NEW, 5000, MIB, "POST", json!({ "status": 429, "retry_after": 2, "times": 2 })),
        through("token", NEW, 5000, MIB, "PUT", json!({ "status": 401, "times": 1 })),
        // So small that the whole body is on its way before anybody reads it: what is left is the wait for the answer.
        through("slow", NEW, 5000, 300_000, "PUT", commit),
        // At the tag itself: it is refused, and it is set where the pusher does not learn of it.
        through_on("manifests", "refused", NEW, 5000, MIB, "PUT", json!({ "status": 503, "times": 3 })),
        through_on("manifests", "unheard", OLD, 5001, MIB, "PUT", json!({ "cut_response_after": 0, "times": 1 })),
        stream_through("stream", NEW, 5000),
        stream_through("stream-old", OLD, 5001),
    );
}

/// The registry is not there for half a minute from this moment on.
async fn go_away(target: &str, to: &Repository) {
    Rule::new(target, to, "", json!({ "refuse_seconds": 30 })).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn a_registry_that_goes_away_for_half_a_minute_is_waited_for_and_nobody_sees_anything_between() {
    let ((port, target), direct) = (OLD, 5001);
    let (known, made) = (repository("away"), repository("away-stream"));
    let (client, small) = (client(port), client(port).with_budget(8 << 20));
    // What the registry takes gets slow, so that it goes away in the middle of both pushes.
    let slow = [
        Rule::new(target, &known, "PUT", json!({ "delay_seconds": 1, "skip": 3 })).await,
        Rule::new(target, &made, "PATCH", json!({ "delay_seconds": 1, "skip": 2 })).await,
    ];
    let push_known = async |image: usize| {
        let (blobs, manifest) = image_of(vec![noise(30 * MIB + image), noise(10 * MIB + image)]);
        let cancel = CancellationToken::new();
        client.push(&known, blobs, &manifest, &["v1"], Box::new(|_| ()), &cancel).await.unwrap().digest
    };
    let push_made = async |image: usize| push_with_replays(&small, &made, &noise(24 * MIB + image)).await.0;
    let gone = async {
        while slow[0].number("hits").await == 0 || slow[1].number("hits").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        go_away(target, &known).await;
    };
    tokio::join!(
        watched("away", (&known, direct), push_known, gone),
        watched("away-stream", (&made, direct), push_made, async {}),
    );
    for rule in slow {
        rule.end().await;
    }
}

/// The variable that tells the child of the next test where it pushes to: the proxy's port and the repository's path.
const CHILD: &str = "SEAWAY_TEST_PUSH";

/// The layers of the image with this number.
fn layers_of(image: usize) -> Vec<Bytes> {
    vec![noise(4 * MIB + image), noise(2 * MIB + image)]
}

/// Pushes the image with this number.
async fn push_image(client: &Client, to: &Repository, image: usize) -> Digest {
    let (blobs, manifest) = image_of(layers_of(image));
    client.push(to, blobs, &manifest, &["v1"], Box::new(|_| ()), &CancellationToken::new()).await.unwrap().digest
}

#[tokio::test]
#[ignore = "needs the sandbox"]
async fn pushes_until_it_is_killed() {
    // Without the variable this is no child of the next test, and there is nothing to do.
    let Some((_, place)) = std::env::vars_os().find(|(name, _)| name == CHILD) else { return };
    let (port, path) = place.to_str().unwrap().split_once(' ').unwrap();
    let to = Repository { registry: "registry.digitalocean.com".to_owned(), path: path.to_owned() };
    push_image(&client(port.parse().unwrap()), &to, 1).await;
}

/// Kills a push with SIGKILL when all of its blobs but one have arrived; pushes again, and watches the tag all the while.
async fn killed(name: &str, (port, target): (u16, &str), direct: u16) {
    let to = repository(name);
    let push = async |image: usize| {
        if image == 0 {
            return push_image(&client(port), &to, 0).await;
        }
        let held = Rule::new(target, &to, "PUT|PATCH", json!({ "hold": true, "skip": 1, "times": 1 })).await;
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "registry::sandbox_tests::pushes_until_it_is_killed"])
            .env(CHILD, format!("{port} {}", to.path))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let (blobs, _) = image_of(layers_of(1));
        let there = client(direct);
        let endpoint = there.push_endpoint(&to.registry).unwrap();
        let missing = loop {
            let mut missing = Vec::new();
            for blob in &blobs {
                if !there.has_blob(&endpoint, &to.path, &blob.descriptor.digest).await.unwrap() {
                    missing.push(blob.descriptor.size);
                }
            }
            if held.number("hits").await == 1 && missing.len() == 1 {
                break missing[0];
            }
            assert!(child.try_wait().unwrap().is_none(), "the push has ended by itself");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        child.kill().unwrap(); // SIGKILL: nothing is said, nothing is cleaned up
        child.wait().unwrap();
        held.end().await;
        let watch = Rule::new(target, &to, "PUT|PATCH|POST", json!({ "watch": true })).await;
        let digest = push_image(&client(port), &to, 1).await;
        let sent = watch.number("request_bytes").await;
        // The small configuration is sent rather than looked for.
        assert!(sent < missing + 4096, "{name}: {sent} bytes, where a blob of {missing} was missing");
        watch.end().await;
        digest
    };
    watched(name, (&to, direct), push, async {}).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the sandbox"]
async fn a_push_that_is_killed_is_finished_by_the_next_and_nobody_sees_anything_between() {
    tokio::join!(killed("killed", NEW, 5000), killed("killed-old", OLD, 5001));
}
