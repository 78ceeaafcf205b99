//! `registry clean`: what runs and what is new stays whole, the rest is really gone.

use crate::common::{Account, Project, pull, small, succeed};
use serde_json::{Value, json};
use std::process::Command;

/// Other people's images in a repository, put there by crane.
struct Repository<'a> {
    /// The project whose repository it is.
    project: &'a Project,
    /// A folder with a login, and with what is pushed.
    folder: tempfile::TempDir,
    /// The repository where crane finds it.
    address: String,
}

impl<'a> Repository<'a> {
    /// The repository of a project's image.
    fn of(project: &'a Project) -> Self {
        use base64::Engine as _;
        let registry = format!("127.77.{}.1:5000", project.sandbox.variable("SANDBOX_NUMBER"));
        let token = project.sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN");
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{token}:{token}"));
        let folder = tempfile::tempdir().expect("a folder");
        let config = json!({ "auths": { registry.clone(): { "auth": auth } } });
        std::fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
        let address = format!("{registry}/todo-app-registry/{}", project.namespace);
        Self { project, folder, address }
    }

    /// What crane prints.
    fn crane(&self, arguments: &[&str]) -> String {
        let mut crane = self.project.sandbox.command();
        crane.arg("crane").args(arguments).arg("--insecure").env("DOCKER_CONFIG", self.folder.path());
        succeed(&mut crane).trim().to_owned()
    }

    /// Pushes an image of one file; its digest.
    fn push(&self, tag: &str) -> String {
        let file = self.folder.path().join(tag);
        std::fs::write(&file, format!("{tag} {:?}", std::time::SystemTime::now())).expect("a file");
        let tar = self.folder.path().join(format!("{tag}.tar"));
        succeed(Command::new("tar").arg("cf").arg(&tar).arg("-C").arg(self.folder.path()).arg(tag));
        let target = format!("{}:{tag}", self.address);
        self.crane(&["append", "--new_layer", &tar.display().to_string(), "--new_tag", &target]);
        self.crane(&["digest", &target])
    }

    /// Whether other clients can pull a digest or tag whole.
    fn has(&self, target: &str) -> bool {
        let separator = if target.contains(':') { '@' } else { ':' };
        let mut crane = self.project.sandbox.command();
        crane.args(["crane", "validate", "--insecure", "--remote", &format!("{}{separator}{target}", self.address)]);
        crate::common::output(crane.env("DOCKER_CONFIG", self.folder.path())).status.success()
    }
}

/// The digest of the only image of a run.
fn digest(run: &crate::common::Run) -> String {
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    result["images"][0]["digest"].as_str().unwrap_or_else(|| panic!("{result:#}")).to_owned()
}

#[test]
fn what_runs_and_what_is_new_stays_and_the_rest_is_gone() {
    let project = small("cleaning");
    let image = |digest: &str| format!("registry.digitalocean.com/todo-app-registry/cleaning@{digest}");
    project.renew("web/www/index.html");
    // An earlier run may have left something.
    let everything = ["registry", "clean", "--pattern", "*", "--keep-tags", "0", "--older-than", "0"];
    project.run(&[&everything[..], &["--no-cluster", "--yes"]].concat()).exits(0);
    let deployed = digest(&project.run(&["up", "--output", "json"]).exits(0));
    let repository = Repository::of(&project);
    let old: Vec<String> = ["v1", "v2", "v3"].iter().map(|tag| repository.push(tag)).collect();
    let [amd64, arm64] = ["part-a", "part-b"].map(|tag| repository.push(tag));
    let target = format!("{}:v4", repository.address);
    let part = |digest: &str| format!("{}@{digest}", repository.address);
    repository.crane(&["index", "append", "--manifest", &part(&amd64), "--manifest", &part(&arm64), "--tag", &target]);
    let index = repository.crane(&["digest", &target]);
    let about_old = repository.push(&format!("{}.att", old[0].replace(':', "-")));
    let about_new = repository.push(&format!("{}.att", index.replace(':', "-")));
    let newest = repository.push("v5");

    // The default leaves all alone that people named, and what is young.
    let clean = ["registry", "clean", "--output", "json"];
    let read = |run: &crate::common::Run| -> Value { serde_json::from_str(&run.stdout).expect("JSON") };
    assert_eq!(read(&project.run(&clean).exits(0))["can_go"], 0);

    let rules = ["--pattern", "*", "--keep-tags", "2", "--older-than", "0"];
    let looked = project.run(&[&clean[..], &rules].concat()).exits(0);
    let (looked, shown) = (read(&looked), looked.stderr.clone());
    assert!(shown.contains("nothing was deleted"), "{shown}");
    // v1 to v3 with what is about v1; the parts have tags of their own that are old, but belong to the index.
    assert_eq!((looked["can_go"].as_u64(), looked["deleted"].as_u64()), (Some(4), Some(0)), "{looked:#}");
    assert!(old.iter().all(|digest| repository.has(digest)));

    // What a cluster could start again counts as used: a Deployment that is scaled to nothing names v1, and v2 is left in
    // the ReplicaSet to which it could be rolled back.
    let kubectl = |words: &[&str]| project.sandbox.kubectl(&[&["--namespace", &project.namespace], words].concat());
    kubectl(&["create", "deployment", "idle", "--replicas=0", &format!("--image={}", image(&old[1]))]);
    kubectl(&["rollout", "status", "deployment/idle", "--timeout=30s"]);
    kubectl(&["set", "image", "deployment/idle", &format!("*={}", image(&old[0]))]);
    let done = project.run(&[&clean[..], &rules, &["--yes"]].concat()).exits(0);
    let done = read(&done);
    assert_eq!(done["deleted"], 1, "{done:#}");
    assert!(done["clusters"][0].as_str().expect("a name").starts_with("todo-prod"), "{done:#}");
    for kept in [&deployed, &newest, &amd64, &arm64, &about_new, &old[0], &old[1], &about_old] {
        assert!(repository.has(kept), "{kept}");
    }
    assert_eq!(pull(project.sandbox, &image(&deployed)).digests, [deployed.clone(), deployed.clone()]);
    assert_eq!(repository.crane(&["digest", &target]), index);
    assert!(!repository.has(&old[2]));
    assert!(!repository.has("v3") && repository.has("v1") && repository.has("v5"));
    // Nothing had to be deployed anew, and the pods could be started again.
    let again = project.run(&["up", "--output", "json"]).exits(0);
    assert_eq!(digest(&again), deployed);
}

