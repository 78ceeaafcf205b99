//! The upper part of a Dockerfile laid on what `BuildKit` makes of its lower part equals what `BuildKit` makes of the whole.

use super::cases::Item::{Archive, File, Folder, Link};
use super::cases::{A, Case, Item, TREE, UNABLE};
use super::flat::Image;
use super::{build_with_buildkit, buildctl, compare, with_each, write};
use crate::common::{Docker, Project, copy_out};
use serde_json::Value;
use std::fmt::Write as _;

/// A Dockerfile in which something has to be run.
struct Laid {
    /// A word for it.
    name: &'static str,
    /// Its text.
    dockerfile: &'static str,
    /// The context.
    items: &'static [Item],
    /// The target.
    target: Option<&'static str>,
    /// So many instructions are laid on what was built; with none, all of it is built.
    last: usize,
}

impl Laid {
    /// One without a target of its own.
    const fn new(name: &'static str, last: usize, dockerfile: &'static str, items: &'static [Item]) -> Self {
        Self { name, dockerfile, items, target: None, last }
    }

    /// The same with a target.
    const fn to(self, target: &'static str) -> Self {
        Self { target: Some(target), ..self }
    }

    /// It as the other cases are.
    fn case(&self) -> Case {
        Case { name: self.name, dockerfile: self.dockerfile, items: self.items, engine: UNABLE }
    }
}

/// An application and what it needs.
const APPLICATION: &[Item] = &[
    File("package.json", "{}\n", 0o644),
    File("src/main.js", "1\n", 0o644),
    File("src/tool", "2\n", 0o755),
    Link("src/link", "main.js"),
    Folder("empty", 0o750),
    File(".dockerignore", "*.log\nsecret/*\n!secret/public\nDockerfile\n", 0o644),
    File("a.log", "3\n", 0o644),
    File("secret/key", "4\n", 0o600),
    File("secret/public", "5\n", 0o644),
];

