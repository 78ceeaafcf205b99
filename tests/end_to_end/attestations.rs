//! What is said about an image lies beside it in the registry, and other people's clients read it.

use crate::common::clients::{oras, python_with_checkers};
use crate::common::{Project, output, pull, small, succeed};
use base64::Engine as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// A registry as others read it.
pub(crate) struct Registry<'a> {
    /// The project whose sandbox it is in.
    project: &'a Project,
    /// `127.77.1.1:5000`.
    host: String,
    /// A folder with the login.
    logins: tempfile::TempDir,
}

impl<'a> Registry<'a> {
    /// A registry that asks for no login.
    pub(crate) fn open(project: &'a Project, host: &str) -> Self {
        Self { project, host: host.to_owned(), logins: tempfile::tempdir().expect("a folder") }
    }

    /// The sandbox's registry at a port, with a login.
    fn at(project: &'a Project, port: u16) -> Self {
        let host = format!("127.77.{}.1:{port}", project.sandbox.variable("SANDBOX_NUMBER"));
        let token = project.sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN");
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{token}:{token}"));
        let logins = tempfile::tempdir().expect("a folder");
        let config = serde_json::json!({ "auths": { host.clone(): { "auth": auth } } });
        std::fs::write(logins.path().join("config.json"), config.to_string()).expect("a file");
        Self { project, host, logins }
    }

    /// What crane prints.
    pub(crate) fn crane(&self, verb: &str, target: &str) -> Value {
        let mut crane = self.project.sandbox.command();
        crane.args(["crane", verb, "--insecure", &format!("{}/todo-app-registry/{target}", self.host)]);
        crane.env("DOCKER_CONFIG", self.logins.path());
        // Once in some hundred calls crane asks for its token without the login that it has been given.
        let first = output(&mut crane);
        let is_anonymous = String::from_utf8_lossy(&first.stderr).contains("UNAUTHORIZED");
        let text = if is_anonymous { succeed(&mut crane) } else { String::from_utf8_lossy(&first.stdout).into_owned() };
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The statements about an image, by their predicates, found as any client finds them: by the tag of the list.
    fn statements(&self, name: &str, digest: &str) -> Vec<Value> {
        let list = self.crane("manifest", &format!("{name}:{}", digest.replace(':', "-")));
        let entries = list["manifests"].as_array().expect("a list").clone();
        let statement = |entry: &Value| {
            let manifest = self.crane("manifest", &format!("{name}@{}", entry["digest"].as_str().expect("a digest")));
            assert_eq!(manifest["subject"]["digest"], digest);
            assert_eq!(manifest["artifactType"], "application/vnd.in-toto+json");
            let layer = manifest["layers"][0]["digest"].as_str().expect("a digest");
            let statement = self.crane("blob", &format!("{name}@{layer}"));
            assert_eq!(statement["subject"][0]["digest"]["sha256"], digest["sha256:".len()..]);
            statement
        };
        entries.iter().map(statement).collect()
    }

    /// An ORAS command on a target here, with the login.
    fn oras(&self, verb: &str, target: &str) -> Command {
        let mut oras = Command::new(oras(self.project.sandbox));
        oras.args([verb, "--plain-http", "--registry-config"]).arg(self.logins.path().join("config.json"));
        oras.arg(format!("{}/todo-app-registry/{target}", self.host));
        oras
    }

    /// What ORAS finds about an image by its tag, by predicate: the digest, and the file that it pulls.
    pub(crate) fn found_by_oras(&self, name: &str, tag: &str) -> BTreeMap<String, (String, String)> {
        let list = succeed(self.oras("discover", &format!("{name}:{tag}")).args(["--format", "json"]));
        let list: Value = serde_json::from_str(&list).expect("JSON");
        let entry = |entry: &Value| {
            let digest = entry["digest"].as_str().expect("a digest").to_owned();
            let folder = tempfile::tempdir().expect("a folder");
            succeed(self.oras("pull", &format!("{name}@{digest}")).arg("--output").arg(folder.path()));
            let files = std::fs::read_dir(folder.path()).expect("a folder").map(|file| file.expect("a file").path());
            let files: Vec<_> = files.collect();
            assert_eq!(files.len(), 1, "one file each: {files:?}");
            let predicate = entry["annotations"]["in-toto.io/predicate-type"].as_str().expect("a predicate").to_owned();
            (predicate, (digest, std::fs::read_to_string(&files[0]).expect("a file")))
        };
        list["manifests"].as_array().expect("a list").iter().map(entry).collect()
    }

    /// The requests that have put manifests of an image since the request of this number: what was put, in short.
    fn put_since(&self, name: &str, since: u64) -> Vec<String> {
        let path = format!("/v2/todo-app-registry/{name}/manifests/");
        let requests = self.project.sandbox.requests(since);
        let puts = requests.iter().filter(|request| request["method"] == "PUT" && request["status"] == 201);
        let puts = puts.filter_map(|request| request["path"].as_str()?.strip_prefix(&path).map(str::to_owned));
        puts.collect()
    }
}

/// Fails where those who wrote the formats find fault with the two statements about an image, or with a package URL in them.
pub(crate) fn are_valid(project: &Project, provenance: &Value, sbom: &Value) {
    const CHECK: &str = "
import json, sys
from google.protobuf import json_format
from in_toto_attestation.v1 import statement, statement_pb2
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from packageurl import PackageURL
provenance, sbom = (json.load(open(file)) for file in sys.argv[1:3])
for given in provenance, sbom:
    statement.Statement.copy_from_pb(json_format.ParseDict(given, statement_pb2.Statement())).validate()
json_format.ParseDict(provenance['predicate'], provenance_pb2.Provenance())
json.dump(sbom['predicate'], open(sys.argv[3], 'w'))
named = [package['externalRefs'][0]['referenceLocator'] for package in sbom['predicate']['packages']]
named += [uri for one in provenance['predicate']['buildDefinition']['resolvedDependencies'] if (uri := one['uri']).startswith('pkg:')]
for purl in named:
    assert PackageURL.from_string(purl).to_string() == purl, purl
";
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second, document] =
        ["provenance.json", "sbom.json", "sbom.spdx.json"].map(|name| folder.path().join(name));
    std::fs::write(&first, provenance.to_string()).expect("a file");
    std::fs::write(&second, sbom.to_string()).expect("a file");
    let python = || Command::new(python_with_checkers(project.sandbox));
    succeed(python().args(["-c", CHECK]).args([&first, &second, &document]));
    succeed(python().args(["-m", "spdx_tools.spdx.clitools.pyspdxtools", "-i"]).arg(&document));
}

