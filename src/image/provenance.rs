//! How an image was made, as an in-toto statement with a SLSA provenance predicate.
//!
//! Sources: <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>,
//! <https://slsa.dev/spec/v1.1/provenance>.

use super::purl;
use crate::model::{Digest, Repository};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The type of a statement.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The media type of a statement.
pub(crate) const STATEMENT_MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// The annotation that tells which predicate a statement has, so that a list need not be read entry by entry.
pub(crate) const PREDICATE_ANNOTATION: &str = "in-toto.io/predicate-type";
/// The predicate of a provenance.
pub(crate) const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// The predicate of an SPDX document.
pub(crate) const SPDX: &str = "https://spdx.dev/Document";
/// What the parameters of a build mean. The page describes them.
const BUILD_TYPE: &str = "https://github.com/seaway-deploy/seaway/blob/main/docs/supply-chain.md#build-type-v1";
/// Who builds where no platform says who it is.
const LOCAL_BUILDER: &str = "https://github.com/seaway-deploy/seaway/blob/main/docs/supply-chain.md#builder";

/// A statement about the manifest of an image.
pub(crate) fn statement(repository: &Repository, digest: &Digest, predicate_type: &str, predicate: &Value) -> Value {
    json!({
        "_type": STATEMENT,
        "subject": [{ "name": repository.to_string(), "digest": { "sha256": digest.hex() } }],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// The commit that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// The page of the repository, if it is known.
    pub(crate) source: Option<String>,
    /// `refs/heads/main`, if it is known.
    pub(crate) reference: Option<String>,
    /// The commit, 40 hexadecimal digits.
    pub(crate) sha: String,
    /// Whether files differed from it.
    pub(crate) dirty: bool,
}

/// How an image was made.
#[derive(Clone, Debug)]
pub(crate) struct Provenance {
    /// The image's name in deploy.yml.
    pub(crate) image: String,
    /// The path of deploy.yml.
    pub(crate) file: String,
    /// What the author asked for: how the image is made, without secret values.
    pub(crate) parameters: Map<String, Value>,
    /// The tag that stands for all inputs; `None` where they changed meanwhile.
    pub(crate) content_key: Option<String>,
    /// The commit.
    pub(crate) commit: Option<Commit>,
    /// The images that it was made from, by name.
    pub(crate) bases: BTreeMap<String, Digest>,
    /// The files that it was made from which need not be of the commit, by path.
    pub(crate) files: BTreeMap<String, Digest>,
    /// The platform that built, as a URI; `None` on somebody's machine.
    pub(crate) builder: Option<String>,
    /// The run: its page, or its number.
    pub(crate) invocation: String,
    /// When the build began.
    pub(crate) started: Timestamp,
    /// When the image was in the registry.
    pub(crate) finished: Timestamp,
}

impl Provenance {
    /// The predicate.
    pub(crate) fn predicate(&self) -> Value {
        let mut source = Map::from_iter([("path".to_owned(), json!(self.file))]);
        if let Some(commit) = &self.commit {
            source.extend(commit.resource());
        }
        let mut external =
            Map::from_iter([("image".to_owned(), json!(self.image)), ("configSource".to_owned(), json!(source))]);
        external.extend(self.parameters.clone());
        let internal: Map<String, Value> =
            self.content_key.iter().map(|key| ("contentKey".to_owned(), json!(key))).collect();
        json!({
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": external,
                "internalParameters": internal,
                "resolvedDependencies": self.dependencies(),
            },
            "runDetails": {
                "builder": {
                    "id": self.builder.as_deref().unwrap_or(LOCAL_BUILDER),
                    "version": { "seaway": env!("CARGO_PKG_VERSION") },
                },
                "metadata": {
                    "invocationId": self.invocation,
                    "startedOn": seconds(self.started),
                    "finishedOn": seconds(self.finished),
                },
            },
        })
    }

    /// What went into the image: the commit, the images that it was made from, and the files that another tool has built.
    fn dependencies(&self) -> Vec<Value> {
        let commit = self.commit.iter().filter(|commit| commit.source.is_some()).map(|commit| {
            let mut resource = commit.resource();
            if commit.dirty {
                resource.insert("annotations".to_owned(), json!({ "modified": true }));
            }
            Value::Object(resource)
        });
        let bases = self
            .bases
            .iter()
            .map(|(name, digest)| json!({ "uri": purl::of_base(name, digest), "digest": { "sha256": digest.hex() } }));
        let files =
            self.files.iter().map(|(path, digest)| json!({ "name": path, "digest": { "sha256": digest.hex() } }));
        commit.chain(bases).chain(files).collect()
    }
}

impl Commit {
    /// The commit as a resource: `git+https://…@refs/heads/main` with its digest.
    fn resource(&self) -> Map<String, Value> {
        let mut resource = Map::new();
        if let Some(source) = &self.source {
            let reference = self.reference.as_ref().map(|name| format!("@{name}")).unwrap_or_default();
            resource.insert("uri".to_owned(), json!(format!("git+{source}{reference}")));
        }
        resource.insert("digest".to_owned(), json!({ "gitCommit": self.sha }));
        resource
    }
}

/// A time as the specification wants it: in UTC, to the second.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What stands for the value of a build argument that nobody should read.
const HIDDEN: &str = "(hidden)";

/// The words that the names of secrets have in them.
const SECRET_WORDS: [&str; 8] =
    ["TOKEN", "PASSWORD", "PASSWD", "SECRET", "CREDENTIAL", "APIKEY", "API_KEY", "PRIVATE_KEY"];

/// A build argument as it may be told. A value that is a known secret, or that looks like one by its name, is left out:
/// arguments are no place for secrets, and some use them so all the same.
pub(crate) fn argument(name: &str, value: &str, redacted: &str) -> String {
    let upper = name.to_uppercase();
    let suspicious = SECRET_WORDS.iter().any(|word| upper.contains(word));
    if suspicious || redacted != value { HIDDEN.to_owned() } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A provenance with everything in it.
    fn full() -> Provenance {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        Provenance {
            image: "backend".to_owned(),
            file: "deploy.yml".to_owned(),
            parameters: Map::from_iter([("build".to_owned(), json!({ "dockerfile": "backend/Dockerfile" }))]),
            content_key: Some("ck-1a2b".to_owned()),
            commit: Some(Commit {
                source: Some("https://github.com/acme/todo".to_owned()),
                reference: Some("refs/heads/main".to_owned()),
                sha: "1a2b3c4d5e6f1a2b3c4d5e6f1a2b3c4d5e6f1a2b".to_owned(),
                dirty: false,
            }),
            bases: BTreeMap::from([("debian:bookworm-slim".to_owned(), Digest::of(b"debian"))]),
            files: BTreeMap::from([("target/app.war".to_owned(), Digest::of(b"war"))]),
            builder: Some("https://github.com/acme/todo/.github/workflows/deploy.yml@refs/heads/main".to_owned()),
            invocation: "https://github.com/acme/todo/actions/runs/42/attempts/1".to_owned(),
            started: time("2026-11-21T09:00:00.25Z"),
            finished: time("2026-11-21T09:00:12Z"),
        }
    }

    /// The statement of a provenance.
    fn stated(provenance: &Provenance) -> Value {
        let repository = Repository { registry: "registry.example.com".to_owned(), path: "shop/backend".to_owned() };
        statement(&repository, &Digest::of(b"image"), PROVENANCE, &provenance.predicate())
    }

    /// The requirements of the two specifications, as a schema of our own.
    fn schema() -> jsonschema::Validator {
        let uri = json!({ "type": "string", "pattern": "^[a-z][a-z0-9+.-]*:" });
        let time = json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$" });
        let digests = json!({
            "type": "object", "minProperties": 1, "additionalProperties": false,
            "properties": {
                "sha256": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
                "gitCommit": { "type": "string", "pattern": "^[0-9a-f]{40}([0-9a-f]{24})?$" },
            },
        });
        // A resource needs one of uri, digest and content.
        let resource = json!({
            "type": "object", "anyOf": [{ "required": ["uri"] }, { "required": ["digest"] }, { "required": ["content"] }],
            "properties": { "uri": uri, "digest": digests, "annotations": { "type": "object" } },
        });
        let strings = json!({ "type": "object", "additionalProperties": { "type": "string" } });
        jsonschema::validator_for(&json!({
            "type": "object", "required": ["_type", "subject", "predicateType", "predicate"], "additionalProperties": false,
            "properties": {
                "_type": { "const": STATEMENT },
                "subject": {
                    "type": "array", "minItems": 1,
                    "items": { "type": "object", "required": ["digest"], "properties": { "name": { "type": "string" }, "digest": digests } },
                },
                "predicateType": { "const": "https://slsa.dev/provenance/v1" },
                "predicate": {
                    "type": "object", "required": ["buildDefinition", "runDetails"], "additionalProperties": false,
                    "properties": {
                        "buildDefinition": {
                            "type": "object", "required": ["buildType", "externalParameters"], "additionalProperties": false,
                            "properties": {
                                "buildType": uri, "externalParameters": { "type": "object", "minProperties": 1 },
                                "internalParameters": { "type": "object" },
                                "resolvedDependencies": { "type": "array", "items": resource },
                            },
                        },
                        "runDetails": {
                            "type": "object", "required": ["builder"], "additionalProperties": false,
                            "properties": {
                                "builder": { "type": "object", "required": ["id"], "properties": { "id": uri, "version": strings } },
                                "metadata": {
                                    "type": "object", "additionalProperties": false,
                                    "properties": { "invocationId": { "type": "string", "minLength": 1 }, "startedOn": time, "finishedOn": time },
                                },
                                "byproducts": { "type": "array", "items": resource },
                            },
                        },
                    },
                },
            },
        }))
        .unwrap()
    }

    #[test]
    fn statements_meet_the_specifications() {
        let bare = Provenance { commit: None, bases: BTreeMap::new(), builder: None, parameters: Map::new(), ..full() };
        let sourceless = Commit { source: None, reference: None, ..full().commit.unwrap() };
        let nowhere = Provenance { commit: Some(sourceless), ..full() };
        for provenance in [full(), bare, nowhere] {
            let statement = stated(&provenance);
            let problems: Vec<String> =
                schema().iter_errors(&statement).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(problems.is_empty(), "{problems:#?}");
        }
        let mut wrong = stated(&full());
        wrong["predicate"]["runDetails"]["builder"] = json!({});
        assert!(!schema().is_valid(&wrong), "the schema can tell");
    }

    #[test]
    fn the_dependencies_are_the_commit_and_the_bases() {
        let statement = stated(&full());
        let dependencies = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
        assert_eq!(dependencies[0]["uri"], "git+https://github.com/acme/todo@refs/heads/main");
        assert!(dependencies[1]["uri"].as_str().unwrap().starts_with("pkg:oci/debian@sha256"));
        assert_eq!(dependencies[1]["digest"]["sha256"], Digest::of(b"debian").hex());
        assert_eq!(statement["predicate"]["runDetails"]["metadata"]["startedOn"], "2026-11-21T09:00:00Z");
        let dirty = Commit { dirty: true, ..full().commit.unwrap() };
        let statement = stated(&Provenance { commit: Some(dirty), ..full() });
        assert_eq!(
            statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["annotations"]["modified"],
            true
        );
    }

    #[test]
    fn values_of_secrets_are_not_told() {
        assert_eq!(argument("API_URL", "/api", "/api"), "/api");
        assert_eq!(argument("NPM_TOKEN", "abc", "abc"), HIDDEN);
        assert_eq!(argument("url", "https://u:hunter2@x", "https://u:***@x"), HIDDEN);
    }
}
