//! Where a job begins that does an ended one once more: at `HEAD` together with what that one has landed. One that landed
//! nothing of its own, whatever it had taken in, stands for the one that it did once more, if it did.
//!
//! Promises: nothing is built on that the user threw away; what does not fit together is refused, with the paths. Done again
//! after a death it gives the same, since the job's own tip remembers it.

use crate::model::id::JobId;
use crate::model::workspace::{Isolation, Oid, Workspace};
use crate::runs::RunFolder;

use super::{Checkout, Foreign, Intake, TIP, Trees, TreesError};

/// The most jobs that are looked through, each done once more by the one before.
const LONGEST_LINEAGE: usize = 100;

/// The workspace with the base that holds what the earlier job has landed, as far as there is anything.
pub(super) fn build_on(
    workspace: Workspace,
    folder: &RunFolder,
    earlier: &JobId,
) -> Result<Workspace, TreesError> {
    let trees = Trees::open(&workspace, folder, &workspace.base)?;
    let lineage = lineage(folder, earlier);
    for job in &lineage {
        trees.fetch_own(job)?;
    }
    if let Some(foreign) = trees.foundation(&lineage, Some(&workspace.base))?
        && !trees.is_discarded(&foreign)?
    {
        trees.take_up(&foreign)?;
    }
    let base = trees.tip()?;
    Ok(Workspace { base, ..workspace })
}

/// On whose work a retry of an ended job would build, now; `None` where it begins from `HEAD` alone. Changes nothing.
///
/// # Errors
/// When git fails.
pub fn built_on(workspace: &Workspace, folder: &RunFolder) -> Result<Option<JobId>, TreesError> {
    if workspace.isolation != Isolation::Worktree || workspace.git_dir.is_empty() {
        return Ok(None);
    }
    let trees = Trees::new(workspace, folder);
    // A repository in a run folder is not the one that a retry works in.
    let is_own = folder.is_own(&workspace.top);
    let head = if is_own { None } else { Checkout::of(workspace).commit("HEAD")? };
    let found = trees.foundation(&lineage(folder, folder.job()), head.as_deref())?;
    match found {
        Some(foreign) if !trees.is_discarded(&foreign)? => Ok(Some(foreign.job)),
        _ => Ok(None),
    }
}

/// The job, the one that it did once more, and so on.
fn lineage(folder: &RunFolder, job: &JobId) -> Vec<JobId> {
    let mut all = vec![job.clone()];
    while let Some(last) = all.last().filter(|_| all.len() < LONGEST_LINEAGE) {
        let accepted = folder.beside_of(last).read_job().ok().flatten();
        match accepted.and_then(|job| job.options.retry_of) {
            Some(of) if !of.from_scratch => all.push(of.job),
            _ => break,
        }
    }
    all
}

impl Trees {
    /// The nearest of a lineage that has landed something of its own that `head` does not hold.
    fn foundation(
        &self,
        lineage: &[JobId],
        head: Option<&str>,
    ) -> Result<Option<Foreign>, TreesError> {
        for job in lineage {
            if let Some(tip) = self.tip_of(job)?
                && self.holds_own(job, &tip, head)?
            {
                return Ok(Some(Foreign { job: job.clone(), tip }));
            }
        }
        Ok(None)
    }

    /// Whether a job's tip holds a commit of one of its tasks that `head` does not; a merge that takes another job's work in is none.
    pub(super) fn holds_own(
        &self,
        job: &JobId,
        tip: &str,
        head: Option<&str>,
    ) -> Result<bool, TreesError> {
        let own = format!("--grep=^Numerus-Job: {job}$");
        let args = ["rev-list", "-1", "--no-merges", "--basic-regexp", &own, tip];
        let call = self.read(args);
        let call = match head {
            Some(head) => call.arg(format!("^{head}")),
            None => call,
        };
        Ok(!call.run()?.is_empty())
    }

    /// The newest commit of another job.
    fn tip_of(&self, job: &JobId) -> Result<Option<Oid>, TreesError> {
        self.find_ref(&format!("refs/numerus/{job}/{TIP}"))
    }

    /// A job with a fresh repository of its own gets what an earlier one with such a repository has landed.
    fn fetch_own(&self, earlier: &JobId) -> Result<(), TreesError> {
        let is_own = self.folder.is_own(&self.workspace.top);
        let own = self.folder.beside_of(earlier).own_workspace();
        if !is_own || !own.join(".git/HEAD").exists() {
            return Ok(());
        }
        let name = format!("refs/numerus/{earlier}/{TIP}");
        let args = ["fetch", "-q", "--no-tags", "--no-write-fetch-head"];
        let call = self.write_durably(args).arg(&own).arg(format!("+{name}:{name}"));
        // One that never landed anything has no tip.
        let _nothing_there = call.ask()?;
        Ok(())
    }

    /// Makes a tip the job's own: as it is where it builds on ours, else by a merge.
    fn take_up(&self, foreign: &Foreign) -> Result<(), TreesError> {
        let own = self.tip()?;
        let args = ["merge-base", "--is-ancestor", &own, &foreign.tip];
        if self.read(args).ask()?.code == 0 {
            self.advance(&foreign.tip, &own)?;
            return Ok(());
        }
        match self.prepare_intake(foreign)? {
            Intake::Contained => {}
            Intake::Ready { commit, parent } => drop(self.advance(&commit, &parent)?),
            Intake::Diverged(paths) => {
                let (job, paths) = (&foreign.job, paths.join(", "));
                return Err(TreesError::Refused {
                    path: self.workspace.top.clone(),
                    why: format!(
                        "what {job} has landed conflicts with HEAD in {paths}: merge its branch first, or retry with --from-scratch"
                    ),
                });
            }
        }
        Ok(())
    }
}
