//! The removal of a job that has ended. First a copy of what matters is whole in `store/pruned/JOB`; then the job's traces in its
//! repository go; then its run folder gets a name that is no job's, by one rename, and with that it is removed: its file in the
//! spool, its row in the index and what is in the folder follow, and whoever finds them without it finishes that.
//!
//! Diagnostics: what cannot be copied keeps its job; a row of the index that stays is missed by nobody.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use super::Held;
use crate::logic::prune::Standing;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::root::{Root, job_of_copy};
use crate::os::lock::FileLock;
use crate::os::{fsx, reserve};
use crate::runs::{RunFolder, Runs};
use crate::spool::Spool;
use crate::store::index::Index;
use crate::trees;

/// Most copies of jobs with the same id.
const MAX_COPIES: u32 = 1000;
/// How the name of a run folder begins whose job was removed.
const ASIDE: &str = ".pruning-";
/// The files of a run folder that are copied.
const KEPT: [&str; 6] =
    ["job.json", "objective.md", "events.ndjson", "summary.md", "report.html", "result.patch"];
/// The copy of a repository that lies in the run folder.
const BUNDLE: &str = "workspace.bundle";

/// Who removes jobs of a root; there is one at a time.
#[derive(Debug)]
pub struct Pruner {
    spool: Spool,
    runs: Runs,
    copies: PathBuf,
    store: PathBuf,
    _lock: FileLock,
}

impl Pruner {
    /// Becomes the one who removes; `None` if somebody else does.
    ///
    /// # Errors
    /// Those of the system.
    pub fn begin(root: &Root) -> Result<Option<Self>> {
        let copies = root.pruned();
        fsx::make_kept_dirs(&copies)?;
        let Some(lock) = FileLock::try_acquire(&copies.join(".lock"))? else { return Ok(None) };
        let (spool, runs, store) = (Spool::of(root), Runs::of(root), root.store());
        Ok(Some(Self { spool, runs, copies, store, _lock: lock }))
    }

    /// Finishes what whoever died over it had begun: gives back the jobs.
    ///
    /// # Errors
    /// Those of the system.
    pub fn finish_begun(&self) -> Result<Vec<JobId>> {
        let mut finished = Vec::new();
        for name in fsx::list(self.runs.dir())? {
            let job = name.strip_prefix(ASIDE).and_then(|id| JobId::parse(id).ok());
            // What has no copy was not put there by us, and is left alone.
            let Some(job) = job.filter(|job| self.has_copy(job)) else { continue };
            self.clear_away(&job)?;
            finished.push(job);
        }
        Ok(finished)
    }

    /// Removes a job whose lock is held and which has ended. Its own refs go where its commits are on another branch, or not
    /// wanted.
    ///
    /// # Errors
    /// Those of the system and of git; then the job is there, or its removal is finished by the next one who removes.
    pub fn remove(&self, held: &Held, standing: &Standing) -> Result<()> {
        if !held.state.phase.is_final() {
            return Err(Error::other(format!("{} has not ended", held.job.id)));
        }
        let job = held.job.id.clone();
        // On a full disk this makes room; what the copy takes is less than what goes.
        let _carries_on = reserve::spend();
        self.copy(&held.folder, *standing == Standing::Within)?;
        let drops_refs = matches!(
            standing,
            Standing::Nothing | Standing::Merged | Standing::InJob(_) | Standing::Discarded
        );
        let workspace = held.state.workspace.as_ref().filter(|_| *standing != Standing::Unknown);
        if let Some(workspace) = workspace {
            let tip = held.state.tip.as_deref().unwrap_or(&workspace.base);
            let removed = trees::remove_traces(workspace, &held.folder, tip, drops_refs);
            removed.map_err(of_trees)?;
        }
        fsx::move_to(held.folder.dir(), &self.aside(&job))?;
        self.clear_away(&job)
    }

    /// Removes the file of a job that has no run folder: one that was withdrawn before it was taken, or whose folder is gone.
    ///
    /// # Errors
    /// Those of the system.
    pub fn remove_file(&self, job: &JobId) -> Result<()> {
        let is_copied = |copy: &Path| self.is_file_in(job, copy);
        if let Some(target) = self.room(job, is_copied)? {
            self.stage(job, &target, |staged| self.copy_file(job, staged))?;
        }
        self.clear_away(job)
    }

    fn has_copy(&self, job: &JobId) -> bool {
        self.copies.join(job.as_str()).is_dir()
    }

    fn aside(&self, job: &JobId) -> PathBuf {
        self.runs.dir().join(format!("{ASIDE}{job}"))
    }

    /// What follows from the removal; done again it does the rest. An id whose file is gone may have become another job's: of
    /// that one nothing is touched.
    fn clear_away(&self, job: &JobId) -> Result<()> {
        // Looked for first: no new job gets the id while this one's file is there, and one that has it has its run folder before
        // it has a file.
        let file = self.spool.taken(job);
        if !self.runs.folder(job).dir().exists() {
            if let Some(file) = file {
                fsx::remove(&file)?;
                self.spool.forget_successor(job)?;
            }
            let _missed_by_nobody =
                Index::open(&self.store).and_then(|mut index| index.forget(job));
        }
        trees::remove_run(&self.aside(job)).map_err(of_trees)
    }

    /// Fills a folder with copies and gives it its name as a whole. Where that fails nothing of it is left: on a full disk it
    /// would only be in the way.
    fn stage(
        &self,
        job: &JobId,
        target: &Path,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let staged = self.copies.join(format!(".{job}"));
        fsx::remove_any(&staged)?;
        let made = fsx::make_new_dir(&staged).and_then(|()| fill(&staged));
        let named = made.and_then(|()| fsx::move_to(&staged, target));
        named.inspect_err(|_| {
            // What stays is removed by the next one who removes.
            let _stays = fsx::remove_any(&staged);
        })
    }

