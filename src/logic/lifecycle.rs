//! What a job's worker does next, from what its journal adds up to. Asked again after every event; what is under way is
//! an argument, so the answer never depends on memory that a crash could lose.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::retry;
use super::state::JobState;
use super::task::TaskState;
use super::words::{bound, plural, span};
use crate::model::advice::Because;
use crate::model::event::CommandResult;
use crate::model::id::TaskId;
use crate::model::job::{Job, Planning, Sandbox};
use crate::model::plan::Role;
use crate::model::status::{JobPhase, PauseReason, TaskPhase};
use crate::model::workspace::Isolation;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// One thing that nothing else runs beside.
    Alone(Alone),
    /// Tasks: start some, skip some.
    Tasks {
        /// Start these now.
        start: Vec<TaskId>,
        /// Skip these, because of those.
        skip: Vec<(TaskId, TaskId)>,
    },
    /// End.
    Finish(Ending),
    /// Rest as a process-less job.
    Park(PauseReason, Option<Timestamp>),
    /// Nothing to do before then, or before something under way ends.
    Wait(Option<Timestamp>),
}

/// A step of the whole job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alone {
    /// Look at the workspace, once.
    FixWorkspace,
    /// Ask for the plan, or for a new one of what is left.
    Plan,
    /// Ask for the roles.
    Roles,
    /// Run the verify commands.
    Verify,
    /// Ask the queen whether the result meets the objective.
    Judge,
    /// Add the tasks that somebody's word makes necessary.
    Mend(Because),
    /// Make the branch and the files for people.
    Publish,
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
            message: "ended on request".to_owned(),
        }
    }

    /// An end, in words.
    pub fn new(phase: JobPhase, reason: &str, message: impl Into<String>) -> Self {
        Self { phase, reason: reason.to_owned(), message: message.into() }
    }
}

/// Rounds of tasks that are added after a verification failed, and after the queen rejected the result.
pub const MAX_ROUNDS: u32 = 2;

/// Decides what comes next; `busy` are the tasks whose lanes are under way.
pub fn next(state: &JobState, job: &Job, busy: &BTreeSet<TaskId>, now: Timestamp) -> Step {
    let step = unbounded(state, job, busy, now);
    match over_budget(state, job, now) {
        Some(end) if spends(&step) => {
            // What is under way may land; nothing new is started.
            if busy.is_empty() { Step::Finish(end) } else { Step::Wait(None) }
        }
        _ => step,
    }
}

/// The tasks that begin as soon as the roles are given out, as far as that can be told before: so that their trees can be made while an
/// agent gives them out. None where it could write there, or where a person may want another plan.
pub fn first_tasks(state: &JobState, job: &Job, now: Timestamp) -> Vec<TaskId> {
    let in_trees = state.workspace.as_ref().is_some_and(|w| w.isolation == Isolation::Worktree);
    let is_free = job.options.sandbox_of(Role::Planner) == Sandbox::DangerFullAccess;
    if !in_trees || is_free || (job.options.approve && !state.approved) {
        return Vec::new();
    }
    let is_new = |id: &TaskId| state.task(id).is_some_and(|task| task.attempt == 0);
    match tasks(state, job, &BTreeSet::new(), now) {
        Some(Step::Tasks { start, .. }) => start.into_iter().filter(is_new).collect(),
        _ => Vec::new(),
    }
}

/// The trees that are of no use as long as nobody works on the job, each by its place and number: those of attempts that have not begun
/// or have landed, and those that are only looked at. Those of attempts that did not land are kept.
pub fn unused_trees(state: &JobState) -> Vec<(&str, u32)> {
    let mut unused: Vec<(&str, u32)> = ["plan", "roles", "verify", "queen"].map(|p| (p, 1)).into();
    for task in &state.tasks {
        let place = task.task.id.as_str();
        unused.push((place, task.attempt + 1));
        if !task.task.role.writes() {
            unused.push((place, 1));
        } else if task.phase == TaskPhase::Succeeded {
            unused.push((place, task.attempt));
        }
    }
    unused
}

