//! Reads a growing file from where it last stopped. A file that is not there yet is empty so far. Of a log that is over its
//! bound the parts beside it are read on, and after they were joined to it, the rest of it.

use std::fs::File;
use std::io::{Read, Result, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::os::fsx;
use crate::runs::parts::{self, Marker, Part};

/// Bytes that one call reads at most: what is far behind catches up piece by piece.
const PIECE_BYTES: u64 = 16 * 1024 * 1024;
/// Longest line of ours that says how many bytes were dropped, and more than that.
const MAX_MARKER_BYTES: usize = 256;

/// A file being followed.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    marker: Marker,
    file: Option<File>,
    /// How much of the file was read.
    read: u64,
    /// How much of what came after the file had been left was read or passed over, while it is in parts.
    beyond: Option<u64>,
    /// Of lines: the beginning of one that is not whole yet.
    partial: Vec<u8>,
    /// Whether what was read last ended within a line.
    is_open: bool,
    piece: u64,
}

impl Tail {
    /// Starts at the file's beginning; `marker` says what is missing in it.
    pub(super) fn new(path: &Path, marker: Marker) -> Self {
        let path = path.to_owned();
        Self {
            path,
            marker,
            file: None,
            read: 0,
            beyond: None,
            partial: Vec::new(),
            is_open: false,
            piece: PIECE_BYTES,
        }
    }

    /// The bytes since the last call, or the next ones of them: none when there are no more now.
    pub(super) fn new_bytes(&mut self) -> Result<Vec<u8>> {
        let bytes = self.next_bytes()?;
        self.is_open = bytes.last().map_or(self.is_open, |last| *last != b'\n');
        Ok(bytes)
    }

    fn next_bytes(&mut self) -> Result<Vec<u8>> {
        if self.file.is_none() && self.path.exists() {
            self.file = Some(fsx::open_hostile(&self.path)?);
        }
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        // Before the parts are looked for: what is joined while we look is found at the next call.
        let length = file.metadata().map_err(fsx::at(&self.path))?.len();
        if let Some(beyond) = self.beyond.filter(|_| length > self.read) {
            return self.take_up(beyond, length);
        }
        if length > self.read {
            file.seek(SeekFrom::Start(self.read)).map_err(fsx::at(&self.path))?;
            let mut bytes = Vec::new();
            file.take(self.piece).read_to_end(&mut bytes).map_err(fsx::at(&self.path))?;
            self.read += bytes.len() as u64;
            return Ok(bytes);
        }
        match parts::of(&self.path)?.filter(|parts| parts.after == self.read) {
            Some(found) => self.read_parts(&found.parts),
            None => Ok(Vec::new()),
        }
    }

