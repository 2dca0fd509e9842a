//! What a job's journal adds up to. [`JobState::apply`] takes one fact after the other; nothing else changes a state, so
//! a worker that died is resumed by replaying what it wrote.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a projection names the facts it projects; the others pass by"
)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::base::Base;
use super::parked::Parked;
use super::task::{TaskState, Tries};
use crate::model::PROTOCOL_VERSION;
use crate::model::advice::{Because, Decision};
use crate::model::event::{CommandResult, Event, Fact, SessionStart};
use crate::model::id::TaskId;
use crate::model::outcome::Tokens;
use crate::model::plan::{Plan, Role, Task};
use crate::model::status::{JobPhase, PauseReason, TaskPhase};
use crate::model::tally::Counts;
use crate::model::workspace::{Oid, Workspace};

/// How a job stands: its phase and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// A word for programs.
    pub reason: Option<String>,
    /// A sentence for people.
    pub message: String,
    /// Until when it rests.
    pub until: Option<Timestamp>,
}

/// A job, as its facts add up.
#[derive(Debug, Clone, PartialEq)]
pub struct JobState {
    /// Where it stands.
    pub phase: JobPhase,
    /// Why.
    pub standing: Standing,
    /// Why it rests, if it does.
    pub pause: Option<PauseReason>,
    /// Whether it was taken as a whole.
    pub claimed: bool,
    /// The worker's process, as last written.
    pub pid: Option<u32>,
    /// The workspace, once fixed.
    pub workspace: Option<Workspace>,
    /// The current plan's number, 0 before the first.
    pub plan_number: u32,
    /// The objective in the planner's words.
    pub plan_objective: String,
    /// How the work is shared out; `None` before the roles are assigned.
    pub strategy: Option<String>,
    /// Whether a person said go.
    pub approved: bool,
    /// Tries at plan and roles.
    pub planning: Tries,
    /// When planning may be tried again.
    pub planning_due: Option<Timestamp>,
    /// The tasks in the plan's order.
    pub tasks: Vec<TaskState>,
    /// Sessions whose end is not written: of a dead worker, they are to be fenced.
    pub open_sessions: BTreeMap<String, SessionStart>,
    /// The threads of these, as far as they are known, and when they were about to start.
    pub open_threads: BTreeMap<String, (String, Timestamp)>,
    /// How often a worker died under a question to the queen.
    pub unheard: u32,
    /// Number of the last session of each place.
    pub session_numbers: BTreeMap<String, u32>,
    /// What can be gone on with.
    pub parked: Parked,
    /// The job's newest commit.
    pub tip: Option<Oid>,
    /// What it takes in of other jobs.
    pub base: Base,
    /// Whether the verify commands passed.
    pub verified: Option<bool>,
    /// The verify command that did not pass when they were run last, with how it ended.
    pub unverified: Option<CommandResult>,
    /// Whether the queen finds that the result meets the objective, as far as she was asked.
    pub accepted: Option<bool>,
    /// What the queen missed in the result.
    pub missing: String,
    /// How often tasks were added because the verify commands did not pass.
    pub mends: u32,
    /// How often tasks were added because the queen rejected the result.
    pub appeals: u32,
    /// Why a new plan is wanted.
    pub replan: Option<String>,
    /// New plans made.
    pub replans: u32,
    /// The branch, once it exists.
    pub branch: Option<String>,
    /// What was spent.
    pub tokens: Tokens,
    /// What was spent, by the role that spent it.
    pub spent: BTreeMap<Role, Tokens>,
    /// How often things happened.
    pub counts: Counts,
    /// Since when tasks wait for a lease.
    pub waits: BTreeMap<TaskId, Timestamp>,
    /// Worker starts since the last other event.
    pub idle_starts: u32,
    /// When the last event was written.
    pub updated_at: Option<Timestamp>,
    /// When the first worker started.
    pub started_at: Option<Timestamp>,
    /// How long its workers have worked on it, up to the last event. What lies between two workers does not count: neither
    /// rest, nor a clock that was set meanwhile.
    pub worked: SignedDuration,
}

