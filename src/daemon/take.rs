//! Taking: one file of `incoming/` becomes a job, or is put aside with the reason.
//!
//! The order is the promise: run folder, its lock, the rename on disk, the accepted copy, `job.claimed` flushed. A death before
//! the rename leaves the dropper's file where it was; one after it leaves a claimed file that is taken again from the
//! reading on. The lock is held throughout, so nobody else ever sees a job that is half there.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::time::Duration;

use super::lost::{self, Record};
use super::refusal::duplicate;
use crate::logic::schedule::{self, Other, Waiting};
use crate::logic::state::JobState;
use crate::model::event::Fact;
use crate::model::id::{JobId, TAIL_CHARS};
use crate::model::job::Job;
use crate::model::rejection::Reason;
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::model::status::{JobPhase, Status};
use crate::os::lock::FileLock;
use crate::os::{clock, fsx, random};
use crate::runs::{Journal, RunFolder, Runs};
use crate::spool::{Format, Place, Spool, Taking};

/// How many ids are tried for one file.
const ID_TRIES: u32 = 8;

/// How long a folder is left to whoever puts it away.
const A_MOMENT: Duration = Duration::from_millis(20);

/// Who hears what a job will be, once that is known, while it is made one.
pub type Foretell<'a> = &'a mut dyn FnMut(&Job);

/// In the place of somebody who would hear of it.
pub fn nobody(_job: &Job) {}

/// Where jobs are taken to.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The root.
    pub root: Root,
    /// Its queue.
    pub spool: Spool,
    /// Its run folders.
    pub runs: Runs,
    /// The operator's settings.
    pub settings: Settings,
}

/// What became of an id that a new job asked for.
enum Occupied {
    /// Its run folder is there, locked by us.
    Ours(Room),
    /// Someone else holds its lock.
    Busy,
    /// It is another job's.
    Taken,
}

/// A run folder that a new job may have, locked.
struct Room {
    folder: RunFolder,
    lock: FileLock,
    /// Whether this very taking made it; else a dead taker left it behind.
    is_new: bool,
    /// Whether it has its mark from the start.
    is_marked: bool,
}

/// A job just taken, still locked: whoever drops the lock leaves it to the daemon.
#[derive(Debug)]
pub struct Fresh {
    /// The job.
    pub job: Job,
    /// Its run folder.
    pub folder: RunFolder,
    /// The lock, for a caller who goes on as the job's worker.
    pub lock: FileLock,
}

/// What became of a file.
#[derive(Debug)]
pub enum Taken {
    /// It is a job now.
    Job(Box<Fresh>),
    /// It was put aside.
    Rejected {
        /// Its name in `rejected/`.
        kept_as: OsString,
        /// Why.
        reason: Reason,
    },
    /// It was gone before.
    Gone,
    /// It is left until a job of its owner has ended, and why.
    Later(String),
}

impl Desk {
    /// The desk of a root.
    pub fn new(root: &Root, settings: Settings) -> Self {
        Self { root: root.clone(), spool: Spool::of(root), runs: Runs::of(root), settings }
    }

    /// Takes one file of `incoming/`, which the caller holds to be whole. `foretell` hears of the job before it is one.
    ///
    /// # Errors
    /// Those of the system; then the file is where it was, or claimed, and will be taken later.
    pub fn take(&self, name: &OsStr, foretell: Foretell<'_>) -> Result<Taken> {
        // Before anything moves: a part of the root that is gone may come back with another file of this job.
        crate::root::check(&self.root).map_err(Error::other)?;
        self.spool.incoming_identity()?;
        let Some(stamp) = self.spool.look(name)? else { return Ok(Taken::Gone) };
        let from = self.spool.folder(Place::Incoming).join(name);
        if let Some(reason) = self.refuse_unread(name, stamp) {
            return self.put_aside(&from, name, reason);
        }
        if let Some(why) = self.has_no_room(stamp)? {
            return Ok(Taken::Later(why));
        }
        let format = Format::of(name);
        let Some(room) = self.make_room(name)? else { return Ok(Taken::Gone) };
        let claimed = self.spool.take(name, room.folder.job(), format);
        match self.go_on(room, claimed, name, foretell) {
            Err(e) if is_gone(&from, &e) => Ok(Taken::Gone),
            taken => taken,
        }
    }

