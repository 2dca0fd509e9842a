//! Renames, the one step that is done or not: from folder to folder, onto what is there or onto nothing, flushed or not.

use std::io::{Error, Result};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};

use super::{Flushing, Onto, at, parent, remove, rename_onto, sync_dir};
use crate::os::{reserve, seeded};

/// Renames, replacing nothing, then flushes both folders: the one transition of a spool.
///
/// # Errors
/// `AlreadyExists` if the target is taken, `NotFound` if someone else was first; otherwise those of the system.
pub fn move_to(from: &Path, to: &Path) -> Result<()> {
    publish(from, to)?;
    if parent(from) == parent(to) { Ok(()) } else { sync_dir(parent(from)) }
}

/// As [`move_to`], from a name that means nothing: after a power cut it may be there as well, and is cleared away.
///
/// # Errors
/// Those of [`move_to`].
pub fn publish(from: &Path, to: &Path) -> Result<()> {
    rename_new(from, to)?;
    sync_dir(parent(to))
}

/// As [`move_to`], with both folders still being flushed when this comes back: nobody may rely on it, or tell of it, before that has
/// [ended](Flushing::end).
///
/// # Errors
/// Those of [`move_to`]; those of the flush mostly when it ends.
pub fn begin_move(from: &Path, to: &Path) -> Result<Flushing> {
    rename_new(from, to)?;
    Flushing::begin(&[to, from].map(parent))
}

fn rename_new(from: &Path, to: &Path) -> Result<()> {
    if seeded::bug("copy-instead-of-rename") && from.is_file() {
        return std::fs::copy(from, to).and_then(|_| remove(from));
    }
    reserve::write_with(to, || rename_onto(from, to, Onto::Free)).map_err(at(from))
}

/// Two names of one folder change what they stand for, in one step, and the folder is flushed.
///
/// # Errors
/// Those of the system, with the path; not every file system can do it.
pub fn exchange(one: &Path, other: &Path) -> Result<()> {
    let exchanged = rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
    exchanged.map_err(Error::from).map_err(at(one))?;
    sync_dir(parent(one))
}

/// Renames onto whatever is there and flushes the folder; both names are in one folder.
///
/// # Errors
/// Those of the system, with the path.
pub fn rename_over(from: &Path, to: &Path) -> Result<()> {
    rename_onto(from, to, Onto::Any).map_err(at(from))?;
    sync_dir(parent(to))
}

/// Renames onto whatever is there without a flush: for files that mean nothing once the machine went down, and for several of
/// one folder that the caller flushes after the last.
///
/// # Errors
/// Those of the system, with the path.
pub fn rename_derived(from: &Path, to: &Path) -> Result<()> {
    rename_onto(from, to, Onto::Any).map_err(at(from))
}

/// Renames what nobody needs, replacing nothing, without a flush, and never with the room that is kept for work.
///
/// # Errors
/// `AlreadyExists` if the target is taken, `NotFound` if someone else was first; otherwise those of the system.
pub fn rename_spare(from: &Path, to: &Path) -> Result<()> {
    rename_onto(from, to, Onto::Free).map_err(at(from))
}
