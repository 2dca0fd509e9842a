//! What a job's journal adds up to. [`JobState::apply`] takes one fact after the other; nothing else changes a state, so
//! a worker that died is resumed by replaying what it wrote.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a projection names the facts it projects; the others pass by"
)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::PROTOCOL_VERSION;
use crate::model::claim::Conflict;
use crate::model::event::{Event, Fact, SessionEnd, SessionStart};
use crate::model::id::TaskId;
use crate::model::job::Job;
use crate::model::outcome::{Failure, FailureKind, Tokens};
use crate::model::plan::{Plan, Task};
use crate::model::status::{JobPhase, PauseReason, Status, TaskPhase, TaskStatus};
use crate::model::workspace::{Oid, Workspace};

/// How often something was tried, by what became of it; each kind has its own bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tries {
    /// Failures of the agent.
    pub charged: u32,
    /// Failures of the service.
    pub transient: u32,
    /// Starts without a sandbox helper.
    pub starts: u32,
    /// Deaths of the worker.
    pub interrupted: u32,
}

impl Tries {
    fn count(&mut self, kind: FailureKind) {
        match kind {
            FailureKind::Transient => self.transient += 1,
            FailureKind::Start => self.starts += 1,
            FailureKind::Interrupted => self.interrupted += 1,
            FailureKind::Task => self.charged += 1,
            FailureKind::Limit | FailureKind::Auth | FailureKind::Stopped | FailureKind::Bug => {}
        }
    }
}

/// A commit that may or may not have become the tip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// The attempt that lands.
    pub attempt: u32,
    /// The commit.
    pub commit: Oid,
    /// The tip before it.
    pub parent: Oid,
}

/// One task, as its facts add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskState {
    /// The task as planned.
    pub task: Task,
    /// Where it stands.
    pub phase: TaskPhase,
    /// Attempts begun; each has a tree of its own.
    pub attempt: u32,
    /// What became of them.
    pub tries: Tries,
    /// How often it wrote what it had not claimed.
    pub violations: u32,
    /// How often what it built on had moved.
    pub base_moves: u32,
    /// Who stands in its way.
    pub conflicts: Vec<Conflict>,
    /// When it may be tried again.
    pub due: Option<Timestamp>,
    /// A landing under way.
    pub landing: Option<Landing>,
    /// Its commit.
    pub commit: Option<Oid>,
    /// The agent's last words, or why it failed.
    pub summary: String,
    /// The last failure.
    pub failure: Option<Failure>,
    /// What it has spent.
    pub tokens: Tokens,
}

impl TaskState {
    fn new(task: Task) -> Self {
        Self {
            task,
            phase: TaskPhase::Pending,
            attempt: 0,
            tries: Tries::default(),
            violations: 0,
            base_moves: 0,
            conflicts: Vec::new(),
            due: None,
            landing: None,
            commit: None,
            summary: String::new(),
            failure: None,
            tokens: Tokens::default(),
        }
    }

