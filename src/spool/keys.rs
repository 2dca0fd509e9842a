//! `keys/`: which job has which `key`, a file each, so that a key is used once, however often its file is dropped.
//!
//! Diagnostics: the accepted jobs tell of their keys, too. So a folder that is gone is filled again from them, aside, and
//! gets its name as a whole: a key that is not there was never used.

use std::ffi::OsStr;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Spool;
use crate::model::id::JobId;
use crate::os::{digest, fsx, random, seeded};

/// How the name of a folder begins that is being filled.
const FILLED: &str = ".keys-";

impl Spool {
    pub(super) fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// Whether a name in `spool/` is that of a folder which is being filled: who looks at the spool for it would fill it again.
    pub fn is_being_filled(name: &OsStr) -> bool {
        name.as_encoded_bytes().starts_with(FILLED.as_bytes())
    }

    /// Whether the folder of the keys is there.
    pub fn has_keys(&self) -> bool {
        std::fs::symlink_metadata(self.keys()).is_ok_and(|meta| meta.is_dir())
    }

    /// Remembers that `job` has `key`, durably; the answer is the job that has it: `job` itself, or an earlier one.
    ///
    /// # Errors
    /// `NotFound` if the folder is gone; otherwise those of the system, with the path.
    pub fn claim_key(&self, key: &str, job: &JobId) -> Result<JobId> {
        if seeded::bug("key-not-kept") {
            return Ok(job.clone());
        }
        let path = self.keys().join(file_name(key));
        match fsx::put_new(&path, job.as_str().as_bytes()) {
            Ok(()) => return Ok(job.clone()),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        let text = fsx::read_optional(&path)?.unwrap_or_default();
        JobId::parse(text.trim()).map_err(|e| fsx::at(&path)(Error::new(ErrorKind::InvalidData, e)))
    }

    /// The job that has a key, as far as can be read.
    pub fn holder_of_key(&self, key: &str) -> Option<JobId> {
        let text = fsx::read_optional(&self.keys().join(file_name(key))).ok().flatten()?;
        JobId::parse(text.trim()).ok()
    }

    /// Makes the folder of the keys again, with these in it; of two jobs with one key the first has it. False if somebody else
    /// has just made it.
    ///
    /// # Errors
    /// Those of the system, with the path; also that something lies there which is no folder.
    pub fn fill_keys<'a>(&self, keys: impl Iterator<Item = (&'a str, &'a JobId)>) -> Result<bool> {
        if !self.has_keys() && std::fs::symlink_metadata(self.keys()).is_ok() {
            let what = Error::new(ErrorKind::NotADirectory, "it is no folder");
            return Err(fsx::at(&self.keys())(what));
        }
        // A name of its own: somebody else may be at it, too.
        let aside = self.dir.join(format!("{FILLED}{}", random::base32(8)?));
        fsx::make_new_dir(&aside)?;
        let filled = self.fill(&aside, keys);
        if !matches!(filled, Ok(true)) {
            fsx::remove_tree(&aside)?;
        }
        filled
    }

    fn fill<'a>(
        &self,
        aside: &Path,
        keys: impl Iterator<Item = (&'a str, &'a JobId)>,
    ) -> Result<bool> {
        for (key, job) in keys {
            let path = aside.join(file_name(key));
            match fsx::put_new(&path, job.as_str().as_bytes()) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        match fsx::move_to(aside, &self.keys()) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && self.has_keys() => Ok(false),
            moved => moved.map(|()| true),
        }
    }

    /// Clears away what whoever died over filling left, longer than `age` ago.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub(super) fn clear_filled(&self, age: Duration) -> Result<()> {
        let names = fsx::list(&self.dir)?.into_iter().filter(|name| name.starts_with(FILLED));
        let mut paths = names.map(|name| self.dir.join(name));
        paths.try_for_each(|p| if fsx::is_older(&p, age) { fsx::remove_any(&p) } else { Ok(()) })
    }
}

fn file_name(key: &str) -> String {
    digest::sha256_hex(key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::root::Root;

    fn id(text: &str) -> JobId {
        JobId::parse(text).expect("id")
    }

    #[test]
    fn a_key_belongs_to_the_first_job_for_ever() {
        let d = tempfile::tempdir().expect("scratch");
        let spool = Spool::of(&Root::new(d.path()));
        spool.create().expect("folders");
        let (a, b) = (id("a-abc234"), id("b-abc234"));
        spool.fill_keys(std::iter::empty()).expect("folder");
        assert_eq!(spool.claim_key("nightly", &a).expect("first"), a);
        assert_eq!(spool.claim_key("nightly", &a).expect("again"), a);
        assert_eq!(spool.claim_key("nightly", &b).expect("other"), a);
        assert_eq!(spool.claim_key("weekly", &b).expect("free"), b);
    }

    #[test]
    fn a_folder_that_was_lost_is_filled_again_and_never_made_empty() {
        let d = tempfile::tempdir().expect("scratch");
        let spool = Spool::of(&Root::new(d.path()));
        spool.create().expect("folders");
        assert!(!spool.has_keys(), "nobody may think that no key was used");
        let (a, b) = (id("a-abc234"), id("b-abc234"));
        let lost = spool.claim_key("nightly", &b).expect_err("the folder is gone");
        assert_eq!(lost.kind(), ErrorKind::NotFound);
        let left = spool.dir.join(".keys-half-made");
        fsx::make_dir(&left).expect("what a death left");
        assert!(spool.fill_keys([("nightly", &a), ("nightly", &b)].into_iter()).expect("filled"));
        assert_eq!(spool.claim_key("nightly", &b).expect("kept"), a);
        assert!(!spool.fill_keys(std::iter::empty()).expect("one that is there stays"));
        assert_eq!(spool.claim_key("nightly", &b).expect("kept"), a);
        spool.clear_filled(Duration::from_secs(60)).expect("it may be somebody's");
        assert!(left.exists());
        spool.clear_filled(Duration::ZERO).expect("it is nobody's");
        let names = fsx::list(&spool.dir).expect("names");
        assert!(names.iter().all(|name| !name.starts_with(FILLED)), "{names:?}");
    }

    #[test]
    fn what_lies_in_the_place_of_the_keys_and_is_no_folder_is_told() {
        let d = tempfile::tempdir().expect("scratch");
        let spool = Spool::of(&Root::new(d.path()));
        spool.create().expect("folders");
        std::os::unix::fs::symlink("nowhere", spool.keys()).expect("link");
        assert!(!spool.has_keys());
        assert!(spool.fill_keys(std::iter::empty()).is_err());
        let names = fsx::list(&spool.dir).expect("names");
        assert!(names.iter().all(|name| !name.starts_with(FILLED)), "{names:?}");
    }
}
