//! The journal of a job, `events.ndjson`: append-only, one event a line, never rewritten.
//!
//! Promises: a line is written in one call; a torn last line is closed with a newline at the next opening, and skipped and
//! counted by readers; `seq` has no gaps among whole lines.
//!
//! Diagnostics: lines that cannot be read are counted, never an error; an unreadable file is.

use std::fs::File;
use std::io::{BufRead, BufReader, Error, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::model::event::{Event, Fact};
use crate::model::id::{JobId, TaskId};
use crate::os::{fsx, seeded};

/// What a journal holds when read as a whole.
#[derive(Debug, Default)]
pub struct Replay {
    /// The whole events, in order.
    pub events: Vec<Event>,
    /// Lines that were torn or that this version does not know.
    pub skipped: u64,
}

/// A journal open for appending, by the holder of the run's lock.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    job: JobId,
    next_seq: u64,
    /// Whether an append or a flush failed: what is on disk is not known then, and nothing more is written.
    is_broken: bool,
}

impl Journal {
    /// Opens or creates a journal and reads what it holds.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn open(path: &Path, job: &JobId) -> Result<(Self, Replay)> {
        let existed = path.exists();
        let mut file = fsx::open_append(path)?;
        if !existed {
            fsx::sync_dir(path.parent().unwrap_or(path))?;
        }
        close_torn_line(&mut file).map_err(fsx::at(path))?;
        let replay = JournalReader::open(path)?.read_all()?;
        let next_seq = replay.events.last().map_or(1, |e| e.seq + 1);
        Ok((
            Self { file, path: path.to_owned(), job: job.clone(), next_seq, is_broken: false },
            replay,
        ))
    }

    /// Appends a fact; it survives a crash of the program, but not yet of the machine.
    ///
    /// # Errors
    /// Those of the system, with the path. After one nothing more is taken: who opens the journal anew finds out what is
    /// on disk.
    pub fn append(&mut self, fact: Fact, task: Option<&TaskId>, now: Timestamp) -> Result<Event> {
        let (job_id, task_id) = (self.job.clone(), task.cloned());
        let event = Event { seq: self.next_seq, ts: now, fact, job_id, task_id };
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        self.write(|file| file.write_all(&line))?;
        self.next_seq += 1;
        Ok(event)
    }

    /// Flushes what was appended: from here on it survives a power cut.
    ///
    /// # Errors
    /// Those of the system, with the path; then nothing of the last appends is promised, and nothing more is taken.
    pub fn flush(&mut self) -> Result<()> {
        if seeded::bug("no-journal-flush") {
            return Ok(());
        }
        self.write(|file| file.sync_data())
    }

    /// A torn line must not be written on, and a flush that failed must not be tried again.
    fn write(&mut self, act: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
        if self.is_broken {
            return Err(fsx::at(&self.path)(Error::other("an earlier write failed")));
        }
        let done = act(&mut self.file);
        self.is_broken = done.is_err();
        done.map_err(fsx::at(&self.path))
    }
}

fn close_torn_line(file: &mut File) -> Result<()> {
    let length = file.metadata()?.len();
    if length == 0 || seeded::bug("torn-line-open") {
        return Ok(());
    }
    let mut last = [0u8];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    if last == [b'\n'] { Ok(()) } else { file.write_all(b"\n") }
}

/// Reads a journal from where it last stopped, so that a follower sees each event once.
#[derive(Debug)]
pub struct JournalReader {
    lines: BufReader<File>,
    path: PathBuf,
    partial: Vec<u8>,
    skipped: u64,
}

impl JournalReader {
    /// Opens a journal for reading from its start.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn open(path: &Path) -> Result<Self> {
        let file = fsx::open_hostile(path)?;
        Ok(Self {
            lines: BufReader::new(file),
            path: path.to_owned(),
            partial: Vec::new(),
            skipped: 0,
        })
    }

    /// The next whole event; `None` when there is none yet. A line without its newline is waited for.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            let read =
                self.lines.read_until(b'\n', &mut self.partial).map_err(fsx::at(&self.path))?;
            if read == 0 || self.partial.last() != Some(&b'\n') {
                return Ok(None);
            }
            let event = serde_json::from_slice(&self.partial);
            let is_blank = self.partial.trim_ascii().is_empty();
            self.partial.clear();
            match event {
                Ok(event) => return Ok(Some(event)),
                Err(_) if is_blank => {}
                Err(_) => self.skipped += 1,
            }
        }
    }

    /// Everything from here to the end.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn read_all(mut self) -> Result<Replay> {
        let mut events = Vec::new();
        while let Some(event) = self.next_event()? {
            events.push(event);
        }
        let torn = u64::from(!self.partial.trim_ascii().is_empty());
        Ok(Replay { events, skipped: self.skipped + torn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(journal: &mut Journal, attempt: u32) {
        let now = Timestamp::UNIX_EPOCH;
        journal.append(Fact::ClaimUnblocked { attempt }, None, now).expect("append");
    }

    #[test]
    fn a_torn_line_is_closed_skipped_and_counted() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("events.ndjson");
        let job = JobId::parse("a-abc234").expect("id");
        let (mut journal, _) = Journal::open(&path, &job).expect("open");
        append(&mut journal, 1);
        journal.file.write_all(b"{\"seq\":2,\"ts\":").expect("tear");
        drop(journal);
        let (mut journal, replay) = Journal::open(&path, &job).expect("open again");
        assert_eq!((replay.events.len(), replay.skipped), (1, 1));
        append(&mut journal, 2);
        let replay = JournalReader::open(&path).expect("read").read_all().expect("all");
        assert_eq!(replay.events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(replay.skipped, 1);
    }

    #[test]
    fn a_follower_waits_for_the_end_of_a_line() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("events.ndjson");
        let job = JobId::parse("a-abc234").expect("id");
        let (mut journal, _) = Journal::open(&path, &job).expect("open");
        append(&mut journal, 1);
        let whole = std::fs::read(&path).expect("bytes");
        let mut reader = JournalReader::open(&path).expect("reader");
        assert!(reader.next_event().expect("first").is_some());
        journal.file.write_all(&whole[..10]).expect("half");
        assert!(reader.next_event().expect("none yet").is_none());
        journal.file.write_all(&whole[10..]).expect("rest");
        assert!(reader.next_event().expect("second").is_some());
    }
}
