//! What the author asked for, as a provenance tells it: every key of deploy.yml that decides how an image is made, without
//! values that are secret, and with paths as they are seen from deploy.yml.

use super::Hashing;
use crate::config::{Assembly, Build, FileCopy, War};
use crate::desired::ImageSource;
use crate::image::provenance;
use crate::model::{Digest, Redactor};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

/// What the author asked for; `None` for an image that is copied, which somebody else has made.
pub(super) fn of(source: &ImageSource, file: &Path, secrets: &Redactor) -> Option<Map<String, Value>> {
    let teller = Teller { folder: file.parent().unwrap_or(Path::new("")), secrets };
    let (name, told) = match source {
        ImageSource::Build(build) => ("build", teller.build(build)),
        ImageSource::Assembly(assembly) => ("assembly", teller.assembly(assembly)),
        ImageSource::Mirror(_) | ImageSource::Layout(_) | ImageSource::Engine(_) => return None,
    };
    Some(Map::from_iter([(name.to_owned(), told)]))
}

/// The files of an assembly that are archives of another tool, or copied one by one, with their digests: no commit has to
/// hold them. One that cannot be read is left out, and fails elsewhere. Blocking work.
pub(super) fn files(assembly: &Assembly, file: &Path) -> BTreeMap<String, Digest> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let war = assembly.war.iter().map(|war| war.path.as_path());
    let copied = assembly.copy.iter().map(|copy| copy.source.as_path()).filter(|path| path.is_file());
    let hash = |path: &Path| {
        let mut file = Hashing { source: File::open(path).ok()?, hash: Sha256::new() };
        io::copy(&mut file, &mut io::sink()).ok()?;
        Some((seen_from(folder, path), Digest::from_hash(&file.hash.finalize())))
    };
    war.chain(copied).filter_map(hash).collect()
}

/// A path as it is written in a file of this folder.
fn seen_from(folder: &Path, path: &Path) -> String {
    let seen = path.strip_prefix(folder).unwrap_or(path);
    if seen.as_os_str().is_empty() { ".".to_owned() } else { seen.display().to_string() }
}

/// Who tells without telling secrets.
struct Teller<'a> {
    /// The folder of deploy.yml.
    folder: &'a Path,
    /// The secrets.
    secrets: &'a Redactor,
}

