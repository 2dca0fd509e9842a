//! `runs/index.html` while a daemon leads: written when jobs have come, begun or ended, not more often than every few seconds, by a
//! process of its own. Each worker would write what the next one writes again a moment later, at a cost that grows with what
//! waits and has ended; and what a page needs is not to stay in the daemon's memory.
//!
//! Diagnostics: a page that cannot be written is written with what happens next; nothing depends on it.

use std::io::Result;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Daemon;
use super::log::Fact;
use crate::os::{clock, env, fsx, process};
use crate::report;
use crate::spool::Place;

/// Least time from something that happens to the page that shows it, and between two pages.
const REST: Duration = Duration::from_secs(2);
/// How long a daemon that ends waits for a page.
const PATIENCE: Duration = Duration::from_secs(5);

/// When the page is to be written, and who writes it.
#[derive(Debug, Default)]
pub(super) struct Overview {
    due: Option<Duration>,
    writing: Option<JoinHandle<()>>,
}

impl Overview {
    /// Takes in a fact that the page shows.
    pub(super) fn hear(&mut self, fact: &Fact) {
        if matches!(fact, Fact::Taken { .. } | Fact::Started { .. } | Fact::Ended { .. }) {
            self.mark();
        }
    }

    /// Takes in that something has become of a job.
    pub(super) fn mark(&mut self) {
        self.due.get_or_insert_with(|| clock::since_boot() + REST);
    }

    /// When the page is to be written, since boot; `None` while it is as things stand.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due
    }

    fn is_being_written(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| !writing.is_finished())
    }
}

impl Daemon {
    /// Marks what a daemon before this one has left unwritten.
    pub(super) fn look_after_overview(&mut self) {
        let Some(written) = fsx::modified(&report::overview_path(&self.desk.root)) else { return };
        let places = [Place::Claimed, Place::Done, Place::Failed, Place::Killed];
        let folders = places.map(|place| self.desk.spool.folder(place));
        if folders.iter().filter_map(|folder| fsx::modified(folder)).any(|last| last > written) {
            self.overview.mark();
        }
    }

    /// Has the page written if that is due.
    pub(super) fn tell_overview(&mut self) {
        let now = clock::since_boot();
        if self.overview.due.is_none_or(|due| due > now) {
            return;
        }
        self.overview.due = self.overview.is_being_written().then_some(now + REST);
        if self.overview.due.is_none() {
            self.write_overview();
        }
    }

    /// Has it written at once where it does not show how things stand, and waits for that: where a daemon has ended nothing of it is left.
    pub(super) async fn tell_overview_at_last(&mut self) {
        if let Some(writing) = self.overview.writing.take() {
            let _hangs_on_the_disk = timeout(PATIENCE, writing).await;
        }
        if self.overview.due.take().is_some() {
            self.write_overview();
        }
        if let Some(writing) = self.overview.writing.take() {
            let _hangs_on_the_disk = timeout(PATIENCE, writing).await;
        }
    }

    fn write_overview(&mut self) {
        let is_ours = self.options.program.is_none();
        if !is_ours || !self.ground.is_firm() {
            return;
        }
        self.overview.writing = self.writer().ok().map(|mut child| {
            tokio::spawn(async move {
                let _the_next_one_may_do = child.wait().await;
            })
        });
    }

    fn writer(&self) -> Result<Child> {
        let words = [report::WRITER];
        let writer = process::own_call(&env::own_binary()?, self.desk.root.path(), &words);
        let mut writer = Command::from(writer);
        writer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }
}
