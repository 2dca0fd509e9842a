//! Adding the tasks that follow from what was found wrong with work that has landed: by a reviewer, by the verify commands,
//! by the queen. Which tasks, is decided by `logic::followups`.

use std::sync::Arc;

use super::desk::{Desk, Outcome, aside, bug, with_trees};
use crate::logic::followups::{self, MAX_OUTPUT_BYTES, Reviewed};
use crate::logic::paths;
use crate::logic::state::JobState;
use crate::logic::task::TaskState;
use crate::model::advice::Because;
use crate::model::event::{CommandResult, Fact};
use crate::model::id::TaskId;
use crate::model::plan::Task;
use crate::os::fsx;

/// Adds what a reviewer wants changed; the reviewer looks again when that has landed.
pub(super) async fn after_review(desk: &Arc<Desk>, task: &TaskState) -> Outcome<()> {
    let judged = desk.book.state(|s| followups::judged(s, task).into_iter().cloned().collect());
    let reviewed = changed_paths(desk, judged).await?;
    let tasks =
        desk.book.state(|s| followups::of_review(s, task.rounds, &reviewed, &task.objections));
    add(desk, Some(&task.task.id), Because::Review, task.rounds, tasks)
}

/// What each judged task changed, as its agents see it.
async fn changed_paths(desk: &Desk, judged: Vec<TaskState>) -> Outcome<Vec<Reviewed>> {
    if desk.is_in_place()? {
        let all = judged.into_iter().map(|t| Reviewed { id: t.task.id, paths: Vec::new() });
        return Ok(all.collect());
    }
    let prefix = desk.workspace()?.prefix;
    let looked = with_trees(desk, move |trees| {
        let mut all = Vec::new();
        for task in judged {
            let commit = task.commit.unwrap_or_default();
            let paths = match commit.as_str() {
                "" => Vec::new(),
                commit => trees.changed_between(&format!("{commit}^"), commit)?,
            };
            let below = |path: &String| paths::below(&prefix, path).map(str::to_owned);
            let paths = paths.iter().filter_map(below).collect();
            all.push(Reviewed { id: task.task.id, paths });
        }
        Ok(all)
    });
    looked.await
}

/// Adds what a failed verification, or else the queen's word, makes necessary.
pub(super) async fn after_the_end(desk: &Arc<Desk>, because: Because) -> Outcome<()> {
    let state = desk.book.state(JobState::clone);
    if because == Because::Queen {
        let tasks = followups::of_rejection(&state);
        return add(desk, None, because, state.appeals + 1, tasks);
    }
    let failed = state.unverified.as_ref();
    let command = failed.map_or("a verify command", |c| c.command.as_str());
    let how = failed.map_or_else(|| "did not pass".to_owned(), CommandResult::how);
    let log = desk.folder.place("verify").command_log("verify");
    let output = aside(move || fsx::read_tail(&log, MAX_OUTPUT_BYTES as u64)).await?;
    let output = output.unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    let tasks = followups::of_verification(&state, command, &how, &output);
    add(desk, None, because, state.mends + 1, tasks)
}

fn add(
    desk: &Desk,
    of: Option<&TaskId>,
    because: Because,
    round: u32,
    tasks: Vec<Task>,
) -> Outcome<()> {
    if tasks.is_empty() {
        return Err(bug("there is no task to be added"));
    }
    desk.record(of, Fact::TasksAdded { because, round, tasks })?;
    let plan = desk.book.state(JobState::plan);
    desk.folder.write_current_plan(&plan).map_err(|e| bug(e.to_string()))
}
