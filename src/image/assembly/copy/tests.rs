//! Tests of `COPY`. The same cases, and more, are compared with what a builder makes in `tests/end_to_end`.

use super::*;
use crate::image::assembly::tree::{Facts, Known, Whole};
use std::path::PathBuf;

/// A base with the links that Debian has.
fn debian() -> Known {
    let folder = |mode| Node::Folder(mode, 0, 0);
    let mut whole = Whole {
        passwd: "root:x:0:0::/:\napp:x:7:8::/:\n".to_owned(),
        group: "staff:x:50:\n".to_owned(),
        ..Whole::default()
    };
    for (path, node) in [
        ("usr", folder(0o755)),
        ("usr/bin", folder(0o755)),
        ("bin", Node::Link("usr/bin".to_owned())),
        ("tmp", folder(0o1777)),
        ("etc", folder(0o755)),
        ("etc/hosts", Node::File),
        ("srv", Node::Folder(0o750, 3, 4)),
    ] {
        whole.add(path, node);
    }
    Known::All(whole)
}

/// Sources: files, a folder with a link and two names of one file.
fn files() -> Files {
    let mut files = Files::default();
    let file = |name: &str, mode, identity| {
        let content = Content::Path(PathBuf::from(name));
        Item { kind: Kind::File { content, size: 1, identity }, mode }
    };
    files.add("a", file("a", 0o644, None));
    files.add("tool", file("tool", 0o4755, None));
    files.add("dir", Item { kind: Kind::Folder, mode: 0o700 });
    files.add("dir/one", file("dir/one", 0o600, Some((1, 1))));
    files.add("dir/two", file("dir/two", 0o600, Some((1, 1))));
    files.add("dir/sub", Item { kind: Kind::Folder, mode: 0o711 });
    files.add("dir/to", Item { kind: Kind::Link("one".to_owned()), mode: 0o777 });
    files.add("to-a", Item { kind: Kind::Link("a".to_owned()), mode: 0o777 });
    files
}

/// A copy of these sources.
fn copy(sources: &[&str], dest: &str) -> Copy {
    let sources = sources.iter().map(|source| (*source).to_owned()).collect();
    Copy { sources, dest: dest.to_owned(), texts: Vec::new(), owner: None, mode: None, link: false }
}

/// The layer of some actions as lines: `path mode user:group what`.
fn lines(known: &Known, actions: &[Action]) -> Result<Vec<String>, Trouble> {
    let (base, files) = (Base::new(known), files());
    let mut site = Site::new(&base, &files);
    actions.iter().try_for_each(|action| site.act(action))?;
    let layer = site.take_layer()?;
    let line = |(path, entry): (String, &Entry)| {
        let what = match &entry.body {
            Body::Folder => "folder".to_owned(),
            Body::Link(target) => format!("-> {target}"),
            Body::File { content: Content::Path(path), same: None, .. } => format!("= {}", path.display()),
            Body::File { content: Content::Path(path), same: Some(n), .. } => format!("= {} #{n}", path.display()),
            Body::File { .. } => "other".to_owned(),
        };
        format!("{path} {:o} {}:{} {what}", entry.mode, entry.owner.user, entry.owner.group)
    };
    Ok(layer.entries().map(line).collect())
}

/// The layer of one copy.
fn one(sources: &[&str], dest: &str) -> Vec<String> {
    lines(&debian(), &[Action::Copy(copy(sources, dest))]).unwrap()
}

#[test]
fn a_file_goes_to_a_path_or_into_a_folder() {
    assert_eq!(one(&["a"], "/new/x"), ["new 755 0:0 folder", "new/x 644 0:0 = a"]);
    assert_eq!(one(&["a"], "/new/"), ["new 755 0:0 folder", "new/a 644 0:0 = a"]);
    assert_eq!(one(&["a"], "/tmp"), ["tmp 1777 0:0 folder", "tmp/a 644 0:0 = a"]);
    assert_eq!(one(&["a", "tool"], "/srv/"), ["srv 750 3:4 folder", "srv/a 644 0:0 = a", "srv/tool 4755 0:0 = tool"]);
    assert_eq!(one(&["a"], "/etc/hosts")[1], "etc/hosts 644 0:0 = a");
}

#[test]
fn links_of_the_base_are_followed_and_those_of_sources_too() {
    assert_eq!(one(&["tool"], "/bin/x"), ["usr 755 0:0 folder", "usr/bin 755 0:0 folder", "usr/bin/x 4755 0:0 = tool"]);
    assert_eq!(one(&["to-a"], "/bin")[2], "usr/bin/to-a 644 0:0 = a");
}

#[test]
fn the_contents_of_a_folder_are_copied() {
    let wanted = [
        "x 755 0:0 folder",
        "x/one 600 0:0 = dir/one #1",
        "x/sub 711 0:0 folder",
        "x/to 777 0:0 -> one",
        "x/two 600 0:0 = dir/two #1",
    ];
    assert_eq!(one(&["dir"], "/x"), wanted);
    assert_eq!(one(&["dir/"], "/x/"), wanted);
    let into = one(&["dir"], "/srv");
    assert_eq!(into[0], "srv 750 3:4 folder", "what is there keeps its mode");
}

#[test]
fn folders_below_the_top_take_the_mode_of_the_source() {
    let known = debian();
    let mut first = copy(&["dir"], "/x");
    first.owner = Some(Account { user: "9".to_owned(), group: None });
    let done = lines(&known, &[Action::Copy(first), Action::Copy(copy(&["dir"], "/x"))]).unwrap();
    assert_eq!(done[0], "x 755 9:9 folder");
    assert_eq!(done[2], "x/sub 711 0:0 folder");
}

