//! Dockerfiles that run nothing, each with its files. Whoever finds a difference adds a case.

/// A file of a context.
pub(crate) enum Item {
    /// A file: path, content, mode.
    File(&'static str, &'static str, u32),
    /// A folder: path, mode.
    Folder(&'static str, u32),
    /// A symbolic link: path, where it leads.
    Link(&'static str, &'static str),
    /// A second name: path, the first name.
    Second(&'static str, &'static str),
}

use Item::{File, Folder, Link, Second};

/// One Dockerfile.
pub(crate) struct Case {
    /// A word for it.
    pub(crate) name: &'static str,
    /// Its text.
    pub(crate) dockerfile: &'static str,
    /// The context.
    pub(crate) items: &'static [Item],
}

/// A file as most are.
const A: Item = File("a", "a\n", 0o644);

/// A folder with a bit of everything.
const TREE: &[Item] = &[
    File("tree/one", "1\n", 0o640),
    File("tree/sub/two", "22\n", 0o755),
    Folder("tree/empty", 0o700),
    Folder("tree/sub", 0o711),
    Link("tree/to-one", "one"),
    Link("tree/to-nowhere", "/no/where"),
    Second("tree/again", "tree/one"),
    A,
];

/// A name of more than 100 bytes.
const LONG: &str = "ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee/f";

/// A name of more than 255 bytes.
const LONGEST: &str = "gggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg/hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh/iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii";

/// All of them.
#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    Case { name: "file-to-path", dockerfile: "FROM busybox:1.35\nCOPY a /new/place/b\n", items: &[A] },
    Case { name: "file-to-folder", dockerfile: "FROM busybox:1.35\nCOPY a /new/\nCOPY a /bin\n", items: &[A] },
    Case { name: "file-over-file", dockerfile: "FROM busybox:1.35\nCOPY a /x\nCOPY b /x\nCOPY a /etc/passwd\n", items: &[A, File("b", "b", 0o600)] },
    Case { name: "relative-to-workdir", dockerfile: "FROM busybox:1.35\nWORKDIR /srv/app\nCOPY a .\nCOPY a b/\nCOPY a ../c\nCOPY a ./d\n", items: &[A] },
    Case { name: "workdir-nesting", dockerfile: "FROM busybox:1.35\nWORKDIR /w\nWORKDIR x/y\nWORKDIR ../z\nWORKDIR /tmp\nENV D=/v\nWORKDIR $D/u\n", items: &[] },
    Case { name: "workdir-of-a-user", dockerfile: "FROM busybox:1.35\nUSER 1234:567\nWORKDIR /home/me/here\nCOPY a .\n", items: &[A] },
    Case { name: "folder-to-new", dockerfile: "FROM busybox:1.35\nCOPY tree /new\n", items: TREE },
    Case { name: "folder-to-new-slash", dockerfile: "FROM busybox:1.35\nCOPY tree/ /new/deep/\n", items: TREE },
    Case { name: "folder-to-root", dockerfile: "FROM busybox:1.35\nCOPY tree /\n", items: TREE },
    Case { name: "folder-into-existing", dockerfile: "FROM busybox:1.35\nCOPY tree /x\nCOPY --chown=5:6 tree /x\nCOPY a /x/sub/two\n", items: TREE },
    Case { name: "context", dockerfile: "FROM busybox:1.35\nCOPY . /ctx\n", items: TREE },
    Case { name: "context-on-scratch", dockerfile: "FROM scratch\nCOPY . .\nCMD [\"/a\"]\n", items: TREE },
    Case { name: "several-sources", dockerfile: "FROM busybox:1.35\nCOPY a tree b* /x/\n", items: &[A, File("b1", "1", 0o644), File("b2", "2", 0o644), File("tree/t", "t", 0o644)] },
    Case { name: "json-form", dockerfile: "FROM busybox:1.35\nCOPY [\"a b\", \"/x y/\"]\n", items: &[File("a b", "1", 0o644)] },
    Case { name: "globs", dockerfile: "FROM busybox:1.35\nCOPY *.txt t?.md [c-d]* /x/\nCOPY */*.txt /y/\nCOPY no*match a /z/\n", items: &[File("one.txt", "1", 0o644), File("two.txt", "2", 0o644), File("t1.md", "3", 0o644), File("tt.mdx", "4", 0o644), File("c", "5", 0o644), File("dir/in.txt", "6", 0o644), File("dir/deeper/in.txt", "7", 0o644), A] },
    Case { name: "glob-of-folders", dockerfile: "FROM busybox:1.35\nCOPY d* /x/\n", items: &[File("d1/a", "1", 0o644), File("d2/b", "2", 0o600), File("d3", "3", 0o644)] },
    Case { name: "link-as-source", dockerfile: "FROM busybox:1.35\nCOPY to-a /x/\nCOPY to-dir /y\nCOPY to-dir/f /z\nCOPY to-* /all/\n", items: &[A, Link("to-a", "a"), File("dir/f", "f", 0o644), Link("to-dir", "dir"), Link("dir/up", "../a")] },
    Case { name: "absolute-link-as-source", dockerfile: "FROM busybox:1.35\nCOPY abs /x\n", items: &[File("deep/a", "deep", 0o644), Link("abs", "/deep/a")] },
    Case { name: "setuid", dockerfile: "FROM busybox:1.35\nCOPY su sg st /x/\nCOPY dir /y\n", items: &[File("su", "u", 0o4755), File("sg", "g", 0o2755), File("st", "t", 0o1644), Folder("dir/sticky", 0o1777), Folder("dir/sgid", 0o2775)] },
    Case { name: "hard-links", dockerfile: "FROM busybox:1.35\nCOPY dir /x\nCOPY dir/b /single\n", items: &[File("dir/b-c", "same", 0o644), Second("dir/b", "dir/b-c"), Second("dir/sub/c", "dir/b-c"), File("dir/alone", "x", 0o644)] },
    Case { name: "chown-numbers", dockerfile: "FROM busybox:1.35\nCOPY --chown=1000:2000 tree /x/y\nCOPY --chown=7 a /z/\nCOPY --chown=0:9 a /bin/x\n", items: TREE },
    Case { name: "chown-names", dockerfile: "FROM debian:bookworm-slim\nCOPY --chown=www-data a /x/\nCOPY --chown=games:staff a /y/\nCOPY --chown=12:mail a /z\nUSER daemon\nWORKDIR /d/e\n", items: &[A] },
    Case { name: "chown-of-large-numbers", dockerfile: "FROM busybox:1.35\nCOPY --chown=3000000:4000000 a /x\n", items: &[A] },
    Case { name: "chmod", dockerfile: "FROM busybox:1.35\nCOPY --chmod=750 a /bin/x\nCOPY --chmod=0711 --chown=3:4 a /bin/y\n", items: &[A] },
    Case { name: "dockerignore", dockerfile: "FROM busybox:1.35\nCOPY . /x\n", items: &[File(".dockerignore", "# no logs\n*.log\n!keep.log\nsecret\n**/*.tmp\nskip/*\n!skip/this\n", 0o644), File("a.log", "1", 0o644), File("keep.log", "2", 0o644), File("secret/key", "3", 0o644), File("deep/x.tmp", "4", 0o644), File("deep/x.txt", "5", 0o644), File("skip/that", "6", 0o644), File("skip/this/file", "7", 0o644)] },
    Case { name: "add", dockerfile: "FROM busybox:1.35\nADD a tree /x/\nADD app.jar /y\n", items: &[A, File("tree/t", "t", 0o644), File("app.jar", "PK\u{3}\u{4} not a tar archive", 0o644)] },
    Case { name: "unicode", dockerfile: "FROM busybox:1.35\nCOPY dir /x\nLABEL n\u{e4}me=\u{4e2d}\n", items: &[File("dir/caf\u{e9}", "1", 0o644), File("dir/\u{4e2d}\u{6587}/\u{1f600}", "2", 0o644), Link("dir/\u{fc}ber", "caf\u{e9}")] },
    Case { name: "long-names", dockerfile: "FROM busybox:1.35\nCOPY . /x\n", items: &[File(LONG, "1", 0o644), File(LONGEST, "2", 0o644), Link("link", LONGEST)] },
    Case { name: "odd-names", dockerfile: "FROM busybox:1.35\nCOPY dir /x\n", items: &[File("dir/with space", "1", 0o644), File("dir/quote\"s'", "2", 0o644), File("dir/-dash", "3", 0o644), File("dir/$HOME", "4", 0o644), File("dir/back\\slash", "5", 0o644), File("dir/new\nline", "6", 0o644)] },
    Case { name: "through-links-of-the-base", dockerfile: "FROM debian:bookworm-slim\nCOPY a /bin/x\nCOPY a /var/run/y/z\nCOPY a /lib/q/\nWORKDIR /var/lock/w\nCOPY tree /sbin/t\n", items: TREE },
    Case { name: "special-folders-of-the-base", dockerfile: "FROM debian:bookworm-slim\nCOPY a /tmp/x\nCOPY a /root/y\nCOPY a /var/mail/z\nCOPY a /var/local/w\n", items: &[A] },
    Case { name: "file-over-link-of-the-base", dockerfile: "FROM debian:bookworm-slim\nCOPY dir /etc\nCOPY a /etc/os-release\n", items: &[File("dir/mtab", "no link any more", 0o644), A] },
    Case { name: "own-links", dockerfile: "FROM busybox:1.35\nCOPY links /l\nCOPY a /l/to-dir/x\nCOPY a /l/to-file\nCOPY a /l/away/y\n", items: &[A, Folder("links/dir", 0o755), Link("links/to-dir", "dir"), File("links/file", "old", 0o600), Link("links/to-file", "file"), Link("links/away", "/not/there/yet")] },
    Case { name: "empty-folders", dockerfile: "FROM busybox:1.35\nCOPY dir /x\nCOPY none /y\n", items: &[Folder("dir/a/b/c", 0o755), Folder("none", 0o700)] },
    Case { name: "arguments", dockerfile: "ARG BASE=busybox:1.35 DIR=/top\nFROM ${BASE}\nARG DIR\nARG NAME=${DIR:+set}-${NO:-unset}\nARG TARGETARCH\nENV WHERE=$DIR/$NAME EMPTY=\nCOPY a $WHERE/${EMPTY:-x}\nCOPY a '/$HOME'\nLABEL where=$WHERE arch=$TARGETARCH\n", items: &[A] },
    Case { name: "environment", dockerfile: "FROM busybox:1.35\nENV A=1 B=\"two words\" C=three\\ words\nENV D $A and $B\nENV A=2 E=$A PATH=/x:$PATH\nENV F='$A' G=\\$A\n", items: &[] },
    Case { name: "escape", dockerfile: "# escape=`\nFROM busybox:1.35\nCOPY a `\n  # in between\n  /x/\nENV A=b` c D=C:\\x\n", items: &[A] },
    Case { name: "labels", dockerfile: "FROM busybox:1.35\nLABEL a=1 \"b c\"=\"d e\" f='g h' \\\n  long=\"one \\\n two\"\nLABEL a=2\n", items: &[] },
    Case { name: "command", dockerfile: "FROM busybox:1.35\nCMD echo $HOME \"a b\"\n", items: &[] },
    Case { name: "entrypoint-takes-the-command", dockerfile: "FROM busybox:1.35\nENTRYPOINT [\"/bin/sh\"]\n", items: &[] },
    Case { name: "entrypoint-and-command", dockerfile: "FROM busybox:1.35\nCMD [\"a\", \"b\"]\nENTRYPOINT exec x $Y\n", items: &[] },
    Case { name: "shell", dockerfile: "FROM busybox:1.35\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\nCMD a b\nENTRYPOINT []\n", items: &[] },
    Case { name: "other-settings", dockerfile: "FROM busybox:1.35\nMAINTAINER me\nEXPOSE 80 443/tcp 53/udp 8000-8002\nVOLUME /data [\"x\"]\nVOLUME [\"/with space\"]\nSTOPSIGNAL SIGQUIT\nUSER 65534\nHEALTHCHECK --interval=5s --timeout=1m30s --retries=2 CMD x || exit 1\n", items: &[] },
    Case { name: "stages-of-files", dockerfile: "FROM busybox:1.35 AS one\nARG X=1\nENV A=$X\nCMD one\nCOPY a /one\nFROM scratch AS unused\nCOPY a /unused\nFROM one\nENTRYPOINT [\"e\"]\nCOPY a /two-$X\n", items: &[A] },
    Case { name: "settings-of-the-base", dockerfile: "FROM redis:7\nCOPY a data/\nENV REDIS_VERSION=0 MORE=1\n", items: &[A] },
];
