//! The JSON Schema of deploy.yml, for editors and other programs. What it accepts and what the readers accept are the
//! same keys: a test holds both against [`super::keys`].
//!
//! Draft 7, because the language servers of editors know it best.

use serde_json::{Map, Value, json};

/// The schema.
pub(crate) fn document() -> Value {
    let mut schema = deploy();
    let head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "deploy.yml of Seaway",
    });
    let definitions: Map<String, Value> = definitions().into_iter().map(|(name, d)| (name.to_owned(), d)).collect();
    let mut whole = head.as_object().cloned().unwrap_or_default();
    if let Some(root) = schema.as_object_mut() {
        whole.append(root);
    }
    whole.insert("definitions".to_owned(), Value::Object(definitions));
    Value::Object(whole)
}

/// Every mapping but the root.
fn definitions() -> Vec<(&'static str, Value)> {
    vec![
        ("cluster", cluster()),
        ("registry", registry()),
        ("image", image()),
        ("copy", copy()),
        ("build", build()),
        ("attest", attest()),
        ("manifest", manifest()),
        ("expose", expose()),
        ("rollout", rollout()),
        ("step", step()),
        ("expect", expect()),
        ("overlay", overlay()),
        ("value", value()),
        ("duration", duration()),
    ]
}

/// A mapping with these keys and no others.
fn mapping(description: &str, required: &[&str], properties: Vec<(&str, Value)>) -> Value {
    let properties: Map<String, Value> = properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let mut schema = json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// A mapping whose keys the author chooses.
fn names(description: &str, of: &Value) -> Value {
    json!({ "type": ["object", "null"], "description": description, "additionalProperties": of })
}

/// A text.
fn text(description: &str, example: &str) -> Value {
    json!({ "type": "string", "description": description, "examples": [example] })
}

/// A definition, where more is to be said of this place.
fn reference(name: &str, description: &str) -> Value {
    json!({ "description": description, "allOf": [{ "$ref": format!("#/definitions/{name}") }] })
}

/// A text, or a mapping for whoever has more to say.
fn text_or(name: &str, description: &str, example: &str) -> Value {
    json!({
        "description": description,
        "anyOf": [{ "type": "string" }, { "$ref": format!("#/definitions/{name}") }],
        "examples": [example],
    })
}

/// A list.
fn list(description: &str, items: &Value) -> Value {
    json!({ "type": ["array", "null"], "description": description, "items": items })
}

/// A value of a variable, an argument, a header: text, or what YAML reads as a number or a boolean.
fn value() -> Value {
    json!({ "type": ["string", "number", "boolean"], "description": "a text, a number or a boolean; all are passed on as text" })
}

/// A duration.
fn duration() -> Value {
    json!({
        "type": "string",
        "description": "numbers with units: `500ms`, `5s`, `10m`, `1h30m`",
        "pattern": r"^(([0-9]+(\.[0-9]+)?(ms|s|m|h))+|.*\$\{.*)$",
        "examples": ["10m", "5s"],
    })
}

/// deploy.yml itself.
fn deploy() -> Value {
    let reference_image = json!({ "$ref": "#/definitions/image" });
    let short_image = json!({ "anyOf": [{ "type": "string" }, reference_image] });
    let short_manifest = json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/definitions/manifest" }] });
    let secret = names("the values of one Secret by their keys", &json!({ "$ref": "#/definitions/value" }));
    let mut schema = mapping(
        "one application and where it goes",
        &["name"],
        vec![
            ("name", text("the application; names the release, the labels and, by default, the namespace", "todo")),
            ("namespace", text("the namespace of every object that names none; default: the name", "todo-app-prod")),
            (
                "cluster",
                text_or(
                    "cluster",
                    "the DOKS cluster by name or id; `--kubeconfig` and `--context` come first",
                    "todo-prod",
                ),
            ),
            (
                "registry",
                text_or(
                    "registry",
                    "where images go: a DOCR registry by name, or a mapping for any other",
                    "todo-app-registry",
                ),
            ),
            ("images", names("the images by name: a folder with a Dockerfile, or a mapping", &short_image)),
            (
                "manifests",
                list("files of Kubernetes objects, or folders with such files, in any order", &short_manifest),
            ),
            ("secrets", names("Kubernetes Secrets made from variables; values are never stored or shown", &secret)),
            (
                "expose",
                reference("expose", "whose address is the application's; found by itself where there is one candidate"),
            ),
            ("rollout", reference("rollout", "how the rollout is waited for")),
            ("smoke", list("requests against the address, in order", &json!({ "$ref": "#/definitions/step" }))),
            ("annotations", annotations("annotations for all images that are built")),
            ("stable_digest", stable_digest()),
            ("attest", reference("attest", "what is put into the registry beside each image")),
            ("compression", compression()),
            (
                "environments",
                names(
                    "overlays by name, chosen with `--env`: mappings merge deep, lists are replaced, null removes",
                    &json!({ "$ref": "#/definitions/overlay" }),
                ),
            ),
        ],
    );
    schema["patternProperties"] = json!({ "^x-": { "description": "a place for anchors that other parts repeat" } });
    schema
}

/// `cluster` as a mapping.
fn cluster() -> Value {
    mapping("a DOKS cluster that exists", &["name"], vec![("name", text("the cluster's name or id", "todo-prod"))])
}

/// `registry` as a mapping.
fn registry() -> Value {
    mapping(
        "any OCI registry",
        &["host"],
        vec![
            ("host", text("the registry's host, with a port if it has one", "ghcr.io")),
            ("repository", text("the path under which images are put", "acme/todo")),
            ("username", reference("value", "the user that pushes")),
            (
                "password",
                reference("value", "the password or token, from a variable; without a login Docker's own is used"),
            ),
            ("pull_secret", json!({ "enum": ["none"], "description": "`none`: the nodes need no login" })),
        ],
    )
}

/// An entry of `images`.
fn image() -> Value {
    let mut schema = mapping(
        "where one image comes from: `build`, `from`, `mirror`, `layout` or `engine`",
        &[],
        vec![
            ("build", text_or("build", "built from a Dockerfile: the context folder, or a mapping", "./backend")),
            ("mirror", text("copied into the registry from another one", "docker.io/library/redis:7")),
            (
                "layout",
                text(
                    "an OCI layout or a `docker save` archive, folder or tar, that another tool made",
                    "./out/backend",
                ),
            ),
            ("engine", text("an image that the Docker Engine has already: its name or id there", "backend:dev")),
            (
                "platforms",
                json!({
                    "type": "array", "items": { "type": "string" }, "maxItems": 1, "examples": [["linux/amd64"]],
                    "description": "the platform that is built or taken; default: `linux/amd64`, what DOKS nodes run",
                }),
            ),
            (
                "pin",
                json!({ "type": "boolean", "description": "`false` leaves the tag in the manifests instead of the digest" }),
            ),
            ("annotations", annotations("annotations for this image, over those for all")),
            ("stable_digest", stable_digest()),
            ("attest", reference("attest", "what is put into the registry beside this image")),
            ("compression", compression()),
        ]
        .into_iter()
        .chain(assembly())
        .collect(),
    );
    let sources = ["build", "mirror", "layout", "engine", "from"];
    schema["oneOf"] = sources.iter().map(|key| json!({ "required": [key] })).collect();
    schema
}

/// The keys of an image made of files.
fn assembly() -> Vec<(&'static str, Value)> {
    let value = json!({ "$ref": "#/definitions/value" });
    let command = |description: &str, example: &str| {
        json!({
            "description": description, "examples": [[example]],
            "anyOf": [{ "type": "string" }, { "type": "array", "items": value }],
        })
    };
    let copy = json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/definitions/copy" }] });
    let port = json!({ "type": ["string", "integer"] });
    vec![
        (
            "from",
            text(
                "made of files on this image, in the registry and without a builder; `scratch` is none",
                "debian:bookworm-slim",
            ),
        ),
        (
            "copy",
            names(
                "files and folders by their path relative to deploy.yml: where each goes, or a mapping; a folder's contents are copied, a slash at the end makes a folder",
                &copy,
            ),
        ),
        (
            "war",
            text(
                "a WAR file that is exploded onto `from`, in layers that change at different times",
                "target/portal.war",
            ),
        ),
        (
            "root",
            text(
                "where the WAR's content goes; default: `/usr/local/tomcat/webapps/ROOT`",
                "/usr/local/tomcat/webapps/portal",
            ),
        ),
        (
            "entrypoint",
            command(
                "the program: a list, or a line for the shell; the base's `cmd` is not kept then",
                "/usr/local/bin/tool",
            ),
        ),
        ("cmd", command("its arguments, or the program where there is no entrypoint", "--verbose")),
        ("env", names("variables beside the base's", &value)),
        (
            "user",
            json!({ "type": ["string", "integer"], "description": "who runs it: `USER` or `USER:GROUP`, names or numbers", "examples": ["1000:1000"] }),
        ),
        ("workdir", text("the folder that it runs in", "/app")),
        ("expose", list("the ports that it listens on", &port)),
        ("labels", names("labels beside the base's", &value)),
    ]
}

/// An entry of `copy` as a mapping.
fn copy() -> Value {
    mapping(
        "a file or folder with an owner or a mode",
        &["to"],
        vec![
            ("to", text("where it goes, absolute", "/usr/local/bin/tool")),
            (
                "chown",
                json!({ "type": ["string", "integer"], "description": "whose it becomes: `USER` or `USER:GROUP`; default: root's", "examples": ["1000:1000"] }),
            ),
            (
                "chmod",
                json!({ "type": ["string", "integer"], "description": "the permission bits of everything that is copied; default: its own", "examples": ["0755"] }),
            ),
        ],
    )
}

/// `build`.
fn build() -> Value {
    let value = json!({ "$ref": "#/definitions/value" });
    mapping(
        "a build with BuildKit",
        &["context"],
        vec![
            ("context", text("the folder that the Dockerfile builds from, relative to deploy.yml", "./frontend")),
            ("dockerfile", text("the Dockerfile, relative to the context; default: `Dockerfile`", "Dockerfile.prod")),
            ("target", text("the stage to build; default: the last one", "runtime")),
            ("args", names("build arguments", &value)),
            ("secrets", names("build secrets by id, for `RUN --mount=type=secret,id=ID`", &value)),
            (
                "max_age",
                text(
                    "an older image is built again although its inputs have not changed: `12h`, `7d`, `none`; default: `7d` \
                     where the build reaches the network, else `none`",
                    "7d",
                ),
            ),
        ],
    )
}

/// `annotations`.
fn annotations(description: &str) -> Value {
    let mut schema = names(
        &format!("{description}; an empty value takes one of Seaway's own away"),
        &json!({ "$ref": "#/definitions/value" }),
    );
    schema["examples"] = json!([{ "org.opencontainers.image.licenses": "MIT" }]);
    schema
}

/// `stable_digest`.
fn stable_digest() -> Value {
    json!({
        "type": "boolean",
        "description": "leaves out the annotations that change with every commit (`revision`, `created`, `version`); default: false",
    })
}

/// `compression`.
fn compression() -> Value {
    json!({
        "enum": ["gzip", "zstd"],
        "description": "how the layers are compressed that Seaway compresses: `zstd` is smaller, and wants Docker 23 or containerd 1.5 wherever the image is pulled; default: `gzip`",
    })
}

/// `attest`.
fn attest() -> Value {
    let asked = |description: &str| json!({ "type": "boolean", "description": description });
    mapping(
        "attestations: what is put into the registry beside an image, for whoever wants to check it",
        &[],
        vec![
            ("sbom", asked("a list of the packages in the image, as an SPDX document; default: false")),
            ("provenance", asked("how the image was made and from what, as SLSA provenance; default: false")),
        ],
    )
}

/// An entry of `manifests` as a mapping.
fn manifest() -> Value {
    mapping(
        "manifests in which variables are filled in",
        &["path"],
        vec![
            ("path", text("a file, or a folder with `.yaml`, `.yml` and `.json` files", "k8s/")),
            (
                "substitute",
                list(
                    "the variables that are filled in; nothing else is, so that scripts stay as they are",
                    &json!({ "type": "string" }),
                ),
            ),
        ],
    )
}

/// `expose`.
fn expose() -> Value {
    let mut schema = mapping(
        "one of `service`, `ingress` and `gateway`",
        &[],
        vec![
            (
                "service",
                text(
                    "a Service of type LoadBalancer: `NAME`, or `NAMESPACE/NAME`",
                    "ingress-nginx/ingress-nginx-controller",
                ),
            ),
            ("ingress", text("an Ingress: `NAME`, or `NAMESPACE/NAME`", "todo")),
            ("gateway", text("a Gateway: `NAME`, or `NAMESPACE/NAME`", "public")),
            ("host", text("the host name that smoke requests carry", "todo.example.com")),
        ],
    );
    schema["oneOf"] = json!([{ "required": ["service"] }, { "required": ["ingress"] }, { "required": ["gateway"] }]);
    schema
}

/// `rollout`.
fn rollout() -> Value {
    mapping(
        "how the rollout is waited for",
        &[],
        vec![
            (
                "deadline",
                reference("duration", "all workloads are ready within this, or the deploy has failed; default: `10m`"),
            ),
            ("settle", reference("duration", "how long everything stays ready where something changed; default: `5s`")),
            (
                "on_failure",
                json!({ "enum": ["stay"], "description": "what happens after a failure: what is running stays" }),
            ),
        ],
    )
}

/// An entry of `smoke`.
fn step() -> Value {
    let path = |method: &str| text(&format!("the path to {method}, from `/`"), "/api/tasks");
    let value = json!({ "$ref": "#/definitions/value" });
    let mut schema = mapping(
        "one request: a method with a path, and what the answer must be",
        &[],
        vec![
            ("get", path("get")),
            ("head", path("ask for without its body")),
            ("post", path("post to")),
            ("put", path("put to")),
            ("patch", path("patch")),
            ("delete", path("delete")),
            ("headers", names("headers of the request", &value)),
            (
                "json",
                json!({ "description": "the body; variables in its texts are filled in", "examples": [{ "title": "smoke ${run.id}" }] }),
            ),
            ("expect", reference("expect", "what the answer must be; default: a status of 2xx or 3xx")),
            (
                "save",
                names(
                    "values kept for later steps as `${smoke.NAME}`: name to JSON path",
                    &json!({ "type": "string" }),
                ),
            ),
        ],
    );
    let methods: Vec<Value> = super::keys::METHODS.iter().map(|method| json!({ "required": [method] })).collect();
    schema["oneOf"] = json!(methods);
    schema
}

/// `expect`.
fn expect() -> Value {
    mapping(
        "what the answer must be",
        &[],
        vec![
            (
                "status",
                json!({ "type": ["integer", "string"], "description": "the status; default: any 2xx or 3xx", "examples": [201] }),
            ),
            ("body", reference("value", "a text that the body contains")),
            (
                "json",
                json!({
                    "type": "object", "examples": [{ "$.title": "smoke ${run.id}" }],
                    "description": "JSON paths and the values that stand there",
                }),
            ),
            ("within", reference("duration", "the answer must come within this")),
        ],
    )
}

/// An entry of `environments`. What is inside is checked as a part of the whole, which a schema cannot do.
fn overlay() -> Value {
    let properties = super::keys::DEPLOY.known.iter().filter(|key| **key != super::overlay::KEY);
    mapping(
        "laid over the rest of deploy.yml",
        &[],
        properties
            .map(|key| (*key, json!({ "description": format!("replaces or extends `{key}`; null removes it") })))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn the_schema_and_the_readers_have_the_same_keys() {
        let schema = document();
        for table in keys::ALL {
            let definition =
                if table.definition == "deploy" { &schema } else { &schema["definitions"][table.definition] };
            let properties = definition["properties"].as_object().unwrap();
            let written: Vec<&str> = properties.keys().map(String::as_str).collect();
            assert_eq!(written, table.known, "{}", table.definition);
            assert_eq!(definition["additionalProperties"], false, "{}", table.definition);
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let schema = document();
        let text = schema.to_string();
        for (at, start) in text.match_indices("#/definitions/") {
            let name = text[at + start.len()..].split('"').next().unwrap();
            assert!(schema["definitions"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_schema_is_one() {
        assert!(jsonschema::draft7::meta::is_valid(&document()));
    }
}
