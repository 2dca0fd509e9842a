//! Where agents write in the user's own directory: one at a time, what they claimed is copied before, what they wrote
//! beside it is reported. Exclusion, not enforcement.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::desk::{Desk, Outcome, aside, bug, of_trees};
use crate::logic::task::TaskState;
use crate::model::claim::{Claim, ClaimPath};
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::trees::in_place::{Look, Snapshot};

/// The directory as it was before an attempt.
#[derive(Debug)]
pub(super) struct Before {
    cwd: PathBuf,
    claim: Claim,
    look: Option<Look>,
}

/// The claim that every in-place task leases: the whole directory, for writing.
pub(super) fn whole_directory() -> Claim {
    Claim { reads: Vec::new(), writes: vec![ClaimPath::dir("")] }
}

/// Puts back what an attempt wrote, from the copy that was made before it. Only under the lease of that very attempt:
/// without it, what lies there may be the work of somebody else.
pub(super) fn restore(desk: &Desk, id: &TaskId, attempt: u32) -> Outcome<()> {
    let claim = desk.folder.read_claim(id).map_err(|e| bug(e.to_string()))?;
    let Some(claim) = claim.filter(|c| c.attempt == attempt) else { return Ok(()) };
    let place = desk.folder.place(id.as_str());
    if !place.dir().join(format!("attempt-{attempt}.before")).exists() {
        return Ok(());
    }
    let cwd = desk.plain_cwd()?;
    let snapshot = Snapshot::take(&cwd, &claim.resources.writes, &place, attempt);
    snapshot.and_then(|s| s.restore()).map_err(of_trees)
}

/// Copies what was claimed and looks at everything else.
pub(super) async fn prepare(
    desk: &Arc<Desk>,
    task: &TaskState,
    attempt: u32,
    cwd: &Path,
    claim: &Claim,
) -> Outcome<Before> {
    let place = desk.folder.place(task.task.id.as_str());
    let (cwd, claim) = (cwd.to_owned(), claim.clone());
    let prepared = aside(move || {
        Snapshot::take(&cwd, &claim.writes, &place, attempt)?;
        let look = Look::take(&cwd);
        Ok(Before { cwd, claim, look })
    });
    prepared.await?.map_err(of_trees)
}

/// Ends an attempt: what was written beside the claim is put on record, the task is done all the same.
pub(super) async fn conclude(
    desk: &Arc<Desk>,
    task: &TaskState,
    attempt: u32,
    before: Before,
    summary: String,
) -> Outcome<()> {
    let outside = aside(move || {
        let (Some(look), Some(after)) = (before.look, Look::take(&before.cwd)) else {
            return Vec::new();
        };
        look.outside(&after, &before.claim.writes)
    });
    let paths = outside.await?;
    if !paths.is_empty() {
        desk.record(Some(&task.task.id), Fact::ClaimViolated { attempt, paths })?;
    }
    desk.record(Some(&task.task.id), Fact::TaskCompleted { attempt, commit: None, summary })
}
