//! What is kept of an ended job, to be told to later ones: a line of `memory.ndjson`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::claim::ClaimQuality;
use super::id::JobId;
use super::status::JobPhase;

/// What is remembered of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The protocol version that wrote it.
    pub version: u32,
    /// The job.
    pub job_id: JobId,
    /// The bank: one for each workspace.
    pub bank: String,
    /// When the job ended.
    pub at: Timestamp,
    /// What was asked for.
    pub objective: String,
    /// What was planned, in a few lines.
    pub plan: String,
    /// The paths that its tasks claimed for writing.
    pub claims: Vec<String>,
    /// How it ended.
    pub outcome: JobPhase,
    /// Of what was claimed for writing, the share that was written; the mean over its measured claims, from 0 to 1.
    pub claim_precision: Option<f64>,
    /// Of what was written, the share that had been claimed; likewise.
    #[serde(default)]
    pub claim_recall: Option<f64>,
    /// Paths that were written without having been claimed, the most frequent first, bounded.
    #[serde(default)]
    pub missed: Vec<String>,
    /// Paths that its commits changed, relative to the repository's top, bounded; none of a job in place.
    #[serde(default)]
    pub wrote: Vec<String>,
}

impl Entry {
    /// How good the job's claims were.
    pub fn quality(&self) -> ClaimQuality {
        ClaimQuality {
            precision: self.claim_precision,
            recall: self.claim_recall,
            missed: self.missed.clone(),
            unused: Vec::new(),
        }
    }
}
