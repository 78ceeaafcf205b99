//! Modes as `--chmod` has them: octal, or changes as chmod(1) writes them.
//!
//! In: the text of the flag. Out: what a mode becomes. `BuildKit` reads changes as BSD's `setmode` does
//! (<https://man.freebsd.org/cgi/man.cgi?query=setmode&sektion=3>), which differs from GNU's chmod where an action names
//! a class or `t` beside other letters; so does this.

use std::iter::Peekable;
use std::str::Chars;

/// What `--chmod` makes of modes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The same for everything, with set-user-id, set-group-id and sticky.
    Octal(u32),
    /// What changes of the mode that a file has.
    Changes(Vec<Change>),
}

/// One change. Changes are made one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These bits are set.
    Set(u32),
    /// These bits are taken away.
    Clear(u32),
    /// These bits are set on folders, and on files that somebody may run: `X`.
    SetToRun(u32),
    /// The bits of one class go to others: `g=u`.
    Copy {
        /// Where the class's bits begin: 6 for the user, 3 for the group, 0 for others.
        from: u32,
        /// Where those begin that change.
        to: Vec<u32>,
        /// `+`, `-` or `=`.
        action: char,
    },
}

/// Set-user-id.
const SET_USER: u32 = 0o4000;
/// Set-group-id.
const SET_GROUP: u32 = 0o2000;
/// Sticky.
const STICKY: u32 = 0o1000;
/// What an action changes that names no class: everything but sticky.
const USUAL: u32 = SET_USER | SET_GROUP | 0o777;

impl Mode {
    /// Reads the text of a flag; `None` where it is neither form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
            return u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).map(Self::Octal);
        }
        changes(text).map(Self::Changes)
    }

    /// What the mode of a file, or of a folder, becomes.
    pub(crate) fn apply(&self, mode: u32, is_folder: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Changes(changes) => {
                let may_run = is_folder || mode & 0o111 != 0;
                changes.iter().fold(mode, |mode, change| change.apply(mode, may_run))
            }
        }
    }

    /// The mode of folders that are made above what is copied: Go's `os.MkdirAll` knows nothing of the special bits in
    /// the form in which it is given them, and changes have nothing to change.
    pub(crate) fn of_parents(&self) -> Option<u32> {
        match self {
            Self::Octal(mode) => Some(mode & 0o777),
            Self::Changes(_) => None,
        }
    }
}

impl Change {
    /// The mode after the change.
    fn apply(&self, mode: u32, may_run: bool) -> u32 {
        match self {
            Self::Set(bits) => mode | bits,
            Self::Clear(bits) => mode & !bits,
            Self::SetToRun(bits) if may_run => mode | bits,
            Self::SetToRun(_) => mode,
            Self::Copy { from, to, action } => {
                let value = mode >> from & 0o7;
                to.iter().fold(mode, |mode, to| match action {
                    '+' => mode | value << to,
                    '-' => mode & !(value << to),
                    _ => mode & !(0o7 << to) | value << to,
                })
            }
        }
    }
}

/// Reads `u=rwx,go+X`.
fn changes(text: &str) -> Option<Vec<Change>> {
    let (mut rest, mut all) = (text.chars().peekable(), Vec::new());
    loop {
        let mut who = 0;
        while let Some(class) = rest.next_if(|c| matches!(c, 'a' | 'u' | 'g' | 'o')) {
            who |= match class {
                'a' => USUAL,
                'u' => SET_USER | 0o700,
                'g' => SET_GROUP | 0o070,
                _ => 0o007,
            };
        }
        let mut action = rest.next()?;
        loop {
            if !matches!(action, '+' | '-' | '=') {
                return None;
            }
            read_action(action, &mut who, &mut rest, &mut all);
            match rest.next() {
                None => return Some(all),
                Some(',') => break,
                Some(next) => action = next,
            }
        }
    }
}

