//! `runs/index.html` while a daemon leads: written once for all that has become of jobs meanwhile, by a process of its own. Each worker
//! would write what the next one writes again a moment later, at a cost that grows with what waits and has ended; and what a
//! page needs is not to stay in the daemon's memory.
//!
//! Diagnostics: a page that cannot be written is told of once and tried again after a minute, and less and less often; nothing depends on it.

use std::io::Result;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::log::Fact;
use super::{Daemon, Input};
use crate::os::{clock, env, process};
use crate::report;

/// Time from the first change that a page does not show to the page that does.
const REST: Duration = Duration::from_secs(2);
/// Rest after a page, in times of what it took.
const SHARE: u32 = 20;
/// Rest after a page that could not be written, twice as long after each further one, and at most.
const LONG_REST: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// When the page is to be written, and who writes it.
#[derive(Debug, Default)]
pub(super) struct Overview {
    due: Option<Duration>,
    rests_until: Duration,
    writing: Option<JoinHandle<()>>,
    /// How many pages could not be written since the last one that was.
    failed: u32,
}

impl Overview {
    /// Takes in that something has become of a job; `now` since boot, as all times here.
    pub(super) fn mark(&mut self, now: Duration) {
        self.due.get_or_insert(now + REST);
    }

    /// When the page is to be written; `None` while it is as things stand, or being written.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due.filter(|_| self.writing.is_none()).map(|due| due.max(self.rests_until))
    }

    /// Takes in that a page is written, and how long that took; `None` if it cannot be.
    pub(super) fn ended(&mut self, took: Option<Duration>, now: Duration) {
        self.writing = None;
        self.failed = if took.is_some() { 0 } else { self.failed + 1 };
        let again = LONG_REST * 2_u32.saturating_pow(self.failed.saturating_sub(1));
        // A machine that slept meanwhile took no longer than we waited.
        let rest = took.map_or(again.min(LONGEST_REST), |took| took.min(PATIENCE) * SHARE);
        self.rests_until = now + rest;
        if took.is_none() {
            self.mark(now);
        }
    }
}

impl Daemon {
    /// Takes in a fact that the page shows.
    pub(super) fn mark_overview(&mut self, fact: &Fact) {
        if matches!(fact, Fact::Taken { .. } | Fact::Ended { .. }) {
            // Without it only a daemon that dies now leaves the page behind.
            let _for_the_next_one = self.desk.spool.mark_overview();
            self.overview.mark(clock::since_boot());
        }
    }

    /// Takes in how the writing of a page ended; that it cannot be is told once.
    pub(super) fn overview_ended(&mut self, took: Option<Duration>) {
        self.overview.ended(took, clock::since_boot());
        if self.overview.failed == 1 {
            let page = report::overview_path(&self.desk.root);
            let message = format!("cannot write {}: tried again in a minute", page.display());
            self.record(&Fact::Trouble { message });
        }
    }

    /// Looks whether somebody has said that the page is behind.
    pub(super) fn look_after_overview(&mut self) {
        if self.desk.spool.is_overview_behind() {
            self.overview.mark(clock::since_boot());
        }
    }

    /// Has the page written if that is due.
    pub(super) fn tell_overview(&mut self) {
        let now = clock::since_boot();
        if !self.ground.is_firm() || self.overview.due().is_none_or(|due| due > now) {
            return;
        }
        self.overview.due = None;
        // Whatever works in the place of this program does not know the word.
        if self.options.program.is_some() {
            return;
        }
        let Ok(mut writer) = self.writer() else { return self.overview_ended(None) };
        let (tell, spool) = (self.inputs.clone(), self.desk.spool.clone());
        self.overview.writing = Some(tokio::spawn(async move {
            let ended = timeout(PATIENCE, writer.wait()).await;
            let is_written = matches!(ended, Ok(Ok(status)) if status.success());
            if !is_written {
                // It may have been ended after it had taken the mark away.
                let _best_effort = spool.mark_overview();
            }
            let took = is_written.then(|| clock::since_boot().saturating_sub(now));
            drop(tell.send(Input::OverviewTold(took)));
        }));
    }

    /// Waits for a page that is being written: where a daemon has ended nothing of it is left.
    pub(super) async fn see_overview_told(&mut self) {
        if let Some(writing) = self.overview.writing.take() {
            let _it_has_its_bound = writing.await;
        }
    }

    fn writer(&self) -> Result<Child> {
        let words = [report::WRITER];
        let writer = process::own_call(&env::own_binary()?, self.desk.root.path(), &words);
        let mut writer = Command::from(writer);
        writer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        writer.kill_on_drop(true).spawn()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_page_shows_all_that_came_within_two_seconds_and_rests_in_proportion_to_what_it_took() {
        let mut overview = Overview::default();
        assert_eq!(overview.due(), None, "nothing has happened");
        overview.mark(at(10));
        overview.mark(at(11));
        assert_eq!(overview.due(), Some(at(12)));
        overview.due = None;
        overview.ended(Some(at(1)), at(13));
        assert_eq!(overview.due(), None, "it is as things stand");
        overview.mark(at(14));
        assert_eq!(overview.due(), Some(at(33)));
        overview.due = None;
        overview.ended(None, at(40));
        assert_eq!(overview.due(), Some(at(100)), "tried again, though nothing happens");
        overview.due = None;
        overview.ended(None, at(100));
        assert_eq!(overview.due(), Some(at(220)), "and less and less often");
        for _ in 0..100 {
            overview.ended(None, at(1000));
        }
        assert_eq!(overview.due(), Some(at(4600)));
    }

    #[tokio::test]
    async fn what_happens_while_a_page_is_written_is_shown_by_the_next_one() {
        let writing = Some(tokio::spawn(async {}));
        let mut overview = Overview { writing, ..Overview::default() };
        overview.mark(at(10));
        assert_eq!(overview.due(), None, "one at a time");
        overview.ended(Some(Duration::ZERO), at(11));
        assert_eq!(overview.due(), Some(at(12)));
    }
}
