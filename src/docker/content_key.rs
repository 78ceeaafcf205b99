//! One tag for everything that goes into an image: the same inputs, the same tag, nothing to build.
//!
//! In: the Dockerfile, the context without times and owners, arguments, target, platform, the digests of the bases, the
//! names of secrets. A secret's value is left out on purpose: a tag is public.

use super::context::{Context, ContextError, EntryKind};
use crate::model::{Compression, Digest, Platform};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// What goes into an image.
#[derive(Clone, Debug)]
pub(crate) struct Inputs<'a> {
    /// The text of the Dockerfile.
    pub(crate) dockerfile: &'a [u8],
    /// The files.
    pub(crate) context: &'a Context,
    /// Build arguments.
    pub(crate) args: &'a BTreeMap<String, String>,
    /// The stage that is built.
    pub(crate) target: Option<&'a str>,
    /// For which platform.
    pub(crate) platform: &'a Platform,
    /// The images that the Dockerfile builds on, by the name that it gives them.
    pub(crate) bases: &'a BTreeMap<String, Digest>,
    /// The names of the secrets.
    pub(crate) secrets: Vec<&'a str>,
}

/// Changes whenever the meaning of a key changes, so that no old image is taken for a new one.
const VERSION: &str = "seaway content key 2";

/// A hash over fields that cannot run into each other.
struct Fields(Sha256);

impl Fields {
    /// One field: its length, then its bytes.
    fn add(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// Several fields.
    fn all(&mut self, fields: &[&str]) {
        for field in fields {
            self.add(field.as_bytes());
        }
    }
}

impl Inputs<'_> {
    /// The tag: `ck-` and 32 hexadecimal digits. Reads every file of the context: blocking work.
    pub(crate) fn content_key(&self) -> Result<String, ContextError> {
        let mut fields = Fields(Sha256::new());
        fields.all(&[VERSION, "dockerfile"]);
        fields.add(self.dockerfile);
        fields.all(&["target", self.target.unwrap_or_default(), "platform", &self.platform.to_string()]);
        for (name, value) in self.args {
            fields.all(&["arg", name, value]);
        }
        for (name, digest) in self.bases {
            fields.all(&["base", name, digest.as_str()]);
        }
        let mut secrets = self.secrets.clone();
        secrets.sort_unstable();
        for name in secrets {
            fields.all(&["secret", name]);
        }
        for (entry, digest) in self.context.entries.iter().zip(self.context.digests()?) {
            // A link's own mode depends on the operating system and on nothing that an image keeps.
            let mode = format!("{:o}", entry.mode);
            match (&entry.kind, digest, &entry.same_as) {
                (EntryKind::Folder, ..) => fields.all(&["folder", &entry.path, &mode]),
                (EntryKind::Link { target }, ..) => fields.all(&["link", &entry.path, target]),
                (EntryKind::File { .. }, Some(digest), _) => {
                    fields.all(&["file", &entry.path, &mode, digest.as_str()]);
                }
                (EntryKind::File { .. }, None, first) => {
                    fields.all(&["same file", &entry.path, first.as_deref().unwrap_or_default()]);
                }
            }
        }
        Ok(tag_of(&Digest::from_hash(&fields.0.finalize())))
    }
}

/// The content key that a digest stands for: a mirrored image's key is its digest.
pub(crate) fn tag_of(digest: &Digest) -> String {
    digest.content_key()
}

