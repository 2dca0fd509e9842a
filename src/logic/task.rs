//! What the facts about one task add up to: its phase, its tries, its landing.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a projection names the facts it projects; the others pass by"
)]

use jiff::Timestamp;

use crate::model::advice::{Comment, Decision};
use crate::model::claim::{ClaimQuality, Conflict};
use crate::model::event::Fact;
use crate::model::outcome::{Failure, FailureKind, Tokens};
use crate::model::plan::Task;
use crate::model::status::TaskPhase;
use crate::model::workspace::Oid;

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
    /// Times that what it built on had moved.
    pub stale: u32,
}

impl Tries {
    /// Counts one more failure of that kind.
    pub fn count(&mut self, kind: FailureKind) {
        match kind {
            FailureKind::Transient => self.transient += 1,
            FailureKind::Start => self.starts += 1,
            FailureKind::Interrupted => self.interrupted += 1,
            FailureKind::Task => self.charged += 1,
            FailureKind::Stale => self.stale += 1,
            FailureKind::Limit
            | FailureKind::Auth
            | FailureKind::Left
            | FailureKind::Stopped
            | FailureKind::Bug => {}
        }
    }
}

/// What a lane of a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The queen is asked about it.
    Advise,
    /// Tasks are added that do what it objects to.
    Mend,
    /// Its agent claims, writes and lands.
    Write,
    /// Its agent reads.
    Read,
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
#[derive(Debug, Clone, PartialEq)]
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
    /// How good the claims of its attempts were, each attempt with its number.
    pub measured: Vec<(u32, ClaimQuality)>,
    /// Who stands in its way.
    pub conflicts: Vec<Conflict>,
    /// When it may be tried again.
    pub due: Option<Timestamp>,
    /// Out of attempts, for this reason: the queen is asked.
    pub exhausted: Option<Failure>,
    /// How often the queen has given it its attempts once more.
    pub reprieves: u32,
    /// What the queen told it.
    pub advice: Option<String>,
    /// What a reviewer wants changed, until tasks for that are added.
    pub objections: Vec<Comment>,
    /// How often a reviewer wanted changes.
    pub rounds: u32,
    /// Whether the job may end well without it: the queen left it out, or a newer plan replaced it.
    pub left_out: bool,
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
    pub(super) fn new(task: Task) -> Self {
        Self {
            task,
            phase: TaskPhase::Pending,
            attempt: 0,
            tries: Tries::default(),
            violations: 0,
            measured: Vec::new(),
            conflicts: Vec::new(),
            due: None,
            exhausted: None,
            reprieves: 0,
            advice: None,
            objections: Vec::new(),
            rounds: 0,
            left_out: false,
            landing: None,
            commit: None,
            summary: String::new(),
            failure: None,
            tokens: Tokens::default(),
        }
    }

    /// Back to the queue of ready tasks, after the attempt that was under way.
    pub(super) fn rest(&mut self, due: Option<Timestamp>) {
        self.phase = TaskPhase::Pending;
        self.conflicts.clear();
        self.due = due;
    }

    /// Its job has ended before it did.
    pub(super) fn cut_short(&mut self) {
        self.rest(None);
        self.phase = TaskPhase::Skipped;
    }

    /// Takes in one more fact about this task.
    pub(super) fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::ClaimBlocked { conflicts, .. } => {
                self.phase = TaskPhase::Blocked;
                self.conflicts.clone_from(conflicts);
            }
            Fact::ClaimUnblocked { .. } | Fact::ClaimApproved { .. } => self.conflicts.clear(),
            Fact::TaskStarted { attempt } => {
                self.attempt = *attempt;
                self.phase = if self.task.role.writes() {
                    TaskPhase::Executing
                } else {
                    TaskPhase::Reviewing
                };
            }
            Fact::TaskLanding { attempt, commit, parent } => {
                self.phase = TaskPhase::Landing;
                let (commit, parent) = (commit.clone(), parent.clone());
                self.landing = Some(Landing { attempt: *attempt, commit, parent });
            }
            Fact::TaskCompleted { commit, summary, .. } => {
                self.rest(None);
                self.phase = TaskPhase::Succeeded;
                self.landing = None;
                self.commit.clone_from(commit);
                self.summary.clone_from(summary);
            }
            Fact::ClaimMeasured { attempt, quality } => {
                self.measured.push((*attempt, quality.clone()));
            }
            Fact::ClaimViolated { .. } => self.violations += 1,
            Fact::TaskFailed { failure, .. } => {
                self.rest(None);
                self.phase = TaskPhase::Failed;
                self.exhausted = None;
                self.objections.clear();
                self.failure = Some(failure.clone());
            }
            Fact::TaskRetried { failure, due, .. } => {
                self.tries.count(failure.kind);
                self.failure = Some(failure.clone());
                self.landing = None;
                // Where the whole job rests, its own time counts.
                let is_own = !matches!(failure.kind, FailureKind::Limit | FailureKind::Auth);
                self.rest(is_own.then_some(*due));
            }
            Fact::TaskSkipped { because } => {
                self.phase = TaskPhase::Skipped;
                self.summary = format!("{because} did not end well");
            }
            Fact::TaskReopened {} => self.reopen(),
            judged => self.apply_judgement(judged),
        }
    }

    /// Tried again now: one that has ended as if it had not been tried before, but for its attempts' numbers.
    pub(super) fn reopen(&mut self) {
        if self.phase.is_final() {
            (self.tries, self.violations, self.landing) = (Tries::default(), 0, None);
        }
        self.rest(None);
    }

    /// Takes in what was decided about it, or wanted of it.
    fn apply_judgement(&mut self, fact: &Fact) {
        match fact {
            Fact::TaskExhausted { failure, .. } => {
                self.tries.count(failure.kind);
                self.rest(None);
                self.exhausted = Some(failure.clone());
            }
            Fact::Advised { decision, advice } => self.take_advice(*decision, advice),
            Fact::ReviewApproved { comments } => {
                self.rest(None);
                self.phase = TaskPhase::Succeeded;
                self.summary =
                    comments.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            }
            Fact::ReviewRejected { round, comments } => {
                self.rest(None);
                self.rounds = *round;
                self.objections.clone_from(comments);
            }
            Fact::TasksAdded { tasks, .. } => self.wait_for(tasks),
            _ => {}
        }
    }

    /// What the queen decided about a task that was out of attempts.
    fn take_advice(&mut self, decision: Decision, advice: &str) {
        let failure = self.exhausted.take();
        self.advice = Some(advice.to_owned());
        match decision {
            Decision::Retry => {
                self.reprieves += 1;
                (self.tries, self.violations) = (Tries::default(), 0);
                self.failure = failure;
            }
            Decision::Skip => {
                self.leave_out();
                advice.clone_into(&mut self.summary);
            }
            Decision::GiveUp | Decision::Replan | Decision::Accept | Decision::Reject => {
                self.phase = TaskPhase::Failed;
                self.failure = failure.or_else(|| self.failure.take());
            }
        }
    }

    /// The job goes on without it.
    pub(super) fn leave_out(&mut self) {
        self.left_out = true;
        if !self.phase.is_final() {
            self.cut_short();
        }
        self.exhausted = None;
        self.objections.clear();
    }

    /// A reviewer looks again when what it wanted is done.
    fn wait_for(&mut self, added: &[Task]) {
        self.objections.clear();
        self.task.dependencies.extend(added.iter().map(|t| t.id.clone()));
    }

    /// Whether those that depend on it may start.
    pub fn is_out_of_the_way(&self) -> bool {
        self.phase == TaskPhase::Succeeded || self.left_out
    }

    /// What the next lane of this task does.
    pub fn turn(&self) -> Turn {
        if self.exhausted.is_some() {
            Turn::Advise
        } else if !self.objections.is_empty() {
            Turn::Mend
        } else if self.task.role.writes() {
            Turn::Write
        } else {
            Turn::Read
        }
    }

    /// Whether code has something to ask or to add on its account, before or instead of another attempt.
    pub fn is_in_question(&self) -> bool {
        self.exhausted.is_some() || !self.objections.is_empty()
    }
}
