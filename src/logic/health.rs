//! Whether the machine lets new work begin: how much room is enough, which errors are the machine's and not a job's, and
//! when a machine that was not fit is looked at again.
//!
//! Promises: a daemon that is not fit says why once, keeps that reason until it is fit, and is looked at every
//! [`RETEST`], however often it is asked.

use std::time::Duration;

use super::words::size;

/// Bytes that stay free on each file system, where nothing else is set and it is not a large one.
const LEAST_BYTES: u64 = 256 * MIB;
/// Of a large one, and of its files, one in so many stays free.
const SHARE: u64 = 50;
/// Time between two tests of a machine that is not fit.
pub const RETEST: Duration = Duration::from_secs(5);
/// Bytes of a unit that people read.
const MIB: u64 = 1024 * 1024;

/// A folder, and what is left of the file system that it lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The folder.
    pub place: String,
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// All bytes.
    pub bytes: u64,
    /// Files that may still be made.
    pub free_files: u64,
    /// All files; 0 where they are not counted.
    pub files: u64,
    /// Whether nothing can be written there.
    pub is_read_only: bool,
    /// Bytes that are to be put by there first: what was given up for the end of work does not let new work begin.
    pub owed_bytes: u64,
}

impl Volume {
    /// The bytes that stay free here: as many as are set, else 256 MiB or one in 50, whichever is more; none if 0 is set.
    pub fn kept_free(&self, set: Option<u64>) -> u64 {
        match set {
            Some(0) => 0,
            Some(set) => set.saturating_add(self.owed_bytes),
            None => LEAST_BYTES.max(self.bytes / SHARE) + self.owed_bytes,
        }
    }

    /// What new work needs, in words.
    fn needed(&self, kept: u64) -> String {
        let all = format!("new work begins with {} or more", size(kept));
        let (free, owed) = (size(kept.saturating_sub(self.owed_bytes)), size(self.owed_bytes));
        if self.owed_bytes == 0 {
            return format!("{all} (`min_free`)");
        }
        format!(
            "{all}: {free} that stay free (`min_free`) and {owed} to put by, with which what runs can end"
        )
    }

    /// Why no new work may begin here, with what to do about it.
    fn problem(&self, set: Option<u64>) -> Option<String> {
        let (place, kept) = (&self.place, self.kept_free(set));
        if self.is_read_only {
            return Some(told(place, "it is mounted read-only", Fault::ReadOnly));
        }
        if self.free_bytes < kept {
            let what =
                format!("the disk has {} left, and {}", size(self.free_bytes), self.needed(kept));
            return Some(told(place, &what, Fault::Full));
        }
        if self.free_files < self.files / SHARE {
            let what = format!("{} more files fit of {}", self.free_files, self.files);
            return Some(told(place, &what, Fault::Full));
        }
        None
    }
}

/// What is wrong with a machine when a call of the system says so: no job is to blame for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk, or the user's part of it, is full.
    Full,
    /// The disk does not do what it is told.
    Broken,
    /// It is mounted for reading alone.
    ReadOnly,
    /// There are too many open files.
    Handles,
}

impl Fault {
    fn what_to_do(self) -> &'static str {
        match self {
            Self::Full => "free some room there",
            Self::Broken => "look after the disk",
            Self::ReadOnly => "mount it for writing",
            Self::Handles => "raise the limit of open files",
        }
    }
}

/// A problem in one line: where, what, what to do.
pub fn told(place: &str, what: &str, fault: Fault) -> String {
    format!("{place}: {what}: {}", fault.what_to_do())
}

/// Why no new work may begin on these, if so.
pub fn short_of(volumes: &[Volume], set: Option<u64>) -> Option<String> {
    volumes.iter().find_map(|volume| volume.problem(set))
}

/// Whether a text tells of a full disk, as programs do that were run.
pub fn tells_of_want_of_room(text: &str) -> bool {
    ["No space left on device", "Disk quota exceeded"].iter().any(|words| text.contains(words))
}

/// How fit a daemon's machine is.
#[derive(Debug, Default)]
pub struct Health {
    why: Option<String>,
    next_test: Duration,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Nothing new may begin, and why.
    Degraded(String),
    /// It may again, and what it had been.
    Recovered(String),
}

impl Health {
    /// Why nothing new may begin, if so.
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// When it is to be tested; at once where it is fit, since new work may begin at any time.
    pub fn next_test(&self) -> Duration {
        if self.why.is_some() { self.next_test } else { Duration::ZERO }
    }

