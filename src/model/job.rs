//! A job: one objective with all its options, immutable once accepted.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::duration;
use super::fields::quoted;
use super::id::JobId;
use super::plan::Role;
use super::workspace::Isolation;

/// Largest objective file, in bytes, unless the settings say otherwise.
pub const MAX_OBJECTIVE_BYTES: u64 = 512 * 1024;

/// Whether a job is planned or done as one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Planning {
    /// A planner decides the tasks.
    Auto,
    /// The objective is the one task: no plan session, no roles session.
    Single,
}

/// What happens to a job whose worker died under an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnInterrupt {
    /// The task starts again in a new tree.
    Retry,
    /// The job is paused until a person resumes it.
    Hold,
}

/// How much of the sandbox a job's executors need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sandbox {
    /// Nothing may be written.
    ReadOnly,
    /// The task's own tree may be written.
    WorkspaceWrite,
    /// No sandbox at all; only where the operator's settings allow it.
    DangerFullAccess,
}

impl Sandbox {
    /// The word that codex knows it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::WorkspaceWrite => "workspace-write",
            Self::DangerFullAccess => "danger-full-access",
        }
    }
}

/// How a claim is kept while its agent works; the audit afterwards is the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Enforce {
    /// The agent may write its whole tree, and hears afterwards what does not land.
    #[default]
    Audit,
    /// What was not claimed is refused while it is written, as far as the sandbox can.
    Strict,
}

/// What a job waits for in another job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct After {
    /// The other job; as submitted any unique prefix, as accepted the whole id.
    pub job: String,
    /// Whether any end will do, not only a good one.
    pub any: bool,
}

impl TryFrom<String> for After {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (job, any) = match text.split_once(':') {
            None => (text.as_str(), false),
            Some((job, "any")) => (job, true),
            Some(_) => {
                return Err(format!("{} is not a job: write \"ID\" or \"ID:any\"", quoted(&text)));
            }
        };
        let fits = !job.is_empty()
            && job.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits {
            Ok(Self { job: job.to_owned(), any })
        } else {
            Err(format!("{} is not a job id", quoted(&text)))
        }
    }
}

impl From<After> for String {
    fn from(after: After) -> Self {
        if after.any { format!("{}:any", after.job) } else { after.job }
    }
}

/// The ended job that a job does once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RetryOf {
    /// That job, by its whole id.
    pub job: JobId,
    /// Whether nothing of what it landed is built on.
    pub from_scratch: bool,
}

impl TryFrom<String> for RetryOf {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (job, from_scratch) = match text.split_once(':') {
            None => (text.as_str(), false),
            Some((job, "scratch")) => (job, true),
            Some(_) => {
                let shown = quoted(&text);
                return Err(format!("{shown} is not a job: write \"ID\" or \"ID:scratch\""));
            }
        };
        let job = JobId::parse(job).map_err(|_| format!("{} is not a job id", quoted(&text)))?;
        Ok(Self { job, from_scratch })
    }
}

impl From<RetryOf> for String {
    fn from(retry: RetryOf) -> Self {
        if retry.from_scratch { format!("{}:scratch", retry.job) } else { retry.job.into() }
    }
}

/// Longest time that each kind of session may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Plan sessions.
    #[serde(with = "duration")]
    pub plan: Duration,
    /// Roles sessions.
    #[serde(with = "duration")]
    pub roles: Duration,
    /// Claim sessions.
    #[serde(with = "duration")]
    pub claim: Duration,
    /// Execution sessions.
    #[serde(with = "duration")]
    pub execute: Duration,
    /// Review sessions and other read-only tasks.
    #[serde(with = "duration")]
    pub review: Duration,
    /// Queen sessions.
    #[serde(with = "duration")]
    pub queen: Duration,
    /// One verify or setup command.
    #[serde(with = "duration")]
    pub verify: Duration,
    /// Any session, without a new event.
    #[serde(with = "duration")]
    pub no_progress: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let ten = Duration::from_secs(600);
        Self {
            plan: ten,
            roles: ten,
            claim: ten,
            execute: Duration::from_secs(3600),
            review: ten,
            queen: ten,
            verify: ten,
            no_progress: ten,
        }
    }
}

/// What the agents of one role use; what is not said is as for the whole job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleOptions {
    /// The model.
    pub model: Option<String>,
    /// The codex profile.
    pub profile: Option<String>,
    /// What they may write; roles that do not execute write into a tree that is thrown away.
    pub sandbox: Option<Sandbox>,
}

/// What each role uses.
pub type Roles = BTreeMap<Role, RoleOptions>;

