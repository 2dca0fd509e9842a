//! From `incoming/` to running: what is whole is taken, what may start is started.

use std::ffi::OsStr;
use std::io::{Error, Result};
use std::time::Duration;

use super::log::Fact;
use super::looks::Verdict;
use super::take::Taken;
use super::workers::Live;
use super::{Daemon, Stop};
use crate::ending::{self, Ending, Held};
use crate::hooks;
use crate::logic::rescan;
use crate::logic::schedule::{self, Hold, Other, Schedule, Waiting};
use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::os::clock;
use crate::spool::{Kind, Spool};

/// Most files looked at before workers are started.
const LOOKS_PER_TURN: usize = 32;
/// Jobs that wait for nothing but a worker while further files are taken; the rest of a flood stays in the folder.
const MAX_QUEUED: usize = 10_000;
/// When a file that someone holds locked is looked at again.
const LOCKED_REST: Duration = Duration::from_secs(1);

/// How long files are looked at for each job that is known, although something was heard: each turn of the loop looks at all of them.
const LOOKING_PER_JOB: Duration = Duration::from_micros(1);

/// How far `incoming/` has been taken.
#[derive(Debug, Default)]
pub(super) struct Intake {
    /// Whether it has more names than were remembered.
    pub(super) has_more: bool,
    /// Whether further files are to be looked at now.
    goes_on: bool,
    /// Whether jobs were taken that nothing was decided about yet.
    has_new: bool,
    /// How many of them wait for nothing but a lane.
    ready: usize,
}

impl Intake {
    /// Whether something of what came is not taken, or not decided over.
    pub(super) fn is_behind(&self) -> bool {
        self.has_more || self.has_new
    }
}

impl Daemon {
    /// Looks at everything again, whatever events have told.
    pub(super) fn rescan(&mut self) {
        self.watch_again();
        let every = rescan::every(self.desk.settings.rescan, self.ears());
        self.next_rescan = clock::since_boot() + every;
        self.check_ground();
        if self.ground.is_open() {
            self.looks.doubt(self.watch.is_none());
            self.scan();
        }
        if self.ground.is_firm() {
            self.mark_all();
            self.look_after_overview();
            // What no event tells of belongs to everything.
            self.next_round = Some(Duration::ZERO);
        }
    }

    fn scan(&mut self) {
        let mut room = self.looks.room();
        self.intake.has_more = room == 0;
        if self.intake.has_more {
            return;
        }
        let names = match self.desk.spool.incoming() {
            Ok(names) => names,
            Err(e) => return self.trouble("cannot read the spool", &e),
        };
        let now = clock::since_boot();
        for name in names {
            if room == 0 {
                self.intake.has_more = true;
                break;
            }
            let stamp = self.desk.spool.look(&name).ok().flatten();
            let came = stamp.map_or((0, 0), |stamp| stamp.ctime);
            room -= usize::from(self.looks.find(name, came, now));
        }
    }

    /// Whether so many jobs wait for a worker that no more are taken.
    pub(super) fn is_crowded(&self) -> bool {
        self.queued + self.intake.ready >= MAX_QUEUED
    }

