//! The keys of every mapping of deploy.yml: the readers, the schema and the reference all follow these tables.

/// The keys of one kind of mapping.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// The definition in the schema.
    pub(crate) definition: &'static str,
    /// The keys that are understood.
    pub(crate) known: &'static [&'static str],
    /// The keys that the interface promises and that nothing implements yet: they are refused as such.
    pub(crate) later: &'static [&'static str],
}

/// deploy.yml itself.
pub(crate) static DEPLOY: Keys = Keys {
    definition: "deploy",
    known: &[
        "name",
        "namespace",
        "cluster",
        "registry",
        "images",
        "manifests",
        "secrets",
        "expose",
        "rollout",
        "smoke",
        "annotations",
        "stable_digest",
        "attest",
        "compression",
        "environments",
    ],
    later: &["services", "jobs", "preview"],
};

/// `cluster` as a mapping.
pub(crate) static CLUSTER: Keys =
    Keys { definition: "cluster", known: &["name"], later: &["region", "version", "nodes", "vpc", "create"] };

/// `registry` as a mapping.
pub(crate) static REGISTRY: Keys = Keys {
    definition: "registry",
    known: &["host", "repository", "username", "password", "pull_secret"],
    later: &["name", "region", "create"],
};

/// An entry of `images`.
pub(crate) static IMAGE: Keys = Keys {
    definition: "image",
    known: &[
        "build",
        "mirror",
        "layout",
        "engine",
        "platforms",
        "pin",
        "annotations",
        "stable_digest",
        "attest",
        "compression",
        "from",
        "copy",
        "war",
        "root",
        "entrypoint",
        "cmd",
        "env",
        "user",
        "workdir",
        "expose",
        "labels",
    ],
    later: &[],
};

/// An entry of `copy` of an image.
pub(crate) static COPY: Keys = Keys { definition: "copy", known: &["to", "chown", "chmod"], later: &[] };

/// `build` of an image.
pub(crate) static BUILD: Keys =
    Keys { definition: "build", known: &["context", "dockerfile", "target", "args", "secrets", "max_age"], later: &[] };

/// `attest`, at the top and at an image.
pub(crate) static ATTEST: Keys = Keys { definition: "attest", known: &["sbom", "provenance"], later: &[] };

/// An entry of `manifests` as a mapping.
pub(crate) static MANIFEST: Keys =
    Keys { definition: "manifest", known: &["path", "substitute"], later: &["kustomize", "helm", "values", "set"] };

/// `expose`.
pub(crate) static EXPOSE: Keys =
    Keys { definition: "expose", known: &["service", "ingress", "gateway", "host"], later: &[] };

/// `rollout`.
pub(crate) static ROLLOUT: Keys =
    Keys { definition: "rollout", known: &["deadline", "settle", "on_failure"], later: &[] };

/// An entry of `smoke`.
pub(crate) static STEP: Keys = Keys {
    definition: "step",
    known: &["get", "head", "post", "put", "patch", "delete", "headers", "json", "expect", "save"],
    later: &[],
};

/// `expect` of a smoke step.
pub(crate) static EXPECT: Keys =
    Keys { definition: "expect", known: &["status", "body", "json", "within"], later: &[] };

/// The methods of a smoke step, which are keys of [`STEP`].
pub(crate) static METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];

/// Every table, to hold the schema against.
#[cfg(test)]
pub(crate) static ALL: [&Keys; 12] =
    [&DEPLOY, &CLUSTER, &REGISTRY, &IMAGE, &COPY, &BUILD, &ATTEST, &MANIFEST, &EXPOSE, &ROLLOUT, &STEP, &EXPECT];
