//! What a task says it will read and write, the verdict on it, and the lease it becomes.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::{JobId, TaskId};

/// Paths as a model or a plan names them: unchecked texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Paths that will be read, relative to the workspace.
    pub reads: Vec<String>,
    /// Paths that will be written, relative to the workspace; a directory ends in `/`, `* ? ** [..]` make a pattern.
    pub writes: Vec<String>,
}

/// Whether a path is wanted for reading or for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Shared with other readers.
    Read,
    /// Exclusive.
    Write,
}

/// One normalised path of a claim. Built by `logic::claims` only, so that it is known to be inside the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClaimPath {
    /// Relative path, `/` between parts, no `.` or `..`, no trailing slash; empty for the whole workspace.
    pub path: String,
    /// Whether everything below the path is meant.
    pub is_dir: bool,
    /// A pattern below the path: the whole path is leased, and only what matches may be written. Relative to the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
}

impl ClaimPath {
    /// A single file.
    pub fn file(path: impl Into<String>) -> Self {
        Self { path: path.into(), is_dir: false, glob: None }
    }

    /// A directory with everything below it; the empty path is the whole workspace.
    pub fn dir(path: impl Into<String>) -> Self {
        Self { path: path.into(), is_dir: true, glob: None }
    }

    /// What matches a pattern below a directory.
    pub fn matching(path: impl Into<String>, glob: impl Into<String>) -> Self {
        Self { path: path.into(), is_dir: true, glob: Some(glob.into()) }
    }

    /// The path, with its pattern where it has one, without a slash at the end; empty for the whole workspace.
    pub fn text(&self) -> String {
        match &self.glob {
            Some(glob) if self.path.is_empty() => glob.clone(),
            Some(glob) => format!("{}/{glob}", self.path),
            None => self.path.clone(),
        }
    }
}

/// As people and agents write it: a directory ends in `/`, the whole workspace is `./`.
impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_dir && self.glob.is_none() { "/" } else { "" };
        let start = if self.is_dir && self.text().is_empty() { "." } else { "" };
        write!(f, "{start}{}{end}", self.text())
    }
}

/// A claim after normalisation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What will be read.
    pub reads: Vec<ClaimPath>,
    /// What will be written.
    pub writes: Vec<ClaimPath>,
}

/// Who holds a lease or waits for one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The job.
    pub job: JobId,
    /// The task of that job.
    pub task: TaskId,
}

/// One reason for a NO GO: a path of the claim and who stands in its way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conflict {
    /// The path of the claim that cannot be had.
    pub path: String,
    /// How the claim wants it.
    pub mode: Mode,
    /// Who holds it, or waited for it first.
    pub held_by: Holder,
}

/// The arbiter's word on a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The claim is granted and has become a lease.
    #[serde(rename = "GO")]
    Go,
    /// The claim has to wait.
    #[serde(rename = "NO GO")]
    NoGo,
}

/// A verdict as kept in `<task>_claim.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// When it was given (wall clock, for people).
    pub at: Timestamp,
    /// What was decided.
    pub verdict: Verdict,
    /// Why, when it is a NO GO.
    pub conflicts: Vec<Conflict>,
}

/// `<task>_claim.json`: the claim of a task's current attempt with all verdicts on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRecord {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that claims.
    pub attempt: u32,
    /// What was claimed, as normalised.
    pub resources: Claim,
    /// The commands that the agent means to run: recorded and shown, never run by us.
    pub execution: Execution,
    /// Every verdict, oldest first.
    pub verdicts: Vec<VerdictRecord>,
    /// What was written beside the claim and added to it at the landing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amended: Vec<ClaimPath>,
}

/// The commands that a claim announces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Execution {
    /// Shell commands, for people to read.
    pub commands: Vec<String>,
}

/// A codex session's answer to `NUMERUS_CLAIM`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimAnswer {
    /// The task that the claim is for.
    pub task_id: String,
    /// What it will read and write.
    pub resources: Resources,
    /// What it means to run.
    pub execution: Execution,
}

/// Where a claim stands in the lease folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseState {
    /// It waits for its verdict.
    Waiting,
    /// It is a lease.
    Held,
}

/// A file of the lease folder: `<job>.<task>.<attempt>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseFile {
    /// The protocol version that wrote it.
    pub version: u32,
    /// Whose claim it is.
    pub holder: Holder,
    /// The attempt of that task.
    pub attempt: u32,
    /// Order of arrival in this folder; smaller is older.
    pub ticket: u64,
    /// Waiting or held.
    pub state: LeaseState,
    /// The claim, its paths relative to the repository's top.
    pub claim: Claim,
    /// The root that the job lies in, so that anyone can find who holds it.
    pub root: String,
}

/// How well a claim named what was written, in shares from 0 to 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClaimQuality {
    /// Of the paths claimed for writing, those under which something was written; `None` where none was claimed.
    pub precision: Option<f64>,
    /// Of the paths written, those that had been claimed; `None` where nothing was written.
    pub recall: Option<f64>,
    /// Written without having been claimed, bounded.
    pub missed: Vec<String>,
    /// Claimed and not written, bounded.
    pub unused: Vec<String>,
}
