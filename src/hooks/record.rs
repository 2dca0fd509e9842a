//! What is kept of hooks in a job's run folder, `hooks/`: how far they were called, what they printed, which failed.
//!
//! Promise: bounded, whatever hooks do: so many bytes of output each, so many logs and so many failures a job.

use std::io::{Result, Write as _};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::os::fsx;
use crate::runs::RunFolder;

/// Most bytes that are kept of what one call prints.
pub(super) const MAX_OUTPUT: usize = 64 * 1024;
/// Most logs of a job.
const MAX_LOGS: usize = 500;
/// Largest file of a number, in bytes.
const MAX_DONE: u64 = 64;
/// Size of the list of failures from which on it takes no more.
const MAX_FAILURES: u64 = 256 * 1024;

/// A call that went wrong, or was not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// The hook.
    pub hook: String,
    /// The event.
    pub event: String,
    /// Its number in the journal.
    pub seq: u64,
    /// What went wrong.
    pub why: String,
    /// The log in the same folder, if the hook printed anything.
    #[serde(default)]
    pub log: Option<String>,
}

fn folder(run: &RunFolder) -> PathBuf {
    run.dir().join("hooks")
}

fn failed(run: &RunFolder) -> PathBuf {
    folder(run).join("failed.ndjson")
}

/// The number of the last fact that hooks were called for; 0 of none.
pub(super) fn done(run: &RunFolder) -> u64 {
    let bytes = fsx::read_bounded(&folder(run).join("done"), MAX_DONE).ok().flatten();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Takes down how far hooks were called. Not flushed: after a power cut they are called once more. The journal is, before it: a number
/// that was ahead of what survives would hide the facts which get it then.
///
/// # Errors
/// Those of the system.
pub(super) fn set_done(run: &RunFolder, seq: u64) -> Result<()> {
    fsx::make_dir(&folder(run))?;
    let journal = run.journal();
    fsx::open_hostile(&journal)?.sync_data().map_err(fsx::at(&journal))?;
    fsx::replace_derived(&folder(run).join("done"), format!("{seq}\n").as_bytes())
}

/// Keeps what a call printed; gives back the log's name. Nothing printed has no log, and neither has a job that has many.
///
/// # Errors
/// Those of the system.
pub(super) fn keep_output(
    run: &RunFolder,
    hook: &str,
    seq: u64,
    output: &[u8],
) -> Result<Option<String>> {
    fsx::make_dir(&folder(run))?;
    if output.is_empty() || fsx::list(&folder(run))?.len() >= MAX_LOGS {
        return Ok(None);
    }
    let name = format!("{hook}-{seq}.log");
    fsx::replace_derived(&folder(run).join(&name), output)?;
    Ok(Some(name))
}

/// Takes down what went wrong.
///
/// # Errors
/// Those of the system.
pub(super) fn fail(run: &RunFolder, failure: &Failure) -> Result<()> {
    fsx::make_dir(&folder(run))?;
    fsx::refuse_irregular(&failed(run))?;
    let mut file = fsx::open_append(&failed(run))?;
    if file.metadata()?.len() < MAX_FAILURES {
        let line = serde_json::to_string(failure)? + "\n";
        file.write_all(line.as_bytes())?;
    }
    Ok(())
}

/// What went wrong with the hooks of a job, oldest first.
pub fn failures(run: &RunFolder) -> Vec<Failure> {
    let text = fsx::read_bounded(&failed(run), MAX_FAILURES * 2).ok().flatten().unwrap_or_default();
    text.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::JobId;
    use crate::model::root::Root;
    use crate::runs::Runs;

    #[test]
    fn a_fifo_in_the_place_of_what_was_called_is_replaced_and_not_waited_for() {
        let d = tempfile::tempdir().expect("scratch");
        let root = Root::new(d.path());
        let run = Runs::of(&root).folder(&JobId::parse("a-abc234").expect("id"));
        fsx::make_dirs(&folder(&run)).expect("folder");
        let (fifo, path) = (rustix::fs::FileType::Fifo, folder(&run).join("done"));
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, 0o600.into(), 0).expect("fifo");
        assert_eq!(done(&run), 0);
        set_done(&run, 7).expect_err("no journal that could say so");
        fsx::put(&run.journal(), b"").expect("journal");
        set_done(&run, 7).expect("put");
        assert_eq!(done(&run), 7);
    }
}