/// The first image of a run's JSON.
pub(crate) fn image(stdout: &str) -> Value {
    let result: Value = serde_json::from_str(stdout).expect("JSON");
    result["images"][0].clone()
}

/// A project whose image is made of Debian's packages.
fn project(name: &str) -> Project {
    let project = small(name);
    project.write("web/Dockerfile", "FROM debian:bookworm-slim\nARG API_TOKEN\nCOPY www /www\n");
    project.replace("deploy.yml", &format!("  {name}: ./web"), &format!(
        "  {name}: {{ build: {{ context: ./web, args: {{ API_TOKEN: hunter2 }} }}, attest: {{ sbom: true, provenance: true }} }}"
    ));
    project.renew("web/www/index.html").commit();
    project
}

/// Pushes to the registry at a port; looks at everything that was said about the image.
fn attested(name: &str, port: u16) {
    let project = project(name);
    if port != 5000 {
        let number = project.sandbox.variable("SANDBOX_NUMBER");
        let token = project.sandbox.variable("DIGITALOCEAN_ACCESS_TOKEN");
        let other = format!(
            "registry: {{ host: \"127.77.{number}.1:{port}\", repository: todo-app-registry, username: {token}, password: \"{token}\" }}"
        );
        project.replace("deploy.yml", "registry: todo-app-registry", &other);
    }
    let before = project.sandbox.last_request();
    let first = image(&project.run(&["push", "--output", "json"]).exits(0).stdout);
    let kinds: Vec<_> = first["attestations"].as_array().expect("a list").iter().map(|a| a["kind"].clone()).collect();
    assert_eq!(kinds, ["provenance", "sbom"]);
    let (registry, digest) = (Registry::at(&project, port), first["digest"].as_str().expect("a digest"));

    // The image, what is said about it with the list that names it, and only then its tags.
    let [provenance, sbom] =
        [0, 1].map(|at| first["attestations"][at]["digest"].as_str().expect("a digest").to_owned());
    let list = digest.replace(':', "-");
    let put = registry.put_since(name, before);
    assert_eq!(put[..4], [digest, &provenance, &sbom, &list], "{put:#?}");
    assert!(put.len() == 6 && put[4..].iter().any(|tag| tag.starts_with("ck-")), "{put:#?}");
    let tag = put[4..].iter().find(|tag| !tag.starts_with("ck-")).expect("a tag for people");

    let manifest = registry.crane("manifest", &format!("{name}@{digest}"));
    assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], name);
    let git = ["-C", project.path().to_str().expect("a path"), "rev-parse", "HEAD"];
    let commit = succeed(Command::new("git").args(git));
    assert!(
        manifest["annotations"]["org.opencontainers.image.revision"]
            .as_str()
            .expect("a commit")
            .starts_with(commit.trim())
    );

    let statements = registry.statements(name, digest);
    let text = Value::from(statements.clone()).to_string();
    assert!(!text.contains("hunter2") && text.contains("API_TOKEN"), "{text}");
    let bases = &statements[0]["predicate"]["buildDefinition"]["resolvedDependencies"];
    assert!(bases[0]["uri"].as_str().expect("a base").starts_with("pkg:oci/debian@sha256"), "{bases}");
    let found = registry.found_by_oras(name, tag);
    for (statement, digest) in statements.iter().zip([&provenance, &sbom]) {
        let (there, text) = &found[statement["predicateType"].as_str().expect("a predicate")];
        assert_eq!((there, &serde_json::from_str::<Value>(text).expect("JSON")), (digest, statement));
    }
    are_valid(&project, &statements[0], &statements[1]);
    let packages = statements[1]["predicate"]["packages"].as_array().expect("packages").iter().skip(1);
    let listed: BTreeSet<String> =
        packages.map(|p| format!("{} {}", p["name"], p["versionInfo"]).replace('"', "")).collect();
    assert_eq!(listed, packages_of_debian(&project), "the packages are those that dpkg itself names");

    // The same once more: everything is there, and nothing is put again.
    let again = image(&project.run(&["push", "--output", "json"]).exits(0).stdout);
    assert_eq!((&again["digest"], &again["state"]), (&first["digest"], &Value::from("reused")));
    let new = again["attestations"].as_array().expect("a list").iter().map(|a| a["new"].clone());
    assert_eq!(new.collect::<Vec<_>>(), [false, false]);
    assert_eq!(registry.statements(name, digest).len(), 2);
}