/// The key of the same inputs with layers that are compressed so: another compression makes another image. Keys of gzip,
/// which is the default, stay as they are.
pub(crate) fn compressed(key: String, compression: Compression) -> String {
    match compression {
        Compression::Gzip => key,
        Compression::Zstd => tag_of(&Digest::of(format!("{key} in zstd").as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::context;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::Path;

    /// The inputs of an ordinary image, to be changed by each case.
    struct Case {
        /// The context.
        folder: tempfile::TempDir,
        /// Build arguments.
        args: BTreeMap<String, String>,
        /// Bases.
        bases: BTreeMap<String, Digest>,
        /// The rest.
        target: Option<&'static str>,
        /// The Dockerfile.
        dockerfile: &'static str,
        /// The platform.
        platform: &'static str,
        /// Secrets.
        secrets: Vec<&'static str>,
    }

    impl Case {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("app.py"), "print()").unwrap();
            std::fs::write(folder.path().join(".dockerignore"), "*.log\n").unwrap();
            std::fs::create_dir(folder.path().join("sub")).unwrap();
            std::os::unix::fs::symlink("app.py", folder.path().join("main.py")).unwrap();
            let bases = [("debian:12".to_owned(), Digest::of(b"base"))].into();
            let args = [("A".to_owned(), "1".to_owned())].into();
            let (target, dockerfile, platform) = (None, "FROM debian:12\n", "linux/amd64");
            Self { folder, args, bases, target, dockerfile, platform, secrets: vec!["npm"] }
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }

        fn key(&self) -> String {
            let root: &Path = self.folder.path();
            let context = context::read(root, &root.join("Dockerfile"), true).unwrap();
            let inputs = Inputs {
                dockerfile: self.dockerfile.as_bytes(),
                context: &context,
                args: &self.args,
                target: self.target,
                platform: &Platform::parse(self.platform).unwrap(),
                bases: &self.bases,
                secrets: self.secrets.clone(),
            };
            inputs.content_key().unwrap()
        }
    }

    #[test]
    fn every_input_changes_the_key() {
        let before = Case::new().key();
        assert!(before.starts_with("ck-") && before.len() == 35);
        let changes: [fn(&mut Case); 17] = [
            |case| case.write("app.py", "print(1)"),
            |case| case.write("new", ""),
            |case| std::fs::rename(case.folder.path().join("app.py"), case.folder.path().join("app3.py")).unwrap(),
            |case| std::fs::rename(case.folder.path().join("app.py"), case.folder.path().join("sub/app.py")).unwrap(),
            |case| {
                std::fs::remove_file(case.folder.path().join("main.py")).unwrap();
                std::os::unix::fs::symlink("./app.py", case.folder.path().join("main.py")).unwrap();
            },
            |case| {
                let mode = std::fs::Permissions::from_mode(0o700);
                std::fs::set_permissions(case.folder.path().join("sub"), mode).unwrap();
            },
            |case| {
                std::fs::remove_file(case.folder.path().join("main.py")).unwrap();
                case.write("main.py", "app.py"); // a file with the text that the link had
            },
            |case| std::fs::create_dir(case.folder.path().join("empty")).unwrap(),
            |case| std::os::unix::fs::symlink("app.py", case.folder.path().join("link")).unwrap(),
            |case| {
                let mode = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(case.folder.path().join("app.py"), mode).unwrap();
            },
            |case| {
                let (from, to) = (case.folder.path().join("app.py"), case.folder.path().join("app2.py"));
                std::fs::hard_link(from, to).unwrap();
            },
            |case| case.dockerfile = "FROM debian:12\nUSER 1\n",
            |case| case.target = Some("x"),
            |case| case.platform = "linux/arm64",
            |case| drop(case.args.insert("A".to_owned(), "2".to_owned())),
            |case| drop(case.bases.insert("debian:12".to_owned(), Digest::of(b"newer base"))),
            |case| case.secrets.push("other"),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut case = Case::new();
            change(&mut case);
            assert_ne!(case.key(), before, "change {number}");
        }
    }

    #[test]
    fn another_compression_is_another_key_of_the_same_form() {
        let gzip = Case::new().key();
        assert_eq!(compressed(gzip.clone(), Compression::Gzip), gzip);
        let zstd = compressed(gzip.clone(), Compression::Zstd);
        assert!(zstd != gzip && zstd.starts_with("ck-") && zstd.len() == gzip.len(), "{zstd}");
    }

    #[test]
    fn times_owners_and_ignored_files_do_not() {
        let before = Case::new().key();
        let case = Case::new();
        // Only root may give files away; for others they stay whose they are.
        let given = std::os::unix::fs::lchown(case.folder.path().join("app.py"), Some(1234), Some(1234));
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        assert_eq!(given.is_ok(), is_root);
        let link = case.folder.path().join("main.py");
        assert_eq!(std::os::unix::fs::lchown(link, Some(1234), Some(1234)).is_ok(), is_root);
        case.write("debug.log", "noise");
        let file = std::fs::File::options().append(true).open(case.folder.path().join("app.py")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(case.key(), before);
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let mut case = Case::new();
        case.args = [("A".to_owned(), "BC".to_owned())].into();
        let one = case.key();
        case.args = [("AB".to_owned(), "C".to_owned())].into();
        assert_ne!(case.key(), one);
    }
}
