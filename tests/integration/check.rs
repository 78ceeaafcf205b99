//! `check`: each bad input, what is said about it, and the exit code.

use crate::common::{Run, World};

/// A deploy.yml that uses everything that is understood.
pub(crate) const EVERYTHING: &str = r#"
x-common: &build-args { LOG: "1", RELEASE: true }
name: todo
namespace: todo-${STAGE:-dev}
cluster: { name: todo-prod }
registry: { host: ghcr.io, repository: acme/todo, username: bot, password: "${REGISTRY_PASSWORD}", pull_secret: none }
images:
  backend: ./backend
  frontend:
    build:
      context: ./frontend
      dockerfile: Dockerfile.prod
      target: runtime
      args: { <<: *build-args, COMMIT: "${git.sha:-none}" }
      secrets: { npm_token: "${NPM_TOKEN}" }
    platforms: [linux/amd64]
    pin: false
    stable_digest: true
    compression: zstd
  cache: { mirror: "docker.io/library/redis:7", attest: { sbom: false } }
  reports: { layout: "./out/${STAGE:-dev}.tar" }
  worker: { engine: "worker:dev" }
  portal: { war: target/portal.war, from: "tomcat:10.1-jre17", root: /srv/portal, env: { A: 1 } }
  tools:
    from: "debian:bookworm-slim"
    copy: { ./backend/Dockerfile: /usr/local/bin/tool, k8s/: { to: /etc/tool/, chown: "7:8", chmod: 0750 } }
    entrypoint: [/usr/local/bin/tool, --port, 80]
    cmd: exec x
    user: 1000
    workdir: /etc
    expose: [80, 53/udp]
    labels: { stage: "${STAGE}" }
manifests:
  - k8s/
  - { path: extra.yaml, substitute: [STAGE, images.backend] }
secrets:
  database-secret: { url: "${DATABASE_URL}", port: 5432 }
expose: { ingress: todo, host: todo.example.com }
rollout: { deadline: 10m, settle: 1s500ms, on_failure: stay }
annotations: { org.opencontainers.image.licenses: MIT, org.opencontainers.image.documentation: "https://${STAGE:-dev}.example.com" }
attest: { sbom: true, provenance: true }
smoke:
  - get: /
    headers: { Accept: text/html }
    expect: { status: 200, body: Todo, within: 1s }
  - post: /api/tasks
    json: { title: "smoke ${run.id}", tags: ["${STAGE:-dev}"] }
    expect: { status: 201 }
    save: { task: $.id }
  - delete: /api/tasks/${smoke.task}
    expect: { json: { $.gone: true } }
environments:
  staging: { namespace: todo-staging, registry: other, images: { cache: null } }
"#;