    /// Back to the queue of ready tasks, after the attempt that was under way.
    fn rest(&mut self, due: Option<Timestamp>) {
        self.phase = TaskPhase::Pending;
        self.conflicts.clear();
        self.due = due;
    }
}

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
    /// Number of the last session of each place.
    pub session_numbers: BTreeMap<String, u32>,
    /// The last thread that ended well in each place, with its running token total.
    pub threads: BTreeMap<String, (String, Tokens)>,
    /// The job's newest commit.
    pub tip: Option<Oid>,
    /// Whether the verify commands passed.
    pub verified: Option<bool>,
    /// The branch, once it exists.
    pub branch: Option<String>,
    /// What was spent.
    pub tokens: Tokens,
    /// Worker starts since the last other event.
    pub idle_starts: u32,
    /// When the last event was written.
    pub updated_at: Option<Timestamp>,
    /// When the first worker started.
    pub started_at: Option<Timestamp>,
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
            session_numbers: BTreeMap::new(),
            threads: BTreeMap::new(),
            tip: None,
            verified: None,
            branch: None,
            tokens: Tokens::default(),
            idle_starts: 0,
            updated_at: None,
            started_at: None,
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
        self.updated_at = Some(event.ts);
        self.idle_starts = match event.fact {
            Fact::WorkerStarted { .. } => self.idle_starts + 1,
            _ => 0,
        };
        match &event.task_id {
            Some(task) => self.apply_to_task(&task.clone(), &event.fact),
            None => self.apply_to_job(event),
        }
        self.apply_to_sessions(&event.fact);
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
                self.plan_number = *plan;
                self.plan_objective.clone_from(objective);
                self.strategy = None;
                self.set_tasks(tasks);
            }
            Fact::RolesAssigned { tasks, strategy, .. } => {
                self.strategy = Some(strategy.clone());
                self.set_tasks(tasks);
                self.phase = JobPhase::Running;
            }
            Fact::PlanApproved {} => self.approved = true,
            Fact::PlanningRetried { failure, due } => {
                self.planning.count(failure.kind);
                self.planning_due = Some(*due);
            }
            Fact::Paused { reason, until, message } => self.pause(*reason, *until, message),
            Fact::Resumed {} => self.wake(),
            Fact::Verified { passed, .. } => self.verified = Some(*passed),
            Fact::Landed { branch, .. } => self.branch = Some(branch.clone()),
            Fact::Finished { state, reason, message } => self.finish(*state, reason, message),
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

    fn wake(&mut self) {
        self.phase =
            if self.started_at.is_some() { self.working_phase() } else { JobPhase::Queued };
        self.pause = None;
        self.standing = Standing::default();
    }

    fn finish(&mut self, state: JobPhase, reason: &str, message: &str) {
        self.phase = state;
        self.pause = None;
        self.pid = None;
        self.standing =
            Standing { reason: Some(reason.to_owned()), message: message.to_owned(), until: None };
    }

    /// Takes over a plan's tasks; what a task of the same id has done so far is kept.
    fn set_tasks(&mut self, tasks: &[Task]) {
        let mut known: BTreeMap<TaskId, TaskState> =
            self.tasks.drain(..).map(|t| (t.task.id.clone(), t)).collect();
        self.tasks = tasks
            .iter()
            .map(|task| match known.remove(&task.id) {
                Some(state) => TaskState { task: task.clone(), ..state },
                None => TaskState::new(task.clone()),
            })
            .collect();
    }

    fn apply_to_task(&mut self, id: &TaskId, fact: &Fact) {
        if let Fact::TaskCompleted { commit: Some(commit), .. } = fact {
            self.tip = Some(commit.clone());
        }
        let Some(task) = self.tasks.iter_mut().find(|t| t.task.id == *id) else { return };
        match fact {
            Fact::ClaimBlocked { conflicts, .. } => {
                task.phase = TaskPhase::Blocked;
                task.conflicts.clone_from(conflicts);
            }
            Fact::ClaimUnblocked { .. } | Fact::ClaimApproved { .. } => task.conflicts.clear(),
            Fact::TaskStarted { attempt } => {
                task.attempt = *attempt;
                task.phase = if task.task.role.writes() {
                    TaskPhase::Executing
                } else {
                    TaskPhase::Reviewing
                };
            }
            Fact::TaskLanding { attempt, commit, parent } => {
                task.phase = TaskPhase::Landing;
                task.landing = Some(Landing {
                    attempt: *attempt,
                    commit: commit.clone(),
                    parent: parent.clone(),
                });
            }
            Fact::TaskCompleted { commit, summary, .. } => {
                task.rest(None);
                task.phase = TaskPhase::Succeeded;
                task.landing = None;
                task.commit.clone_from(commit);
                task.summary.clone_from(summary);
            }
            Fact::ClaimViolated { .. } => task.violations += 1,
            Fact::BaseMoved { .. } => task.base_moves += 1,
            Fact::TaskFailed { failure, .. } => {
                task.rest(None);
                task.phase = TaskPhase::Failed;
                task.failure = Some(failure.clone());
            }
            Fact::TaskRetried { failure, due, .. } => {
                task.tries.count(failure.kind);
                task.failure = Some(failure.clone());
                task.landing = None;
                task.rest(Some(*due));
            }
            Fact::TaskSkipped { because } => {
                task.phase = TaskPhase::Skipped;
                task.summary = format!("{because} did not end well");
            }
            _ => {}
        }
    }

    fn apply_to_sessions(&mut self, fact: &Fact) {
        match fact {
            Fact::SessionStarting(start) => {
                self.session_numbers.insert(start.place.clone(), start.number);
                self.open_sessions.insert(start.place.clone(), start.clone());
                if let Some(task) =
                    self.tasks.iter_mut().find(|t| t.task.id.as_str() == start.place)
                {
                    task.attempt = task.attempt.max(start.attempt);
                    if task.phase == TaskPhase::Pending {
                        task.phase = if task.task.role.writes() {
                            TaskPhase::Claiming
                        } else {
                            TaskPhase::Reviewing
                        };
                    }
                }
            }
            Fact::SessionEnded(end) => self.end_session(end),
            _ => {}
        }
    }

    fn end_session(&mut self, end: &SessionEnd) {
        self.open_sessions.remove(&end.place);
        self.tokens = self.tokens.plus(end.tokens);
        if let Some(thread) = &end.thread_id {
            self.threads.insert(end.place.clone(), (thread.clone(), end.thread_tokens));
        }
        if let Some(task) = self.tasks.iter_mut().find(|t| t.task.id.as_str() == end.place) {
            task.tokens = task.tokens.plus(end.tokens);
        }
    }

    /// The task of that id.
    pub fn task(&self, id: &TaskId) -> Option<&TaskState> {
        self.tasks.iter().find(|t| t.task.id == *id)
    }

    /// The ids of the tasks that ended well.
    pub fn done(&self) -> BTreeSet<&TaskId> {
        self.tasks.iter().filter(|t| t.phase == TaskPhase::Succeeded).map(|t| &t.task.id).collect()
    }

    /// The plan as it stands, for `plan-N.json`.
    pub fn plan(&self) -> Plan {
        Plan {
            version: PROTOCOL_VERSION,
            number: self.plan_number,
            objective: self.plan_objective.clone(),
            strategy: self.strategy.clone().unwrap_or_default(),
            tasks: self.tasks.iter().map(|t| t.task.clone()).collect(),
        }
    }

    /// What `status.json` says.
    pub fn status(&self, job: &Job) -> Status {
        Status {
            version: PROTOCOL_VERSION,
            job_id: job.id.clone(),
            state: self.phase,
            reason: self.standing.reason.clone(),
            message: self.standing.message.clone(),
            until: self.standing.until,
            pid: self.pid,
            workspace: self
                .workspace
                .as_ref()
                .map(|w| w.top.clone())
                .or_else(|| job.options.workspace.clone()),
            branch: self.branch.clone(),
            objective: job
                .objective
                .lines()
                .find(|l| !l.trim().is_empty())
                .unwrap_or_default()
                .trim()
                .to_owned(),
            created_at: job.created_at,
            updated_at: self.updated_at.unwrap_or(job.created_at),
            tokens: self.tokens,
            tasks: self.tasks.iter().map(|t| self.task_status(t)).collect(),
        }
    }

    fn task_status(&self, state: &TaskState) -> TaskStatus {
        let done = self.done();
        let ahead =
            state.task.dependencies.iter().filter(|d| !done.contains(d)).map(ToString::to_string);
        let holders: BTreeSet<String> = state
            .conflicts
            .iter()
            .map(|c| format!("{}/{}", c.held_by.job, c.held_by.task))
            .collect();
        let waits_for = if state.phase == TaskPhase::Pending {
            ahead.collect()
        } else {
            holders.into_iter().collect()
        };
        let failed = state.failure.as_ref().filter(|_| state.phase != TaskPhase::Succeeded);
        TaskStatus {
            id: state.task.id.clone(),
            summary: state.task.summary.clone(),
            role: state.task.role,
            state: state.phase,
            attempt: state.attempt,
            waits_for,
            until: state.due,
            message: failed.map_or_else(|| state.summary.clone(), |f| f.message.clone()),
            tokens: state.tokens,
        }
    }
}