/// Whether a step leads to a session, now or later.
fn spends(step: &Step) -> bool {
    match step {
        Step::Alone(work) => match work {
            Alone::Plan | Alone::Roles | Alone::Judge | Alone::Mend(_) => true,
            Alone::FixWorkspace | Alone::Verify | Alone::Publish => false,
        },
        Step::Tasks { .. } | Step::Park(..) | Step::Wait(_) => true,
        Step::Finish(_) => false,
    }
}

/// What comes next as long as nothing is too dear.
fn unbounded(state: &JobState, job: &Job, busy: &BTreeSet<TaskId>, now: Timestamp) -> Step {
    if state.workspace.is_none() {
        return due(state, now).unwrap_or(Step::Alone(Alone::FixWorkspace));
    }
    if state.replan.is_some() && !busy.is_empty() {
        // A new plan is made of what has landed, so what is under way comes to its end first.
        return Step::Wait(None);
    }
    if state.strategy.is_none() || state.replan.is_some() {
        return planning(state, job, now);
    }
    if job.options.approve && !state.approved {
        return Step::Park(PauseReason::Approval, None);
    }
    tasks(state, job, busy, now).unwrap_or_else(|| ending(state, job))
}

/// Why a job may spend nothing more, if so. Time at rest does not count.
pub fn over_budget(state: &JobState, job: &Job, now: Timestamp) -> Option<Ending> {
    let budget = job.options.budget;
    if let Some(tokens) = budget.tokens.filter(|most| state.tokens.total() >= *most) {
        let message = format!("spent {} of {tokens} tokens", state.tokens.total());
        return Some(Ending::failed("budget", message));
    }
    let wall = state.worked_until(now);
    let most = Duration::from_secs(budget.wall_seconds?);
    let is_over = SignedDuration::try_from(most).is_ok_and(|most| wall >= most);
    is_over.then(|| Ending::failed("budget", format!("took {} of {}", span(wall), bound(most))))
}

/// The wait for the next try of what failed before there were tasks, as long as it lasts.
fn due(state: &JobState, now: Timestamp) -> Option<Step> {
    let due = state.planning_due.filter(|due| !retry::has_come(*due, now));
    due.map(|due| Step::Wait(Some(due)))
}

fn planning(state: &JobState, job: &Job, now: Timestamp) -> Step {
    if let Some(wait) = due(state, now) {
        return wait;
    }
    match job.options.plan {
        Planning::Single => Step::Alone(Alone::Plan),
        Planning::Auto if state.plan_number == 0 || state.replan.is_some() => {
            Step::Alone(Alone::Plan)
        }
        Planning::Auto => Step::Alone(Alone::Roles),
    }
}

/// `None` when every task has ended.
fn tasks(state: &JobState, job: &Job, busy: &BTreeSet<TaskId>, now: Timestamp) -> Option<Step> {
    let open: Vec<&TaskState> = state.tasks.iter().filter(|t| !t.phase.is_final()).collect();
    if open.is_empty() && busy.is_empty() {
        return None;
    }
    let skip = skipped(state, &open);
    let idle: Vec<&TaskState> = open
        .iter()
        .copied()
        .filter(|t| !busy.contains(&t.task.id) && !skip.iter().any(|(id, _)| *id == t.task.id))
        .collect();
    let (asked, waiting): (Vec<&TaskState>, Vec<&TaskState>) =
        idle.into_iter().partition(|t| t.is_in_question());
    let done = state.done();
    let is_ready = |t: &&&TaskState| t.task.dependencies.iter().all(|d| done.contains(d));
    let ready: Vec<&&TaskState> = waiting.iter().filter(is_ready).collect();
    let due = ready.iter().filter(|t| t.due.is_none_or(|due| retry::has_come(due, now)));
    let start: Vec<TaskId> = asked
        .iter()
        .chain(due.copied().take(free_lanes(state, job, busy)))
        .map(|t| t.task.id.clone())
        .collect();
    if start.is_empty() && skip.is_empty() {
        let due = ready.iter().filter_map(|t| t.due).filter(|due| !retry::has_come(*due, now));
        return Some(Step::Wait(due.min()));
    }
    Some(Step::Tasks { start, skip })
}

