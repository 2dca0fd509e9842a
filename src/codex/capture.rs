//! What programs write into a pipe, read as it comes and put into a log: they are never blocked, and their files are ours, so
//! that they cannot fill the disk behind our back.
//!
//! A thread of its own reads until nobody has the pipe open; whoever must know all that was written so far drains it before
//! looking.

use std::io::{PipeReader, PipeWriter, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::Log;
use crate::os::pipe::{self, Look};
use crate::os::threads;

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that one draining takes in: more than a pipe holds, so that what had been written before it is among them.
const CHUNKS: u32 = 16;
/// How much of the end is kept in memory for messages, in bytes.
const TAIL_BYTES: usize = 16 * 1024;

/// A pipe that is read into a log.
#[derive(Debug, Clone)]
pub struct Capture(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    reader: PipeReader,
    log: Log,
    tail: Vec<u8>,
    chunk: Vec<u8>,
}

impl Capture {
    /// Starts to read; the other end of the pipe is for the programs.
    ///
    /// # Errors
    /// When the system has no more descriptors or threads to give.
    pub fn start(log: Log) -> Result<(Self, PipeWriter)> {
        let (reader, writer) = pipe::pair()?;
        let waiting = reader.try_clone()?;
        let inner = Inner { reader, log, tail: Vec::new(), chunk: vec![0; CHUNK_BYTES] };
        let capture = Self(Arc::new(Mutex::new(inner)));
        let reading = capture.clone();
        threads::run(move || {
            while reading.lock().drain() {
                pipe::wait(&waiting);
            }
        })?;
        Ok((capture, writer))
    }

    /// Takes in what has been written so far.
    pub fn drain(&self) {
        self.lock().drain();
    }

    /// The end of what was written.
    pub fn tail(&self) -> String {
        let mut inner = self.lock();
        inner.drain();
        let from = inner.tail.len().saturating_sub(TAIL_BYTES);
        String::from_utf8_lossy(inner.tail.get(from..).unwrap_or_default()).into_owned()
    }

    /// Puts a line of ours between what the programs write.
    pub fn say(&self, line: &str) {
        let mut inner = self.lock();
        inner.drain();
        inner.log.write(format!("{line}\n").as_bytes());
        inner.log.flush();
    }

    /// Ends the log: what is written later is dropped.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.drain();
        inner.log.finish();
    }

    /// Whether parts of the log are to be joined at its end, or that cannot be told at once.
    pub fn has_parts(&self) -> bool {
        self.0.try_lock().map_or(true, |inner| inner.log.has_parts())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether more may come.
    fn drain(&mut self) -> bool {
        let mut look = Look::Empty;
        for _ in 0..CHUNKS {
            look = pipe::read(&self.reader, &mut self.chunk);
            let Look::Bytes(length) = look else { break };
            let bytes = self.chunk.get(..length).unwrap_or_default();
            self.log.write_bytes(bytes);
            self.tail.extend_from_slice(bytes);
            if self.tail.len() > TAIL_BYTES + CHUNK_BYTES {
                self.tail.drain(..self.tail.len() - TAIL_BYTES);
            }
        }
        self.log.flush();
        look != Look::End
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::codex::log::Style;
    use crate::codex::log_budget::Budget;
    use crate::os::fsx;

    #[test]
    fn what_was_written_before_a_look_is_seen_and_what_comes_after_the_end_is_dropped() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("stderr.log");
        let log = Log::open(&path, Style::Text, &Arc::new(Budget::for_tests(1_000_000)));
        let (capture, mut writer) = Capture::start(log.expect("log")).expect("pipe");
        for n in 0..1000 {
            writer.write_all(format!("line {n}\n").as_bytes()).expect("write");
            assert!(capture.tail().ends_with(&format!("line {n}\n")));
        }
        capture.close();
        writer.write_all(b"late\n").expect("nobody is blocked");
        capture.drain();
        let text = fsx::read_optional(&path).expect("read").expect("there");
        assert!(text.starts_with("line 0\n") && text.ends_with("line 999\n"), "{text}");
    }

    #[test]
    fn a_writer_is_never_blocked_and_the_log_is_bounded() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("stderr.log");
        let log = Log::open(&path, Style::Text, &Arc::new(Budget::for_tests(100_000)));
        let (capture, mut writer) = Capture::start(log.expect("log")).expect("pipe");
        for _ in 0..200 {
            writer.write_all(&vec![b'x'; 100_000]).expect("write");
        }
        capture.close();
        let text = fsx::read_optional(&path).expect("read").expect("there");
        assert!(text.len() < 101_000 && text.contains("bytes were dropped here]"));
    }
}
