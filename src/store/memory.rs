//! What jobs did, to be found again: `memory.ndjson`, one entry a line, is the truth; `memory.db` makes it searchable.
//!
//! Promises: an entry is flushed to the truth before it is in the database; the database knows how many bytes of the truth
//! it has taken in and takes in the rest whenever it is opened, so it may be deleted at any time; a job is remembered once.
//!
//! A truth that is gone, or of which nothing can be read, is written again from the database, else from the newest copy.
//!
//! Diagnostics: lines that cannot be read are skipped; a truth that can be read is never rewritten; one that was written
//! again is told of by [`Memory::restored`], and one that could not be read is put aside.

use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use super::db::{self, Result, Schema, said};
use super::truth::{self, append};
use crate::model::claim::ClaimQuality;
use crate::model::id::JobId;
use crate::model::status::JobPhase;
use crate::os::fsx;

/// The version of lines that are written here.
const VERSION: u32 = 1;
/// Most words of a search text that are looked for.
const MAX_WORDS: usize = 64;

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

/// What is remembered of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The protocol version that wrote it.
    pub version: u32,
    /// The job.
    pub job_id: JobId,
    /// The bank: one for each workspace.
    pub bank: String,
    /// When the job ended.
    pub at: Timestamp,
    /// What was asked for.
    pub objective: String,
    /// What was planned, in a few lines.
    pub plan: String,
    /// The paths that its tasks claimed for writing.
    pub claims: Vec<String>,
    /// How it ended.
    pub outcome: JobPhase,
    /// Of what was claimed for writing, the share that was written; the mean over its measured claims, from 0 to 1.
    pub claim_precision: Option<f64>,
    /// Of what was written, the share that had been claimed; likewise.
    #[serde(default)]
    pub claim_recall: Option<f64>,
    /// Paths that were written without having been claimed, the most frequent first, bounded.
    #[serde(default)]
    pub missed: Vec<String>,
}

impl Entry {
    /// How good the job's claims were.
    pub fn quality(&self) -> ClaimQuality {
        ClaimQuality {
            precision: self.claim_precision,
            recall: self.claim_recall,
            missed: self.missed.clone(),
            unused: Vec::new(),
        }
    }
}

/// A line that takes the entry of a job back.
#[derive(Debug, Serialize, Deserialize)]
struct Forgotten {
    version: u32,
    forget: JobId,
    at: Timestamp,
}

/// A line of the truth.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Forgotten(Forgotten),
    Entry(Box<Entry>),
}

/// The memory of one root.
#[derive(Debug)]
pub struct Memory {
    connection: Connection,
    truth: PathBuf,
    path: PathBuf,
    restored: Option<String>,
}

impl Memory {
    /// Opens the memory and takes in what the truth says and the database does not know yet.
    ///
    /// # Errors
    /// A database that a newer program wrote, and trouble with the files.
    pub fn open(store: &Path) -> Result<Self> {
        let (path, truth) = (store.join("memory.db"), store.join("memory.ndjson"));
        let connection = db::open(&path, &SCHEMA)?;
        let mut memory = Self { connection, truth, path, restored: None };
        let _guard = db::lock_beside(&memory.truth)?;
        memory.restore()?;
        memory.catch_up()?;
        Ok(memory)
    }

