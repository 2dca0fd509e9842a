//! The job's journal, its state and its `status.json`. A fact is appended, flushed if something outside follows from it, applied
//! and published. What only follows from it in here may wait for its flush until the next such fact, and the status for that, too:
//! as soon as the worker has nothing to do but wait, [`Book::scribe`] brings both into step. Only the holder of the job's lock
//! has a book.

use std::io::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::bus::Bus;
use crate::logic::state::JobState;
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::model::job::Job;
use crate::os::lock::FileLock;
use crate::os::{clock, seeded};
use crate::runs::{Journal, RunFolder};

/// What the book keeps.
struct Pages {
    lock: Arc<FileLock>,
    journal: Journal,
    state: JobState,
    /// Whether the journal holds a fact that is to be flushed and was not yet.
    is_owed: bool,
    /// Whether `status.json` is older than the state.
    is_behind: bool,
}

/// The book of one job; clones are the same book.
#[derive(Clone)]
pub(super) struct Book {
    pages: Arc<Mutex<Pages>>,
    folder: RunFolder,
    job: Job,
    bus: Bus,
    news: Arc<Notify>,
}

/// When a fact must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Before anything follows from it.
    Now,
    /// Before anything that follows from it leaves this process.
    Soon,
    /// Never: it is evidence, and what it tells is found out again.
    Never,
}

impl Book {
    /// Opens the journal and replays it. One of which something is destroyed is not gone on with: nobody knows what has
    /// been done.
    pub(super) fn open(
        folder: &RunFolder,
        lock: Arc<FileLock>,
        job: &Job,
        bus: &Bus,
    ) -> Result<Self> {
        let (journal, mut replay) = Journal::open(&folder.journal(), &job.id)?;
        if let Some(damage) = replay.damage {
            let path = folder.journal();
            return Err(Error::other(format!(
                "{}: {damage}: the job must not run",
                path.display()
            )));
        }
        if seeded::bug("completed-again") {
            replay.events.retain(|event| !matches!(event.fact, Fact::TaskCompleted { .. }));
        }
        let state = JobState::replay(&replay.events);
        let pages = Pages { lock, journal, state, is_owed: false, is_behind: false };
        let (pages, news) = (Arc::new(Mutex::new(pages)), Arc::default());
        Ok(Self { pages, folder: folder.clone(), job: job.clone(), bus: bus.clone(), news })
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a fact down. When it comes back, one that something outside follows from is durable, with all before it. Nothing is written, and so nothing begins, once the
    /// lock is another file or gone with its folder: somebody else may work on the job.
    pub(super) fn record(&self, task: Option<&TaskId>, fact: Fact) -> Result<()> {
        let due = due(&fact);
        let event = {
            let mut pages = self.pages();
            if !pages.lock.is_current() {
                let path = pages.lock.path().display();
                let message = format!("{path} was removed or replaced: this worker must not go on");
                return Err(Error::other(message));
            }
            let event = pages.journal.append(fact, task, clock::steady())?;
            pages.is_owed |= due != Due::Never;
            if due == Due::Now {
                pages.flush()?;
            }
            pages.state.apply(&event);
            pages.is_behind = true;
            event
        };
        self.news.notify_one();
        self.bus.publish(&event);
        Ok(())
    }

    /// Keeps the journal flushed and the status in step whenever the worker waits. Never comes back.
    pub(super) async fn scribe(self) {
        loop {
            self.news.notified().await;
            // A journal that cannot be flushed fails whoever writes the next fact.
            let _told_then = self.catch_up();
        }
    }

    /// Flushes what is owed and writes the status, if anything has happened since.
    ///
    /// # Errors
    /// When the journal cannot be flushed.
    pub(super) fn catch_up(&self) -> Result<()> {
        let mut pages = self.pages();
        let flushed = pages.flush();
        if std::mem::take(&mut pages.is_behind) && pages.lock.is_current() {
            // Derived: who finds it missing or old looks into the journal.
            let _derived = self.folder.write_status(&pages.state.status(&self.job));
        }
        flushed
    }

    /// Looks at the state.
    pub(super) fn state<T>(&self, look: impl FnOnce(&JobState) -> T) -> T {
        look(&self.pages().state)
    }
}

impl Pages {
    fn flush(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_owed) { self.journal.flush() } else { Ok(()) }
    }
}

fn due(fact: &Fact) -> Due {
    if is_inner(fact) {
        Due::Soon
    } else if is_evidence(fact) {
        Due::Never
    } else {
        Due::Now
    }
}

/// Whether all that follows from a fact at once is another fact, or the start of a session, which is flushed before it happens.
fn is_inner(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::SessionEnded(_)
            | Fact::PlanCreated { .. }
            | Fact::RolesAssigned { .. }
            | Fact::ClaimRecorded { .. }
    )
}

fn is_evidence(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::WorkerStarted { .. }
            | Fact::ClaimBlocked { .. }
            | Fact::ClaimUnblocked { .. }
            | Fact::ClaimApproved { .. }
            | Fact::LocksReleased { .. }
            | Fact::ClaimMeasured { .. }
            | Fact::BaseDiverged(_)
            | Fact::TaskStarted { .. }
            | Fact::SessionOpened { .. }
            | Fact::SessionConfirmed { .. }
            | Fact::SessionExited(_)
            | Fact::SessionTimedOut(_)
            | Fact::SessionKilled(_)
            | Fact::EntryAdded { .. }
            | Fact::BankCreated { .. }
    )
}
