//! What lies where: each job's run folder and file are looked at, what is wrong is put right under the job's lock, and
//! what has not ended is known to the queue.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};

use super::Daemon;
use super::log::Fact;
use super::lost::{self, Record};
use super::queue::end_held;
use super::take::Taken;
use super::workers::Live;
use crate::ending::{self, Ending, Held};
use crate::logic::recover::{self, Lies, Repair, Run};
use crate::logic::rescan::WITHOUT_EVENTS;
use crate::logic::schedule::Waiting;
use crate::logic::state::JobState;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::status::JobPhase;
use crate::os::lock::FileLock;
use crate::os::{clock, fsx, seeded};
use crate::runs::{RunFolder, Want};
use crate::spool::Place;

/// One look at a job.
struct Sight {
    run: Option<Run>,
    files: BTreeSet<Lies>,
    state: JobState,
    /// The accepted job, where it has not ended.
    job: Option<Job>,
    /// Whether its status can be read.
    has_status: bool,
}

impl Sight {
    /// What is to be put right.
    fn repair(&self) -> Option<Repair> {
        recover::repair(self.run.as_ref(), &self.files)
    }
}

impl Daemon {
    /// Marks every job for a look: those with a run folder and those with a file, but for those seen to have ended.
    pub(super) fn mark_all(&mut self) {
        let places = [Place::Claimed, Place::Done, Place::Failed, Place::Killed];
        let files = places.into_iter().map(|place| {
            Ok(self.desk.spool.jobs_in(place)?.into_iter().map(|(job, _)| job).collect())
        });
        let lists: Result<Vec<Vec<JobId>>> =
            files.chain(std::iter::once_with(|| self.desk.runs.jobs())).collect();
        match lists {
            Ok(_) if seeded::bug("rescan-blind") => {}
            Ok(lists) => {
                let all = lists.into_iter().flatten().filter(|job| !self.settled.contains(job));
                self.unchecked.extend(all);
            }
            Err(e) => self.trouble("cannot read the spool", &e),
        }
    }

    /// Marks the jobs whose journal or wishes have changed.
    pub(super) fn mark_changed(&mut self) {
        for (job, live) in &self.jobs {
            let folder = self.desk.runs.folder(job);
            let wishes = (folder.wants(Want::Killed), folder.wants(Want::Paused));
            let known = (live.waiting.wants_killed, live.waiting.wants_paused);
            if wishes != known || journal_bytes(&folder) != live.journal_bytes {
                self.unchecked.insert(job.clone());
            }
        }
    }

    /// Looks at the jobs marked for it.
    pub(super) fn check_marked(&mut self) {
        for job in std::mem::take(&mut self.unchecked) {
            if self.settled.contains(&job) {
                continue;
            }
            if !self.jobs.contains_key(&job) && self.is_settled(&job) {
                self.settled.insert(job);
            } else {
                self.check(&job);
            }
        }
    }

    /// Whether a job that the queue does not know has plainly ended: its status says so and its file lies accordingly.
    fn is_settled(&self, job: &JobId) -> bool {
        let phase = self.desk.runs.folder(job).read_status().map(|s| s.state);
        phase.is_some_and(|phase| {
            phase.is_final() && self.lies(job) == BTreeSet::from([Lies::at_end(phase)])
        })
    }

    /// Looks at one job: puts right what is wrong, then enters it into the queue or takes it out. What keeps us from that is
    /// told once.
    pub(super) fn check(&mut self, job: &JobId) {
        match self.look_after(job) {
            Ok(()) => drop(self.complaints.remove(job)),
            Err(e) => {
                self.come_back_soon();
                let before = self.complaints.insert(job.clone(), e.to_string());
                if before.is_none_or(|before| before != e.to_string()) {
                    self.trouble(&format!("cannot look after {job}"), &e);
                }
            }
        }
    }

    fn look_after(&mut self, job: &JobId) -> Result<()> {
        self.desk.runs.folder(job).mend_lock()?;
        let sight = self.see(job)?;
        let Some(repair) = sight.repair() else { return self.enlist(job, sight) };
        let mended = self.mend(job, repair);
        if mended.is_err() && repair.is_of_surplus() {
            // What lies about keeps no job from going on.
            self.enlist(job, sight)?;
            return mended;
        }
        mended?;
        let sight = self.see(job)?;
        match sight.repair() {
            None | Some(Repair::TellHolder) => self.enlist(job, sight),
            // Its holder let go of it between the two looks, or there is more to put right.
            Some(_) => {
                self.unchecked.insert(job.clone());
                Ok(())
            }
        }
    }

    fn see(&self, job: &JobId) -> Result<Sight> {
        let folder = self.desk.runs.folder(job);
        let files = self.lies(job);
        if !folder.dir().is_dir() {
            let (state, job) = (JobState::default(), None);
            return Ok(Sight { run: None, files, state, job, has_status: false });
        }
        // The lock first: a journal read while nobody holds it is as its last holder left it.
        let is_held = folder.is_held()?;
        let Record { state, job, damage, has_status } = lost::look_into(&folder)?;
        let finished = state.phase.is_final().then_some(state.phase);
        let is_damaged = damage.is_some();
        let (is_claimed, is_being_taken) = (state.claimed, folder.is_being_taken());
        let run = Run { is_held, is_claimed, is_being_taken, is_damaged, finished };
        Ok(Sight { run: Some(run), files, state, job, has_status })
    }

