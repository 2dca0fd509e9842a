//! When a limit is over, from the words of its message: codex says "try again at 7:46 AM", in the local time of its machine
//! and with the date only if that is another day, where the service sent no number.

use jiff::civil::{Date, Time};
use jiff::fmt::strtime;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

/// The words before the time.
const MARK: &str = "try again at ";
/// Minutes are cut in the message, so the moment may lie anywhere in its minute.
const ONE_MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// The moment that a message names; `None` where it names none. `now` says what today is, and in which zone.
pub fn named_in(message: &str, now: &ZonedDateTime) -> Option<Timestamp> {
    let (_, rest) = message.split_once(MARK)?;
    let text = rest.lines().next()?.trim().trim_end_matches('.');
    let (date, time) = dated(text).or_else(|| Some((None, time(text)?)))?;
    let on = |date: Date| {
        Some(date.to_datetime(time).to_zoned_datetime(now.time_zone().clone()).ok()? + ONE_MINUTE)
    };
    let then = match date {
        Some(date) => on(date)?,
        // Without a date it is the next time that the clock shows this.
        None => on(now.date())
            .filter(|then| then > now)
            .or_else(|| on(now.date().tomorrow().ok()?))?,
    };
    Some(then.timestamp())
}

/// `Nov 27th, 2026 7:46 AM`.
fn dated(text: &str) -> Option<(Option<Date>, Time)> {
    let (day, rest) = text.split_once(", ")?;
    let day = day.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let rest = words(rest, 3);
    let parsed = strtime::parse("%b %d %Y %I:%M %p", format!("{day} {rest}")).ok()?;
    let moment = parsed.to_datetime().ok()?;
    Some((Some(moment.date()), moment.time()))
}

/// `7:46 AM`, with whatever follows it.
fn time(text: &str) -> Option<Time> {
    strtime::parse("%I:%M %p", words(text, 2)).ok()?.to_time().ok()
}

/// The first words of a text, without the stop after them.
fn words(text: &str, count: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().take(count).collect();
    words.join(" ").trim_end_matches(['.', ',']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_moment_of_the_named_kind_is_meant() {
        let now: ZonedDateTime = "2026-11-25T07:40:30+01:00[Europe/Vienna]".parse().expect("time");
        for (message, expected) in [
            (
                "You’ve hit your usage limit. Upgrade or try again at 7:46 AM.",
                "2026-11-25T06:47:00Z",
            ),
            ("try again at 7:40 AM.", "2026-11-25T06:41:00Z"),
            ("try again at 7:39 AM.", "2026-11-26T06:40:00Z"),
            ("try again at 12:05 AM.", "2026-11-25T23:06:00Z"),
            ("try again at Nov 27th, 2026 7:46 PM.", "2026-11-27T18:47:00Z"),
            ("try again at Dec 1st, 2026 1:00 AM. More.", "2026-12-01T00:01:00Z"),
        ] {
            let moment = named_in(message, &now);
            assert_eq!(moment, expected.parse().ok(), "{message}");
        }
        for message in ["try again later", "try again at noon", "try again at 25:00 AM", ""] {
            assert_eq!(named_in(message, &now), None, "{message}");
        }
    }
}