    /// The next of the parts, where they go on or begin again.
    fn read_parts(&mut self, parts: &[Part]) -> Result<Vec<u8>> {
        let at = self.beyond.unwrap_or(0);
        let Some(part) = parts.iter().find(|part| part.start + part.bytes > at) else {
            return Ok(Vec::new());
        };
        if part.start > at {
            self.beyond = Some(part.start);
            return Ok(self.missing(part.start - at));
        }
        // One that has just been removed is joined by now, or was too old.
        let Ok(mut file) = fsx::open_hostile(&part.path) else { return Ok(Vec::new()) };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(at - part.start)).map_err(fsx::at(&part.path))?;
        file.take(self.piece).read_to_end(&mut bytes).map_err(fsx::at(&part.path))?;
        self.beyond = Some(at + bytes.len() as u64);
        Ok(bytes)
    }

    /// The parts were joined: goes on in the file where it was in them.
    fn take_up(&mut self, beyond: u64, length: u64) -> Result<Vec<u8>> {
        self.beyond = None;
        let after = self.read;
        let line = self.line_at(after)?;
        let dropped = line.as_deref().and_then(|line| self.dropped_in(line));
        let first = dropped.unwrap_or(0);
        if let (Some(line), Some(_)) = (line, dropped) {
            self.read += line.len() as u64 + 1;
        }
        if beyond < first {
            return Ok(self.missing(first - beyond));
        }
        self.read += beyond - first;
        if self.read < length { self.next_bytes() } else { Ok(Vec::new()) }
    }

    /// The line that begins there, without its newline, if it is a short one.
    fn line_at(&mut self, at: u64) -> Result<Option<String>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        file.seek(SeekFrom::Start(at)).map_err(fsx::at(&self.path))?;
        let mut bytes = Vec::new();
        file.take(MAX_MARKER_BYTES as u64).read_to_end(&mut bytes).map_err(fsx::at(&self.path))?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        Ok(end.and_then(|end| String::from_utf8(bytes.get(..end)?.to_vec()).ok()))
    }

    /// How many bytes a marker says are missing.
    fn dropped_in(&self, line: &str) -> Option<u64> {
        let pattern = (self.marker)(0);
        let (before, behind) = pattern.split_once('0')?;
        line.strip_prefix(before)?.strip_suffix(behind)?.parse().ok()
    }

    /// Where something is missing, a line that was begun has no end: of lines it is missing, too, of bytes it is closed.
    fn missing(&mut self, bytes: u64) -> Vec<u8> {
        let torn = std::mem::take(&mut self.partial).len();
        let close = if self.is_open && torn == 0 { "\n" } else { "" };
        format!("{close}{}\n", (self.marker)(bytes + torn as u64)).into_bytes()
    }

    /// The whole lines since the last call, or the next ones of them; a line without its newline is waited for.
    pub(super) fn new_lines(&mut self) -> Result<Vec<String>> {
        loop {
            let bytes = self.new_bytes()?;
            if bytes.is_empty() {
                return Ok(Vec::new());
            }
            let seen = self.partial.len();
            self.partial.extend(bytes);
            let end = self.partial.iter().skip(seen).rposition(|byte| *byte == b'\n');
            if let Some(end) = end {
                let rest = self.partial.split_off(seen + end + 1);
                let whole = std::mem::replace(&mut self.partial, rest);
                return Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::codex::log::{Log, Style};
    use crate::codex::log_budget::Budget;

    const MARKER: Marker = |bytes| format!("[{bytes}]");

    #[test]
    fn a_torn_line_is_waited_for_and_nothing_is_read_twice() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("log");
        let mut tail = Tail::new(&path, MARKER);
        assert_eq!(tail.new_lines().expect("not there"), Vec::<String>::new());
        let mut file = fsx::open_append(&path).expect("open");
        file.write_all(b"one\ntw").expect("write");
        assert_eq!(tail.new_lines().expect("read"), ["one"]);
        file.write_all(b"o\nthree\n").expect("write");
        assert_eq!(tail.new_lines().expect("read"), ["two", "three"]);
        assert_eq!(tail.new_lines().expect("read"), Vec::<String>::new());
    }

    /// All that there is now.
    fn drain(tail: &mut Tail, told: &mut Vec<String>) {
        loop {
            let lines = tail.new_lines().expect("read");
            if lines.is_empty() {
                return;
            }
            told.extend(lines);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_follower_hears_every_line_that_is_there_once_in_order_and_of_the_others_how_much_they_were(
            lines in 0usize..300, most in 64u64..1500, piece in 3u64..40, looks in prop::collection::vec(any::<bool>(), 20), is_killed: bool,
        ) {
            let dir = tempfile::tempdir().expect("scratch");
            let path = dir.path().join("stdout.log");
            let budget = Arc::new(Budget::for_tests(most));
            let mut log = Log::open(&path, Style::Text, &budget).expect("open");
            let (mut tail, mut told) = (Tail::new(&path, Style::Text.marker()), Vec::new());
            tail.piece = piece;
            for n in 0..lines {
                log.write(format!("{n:07}\n").as_bytes());
                log.flush();
                // Reads on a little: mostly it lags behind, and stands within a line.
                if looks[n % looks.len()] {
                    told.extend(tail.new_lines().expect("read"));
                }
            }
            if is_killed {
                drop(log);
                log = Log::open(&path, Style::Text, &budget).expect("open");
            }
            log.finish();
            drain(&mut tail, &mut told);
            let mut next = 0;
            for line in told {
                if let Some(bytes) = tail.dropped_in(&line) {
                    prop_assert_eq!(bytes % 8, 0);
                    next += usize::try_from(bytes).expect("small") / 8;
                } else if !line.starts_with("[numerus: of what follows") {
                    prop_assert_eq!(line, format!("{next:07}"));
                    next += 1;
                }
            }
            prop_assert_eq!(next, lines);
        }
    }
}
