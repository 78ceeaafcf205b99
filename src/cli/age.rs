//! Ages on the command line: `36h`, `30d`.

use jiff::SignedDuration;

/// Reads a whole number with a unit, `s`, `m`, `h`, `d` or `w`; `0` needs none.
pub(super) fn parse(text: &str) -> Result<SignedDuration, String> {
    let wanted = || format!("`{text}` is no age like `36h`, `30d` or `8w`");
    if text == "0" {
        return Ok(SignedDuration::ZERO);
    }
    let unit = text.chars().last().ok_or_else(wanted)?;
    let seconds: i64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(wanted()),
    };
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wanted())?;
    seconds.checked_mul(i64::from(number)).map(SignedDuration::from_secs).ok_or_else(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        for (text, hours) in [("0", 0), ("0s", 0), ("90m", 1), ("36h", 36), ("30d", 720), ("2w", 336)] {
            assert_eq!(parse(text).unwrap().as_hours(), hours, "{text}");
        }
        for text in ["", "1", "d", "-1d", "1.5h", "1y", "é", "99999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