    fn lies(&self, job: &JobId) -> BTreeSet<Lies> {
        let places = [
            (Place::Claimed, Lies::Claimed),
            (Place::Done, Lies::Done),
            (Place::Failed, Lies::Failed),
            (Place::Killed, Lies::Killed),
        ];
        let spool = &self.desk.spool;
        let held = spool.held(job).map(|_| Lies::Held);
        places.into_iter().filter(|(p, _)| spool.has(*p, job)).map(|(_, l)| l).chain(held).collect()
    }

    /// Puts right what is wrong with one job. What is decided without the lock is decided again under it.
    fn mend(&mut self, job: &JobId, repair: Repair) -> Result<()> {
        match repair {
            Repair::TellHolder => {
                let folder = self.desk.runs.folder(job);
                if folder.wants(Want::Killed) {
                    return Ok(());
                }
                folder.wish(Want::Killed)?;
                self.stop_worker(job);
            }
            Repair::RunLost if !self.record_loss(job)? => return Ok(()),
            Repair::RunLost => {}
            Repair::MoveToEnd(_)
            | Repair::EndKilled
            | Repair::EndDamaged
            | Repair::MoveBack
            | Repair::Rewrite
            | Repair::DropHeld
            | Repair::PutCopyAside(_)
            | Repair::TakeAgain
            | Repair::PutAway => {
                let folder = self.desk.runs.folder(job);
                let Some(lock) = folder.try_lock()? else { return Ok(()) };
                let again = self.see(job)?;
                let run = again.run.map(|run| Run { is_held: false, ..run });
                if recover::repair(run.as_ref(), &again.files) != Some(repair) {
                    return Ok(());
                }
                self.carry_out(repair, folder, lock)?;
            }
        }
        self.has_failed |= matches!(repair, Repair::EndDamaged | Repair::RunLost);
        self.record(&Fact::Repaired { job: job.clone(), repair: repair.words().to_owned() });
        Ok(())
    }

    fn carry_out(&mut self, repair: Repair, folder: RunFolder, lock: FileLock) -> Result<()> {
        let job = folder.job().clone();
        let spool = &self.desk.spool;
        match repair {
            Repair::MoveToEnd(phase) => match Held::open(folder, lock) {
                Ok(held) => ending::settle(spool, &held.folder, &held.state, &held.job),
                Err(_) => spool.end(&job, phase),
            },
            Repair::EndKilled => {
                let mut held = Held::open(folder, lock)?;
                let ended = end_held(spool, &mut held, &Ending::killed());
                if ended.is_err() {
                    // Kept out of the schedule: it is to end, not to start.
                    self.jobs.remove(&job);
                }
                ended
            }
            Repair::EndDamaged => self.end_damaged(folder, lock),
            Repair::MoveBack => spool.end(&job, JobPhase::Queued),
            Repair::DropHeld => self.desk.clear_held(&job),
            Repair::PutCopyAside(lies) => self.put_copy_aside(&job, lies),
            Repair::Rewrite => {
                let accepted = folder.read_job()?.ok_or_else(|| no_job(&folder))?;
                spool.restore(&format!("{job}.txt"), accepted.objective.as_bytes())
            }
            Repair::TakeAgain => {
                let taken = self.desk.take_again(folder, lock)?;
                let name = format!("{job} (again)");
                if !matches!(taken, Taken::Gone) {
                    self.enter(name.as_ref(), taken);
                }
                Ok(())
            }
            Repair::PutAway => self.desk.runs.put_away(&lock, &job),
            Repair::TellHolder | Repair::RunLost => Ok(()),
        }
    }

    /// Enters a job that has not ended into the queue as it stands now, and takes one that has out.
    fn enlist(&mut self, job: &JobId, sight: Sight) -> Result<()> {
        if !sight.has_status && sight.run.is_some_and(|run| run.is_claimed && !run.is_held) {
            self.restate(job)?;
        }
        match sight.run {
            Some(run) if run.finished.is_some() && run.is_held => {
                self.see_tidying(job, &sight.state);
            }
            Some(run) if run.finished.is_some() => self.leave(job, &sight.state),
            Some(run) if run.is_claimed => {
                let accepted = sight.job.ok_or_else(|| no_job(&self.desk.runs.folder(job)))?;
                self.update(&accepted, &sight.state, run.is_held);
            }
            held_or_none => {
                self.jobs.remove(job);
                // Somebody takes it at this moment: its lock tells when that is over, however it ends.
                if held_or_none.is_some_and(|run| run.is_held) {
                    self.watch_lock(job);
                } else {
                    self.unwatch_lock(job);
                }
            }
        }
        Ok(())
    }

