//! What a new worker does with what an old one left: fence it, then write down what became of it.

use std::io::{Error, Result};
use std::path::Path;

use jiff::Timestamp;

use super::book::Book;
use super::desk::{Desk, of_repository, with_trees};
use super::{in_place, landing};
use crate::codex::{fence, rollout};
use crate::leases::Leases;
use crate::logic::base::Advancing;
use crate::logic::lifecycle::{Ending, unused_trees};
use crate::logic::retry::{self, Follows, Next};
use crate::logic::state::JobState;
use crate::logic::task::{Landing, TaskState};
use crate::model::claim::{Holder, LeaseState};
use crate::model::event::{Fact, SessionEnd, SessionKind, SessionStart};
use crate::model::id::TaskId;
use crate::model::job::{Job, OnInterrupt};
use crate::model::outcome::{Failure, FailureKind, Tokens};
use crate::model::status::{JobPhase, TaskPhase};
use crate::os::seeded;
use crate::runs::{RunFolder, Want};
use crate::trees::{self, Trees, TreesError};

/// Ends everything of the job that still lives; gives back what would not die. Nothing of the job was started yet by this
/// worker, so everything that carries its mark is old.
pub(super) fn fence(folder: &RunFolder, job: &Job, book: &Book) -> Vec<u32> {
    if seeded::bug("no-fence") {
        return Vec::new();
    }
    let open: Vec<SessionStart> = book.state(|s| s.open_sessions.values().cloned().collect());
    let mut survivors = Vec::new();
    for start in open {
        let lock = folder.place(&start.place).session_lock();
        survivors.extend(fence::fence(&job.id, &start, &lock));
    }
    if book.state(|s| s.started_at.is_some()) {
        survivors.extend(fence::fence_job(&job.id));
    }
    survivors
}

/// Removes the trees that the old worker did not come to removing.
pub(super) fn clear_unused(desk: &Desk) {
    let state = desk.book.state(JobState::clone);
    if let Some(workspace) = &state.workspace {
        let unused = unused_trees(&state);
        let _gives_way_to_the_next = trees::clear_unused(workspace, &desk.folder, unused);
    }
}

/// Writes the patches of what has landed that the old worker did not come to writing, or that a power cut left empty. They are for
/// people: a commit that is gone by now is no failure.
pub(super) async fn mend_patches(desk: &Desk) {
    let is_missing = |path: &Path| !path.metadata().is_ok_and(|found| found.len() > 0);
    let patch = |id: &TaskId| desk.folder.place(id.as_str()).patch();
    let landed = |t: &TaskState| Some((patch(&t.task.id), t.commit.clone()?));
    let landed: Vec<_> = desk.book.state(|s| s.tasks.iter().filter_map(landed).collect());
    let missing: Vec<_> = landed.into_iter().filter(|(path, _)| is_missing(path)).collect();
    if missing.is_empty() {
        return;
    }
    let mended = with_trees(desk, move |trees| {
        for (path, commit) in &missing {
            let _for_people = landing::write_patch(trees, path, commit);
        }
        Ok(())
    });
    let _for_people = mended.await;
}

/// Removes the leases that the old worker held: it is fenced, and what it did has landed or never will. What an interrupted
/// attempt wrote in place is put back before.
pub(super) fn bury(desk: &Desk) -> Result<()> {
    if desk.book.state(|s| s.workspace.is_none()) {
        return Ok(());
    }
    let leases = desk.leases().map_err(|failure| Error::other(failure.message))?;
    let found = leases.survey().map_err(Error::other)?.seen;
    for lease in found.iter().filter(|l| l.file.holder.job == desk.job.id) {
        let (id, attempt) = (&lease.file.holder.task, lease.file.attempt);
        let is_done = desk.book.state(|s| s.task(id).is_none_or(|t| t.phase.is_final()));
        let in_place = desk.is_in_place().map_err(|failure| Error::other(failure.message))?;
        if in_place && !is_done && lease.file.state == LeaseState::Held {
            in_place::restore(desk, id, attempt).map_err(|f| Error::other(f.message))?;
        }
        // It is this job's own worker that buries: nobody else works on it.
        leases.bury(&lease.file, &|| false).map_err(Error::other)?;
    }
    Ok(())
}

/// Writes down what the old worker could not: ends of sessions with what they spent, as codex's records in its home tell,
/// landings, interrupted attempts. Gives back how the job ends if it has been interrupted too often.
pub(super) fn repair(
    book: &Book,
    folder: &RunFolder,
    job: &Job,
    home: &Path,
    now: Timestamp,
) -> Result<Option<Ending>> {
    let (state, mut ending) = (book.state(JobState::clone), None);
    if state.phase == JobPhase::Paused
        && !(job.options.approve && !state.approved && state.strategy.is_some())
    {
        book.record(None, Fact::Resumed {})?;
    }
    for start in state.open_sessions.values() {
        let task = state.tasks.iter().find(|t| t.task.id.as_str() == start.place);
        let of_thread = state.open_threads.get(&start.place);
        let tokens = of_thread.map(|(thread, at)| rollout::unseen_tokens(home, thread, *at));
        let end = cut(start, tokens.unwrap_or_default());
        book.record(task.map(|t| &t.task.id), Fact::SessionEnded(end))?;
        if matches!(start.kind, SessionKind::Plan | SessionKind::Roles) {
            ending = ending.or(interrupted_planning(book, &state, now)?);
        }
    }
    finish_advancing(book, folder, &state)?;
    let state = book.state(JobState::clone);
    for task in &state.tasks {
        repair_task(book, folder, &state, task, job, now)?;
    }
    if state.strategy.is_some() {
        // Tasks may have been added just before the old worker died.
        folder.mend_plan(&state.plan())?;
    }
    Ok(ending)
}

