//! `numerus retry`: what did not go well, once more. An ended job stays as it is and a new one begins from what it landed; a
//! task of a job that goes on is tried again now; a rejected file is dropped again.

use std::ffi::OsStr;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::follow::{Deadline, JournalTail, Wakes};
use super::here::Here;
use super::jobfile::{Draft, Flags, compose};
use super::lookup::{self, Known, Whereabouts};
use super::render::word;
use super::{idle, seams, snapshot, submit};
use crate::error::{Exit, Failure};
use crate::logic::idle::Idle;
use crate::logic::reopen::{self, Again};
use crate::logic::state::JobState;
use crate::model::event::{Event, Fact};
use crate::model::id::{JobId, TAIL_CHARS, TaskId};
use crate::model::job::RetryOf;
use crate::model::root::Root;
use crate::model::status::JobPhase;
use crate::os::{digest, random};
use crate::runs::{RunFolder, Runs, Want};
use crate::spool::Spool;
use crate::trees;

/// How long a worker is waited for to look at a wish.
const PATIENCE: Duration = Duration::from_secs(10);

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Retry {
    /// Ended jobs, tasks of jobs that go on, or names of rejected files
    #[arg(value_name = "JOB[/TASK]|FILE", required = true)]
    targets: Vec<String>,
    /// Build on nothing of what the ended job has landed
    #[arg(long)]
    from_scratch: bool,
    #[command(flatten)]
    flags: Flags,
}

/// What came of one target.
pub(super) struct Retried {
    /// The new job, where one was made.
    pub(super) new: Option<JobId>,
    /// The file that was dropped again, if one was.
    pub(super) file: Option<String>,
    /// In words.
    pub(super) message: String,
}

/// Retries: ids of new jobs go to stdout alone.
pub(super) fn run(here: &mut Here, asked: &Retry) -> Result<Exit, Failure> {
    let (mut worst, mut waiting) = (Exit::Done, Vec::new());
    for target in &asked.targets {
        match one(&here.root, target, asked.from_scratch, &asked.flags) {
            Ok(Retried { new: Some(new), message, .. }) => {
                here.out.note(&message);
                here.out.line(new.as_str())?;
                waiting.push(new.to_string());
            }
            Ok(Retried { new: None, file, message }) => {
                here.out.line(&message)?;
                waiting.extend(file);
            }
            Err(failure) => {
                here.out.note_text(&failure.render());
                worst = worst.worst(failure.kind);
            }
        }
    }
    match waiting.as_slice() {
        [] => {}
        [only] => idle::tell(here, Some(&format!("numerus start {}", word(only)))),
        _ => idle::tell(here, Some("numerus start JOB")),
    }
    Ok(worst)
}

/// How an ended job is done once more, as a hint: one that ended well is submitted again, and where it is to work is named,
/// since `submit` would take the repository that the reader stands in.
pub(super) fn again(root: &Root, job: &JobId, how: &str) -> String {
    if let Some(edit) = lookup::cut_off_of(root, job) {
        let (said, hint) = edit.told();
        return format!("{said}; {hint}");
    }
    if let Some(new) = Spool::of(root).successor(job) {
        return format!("it was edited, and {new} took its place: name that one");
    }
    if how != JobPhase::Succeeded.as_str() {
        return format!("numerus retry {job} does it again");
    }
    let Some(file) = Spool::of(root).taken(job) else {
        return "numerus submit does it again".to_owned();
    };
    let accepted = Runs::of(root).folder(job).read_job().ok().flatten();
    let workspace = accepted.and_then(|job| job.options.workspace);
    let place = workspace.map(|dir| format!(" --workspace {}", word(&dir)));
    let elsewhere =
        if place.is_none() { ", from a directory that lies in no repository" } else { "" };
    let (file, place) = (word(&file.display().to_string()), place.unwrap_or_default());
    format!("numerus submit -f {file}{place} does it again{elsewhere}")
}

/// Retries one target.
pub(super) fn one(
    root: &Root,
    target: &str,
    from_scratch: bool,
    flags: &Flags,
) -> Result<Retried, Failure> {
    if target.is_empty() {
        return Err(Failure::usage("nothing is named that is to be tried again")
            .hint("numerus status --all lists the jobs"));
    }
    let is_plain = !from_scratch && *flags == Flags::default();
    if let Some(name) = rejected(root, target, is_plain)? {
        let message = format!("{target}: dropped again as {name}");
        return Ok(Retried { new: None, file: Some(name), message });
    }
    let (prefix, task) = lookup::target(target)?;
    match task {
        // Tasks are tried again of a job that goes on.
        Some(task) if is_plain => {
            let message = of_task(root, &lookup::find_live(root, prefix)?, &task)?;
            Ok(Retried { new: None, file: None, message })
        }
        Some(_) => Err(Failure::usage("a task keeps the options of its job")
            .hint(format!("numerus retry {target} tries it again as it is"))),
        None => of_job(root, &lookup::find(root, prefix)?, from_scratch, flags),
    }
}

