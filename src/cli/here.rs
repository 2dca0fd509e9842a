//! What every command has at hand: the root, the way out, and how the terminal wants to be written on.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use super::ink::{Colour, Ink};
use super::out::Out;
use crate::model::root::Root;
use crate::os::{clock, console};

/// How to write for the one who reads.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// Columns.
    pub(super) width: usize,
    /// Columns at which a text is folded; none where nothing tells how wide a line may be.
    pub(super) folds: Option<usize>,
    /// Colours or none.
    pub(super) ink: Ink,
    /// The zone that times are shown in; none for the machine's own, which is read where a time is shown.
    pub(super) zone: Option<TimeZone>,
    /// The moment that ages are counted to.
    pub(super) now: Timestamp,
}

impl View {
    /// As stdout and the environment ask for.
    pub(super) fn of_terminal(asked: Colour) -> Self {
        Self {
            width: console::width(),
            folds: console::known_width(),
            ink: Ink::on(&std::io::stdout(), asked),
            zone: None,
            now: clock::now(),
        }
    }

    /// Hour, minute and second where the reader is.
    pub(super) fn clock_time(&self, at: Timestamp) -> String {
        self.there(at).strftime("%H:%M:%S").to_string()
    }

    /// The time of day, with the day when it is another one.
    pub(super) fn moment(&self, at: Timestamp) -> String {
        let at = self.there(at);
        let today = self.there(self.now).date() == at.date();
        at.strftime(if today { "%H:%M" } else { "%Y-%m-%d %H:%M" }).to_string()
    }

    fn there(&self, at: Timestamp) -> ZonedDateTime {
        at.to_zoned_datetime(self.zone.clone().unwrap_or_else(clock::zone))
    }

    #[cfg(test)]
    pub(super) fn plain(width: usize, now: &str) -> Self {
        Self {
            width,
            folds: Some(width),
            ink: Ink { coloured: false },
            zone: Some(TimeZone::UTC),
            now: now.parse().expect("time"),
        }
    }
}

/// A command's surroundings.
pub(super) struct Here {
    /// The root it works on.
    pub(super) root: Root,
    /// Where it writes.
    pub(super) out: Out,
    /// How it writes.
    pub(super) view: View,
}

impl Here {
    /// How it writes what goes to stderr.
    pub(super) fn aside(&self) -> View {
        View { ink: self.out.ink_of_notes(), ..self.view.clone() }
    }
}
