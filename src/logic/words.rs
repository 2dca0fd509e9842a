//! How spans of time, numbers of tokens, bytes and things are said, on a terminal, on pages and in messages alike.
//!
//! What differs on purpose stays apart: the labels of a time axis (`report::words::after`) are shorter than a sentence wants
//! them, and a page groups the digits of a [`number`], which on a terminal is copied, searched for, and held against JSON.

use std::time::Duration;

use jiff::SignedDuration;

use crate::model::outcome::Tokens;

/// A number of things.
pub fn plural(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

/// A span of time in its largest unit, for a column and for `… ago`: `12s`, `5m`, `3h`, `2d`.
pub fn age(time: SignedDuration) -> String {
    match whole_seconds(time) {
        s @ ..60 => format!("{s}s"),
        s @ ..3600 => format!("{}m", s / 60),
        s @ ..86_400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// A span of time in its two largest units, while it passes: `12s`, `5m 02s`, `3h 04m`, `2d 03h`.
pub fn span(time: SignedDuration) -> String {
    match whole_seconds(time) {
        s @ ..60 => format!("{s}s"),
        s @ ..3600 => format!("{}m {:02}s", s / 60, s % 60),
        s @ ..86_400 => format!("{}h {:02}m", s / 3600, s % 3600 / 60),
        s => format!("{}d {:02}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// How long something took: as [`span`], of less than a minute finer: `340ms`, `4.2s`.
pub fn took(time: SignedDuration) -> String {
    let millis = time.as_millis().max(0);
    match millis {
        ..1000 => format!("{millis}ms"),
        1000..60_000 => format!("{}.{}s", millis / 1000, millis % 1000 / 100),
        _ => span(time),
    }
}

/// How long something may take, as it was set: `200ms`, `10s`, `1m 30s`.
pub fn bound(time: Duration) -> String {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    if time.subsec_nanos() == 0 { span(time) } else { took(time) }
}

/// A clock that was set back makes no span negative.
fn whole_seconds(time: SignedDuration) -> i64 {
    time.as_secs().max(0)
}

/// A number of tokens, short: `950`, `12.3k`, `4.5M`.
pub fn short(n: u64) -> String {
    match n {
        ..1000 => n.to_string(),
        1000..1_000_000 => format!("{}.{}k", n / 1000, n % 1000 / 100),
        _ => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
    }
}

/// A number with a blank between thousands, at which no line ends.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let first = digits.len() % 3;
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            out.push('\u{a0}');
        }
        out.push(digit);
    }
    out
}

/// What was spent, in words.
pub fn spent(t: Tokens) -> String {
    format!("{} in ({} cached), {} out", t.input, t.cached, t.output)
}

/// The same for a page.
pub fn spent_on_page(t: Tokens) -> String {
    let (input, cached, output) = (number(t.input), number(t.cached), number(t.output));
    format!("{input} in ({cached} cached), {output} out")
}

/// A number of bytes: `512 B`, `1.5 KiB`, `3 MiB`, `12 GiB`; never more than there are.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut unit, mut one) = (0, 1024);
    while bytes / one >= 1024 && unit + 1 < UNITS.len() {
        (unit, one) = (unit + 1, one * 1024);
    }
    let (whole, tenths) = (bytes / one, bytes % one * 10 / one);
    let tenths = if whole < 10 && tenths > 0 { format!(".{tenths}") } else { String::new() };
    format!("{whole}{tenths} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_said_as_it_was_set() {
        for (millis, said) in [(0, "0s"), (200, "200ms"), (10_000, "10s"), (90_000, "1m 30s")] {
            assert_eq!(bound(Duration::from_millis(millis)), said);
        }
        assert!(bound(Duration::MAX).ends_with('h'));
    }

    #[test]
    fn times_are_said_in_two_units_at_most() {
        for (millis, brief, passing, exact) in [
            (-5, "0s", "0s", "0ms"),
            (340, "0s", "0s", "340ms"),
            (4_290, "4s", "4s", "4.2s"),
            (59_999, "59s", "59s", "59.9s"),
            (60_000, "1m", "1m 00s", "1m 00s"),
            (200_000, "3m", "3m 20s", "3m 20s"),
            (3_599_000, "59m", "59m 59s", "59m 59s"),
            (7_500_000, "2h", "2h 05m", "2h 05m"),
            (86_400_000, "1d", "1d 00h", "1d 00h"),
            (273_600_000, "3d", "3d 04h", "3d 04h"),
        ] {
            let time = SignedDuration::from_millis(millis);
            let said = (age(time), span(time), took(time));
            assert_eq!(said, (brief.into(), passing.into(), exact.into()), "{millis} ms");
        }
    }

    #[test]
    fn numbers_are_readable() {
        for (n, long, brief) in [
            (0, "0", "0"),
            (7, "7", "7"),
            (999, "999", "999"),
            (1234, "1\u{a0}234", "1.2k"),
            (123_456, "123\u{a0}456", "123.4k"),
            (999_999, "999\u{a0}999", "999.9k"),
            (2_500_000, "2\u{a0}500\u{a0}000", "2.5M"),
        ] {
            assert_eq!((number(n).as_str(), short(n).as_str()), (long, brief));
        }
        let t = Tokens { input: 12_300, cached: 300, output: 45 };
        assert_eq!(spent(t), "12300 in (300 cached), 45 out");
        assert_eq!(spent_on_page(t), "12\u{a0}300 in (300 cached), 45 out");
    }

    #[test]
    fn bytes_are_rounded_down_to_two_digits_or_more() {
        const KIB: u64 = 1024;
        const MIB: u64 = 1024 * KIB;
        const GIB: u64 = 1024 * MIB;
        for (bytes, words) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (KIB, "1 KiB"),
            (1536, "1.5 KiB"),
            (MIB - 1, "1023 KiB"),
            (3 * MIB, "3 MiB"),
            (264 * MIB, "264 MiB"),
            (GIB - 1, "1023 MiB"),
            (GIB + GIB / 2, "1.5 GiB"),
            (10 * GIB - 1, "9.9 GiB"),
            (25 * GIB + GIB / 2, "25 GiB"),
            (2048 * GIB, "2 TiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(size(bytes), words);
        }
    }

    #[test]
    fn one_is_not_several() {
        assert_eq!([0, 1, 2].map(|n| plural(n, "job")), ["0 jobs", "1 job", "2 jobs"]);
    }
}
