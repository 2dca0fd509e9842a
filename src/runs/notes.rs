//! Notes of a person to the agents: `note-N.md` in the run folder, or in that of a task, read before every session that starts
//! later. Made by anybody who may write there, without a lock, and never replaced.

use std::io::{Error, ErrorKind, Result};
use std::path::PathBuf;

use super::RunFolder;
use crate::model::id::TaskId;
use crate::os::fsx;

/// Longest note, in bytes.
pub const MAX_NOTE_BYTES: usize = 16 * 1024;
/// Most notes of one job, or of one task.
pub const MAX_NOTES: u32 = 16;

impl RunFolder {
    /// Puts a note to all agents of the job, or to those of one task, durably; gives back its number.
    ///
    /// # Errors
    /// `QuotaExceeded` if there are too many; otherwise those of the system.
    pub fn put_note(&self, task: Option<&TaskId>, text: &str) -> Result<u32> {
        let dir = self.notes_dir(task);
        fsx::make_dirs(&dir)?;
        for number in 1..=MAX_NOTES {
            match fsx::put_new(&dir.join(name(number)), text.as_bytes()) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                put => return put.map(|()| number),
            }
        }
        Err(fsx::at(&dir)(Error::from(ErrorKind::QuotaExceeded)))
    }

    /// The notes to all agents of the job, or to those of one task, oldest first. What is no note of ours is passed over: it keeps
    /// no session from its start.
    pub fn notes(&self, task: Option<&TaskId>) -> Vec<String> {
        let dir = self.notes_dir(task);
        let there = fsx::list(&dir).unwrap_or_default();
        let named = (1..=MAX_NOTES).map(name).filter(|name| there.contains(name));
        let read = |name| fsx::read_bounded(&dir.join(name), MAX_NOTE_BYTES as u64).ok()?;
        named.filter_map(read).map(|b| String::from_utf8_lossy(&b).into_owned()).collect()
    }

    fn notes_dir(&self, task: Option<&TaskId>) -> PathBuf {
        task.map_or_else(|| self.dir.clone(), |task| self.place(task.as_str()).dir().to_owned())
    }
}

fn name(number: u32) -> String {
    format!("note-{number}.md")
}
