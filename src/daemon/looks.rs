//! When a file in `incoming/` is whole. A renamed one is at once; one that was closed is after a quiet time; one that no
//! event told of is when two looks, a quiet time apart, see the same. Values only: time and looks are arguments.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use crate::logic::rescan;
use crate::model::settings::Settings;
use crate::os::watch::Change;
use crate::spool::{Kind, Stamp};

/// Names remembered at a time; the rest of a flood stays in the folder until these are done.
const MAX_NAMES: usize = 10_000;

/// How many quiet times a file must stand still that was made here: either it was linked, or the event of its first write is
/// on its way, which takes its time on a busy machine.
const QUIET_TIMES_OF_MADE: u32 = 10;

/// What the events have told of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing that matters.
    Nothing,
    /// It was made here: linked, or about to be written.
    Made,
    /// It came whole.
    Renamed,
    /// Its writer closed it, at that time.
    Closed(Duration),
    /// Someone is writing; a close will be told, even if the writer dies.
    Writing,
}

/// What is known of one name.
#[derive(Debug, Clone)]
struct Look {
    told: Told,
    /// What the last look saw, and since when that has stood still.
    seen: Option<(Stamp, Duration)>,
    /// When it is to be looked at again; `None` waits for an event.
    due: Option<Duration>,
    /// When it came here, where a scan found it: of several that are due the first one that came is taken first.
    came: (i64, i64),
    /// Whether someone or something keeps us from taking it.
    is_aside: bool,
    /// What was last told to be in the way.
    complaint: Option<Box<str>>,
}

impl Look {
    fn of(due: Option<Duration>, came: (i64, i64)) -> Self {
        Self { told: Told::Nothing, seen: None, due, came, is_aside: false, complaint: None }
    }
}

/// What to do with a file now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Take it.
    Take,
    /// Leave it; it comes up again by itself.
    Leave,
}

/// The names that may become jobs.
#[derive(Debug)]
pub struct Looks {
    settle: Duration,
    /// How long an empty file is left alone that was made here: its writer has it open, or it was linked empty.
    empty: Duration,
    names: HashMap<OsString, Look>,
}

impl Looks {
    /// Knows nothing yet.
    pub fn new(settings: &Settings) -> Self {
        let (settle, soon) = (settings.settle, rescan::soon(settings.rescan));
        Self { settle, empty: soon.max(settle), names: HashMap::new() }
    }

    /// How many more names may be remembered: a flood must not fill the memory. What is left aside does not count, so that
    /// it keeps nobody else waiting.
    pub fn room(&self) -> usize {
        MAX_NAMES.saturating_sub(self.names.values().filter(|look| !look.is_aside).count())
    }

    /// Whether nothing is waiting but what someone keeps us from taking.
    pub fn is_drained(&self) -> bool {
        self.names.values().all(|look| look.is_aside)
    }

    /// Takes in what an event told of a name, at `now` on the clock that only counts. False if there is no room for it: a
    /// scan has to find it. That somebody writes is always remembered, since no scan could see it.
    pub fn tell(&mut self, name: &OsStr, change: Change, now: Duration) -> bool {
        let is_full = self.names.len() >= MAX_NAMES;
        if is_full && change != Change::Written && !self.names.contains_key(name) {
            return false;
        }
        let told = match change {
            Change::Renamed => Told::Renamed,
            Change::Closed => Told::Closed(now),
            Change::Written => Told::Writing,
            Change::Other | Change::Removed => Told::Made,
        };
        let look = self.names.entry(name.to_owned()).or_insert_with(|| Look::of(None, (0, 0)));
        // A name that was only touched is no news to what is known of it.
        let tells_how = !matches!(change, Change::Other | Change::Removed);
        if tells_how || look.told == Told::Nothing {
            look.told = told;
        }
        look.due = Some(now);
        look.is_aside = false;
        true
    }

    /// Takes in that a scan found a name, of which anything changed last at `came`; the answer is whether it was new.
    pub fn find(&mut self, name: OsString, came: (i64, i64), now: Duration) -> bool {
        let before = self.names.len();
        let look = self.names.entry(name).or_insert_with(|| Look::of(Some(now), came));
        look.due = look.due.or(Some(now));
        self.names.len() > before
    }

    /// Forgets what events told, since some were lost or never came: looks decide again. Files that are being written
    /// are still waited for, unless `all`.
    pub fn doubt(&mut self, all: bool) {
        for look in self.names.values_mut() {
            if all || look.told != Told::Writing {
                look.told = Told::Nothing;
            }
        }
    }

