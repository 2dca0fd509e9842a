//! What can happen to a job: every fact that a journal may hold, with its payload. The names on disk are the serde tags;
//! they and the payloads are described in `docs/protocol.md`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::advice::{Because, Comment, Decision};
use super::claim::{Claim, ClaimQuality, Conflict};
use super::command::CommandResult;
use super::id::{JobId, TaskId};
use super::job::Origin;
use super::outcome::Failure;
use super::plan::Task;
use super::session::{SessionEnd, SessionExit, SessionKill, SessionStart, SessionTimeout};
use super::status::{JobPhase, PauseReason};
use super::workspace::{Divergence, Oid, Workspace};

/// A fact, with its payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "payload")]
pub enum Fact {
    /// Someone dropped it.
    #[serde(rename = "job.submitted")]
    Submitted {
        /// Where it came from.
        origin: Origin,
    },
    /// It was taken: from here on it reaches exactly one end.
    #[serde(rename = "job.claimed")]
    Claimed {
        /// The job file's name in `claimed/`.
        file: String,
    },
    /// A worker holds the job's lock.
    #[serde(rename = "job.worker_started")]
    WorkerStarted {
        /// Its process.
        pid: u32,
        /// When that process started, in clock ticks after boot.
        start_time: u64,
        /// The kernel's boot.
        boot_id: String,
    },
    /// The workspace was looked at, once.
    #[serde(rename = "job.workspace_fixed")]
    WorkspaceFixed {
        /// What was found.
        workspace: Workspace,
    },
    /// A plan was made; its roles follow.
    #[serde(rename = "job.plan_created")]
    PlanCreated {
        /// Its number.
        plan: u32,
        /// The objective in the planner's words.
        objective: String,
        /// Its tasks.
        tasks: Vec<Task>,
    },
    /// Every task of the plan has its role.
    #[serde(rename = "job.roles_assigned")]
    RolesAssigned {
        /// The plan's number.
        plan: u32,
        /// The tasks, now with role and notes.
        tasks: Vec<Task>,
        /// How the work is shared out.
        strategy: String,
    },
    /// A person said go.
    #[serde(rename = "job.plan_approved")]
    PlanApproved {},
    /// A task said what it will touch.
    #[serde(rename = "job.claim_recorded")]
    ClaimRecorded {
        /// The attempt.
        attempt: u32,
        /// The claim, normalised.
        claim: Claim,
        /// Codex's thread that made it.
        thread_id: String,
    },
    /// NO GO: it waits.
    #[serde(rename = "job.claim_blocked")]
    ClaimBlocked {
        /// The attempt.
        attempt: u32,
        /// Who stands in the way.
        conflicts: Vec<Conflict>,
    },
    /// What stood in the way is gone.
    #[serde(rename = "job.claim_unblocked")]
    ClaimUnblocked {
        /// The attempt.
        attempt: u32,
    },
    /// GO: the claim is a lease.
    #[serde(rename = "job.claim_approved")]
    ClaimApproved {
        /// The attempt.
        attempt: u32,
    },
    /// The agent wrote beside its claim and nobody was in the way: the claim covers these paths, too.
    #[serde(rename = "job.claim_amended")]
    ClaimAmended {
        /// The attempt.
        attempt: u32,
        /// The paths that were added, for writing.
        paths: Vec<String>,
    },
    /// How good the claim was, now that it is known what was written.
    #[serde(rename = "job.claim_measured")]
    ClaimMeasured {
        /// The attempt.
        attempt: u32,
        /// The claim as it was made, against what was written.
        quality: ClaimQuality,
    },
    /// A commit that takes in another job's work exists and is about to become the tip.
    #[serde(rename = "job.base_advancing")]
    BaseAdvancing {
        /// The commit.
        commit: Oid,
        /// What the tip was before.
        parent: Oid,
        /// The job whose work is taken in.
        from: JobId,
    },
    /// The tip holds what another job of the repository has landed.
    #[serde(rename = "job.base_advanced")]
    BaseAdvanced {
        /// The commit.
        commit: Oid,
        /// The job whose work was taken in.
        from: JobId,
    },
    /// Another job's work could not be taken in, since the two conflict; the task goes on without it.
    #[serde(rename = "job.base_diverged")]
    BaseDiverged(Divergence),
    /// The lease is gone.
    #[serde(rename = "job.locks_released")]
    LocksReleased {
        /// The attempt.
        attempt: u32,
    },
    /// The agent may write now.
    #[serde(rename = "job.task_started")]
    TaskStarted {
        /// The attempt.
        attempt: u32,
    },
    /// The commit exists and is about to become the tip.
    #[serde(rename = "job.task_landing")]
    TaskLanding {
        /// The attempt.
        attempt: u32,
        /// The commit.
        commit: Oid,
        /// What the tip was before.
        parent: Oid,
    },
    /// The task is done, for good.
    #[serde(rename = "job.task_completed")]
    TaskCompleted {
        /// The attempt.
        attempt: u32,
        /// Its commit; `None` when it wrote nothing.
        commit: Option<Oid>,
        /// The agent's last words, cut to a few lines.
        summary: String,
    },
    /// The agent wrote what it had not claimed: nothing landed.
    #[serde(rename = "job.claim_violated")]
    ClaimViolated {
        /// The attempt.
        attempt: u32,
        /// The paths outside the claim.
        paths: Vec<String>,
    },
    /// What the task read or wrote had changed under it: nothing landed, it claims again.
    #[serde(rename = "job.base_moved")]
    BaseMoved {
        /// The attempt.
        attempt: u32,
        /// The paths.
        paths: Vec<String>,
    },
    /// The task gave up.
    #[serde(rename = "job.task_failed")]
    TaskFailed {
        /// The attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// The task will be tried again.
    #[serde(rename = "job.task_retried")]
    TaskRetried {
        /// The attempt that ended.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// Not before this moment.
        due: Timestamp,
    },
    /// The task is out of attempts: the queen is asked what to do.
    #[serde(rename = "job.task_exhausted")]
    TaskExhausted {
        /// The last attempt.
        attempt: u32,
        /// Why it failed.
        failure: Failure,
    },
    /// A person wants it tried again now: its failure, or its wait, is over.
    #[serde(rename = "job.task_reopened")]
    TaskReopened {},
    /// The queen has answered, and code has checked that she may say so.
    #[serde(rename = "job.advised")]
    Advised {
        /// What is done.
        decision: Decision,
        /// Her words.
        advice: String,
    },
    /// A new plan for what is left; what landed stays, open tasks of the old plan are dropped.
    #[serde(rename = "job.replanned")]
    Replanned {
        /// Its number.
        plan: u32,
        /// The objective in the planner's words.
        objective: String,
        /// Its tasks; the roles follow.
        tasks: Vec<Task>,
    },
    /// Tasks were added to the plan, since what had landed was not good enough.
    #[serde(rename = "job.tasks_added")]
    TasksAdded {
        /// Whose word made them necessary.
        because: Because,
        /// How often that has happened, from 1.
        round: u32,
        /// The tasks.
        tasks: Vec<Task>,
    },
    /// A reviewer, or for the whole job the queen, has nothing to object to.
    #[serde(rename = "job.review_approved")]
    ReviewApproved {
        /// Remarks.
        comments: Vec<Comment>,
    },
    /// A reviewer, or for the whole job the queen, wants changes.
    #[serde(rename = "job.review_rejected")]
    ReviewRejected {
        /// How often, from 1.
        round: u32,
        /// What is to be changed.
        comments: Vec<Comment>,
    },
    /// The task will not run, since one it depends on did not end well.
    #[serde(rename = "job.task_skipped")]
    TaskSkipped {
        /// That task.
        because: TaskId,
    },
    /// The plan or the roles will be asked for again.
    #[serde(rename = "job.planning_retried")]
    PlanningRetried {
        /// Why.
        failure: Failure,
        /// Not before this moment.
        due: Timestamp,
    },
    /// The job rests; no process works on it.
    #[serde(rename = "job.paused")]
    Paused {
        /// Why.
        reason: PauseReason,
        /// Until when, if that is known.
        until: Option<Timestamp>,
        /// In words.
        message: String,
    },
    /// It goes on.
    #[serde(rename = "job.resumed")]
    Resumed {},
    /// The verify commands were run on the tip.
    #[serde(rename = "job.verified")]
    Verified {
        /// Whether all passed.
        passed: bool,
        /// Each command.
        commands: Vec<CommandResult>,
    },
    /// The branch exists.
    #[serde(rename = "job.landed")]
    Landed {
        /// Its name.
        branch: String,
        /// Its commit.
        commit: Oid,
    },
    /// The end. Nothing follows.
    #[serde(rename = "job.finished")]
    Finished {
        /// `succeeded`, `failed` or `killed`.
        state: JobPhase,
        /// A word for programs, such as `task_failed`, `dependency`, `killed`.
        reason: String,
        /// A sentence for people.
        message: String,
    },
    /// About to spawn codex.
    #[serde(rename = "terminal.session_starting")]
    SessionStarting(SessionStart),
    /// Spawned in its PTY.
    #[serde(rename = "terminal.session_opened")]
    SessionOpened {
        /// The folder.
        place: String,
        /// The number.
        number: u32,
        /// Codex's process.
        pid: u32,
    },
    /// Codex has confirmed its start.
    #[serde(rename = "terminal.started")]
    SessionConfirmed {
        /// The folder.
        place: String,
        /// The number.
        number: u32,
        /// Codex's thread.
        thread_id: String,
    },
    /// Codex has ended.
    #[serde(rename = "terminal.exit")]
    SessionExited(SessionExit),
    /// One of our deadlines passed.
    #[serde(rename = "terminal.timeout")]
    SessionTimedOut(SessionTimeout),
    /// We ended it.
    #[serde(rename = "terminal.killed")]
    SessionKilled(SessionKill),
    /// It did not start or was cut; it will be tried again.
    #[serde(rename = "terminal.session_retried")]
    SessionRetried {
        /// The folder.
        place: String,
        /// Why.
        failure: Failure,
        /// Not before this moment.
        due: Timestamp,
    },
    /// Ended and fenced: nothing of it lives.
    #[serde(rename = "terminal.session_ended")]
    SessionEnded(SessionEnd),
    /// The workspace's memory bank was made.
    #[serde(rename = "memory.bank_created")]
    BankCreated {
        /// Its name.
        bank: String,
    },
    /// What the job did was remembered.
    #[serde(rename = "memory.entry_added")]
    EntryAdded {
        /// In which bank.
        bank: String,
    },
}