impl Default for JobState {
    fn default() -> Self {
        Self {
            phase: JobPhase::Queued,
            standing: Standing::default(),
            pause: None,
            claimed: false,
            pid: None,
            workspace: None,
            plan_number: 0,
            plan_objective: String::new(),
            strategy: None,
            approved: false,
            planning: Tries::default(),
            planning_due: None,
            tasks: Vec::new(),
            open_sessions: BTreeMap::new(),
            open_threads: BTreeMap::new(),
            unheard: 0,
            session_numbers: BTreeMap::new(),
            parked: Parked::default(),
            tip: None,
            base: Base::default(),
            verified: None,
            unverified: None,
            accepted: None,
            missing: String::new(),
            mends: 0,
            appeals: 0,
            replan: None,
            replans: 0,
            branch: None,
            tokens: Tokens::default(),
            spent: BTreeMap::new(),
            counts: Counts::default(),
            waits: BTreeMap::new(),
            idle_starts: 0,
            updated_at: None,
            started_at: None,
            worked: SignedDuration::ZERO,
        }
    }
}

impl JobState {
    /// Replays a journal.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut state = Self::default();
        for event in events {
            state.apply(event);
        }
        state
    }

    /// Takes in one more event. After the end nothing changes any more.
    pub fn apply(&mut self, event: &Event) {
        if self.phase.is_final() {
            return;
        }
        if !matches!(event.fact, Fact::WorkerStarted { .. }) {
            self.worked = self.worked_until(event.ts);
        }
        self.updated_at = Some(event.ts);
        self.idle_starts = match event.fact {
            Fact::WorkerStarted { .. } => self.idle_starts + 1,
            _ => 0,
        };
        match &event.task_id {
            Some(task) => self.apply_to_task(&task.clone(), &event.fact),
            None => self.apply_to_job(event),
        }
        self.apply_to_sessions(event);
        self.tally(event);
        self.parked.apply(event);
    }

    /// How long its workers have worked on it by then.
    pub fn worked_until(&self, now: Timestamp) -> SignedDuration {
        let since = self.updated_at.filter(|_| self.pid.is_some());
        let more = since.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
        self.worked.saturating_add(more.max(SignedDuration::ZERO))
    }

    fn apply_to_job(&mut self, event: &Event) {
        match &event.fact {
            Fact::Claimed { .. } => self.claimed = true,
            Fact::WorkerStarted { pid, .. } => self.start(*pid, event.ts),
            Fact::WorkspaceFixed { workspace } => {
                self.tip = Some(workspace.base.clone()).filter(|b| !b.is_empty());
                self.workspace = Some(workspace.clone());
            }
            Fact::PlanCreated { plan, objective, tasks } => {
                self.tasks.clear();
                self.begin_plan(*plan, objective, tasks);
            }
            Fact::Replanned { plan, objective, tasks } => self.replan(*plan, objective, tasks),
            Fact::RolesAssigned { tasks, strategy, .. } => {
                self.strategy = Some(strategy.clone());
                self.take_in(tasks);
                self.phase = JobPhase::Running;
            }
            Fact::TasksAdded { because, tasks, .. } => self.add(*because, tasks),
            Fact::ReviewApproved { .. } => self.accepted = Some(true),
            Fact::ReviewRejected { comments, .. } => {
                self.accepted = Some(false);
                self.missing =
                    comments.iter().map(|c| c.text.as_str()).collect::<Vec<_>>().join("; ");
            }
            Fact::PlanApproved {} => self.approve(),
            Fact::PlanningRetried { failure, due } => {
                self.planning.count(failure.kind);
                self.planning_due = Some(*due);
            }
            Fact::Paused { reason, until, message } => {
                self.pause(*reason, *until, message);
            }
            Fact::Resumed {} => self.wake(),
            Fact::Verified { passed, commands } => {
                self.verified = Some(*passed);
                self.unverified = commands.iter().find(|c| c.code != Some(0)).cloned();
            }
            Fact::Landed { branch, .. } => self.branch = Some(branch.clone()),
            Fact::Finished { state, reason, message } => self.finish(*state, reason, message),
            of_base @ (Fact::BaseAdvancing { .. }
            | Fact::BaseAdvanced { .. }
            | Fact::BaseDiverged(_)) => {
                self.tip = self.base.apply(of_base).or(self.tip.take());
            }
            _ => {}
        }
    }

    fn start(&mut self, pid: u32, at: Timestamp) {
        self.pid = Some(pid);
        self.started_at.get_or_insert(at);
        if self.phase != JobPhase::Paused {
            self.phase = self.working_phase();
        }
    }

    fn working_phase(&self) -> JobPhase {
        if self.strategy.is_some() { JobPhase::Running } else { JobPhase::Planning }
    }

    fn pause(&mut self, reason: PauseReason, until: Option<Timestamp>, message: &str) {
        self.phase = JobPhase::Paused;
        self.pause = Some(reason);
        self.pid = None;
        self.standing = Standing {
            reason: Some(reason.as_str().to_owned()),
            message: message.to_owned(),
            until,
        };
        for task in self.tasks.iter_mut().filter(|t| !t.phase.is_final()) {
            task.rest(task.due);
        }
    }

    /// What rests for the go that was said waits for a worker from then on.
    fn approve(&mut self) {
        self.approved = true;
        if self.pause == Some(PauseReason::Approval) {
            self.wake();
        }
    }

    fn wake(&mut self) {
        self.phase =
            if self.started_at.is_some() { self.working_phase() } else { JobPhase::Queued };
        self.pause = None;
        self.standing = Standing::default();
    }

    /// The state that it will have once that end is written down.
    #[must_use]
    pub fn as_if_ended(&self, state: JobPhase, reason: &str, message: &str) -> Self {
        let mut ended = self.clone();
        ended.finish(state, reason, message);
        ended
    }

    fn finish(&mut self, state: JobPhase, reason: &str, message: &str) {
        self.phase = state;
        self.pause = None;
        self.pid = None;
        for task in self.tasks.iter_mut().filter(|t| !t.phase.is_final()) {
            task.cut_short();
        }
        self.standing =
            Standing { reason: Some(reason.to_owned()), message: message.to_owned(), until: None };
    }

    fn begin_plan(&mut self, plan: u32, objective: &str, tasks: &[Task]) {
        self.plan_number = plan;
        objective.clone_into(&mut self.plan_objective);
        self.strategy = None;
        (self.planning, self.planning_due) = (Tries::default(), None);
        self.take_in(tasks);
    }

    /// A plan for what is left: what landed stays, everything else of the old plan is left out.
    fn replan(&mut self, plan: u32, objective: &str, tasks: &[Task]) {
        for task in self.tasks.iter_mut().filter(|t| t.phase != TaskPhase::Succeeded) {
            task.leave_out();
        }
        self.replan = None;
        self.replans += 1;
        self.approved = false;
        self.forget_judgements();
        self.begin_plan(plan, objective, tasks);
    }

    /// Tasks that follow from what was found wrong with the result.
    fn add(&mut self, because: Because, tasks: &[Task]) {
        match because {
            Because::Verify => self.mends += 1,
            Because::Queen => self.appeals += 1,
            Because::Review => {}
        }
        self.forget_judgements();
        self.take_in(tasks);
    }

    /// What was found of an older result says nothing of the one to come; the command that failed is remembered until it
    /// has passed.
    fn forget_judgements(&mut self) {
        (self.verified, self.accepted) = (None, None);
    }

    /// Takes over tasks; what a task of the same id has done so far is kept.
    fn take_in(&mut self, tasks: &[Task]) {
        for task in tasks {
            match self.tasks.iter_mut().find(|t| t.task.id == task.id) {
                Some(known) => known.task = task.clone(),
                None => self.tasks.push(TaskState::new(task.clone())),
            }
        }
    }

    fn apply_to_task(&mut self, id: &TaskId, fact: &Fact) {
        match fact {
            Fact::TaskCompleted { commit: Some(commit), .. } => self.tip = Some(commit.clone()),
            Fact::TasksAdded { because, tasks, .. } => self.add(*because, tasks),
            Fact::Advised { decision: Decision::Replan, advice } => {
                self.replan = Some(advice.clone());
            }
            Fact::TaskReopened {} => self.reopen_after(id),
            _ => {}
        }
        let Some(task) = self.tasks.iter_mut().find(|t| t.task.id == *id) else { return };
        task.apply(fact);
    }

    /// The task of that id.
    pub fn task(&self, id: &TaskId) -> Option<&TaskState> {
        self.tasks.iter().find(|t| t.task.id == *id)
    }

    /// The ids of the tasks that nobody has to wait for any more: they ended well, or are left out.
    pub fn done(&self) -> BTreeSet<&TaskId> {
        self.tasks.iter().filter(|t| t.is_out_of_the_way()).map(|t| &t.task.id).collect()
    }

    /// Whether any task of the job has changed a file.
    pub fn has_landed(&self) -> bool {
        self.tasks.iter().any(|t| t.commit.is_some())
    }

    /// Whether that has no branch yet.
    pub fn has_unpublished(&self) -> bool {
        self.branch.is_none() && self.has_landed()
    }

    /// The plan as it stands, for `plan-N.json`.
    pub fn plan(&self) -> Plan {
        Plan {
            version: PROTOCOL_VERSION,
            number: self.plan_number,
            objective: self.plan_objective.clone(),
            strategy: self.strategy.clone().unwrap_or_default(),
            tasks: self.tasks.iter().filter(|t| !t.left_out).map(|t| t.task.clone()).collect(),
        }
    }
}