    /// The names to look at now, at most `limit`, in the order in which they came.
    pub fn due(&self, now: Duration, limit: usize) -> Vec<OsString> {
        let is_due = |look: &Look| look.due.is_some_and(|due| due <= now);
        let due = self.names.iter().filter(|(_, look)| is_due(look));
        let mut due: Vec<_> = due.map(|(name, look)| (look.due, look.came, name)).collect();
        if due.len() > limit {
            due.select_nth_unstable(limit);
            due.truncate(limit);
        }
        due.sort_unstable();
        due.into_iter().map(|(_, _, name)| name.clone()).collect()
    }

    /// When the next look is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.names.values().filter_map(|look| look.due).min()
    }

    /// Judges one look at a name. How old a file is by its own clock tells nothing: whoever has it open may write on.
    pub fn judge(&mut self, name: &OsStr, stamp: Stamp, now: Duration) -> Verdict {
        let (settle, empty) = (self.settle, self.empty);
        let Some(look) = self.names.get_mut(name) else { return Verdict::Leave };
        let still_since = match look.seen {
            Some((seen, since)) if seen == stamp => since,
            _ => now,
        };
        look.seen = Some((stamp, still_since));
        let due = match look.told {
            Told::Renamed => return Verdict::Take,
            Told::Closed(at) => Some(at + settle),
            Told::Writing => None,
            // An empty file that was made here is about to be written, more likely than not.
            Told::Made if stamp.kind == Kind::Regular && stamp.bytes == 0 => {
                Some(still_since + empty)
            }
            Told::Made => Some(still_since + QUIET_TIMES_OF_MADE * settle),
            Told::Nothing => Some(still_since + settle),
        };
        look.due = due;
        if look.due.is_some_and(|due| due <= now) { Verdict::Take } else { Verdict::Leave }
    }

    /// Takes in what keeps us from a name; the answer is whether that is news.
    pub fn complain(&mut self, name: &OsStr, message: &str) -> bool {
        let Some(look) = self.names.get_mut(name) else { return true };
        let is_news = look.complaint.as_deref() != Some(message);
        look.complaint = Some(message.into());
        is_news
    }

    /// Leaves a name aside and comes back to it later.
    pub fn postpone(&mut self, name: &OsStr, until: Duration) {
        if let Some(look) = self.names.get_mut(name) {
            look.due = Some(until);
            look.is_aside = true;
        }
    }

    /// Comes back at once to what was left aside: what was in the way may be gone.
    pub fn come_back(&mut self, now: Duration) {
        for look in self.names.values_mut().filter(|look| look.is_aside) {
            (look.due, look.is_aside) = (Some(now), false);
        }
    }

    /// Forgets a name that was taken or is gone.
    pub fn forget(&mut self, name: &OsStr) {
        self.names.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(100);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn stamp(bytes: u64) -> Stamp {
        Stamp {
            kind: Kind::Regular,
            uid: 0,
            bytes,
            device: 1,
            inode: 1,
            mtime: (1, 0),
            ctime: (1, 0),
        }
    }

    fn name() -> &'static OsStr {
        OsStr::new("a.md")
    }

    fn looks(rescan: Option<Duration>) -> Looks {
        Looks::new(&Settings { settle: SETTLE, rescan, ..Settings::default() })
    }

    fn told(changes: &[(Change, u64)]) -> Looks {
        let mut looks = looks(None);
        for (change, at) in changes {
            looks.tell(name(), *change, ms(*at));
        }
        looks
    }

    #[test]
    fn what_is_due_is_looked_at_in_the_order_in_which_it_came() {
        let mut looks = Looks::new(&Settings::default());
        for (name, came) in [("d", (3, 0)), ("b", (1, 9)), ("a", (2, 0)), ("c", (1, 3))] {
            looks.find(name.into(), came, ms(5));
        }
        for (name, at) in [("z", 2), ("y", 1)] {
            looks.tell(OsStr::new(name), Change::Renamed, ms(at));
        }
        assert_eq!(looks.due(ms(5), 9), ["y", "z", "c", "b", "a", "d"]);
        assert_eq!(looks.due(ms(5), 3), ["y", "z", "c"]);
    }

    #[test]
    fn a_renamed_file_is_taken_at_once() {
        let mut looks = told(&[(Change::Renamed, 0)]);
        assert_eq!(looks.due(ms(0), 9), [name()]);
        assert_eq!(looks.judge(name(), stamp(1), ms(0)), Verdict::Take);
    }

    #[test]
    fn a_closed_file_is_taken_after_a_quiet_time() {
        let mut looks = told(&[(Change::Other, 0), (Change::Written, 1), (Change::Closed, 2)]);
        assert_eq!(looks.judge(name(), stamp(1), ms(3)), Verdict::Leave);
        assert_eq!(looks.next_due(), Some(ms(102)));
        assert!(looks.due(ms(101), 9).is_empty());
        assert_eq!(looks.judge(name(), stamp(1), ms(102)), Verdict::Take);
        let mut reopened = told(&[(Change::Closed, 0), (Change::Written, 50)]);
        assert_eq!(reopened.judge(name(), stamp(2), ms(500)), Verdict::Leave);
    }

    #[test]
    fn a_slow_writer_is_waited_for_however_long_it_rests() {
        let mut looks = told(&[(Change::Other, 0), (Change::Written, 1)]);
        for at in [50, 5_000, 60_000] {
            assert_eq!(looks.judge(name(), stamp(1), ms(at)), Verdict::Leave);
            looks.doubt(false);
        }
        assert_eq!(looks.next_due(), None, "nothing wakes until its close is told");
        let mut made = told(&[(Change::Other, 0)]);
        assert_eq!(made.judge(name(), stamp(0), ms(500)), Verdict::Leave);
    }

    #[test]
    fn an_empty_file_that_was_made_and_never_written_to_waits_five_minutes_or_the_time_that_is_set()
    {
        for (set, waits) in [(None, 300_000), (Some(86_400_000), 300_000), (Some(2000), 2000)] {
            let mut made = looks(set.map(ms));
            made.tell(name(), Change::Other, ms(0));
            assert_eq!(made.judge(name(), stamp(0), ms(0)), Verdict::Leave);
            assert_eq!(made.next_due(), Some(ms(waits)), "{set:?}");
            assert_eq!(made.judge(name(), stamp(0), ms(waits - 1)), Verdict::Leave);
            assert_eq!(made.judge(name(), stamp(0), ms(waits)), Verdict::Take);
        }
    }

    #[test]
    fn without_events_two_equal_looks_decide() {
        let mut looks = looks(None);
        looks.find(name().to_owned(), (0, 0), ms(0));
        assert_eq!(looks.judge(name(), stamp(1), ms(0)), Verdict::Leave);
        assert_eq!(looks.judge(name(), stamp(2), ms(100)), Verdict::Leave);
        assert_eq!(looks.next_due(), Some(ms(200)));
        assert_eq!(looks.judge(name(), stamp(2), ms(200)), Verdict::Take);
    }

    #[test]
    fn an_old_file_that_no_event_told_of_is_looked_at_twice_too() {
        let mut looks = looks(None);
        looks.find(name().to_owned(), (0, 0), ms(90_000));
        assert_eq!(looks.judge(name(), stamp(1), ms(90_000)), Verdict::Leave);
        assert_eq!(looks.judge(name(), stamp(1), ms(90_099)), Verdict::Leave);
        assert_eq!(looks.judge(name(), stamp(1), ms(90_100)), Verdict::Take);
    }

    #[test]
    fn a_linked_file_stands_still_and_is_taken() {
        let mut looks = told(&[(Change::Other, 0)]);
        assert_eq!(looks.judge(name(), stamp(5), ms(0)), Verdict::Leave);
        assert_eq!(
            looks.judge(name(), stamp(5), ms(999)),
            Verdict::Leave,
            "a write may be on its way"
        );
        assert_eq!(looks.judge(name(), stamp(5), ms(1000)), Verdict::Take);
    }

    #[test]
    fn a_flood_fills_no_memory_and_hides_no_writer() {
        let mut looks = looks(None);
        let numbered = |n: usize| OsString::from(format!("{n}.md"));
        for n in 0..MAX_NAMES {
            assert!(looks.room() > 0 || n > 0);
            assert!(looks.tell(&numbered(n), Change::Renamed, ms(0)));
        }
        assert_eq!(looks.room(), 0);
        let late = numbered(MAX_NAMES);
        for change in [Change::Renamed, Change::Closed, Change::Other] {
            assert!(!looks.tell(&late, change, ms(1)), "left to a scan: {change:?}");
        }
        assert!(looks.tell(&late, Change::Written, ms(1)));
        assert_eq!(looks.judge(&late, stamp(1), ms(5_000)), Verdict::Leave);
        assert!(looks.tell(&late, Change::Closed, ms(6_000)), "and its end is heard");
        looks.postpone(&numbered(0), ms(9_000));
        looks.postpone(&numbered(1), ms(9_000));
        assert_eq!(looks.room(), 1, "what is left aside keeps nobody waiting");
    }

    #[test]
    fn lost_events_leave_the_decision_to_the_looks() {
        let mut looks = told(&[(Change::Written, 0)]);
        looks.doubt(true);
        looks.find(name().to_owned(), (0, 0), ms(0));
        assert_eq!(looks.judge(name(), stamp(1), ms(0)), Verdict::Leave);
        assert_eq!(looks.judge(name(), stamp(1), ms(100)), Verdict::Take);
        looks.forget(name());
        assert!(looks.is_drained());
    }
}
