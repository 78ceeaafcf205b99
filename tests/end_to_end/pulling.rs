//! How pods come by their images: with whose login they are pulled, and what happens when it is gone.

use crate::common::{Project, Sandbox, get_json, output, small};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the cluster may take for what it does by itself.
const PATIENCE: Duration = Duration::from_mins(5);

/// The smallest application whose only pod is pulled anew each time it starts, under a service account that the registry
/// integration does not know.
fn pulled_always(name: &str) -> Project {
    let project = small(name);
    // The kubelet's pauses between two tries get long.
    project.replace("deploy.yml", "deadline: 90s", "deadline: 5m");
    let manifests = project.replace("k8s/web.yaml", "replicas: 2", "replicas: 1");
    let always =
        "      serviceAccountName: web\n      containers:\n        - imagePullPolicy: Always\n          name: web\n";
    manifests.replace("k8s/web.yaml", "      containers:\n        - name: web\n", always);
    project.write("k8s/account.yaml", "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: web }\n");
    project
}

/// Replaces the pod by a new one and waits until its event shows that the registry has refused it.
#[track_caller]
fn a_new_pod_is_refused(project: &Project) {
    let (sandbox, namespace) = (project.sandbox, project.namespace.as_str());
    sandbox.kubectl(&["delete", "events", "--all", "--namespace", namespace]);
    sandbox.kubectl(&["delete", "pod", "--selector=app=web", "--namespace", namespace, "--timeout=120s"]);
    let begin = Instant::now();
    loop {
        let events = sandbox.objects(&["events", "--namespace", namespace]);
        let mut messages =
            events["items"].as_array().expect("events").iter().filter_map(|event| event["message"].as_str());
        if messages.any(|message| message.contains("Failed to pull image") && message.contains("401 Unauthorized")) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "no 401 in {events:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The login in the Secret that Seaway has applied, and the name under which the account knows it.
#[track_caller]
fn pull_login(project: &Project) -> (String, String) {
    use base64::Engine as _;
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    let secret = project.sandbox.objects(&["secret", "seaway-registry", "--namespace", &project.namespace]);
    let config = decode(secret["data"][".dockerconfigjson"].as_str().expect("a configuration"));
    let config: Value = serde_json::from_slice(&config).expect("JSON");
    let auth = decode(config["auths"]["registry.digitalocean.com"]["auth"].as_str().expect("a login"));
    let auth = String::from_utf8(auth).expect("text");
    let password = auth.split_once(':').expect("user and password").1.to_owned();
    let tokens = get_json(&project.sandbox.control("/tokens"), &[]);
    let token = tokens.as_array().expect("tokens").iter().find(|token| token["value"] == password.as_str());
    let token = token.expect("the account knows the login");
    assert_ne!(token["read_write"], true, "pods pull with a login that can only read: {token}");
    (token["name"].as_str().expect("a name").to_owned(), password)
}

/// The accounts that the token service has given the right to pull the project's image since a request.
fn pulled_by(sandbox: &Sandbox, since: u64, name: &str) -> Vec<String> {
    let mut requests = sandbox.requests(since);
    requests.retain(|request| {
        let query = request["query"].as_str().unwrap_or_default();
        request["service"] == "token" && query.contains(&format!("%2F{name}%3Apull")) && request["status"] == 200
    });
    requests.iter().filter_map(|request| request["principal"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_pull_secret_that_is_gone_is_put_back() {
    let project = pulled_always("pull-secret-gone");
    let (sandbox, namespace) = (project.sandbox, project.namespace.as_str());
    project.run(&["up"]).exits(0);
    let secrets = ["seaway-registry", "todo-app-registry"];
    sandbox.kubectl(&[&["delete", "secret", "--namespace", namespace], &secrets[..]].concat());
    a_new_pod_is_refused(&project);

    let since = sandbox.last_request();
    project.run(&["up"]).exits(0);
    let (account, _) = pull_login(&project);
    let accounts = pulled_by(sandbox, since, namespace);
    assert!(accounts.contains(&account), "{account} has not pulled: {accounts:?}");
}

#[test]
fn a_pull_login_that_is_revoked_is_replaced() {
    let project = pulled_always("pull-login-revoked");
    project.run(&["up"]).exits(0);
    let (revoked, password) = pull_login(&project);
    let url = project.sandbox.control(&format!("/tokens/{password}"));
    assert!(output(Command::new("curl").args(["--silent", "--fail", "--request", "DELETE", &url])).status.success());
    a_new_pod_is_refused(&project);

    project.run(&["up"]).exits(0);
    assert_ne!(pull_login(&project).0, revoked);
}

#[test]
fn any_cluster_and_any_registry_need_no_digitalocean_token() {
    let mut project = pulled_always("no-digitalocean");
    let sandbox = project.sandbox;
    project.replace("k8s/web.yaml", "      containers:", "      imagePullSecrets: [{ name: own }]\n      containers:");
    let (kubeconfig, token) = (sandbox.variable("KUBECONFIG"), sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN"));
    project.replace("deploy.yml", "cluster: todo-prod\n", "");
    project.replace(
        "deploy.yml",
        "registry: todo-app-registry",
        "registry: { host: registry.digitalocean.com, repository: todo-app-registry, username: someone, password: \"${REGISTRY_PASSWORD}\" }",
    );
    for name in ["DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_API_URL", "KUBECONFIG"] {
        project.set(name, "");
    }
    project.set("REGISTRY_PASSWORD", token);
    // The login that pushes stays out of the cluster: pods of such a registry bring their own.
    let login = format!("--docker-password={token}");
    sandbox.kubectl(&["create", "namespace", "no-digitalocean"]);
    let own = ["create", "secret", "docker-registry", "own", "--namespace=no-digitalocean"];
    let own = [&own[..], &["--docker-server=registry.digitalocean.com", "--docker-username=someone", &login]].concat();
    sandbox.kubectl(&own);

    let arguments = ["up", "--kubeconfig", kubeconfig];
    project.run(&arguments).exits(0).says("--kubeconfig");
    let before = project.sandbox.audit(&project.namespace).len();
    project.run(&arguments).exits(0);
    let mut writes = project.sandbox.audit(&project.namespace).split_off(before);
    writes.retain(|entry| entry["verb"] == "patch" && !entry["requestURI"].to_string().contains("dryRun=All"));
    assert_eq!(writes, Vec::<Value>::new(), "the second run writes nothing");
}
