//! The fence: proves that nothing of an ended or abandoned session lives, before anything else may happen in its place.
//!
//! In order, all that exist: another boot means nothing lives; the control group is ended; every process that carries the
//! job's and the place's mark in its environment is ended; the session's lock must be free.

use std::io::Result;
use std::path::Path;

use crate::model::event::SessionStart;
use crate::model::id::JobId;
use crate::os::cgroup::Cgroup;
use crate::os::{lock, process};

/// The variable that carries the job's id.
pub const JOB_MARK: &str = "NUMERUS_JOB";
/// The variable that carries the place: a task's id, `plan`, `roles`.
pub const PLACE_MARK: &str = "NUMERUS_TASK";

/// Ends all that is left of one session; gives back what would not die.
pub fn end_family(job: &JobId, place: &str, group: Option<&Cgroup>) -> Vec<u32> {
    let mut survivors = group.map(Cgroup::kill).unwrap_or_default();
    survivors.extend(process::sweep(&[(JOB_MARK, job.as_str()), (PLACE_MARK, place)]));
    if let Some(group) = group.filter(|_| survivors.is_empty()) {
        group.remove();
    }
    survivors
}

/// Fences a session of a worker that died; gives back what would not die.
///
/// # Errors
/// When the lock cannot be looked at.
pub fn fence(job: &JobId, start: &SessionStart, session_lock: &Path) -> Result<Vec<u32>> {
    if start.boot_id != process::boot_id() {
        return Ok(Vec::new());
    }
    let group = start.cgroup.as_deref().and_then(Cgroup::recorded);
    let survivors = end_family(job, &start.place, group.as_ref());
    if survivors.is_empty() && lock::is_held(session_lock)? {
        // Somebody without the mark inherited the lock; it cannot be named, so it is shown as process 0.
        return Ok(vec![0]);
    }
    Ok(survivors)
}

/// Fences a whole job, whatever its journal says: every process with its mark.
pub fn fence_job(job: &JobId) -> Vec<u32> {
    process::sweep(&[(JOB_MARK, job.as_str())])
}
