use super::*;
use crate::docker::file_digest::STRETCH;
use crate::registry::tests::client;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// Doors to nothing but registries.
fn doors() -> ImageDoors {
    ImageDoors { registry: client(), builder: docker::Builder::default(), account: None }
}

/// An entry that copies this.
fn entry(source: PathBuf) -> Assembly {
    Assembly {
        copy: vec![FileCopy { source, to: "/srv/".to_owned(), chown: None, chmod: None }],
        ..Assembly::default()
    }
}

/// The key of an entry that copies this.
async fn key_of(source: &Path) -> String {
    content_key(&entry(source.to_owned()), Compression::default(), &doors()).await.unwrap()
}

#[tokio::test]
async fn each_byte_of_a_long_file_counts_in_whichever_stretch_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("application.bin");
    let stretch = usize::try_from(STRETCH).unwrap();
    let mut content = vec![7; 2 * stretch + 1];
    fs::write(&path, &content).unwrap();
    let mut keys = vec![key_of(&path).await];
    for at in [0, stretch - 1, stretch, 2 * stretch - 1, 2 * stretch] {
        content[at] = 8;
        fs::write(&path, &content).unwrap();
        keys.push(key_of(&path).await);
    }
    content.pop();
    fs::write(&path, &content).unwrap();
    keys.push(key_of(&path).await);
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

#[tokio::test]
async fn stretches_do_not_change_places() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("application.bin");
    let stretch = usize::try_from(STRETCH).unwrap();
    let (first, second) = (vec![1; stretch], vec![2; stretch]);
    fs::write(&path, [&first[..], &second[..]].concat()).unwrap();
    let one = key_of(&path).await;
    fs::write(&path, [&second[..], &first[..]].concat()).unwrap();
    assert_ne!(key_of(&path).await, one);
}

#[tokio::test]
async fn names_modes_and_links_count_and_times_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app");
    fs::create_dir(&path).unwrap();
    let run = path.join("run");
    fs::write(&run, "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("run", path.join("start")).unwrap();
    let first = key_of(&path).await;
    fs::File::options().write(true).open(&run).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(key_of(&path).await, first, "its time");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    let with_mode = key_of(&path).await;
    assert_ne!(with_mode, first, "its mode");
    fs::remove_file(path.join("start")).unwrap();
    std::os::unix::fs::symlink("./run", path.join("start")).unwrap();
    let with_link = key_of(&path).await;
    assert_ne!(with_link, with_mode, "where a link leads");
    fs::rename(&run, path.join("walk")).unwrap();
    assert_ne!(key_of(&path).await, with_link, "its name");
}

#[tokio::test]
async fn two_names_of_one_file_are_not_two_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a"), "x").unwrap();
    fs::hard_link(path.join("a"), path.join("b")).unwrap();
    let linked = key_of(&path).await;
    fs::remove_file(path.join("b")).unwrap();
    fs::copy(path.join("a"), path.join("b")).unwrap();
    assert_ne!(key_of(&path).await, linked);
}

#[tokio::test]
async fn what_the_history_names_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("dist"), folder.path().join("build"));
    for path in [&one, &other] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("a"), "x").unwrap();
    }
    assert_ne!(key_of(&one).await, key_of(&other).await);
}

#[tokio::test]
async fn the_same_bytes_packed_in_another_way_are_another_member() {
    let folder = tempfile::tempdir().unwrap();
    let war = |name: &str, archive: &[u8]| {
        fs::create_dir_all(folder.path().join(name)).unwrap();
        let path = folder.path().join(name).join("app.war");
        fs::write(&path, archive).unwrap();
        Assembly { war: Some(War { path, root: String::new() }), ..Assembly::default() }
    };
    // The second is packed; the first has the same bytes, and says that they are its content.
    let packed = zip::tests::zip(&[("a", b""), ("b", b"content, content, content")]);
    let mut stored = packed.clone();
    let starts = |archive: &[u8], start: &[u8]| {
        archive.windows(4).rposition(|bytes| bytes == start).expect("a header of the second member")
    };
    for (start, method) in [(&b"PK\x03\x04"[..], 8), (b"PK\x01\x02", 10)] {
        let at = starts(&stored, start) + method;
        assert_eq!(stored[at], 8, "it is packed");
        stored[at] = 0;
    }
    let key =
        |assembly: Assembly| async move { content_key(&assembly, Compression::default(), &doors()).await.unwrap() };
    assert_ne!(key(war("packed", &packed)).await, key(war("stored", &stored)).await);
}

#[tokio::test]
async fn a_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let failure = content_key(&entry(pipe), Compression::default(), &doors()).await.unwrap_err();
    assert_eq!(failure.messages[1], "it is neither a file nor a folder");
}

#[tokio::test]
async fn a_war_that_is_none_was_made_wrongly_and_says_how_to_make_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.war");
    let whole = zip::tests::zip(&[("a", b"one"), ("b", b"two")]);
    for content in [&b""[..], b"no ZIP at all, and long enough for one", &whole[..whole.len() - 30]] {
        fs::write(&path, content).unwrap();
        let entry = Assembly { war: Some(War { path: path.clone(), root: String::new() }), ..Assembly::default() };
        let failure = content_key(&entry, Compression::default(), &doors()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Application, "{failure}");
        assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("mvn package")), "{failure:?}");
    }
}
