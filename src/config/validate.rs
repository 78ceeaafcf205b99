//! Whether values mean something, and whether what refers to each other is there. Pure: files have been read already.

use super::MaxAge;
use super::raw::{Problem, RawConfig};
use crate::model::{Platform, Reference, listed, nearest};
use std::time::Duration;

/// A DNS label (RFC 1123), which names of namespaces and Services must be.
pub(super) fn dns_label(text: &str) -> Result<(), String> {
    if text.len() > 63 {
        return Err("a name has at most 63 characters".to_owned());
    }
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
    if text.chars().all(inner) && edge(text.chars().next()) && edge(text.chars().last()) {
        Ok(())
    } else {
        Err("lower-case letters, digits and `-` inside make a name".to_owned())
    }
}

/// Labels with dots between, which most other names of Kubernetes are.
pub(super) fn dns_subdomain(text: &str) -> Result<(), String> {
    if text.len() > 253 {
        return Err("a name has at most 253 characters".to_owned());
    }
    text.split('.').try_for_each(|label| dns_label(label).map_err(|_| subdomain_rule()))
}

/// What a subdomain is made of.
fn subdomain_rule() -> String {
    "lower-case letters, digits, `-` and `.` inside make a name".to_owned()
}

/// The host name that requests carry.
pub(super) fn host_name(text: &str) -> Result<(), String> {
    dns_subdomain(text).map_err(|_| "this is a host name without scheme, port and path: `todo.example.com`".to_owned())
}

/// A variable that manifests may hold: of the environment, or one of Seaway's own with a dot.
pub(super) fn variable_name(text: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let name = !text.is_empty() && text.chars().all(inner) && !text.starts_with(|c: char| c.is_ascii_digit());
    if name { Ok(()) } else { Err("write the name alone: `substitute: [NAME]`".to_owned()) }
}

/// The key of an image, which becomes a part of a repository's path.
pub(super) fn image_key(text: &str) -> Result<(), String> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| edge(c) || matches!(c, '-' | '_' | '.' | '/');
    if text.chars().all(inner) && text.starts_with(edge) && text.ends_with(edge) {
        Ok(())
    } else {
        Err("lower-case letters, digits, and `-`, `_`, `.` inside make the name of an image".to_owned())
    }
}

/// An image of the Docker Engine: a name with a tag or without, a digest, or an id.
pub(super) fn engine_image(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("sha256:").unwrap_or(text);
    let is_id = id.len() >= 12 && id.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase());
    if is_id || Reference::parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("this is an image as `docker images` shows it: `backend:dev`, or its id".to_owned())
}

/// The key of a value in a Secret.
pub(super) fn secret_key(text: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.is_empty() && text.len() <= 253 && text.chars().all(inner) {
        Ok(())
    } else {
        Err("letters, digits, `-`, `_` and `.` make the key of a Secret's value".to_owned())
    }
}

/// A duration as Go and Kubernetes write it: `10m`, `1s500ms`, `1.5h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let rule = || "a duration is a number and a unit: `500ms`, `5s`, `10m`, `1h30m`".to_owned();
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(rule)?;
        let number: f64 = rest[..digits].parse().map_err(|_| rule())?;
        let letters = &rest[digits..];
        let end = letters.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(letters.len());
        let seconds = match &letters[..end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(rule()),
        };
        total += Duration::try_from_secs_f64(number * seconds).map_err(|_| rule())?;
        rest = &letters[end..];
    }
    if total > Duration::from_hours(24) {
        return Err("a deploy waits at most 24 hours".to_owned());
    }
    if text.is_empty() || (total.is_zero() && !text.starts_with('0')) { Err(rule()) } else { Ok(total) }
}

/// How old an image may be: `7d`, `12h`, `1w2d`, or `none` for any age.
pub(crate) fn max_age(text: &str) -> Result<MaxAge, String> {
    let rule = || "an age is a number and a unit, `12h`, `7d`, `2w`, or `none` for any age".to_owned();
    if text == "none" {
        return Ok(MaxAge::Any);
    }
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(rule)?;
        let number: u64 = rest[..end].parse().map_err(|_| rule())?;
        let unit = rest[end..].chars().next();
        let seconds = match unit {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 24 * 3600,
            Some('w') => 7 * 24 * 3600,
            _ => return Err(rule()),
        };
        let part = number.checked_mul(seconds).map(Duration::from_secs);
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(rule)?;
        rest = &rest[end + 1..];
    }
    if text.is_empty() { Err(rule()) } else { Ok(MaxAge::Limit(total)) }
}