/// A world in which [`EVERYTHING`] is right.
fn everything() -> World {
    World::with_deploy(EVERYTHING)
        .file("backend/Dockerfile", "FROM scratch\n")
        .file("frontend/Dockerfile.prod", "FROM scratch\n")
        .file("out/prod.tar", "")
        .file("target/portal.war", "")
        .file("k8s/backend.yaml", DEPLOYMENT)
        .file("k8s/readme.md", "not a manifest: {{{")
        .file("k8s/deeper/ignored.yaml", "not: [yaml")
        .file("k8s/list.json", r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"}},{"apiVersion":"v1","kind":"Service","metadata":{"name":"b"}}]}"#)
        .file("extra.yaml", "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: extra }\ndata: { stage: \"${STAGE}\", image: \"${images.backend}\", script: \"echo $$ ${HOME}\" }\n---\n")
        .variable("STAGE", "prod")
        .variable("REGISTRY_PASSWORD", "hunter2-registry")
        .variable("NPM_TOKEN", "hunter2-npm")
        .variable("DATABASE_URL", "postgres://hunter2")
}

/// A Deployment that names an image and a value of a Secret.
const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: { name: backend }
spec:
  selector: { matchLabels: { app: backend } }
  template:
    metadata: { labels: { app: backend } }
    spec:
      containers:
        - name: api
          image: backend
          env:
            - name: DATABASE_URL
              valueFrom: { secretKeyRef: { name: database-secret, key: url } }
";

/// Runs `check` on a deploy.yml and nothing else.
fn check(text: &str) -> Run {
    World::with_deploy(text).seaway(&["check"])
}

#[test]
fn a_right_file_is_summed_up() {
    insta::assert_snapshot!(everything().seaway(&["check"]));
}

#[test]
fn a_right_file_for_programs() {
    insta::assert_snapshot!(everything().seaway(&["check", "--output", "json", "--env", "staging"]));
}

#[test]
fn no_deploy_yml() {
    insta::assert_snapshot!(World::new().seaway(&["check"]));
}

#[test]
fn a_file_of_a_similar_name() {
    insta::assert_snapshot!(World::new().file("deploy.yaml", "name: todo").seaway(&["check"]));
}

#[test]
fn an_empty_file() {
    insta::assert_snapshot!(check("# nothing yet\n"));
}

#[test]
fn a_typo_in_a_key() {
    insta::assert_snapshot!(check("name: todo\nnamspace: todo-prod\n"));
}

#[test]
fn a_wrong_type() {
    insta::assert_snapshot!(check("name: todo\nmanifests: k8s/\nimages: [backend]\nnamespace: true\n"));
}

#[test]
fn a_key_that_is_written_twice() {
    insta::assert_snapshot!(check("name: todo\nnamespace: a\nname: other\n"));
}

#[test]
fn two_mistakes_at_once() {
    let text = "name: todo\nsecrets:\n  database-secret: { url: \"${DATABASE_URL}\" }\nrollout:\n  dedline: 10m\n";
    insta::assert_snapshot!(check(text));
}

#[test]
fn unset_variables() {
    let text = "\
name: ${APP}
namespace: ${APP:?the name of the team's application}
registry: { host: ghcr.io, username: bot, password: \"${REGISTRY_PASSWORD}\" }
secrets: { database-secret: { url: \"postgres://${DATABASE_HOST}/todo\", empty: \"${EMPTY}\" } }
smoke: [{ get: \"/${git.sha}/${pr.number}\" }]
";
    insta::assert_snapshot!(World::with_deploy(text).variable("EMPTY", "").seaway(&["check"]));
}

#[test]
fn unset_variables_are_let_be_without_the_environment() {
    let text = "name: todo\nnamespace: ${APP}\nsecrets: { database-secret: { url: \"${DATABASE_URL}\" } }\n";
    let run = World::with_deploy(text).seaway(&["check", "--no-env"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    let typo = World::with_deploy("name: todo-${git.shaa}\n").seaway(&["check", "--no-env"]);
    assert_eq!(typo.code, Some(2), "a wrong name stays a mistake");
}

#[test]
fn variables_that_cannot_be_read() {
    insta::assert_snapshot!(check(
        "name: todo\nnamespace: \"${A\"\nexpose: { service: \"a-${1}\", host: \"${X-y}\" }\ncluster: a-${smoke.x}\n"
    ));
}

#[test]
fn missing_files() {
    let text = "\
name: todo
registry: todo
images:
  backend: ./backnd
  frontend: { build: { context: ./frontend, dockerfile: Dockerfle.prod } }
  tools: ./tools
manifests:
  - k8s
  - kubernetes/backend.yaml
  - empty/
";
    let world = World::with_deploy(text)
        .file("backend/Dockerfile", "")
        .file("frontend/Dockerfile.prod", "")
        .file("tools/main.c", "")
        .file("kubernetes/backend.yml", "")
        .file("empty/readme.md", "");
    insta::assert_snapshot!(world.seaway(&["check"]));
}

#[test]
fn an_unknown_image() {
    let world = World::with_deploy(
        "name: todo\nregistry: todo\nimages: { backend: ./b, frontend: ./b }\nmanifests: [k8s.yaml]\n",
    )
    .file("b/Dockerfile", "")
    .file("k8s.yaml", DEPLOYMENT.replace("image: backend", "image: bakend").replace("database-secret", "other-secret"));
    insta::assert_snapshot!(world.seaway(&["check"]));
}

#[test]
fn an_unknown_image_in_a_variable() {
    let text = "\
name: todo
registry: todo
images: { backend: ./b }
manifests: [{ path: k8s.yaml, substitute: [images.bakend] }]
";
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { image: \"${images.bakend}\" }\n";
    let world = World::with_deploy(text).file("b/Dockerfile", "").file("k8s.yaml", manifest);
    insta::assert_snapshot!(world.seaway(&["check"]));
}

#[test]
fn an_unknown_value_of_a_secret() {
    let world =
        World::with_deploy("name: todo\nsecrets: { database-secret: { uri: x, user: y } }\nmanifests: [k8s.yaml]\n")
            .file("k8s.yaml", DEPLOYMENT);
    insta::assert_snapshot!(world.seaway(&["check"]));
}

#[test]
fn a_manifest_that_is_not_yaml() {
    let world = World::with_deploy("name: todo\nmanifests: [k8s/]\n")
        .file("k8s/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a\ndata: {}\n")
        .file("k8s/b.yaml", "apiVersion: v1\nkind: Service\nmetadata: {{ .Values.name }}\n")
        .file("k8s/c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: c\n");
    insta::assert_snapshot!(world.seaway(&["check"]));
}

#[test]
fn manifests_that_are_no_objects() {
    let documents = "\
apiVersion: v1
kind: Service
metadata: { name: a }
---
apiversion: v1
kind: Service
metadata: { name: b }
---
just text
---
apiVersion: v1
kind: ConfigMap
metadata: { generateName: c- }
---
apiVersion: v1
kind: Pod
---
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
---
apiVersion: v1
kind: Service
metadata: { name: a }
spec: { type: ClusterIP, type: NodePort }
";
    let world = World::with_deploy("name: todo\nmanifests: [all.yaml]\n").file("all.yaml", documents);
    insta::assert_snapshot!(world.seaway(&["check"]));
}

#[test]
fn what_is_not_supported_yet() {
    let text = "\
name: todo
cluster: { name: todo, create: true, nodes: { size: s-2vcpu-4gb } }
registry: todo
images:
  d: { build: ., platforms: [linux/amd64, linux/arm64] }
manifests:
  - kustomize: k8s/overlays/prod
  - helm: ./chart
services: { backend: { image: backend } }
jobs: {}
preview: {}
rollout: { on_failure: rollback }
";
    insta::assert_snapshot!(World::with_deploy(text).file("Dockerfile", "").seaway(&["check"]));
}

#[test]
fn values_that_mean_nothing() {
    let text = "\
name: Todo App
namespace: todo.prod
registry: ghcr.io/acme
images:
  Backend: { mirror: \"Redis:7\" }
  both: { build: ., mirror: redis }
  none: {}
  empty:
  where: { layout: ./nowhere }
  named: { engine: \"Back End\" }
  twice: { engine: a, layout: . }
secrets: { bad_name: { \"a b\": x } }
expose: { service: a, ingress: b }
rollout: { deadline: 10, settle: 5 seconds, on_failure: explode }
smoke:
  - get: api
  - get: /
    post: /
  - expect: { status: 200 }
  - get: /
    json: {}
    expect: { status: 20, json: { id: 1 }, within: 1 }
    save: { \"a b\": id }
  - get: /${smoke.tsak}
";
    insta::assert_snapshot!(check(text));
}

#[test]
fn images_need_a_registry() {
    insta::assert_snapshot!(
        World::with_deploy("name: todo\nimages: { a: . }\n").file("Dockerfile", "").seaway(&["check"])
    );
}

#[test]
fn a_registry_needs_a_host_and_a_whole_login() {
    insta::assert_snapshot!(check("name: todo\nregistry: { repository: a, username: b }\n"));
}

#[test]
fn broken_yaml() {
    insta::assert_snapshot!(check("name: todo\nimages:\n\tbackend: .\n"));
}

#[test]
fn an_exposed_object_of_a_similar_name() {
    let world = World::with_deploy("name: todo\nexpose: { service: frontent }\nmanifests: [a.yaml]\n")
        .file("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: { name: frontend }\n");
    insta::assert_snapshot!(world.seaway(&["check"]));
}

#[test]
fn an_unknown_environment() {
    let text = "name: todo\nenvironments: { staging: {}, production: {} }\n";
    insta::assert_snapshot!(World::with_deploy(text).seaway(&["check", "--env", "stagin"]));
    let run = World::with_deploy("name: todo\n").seaway(&["check", "--env", "staging"]);
    assert!(run.stderr.contains("add `environments` to deploy.yml"), "{run}");
}

#[test]
fn an_overlay_is_laid_on_and_every_overlay_is_checked() {
    let text = "\
name: todo
namespace: todo-prod
environments:
  staging: { namespace: todo-staging }
  broken: { namspace: x, rollout: { deadline: [] } }
";
    insta::assert_snapshot!(World::with_deploy(text).seaway(&["check"]));
    let right = World::with_deploy(&text.replace("  broken: { namspace: x, rollout: { deadline: [] } }\n", ""));
    assert!(right.seaway(&["check", "--env", "staging"]).stdout.contains("namespace todo-staging"));
    assert!(right.seaway(&["check"]).stdout.contains("namespace todo-prod"));
}

#[test]
fn values_that_are_written_in_clear_are_never_shown() {
    let text = "\
name: todo
registry: { host: ghcr.io, username: bot, password: hunter2a, oops: 1 }
secrets: { database-secret: { url: hunter2b, \"bad key\": hunter2c }, other: hunter2d, list: [hunter2e] }
images: { a: { build: { context: ., secrets: { t: hunter2f }, oops: 1 } } }
environments: { staging: { secrets: { database-secret: { url: hunter2g }, oops: [hunter2h] } } }
";
    let run = World::with_deploy(text).seaway(&["check"]);
    assert!(!run.to_string().contains("hunter2"), "{run}");
    insta::assert_snapshot!(run);
    let broken = World::with_deploy("name: todo\nsecrets:\n  db: { url: \"hunter2i }\n").seaway(&["check"]);
    assert_eq!(broken.code, Some(2));
    assert!(!broken.to_string().contains("hunter2"), "{broken}");
    let manifest = "kind: Secret\napiVersion: v1\nmetadata: { name: a }\nstringData: { a: hunter2j, a: hunter2k }\n";
    let manifest = World::with_deploy("name: todo\nmanifests: [a.yaml]\n").file("a.yaml", manifest).seaway(&["check"]);
    assert_eq!(manifest.code, Some(2));
    assert!(!manifest.to_string().contains("hunter2"), "{manifest}");
}

#[test]
fn values_of_variables_are_never_shown() {
    let text = "\
name: ${HUNTER}
registry: ${HUNTER}
cluster: ${HUNTER}
expose: { service: \"${HUNTER}\" }
images: { a: { mirror: \"${HUNTER}\" }, b: \"${HUNTER}\" }
manifests: [\"${HUNTER}.yaml\"]
secrets: { db: { url: \"${HUNTER}\" } }
rollout: { deadline: \"${HUNTER}\" }
smoke: [{ get: \"${HUNTER}\", expect: { status: \"${HUNTER}\" } }]
";
    for arguments in [&["check"][..], &["check", "-vv", "--output", "json"]] {
        let run = World::with_deploy(text).variable("HUNTER", "Hunter2 Value").seaway(arguments);
        assert_eq!(run.code, Some(2));
        assert!(!run.to_string().contains("Hunter2"), "{run}");
    }
}

#[test]
fn mistakes_for_programs() {
    insta::assert_snapshot!(World::with_deploy("nmae: todo\n").seaway(&["check", "--output", "json"]));
}

#[test]
fn colours_are_only_for_those_who_want_them() {
    let world = World::with_deploy("nmae: todo\n");
    assert!(!world.seaway(&["check"]).stderr.contains('\u{1b}'));
    assert!(world.seaway(&["check", "--color", "always"]).stderr.contains("\u{1b}[1;31merror:"));
}

#[test]
fn the_commit_is_known_in_a_work_tree() {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", "first"];
    let world = World::with_deploy("name: a-${git.branch}\nnamespace: sha-${git.sha}\n")
        .program("git", &["init", "-q", "-b", "main"])
        .program("git", &["add", "."])
        .program("git", &identity);
    let run = world.seaway(&["check"]);
    assert!(run.stdout.contains("a-main in namespace sha-"), "{run}");
    let pull = World::with_deploy("name: a-${pr.number}-${run.id}\n")
        .variable("GITHUB_ACTIONS", "true")
        .variable("GITHUB_REF", "refs/pull/42/merge")
        .variable("GITHUB_RUN_ID", "7")
        .seaway(&["check"]);
    assert!(pull.stdout.contains("a-42-7-1 in namespace"), "{pull}");
}

#[test]
fn paths_start_at_the_folder_of_the_file() {
    let world = World::new()
        .file("app/deploy.yml", "name: todo\nregistry: r\nimages: { a: ./src }\nmanifests: [k8s]\n")
        .file("app/src/Dockerfile", "")
        .file("app/k8s/a.yaml", "apiVersion: v1\nkind: Nope\n");
    let run = world.seaway(&["check", "--file", "app/deploy.yml"]);
    assert!(run.stderr.contains("┌─ app/k8s/a.yaml:1:1"), "{run}");
    assert!(run.stderr.contains("1 problem in app/k8s/a.yaml"), "{run}");
}

#[test]
fn what_is_said_about_images() {
    let text = "\
name: todo
registry: shop
annotations: { \"org opencontainers\": x }
attest: { sboom: true, provenance: 1 }
compression: brotli
images:
  cache: { mirror: redis:7, attest: { provenance: true }, annotations: { a: b }, stable_digest: true, compression: zstd }
";
    insta::assert_snapshot!(World::with_deploy(text).seaway(&["check"]));
}

#[test]
fn a_password_in_the_file_is_a_warning() {
    let text = "name: todo\nsecrets: { db: { password: hunter2, user: todo, token: \"${T}\" } }\n";
    let run = World::with_deploy(text).variable("T", "x").seaway(&["check"]);
    assert!(!run.to_string().contains("hunter2"), "{run}");
    insta::assert_snapshot!(run);
}

#[test]
fn values_of_manifests_that_yaml_reads_differently() {
    let manifest = DEPLOYMENT.replace("{ app: backend }", "{ app: backend, version: 1.0, canary: yes }").replace(
        "              valueFrom: { secretKeyRef: { name: database-secret, key: url } }",
        "              value: 5432",
    );
    let world = World::with_deploy("name: todo\nmanifests: [k8s.yaml]\n").file("k8s.yaml", manifest);
    insta::assert_snapshot!(world.seaway(&["check"]));
}

#[test]
fn a_secret_of_a_similar_name_is_a_warning() {
    let text = "name: todo\nsecrets: { database-secrets: { url: x } }\nmanifests: [k8s.yaml]\n";
    insta::assert_snapshot!(World::with_deploy(text).file("k8s.yaml", DEPLOYMENT).seaway(&["check"]));
}

#[test]
fn names_in_substitute_and_patterns() {
    let text = "\
name: todo
expose: { service: a, host: \"https://todo.example.com/\" }
manifests:
  - { path: a.yaml, substitute: [\"${A}\"] }
  - k8s/*.yaml
";
    let world = World::with_deploy(text).file("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: { name: a }\n");
    insta::assert_snapshot!(world.seaway(&["check"]));
}

/// A world with one image whose Dockerfile ends in these lines, and some files in its context.
fn with_dockerfile(lines: &str) -> World {
    World::with_deploy("name: todo\nregistry: r\nimages: { web: ./web }\n")
        .file("web/Dockerfile", format!("FROM debian:12\n{lines}\n"))
        .file("web/src/app.py", "print()")
        .file("web/dist/app.js", "")
        .file("web/.dockerignore", "# what builds make\ndist\n**/*.log\n")
        .file("shared/util.py", "")
}

#[test]
fn sources_outside_of_the_context_or_ignored() {
    let lines = "COPY src /src\nCOPY --chown=1:1 ../shared /shared\nADD /etc/hosts /etc/\nCOPY [\"dist/app.js\", \"/app.js\"]\nRUN --mount=type=bind,source=dist,target=/d ls";
    insta::assert_snapshot!(with_dockerfile(lines).seaway(&["check"]));
}

#[test]
fn sources_that_are_not_there_may_still_be_made() {
    let world = with_dockerfile("COPY scr/app.py srcs /src/");
    insta::assert_snapshot!(world.seaway(&["check"]));
    let push = world.seaway(&["push"]);
    assert_eq!(push.code, Some(1), "{push}");
    assert!(push.stderr.contains("nothing was contacted (exit 1)"), "{push}");
}

#[test]
fn instructions_that_are_mistyped() {
    let world =
        with_dockerfile("COPPY src /src\nenvv A=1\nRUN <<EOF\nCOPPY\nEOF\nRUN a \\\n# why\n  CPOY \\\n\n  b\nrunn c\n");
    insta::assert_snapshot!(world.seaway(&["check"]));
    for (first, lines) in [("# syntax=acme/frontend:1\n", "COPPY a b"), ("", "ONBUILD COPY src /src\nINCLUDE x")] {
        let world = with_dockerfile("").file("web/Dockerfile", format!("{first}FROM debian:12\n{lines}\n"));
        let run = world.seaway(&["check"]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "a builder may know it: {run}");
    }
}

#[test]
fn a_dockerignore_that_cannot_be_understood() {
    let world = with_dockerfile("COPY src /src").file("web/.dockerignore", "dist\n  [a-\n");
    insta::assert_snapshot!(world.seaway(&["check"]));
}

#[test]
fn a_copy_that_takes_git_is_a_warning() {
    let world = with_dockerfile("COPY . /app").file("web/.git/HEAD", "ref: refs/heads/main\n");
    insta::assert_snapshot!(world.seaway(&["check"]));
    for lines in ["COPY src /src", "COPY --from=0 . /app", "RUN --mount=type=cache,target=/c make"] {
        let quiet = with_dockerfile(lines).file("web/.git/HEAD", "").seaway(&["check"]);
        assert_eq!(quiet.stderr, "", "{lines}");
    }
    let ignored =
        with_dockerfile("COPY . /app").file("web/.git/HEAD", "").file("web/Dockerfile.dockerignore", ".git\n");
    assert_eq!(ignored.seaway(&["check"]).stderr, "");
}

#[test]
fn what_only_a_builder_knows_is_left_to_it() {
    let lines = "ARG DIR=gone\nCOPY $DIR *.txt gone? /x/\nCOPY --from=debian:12 /gone /x\nCOPY <<EOF /x\nCOPY gone x\nEOF\nADD https://example.com/gone /x";
    let run = with_dockerfile(lines).seaway(&["check"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run}");
}

#[test]
fn mistakes_in_images_made_of_files_are_shown() {
    let deploy = "\
name: x
images:
  gone: { from: debian:12, copy: { ./no-such-file: /x } }
  relative: { from: debian:12, copy: { ./deploy.yml: usr/bin/x } }
  mode: { from: debian:12, copy: { deploy.yml: { to: /x, chmod: \"999\", owner: me } } }
  bare: { war: target/a.war }
  both: { from: debian:12, build: . }
  other: { mirror: redis:7, copy: { ./a: /b }, root: /x }
  base: { from: \"Debian!\", expose: [http], workdir: here }
  amd: { from: debian:12, platforms: [linux/amd46] }
  x86: { from: debian:12, platforms: [linux/x86_64] }
  system: { from: debian:12, platforms: [lunix/arm64] }
  only: { from: debian:12, platforms: [amd64] }
";
    insta::assert_snapshot!(check(deploy));
}

#[test]
fn a_link_that_leads_nowhere_and_a_folder_in_the_place_of_a_file() {
    let world =
        World::with_deploy("name: x\nregistry: r\nimages: { web: ./web, api: ./api, git: \"https://github.com/acme/shop.git#main\", lay: { layout: ./out } }\n")
            .file("api/Dockerfile/x", "");
    for (target, link) in [("real", "web"), ("built.tar", "out")] {
        std::os::unix::fs::symlink(target, world.path().join(link)).expect("a link");
    }
    insta::assert_snapshot!(world.seaway(&["check"]));
}

#[test]
fn references_and_registries_that_are_written_as_in_a_browser() {
    let deploy = "\
name: x
registry: registry.digitalocean.com/shop
images:
  cache: { mirror: \"https://docker.io/library/redis:7\" }
  tag: { mirror: \"redis:7-x/alpine\" }
";
    insta::assert_snapshot!(check(deploy));
    let run = check("name: x\nregistry: https://ghcr.io/acme/shop\n");
    assert!(run.stderr.contains("`registry: { host: \"ghcr.io\", repository: acme/shop }`"), "{run}");
}

#[test]
fn an_age_that_is_none() {
    insta::assert_snapshot!(check(
        "name: todo\nregistry: r\nimages: { web: { build: { context: ., max_age: 7 days } } }\n"
    ));
    let run = World::new().seaway(&["push", "--max-age", "soon"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("an age is a number and a unit"), "{run}");
}
