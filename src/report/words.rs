//! How times and states are shown on the pages; spans and numbers are said as everywhere, by [`crate::logic::words`].

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::html::Html;
use crate::model::claim::Holder;
use crate::model::id::JobId;
use crate::model::status::{self, JobPhase, TaskPhase};

/// How a state feels: a class of the style sheet.
pub(super) type Tone = &'static str;

/// Most holders that are named at once.
const MOST_HOLDERS: usize = 8;

/// It went well.
pub(super) const GOOD: Tone = "good";
/// It went wrong.
pub(super) const BAD: Tone = "bad";
/// It waits for something.
pub(super) const WAIT: Tone = "wait";
/// It is under way.
pub(super) const LIVE: Tone = "live";
/// It is of no matter any more, or not yet.
pub(super) const OFF: Tone = "off";

/// How a job's state feels.
pub(super) fn job_tone(phase: JobPhase) -> Tone {
    class(phase.tone())
}

/// How a task's state feels.
pub(super) fn task_tone(phase: TaskPhase) -> Tone {
    class(phase.tone())
}

fn class(tone: status::Tone) -> Tone {
    match tone {
        status::Tone::Good => GOOD,
        status::Tone::Bad => BAD,
        status::Tone::Wait => WAIT,
        status::Tone::Live => LIVE,
        status::Tone::Off => OFF,
    }
}

/// A sign for a tone, drawn, so that it looks the same everywhere.
pub(super) fn sign(html: &mut Html, tone: Tone, says: &str) {
    let inside = match tone {
        GOOD => "M4.5 8.4l2.4 2.4 4.8-5.2",
        BAD => "M5.3 5.3l5.4 5.4M10.7 5.3l-5.4 5.4",
        WAIT => "M8 4.6v3.6l2.4 1.6",
        LIVE => "M8 3.4a4.6 4.6 0 0 1 4.6 4.6",
        _ => "M5 8h6",
    };
    let class = format!("sign {tone}");
    let attributes = [
        ("class", class.as_str()),
        ("viewBox", "0 0 16 16"),
        ("role", "img"),
        ("aria-label", says),
    ];
    html.within("svg", &attributes, |html| {
        html.shape("circle", &[("cx", "8"), ("cy", "8"), ("r", "7.25")]);
        html.shape("path", &[("d", inside)]);
    });
}

/// A state in a word, as a label of its tone.
pub(super) fn label(html: &mut Html, tone: Tone, word: &str) {
    let class = format!("label {tone}");
    html.leaf("span", &[("class", &class)], word);
}

/// A time since the beginning, as short as an axis wants it.
pub(super) fn after(time: SignedDuration) -> String {
    let seconds = time.as_secs().max(0);
    match seconds {
        0 => "0".to_owned(),
        1..60 => format!("{seconds}s"),
        60..3600 if seconds % 60 == 0 => format!("{}m", seconds / 60),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}", seconds / 3600, seconds % 3600 / 60),
        _ if seconds % 86_400 < 60 => format!("{}d", seconds / 86_400),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Who holds something: the task alone where it is one of this job; of many the first.
pub(super) fn holders<'a>(all: impl ExactSizeIterator<Item = &'a Holder>, job: &JobId) -> String {
    let more = all.len().saturating_sub(MOST_HOLDERS);
    let name = |of: &Holder| {
        if of.job == *job { of.task.to_string() } else { format!("{}/{}", of.job, of.task) }
    };
    let names: Vec<String> = all.take(MOST_HOLDERS).map(name).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &more
}

/// A moment, in the zone of whoever wrote the page.
pub(super) fn moment(html: &mut Html, at: Timestamp, zone: &TimeZone) {
    html.leaf("time", &[("datetime", &at.to_string())], &moment_words(at, zone));
}

/// The same as a text.
pub(super) fn moment_words(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The time of day.
pub(super) fn clock_time(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_short_labels() {
        for (millis, on_axis) in [
            (340, "0"),
            (4_290, "4s"),
            (200_000, "3:20"),
            (120_000, "2m"),
            (7_500_000, "2h05"),
            (273_600_000, "3d4h"),
            (-5, "0"),
        ] {
            assert_eq!(after(SignedDuration::from_millis(millis)), on_axis);
        }
    }
}
