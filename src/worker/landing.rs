//! From a finished execution to the tip: audit, judgement, one commit, two lines in the journal around one `update-ref`.
//! All or nothing: a path outside the claim that cannot be added to it, and nothing lands.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::advancing::{self, TipMove};
use super::amending::{self, Amended};
use super::desk::{Desk, Outcome, aside, with_trees};
use super::parcel::Parcel;
use super::stuck::Stuck;
use super::words::shown;
use crate::logic::audit;
use crate::logic::audit::Change;
use crate::logic::quality;
use crate::model::claim::{Claim, ClaimPath, ClaimQuality};
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::model::outcome::{Failure, FailureKind};
use crate::model::workspace::Oid;
use crate::os::fsx;
use crate::trees::{Audited, Judged, Landing, Tree, Trees, TreesError, Words};

/// Tries of a landing that meets trouble of the machine; lease and tree stay meanwhile.
pub(super) const MAX_TROUBLE: u32 = 60;
/// Rest between two of them.
pub(super) const TROUBLE_REST: Duration = Duration::from_secs(1);

/// What may land.
struct Found {
    audited: Audited,
    landing: Vec<Change>,
    /// Where nobody looked what others have done before the agent went to work, from the repository's top.
    unseen: Vec<ClaimPath>,
}

impl Found {
    /// `amended` is the part of it that the claim was widened by.
    fn of(
        trees: &Trees,
        audited: Audited,
        landing: Vec<Change>,
        amended: Vec<ClaimPath>,
    ) -> Result<Self, Stuck> {
        let vanished = trees.vanished(&audited)?.into_iter().map(ClaimPath::dir);
        let unseen = amended.into_iter().chain(vanished).collect();
        Ok(Self { audited, landing, unseen })
    }
}

/// What was laid before its turn, and over what.
struct Laid {
    on: Oid,
    landing: Landing,
}

/// Moves the untouched tree to the newest tip; gives back what changed on the way.
pub(super) async fn move_to_tip(desk: &Arc<Desk>, mut tree: Tree) -> Outcome<(Tree, Vec<String>)> {
    let tip = desk.tip();
    if tree.base() == tip {
        return Ok((tree, Vec::new()));
    }
    let moved = with_trees(desk, move |trees| {
        let changed = trees.changed_between(tree.base(), &tip)?;
        trees.move_to(&mut tree, &tip)?;
        Ok((tree, changed))
    });
    moved.await
}

/// Audits what an attempt did and lands it. Trouble of the machine is no failure: it is tried again, from the audit on,
/// since a collection that somebody runs in the repository takes away what no ref leads to yet.
pub(super) async fn land(desk: &Arc<Desk>, parcel: Parcel) -> Outcome<()> {
    let mut last = String::new();
    for _round in 0..MAX_TROUBLE {
        match try_all(desk, &parcel).await? {
            Ok(()) => return Ok(()),
            Err(Stuck::Judged(failure)) => return Err(failure),
            Err(Stuck::Trouble(trouble)) => {
                last = trouble;
                tokio::time::sleep(TROUBLE_REST).await;
            }
        }
    }
    Err(Stuck::Trouble(format!("{last}; the attempt's tree is kept")).into())
}

/// One try. Audits run side by side, landings one after the other: while one is put on the tip, the next is laid over what will be
/// the tip then.
async fn try_all(desk: &Arc<Desk>, parcel: &Parcel) -> Outcome<Result<(), Stuck>> {
    let (at, with) = (desk.clone(), parcel.clone());
    let found = match aside(move || try_to_audit(&at, &with)).await? {
        Ok(found) => Arc::new(found),
        Err(stuck) => return Ok(Err(stuck)),
    };
    let mut coming = desk.laying.lock().await;
    let mut early = None;
    if desk.landing.try_lock().is_err() {
        let on = coming.clone().unwrap_or_else(|| desk.tip());
        let (at, with, what) = (desk.clone(), parcel.clone(), found.clone());
        early = aside(move || lay_early(&at, &with, &what, on)).await?;
    }
    let one_at_a_time = desk.landing.lock().await;
    let landing = match in_turn(desk, parcel, found, early).await? {
        Ok(landing) => landing,
        Err(stuck) => return Ok(Err(stuck)),
    };
    *coming = landing.commit().cloned();
    drop(coming);
    let (at, with) = (desk.clone(), parcel.clone());
    let landed = aside(move || try_to_land(&at, &with, landing)).await;
    drop(one_at_a_time);
    landed
}

