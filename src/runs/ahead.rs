//! One run folder ahead: `runs/.next`, with the mark of a taking in it, made and flushed while an agent is at work, and given to
//! the next job by a rename. It spares whoever waits for that job's first agent a flush.
//!
//! Promises: it is one job's, as a whole. What is not as it was made, or cannot be had, is not used, and the job's folder is made.

use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

use super::folder::TAKING;
use super::{RunFolder, Runs};
use crate::os::fsx;

/// Its name in `runs/`.
const READY: &str = ".next";

impl RunFolder {
    /// Whether a directory, whose path is real, is one of what is made ahead, or lies below: the next job takes it away.
    pub fn is_made_ahead(&self, dir: &Path) -> bool {
        let ready = [self.dir.with_file_name(READY), self.ready_workspace()];
        ready.iter().any(|ready| ready.canonicalize().is_ok_and(|ready| dir.starts_with(ready)))
    }

    /// Makes the run folder of the next job, unless there is one. It is made in this one, where nobody but the holder of the lock
    /// has to do with it; what somebody who has died left of it will do.
    ///
    /// # Errors
    /// Those of the system; there is none then.
    pub fn provide_next(&self) -> Result<()> {
        let ready = self.dir.with_file_name(READY);
        if ready.symlink_metadata().is_ok() {
            return Ok(());
        }
        let spare = self.dir.join("next.spare");
        fsx::make_dir(&spare)?;
        fsx::put_mark(&spare.join(TAKING))?;
        match fsx::rename_spare(&spare, &ready) {
            // Another job was quicker.
            Err(e) if e.kind() == ErrorKind::AlreadyExists && is_as_made(&spare) => {
                fsx::remove_tree(&spare)
            }
            named => named,
        }
    }
}

impl Runs {
    /// Gives a job the folder that was made ahead; false if it must be made.
    pub(super) fn give_ready(&self, folder: &RunFolder) -> Result<bool> {
        match fsx::move_to(&self.ready(), folder.dir()) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Err(e),
            // None is there, or it cannot be had: who makes one says what is wrong.
            Err(_) => return Ok(false),
            Ok(()) => {}
        }
        if is_as_made(folder.dir()) {
            return Ok(true);
        }
        // Somebody has put something there that they may still want.
        self.move_aside(folder.job())?;
        Ok(false)
    }

    fn ready(&self) -> PathBuf {
        self.dir().join(READY)
    }
}

/// Whether nothing is there but what was made.
fn is_as_made(dir: &Path) -> bool {
    let is_kind = |path: &Path, is: fn(&std::fs::Metadata) -> bool| {
        path.symlink_metadata().is_ok_and(|meta| is(&meta))
    };
    is_kind(dir, std::fs::Metadata::is_dir)
        && fsx::list_os(dir).is_ok_and(|names| names == [TAKING])
        && is_kind(&dir.join(TAKING), |meta| meta.is_file() && meta.len() == 0)
}

#[cfg(test)]
mod tests {
    use std::fs::symlink_metadata;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;
    use crate::model::id::JobId;
    use crate::model::root::Root;

    /// What somebody does to the folder made ahead.
    type Spoil<'a> = (&'a str, &'a dyn Fn(&Path));

    fn runs() -> (tempfile::TempDir, Runs) {
        let dir = tempfile::tempdir().expect("scratch");
        let runs = Runs::of(&Root::new(dir.path()));
        fsx::make_dirs(runs.dir()).expect("runs");
        (dir, runs)
    }

    fn id(text: &str) -> JobId {
        JobId::parse(text).expect("id")
    }

    fn number(path: &Path) -> u64 {
        symlink_metadata(path).expect("there").ino()
    }

    #[test]
    fn the_folder_made_ahead_is_the_next_jobs_and_only_once() {
        let (_kept, runs) = runs();
        let one = runs.create(&id("a-abc234")).expect("made");
        assert!(!one.is_being_taken(), "none was made ahead");
        one.provide_next().expect("made ahead");
        let made = number(&runs.ready());
        one.provide_next().expect("there is one");
        assert_eq!(number(&runs.ready()), made);
        assert!(!one.dir().join("next.spare").exists());
        let two = runs.create(&id("b-abc234")).expect("given");
        assert!(two.is_being_taken() && number(two.dir()) == made);
        let three = runs.create(&id("c-abc234")).expect("made");
        assert!(!three.is_being_taken());
    }

    #[test]
    fn a_job_that_has_a_folder_keeps_it() {
        let (_kept, runs) = runs();
        let one = runs.create(&id("a-abc234")).expect("made");
        one.provide_next().expect("made ahead");
        let again = runs.create(&id("a-abc234")).expect_err("there is one");
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        assert!(runs.ready().is_dir() && !one.is_being_taken());
    }

    #[test]
    fn what_is_not_as_it_was_made_goes_aside_and_the_job_has_its_own() {
        let (_kept, runs) = runs();
        let one = runs.create(&id("a-abc234")).expect("made");
        let aside = runs.dir().join(".aside");
        let spoil: [Spoil; 5] = [
            ("a further file", &|dir| fsx::put(&dir.join("job.json"), b"{}").expect("put")),
            ("a mark that says something", &|dir| fsx::put(&dir.join(TAKING), b"x").expect("put")),
            ("no mark", &|dir| fsx::remove(&dir.join(TAKING)).expect("removed")),
            ("a file", &|dir| {
                fsx::remove_tree(dir).expect("removed");
                fsx::put(dir, b"").expect("put");
            }),
            ("a link to a folder of that form", &|dir| {
                let real = dir.with_file_name(".real");
                fsx::rename_derived(dir, &real).expect("moved");
                symlink(&real, dir).expect("link");
            }),
        ];
        for (n, (what, spoil)) in spoil.iter().enumerate() {
            one.provide_next().expect("made ahead");
            spoil(&runs.ready());
            let next = runs.create(&id(&format!("b{n}-abc234"))).expect(what);
            let made = symlink_metadata(next.dir()).expect(what);
            assert!(made.is_dir() && fsx::list(next.dir()).expect(what).is_empty(), "{what}");
            assert_eq!(fsx::list(&aside).expect(what).len(), n + 1, "{what}");
        }
    }

    #[test]
    fn what_a_dead_worker_left_half_made_will_do_and_a_file_in_the_way_stays() {
        let (_kept, runs) = runs();
        let one = runs.create(&id("a-abc234")).expect("made");
        fsx::make_dirs(&one.dir().join("next.spare")).expect("half made");
        one.provide_next().expect("made ahead");
        assert!(runs.create(&id("b-abc234")).expect("given").is_being_taken());
        fsx::put(&one.dir().join("next.spare"), b"kept").expect("put");
        assert!(one.provide_next().is_err() && one.dir().join("next.spare").is_file());
    }
}
