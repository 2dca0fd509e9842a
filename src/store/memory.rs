//! What jobs did, to be found again: `memory.ndjson`, one entry a line, is the truth; `memory.db` makes it searchable.
//!
//! Promises: an entry is flushed to the truth before it is in the database; the database knows how many bytes of the truth
//! it has taken in and takes in the rest whenever it is opened, so it may be deleted at any time; a job is remembered once.
//!
//! A truth that is gone, or of which nothing can be read, is written again from the database, else from the newest copy.
//!
//! Diagnostics: lines that cannot be read are skipped; a truth that can be read is never rewritten, but for what is left of one
//! that was removed while a line was written; one that was found lost and written again is told of by [`Memory::restored`], and one
//! that could not be read is put aside.

mod lines;
mod queries;

use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use serde::Serialize;

pub use self::queries::Found;

use self::lines::{Forgotten, Line, read_line, take_in, unread};
use super::db::{self, Result, Schema, said};
use super::truth::{self, append, line_of};
use crate::model::id::JobId;
use crate::model::memory::Entry;
use crate::os::fsx;
use crate::store::StoreError;

/// The version of lines that are written here.
const VERSION: u32 = 1;
/// Times are microseconds since 1970, so that they sort.
const SCHEMA: Schema = Schema {
    application_id: 0x4e75_6d4d,
    migrations: &["
        CREATE TABLE banks(name TEXT PRIMARY KEY NOT NULL) STRICT;
        CREATE TABLE entries(
            number INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE,
            bank TEXT NOT NULL REFERENCES banks(name), at INTEGER NOT NULL, entry TEXT NOT NULL
        ) STRICT;
        CREATE INDEX entries_by_bank ON entries(bank, at);
        CREATE VIRTUAL TABLE words USING fts5(objective, plan, claims, outcome);
        CREATE TABLE taken_in(bytes INTEGER NOT NULL) STRICT;
        INSERT INTO taken_in VALUES (0);
    "],
};

/// Whether a job is remembered, and whether there is a bank of this name.
const JOB: &str = "SELECT 1 FROM entries WHERE job_id = ?1";
const BANK: &str = "SELECT 1 FROM banks WHERE name = ?1";

/// The memory of one root.
#[derive(Debug)]
pub struct Memory {
    connection: Connection,
    truth: PathBuf,
    path: PathBuf,
    /// Which file the database is; none for the memory of the truth alone.
    file: Option<(u64, u64)>,
    restored: Option<String>,
}

/// Which file a path names: its device and its number there.
fn file_at(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

impl Memory {
    /// Opens the memory and takes in what the truth says and the database does not know yet.
    ///
    /// # Errors
    /// A database that a newer program wrote, and trouble with the files.
    pub fn open(store: &Path) -> Result<Self> {
        Self::open_once(store).or_else(|error| {
            if !db::is_damage(&error) {
                return Err(error);
            }
            let _put_aside = db::met(&store.join("memory.db"), error);
            Self::open_once(store)
        })
    }

    fn open_once(store: &Path) -> Result<Self> {
        let (path, truth) = (store.join("memory.db"), store.join("memory.ndjson"));
        fsx::refuse_irregular(&path)?;
        let connection = db::open(&path, &SCHEMA)?;
        let file = file_at(&path);
        Self { connection, truth, path, file, restored: None }.brought_up()
    }

    /// One that was opened before, as long as its database is the same file: opening takes ten times as long as asking. What the
    /// truth says since then it takes in when it is to remember or to forget.
    pub fn kept(self) -> Option<Self> {
        let is_same = self.file.is_some() && file_at(&self.path) == self.file;
        is_same.then_some(Self { restored: None, ..self })
    }

    /// As [`Memory::open`], with the database of one that was opened before, as long as that is the same file.
    ///
    /// # Errors
    /// Those of [`Memory::open`].
    pub fn open_again(self) -> Result<Self> {
        let store = self.truth.parent().unwrap_or_else(|| Path::new(".")).to_owned();
        let Some(same) = self.kept() else { return Self::open(&store) };
        match same.brought_up() {
            Err(error) if db::is_damage(&error) => Self::open(&store),
            brought_up => brought_up,
        }
    }

    /// Written again where it is lost, and with all of the truth in it.
    fn brought_up(mut self) -> Result<Self> {
        let guard = db::lock_beside(&self.truth)?;
        self.restore()?;
        self.catch_up()?;
        drop(guard);
        Ok(self)
    }

    /// The memory as its truth tells it, with no file for the database: for whoever may not write here, or cannot use that
    /// file.
    ///
    /// # Errors
    /// Trouble with the truth.
    pub fn of_truth(store: &Path) -> Result<Self> {
        let truth = store.join("memory.ndjson");
        let connection = db::in_memory(&truth, &SCHEMA)?;
        let mut memory =
            Self { connection, path: truth.clone(), truth, file: None, restored: None };
        memory.catch_up()?;
        Ok(memory)
    }

    /// What was lost of the truth when it was opened or added to, and where it was written again from.
    pub fn restored(&self) -> Option<&str> {
        self.restored.as_deref()
    }

    /// Writes a truth that is lost again: from the database, which took every entry in, or from the newest copy. The
    /// caller holds the lock beside the truth.
    fn restore(&mut self) -> Result<()> {
        let reads = |line: &[u8]| read_line(line).is_some();
        let Some(loss) = truth::loss(&self.truth, &reads).map_err(fsx::at(&self.truth))? else {
            return Ok(());
        };
        let lines = self.lines().map_err(said(&self.path))?;
        let known = lines.len() as u64;
        let from_database = (!lines.is_empty()).then(|| (self.path.clone(), lines));
        let Some((source, bytes)) = from_database.or_else(|| truth::newest(&self.truth)) else {
            return Ok(());
        };
        if loss == truth::Loss::Unreadable {
            truth::put_aside(&self.truth)?;
        }
        fsx::put_new(&self.truth, &bytes)?;
        self.note_taken(known)?;
        let (truth, source) = (self.truth.display(), source.display());
        self.restored = Some(format!("{truth} was {}: written again from {source}", loss.word()));
        Ok(())
    }

    /// Every entry of the database as the truth has it.
    fn lines(&self) -> rusqlite::Result<Vec<u8>> {
        let mut statement = self.connection.prepare("SELECT entry FROM entries ORDER BY number")?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        lines.map(|line| Ok(line? + "\n")).collect::<rusqlite::Result<String>>().map(Into::into)
    }

    /// Remembers a job; `true` if its bank is new. A job that is remembered already changes nothing.
    ///
    /// # Errors
    /// Trouble with the files; then the entry may be in the truth, and asking again is safe.
    pub fn remember(&mut self, entry: &Entry) -> Result<bool> {
        self.put_in(entry).map_err(|error| self.put_aside_if_damaged(error))
    }

    /// As [`said`], for what is asked of the database: one whose damage is met is put aside.
    fn met(&self) -> impl FnOnce(rusqlite::Error) -> StoreError + '_ {
        |error| self.put_aside_if_damaged(said(&self.path)(error))
    }

    /// The memory of the truth alone lies in no file.
    fn put_aside_if_damaged(&self, error: StoreError) -> StoreError {
        if self.path == self.truth { error } else { db::met(&self.path, error) }
    }

    /// Asks the memory of a store, made anew where its database turns out to be damaged, else as its truth tells it.
    ///
    /// # Errors
    /// Trouble with the files, or what was asked fails of the truth, too.
    pub fn ask<T>(store: &Path, asked: impl Fn(&Self) -> Result<T>) -> Result<T> {
        let once = || Self::open(store).and_then(|memory| asked(&memory));
        once().or_else(|_| once()).or_else(|_| asked(&Self::of_truth(store)?))
    }

    fn put_in(&mut self, entry: &Entry) -> Result<bool> {
        let _guard = db::lock_beside(&self.truth)?;
        self.restore()?;
        self.catch_up()?;
        if self.has(JOB, entry.job_id.as_str()).map_err(said(&self.path))? {
            return Ok(false);
        }
        let has_bank = self.has(BANK, &entry.bank).map_err(said(&self.path))?;
        self.write(entry)?;
        // A copy that cannot be put now is due again with the next entry.
        let _next_time = truth::put_if_due(&self.truth);
        Ok(!has_bank)
    }

    /// Forgets a job for good: a line in the truth says so, and no database that is made from it has the job. `true` if it was
    /// remembered.
    ///
    /// # Errors
    /// Trouble with the files; asking again is safe.
    pub fn forget(&mut self, job: &JobId, at: Timestamp) -> Result<bool> {
        let _guard = db::lock_beside(&self.truth)?;
        self.restore()?;
        self.catch_up()?;
        let known = self.has(JOB, job.as_str()).map_err(said(&self.path))?;
        if known {
            self.write(&Forgotten { version: VERSION, forget: job.clone(), at })?;
            // No copy may bring it back.
            truth::put_alone(&self.truth)?;
        }
        Ok(known)
    }

    /// Appends a line to the truth and takes it in. Where the truth was removed or cut off at this moment, that is all there is of it,
    /// or not even that: it is written again from the database. The caller holds the lock beside the truth.
    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let taken = self.taken().map_err(said(&self.path))?;
        let line = line_of(line)?;
        append(&self.truth, &line)?;
        let whole = taken + line.len() as u64;
        if self.truth.metadata().is_ok_and(|truth| truth.len() >= whole) {
            return self.catch_up();
        }
        self.take(&[line], taken)?;
        let lines = self.lines().map_err(said(&self.path))?;
        fsx::put(&self.truth, &lines)?;
        self.note_taken(lines.len() as u64)
    }

    /// How many bytes of the truth the database has taken in.
    fn taken(&self) -> rusqlite::Result<u64> {
        let mut statement = self.connection.prepare_cached("SELECT bytes FROM taken_in")?;
        statement.query_row([], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
    }

    /// Notes how many bytes the database has of a truth that was just written: all, if that was from the database, else none, so that the
    /// next look takes all of it in.
    fn note_taken(&self, bytes: u64) -> Result<()> {
        let taken =
            self.connection.execute("UPDATE taken_in SET bytes = ?1", [bytes.cast_signed()]);
        taken.map(drop).map_err(said(&self.path))
    }

    /// Whether there is a row, of one of those that are asked for by their name.
    fn has(&self, sql: &str, name: &str) -> rusqlite::Result<bool> {
        let found = self.connection.query_row(sql, [name], |_| Ok(()));
        found.optional().map(|found| found.is_some())
    }

    /// Takes in the lines of the truth that are new; all of them if the truth is not the one that was taken in. The
    /// caller holds the lock beside the truth.
    fn catch_up(&mut self) -> Result<()> {
        let taken = self.taken().map_err(said(&self.path))?;
        let unread = unread(&self.truth, taken).map_err(fsx::at(&self.truth))?;
        unread.map_or(Ok(()), |(lines, start)| self.take(&lines, start))
    }

    /// Takes in lines that start at a byte of the truth. The caller holds the lock beside the truth.
    fn take(&mut self, lines: &[Vec<u8>], start: u64) -> Result<()> {
        let mut take = || -> rusqlite::Result<()> {
            let behavior = TransactionBehavior::Immediate;
            let transaction = self.connection.transaction_with_behavior(behavior)?;
            take_in(&transaction, lines, start)?;
            transaction.commit()
        };
        take().map_err(said(&self.path))
    }
}

/// Remembers a job in the truth alone: for when the database cannot be used. It takes the entry in when it can.
///
/// # Errors
/// Trouble with the truth.
pub fn remember_without_database(store: &Path, entry: &Entry) -> Result<()> {
    let truth = store.join("memory.ndjson");
    let _guard = db::lock_beside(&truth)?;
    let is_lost = !truth.exists();
    if is_lost && (store.join("memory.db").exists() || truth::newest(&truth).is_some()) {
        // A new truth of one line would look whole, and the rest be forgotten.
        let why = Error::new(ErrorKind::NotFound, "it is lost, and cannot be restored now");
        return Err(fsx::at(&truth)(why).into());
    }
    let known =
        unread(&truth, 0).map_err(fsx::at(&truth))?.map_or_else(Vec::new, |(lines, _)| lines);
    let is_of_job = |line: Line| matches!(line, Line::Entry(e) if e.job_id == entry.job_id);
    let is_known = known.iter().filter_map(|line| read_line(line)).any(is_of_job);
    if is_known { Ok(()) } else { Ok(append(&truth, &line_of(entry)?)?) }
}

#[cfg(test)]
mod tests;