/// What a job may spend; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Tokens over all its sessions.
    pub tokens: Option<u64>,
    /// Wall time from its first start, in seconds.
    pub wall_seconds: Option<u64>,
}

/// What an option is that jobs taken by an earlier program do not have.
fn yes() -> bool {
    true
}

/// The options of a job, all resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Absolute directory to work in; `None` is a fresh repository in the run folder.
    pub workspace: Option<String>,
    /// From -100 to 100; higher starts first.
    pub priority: i64,
    /// Jobs that must have ended before.
    pub after: Vec<After>,
    /// Not started before this moment.
    pub not_before: Option<Timestamp>,
    /// A name under which the objective may be accepted only once.
    pub key: Option<String>,
    /// The model; `None` leaves it to codex.
    pub model: Option<String>,
    /// The codex profile; `None` leaves it to codex.
    pub profile: Option<String>,
    /// Planned, or one task.
    pub plan: Planning,
    /// Lanes.
    pub max_parallel: usize,
    /// Attempts of each task.
    pub max_attempts: u32,
    /// Deadlines of sessions.
    pub timeouts: Timeouts,
    /// Bounds of the whole job.
    pub budget: Budget,
    /// Worktrees or in place.
    pub isolation: Isolation,
    /// Commands run in each fresh tree.
    pub setup: Vec<String>,
    /// Ignored paths copied into each fresh tree.
    pub carry: Vec<String>,
    /// Commands that must pass before the job counts as done.
    pub verify: Vec<String>,
    /// Whether the queen judges the result.
    pub review: bool,
    /// Whether executors may use the network.
    pub network: bool,
    /// What executors may write.
    pub sandbox: Sandbox,
    /// Whether a claim may be widened at landing by paths that nobody else holds.
    #[serde(default = "yes")]
    pub amend: bool,
    /// Whether it is told of earlier jobs, and remembered for later ones.
    #[serde(default = "yes")]
    pub memory: bool,
    /// How claims are kept while agents work.
    #[serde(default)]
    pub enforce: Enforce,
    /// After a crash.
    pub on_interrupt: OnInterrupt,
    /// What the agents of single roles use.
    #[serde(default)]
    pub roles: Roles,
    /// Free words for people and filters.
    pub labels: Vec<String>,
    /// The script of a rehearsal; `Some("")` is the built-in one, `None` is the real codex.
    pub rehearse: Option<String>,
    /// Whether a person must approve the plan first.
    pub approve: bool,
    /// The job that this one does once more.
    #[serde(default)]
    pub retry_of: Option<RetryOf>,
}

impl Options {
    /// The model for a role.
    pub fn model_of(&self, role: Role) -> Option<&String> {
        self.roles.get(&role).and_then(|r| r.model.as_ref()).or(self.model.as_ref())
    }

    /// The codex profile for a role.
    pub fn profile_of(&self, role: Role) -> Option<&String> {
        self.roles.get(&role).and_then(|r| r.profile.as_ref()).or(self.profile.as_ref())
    }

    /// What the agents of a role may write while they do its work; a claim is always made read-only.
    pub fn sandbox_of(&self, role: Role) -> Sandbox {
        let usual = if role.writes() { self.sandbox } else { Sandbox::ReadOnly };
        self.roles.get(&role).and_then(|r| r.sandbox).unwrap_or(usual)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workspace: None,
            priority: 0,
            after: Vec::new(),
            not_before: None,
            key: None,
            model: None,
            profile: None,
            plan: Planning::Auto,
            max_parallel: 4,
            max_attempts: 3,
            timeouts: Timeouts::default(),
            budget: Budget::default(),
            isolation: Isolation::Worktree,
            setup: Vec::new(),
            carry: Vec::new(),
            verify: Vec::new(),
            review: false,
            network: false,
            sandbox: Sandbox::WorkspaceWrite,
            amend: true,
            memory: true,
            enforce: Enforce::Audit,
            on_interrupt: OnInterrupt::Retry,
            roles: Roles::new(),
            labels: Vec::new(),
            rehearse: None,
            approve: false,
            retry_of: None,
        }
    }
}

/// Where an objective came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The file's name in `incoming/`, undecodable bytes replaced.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// The file's owner.
    pub uid: u32,
}

/// `job.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The protocol version that wrote it.
    pub version: u32,
    /// Its id.
    pub id: JobId,
    /// What is to be done.
    pub objective: String,
    /// How.
    pub options: Options,
    /// Where it came from.
    pub origin: Origin,
    /// When it was taken.
    pub created_at: Timestamp,
}