impl Teller<'_> {
    /// A path.
    fn path(&self, path: &Path) -> String {
        self.secrets.redact(&seen_from(self.folder, path))
    }

    /// Values by name.
    fn values<'v>(&self, values: impl Iterator<Item = (&'v String, &'v String)>) -> Map<String, Value> {
        let told = |name: &str, value: &str| provenance::argument(name, value, &self.secrets.redact(value));
        values.map(|(name, value)| (name.clone(), Value::String(told(name, value)))).collect()
    }

    /// Words of a command.
    fn words(&self, words: &[String]) -> Vec<String> {
        words.iter().map(|word| self.secrets.redact(word)).collect()
    }

    /// A build from a Dockerfile.
    fn build(&self, build: &Build) -> Value {
        let mut told = json!({
            "context": self.path(&build.context),
            "dockerfile": self.path(&build.dockerfile),
            "args": self.values(build.args.iter()),
            "secrets": build.secrets.keys().collect::<Vec<_>>(),
            "platform": build.platform.to_string(),
        });
        if let Some(target) = &build.target {
            told["target"] = json!(target);
        }
        if build.anew {
            told["noCache"] = json!(true);
        }
        told
    }

    /// An image that is made of files.
    fn assembly(&self, assembly: &Assembly) -> Value {
        let from = assembly.from.as_ref().map_or_else(|| "scratch".to_owned(), ToString::to_string);
        let mut told = Map::from_iter([
            ("from".to_owned(), json!(from)),
            ("platform".to_owned(), json!(assembly.platform.to_string())),
        ]);
        let pairs = |pairs: &[(String, String)]| self.values(pairs.iter().map(|(name, value)| (name, value)));
        let texts = [("user", &assembly.user), ("workdir", &assembly.workdir)];
        let texts = texts.map(|(name, text)| (name, text.as_ref().map(|text| json!(self.secrets.redact(text)))));
        let words = [("entrypoint", &assembly.entrypoint), ("cmd", &assembly.cmd)];
        let words = words.map(|(name, words)| (name, words.as_ref().map(|words| json!(self.words(words)))));
        let copies = assembly.copy.iter().map(|copy| self.copy(copy));
        let others = [
            ("war", assembly.war.as_ref().map(|war| self.war(war))),
            ("copy", Some(json!(copies.collect::<Vec<_>>()))),
            ("env", Some(json!(pairs(&assembly.env)))),
            ("expose", Some(json!(self.words(&assembly.expose)))),
            ("labels", Some(json!(pairs(&assembly.labels)))),
        ];
        let is_empty =
            |value: &Value| value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
        let said = texts.into_iter().chain(words.into_iter().chain(others));
        let said = said.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        told.extend(said.filter(|(name, value)| matches!(name.as_str(), "entrypoint" | "cmd") || !is_empty(value)));
        Value::Object(told)
    }

    /// A WAR that is exploded.
    fn war(&self, war: &War) -> Value {
        let mut told = json!({ "path": self.path(&war.path) });
        if !war.root.is_empty() {
            told["root"] = json!(war.root);
        }
        told
    }

    /// A file or folder that is copied.
    fn copy(&self, copy: &FileCopy) -> Value {
        let mut told = json!({ "source": self.path(&copy.source), "to": copy.to });
        if let Some(owner) = &copy.chown {
            told["chown"] = json!(owner);
        }
        if let Some(mode) = copy.chmod {
            told["chmod"] = json!(format!("{mode:04o}"));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EngineImage, Layout};
    use crate::model::{Platform, Reference, Secret};

    /// The parameters of a source in a deploy.yml at `/src/app/deploy.yml`.
    fn told(source: &ImageSource, secrets: &Redactor) -> Option<Value> {
        of(source, Path::new("/src/app/deploy.yml"), secrets).map(Value::Object)
    }

    /// An assembly with everything in it.
    fn assembly() -> Assembly {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Assembly {
            from: Some(Reference::parse("tomcat:10").unwrap()),
            war: Some(War { path: "/src/app/target/app.war".into(), root: "/srv".to_owned() }),
            copy: vec![FileCopy {
                source: "/src/app/conf".into(),
                to: "/etc/app/".to_owned(),
                chown: Some("app:app".to_owned()),
                chmod: Some(0o640),
            }],
            entrypoint: Some(vec!["/run".to_owned(), "--key=hunter2".to_owned()]),
            cmd: Some(Vec::new()),
            env: vec![pair("LANG", "C"), pair("DB_PASSWORD", "x"), pair("URL", "https://u:hunter2@db")],
            user: Some("app".to_owned()),
            workdir: Some("/srv".to_owned()),
            expose: vec!["8080".to_owned()],
            labels: vec![pair("team", "shop")],
            platform: Platform::default(),
        }
    }

    #[test]
    fn an_assembly_is_told_key_by_key() {
        let secrets = Redactor::default();
        secrets.register("hunter2");
        let told = told(&ImageSource::Assembly(Box::new(assembly())), &secrets).unwrap();
        let wanted = json!({ "assembly": {
            "from": "docker.io/library/tomcat:10", "platform": "linux/amd64",
            "war": { "path": "target/app.war", "root": "/srv" },
            "copy": [{ "source": "conf", "to": "/etc/app/", "chown": "app:app", "chmod": "0640" }],
            "entrypoint": ["/run", "--key=***"], "cmd": [],
            "env": { "LANG": "C", "DB_PASSWORD": "(hidden)", "URL": "(hidden)" },
            "user": "app", "workdir": "/srv", "expose": ["8080"], "labels": { "team": "shop" },
        } });
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_is_not_asked_for_is_not_told() {
        let told = told(&ImageSource::Assembly(Box::default()), &Redactor::default()).unwrap();
        assert_eq!(told, json!({ "assembly": { "from": "scratch", "platform": "linux/amd64" } }));
    }

    #[test]
    fn a_build_is_told_without_its_secrets() {
        let build = Build {
            dockerfile: "/src/app/docker/Dockerfile".into(),
            target: Some("web".to_owned()),
            args: BTreeMap::from([("MODE".to_owned(), "fast".to_owned())]),
            secrets: BTreeMap::from([("npmrc".to_owned(), Secret::new("hunter2"))]),
            anew: true,
            ..Build::of("/src/app".into())
        };
        let told = told(&ImageSource::Build(build), &Redactor::default()).unwrap();
        let wanted = json!({ "build": {
            "context": ".", "dockerfile": "docker/Dockerfile", "target": "web", "args": { "MODE": "fast" },
            "secrets": ["npmrc"], "platform": "linux/amd64", "noCache": true,
        } });
        assert_eq!(told, wanted);
    }

    #[test]
    fn who_copies_cannot_say_how_it_was_made() {
        let platform = Platform::default();
        for source in [
            ImageSource::Mirror(Reference::parse("redis:7").unwrap()),
            ImageSource::Layout(Layout { path: "/x".into(), platform: platform.clone() }),
            ImageSource::Engine(EngineImage { image: "x".to_owned(), platform }),
        ] {
            assert_eq!(told(&source, &Redactor::default()), None);
        }
    }

    #[test]
    fn files_count_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("app.war"), "war").unwrap();
        std::fs::write(path("one.conf"), "conf").unwrap();
        std::fs::create_dir(path("many")).unwrap();
        let copy = |name: &str| FileCopy { source: path(name), to: "/".to_owned(), chown: None, chmod: None };
        let assembly = Assembly {
            war: Some(War { path: path("app.war"), root: String::new() }),
            copy: vec![copy("one.conf"), copy("many"), copy("missing")],
            ..assembly()
        };
        let wanted = [("app.war", Digest::of(b"war")), ("one.conf", Digest::of(b"conf"))];
        let wanted: BTreeMap<String, Digest> = wanted.map(|(name, digest)| (name.to_owned(), digest)).into();
        assert_eq!(files(&assembly, &path("deploy.yml")), wanted);
    }
}