    /// What was lost of the truth when it was opened, and where it was written again from.
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
        let from_database = (!lines.is_empty()).then(|| (self.path.clone(), lines));
        let Some((source, bytes)) = from_database.or_else(|| truth::newest(&self.truth)) else {
            return Ok(());
        };
        if loss == truth::Loss::Unreadable {
            truth::put_aside(&self.truth)?;
        }
        fsx::put_new(&self.truth, &bytes)?;
        // What was taken in is counted in bytes of the old one.
        let taken = self.connection.execute("UPDATE taken_in SET bytes = 0", []);
        taken.map_err(said(&self.path))?;
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
        let _guard = db::lock_beside(&self.truth)?;
        self.catch_up()?;
        if self.knows(entry).map_err(said(&self.path))? {
            return Ok(false);
        }
        let banks = self.banks()?;
        append(&self.truth, entry)?;
        // A copy that cannot be put now is due again with the next entry.
        let _next_time = truth::put_if_due(&self.truth);
        self.catch_up()?;
        Ok(!banks.contains(&entry.bank))
    }

    /// Forgets a job for good: a line in the truth says so, and no database that is made from it has the job. `true` if it was
    /// remembered.
    ///
    /// # Errors
    /// Trouble with the files; asking again is safe.
    pub fn forget(&mut self, job: &JobId, at: Timestamp) -> Result<bool> {
        let _guard = db::lock_beside(&self.truth)?;
        self.catch_up()?;
        let sql = "SELECT 1 FROM entries WHERE job_id = ?1";
        let known = self.connection.query_row(sql, [job.as_str()], |_| Ok(()));
        let known = known.optional().map_err(said(&self.path))?.is_some();
        if known {
            append(&self.truth, &Forgotten { version: VERSION, forget: job.clone(), at })?;
            // No copy may bring it back.
            truth::put_alone(&self.truth)?;
            self.catch_up()?;
        }
        Ok(known)
    }

    /// The names of all banks, sorted.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn banks(&self) -> Result<Vec<String>> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self.connection.prepare("SELECT name FROM banks ORDER BY name")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        read().map_err(said(&self.path))
    }

    /// The entries of a bank, the newest first.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn entries(&self, bank: &str) -> Result<Vec<Entry>> {
        self.last(bank, u32::MAX)
    }

    /// The last entries of a bank, at most so many, the newest first.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn last(&self, bank: &str, most: u32) -> Result<Vec<Entry>> {
        let read = || -> rusqlite::Result<Vec<Entry>> {
            let sql = "SELECT entry FROM entries WHERE bank = ?1
                ORDER BY at DESC, number DESC LIMIT ?2";
            self.connection.prepare(sql)?.query_map(params![bank, most], read_entry)?.collect()
        };
        read().map_err(said(&self.path))
    }

    /// The entries, of one bank or of all, that share most with the words of a text. Nothing in the text is syntax.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn search(&self, text: &str, bank: Option<&str>, limit: u32) -> Result<Vec<Entry>> {
        let Some(query) = any_word_of(text) else { return Ok(Vec::new()) };
        let read = || -> rusqlite::Result<Vec<Entry>> {
            let sql = "SELECT entry FROM words JOIN entries ON entries.number = words.rowid
                WHERE words MATCH ?1 AND (?2 IS NULL OR bank = ?2) ORDER BY words.rank, at DESC LIMIT ?3";
            self.connection
                .prepare(sql)?
                .query_map(params![query, bank, limit], read_entry)?
                .collect()
        };
        read().map_err(said(&self.path))
    }

    fn knows(&self, entry: &Entry) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM entries WHERE job_id = ?1";
        let found = self.connection.query_row(sql, [entry.job_id.as_str()], |_| Ok(()));
        Ok(found.optional()?.is_some())
    }

    /// Takes in the lines of the truth that are new; all of them if the truth is not the one that was taken in. The
    /// caller holds the lock beside the truth.
    fn catch_up(&mut self) -> Result<()> {
        let path = self.path.clone();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(said(&path))?;
        let taken = transaction
            .query_row("SELECT bytes FROM taken_in", [], |row| row.get::<_, i64>(0))
            .map_err(said(&path))?;
        let Some((lines, start)) =
            unread(&self.truth, taken.unsigned_abs()).map_err(fsx::at(&self.truth))?
        else {
            return Ok(());
        };
        take_in(&transaction, &lines, start).map_err(said(&path))?;
        transaction.commit().map_err(said(&path))
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
    if is_known { Ok(()) } else { Ok(append(&truth, entry)?) }
}

fn read_line(line: &[u8]) -> Option<Line> {
    serde_json::from_slice(line).ok()
}

/// The whole lines from byte `taken` on and where they start: from the beginning when the truth has become shorter; `None`
/// if there is nothing new. A last line without its end is left for later.
fn unread(truth: &Path, taken: u64) -> std::io::Result<Option<(Vec<Vec<u8>>, u64)>> {
    let mut file = match File::open(truth) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && taken == 0 => return Ok(None),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Some((Vec::new(), 0))),
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

