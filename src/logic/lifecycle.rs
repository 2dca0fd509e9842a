//! What a job's worker does next, from what its journal adds up to. Asked again after every event; what is under way is
//! an argument, so the answer never depends on memory that a crash could lose.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::state::JobState;
use super::task::TaskState;
use crate::model::id::TaskId;
use crate::model::job::{Job, Planning};
use crate::model::status::{JobPhase, PauseReason, TaskPhase};

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Look at the workspace, once.
    FixWorkspace,
    /// Ask for the plan.
    Plan,
    /// Ask for the roles.
    Roles,
    /// Tasks: start some, skip some.
    Tasks {
        /// Start these now.
        start: Vec<TaskId>,
        /// Skip these, because of those.
        skip: Vec<(TaskId, TaskId)>,
    },
    /// Run the verify commands.
    Verify,
    /// Make the branch and the files for people.
    Publish,
    /// End.
    Finish(Ending),
    /// Rest as a process-less job.
    Park(PauseReason, Option<Timestamp>),
    /// Nothing to do before then, or before something under way ends.
    Wait(Option<Timestamp>),
}

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// `succeeded`, `failed` or `killed`.
    pub phase: JobPhase,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

impl Ending {
    /// A job that failed.
    pub fn failed(reason: &str, message: impl Into<String>) -> Self {
        Self { phase: JobPhase::Failed, reason: reason.to_owned(), message: message.into() }
    }

    /// A job that someone ended.
    pub fn killed() -> Self {
        Self {
            phase: JobPhase::Killed,
            reason: "killed".to_owned(),
            message: "killed on request".to_owned(),
        }
    }

    /// An end, in words.
    pub fn new(phase: JobPhase, reason: &str, message: impl Into<String>) -> Self {
        Self { phase, reason: reason.to_owned(), message: message.into() }
    }
}

/// Decides what comes next; `busy` are the tasks whose lanes are under way.
pub fn next(state: &JobState, job: &Job, busy: &BTreeSet<TaskId>, now: Timestamp) -> Step {
    if let Some(end) = over_budget(state, job, now) {
        // What is under way may land; nothing new is started.
        return if busy.is_empty() { Step::Finish(end) } else { Step::Wait(None) };
    }
    if state.workspace.is_none() {
        return Step::FixWorkspace;
    }
    if state.strategy.is_none() {
        return planning(state, job, now);
    }
    if job.options.approve && !state.approved {
        return Step::Park(PauseReason::Approval, None);
    }
    tasks(state, job, busy, now).unwrap_or_else(|| ending(state, job))
}

fn over_budget(state: &JobState, job: &Job, now: Timestamp) -> Option<Ending> {
    let budget = job.options.budget;
    if let Some(tokens) = budget.tokens.filter(|most| state.tokens.total() >= *most) {
        let message = format!("spent {} of {tokens} tokens", state.tokens.total());
        return Some(Ending::new(JobPhase::Failed, "budget", message));
    }
    let wall = now.duration_since(state.started_at?).as_secs();
    let most =
        budget.wall_seconds.and_then(|s| i64::try_from(s).ok()).filter(|most| wall >= *most)?;
    Some(Ending::new(JobPhase::Failed, "budget", format!("took {wall} of {most} seconds")))
}

fn planning(state: &JobState, job: &Job, now: Timestamp) -> Step {
    if let Some(due) = state.planning_due.filter(|due| *due > now) {
        return Step::Wait(Some(due));
    }
    match job.options.plan {
        Planning::Single => Step::Plan,
        Planning::Auto if state.plan_number == 0 => Step::Plan,
        Planning::Auto => Step::Roles,
    }
}

/// `None` when every task has ended.
fn tasks(state: &JobState, job: &Job, busy: &BTreeSet<TaskId>, now: Timestamp) -> Option<Step> {
    let open: Vec<&TaskState> = state.tasks.iter().filter(|t| !t.phase.is_final()).collect();
    if open.is_empty() && busy.is_empty() {
        return None;
    }
    let skip = skipped(state, &open);
    let blocked = |t: &&TaskState| t.phase == TaskPhase::Blocked;
    let waiting_for_lease =
        state.tasks.iter().filter(|t| busy.contains(&t.task.id)).filter(blocked).count();
    let free = (job.options.max_parallel + waiting_for_lease).saturating_sub(busy.len());
    let done = state.done();
    let is_ready = |t: &&&TaskState| {
        t.task.dependencies.iter().all(|d| done.contains(d))
            && !busy.contains(&t.task.id)
            && !skip.iter().any(|(id, _)| *id == t.task.id)
    };
    let ready: Vec<&&TaskState> = open.iter().filter(is_ready).collect();
    let start: Vec<TaskId> = ready
        .iter()
        .filter(|t| t.due.is_none_or(|d| d <= now))
        .take(free)
        .map(|t| t.task.id.clone())
        .collect();
    if start.is_empty() && skip.is_empty() {
        return Some(Step::Wait(ready.iter().filter_map(|t| t.due).filter(|d| *d > now).min()));
    }
    Some(Step::Tasks { start, skip })
}

/// Tasks that can never start, each with the task that is to blame.
fn skipped(state: &JobState, open: &[&TaskState]) -> Vec<(TaskId, TaskId)> {
    let ended_badly = |id: &&TaskId| {
        state
            .task(id)
            .is_some_and(|t| t.phase == TaskPhase::Failed || t.phase == TaskPhase::Skipped)
    };
    let blame = |t: &&TaskState| {
        Some((t.task.id.clone(), t.task.dependencies.iter().find(ended_badly)?.clone()))
    };
    open.iter().filter_map(blame).collect()
}

fn ending(state: &JobState, job: &Job) -> Step {
    let failed: Vec<&TaskState> =
        state.tasks.iter().filter(|t| t.phase != TaskPhase::Succeeded).collect();
    let moved = state
        .workspace
        .as_ref()
        .is_some_and(|w| state.tip.as_ref().is_some_and(|tip| *tip != w.base));
    if failed.is_empty() && !job.options.verify.is_empty() && state.verified.is_none() {
        return Step::Verify;
    }
    if moved && state.branch.is_none() {
        return Step::Publish;
    }
    Step::Finish(match failed.first() {
        Some(task) => {
            let why = task.failure.as_ref().map_or("did not end well", |f| f.message.as_str());
            let message = format!(
                "{} of {} tasks did not end well; {}: {why}",
                failed.len(),
                state.tasks.len(),
                task.task.id
            );
            Ending::new(JobPhase::Failed, "task_failed", message)
        }
        None if state.verified == Some(false) => {
            Ending::new(JobPhase::Failed, "verify_failed", verify_message(state))
        }
        None => {
            Ending::new(JobPhase::Succeeded, "done", format!("{} tasks done", state.tasks.len()))
        }
    })
}

fn verify_message(state: &JobState) -> String {
    let Some(command) = &state.unverified else {
        return "a verify command did not pass".to_owned();
    };
    let how =
        command.code.map_or_else(|| "did not end".to_owned(), |code| format!("ended with {code}"));
    format!("`{}` {how}: see verify/verify.log in the run folder", command.command)
}

#[cfg(test)]
mod makespan;
#[cfg(test)]
mod tests;
