//! Going on after a rest: what a worker before this one left of a task's attempt, and whether it still may be used.

use std::sync::Arc;

use super::desk::{Desk, Outcome, with_trees};
use super::landing;
use crate::logic::audit::moved;
use crate::logic::classify;
use crate::logic::parked::Unfinished;
use crate::logic::task::TaskState;
use crate::model::claim::{Claim, Execution};
use crate::model::event::SessionKind;
use crate::model::job::Sandbox;
use crate::model::outcome::{Failure, FailureKind, Tokens};
use crate::trees::Tree;

/// What a claim session brought, in this worker's life or before its job rested.
pub(super) struct Claimed {
    /// What is claimed.
    pub(super) claim: Claim,
    /// What the agent expects to run.
    pub(super) execution: Execution,
    /// The thread that claimed, and what it has spent.
    pub(super) thread: (String, Tokens),
    /// Whether the execution was cut off in the middle: it goes on in the tree as it is.
    pub(super) has_begun: bool,
}

/// The number of the attempt that a task's next lane makes: the same once more where only its session was cut off.
pub(super) fn attempt(desk: &Desk, task: &TaskState) -> u32 {
    let fits = |thread: &Unfinished| {
        thread.attempt == task.attempt
            && matches!(thread.kind, SessionKind::Claim | SessionKind::Review)
    };
    let goes_on = |thread: &Unfinished| fits(thread).then_some(thread.attempt);
    let place = task.task.id.as_str();
    desk.book.state(|s| s.parked.thread(place).and_then(goes_on)).unwrap_or(task.attempt + 1)
}

/// What can be gone on with of a task's last attempt: its tree and its claim; `None` when it has to begin anew.
pub(super) async fn take_up(
    desk: &Arc<Desk>,
    task: &TaskState,
) -> Outcome<Option<(Tree, Claimed)>> {
    let id = &task.task.id;
    let waiting = desk.book.state(|s| {
        let (thread, claim) = s.parked.execution(id)?;
        (thread.attempt == task.attempt).then(|| (thread.clone(), claim.clone()))
    });
    let Some((thread, claim)) = waiting.filter(|_| desk.is_in_place() == Ok(false)) else {
        return Ok(None);
    };
    let number = thread.attempt;
    let Some(tree) = find_tree(desk, task, number).await? else { return Ok(None) };
    let recorded = desk.folder.read_claim(id).ok().flatten().filter(|c| c.attempt == number);
    let execution = recorded.map(|c| c.execution).unwrap_or_default();
    let has_begun = thread.failure.is_some();
    Ok(Some((tree, Claimed { claim, execution, thread: thread.thread, has_begun })))
}

/// The tree that was made for an attempt, if it still can be used.
pub(super) async fn find_tree(
    desk: &Arc<Desk>,
    task: &TaskState,
    number: u32,
) -> Outcome<Option<Tree>> {
    if desk.job.options.sandbox_of(task.task.role) == Sandbox::DangerFullAccess {
        // Such an agent can have changed what its tree is told by; only a worker that made the tree itself would know.
        return Ok(None);
    }
    let (place, carry) = (desk.folder.place(task.task.id.as_str()), &desk.job.options.carry);
    let carry = carry.clone();
    with_trees(desk, move |trees| trees.find(&place, number, &carry)).await
}

/// Fails as stale when what was claimed has changed since the attempt began: it held no lease meanwhile. Asked under the
/// lease.
pub(super) async fn still_holds(
    desk: &Arc<Desk>,
    task: &TaskState,
    tree: &Tree,
    claim: &Claim,
) -> Outcome<()> {
    let tip = desk.tip();
    let base = tree.base().to_owned();
    let changed = with_trees(desk, move |trees| trees.changed_between(&base, &tip)).await?;
    let touched: Vec<_> = claim.reads.iter().chain(&claim.writes).cloned().collect();
    let paths = moved(&[], &touched, &desk.workspace()?.prefix, &changed);
    if paths.is_empty() {
        return Ok(());
    }
    landing::keep_patch(desk, tree.clone(), tree.attempt(), claim.clone()).await?;
    landing::stale(desk, &task.task.id, tree.attempt(), paths)
}

/// A thread that codex has lost is nobody's fault: the attempt begins anew.
pub(super) fn lost_thread(failure: Failure) -> Failure {
    if classify::is_lost_thread(&failure) {
        Failure { kind: FailureKind::Stale, ..failure }
    } else {
        failure
    }
}

/// Holds the account once more for refusals that a worker met as it died: it may not have come to telling the others.
pub(super) fn hold_again(desk: &Desk, cut_off: Vec<(String, Unfinished)>) {
    for (place, thread) in cut_off {
        let role = desk.book.state(|s| s.role_at(thread.kind, &place));
        let account = desk.asker.account_of(role);
        let known = desk.asker.holds.read(account.name()).ok().flatten();
        let Some(failure) = thread.failure.filter(|_| known.is_none_or(|h| h.at < thread.at))
        else {
            continue;
        };
        account.refused(&desk.asker.holds, failure, thread.at);
    }
}