fn take_in(t: &Transaction<'_>, lines: &[Vec<u8>], start: u64) -> rusqlite::Result<()> {
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

fn read_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let text: String = row.get(0)?;
    serde_json::from_str(&text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e))
    })
}

/// A query for any of the words of a text, each quoted so that none is an operator; `None` if there is no word.
fn any_word_of(text: &str) -> Option<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut seen = std::collections::BTreeSet::new();
    let fresh = words.filter(|word| seen.insert(word.to_lowercase())).take(MAX_WORDS);
    let quoted: Vec<String> = fresh.map(|word| format!("\"{word}\"")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn entry(job: &str, bank: &str, objective: &str) -> Entry {
        Entry {
            version: 1,
            job_id: JobId::parse(job).expect("id"),
            bank: bank.into(),
            at: Timestamp::UNIX_EPOCH,
            objective: objective.into(),
            plan: "one: write the parser".into(),
            claims: vec!["src/parser.rs".into(), "docs/".into()],
            outcome: JobPhase::Succeeded,
            claim_precision: Some(0.5),
            claim_recall: Some(0.25),
            missed: vec!["src/lib.rs".into()],
        }
    }

    fn filled(dir: &tempfile::TempDir) -> Memory {
        let mut memory = Memory::open(dir.path()).expect("open");
        for (job, bank, objective, is_new) in [
            ("a-abc234", "one", "Fix the login page", true),
            ("b-abc234", "one", "Write release notes", false),
            ("c-abc234", "two", "Fix the build, NOT the \"tests\"", true),
        ] {
            assert_eq!(
                memory.remember(&entry(job, bank, objective)).expect("add"),
                is_new,
                "{job}"
            );
        }
        memory
    }

    fn ids(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|e| e.job_id.as_str()).collect()
    }

    #[test]
    fn a_job_is_remembered_once_and_comes_back_as_it_was() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut memory = filled(&dir);
        assert!(!memory.remember(&entry("a-abc234", "three", "other")).expect("again"));
        assert_eq!(memory.banks().expect("banks"), ["one", "two"]);
        assert_eq!(ids(&memory.entries("one").expect("entries")), ["b-abc234", "a-abc234"]);
        assert_eq!(
            memory.entries("two").expect("entries")[0],
            entry("c-abc234", "two", "Fix the build, NOT the \"tests\"")
        );
        let lines = std::fs::read_to_string(dir.path().join("memory.ndjson")).expect("truth");
        assert_eq!(lines.lines().count(), 3);
    }

    #[test]
    fn the_last_jobs_of_a_bank_say_how_good_their_claims_were_and_old_lines_still_read() {
        let dir = tempfile::tempdir().expect("scratch");
        drop(filled(&dir));
        let mut old = serde_json::to_value(entry("old-abc234", "one", "x")).expect("json");
        let keys = old.as_object_mut().expect("object");
        assert!(keys.remove("claim_recall").is_some() && keys.remove("missed").is_some());
        let line = format!("{old}\n");
        let truth = dir.path().join("memory.ndjson");
        fsx::open_append(&truth).and_then(|mut f| f.write_all(line.as_bytes())).expect("append");
        let memory = Memory::open(dir.path()).expect("open");
        let last = memory.last("one", 2).expect("last");
        assert_eq!(ids(&last), ["old-abc234", "b-abc234"]);
        assert_eq!((last[0].quality().precision, last[0].quality().recall), (Some(0.5), None));
        assert_eq!(last[1].quality().recall, Some(0.25));
        assert_eq!(last[1].quality().missed, ["src/lib.rs"]);
    }

    #[test]
    fn what_was_forgotten_stays_so_when_the_database_is_made_anew() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut memory = filled(&dir);
        let job = |id: &str| JobId::parse(id).expect("id");
        assert!(memory.forget(&job("a-abc234"), Timestamp::UNIX_EPOCH).expect("forget"));
        assert!(!memory.forget(&job("a-abc234"), Timestamp::UNIX_EPOCH).expect("again"));
        assert!(
            memory.forget(&job("c-abc234"), Timestamp::UNIX_EPOCH).expect("the last of a bank")
        );
        for is_truth_lost in [true, false] {
            assert_eq!(ids(&memory.entries("one").expect("entries")), ["b-abc234"]);
            assert_eq!(memory.search("login", None, 9).expect("search"), []);
            assert_eq!(memory.banks().expect("banks"), ["one"]);
            drop(memory);
            fsx::remove(&dir.path().join("memory.db")).expect("remove");
            if is_truth_lost {
                fsx::remove(&dir.path().join("memory.ndjson")).expect("remove");
            }
            memory = Memory::open(dir.path()).expect("anew");
        }
    }

    #[test]
    fn a_search_finds_by_any_word_and_no_text_is_syntax() {
        let dir = tempfile::tempdir().expect("scratch");
        let memory = filled(&dir);
        for (text, bank, expected) in [
            ("login", None, vec!["a-abc234"]),
            ("LOGIN notes", None, vec!["a-abc234", "b-abc234"]),
            ("fix", Some("two"), vec!["c-abc234"]),
            ("\"login", None, vec!["a-abc234"]),
            ("log*", None, vec![]),
            ("objective:login", None, vec!["a-abc234"]),
            ("NOT tests", None, vec!["c-abc234"]),
            ("login) OR (", None, vec!["a-abc234"]),
            ("NEAR(login, 3", None, vec!["a-abc234"]),
            ("login -- '; DROP TABLE entries", None, vec!["a-abc234"]),
            ("\" * ^ : - + ( ) {} \0 \\", None, vec![]),
            ("", None, vec![]),
            ("parser.rs", Some("one"), vec!["a-abc234", "b-abc234"]),
        ] {
            let found = memory.search(text, bank, 10).expect(text);
            let mut found = ids(&found);
            found.sort_unstable();
            assert_eq!(found, expected, "{text:?}");
        }
        assert_eq!(memory.search("fix", None, 1).expect("limit").len(), 1);
        let many: String = (0..5000).fold(String::new(), |text, n| text + " w" + &n.to_string());
        assert_eq!(memory.search(&many, None, 10).expect("long"), []);
    }

    #[test]
    fn a_lost_or_spoiled_database_is_made_anew_from_the_truth() {
        let dir = tempfile::tempdir().expect("scratch");
        let before = filled(&dir).entries("one").expect("entries");
        let path = dir.path().join("memory.db");
        for spoil in [None, Some(b"garbage".repeat(100))] {
            fsx::remove(&path).expect("remove");
            if let Some(bytes) = spoil {
                fsx::put(&path, &bytes).expect("spoil");
            }
            let memory = Memory::open(dir.path()).expect("open");
            assert_eq!(memory.entries("one").expect("entries"), before);
            assert_eq!(ids(&memory.search("login", None, 9).expect("search")), ["a-abc234"]);
        }
        assert!(dir.path().join("memory.db.bad-1").exists());
    }

    #[test]
    fn a_database_that_lags_behind_takes_in_the_rest_and_a_torn_line_is_closed() {
        let dir = tempfile::tempdir().expect("scratch");
        drop(filled(&dir));
        let truth = dir.path().join("memory.ndjson");
        append(&truth, &entry("d-abc234", "one", "late")).expect("as a dead writer did");
        fsx::open_append(&truth).and_then(|mut f| f.write_all(b"{\"torn")).expect("tear");
        let mut memory = Memory::open(dir.path()).expect("open");
        assert_eq!(memory.entries("one").expect("entries").len(), 3);
        memory.remember(&entry("e-abc234", "one", "next")).expect("add");
        drop(memory);
        fsx::remove(&dir.path().join("memory.db")).expect("remove");
        let memory = Memory::open(dir.path()).expect("open");
        assert_eq!(memory.entries("one").expect("entries").len(), 4);
    }

    #[test]
    fn a_truth_that_is_lost_is_written_again_from_the_database_else_from_a_copy_and_said_once() {
        for (truth_left, has_database, source) in [
            (None, true, "memory.db"),
            (Some(&b"\0\0\0\0\0\0"[..]), true, "memory.db"),
            (None, false, "memory.ndjson.bak-1"),
            (Some(&b"garbage\nand more"[..]), false, "memory.ndjson.bak-1"),
        ] {
            let dir = tempfile::tempdir().expect("scratch");
            let before = filled(&dir).entries("one").expect("entries");
            let truth = dir.path().join("memory.ndjson");
            assert!(truth.with_file_name("memory.ndjson.bak-1").exists());
            fsx::remove(&truth).expect("remove");
            if let Some(bytes) = truth_left {
                fsx::put(&truth, bytes).expect("put");
            }
            if !has_database {
                fsx::put(&dir.path().join("memory.db"), &b"garbage".repeat(100)).expect("spoil");
            }
            let mut memory = Memory::open(dir.path()).expect("open");
            let said = memory.restored().expect("it is said").to_owned();
            assert!(said.ends_with(source), "{said}");
            // The copy was put with the first entry.
            let expected = if has_database { &before[..] } else { &before[1..] };
            assert_eq!(memory.entries("one").expect("entries"), expected, "{source}");
            assert_eq!(dir.path().join("memory.ndjson.bad-1").exists(), truth_left.is_some());
            assert!(memory.remember(&entry("n-abc234", "new", "next")).expect("remember"));
            drop(memory);
            fsx::remove(&dir.path().join("memory.db")).expect("remove");
            let memory = Memory::open(dir.path()).expect("open");
            assert_eq!(memory.restored(), None, "said once");
            assert_eq!(memory.entries("one").expect("entries"), expected, "{source}");
        }
    }

    #[test]
    fn a_truth_with_one_line_that_can_be_read_is_left_as_it_is() {
        let dir = tempfile::tempdir().expect("scratch");
        drop(filled(&dir));
        let truth = dir.path().join("memory.ndjson");
        let text = std::fs::read_to_string(&truth).expect("truth");
        let torn = format!("{{torn\n{}\n{{torn", text.lines().next().expect("a line"));
        fsx::put(&truth, torn.as_bytes()).expect("put");
        let memory = Memory::open(dir.path()).expect("open");
        assert_eq!(memory.restored(), None);
        assert_eq!(std::fs::read_to_string(&truth).expect("truth"), torn);
    }

    #[test]
    fn a_database_that_is_full_loses_no_entry() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut memory = filled(&dir);
        memory.connection.execute_batch("PRAGMA max_page_count = 1").expect("pragma");
        let long = entry("long-abc234", "one", &"words without end ".repeat(20_000));
        let error = memory.remember(&long).expect_err("it does not fit");
        assert!(error.to_string().contains("full"), "{error}");
        drop(memory);
        for _ in 0..2 {
            remember_without_database(dir.path(), &long).expect("remember");
        }
        remember_without_database(dir.path(), &entry("z-abc234", "one", "x")).expect("remember");
        let memory = Memory::open(dir.path()).expect("open");
        let all = memory.entries("one").expect("entries");
        assert_eq!(ids(&all), ["z-abc234", "long-abc234", "b-abc234", "a-abc234"]);
        let lines = std::fs::read_to_string(dir.path().join("memory.ndjson")).expect("truth");
        assert_eq!(lines.lines().count(), 5, "remembered once");
    }

    #[test]
    fn a_truth_that_became_shorter_is_taken_in_from_its_start() {
        let dir = tempfile::tempdir().expect("scratch");
        drop(filled(&dir));
        let truth = dir.path().join("memory.ndjson");
        let text = std::fs::read_to_string(&truth).expect("truth");
        let first = text.lines().next().expect("a line").to_owned() + "\n";
        for (left, expected) in [(first.as_str(), 1), ("", 0)] {
            fsx::put(&truth, left.as_bytes()).expect("put");
            let memory = Memory::open(dir.path()).expect("open");
            assert_eq!(memory.entries("one").expect("entries").len(), expected);
        }
    }

    #[test]
    fn several_workers_may_remember_at_once() {
        let dir = tempfile::tempdir().expect("scratch");
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let store = dir.path();
                scope.spawn(move || {
                    let mut memory = Memory::open(store).expect("open");
                    for n in 0..5 {
                        let one = entry(&format!("w{worker}-{n}"), "one", "x");
                        memory.remember(&one).expect("remember");
                    }
                });
            }
        });
        let memory = Memory::open(dir.path()).expect("open");
        assert_eq!(memory.entries("one").expect("entries").len(), 20);
    }
}
