//! `status.json`: what a job's journal adds up to, for people and programs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{JobId, TaskId};
use super::outcome::Tokens;
use super::plan::Role;
use super::tally::Counts;

/// A job's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobPhase {
    /// Accepted, no worker yet.
    Queued,
    /// A worker asks for plan and roles.
    Planning,
    /// Tasks are under way.
    Running,
    /// At rest, with a reason; no process.
    Paused,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended by someone.
    Killed,
}

/// How a state feels to people, wherever it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It waits for something.
    Wait,
    /// It is under way.
    Live,
    /// It is of no matter any more, or not yet.
    Off,
}

impl JobPhase {
    /// How it feels.
    pub fn tone(self) -> Tone {
        match self {
            Self::Succeeded => Tone::Good,
            Self::Failed | Self::Killed => Tone::Bad,
            Self::Queued | Self::Paused => Tone::Wait,
            Self::Planning | Self::Running => Tone::Live,
        }
    }

    /// The ends of a job; each has a folder of its own in the spool.
    pub const FINALS: [Self; 3] = [Self::Succeeded, Self::Failed, Self::Killed];

    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Killed => true,
            Self::Queued | Self::Planning | Self::Running | Self::Paused => false,
        }
    }

    /// The word used on disk and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }
}

/// Why a job rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// Someone asked.
    User,
    /// The account is over its limit.
    Limit,
    /// Codex cannot log in.
    Auth,
    /// The plan waits for a person.
    Approval,
    /// Another job has to end first.
    Dependency,
    /// Its time has not come.
    NotBefore,
}

impl PauseReason {
    const ALL: [Self; 6] =
        [Self::User, Self::Limit, Self::Auth, Self::Approval, Self::Dependency, Self::NotBefore];

    /// The reason that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Whether a person has to do something before it ends: at the job, or at codex's login.
    pub fn needs_person(self) -> bool {
        match self {
            Self::User | Self::Auth | Self::Approval => true,
            Self::Limit | Self::Dependency | Self::NotBefore => false,
        }
    }

    /// The word used on disk and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Limit => "limit",
            Self::Auth => "auth",
            Self::Approval => "approval",
            Self::Dependency => "dependency",
            Self::NotBefore => "not_before",
        }
    }
}

/// A task's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskPhase {
    /// Waits for others, for a lane or for its next attempt.
    Pending,
    /// Says what it will touch.
    Claiming,
    /// NO GO: waits for a lease.
    Blocked,
    /// The agent works.
    Executing,
    /// What it did is audited and put on the branch.
    Landing,
    /// A reviewer reads.
    Reviewing,
    /// Done.
    Succeeded,
    /// Out of attempts.
    Failed,
    /// Never ran.
    Skipped,
}

impl TaskPhase {
    /// How it feels.
    pub fn tone(self) -> Tone {
        match self {
            Self::Succeeded => Tone::Good,
            Self::Failed => Tone::Bad,
            Self::Blocked => Tone::Wait,
            Self::Pending | Self::Skipped => Tone::Off,
            Self::Claiming | Self::Executing | Self::Landing | Self::Reviewing => Tone::Live,
        }
    }

    /// Whether somebody works on it.
    pub fn is_active(self) -> bool {
        self.tone() == Tone::Live
    }

    /// Whether nothing follows.
    pub fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Skipped => true,
            Self::Pending
            | Self::Claiming
            | Self::Blocked
            | Self::Executing
            | Self::Landing
            | Self::Reviewing => false,
        }
    }

    /// The word used on disk and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Claiming => "claiming",
            Self::Blocked => "blocked",
            Self::Executing => "executing",
            Self::Landing => "landing",
            Self::Reviewing => "reviewing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One task in a [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    /// The task.
    pub id: TaskId,
    /// One line for people.
    pub summary: String,
    /// Who does it.
    pub role: Role,
    /// Where it stands.
    pub state: TaskPhase,
    /// The current or last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Who or what it waits for, in words: `job/task` of lease holders, ids of tasks.
    pub waits_for: Vec<String>,
    /// When it will be tried again.
    pub until: Option<Timestamp>,
    /// Why it failed, if it did.
    pub message: String,
    /// What it has spent.
    pub tokens: Tokens,
}

/// `status.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The protocol version that wrote it.
    pub version: u32,
    /// The job.
    pub job_id: JobId,
    /// Where it stands.
    pub state: JobPhase,
    /// A word for programs: why it rests or how it ended.
    pub reason: Option<String>,
    /// The same for people.
    pub message: String,
    /// Until when it rests.
    pub until: Option<Timestamp>,
    /// The worker's process, as last known.
    pub pid: Option<u32>,
    /// The directory it works on.
    pub workspace: Option<String>,
    /// The branch that holds the result.
    pub branch: Option<String>,
    /// The jobs whose work its branch holds, since it took that in.
    #[serde(default)]
    pub takes_in: Vec<JobId>,
    /// The first line of the objective.
    pub objective: String,
    /// When it was taken.
    pub created_at: Timestamp,
    /// When its last event was written.
    pub updated_at: Timestamp,
    /// What it has spent.
    pub tokens: Tokens,
    /// The same, by the role that spent it.
    #[serde(default)]
    pub spent: BTreeMap<Role, Tokens>,
    /// How often things happened.
    #[serde(default)]
    pub counts: Counts,
    /// Its tasks, in the plan's order.
    pub tasks: Vec<TaskStatus>,
}

impl Status {
    /// Why it rests, if it does and the reason is one that we know.
    pub fn rests_for(&self) -> Option<PauseReason> {
        let reason = self.reason.as_deref().filter(|_| self.state == JobPhase::Paused);
        reason.and_then(PauseReason::parse)
    }
}
