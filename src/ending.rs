//! The end of a job, under its held lock: a branch for what has landed, the journal, then what is derived from it, then the
//! one rename. Each step can be repeated, so a death between any two is mended by ending the job once more.

pub mod pruning;

use std::io::{Error, ErrorKind, Result};

use jiff::Timestamp;

use crate::codex::fence;
use crate::hooks;
use crate::logic::lifecycle::unused_trees;
use crate::logic::report::{Found, report as summary};
use crate::logic::state::JobState;
use crate::model::event::Fact;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::os::console::neutral;
use crate::os::lock::FileLock;
use crate::os::{fsx, reserve, seeded};
use crate::report;
use crate::runs::{Journal, RunFolder, Runs};
use crate::spool::Spool;
use crate::store::index::Index;
use crate::trees::{self, Trees, TreesError};

pub use crate::logic::lifecycle::Ending;

/// A job whose lock we hold, with its journal open.
#[derive(Debug)]
pub struct Held {
    /// Its run folder.
    pub folder: RunFolder,
    /// The proof that nobody else writes there.
    pub lock: FileLock,
    /// Its journal.
    pub journal: Journal,
    /// What the journal adds up to.
    pub state: JobState,
    /// The accepted job.
    pub job: Job,
    /// Whether nothing of the journal is destroyed.
    pub is_whole: bool,
}

impl Held {
    /// Opens a run folder whose lock is held.
    ///
    /// # Errors
    /// `NotFound` if there is no `job.json`; otherwise those of the system.
    pub fn open(folder: RunFolder, lock: FileLock) -> Result<Self> {
        let job = folder.read_job()?.ok_or_else(|| {
            fsx::at(folder.dir())(Error::new(ErrorKind::NotFound, "it has no job.json"))
        })?;
        // What cannot be cleared away is no reason for a job not to end.
        let _left_there = folder.clear_temps(&lock);
        let (mut journal, replay) = Journal::open(&folder.journal(), folder.job())?;
        let state = JobState::replay(&replay.events);
        if state.claimed {
            folder.finish_taking(&lock, &job, &mut journal);
        }
        Ok(Self { folder, lock, journal, state, job, is_whole: replay.damage.is_none() })
    }

    /// Takes the lock of a job without a worker and opens its run folder; `None` if someone holds it.
    ///
    /// # Errors
    /// Those of [`Held::open`].
    pub fn acquire(runs: &Runs, job: &JobId) -> Result<Option<Self>> {
        let folder = runs.folder(job);
        match folder.try_lock()? {
            Some(lock) => Self::open(folder, lock).map(Some),
            None => Ok(None),
        }
    }
}

/// Ends all that a dead worker left of a job: each open session, then whatever else carries the job's mark. Gives back
/// what would not die; while that lives, the job must not be ended.
pub fn fence(held: &Held) -> Vec<u32> {
    let job = held.folder.job();
    let mut left = Vec::new();
    for start in held.state.open_sessions.values() {
        let lock = held.folder.place(&start.place).session_lock();
        left.extend(fence::fence(job, start, &lock));
    }
    left.extend(fence::fence_job(job));
    left
}

/// Ends a job. One that has ended already keeps its end, and only what follows from it is done once more. The overview is marked, not
/// written: many jobs may be ended one after the other.
///
/// # Errors
/// Those of the system; whatever was done stays done, and ending the job again does the rest.
pub fn finish(spool: &Spool, held: &mut Held, ending: &Ending, now: Timestamp) -> Result<()> {
    let _carries_on = reserve::spend();
    if !held.state.phase.is_final() {
        clear_unused(held);
    }
    write_down(held, ending, now)?;
    let settled = settle(spool, &held.folder, &held.state, &held.job);
    hooks::rouse(spool.root(), held.folder.job());
    if settled.is_ok() {
        let _for_people = spool.mark_overview();
    }
    settled
}

