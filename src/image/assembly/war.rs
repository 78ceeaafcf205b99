//! A WAR file exploded into layers that change at different times: libraries, libraries that are not released yet, everything
//! else, classes. A changed class is then a layer of a few kilobytes.
//!
//! The division is that of jib (<https://github.com/GoogleContainerTools/jib>, its processor for exploded WAR files), but
//! every entry is kept, `META-INF` too.

use super::blueprint::Step;
use super::copy::{Action, Copy};
use super::source::{Content, Files, Item, Kind};
use super::zip::Member;
use std::collections::BTreeSet;

/// Where Tomcat has the application that answers at `/`.
pub(crate) const DEFAULT_ROOT: &str = "/usr/local/tomcat/webapps/ROOT";

/// The layers, in their order: names of folders in the listing, and what people read.
const PARTS: [(&str, &str); 4] = [
    ("dependencies", "libraries"),
    ("snapshots", "snapshot libraries"),
    ("resources", "resources"),
    ("classes", "classes"),
];

/// The position of the layer that a member belongs to.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "a class loader knows no `.CLASS`")]
fn part(name: &str) -> usize {
    let library = name.strip_prefix("WEB-INF/lib/").filter(|file| !file.is_empty());
    match library {
        Some(file) if file.contains("SNAPSHOT") => 1,
        Some(_) => 0,
        None if name.starts_with("WEB-INF/classes/") && name.ends_with(".class") => 3,
        None => 2,
    }
}

/// Lists the members below the names of their layers, and says how those are copied to the root of the application.
pub(crate) fn explode(members: &[Member], name: &str, root: &str, files: &mut Files) -> Result<Vec<Step>, String> {
    let mut used = BTreeSet::new();
    let full: BTreeSet<&str> = members.iter().flat_map(|member| folders(&member.name)).collect();
    for (number, member) in members.iter().enumerate() {
        let path = safe(&member.name)?;
        let is_folder = member.name.ends_with('/');
        if !is_folder && full.contains(path) {
            return Err(format!("the entry `{path}` is a file, and others lie in it as in a folder"));
        }
        // A folder with something in it comes with that: it belongs to no layer of its own.
        if path.is_empty() || (is_folder && full.contains(path)) {
            continue;
        }
        let at = part(&member.name);
        let kind = if is_folder {
            Kind::Folder
        } else {
            Kind::File { content: Content::Member(number), size: member.size, identity: None }
        };
        let mode = if is_folder { 0o755 } else { 0o644 };
        files.add(&format!("{}/{path}", PARTS[at].0), Item { kind, mode });
        used.insert(at);
    }
    let step = |at: &usize| {
        let (folder, what) = PARTS[*at];
        let (sources, dest) = (vec![folder.to_owned()], format!("{}/", root.trim_end_matches('/')));
        let action =
            Some(Action::Copy(Copy { sources, dest, texts: Vec::new(), owner: None, mode: None, link: false }));
        Step { line: 1, text: format!("WAR {name}: {what}"), action, unpacks: false }
    };
    Ok(used.iter().map(step).collect())
}

/// The folders above a path.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_end_matches('/');
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// A name that stays below the root, without a slash at its end.
fn safe(name: &str) -> Result<&str, String> {
    let path = name.trim_end_matches('/');
    if path.contains('\\') {
        let name = name.escape_debug();
        return Err(format!("the name of the entry `{name}` has a backslash, where an archive has slashes"));
    }
    let leads_out = path.starts_with('/') || path.contains('\0');
    if leads_out || path.split('/').any(|part| matches!(part, "" | "." | "..")) && !path.is_empty() {
        return Err(format!("the entry `{}` would not stay in its folder", name.escape_debug()));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::super::blueprint::draw;
    use super::super::tree::{Known, Whole};
    use super::super::zip;
    use super::*;
    use crate::image::config::Draft;
    use crate::model::Platform;
    use std::io::Cursor;

    /// The paths of each layer of a WAR.
    fn layers(files: &[(&str, &[u8])]) -> Result<Vec<(String, Vec<String>)>, String> {
        let members = zip::members(&mut Cursor::new(zip::tests::zip(files))).unwrap();
        let mut listed = Files::default();
        let steps = explode(&members, "portal.war", "/app", &mut listed)?;
        let known = Known::All(Whole::default());
        let drawn = draw(&steps, Draft::scratch(&Platform::default()), &known, &listed).unwrap();
        let layer = |(step, layer): &(usize, super::super::copy::Layer)| {
            let paths = layer.entries().map(|(path, entry)| format!("{path} {:o}", entry.mode)).collect();
            (steps[*step].text.clone(), paths)
        };
        Ok(drawn.layers.iter().map(layer).collect())
    }

    #[test]
    fn what_changes_together_is_a_layer() {
        let files: [(&str, &[u8]); 9] = [
            ("META-INF/", b""),
            ("META-INF/MANIFEST.MF", b"m"),
            ("WEB-INF/lib/a-1.0.jar", b"a"),
            ("WEB-INF/lib/b-1.0-SNAPSHOT.jar", b"b"),
            ("WEB-INF/classes/App.class", b"c"),
            ("WEB-INF/classes/app.properties", b"p"),
            ("WEB-INF/web.xml", b"w"),
            ("empty/", b""),
            ("index.html", b"i"),
        ];
        let layers = layers(&files).unwrap();
        let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "WAR portal.war: libraries",
                "WAR portal.war: snapshot libraries",
                "WAR portal.war: resources",
                "WAR portal.war: classes"
            ]
        );
        let wanted = ["app 755", "app/WEB-INF 755", "app/WEB-INF/lib 755", "app/WEB-INF/lib/a-1.0.jar 644"];
        assert_eq!(layers[0].1, wanted);
        let wanted = [
            "app 755",
            "app/META-INF 755",
            "app/META-INF/MANIFEST.MF 644",
            "app/WEB-INF 755",
            "app/WEB-INF/classes 755",
            "app/WEB-INF/classes/app.properties 644",
            "app/WEB-INF/web.xml 644",
            "app/empty 755",
            "app/index.html 644",
        ];
        assert_eq!(layers[2].1, wanted);
        assert_eq!(layers[3].1.last().unwrap(), "app/WEB-INF/classes/App.class 644");
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        for name in ["../x", "/etc/passwd", "a/../../x", "a//b", "./a", "a/.", "a\0b"] {
            let error = layers(&[(name, b"x")]).unwrap_err();
            assert!(error.contains("would not stay"), "{name}: {error}");
        }
        assert!(layers(&[("a\\b", b"x")]).unwrap_err().contains("backslash"));
    }

    #[test]
    fn a_file_that_is_a_folder_too_is_a_mistake() {
        for names in [["a", "a/b"], ["a/b", "a"]] {
            let error = layers(&names.map(|name| (name, &b"x"[..]))).unwrap_err();
            assert_eq!(error, "the entry `a` is a file, and others lie in it as in a folder");
        }
    }
}
