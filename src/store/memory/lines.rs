//! The lines of `memory.ndjson`, and how they are taken into the database.

use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use crate::model::id::JobId;
use crate::model::memory::Entry;
use crate::os::fsx;

/// A line that takes the entry of a job back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Forgotten {
    pub(super) version: u32,
    pub(super) forget: JobId,
    pub(super) at: Timestamp,
}

/// A line of the truth.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Forgotten(Forgotten),
    Entry(Box<Entry>),
}

/// A line of the truth; `None` for one that says nothing.
pub(super) fn read_line(line: &[u8]) -> Option<Line> {
    serde_json::from_slice(line).ok()
}

/// The whole lines from byte `taken` on and where they start: from the beginning when the truth has become shorter; `None`
/// if there is nothing new, or no truth, which is no reason to forget anything. A last line without its end is left for later.
pub(super) fn unread(truth: &Path, taken: u64) -> std::io::Result<Option<(Vec<Vec<u8>>, u64)>> {
    let mut file = match fsx::open_own(truth) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let length = file.metadata()?.len();
    let start = if length < taken { 0 } else { taken };
    file.seek(SeekFrom::Start(start))?;
    let mut lines = Vec::new();
    let mut reader = BufReader::new(file);
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        lines.push(line);
    }
    Ok((!lines.is_empty() || start < taken).then_some((lines, start)))
}

/// Takes lines into the database; those from the first byte on take the place of all that it has.
pub(super) fn take_in(t: &Transaction<'_>, lines: &[Vec<u8>], start: u64) -> rusqlite::Result<()> {
    if start == 0 {
        t.execute_batch("DELETE FROM words; DELETE FROM entries; DELETE FROM banks;")?;
    }
    for line in lines.iter().filter_map(|line| read_line(line)) {
        match line {
            Line::Entry(entry) => put_entry(t, &entry)?,
            Line::Forgotten(line) => drop_entry(t, &line.forget)?,
        }
    }
    let bytes = start + lines.iter().map(|line| line.len() as u64).sum::<u64>();
    t.execute("UPDATE taken_in SET bytes = ?1", [bytes.cast_signed()]).map(drop)
}

/// Puts an entry in; a second one of its job changes nothing.
fn put_entry(t: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    let json = serde_json::to_string(entry)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    t.execute("INSERT OR IGNORE INTO banks VALUES (?1)", [&entry.bank])?;
    let added = t.execute(
        "INSERT OR IGNORE INTO entries(job_id, bank, at, entry) VALUES (?1, ?2, ?3, ?4)",
        params![entry.job_id.as_str(), entry.bank, entry.at.as_microsecond(), json],
    )?;
    if added == 1 {
        let claims = entry.claims.join("\n");
        t.execute(
            "INSERT INTO words(rowid, objective, plan, claims, outcome) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![t.last_insert_rowid(), entry.objective, entry.plan, claims, entry.outcome.as_str()],
        )?;
    }
    Ok(())
}

/// Takes the entry of a job out, and its bank if that is empty then.
fn drop_entry(t: &Transaction<'_>, job: &JobId) -> rusqlite::Result<()> {
    let job = [job.as_str()];
    t.execute(
        "DELETE FROM words WHERE rowid IN (SELECT number FROM entries WHERE job_id = ?1)",
        job,
    )?;
    t.execute("DELETE FROM entries WHERE job_id = ?1", job)?;
    t.execute("DELETE FROM banks WHERE name NOT IN (SELECT bank FROM entries)", []).map(drop)
}
