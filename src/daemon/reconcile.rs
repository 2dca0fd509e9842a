//! What lies where: each job's run folder and file are looked at, what is wrong is put right under the job's lock, and
//! what has not ended is known to the queue.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};

use super::Daemon;
use super::log::Fact;
use super::queue::end_held;
use super::take::{self, Taken};
use super::workers::{BARREN_STARTS, Live};
use crate::ending::{self, Ending, Held};
use crate::logic::recover::{self, Lies, Repair, Run};
use crate::logic::state::JobState;
use crate::model::PROTOCOL_VERSION;
use crate::model::id::JobId;
use crate::model::job::{Job, Options, Origin};
use crate::model::rejection::Code;
use crate::model::status::JobPhase;
use crate::os::lock::FileLock;
use crate::os::{clock, fsx};
use crate::runs::{JournalReader, RunFolder, Want};
use crate::spool::Place;

/// One look at a job.
struct Sight {
    run: Option<Run>,
    files: BTreeSet<Lies>,
    state: JobState,
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
        let spool = &self.desk.spool;
        let phase = self.desk.runs.folder(job).read_status().map(|s| s.state);
        phase.is_some_and(|phase| {
            phase.is_final()
                && !spool.has(Place::Claimed, job)
                && spool.has(Place::at_end(phase), job)
        })
    }

    /// Looks at one job: puts right what is wrong, then enters it into the queue or takes it out.
    pub(super) fn check(&mut self, job: &JobId) {
        if let Err(e) = self.mend(job).and_then(|()| self.enlist(job)) {
            self.trouble(&format!("cannot look after {job}"), &e);
        }
    }

    fn see(&self, job: &JobId) -> Result<Sight> {
        let folder = self.desk.runs.folder(job);
        let files = self.lies(job);
        if !folder.dir().is_dir() {
            return Ok(Sight { run: None, files, state: JobState::default() });
        }
        // The lock first: a journal read while nobody holds it is as its last holder left it.
        let is_held = folder.is_held()?;
        let state = replay(&folder)?;
        let finished = state.phase.is_final().then_some(state.phase);
        let run = Run { is_held, is_claimed: state.claimed, finished };
        Ok(Sight { run: Some(run), files, state })
    }

    fn lies(&self, job: &JobId) -> BTreeSet<Lies> {
        let places = [
            (Place::Claimed, Lies::Claimed),
            (Place::Done, Lies::Done),
            (Place::Failed, Lies::Failed),
            (Place::Killed, Lies::Killed),
        ];
        let spool = &self.desk.spool;
        places.into_iter().filter(|(p, _)| spool.has(*p, job)).map(|(_, l)| l).collect()
    }

    /// Puts right what is wrong with one job. What is decided without the lock is decided again under it.
    fn mend(&mut self, job: &JobId) -> Result<()> {
        let sight = self.see(job)?;
        let Some(repair) = recover::repair(sight.run.as_ref(), &sight.files) else {
            return Ok(());
        };
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
            | Repair::MoveBack
            | Repair::Rewrite
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
        self.record(&Fact::Repaired { job: job.clone(), repair: format!("{repair:?}") });
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
            Repair::MoveBack => spool.end(&job, JobPhase::Queued),
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

    /// A claimed file without a run folder does not run: nobody knows how far it got. Whoever takes a job locks its
    /// folder first, so only under that lock it is sure that the file is not just being taken or put aside. Then the file
    /// moves before anything is written, so that a death leaves a failed job without a record rather than one that looks
    /// new. The answer is whether there was a loss.
    pub(super) fn record_loss(&self, job: &JobId) -> Result<bool> {
        let folder = match self.desk.runs.create(job) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(false),
            created => created?,
        };
        let Some(lock) = folder.try_lock()? else { return Ok(false) };
        if !self.desk.spool.has(Place::Claimed, job) {
            self.desk.runs.put_away(&lock, job)?;
            return Ok(false);
        }
        self.desk.spool.end(job, JobPhase::Failed)?;
        let now = clock::now();
        let origin =
            Origin { name: job.to_string(), bytes: 0, sha256: String::new(), uid: u32::MAX };
        let lost = Job {
            version: PROTOCOL_VERSION,
            id: job.clone(),
            objective: "(lost with its run folder; see the file in spool/failed)".to_owned(),
            options: Options::default(),
            origin,
            created_at: now,
        };
        folder.put_job(&lost)?;
        let mut held = Held::open(folder, lock)?;
        let message = format!("{}: its run folder is gone", Code::RunLost.as_str());
        ending::finish(&self.desk.spool, &mut held, &Ending::failed("run_lost", message), now)?;
        Ok(true)
    }

    /// Enters a job that has not ended into the queue as it stands now, and takes one that has out.
    fn enlist(&mut self, job: &JobId) -> Result<()> {
        let sight = self.see(job)?;
        let repair = recover::repair(sight.run.as_ref(), &sight.files);
        if repair.is_some_and(|repair| repair != Repair::TellHolder) {
            // Its holder let go of it between the two looks.
            self.unchecked.insert(job.clone());
            return Ok(());
        }
        match sight.run {
            Some(run) if run.finished.is_some() => self.leave(job, &sight.state, run.is_held),
            Some(run) if run.is_claimed => self.update(job, &sight.state, run.is_held)?,
            _ => {
                self.jobs.remove(job);
            }
        }
        Ok(())
    }

    /// Takes a job that has ended out of the queue.
    fn leave(&mut self, job: &JobId, state: &JobState, is_held: bool) {
        if is_held {
            // Its worker writes the last files and lets go of the lock any moment.
            if let Some(live) = self.jobs.get_mut(job) {
                live.set_held(true);
            }
            return self.watch_lock(job);
        }
        self.unwatch_lock(job);
        self.settled.insert(job.clone());
        let was_live = self.jobs.remove(job).is_some();
        if was_live {
            self.is_dirty = true;
            self.has_failed |= state.phase == JobPhase::Failed;
            let state = state.phase.as_str().to_owned();
            self.record(&Fact::Ended { job: job.clone(), state });
        }
    }

    /// Brings what the queue knows of a job up to date.
    fn update(&mut self, job: &JobId, state: &JobState, is_held: bool) -> Result<()> {
        let folder = self.desk.runs.folder(job);
        let accepted = folder.read_job()?.ok_or_else(|| no_job(&folder))?;
        let mut waiting = take::waiting(&accepted, state);
        waiting.wants_killed = folder.wants(Want::Killed);
        waiting.wants_paused = folder.wants(Want::Paused);
        let rests = waiting.rest.is_some();
        let accounts = if rests { self.accounts_of(&accepted) } else { Vec::new() };
        let is_new = !self.jobs.contains_key(job);
        if is_new && let Some(lock) = folder.try_lock()? {
            folder.clear_temps(&lock)?;
        }
        let live = self.jobs.entry(job.clone()).or_insert_with(|| Live::new(waiting.clone()));
        live.journal_bytes = journal_bytes(&folder);
        live.set_held(is_held);
        live.set_waiting(waiting);
        live.accounts = accounts;
        let is_idle = !live.works();
        let barren = if is_idle { live.count_barren() } else { 0 };
        self.is_dirty = true;
        if is_held {
            if is_new {
                self.record(&Fact::Adopted { job: job.clone() });
            }
            self.watch_lock(job);
        } else {
            self.unwatch_lock(job);
        }
        if is_idle && (state.idle_starts >= BARREN_STARTS || barren >= BARREN_STARTS) {
            let message = "its worker ended three times without any progress; see worker.log";
            self.end_idle(job, &Ending::failed("worker_crashed", message));
        }
        Ok(())
    }

    /// Asks to be woken when someone else's lock on a job is let go; one of our children tells by its end.
    fn watch_lock(&mut self, job: &JobId) {
        if self.jobs.get(job).is_some_and(Live::is_ours) {
            return;
        }
        let folder = self.desk.runs.folder(job);
        let is_watched = self.watch.as_mut().is_none_or(|w| w.add(&folder.worker_lock()).is_ok());
        // It may have been let go before the watch was there.
        if !is_watched || !folder.is_held().unwrap_or(true) {
            self.next_rescan = self.next_rescan.min(clock::since_boot() + super::WITHOUT_EVENTS);
            if !folder.is_held().unwrap_or(true) {
                self.unchecked.insert(job.clone());
            }
        }
    }

    fn unwatch_lock(&mut self, job: &JobId) {
        let path = self.desk.runs.folder(job).worker_lock();
        if let Some(watch) = &mut self.watch {
            watch.remove(&path);
        }
    }
}

/// What a run folder's journal adds up to; one without a journal is a job that nobody has taken yet.
pub(super) fn replay(folder: &RunFolder) -> Result<JobState> {
    match JournalReader::open(&folder.journal()) {
        Ok(reader) => Ok(JobState::replay(&reader.read_all()?.events)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(JobState::default()),
        Err(e) => Err(e),
    }
}

/// The length of a run folder's journal in bytes.
pub(super) fn journal_bytes(folder: &RunFolder) -> u64 {
    std::fs::symlink_metadata(folder.journal()).map_or(0, |m| m.len())
}

fn no_job(folder: &RunFolder) -> Error {
    fsx::at(folder.dir())(Error::new(ErrorKind::NotFound, "it has no job.json"))
}
