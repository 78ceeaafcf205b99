//! Images made of files, filled in.

use super::Filler;
use crate::config::needs::Part;
use crate::config::raw::{RawAssembly, RawCommand, RawCopy, Text};
use crate::config::validate;
use crate::config::{Assembly, FileCopy, War};
use crate::model::{Platform, Reference};

/// An image made of files. Its files are looked at later.
pub(super) fn assembly(filler: &mut Filler<'_>, raw: &RawAssembly, path: &str, platform: Platform) -> Option<Assembly> {
    let part = Some(Part::Images);
    let from = filler.value(raw.from.as_ref()?, &format!("{path}.from"), part, base)?;
    let root = raw.root.as_ref().map(|root| filler.value(root, &format!("{path}.root"), part, validate::absolute_path));
    let war = raw.war.as_ref().map(|war| filler.text(war, &format!("`{path}.war`"), part).text);
    let root = root.unwrap_or_else(|| Some(String::new()))?;
    let war = war.map(|war| War { path: filler.root.join(war), root });
    let copy = raw.copy.iter().filter_map(|raw| copy(filler, raw, path)).collect();
    let entrypoint = raw.entrypoint.as_ref().map(|raw| command(filler, raw, &format!("`{path}.entrypoint`")));
    let cmd = raw.cmd.as_ref().map(|raw| command(filler, raw, &format!("`{path}.cmd`")));
    let expose = raw.expose.iter();
    let expose =
        expose.filter_map(|port| filler.value(port, &format!("{path}.expose"), part, validate::port)).collect();
    let workdir = raw.workdir.as_ref();
    let workdir = workdir.and_then(|dir| filler.value(dir, &format!("{path}.workdir"), part, validate::absolute_path));
    let user = raw.user.as_ref().map(|user| filler.text(user, &format!("`{path}.user`"), part).text);
    let mut pairs = |pairs: &[(Text, Text)], key: &str| {
        let pair = |(name, value): &(Text, Text)| {
            (name.value.clone(), filler.text(value, &format!("`{path}.{key}.{}`", name.value), part).text)
        };
        pairs.iter().map(pair).collect::<Vec<_>>()
    };
    let (env, labels) = (pairs(&raw.env, "env"), pairs(&raw.labels, "labels"));
    Some(Assembly { from, war, copy, entrypoint, cmd, env, user, workdir, expose, labels, platform })
}

/// The base: an image, or nothing.
fn base(text: &str) -> Result<Option<Reference>, String> {
    if text == "scratch" {
        return Ok(None);
    }
    let rule = "an image is written `NAME:TAG`, such as `debian:bookworm-slim`; `scratch` is none";
    Reference::parse(text).map(Some).map_err(|_| rule.to_owned())
}

/// An entry of `copy`.
fn copy(filler: &mut Filler<'_>, raw: &RawCopy, path: &str) -> Option<FileCopy> {
    let part = Some(Part::Images);
    let place = format!("{path}.copy.{}", raw.source.value);
    let source = filler.text(&raw.source, &format!("`{path}.copy`"), part).text;
    let to = filler.value(&raw.to, &place, part, validate::absolute_path)?;
    let chown = raw.chown.as_ref().map(|chown| filler.text(chown, &format!("`{place}.chown`"), part).text);
    let chmod = raw.chmod.as_ref().map(|chmod| filler.value(chmod, &format!("{place}.chmod"), part, mode));
    let chmod = match chmod {
        Some(None) => return None,
        Some(Some(mode)) => Some(mode),
        None => None,
    };
    Some(FileCopy { source: filler.root.join(source), to, chown, chmod })
}

/// Permission bits in octal.
fn mode(text: &str) -> Result<u32, String> {
    let rule = || "these are permission bits in octal, such as `0755`".to_owned();
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(rule)
}

/// A command; a line is one for the shell, as in a Dockerfile.
fn command(filler: &mut Filler<'_>, raw: &RawCommand, who: &str) -> Vec<String> {
    let mut text = |text: &Text| filler.text(text, who, Some(Part::Images)).text;
    match raw {
        RawCommand::List(list) => list.iter().map(text).collect(),
        RawCommand::Line(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text(line)],
    }
}
