//! One log of a session or a command: what comes is appended to it up to its bound, and beyond it only the newest is kept,
//! in parts beside it that are joined to it at the end ([`crate::runs::parts`]).
//!
//! Promises: writing never fails and never waits for anything but the disk, so that whoever reads for the log can always go
//! on. Memory is bounded by one record and a buffer. Bytes that are dropped leave a line that says how many.
//!
//! Diagnostics: a log that cannot be opened is an error. What cannot be written, on a full disk or otherwise, is dropped as
//! if a bound were reached: what is lost is evidence, the journal has the facts.

use std::fs::File;
use std::io::{ErrorKind, Result, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::log_budget::Budget;
use crate::logic::keep::{Keeper, Place};
use crate::os::fsx;
use crate::runs::parts::{self, Marker};

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// How the lines that are ours look in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As text in brackets.
    Text,
    /// As events of a transcript.
    Events,
}

impl Style {
    /// The line for bytes that are missing.
    pub fn marker(self) -> Marker {
        match self {
            Self::Text => |bytes| format!("[numerus: {bytes} bytes were dropped here]"),
            Self::Events => {
                |bytes| json!({"event": {"type": "numerus.dropped", "bytes": bytes}}).to_string()
            }
        }
    }

    /// The line that says where to look from now on.
    fn notice(self, log: &Path, kept: u64) -> String {
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned() + ".tail-*";
        match self {
            Self::Text => format!(
                "[numerus: of what follows, the last {kept} bytes are kept; until the session ends, in {name}]"
            ),
            Self::Events => {
                json!({"event": {"type": "numerus.log_full", "kept": kept, "in": name}}).to_string()
            }
        }
    }
}

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    style: Style,
    budget: Arc<Budget>,
    keeper: Keeper,
    head: File,
    buffer: Vec<u8>,
    tail: Option<Tail>,
    is_finished: bool,
}

/// What comes after the head.
#[derive(Debug)]
struct Tail {
    /// The length of the log when it was left.
    after: u64,
    /// Bytes that have come since then, those in the buffer included.
    passed: u64,
    newest: Option<(PathBuf, File)>,
    older: Option<PathBuf>,
}

impl Log {
    /// Opens the log of a new session; what an interrupted one left beside it is joined to it first.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn open(path: &Path, style: Style, budget: &Arc<Budget>) -> Result<Self> {
        if parts::join(path, None, style.marker()).is_err() {
            // Where a join is not possible, those parts are given up rather than kept beside a log that goes on.
            parts::remove(path)?;
        }
        Self::open_whole(path, style, budget)
    }

    /// The same of one that has no parts beside it. Where its writer's death cut a record off, the next one ends that line first: it is
    /// not to be lost with it.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn open_whole(path: &Path, style: Style, budget: &Arc<Budget>) -> Result<Self> {
        let head = fsx::open_append(path)?;
        let is_cut_off = style == Style::Events && parts::is_open(&head).unwrap_or(false);
        Ok(Self {
            path: path.to_owned(),
            style,
            budget: budget.clone(),
            keeper: Keeper::new(budget.bounds()),
            head,
            buffer: if is_cut_off { b"\n".to_vec() } else { Vec::new() },
            tail: None,
            is_finished: false,
        })
    }

    /// Takes bytes that may be cut anywhere.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        let piece = self.keeper.bounds().piece();
        bytes.chunks(piece).for_each(|piece| self.write(piece));
    }

    /// Takes a record that is kept whole or not at all.
    pub fn write(&mut self, record: &[u8]) {
        if self.is_finished {
            return;
        }
        let bytes = record.len() as u64;
        let put = self.keeper.put(bytes, &mut &*self.budget);
        if put.is_over {
            self.flush();
            self.leave_head(0);
        }
        for _ in 0..put.turns {
            self.flush();
            self.turn();
        }
        if let Some(tail) = &mut self.tail {
            tail.passed += bytes;
        }
        if put.place != Place::Dropped {
            self.buffer.extend_from_slice(record);
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Writes what is collected.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if self.write_out().is_ok() {
            return;
        }
        let lost = self.buffer.len() as u64;
        self.buffer.clear();
        if self.tail.is_none() {
            self.keeper.leave_head();
            self.leave_head(lost);
        } else {
            self.keeper.turn(&mut &*self.budget);
            self.turn();
        }
    }

    /// Writes the buffer; after an error it holds what was not written.
    fn write_out(&mut self) -> Result<()> {
        let buffer = &mut self.buffer;
        let Some(tail) = &mut self.tail else { return write_off(&mut self.head, buffer) };
        if tail.newest.is_none() {
            let start = tail.passed.saturating_sub(buffer.len() as u64);
            let path = parts::path_of(&self.path, tail.after, start);
            let file = fsx::create_new(&path)?;
            tail.newest = Some((path, file));
        }
        let newest = tail.newest.as_mut().map(|(_, file)| write_off(file, buffer));
        newest.unwrap_or(Ok(()))
    }

    fn head_length(&self) -> u64 {
        self.head.metadata().map_or(0, |meta| meta.len())
    }

    /// From now on the log ends here; `lost` bytes of what was to be its end are not in it.
    fn leave_head(&mut self, lost: u64) {
        if self.tail.is_some() {
            return;
        }
        let notice = self.style.notice(&self.path, self.keeper.bounds().tail());
        let _full_disk = parts::write_line(&mut self.head, &notice);
        let after = self.head_length();
        self.tail = Some(Tail { after, passed: lost, newest: None, older: None });
    }

    fn turn(&mut self) {
        let Some(tail) = &mut self.tail else { return };
        if let Some(path) = tail.older.take() {
            let _is_joined_or_stays = fsx::remove(&path);
        }
        tail.older = tail.newest.take().map(|(path, _)| path);
    }

    /// Whether it is over its bound, so that parts are to be joined at its end.
    pub fn has_parts(&self) -> bool {
        self.tail.is_some()
    }

    /// The session has ended: the parts become the end of the log. Whatever comes later is dropped. Parts that cannot be
    /// joined now stay until the next session.
    pub fn finish(&mut self) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        self.flush();
        let Some(tail) = self.tail.take() else { return };
        let marker = self.style.marker();
        let nothing_kept = tail.newest.is_none() && tail.older.is_none();
        if nothing_kept && tail.passed > 0 {
            let _full_disk = parts::write_line(&mut self.head, &marker(tail.passed));
        }
        let _full_disk = parts::join(&self.path, Some(tail.passed), marker);
    }
}

