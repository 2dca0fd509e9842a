//! The job's journal, its state and its `status.json`, always in step: a fact is appended, flushed if it is a transition,
//! applied, published, and the status written anew. Only the holder of the job's lock has a book.

use std::io::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
}

/// The book of one job; clones are the same book.
#[derive(Clone)]
pub(super) struct Book {
    pages: Arc<Mutex<Pages>>,
    folder: RunFolder,
    job: Job,
    bus: Bus,
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
        let pages = Arc::new(Mutex::new(Pages { lock, journal, state }));
        Ok(Self { pages, folder: folder.clone(), job: job.clone(), bus: bus.clone() })
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a fact down. When it comes back, a transition is durable. Nothing is written, and so nothing begins, once the
    /// lock is another file or gone with its folder: somebody else may work on the job.
    pub(super) fn record(&self, task: Option<&TaskId>, fact: Fact) -> Result<()> {
        let is_transition = is_transition(&fact);
        let event = {
            let mut pages = self.pages();
            if !pages.lock.is_current() {
                let path = pages.lock.path().display();
                let message = format!("{path} was removed or replaced: this worker must not go on");
                return Err(Error::other(message));
            }
            let event = pages.journal.append(fact, task, clock::steady())?;
            if is_transition {
                pages.journal.flush()?;
            }
            pages.state.apply(&event);
            // Derived: who finds it missing or old looks into the journal.
            let _derived = self.folder.write_status(&pages.state.status(&self.job));
            event
        };
        self.bus.publish(&event);
        Ok(())
    }

    /// Looks at the state.
    pub(super) fn state<T>(&self, look: impl FnOnce(&JobState) -> T) -> T {
        look(&self.pages().state)
    }
}

/// Whether a fact must survive a power cut before anything follows from it. The others are evidence: what they tell is
/// found out again.
fn is_transition(fact: &Fact) -> bool {
    !matches!(
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