    /// Takes in what a test, or an error on the way, has shown.
    pub fn found(&mut self, problem: Option<String>, now: Duration) -> Option<News> {
        match (self.why.take(), problem) {
            (None, None) => None,
            (Some(was), None) => Some(News::Recovered(was)),
            (before, Some(problem)) => {
                self.next_test = now + RETEST;
                let is_news = before.is_none();
                let why = self.why.insert(before.unwrap_or(problem));
                is_news.then(|| News::Degraded(why.clone()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(free_bytes: u64, bytes: u64, free_files: u64, files: u64) -> Volume {
        let place = "/v".to_owned();
        Volume { place, free_bytes, bytes, free_files, files, is_read_only: false, owed_bytes: 0 }
    }

    #[test]
    fn room_is_enough_above_256_mib_or_one_in_fifty_or_what_is_set() {
        const GIB: u64 = 1024 * MIB;
        for (free, bytes, set, is_short) in [
            (256 * MIB, GIB, None, false),
            (256 * MIB - 1, GIB, None, true),
            (2 * GIB, 100 * GIB, None, false),
            (2 * GIB - 1, 100 * GIB, None, true),
            (MIB, 100 * GIB, Some(MIB), false),
            (MIB - 1, 100 * GIB, Some(MIB), true),
            (GIB, 100 * GIB, Some(2 * GIB), true),
            (0, 100 * GIB, Some(0), false),
        ] {
            let found = short_of(&[volume(free, bytes, 0, 0)], set);
            assert_eq!(found.is_some(), is_short, "{free} of {bytes}, {set:?}: {found:?}");
        }
    }

    #[test]
    fn what_was_given_up_is_owed_before_new_work_begins_unless_nothing_is_to_stay_free() {
        for (free, set, is_short) in [
            (9 * MIB, Some(MIB), false),
            (9 * MIB - 1, Some(MIB), true),
            (264 * MIB, None, false),
            (264 * MIB - 1, None, true),
            (0, Some(0), false),
        ] {
            let owing = Volume { owed_bytes: 8 * MIB, ..volume(free, MIB, 0, 0) };
            let found = short_of(&[owing], set);
            assert_eq!(found.is_some(), is_short, "{free}, {set:?}: {found:?}");
        }
    }

    #[test]
    fn files_are_enough_above_one_in_fifty_and_where_they_are_not_counted() {
        for (free, files, is_short) in
            [(0, 0, false), (1, 100, true), (2, 100, false), (0, 40, false), (0, 50, true)]
        {
            let found = short_of(&[volume(MIB, MIB, free, files)], Some(0));
            assert_eq!(found.is_some(), is_short, "{free} of {files}: {found:?}");
        }
    }

    #[test]
    fn one_line_says_where_what_and_what_to_do() {
        let read_only = Volume { is_read_only: true, ..volume(MIB, MIB, 9, 9) };
        let good = volume(MIB << 20, MIB, 9, 9);
        for (bad, says) in [
            (read_only, "/v: it is mounted read-only: mount it for writing"),
            (
                volume(3 * MIB, 9 * MIB, 9, 9),
                "/v: the disk has 3 MiB left, and new work begins with 256 MiB or more (`min_free`): free some room there",
            ),
            (volume(MIB << 20, MIB, 1, 200), "/v: 1 more files fit of 200: free some room there"),
        ] {
            assert_eq!(short_of(&[good.clone(), bad], None).as_deref(), Some(says));
        }
    }

    #[test]
    fn a_reason_is_news_once_and_is_kept_until_all_is_well() {
        let mut health = Health::default();
        let second = Duration::from_secs;
        let steps: [(Option<&str>, u64, Option<News>, u64); 6] = [
            (None, 1, None, 0),
            (Some("full"), 2, Some(News::Degraded("full".into())), 7),
            (Some("fuller"), 7, None, 12),
            (Some("full"), 8, None, 13),
            (None, 13, Some(News::Recovered("full".into())), 0),
            (None, 14, None, 0),
        ];
        for (problem, now, news, next) in steps {
            let found = health.found(problem.map(str::to_owned), second(now));
            assert_eq!((found, health.next_test()), (news, second(next)), "at {now}");
        }
        assert_eq!(health.why(), None);
    }
}
