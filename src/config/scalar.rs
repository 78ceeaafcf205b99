//! What a plain scalar stands for: text, a number, a boolean or nothing. The answer depends on the [`Dialect`].

use serde_json::{Number, Value};

/// How plain scalars are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// deploy.yml, the core schema of YAML 1.2: only `true` and `false` are booleans.
    Strict,
    /// Manifests, like kubectl's parser: `yes` is true and `0644` is octal. Source:
    /// <https://github.com/yaml/go-yaml/blob/v2.4.4/resolve.go>, which `sigs.k8s.io/yaml` and so kubectl read with.
    Kubernetes,
}

/// The value of a plain scalar.
pub(super) fn resolve(text: &str, dialect: Dialect) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => legacy_boolean(text, dialect)
            .map(Value::Bool)
            .or_else(|| number(text, dialect).map(Value::Number))
            .unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

/// The booleans of YAML 1.1.
fn legacy_boolean(text: &str, dialect: Dialect) -> Option<bool> {
    if dialect == Dialect::Strict {
        return None;
    }
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// The number that a text stands for. Infinities and NaN stay text: JSON has no word for them.
fn number(text: &str, dialect: Dialect) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return None;
    }
    let plain = if dialect == Dialect::Kubernetes { text.replace('_', "") } else { text.to_owned() };
    integer(&plain, dialect).or_else(|| float(&plain))
}

/// An integer in decimal, hexadecimal, octal or (in manifests) binary notation.
fn integer(text: &str, dialect: Dialect) -> Option<Number> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = radix(digits, dialect);
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    Number::from_i128(if negative { -value } else { value })
}

/// The digits of an integer and the base in which they are written.
fn radix(digits: &str, dialect: Dialect) -> (&str, u32) {
    let legacy = dialect == Dialect::Kubernetes;
    let prefixes: [(&str, u32, bool); 4] =
        [("0x", 16, true), ("0o", 8, true), ("0b", 2, legacy), ("0", 8, legacy && digits.len() > 1)];
    for (prefix, radix, known) in prefixes {
        match digits.strip_prefix(prefix) {
            Some(rest) if known => return (rest, radix),
            _ => {}
        }
    }
    (digits, 10)
}

/// A decimal fraction, with an exponent or not: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let shape = unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+'))
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && !unsigned.starts_with(['e', 'E', '-', '+']);
    let value = if shape { text.parse::<f64>().ok()? } else { return None };
    // A float without a fraction is written as an integer, as Go's JSON encoder does: an API server that wants an
    // integer takes `1e3` from kubectl.
    let whole = value.fract() == 0.0 && value.abs() < 1e15;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number below 1e15")]
    let number = if whole { Number::from(value as i64) } else { Number::from_f64(value)? };
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn manifests_are_read_as_kubectl_reads_them() {
        for (text, value) in [
            ("yes", json!(true)),
            ("on", json!(true)),
            ("n", json!(false)),
            ("0644", json!(420)),
            ("0o644", json!(420)),
            ("0x1F", json!(31)),
            ("0b11", json!(3)),
            ("1_000", json!(1000)),
            ("1e3", json!(1000)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("-5", json!(-5)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("0", json!(0)),
            ("~", json!(null)),
            ("", json!(null)),
            ("0899", json!(899)),
            ("10m", json!("10m")),
            ("1.2.3", json!("1.2.3")),
            ("2024-01-01", json!("2024-01-01")),
            ("-", json!("-")),
            (".", json!(".")),
            (".inf", json!(".inf")),
            ("e3", json!("e3")),
            ("1e", json!("1e")),
            ("12:30", json!("12:30")),
        ] {
            assert_eq!(resolve(text, Dialect::Kubernetes), value, "{text}");
        }
    }

    #[test]
    fn deploy_yml_is_stricter() {
        for (text, value) in [
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("0644", json!(644)),
            ("1_000", json!("1_000")),
            ("true", json!(true)),
            ("0o10", json!(8)),
        ] {
            assert_eq!(resolve(text, Dialect::Strict), value, "{text}");
        }
    }
}
