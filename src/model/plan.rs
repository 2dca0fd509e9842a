//! A job's plan: its tasks, what depends on what, and who does it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::claim::Resources;
use super::id::TaskId;

/// Most tasks that a plan may have.
pub const MAX_TASKS: usize = 64;

/// What an agent is to a task.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and thinks; its findings go to the tasks that depend on it.
    Planner,
    /// Claims, then writes in its own tree.
    Executor,
    /// Judges what the tasks before it landed.
    Reviewer,
    /// Is asked by code at decision points.
    Queen,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Planner, Self::Executor, Self::Reviewer, Self::Queen];

    /// Whether the role claims and writes; the others read a snapshot.
    pub fn writes(self) -> bool {
        match self {
            Self::Executor => true,
            Self::Planner | Self::Reviewer | Self::Queen => false,
        }
    }

    /// The word used on disk and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planner => "planner",
            Self::Executor => "executor",
            Self::Reviewer => "reviewer",
            Self::Queen => "queen",
        }
    }
}

/// One unit of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// One line for people.
    pub summary: String,
    /// What the agent is told.
    pub description: String,
    /// The tasks that must have ended well before.
    pub dependencies: Vec<TaskId>,
    /// What the planner expects it to touch; a hint for the claim, never a claim.
    pub resources: Resources,
    /// Who does it.
    pub role: Role,
    /// The role session's words on it.
    pub notes: String,
}

/// `plan-N.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The protocol version that wrote it.
    pub version: u32,
    /// Which plan of the job it is, from 1.
    pub number: u32,
    /// The objective in the planner's words.
    pub objective: String,
    /// The role session's words on the whole.
    pub strategy: String,
    /// The tasks, in the planner's order.
    pub tasks: Vec<Task>,
}

/// A codex session's answer to `NUMERUS_PLAN`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanAnswer {
    /// The objective, restated.
    pub objective: String,
    /// The tasks.
    pub tasks: Vec<TaskAnswer>,
}

/// One task of a [`PlanAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskAnswer {
    /// A short name.
    pub id: String,
    /// One line.
    pub summary: String,
    /// What to do.
    pub description: String,
    /// Names of tasks that come first.
    pub dependencies: Vec<String>,
    /// What it will likely read and write.
    pub resources: Resources,
}

/// A codex session's answer to `NUMERUS_ROLES`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolesAnswer {
    /// A role for each task.
    pub roles: Vec<RoleAnswer>,
    /// One paragraph on how the work is shared out.
    pub strategy: String,
}

/// One role of a [`RolesAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleAnswer {
    /// The task's name.
    pub id: String,
    /// Its role.
    pub role: Role,
    /// A word to the agent.
    pub notes: String,
}