/// The first half of [`finish`]: from here on the job has ended, and what follows from that can be done by anybody.
///
/// # Errors
/// Those of the system; then the job has not ended.
pub fn write_down(held: &mut Held, ending: &Ending, now: Timestamp) -> Result<()> {
    if held.state.phase.is_final() {
        return Ok(());
    }
    publish_held(held, now);
    tell(&held.folder, &held.state, &held.job, ending, &[])?;
    let fact = Fact::Finished {
        state: ending.phase,
        reason: ending.reason.clone(),
        message: ending.message.clone(),
    };
    let event = held.journal.append(fact, None, now)?;
    held.journal.flush()?;
    held.state.apply(&event);
    Ok(())
}

/// Writes the summary, before anybody can see that the job has ended: with what its result will conflict, a line each, as far
/// as that is known.
///
/// # Errors
/// Those of the system.
pub fn tell(
    folder: &RunFolder,
    state: &JobState,
    job: &Job,
    ending: &Ending,
    clashes: &[String],
) -> Result<()> {
    let ended = state.as_if_ended(ending.phase, &ending.reason, &ending.message);
    let is_own = state.workspace.as_ref().is_some_and(|w| folder.is_own(&w.top));
    let found = Found { dir: folder.dir(), is_own, has_patch: folder.has_patch(), clashes };
    let text = summary(&ended, job, &found);
    folder.put_summary(neutral(&text).as_bytes())
}

/// Makes the branch of what has landed since `base`, and `result.patch`; gives back the branch's name. The user's checkout
/// stays as it is.
///
/// # Errors
/// Those of git. A patch that is too large to be made is no reason to lose the branch.
pub fn publish(
    trees: &Trees,
    folder: &RunFolder,
    base: &str,
    tip: &str,
) -> std::result::Result<String, TreesError> {
    let branch = trees.create_branch(tip)?;
    if let Ok(patch) = trees.patch(base, tip) {
        let _for_people = folder.put_patch(&patch);
    }
    Ok(branch)
}

/// What a dead worker left of trees goes, unless the journal does not tell all that happened; one that cannot be removed must not
/// keep a job from ending.
fn clear_unused(held: &Held) {
    if let Some(workspace) = held.state.workspace.as_ref().filter(|_| held.is_whole) {
        let unused = unused_trees(&held.state);
        let _stays_until_the_job_is_removed = trees::clear_unused(workspace, &held.folder, unused);
    }
}

/// What has landed gets its branch, however the job ends: by it people see what there is, and say that they do not want it.
/// A branch that cannot be made must not keep a job from ending: the commits stay under the job's own ref.
fn publish_held(held: &mut Held, now: Timestamp) {
    let (Some(workspace), Some(tip)) = (&held.state.workspace, held.state.tip.clone()) else {
        return;
    };
    if !held.state.has_unpublished() {
        return;
    }
    let branch = Trees::open(workspace, &held.folder, &tip)
        .and_then(|trees| publish(&trees, &held.folder, &workspace.base, &tip));
    let landed = branch.map(|branch| Fact::Landed { branch, commit: tip });
    if let Some(event) = landed.ok().and_then(|fact| held.journal.append(fact, None, now).ok()) {
        held.state.apply(&event);
    }
}