    /// Writes a status that is not there or cannot be read: whoever was to write it died first, or somebody removed it.
    fn restate(&self, job: &JobId) -> Result<()> {
        if self.desk.runs.folder(job).read_status().is_some() {
            return Ok(());
        }
        match Held::acquire(&self.desk.runs, job)? {
            Some(held) => held.folder.write_status(&self.desk.status(&held.job, &held.state)),
            None => Ok(()),
        }
    }

    /// Takes in that a job has ended whose worker lets go of the lock any moment, and needs no lane for that. A daemon that has only
    /// begun waits for it, too.
    fn see_tidying(&mut self, job: &JobId, state: &JobState) {
        if !self.jobs.contains_key(job)
            && let Ok(Some(accepted)) = self.desk.runs.folder(job).read_job()
        {
            self.jobs.insert(job.clone(), Live::new(Waiting::of(&accepted, state)));
        }
        if let Some(live) = self.jobs.get_mut(job) {
            live.set_tidying(state.phase);
        }
        self.is_dirty = true;
        self.watch_lock(job);
    }

    /// Takes a job that has ended out of the queue.
    fn leave(&mut self, job: &JobId, state: &JobState) {
        self.unwatch_lock(job);
        self.settled.insert(job.clone());
        // Others may wait for it, whether it was known here or not.
        self.is_dirty = true;
        let was_live = self.jobs.remove(job).is_some();
        if was_live {
            if std::mem::take(&mut self.keeps_waiting) {
                self.looks.come_back(clock::since_boot());
            }
            self.has_failed |= state.phase == JobPhase::Failed;
            self.metrics.ended(state);
            let state = state.phase.as_str().to_owned();
            self.record(&Fact::Ended { job: job.clone(), state });
        }
    }

    /// Brings what the queue knows of a job up to date.
    fn update(&mut self, accepted: &Job, state: &JobState, is_held: bool) {
        let job = &accepted.id;
        let folder = self.desk.runs.folder(job);
        let mut waiting = Waiting::of(accepted, state);
        waiting.wants_killed = folder.wants(Want::Killed);
        waiting.wants_paused = folder.wants(Want::Paused);
        let rests = waiting.rest.is_some();
        let accounts = if rests { self.accounts_of(accepted) } else { Vec::new() };
        let is_new = !self.jobs.contains_key(job);
        if is_new && let Err(e) = clear_temps(&folder) {
            self.trouble(&format!("cannot clear away unfinished files of {job}"), &e);
        }
        let live = self.jobs.entry(job.clone()).or_insert_with(|| Live::new(waiting.clone()));
        live.journal_bytes = journal_bytes(&folder);
        live.set_held(is_held);
        live.set_waiting(waiting);
        live.accounts = accounts;
        if is_new {
            live.excuse(state.idle_starts);
        }
        let is_stuck = !live.works() && live.is_stuck(state.idle_starts);
        self.is_dirty = true;
        if is_held {
            if is_new {
                self.record(&Fact::Adopted { job: job.clone() });
            }
            self.watch_lock(job);
        } else {
            self.unwatch_lock(job);
        }
        if !self.is_fit() || (is_stuck && !self.is_jobs_fault()) {
            if let Some(live) = self.jobs.get_mut(job) {
                live.excuse(state.idle_starts);
            }
        } else if is_stuck {
            let message = "its worker ended three times without any progress; see worker.log";
            self.end_idle(job, &Ending::failed("worker_crashed", message));
        }
    }

    /// Asks to be woken when someone else's lock on a job is let go; one of our children tells by its end.
    fn watch_lock(&mut self, job: &JobId) {
        if self.jobs.get(job).is_some_and(Live::is_ours) {
            return;
        }
        let folder = self.desk.runs.folder(job);
        let is_watched = self.watch.as_mut().is_none_or(|w| w.add(&folder.worker_lock()).is_ok());
        self.watched_locks.insert(job.clone());
        // It may have been let go before the watch was there.
        if !is_watched || !folder.may_be_held() {
            self.next_rescan = self.next_rescan.min(clock::since_boot() + WITHOUT_EVENTS);
            if !folder.may_be_held() {
                self.unchecked.insert(job.clone());
            }
        }
    }

    fn unwatch_lock(&mut self, job: &JobId) {
        let path = self.desk.runs.folder(job).worker_lock();
        if self.watched_locks.remove(job)
            && let Some(watch) = &mut self.watch
        {
            watch.remove(&path);
        }
    }
}

/// Clears away what a dead writer left half made; while somebody works there, it is his to do.
fn clear_temps(folder: &RunFolder) -> Result<()> {
    folder.try_lock()?.map_or(Ok(()), |lock| folder.clear_temps(&lock))
}

/// The length of a run folder's journal in bytes.
pub(super) fn journal_bytes(folder: &RunFolder) -> u64 {
    std::fs::symlink_metadata(folder.journal()).map_or(0, |m| m.len())
}

fn no_job(folder: &RunFolder) -> Error {
    fsx::at(folder.dir())(Error::new(ErrorKind::NotFound, "it has no job.json"))
}
