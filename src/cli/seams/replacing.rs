//! The seams of replacing: a job file of the spool is read as its taker reads it, and the new one is whole before the old one
//! goes.

use std::path::{Path, PathBuf};

use super::steering::put_to_rest;
use super::{
    Desk, Failure, Held, PATIENCE, RunFolder, Runs, Spool, Taken, Want, clock, fsx, hooks, open,
    refused,
};
use crate::error::Exit;
use crate::model::id::JobId;
use crate::model::root::Root;
use crate::os::writers;
use crate::spool::{CutOff, Kind, Place, Stamp};

/// What a prepared file may have at least, in bytes, whatever the settings say of objectives.
const MIN_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Puts the file of the job that is to take another one's place where nobody takes it yet.
pub(in crate::cli) fn prepare(
    root: &Root,
    old: &JobId,
    new: &JobId,
    json: &[u8],
) -> Result<PathBuf, Failure> {
    let put = Spool::of(root).prepare(old, new, json);
    put.map_err(|e| Failure::system("write the edited job", &e).hint(format!("{old} is as it was")))
}

/// Drops the prepared file, now that the old job is withdrawn. Where that one rested, or had notes, the new one is taken here, to
/// rest and with them from its first moment: nobody starts it in between.
pub(in crate::cli) fn hand_over(
    root: &Root,
    prepared: &Path,
    (old, new): (&JobId, &JobId),
    json: &[u8],
) -> Result<(), Failure> {
    // For whoever looks for the old one; without it nothing else is missed.
    let _noted = Spool::of(root).note_successor(old, new);
    let from = Runs::of(root).folder(old);
    // Read after the old job's end: from then on nothing is asked of it any more.
    let (rests, notes) = (from.wants(Want::Paused), from.notes(None));
    let handed_over = if rests || !notes.is_empty() {
        take_prepared(root, prepared, new, (rests, &notes))
    } else {
        let dropped = Spool::of(root).submit_prepared(prepared, new, json);
        dropped.map_err(|e| Failure::system("submit the edited job", &e))
    };
    handed_over.map_err(|e| {
        if prepared.exists() {
            e.hint(format!("the edited job is in {}", prepared.display()))
        } else {
            e.hint(format!("numerus status {new} shows what became of the edited job"))
        }
    })
}

fn take_prepared(
    root: &Root,
    prepared: &Path,
    new: &JobId,
    (rests, notes): (bool, &[String]),
) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::system("take the edited job", &e);
    let furnish = |folder: &RunFolder| {
        if rests {
            folder.wish(Want::Paused)?;
        }
        notes.iter().try_for_each(|note| folder.put_note(None, note).map(drop))
    };
    let taken = Desk::new(root, open(root)?).take_prepared(prepared, new, furnish);
    match taken.map_err(cannot)? {
        Taken::Job(fresh) if rests => {
            let mut held = Held::open(fresh.folder, fresh.lock).map_err(cannot)?;
            put_to_rest(&mut held).map_err(cannot)?;
        }
        Taken::Job(_) => {}
        Taken::Rejected { reason, .. } => return Err(refused(&reason)),
        Taken::Gone | Taken::Later(_) => {
            return Err(Failure::new(Exit::Blocked, format!("somebody else takes {new}")));
        }
    }
    hooks::rouse(root, new);
    Spool::of(root).wake().map_err(cannot)
}

/// Finishes an edit that was cut off, as it would have: the old job's end comes to its end, and the new one takes its place. Of
/// several who do so at once one does it.
pub(in crate::cli) fn finish_edit(root: &Root, edit: &CutOff) -> Result<(), Failure> {
    let limit = open(root)?.max_objective_bytes;
    let CutOff { old, new, file } = edit;
    let busy = || {
        let somebody = format!("somebody else is at {old} or {new} just now");
        Failure::new(Exit::Blocked, somebody).hint(format!("numerus status {old} says how it went"))
    };
    if Spool::of(root).has(Place::Claimed, old)
        && !super::finish_killed(root, &Runs::of(root).folder(old))?
    {
        return Err(busy());
    }
    let read = fsx::read_bounded(file, limit.saturating_mul(2).max(MIN_FILE_BYTES));
    let bytes = match read {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(busy()),
        read => read.map_err(|e| Failure::system("read the edited job", &e))?,
    };
    let Some(bytes) = bytes else {
        return Err(Failure::usage(format!("{} is too large", file.display())));
    };
    hand_over(root, file, (old, new), &bytes)
}

/// What a file in `incoming/` is before it is read; `None` where it is gone.
pub(in crate::cli) fn look(root: &Root, file: &Path) -> Result<Option<Stamp>, Failure> {
    Spool::of(root).look_at(file).map_err(|e| Failure::system("look at the job's file", &e))
}

/// Refuses to withdraw a file in `incoming/` in whose place there is another one than was read; one that is gone is somebody else's.
pub(in crate::cli) fn is_as_read(
    root: &Root,
    file: &Path,
    before: Option<&Stamp>,
) -> Result<(), Failure> {
    let now = look(root, file)?;
    let is_other = now.zip(before).is_some_and(|(now, before)| !now.is_unchanged_from(before));
    if !is_other {
        return Ok(());
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    Err(Failure::new(Exit::Blocked, format!("{name} has changed since it was read: it stays"))
        .hint("numerus edit it again: it begins with what is there now"))
}

/// Reads a job file of the spool as its taker would; refuses what he would.
pub(in crate::cli) fn read_as_taken(root: &Root, path: &Path) -> Result<Vec<u8>, Failure> {
    let read = Desk::new(root, open(root)?).look_into(path);
    let read = read.map_err(|e| Failure::system("read the job's file", &e))?;
    read.map_err(|reason| {
        let Failure { message, hints, .. } = refused(&reason);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let message = format!("{name} is not read ({}): {message}", reason.code.as_str());
        hints.into_iter().fold(Failure::new(Exit::Blocked, message), Failure::hint)
    })
}

/// Refuses a file in `incoming/` that somebody is still writing: open for that, locked, or other than a quiet time ago. One
/// that is gone is somebody else's.
pub(in crate::cli) fn until_whole(root: &Root, file: &Path) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::system("look at the job's file", &e);
    let (settle, spool) = (open(root)?.settle.min(PATIENCE), Spool::of(root));
    let name = file.file_name().unwrap_or_default();
    let Some(first) = spool.look(name).map_err(cannot)?.filter(|s| s.kind == Kind::Regular) else {
        return Ok(());
    };
    let is_busy = || spool.is_locked(name) || writers::has_writer(file);
    let being_written = || {
        let name = name.to_string_lossy();
        Err(Failure::new(Exit::Blocked, format!("{name} is still being written"))
            .hint("try again when it is whole"))
    };
    if is_busy() {
        return being_written();
    }
    if !fsx::is_older(file, settle) {
        clock::pause(settle);
    }
    match spool.look(name).map_err(cannot)? {
        Some(then) if then != first || is_busy() => being_written(),
        _ => Ok(()),
    }
}
