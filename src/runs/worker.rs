//! Who works on a job: found by what the worker wrote down, and identified by its start time while its lock is held, so
//! that no signal ever reaches a stranger.

use std::io::{ErrorKind, Result};

use super::{JournalReader, RunFolder};
use crate::model::event::Fact;
use crate::os::process::{self, Target};

impl RunFolder {
    /// The worker that holds this folder; `None` where there is none, or where its start is not written yet.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn worker(&self) -> Result<Option<Target>> {
        let events = match JournalReader::open(&self.journal()).and_then(JournalReader::read_all) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            replay => replay?.events,
        };
        let start = events.iter().rev().find_map(|event| match &event.fact {
            Fact::WorkerStarted { pid, start_time, boot_id } => Some((*pid, *start_time, boot_id)),
            _ => None,
        });
        let Some((pid, started, boot_id)) = start else { return Ok(None) };
        if *boot_id != process::boot_id() || !self.is_held()? {
            return Ok(None);
        }
        Ok(Target::open(pid, |pid| process::start_time(pid) == Some(started)))
    }
}