/// An HTTP status.
pub(super) fn status(text: &str) -> Result<u16, String> {
    let rule = || "a status is a number from 100 to 599".to_owned();
    text.parse().ok().filter(|status| (100..=599).contains(status)).ok_or_else(rule)
}

/// The architectures of images, in Go's words (<https://github.com/opencontainers/image-spec/blob/main/image-index.md>).
const ARCHITECTURES: [&str; 12] =
    ["amd64", "arm64", "arm", "386", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64le", "riscv64", "s390x"];

/// What other tools call an architecture.
const OTHER_NAMES: [(&str, &str); 5] =
    [("x86_64", "amd64"), ("x86-64", "amd64"), ("aarch64", "arm64"), ("armhf", "arm"), ("i386", "386")];

/// `os/architecture[/variant]`.
pub(super) fn platform(text: &str) -> Result<Platform, String> {
    let platform = Platform::parse(text).ok_or_else(|| "a platform is written `linux/amd64`".to_owned())?;
    let unknown = |part: &str, meant: Option<&str>| match meant {
        Some(meant) => Err(format!("there is no `{part}`: did you mean `{meant}`?")),
        None => Err(format!("there is no `{part}`; a platform is written `linux/amd64`")),
    };
    let (os, architecture) = (platform.os.as_str(), platform.architecture.as_str());
    if !["linux", "windows"].contains(&os) {
        return unknown(os, nearest(os, ["linux", "windows"]));
    }
    if !ARCHITECTURES.contains(&architecture) {
        let other = OTHER_NAMES.iter().find(|(name, _)| *name == architecture).map(|(_, meant)| *meant);
        return unknown(architecture, other.or_else(|| nearest(architecture, ARCHITECTURES)));
    }
    Ok(platform)
}

/// A path of a request, whose variables may still be open.
pub(super) fn request_path(text: &str) -> Result<(), String> {
    if text.starts_with('/') && !text.contains(char::is_whitespace) {
        return Ok(());
    }
    Err("a path starts with `/` and has no spaces: the address comes from `expose`".to_owned())
}

/// A place in a JSON answer.
pub(super) fn json_path(text: &str) -> Result<(), String> {
    let rule = |reason: String| format!("a place in the answer is a JSON path, such as `$.id` or `$[0].title`{reason}");
    if !text.starts_with('$') {
        return Err(rule(String::new()));
    }
    jsonpath_rust::parser::parse_json_path(text).map(|_| ()).map_err(|_| rule(String::new()))
}

/// The name of a value that a smoke step saves.
pub(super) fn saved_name(text: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.chars().all(inner) {
        Ok(())
    } else {
        Err("letters, digits, `-` and `_` make the name of a saved value".to_owned())
    }
}

/// The name of a header (RFC 9110, token).
pub(super) fn header_name(text: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !text.is_empty() && text.chars().all(inner) {
        Ok(())
    } else {
        Err("this is not the name of a header".to_owned())
    }
}

/// The name of an annotation of an image: anything that stands in one line
/// (<https://github.com/opencontainers/image-spec/blob/main/annotations.md#rules>).
pub(super) fn annotation_name(text: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if !text.is_empty() && text.chars().all(inner) {
        Ok(())
    } else {
        Err("letters, digits, `.`, `-`, `_` and `/` make a name, such as `org.opencontainers.image.licenses`"
            .to_owned())
    }
}

/// What the sections of deploy.yml want of each other.
pub(super) fn sections(raw: &RawConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let (None, Some(image)) = (&raw.registry, raw.images.first()) {
        let problem = Problem::new(image.key.span, "there are images, but no `registry` to put them in");
        problems.push(
            problem.hint(
                "name a DigitalOcean registry: `registry: NAME`, or another one: `registry: { host: ghcr.io, … }`",
            ),
        );
    }
    for (at, step) in raw.smoke.iter().enumerate() {
        let bodiless = step.request.as_ref().filter(|(method, _)| matches!(method.as_str(), "GET" | "HEAD"));
        if let (Some((method, _)), Some(json)) = (bodiless, &step.json) {
            let problem = Problem::new(json.span, format!("`smoke[{at}]` sends a body with {method}"));
            problems.push(
                problem.hint("what the answer must hold goes under `expect`; a body goes with post, put or patch"),
            );
        }
    }
    problems
}

/// The names of the images, those included whose entry has mistakes.
pub(super) fn image_keys(raw: &RawConfig) -> Vec<&str> {
    raw.images.iter().map(|image| image.key.value.as_str()).collect()
}

/// A choice among environments that is none of them.
pub(super) fn unknown_environment<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> (String, String) {
    let message = format!("there is no environment `{name}` in deploy.yml");
    let hint = match nearest(name, names.clone()) {
        Some(right) => format!("did you mean `--env {right}`?"),
        None if names.clone().next().is_none() => "leave `--env` out, or add `environments` to deploy.yml".to_owned(),
        None => format!("the environments are {}", listed(names)),
    };
    (message, hint)
}

/// A path inside of an image.
pub(super) fn absolute_path(text: &str) -> Result<String, String> {
    let rule = "it is a path inside of the image and begins with a slash: `/usr/local/bin/`";
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err(rule.to_owned()) }
}

