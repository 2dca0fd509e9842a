//! The parts of a log that is over its bound. While its session runs, the log ends at its head, and what came last is in at
//! most two files beside it, `LOG.tail-AFTER-START`: AFTER is the length of the log when it was left, START how many bytes
//! had come since then when the file was begun. At the end of the session they are joined to the log.
//!
//! Promises: a join can be interrupted anywhere and done again. Parts go only when all of them are in the log, the oldest
//! first, so that a log that is longer than AFTER by less than they and their markers need is one whose join was cut.
//!
//! Diagnostics: names that do not have that form are ignored. Nothing is flushed: a log is evidence.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::os::fsx;

/// What stands between a log's name and the numbers of a part.
const MARK: &str = ".tail-";

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How many bytes had come since the log was left when it was begun.
    pub start: u64,
    /// Its length.
    pub bytes: u64,
    /// Its file.
    pub path: PathBuf,
}

impl Part {
    fn end(&self) -> u64 {
        self.start + self.bytes
    }
}

/// The parts of one log, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The length of the log when it was left.
    pub after: u64,
    /// The parts.
    pub parts: Vec<Part>,
}

/// The line that says how many bytes are missing where it stands.
pub type Marker = fn(u64) -> String;

/// The name of a part.
pub fn path_of(log: &Path, after: u64, start: u64) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!("{MARK}{after}-{start}"));
    name.into()
}

/// The parts of a log, if it has any.
///
/// # Errors
/// When its folder cannot be read.
pub fn of(log: &Path) -> Result<Option<Parts>> {
    let dir = log.parent().unwrap_or(Path::new("."));
    let mut found: Vec<(u64, Part)> = Vec::new();
    for name in fsx::list(dir)? {
        let Some((after, start)) = numbers(log, &name) else { continue };
        let path = dir.join(name);
        // One that has just been removed is no part any more.
        let Ok(meta) = path.symlink_metadata() else { continue };
        found.push((after, Part { start, bytes: meta.len(), path }));
    }
    let Some(after) = found.iter().map(|(after, _)| *after).max() else { return Ok(None) };
    let mut parts: Vec<Part> =
        found.into_iter().filter(|(of, _)| *of == after).map(|(_, part)| part).collect();
    parts.sort_by_key(|part| part.start);
    Ok(Some(Parts { after, parts }))
}

/// Whether there is a part of any log in a folder.
///
/// # Errors
/// When it cannot be read.
pub fn are_in(dir: &Path) -> Result<bool> {
    Ok(fsx::list(dir)?.iter().any(|name| name.contains(MARK)))
}

fn numbers(log: &Path, name: &str) -> Option<(u64, u64)> {
    let name = name.strip_prefix(log.file_name()?.to_str()?)?.strip_prefix(MARK)?;
    let (after, start) = name.split_once('-')?;
    Some((after.parse().ok()?, start.parse().ok()?))
}

/// Whether a file is a log of a session or of a command, or a part of one.
pub fn is_log(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let log = name.split_once(MARK).map_or(name, |(log, _)| log);
    ["stdout.log", "stderr.log", "events.ndjson", "setup.log", "verify.log"].contains(&log)
}

/// Writes a line, first ending the one before it if it is open. `file` is open for reading and appending.
///
/// # Errors
/// Those of the system.
pub fn write_line(file: &mut File, line: &str) -> Result<()> {
    let is_open = is_open(file)?;
    file.write_all(if is_open { format!("\n{line}\n") } else { format!("{line}\n") }.as_bytes())
}

/// Whether the last line of a file has no newline yet.
///
/// # Errors
/// Those of the system.
pub fn is_open(file: &File) -> Result<bool> {
    is_open_at(file, file.metadata()?.len())
}

/// Whether the line that ends at `length` has no newline yet.
fn is_open_at(file: &File, length: u64) -> Result<bool> {
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last != [b'\n'])
}

/// Joins the parts of a log to it, a marker where bytes are missing. `passed` is how many bytes have come since the log was
/// left, if that is known.
///
/// # Errors
/// Those of the system; then the parts are still there, and can be joined later.
pub fn join(log: &Path, passed: Option<u64>, marker: Marker) -> Result<()> {
    let Some(Parts { after, parts }) = of(log)? else { return Ok(()) };
    let mut file = fsx::open_append(log)?;
    let length = file.metadata().map_err(fsx::at(log))?.len();
    if length < after + joined_length(&file, after, &parts, marker) {
        if length > after {
            file.set_len(after).map_err(fsx::at(log))?;
        }
        let mut at = 0;
        for part in &parts {
            fill(&mut file, &mut at, part.start, marker).map_err(fsx::at(log))?;
            let mut from = fsx::open_hostile(&part.path)?;
            std::io::copy(&mut from, &mut file).map_err(fsx::at(log))?;
            at = part.end();
        }
        fill(&mut file, &mut at, passed.unwrap_or(0), marker).map_err(fsx::at(log))?;
    }
    remove(log)
}

