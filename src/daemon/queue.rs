//! From `incoming/` to running: what is whole is taken, what may start is started.

use std::ffi::OsStr;
use std::io::{Error, Result};
use std::time::Duration;

use super::log::Fact;
use super::looks::Verdict;
use super::take::Taken;
use super::workers::Live;
use super::{Daemon, Stop, WITHOUT_EVENTS};
use crate::ending::{self, Ending, Held};
use crate::logic::schedule::{self, Hold, Schedule, Waiting};
use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::os::clock;
use crate::spool::{Kind, Spool};

/// Files looked at before workers are started.
const LOOKS_PER_TURN: usize = 32;
/// Names remembered at a time; the rest of a flood stays in the folder until these are done.
const MAX_NAMES: usize = 10_000;
/// When a file that someone holds locked is looked at again.
const LOCKED_REST: Duration = Duration::from_secs(1);

impl Daemon {
    /// Looks at everything again, whatever events have told.
    pub(super) fn rescan(&mut self) {
        let every = if self.watch.is_some() { self.desk.settings.rescan } else { WITHOUT_EVENTS };
        self.next_rescan = clock::since_boot() + every;
        self.looks.doubt(self.watch.is_none());
        self.scan();
        self.mark_all();
    }

    fn scan(&mut self) {
        let names = match self.desk.spool.incoming() {
            Ok(names) => names,
            Err(e) => return self.trouble("cannot read the spool", &e),
        };
        self.has_more = false;
        let now = clock::since_boot();
        for name in names {
            if self.looks.count() >= MAX_NAMES {
                self.has_more = true;
                break;
            }
            self.looks.find(name, now);
        }
    }

    /// Takes the files that are whole, some at a time.
    pub(super) fn take_what_is_whole(&mut self) {
        if self.stop != Stop::No {
            return;
        }
        for name in self.looks.due(clock::since_boot(), LOOKS_PER_TURN) {
            self.look_at(&name);
        }
        if self.has_more && self.looks.is_drained() {
            self.scan();
        }
    }

    fn look_at(&mut self, name: &OsStr) {
        let now = clock::since_boot();
        let stamp = match self.desk.spool.look(name) {
            Ok(Some(stamp)) => stamp,
            Ok(None) => return self.looks.forget(name),
            Err(e) => return self.leave_aside(name, &e),
        };
        if self.looks.judge(name, stamp, now) == Verdict::Leave {
            return;
        }
        if stamp.kind == Kind::Regular && self.desk.spool.is_locked(name) {
            return self.looks.postpone(name, now + LOCKED_REST);
        }
        match self.desk.take(name) {
            Ok(taken) => {
                self.looks.forget(name);
                self.enter(name, taken);
            }
            Err(e) => self.leave_aside(name, &e),
        }
    }

    /// Leaves a file that something is wrong with until the next rescan.
    fn leave_aside(&mut self, name: &OsStr, error: &std::io::Error) {
        self.looks.postpone(name, self.next_rescan);
        let name = name.to_string_lossy().into_owned();
        self.record(&Fact::Ignored { name, message: error.to_string() });
    }

    /// Enters what became of a file into the log, and a job into the queue.
    pub(super) fn enter(&mut self, name: &OsStr, taken: Taken) {
        let name = name.to_string_lossy().into_owned();
        match taken {
            Taken::Gone => {}
            Taken::Rejected { kept_as, reason } => self.record(&Fact::Rejected {
                name,
                kept_as: kept_as.to_string_lossy().into_owned(),
                code: reason.code.as_str().to_owned(),
                message: reason.message,
            }),
            Taken::Job(fresh) => {
                let job = fresh.job;
                let waiting = super::take::waiting(&job, &JobState::default());
                let mut live = Live::new(waiting);
                live.journal_bytes = super::reconcile::journal_bytes(&fresh.folder);
                self.jobs.insert(job.id.clone(), live);
                self.record(&Fact::Taken { job: job.id, name });
                self.is_dirty = true;
            }
        }
    }

    /// Decides over the jobs without a worker until nothing more follows, and acts.
    pub(super) fn schedule(&mut self) {
        self.retry_due();
        if self.wake.is_some_and(|then| then <= clock::now()) {
            self.is_dirty = true;
        }
        while std::mem::take(&mut self.is_dirty) {
            self.look_at_holds();
            let decided = self.decide();
            self.wake = decided.wake;
            self.act(decided);
        }
    }

    fn decide(&self) -> Schedule {
        let lanes = match self.stop {
            Stop::No => self.lanes.saturating_sub(self.busy()),
            Stop::Leave(_) | Stop::Workers(_) => 0,
        };
        let idle = |live: &&Live| !live.works() && live.retry_at().is_none();
        let waiting: Vec<Waiting> =
            self.jobs.values().filter(idle).map(|live| live.waiting.clone()).collect();
        schedule::decide(&waiting, &|job| self.desk.other(job), lanes, clock::now())
    }

    fn act(&mut self, decided: Schedule) {
        for (job, because) in decided.fail {
            let message = format!("it waited for {because}, which did not end well");
            self.end_idle(&job, &Ending::failed("dependency", message));
        }
        for job in decided.kill {
            self.end_idle(&job, &Ending::killed());
        }
        for job in decided.start {
            self.start(&job);
        }
        for (job, hold) in decided.hold {
            self.show(&job, hold);
        }
    }

    /// Ends a job that nobody works on.
    pub(super) fn end_idle(&mut self, job: &JobId, ending: &Ending) {
        let ended = Held::acquire(&self.desk.runs, job).and_then(|held| match held {
            Some(mut held) => end_held(&self.desk.spool, &mut held, ending),
            None => Ok(()),
        });
        if let Err(e) = ended {
            // Kept out of the schedule, so that it is tried again at the rescan and not at once.
            self.jobs.remove(job);
            self.trouble(&format!("cannot end {job}"), &e);
        } else {
            self.check(job);
            self.is_dirty = true;
        }
    }

    /// Shows in a job's status that it no longer waits for what it waited for, or that it waits where there is no status at all.
    fn show(&mut self, job: &JobId, hold: Hold) {
        let Some(live) = self.jobs.get_mut(job) else { return };
        let pause = hold.pause();
        let before = live.hold.replace(hold);
        let is_missing = || self.desk.runs.folder(job).read_status().is_none();
        let has_changed = before.map_or_else(is_missing, |b| b.pause() != pause);
        if !has_changed {
            return;
        }
        // Best effort: a status that cannot be written now is written by the worker.
        if let Ok(Some(held)) = Held::acquire(&self.desk.runs, job) {
            let status = self.desk.status(&held.job, &held.state);
            drop(held.folder.write_status(&status));
        }
    }
}

/// Ends a job whose lock is held, once nothing of it lives any more.
///
/// # Errors
/// When something would not die, and those of the system; then the job has not ended and is to be ended again later.
pub(super) fn end_held(spool: &Spool, held: &mut Held, ending: &Ending) -> Result<()> {
    let left = ending::fence(held);
    if !left.is_empty() {
        return Err(Error::other(format!("processes of it still live: {left:?}")));
    }
    ending::finish(spool, held, ending, clock::now())
}
