//! The rules of the house, each a test: which room may name which, what the pure rooms must not touch, and sizes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms and the rooms that each may name. A new arrow is an edit here, which somebody reviews.
const ROOMS: [(&str, &[&str]); 18] = [
    ("model", &[]),
    ("error", &[]),
    ("http", &["error", "model"]),
    // Doors: each names only the cellar and the http recipe. `image` holds the values that registries speak of.
    ("image", &["error", "model"]),
    ("registry", &["error", "http", "image", "model"]),
    ("docker", &["error", "http", "image", "model"]),
    ("kubernetes", &["error", "http", "model"]),
    ("github", &["error", "http", "model"]),
    ("digitalocean", &["error", "http", "model"]),
    // The corridor.
    ("config", &["error", "model"]),
    ("desired", &["config", "error", "model"]),
    ("plan", &["config", "desired", "error", "model"]),
    ("health", &["error", "model"]),
    ("clean", &["model"]),
    (
        "observe",
        &["config", "desired", "docker", "error", "execute", "image", "kubernetes", "model", "plan", "registry"],
    ),
    (
        "execute",
        &[
            "clean",
            "config",
            "desired",
            "digitalocean",
            "docker",
            "error",
            "health",
            "http",
            "image",
            "kubernetes",
            "model",
            "plan",
            "registry",
        ],
    ),
    // A report shows a plan, and a plan is made of desired things.
    ("report", &["clean", "config", "desired", "error", "execute", "github", "http", "model", "plan"]),
    (
        "cli",
        &[
            "clean",
            "config",
            "desired",
            "digitalocean",
            "docker",
            "error",
            "execute",
            "github",
            "health",
            "http",
            "image",
            "kubernetes",
            "model",
            "observe",
            "plan",
            "registry",
            "report",
        ],
    ),
];

/// Pure rooms, or pure files of a room that is not.
const PURE: [&str; 21] = [
    "src/clean",
    "src/config/fill",
    "src/config/manifests.rs",
    "src/config/node.rs",
    "src/config/overlay.rs",
    "src/config/raw",
    "src/config/references.rs",
    "src/config/scalar.rs",
    "src/config/source.rs",
    "src/config/texts.rs",
    "src/config/validate.rs",
    "src/config/variables.rs",
    "src/desired",
    "src/health",
    "src/image/annotations.rs",
    "src/image/manifest.rs",
    "src/image/provenance.rs",
    "src/image/purl.rs",
    "src/image/referrers.rs",
    "src/image/sbom",
    "src/plan",
];

/// What pure code must not name.
const IMPURE: [&str; 8] =
    ["tokio", "reqwest", "kube::Client", "std::fs", "std::env", "std::net", "Instant::now", "SystemTime::now"];

/// A source file.
struct Source {
    /// Its path from the package's root.
    path: PathBuf,
    /// Its text without comments, and without what only tests see.
    code: String,
    /// Its whole text.
    text: String,
}

impl Source {
    /// The room that it belongs to: the first folder, or the file, below `src`.
    fn room(&self) -> String {
        let name = self.path.components().nth(1).expect("a file below src").as_os_str();
        Path::new(name).file_stem().expect("a name").to_string_lossy().into_owned()
    }
}

/// Every file below a folder of the package.
fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every source file of the program; modules that only tests see are left out.
fn sources() -> Vec<Source> {
    let read = |path: &Path| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file");
    let paths = files("src");
    let hidden: BTreeSet<PathBuf> = paths.iter().flat_map(|path| test_modules(path, &read(path))).collect();
    let seen = paths.into_iter().filter(|path| !hidden.iter().any(|module| is_module(path, module)));
    seen.map(|path| {
        let text = read(&path);
        Source { code: without_tests_and_comments(&text), text, path }
    })
    .collect()
}

/// The modules of a file that only tests see, as paths without an extension.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let folder = match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") => path.parent().expect("a folder").to_owned(),
        _ => path.with_extension(""),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let module = |pair: &[&str]| {
        let name = pair[1].strip_suffix(';')?.rsplit_once("mod ")?.1;
        (pair[0] == "#[cfg(test)]").then(|| folder.join(name))
    };
    lines.windows(2).filter_map(module).collect()
}

/// Whether a file is a module or lies in it.
fn is_module(path: &Path, module: &Path) -> bool {
    path.with_extension("") == module || path.starts_with(module)
}

/// The text up to the tests at its end, without comments and documentation.
fn without_tests_and_comments(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The rooms that some code names by `crate::ROOM`, alone or in braces.
fn named_rooms(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    let mut rooms = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue; // the name of another crate
        }
        match rest.strip_prefix('{') {
            None => {
                rooms.insert(word(rest));
            }
            Some(list) => rooms.extend(top_level(list).iter().map(|item| word(item.trim_start()))),
        }
    }
    rooms.remove("");
    rooms
}

/// The items of a list in braces, whose opening brace is gone: `a::{b, c}, d}` has two.
fn top_level(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0;
    for c in list.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        items.last_mut().expect("an item").push(c);
    }
    items
}

