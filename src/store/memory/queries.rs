//! What is asked of the memory: single jobs, the last ones of a bank, and those that share words with a text.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Row, params};

use super::Memory;
use crate::model::id::JobId;
use crate::model::memory::Entry;
use crate::store::db::Result;

/// Most words of a search text that are looked for.
const MAX_WORDS: usize = 64;
/// Words of an objective that are shorter than this say nothing of what it is about.
const TELLING_CHARS: usize = 4;

/// An entry that fits a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// The piece of it that fits best, a few words long.
    pub snippet: String,
}

impl Memory {
    /// What is remembered of a job.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn find(&self, job: &JobId) -> Result<Option<Entry>> {
        let sql = "SELECT entry FROM entries WHERE job_id = ?1";
        let found = self.connection.query_row(sql, [job.as_str()], read_entry);
        found.optional().map_err(self.met())
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
        read().map_err(self.met())
    }

    /// The entries, of one bank or of all, that share most with the words of a text; among equals the newest first. Nothing
    /// in the text is syntax.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn search(&self, text: &str, bank: Option<&str>, limit: u32) -> Result<Vec<Found>> {
        self.matching(any_word_of(text, 1), bank, limit)
    }

    /// As [`Memory::search`] in one bank, for a whole objective: by the words that tell something.
    ///
    /// # Errors
    /// Trouble with the database.
    pub fn similar(&self, objective: &str, bank: &str, limit: u32) -> Result<Vec<Entry>> {
        let found = self.matching(any_word_of(objective, TELLING_CHARS), Some(bank), limit)?;
        Ok(found.into_iter().map(|found| found.entry).collect())
    }

    fn matching(
        &self,
        query: Option<String>,
        bank: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Found>> {
        let Some(query) = query else { return Ok(Vec::new()) };
        let read = || -> rusqlite::Result<Vec<Found>> {
            let sql = "SELECT entry, snippet(words, -1, '', '', '…', 12)
                FROM words JOIN entries ON entries.number = words.rowid
                WHERE words MATCH ?1 AND (?2 IS NULL OR bank = ?2) ORDER BY words.rank, at DESC LIMIT ?3";
            let found = |row: &Row<'_>| Ok(Found { entry: read_entry(row)?, snippet: row.get(1)? });
            self.connection.prepare(sql)?.query_map(params![query, bank, limit], found)?.collect()
        };
        read().map_err(self.met())
    }
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let text: String = row.get(0)?;
    serde_json::from_str(&text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e))
    })
}

/// A query for any of the words of a text that have so many letters, each quoted so that none is an operator; `None` if there
/// is no word.
fn any_word_of(text: &str, chars: usize) -> Option<String> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| word.chars().count() >= chars);
    let mut seen = BTreeSet::new();
    let fresh = words.filter(|word| seen.insert(word.to_lowercase())).take(MAX_WORDS);
    let quoted: Vec<String> = fresh.map(|word| format!("\"{word}\"")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}