/// All of them.
#[rustfmt::skip]
const CASES: &[Laid] = &[
    Laid::new("application", 2, "FROM busybox:1.35\nWORKDIR /app\nCOPY package.json .\nRUN mkdir modules && echo 1 > modules/one && chmod 700 modules\nCOPY . .\nCMD [\"cat\", \"src/main.js\"]\n", APPLICATION),
    Laid::new("folders-of-the-context-over-those-that-were-run", 1, "FROM busybox:1.35\nRUN mkdir -p /app/src/deep /app/empty && chmod 711 /app/src && chmod 1777 /app/empty && echo old > /app/src/main.js && ln -s tool /app/src/other\nCOPY . /app\n", APPLICATION),
    Laid::new("through-links-that-were-run", 3, "FROM busybox:1.35\nRUN mkdir -p /srv/real/deep && ln -s real /srv/app && ln -s ../srv/app/deep /etc/deep && ln -s /no/where /srv/lost\nCOPY a /srv/app/\nCOPY a /etc/deep/x/y\nCOPY a /srv/lost/z\n", &[A]),
    Laid::new("over-links-that-were-run", 2, "FROM busybox:1.35\nRUN mkdir /d && echo 1 > /d/file && ln -s file /d/link && ln -s none /d/dangling && ln /d/file /d/second\nCOPY a /d/link\nCOPY a /d/dangling\n", &[A]),
    Laid::new("users-that-were-run", 4, "FROM busybox:1.35\nRUN echo 'app:x:1234:1235::/:/bin/sh' >> /etc/passwd && echo 'team:x:77:' >> /etc/group\nCOPY --chown=app a /1/\nCOPY --chown=app:team tree /2\nCOPY --chown=5:team a /3\nCOPY --chown=app:9 a /4\n", TREE),
    Laid::new("user-and-folder", 5, "FROM busybox:1.35\nRUN echo 'app:x:1234:1235::/:/bin/sh' >> /etc/passwd && mkdir -m 750 /home/app && echo 1 > /home/app/x\nUSER app\nWORKDIR /home/app/new/deep\nCOPY a .\nCOPY --chown=app a ../b/\nWORKDIR ../later\n", &[A]),
    Laid::new("folder-that-was-run", 2, "FROM busybox:1.35\nRUN mkdir -p /w/v && chmod 700 /w/v\nWORKDIR /w/v\nCOPY a x/\n", &[A]),
    Laid::new("folder-that-hands-its-group-on", 7, "FROM busybox:1.35\nRUN mkdir /w && chgrp 9 /w && chmod 2775 /w\nCOPY a /w/\nCOPY a /w/x/y\nCOPY tree /w/tree\nCOPY --chown=5 a /w/own/\nCOPY --chmod=700 a /w/mode/\nWORKDIR /w/z/deep\nCOPY --link a /w/link/\n", TREE),
    Laid::new("arguments-and-variables", 5, "ARG TOP=top OTHER=other\nFROM busybox:1.35\nARG TOP\nENV A=a B=$TOP\nARG C=${A}c D\nARG A=argument\nRUN : > /was-run\nARG OTHER\nENV E=$A-$B-$C-${D:-d}-$OTHER-$TOP-$PATH\nLABEL e=$E a=$A\nCOPY a /$C/$TOP/\nENV B=2\n", &[A]),
    Laid::new("variables-of-the-base", 2, "FROM redis:7\nARG V=$REDIS_VERSION\nRUN : > /was-run\nCOPY a /$V/\nLABEL v=$V-$REDIS_VERSION\n", &[A]),
    Laid::new("files-of-a-stage", 3, "FROM busybox:1.35 AS build\nCOPY a /a\nRUN cat /a > /b && chmod 4755 /b && mkdir /out && ln -s /b /out/l\nFROM busybox:1.35\nENV X=1\nCOPY --from=build /b /out /bin/\nCOPY a /bin/l\nCOPY a /bin/new/\nENTRYPOINT [\"/bin/b\"]\n", &[A]),
    Laid::new("target", 2, "FROM busybox:1.35 AS first\nRUN : > /first\nFROM busybox:1.35 AS wanted\nRUN : > /wanted\nCOPY a /x\nENV W=1\nFROM wanted AS last\nRUN : > /last\nCOPY a /y\n", &[A]).to("wanted"),
    Laid::new("stage-on-a-stage", 5, "FROM busybox:1.35 AS base\nARG X=1\nENV Y=2\nCMD [\"base\"]\nRUN mkdir /m && chmod 700 /m\nCOPY a /m/a\nARG X=3\nFROM busybox:1.35 AS other\nRUN : > /other\nFROM base AS app\nCOPY a /m/$X$Y\nENTRYPOINT [\"e\"]\nLABEL x=$X\nFROM other\nCOPY a /x\n", &[A]).to("app"),
    Laid::new("stage-on-scratch", 2, "FROM busybox:1.35 AS build\nRUN mkdir -p /o/etc && chmod 711 /o/etc && echo 'u:x:3:4:::' > /o/etc/passwd\nFROM scratch\nCOPY --from=build /o /\nCOPY --chown=u a /etc/a\nWORKDIR /v\n", &[A]),
    Laid::new("over-files-that-were-run", 3, "FROM busybox:1.35\nRUN echo long before > /f && chmod 600 /f && chown 3:4 /f && mkdir -p /d/sub && echo 1 > /d/sub/two\nCOPY a /f\nCOPY --chown=8 a /d/sub/two\nCOPY --chmod=711 a /d/sub/three\n", &[A]),
    Laid::new("where-something-was-removed", 2, "FROM busybox:1.35\nRUN rm -r /home /tmp && mkdir /home && rm /etc/group\nCOPY a /tmp/x/\nCOPY tree /home\n", TREE),
    Laid::new("archive-before", 2, "FROM busybox:1.35\nRUN mkdir /x\nADD files.tar /x/\nCOPY a /x/sub/\nADD a /x/added\n", &[A, Archive("files.tar", "sub/inside")]),
    Laid::new("archive-among-the-files", 2, "FROM busybox:1.35\nRUN mkdir /x\nADD dir /x/\nCOPY dir/plain.tar /y\n", &[Archive("dir/plain.tar", "inside"), A]),
    Laid::new("settings", 10, "FROM redis:7\nSHELL [\"/bin/sh\", \"-ec\"]\nVOLUME /data/v\nRUN mkdir -p /data/v\nCOPY a /data/v/\nCMD a $B\nENTRYPOINT x y\nEXPOSE 80\nVOLUME /more\nUSER 7\nSTOPSIGNAL SIGINT\nHEALTHCHECK CMD z\nLABEL l=1\nMAINTAINER me\n", &[A]),
    Laid::new("command-before", 2, "FROM busybox:1.35\nCMD [\"c\"]\nRUN : > /was-run\nCOPY a /\nENTRYPOINT [\"e\"]\n", &[A]),
    Laid::new("here-documents", 3, "FROM busybox:1.35\nENV N=1\nRUN <<END\nmkdir /here\necho COPY a /no > /here/run\nEND\nCOPY <<ONE <<'TWO' /here/\n$N\nONE\n$N\nTWO\nCOPY <<RUN /here/\nRUN x\nRUN\nLABEL a=b\n", &[]),
    Laid::new("links-and-modes", 4, "FROM debian:bookworm-slim\nRUN mkdir -m 700 /opt/mine\nCOPY --link a /opt/mine/\nCOPY --link --chown=1:2 tree /bin/t\nADD --chmod=u=rwX,go= tree /opt/mine/t\nCOPY --chown=www-data:mail a /var/run/x/\n", TREE),
    Laid::new("several-runs", 2, "FROM busybox:1.35\nRUN mkdir /one\nCOPY a /one/a\nRUN cat /one/a > /one/b\nWORKDIR /one/two\nCOPY a a\n", &[A]),
    // What BuildKit makes of a group that nobody has is for it to say.
    Laid::new("a-group-that-nobody-has", 0, "FROM busybox:1.35\nRUN echo 'app:x:1234:1235::/:/bin/sh' >> /etc/passwd\nCOPY --chown=app:nobody-has a /x\n", &[A]),
    Laid::new("accounts-that-are-copied", 0, "FROM busybox:1.35\nRUN : > /was-run\nCOPY passwd /etc/\nCOPY --chown=copied a /x\n", &[A, File("passwd", "copied:x:8:9:::\n", 0o644)]),
    Laid::new("nothing-copied-after", 0, "FROM busybox:1.35\nCOPY a /\nRUN : > /was-run\nCMD [\"x\"]\n", &[A]),
];

