//! Images that deploy.yml describes by their files: made without a builder, pulled, and run.

use crate::common::{Project, output, succeed};
use serde_json::Value;
use std::process::Command;

/// A WAR with a page, one that the server compiles, and a servlet's place, written by the `jar`-less means of every
/// machine: Python's zip.
fn write_war(project: &Project, page: &str) {
    let script = "import sys, zipfile, time\n\
        with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as war:\n\
        \x20   for name, text in [('META-INF/MANIFEST.MF', 'Manifest-Version: 1.0\\n'), ('index.html', sys.argv[2]),\n\
        \x20                      ('sum.jsp', '<%= \"compiled: \" + 6 * 7 %>'),\n\
        \x20                      ('WEB-INF/web.xml', '<web-app/>'), ('WEB-INF/lib/empty-1.0.jar', 'PK\\x05\\x06' + 18 * '\\0')]:\n\
        \x20       war.writestr(zipfile.ZipInfo(name, time.localtime()[:6]), text)\n";
    let mut python = Command::new("python3");
    succeed(python.args(["-c", script]).arg(project.file("portal.war")).arg(page));
}

/// Pushes and returns the only image of the result.
fn push(project: &Project) -> Value {
    let run = project.run(&["push", "--output", "json"]).exits(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("JSON");
    result["images"][0].clone()
}

#[test]
fn a_war_is_exploded_onto_tomcat_and_answers() {
    let mut project = Project::new("war");
    succeed(project.sandbox.command().args(["image", "tomcat:10.1-jre17"]));
    let host = project.sandbox.variable("DOCKER_HOST").to_owned();
    project.set("DOCKER_HOST", "unix:///no/engine.sock").set("BUILDKIT_HOST", "");
    project.write(
        "deploy.yml",
        "name: war\nregistry: todo-app-registry\nimages:\n  war-portal: { war: portal.war, from: \"tomcat:10.1-jre17\" }\n",
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time after 1970");
    let page = format!("42 says the portal of {}", now.as_nanos());
    write_war(&project, &page);
    let first = push(&project);
    assert_eq!(first["state"], "pushed", "{first:#}");
    write_war(&project, &page);
    assert_eq!(push(&project)["state"], "reused", "times in the archive are no inputs");
    write_war(&project, &page.replace("says", "said"));
    let second = push(&project);
    assert!(second["bytes_sent"].as_u64().expect("bytes") < 20_000, "only the resources are new: {second:#}");

    // The Engine runs what was pushed; a docker-archive is a way into it that needs no login of the Engine's.
    let digest = second["digest"].as_str().expect("a digest");
    let image = format!("registry.digitalocean.com/todo-app-registry/war-portal@{digest}");
    let pulled = crate::common::pull(project.sandbox, &image);
    let source = format!("dir:{}", pulled.folder.path().display());
    let target = "docker-daemon:seaway-test-war:test";
    succeed(Command::new("skopeo").args(["copy", "--quiet", "--dest-daemon-host", &host, &source, target]));
    let docker = |arguments: &[&str]| {
        let mut docker = Command::new("/usr/bin/docker");
        docker.env("DOCKER_HOST", &host).args(arguments);
        docker
    };
    let id = succeed(&mut docker(&["run", "--detach", "--network", "host", "seaway-test-war:test"]));
    let id = id.trim();
    let script = "for i in $(seq 60); do exec 3<>/dev/tcp/127.0.0.1/8080 && break; sleep 1; done 2>/dev/null; \
                  for page in / /sum.jsp; do exec 3<>/dev/tcp/127.0.0.1/8080; \
                  printf \"GET $page HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3; done";
    let answer = output(&mut docker(&["exec", id, "bash", "-c", script]));
    let log = output(&mut docker(&["logs", id]));
    output(&mut docker(&["rm", "--force", id]));
    output(&mut docker(&["image", "rm", "--force", "seaway-test-war:test"]));
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    for told in ["42 said the portal", "compiled: 42"] {
        assert!(text.contains(told), "{text}\n{}", String::from_utf8_lossy(&log.stdout));
    }
}