/// Drops a rejected file again, if one is called so; the answer is its name now.
fn rejected(root: &Root, target: &str, is_plain: bool) -> Result<Option<String>, Failure> {
    let is_name = !target.contains('/') && !target.starts_with('.');
    let named = if is_name { seams::drop_again(root, OsStr::new(target), is_plain)? } else { None };
    let found = match named {
        Some(dropped) => Some(dropped),
        None => match lookup::find(root, target.split('/').next().unwrap_or_default()) {
            Ok(Known { at: Whereabouts::Rejected(reason), .. }) => {
                seams::drop_again(root, &Spool::rejected_name(&reason), is_plain)?
            }
            Err(e) if e.kind == Exit::Unknown => match lookup::rejected_like(root, target) {
                Some(name) => seams::drop_again(root, OsStr::new(&name), is_plain)?,
                None => None,
            },
            _ => None,
        },
    };
    Ok(found.map(|name| name.to_string_lossy().into_owned()))
}

/// Submits an ended job once more.
fn of_job(
    root: &Root,
    known: &Known,
    from_scratch: bool,
    flags: &Flags,
) -> Result<Retried, Failure> {
    let old = &known.job;
    let folder = Runs::of(root).folder(old);
    let state = ended(root, known, &folder)?;
    let mut draft = draft(root, &folder)?;
    if state.standing.reason.as_deref() == Some("dependency") && flags.after.is_empty() {
        return Err(Failure::new(
            Exit::Blocked,
            format!("{old} never began, since a job that it waited for did not end well"),
        )
        .hint(format!("retry that one first, then numerus retry {old} --after NEW")));
    }
    if state.started_at.is_some() {
        // What had to come first came first.
        for key in ["after", "not_before"] {
            draft.options.remove(key);
        }
    }
    if state.claimed {
        // A key belongs to the first job that had it, for ever.
        draft.options.remove("key");
    }
    let retry_of = RetryOf { job: old.clone(), from_scratch };
    draft.options.insert("retry_of".into(), json!(retry_of));
    let job = compose(&draft, &submit::resolved(flags, true)?);
    let no_chance = |e: std::io::Error| Failure::system("make an id", &e);
    let new = draft.id(&random::base32(TAIL_CHARS).map_err(no_chance)?);
    seams::is_first_of_key(root, job.get("key").and_then(|key| key.as_str()))?;
    seams::submit(root, &new, job)?;
    let built_on = if from_scratch { String::new() } else { built_on(&state, &folder)? };
    let message = format!("{old}: done once more as {new}{built_on}");
    Ok(Retried { new: Some(new), file: None, message })
}

/// From what the new job begins, where that needs a word.
fn built_on(state: &JobState, folder: &RunFolder) -> Result<String, Failure> {
    let Some(workspace) = &state.workspace else { return Ok(String::new()) };
    let found = seams::of_trees(trees::built_on(workspace, folder))?;
    Ok(match found {
        Some(job) if job == *folder.job() => ", on what it landed".to_owned(),
        Some(job) => format!(", on what {job} landed"),
        None if state.branch.is_some() && state.has_landed() => {
            ", from HEAD: its branch was merged or deleted".to_owned()
        }
        None => String::new(),
    })
}

/// The state of a job that has ended badly; one that was withdrawn before it was taken has none.
fn ended(root: &Root, known: &Known, folder: &RunFolder) -> Result<JobState, Failure> {
    let job = &known.job;
    let blocked = |message: String, hint: String| Failure::new(Exit::Blocked, message).hint(hint);
    let state = match &known.at {
        Whereabouts::Ended(phase) => JobState::default().as_if_ended(*phase, "", ""),
        _ => JobState::replay(&snapshot::replay(folder)?.events),
    };
    if let Some(edit) = lookup::cut_off_of(root, job) {
        let (said, hint) = edit.told();
        return Err(blocked(said, format!("{hint}; then numerus retry {job} does the old one")));
    }
    match state.phase {
        JobPhase::Failed | JobPhase::Killed => Ok(state),
        JobPhase::Succeeded => Err(blocked(
            format!("{job} has ended well"),
            again(root, job, JobPhase::Succeeded.as_str()),
        )),
        JobPhase::Queued => Err(blocked(
            format!("{job} has not begun yet"),
            format!("numerus edit {job} changes it, numerus kill {job} ends it"),
        )),
        JobPhase::Planning | JobPhase::Running | JobPhase::Paused => {
            let refused = blocked(
                format!("{job} has not ended ({})", state.phase.as_str()),
                format!("numerus retry {job}/TASK tries one of its tasks again"),
            );
            let rests = Idle::of(state.phase, state.pause, false)
                .filter(|_| state.phase == JobPhase::Paused);
            Err(match rests.and_then(|idle| idle.command(job)) {
                Some(command) => refused.hint(format!("{command} lets it go on")),
                None => refused,
            })
        }
    }
}