    /// Takes the files that are whole, some at a time: the highest of them is to start first. Where jobs wait for a lane, none once one is
    /// free, and few once something was heard, which may be that one is.
    pub(super) fn take_what_is_whole(&mut self, has_heard: impl Fn() -> bool) {
        self.intake.goes_on = false;
        if self.stop != Stop::No || !self.ground.is_open() || self.is_crowded() {
            return;
        }
        if !self.is_fit() {
            return;
        }
        let now = clock::since_boot();
        let few = LOOKING_PER_JOB * u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
        for name in self.looks.due(now, LOOKS_PER_TURN) {
            let is_late = || has_heard() && clock::since_boot() >= now + few;
            let has_lane = self.has_lane();
            let waits = self.queued > 0 || self.intake.ready > 0 && !has_lane;
            if waits && (has_lane || is_late()) {
                break;
            }
            self.look_at(&name);
        }
        self.intake.goes_on = self.looks.next_due().is_some_and(|due| due <= now);
        // What is being written or settles does not keep the rest of the folder waiting.
        if self.intake.has_more && self.looks.next_due().is_none_or(|due| due > now) {
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
        let is_next = self.is_next();
        if is_next {
            self.call_spare();
        }
        let Self { desk, spares, .. } = self;
        let mut foretell = |job: &Job| {
            if is_next {
                spares.foretell(job);
            }
        };
        match desk.take(name, &mut foretell) {
            Ok(Taken::Later(why)) => {
                self.keeps_waiting = true;
                self.leave_for(name, why);
            }
            Ok(taken) => {
                self.looks.forget(name);
                self.enter(name, taken);
            }
            Err(e) => self.leave_aside(name, &e),
        }
    }

    /// Leaves a file that something is wrong with for some minutes, and tells of it once.
    fn leave_aside(&mut self, name: &OsStr, error: &std::io::Error) {
        if self.blames_machine("cannot take a file", error) {
            return;
        }
        self.ground.doubt();
        self.leave_for(name, error.to_string());
    }

    pub(super) fn leave_for(&mut self, name: &OsStr, message: String) {
        let again = clock::since_boot() + rescan::soon(self.desk.settings.rescan);
        self.looks.postpone(name, again.min(self.next_rescan));
        if self.looks.complain(name, &message) {
            let name = name.to_string_lossy().into_owned();
            self.record(&Fact::Ignored { name, message });
        }
    }

    /// Enters what became of a file into the log, and a job into the queue.
    pub(super) fn enter(&mut self, name: &OsStr, taken: Taken) {
        let name = name.to_string_lossy().into_owned();
        match taken {
            Taken::Gone | Taken::Later(_) => {}
            Taken::Rejected { kept_as, reason } => self.record(&Fact::Rejected {
                name,
                kept_as: kept_as.to_string_lossy().into_owned(),
                code: reason.code.as_str().to_owned(),
                message: reason.message,
            }),
            Taken::Job(fresh) => {
                let job = fresh.job;
                let waiting = Waiting::of(&job, &JobState::default());
                let is_due = waiting.not_before.is_none_or(|at| at <= clock::now());
                self.intake.ready += usize::from(is_due && waiting.after.is_empty());
                let mut live = Live::new(waiting);
                live.journal_bytes = super::reconcile::journal_bytes(&fresh.folder);
                hooks::rouse(&self.desk.root, &job.id);
                self.jobs.insert(job.id.clone(), live);
                self.record(&Fact::Taken { job: job.id, name });
                self.intake.has_new = true;
            }
        }
    }

    /// Decides over the jobs without a worker until nothing more follows, and acts. While further files are taken, new jobs that could
    /// not start are no reason to decide over all of them.
    pub(super) fn schedule(&mut self) {
        self.retry_due();
        let can_start = self.intake.ready > 0 && self.has_lane();
        self.is_dirty |= can_start || self.intake.has_new && !self.intake.goes_on;
        if self.wake.is_some_and(|then| then <= clock::now()) {
            self.is_dirty = true;
        }
        while std::mem::take(&mut self.is_dirty) {
            (self.intake.has_new, self.intake.ready) = (false, 0);
            self.look_at_holds();
            let decided = self.decide();
            let is_queued = |(_, hold): &&(JobId, Hold)| *hold == Hold::Busy;
            self.queued = decided.hold.iter().filter(is_queued).count();
            self.wake = decided.wake;
            self.act(decided);
        }
    }

    fn decide(&self) -> Schedule {
        let lanes = match self.stop {
            Stop::No if self.is_fit() => self.free_lanes(),
            Stop::No | Stop::Leave(_) | Stop::Workers(_) => 0,
        };
        let idle = |live: &&Live| !live.works() && !live.has_ended() && live.retry_at().is_none();
        let waiting = self.jobs.values().filter(idle).map(|live| &live.waiting);
        schedule::decide(waiting, &|job| self.other(job), lanes, clock::now())
    }

    /// How a job that another one waits for stands. One of which the journal says that it has ended may still lie where it was claimed.
    fn other(&self, id: &str) -> Other {
        let ended = JobId::parse(id).ok().and_then(|job| self.jobs.get(&job)?.ended_so());
        ended.unwrap_or_else(|| self.desk.other(id))
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
            // Kept out of the schedule, so that it is tried again at a rescan and not at once.
            self.jobs.remove(job);
            self.trouble(&format!("cannot end {job}"), &e);
        } else {
            self.check(job);
            self.is_dirty = true;
        }
    }