#[test]
fn a_cluster_that_does_not_answer_keeps_everything() {
    let account = Account::start();
    account.deploy_yml("todo-app-registry", "shop").run(&["push"], &[]).exits(0);
    let rules = ["registry", "clean", "--pattern", "*", "--keep-tags", "0", "--older-than", "0", "--yes"];
    // All clusters of the account are asked. This one is listed and does not answer.
    let run = account.run(&rules, &[("KUBECONFIG", "")]).exits(3);
    run.says("nobody can say what `todo-prod (nyc1)` runs: nothing more is deleted");
    run.says("`--ignore-cluster todo-prod` says that none of its images is needed");
    assert!(run.stdout.contains("may run in todo-prod (nyc1)"), "{}", run.stdout);
    let run = account.run(&[&rules[..], &["--cluster", "todo-prd"]].concat(), &[("KUBECONFIG", "")]).exits(2);
    run.says("nobody can say which images run: nothing was deleted");
    run.says("`--no-cluster`");
    assert_eq!(account.tags("shop").len(), 2);

    let run = account.run(&[&rules[..], &["--no-cluster"]].concat(), &[]).exits(0);
    run.says("deleted 1 manifest of registry.digitalocean.com/todo-app-registry/shop");
    assert_eq!(account.tags("shop"), [] as [&str; 0]);
    let collections = || account.api("GET", "/v2/registries/todo-app-registry/garbage-collections", &Value::Null);
    assert_eq!(collections()["garbage_collections"], json!([]), "nobody asked for one");

    account.turn("/switches", &json!({ "garbage_collection_seconds": 2 }));
    let run = account.run(&[&rules[..], &["--no-cluster", "--garbage-collect"]].concat(), &[]).exits(0);
    for state in ["requested", "succeeded"] {
        run.says(&format!("garbage collection: {state}"));
    }
    let list = collections();
    assert!(list["garbage_collections"][0]["freed_bytes"].as_u64() > Some(1_000_000), "{list:#}");
}

#[test]
fn without_the_right_to_delete_or_while_garbage_is_collected_nothing_goes() {
    let account = Account::start();
    account.deploy_yml("todo-app-registry", "shop").run(&["push"], &[]).exits(0);
    let token = account.token(&["registry:read", "registry:create", "registry:update"]);
    let rules =
        ["registry", "clean", "--pattern", "*", "--keep-tags", "0", "--older-than", "0", "--no-cluster", "--yes"];
    let run = account.run(&rules, &[("DIGITALOCEAN_ACCESS_TOKEN", &token)]).exits(2);
    run.says("lacks the scope `registry:delete`");
    assert_eq!(account.tags("shop").len(), 2);
    collect_and_refuse(&account, &rules);
}

/// While garbage is collected nothing is deleted.
fn collect_and_refuse(account: &Account, rules: &[&str]) {
    account.turn("/switches", &json!({ "garbage_collection_stuck": "scanning manifests" }));
    let body = json!({ "type": "unreferenced blobs only" });
    account.api("POST", "/v2/registries/todo-app-registry/garbage-collection", &body);
    account.run(rules, &[]).exits(3).says("the registry collects garbage now: nothing was deleted");
    assert_eq!(account.tags("shop").len(), 2);
}