    /// Takes a file that was prepared for this job, into a run folder in which `furnish` has put what the job is to have from
    /// its first moment. Whoever dies over it leaves the file where it was prepared, or a taking that was cut short, which is
    /// finished with what the folder has.
    ///
    /// # Errors
    /// Those of [`Desk::take`]; then the file is where it was prepared, or claimed.
    pub fn take_prepared(
        &self,
        prepared: &Path,
        job: &JobId,
        furnish: impl FnOnce(&RunFolder) -> Result<()>,
    ) -> Result<Taken> {
        crate::root::check(&self.root).map_err(Error::other)?;
        let Occupied::Ours(room) = self.occupy(job)? else { return Ok(Taken::Gone) };
        let furnished = furnish(&room.folder);
        let claimed = furnished.and_then(|()| self.spool.claim_prepared(prepared, job));
        self.go_on(room, claimed, format!("{job}.json").as_ref(), &mut nobody)
    }

    /// Goes on with a file that was to become claimed; where that failed its room is left.
    fn go_on(
        &self,
        room: Room,
        claimed: Result<Taking>,
        name: &OsStr,
        foretell: Foretell<'_>,
    ) -> Result<Taken> {
        match claimed {
            Ok(taking) => self.accept(room.folder, room.lock, (taking, name), foretell),
            Err(e) => {
                // A rename whose flush failed has been made: the file is taken again, and for that its folder stays.
                if !self.spool.has_taken(room.folder.job()) {
                    self.leave(&room)?;
                }
                Err(e)
            }
        }
    }

    /// Takes a claimed file whose taking was cut short; the caller holds the lock of its run folder.
    ///
    /// # Errors
    /// Those of [`Desk::take`].
    pub fn take_again(&self, folder: RunFolder, lock: FileLock) -> Result<Taken> {
        let job = folder.job();
        if self.spool.has(Place::Claimed, job) {
            // Whether whoever brought it there had it flushed nobody knows.
            self.spool.flush_claimed()?;
            self.clear_held(job)?;
        }
        let claimed = self.spool.file_of(Place::Claimed, job);
        let found = claimed.or_else(|| self.spool.held(job));
        let Some(path) = found else { return Ok(Taken::Gone) };
        let name = path.file_name().unwrap_or_default().to_owned();
        folder.clear_temps(&lock)?;
        self.accept(folder, lock, (Taking::flushed(path), &name), &mut nobody)
    }

    /// Sees a taking through that was cut short, if this job's was and nobody is at it.
    ///
    /// # Errors
    /// Those of [`Desk::take`].
    pub fn see_through(&self, folder: RunFolder) -> Result<Option<Taken>> {
        let Some(lock) = folder.try_lock()? else { return Ok(None) };
        // As the daemon sees it, now that nobody else can change it.
        let Record { state, damage, .. } = lost::look_into(&folder)?;
        let is_new = folder.is_being_taken() && !state.claimed && damage.is_none();
        if is_new { self.take_again(folder, lock).map(Some) } else { Ok(None) }
    }

    /// Clears away what was brought over from `incoming/` and still lies there; what was changed since is nobody's job, and
    /// is put aside.
    ///
    /// # Errors
    /// Those of [`Desk::take`].
    pub(super) fn clear_held(&self, job: &JobId) -> Result<()> {
        let Some(held) = self.spool.held(job) else { return Ok(()) };
        let limit = self.settings.max_objective_bytes;
        if let Some(copy) = self.spool.taken(job)
            && self.spool.drop_held(&held, &copy, limit)?
        {
            return Ok(());
        }
        let why = format!("it was changed after job {job} was made of it");
        let name = held.file_name().unwrap_or_default().to_owned();
        self.put_aside(&held, &name, duplicate(&why, job)).map(drop)
    }

