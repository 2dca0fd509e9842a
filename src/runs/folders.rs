//! All run folders of a root: which jobs have one, how one is made, filled aside, and put out of the way.

use std::ffi::OsString;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

use super::ahead::is_mark;
use super::{JournalReader, RunFolder};
use crate::model::event::Fact;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::model::status::JobPhase;
use crate::os::lock::FileLock;
use crate::os::{fsx, random};

/// `runs/` of a root.
#[derive(Debug, Clone)]
pub struct Runs {
    dir: PathBuf,
}

impl Runs {
    /// Names the runs of a root.
    pub fn of(root: &Root) -> Self {
        Self { dir: root.runs() }
    }

    /// `runs/` itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A job's run folder, whether it exists or not.
    pub fn folder(&self, job: &JobId) -> RunFolder {
        RunFolder { dir: self.dir.join(job.as_str()), job: job.clone() }
    }

    /// Makes a job's run folder, durably.
    ///
    /// # Errors
    /// `AlreadyExists` if the job has one.
    pub fn create(&self, job: &JobId) -> Result<RunFolder> {
        let folder = self.folder(job);
        fsx::make_new_dir(folder.dir())?;
        Ok(folder)
    }

    /// Flushes the names of all run folders: whoever made one that is found may have died before that.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn flush(&self) -> Result<()> {
        fsx::sync_dir(&self.dir)
    }

    /// A run folder of a job under no name yet, for the one daemon that leads to fill; what an earlier one left there is gone.
    ///
    /// # Errors
    /// Those of the system.
    pub fn stage(&self, job: &JobId) -> Result<RunFolder> {
        let dir = self.dir.join(".staged");
        fsx::remove_any(&dir)?;
        fsx::make_new_dir(&dir)?;
        Ok(RunFolder { dir, job: job.clone() })
    }

    /// Gives a staged folder its name; false if the job has a folder meanwhile.
    ///
    /// # Errors
    /// Those of the system.
    pub fn install(&self, staged: &RunFolder) -> Result<bool> {
        match fsx::move_to(staged.dir(), self.folder(staged.job()).dir()) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
            moved => moved.map(|()| true),
        }
    }

    /// Puts a run folder that never became a job's out of the way: removed if it holds nothing but its lock, its mark and what somebody
    /// did not come to giving a name, else kept in `runs/.aside/`. The caller holds its lock.
    ///
    /// # Errors
    /// Those of the system.
    pub fn put_away(&self, lock: &FileLock, job: &JobId) -> Result<()> {
        let folder = self.folder(job);
        let is_ours = |name: &OsString| {
            let path = folder.dir().join(name);
            path == lock.path() || is_mark(&path) || is_unfinished(&path)
        };
        let holds_more = !fsx::list_os(folder.dir())?.iter().all(is_ours);
        if holds_more { self.move_aside(job) } else { fsx::remove_tree(folder.dir()) }
    }

    /// Moves what lies under a job's name to `runs/.aside/`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn move_aside(&self, job: &JobId) -> Result<()> {
        move_aside(&self.dir, self.folder(job).dir(), job.as_str())
    }

    /// Whether a job's journal ends with its being killed, and nobody is at it any more; its other files may be behind that.
    pub fn was_killed(&self, job: &JobId) -> bool {
        let folder = self.folder(job);
        let is_end = |fact: &Fact| matches!(fact, Fact::Finished { state: JobPhase::Killed, .. });
        let journal = JournalReader::read_any(&folder.journal());
        journal.is_ok_and(|read| read.events.iter().any(|e| is_end(&e.fact)))
            && !folder.may_be_held()
    }

    /// The jobs that have a run folder, unsorted.
    ///
    /// # Errors
    /// When `runs/` cannot be read.
    pub fn jobs(&self) -> Result<Vec<JobId>> {
        Ok(fsx::list(&self.dir)?.iter().filter_map(|n| JobId::parse(n).ok()).collect())
    }
}

/// Whether a file is one that never got its name.
fn is_unfinished(path: &Path) -> bool {
    fsx::is_temp(path) && path.symlink_metadata().is_ok_and(|meta| meta.is_file())
}

/// Moves something to `.aside/` in `runs/`, under a name that begins so and that nothing there has.
pub(super) fn move_aside(runs: &Path, path: &Path, name: &str) -> Result<()> {
    let aside = runs.join(".aside");
    fsx::make_kept_dirs(&aside)?;
    fsx::move_to(path, &aside.join(format!("{name}.{}", random::base32(6)?)))
}
