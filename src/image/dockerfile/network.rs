//! Whether a build reaches the network: then an image of the same inputs may be another one next week.
//!
//! What a program does cannot be known from its name, so this is a list of words: package managers, fetchers and URLs. A
//! script that calls them is not looked into. `max_age` in deploy.yml decides where the list is wrong.

use super::parse::Instruction;

/// A place where a build reaches the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The line of the instruction, from 1.
    pub(crate) line: usize,
    /// What tells so: `apt-get`, `https://…`.
    pub(crate) what: String,
}

/// Programs that fetch something, whatever they are asked to do.
const FETCHERS: [&str; 74] = [
    "aptitude",
    "apk",
    "apt",
    "apt-get",
    "aria2c",
    "bazel",
    "bazelisk",
    "bower",
    "brew",
    "bun",
    "bunx",
    "bundle",
    "bundler",
    "cabal",
    "cargo",
    "composer",
    "conan",
    "conda",
    "corepack",
    "cpan",
    "cpanm",
    "curl",
    "deno",
    "dnf",
    "easy_install",
    "emerge",
    "flutter",
    "ftp",
    "gem",
    "git",
    "gradle",
    "gradlew",
    "helm",
    "hg",
    "lein",
    "luarocks",
    "mamba",
    "micromamba",
    "microdnf",
    "mix",
    "mvn",
    "mvnw",
    "nix",
    "nix-build",
    "nix-env",
    "npm",
    "npx",
    "nuget",
    "opam",
    "pacman",
    "pdm",
    "pear",
    "pecl",
    "pip",
    "pip3",
    "pipenv",
    "pipx",
    "pnpm",
    "pod",
    "poetry",
    "rebar3",
    "rsync",
    "rustup",
    "sbt",
    "scp",
    "snap",
    "stack",
    "svn",
    "terraform",
    "uv",
    "vcpkg",
    "wget",
    "yarn",
    "yum",
];

/// Programs that fetch something when the word after them is one of these.
const SOMETIMES: [(&str, &[&str]); 4] = [
    ("go", &["build", "generate", "get", "install", "list", "mod", "run", "test", "tool", "vet", "work"]),
    ("dotnet", &["add", "build", "pack", "publish", "restore", "run", "test", "tool", "workload"]),
    ("swift", &["build", "package", "run", "test"]),
    ("zypper", &["dup", "in", "install", "ref", "refresh", "up", "update"]),
];

/// How addresses begin.
const SCHEMES: [&str; 6] = ["http://", "https://", "ftp://", "git://", "ssh://", "git@"];

/// Where an instruction reaches the network, if it does.
pub(super) fn of(instruction: &Instruction) -> Option<Reach> {
    let what = match instruction.word.as_str() {
        "RUN" if instruction.flag("network") == Some("none") => None,
        "RUN" => {
            let here = instruction.heredocs.iter().flat_map(|heredoc| heredoc.content.lines());
            let lines = std::iter::once(instruction.rest.as_str()).chain(here);
            lines.filter(|line| !line.trim_start().starts_with('#')).find_map(in_command)
        }
        "ADD" => remote_add(instruction),
        _ => None,
    };
    what.map(|what| Reach { line: instruction.line, what })
}

/// The word of a command that reaches the network.
fn in_command(command: &str) -> Option<String> {
    let ends = |c: char| c.is_whitespace() || ";&|()<>\"'`,[]{}=$".contains(c);
    let mut words = command.split(ends).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        if let Some(url) = address(word) {
            return Some(url);
        }
        let name = word.rsplit('/').next().unwrap_or(word);
        let sometimes = SOMETIMES.iter().find(|(program, _)| *program == name);
        let fetches = sometimes.is_some_and(|(_, verbs)| words.peek().is_some_and(|next| verbs.contains(next)));
        // `python -m pip`, `pip3.12`
        let is_pip = name.strip_prefix("pip").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'));
        if fetches || is_pip || FETCHERS.contains(&name) {
            return Some(name.to_owned());
        }
    }
    None
}

/// An address without what might be secret in it.
fn address(word: &str) -> Option<String> {
    let scheme = SCHEMES.iter().find(|scheme| word.starts_with(**scheme))?;
    let place = word[scheme.len()..].split('/').next().unwrap_or_default();
    let host = place.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
    Some(format!("{scheme}{host}"))
}

/// The address that an `ADD` fetches, unless its content is pinned by a checksum or a whole commit.
fn remote_add(instruction: &Instruction) -> Option<String> {
    if instruction.flag("checksum").is_some() {
        return None;
    }
    let is_commit = |text: &str| text.len() == 40 && text.chars().all(|c| c.is_ascii_hexdigit());
    let remote = instruction.list().into_iter().find(|path| {
        let pinned =
            path.rsplit_once('#').is_some_and(|(_, after)| is_commit(after.split(':').next().unwrap_or(after)));
        address(path).is_some() && !pinned
    });
    remote.and_then(|path| address(&path))
}

/// Whether an `ADD` fetches this instead of taking it from the context.
pub(super) fn is_remote(path: &str) -> bool {
    address(path).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::instructions;
    use super::*;

    /// What the only instruction reaches.
    fn reaches(text: &str) -> Option<String> {
        instructions(text).iter().find_map(of).map(|reach| reach.what)
    }

    #[test]
    fn package_managers_and_fetchers_reach_the_network() {
        for (text, wanted) in [
            ("RUN apt-get update && apt-get install -y curl", "apt-get"),
            ("RUN set -eux; apk add --no-cache git", "apk"),
            ("RUN [\"/usr/bin/curl\", \"-f\", \"x\"]", "curl"),
            ("RUN python -m pip install -r requirements.txt", "pip"),
            ("RUN pip3.12 install x", "pip3.12"),
            ("RUN --mount=type=cache,target=/root/.m2 ./mvnw package", "mvnw"),
            ("RUN cd web && HOME=/tmp npm ci", "npm"),
            ("RUN CGO_ENABLED=0 go build ./...", "go"),
            ("RUN dotnet restore", "dotnet"),
            ("RUN \\\n  # a comment\n  make && \\\n  (bundle install)", "bundle"),
            ("RUN <<EOF\n# apt-get in a comment\nset -e\nyarn install\nEOF", "yarn"),
            ("RUN python -c 'fetch(\"https://user:secret@example.com/x?token=1\")'", "https://example.com"),
            ("ADD https://example.com/a.tar.gz /a/", "https://example.com"),
            ("ADD --link https://github.com/a/b.git#main /b", "https://github.com"),
            ("ADD git@github.com:a/b.git /b", "git@github.com"),
        ] {
            assert_eq!(reaches(text).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_stays_on_the_machine_does_not() {
        for text in [
            "RUN echo ready, set, go",
            "RUN go version && dotnet --info",
            "RUN adduser app && chown -R app /app",
            "RUN --network=none npm run build",
            "RUN make gitless curls",
            "COPY git /git",
            "ADD app.tar /app",
            "ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/a /a",
            "ADD https://github.com/a/b.git#0123456789abcdef0123456789abcdef01234567:dir /b",
            "CMD [\"curl\", \"https://example.com\"]",
            "ENV URL=https://example.com",
        ] {
            assert_eq!(reaches(text), None, "{text}");
        }
    }

    #[test]
    fn the_list_is_sorted_so_that_nothing_stands_twice() {
        let mut sorted = FETCHERS.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), FETCHERS.len());
    }
}