/// Has Seaway push all cases in one run; what it says of each image.
fn push(project: &mut Project) -> Vec<Value> {
    let mut deploy = String::from("name: laid\nregistry: todo-app-registry\nimages:\n");
    for Laid { name, target, .. } in CASES {
        let target = target.map(|target| format!(", target: {target}")).unwrap_or_default();
        writeln!(deploy, "  laid-{name}: {{ build: {{ context: ./{name}{target} }} }}").expect("memory");
    }
    project.write("deploy.yml", &deploy);
    let run = project.run(&["push", "--no-cache", "--output", "json"]).exits(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let image = |case: &Laid| {
        let mut images = result["images"].as_array().expect("images").iter();
        images.find(|image| image["name"] == format!("laid-{}", case.name)).expect("an image").clone()
    };
    CASES.iter().map(image).collect()
}

/// The name of an image in the registry.
fn reference(image: &Value) -> String {
    let text = |name: &str| image[name].as_str().expect("a text");
    format!("registry.digitalocean.com/todo-app-registry/{}@{}", text("name"), text("digest"))
}

/// What differs between two histories: what the builder has done is told as it tells it, the rest in as many words.
fn histories(case: &Laid, ours: &Image, theirs: &Image) -> Vec<String> {
    let lower = theirs.history.len() - case.last;
    if ours.history.len() == theirs.history.len() && ours.history[..lower] == theirs.history[..lower] {
        return Vec::new();
    }
    vec![format!("history: {:#?} <> {:#?}", ours.history, theirs.history)]
}

#[test]
fn what_is_laid_on_a_build_equals_what_is_built() {
    let mut project = Project::new("laid");
    for case in CASES {
        write(&case.case(), &project.file(case.name));
    }
    buildctl();
    // BuildKit builds first: what it has built for itself is what the lower parts find in its cache.
    let built = with_each(CASES, |_, case| {
        let options: Vec<String> = case.target.iter().map(|target| format!("target={target}")).collect();
        build_with_buildkit(&project, &case.case(), &options)
    });
    let images = push(&mut project);
    let wrong = with_each(CASES, |at, case| {
        let ours = Image::read(copy_out(project.sandbox, &reference(&images[at])).path());
        let mut wrong = compare(&ours, &built[at]);
        wrong.extend(built[at].iter().flat_map(|theirs| histories(case, &ours, theirs)));
        let reason = images[at]["source"]["reason"].as_str().expect("a reason");
        let wanted = match case.last {
            0 => "layers straight into the registry".to_owned(),
            1 => "up to the last instruction,".to_owned(),
            last => format!("up to the last {last} instructions,"),
        };
        if !reason.contains(&wanted) {
            wrong.push(reason.to_owned());
        }
        if wrong.is_empty() { String::new() } else { format!("{}:\n  {}\n", case.name, wrong.join("\n  ")) }
    });
    assert!(wrong.concat().is_empty(), "ours <> theirs\n{}", wrong.concat());
    let docker = Docker::debian(project.sandbox);
    let image = reference(&images[0]).replace("registry.digitalocean.com", &docker.registry);
    let said = docker.run(&["run", "--rm", "--network=none", &image]);
    assert_eq!(said, "1\n");
}