/// The job as it was submitted: its file, wherever the spool keeps it.
pub(super) fn draft(root: &Root, folder: &RunFolder) -> Result<Draft, Failure> {
    let job = folder.job();
    let lost = || {
        Failure::new(
            Exit::Blocked,
            format!("the file that {job} was made of is not there as it was"),
        )
        .hint("numerus submit -f FILE submits what you have")
    };
    let (_, path) = Spool::of(root).find(job).ok_or_else(lost)?;
    // Somebody may have taken it on in between.
    let gone = |e: Failure| if path.symlink_metadata().is_err() { lost() } else { e };
    let bytes = seams::read_as_taken(root, &path).map_err(gone)?;
    if !is_as_accepted(folder, &bytes) {
        return Err(lost());
    }
    let draft = submit::of_bytes(&path, bytes)?;
    Ok(Draft { stem: job.slug().to_owned(), ..draft })
}

/// Whether a file's bytes are what the job was made of; where nobody knows any more, it is.
fn is_as_accepted(folder: &RunFolder, bytes: &[u8]) -> bool {
    let Ok(Some(job)) = folder.read_job() else { return true };
    job.origin.sha256.is_empty() || digest::sha256_hex(bytes) == job.origin.sha256
}

/// Tries a task again now, and waits until its worker has seen that.
fn of_task(root: &Root, known: &Known, task: &TaskId) -> Result<String, Failure> {
    let folder = Runs::of(root).folder(&known.job);
    let (mut wakes, mut tail) = (Wakes::new(), JournalTail::new(folder.clone()));
    tail.read()?;
    let (job, state) = (folder.job(), tail.state());
    let name = format!("{job}/{task}");
    let over = match &known.at {
        Whereabouts::Ended(phase) => Some(phase.as_str()),
        Whereabouts::Rejected(_) => Some("rejected"),
        Whereabouts::Run | Whereabouts::Incoming(_) => None,
    };
    if let Some(how) = over.or_else(|| state.phase.is_final().then(|| state.phase.as_str())) {
        return Err(Failure::new(Exit::Blocked, format!("{job} is over, and its tasks with it"))
            .hint(again(root, job, how)));
    }
    if state.task(task).is_none() {
        return Err(Failure::new(Exit::Unknown, format!("no task is called {name}"))
            .hint(format!("numerus status {job} lists them")));
    }
    let again = judged(state, task, &name)?;
    seams::wish_of_task(&folder, task, Want::Retried)?;
    if !folder.may_be_held() {
        return Ok(format!("{name}: noted; it is tried again when {job} goes on"));
    }
    let (deadline, mut nudged) = (Deadline::after(PATIENCE), false);
    loop {
        wakes.add(folder.dir());
        let is_reopened =
            |e: &Event| e.task_id.as_ref() == Some(task) && e.fact == Fact::TaskReopened {};
        let is_seen = !folder.wants_of_task(task, Want::Retried);
        let is_written = tail.read()?.iter().any(is_reopened);
        if is_written || (is_seen && again == Again::Hurried) {
            return Ok(format!("{name}: tried again"));
        }
        if is_seen {
            // The worker has looked, and found what this finds: too late.
            judged(tail.state(), task, &name)?;
        }
        nudged = nudged || seams::nudge_worker(&folder)?;
        let Some(left) = deadline.left() else { break };
        wakes.next_within(left);
    }
    Err(Failure::new(Exit::Blocked, format!("{name} was not tried again yet"))
        .hint(format!("numerus status {job} tells when it is", job = folder.job())))
}

/// How a task can be tried again.
///
/// # Errors
/// Why it cannot.
fn judged(state: &JobState, task: &TaskId, name: &str) -> Result<Again, Failure> {
    reopen::judge(state, task).map_err(|why| {
        let job = name.split('/').next().unwrap_or_default();
        Failure::new(Exit::Blocked, format!("{name} {why}"))
            .hint(format!("numerus status {job} shows where it stands"))
    })
}