    /// Shows in a job's status that it no longer waits for what it waited for.
    fn show(&mut self, job: &JobId, hold: Hold) {
        let Some(live) = self.jobs.get_mut(job) else { return };
        let pause = hold.pause();
        let before = live.hold.replace(hold);
        if before.is_none_or(|before| before.pause() == pause) {
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
    refuse_to_end_alive(held)?;
    ending::finish(spool, held, ending, clock::now())
}

/// Ends what lives of a job; while something does, the job must not be ended.
///
/// # Errors
/// When something would not die.
pub(super) fn refuse_to_end_alive(held: &Held) -> Result<()> {
    none_lives(&ending::fence(held))
}

/// Takes in what a fence could not end.
///
/// # Errors
/// When there is anything.
pub(super) fn none_lives(left: &[u32]) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::other(format!("processes of it still live: {left:?}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::daemon::rounds::tests::daemon;
    use crate::os::{fsx, watch::Change};
    use crate::spool::Place;

    const FILES: usize = 5;

    /// A daemon with so many lanes, and files that it may take.
    fn flooded(dir: &Path, lanes: usize, head: &str) -> Daemon {
        let mut daemon = daemon(dir);
        (daemon.lanes, daemon.is_dirty) = (lanes, false);
        // No worker of ours is to be begun for them.
        daemon.options.program = Some(dir.join("none"));
        for n in 0..FILES {
            let name = format!("j{n}.md");
            let path = daemon.desk.spool.folder(Place::Incoming).join(&name);
            fsx::put_new(&path, format!("---\n{head}\n---\nx\n").as_bytes()).expect("dropped");
            daemon.looks.tell(name.as_ref(), Change::Renamed, Duration::ZERO);
        }
        daemon
    }

    #[test]
    fn who_may_have_a_lane_by_now_waits_for_few_files() {
        let (ready, waits) = ("priority: 0", "not_before: 2999-01-01T00:00:00Z");
        for (lanes, head, has_heard, taken) in [
            (0, ready, true, 1),
            (1, ready, true, FILES),
            (0, ready, false, FILES),
            (0, waits, true, FILES),
        ] {
            let d = tempfile::tempdir().expect("scratch");
            let mut daemon = flooded(d.path(), lanes, head);
            daemon.take_what_is_whole(|| has_heard);
            assert_eq!(daemon.jobs.len(), taken, "{lanes} {head} {has_heard}");
        }
    }

    #[test]
    fn no_file_is_taken_while_a_job_waits_for_a_lane_that_is_free() {
        let d = tempfile::tempdir().expect("scratch");
        let mut daemon = flooded(d.path(), 0, "priority: 0");
        daemon.take_what_is_whole(|| true);
        assert_eq!(daemon.jobs.len(), 1);
        (daemon.queued, daemon.lanes) = (1, 1);
        daemon.take_what_is_whole(|| false);
        assert_eq!(daemon.jobs.len(), 1, "the lane got free meanwhile");
        daemon.queued = 0;
        daemon.take_what_is_whole(|| false);
        assert_eq!(daemon.jobs.len(), FILES);
    }

    #[test]
    fn while_files_are_taken_nothing_is_decided_over_jobs_that_could_not_start() {
        let d = tempfile::tempdir().expect("scratch");
        let mut daemon = flooded(d.path(), 0, "priority: 0");
        daemon.take_what_is_whole(|| true);
        daemon.schedule();
        assert!(daemon.intake.has_new && daemon.queued == 0, "there are more");
        daemon.take_what_is_whole(|| false);
        daemon.schedule();
        assert!(!daemon.intake.has_new, "all are taken");
        assert_eq!(daemon.queued, FILES);
    }
}