/// A port with a protocol or without.
pub(super) fn port(text: &str) -> Result<String, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let fits = number.parse::<u16>().is_ok() && matches!(protocol, "tcp" | "udp" | "sctp");
    if fits { Ok(text.to_owned()) } else { Err("it is a port such as `8080`, or `53/udp`".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, milliseconds) in
            [("500ms", 500), ("5s", 5_000), ("10m", 600_000), ("1s500ms", 1_500), ("1.5m", 90_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "1d", "-1s", "10m5", "1..5s", "99999999999h", "25h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn platforms_are_those_that_there_are() {
        for text in ["linux/amd64", "linux/arm/v7", "linux/arm64/v8", "windows/amd64", "linux/riscv64", "linux/386"] {
            assert_eq!(platform(text).map(|platform| platform.to_string()), Ok(text.to_owned()));
        }
        for (text, meant) in [
            ("linux/amd46", "`amd64`"),
            ("linux/x86_64", "`amd64`"),
            ("linux/aarch64", "`arm64`"),
            ("linux/armhf/v7", "`arm`"),
            ("lunix/amd64", "`linux`"),
            ("darwin/arm64", "written `linux/amd64`"),
            ("linux/z80", "written `linux/amd64`"),
            ("amd64", "written `linux/amd64`"),
            ("linux/", "written `linux/amd64`"),
        ] {
            let problem = platform(text).unwrap_err();
            assert!(problem.contains(meant), "{text}: {problem}");
        }
    }

    #[test]
    fn ages_have_days_and_weeks() {
        let hours = |hours| Ok(MaxAge::Limit(Duration::from_hours(hours)));
        for (text, wanted) in [
            ("7d", hours(168)),
            ("1w1d12h", hours(204)),
            ("90m", Ok(MaxAge::Limit(Duration::from_mins(90)))),
            ("0s", hours(0)),
            ("none", Ok(MaxAge::Any)),
        ] {
            assert_eq!(max_age(text), wanted, "{text}");
        }
        for text in ["", "7", "d", "7 d", "-1d", "1y", "1.5d", "99999999999999999w", "never", "7d\u{e9}"] {
            assert!(max_age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_dns_labels() {
        for text in ["todo", "todo-app-prod", "a", "1a"] {
            assert_eq!(dns_label(text), Ok(()), "{text}");
        }
        for text in ["", "Todo", "-a", "a-", "a.b", "a_b", &"a".repeat(64)] {
            assert!(dns_label(text).is_err(), "{text}");
        }
        assert_eq!(dns_subdomain("a.b-c"), Ok(()));
        assert!(dns_subdomain("a..b").is_err());
    }

    #[test]
    fn json_paths_start_at_the_root() {
        for text in ["$", "$.id", "$[0].title", "$.a['b c']"] {
            assert_eq!(json_path(text), Ok(()), "{text}");
        }
        for text in ["", "id", "$.[", "$["] {
            assert!(json_path(text).is_err(), "{text}");
        }
    }
}