/// The packages of the base image, as its own dpkg names them.
fn packages_of_debian(project: &Project) -> BTreeSet<String> {
    let mut docker = Command::new("docker");
    docker.env("DOCKER_HOST", project.sandbox.variable("DOCKER_HOST"));
    docker.args(["run", "--rm", "--network=none", "debian:bookworm-slim", "dpkg-query", "-W"]);
    let text = succeed(docker.args(["-f", "${db:Status-Status} ${Package} ${Version}\\n"]));
    let installed = text.lines().filter_map(|line| line.strip_prefix("installed ").map(str::to_owned));
    installed.collect()
}

#[test]
fn attestations_lie_beside_the_image() {
    attested("attested", 5000);
}

#[test]
fn the_old_registry_takes_attestations_too() {
    attested("attested-old", 5001);
}

#[test]
fn a_commit_that_changes_nothing_changes_no_digest() {
    let project = small("same-digest");
    project.renew("web/www/index.html").commit();
    let first = image(&project.run(&["push", "--output", "json"]).exits(0).stdout);
    project.write("readme.md", "nothing of the image\n").commit();
    let again = image(&project.run(&["push", "--output", "json"]).exits(0).stdout);
    assert_eq!((&again["digest"], &again["state"]), (&first["digest"], &Value::from("reused")));
    let name = format!(
        "registry.digitalocean.com/todo-app-registry/same-digest@{}",
        first["digest"].as_str().expect("a digest")
    );
    let digest = first["digest"].as_str().expect("a digest");
    assert_eq!(pull(project.sandbox, &name).digests, [digest, digest], "annotations are no hindrance to others");
}