/// Marks the bytes that are missing up to `to`.
fn fill(file: &mut File, at: &mut u64, to: u64, marker: Marker) -> Result<()> {
    if to > *at {
        write_line(file, &marker(to - *at))?;
        *at = to;
    }
    Ok(())
}

/// How long the parts are with the markers before them. An end that is missing has a marker of its own, which is not
/// counted: it is not in every join.
fn joined_length(file: &File, after: u64, parts: &[Part], marker: Marker) -> u64 {
    let mut is_open = is_open_at(file, after).unwrap_or(false);
    let (mut at, mut length) = (0, 0);
    for part in parts {
        if part.start > at {
            length += marker(part.start - at).len() as u64 + 1 + u64::from(is_open);
        }
        length += part.bytes;
        at = part.end();
        is_open = fsx::open_hostile(&part.path)
            .and_then(|file| is_open_at(&file, part.bytes))
            .unwrap_or(false);
    }
    length
}

/// Removes the parts of a log, the oldest first.
///
/// # Errors
/// Those of the system.
pub fn remove(log: &Path) -> Result<()> {
    let dir = log.parent().unwrap_or(Path::new("."));
    let mut left: Vec<_> =
        fsx::list(dir)?.into_iter().filter_map(|name| Some((numbers(log, &name)?, name))).collect();
    left.sort();
    left.iter().try_for_each(|(_, name)| fsx::remove(&dir.join(name)))
}

/// How many bytes the logs of a run folder have on disk.
///
/// # Errors
/// When the folder cannot be read.
pub fn bytes_in(run: &Path) -> Result<u64> {
    let mut bytes = 0;
    for place in fsx::list(run)?.iter().map(|name| run.join(name)).filter(|place| place.is_dir()) {
        for name in fsx::list_os(&place)?.iter().filter(|name| is_log(name)) {
            bytes += match place.join(name).symlink_metadata() {
                Ok(meta) => meta.len(),
                Err(e) if e.kind() == ErrorKind::NotFound => 0,
                Err(e) => return Err(fsx::at(&place)(e)),
            };
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(bytes: u64) -> String {
        format!("[{bytes} missing]")
    }

    /// A log that was left in the middle of a line, with two parts, the first of which begins after 7 bytes.
    fn left(dir: &Path) -> PathBuf {
        let log = dir.join("stdout.log");
        fsx::put_new(&log, b"head\nopen").expect("log");
        fsx::put_new(&path_of(&log, 9, 7), b"older").expect("part");
        fsx::put_new(&path_of(&log, 9, 12), b"newest\n").expect("part");
        fsx::put_new(&dir.join("stdout.log.tail-x"), b"foreign").expect("foreign");
        log
    }

    const JOINED: &str = "head\nopen\n[7 missing]\noldernewest\n";

    #[test]
    fn a_join_that_was_cut_anywhere_is_done_again_and_says_the_same() {
        let whole = JOINED.len();
        for cut in 9..=whole {
            let dir = tempfile::tempdir().expect("scratch");
            let log = left(dir.path());
            fsx::put(&log, &JOINED.as_bytes()[..cut]).expect("cut");
            join(&log, None, marker).expect("join");
            let text = fsx::read_optional(&log).expect("read").expect("there");
            assert_eq!(text, JOINED, "cut at {cut}");
            assert_eq!(of(&log).expect("look"), None);
            assert!(dir.path().join("stdout.log.tail-x").exists());
        }
    }

    #[test]
    fn a_join_that_was_cut_while_the_parts_went_is_not_done_again() {
        let dir = tempfile::tempdir().expect("scratch");
        let log = left(dir.path());
        fsx::put(&log, JOINED.as_bytes()).expect("joined");
        fsx::remove(&path_of(&log, 9, 7)).expect("the oldest goes first");
        join(&log, Some(19), marker).expect("join");
        assert_eq!(fsx::read_optional(&log).expect("read").as_deref(), Some(JOINED));
    }

    #[test]
    fn an_end_that_is_missing_is_marked_and_whole_parts_need_no_marker() {
        let dir = tempfile::tempdir().expect("scratch");
        let log = dir.path().join("stderr.log");
        fsx::put_new(&log, b"head\n").expect("log");
        fsx::put_new(&path_of(&log, 5, 0), b"all\n").expect("part");
        join(&log, Some(14), marker).expect("join");
        let text = fsx::read_optional(&log).expect("read");
        assert_eq!(text.as_deref(), Some("head\nall\n[10 missing]\n"));
    }

    #[test]
    fn the_logs_of_a_run_are_counted_with_their_parts_and_nothing_else() {
        let dir = tempfile::tempdir().expect("scratch");
        let place = dir.path().join("t1");
        fsx::make_dirs(&place.join("tree-1")).expect("place");
        left(&place);
        fsx::put_new(&place.join("prompt-1.md"), b"no log").expect("prompt");
        fsx::put_new(&place.join("tree-1/stdout.log"), b"the agent's").expect("tree");
        fsx::put_new(&dir.path().join("events.ndjson"), b"the journal").expect("journal");
        assert_eq!(bytes_in(dir.path()).expect("count"), 9 + 5 + 7 + 7);
    }
}