/// What follows from a journal's end: the status, the file's place and the index row.
///
/// # Errors
/// Those of the system.
pub fn settle(spool: &Spool, folder: &RunFolder, state: &JobState, job: &Job) -> Result<()> {
    // What cannot be cleared away is no reason for a job not to end.
    let _left_there = fsx::clear_temps(folder.dir());
    let status = state.status(job);
    if !seeded::bug("status-behind") {
        folder.write_status(&status)?;
    }
    // The row waits for the disk, the page takes the processor.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("index".to_owned());
        // Best effort: a row that is missing is made again from the run folder by whoever lists the ended jobs.
        let row = || Index::open(&spool.root().store()).and_then(|mut index| index.record(&status));
        if thread.spawn_scoped(scope, row).is_err() {
            let _row = row();
        }
        // For people, and made again by whoever opens it and finds it missing.
        let _page = report::refresh(folder, false);
    });
    // A file that vanished from under its worker is written again, so that the job has its one place at the end.
    if !spool.has_taken(&job.id) {
        spool.restore(&format!("{}.txt", job.id), job.objective.as_bytes())?;
    }
    spool.end(&job.id, state.phase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PROTOCOL_VERSION;
    use crate::model::job::{Options, Origin};
    use crate::model::root::Root;
    use crate::model::status::JobPhase;
    use crate::spool::{Format, Place};

    fn site() -> (tempfile::TempDir, Spool, Runs, JobId) {
        let d = tempfile::tempdir().expect("scratch");
        let root = Root::new(d.path());
        let (spool, runs) = (Spool::of(&root), Runs::of(&root));
        spool.create().expect("spool");
        fsx::make_dirs(runs.dir()).expect("runs");
        let id = JobId::parse("a-abc234").expect("id");
        spool.submit(&id, b"{}").expect("submit");
        spool.take("a-abc234.json".as_ref(), &id, Format::Json).expect("take");
        let folder = runs.create(&id).expect("folder");
        let origin = Origin { name: "a".into(), bytes: 2, sha256: String::new(), uid: 0 };
        let job = Job {
            version: PROTOCOL_VERSION,
            id: id.clone(),
            objective: "x".into(),
            options: Options::default(),
            origin,
            created_at: Timestamp::UNIX_EPOCH,
        };
        folder.put_job(&job).expect("job");
        (d, spool, runs, id)
    }

    #[test]
    fn a_job_ends_once_and_its_first_end_stays() {
        let (_d, spool, runs, id) = site();
        let mut held = Held::acquire(&runs, &id).expect("lock").expect("free");
        assert!(Held::acquire(&runs, &id).expect("lock").is_none(), "one holder");
        let now = Timestamp::UNIX_EPOCH;
        finish(&spool, &mut held, &Ending::failed("dependency", "b failed"), now).expect("end");
        finish(&spool, &mut held, &Ending::killed(), now).expect("again");
        assert_eq!(spool.find(&id).expect("file").0, Place::Failed);
        let status = runs.folder(&id).read_status().expect("status");
        assert_eq!(
            (status.state, status.reason.as_deref()),
            (JobPhase::Failed, Some("dependency"))
        );
        let summary = std::fs::read_to_string(runs.folder(&id).dir().join("summary.md"));
        assert!(summary.expect("summary").contains("**failed**: b failed"));
        drop(held);
        let held = Held::acquire(&runs, &id).expect("lock").expect("free again");
        assert_eq!(held.state.phase, JobPhase::Failed);
    }

    #[test]
    fn a_job_whose_file_vanished_still_has_its_place_at_the_end() {
        let (_d, spool, runs, id) = site();
        fsx::remove(&spool.find(&id).expect("file").1).expect("vanish");
        let mut held = Held::acquire(&runs, &id).expect("lock").expect("free");
        finish(&spool, &mut held, &Ending::killed(), Timestamp::UNIX_EPOCH).expect("end");
        assert_eq!(spool.find(&id).expect("file").0, Place::Killed);
    }

    #[test]
    fn nothing_half_written_stays_with_a_job_that_has_ended() {
        let (_d, spool, runs, id) = site();
        let half = runs.folder(&id).dir().join(".abc.tmp");
        fsx::put_new(&half, b"").expect("what a dead writer left");
        let mut held = Held::acquire(&runs, &id).expect("lock").expect("free");
        finish(&spool, &mut held, &Ending::killed(), Timestamp::UNIX_EPOCH).expect("end");
        assert!(!half.exists());
    }

    #[test]
    fn a_death_before_the_rename_is_mended_by_ending_again() {
        let (_d, spool, runs, id) = site();
        let mut held = Held::acquire(&runs, &id).expect("lock").expect("free");
        let finished = Fact::Finished {
            state: JobPhase::Succeeded,
            reason: "done".into(),
            message: String::new(),
        };
        held.journal.append(finished, None, Timestamp::UNIX_EPOCH).expect("append");
        drop(held);
        let mut held = Held::acquire(&runs, &id).expect("lock").expect("free");
        finish(&spool, &mut held, &Ending::killed(), Timestamp::UNIX_EPOCH).expect("end");
        assert_eq!(spool.find(&id).expect("file").0, Place::Done);
    }
}