#[test]
fn modes_and_owners_are_set_on_everything() {
    let known = debian();
    let with = |user: &str, group: Option<&str>| {
        let owner = Some(Account { user: user.to_owned(), group: group.map(str::to_owned) });
        lines(
            &known,
            &[Action::Copy(Copy { owner, mode: Some(Mode::Octal(0o750)), ..copy(&["dir/to", "dir/sub"], "/x/") })],
        )
    };
    let done = with("7", None).unwrap();
    assert_eq!(done, ["x 750 7:7 folder", "x/to 750 7:7 = dir/one #1"]);
    assert_eq!(with("app", None).unwrap()[0], "x 750 7:8 folder");
    assert_eq!(with("app", Some("staff")).unwrap()[0], "x 750 7:50 folder");
    assert_eq!(with("1", Some("2")).unwrap()[0], "x 750 1:2 folder");
    assert_eq!(with("none", None).unwrap_err(), blocked("the base has no user `none`".to_owned()));
}

#[test]
fn files_of_the_instruction_come_after_the_sources() {
    let text = Text { name: "t".to_owned(), content: Bytes::from_static(b"hello") };
    let with = |sources: &[&str], dest: &str, mode: &str| {
        let copy = Copy { texts: vec![text.clone()], mode: Mode::parse(mode), ..copy(sources, dest) };
        lines(&debian(), &[Action::Copy(copy)]).unwrap()
    };
    assert_eq!(with(&["a"], "/x/", ""), ["x 755 0:0 folder", "x/a 644 0:0 = a", "x/t 644 0:0 other"]);
    assert_eq!(with(&[], "/x/y", "4711"), ["x 711 0:0 folder", "x/y 4711 0:0 other"]);
    assert_eq!(with(&[], "/x/y", "u+x"), ["x 755 0:0 folder", "x/y 744 0:0 other"]);
}

#[test]
fn names_are_not_looked_up_in_files_that_were_copied() {
    let known = debian();
    let named = |user: &str, group: Option<&str>| {
        let owner = Some(Account { user: user.to_owned(), group: group.map(str::to_owned) });
        Action::Copy(Copy { owner, ..copy(&["a"], "/x") })
    };
    let first = Action::Copy(copy(&["a"], "/etc/passwd"));
    let problem = "`app` is looked up in `/etc/passwd`, which was copied before".to_owned();
    assert_eq!(lines(&known, &[first.clone(), named("app", None)]).unwrap_err(), blocked(problem));
    assert!(lines(&known, &[first, named("7", Some("staff"))]).is_ok());
    assert!(lines(&known, &[named("4294967296", None)]).is_err(), "a number of 32 bits at most, else a name");
}

#[test]
fn a_working_folder_is_made() {
    let owner = Some(Account { user: "5".to_owned(), group: None });
    let done = lines(&debian(), &[Action::Folder { path: "/bin/a/b".to_owned(), owner }]).unwrap();
    assert_eq!(done[2..], ["usr/bin/a 755 5:5 folder", "usr/bin/a/b 755 5:5 folder"]);
    let nothing = lines(&debian(), &[Action::Folder { path: "/tmp".to_owned(), owner: None }]).unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn what_stands_in_the_way_is_said() {
    let fails = |sources: &[&str], dest: &str| lines(&debian(), &[Action::Copy(copy(sources, dest))]).unwrap_err();
    assert_eq!(fails(&["no"], "/x"), Trouble::Missing { source: "no".to_owned() });
    assert_eq!(fails(&["no/*"], "/x"), Trouble::Missing { source: "no/*".to_owned() });
    assert!(matches!(fails(&["dir"], "/etc/hosts"), Trouble::Blocked { .. }));
    assert!(matches!(fails(&["a"], "/etc/hosts/x"), Trouble::Blocked { .. }));
    assert!(one(&["no*"], "/x").is_empty(), "a pattern that matches nothing copies nothing");
}

#[test]
fn a_base_is_asked_only_for_what_matters() {
    let known = debian();
    let (base, files) = (Base::new(&known), files());
    let mut site = Site::new(&base, &files);
    site.act(&Action::Copy(copy(&["dir"], "/opt/app/"))).unwrap();
    site.take_layer().unwrap();
    drop(site);
    let facts = base.into_facts();
    assert_eq!(facts.paths.keys().collect::<Vec<_>>(), ["opt"]);
    assert_eq!(lines(&Known::Part(facts), &[Action::Copy(copy(&["a"], "/opt/other"))]).unwrap().len(), 2);
    let nothing = Known::Part(Facts::default());
    assert_eq!(lines(&nothing, &[Action::Copy(copy(&["a"], "/x"))]).unwrap_err(), Trouble::Unknown);
}

#[test]
fn a_folder_may_hand_its_group_on() {
    let Known::All(mut whole) = debian() else { panic!() };
    whole.add("srv", Node::Folder(0o2775, 3, 4));
    let known = Known::All(whole);
    let owned = Copy { owner: Some(Account { user: "7".to_owned(), group: None }), ..copy(&["a"], "/srv/own/") };
    let folder = Action::Folder { path: "/srv/x/y".to_owned(), owner: None };
    let actions = [folder, Action::Copy(copy(&["dir"], "/srv/d")), Action::Copy(owned)];
    let lines = lines(&known, &actions).unwrap();
    let folders: Vec<&str> = lines.iter().map(String::as_str).filter(|line| line.contains("folder")).collect();
    assert_eq!(
        folders,
        [
            "srv 2775 3:4 folder",
            "srv/d 2755 0:4 folder",
            "srv/d/sub 711 0:0 folder",
            "srv/own 2755 7:7 folder",
            "srv/x 2755 0:4 folder",
            "srv/x/y 2755 0:4 folder",
        ]
    );
}