/// What was laid early, if it lies over the tip; else it is laid over that now.
async fn in_turn(
    desk: &Arc<Desk>,
    parcel: &Parcel,
    found: Arc<Found>,
    early: Option<Laid>,
) -> Outcome<Result<Landing, Stuck>> {
    if let Some(laid) = early.filter(|laid| laid.on == desk.tip()) {
        return Ok(Ok(laid.landing));
    }
    let (at, with) = (desk.clone(), parcel.clone());
    aside(move || lay_in_turn(&at, &with, &found)).await
}

/// What may land, once it is sure that nothing else was written.
fn try_to_audit(desk: &Desk, parcel: &Parcel) -> Result<Found, Stuck> {
    let trees = desk.trees()?;
    let audited = trees.audit(&parcel.tree, &parcel.claim)?;
    let prefix = desk.workspace()?.prefix;
    measure(desk, parcel, &audited, &prefix)?;
    let judged = audit::judge(&audited.changes, &parcel.claim, &prefix);
    if !audited.violations.is_empty() {
        return Err(refuse(desk, parcel, &audited, &judged.outside, None)?);
    }
    if judged.outside.is_empty() {
        return Found::of(&trees, audited, judged.landing, Vec::new());
    }
    match amending::amend(desk, parcel, &judged)? {
        Amended::Go(amended) => {
            let landing = audited.changes.clone();
            Found::of(&trees, audited, landing, amended)
        }
        Amended::NoGo(why) => Err(refuse(desk, parcel, &audited, &judged.outside, why)?),
    }
}

/// Puts on record how good the claim was, once an attempt: the audit may be repeated.
fn measure(desk: &Desk, parcel: &Parcel, audited: &Audited, prefix: &str) -> Outcome<()> {
    let (id, attempt) = (&parcel.task.task.id, parcel.attempt);
    let is_this = |(number, _): &(u32, ClaimQuality)| *number == attempt;
    if desk.book.state(|s| s.task(id).is_some_and(|t| t.measured.iter().any(is_this))) {
        return Ok(());
    }
    let quality = quality::measure(&parcel.claim, prefix, &audited.changes);
    desk.record(Some(id), Fact::ClaimMeasured { attempt, quality })
}

/// Lays it over what is about to be the tip, before its turn: then it need not be done in it. That which others have to be taken in for is
/// not, since the tip moves by that.
fn lay_early(desk: &Desk, parcel: &Parcel, found: &Found, on: Oid) -> Option<Laid> {
    if !found.unseen.is_empty() {
        return None;
    }
    // What goes wrong is told when it is done in turn.
    let landing = lay(&*desk.trees().ok()?, parcel, found, &on).ok()?;
    Some(Laid { on, landing })
}

/// Lays it over the tip; nothing lands meanwhile.
fn lay_in_turn(desk: &Desk, parcel: &Parcel, found: &Found) -> Result<Landing, Stuck> {
    let trees = desk.trees()?;
    if !found.unseen.is_empty() {
        advancing::take_in_now(desk, &trees, &found.unseen)?;
    }
    Ok(lay(&trees, parcel, found, &trees.tip()?)?)
}

fn lay(trees: &Trees, parcel: &Parcel, found: &Found, on: &str) -> Result<Landing, TreesError> {
    let Parcel { task, tree, claim, summary, .. } = parcel;
    let text = format!("{}\n\n{summary}", task.task.summary);
    let words = Words { task: &task.task.id, role: task.task.role, summary: &text };
    let judged = Judged { landing: &found.landing, reads: &claim.reads };
    trees.prepare(tree, &found.audited, judged, words, on)
}

fn try_to_land(desk: &Desk, parcel: &Parcel, landing: Landing) -> Result<(), Stuck> {
    let (trees, task) = (desk.trees()?, &parcel.task);
    match landing {
        Landing::Nothing => Ok(desk.record(Some(&task.task.id), completed(parcel, None))?),
        Landing::Moved(paths) => Ok(stale(desk, &task.task.id, parcel.attempt, paths)?),
        Landing::Ready { commit, parent } => put_on_tip(desk, parcel, &trees, &commit, &parent),
    }
}

