//! Images from wherever they are made: what is pushed is what was there, others can pull it, and it runs.

use crate::common::{Docker, Project, pull, small, succeed};
use crate::failures::reads_as;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// The image in the JSON result of a run, of which it is the only one.
pub(crate) fn only_image(stdout: &str) -> Value {
    let result: Value = serde_json::from_str(stdout).expect("JSON");
    assert_eq!(result["images"].as_array().map(Vec::len), Some(1), "{result:#}");
    result["images"][0].clone()
}

/// Says in deploy.yml where the image comes from.
pub(crate) fn from(project: &Project, now: &str, source: &str) {
    let name = &project.namespace;
    project.replace("deploy.yml", &format!("  {name}: {now}\n"), &format!("  {name}: {source}\n"));
}

#[test]
fn what_other_tools_made_is_pushed_as_it_is_and_runs() {
    let project = small("sources");
    let (sandbox, name) = (project.sandbox, project.namespace.as_str());
    let docker = Docker::debian(sandbox);
    project.renew("web/www/index.html");
    let context = project.file("web");
    docker.run(&["build", "--quiet", "--tag", "sources:dev", context.to_str().expect("a path")]);

    // Out of the Engine, whose storage lies open here, and into the cluster: the nodes' containerd pulls it.
    from(&project, "./web", "{ engine: \"sources:dev\" }");
    let run = project.run(&["up", "--output", "json"]).exits(0);
    let image = only_image(&run.stdout);
    assert_eq!((&image["state"], &image["source"]["kind"]), (&"pushed".into(), &"docker-storage".into()), "{image:#}");
    let digest = image["digest"].as_str().expect("a digest");
    let production = format!("registry.digitalocean.com/todo-app-registry/{name}@{digest}");
    let pulled = pull(sandbox, &production);
    assert_eq!(pulled.digests, [digest, digest]);

    // Docker pulls it too, and it runs there.
    let reference = format!("{}/todo-app-registry/{name}@{digest}", docker.registry);
    docker.run(&["image", "rm", "--force", "sources:dev"]);
    docker.run(&["pull", "--quiet", &reference]);
    let page = docker.run(&["run", "--rm", "--network=none", &reference, "cat", "/www/index.html"]);
    assert!(page.contains("hello from sources"), "{page}");

    // The same image as an archive of Docker's is the same image in the registry.
    let archive = project.file("saved.tar");
    docker.run(&["save", "--output", archive.to_str().expect("a path"), &reference]);
    from(&project, "{ engine: \"sources:dev\" }", "{ layout: saved.tar }");
    let run = project.run(&["push", "--output", "json"]).exits(0);
    let saved = only_image(&run.stdout);
    assert_eq!((&saved["state"], &saved["digest"]), (&"reused".into(), &image["digest"]), "{saved:#}");

    // As an OCI layout it keeps its digest in another repository.
    let layout = format!("oci:{}:latest", project.file("layout").display());
    succeed(Command::new("skopeo").args([
        "copy",
        "--quiet",
        &format!("dir:{}", pulled.folder.path().display()),
        &layout,
    ]));
    from(&project, "{ layout: saved.tar }", "{ layout: layout }");
    project.replace("deploy.yml", &format!("  {name}: {{"), &format!("  {name}-other: {{"));
    let run = project.run(&["push", "--output", "json"]).exits(0);
    let other = only_image(&run.stdout);
    assert_eq!((&other["state"], &other["digest"]), (&"pushed".into(), &image["digest"]), "{other:#}");
    assert_eq!(other["source"]["kind"], "layout");
    assert_eq!(pull(sandbox, &production.replace(name, &format!("{name}-other"))).digests, [digest, digest]);
}

#[test]
fn a_broken_archive_tags_nothing() {
    let project = small("sources-broken");
    let layout = format!("oci:{}:latest", project.file("layout").display());
    let empty = project.path().join("empty");
    std::fs::create_dir(&empty).expect("a folder");
    succeed(Command::new("skopeo").args(["copy", "--quiet", &docker_archive(&empty), &layout]));
    let blobs = project.file("layout/blobs/sha256");
    let mut files: Vec<_> = std::fs::read_dir(blobs).expect("blobs").map(|file| file.expect("a file").path()).collect();
    files.sort_by_key(|file| file.metadata().expect("a file").len());
    let layer = files.last().expect("a layer");
    let mut bytes = std::fs::read(layer).expect("a layer");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(layer, bytes).expect("a layer");
    from(&project, "./web", "{ layout: layout }");
    let run = project.run(&["push"]).exits(1);
    reads_as("layer_that_is_not_what_its_digest_says", &project, &run);

    // An archive that ends in its middle, one whose middle was overwritten, and a file that is none.
    let whole = std::fs::read(empty.join("archive.tar")).expect("an archive");
    let middle = whole.len() / 2;
    let cut = whole[..middle].to_vec();
    let overwritten = [&whole[..512], &[0x55; 512][..], &whole[1024..]].concat();
    let mut entry = "layout".to_owned();
    for (name, bytes) in [("cut", cut), ("overwritten", overwritten), ("words", b"no archive\n".repeat(100))] {
        std::fs::write(project.file(&format!("{name}.tar")), bytes).expect("a file");
        from(&project, &format!("{{ layout: {entry} }}"), &format!("{{ layout: {name}.tar }}"));
        entry = format!("{name}.tar");
        let run = project.run(&["push"]).exits(1);
        reads_as(&format!("archive_{name}"), &project, &run);
    }
    from(&project, &format!("{{ layout: {entry} }}"), "{ layout: layout }");
    let run = project.run(&["plan"]).exits(0);
    assert!(run.stdout.contains("push sources-broken (not in the registry yet)"), "{}", run.stdout);
}

/// An archive of one layer, as `docker save` writes it.
fn docker_archive(folder: &Path) -> String {
    let (layer, archive) = (folder.join("layer.tar"), folder.join("archive.tar"));
    let tar = |arguments: &[&str]| succeed(Command::new("tar").current_dir(folder).args(arguments));
    std::fs::write(folder.join("file"), "words and more words\n".repeat(5000)).expect("a file");
    tar(&["--create", "--file=layer.tar", "file"]);
    let sum = succeed(Command::new("sha256sum").arg(&layer));
    let diff_id = format!("sha256:{}", sum.split_whitespace().next().expect("a sum"));
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("a file");
    let list = r#"[{"Config":"config.json","RepoTags":["a:1"],"Layers":["layer.tar"]}]"#;
    std::fs::write(folder.join("manifest.json"), list).expect("a file");
    tar(&["--create", "--file=archive.tar", "layer.tar", "config.json", "manifest.json"]);
    format!("docker-archive:{}", archive.display())
}
