use super::*;
use crate::registry::tests::client;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// An entry that copies this.
fn entry(source: PathBuf) -> Assembly {
    Assembly {
        copy: vec![FileCopy { source, to: "/srv/".to_owned(), chown: None, chmod: None }],
        ..Assembly::default()
    }
}

/// The key of an entry that copies this.
async fn key_of(source: &Path) -> String {
    content_key(&entry(source.to_owned()), Compression::default(), &client()).await.unwrap()
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
