//! How people take what a job has made, and have it made again.

use crate::model::id::JobId;

/// The command that takes it: from the job's own repository a clone, into a checkout of theirs `numerus apply`.
pub fn command(job: &JobId, branch: &str, top: &str, is_own: bool) -> String {
    if is_own { format!("git clone -b {branch} {top}") } else { format!("numerus apply {job}") }
}

/// The command that does a failed job once more. One that never began, since a job that it waited for did not end well, waits
/// for the retry of that one.
pub fn again(job: &JobId, reason: Option<&str>) -> String {
    let after = if reason == Some("dependency") { " --after NEW" } else { "" };
    format!("numerus retry {job}{after}")
}
