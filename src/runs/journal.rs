//! The journal of a job, `events.ndjson`: append-only, one event a line, never rewritten.
//!
//! Promises: a line is written in one call; a torn last line is closed with a newline at the next opening, and skipped and
//! counted by readers; `seq` has no gaps among whole lines.
//!
//! Diagnostics: lines that cannot be read are counted, never an error; an unreadable file is. What this program or a power
//! cut leaves of a line is its beginning, and its number is given again. A line that is anything else, or a number that is
//! missing, was destroyed by somebody: [`Replay::damage`] says so, and such a job must not run.

use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::model::event::{Event, Fact};
use crate::model::id::{JobId, TaskId};
use crate::os::{fsx, reserve, seeded};

/// What a journal holds when read as a whole.
#[derive(Debug, Default)]
pub struct Replay {
    /// The whole events, in order.
    pub events: Vec<Event>,
    /// Lines that were torn or that this version does not know.
    pub skipped: u64,
    /// The highest number of a fact that was read, of any version.
    pub last_seq: u64,
    /// What is destroyed, in words that follow the journal's name; `None` where every fact is there.
    pub damage: Option<String>,
}

/// A journal open for appending, by the holder of the run's lock.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    job: JobId,
    next_seq: u64,
    /// What the system said when an append or a flush failed: what is on disk is not known then, and nothing more is
    /// written.
    broken: Option<Error>,
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
        let next_seq = replay.last_seq.saturating_add(1);
        Ok((Self { file, path: path.to_owned(), job: job.clone(), next_seq, broken: None }, replay))
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
        self.write(|file, path| {
            let mut is_torn = false;
            reserve::write_with(path, || {
                if std::mem::replace(&mut is_torn, true) {
                    close_torn_line(file)?;
                }
                file.write_all(&line)
            })
        })?;
        self.next_seq = self.next_seq.saturating_add(1);
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
        self.write(|file, _| file.sync_data())
    }

    /// A torn line must not be written on, and a flush that failed must not be tried again. What is asked for after that
    /// fails as that did, so that nobody takes a fault of the machine for one of the job.
    fn write(&mut self, act: impl FnOnce(&mut File, &Path) -> Result<()>) -> Result<()> {
        if let Some(before) = &self.broken {
            return Err(fsx::at(&self.path)(alike(before)));
        }
        let done = act(&mut self.file, &self.path);
        self.broken = done.as_ref().err().map(alike);
        done.map_err(fsx::at(&self.path))
    }
}

fn alike(error: &Error) -> Error {
    let number = fsx::raw_os_error(error);
    number.map_or_else(|| Error::other(error.to_string()), Error::from_raw_os_error)
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
    /// `None` while nobody reads, see [`JournalReader::let_go`].
    lines: Option<BufReader<File>>,
    path: PathBuf,
    /// Which file it is: its device and its number there.
    file: (u64, u64),
    /// How many bytes of it were read.
    read: u64,
    partial: Vec<u8>,
    skipped: u64,
    line: u64,
    last_seq: u64,
    damage: Option<String>,
}

