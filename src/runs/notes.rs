//! Notes of a person to the agents: `note-N.md` in the run folder, or in that of a task, read before every session that starts
//! later. Made by anybody who may write there, without a lock, and never replaced.

use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

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
            match put(&dir.join(name(number)), text.as_bytes()) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                done => return done.map(|()| number),
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

/// Puts it. Who begins to hold the job clears away what looks unfinished, also what is being written just then: once more.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    match fsx::put_new(path, bytes) {
        Err(e) if e.kind() == ErrorKind::NotFound => fsx::put_new(path, bytes),
        done => done,
    }
}

fn name(number: u32) -> String {
    format!("note-{number}.md")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::model::id::JobId;
    use crate::model::root::Root;
    use crate::runs::Runs;

    #[test]
    fn a_note_is_put_also_where_a_new_holder_takes_it_for_unfinished() {
        let d = tempfile::tempdir().expect("scratch");
        let runs = Runs::of(&Root::new(d.path()));
        fsx::make_dirs(runs.dir()).expect("runs");
        let folder = runs.create(&JobId::parse("a-abc234").expect("id")).expect("folder");
        for number in 1..=MAX_NOTES {
            let is_put = AtomicBool::new(false);
            let put = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let is_temp = |name: &String| fsx::is_temp(name.as_ref());
                    let names = || fsx::list(folder.dir()).expect("list");
                    while !is_put.load(Ordering::Relaxed) {
                        if names().iter().any(is_temp) {
                            return fsx::clear_temps(folder.dir()).expect("cleared, once");
                        }
                    }
                });
                let put = folder.put_note(None, "mind the gap");
                is_put.store(true, Ordering::Relaxed);
                put
            });
            assert_eq!(put.expect("put"), number);
        }
    }
}
