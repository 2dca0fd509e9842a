//! `numerus send`: a note to the agents of a job or of a task, in the prompt of every session that starts from then on.

use std::io::Read;

use clap::Args;

use super::here::Here;
use super::lookup::{self, Whereabouts};
use super::{pause, seams, snapshot};
use crate::error::{Exit, Failure};
use crate::logic::notes;
use crate::logic::state::JobState;
use crate::model::id::TaskId;
use crate::model::root::Root;
use crate::runs::Runs;
use crate::runs::notes::MAX_NOTE_BYTES;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// The job, or one of its tasks
    #[arg(value_name = "JOB[/TASK]")]
    target: String,
    /// What they should know; `-` reads it from stdin
    #[arg(value_name = "TEXT")]
    text: String,
}

/// Sends.
pub(super) fn run(here: &mut Here, asked: &Send) -> Result<Exit, Failure> {
    let text = if asked.text == "-" { stdin()? } else { asked.text.clone() };
    let message = note(&here.root, &asked.target, &text)?;
    here.out.line(&message)?;
    Ok(Exit::Done)
}

fn stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let most = MAX_NOTE_BYTES as u64 + 1;
    let read = std::io::stdin().take(most).read_to_end(&mut bytes);
    read.map_err(|e| Failure::usage(format!("cannot read stdin: {e}")))?;
    if bytes.len() > MAX_NOTE_BYTES {
        // No more of it was read: how long it is nobody knows.
        return Err(Failure::usage(format!("the note has more than {MAX_NOTE_BYTES} bytes"))
            .hint("put long material into the workspace, and name it in the note"));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage("the note is not UTF-8"))
}

/// Puts one note; the answer says when it will be read.
pub(super) fn note(root: &Root, target: &str, text: &str) -> Result<String, Failure> {
    notes::check(text, MAX_NOTE_BYTES).map_err(|why| {
        Failure::usage(format!("the note {why}"))
            .hint("put long material into the workspace, and name it in the note")
    })?;
    let (prefix, task) = lookup::target(target)?;
    let known = lookup::find_job(root, prefix)?;
    let job = &known.job;
    match &known.at {
        Whereabouts::Run => {}
        Whereabouts::Incoming(_) => {
            return Err(Failure::new(Exit::Blocked, format!("{job} has not been taken yet"))
                .hint(format!("numerus edit {job} changes what it is about")));
        }
        Whereabouts::Ended(phase) => return Err(pause::over(root, job, phase.as_str())),
        Whereabouts::Rejected(_) => return Err(pause::over(root, job, "rejected")),
    }
    let folder = Runs::of(root).folder(job);
    seams::see_taken(root, &folder)?;
    let state = JobState::replay(&snapshot::replay(&folder)?.events);
    if state.phase.is_final() {
        return Err(pause::over(root, job, state.phase.as_str()));
    }
    if let Some(task) = &task {
        may_be_told(&state, &format!("{job}/{task}"), job.as_str(), task)?;
    }
    let number = seams::put_note(&folder, task.as_ref(), text.trim())?;
    Ok(match &task {
        Some(task) => format!("{job}/{task}: note {number}; {}", when(&state, Some(task))),
        None => format!("{job}: note {number}; {}", when(&state, None)),
    })
}

fn may_be_told(state: &JobState, name: &str, job: &str, task: &TaskId) -> Result<(), Failure> {
    match state.task(task) {
        None => Err(Failure::new(Exit::Unknown, format!("no task is called {name}"))
            .hint(format!("numerus status {job} lists them"))),
        Some(task) if task.phase.is_final() => {
            let message = format!("{name} has ended ({})", task.phase.as_str());
            Err(Failure::new(Exit::Blocked, message)
                .hint(format!("numerus send {job} tells the agents of all tasks to come")))
        }
        Some(_) => Ok(()),
    }
}

/// When it will be read, in words.
fn when(state: &JobState, task: Option<&TaskId>) -> String {
    let runs = match task {
        Some(task) => state.open_sessions.contains_key(task.as_str()),
        None => !state.open_sessions.is_empty(),
    };
    let whose = if task.is_some() { "of the task" } else { "of the job" };
    if runs {
        format!("read by every session {whose} that starts from now on, not by one that runs")
    } else {
        format!("read by the next session {whose}, and by all after it")
    }
}
