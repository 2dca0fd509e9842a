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
use crate::model::root::Root;
use crate::os::lock::FileLock;
use crate::os::{fsx, reserve};
use crate::runs::{RunFolder, Runs};
use crate::spool::Spool;
use crate::store::index::Index;
use crate::trees;

/// Largest file that is copied, in bytes.
const MAX_COPY_BYTES: u64 = 512 * 1024 * 1024;
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
        let copies = copies(root);
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
            removed.map_err(Error::other)?;
        }
        fsx::move_to(held.folder.dir(), &self.aside(&job))?;
        self.clear_away(&job)
    }

    /// Removes the file of a job that has no run folder: one that was withdrawn before it was taken, or whose folder is gone.
    ///
    /// # Errors
    /// Those of the system.
    pub fn remove_file(&self, job: &JobId) -> Result<()> {
        let target = self.copies.join(job.as_str());
        if !target.exists() {
            let staged = self.stage(job)?;
            self.copy_file(job, &staged)?;
            fsx::move_to(&staged, &target)?;
        }
        self.clear_away(job)
    }

    fn has_copy(&self, job: &JobId) -> bool {
        self.copies.join(job.as_str()).is_dir()
    }

    fn aside(&self, job: &JobId) -> PathBuf {
        self.runs.dir().join(format!("{ASIDE}{job}"))
    }

    /// What follows from the removal; done again it does the rest.
    fn clear_away(&self, job: &JobId) -> Result<()> {
        if let Some(file) = self.spool.taken(job) {
            fsx::remove(&file)?;
        }
        let _missed_by_nobody = Index::open(&self.store).and_then(|mut index| index.forget(job));
        trees::remove_run(&self.aside(job)).map_err(Error::other)
    }

    fn stage(&self, job: &JobId) -> Result<PathBuf> {
        let staged = self.copies.join(format!(".{job}"));
        fsx::remove_any(&staged)?;
        fsx::make_new_dir(&staged)?;
        Ok(staged)
    }

    /// Copies what matters of a job, as a whole.
    fn copy(&self, folder: &RunFolder, with_repository: bool) -> Result<()> {
        let target = self.copies.join(folder.job().as_str());
        if target.exists() {
            return is_copy_of(&target, folder);
        }
        let staged = self.stage(folder.job())?;
        self.copy_file(folder.job(), &staged)?;
        for name in fsx::list(folder.dir())? {
            let path = folder.dir().join(&name);
            if is_kept(&name) {
                copy_one(&path, &staged.join(&name))?;
            } else if is_dir(&path) && path != folder.own_workspace() {
                copy_patches(&path, &staged.join(&name))?;
            }
        }
        if with_repository {
            let bundle = trees::bundle(folder).map_err(Error::other)?;
            fsx::put_new(&staged.join(BUNDLE), &bundle)?;
        }
        fsx::move_to(&staged, &target)
    }

    fn copy_file(&self, job: &JobId, to: &Path) -> Result<()> {
        let Some(file) = self.spool.taken(job) else { return Ok(()) };
        let name = file.file_name().unwrap_or_default();
        copy_one(&file, &to.join(name))
    }
}

/// The jobs that were removed, as far as copies of what was accepted are kept.
///
/// # Errors
/// Those of the system, and a copy that cannot be read.
pub fn removed_jobs(root: &Root) -> Result<Vec<Job>> {
    let dir = copies(root);
    let mut jobs = Vec::new();
    for name in fsx::list(&dir)?.into_iter().filter(|name| JobId::parse(name).is_ok()) {
        let path = dir.join(name).join("job.json");
        let Some(text) = fsx::read_optional(&path)? else { continue };
        jobs.push(serde_json::from_str(&text).map_err(|e| fsx::at(&path)(e.into()))?);
    }
    Ok(jobs)
}

fn copies(root: &Root) -> PathBuf {
    root.store().join("pruned")
}

/// Whoever died after the copying has copied everything, since a copy gets its name as a whole. Anything else of that name
/// keeps the job.
fn is_copy_of(target: &Path, folder: &RunFolder) -> Result<()> {
    let copied = fsx::read_bounded(&target.join("events.ndjson"), MAX_COPY_BYTES).ok().flatten();
    if copied.is_some() && copied == fsx::read_bounded(&folder.journal(), MAX_COPY_BYTES)? {
        return Ok(());
    }
    Err(fsx::at(target)(Error::new(ErrorKind::AlreadyExists, "it is the copy of another job")))
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
    names.iter().try_for_each(|name| copy_one(&place.join(name), &to.join(name)))
}

fn copy_one(from: &Path, to: &Path) -> Result<()> {
    let too_large =
        || fsx::at(from)(Error::new(ErrorKind::FileTooLarge, "it is too large to be copied"));
    fsx::put_new(to, &fsx::read_bounded(from, MAX_COPY_BYTES)?.ok_or_else(too_large)?)
}
