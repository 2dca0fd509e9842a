//! The memory's truth as a file: appended to, copied, and known to be lost.
//!
//! The copies are `memory.ndjson.bak-N`, the newest with the largest number, a few of them. The database holds every entry as
//! well, and a truth that is lost is written again from there: the copies are for the day when both are gone, as after a bad disk
//! or a wrong `rm`. One is put whenever the truth has grown by an eighth, so that all copies together cost no more than the
//! truth itself does over time.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::os::fsx;

/// Copies that are kept.
const KEPT: u64 = 3;
/// Growth in bytes below which none is put.
const LEAST_GROWTH: u64 = 4096;
/// Files put aside at most.
const MAX_PUT_ASIDE: u32 = 1000;

/// The line of an entry, with its end.
///
/// # Errors
/// When it cannot be written as JSON.
pub(super) fn line_of(entry: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    Ok(line)
}

/// Appends a line and flushes it; a torn line before it is closed first. The caller holds the lock beside the truth.
///
/// # Errors
/// Those of the system, with the path.
pub(super) fn append(truth: &Path, line: &[u8]) -> Result<()> {
    let is_new = !truth.exists();
    fsx::refuse_irregular(truth)?;
    let mut file = fsx::open_append(truth)?;
    let is_torn = ends_torn(&mut file).map_err(fsx::at(truth))?;
    let end_of_last: &[u8] = if is_torn { b"\n" } else { b"" };
    file.write_all(&[end_of_last, line].concat())
        .and_then(|()| file.sync_data())
        .map_err(fsx::at(truth))?;
    if is_new { fsx::sync_dir(truth.parent().unwrap_or(truth)) } else { Ok(()) }
}

fn ends_torn(file: &mut File) -> Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0u8];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}

/// How a truth is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// It is not there.
    Missing,
    /// Nothing of it can be read.
    Unreadable,
}

impl Loss {
    /// In words.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable, and is put aside",
        }
    }
}

/// Whether the truth is lost. One line that can be read is enough for it not to be, and so is none at all.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn loss(truth: &Path, reads: &dyn Fn(&[u8]) -> bool) -> Result<Option<Loss>> {
    let lines = match fsx::open_own(truth) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Some(Loss::Missing)),
        // A FIFO gives nothing, and what is written to it is gone.
        Err(e) if e.kind() == ErrorKind::InvalidInput => return Ok(Some(Loss::Unreadable)),
        file => BufReader::new(file?).split(b'\n'),
    };
    let mut is_empty = true;
    for line in lines {
        // A disk that cannot give what it was given has lost it.
        let Ok(line) = line else { return Ok(Some(Loss::Unreadable)) };
        if reads(&line) {
            return Ok(None);
        }
        is_empty &= line.is_empty();
    }
    Ok((!is_empty).then_some(Loss::Unreadable))
}

/// Puts a copy if the truth has grown enough since the last one. A truth that has shrunk takes no copy's place.
///
/// # Errors
/// Those of the system, with the path.
pub(super) fn put_if_due(truth: &Path) -> Result<()> {
    let copies = copies(truth)?;
    let length = truth.metadata().map_err(fsx::at(truth))?.len();
    let last = copies.last().map(|(_, path)| path.metadata().map_or(0, |m| m.len()));
    let is_due = last.is_none_or(|last| length >= last + LEAST_GROWTH.max(last / 8));
    if is_due { put(truth) } else { Ok(()) }
}

/// Puts a copy, and removes the oldest one.
///
/// # Errors
/// Those of the system, with the path.
pub(super) fn put(truth: &Path) -> Result<()> {
    let copies = copies(truth)?;
    let number = copies.last().map_or(1, |(number, _)| number + 1);
    let bytes = std::fs::read(truth).map_err(fsx::at(truth))?;
    fsx::put_new(&numbered(truth, "bak", number), &bytes)?;
    for (old, path) in copies {
        if old + KEPT <= number {
            fsx::remove(&path)?;
        }
    }
    Ok(())
}

/// Puts a copy and removes all older ones: none that knows more may come back.
///
/// # Errors
/// Those of the system, with the path.
pub(super) fn put_alone(truth: &Path) -> Result<()> {
    let older = copies(truth)?;
    put(truth)?;
    older.into_iter().try_for_each(|(_, path)| fsx::remove(&path))
}

/// What the newest copy holds that can be read, with its path.
pub(super) fn newest(truth: &Path) -> Option<(PathBuf, Vec<u8>)> {
    let copies = copies(truth).ok()?;
    copies.into_iter().rev().find_map(|(_, path)| {
        let mut bytes = Vec::new();
        fsx::open_own(&path).ok()?.read_to_end(&mut bytes).ok()?;
        Some((path, bytes))
    })
}

/// Renames a truth that cannot be read, so that a person can still look at it.
///
/// # Errors
/// Those of the system, with the path.
pub(super) fn put_aside(truth: &Path) -> Result<()> {
    for number in 1..MAX_PUT_ASIDE {
        match fsx::move_to(truth, &numbered(truth, "bad", number.into())) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            moved => return moved,
        }
    }
    Err(fsx::at(truth)(ErrorKind::AlreadyExists.into()))
}

fn copies(truth: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let start = format!("{}.bak-", truth.file_name().and_then(OsStr::to_str).unwrap_or_default());
    let names = fsx::list(truth.parent().unwrap_or(truth))?;
    let number = |name: &String| name.strip_prefix(&start)?.parse::<u64>().ok();
    let mut copies: Vec<_> =
        names.iter().filter_map(|n| Some((number(n)?, truth.with_file_name(n)))).collect();
    copies.sort();
    Ok(copies)
}

fn numbered(truth: &Path, word: &str, number: u64) -> PathBuf {
    let mut name = truth.as_os_str().to_owned();
    name.push(format!(".{word}-{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_follow_the_growth_and_only_the_last_few_are_kept() {
        let d = tempfile::tempdir().expect("scratch");
        let truth = d.path().join("memory.ndjson");
        let grown = |kib: usize| {
            fsx::put(&truth, &vec![b'x'; kib * 1024]).expect("put");
            put_if_due(&truth).expect("backup");
            let numbers = copies(&truth).expect("list").into_iter().map(|(number, _)| number);
            numbers.collect::<Vec<_>>()
        };
        for (kib, kept) in [
            (1, vec![1]),
            (4, vec![1]),
            (5, vec![1, 2]),
            (100, vec![1, 2, 3]),
            (112, vec![1, 2, 3]),
            (113, vec![2, 3, 4]),
            (10, vec![2, 3, 4]),
            (0, vec![2, 3, 4]),
        ] {
            assert_eq!(grown(kib), kept, "{kib} KiB");
        }
        let (path, bytes) = newest(&truth).expect("there is one");
        assert_eq!((path, bytes.len()), (numbered(&truth, "bak", 4), 113 * 1024));
    }
}
