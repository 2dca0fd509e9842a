//! Durations as people write them: `"90s"`, `"10m"`, `"2h"`, `"1h30m"`, `"500ms"`; and what a clock that was set means for them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serializer};

/// Longest duration that a setting may name.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// How far a clock may be set back without anybody minding.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(60);

/// Reads a duration of a setting or an option: numbers, each with one of the units `ms s m h d`, largest first by habit, in any
/// order.
pub fn parse(text: &str) -> Option<Duration> {
    parse_age(text).filter(|total| *total <= LONGEST)
}

/// Reads a duration that may be of any length, such as an age.
pub fn parse_age(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let ms = unit(rest.get(..letters)?)?.checked_mul(count)?;
        total = total.checked_add(Duration::from_millis(ms))?;
        rest = rest.get(letters..)?;
    }
    Some(total)
}

/// A unit in milliseconds.
fn unit(letters: &str) -> Option<u64> {
    match letters {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    }
}

/// Writes a duration in the largest unit that divides it, so that [`parse`] gives it back.
pub fn format(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms != 0 && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

/// For `#[serde(with = "duration")]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&format(*duration))
}

/// For `#[serde(with = "duration")]`.
///
/// # Errors
/// When the text is not a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text)
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a duration like \"90s\"")))
}

/// Whether something was written down by a clock that was ahead of this one: times that follow from it mean nothing.
pub fn was_ahead(written: Timestamp, now: Timestamp) -> bool {
    written > now + CLOCK_SLACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_a_unit_only() {
        for (text, ms) in
            [("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("1h30m", 5_400_000), ("5ms", 5)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "10", "s", "1x", "-1s", "1.5h", "99999999999999999999s", "400d", "1 s"] {
            assert_eq!(parse(bad), None, "{bad}");
            assert_eq!(parse_age(bad).is_some(), bad == "400d", "{bad}");
        }
    }

    #[test]
    fn a_written_duration_reads_back_the_same() {
        let longest = u64::try_from(LONGEST.as_millis()).expect("fits");
        let odd = 50 * 86_400_000 + 1;
        for ms in [0, 1, 1500, 60_000, 3_600_000, 86_400_000, 90_000, odd, longest - 1, longest] {
            let d = Duration::from_millis(ms);
            assert_eq!(parse(&format(d)), Some(d));
        }
    }
}
