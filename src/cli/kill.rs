//! `numerus kill`: ends jobs or tasks of them, whether or not anything is running, and says for each how that went.

use std::time::Duration;

use clap::Args;

use super::follow::{Deadline, JournalTail, Wake, Wakes};
use super::here::Here;
use super::lookup::{self, Known, Whereabouts};
use super::{seams, several, snapshot};
use crate::error::{Exit, Failure};
use crate::model::id::{JobId, TAIL_CHARS, TaskId};
use crate::model::root::Root;
use crate::model::status::{JobPhase, TaskPhase};
use crate::os::process::Target;
use crate::os::random;
use crate::runs::{RunFolder, Runs, Want};

/// How long the end is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest time without a look at the files while a worker ends.
const LOOK: Duration = Duration::from_secs(1);

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Kill {
    /// The jobs, or tasks of them
    #[arg(value_name = "JOB[/TASK]", required = true)]
    targets: Vec<String>,
}

/// Kills.
pub(super) fn run(here: &mut Here, asked: &Kill) -> Result<Exit, Failure> {
    several::each(here, &asked.targets, one)
}

/// Ends one job or task; the answer says how that went.
pub(super) fn one(root: &Root, target: &str) -> Result<String, Failure> {
    let (prefix, task) = lookup::target(target)?;
    let known = match lookup::find_live(root, prefix) {
        Err(unknown) if unknown.kind == Exit::Unknown => {
            return of_file(root, target, unknown);
        }
        found => found?,
    };
    match (&known.at, task) {
        (Whereabouts::Incoming(file), None) => {
            if seams::withdraw(root, file, &known.job)? {
                return Ok(format!("{}: withdrawn before anyone took it", known.job));
            }
            of_run(root, &lookup::find(root, known.job.as_str())?, None)
        }
        (_, task) => of_run(root, &known, task),
    }
}

/// Withdraws a dropped file that is no job yet: it gets the id that it would have had, and is kept under that.
fn of_file(root: &Root, name: &str, unknown: Failure) -> Result<String, Failure> {
    let Some(file) = lookup::dropped(root, name) else {
        return Err(lookup::no_job_yet(root, name, unknown));
    };
    let tail = random::base32(TAIL_CHARS).map_err(|e| Failure::system("make an id", &e))?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let job = JobId::compose(&stem, &tail);
    if seams::withdraw(root, &file, &job)? {
        return Ok(format!("{name}: withdrawn before anyone took it, kept as {job}"));
    }
    Err(unknown.hint(format!("{name} was just taken: numerus status shows as which job")))
}

fn of_run(root: &Root, known: &Known, task: Option<TaskId>) -> Result<String, Failure> {
    let folder = Runs::of(root).folder(&known.job);
    let over = match &known.at {
        Whereabouts::Run => {
            let status = snapshot::status(&folder)?;
            status.map(|s| s.state).filter(|p| p.is_final()).map(JobPhase::as_str)
        }
        Whereabouts::Ended(phase) => Some(phase.as_str()),
        Whereabouts::Rejected(_) => Some("rejected"),
        Whereabouts::Incoming(_) => {
            return Err(Failure::new(Exit::Unknown, format!("{} has no tasks yet", known.job))
                .hint(format!("numerus kill {} ends the whole job", known.job)));
        }
    };
    if let (Some(task), Whereabouts::Run) = (&task, &known.at) {
        is_known(&folder, task)?;
    }
    if let Some(over) = over {
        return Ok(format!("{}: has ended already ({over})", known.job));
    }
    match task {
        Some(task) => of_task(&folder, &task),
        None => of_job(root, &folder),
    }
}

/// Ends a live job: by its worker, or under its lock where it has none. The answer says how that went.
pub(super) fn of_job(root: &Root, folder: &RunFolder) -> Result<String, Failure> {
    seams::wish_of_taken(root, folder, Want::Killed)?;
    let (mut holder, mut tail) = (Holder::default(), JournalTail::new(folder.clone()));
    let deadline = Deadline::after(PATIENCE);
    loop {
        holder.attend(folder);
        let held = folder.may_be_held();
        tail.read()?;
        let (over, left) = (tail.state().phase.is_final(), deadline.left());
        // Whoever wrote the end still tidies up, and is waited for.
        if over && (!held || left.is_none()) {
            return Ok(said(&tail));
        }
        if held && !over {
            holder.terminate(folder)?;
        }
        if !held && seams::finish_killed(root, folder)? {
            continue;
        }
        let Some(left) = left else { break };
        holder.wait(left);
    }
    Err(Failure::new(Exit::Blocked, format!("{} was asked to end and has not yet", folder.job()))
        .hint(format!("numerus status {} tells when it has", folder.job())))
}

