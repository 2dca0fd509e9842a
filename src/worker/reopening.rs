//! What a person wants tried again now: a task that has failed while its job goes on, or one that waits for its next try.

use std::io::Result;

use super::desk::Desk;
use crate::logic::lifecycle::Alone;
use crate::logic::reopen::{self, Again};
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::runs::Want;

/// Looks at the wishes, and fulfils those that can be: each once, since it is taken back then.
pub(super) fn obey(desk: &Desk, alone: Option<Alone>) -> Result<()> {
    if alone == Some(Alone::Publish) {
        // What lands now would miss the branch: the wish is told too late.
        return Ok(());
    }
    let all = desk.book.state(|s| s.tasks.iter().map(|t| t.task.id.clone()).collect::<Vec<_>>());
    for task in all.iter().filter(|t| desk.folder.wants_of_task(t, Want::Retried)) {
        // One that cannot be taken back would be fulfilled again and again.
        if desk.folder.unwish_of_task(task, Want::Retried).is_err() {
            continue;
        }
        match desk.book.state(|s| reopen::judge(s, task)) {
            Ok(Again::Reopened) => reopen(desk, task)?,
            Ok(Again::Hurried) => desk.asker.hurry(task.as_str()),
            Err(_too_late) => {}
        }
    }
    Ok(())
}

/// An older wish to end it is over; it would end the next attempt, too.
fn reopen(desk: &Desk, task: &TaskId) -> Result<()> {
    desk.folder.unwish_of_task(task, Want::Killed)?;
    desk.book.record(Some(task), Fact::TaskReopened {})
}