fn number(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// What a line of any version has.
#[derive(serde::Deserialize)]
struct Numbered {
    seq: u64,
}

impl JournalReader {
    /// Opens a journal for reading from its start.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn open(path: &Path) -> Result<Self> {
        let file = fsx::open_hostile(path)?;
        Ok(Self {
            file: number(&file.metadata().map_err(fsx::at(path))?),
            lines: Some(BufReader::new(file)),
            path: path.to_owned(),
            read: 0,
            partial: Vec::new(),
            skipped: 0,
            line: 0,
            last_seq: 0,
            damage: None,
        })
    }

    /// All of a journal; one that is not there yet is empty.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn read_any(path: &Path) -> Result<Replay> {
        match Self::open(path).and_then(Self::read_all) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Replay::default()),
            replay => replay,
        }
    }

    /// Whether another file has its name by now, or it has become shorter.
    pub fn is_replaced(&self) -> bool {
        let named = std::fs::symlink_metadata(&self.path);
        named.is_ok_and(|named| number(&named) != self.file || named.len() < self.read)
    }

    /// Closes the file until there is more in it: whoever follows many journals has only so many files open.
    pub fn let_go(&mut self) {
        self.lines = None;
    }

    /// Opens the file again where it was let go, if it holds more by now and is still the same.
    fn take_up(&mut self) -> Result<()> {
        if self.lines.is_some() {
            return Ok(());
        }
        let named = std::fs::symlink_metadata(&self.path);
        if named.is_ok_and(|named| named.len() <= self.read) {
            return Ok(());
        }
        let mut file = match fsx::open_hostile(&self.path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        if number(&file.metadata().map_err(fsx::at(&self.path))?) == self.file {
            file.seek(SeekFrom::Start(self.read)).map_err(fsx::at(&self.path))?;
            self.lines = Some(BufReader::new(file));
        }
        Ok(())
    }

    /// The next whole event; `None` when there is none yet. A line without its newline is waited for.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            self.take_up()?;
            let Some(lines) = &mut self.lines else { return Ok(None) };
            let before = self.partial.len();
            let read = lines.read_until(b'\n', &mut self.partial).map_err(fsx::at(&self.path));
            self.read += (self.partial.len() - before) as u64;
            if read? == 0 || self.partial.last() != Some(&b'\n') {
                return Ok(None);
            }
            let line = std::mem::take(&mut self.partial);
            self.line += 1;
            // A power cut may leave zeros where a line was to be.
            let is_text = |byte: &u8| *byte != 0 && !byte.is_ascii_whitespace();
            let text = &line[..line.iter().rposition(is_text).map_or(0, |last| last + 1)];
            match serde_json::from_slice::<Event>(text) {
                // Written again, since the first time seemed to have failed.
                Ok(event) if event.seq <= self.last_seq => self.skipped += 1,
                Ok(event) => {
                    self.count(event.seq);
                    return Ok(Some(event));
                }
                Err(_) if text.is_empty() => {}
                Err(_) => self.skip(text),
            }
        }
    }

    /// A line that is no event of ours: of a later version, the beginning of one, or destroyed.
    fn skip(&mut self, text: &[u8]) {
        self.skipped += 1;
        match serde_json::from_slice::<Numbered>(text) {
            Ok(Numbered { seq }) => self.count(seq),
            Err(e) if e.is_eof() => {}
            Err(_) => self.is_damaged(format!("line {} cannot be read", self.line)),
        }
    }

    fn count(&mut self, seq: u64) {
        if seq > self.last_seq.saturating_add(1) {
            self.is_damaged(format!("fact {} is missing", self.last_seq + 1));
        }
        self.last_seq = self.last_seq.max(seq);
    }

    fn is_damaged(&mut self, how: String) {
        self.damage.get_or_insert(how);
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
        let (last_seq, skipped) = (self.last_seq, self.skipped + torn);
        Ok(Replay { events, skipped, last_seq, damage: self.damage })
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
        assert_eq!((replay.skipped, replay.damage), (1, None));
    }

    #[test]
    fn what_a_crash_leaves_is_no_damage_and_what_a_hand_destroys_is() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("events.ndjson");
        let job = JobId::parse("a-abc234").expect("id");
        let (mut journal, _) = Journal::open(&path, &job).expect("open");
        for attempt in 1..=3 {
            append(&mut journal, attempt);
        }
        let text = std::fs::read_to_string(&path).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        let (one, two, three) = (lines[0], lines[1], lines[2]);
        let newer = two.replace("job.claim_unblocked", "job.of_tomorrow");
        for (what, text, is_damaged) in [
            ("whole", format!("{one}\n{two}\n{three}\n"), false),
            ("torn at the end", format!("{one}\n{two}\n{}", &three[..20]), false),
            ("torn within", format!("{one}\n{}\n{two}\n{three}\n", &two[..30]), false),
            ("zeros at the end", format!("{one}\n{two}\n\0\0\0\0\n"), false),
            ("a line half zeros", format!("{one}\n{}\0\0\0\n{two}\n", &two[..30]), false),
            ("of a later version", format!("{one}\n{newer}\n{three}\n"), false),
            ("a line is gone", format!("{one}\n{three}\n"), true),
            ("the first is gone", format!("{two}\n{three}\n"), true),
            ("a line is overwritten", format!("{one}\n{}\n{three}\n", "x".repeat(two.len())), true),
            ("the last is overwritten", format!("{one}\n{two}\ngarbage\n"), true),
            ("a line lost its start", format!("{one}\n{}\n{three}\n", &two[9..]), true),
            ("a line is zeros", format!("{one}\n{}\n{three}\n", "\0".repeat(two.len())), true),
        ] {
            fsx::put(&path, text.as_bytes()).expect("write");
            let replay = JournalReader::open(&path).expect("open").read_all().expect("read");
            assert_eq!(replay.damage.is_some(), is_damaged, "{what}: {:?}", replay.damage);
        }
    }

    #[test]
    fn a_line_that_is_written_again_counts_once() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("events.ndjson");
        let job = JobId::parse("a-abc234").expect("id");
        let (mut journal, _) = Journal::open(&path, &job).expect("open");
        append(&mut journal, 1);
        append(&mut journal, 2);
        let text = std::fs::read_to_string(&path).expect("text");
        let last = text.lines().last().expect("a line");
        fsx::put(&path, format!("{text}{last}\n").as_bytes()).expect("twice");
        let (mut journal, replay) = Journal::open(&path, &job).expect("open again");
        assert_eq!((replay.events.len(), replay.skipped, replay.damage), (2, 1, None));
        append(&mut journal, 3);
        let replay = JournalReader::open(&path).expect("read").read_all().expect("all");
        assert_eq!(replay.events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn after_an_error_nothing_more_is_taken() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("events.ndjson");
        let job = JobId::parse("a-abc234").expect("id");
        let fact = || Fact::ClaimUnblocked { attempt: 1 };
        let (mut journal, _) = Journal::open(&path, &job).expect("open");
        append(&mut journal, 1);
        journal.flush().expect("flush");
        let good = std::mem::replace(&mut journal.file, File::open(&path).expect("for reading"));
        let refused = journal.append(fact(), None, Timestamp::UNIX_EPOCH).expect_err("read-only");
        assert!(refused.to_string().contains("events.ndjson"), "{refused}");
        journal.file = good;
        let refused = journal.flush().expect_err("broken");
        assert!(refused.to_string().contains("Bad file descriptor"), "{refused}");
        assert!(journal.append(fact(), None, Timestamp::UNIX_EPOCH).is_err());
        assert_eq!(
            JournalReader::open(&path).expect("read").read_all().expect("all").events.len(),
            1
        );
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_blank_lines_are_not() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("events.ndjson");
        for (text, skipped) in
            [("", 0), ("\n \r\n", 0), ("x\n{}\n", 2), ("x\n\n\0\n{\"seq\"", 2), ("\n ", 0)]
        {
            fsx::put(&path, text.as_bytes()).expect("file");
            let replay = JournalReader::open(&path).expect("read").read_all().expect("all");
            assert_eq!((replay.events.len(), replay.skipped), (0, skipped), "{text:?}");
        }
    }

    #[test]
    fn a_follower_that_let_go_goes_on_where_it_was_and_only_in_the_same_file() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("events.ndjson");
        let job = JobId::parse("a-abc234").expect("id");
        let (mut journal, _) = Journal::open(&path, &job).expect("open");
        let mut reader = JournalReader::open(&path).expect("reader");
        let seqs = |reader: &mut JournalReader| {
            reader.let_go();
            let all = std::iter::from_fn(|| reader.next_event().expect("read"));
            all.map(|event| event.seq).collect::<Vec<_>>()
        };
        append(&mut journal, 1);
        append(&mut journal, 2);
        assert_eq!(seqs(&mut reader), [1, 2]);
        assert_eq!(seqs(&mut reader), [0; 0]);
        let third = std::fs::read_to_string(&path).expect("text").replace("\"seq\":1", "\"seq\":3");
        let third = third.lines().next().expect("a line").as_bytes();
        journal.file.write_all(&third[..10]).expect("half");
        assert_eq!(seqs(&mut reader), [0; 0]);
        journal.file.write_all(&third[10..]).expect("rest");
        journal.file.write_all(b"\n").expect("its end");
        assert_eq!(seqs(&mut reader), [3]);
        assert!(!reader.is_replaced());
        let text = std::fs::read_to_string(&path).expect("text");
        fsx::put(&path, format!("{text}{text}").as_bytes()).expect("another file");
        assert_eq!((seqs(&mut reader), reader.is_replaced()), (vec![], true));
        fsx::remove(&path).expect("gone");
        assert_eq!((seqs(&mut reader), reader.is_replaced()), (vec![], false));
    }

    #[test]
    fn a_follower_waits_for_the_end_of_a_line() {
        let d = tempfile::tempdir().expect("scratch");
        let path = d.path().join("events.ndjson");
        let job = JobId::parse("a-abc234").expect("id");
        let (mut journal, _) = Journal::open(&path, &job).expect("open");
        append(&mut journal, 1);
        let whole = std::fs::read_to_string(&path).expect("text").replace("\"seq\":1", "\"seq\":2");
        let whole = whole.as_bytes();
        let mut reader = JournalReader::open(&path).expect("reader");
        assert!(reader.next_event().expect("first").is_some());
        journal.file.write_all(&whole[..10]).expect("half");
        assert!(reader.next_event().expect("none yet").is_none());
        journal.file.write_all(&whole[10..]).expect("rest");
        assert!(reader.next_event().expect("second").is_some());
    }
}
