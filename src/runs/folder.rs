//! One run folder: what lies where inside. Promises that a file is written by one of the
//! durable calls of `os::fsx`, but for those that can be derived again.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::folders::move_aside;
use super::{Journal, Place};
use crate::model::claim::ClaimRecord;
use crate::model::id::{JobId, TaskId};
use crate::model::job::Job;
use crate::model::plan::Plan;
use crate::model::status::Status;
use crate::os::console::one_line;
use crate::os::lock::{self, FileLock};
use crate::os::{fsx, random};

/// Largest file of our own that is read as JSON.
const MAX_JSON_BYTES: u64 = 16 * 1024 * 1024;

/// The mark of a folder whose job is being taken.
pub(super) const TAKING: &str = "taking";

/// One job's run folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    pub(super) dir: PathBuf,
    pub(super) job: JobId,
}

impl RunFolder {
    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whose it is.
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// The journal's path.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("events.ndjson")
    }

    /// The path of the lock that proves a worker alive.
    pub fn worker_lock(&self) -> PathBuf {
        self.dir.join("worker.lock")
    }

    /// Where the worker's own last words go.
    pub fn worker_log(&self) -> PathBuf {
        self.dir.join("worker.log")
    }

    /// Says something in `worker.log`, as well as it goes.
    pub fn note(&self, line: &str) {
        let line = format!("numerus: {}\n", one_line(line));
        let say = |mut log: File| log.write_all(line.as_bytes());
        let _as_well_as_it_goes = fsx::open_append(&self.worker_log()).and_then(say);
    }

    /// The fresh repository of a job that names no workspace.
    pub fn own_workspace(&self) -> PathBuf {
        self.dir.join("workspace")
    }

    /// Where one lies that was made ahead, for the next job that names none.
    pub fn ready_workspace(&self) -> PathBuf {
        self.dir.with_file_name(".workspace")
    }

    /// Where such a one is while it is made, and while it is looked at: nobody but the holder of the lock touches it here.
    pub fn spare_workspace(&self) -> PathBuf {
        self.dir.join("workspace.spare")
    }

    /// Puts that one in `runs/.aside/`: it is not what was made.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn put_spare_aside(&self) -> Result<()> {
        let runs = self.dir.parent().unwrap_or(&self.dir);
        move_aside(runs, &self.spare_workspace(), &format!("{}.workspace", self.job))
    }

    /// Whether a workspace is that repository.
    pub fn is_own(&self, workspace: &str) -> bool {
        let (own, workspace) = (self.own_workspace(), Path::new(workspace));
        let real = |path: &Path| path.canonicalize().ok();
        workspace == own || real(workspace).is_some_and(|it| Some(it) == real(&own))
    }

    /// The run folder of another job, beside this one; it may be gone.
    #[must_use]
    pub fn beside_of(&self, job: &JobId) -> Self {
        Self { dir: self.dir.with_file_name(job.as_str()), job: job.clone() }
    }

    /// The folder of a task, or one of `plan`, `roles`, `queen`, `verify`.
    pub fn place(&self, name: &str) -> Place {
        Place::at(self.dir.join(name))
    }

    /// Takes the worker lock if it is free; the folder must exist.
    ///
    /// # Errors
    /// Those of the system. A held lock is `None`.
    pub fn try_lock(&self) -> Result<Option<FileLock>> {
        Ok(FileLock::try_acquire(&self.worker_lock())?.filter(FileLock::is_current))
    }

    /// Marks the folder as one whose job is being taken, durably, before the job's file moves: a folder without that mark and
    /// without `job.claimed` has lost something, since nobody takes away a folder with all its files in one step.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn begin_taking(&self, _held: &FileLock) -> Result<()> {
        fsx::put_mark(&self.dir.join(TAKING))
    }

    /// Takes the mark away: `job.claimed` is on disk.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn end_taking(&self, _held: &FileLock) -> Result<()> {
        fsx::remove(&self.dir.join(TAKING))
    }

    /// Whether its job is being taken, or somebody has died over that.
    pub fn is_being_taken(&self) -> bool {
        self.dir.join(TAKING).is_file()
    }

    /// Puts by what lies in the place of the worker lock and is no file.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn mend_lock(&self) -> Result<()> {
        let lock = self.worker_lock();
        let is_odd = std::fs::symlink_metadata(&lock).is_ok_and(|meta| !meta.is_file());
        if is_odd { self.put_by(&lock) } else { Ok(()) }
    }

    /// Whether a worker, a taker or a killer holds the folder at this moment.
    ///
    /// # Errors
    /// Those of the system: a lock that cannot be read says nothing. Whoever only looks tells the error.
    pub fn is_held(&self) -> Result<bool> {
        lock::is_held(&self.worker_lock())
    }

    /// The same for whoever would act, or has to go on: a lock that cannot be read counts as held, since nothing may be done
    /// to a job that somebody may work on.
    pub fn may_be_held(&self) -> bool {
        self.is_held().unwrap_or(true)
    }

    /// Clears away what unfinished writes of dead holders left, here and in the places. Wishes, which anybody may write, are
    /// never unfinished; what lies in trees and in the job's own workspace is not ours.
    ///
    /// # Errors
    /// Those of the system.
    pub fn clear_temps(&self, _held: &FileLock) -> Result<()> {
        let own = self.own_workspace();
        let entries = fsx::list(&self.dir)?.into_iter().map(|name| self.dir.join(name));
        let is_place = |dir: &PathBuf| {
            *dir != own && std::fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir())
        };
        entries.filter(is_place).try_for_each(|place| fsx::clear_temps(&place))?;
        self.clear_spare()?;
        fsx::clear_temps(&self.dir)
    }

    /// Puts `job.json`, durably, and with it the name of the journal, empty where there is none yet: one flush of the folder does
    /// for both, and neither relies on the other before the journal's first line. `objective.md` is derived.
    ///
    /// # Errors
    /// Those of the system.
    pub fn put_job(&self, job: &Job) -> Result<()> {
        self.put_job_after(job, || Ok(()))
    }

    /// As [`RunFolder::put_job`]: nothing of it has its name before `settled` is done, which begins when the bytes of `job.json` are on
    /// disk.
    ///
    /// # Errors
    /// Those of the system and of `settled`.
    pub fn put_job_after(&self, job: &Job, settled: impl FnOnce() -> Result<()>) -> Result<()> {
        fsx::put_after(&self.job_file(), &to_json(job)?, || {
            settled()?;
            drop(fsx::open_append(&self.journal())?);
            let _is_in_the_job_file_too = self.put_objective(job);
            Ok(())
        })
    }

    fn put_objective(&self, job: &Job) -> Result<()> {
        fsx::replace_derived(&self.objective(), job.objective.as_bytes())
    }

    /// Puts right what a taking has left that was cut short after `job.claimed`: its mark goes, once that is on disk, and
    /// `objective.md`, which was never flushed, is written again where it is not whole.
    pub fn finish_taking(&self, held: &FileLock, job: &Job, journal: &mut Journal) {
        if self.is_being_taken() && journal.flush().is_ok() {
            let _stays = self.end_taking(held);
        }
        if self.read_objective().as_ref() != Some(&job.objective) {
            let _is_in_the_job_file_too = self.put_objective(job);
        }
    }

    /// Reads `job.json`; `None` if it is not there.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged.
    pub fn read_job(&self) -> Result<Option<Job>> {
        read_json(&self.job_file())
    }

    /// Replaces `status.json` without a flush: it can be derived again.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write_status(&self, status: &Status) -> Result<()> {
        let (path, json) = (self.dir.join("status.json"), to_json(status)?);
        match fsx::replace_derived(&path, &json) {
            // Nothing of ours: a rename replaces anything but a folder.
            Err(_) if path.is_dir() => {
                self.put_by(&path)?;
                fsx::replace_derived(&path, &json)
            }
            written => written,
        }
    }

    /// Moves what lies under one of our names, and is not ours or cannot be read, to `NAME.bad-RANDOM` beside it.
    ///
    /// # Errors
    /// Those of the system; what is not there is no error.
    pub fn put_by(&self, path: &Path) -> Result<()> {
        match fsx::move_to(path, &Self::beside(path)?) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            moved => moved,
        }
    }

    /// A free name beside one of ours, for what lies there and is not ours: `NAME.bad-RANDOM`.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub fn beside(path: &Path) -> Result<PathBuf> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".bad-{}", random::base32(6)?));
        Ok(path.with_file_name(name))
    }

    /// `job.json`.
    pub fn job_file(&self) -> PathBuf {
        self.dir.join("job.json")
    }

    fn objective(&self) -> PathBuf {
        self.dir.join("objective.md")
    }

    /// The objective as people read it; `None` where it cannot be read.
    pub fn read_objective(&self) -> Option<String> {
        let bytes = fsx::read_bounded(&self.objective(), MAX_JSON_BYTES).ok()??;
        String::from_utf8(bytes).ok()
    }

    /// Reads `status.json`; `None` if it is not there, empty or broken: then it is to be derived.
    pub fn read_status(&self) -> Option<Status> {
        let bytes = fsx::read_bounded(&self.dir.join("status.json"), MAX_JSON_BYTES).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// When `status.json` was written last; `None` where there is none.
    pub fn last_told(&self) -> Option<SystemTime> {
        std::fs::symlink_metadata(self.dir.join("status.json"))
            .and_then(|meta| meta.modified())
            .ok()
    }

    /// Writes `plan-N.json` and its copy `plan.json`: for people; the journal has the same facts.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write_plan(&self, plan: &Plan) -> Result<()> {
        fsx::replace_derived(&self.numbered(plan.number), &to_json(plan)?)?;
        self.write_current_plan(plan)
    }

    /// The same of a plan that was written before, with the tasks that it was given since: `plan-N.json` only where a power cut took
    /// it, or left one of an attempt that was lost.
    ///
    /// # Errors
    /// Those of the system.
    pub fn mend_plan(&self, plan: &Plan) -> Result<()> {
        let numbered = self.numbered(plan.number);
        let is_it = |found: Plan| {
            let of = |plan: &Plan| (plan.number, plan.objective.clone(), plan.strategy.clone());
            of(&found) == of(plan) && plan.tasks.starts_with(&found.tasks)
        };
        let is_whole =
            read_json(&numbered).is_ok_and(|found: Option<Plan>| found.is_some_and(is_it));
        if is_whole { self.write_current_plan(plan) } else { self.write_plan(plan) }
    }

    fn numbered(&self, number: u32) -> PathBuf {
        self.dir.join(format!("plan-{number}.json"))
    }

    /// Replaces `plan.json` by the plan as it stands, tasks that were added since included.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write_current_plan(&self, plan: &Plan) -> Result<()> {
        fsx::replace_derived(&self.dir.join("plan.json"), &to_json(plan)?)
    }

    /// Replaces `<task>_claim.json`: evidence for people; the journal has the same facts.
    ///
    /// # Errors
    /// Those of the system.
    pub fn write_claim(&self, record: &ClaimRecord) -> Result<()> {
        fsx::replace_derived(&self.claim_path(&record.task_id), &to_json(record)?)
    }

    /// Reads `<task>_claim.json`; `None` if it is not there.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged.
    pub fn read_claim(&self, task: &TaskId) -> Result<Option<ClaimRecord>> {
        read_json(&self.claim_path(task))
    }

    fn claim_path(&self, task: &TaskId) -> PathBuf {
        self.dir.join(format!("{task}_claim.json"))
    }

    /// Puts `result.patch` there, durably.
    ///
    /// # Errors
    /// Those of the system.
    pub fn put_patch(&self, patch: &[u8]) -> Result<()> {
        fsx::put(&self.patch(), patch)
    }

    /// Whether `result.patch` is there.
    pub fn has_patch(&self) -> bool {
        self.patch().is_file()
    }

    fn patch(&self) -> PathBuf {
        self.dir.join("result.patch")
    }

    /// Puts `summary.md` there, durably.
    ///
    /// # Errors
    /// Those of the system.
    pub fn put_summary(&self, text: &[u8]) -> Result<()> {
        fsx::put(&self.dir.join("summary.md"), text)
    }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    Ok(json)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let damaged = |why: String| fsx::at(path)(Error::new(ErrorKind::InvalidData, why));
    let bytes = match fsx::read_bounded(path, MAX_JSON_BYTES) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(_) if !is_file(path) => return Err(damaged("it is no file".to_owned())),
        bytes => bytes?.ok_or_else(|| damaged("it is too large".to_owned()))?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| damaged(e.to_string()))
}

fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PROTOCOL_VERSION;
    use crate::model::claim::Resources;
    use crate::model::plan::{Role, Task};
    use crate::model::root::Root;
    use crate::runs::Runs;

    #[test]
    fn a_plan_file_is_written_again_where_a_power_cut_took_it_and_stays_as_it_was_made_else() {
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path());
        fsx::make_dirs(&root.runs()).expect("runs");
        let job = JobId::parse("a-abc234").expect("id");
        let folder = Runs::of(&root).create(&job).expect("folder");
        let task = |id: &str| Task {
            id: TaskId::parse(id).expect("id"),
            summary: id.to_owned(),
            description: id.to_owned(),
            dependencies: Vec::new(),
            resources: Resources::default(),
            role: Role::Executor,
            notes: String::new(),
        };
        let plan = |strategy: &str, ids: &[&str]| Plan {
            version: PROTOCOL_VERSION,
            number: 1,
            objective: "x".to_owned(),
            strategy: strategy.to_owned(),
            tasks: ids.iter().map(|id| task(id)).collect(),
        };
        let numbered = folder.dir().join("plan-1.json");
        let read = |path: &Path| read_json::<Plan>(path).expect("whole").expect("there");
        let (made, now) = (plan("in order", &["one"]), plan("in order", &["one", "two"]));
        folder.write_plan(&made).expect("written");
        folder.mend_plan(&now).expect("whole");
        assert_eq!(read(&numbered), made, "as it was made");
        assert_eq!(read(&folder.dir().join("plan.json")), now);
        for left in
            [&b""[..], b"{", b"null", &to_json(&plan("all at once", &["one"])).expect("json")]
        {
            fsx::put(&numbered, left).expect("put");
            folder.mend_plan(&now).expect("mended");
            assert_eq!(read(&numbered), now, "{}", String::from_utf8_lossy(left));
        }
        fsx::remove(&numbered).expect("removed");
        folder.mend_plan(&now).expect("mended");
        assert_eq!(read(&numbered), now);
    }
}