/// Whoever holds the job, to be waited for. A worker that could be told apart is waited for itself: the kernel takes ten milliseconds
/// and more to forget a watch, which the command would only then be over by. Anybody else is waited for by a watch.
#[derive(Default)]
struct Holder {
    worker: Option<Target>,
    wakes: Option<Wakes>,
}

impl Holder {
    /// Watches the folder, before it is looked at, where there is a watch.
    fn attend(&mut self, folder: &RunFolder) {
        if let Some(wakes) = &mut self.wakes {
            wakes.add(folder.dir());
        }
    }

    /// Asks the worker to end, once each.
    fn terminate(&mut self, folder: &RunFolder) -> Result<(), Failure> {
        if !self.worker.as_ref().is_some_and(Target::lives) {
            self.worker = seams::terminate_worker(folder)?;
        }
        Ok(())
    }

    /// Waits until something may have changed; a watch that is only made now is one.
    fn wait(&mut self, left: Duration) {
        match (&self.worker, &mut self.wakes) {
            (Some(worker), _) if worker.lives_beyond(Duration::ZERO) => {
                worker.lives_beyond(left.min(LOOK));
            }
            (_, Some(wakes)) => drop(wakes.next_within(left)),
            (_, none) => *none = Some(Wakes::new()),
        }
    }
}

fn said(tail: &JournalTail) -> String {
    let (job, state) = (tail.folder().job(), tail.state());
    let message = &state.standing.message;
    let why = if message.is_empty() { String::new() } else { format!(" ({message})") };
    format!("{job}: {}{why}", state.phase.as_str())
}

/// Refuses a task that the job does not have.
fn is_known(folder: &RunFolder, task: &TaskId) -> Result<(), Failure> {
    let mut tail = JournalTail::new(folder.clone());
    tail.read()?;
    if tail.state().task(task).is_some() {
        return Ok(());
    }
    let job = folder.job();
    Err(Failure::new(Exit::Unknown, format!("no task is called {job}/{task}"))
        .hint(format!("numerus status {job} lists them")))
}

fn of_task(folder: &RunFolder, task: &TaskId) -> Result<String, Failure> {
    let (mut wakes, mut tail) = (Wakes::new(), JournalTail::new(folder.clone()));
    tail.read()?;
    seams::wish_of_task(folder, task, Want::Killed)?;
    let (deadline, mut nudged) = (Deadline::after(PATIENCE), false);
    if !folder.may_be_held() {
        let job = folder.job();
        return Ok(format!("{job}/{task}: noted; it ends when {job} goes on"));
    }
    loop {
        wakes.add(folder.dir());
        tail.read()?;
        nudged = nudged || seams::nudge_worker(folder)?;
        let phase = tail.state().task(task).map(|t| t.phase).filter(|p| p.is_final());
        if let Some(phase) = phase {
            let how = match phase {
                TaskPhase::Failed => "ended; to the job it has failed",
                TaskPhase::Succeeded => "succeeded, before the wish to end it was seen",
                other => other.as_str(),
            };
            return Ok(format!("{}/{task}: {how}", folder.job()));
        }
        let Some(left) = deadline.left() else { break };
        let Wake::Look = wakes.next_within(left) else { break };
    }
    let name = format!("{}/{task}", folder.job());
    Err(Failure::new(Exit::Blocked, format!("{name} was asked to end and has not yet"))
        .hint(format!("numerus status {} tells when it has", folder.job())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ends_is_waited_for_without_a_watch_and_anybody_else_with_one() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("spawn");
        let mut holder = Holder { worker: Target::open(child.id(), |_| true), wakes: None };
        holder.wait(Duration::from_millis(1));
        assert!(holder.wakes.is_none(), "a worker that lives is waited for itself");
        child.kill().expect("killed");
        child.wait().expect("ended");
        holder.wait(Duration::from_secs(60));
        assert!(holder.wakes.is_some(), "its successor, if it has one, is not known");
    }
}
