//! The last steps of a job: verify, the branch, what people read, what is remembered, and the end.

use std::io::{Error, Result};
use std::path::Path;
use std::sync::Arc;

use super::Left;
use super::advancing;
use super::book::Book;
use super::commands::{self, Run};
use super::desk::{Desk, Outcome, Stop, aside, bug, with_trees};
use super::landing::{MAX_TROUBLE, TROUBLE_REST};
use super::memory::remember;
use super::planning::with_view;
use crate::ending::{self, Ending};
use crate::health;
use crate::logic::state::JobState;
use crate::model::event::{CommandResult, Fact};
use crate::model::job::Job;
use crate::model::outcome::FailureKind;
use crate::model::root::Root;
use crate::model::status::PauseReason;
use crate::os::seeded;
use crate::runs::RunFolder;
use crate::spool::Spool;

/// Runs the verify commands in a throwaway tree of the tip, in order, up to the first that does not pass.
pub(super) async fn verify(desk: &Arc<Desk>, stop: &Stop) -> Outcome<()> {
    let ran = with_view(desk, "verify", async |cwd| run_in_order(desk, &cwd, stop).await);
    let commands = ran.await?;
    let passed = commands.iter().all(CommandResult::passed);
    // On a full disk nothing passes: that says nothing about the result.
    if let Some(why) = (!passed).then(|| health::cannot_write(&desk.root)).flatten() {
        return Err(bug(why));
    }
    desk.record(None, Fact::Verified { passed, commands })
}

async fn run_in_order(desk: &Desk, cwd: &Path, stop: &Stop) -> Outcome<Vec<CommandResult>> {
    let mut results = Vec::new();
    for command in &desk.job.options.verify {
        let at = Run { place: "verify", name: "verify", cwd };
        results.push(commands::run(desk, at, command, stop).await?);
        if !results.iter().all(CommandResult::passed) {
            break;
        }
    }
    Ok(results)
}

/// Publishes what has landed. Trouble of the machine is no failure: it is tried again.
pub(super) async fn publish(desk: &Arc<Desk>) -> Outcome<()> {
    for _round in 1..MAX_TROUBLE {
        match publish_once(desk).await {
            Err(failure) if failure.kind == FailureKind::Transient => {
                tokio::time::sleep(TROUBLE_REST).await;
            }
            published => return published,
        }
    }
    publish_once(desk).await
}

async fn publish_once(desk: &Arc<Desk>) -> Outcome<()> {
    let (tip, base) = desk.book.state(|s| {
        let base = s.workspace.as_ref().map(|w| w.base.clone());
        (s.tip.clone().unwrap_or_default(), base.unwrap_or_default())
    });
    let (commit, folder) = (tip.clone(), desk.folder.clone());
    let published = with_trees(desk, move |trees| ending::publish(trees, &folder, &base, &tip));
    let branch = published.await?;
    desk.record(None, Fact::Landed { branch, commit })
}

/// Ends the job: what landed is published whatever the end is, then it is remembered, then it is over.
pub(super) async fn finish(desk: &Arc<Desk>, end: &Ending) -> Result<()> {
    if desk.book.state(JobState::has_unpublished) {
        // A branch that cannot be made must not keep a job from ending: its commits stay under its own ref.
        let _stays_under_its_ref = publish_once(desk).await;
    }
    let (at, end) = (desk.clone(), end.clone());
    aside(move || {
        leave_word(&at, &end)?;
        let Ending { phase, reason, message } = end;
        if seeded::bug("done-before-finished") {
            Spool::of(&at.root).end(&at.job.id, phase)?;
        }
        at.book.record(None, Fact::Finished { state: phase, reason, message })?;
        Spool::of(&at.root).tell_ended(&at.job.id);
        put_away(&at.root, &at.folder, &at.job, &at.book)
    })
    .await
    .map_err(|failure| Error::other(failure.message))?
}

/// Leaves what later jobs and people are to know of it: both wait for the disk, and for git, each on a thread of its own.
fn leave_word(desk: &Desk, end: &Ending) -> Result<()> {
    let state = desk.book.state(JobState::clone);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("memory".to_owned());
        if thread.spawn_scoped(scope, || remember(desk, end)).is_err() {
            remember(desk, end);
        }
        let clashes = advancing::clashes(desk);
        ending::tell(&desk.folder, &state, &desk.job, end, &clashes)
    })
}

/// What follows from the journal's end; done once more by the next worker if this one dies before.
pub(super) fn put_away(root: &Root, folder: &RunFolder, job: &Job, book: &Book) -> Result<()> {
    book.tell_last(|state| ending::settle(&Spool::of(root), folder, state, job))
}

/// Codex cannot be used at all: the job waits for a person, it does not fail.
pub(super) fn codex_unusable(book: &Book, problem: &str) -> Result<Left> {
    let (reason, message) = (PauseReason::Auth, problem.to_owned());
    book.record(None, Fact::Paused { reason, until: None, message })?;
    Ok(Left::Done)
}