#[test]
fn rooms_name_only_the_rooms_that_they_may() {
    let mut wrong = Vec::new();
    for source in sources() {
        let room = source.room();
        if matches!(room.as_str(), "lib" | "main") {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: the room `{room}` is not on the plan", source.path.display()));
            continue;
        };
        for named in named_rooms(&source.code).iter().filter(|named| **named != room) {
            if !allowed.contains(&named.as_str()) {
                wrong.push(format!("{}: `{room}` may not name `{named}`", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where images are made, taken and pushed.
const FILELESS: [&str; 11] = [
    "src/docker",
    "src/execute/assemble",
    "src/execute/attest",
    "src/execute/attest.rs",
    "src/execute/build.rs",
    "src/execute/delivery.rs",
    "src/execute/images.rs",
    "src/execute/push.rs",
    "src/execute/ready_made.rs",
    "src/image",
    "src/registry",
];

/// Files of those that write what is no image: notes of what builders were sent.
const NOTES: [&str; 1] = ["src/docker/sent.rs"];

/// What writes files. Whoever opens a socket writes none.
const WRITES: [&str; 7] =
    ["fs::write", "File::create", "OpenOptions", "create_dir", "temp_dir", "tempfile", "fs::copy"];

#[test]
fn no_image_is_ever_written_to_a_file() {
    let sources = sources();
    let mut wrong = Vec::new();
    for place in FILELESS {
        let mut here = sources.iter().filter(|source| source.path.starts_with(place)).peekable();
        assert!(here.peek().is_some(), "{place} is gone: update the table");
        for source in here.filter(|source| !NOTES.iter().any(|notes| source.path == Path::new(notes))) {
            let names = WRITES.iter().filter(|name| source.code.contains(**name));
            wrong.extend(names.map(|name| format!("{}: {name}", source.path.display())));
        }
    }
    assert!(wrong.is_empty(), "layers are held in memory or sent as they come:\n{}", wrong.join("\n"));
}

#[test]
fn arrows_are_found_in_every_way_of_writing_them() {
    let code = "use crate::{config::{Config, Image}, model::Digest};\nlet x: crate::plan::Plan = k8s_crate::x();";
    assert_eq!(named_rooms(code).into_iter().collect::<Vec<_>>(), ["config", "model", "plan"]);
}

#[test]
fn pure_rooms_are_pure() {
    let sources = sources();
    for place in PURE {
        assert!(sources.iter().any(|source| source.path.starts_with(place)), "{place} is gone: update the table");
    }
    let pure = sources.iter().filter(|source| PURE.iter().any(|place| source.path.starts_with(place)));
    let mut wrong = Vec::new();
    for source in pure {
        for name in IMPURE.iter().filter(|name| source.code.contains(**name)) {
            wrong.push(format!("{}: `{name}` in a pure room", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_have_at_most_1000_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in files("src").into_iter().chain(files("tests")) {
        let lines = std::fs::read_to_string(root.join(&path)).expect("a file").lines().count();
        assert!(lines <= 1000, "{} has {lines} lines", path.display());
    }
}

#[test]
fn functions_have_at_most_100_lines() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            let length = lines[at..].iter().position(|line| *line == end).map_or(0, |offset| offset + 1);
            if length > 100 {
                wrong.push(format!("{}:{}: {length} lines", source.path.display(), at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a line starts a function.
fn is_function(line: &str) -> bool {
    let words: Vec<&str> =
        line.split_whitespace().take_while(|word| !word.contains('(') || word.starts_with("pub(")).collect();
    line.trim_start().starts_with("fn ")
        || (words.contains(&"fn") && line.trim_start().starts_with(['p', 'a', 'c', 'u']))
}

#[test]
fn every_room_is_on_the_floor_plan() {
    let plan =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("the floor plan");
    for (room, _) in ROOMS {
        assert!(plan.contains(&format!("`{room}`")), "the floor plan in src/lib.rs does not tell of `{room}`");
    }
}

/// Dependencies that are there for their features alone: `kube` leaves it to the program to choose the version of the API.
const FOR_THEIR_FEATURES: [&str; 1] = ["k8s-openapi"];

/// A dependency that nobody names does nothing, and an allocator that nobody installs least of all.
#[test]
fn every_dependency_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(root.join(path)).expect("a file");
    let source: String = files("src").iter().map(|path| without_tests_and_comments(&read(path))).collect();
    let tests: String = files("tests").iter().chain(&files("src")).map(|path| read(path)).collect();
    let manifest: toml::Table = read(Path::new("Cargo.toml")).parse().expect("a manifest");
    let mut tables = vec![("dependencies", &manifest, &source), ("dev-dependencies", &manifest, &tests)];
    for (_, target) in manifest["target"].as_table().expect("targets") {
        tables.push(("dependencies", target.as_table().expect("a target"), &source));
    }
    for (name, table, code) in tables {
        for dependency in table[name].as_table().expect("dependencies").keys() {
            let named = format!("{}::", dependency.replace('-', "_"));
            let is_used = code.contains(&named) || FOR_THEIR_FEATURES.contains(&dependency.as_str());
            assert!(is_used, "{dependency} is in {name}, and nothing names {named}");
        }
    }
}

/// A dependency of one system is named only where that system is: elsewhere the program would not build.
#[test]
fn what_one_system_has_is_named_only_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(root.join(path)).expect("a file");
    let manifest: toml::Table = read(Path::new("Cargo.toml")).parse().expect("a manifest");
    for (system, target) in manifest["target"].as_table().expect("targets") {
        for dependency in target["dependencies"].as_table().expect("dependencies").keys() {
            let named = format!("{}::", dependency.replace('-', "_"));
            for path in files("src") {
                let code = without_tests_and_comments(&read(&path));
                let is_there = code.contains(&format!("#[{system}]"));
                assert!(is_there || !code.contains(&named), "{} names {named} without #[{system}]", path.display());
            }
        }
    }
}
