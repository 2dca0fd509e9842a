//! `store/logs.json`: how many bytes the logs of all jobs of a root have, so that no writer has to look at all of them. An
//! account for a bound, not a fact: `{"bytes", "counted_at"}`, made anew by counting where it is missing, and while it says
//! that there is no room.
//!
//! Diagnostics: a writer that cannot read or write it, or finds it locked for longer than a moment, goes on without: each job
//! has a bound of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::os::lock::FileLock;
use crate::os::{clock, fsx};

/// How long a writer tries for the lock, which is held for less than a millisecond at a time.
const PATIENCE: Duration = Duration::from_millis(200);
/// Time between two counts while there is no room: what was removed by hand is noticed then.
const BETWEEN_COUNTS: Duration = Duration::from_secs(600);

/// The account of one root.
#[derive(Debug, Clone)]
pub struct LogBytes {
    path: PathBuf,
    lock: PathBuf,
    most: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Account {
    bytes: u64,
    counted_at: Timestamp,
}

impl LogBytes {
    /// The account in a store folder, with the bound.
    pub fn of(store: &Path, most: u64) -> Self {
        Self { path: store.join("logs.json"), lock: store.join("logs.json.lock"), most }
    }

    /// Takes that much if the bound leaves it.
    ///
    /// # Errors
    /// Those of the system, with the path; `Busy` if somebody sits on the lock.
    pub fn take(&self, bytes: u64) -> Result<bool, StoreError> {
        let _lock = self.locked()?;
        let Some(account) = self.read()? else { return Ok(true) };
        let sum = account.bytes.saturating_add(bytes);
        if sum > self.most {
            return Ok(false);
        }
        self.write(Account { bytes: sum, ..account })?;
        Ok(true)
    }

    /// Gives back what was taken.
    ///
    /// # Errors
    /// As [`LogBytes::take`].
    pub fn give_back(&self, bytes: u64) -> Result<(), StoreError> {
        let _lock = self.locked()?;
        let Some(account) = self.read()? else { return Ok(()) };
        self.write(Account { bytes: account.bytes.saturating_sub(bytes), ..account })
    }

    /// Whether the logs have to be counted: nobody did yet, or `wanted` bytes do not fit by a count that is not new.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn needs_count(&self, wanted: u64, now: Timestamp) -> Result<bool, StoreError> {
        let Some(account) = self.read()? else { return Ok(true) };
        let age = clock::until(now, account.counted_at);
        let is_new = age < BETWEEN_COUNTS && account.counted_at <= now;
        Ok(!is_new && account.bytes.saturating_add(wanted) > self.most)
    }

    /// Writes down what was counted.
    ///
    /// # Errors
    /// As [`LogBytes::take`].
    pub fn counted(&self, bytes: u64, now: Timestamp) -> Result<(), StoreError> {
        let _lock = self.locked()?;
        self.write(Account { bytes, counted_at: now })
    }

    fn locked(&self) -> Result<FileLock, StoreError> {
        FileLock::acquire(&self.lock, PATIENCE)?.ok_or_else(|| StoreError::Busy(self.lock.clone()))
    }

    /// One that cannot be read is none: it will be counted again.
    fn read(&self) -> Result<Option<Account>, StoreError> {
        let text = fsx::read_optional(&self.path)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    fn write(&self, account: Account) -> Result<(), StoreError> {
        let json = serde_json::to_vec(&account).map_err(std::io::Error::from)?;
        Ok(fsx::replace_derived(&self.path, &json)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_handles_share_one_bound_and_what_is_given_back_is_there_again() {
        let dir = tempfile::tempdir().expect("scratch");
        let (one, two) = (LogBytes::of(dir.path(), 100), LogBytes::of(dir.path(), 100));
        let now = Timestamp::UNIX_EPOCH;
        assert!(one.needs_count(0, now).expect("look"), "nobody has counted yet");
        one.counted(30, now).expect("count");
        assert!(one.take(40).expect("take") && two.take(30).expect("take"));
        assert!(!two.take(1).expect("take"));
        one.give_back(10).expect("give back");
        assert!(two.take(10).expect("take"));
    }

    #[test]
    fn logs_are_counted_again_only_while_there_is_no_room_and_not_often() {
        let dir = tempfile::tempdir().expect("scratch");
        let account = LogBytes::of(dir.path(), 100);
        let now = Timestamp::UNIX_EPOCH;
        account.counted(95, now).expect("count");
        let later = clock::later(now, BETWEEN_COUNTS);
        assert!(!account.needs_count(5, later).expect("look"), "there is room");
        assert!(!account.needs_count(6, now).expect("look"), "just counted");
        assert!(account.needs_count(6, later).expect("look"));
    }
}
