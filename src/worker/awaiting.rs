//! A worker that was started before its job was known: it waits to be told which, on its standard input.

use std::io::{BufRead, Read, Result};

use crate::model::id::{JobId, MAX_ID_BYTES};
use crate::model::root::Root;
use crate::os::fsx;
use crate::runs::Runs;

/// Waits for the name of a job, and says from then on what there is to say in that job's log. `None` when there is none: whoever
/// started this process needs no worker now, or is gone.
///
/// # Errors
/// Those of the system, with the path.
pub fn job_of_input(root: &Root) -> Result<Option<JobId>> {
    let mut line = String::new();
    let bound = u64::try_from(MAX_ID_BYTES + 1).unwrap_or(u64::MAX);
    std::io::stdin().lock().take(bound).read_line(&mut line)?;
    // A name that was cut off is nobody's.
    let Some(job) = line.strip_suffix('\n').and_then(|name| JobId::parse(name).ok()) else {
        return Ok(None);
    };
    let log = fsx::open_append(&Runs::of(root).folder(&job).worker_log())?;
    rustix::stdio::dup2_stderr(log)?;
    Ok(Some(job))
}