    /// Where the copy of a job goes, beside those of earlier jobs with its id; `None` if one of them is its own. Whoever died
    /// after the copying has copied everything, since a copy gets its name as a whole.
    fn room(&self, job: &JobId, is_own: impl Fn(&Path) -> Result<bool>) -> Result<Option<PathBuf>> {
        let named = |n: u32| if n == 1 { job.to_string() } else { format!("{job}.{n}") };
        for copy in (1..=MAX_COPIES).map(|n| self.copies.join(named(n))) {
            if copy.symlink_metadata().is_err() {
                return Ok(Some(copy));
            }
            if is_own(&copy)? {
                return Ok(None);
            }
        }
        let why =
            format!("there are {MAX_COPIES} copies of jobs with that id; move them elsewhere");
        Err(fsx::at(&self.copies.join(job.as_str()))(Error::new(ErrorKind::AlreadyExists, why)))
    }

    /// Whether a copy holds the file that a job has in the spool.
    fn is_file_in(&self, job: &JobId, copy: &Path) -> Result<bool> {
        let Some(file) = self.spool.taken(job) else { return Ok(true) };
        let copied = copy.join(file.file_name().unwrap_or_default());
        is_copy(&copied, &file)
    }

    /// Copies what matters of a job, as a whole.
    fn copy(&self, folder: &RunFolder, with_repository: bool) -> Result<()> {
        let is_copied = |copy: &Path| is_copy_of(copy, folder);
        let Some(target) = self.room(folder.job(), is_copied)? else { return Ok(()) };
        self.stage(folder.job(), &target, |staged| self.fill(staged, folder, with_repository))
    }

    fn fill(&self, staged: &Path, folder: &RunFolder, with_repository: bool) -> Result<()> {
        self.copy_file(folder.job(), staged)?;
        for name in fsx::list(folder.dir())? {
            let path = folder.dir().join(&name);
            if is_kept(&name) {
                fsx::copy_new(&path, &staged.join(&name))?;
            } else if is_dir(&path) && path != folder.own_workspace() {
                copy_patches(&path, &staged.join(&name))?;
            }
        }
        if with_repository {
            fsx::put_new_by(&staged.join(BUNDLE), &mut |file| {
                trees::bundle(folder, file).map_err(of_trees)
            })?;
        }
        Ok(())
    }

    fn copy_file(&self, job: &JobId, to: &Path) -> Result<()> {
        let Some(file) = self.spool.taken(job) else { return Ok(()) };
        let name = file.file_name().unwrap_or_default();
        fsx::copy_new(&file, &to.join(name))
    }
}

/// The jobs that were removed, as far as copies of what was accepted are kept, and of each copy that is damaged what is wrong
/// with it: copies are not what a root lives by.
///
/// # Errors
/// Those of the system.
pub fn removed_jobs(root: &Root) -> Result<(Vec<Job>, Vec<String>)> {
    let dir = root.pruned();
    let (mut jobs, mut damaged) = (Vec::new(), Vec::new());
    for name in fsx::list(&dir)?.into_iter().filter(|name| job_of_copy(name).is_some()) {
        let path = dir.join(name).join("job.json");
        match fsx::read_optional(&path).and_then(|text| text.map(parsed(&path)).transpose()) {
            Ok(job) => jobs.extend(job),
            Err(e) if is_damage(e.kind()) => damaged.push(e.to_string()),
            Err(e) => return Err(e),
        }
    }
    Ok((jobs, damaged))
}

fn parsed(path: &Path) -> impl Fn(String) -> Result<Job> + '_ {
    move |text| {
        let read = serde_json::from_str(&text);
        read.map_err(|e| fsx::at(path)(Error::new(ErrorKind::InvalidData, e)))
    }
}

/// Whether reading failed for what lies there, so that another try would not help.
fn is_damage(kind: ErrorKind) -> bool {
    use ErrorKind::{InvalidData, InvalidInput, IsADirectory, NotADirectory, PermissionDenied};
    matches!(kind, InvalidData | InvalidInput | IsADirectory | NotADirectory | PermissionDenied)
}

/// Whether a copy is that of the job in a run folder.
fn is_copy_of(copy: &Path, folder: &RunFolder) -> Result<bool> {
    is_copy(&copy.join("events.ndjson"), &folder.journal())
}

/// Whether a file was copied as it is.
fn is_copy(copied: &Path, file: &Path) -> Result<bool> {
    let is_file = std::fs::symlink_metadata(copied).is_ok_and(|meta| meta.is_file());
    Ok(is_file && fsx::is_same(copied, file)?)
}

fn is_kept(name: &str) -> bool {
    KEPT.contains(&name) || is_between(name, "plan-", ".json") || is_between(name, "note-", ".md")
}

fn is_between(name: &str, start: &str, end: &str) -> bool {
    name.starts_with(start) && name.ends_with(end)
}

fn is_dir(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// What a task did that did not land, and what it was told.
fn copy_patches(place: &Path, to: &Path) -> Result<()> {
    let is_patch = |name: &String| {
        name == "out-of-claim.patch"
            || is_between(name, "attempt-", ".patch")
            || is_between(name, "note-", ".md")
    };
    let names: Vec<String> = fsx::list(place)?.into_iter().filter(is_patch).collect();
    if names.is_empty() {
        return Ok(());
    }
    fsx::make_new_dir(to)?;
    names.iter().try_for_each(|name| fsx::copy_new(&place.join(name), &to.join(name)))
}

/// The system's own error where there is one: whether it was for want of room is asked of it.
fn of_trees(error: trees::TreesError) -> Error {
    match error {
        trees::TreesError::Io(e) => e,
        other => Error::other(other),
    }
}
