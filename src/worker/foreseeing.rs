//! What a worker finds out before its job is its own: by what it is told of it while the file is taken, which waits for the disk.
//!
//! Promises: codex is not called, nothing of the job begins, and nothing is made but what any job of the root needs. What was found
//! out is used only where the job is, in every word, the one that was foretold.

use crate::codex::{Codex, sandbox};
use crate::model::job::{Job, Sandbox};
use crate::model::plan::Role;
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::store::StoreError;
use crate::store::holds::Holds;
use crate::store::starts::StartSlots;

/// What a job's sessions need that does not depend on how far it is.
pub(super) struct Tools {
    pub(super) codex: Codex,
    pub(super) slots: StartSlots,
    pub(super) holds: Holds,
}

impl Tools {
    /// Finds them; a sentence when codex cannot be used.
    pub(super) fn find(root: &Root, settings: &Settings, job: &Job) -> Result<Self, String> {
        let codex = Codex::for_job(root, settings, job)?;
        if is_confined(&codex, job) {
            sandbox::check(&codex, &root.store(), sandbox::PATIENCE)
                .map_err(|lack| lack.to_string())?;
        }
        Self::of(codex, root).map_err(|e| e.to_string())
    }

    /// Finds them where that takes no look at codex itself.
    fn known(root: &Root, settings: &Settings, job: &Job) -> Option<Self> {
        let codex = Codex::for_job(root, settings, job).ok()?;
        let is_known = !is_confined(&codex, job) || sandbox::is_known(&codex, &root.store());
        if is_known { Self::of(codex, root).ok() } else { None }
    }

    fn of(codex: Codex, root: &Root) -> Result<Self, StoreError> {
        let (slots, holds) = (StartSlots::open(&root.store())?, Holds::open(&root.store())?);
        Ok(Self { codex, slots, holds })
    }
}

/// Whether codex's sandbox is to hold what the job's agents do.
fn is_confined(codex: &Codex, job: &Job) -> bool {
    let sandbox = job.options.sandbox_of(Role::Executor);
    sandbox != Sandbox::DangerFullAccess && !codex.is_rehearsal()
}

/// What is known of a job that was foretold.
pub(super) struct Foreseen {
    job: Job,
    tools: Tools,
}

impl Foreseen {
    /// Finds it out; `None` where something is wrong or not known, which is then found, and said, by whoever has the job.
    pub(super) fn of(root: &Root, settings: &Settings, job: Job) -> Option<Self> {
        let tools = Tools::known(root, settings, &job)?;
        Some(Self { job, tools })
    }

    /// The tools, where it is this job.
    pub(super) fn tools_of(self, job: &Job) -> Option<Tools> {
        (self.job == *job).then_some(self.tools)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::JobId;
    use crate::model::job::{Options, Origin};

    #[test]
    fn tools_are_had_for_the_very_job_that_was_foretold() {
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path());
        crate::root::open(&root, true).expect("root");
        let settings = Settings { rehearse: Some(String::new()), ..Settings::default() };
        let job = Job {
            version: 1,
            id: JobId::parse("a-abc234").expect("id"),
            objective: "x".into(),
            options: Options::default(),
            origin: Origin { name: "a.md".into(), bytes: 1, sha256: "0".repeat(64), uid: 0 },
            created_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let foreseen = || {
            let tools = Tools::find(&root, &settings, &job).expect("the stand-in is here");
            Foreseen { job: job.clone(), tools }
        };
        assert!(foreseen().tools_of(&job).is_some());
        let changed =
            Job { options: Options { network: true, ..Options::default() }, ..job.clone() };
        assert!(foreseen().tools_of(&changed).is_none());
    }
}
