//! Before a task writes, its job takes in what other jobs of the repository have landed there: each path then has one line
//! of history, and the branches merge cleanly (decision 12).
//!
//! Called while the lease is held, so that nobody lands there meanwhile, and one at a time with the job's landings.

use std::sync::Arc;

use super::desk::{Desk, Outcome, aside, bug};
use super::stuck::Stuck;
use super::words::shown;
use crate::logic::claims::from_top;
use crate::logic::state::JobState;
use crate::model::claim::{Claim, ClaimPath};
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::model::workspace::{Divergence, Oid};
use crate::os::seeded;
use crate::trees::{Foreign, Intake, Trees, TreesError};

/// Most rounds in which tips are taken in; in each, all that are wanted become part of ours or are known to be apart.
const MAX_ROUNDS: u32 = 100;
/// Most live tips that a summary compares the result with.
const MAX_COMPARED: usize = 20;

/// Takes in what overlaps the claim's writes.
pub(super) async fn take_in(desk: &Arc<Desk>, claim: &Claim) -> Outcome<()> {
    let writes = from_top(claim, &desk.workspace()?.prefix).writes;
    let one_at_a_time = desk.landing.lock().await;
    let at = desk.clone();
    let taken = aside(move || {
        let trees = at.trees()?;
        take_in_now(&at, &trees, &writes)
    });
    let taken = taken.await?;
    drop(one_at_a_time);
    Ok(taken?)
}

/// Takes in what overlaps these paths, from the repository's top; the caller sees to it that nothing lands meanwhile.
pub(super) fn take_in_now(desk: &Desk, trees: &Trees, writes: &[ClaimPath]) -> Result<(), Stuck> {
    if !desk.settings.take_in {
        return Ok(());
    }
    let is_apart = |tip: &Oid| desk.book.state(|s: &JobState| s.base.is_apart_from(tip));
    // What was held by one that turned out to be apart is looked at by itself.
    for _round in 0..MAX_ROUNDS {
        let wanted = trees.wanted(writes, is_apart)?;
        for foreign in &wanted {
            take_in_one(desk, trees, foreign)?;
        }
        if wanted.is_empty() {
            break;
        }
    }
    Ok(())
}

/// One step of the job's tip.
pub(super) struct TipMove<'a> {
    /// The task that it is for, if any.
    pub(super) task: Option<&'a TaskId>,
    /// The new tip.
    pub(super) commit: &'a str,
    /// What the tip was before.
    pub(super) parent: &'a str,
    /// What is on record before it is done.
    pub(super) intent: Fact,
    /// What is on record after.
    pub(super) done: Fact,
}

/// Intent, act, fact: a crash between any two of them is mended by looking at the tip. It moves from the commit that the journal
/// knows alone: whatever else is found there came from somebody else, and would land with the job.
pub(super) fn move_tip(desk: &Desk, trees: &Trees, step: TipMove<'_>) -> Result<(), Stuck> {
    let known = desk.tip();
    if known != step.parent {
        let parent = step.parent;
        return Err(
            bug(format!("somebody else moved the job's tip from {known} to {parent}")).into()
        );
    }
    if !seeded::bug("no-intent") {
        desk.record(step.task, step.intent)?;
    }
    if !trees.advance(step.commit, step.parent)? {
        return Err(bug("somebody else moved the job's tip").into());
    }
    Ok(desk.record(step.task, step.done)?)
}

fn take_in_one(desk: &Desk, trees: &Trees, foreign: &Foreign) -> Result<(), Stuck> {
    let Foreign { job: from, tip } = foreign.clone();
    match trees.prepare_intake(foreign)? {
        Intake::Contained => Ok(()),
        Intake::Diverged(paths) => {
            let diverged = Fact::BaseDiverged(Divergence { from, commit: tip, paths });
            Ok(desk.record(None, diverged)?)
        }
        Intake::Ready { commit, parent } => {
            let step = TipMove {
                task: None,
                commit: &commit,
                parent: &parent,
                intent: Fact::BaseAdvancing {
                    commit: commit.clone(),
                    parent: parent.clone(),
                    from: from.clone(),
                },
                done: Fact::BaseAdvanced { commit: commit.clone(), from },
            };
            move_tip(desk, trees, step)
        }
    }
}

/// With what the result will conflict when it is merged, a line each, for the summary: what could not be taken in, and,
/// where nothing is taken in, what git finds against the checkout and the newest of the other jobs.
pub(super) fn clashes(desk: &Desk) -> Vec<String> {
    let line = |with: &str, paths: &[String]| format!("{with}: {}", shown(paths));
    let mut lines = desk.book.state(|s| {
        let known = s.base.diverged.iter();
        known.map(|d| line(&format!("job {}", d.from), &d.paths)).collect::<Vec<_>>()
    });
    if !desk.settings.take_in && desk.book.state(|s| s.branch.is_some()) {
        // For people: a repository that cannot be read now is no reason to end without a summary.
        let found = desk.trees().map_err(Stuck::from).and_then(|trees| Ok(compared(&trees)?));
        let found = found.unwrap_or_default();
        lines.extend(found.iter().map(|(with, paths)| line(with, paths)));
    }
    lines
}

fn compared(trees: &Trees) -> Result<Vec<(String, Vec<String>)>, TreesError> {
    let mut found = Vec::new();
    if let Some(head) = trees.head()? {
        found.push(("the checkout's HEAD".to_owned(), trees.conflicts_with(&head)?));
    }
    for foreign in trees.foreign_tips()?.iter().rev().take(MAX_COMPARED) {
        if !trees.is_discarded(foreign)? {
            let paths = trees.conflicts_with(&foreign.tip)?;
            found.push((format!("job {}", foreign.job), paths));
        }
    }
    found.retain(|(_, paths)| !paths.is_empty());
    Ok(found)
}
