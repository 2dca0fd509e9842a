//! Jobs whose record is lost or destroyed: whoever cannot tell how far a job got must not let it run. It ends as failed with
//! a code, and whatever is left of it stays.
//!
//! Diagnostics: what cannot be read for a passing reason is an error, and looked at again; what is destroyed is a fact.

use std::io::{ErrorKind, Result};
use std::path::Path;

use super::Daemon;
use super::queue::{none_lives, refuse_to_end_alive};
use super::refusal::duplicate;
use crate::codex::fence;
use crate::ending::{self, Ending, Held};
use crate::hooks;
use crate::logic::recover::Lies;
use crate::logic::state::JobState;
use crate::model::PROTOCOL_VERSION;
use crate::model::id::JobId;
use crate::model::job::{Job, Options, Origin};
use crate::model::rejection::Code;
use crate::os::lock::FileLock;
use crate::os::{clock, fsx, reserve};
use crate::runs::{Journal, JournalReader, RunFolder};
use crate::spool::{Place, Spool};

/// What a run folder says of its job.
pub(super) struct Record {
    /// What its journal adds up to.
    pub(super) state: JobState,
    /// The accepted job, where it was claimed and has not ended.
    pub(super) job: Option<Job>,
    /// What of it is destroyed; of a job that has ended nobody asks.
    pub(super) damage: Option<String>,
    /// Whether its status can be read.
    pub(super) has_status: bool,
}

/// Reads what a run folder says of its job.
pub(super) fn look_into(folder: &RunFolder) -> Result<Record> {
    let (state, damage) = read_journal(folder)?;
    // The status is written after the journal was flushed, and so never knows more.
    let status = folder.read_status();
    let has_status = status.is_some();
    if state.phase.is_final() {
        return Ok(Record { state, job: None, damage: None, has_status });
    }
    let damage = damage.or_else(|| match status {
        Some(_) if !state.claimed => Some("its journal has lost its beginning".to_owned()),
        Some(s) if s.state.is_final() => Some("its journal has lost its end".to_owned()),
        Some(_) | None => None,
    });
    let (job, damage) = if state.claimed { read_job(folder, damage)? } else { (None, damage) };
    Ok(Record { state, job, damage, has_status })
}

/// The accepted job, or what is wrong with its file.
fn read_job(folder: &RunFolder, damage: Option<String>) -> Result<(Option<Job>, Option<String>)> {
    let how = match folder.read_job() {
        Ok(Some(job)) if job.id == *folder.job() => return Ok((Some(job), damage)),
        Ok(Some(job)) => format!("its job.json is that of {}", job.id),
        Ok(None) => "its job.json is gone".to_owned(),
        Err(e) if e.kind() == ErrorKind::InvalidData => e.to_string(),
        Err(e) => return Err(e),
    };
    Ok((None, Some(how)))
}

/// What a journal adds up to, and what of it is destroyed; none is that of a job that nobody has taken yet.
pub(super) fn read_journal(folder: &RunFolder) -> Result<(JobState, Option<String>)> {
    let path = folder.journal();
    match JournalReader::open(&path).and_then(JournalReader::read_all) {
        _ if is_no_file(&path) => {
            Ok((JobState::default(), Some("its journal is no file".to_owned())))
        }
        Ok(replay) => {
            let damage = replay.damage.map(|how| format!("its journal is damaged: {how}"));
            Ok((JobState::replay(&replay.events), damage))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok((JobState::default(), None)),
        Err(e) => Err(e),
    }
}

fn is_no_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file())
}

/// What stands in for a job of which nobody knows what it was.
fn stand_in(job: &JobId, objective: Option<String>) -> Job {
    Job {
        version: PROTOCOL_VERSION,
        id: job.clone(),
        objective: objective.unwrap_or_else(|| "(lost; see the file in spool/failed)".to_owned()),
        options: Options::default(),
        origin: Origin { name: job.to_string(), bytes: 0, sha256: String::new(), uid: u32::MAX },
        created_at: clock::now(),
    }
}

/// Whether a job's file is claimed and its run folder is gone. The file is looked at first, since a folder is made before its file
/// is claimed; and once more, since both may have gone meanwhile, the file first.
fn is_lost(spool: &Spool, folder: &RunFolder) -> bool {
    let is_claimed = || spool.has(Place::Claimed, folder.job());
    is_claimed() && !folder.dir().is_dir() && is_claimed()
}

