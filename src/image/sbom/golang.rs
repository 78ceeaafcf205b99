//! Go programs: the modules that they were built from stand in the program itself, since Go 1.18 as two texts behind a mark
//! (<https://pkg.go.dev/debug/buildinfo>). Older programs hold pointers there instead, and are not looked into.

use super::{Ecosystem, Package};
use std::io::{self, Read};

/// The mark.
const MARK: &[u8; 14] = b"\xff Go buildinf:";
/// The texts begin so far behind the start of the mark.
const HEADER: usize = 32;
/// The flag that says that texts follow, in the last byte of the 16 that begin with the mark.
const INLINE: u8 = 2;
/// Every ELF file begins so.
const ELF: &[u8] = b"\x7fELF";
/// So much is read at once.
const CHUNK: usize = 256 * 1024;
/// The list of a program's modules is not longer than this.
const LONGEST: usize = 16 * 1024 * 1024;

/// A part of a program that is read from its start to its end, once.
struct Window<'a, R> {
    /// The program.
    program: &'a mut R,
    /// What is in sight.
    bytes: Vec<u8>,
}

impl<R: Read> Window<'_, R> {
    /// Brings this many bytes in sight; `false` where the program ends before.
    fn reach(&mut self, wanted: usize) -> io::Result<bool> {
        while self.bytes.len() < wanted {
            let missing = (wanted - self.bytes.len()).max(CHUNK) as u64;
            if self.program.take(missing).read_to_end(&mut self.bytes)? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A text: its length in groups of seven bits, then its bytes. `None` where there is none, else with where it ends.
    fn text(&mut self, at: usize) -> io::Result<Option<(String, usize)>> {
        let (mut length, mut shift, mut start) = (0_usize, 0, at);
        loop {
            if shift > 28 || !self.reach(start + 1)? {
                return Ok(None);
            }
            let byte = self.bytes[start];
            length |= usize::from(byte & 0x7f) << shift;
            (shift, start) = (shift + 7, start + 1);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if length > LONGEST || !self.reach(start + length)? {
            return Ok(None);
        }
        Ok(Some((String::from_utf8_lossy(&self.bytes[start..start + length]).into_owned(), start + length)))
    }
}

/// The modules of a program; none where it is no Go program.
pub(super) fn packages(program: &mut impl Read, place: &str) -> io::Result<Vec<Package>> {
    let mut window = Window { program, bytes: Vec::new() };
    if !window.reach(ELF.len())? || !window.bytes.starts_with(ELF) {
        return Ok(Vec::new());
    }
    loop {
        if let Some(at) = find(&window.bytes) {
            window.bytes.drain(..at);
            if let Some((version, modules)) = texts(&mut window)? {
                return Ok(modules_of(&version, &modules, place));
            }
            window.bytes.drain(..MARK.len()); // the mark as a word, as programs that read programs have it
            continue;
        }
        let passed = window.bytes.len().saturating_sub(MARK.len() - 1);
        window.bytes.drain(..passed);
        let more = window.bytes.len() + 1;
        if !window.reach(more)? {
            return Ok(Vec::new());
        }
    }
}

/// Where the mark stands.
fn find(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == MARK[0]) {
        if bytes[from + at..].starts_with(MARK) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// The two texts behind the mark at which the window begins.
fn texts(window: &mut Window<'_, impl Read>) -> io::Result<Option<(String, String)>> {
    if !window.reach(HEADER)? || window.bytes[MARK.len() + 1] & INLINE == 0 {
        return Ok(None);
    }
    let Some((version, end)) = window.text(HEADER)? else { return Ok(None) };
    if !version.starts_with("go") && !version.starts_with("devel") {
        return Ok(None);
    }
    let Some((modules, _)) = window.text(end)? else { return Ok(Some((version, String::new()))) };
    Ok(Some((version, modules)))
}

/// The modules of the lines `mod`, `dep` and `=>`, which replaces the one before, and the standard library.
fn modules_of(version: &str, lines: &str, place: &str) -> Vec<Package> {
    let number = version.strip_prefix("go").unwrap_or_default().split(' ').next().unwrap_or_default();
    let mut packages = vec![Package::new(Ecosystem::Go, "stdlib", number, place)];
    for line in lines.lines() {
        let mut words = line.split('\t');
        let (word, path, version) = (words.next(), words.next(), words.next());
        let Some((path, word)) = path.filter(|path| !path.is_empty()).zip(word) else { continue };
        let version = version.filter(|version| *version != "(devel)").unwrap_or_default();
        match word.trim_matches(|c: char| !c.is_ascii_graphic()) {
            "=>" if packages.len() > 1 => {
                packages.pop();
            }
            // The line of the main module may follow the mark of 16 bytes that encloses the list.
            word if word == "dep" || word.ends_with("mod") => {}
            _ => continue,
        }
        packages.push(Package::new(Ecosystem::Go, path, version, place));
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODULES: &str = "path\texample.com/cmd\nmod\texample.com/app\t(devel)\t\ndep\tgithub.com/a/b\tv1.2.3\th1:x=\n\
                           dep\tgithub.com/c/d\tv0.1.0\th1:y=\n=>\tgithub.com/fork/d\tv0.1.1\th1:z=\nbuild\tCGO_ENABLED=0\n";

    /// A program with the mark at some place.
    fn program(before: usize) -> Vec<u8> {
        let mut bytes = ELF.to_vec();
        bytes.resize(before.max(4), 0xff);
        bytes.extend(MARK);
        bytes.extend(b" is what this program looks for in others ............");
        bytes.extend(MARK);
        bytes.extend([8, INLINE]);
        bytes.resize(bytes.len() + 16, 0);
        for text in ["go1.22.4", &format!("0123456789abcdef{MODULES}0123456789abcdef")] {
            let (mut length, mut digits) = (text.len(), Vec::new());
            while length >= 0x80 {
                digits.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            digits.push(u8::try_from(length).unwrap());
            bytes.extend(digits);
            bytes.extend(text.as_bytes());
        }
        bytes.extend([0; 100]);
        bytes
    }

    /// The names and versions.
    fn names(bytes: &[u8]) -> Vec<String> {
        let packages = packages(&mut &*bytes, "app").unwrap();
        packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect()
    }

    const WANTED: [&str; 4] =
        ["stdlib 1.22.4", "example.com/app ", "github.com/a/b v1.2.3", "github.com/fork/d v0.1.1"];

    #[test]
    fn modules_are_found_wherever_the_mark_stands() {
        for before in [4, 100, CHUNK - 20, CHUNK - 7, CHUNK, 3 * CHUNK + 5] {
            assert_eq!(names(&program(before)), WANTED, "{before}");
        }
    }

    #[test]
    fn other_programs_have_none() {
        assert!(names(b"").is_empty() && names(b"#!/bin/sh\n").is_empty());
        assert!(names(&[ELF, &[0xff; 1000]].concat()).is_empty());
        let whole = program(50);
        assert!(names(&whole[..180]).len() <= 1, "a program that breaks off is no reason to panic");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut in 0_usize..400) {
            let mut program = program(20);
            program.truncate(cut);
            program.extend(bytes);
            let _ = names(&program);
        }
    }
}
