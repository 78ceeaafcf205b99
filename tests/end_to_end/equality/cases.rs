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
    /// A tar archive: path, the path of the empty file in it.
    Archive(&'static str, &'static str),
    /// What the program in a file may do: path, the bytes of `security.capability`. No builder keeps it: the owner is set
    /// after it, which takes it away.
    Capability(&'static str, &'static [u8]),
}

use Item::{Capability, File, Folder, Link, Second};

/// One Dockerfile.
pub(crate) struct Case {
    /// A word for it.
    pub(crate) name: &'static str,
    /// Its text.
    pub(crate) dockerfile: &'static str,
    /// The context.
    pub(crate) items: &'static [Item],
    /// What Debian's Engine of 2020 makes otherwise than BuildKit does today, ours first; or [`UNABLE`].
    pub(crate) engine: &'static [&'static str],
}

/// Debian's Engine cannot read the Dockerfile.
pub(crate) const UNABLE: &[&str] = &["it is too old"];

/// A file as most are.
pub(crate) const A: Item = File("a", "a\n", 0o644);

/// A folder with a bit of everything.
pub(crate) const TREE: &[Item] = &[
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

/// It may listen at ports below 1024 (`cap_net_bind_service=ep`).
const MAY_BIND: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// All of them.
#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    Case { name: "file-to-path", dockerfile: "FROM busybox:1.35\nCOPY a /new/place/b\n", items: &[A], engine: &[] },
    Case { name: "file-to-folder", dockerfile: "FROM busybox:1.35\nCOPY a /new/\nCOPY a /bin\n", items: &[A], engine: &[] },
    Case { name: "file-over-file", dockerfile: "FROM busybox:1.35\nCOPY a /x\nCOPY b /x\nCOPY a /etc/passwd\n", items: &[A, File("b", "b", 0o600)], engine: &[] },
    Case { name: "relative-to-workdir", dockerfile: "FROM busybox:1.35\nWORKDIR /srv/app\nCOPY a .\nCOPY a b/\nCOPY a ../c\nCOPY a ./d\n", items: &[A], engine: &[] },
    Case { name: "workdir-nesting", dockerfile: "FROM busybox:1.35\nWORKDIR /w\nWORKDIR x/y\nWORKDIR ../z\nWORKDIR /tmp\nENV D=/v\nWORKDIR $D/u\n", items: &[], engine: &[] },
    Case { name: "workdir-of-a-user", dockerfile: "FROM busybox:1.35\nUSER 1234:567\nWORKDIR /home/me/here\nCOPY a .\n", items: &[A], engine: &[] },
    Case { name: "folder-to-new", dockerfile: "FROM busybox:1.35\nCOPY tree /new\n", items: TREE, engine: &[] },
    Case { name: "folder-to-new-slash", dockerfile: "FROM busybox:1.35\nCOPY tree/ /new/deep/\n", items: TREE, engine: &[] },
    Case { name: "folder-to-root", dockerfile: "FROM busybox:1.35\nCOPY tree /\n", items: TREE, engine: &[] },
    Case { name: "folder-into-existing", dockerfile: "FROM busybox:1.35\nCOPY tree /x\nCOPY --chown=5:6 tree /x\nCOPY a /x/sub/two\n", items: TREE, engine: &[] },
    Case { name: "context", dockerfile: "FROM busybox:1.35\nCOPY . /ctx\n", items: TREE, engine: &[] },
    Case { name: "context-on-scratch", dockerfile: "FROM scratch\nCOPY . .\nCMD [\"/a\"]\n", items: TREE, engine: &[] },
    Case { name: "several-sources", dockerfile: "FROM busybox:1.35\nCOPY a tree b* /x/\n", items: &[A, File("b1", "1", 0o644), File("b2", "2", 0o644), File("tree/t", "t", 0o644)], engine: &[] },
    Case { name: "json-form", dockerfile: "FROM busybox:1.35\nCOPY [\"a b\", \"/x y/\"]\n", items: &[File("a b", "1", 0o644)], engine: &[] },
    Case { name: "globs", dockerfile: "FROM busybox:1.35\nCOPY *.txt t?.md [c-d]* /x/\nCOPY */*.txt /y/\nCOPY no*match a /z/\n", items: &[File("one.txt", "1", 0o644), File("two.txt", "2", 0o644), File("t1.md", "3", 0o644), File("tt.mdx", "4", 0o644), File("c", "5", 0o644), File("dir/in.txt", "6", 0o644), File("dir/deeper/in.txt", "7", 0o644), A], engine: &[] },
    Case { name: "glob-of-folders", dockerfile: "FROM busybox:1.35\nCOPY d* /x/\n", items: &[File("d1/a", "1", 0o644), File("d2/b", "2", 0o600), File("d3", "3", 0o644)], engine: &[] },
    Case { name: "link-as-source", dockerfile: "FROM busybox:1.35\nCOPY to-a /x/\nCOPY to-dir /y\nCOPY to-dir/f /z\nCOPY to-* /all/\n", items: &[A, Link("to-a", "a"), File("dir/f", "f", 0o644), Link("to-dir", "dir"), Link("dir/up", "../a")], engine: &[] },
    Case { name: "absolute-link-as-source", dockerfile: "FROM busybox:1.35\nCOPY abs /x\n", items: &[File("deep/a", "deep", 0o644), Link("abs", "/deep/a")], engine: &[] },
    Case { name: "setuid", dockerfile: "FROM busybox:1.35\nCOPY su sg st /x/\nCOPY dir /y\n", items: &[File("su", "u", 0o4755), File("sg", "g", 0o2755), File("st", "t", 0o1644), Folder("dir/sticky", 0o1777), Folder("dir/sgid", 0o2775)], engine: &[] },
    Case { name: "hard-links", dockerfile: "FROM busybox:1.35\nCOPY dir /x\nCOPY dir/b /single\n", items: &[File("dir/b-c", "same", 0o644), Second("dir/b", "dir/b-c"), Second("dir/sub/c", "dir/b-c"), File("dir/alone", "x", 0o644)], engine: &[] },
    Case { name: "chown-numbers", dockerfile: "FROM busybox:1.35\nCOPY --chown=1000:2000 tree /x/y\nCOPY --chown=7 a /z/\nCOPY --chown=0:9 a /bin/x\n", items: TREE, engine: &[] },
    Case { name: "chown-names", dockerfile: "FROM debian:bookworm-slim\nCOPY --chown=www-data a /x/\nCOPY --chown=games:staff a /y/\nCOPY --chown=12:mail a /z\nUSER daemon\nWORKDIR /d/e\n", items: &[A], engine: &[] },
    Case { name: "chown-of-large-numbers", dockerfile: "FROM busybox:1.35\nCOPY --chown=3000000:4000000 a /x\n", items: &[A], engine: &[] },
    Case { name: "chmod", dockerfile: "FROM busybox:1.35\nCOPY --chmod=750 a /bin/x\nCOPY --chmod=0711 --chown=3:4 a /bin/y\n", items: &[A], engine: &[] },
    Case { name: "dockerignore", dockerfile: "FROM busybox:1.35\nCOPY . /x\n", items: &[File(".dockerignore", "# no logs\n*.log\n!keep.log\nsecret\n**/*.tmp\nskip/*\n!skip/this\n", 0o644), File("a.log", "1", 0o644), File("keep.log", "2", 0o644), File("secret/key", "3", 0o644), File("deep/x.tmp", "4", 0o644), File("deep/x.txt", "5", 0o644), File("skip/that", "6", 0o644), File("skip/this/file", "7", 0o644)], engine: &[] },
    Case { name: "add", dockerfile: "FROM busybox:1.35\nADD a tree /x/\nADD app.jar /y\n", items: &[A, File("tree/t", "t", 0o644), File("app.jar", "PK\u{3}\u{4} not a tar archive", 0o644)], engine: &[] },
    Case { name: "unicode", dockerfile: "FROM busybox:1.35\nCOPY dir /x\nLABEL n\u{e4}me=\u{4e2d}\n", items: &[File("dir/caf\u{e9}", "1", 0o644), File("dir/\u{4e2d}\u{6587}/\u{1f600}", "2", 0o644), Link("dir/\u{fc}ber", "caf\u{e9}")], engine: &[] },
    Case { name: "long-names", dockerfile: "FROM busybox:1.35\nCOPY . /x\n", items: &[File(LONG, "1", 0o644), File(LONGEST, "2", 0o644), Link("link", LONGEST)], engine: &[] },
    Case { name: "odd-names", dockerfile: "FROM busybox:1.35\nCOPY dir /x\n", items: &[File("dir/with space", "1", 0o644), File("dir/quote\"s'", "2", 0o644), File("dir/-dash", "3", 0o644), File("dir/$HOME", "4", 0o644), File("dir/back\\slash", "5", 0o644), File("dir/new\nline", "6", 0o644)], engine: &[] },
    Case { name: "through-links-of-the-base", dockerfile: "FROM debian:bookworm-slim\nCOPY a /bin/x\nCOPY a /var/run/y/z\nCOPY a /lib/q/\nWORKDIR /var/lock/w\nCOPY tree /sbin/t\n", items: TREE, engine: &[] },
    Case { name: "special-folders-of-the-base", dockerfile: "FROM debian:bookworm-slim\nCOPY a /tmp/x\nCOPY a /root/y\nCOPY a /var/mail/z\nCOPY a /var/local/w\n", items: &[A], engine: &[] },
    Case { name: "file-over-link-of-the-base", dockerfile: "FROM debian:bookworm-slim\nCOPY dir /etc\nCOPY a /etc/os-release\n", items: &[File("dir/mtab", "no link any more", 0o644), A], engine: &[] },
    Case { name: "own-links", dockerfile: "FROM busybox:1.35\nCOPY links /l\nCOPY a /l/to-dir/x\nCOPY a /l/to-file\nCOPY a /l/away/y\n", items: &[A, Folder("links/dir", 0o755), Link("links/to-dir", "dir"), File("links/file", "old", 0o600), Link("links/to-file", "file"), Link("links/away", "/not/there/yet")], engine: &[] },
    Case { name: "empty-folders", dockerfile: "FROM busybox:1.35\nCOPY dir /x\nCOPY none /y\n", items: &[Folder("dir/a/b/c", 0o755), Folder("none", 0o700)], engine: &[] },
    Case { name: "arguments", dockerfile: "ARG BASE=busybox:1.35 DIR=/top\nFROM ${BASE}\nARG DIR\nARG NAME=${DIR:+set}-${NO:-unset}\nARG TARGETARCH\nENV WHERE=$DIR/$NAME EMPTY=\nCOPY a $WHERE/${EMPTY:-x}\nCOPY a '/$HOME'\nLABEL where=$WHERE arch=$TARGETARCH\n", items: &[A], engine: &[] },
    Case { name: "environment", dockerfile: "FROM busybox:1.35\nENV A=1 B=\"two words\" C=three\\ words\nENV D $A and $B\nENV A=2 E=$A PATH=/x:$PATH\nENV F='$A' G=\\$A\n", items: &[], engine: &[] },
    Case { name: "escape", dockerfile: "# escape=`\nFROM busybox:1.35\nCOPY a `\n  # in between\n  /x/\nENV A=b` c D=C:\\x\n", items: &[A], engine: &[] },
    Case { name: "labels", dockerfile: "FROM busybox:1.35\nLABEL a=1 \"b c\"=\"d e\" f='g h' \\\n  long=\"one \\\n two\"\nLABEL a=2\n", items: &[], engine: &[] },
    Case { name: "command", dockerfile: "FROM busybox:1.35\nCMD echo $HOME \"a b\"\n", items: &[], engine: &[] },
    Case { name: "entrypoint-takes-the-command", dockerfile: "FROM busybox:1.35\nENTRYPOINT [\"/bin/sh\"]\n", items: &[], engine: &[] },
    Case { name: "entrypoint-and-command", dockerfile: "FROM busybox:1.35\nCMD [\"a\", \"b\"]\nENTRYPOINT exec x $Y\n", items: &[], engine: &[] },
    Case { name: "shell", dockerfile: "FROM busybox:1.35\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\nCMD a b\nENTRYPOINT []\n", items: &[], engine: &[] },
    Case { name: "other-settings", dockerfile: "FROM busybox:1.35\nMAINTAINER me\nEXPOSE 80 443/tcp 53/udp 8000-8002\nVOLUME /data [\"x\"]\nVOLUME [\"/with space\"]\nSTOPSIGNAL SIGQUIT\nUSER 65534\nHEALTHCHECK --interval=5s --timeout=1m30s --retries=2 CMD x || exit 1\n", items: &[], engine: &[] },
    Case { name: "stages-of-files", dockerfile: "FROM busybox:1.35 AS one\nARG X=1\nENV A=$X\nCMD one\nCOPY a /one\nFROM scratch AS unused\nCOPY a /unused\nFROM one\nENTRYPOINT [\"e\"]\nCOPY a /two-$X\n", items: &[A], engine: &[] },
    Case { name: "settings-of-the-base", dockerfile: "FROM redis:7\nCOPY a data/\nENV REDIS_VERSION=0 MORE=1\n", items: &[A], engine: &[] },
    Case { name: "chmod-special-bits", dockerfile: "FROM busybox:1.35\nCOPY --chmod=4755 a /x/su\nCOPY --chmod=2711 tree /y/z\nCOPY --chmod=1777 a /w/\n", items: TREE, engine: &["/w: folder 777 0:0 <> folder 755 0:0", "/w/a: file 1777 0:0 2 bytes <> file 777 0:0 2 bytes", "/x/su: file 4755 0:0 2 bytes <> file 755 0:0 2 bytes", "/y: folder 711 0:0 <> folder 755 0:0", "/y/z: folder 711 0:0 <> folder 755 0:0", "/y/z/again: file 2711 0:0 2 bytes <> file 711 0:0 2 bytes", "/y/z/empty: folder 2711 0:0 <> folder 711 0:0", "/y/z/one: file 2711 0:0 2 bytes <> file 711 0:0 2 bytes", "/y/z/sub: folder 2711 0:0 <> folder 711 0:0", "/y/z/sub/two: file 2711 0:0 3 bytes <> file 711 0:0 3 bytes"] },
    Case { name: "chmod-changes", dockerfile: "FROM busybox:1.35\nCOPY --chmod=u+x,go-r a /x/one\nCOPY --chmod=a=rX,u+w tree /y/\nCOPY --chmod=g=u,+t tree /z\nCOPY --chmod=go= a /w/\nCOPY --chmod=ug+s,o=g a /v\nCOPY --chmod=-x+X a tree/sub /u/\n", items: TREE, engine: UNABLE },
    Case { name: "chmod-changes-of-special-bits", dockerfile: "FROM busybox:1.35\nCOPY --chmod=a-s dir /a/\nCOPY --chmod=-t dir /b/\nCOPY --chmod==rw dir /c/\nCOPY --chmod=u=rws dir /d/\nCOPY --chmod=+rt dir /e/\nCOPY --chmod=u=xg dir /f/\n", items: &[File("dir/su", "1", 0o4751), File("dir/sg", "2", 0o2610), File("dir/st", "3", 0o1604), Folder("dir/f", 0o7711)], engine: UNABLE },
    Case { name: "chmod-of-links", dockerfile: "FROM busybox:1.35\nCOPY --chmod=711 to-a dir /x/\n", items: &[A, Link("to-a", "a"), Link("dir/up", "../a"), Folder("dir/sub", 0o755)], engine: &["/x: folder 711 0:0 <> folder 755 0:0"] },
    Case { name: "chmod-from-an-argument", dockerfile: "FROM busybox:1.35\nARG MODE=0700 USER=5\nCOPY --chmod=$MODE --chown=$USER:6 a /x/y\n", items: &[A], engine: &["/x: folder 700 5:6 <> folder 755 5:6", "/x/y: file 700 5:6 2 bytes <> file 644 5:6 2 bytes"] },
    Case { name: "chmod-over-existing", dockerfile: "FROM busybox:1.35\nCOPY tree /x\nCOPY --chmod=705 tree /x\nCOPY --chmod=700 a /tmp/\nCOPY --chmod=600 a /etc/group\n", items: TREE, engine: &[] },
    Case { name: "link", dockerfile: "FROM debian:bookworm-slim\nCOPY --link a /bin/x\nCOPY --link tree /new/y\nCOPY --link --chown=3:4 a /z/\nCOPY --link a /tmp/\n", items: TREE, engine: UNABLE },
    Case { name: "link-with-mode", dockerfile: "FROM debian:bookworm-slim\nCOPY --link --chmod=711 a /bin/x\nADD --link=true --chmod=u+x a /sbin/y\nCOPY --link=false a /bin/z\n", items: &[A], engine: UNABLE },
    Case { name: "link-over-own-files", dockerfile: "FROM busybox:1.35\nCOPY --chown=7:8 --chmod=700 tree /x\nCOPY --link a /x/sub/\nCOPY a /x/sub/b\nCOPY --link a /x/one\n", items: TREE, engine: UNABLE },
    Case { name: "link-and-workdir", dockerfile: "FROM busybox:1.35\nUSER 9\nWORKDIR /w/v\nCOPY --link a .\nCOPY --link a ../u/\n", items: &[A], engine: UNABLE },
    Case { name: "here-documents", dockerfile: "FROM busybox:1.35\nENV NAME=World\nWORKDIR /w\nCOPY <<EOF hello.txt\nHello, $NAME ${NO:-nobody} \\$NAME \"quoted\" 'single $NAME' back\\slash `tick` <<x $\n\n# no comment\n\ttab\nEOF\nCOPY --chmod=755 --chown=1:2 <<'RAW' <<-\"TABS\" a /d/\n$NAME \\$NAME\nRAW\n\t\tone\n\ttwo $NAME\n three\n\tTABS\nADD <<a.tar /t/\nno archive\na.tar\nCOPY <<empty /e\nempty\n", items: &[A], engine: UNABLE },
    Case { name: "here-documents-with-windows-lines", dockerfile: "FROM busybox:1.35\r\nCOPY <<EOF /x\r\none\r\ntwo\r\nEOF\r\nENV A=1\r\n", items: &[], engine: UNABLE },
    // The second /x/c is longer than the first: of two files of one length that were written within one tick of the clock,
    // BuildKit takes the second for the first, and leaves it out of its layer.
    Case { name: "here-documents-of-one-name", dockerfile: "FROM busybox:1.35\nCOPY <<a <<b /x/\n1\na\n2\nb\nCOPY <<a /x/c\n3\na\nCOPY <<c /x/\nfour\nc\nCOPY --chmod=u=rw,go=,+X --link <<d /new/d\n5\nd\n", items: &[], engine: UNABLE },
    Case { name: "here-documents-and-escape", dockerfile: "# escape=`\nFROM busybox:1.35\nENV A=1\nCOPY <<EOF `\n  /x\n`$A \\$A ${A:+\"$A\"} ${A:-'}'}\nEOF\n", items: &[], engine: UNABLE },
    Case { name: "workdir-forms", dockerfile: "FROM busybox:1.35\nWORKDIR /a/\nWORKDIR b//c/\nWORKDIR ./d/../e\nCOPY a x\n", items: &[A], engine: &[] },
    Case { name: "workdir-absolute-forms", dockerfile: "FROM busybox:1.35\nWORKDIR //a/../b/./c\nCOPY a x\n", items: &[A], engine: &[] },
    Case { name: "workdir-root", dockerfile: "FROM busybox:1.35\nWORKDIR /\nCOPY a x\nWORKDIR ..\n", items: &[A], engine: &[] },
    Case { name: "workdir-through-links", dockerfile: "FROM busybox:1.35\nCOPY links /l\nUSER 5\nWORKDIR /l/to-dir/new\nWORKDIR /l/away/deep\nCOPY a .\n", items: &[A, Folder("links/dir", 0o750), Link("links/to-dir", "dir"), Link("links/away", "/not/there/yet")], engine: &[] },
    Case { name: "workdir-of-a-name", dockerfile: "FROM debian:bookworm-slim\nUSER www-data:mail\nWORKDIR /d/e\nCOPY a .\nUSER games\nWORKDIR f\n", items: &[A], engine: &[] },
    Case { name: "workdir-on-scratch", dockerfile: "FROM scratch\nWORKDIR /app\nCOPY a .\n", items: &[A], engine: &[] },
    Case { name: "nothing-on-scratch", dockerfile: "FROM scratch\nCOPY no*match /\nLABEL a=b\n", items: &[A], engine: &[] },
    Case { name: "only-settings", dockerfile: "FROM busybox:1.35\nCMD [\"a\"]\n", items: &[], engine: &[] },
    Case { name: "ports", dockerfile: "FROM busybox:1.35\nARG P=7\nEXPOSE 1/TCP 2/udp 3/sctp 4-6 $P ${P}0-72/udp 0\n", items: &[], engine: &[] },
    Case { name: "signals", dockerfile: "FROM busybox:1.35\nSTOPSIGNAL 9\nARG S=QUIT\nSTOPSIGNAL SIG$S\n", items: &[], engine: &[] },
    Case { name: "health-checks", dockerfile: "FROM busybox:1.35\nHEALTHCHECK --interval=1h2m3s4ms --start-period=2s --timeout=0s --retries=0 CMD [\"a\", \"b c\"]\n", items: &[], engine: UNABLE },
    Case { name: "no-health-check", dockerfile: "FROM busybox:1.35\nHEALTHCHECK CMD x\nHEALTHCHECK NONE\n", items: &[], engine: &[] },
    Case { name: "volumes", dockerfile: "FROM busybox:1.35\nENV V=/v\nVOLUME $V/a \"/q\" /b\nVOLUME [\"$V\", \"/c\"]\nCOPY a /b/\n", items: &[A], engine: &[] },
    Case { name: "commands-without-a-shell", dockerfile: "FROM busybox:1.35\nENTRYPOINT []\nCMD []\n", items: &[], engine: &[] },
    Case { name: "commands-that-look-like-lists", dockerfile: "FROM busybox:1.35\nENTRYPOINT [ -f x ] && y\nCMD ['a', 'b']\n", items: &[], engine: &[] },
    Case { name: "commands-over-lines", dockerfile: "FROM busybox:1.35\nENTRYPOINT a  \\\n   b   \\\n# comment\n\n   c\nCMD [\"x\", \\\n  \"y\"]\n", items: &[], engine: &[] },
    Case { name: "stages-and-commands", dockerfile: "FROM busybox:1.35 AS one\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\nUSER 3\nWORKDIR /one\nSHELL [\"/bin/ash\", \"-c\"]\nFROM one AS two\nENTRYPOINT f\nWORKDIR two\nCOPY a .\n", items: &[A], engine: &[] },
    Case { name: "arguments-and-variables", dockerfile: "FROM busybox:1.35\nENV A=env\nARG A=arg\nLABEL one=$A\nENV A=again\nARG B=$A\nLABEL two=$A three=$B four=${B:+x}\nARG A=more\nENV C=$A\n", items: &[], engine: &[] },
    Case { name: "predefined-arguments", dockerfile: "ARG TARGETARCH\nFROM busybox:1.35\nLABEL none=\"$TARGETARCH$HTTP_PROXY\"\nARG TARGETOS TARGETPLATFORM BUILDPLATFORM TARGETVARIANT\nLABEL os=$TARGETOS platform=$TARGETPLATFORM build=$BUILDPLATFORM variant=$TARGETVARIANT\n", items: &[], engine: &[] },
    Case { name: "quotes", dockerfile: "FROM busybox:1.35\nENV A=\"a\\\"b\" B='c\\'  C=d\\\"e F=\"\\x\\$y\" G=h\"i j\"'k l'm\nLABEL a=\"x=y\" 'b c'=d e=\\'\nCOPY \"a\" '/x'\nUSER \"1\"\nWORKDIR \"/w w\"\n", items: &[A], engine: &[] },
    Case { name: "destinations", dockerfile: "FROM busybox:1.35\nWORKDIR /w\nCOPY a ./\nCOPY a x/.\nCOPY a y/../z\nCOPY a /v/./u//t\nCOPY dir .\nCOPY dir ./s/\nCOPY a ../..//r\n", items: &[A, File("dir/b", "b", 0o600)], engine: &["/w/x: folder 755 0:0 <> file 644 0:0 2 bytes", "/w/x/a: file 644 0:0 2 bytes <> nothing"] },
    Case { name: "sources", dockerfile: "FROM busybox:1.35\nCOPY ./a /1/\nCOPY /a /2/\nCOPY ../a /3/\nCOPY dir/../a /4/\nCOPY dir/. /5/\nCOPY ./ /6/\nCOPY dir/ dir /7/\nCOPY a a /8/\n", items: &[A, File("dir/b", "b", 0o600)], engine: &[] },
    Case { name: "same-names", dockerfile: "FROM busybox:1.35\nCOPY one/x two/x /d/\nCOPY one two /e/\n", items: &[File("one/x", "1", 0o600), File("two/x", "22", 0o755), File("one/d/y", "3", 0o644), Folder("two/d", 0o700)], engine: &[] },
    Case { name: "escaped-names", dockerfile: "FROM busybox:1.35\nCOPY [\"a[[]1].txt\", \"b\\\\*c\", \"/x/\"]\nCOPY [[]z] /y/\n", items: &[File("a[1].txt", "1", 0o644), File("b*c", "2", 0o644), File("bbc", "3", 0o644), File("[z]", "4", 0o644)], engine: &[] },
    Case { name: "globs-through-links", dockerfile: "FROM busybox:1.35\nCOPY link/*.txt /x/\nCOPY l*/*.txt /y/\nCOPY *nk /z/\n", items: &[File("dir/a.txt", "1", 0o644), Link("link", "dir"), File("lot/b.txt", "2", 0o644)], engine: &[] },
    Case { name: "hard-links-over-two-copies", dockerfile: "FROM busybox:1.35\nCOPY one two /x/\nCOPY . /y/\nCOPY --chown=4:4 --chmod=700 one two /z/\n", items: &[File("one", "same", 0o644), Second("two", "one")], engine: &["/z: folder 700 4:4 <> folder 755 4:4"] },
    Case { name: "hard-links-and-ignored-names", dockerfile: "FROM busybox:1.35\nCOPY . /x/\n", items: &[File(".dockerignore", "a-first\n", 0o644), File("a-first", "same", 0o644), Second("b-second", "a-first"), Second("c-third", "a-first")], engine: &[] },
    Case { name: "empty-files", dockerfile: "FROM busybox:1.35\nCOPY dir /x/\n", items: &[File("dir/none", "", 0o644), File("dir/also", "", 0o000), Second("dir/third", "dir/none")], engine: &[] },
    Case { name: "modes", dockerfile: "FROM busybox:1.35\nCOPY dir /x/\nCOPY dir/none /none\n", items: &[File("dir/none", "1", 0o000), File("dir/all", "2", 0o777), Folder("dir/closed", 0o000), Folder("dir/seven", 0o7777), File("dir/seven/f", "3", 0o7777)], engine: &[] },
    Case { name: "folder-over-link-of-own", dockerfile: "FROM busybox:1.35\nCOPY links /l\nCOPY dir /l/to-dir\nCOPY dir /l/to-dir/\n", items: &[Folder("links/dir", 0o700), Link("links/to-dir", "dir"), File("dir/x", "1", 0o600), Folder("dir/y", 0o711)], engine: &[] },
    Case { name: "file-over-link-in-a-folder", dockerfile: "FROM busybox:1.35\nCOPY one /x\nCOPY two /x\n", items: &[File("one/f", "1", 0o600), Link("one/l", "f"), Link("two/f", "l"), File("two/l", "22", 0o755)], engine: &[] },
    Case { name: "base-with-files-hidden", dockerfile: "FROM redis:7\nCOPY --chown=redis:redis a /data/\nCOPY --chown=redis a /usr/local/etc/redis/redis.conf\nCOPY a /run/lock/x\n", items: &[A], engine: &[] },
    Case { name: "chown-kept-over-existing", dockerfile: "FROM busybox:1.35\nCOPY --chown=5:6 tree /x\nCOPY tree /x\nCOPY --chown=9 a /x/new/\nCOPY --chown=8 a /x/one\n", items: TREE, engine: &[] },
    Case { name: "capabilities", dockerfile: "FROM busybox:1.35\nCOPY bin /x/\nCOPY --chown=5:6 bin/one /y/\nADD bin/one /z\n", items: &[File("bin/one", "1", 0o755), Capability("bin/one", MAY_BIND), Second("bin/two", "bin/one"), File("bin/three", "3", 0o755)], engine: &[] },
    Case { name: "syntax", dockerfile: "# escape=\\\n\n# a comment\nfrom busybox:1.35\n  copy   a    /x  \n\tEnv a=b\n", items: &[A], engine: UNABLE },
];
