//! One job at a moment: what it does as a whole, and where each of its tasks stands, since when and with what words. Pure;
//! [`rows`] shows it.

pub(super) mod rows;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::answer;
use super::ink::Tone;
use crate::logic::idle::Idle;
use crate::logic::lifecycle::{self, Alone, Step};
use crate::logic::state::JobState;
use crate::logic::timeline::Timeline;
use crate::model::id::OF_JOB;
use crate::model::job::Job;
use crate::model::status::{JobPhase, Status, TaskPhase, TaskStatus};

/// One task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lane {
    /// What its job's status says.
    pub(super) status: TaskStatus,
    /// Since when it stands there, if that is known.
    pub(super) since: Option<Timestamp>,
    /// What it does, or why it does nothing.
    pub(super) words: (Tone, String),
}

/// One job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Board {
    /// What its status says.
    pub(super) status: Status,
    /// Whether a worker holds it.
    pub(super) held: bool,
    /// What it does besides its tasks; empty where they say it all.
    pub(super) doing: (Tone, String),
    /// Its tasks, in the plan's order.
    pub(super) lanes: Vec<Lane>,
    /// The number of its plan, where its journal was read.
    pub(super) plan: Option<u32>,
}

/// Where the words of an agent come from: the last that was said in a place, since a session began.
pub(super) type Words<'a> = dyn FnMut(&str, u32) -> Option<(Tone, String)> + 'a;

impl Board {
    /// A job as its status alone tells it: what is said about it where nobody works on it.
    pub(super) fn at_rest(status: Status, held: bool) -> Self {
        let doing = resting(&status, held);
        let lanes = status.tasks.iter().map(|task| lane(task, None, None)).collect();
        Self { status, held, doing, lanes, plan: None }
    }

    /// A job as its journal tells it, with what its agents said last.
    pub(super) fn of(
        state: &JobState,
        timeline: &Timeline,
        (job, held): (&Job, bool),
        words: &mut Words<'_>,
        now: Timestamp,
    ) -> Self {
        let status = state.status(job);
        let lane = |task: &TaskStatus| {
            let id = task.id.as_str();
            let session = timeline.open_sessions().find(|s| s.place == id).map(|s| s.number);
            let said = session.filter(|_| task.state.is_active()).and_then(|n| words(id, n));
            self::lane(task, timeline.since(&task.id), said)
        };
        let lanes = status.tasks.iter().map(lane).collect();
        let doing = match status.state {
            JobPhase::Planning | JobPhase::Running if held => {
                working(state, timeline, job, words, now)
            }
            _ => resting(&status, held),
        };
        Self { status, held, doing, lanes, plan: Some(state.plan_number) }
    }

    /// How many tasks ended well, and how many there are.
    pub(super) fn done(&self) -> (usize, usize) {
        let done = self.lanes.iter().filter(|l| l.status.state == TaskPhase::Succeeded);
        (done.count(), self.lanes.len())
    }

    /// Whether time passes on it.
    pub(super) fn is_at_work(&self) -> bool {
        self.held && matches!(self.status.state, JobPhase::Planning | JobPhase::Running)
    }
}

fn lane(task: &TaskStatus, since: Option<Timestamp>, said: Option<(Tone, String)>) -> Lane {
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    let words = match task.state {
        TaskPhase::Claiming | TaskPhase::Executing | TaskPhase::Landing | TaskPhase::Reviewing => {
            said.unwrap_or_else(|| (Tone::Dim, task.summary.clone()))
        }
        TaskPhase::Blocked if task.waits_for.is_empty() => {
            (Tone::Plain, "what stood in the way is gone".to_owned())
        }
        TaskPhase::Blocked => (Tone::Wait, format!("waits for {}", task.waits_for.join(", "))),
        TaskPhase::Pending => pending(task),
        TaskPhase::Failed => (Tone::Bad, task.message.clone()),
        TaskPhase::Succeeded => {
            let said = answer::in_words(&task.message).unwrap_or_else(|| task.message.clone());
            (Tone::Dim, first_line(&said))
        }
        TaskPhase::Skipped => (Tone::Dim, first_line(&task.message)),
    };
    Lane { status: task.clone(), since, words }
}

fn pending(task: &TaskStatus) -> (Tone, String) {
    let why = if task.message.is_empty() { &task.summary } else { &task.message };
    match task.waits_for.as_slice() {
        [] => (Tone::Dim, why.clone()),
        tasks => (Tone::Dim, format!("after {}", tasks.join(", "))),
    }
}

/// Why nobody works on it, or how it ended.
fn resting(status: &Status, held: bool) -> (Tone, String) {
    let tone = super::render::job_tone(status.state);
    let message = status.message.as_str();
    let words = Idle::of_status(status, held).map_or(message, |idle| idle.told(message));
    (tone, words.to_owned())
}

/// What a worker does with the job as a whole.
fn working(
    state: &JobState,
    timeline: &Timeline,
    job: &Job,
    words: &mut Words<'_>,
    now: Timestamp,
) -> (Tone, String) {
    let mut open = timeline.open_sessions();
    let place = open.find(|s| OF_JOB.contains(&s.place.as_str()));
    let what = match place.map(|s| s.place.as_str()) {
        Some("plan") => "plans",
        Some("roles") => "assigns roles",
        Some(_) => "asks the queen",
        None => match step(state, job, now) {
            Some(Alone::FixWorkspace) => "looks at the workspace",
            Some(Alone::Plan) => "is about to plan",
            Some(Alone::Roles) => "is about to assign roles",
            Some(Alone::Verify) => return verifying(job),
            Some(Alone::Judge) => "is about to ask the queen",
            Some(Alone::Mend(_)) => "adds tasks",
            Some(Alone::Publish) => "makes the branch",
            None => "",
        },
    };
    let said = place.and_then(|s| words(&s.place, s.number)).map(|(_, said)| format!(": {said}"));
    (Tone::Plain, format!("{what}{}", said.unwrap_or_default()))
}

fn verifying(job: &Job) -> (Tone, String) {
    (Tone::Plain, format!("verifies: {}", job.options.verify.join("; ")))
}

/// The step of the whole job that comes next, and so is under way: nothing else is recorded of it.
fn step(state: &JobState, job: &Job, now: Timestamp) -> Option<Alone> {
    let is_busy = |phase: TaskPhase| phase.is_active() || phase == TaskPhase::Blocked;
    let busy: BTreeSet<_> =
        state.tasks.iter().filter(|t| is_busy(t.phase)).map(|t| t.task.id.clone()).collect();
    match lifecycle::next(state, job, &busy, now) {
        Step::Alone(alone) => Some(alone),
        Step::Tasks { .. } | Step::Finish(_) | Step::Park(..) | Step::Wait(_) => None,
    }
}

#[cfg(test)]
mod tests;
