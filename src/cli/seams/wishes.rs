//! The seams of what is asked of whoever holds a job: wishes and notes, files that are put without its lock.

use std::io::ErrorKind;

use super::{Failure, RunFolder, Want};
use crate::error::Exit;
use crate::model::id::TaskId;
use crate::runs::notes::MAX_NOTES;

/// Wishes something of a job.
pub(in crate::cli) fn wish(folder: &RunFolder, want: Want) -> Result<(), Failure> {
    folder.wish(want).map_err(|e| Failure::system(&format!("ask for the job's {}", what(want)), &e))
}

/// Wishes something of a task.
pub(in crate::cli) fn wish_of_task(
    folder: &RunFolder,
    task: &TaskId,
    want: Want,
) -> Result<(), Failure> {
    let doing = format!("ask for the task's {}", what(want));
    folder.wish_of_task(task, want).map_err(|e| Failure::system(&doing, &e))
}

fn what(want: Want) -> &'static str {
    match want {
        Want::Killed => "end",
        Want::Paused => "rest",
        Want::Retried => "next try",
        Want::Asked => "question",
    }
}

/// Puts a note for the agents of a job or task; its number.
pub(in crate::cli) fn put_note(
    folder: &RunFolder,
    task: Option<&TaskId>,
    text: &str,
) -> Result<u32, Failure> {
    folder.put_note(task, text).map_err(|e| match e.kind() {
        ErrorKind::QuotaExceeded => {
            Failure::new(Exit::Blocked, format!("there are {MAX_NOTES} notes already"))
                .hint(format!("look at note-*.md in {}", folder.dir().display()))
        }
        _ => Failure::system("put the note", &e),
    })
}