/// Lanes that are free: neither who waits for a lease nor who is only asked about takes one.
fn free_lanes(state: &JobState, job: &Job, busy: &BTreeSet<TaskId>) -> usize {
    let takes_one = |t: &&TaskState| t.phase != TaskPhase::Blocked && !t.is_in_question();
    let of_lanes = state.tasks.iter().filter(|t| busy.contains(&t.task.id));
    job.options.max_parallel.saturating_sub(of_lanes.filter(takes_one).count())
}

/// Tasks that can never start, each with the task that is to blame.
fn skipped(state: &JobState, open: &[&TaskState]) -> Vec<(TaskId, TaskId)> {
    let ended_badly =
        |id: &&TaskId| state.task(id).is_some_and(|t| t.phase.is_final() && !t.is_out_of_the_way());
    let blame = |t: &&TaskState| {
        Some((t.task.id.clone(), t.task.dependencies.iter().find(ended_badly)?.clone()))
    };
    open.iter().filter_map(blame).collect()
}

/// The steps after the last task: verify, judge, mend what is not good enough, publish, end.
fn ending(state: &JobState, job: &Job) -> Step {
    let has_failed = state.tasks.iter().any(|t| !t.is_out_of_the_way());
    if !has_failed && let Some(step) = checking(state, job) {
        return step;
    }
    if state.has_landed() && state.branch.is_none() {
        return Step::Alone(Alone::Publish);
    }
    Step::Finish(end(state))
}

/// What is still to be found out about the result, or to be done about what was found.
fn checking(state: &JobState, job: &Job) -> Option<Step> {
    if state.branch.is_some() {
        return None;
    }
    match state.verified {
        None if !job.options.verify.is_empty() => return Some(Step::Alone(Alone::Verify)),
        Some(false) => return mending(Because::Verify, state.mends),
        None | Some(true) => {}
    }
    match state.accepted {
        None if job.options.review => Some(Step::Alone(Alone::Judge)),
        Some(false) => mending(Because::Queen, state.appeals),
        None | Some(true) => None,
    }
}

fn mending(because: Because, rounds: u32) -> Option<Step> {
    (rounds < MAX_ROUNDS).then_some(Step::Alone(Alone::Mend(because)))
}

/// How a job ends that has nothing more to do. A check that failed and could not be mended comes before the tasks that
/// were to mend it.
fn end(state: &JobState) -> Ending {
    let failed = failed_tasks(state);
    if let Some(command) = &state.unverified {
        let message = verify_message(command, failed.as_deref());
        return Ending::failed("verify_failed", message);
    }
    if state.accepted == Some(false) || (failed.is_some() && state.appeals > 0) {
        let message = format!("the result does not meet the objective: {}", state.missing);
        return Ending::failed("review_rejected", message);
    }
    match failed {
        Some(message) => Ending::failed("task_failed", message),
        None => Ending::new(JobPhase::Succeeded, "done", done_message(state)),
    }
}

/// The tasks that did not end well, in words.
fn failed_tasks(state: &JobState) -> Option<String> {
    let failed: Vec<&TaskState> = state.tasks.iter().filter(|t| !t.is_out_of_the_way()).collect();
    let first = failed.first()?;
    let why = first.failure.as_ref().map_or("did not end well", |f| f.message.as_str());
    let (n, all) = (failed.len(), state.tasks.len());
    Some(format!("{n} of {} did not end well; {}: {why}", plural(all, "task"), first.task.id))
}

/// What is to be said of a job that ended well: what was left out, and when nothing was changed at all.
fn done_message(state: &JobState) -> String {
    let left_out = state.tasks.iter().filter(|t| t.left_out).count();
    let count = state.tasks.len() - left_out;
    let done = format!("{} done", plural(count, "task"));
    let mut message = if left_out == 0 { done } else { format!("{done}, {left_out} left out") };
    let in_trees = state.workspace.as_ref().is_some_and(|w| w.isolation == Isolation::Worktree);
    if in_trees && !state.has_landed() {
        message.push_str("; no file was changed");
    }
    message
}

fn verify_message(command: &CommandResult, failed: Option<&str>) -> String {
    let how = command.how();
    let failed = failed.map(|f| format!("; {f}")).unwrap_or_default();
    format!("`{}` {how}: see verify/verify.log in the run folder{failed}", command.command)
}

#[cfg(test)]
mod makespan;
#[cfg(test)]
pub(crate) mod stories;
#[cfg(test)]
mod tests;
