//! What the logs of one worker may still take of the disk: the job's bound, counted once when the worker starts and then kept
//! in memory, and the root's, of which a worker takes a piece at a time from the account in the store.
//!
//! Diagnostics: where something cannot be counted, the bound that needs it is as if nothing had been written so far.

use std::io::Result;
use std::sync::{Mutex, PoisonError};

use crate::logic::keep::{Bounds, Room};
use crate::model::root::Root;
use crate::model::settings::Settings;
use crate::os::clock;
use crate::runs::{RunFolder, Runs, parts};
use crate::store::log_bytes::LogBytes;

/// How much a worker takes of the root's account at a time, at most: what is left of it when it dies is counted as used.
const LARGEST_GRANT: u64 = 8 * 1024 * 1024;
/// Bytes that are refused before the root's account is asked again.
const REFUSED_BEFORE_NEXT: u64 = 1024 * 1024;

/// The bounds of all logs of one worker.
#[derive(Debug)]
pub struct Budget {
    bounds: Bounds,
    purse: Mutex<Purse>,
}

#[derive(Debug)]
struct Purse {
    job_left: u64,
    granted: u64,
    grant: u64,
    refused: Option<u64>,
    account: Option<LogBytes>,
}

impl Budget {
    /// The bounds for a worker of that job, from what the job has on disk.
    pub fn open(root: &Root, settings: &Settings, folder: &RunFolder) -> Self {
        let used = parts::bytes_in(folder.dir()).unwrap_or(0);
        let account = LogBytes::of(&root.store(), settings.max_logs);
        let grant = LARGEST_GRANT.min(settings.max_logs / 64).max(1);
        if let Ok(true) = account.needs_count(grant, clock::now()) {
            // Not counted: takers go on without the bound, see there.
            let _uncounted =
                count(&Runs::of(root)).map(|bytes| account.counted(bytes, clock::now()));
        }
        Self {
            bounds: Bounds::of(settings.max_log),
            purse: Mutex::new(Purse {
                job_left: settings.max_job_logs.saturating_sub(used),
                granted: 0,
                grant,
                refused: None,
                account: Some(account),
            }),
        }
    }

    /// Without a job and a root: the bounds of one log alone.
    #[cfg(test)]
    pub(crate) fn for_tests(most: u64) -> Self {
        Self::with_room(most, u64::MAX)
    }

    /// The bounds of one log, and what all of them may take.
    #[cfg(test)]
    pub(super) fn with_room(most: u64, job_left: u64) -> Self {
        let purse = Purse { job_left, granted: 0, grant: 1, refused: None, account: None };
        Self { bounds: Bounds::of(most), purse: Mutex::new(purse) }
    }

    /// The bounds of each log.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }
}

fn count(runs: &Runs) -> Result<u64> {
    let jobs = runs.jobs()?;
    Ok(jobs.iter().map(|job| parts::bytes_in(runs.folder(job).dir()).unwrap_or(0)).sum())
}

impl Room for &Budget {
    fn take(&mut self, bytes: u64) -> bool {
        self.purse.lock().unwrap_or_else(PoisonError::into_inner).take(bytes)
    }

    fn give_back(&mut self, bytes: u64) {
        let mut purse = self.purse.lock().unwrap_or_else(PoisonError::into_inner);
        purse.job_left = purse.job_left.saturating_add(bytes);
        purse.granted = purse.granted.saturating_add(bytes);
    }
}

impl Purse {
    fn take(&mut self, bytes: u64) -> bool {
        if bytes > self.job_left || !self.is_granted(bytes) {
            return false;
        }
        self.job_left -= bytes;
        self.granted = self.granted.saturating_sub(bytes);
        true
    }

    fn is_granted(&mut self, bytes: u64) -> bool {
        let Some(account) = &self.account else { return true };
        if bytes <= self.granted {
            return true;
        }
        if let Some(refused) = &mut self.refused {
            *refused += bytes;
            if *refused < REFUSED_BEFORE_NEXT {
                return false;
            }
        }
        let missing = bytes - self.granted;
        for wanted in [missing.max(self.grant), missing] {
            match account.take(wanted) {
                Ok(true) => {
                    (self.granted, self.refused) = (self.granted + wanted, None);
                    return true;
                }
                Ok(false) => {}
                // An account that cannot be asked stops no log; what it did not give is not given back.
                Err(_) => return true,
            }
        }
        self.refused = Some(0);
        false
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            let _counted_as_used = account.give_back(self.granted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::JobId;
    use crate::os::fsx;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path());
        fsx::make_dirs(&root.store()).expect("store");
        (dir, root)
    }

    fn folder(root: &Root, name: &str, log: &[u8]) -> RunFolder {
        let folder = Runs::of(root).folder(&JobId::parse(name).expect("id"));
        fsx::make_dirs(folder.place("t1").dir()).expect("place");
        fsx::put(&folder.place("t1").stdout_log(), log).expect("log");
        folder
    }

    #[test]
    fn what_a_job_has_on_disk_counts_against_its_bound_and_what_the_root_has_against_the_roots() {
        let (_dir, root) = root();
        let (one, two) =
            (folder(&root, "one-aaaaaa", &[b'x'; 60]), folder(&root, "two-bbbbbb", b""));
        let settings = Settings { max_job_logs: 100, max_logs: 150, ..Settings::default() };
        let (one, two) =
            (Budget::open(&root, &settings, &one), Budget::open(&root, &settings, &two));
        assert!(!(&one).take(41) && (&one).take(40) && !(&one).take(1));
        // 60 were there, 40 have been taken: 50 are left in the root.
        assert!((&two).take(48) && !(&two).take(5));
        (&one).give_back(10);
        assert!((&one).take(10), "what was given back is there again");
    }

    #[test]
    fn a_worker_that_ends_gives_back_what_it_did_not_use() {
        let (_dir, root) = root();
        let one = folder(&root, "one-aaaaaa", b"");
        let settings = Settings { max_logs: 6400, ..Settings::default() };
        let budget = Budget::open(&root, &settings, &one);
        assert!((&budget).take(1), "a grant of 100 is taken");
        drop(budget);
        let text = fsx::read_optional(&root.store().join("logs.json")).expect("read");
        assert!(text.expect("there").starts_with("{\"bytes\":1,"));
    }
}
