//! What the journal says of a codex session: what it is for, how it starts, how it ended.

use serde::{Deserialize, Serialize};

use super::outcome::{Failure, Tokens};

/// What a session was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// The plan.
    Plan,
    /// The roles.
    Roles,
    /// A task's claim.
    Claim,
    /// A task's execution, on its claim's thread.
    Execute,
    /// A read-only task.
    Review,
    /// The queen's advice.
    Queen,
}

impl SessionKind {
    /// The word used on disk and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Roles => "roles",
            Self::Claim => "claim",
            Self::Execute => "execute",
            Self::Review => "review",
            Self::Queen => "queen",
        }
    }
}

/// A session on the point of being spawned; written and flushed before it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStart {
    /// The folder in the run folder that holds its files: a task's id, `plan`, `roles`, `queen`.
    pub place: String,
    /// Its number in that folder, from 1.
    pub number: u32,
    /// What it is for.
    pub kind: SessionKind,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// The kernel's boot, so that a reboot proves it dead.
    pub boot_id: String,
    /// Its control group, relative to the cgroup mount; `None` where none could be made.
    pub cgroup: Option<String>,
    /// The thread it continues.
    pub resumes: Option<String>,
    /// All that it may write in its tree, where a claim is enforced; written as in claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writable: Vec<String>,
    /// What it may not write inside that, unless it is named there itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shut: Vec<String>,
}

/// A session whose codex has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionExit {
    /// The folder.
    pub place: String,
    /// The number.
    pub number: u32,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
}

/// A session that took longer than it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTimeout {
    /// The folder.
    pub place: String,
    /// The number.
    pub number: u32,
    /// `total` or `no_progress`.
    pub deadline: String,
}

/// A session that we ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKill {
    /// The folder.
    pub place: String,
    /// The number.
    pub number: u32,
    /// Processes that outlived even the last kill; always empty unless the machine is at fault.
    pub survivors: Vec<u32>,
}

/// A session that has ended and is fenced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// As in [`SessionStart`].
    pub place: String,
    /// As in [`SessionStart`].
    pub number: u32,
    /// As in [`SessionStart`].
    pub kind: SessionKind,
    /// As in [`SessionStart`].
    pub attempt: u32,
    /// `None` when it ended well.
    pub failure: Option<Failure>,
    /// Codex's thread, when it got that far.
    pub thread_id: Option<String>,
    /// What this session spent.
    pub tokens: Tokens,
    /// The thread's own running total at its end.
    pub thread_tokens: Tokens,
}
