//! How people take what a job has made.

use crate::model::id::JobId;

/// The command that takes it: from the job's own repository a clone, into a checkout of theirs `numerus apply`.
pub fn command(job: &JobId, branch: &str, top: &str, is_own: bool) -> String {
    if is_own { format!("git clone -b {branch} {top}") } else { format!("numerus apply {job}") }
}
