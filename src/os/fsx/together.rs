//! Several flushes at once: files are written and flushed side by side, and none gets its name before all are written. The last one
//! is written by the caller's own thread, so that a single file needs no other. Folders are flushed beside whatever else is done.
//!
//! Diagnostics: as those of the one door; a thread that cannot be had is done without.

use std::fs::File;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle, ScopedJoinHandle};

use super::{Onto, at, flush_bytes, remove_quietly, rename_onto, sync_dir};

/// Folders that are being flushed beside what the caller does meanwhile. Dropping it waits for that as well.
#[derive(Debug)]
#[must_use = "what was not flushed does not survive a power cut"]
pub struct Flushing(State);

/// How far it is.
#[derive(Debug)]
enum State {
    Going(JoinHandle<Result<()>>),
    Done,
    Failed,
}

impl Flushing {
    /// Of folders that are flushed already.
    pub fn done() -> Self {
        Self(State::Done)
    }

    /// Begins, one folder after the other; where no thread can be had they are flushed before this comes back.
    ///
    /// # Errors
    /// Those of the system, with the path, where that failed.
    pub(super) fn begin(dirs: &[&Path]) -> Result<Self> {
        let theirs: Vec<PathBuf> = dirs.iter().map(|dir| (*dir).to_owned()).collect();
        let flush = move || theirs.iter().try_for_each(|dir| sync_dir(dir));
        Ok(Self(match Builder::new().name("flush".to_owned()).spawn(flush) {
            Ok(thread) => State::Going(thread),
            Err(_no_thread) => {
                dirs.iter().try_for_each(|dir| sync_dir(dir))?;
                State::Done
            }
        }))
    }

    /// Waits until they are flushed, if they are not yet.
    ///
    /// # Errors
    /// Those of the system, with the path; later ones say only that it failed.
    pub fn end(&mut self) -> Result<()> {
        let lost = |_| Err(Error::other("the thread that flushed it was lost"));
        let ended = match std::mem::replace(&mut self.0, State::Failed) {
            State::Going(thread) => thread.join().unwrap_or_else(lost),
            State::Done => Ok(()),
            State::Failed => Err(Error::other("a folder could not be flushed")),
        };
        if ended.is_ok() {
            self.0 = State::Done;
        }
        ended
    }
}

impl Drop for Flushing {
    fn drop(&mut self) {
        let _whoever_needs_it_has_asked = self.end();
    }
}

/// Writes a new file beside a path, and has it flushed by the last one.
pub(super) type Writer = fn(&Path, &[u8], &mut dyn FnMut(&File) -> Result<()>) -> Result<PathBuf>;

/// Writes new files, then names them, one after the other.
pub(super) fn put_together(files: &[(PathBuf, &[u8])], write: Writer) -> Result<()> {
    let temps = write_together(files, write)?;
    let name = |(temp, (path, _)): (&PathBuf, &(PathBuf, &[u8]))| {
        rename_onto(temp, path, Onto::Free).map_err(at(path))
    };
    let named = temps.iter().zip(files).try_for_each(name);
    named.inspect_err(|_| temps.iter().for_each(|temp| drop(remove_quietly(temp))))
}

/// New flushed files beside these, written side by side: most of a flush is waiting for the disk, which takes all along that wait.
/// None is left after an error.
fn write_together(files: &[(PathBuf, &[u8])], write: Writer) -> Result<Vec<PathBuf>> {
    let written: Vec<Result<PathBuf>> = std::thread::scope(|scope| {
        let begin = |(path, bytes)| {
            let write = move || write(path, bytes, &mut flush_bytes);
            let thread = Builder::new().name("flush".to_owned());
            thread.spawn_scoped(scope, write).map_err(|_no_thread| write())
        };
        let (last, others) = files.split_last().unzip();
        let others = others.unwrap_or_default().iter();
        let begun: Vec<_> = others.map(|(path, bytes)| begin((path, *bytes))).collect();
        let last = last.map(|(path, bytes)| write(path, bytes, &mut flush_bytes));
        let end = |thread: ScopedJoinHandle<'_, _>| {
            let lost = |_| Err(Error::other("the thread that wrote it was lost"));
            thread.join().unwrap_or_else(lost)
        };
        begun.into_iter().map(|begun| begun.map_or_else(|done| done, end)).chain(last).collect()
    });
    if written.iter().any(Result::is_err) {
        written.iter().flatten().for_each(|temp| drop(remove_quietly(temp)));
    }
    written.into_iter().collect()
}
