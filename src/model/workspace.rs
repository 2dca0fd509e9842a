//! The workspace of a job, fixed once when its worker starts.

use serde::{Deserialize, Serialize};

use super::id::JobId;

/// A git object id, in hex.
pub type Oid = String;

/// How a job's agents are kept apart from the user's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Each attempt works in its own worktree; what was claimed is landed on the job's branch.
    Worktree,
    /// Agents write in the directory itself, one at a time.
    InPlace,
}

impl Isolation {
    /// The word used on disk and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worktree => "worktree",
            Self::InPlace => "in-place",
        }
    }
}

/// Where a job works. `HEAD` is read once, for `base`, and never again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Isolation in force.
    pub isolation: Isolation,
    /// The repository's top level, or the directory itself when it is no repository; absolute.
    pub top: String,
    /// The common git directory, absolute; empty when there is no repository.
    pub git_dir: String,
    /// The job's directory below `top`, `/` between parts, empty for the top itself.
    pub prefix: String,
    /// The commit that the job starts from; empty when there is no repository.
    pub base: Oid,
    /// Whether the user's checkout had changes that the job does not see.
    pub dirty: bool,
}

/// Another job's work that could not be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// That job.
    pub from: JobId,
    /// Its tip then.
    pub commit: Oid,
    /// The paths that conflict.
    pub paths: Vec<String>,
}