fn put_on_tip(
    desk: &Desk,
    parcel: &Parcel,
    trees: &Trees,
    commit: &str,
    parent: &str,
) -> Result<(), Stuck> {
    let attempt = parcel.attempt;
    if !parcel.lease.lock().is_current() {
        let message = "its lease was taken away: somebody else may write there".to_owned();
        return Err(Failure::new(FailureKind::Stale, message).into());
    }
    let intent =
        Fact::TaskLanding { attempt, commit: commit.to_owned(), parent: parent.to_owned() };
    let (task, done) = (Some(&parcel.task.task.id), completed(parcel, Some(commit.to_owned())));
    advancing::move_tip(desk, trees, TipMove { task, commit, parent, intent, done })
}

fn completed(parcel: &Parcel, commit: Option<String>) -> Fact {
    let (attempt, summary) = (parcel.attempt, parcel.summary.clone());
    Fact::TaskCompleted { attempt, commit, summary }
}

/// Nothing lands: the whole change and the part outside are kept for people, and the agent is told what it did and why it
/// did not pass.
fn refuse(
    desk: &Desk,
    parcel: &Parcel,
    audited: &Audited,
    outside: &[Change],
    why: Option<String>,
) -> Result<Stuck, Stuck> {
    let (trees, attempt) = (desk.trees()?, parcel.attempt);
    let dir = parcel.tree.place().dir();
    let whole = trees.patch_of_attempt(audited)?;
    fsx::put(&dir.join(format!("attempt-{attempt}.patch")), &whole).map_err(TreesError::from)?;
    let patch = trees.patch_of(audited, outside)?;
    fsx::put(&dir.join("out-of-claim.patch"), &patch).map_err(TreesError::from)?;
    let outside = outside.iter().map(|c| c.path.clone());
    let strange = audited.violations.iter().map(|v| format!("{} ({})", v.path, v.what));
    let paths: Vec<String> = outside.chain(strange).collect();
    let why = why.map(|why| format!("; {why}")).unwrap_or_default();
    let message = format!("wrote what was not claimed: {}{why}", shown(&paths));
    desk.record(Some(&parcel.task.task.id), Fact::ClaimViolated { attempt, paths })?;
    Ok(Failure::new(FailureKind::Task, message).into())
}

/// What the attempt builds on has changed under it: it ends, charged to nobody.
pub(super) fn stale(desk: &Desk, id: &TaskId, attempt: u32, paths: Vec<String>) -> Outcome<()> {
    let message = format!("changed by others meanwhile: {}", shown(&paths));
    desk.record(Some(id), Fact::BaseMoved { attempt, paths })?;
    Err(Failure::new(FailureKind::Stale, message))
}

/// The patch of what has landed.
pub(super) fn write_patch(trees: &Trees, path: &Path, commit: &str) -> Result<(), TreesError> {
    Ok(fsx::replace_derived(path, &trees.patch_of_commit(commit)?)?)
}

/// After the landing, with the lease let go: the patch for people, then the tree goes. Neither is worth a failure.
pub(super) async fn tidy(desk: &Arc<Desk>, tree: Tree, id: &TaskId) {
    let path = tree.place().patch();
    let commit = desk.book.state(|s| s.task(id).and_then(|t| t.commit.clone()));
    let tidied = with_trees(desk, move |trees| {
        if let Some(commit) = commit {
            write_patch(trees, &path, &commit)?;
        }
        trees.remove(&tree)
    });
    let _for_people = tidied.await;
}

/// What an attempt did that was not finished is kept beside its tree; the tree itself is kept in any case.
pub(super) async fn keep_patch(
    desk: &Arc<Desk>,
    tree: Tree,
    attempt: u32,
    claim: Claim,
) -> Outcome<()> {
    let path = tree.place().dir().join(format!("attempt-{attempt}.patch"));
    let kept = with_trees(desk, move |trees| {
        let audited = trees.audit(&tree, &claim)?;
        Ok(fsx::put(&path, &trees.patch_of_attempt(&audited)?)?)
    });
    let _tree_is_kept = kept.await;
    Ok(())
}
