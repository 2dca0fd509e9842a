//! The seams of keys: whether a job of that key was submitted before. What two submits of the same moment do not see of each
//! other is told apart when their files are taken.

use serde_json::Value;

use super::{Failure, JobId, Root, Spool, open};
use crate::spool::{Content, Place};

/// Most files of `incoming/` that are looked at.
const MOST_FILES: usize = 1000;

/// Refuses a key that an accepted job has already, or one that `submit` has put into `incoming/` before.
pub(in crate::cli) fn is_first_of_key(root: &Root, key: Option<&str>) -> Result<(), Failure> {
    let Some(key) = key else { return Ok(()) };
    let spool = Spool::of(root);
    // First those that wait: one that is taken between the two looks has its key by then.
    let limit = open(root)?.max_objective_bytes;
    let Some(job) = waiting_with(&spool, key, limit).or_else(|| spool.holder_of_key(key)) else {
        return Ok(());
    };
    Err(Failure::usage(format!("the key {key:?} was used by {job} already: nothing was submitted"))
        .hint(format!("numerus status {job} shows that job; another key makes another job")))
}

/// The job of a key whose file waits to be taken, as far as can be read.
fn waiting_with(spool: &Spool, key: &str, limit: u64) -> Option<JobId> {
    let has_key = |name: &std::ffi::OsString| {
        let path = spool.folder(Place::Incoming).join(name);
        let Ok(Content::Whole { bytes, .. }) = spool.read(&path, limit) else { return false };
        serde_json::from_slice::<Value>(&bytes).is_ok_and(|job| job["key"].as_str() == Some(key))
    };
    let written = spool.incoming().ok()?.filter_map(|name| {
        let job = JobId::parse(name.to_str()?.strip_suffix(".json")?).ok()?;
        Some((name, job))
    });
    written.take(MOST_FILES).find(|(name, _)| has_key(name)).map(|(_, job)| job)
}
