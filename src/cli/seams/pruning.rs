//! The seams of pruning: the one who removes, and the jobs that go.

pub(in crate::cli) use crate::ending::pruning::Pruner;

use super::{Exit, Failure, Held, Runs};
use crate::hooks;
use crate::logic::prune::Standing;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::os::reserve;

/// Becomes the one who removes jobs of a root.
pub(in crate::cli) fn begin_pruning(root: &Root) -> Result<Pruner, Failure> {
    let begun = Pruner::begin(root).map_err(|e| cannot("remove jobs", root, &e))?;
    begun.ok_or_else(|| {
        Failure::new(Exit::Blocked, "somebody else is removing jobs of this root")
            .hint("wait until that has ended, then look again")
    })
}

/// Finishes what whoever died over it had begun.
pub(in crate::cli) fn finish_pruning(pruner: Option<&Pruner>) -> Result<Vec<JobId>, Failure> {
    let finished = pruner.map(Pruner::finish_begun).transpose();
    Ok(finished.map_err(|e| Failure::system("finish a removal", &e))?.unwrap_or_default())
}

/// Removes a job that has ended, under its lock.
pub(in crate::cli) fn prune(
    root: &Root,
    pruner: &Pruner,
    job: &JobId,
    standing: &Standing,
) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| cannot(&format!("remove {job}"), root, &e);
    let held = Held::acquire(&Runs::of(root), job).map_err(cannot)?;
    let held = held.ok_or_else(|| {
        Failure::new(Exit::Blocked, format!("{job} stays: somebody has just begun to work on it"))
    })?;
    if has_hooks_due(root, job) {
        let stays = format!("{job} stays: its hooks are being called");
        return Err(Failure::new(Exit::Blocked, stays).hint("prune again when that is over"));
    }
    pruner.remove(&held, standing).map_err(cannot)
}

/// Whether hooks are still to be called for what is in a job's journal.
pub(in crate::cli) fn has_hooks_due(root: &Root, job: &JobId) -> bool {
    hooks::is_due(root, job)
}

/// Removes the file of a job without a run folder.
pub(in crate::cli) fn prune_file(root: &Root, pruner: &Pruner, job: &JobId) -> Result<(), Failure> {
    pruner.remove_file(job).map_err(|e| cannot(&format!("remove {job}"), root, &e))
}

/// Where even the copy of what matters finds no room, only a person can make some.
fn cannot(doing: &str, root: &Root, error: &std::io::Error) -> Failure {
    let failure = Failure::system(doing, error);
    if !reserve::is_for_want_of_room(error) {
        return failure;
    }
    let (copies, runs) = (root.pruned(), root.runs());
    let (copies, runs) = (copies.display(), runs.display());
    failure
        .hint(format!("make some room on that disk, then prune again: what lies in {copies} is yours to remove"))
        .hint(format!("of a job that has ended {runs}/JOB/TASK/tree-* and *.log are not copied either: remove those by hand"))
}
