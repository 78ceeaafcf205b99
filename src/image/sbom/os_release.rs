//! Which distribution an image is made of: os-release(5).

/// The distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OsRelease {
    /// `debian`, `alpine`; empty where the image does not say.
    pub(crate) id: String,
    /// `12`, `3.20.3`; empty where there is none, as in a rolling distribution.
    pub(crate) version: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub(crate) name: String,
}

/// Whether a path is such a file.
pub(super) fn is_file(path: &str) -> bool {
    matches!(path, "etc/os-release" | "usr/lib/os-release")
}

impl OsRelease {
    /// Reads the file.
    pub(super) fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        Self { id: field("ID"), version: field("VERSION_ID"), name: field("PRETTY_NAME") }
    }

    /// The distribution as package URLs name it: `debian-12`.
    pub(super) fn distro(&self) -> String {
        let separator = if self.id.is_empty() || self.version.is_empty() { "" } else { "-" };
        format!("{}{separator}{}", self.id, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_taken_off_and_names_are_whole() {
        let os = OsRelease::parse(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION=\"x\"\nID=debian\n",
        );
        assert_eq!((os.id.as_str(), os.version.as_str(), os.distro().as_str()), ("debian", "12", "debian-12"));
        assert_eq!(OsRelease::parse("ID=arch\n").distro(), "arch");
        assert_eq!(OsRelease::parse("").distro(), "");
    }
}