    /// Makes and locks the run folder of a new job: of the id that the name carries, if that is free. `None` if someone
    /// else takes this very file at this moment.
    fn make_room(&self, name: &OsStr) -> Result<Option<Room>> {
        let stem = stem(name);
        if let Some(job) = JobId::from_stem(&stem).filter(|job| !self.spool.has_taken(job)) {
            match self.occupy(&job)? {
                Occupied::Ours(room) => return Ok(Some(room)),
                Occupied::Busy => return Ok(None),
                Occupied::Taken => {}
            }
        }
        for _ in 0..ID_TRIES {
            let job = JobId::compose(&stem, &random::base32(TAIL_CHARS)?);
            if let Occupied::Ours(room) = self.occupy(&job)? {
                return Ok(Some(room));
            }
        }
        Err(fsx::at(self.runs.dir())(Error::new(ErrorKind::AlreadyExists, "no free job id")))
    }

    /// Makes a run folder and takes its lock; one that a dead taker left behind will do, if it took no file.
    fn occupy(&self, job: &JobId) -> Result<Occupied> {
        if self.spool.has_taken(job) {
            return Ok(Occupied::Taken);
        }
        for _ in 0..ID_TRIES {
            let (folder, is_new, is_marked) = match self.runs.begin(job) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    (self.runs.folder(job), false, false)
                }
                begun => begun.map(|(folder, is_marked)| (folder, true, is_marked))?,
            };
            match folder.try_lock() {
                // Put away as a leftover between its making and its locking, or just being so.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e),
                Ok(None) if is_new => clock::pause(A_MOMENT),
                Ok(None) => return Ok(Occupied::Busy),
                Ok(Some(lock)) => {
                    return self.judge(Room { folder, lock, is_new, is_marked });
                }
            }
        }
        Ok(Occupied::Busy)
    }

    /// Whether a folder just locked is free for a new job; only now nobody else can change that.
    fn judge(&self, room: Room) -> Result<Occupied> {
        let Record { state, damage, .. } = lost::look_into(&room.folder)?;
        let is_used = state.claimed || state.phase.is_final() || damage.is_some();
        if is_used || self.spool.has_taken(room.folder.job()) {
            // By somebody who had its lock before us: it is theirs, also where we made it.
            return Ok(Occupied::Taken);
        }
        // What we made may have been put away, and be another's of that name by now.
        if !(room.is_marked && room.folder.is_being_taken()) {
            if room.is_marked || !room.is_new {
                self.runs.flush()?;
            }
            room.folder.begin_taking(&room.lock)?;
        }
        Ok(Occupied::Ours(room))
    }

    /// Puts a folder away that will not be used, if this taking made it; what another left is for the daemon to judge.
    fn leave(&self, room: &Room) -> Result<()> {
        if room.is_new { self.runs.put_away(&room.lock, room.folder.job()) } else { Ok(()) }
    }

    /// From the taken file to the flushed `job.claimed`, or to `rejected/`.
    fn accept(
        &self,
        folder: RunFolder,
        lock: FileLock,
        (mut taking, name): (Taking, &OsStr),
        foretell: Foretell<'_>,
    ) -> Result<Taken> {
        let limit = self.settings.max_objective_bytes;
        let may_be_copied = |uid, linked| self.refuse_owner(uid, linked).is_none();
        let (claimed, content) = self.spool.bring(&taking.path, limit, may_be_copied)?;
        match self.read(content, (name, &mut taking.flushing), &folder, clock::now())? {
            Ok(job) => {
                foretell(&job);
                // Nobody sees a job whose file a power cut could put back.
                folder.put_job_after(&job, || taking.flushing.end())?;
                self.accepted(&folder, &job, &claimed)?;
                // Where it stays, the journal says more.
                let _stays = folder.end_taking(&lock);
                Ok(Taken::Job(Box::new(Fresh { job, folder, lock })))
            }
            Err(reason) => {
                taking.flushing.end()?;
                let rejected = self.put_aside(&claimed, name, reason)?;
                // Nothing but our own lock and perhaps a copy of what lies in rejected/ now.
                fsx::remove_tree(folder.dir())?;
                Ok(rejected)
            }
        }
    }

    pub(super) fn put_aside(&self, from: &Path, name: &OsStr, reason: Reason) -> Result<Taken> {
        match self.spool.reject(from, name, &reason, clock::now()) {
            Ok(kept_as) => Ok(Taken::Rejected { kept_as, reason }),
            Err(e) if is_gone(from, &e) => Ok(Taken::Gone),
            Err(e) => Err(e),
        }
    }

    /// Writes down that the job whose folder has its `job.json` was accepted; with the flush of `job.claimed` it will reach exactly
    /// one end.
    fn accepted(&self, folder: &RunFolder, job: &Job, claimed: &Path) -> Result<()> {
        let (mut journal, replay) = Journal::open(&folder.journal(), folder.job())?;
        let mut state = JobState::replay(&replay.events);
        let file = claimed.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A taker may have died between the two.
        let is_told = replay.events.iter().any(|e| matches!(e.fact, Fact::Submitted { .. }));
        let submitted = (!is_told).then(|| Fact::Submitted { origin: job.origin.clone() });
        for fact in submitted.into_iter().chain([Fact::Claimed { file }]) {
            state.apply(&journal.append(fact, None, job.created_at)?);
        }
        journal.flush()?;
        // Derived: the queue shows it again where it is missing.
        let _derived = folder.write_status(&self.status(job, &state));
        Ok(())
    }

    /// A job's status as the queue sees it: one that waits for another job, or for its time, rests.
    pub fn status(&self, job: &Job, state: &JobState) -> Status {
        let mut status = state.status(job);
        let waiting = Waiting::of(job, state);
        let others = |id: &str| self.other(id);
        let schedule = schedule::decide(&[waiting], &others, 1, clock::now());
        let hold = schedule.hold.into_iter().next().map(|(_, hold)| hold);
        if state.phase == JobPhase::Queued
            && let Some(hold) = hold
            && let Some((reason, until)) = hold.pause()
        {
            status.state = JobPhase::Paused;
            status.reason = Some(reason.as_str().to_owned());
            status.until = until;
            if let schedule::Hold::After(other) = hold {
                status.message = format!("waits for job {other}");
            }
        }
        status
    }

    /// How a job that another one waits for stands: told by the folder its file lies in, else by its journal's status.
    pub fn other(&self, id: &str) -> Other {
        let Ok(job) = JobId::parse(id) else { return Other::Badly };
        match self.spool.find(&job) {
            Some((Place::Incoming | Place::Claimed, _)) => Other::Open,
            Some((Place::Done, _)) => Other::Well,
            Some((Place::Failed | Place::Killed | Place::Rejected, _)) => Other::Badly,
            None => match self.runs.folder(&job).read_status().map(|s| s.state) {
                Some(JobPhase::Succeeded) => Other::Well,
                Some(phase) if !phase.is_final() => Other::Open,
                _ => Other::Badly,
            },
        }
    }
}

/// Whether an error means that the file itself is gone; a folder that is not there says "not found", too.
fn is_gone(path: &Path, error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound
        && std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound)
        && path.parent().is_some_and(Path::is_dir)
}

pub(super) fn stem(name: &OsStr) -> String {
    let stem = Path::new(name).file_stem().unwrap_or(name);
    stem.to_string_lossy().into_owned()
}

#[cfg(test)]
#[path = "take_tests.rs"]
mod tests;