fn cut(start: &SessionStart, tokens: Tokens) -> SessionEnd {
    SessionEnd {
        place: start.place.clone(),
        number: start.number,
        kind: start.kind,
        attempt: start.attempt,
        failure: Some(interruption()),
        thread_id: None,
        tokens,
        thread_tokens: Tokens::default(),
    }
}

fn interruption() -> Failure {
    Failure::new(FailureKind::Interrupted, "its worker died under it")
}

fn interrupted_planning(book: &Book, state: &JobState, now: Timestamp) -> Result<Option<Ending>> {
    let failure = interruption();
    match retry::decide(&failure, state.planning, 1, now, 0.5) {
        Next::Retry(due) => {
            book.record(None, Fact::PlanningRetried { failure, due })?;
            Ok(None)
        }
        Next::Park(..) | Next::GiveUp => {
            Ok(Some(Ending::failed("interrupted", "its planning was interrupted too often")))
        }
    }
}

fn repair_task(
    book: &Book,
    folder: &RunFolder,
    state: &JobState,
    task: &TaskState,
    job: &Job,
    now: Timestamp,
) -> Result<()> {
    let under_way = !task.phase.is_final() && task.phase != TaskPhase::Pending;
    if !under_way {
        return Ok(());
    }
    if task.landing.is_some() && finish_landing(book, folder, state, task)? {
        return Ok(());
    }
    let (id, attempt) = (&task.task.id, task.attempt);
    // A session that had ended over a limit was not interrupted, however soon its worker died.
    let refused = state.parked.to_rest_for(id.as_str()).cloned();
    let failure = refused.unwrap_or_else(interruption);
    let most = job.options.max_attempts;
    let fact = match retry::after_attempt(task, &failure, most, now, 0.5) {
        Follows::Again(due) => Fact::TaskRetried { attempt, failure, due },
        Follows::Rest(..) => Fact::TaskRetried { attempt, failure, due: now },
        Follows::Ask => Fact::TaskExhausted { attempt, failure },
        Follows::Fail => Fact::TaskFailed { attempt, failure },
    };
    book.record(Some(id), fact)?;
    if job.options.on_interrupt == OnInterrupt::Hold && !state.open_sessions.is_empty() {
        folder.wish(Want::Paused)?;
    }
    Ok(())
}

/// What was about to become the tip, and whose lease allows it.
struct Unfinished<'a> {
    commit: &'a str,
    parent: &'a str,
    /// The task and its attempt; `None` for what is taken in from elsewhere, which no lease guards.
    lease: Option<(&'a TaskId, u32)>,
}

/// A commit that was about to land: landed if it is part of the tip, put there if the tip is still its parent and nobody
/// was given the lease meanwhile.
fn finish_landing(
    book: &Book,
    folder: &RunFolder,
    state: &JobState,
    task: &TaskState,
) -> Result<bool> {
    let Some(landing) = &task.landing else { return Ok(false) };
    let Landing { commit, parent, attempt } = landing.clone();
    let lease = Some((&task.task.id, attempt));
    let landed = finish(folder, state, &Unfinished { commit: &commit, parent: &parent, lease })?;
    if landed {
        let summary = "landed while its worker died".to_owned();
        let fact = Fact::TaskCompleted { attempt, commit: Some(commit), summary };
        book.record(Some(&task.task.id), fact)?;
    }
    Ok(landed)
}

/// A commit that was about to take in another job's work; one that did not make it is made anew when it is needed.
fn finish_advancing(book: &Book, folder: &RunFolder, state: &JobState) -> Result<()> {
    let Some(Advancing { commit, parent, from }) = state.base.advancing.clone() else {
        return Ok(());
    };
    let unfinished = Unfinished { commit: &commit, parent: &parent, lease: None };
    if finish(folder, state, &unfinished)? {
        book.record(None, Fact::BaseAdvanced { commit, from })?;
    }
    Ok(())
}

fn finish(folder: &RunFolder, state: &JobState, unfinished: &Unfinished<'_>) -> Result<bool> {
    let Some(workspace) = &state.workspace else { return Ok(false) };
    let tip = state.tip.as_ref().unwrap_or(&workspace.base);
    let trees = Trees::open(workspace, folder, tip).map_err(Error::other)?;
    let Unfinished { commit, parent, lease } = unfinished;
    if trees.is_landed(commit).map_err(Error::other)? {
        return Ok(true);
    }
    let advance = || match trees.advance(commit, parent) {
        Err(TreesError::Gone { .. }) => Ok(false),
        advanced => advanced.map_err(Error::other),
    };
    let Some((task, attempt)) = lease else { return advance() };
    let holder = Holder { job: folder.job().clone(), task: (*task).clone() };
    let leases = Leases::open(&of_repository(workspace)).map_err(Error::other)?;
    let finished = leases.while_standing(&holder, *attempt, advance).map_err(Error::other)?;
    finished.unwrap_or(Ok(false))
}