/// Writes all bytes of a buffer, and takes from it what is written.
fn write_off(to: &mut impl Write, buffer: &mut Vec<u8>) -> Result<()> {
    let (mut written, mut done) = (0, Ok(()));
    while written < buffer.len() && done.is_ok() {
        match to.write(&buffer[written..]) {
            Ok(0) => done = Err(ErrorKind::WriteZero.into()),
            Ok(bytes) => written += bytes,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => done = Err(e),
        }
    }
    buffer.drain(..written);
    done
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(path: &Path, most: u64) -> Log {
        Log::open(path, Style::Text, &Arc::new(Budget::for_tests(most))).expect("open")
    }

    fn text(path: &Path) -> String {
        fsx::read_optional(path).expect("read").unwrap_or_default()
    }

    /// Lines that tell their number, each at most 9 bytes long.
    fn line(n: usize) -> String {
        format!("{n:07}\n")
    }

    /// Checks that a log is head, notice, marker and tail, with nothing in between, and gives the number of lines it has.
    fn is_head_marker_tail(text: &str, lines: usize) -> std::result::Result<usize, TestCaseError> {
        let (mut next, mut kept) = (0, 0);
        for found in text.lines() {
            if let Some(dropped) = found.strip_prefix("[numerus: ").and_then(|l| l.split_once(' '))
            {
                let bytes: usize = dropped.0.parse().unwrap_or(0);
                next += bytes / 8;
            } else {
                prop_assert_eq!(found.parse::<usize>().ok(), Some(next), "{}", text);
                next += 1;
                kept += 1;
            }
        }
        prop_assert_eq!(next, lines, "{}", text);
        Ok(kept)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_log_is_its_head_a_marker_that_counts_and_its_tail(lines in 0usize..300, most in 64u64..1500, flush in 1usize..40) {
            let dir = tempfile::tempdir().expect("scratch");
            let path = dir.path().join("stdout.log");
            let mut log = open(&path, most);
            for n in 0..lines {
                log.write(line(n).as_bytes());
                if n % flush == 0 {
                    log.flush();
                }
            }
            log.finish();
            log.write(b"too late\n");
            let kept = is_head_marker_tail(&text(&path), lines)?;
            prop_assert!(kept as u64 * 8 <= most);
            prop_assert!(kept == lines || kept as u64 * 8 + 32 > most / 2 + most / 4);
            prop_assert_eq!(fsx::list(dir.path()).expect("list"), ["stdout.log"]);
        }

        #[test]
        fn what_a_killed_writer_left_is_joined_by_the_next_one(lines in 0usize..300, most in 64u64..1500) {
            let dir = tempfile::tempdir().expect("scratch");
            let path = dir.path().join("stdout.log");
            let mut log = open(&path, most);
            (0..lines).for_each(|n| log.write(line(n).as_bytes()));
            log.flush();
            drop(log);
            open(&path, most).finish();
            let found = text(&path);
            is_head_marker_tail(&found, lines)?;
            prop_assert_eq!(fsx::list(dir.path()).expect("list"), ["stdout.log"]);
        }
    }

    #[test]
    fn a_record_that_its_writers_death_cut_off_costs_no_other() {
        let budget = Arc::new(Budget::for_tests(4096));
        for (style, before, expected) in [
            (Style::Events, "{\"a\":1}\n{\"b", "{\"a\":1}\n{\"b\n{\"c\":3}\n"),
            (Style::Events, "{\"a\":1}\n", "{\"a\":1}\n{\"c\":3}\n"),
            (Style::Events, "", "{\"c\":3}\n"),
            // What an agent prints is kept as it came.
            (Style::Text, "half", "half{\"c\":3}\n"),
        ] {
            let dir = tempfile::tempdir().expect("scratch");
            let path = dir.path().join("events.ndjson");
            fsx::open_append(&path)
                .and_then(|mut log| log.write_all(before.as_bytes()))
                .expect("x");
            let mut log = Log::open(&path, style, &budget).expect("open");
            log.write(b"{\"c\":3}\n");
            log.finish();
            assert_eq!(text(&path), expected);
        }
    }

    #[test]
    fn several_sessions_follow_each_other_in_one_log() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("stdout.log");
        for word in ["one", "two"] {
            let mut log = open(&path, 40);
            log.write(format!("{word}!\n").as_bytes());
            log.write_bytes(&[b'\n'; 100]);
            log.finish();
        }
        let text = text(&path);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0] == "one!" && lines.contains(&"two!"), "{text}");
        assert_eq!(text.matches("bytes were dropped here]").count(), 2, "{text}");
    }

    #[test]
    fn what_cannot_be_written_is_dropped_and_counted() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("stdout.log");
        let mut log = open(&path, 1_000_000);
        log.write(b"before\n");
        log.flush();
        // A descriptor that takes nothing, as on a full disk.
        log.head = File::open(&path).expect("read only");
        log.write(b"lost\n");
        log.flush();
        log.write(b"after\n");
        log.finish();
        assert_eq!(text(&path), "before\n[numerus: 5 bytes were dropped here]\nafter\n");
    }

    #[test]
    fn what_a_full_disk_takes_of_a_piece_is_told_from_what_it_does_not() {
        /// Takes so many bytes, two at a time, and is interrupted before each.
        struct Disk(usize, bool);
        impl Write for Disk {
            fn write(&mut self, bytes: &[u8]) -> Result<usize> {
                self.1 = !self.1;
                let fits = self.0.min(bytes.len()).min(2);
                self.0 -= if self.1 { 0 } else { fits };
                match (self.1, fits) {
                    (true, _) => Err(ErrorKind::Interrupted.into()),
                    (false, 0) => Err(ErrorKind::StorageFull.into()),
                    (false, bytes) => Ok(bytes),
                }
            }
            fn flush(&mut self) -> Result<()> {
                Ok(())
            }
        }
        for (room, left) in [(0, "abcde"), (3, "de"), (5, ""), (9, "")] {
            let mut buffer = b"abcde".to_vec();
            let done = write_off(&mut Disk(room, false), &mut buffer);
            assert_eq!(
                (buffer.as_slice(), done.is_ok()),
                (left.as_bytes(), left.is_empty()),
                "{room}"
            );
        }
    }

    #[test]
    fn without_any_room_a_log_says_how_much_it_dropped() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("events.ndjson");
        let budget = Arc::new(Budget::with_room(1000, 6));
        let mut log = Log::open(&path, Style::Events, &budget).expect("open");
        log.write(b"{\"a\"}\n");
        log.write(b"{\"b\"}\n");
        log.finish();
        let text = text(&path);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "{\"a\"}");
        assert!(lines[1].contains("numerus.log_full"), "{text}");
        assert_eq!(lines[2], r#"{"event":{"type":"numerus.dropped","bytes":6}}"#);
    }
}
