//! Where a job begins that does an ended one once more: at `HEAD` together with what that one has landed.
//!
//! Promises: nothing is built on that the user threw away; what does not fit together is refused, with the paths. Done again
//! after a death it gives the same, since the job's own tip remembers it.

use crate::model::id::JobId;
use crate::model::workspace::{Oid, Workspace};
use crate::runs::RunFolder;

use super::{Foreign, Intake, TIP, Trees, TreesError};

/// The workspace with the base that holds what the earlier job has landed, as far as there is anything.
pub(super) fn build_on(
    workspace: Workspace,
    folder: &RunFolder,
    earlier: &JobId,
) -> Result<Workspace, TreesError> {
    let trees = Trees::open(&workspace, folder, &workspace.base)?;
    trees.fetch_own(earlier)?;
    let Some(tip) = trees.tip_of(earlier)? else { return Ok(workspace) };
    let foreign = Foreign { job: earlier.clone(), tip };
    if !trees.is_discarded(&foreign)? {
        trees.take_up(&foreign)?;
    }
    let base = trees.tip()?;
    Ok(Workspace { base, ..workspace })
}

impl Trees {
    /// The newest commit of another job.
    fn tip_of(&self, job: &JobId) -> Result<Option<Oid>, TreesError> {
        let name = format!("refs/numerus/{job}/{TIP}");
        let answer = self.read(["rev-parse", "-q", "--verify", &name]).ask()?;
        let text = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        Ok((answer.code == 0 && !text.is_empty()).then_some(text))
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