/// Reads the letters after a `+`, `-` or `=`.
fn read_action(action: char, who: &mut u32, rest: &mut Peekable<Chars<'_>>, all: &mut Vec<Change>) {
    let (mut bits, mut to_run, mut is_done) = (0, 0, action != '=');
    *who &= !STICKY;
    while let Some(letter) = rest.next_if(|c| "rstwxXugo".contains(*c)) {
        let not_only_others = *who == 0 || *who & !0o007 != 0;
        match letter {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'X' if action != '-' => to_run = 0o111,
            'x' | 'X' => bits |= 0o111,
            's' if not_only_others => bits |= SET_USER | SET_GROUP,
            't' if not_only_others => {
                *who |= STICKY;
                bits |= STICKY;
            }
            's' | 't' => {}
            class => {
                flush(action, *who, &mut bits, &mut to_run, all);
                is_done = true;
                let from = match class {
                    'u' => 6,
                    'g' => 3,
                    _ => 0,
                };
                let to = [6, 3, 0].into_iter().filter(|to| *who == 0 || *who & 0o4 << to != 0).collect();
                all.push(Change::Copy { from, to, action });
            }
        }
    }
    if bits == 0 && !is_done {
        all.push(Change::Clear(if *who == 0 { USUAL } else { *who })); // `go=`
    }
    flush(action, *who, &mut bits, &mut to_run, all);
}

/// Makes changes of the letters that were read so far.
fn flush(action: char, who: u32, bits: &mut u32, to_run: &mut u32, all: &mut Vec<Change>) {
    let of = |bits: u32| if who == 0 { bits } else { bits & who };
    let (set, run) = (of(std::mem::take(bits)), of(std::mem::take(to_run)));
    if set != 0 && action == '-' {
        all.push(Change::Clear(set));
    } else if set != 0 {
        all.extend((action == '=').then_some(Change::Clear(if who == 0 { USUAL } else { who })));
        all.push(Change::Set(set));
    }
    all.extend((run != 0).then_some(Change::SetToRun(run)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a flag makes of the mode of a file.
    fn file(text: &str, mode: u32) -> u32 {
        Mode::parse(text).unwrap().apply(mode, false)
    }

    #[test]
    fn modes_are_set_or_changed() {
        for (text, from, to) in [
            ("0755", 0o644, 0o755),
            ("4711", 0o644, 0o4711),
            ("u+x", 0o644, 0o744),
            ("+x", 0o644, 0o755),
            ("a=rX", 0o644, 0o444),
            ("a=rX", 0o744, 0o555),
            ("go=", 0o4755, 0o4700),
            ("g=u", 0o4640, 0o4660),
            ("o-g", 0o4757, 0o4752),
            ("u=rwx,g=rx,o=", 0o4000, 0o750),
            ("u+r-w=x", 0o600, 0o100),
            ("ug+s,+t", 0o755, 0o7755),
            ("o+s,o+t", 0o755, 0o755),
            ("a-s", 0o7755, 0o1755),
            ("=rw", 0o7755, 0o1666),
            ("-X", 0o755, 0o644),
            ("+rt", 0o600, 0o1600), // as BSD reads it
            ("u=xg", 0o740, 0o440),
        ] {
            assert_eq!(file(text, from), to, "{text} on {from:o}");
        }
        assert_eq!(Mode::parse("a=rX").unwrap().apply(0o700, true), 0o555);
        assert_eq!(Mode::parse("a=rX").unwrap().apply(0o600, true), 0o555);
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "8", "10000", "u", "u+y", "u+x,", ",u+x", "+755", "x", "u+x g+x", "-"] {
            assert_eq!(Mode::parse(text).is_none(), text != "-", "{text}");
        }
    }

    #[test]
    fn parents_have_no_special_bits() {
        assert_eq!(Mode::parse("4711").unwrap().of_parents(), Some(0o711));
        assert_eq!(Mode::parse("u+x").unwrap().of_parents(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ugoa+=,rwxXst-]{0,12}", mode in 0_u32..0o10000) {
            if let Some(read) = Mode::parse(&text) {
                prop_assert!(read.apply(mode, false) <= 0o7777);
            }
        }

        #[test]
        fn an_octal_mode_is_what_it_says(mode in 0_u32..0o10000, before in 0_u32..0o10000) {
            prop_assert_eq!(file(&format!("{mode:o}"), before), mode);
        }

        #[test]
        fn setting_all_classes_one_by_one_is_octal(mode in 0_u32..0o1000, before in 0_u32..0o10000) {
            let class = |shift: u32| ["", "x", "w", "wx", "r", "rx", "rw", "rwx"][(mode >> shift & 7) as usize];
            let text = format!("u={},g={},o={}", class(6), class(3), class(0));
            prop_assert_eq!(file(&text, before), mode | before & STICKY);
        }
    }
}