impl Daemon {
    /// A claimed file without a run folder does not run: nobody knows how far it got. Its record is made aside, with its end,
    /// and gets its name as a whole, so that whoever dies here never leaves a folder that looks like a new job's. Whoever takes
    /// a job makes its folder before the file is moved, so that a file without one is not just being taken. The answer is
    /// whether there was a loss.
    pub(super) fn record_loss(&self, job: &JobId) -> Result<bool> {
        if crate::root::check(&self.desk.root).is_err() {
            // The run folders may be on a volume that is not mounted.
            return Ok(false);
        }
        // A worker may still be at it, and its agent; nothing is told of the job before they are gone.
        none_lives(&fence::fence_job(job))?;
        let (runs, spool) = (&self.desk.runs, &self.desk.spool);
        if !is_lost(spool, &runs.folder(job)) {
            return Ok(false);
        }
        if runs.folder(job).dir().symlink_metadata().is_ok() {
            // A file, or a link that leads nowhere.
            runs.move_aside(job)?;
        }
        let folder = runs.stage(job)?;
        let Some(lock) = folder.try_lock()? else { return Ok(false) };
        folder.put_job(&stand_in(job, None))?;
        let mut held = Held::open(folder, lock)?;
        let message = format!("{}: its run folder is gone", Code::RunLost.as_str());
        let _carries_on = reserve::spend();
        ending::write_down(&mut held, &Ending::failed("run_lost", message), clock::now())?;
        if !runs.install(&held.folder)? {
            return Ok(false);
        }
        ending::settle(spool, &runs.folder(job), &held.state, &held.job)?;
        hooks::rouse(&self.desk.root, job);
        Ok(true)
    }

    /// A job whose journal or `job.json` is destroyed ends as failed. Its end is written before anything that would make it
    /// look whole, so that a death in between never lets it run: what is no journal changes places with one that has the end.
    pub(super) fn end_damaged(&self, folder: RunFolder, lock: FileLock) -> Result<()> {
        let Record { job, damage, .. } = look_into(&folder)?;
        let damage = damage.unwrap_or_else(|| "its journal is gone".to_owned());
        let is_whole = job.is_some();
        // One that a power cut has emptied says no more than none.
        let objective = folder.read_objective().filter(|text| !text.is_empty());
        let job = job.unwrap_or_else(|| stand_in(folder.job(), objective));
        let path = folder.journal();
        let written = if is_no_file(&path) { RunFolder::beside(&path)? } else { path.clone() };
        let (journal, replay) = Journal::open(&written, folder.job())?;
        let state = JobState::replay(&replay.events);
        let mut held = Held { folder, lock, journal, state, job, is_whole: false };
        refuse_to_end_alive(&held)?;
        let message =
            format!("{}: {damage}; everything that is left of it is kept", Code::Corrupt.as_str());
        let _carries_on = reserve::spend();
        ending::write_down(&mut held, &Ending::failed("corrupt", message), clock::now())?;
        if written != path {
            fsx::exchange(&written, &path)?;
        }
        ending::settle(&self.desk.spool, &held.folder, &held.state, &held.job)?;
        if !is_whole {
            held.folder.put_by(&held.folder.job_file())?;
            held.folder.put_job(&held.job)?;
        }
        hooks::rouse(&self.desk.root, held.folder.job());
        Ok(())
    }

    /// Of two files of one job the one that lies where the journal says counts.
    pub(super) fn put_copy_aside(&self, job: &JobId, lies: Lies) -> Result<()> {
        let place = match lies {
            Lies::Claimed => Place::Claimed,
            Lies::Done => Place::Done,
            Lies::Failed => Place::Failed,
            Lies::Killed => Place::Killed,
            Lies::Held => return self.desk.clear_held(job),
        };
        let Some(path) = self.desk.spool.file_of(place, job) else { return Ok(()) };
        let why =
            format!("it is a further copy, in {}, of what job {job} was made of", place.as_str());
        let name = path.file_name().unwrap_or_default().to_owned();
        self.desk.put_aside(&path, &name, duplicate(&why, job)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::root::Root;
    use crate::runs::Runs;

    #[test]
    fn a_job_that_is_just_taken_or_just_goes_is_not_lost() {
        const ROUNDS: usize = 3000;
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path());
        let (spool, runs) = (Spool::of(&root), Runs::of(&root));
        fsx::make_dirs(&spool.folder(Place::Claimed)).expect("claimed");
        fsx::make_dirs(runs.dir()).expect("runs");
        let job = |round: usize| JobId::parse(&format!("j{round}-abc234")).expect("id");
        let file = |round| spool.folder(Place::Claimed).join(format!("{}.md", job(round)));
        let now = AtomicUsize::new(0);
        let look = || loop {
            let round = now.load(Ordering::Relaxed);
            if round == ROUNDS {
                return;
            }
            assert!(!is_lost(&spool, &runs.folder(&job(round))), "round {round}");
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(look);
            }
            for round in 0..ROUNDS {
                now.store(round, Ordering::Relaxed);
                let folder = runs.folder(&job(round)).dir().to_owned();
                fs::create_dir(&folder).expect("made");
                drop(fsx::create_new(&file(round)).expect("claimed"));
                fsx::remove(&file(round)).expect("gone");
                fs::remove_dir(folder).expect("gone");
            }
            now.store(ROUNDS, Ordering::Relaxed);
        });
        drop(fsx::create_new(&file(0)).expect("claimed"));
        assert!(is_lost(&spool, &runs.folder(&job(0))), "without a folder");
    }
}
